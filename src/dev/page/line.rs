//! A phone's line to the cluster: a TCP relay to a node, to the next one if that is away, that can be frozen or cut.
//!
//! Frozen, both sides keep their connection, and nothing gets through: what a node writes is taken, as a phone's
//! network takes it when the phone is already out of reach. So writing looks as if it had worked, and only the missing
//! receipt tells.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;
use serde::Serialize;
use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};
use uuid::Uuid;

use super::journal::Journal;
use crate::dev::node::Node;
use crate::dev::seed::User;
use crate::shutdown::Shutdown;

const CHUNK_BYTES: usize = 16 * 1024;
/// What a frozen line holds back per connection and direction; then it takes nothing more.
const CHUNKS_MAX: usize = 64;
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// A frame may lie across two reads: so much of the one before is looked at again.
const OVERLAP_BYTES: usize = 256;

/// What stands before and behind the id of a message that was written.
const MESSAGE: &[u8] = b"\"MESSAGE_CREATED\",\"id\":\"";
const CHANNEL: &[u8] = b"\",\"channelId\":";

/// A node that a line may lead to.
#[derive(Clone, Debug)]
pub struct Upstream {
    name: String,
    /// `host:port`
    address: String,
}

impl Upstream {
    pub fn of(node: &Node) -> Self {
        Self { name: node.name().to_owned(), address: node.http().replacen("http://", "", 1) }
    }
}

#[derive(Clone, Copy, Default)]
struct Mode {
    is_frozen: bool,
    /// How often the line was cut: connections that began before it end.
    cuts: u64,
}

pub struct Line {
    pub name: String,
    port: u16,
    mode: watch::Sender<Mode>,
    upstreams: Vec<Upstream>,
    /// The node of the newest connection.
    node: Mutex<Option<String>>,
    open: AtomicUsize,
    journal: Arc<Journal>,
}

/// How a line is, as the page shows it.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub struct LineReport {
    name: String,
    url: String,
    is_frozen: bool,
    connections: usize,
    node: Option<String>,
}

impl Line {
    /// Listens for the phone of this person.
    pub async fn open(
        user: &User,
        upstreams: Vec<Upstream>,
        journal: &Arc<Journal>,
        tasks: &Shutdown,
    ) -> anyhow::Result<Arc<Self>> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let line = Arc::new(Self {
            name: user.name(),
            port: listener.local_addr()?.port(),
            mode: watch::Sender::default(),
            upstreams,
            node: Mutex::default(),
            open: AtomicUsize::new(0),
            journal: Arc::clone(journal),
        });
        let (this, stop) = (Arc::clone(&line), tasks.clone());
        tasks.spawn("dev.line", async move {
            while let Some(accepted) = stop.unless_stopped(listener.accept()).await {
                let Ok((phone, _)) = accepted else {
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                    continue;
                };
                let (line, ending) = (Arc::clone(&this), stop.clone());
                stop.spawn_light(async move {
                    ending.unless_stopped(line.serve(phone)).await;
                });
            }
        });
        Ok(line)
    }

    pub fn report(&self) -> LineReport {
        let connections = self.open.load(Ordering::Relaxed);
        LineReport {
            name: self.name.clone(),
            url: format!("ws://127.0.0.1:{}/ws", self.port),
            is_frozen: self.mode.borrow().is_frozen,
            connections,
            node: self.node.lock().clone().filter(|_| connections > 0),
        }
    }

    pub fn set_frozen(&self, is_frozen: bool) {
        self.mode.send_modify(|mode| mode.is_frozen = is_frozen);
    }

    /// Ends every connection the rude way.
    pub fn cut(&self) {
        self.mode.send_modify(|mode| mode.cuts += 1);
    }

    async fn serve(&self, mut phone: TcpStream) {
        let mut mode = self.mode.subscribe();
        let cuts = mode.borrow().cuts;
        // Out of reach: not even a handshake gets through. Cancel-safe: it only waits.
        if thawed(&mut mode.clone()).await.is_none() {
            return;
        }
        let Some((mut node, name)) = self.reach().await else { return };
        *self.node.lock() = Some(name.clone());
        self.open.fetch_add(1, Ordering::Relaxed);
        let ended = {
            let relaying = self.relay(&mut phone, &mut node, &name);
            // Cancel-safe: what is not relayed any more is lost, as on a line.
            tokio::select! {
                ended = relaying => ended,
                _ = mode.wait_for(|mode| mode.cuts != cuts) => Err(io::ErrorKind::ConnectionReset.into()),
            }
        };
        self.open.fetch_sub(1, Ordering::Relaxed);
        if ended.is_err() {
            for stream in [&phone, &node] {
                // What is closed with no time to linger is reset (RST).
                let _gone = SockRef::from(stream).set_linger(Some(Duration::ZERO));
            }
        }
    }

    /// The first node that takes the connection.
    async fn reach(&self) -> Option<(TcpStream, String)> {
        for Upstream { name, address } in &self.upstreams {
            if let Ok(stream) = TcpStream::connect(address).await {
                let _slower = stream.set_nodelay(true);
                return Some((stream, name.clone()));
            }
        }
        None
    }

    async fn relay(&self, phone: &mut TcpStream, node: &mut TcpStream, name: &str) -> io::Result<()> {
        let ((from_phone, to_phone), (from_node, to_node)) = (phone.split(), node.split());
        let mut tap = Tap { line: self, node: name, before: Vec::new() };
        tokio::try_join!(
            relay_one_way(from_phone, to_node, self.mode.subscribe(), |_| {}),
            relay_one_way(from_node, to_phone, self.mode.subscribe(), |chunk| tap.look(chunk)),
        )?;
        Ok(())
    }
}

/// Waits until the line is not frozen; `None` if it is no more.
async fn thawed(mode: &mut watch::Receiver<Mode>) -> Option<()> {
    mode.wait_for(|mode| !mode.is_frozen).await.ok().map(drop)
}

/// Takes what comes, frozen or not, and hands it on when it is not.
async fn relay_one_way(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    mut mode: watch::Receiver<Mode>,
    mut look: impl FnMut(&[u8]),
) -> io::Result<()> {
    let (sender, mut queue) = mpsc::channel::<Bytes>(CHUNKS_MAX);
    let taking = async move {
        let mut buffer = vec![0; CHUNK_BYTES];
        loop {
            let length = from.read(&mut buffer).await?;
            look(&buffer[..length]);
            let chunk = Bytes::copy_from_slice(&buffer[..length]);
            if length == 0 || sender.send(chunk).await.is_err() {
                return io::Result::Ok(());
            }
        }
    };
    let giving = async move {
        while let Some(chunk) = queue.recv().await {
            thawed(&mut mode).await.ok_or(io::ErrorKind::ConnectionReset)?;
            to.write_all(&chunk).await?;
        }
        thawed(&mut mode).await.ok_or(io::ErrorKind::ConnectionReset)?;
        to.shutdown().await
    };
    tokio::try_join!(taking, giving).map(drop)
}

/// The message that a frame says was written.
pub fn message_in(frame: &[u8]) -> Option<Uuid> {
    id_after(frame, MESSAGE, CHANNEL, 0).map(|(id, _)| id)
}

/// Finds the events and messages in what a node writes.
struct Tap<'a> {
    line: &'a Line,
    node: &'a str,
    before: Vec<u8>,
}

impl Tap<'_> {
    fn look(&mut self, chunk: &[u8]) {
        self.before.extend_from_slice(chunk);
        let (node, journal) = (self.node, &self.line.journal);
        let mut done = 0;
        let mut each = |before: &[u8], after: &[u8], note: &dyn Fn(Uuid)| {
            let mut from = 0;
            while let Some((id, end)) = id_after(&self.before, before, after, from) {
                note(id);
                from = end;
            }
            done = done.max(from);
        };
        each(b"\",\"node\":\"", b"\"", &|id| journal.met(id, node));
        let written = |id| journal.written(id, node, &self.line.name);
        each(b",\"id\":\"", b"\",\"seq\":", &written);
        each(MESSAGE, CHANNEL, &written);
        let kept = self.before.len().saturating_sub(OVERLAP_BYTES).max(done);
        self.before.drain(..kept);
    }
}

/// The first id behind `from` that stands between these two texts, and where it ends.
fn id_after(bytes: &[u8], before: &[u8], after: &[u8], from: usize) -> Option<(Uuid, usize)> {
    const ID_BYTES: usize = 36;
    let mut from = from;
    loop {
        let begin = from + find(&bytes[from..], before)? + before.len();
        let end = begin + ID_BYTES;
        let id = bytes.get(begin..end).and_then(|text| Uuid::try_parse_ascii(text).ok());
        if let Some(id) = id
            && bytes[end..].starts_with(after)
        {
            return Some((id, end));
        }
        from = begin;
    }
}

fn find(bytes: &[u8], what: &[u8]) -> Option<usize> {
    bytes.windows(what.len()).position(|window| window == what)
}

#[cfg(test)]
mod tests {
    use super::*;

    const EVENT: &str = "0193553a-7b0c-7d3e-8f00-000000000001";

    async fn line_to(node: &TcpListener) -> Arc<Line> {
        let address = node.local_addr().unwrap().to_string();
        let away = Upstream { name: "node-1".into(), address: "127.0.0.1:1".into() };
        let upstreams = vec![away, Upstream { name: "node-2".into(), address }];
        let user = User {
            email: "ada@example.com".into(),
            password: String::new(),
            id: String::new(),
            access_token: String::new(),
        };
        Line::open(&user, upstreams, &Arc::default(), &Shutdown::new()).await.unwrap()
    }

    async fn connected(line: &Line, node: &TcpListener) -> (TcpStream, TcpStream) {
        let phone = TcpStream::connect(("127.0.0.1", line.port)).await.unwrap();
        let served = node.accept().await.unwrap().0;
        until(|| line.report().connections > 0).await;
        (phone, served)
    }

    async fn until(holds: impl Fn() -> bool) {
        let waiting = async {
            while !holds() {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(Duration::from_secs(30), waiting).await.unwrap();
    }

    #[tokio::test]
    async fn a_frozen_line_takes_what_is_written_and_gives_it_when_it_thaws() {
        let node = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let line = line_to(&node).await;
        let (mut phone, mut served) = connected(&line, &node).await;
        assert_eq!(line.report().node.as_deref(), Some("node-2"), "the first one is away");

        line.set_frozen(true);
        let message = Uuid::now_v7();
        let frame = format!(
            r#"{{"type":"MESSAGE_CREATED","id":"{message}","channelId":"c"}}{{"type":"X","id":"{EVENT}","seq":7}}"#
        );
        served.write_all(frame.as_bytes()).await.unwrap();
        for id in [EVENT.parse().unwrap(), message] {
            until(|| !line.journal.way(id).written.is_empty()).await;
        }
        let mut buffer = vec![0; frame.len()];
        assert_eq!(phone.try_read(&mut buffer).unwrap_err().kind(), io::ErrorKind::WouldBlock);

        line.set_frozen(false);
        phone.read_exact(&mut buffer).await.unwrap();
        assert_eq!(buffer, frame.as_bytes());
    }

    #[tokio::test]
    async fn a_cut_line_ends_its_connections_and_takes_new_ones() {
        let node = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let line = line_to(&node).await;
        let (mut phone, mut served) = connected(&line, &node).await;
        line.cut();
        assert!(phone.read(&mut [0; 1]).await.is_err() && served.read(&mut [0; 1]).await.is_err());

        let (mut phone, mut served) = connected(&line, &node).await;
        phone.write_all(b"x").await.unwrap();
        served.read_exact(&mut [0; 1]).await.unwrap();
    }

    #[test]
    fn an_id_is_found_only_where_an_event_has_it() {
        let find = |text: &str| id_after(text.as_bytes(), b",\"id\":\"", b"\",\"seq\":", 0).map(|(id, _)| id);
        assert_eq!(find(&format!(r#"{{"a":1,"id":"{EVENT}","seq":1}}"#)), Some(EVENT.parse().unwrap()));
        let twice = format!(r#"{{"a":1,"id":"no","x":1,"id":"{EVENT}","seq":1}}"#);
        assert_eq!(find(&twice), Some(EVENT.parse().unwrap()));
        for text in ["", r#","id":""#, &format!(r#","id":"{EVENT}""#), &format!(r#","id":"{EVENT}","b":1"#)] {
            assert_eq!(find(text), None, "{text}");
        }
    }
}
