//! Presence on three real nodes: who watches hears each change once, whatever becomes of nodes and of Redis.

use fanlight::dev::process::Signal;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::client::Client;
use crate::socket::Socket;
use crate::stage::{Stage, options, until};

/// Nobody is pushed who is there, and nobody waits long for a grace.
const SHORT: [(&str, &str); 3] = [
    ("FANLIGHT__DELIVERY__ACK_DEADLINE_MS", "60000"),
    ("FANLIGHT__PRESENCE__GRACE_MS", "3000"),
    ("FANLIGHT__PRESENCE__SWEEP_INTERVAL_MS", "500"),
];

/// Ann on the first node, who watches Bob, who is offline.
async fn ann_watches(stage: &Stage) -> Socket {
    until("Bob is offline", async || status(&stage.ann, &stage.bob).await == "offline").await;
    let mut ann = stage.connect(&stage.ann, 0, "").await;
    ann.send(json!({"type": "WATCH", "userIds": [stage.bob.id], "ref": 1})).await;
    let answer = ann.expect_event("OK").await;
    assert_eq!(
        (&answer["ref"], &answer["presence"][0]["status"]),
        (&json!(1), &json!("offline")),
        "{answer}"
    );
    ann
}

async fn status(viewer: &Client, user: &Client) -> String {
    let answer = viewer.get(&format!("/presence?userIds={}", user.id)).await.expect(200);
    answer["items"][0]["status"].as_str().unwrap().to_owned()
}

/// The node that answers for this user, unless somebody is to look.
async fn answering(stage: &Stage, user: &Client) -> Option<Uuid> {
    let answers = "SELECT node FROM user_presence WHERE user_id = $1::uuid AND look_at IS NULL";
    sqlx::query_scalar(answers).bind(&user.id).fetch_optional(&stage.pool).await.unwrap()
}

async fn expect(socket: &mut Socket, user: &Client, status: &str) -> Value {
    let change = socket.expect_event("PRESENCE_CHANGED").await;
    assert_eq!((&change["userId"], &change["status"]), (&json!(user.id), &json!(status)), "{change}");
    assert_eq!(change["lastSeen"].is_i64(), status == "offline", "{change}");
    change
}

#[tokio::test(flavor = "multi_thread")]
async fn the_users_of_a_killed_node_go_offline_once_unless_they_come_back() {
    let mut stage = Stage::set_on(options(&SHORT)).await;
    let mut ann = ann_watches(&stage).await;
    let _bob = stage.connect(&stage.bob, 1, "").await;
    expect(&mut ann, &stage.bob, "online").await;

    let killed = answering(&stage, &stage.bob).await;
    stage.signal(&[1], Signal::Kill);
    let back = stage.connect(&stage.bob, 2, "").await;
    until("the other node answers", async || {
        let node = answering(&stage, &stage.bob).await;
        node.is_some() && node != killed
    })
    .await;
    back.close().await;
    let offline = expect(&mut ann, &stage.bob, "offline").await;
    let waited = offline["timestamp"].as_i64().unwrap() - offline["lastSeen"].as_i64().unwrap();
    assert!(waited >= 3_000, "{offline}");

    let _again = stage.connect(&stage.bob, 2, "").await;
    expect(&mut ann, &stage.bob, "online").await;
    stage.signal(&[2], Signal::Kill);
    expect(&mut ann, &stage.bob, "offline").await;
    ann.expect_nothing_more().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redis_without_a_memory_makes_nobody_offline() {
    let stage = Stage::set_on(options(&SHORT)).await;
    let mut ann = ann_watches(&stage).await;
    let bob = stage.connect(&stage.bob, 1, "").await;
    expect(&mut ann, &stage.bob, "online").await;

    let before = answering(&stage, &stage.bob).await;
    let client = redis::Client::open(stage.cluster.redis.url()).unwrap();
    let mut redis = fanlight::dev::redis::connect(&client).await.unwrap();
    redis::cmd("FLUSHALL").query_async::<()>(&mut redis).await.unwrap();
    // Another node than his is to look at him now.
    let look = "UPDATE user_presence SET look_at = now(),
                node = (SELECT node FROM user_presence WHERE user_id = $2::uuid) WHERE user_id = $1::uuid";
    sqlx::query(look).bind(&stage.bob.id).bind(&stage.ann.id).execute(&stage.pool).await.unwrap();
    until("his own answers again", async || answering(&stage, &stage.bob).await == before).await;
    assert_eq!(status(&stage.ann, &stage.bob).await, "online");
    ann.expect_nothing_more().await;

    bob.send(json!({"type": "PRESENCE", "status": "away"})).await;
    expect(&mut ann, &stage.bob, "away").await;
    bob.close().await;
    expect(&mut ann, &stage.bob, "offline").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_watches_hears_of_it_while_redis_is_away() {
    let mut stage = Stage::set_on(options(&SHORT)).await;
    let mut ann = ann_watches(&stage).await;
    stage.cluster.redis.process.signal(Signal::Stop).unwrap();
    let bob = stage.connect(&stage.bob, 1, "").await;
    expect(&mut ann, &stage.bob, "online").await;
    stage.cluster.redis.process.signal(Signal::Cont).unwrap();
    bob.close().await;
    expect(&mut ann, &stage.bob, "offline").await;
    ann.expect_nothing_more().await;
}
