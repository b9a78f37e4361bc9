//! A full room on three nodes, one of which dies while everybody writes.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use fanlight::dev::people::{self, Person};
use fanlight::dev::process::Signal;
use futures_util::future::join_all;
use http::Method;
use serde_json::{Value, json};
use tokio::task::JoinSet;

use super::{ROOMY, open_room};
use crate::client::Api;
use crate::socket::Socket;
use crate::stage::{Stage, options, seq};

const NODES: usize = 3;
/// The one that is killed.
const DOOMED: usize = 1;
const TOKEN_TTL: Duration = Duration::from_secs(3_600);
/// Between two attempts to come in again.
const PAUSE: Duration = Duration::from_millis(50);

struct Size {
    members: usize,
    writers: usize,
    messages: i64,
}

#[tokio::test(flavor = "multi_thread")]
async fn everybody_in_a_room_hears_everything_once_and_in_order_although_a_node_dies() {
    run(Size { members: 60, writers: 8, messages: 800 }).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "minutes; `cargo test --release --test it -- --ignored three_hundred`"]
async fn three_hundred_hear_ten_thousand_messages_although_a_node_dies() {
    run(Size { members: 300, writers: 20, messages: 10_000 }).await;
}

async fn run(Size { members, writers, messages }: Size) {
    let mut stage = Stage::set_on(options(&ROOMY)).await;
    let everybody = people::people(&stage.cluster, &stage.pool, members + 1, TOKEN_TTL).await.unwrap();
    let (outsider, members) = everybody.split_last().unwrap();
    let room = open_room(&stage, members).await;
    let nodes: Vec<String> = (0..NODES).map(|node| stage.node(node)).collect();
    let mut outside = enter(&nodes[0], outsider, &room, 0).await.unwrap();
    let refused = outside.expect_event("ERROR").await;
    assert_eq!(refused["code"], "forbidden", "{refused}");

    // A task each, as each has a phone of its own: in one task they would take turns, and a handshake takes several.
    let mut following = JoinSet::new();
    for (place, member) in members.iter().enumerate() {
        let follower = Follower { nodes: nodes.clone(), member: member.clone(), room: room.clone() };
        following.spawn(follower.until(place % NODES, messages));
    }
    let made = Arc::new(AtomicI64::new(0));
    let writing = members[..writers].iter().map(|writer| {
        let apis = [0, 2].map(|node: usize| Api::anonymous(&nodes[node]).with_bearer(writer.token.clone()));
        write(apis, room.clone(), Arc::clone(&made), messages)
    });
    let killing = async {
        while made.load(Ordering::SeqCst) < messages / 2 {
            tokio::time::sleep(PAUSE).await;
        }
        stage.cluster.nodes[DOOMED].process.signal(Signal::Kill).unwrap();
    };
    let (_, heard, ()) = tokio::join!(join_all(writing), following.join_all(), killing);

    for texts in &heard {
        assert_eq!(texts, &heard[0], "everybody hears the same");
    }
    let stored: Vec<String> =
        sqlx::query_scalar("SELECT content FROM messages WHERE channel_id = $1::uuid ORDER BY seq")
            .bind(&room)
            .fetch_all(&stage.pool)
            .await
            .unwrap();
    assert_eq!(heard[0], stored);
    outside.expect_nothing_more().await;
}

/// Writes what is left of so many messages; what was not answered is said again to another node.
async fn write(apis: [Api; 2], room: String, made: Arc<AtomicI64>, messages: i64) {
    loop {
        let number = made.fetch_add(1, Ordering::SeqCst);
        if number >= messages {
            return;
        }
        let content = format!("message {number}");
        let body = json!({"channelId": room, "content": content, "clientId": content});
        let mut attempts = apis.iter().cycle();
        loop {
            let request = attempts.next().unwrap().request(Method::POST, "/messages/").json(&body);
            if request.send().await.is_ok_and(|answer| answer.status().is_success()) {
                break;
            }
            tokio::time::sleep(PAUSE).await;
        }
    }
}

struct Follower {
    nodes: Vec<String>,
    member: Person,
    room: String,
}

impl Follower {
    /// Follows the room until this many messages have come, and comes back whenever it was cut off. Returns what they say.
    async fn until(self, mut node: usize, last: i64) -> Vec<String> {
        let mut heard = Vec::new();
        let mut last_id = None;
        loop {
            let since = i64::try_from(heard.len()).unwrap();
            let Ok(mut socket) = enter(&self.nodes[node], &self.member, &self.room, since).await else {
                tokio::time::sleep(PAUSE).await;
                continue;
            };
            while let Some(frame) = socket.event_before_end().await {
                match frame["type"].as_str().unwrap() {
                    "MESSAGE_CREATED" => {
                        let next = i64::try_from(heard.len()).unwrap() + 1;
                        assert_eq!(seq(&frame), next, "{frame}");
                        heard.push(frame["content"].as_str().unwrap().to_owned());
                        last_id = frame["id"].as_str().map(str::to_owned);
                    }
                    "ROOM_RESYNC" => {
                        let up_to = frame["fromSeq"].as_i64().unwrap();
                        self.read(node, up_to, &mut heard, &mut last_id).await;
                    }
                    "OK" => {}
                    _ => panic!("{frame}"),
                }
                if i64::try_from(heard.len()).unwrap() == last {
                    return heard;
                }
            }
            node = if node == DOOMED { (node + heard.len()) % 2 * 2 } else { node };
        }
    }

    /// Reads by REST what was too much to be told, up to this seq: what comes later is told.
    async fn read(&self, node: usize, up_to: i64, heard: &mut Vec<String>, last_id: &mut Option<String>) {
        let survivor = &self.nodes[node / 2 * 2];
        let api = Api::anonymous(survivor).with_bearer(self.member.token.clone());
        while i64::try_from(heard.len()).unwrap() < up_to {
            let after = last_id.as_deref().expect("who has missed so much has heard something before");
            let path = format!("/messages/channels/{}?limit=100&after={after}", self.room);
            let page = api.get(&path).await.expect(200);
            for message in page["items"].as_array().unwrap().iter().filter(|it| seq(it) <= up_to) {
                heard.push(message["content"].as_str().unwrap().to_owned());
                assert_eq!(seq(message), i64::try_from(heard.len()).unwrap(), "{message}");
                *last_id = message["id"].as_str().map(str::to_owned);
            }
        }
    }
}

async fn enter(node: &str, person: &Person, room: &str, since: i64) -> Result<Socket, u16> {
    let socket = Socket::try_open(&format!("{node}/ws?token={}", person.token), &[]).await?;
    socket.send(subscribe(room, since)).await;
    Ok(socket)
}

fn subscribe(room: &str, since: i64) -> Value {
    json!({"type": "SUBSCRIBE", "channelId": room, "since": since})
}
