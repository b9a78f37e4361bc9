//! What a node tells systemd, as systemd hears it: a datagram socket.

use std::os::unix::net::UnixDatagram;

use fanlight::dev::cluster::{Cluster, ClusterOptions};
use fanlight::dev::process::Signal;
use tokio::sync::mpsc;
use tokio::time::timeout;

use crate::client::{Api, DEADLINE};

const MESSAGE_BYTES_MAX: usize = 4096;
/// Above what a test ever hears.
const MESSAGES_MAX: usize = 4096;

/// What is said on the socket, in order. Read by a thread: a full socket holds up who speaks.
fn listen(socket: UnixDatagram) -> mpsc::Receiver<String> {
    let (heard, messages) = mpsc::channel(MESSAGES_MAX);
    std::thread::spawn(move || {
        let mut message = [0; MESSAGE_BYTES_MAX];
        while let Ok(length) = socket.recv(&mut message) {
            let text = String::from_utf8(message[..length].to_vec()).unwrap();
            if heard.blocking_send(text).is_err() {
                return;
            }
        }
    });
    messages
}

/// The first message that is no answer to the watchdog, and how many answers came before.
async fn next_state(messages: &mut mpsc::Receiver<String>) -> (String, usize) {
    let mut answers = 0;
    loop {
        let message = timeout(DEADLINE, messages.recv()).await.expect("nothing is said").unwrap();
        if message.trim() != "WATCHDOG=1" {
            return (message, answers);
        }
        answers += 1;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_says_when_it_is_ready_that_it_lives_and_that_it_stops() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("notify");
    let mut messages = listen(UnixDatagram::bind(&path).unwrap());
    let env = [
        ("NOTIFY_SOCKET", path.to_str().unwrap()),
        ("WATCHDOG_USEC", "150000"),
        // Long enough for the watchdog to be answered meanwhile.
        ("FANLIGHT__SERVER__DRAIN_NOTICE_MS", "2000"),
    ]
    .map(|(name, value)| (name.to_owned(), value.to_owned()))
    .to_vec();
    let options = ClusterOptions { nodes: 1, env, ..ClusterOptions::scratch(env!("CARGO_BIN_EXE_fanlight")) };
    let starting = Cluster::start(options);
    let heard_ready = next_state(&mut messages);
    let (cluster, (ready, early)) = tokio::join!(starting, heard_ready);
    let mut cluster = cluster.unwrap();

    assert_eq!(ready, "READY=1\nSTATUS=taking connections\n");
    assert_eq!(early, 0, "nobody asks before the node is ready");
    Api::anonymous(&cluster.nodes[0].http()).get("/health").await.expect(200);
    assert_eq!(timeout(DEADLINE, messages.recv()).await.unwrap().unwrap().trim(), "WATCHDOG=1");

    cluster.nodes[0].process.signal(Signal::Term).unwrap();
    assert_eq!(next_state(&mut messages).await.0, "STOPPING=1\nSTATUS=draining\n");
    assert!(cluster.nodes[0].process.ended(DEADLINE).await);
    let mut answers = 0;
    while let Ok(message) = messages.try_recv() {
        assert_eq!(message.trim(), "WATCHDOG=1");
        answers += 1;
    }
    assert!(answers > 0, "a node that drains is alive");
}
