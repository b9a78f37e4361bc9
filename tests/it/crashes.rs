//! A node dies once at every step of an event's path: the event still arrives, once and in order.
//!
//! Each failpoint of the code (`src/failpoint.rs` lists them) stands in one of the tables below, by what its crash must
//! leave behind. The nodes that are not meant to crash stand still meanwhile where they could do the work first.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use fanlight::dev::process::Signal;
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::client::Client;
use crate::rooms::{ROOMY, follow, room_of_two, say, take_invitation};
use crate::socket::Socket;
use crate::stage::{Stage, options, seq, until};

/// The request dies with its node, and nothing has happened: it can be made again.
const BEFORE_THE_COMMIT: [&str; 2] = ["authenticated", "before_commit"];
/// The node that committed dies: another one tells.
const TELLING: [&str; 5] =
    ["after_commit", "before_answer", "on_dispatch", "before_publish", "after_publish"];
/// The node that holds the socket dies: the client resumes elsewhere.
const RECEIVING: [&str; 6] =
    ["on_receive", "before_write", "after_write", "on_confirm", "before_settle", "after_settle"];
/// A node dies that wanted to tell again what nobody has confirmed.
const SWEEPING: [&str; 1] = ["on_sweep"];
/// The node that pushes dies: another one does it.
const PUSHING: [&str; 5] = ["after_claim", "before_push", "after_push", "after_record", "after_conclude"];
/// A node dies that settles what nobody came for.
const EXPIRING: [&str; 1] = ["after_expire"];
/// A node dies with a message that concerns somebody who is elsewhere: another one tells.
const NOTIFYING: [&str; 2] = ["before_noticing", "before_notifying"];
/// The node that wrote in a room dies: the others read what it has not said.
const IN_A_ROOM: [&str; 2] = ["room_committed", "room_unsaid"];

/// From the order to crash to the crash, on a machine that has other things to do.
const CRASHES_WITHIN: Duration = Duration::from_secs(60);
/// A node killed: confirmation or hand-off to FCM (the promptness goals).
const HANDED_OFF_WITHIN_MS: f64 = 20_000.0;
/// `delivery.rooms.compare_interval_ms`, and what a busy machine takes to look and read.
const ROOM_CONVERGES_WITHIN: Duration = Duration::from_secs(15);
/// Commits, tells and pushes.
const ACTOR: usize = 0;
/// Holds Bob's socket.
const HOLDER: usize = 1;
const OTHERS: [usize; 2] = [1, 2];

impl Stage {
    /// Starts a node again that will die at the failpoint.
    async fn arm(&mut self, node: usize, failpoint: &str) {
        let crash = ("FANLIGHT_FAILPOINTS".to_owned(), format!("{failpoint}=abort"));
        self.cluster.nodes[node].restart(&[crash]).await.unwrap();
    }

    async fn crashed(&mut self, node: usize, failpoint: &str) {
        let crashed = self.cluster.nodes[node].process.ended(CRASHES_WITHIN).await;
        assert!(crashed, "{failpoint}: never reached");
    }

    /// Ann changes her light through a node that may not live to answer. Returns whether it did.
    async fn ann_tries(&self, status: &str) -> bool {
        let ann = self.ann.at(&self.node(ACTOR));
        let request = ann.request(http::Method::PATCH, "/status").json(&json!({ "status": status }));
        request.send().await.is_ok_and(|answer| answer.status() == 200)
    }

    async fn last_seq(&self, user: &Client) -> i64 {
        self.outcomes(user).await.last().map_or(0, |(seq, _)| *seq)
    }

    /// Why each event of the user ended, or waits.
    async fn reasons(&self, user: &Client) -> Vec<Option<String>> {
        sqlx::query_scalar("SELECT reason FROM events WHERE user_id = $1::uuid ORDER BY seq")
            .bind(&user.id)
            .fetch_all(&self.pool)
            .await
            .unwrap()
    }

    async fn last_reason(&self, user: &Client) -> Option<String> {
        self.reasons(user).await.pop().flatten()
    }
}

/// Reads the next event, which has to be this one.
async fn expect_seq(socket: &mut Socket, expected: i64, failpoint: &str) {
    let event = socket.expect_event("PARTNER_STATUS_CHANGED").await;
    assert_eq!(seq(&event), expected, "{failpoint}: {event}");
}

/// A light that differs from the last one.
fn light(turn: usize) -> &'static str {
    ["AVAILABLE", "BUSY"][turn % 2]
}

#[tokio::test(flavor = "multi_thread")]
async fn before_the_commit_nothing_has_happened_and_after_it_another_node_tells() {
    let mut stage = Stage::set().await;
    // Ann is there, so that nothing of hers is left to be swept by an armed node.
    let _ann = stage.connect(&stage.ann, 2, "").await;
    let mut socket = stage.connect(&stage.bob, HOLDER, "").await;
    socket.expect_nothing_more().await;
    for (turn, failpoint) in BEFORE_THE_COMMIT.into_iter().chain(TELLING).enumerate() {
        stage.arm(ACTOR, failpoint).await;
        stage.until_known(&stage.bob).await;
        let last = stage.last_seq(&stage.bob).await;

        stage.ann_tries(light(turn)).await;
        stage.crashed(ACTOR, failpoint).await;

        if BEFORE_THE_COMMIT.contains(&failpoint) {
            assert_eq!(stage.last_seq(&stage.bob).await, last, "{failpoint}");
            stage.ann_sets(2, light(turn)).await;
        }
        expect_seq(&mut socket, last + 1, failpoint).await;
        socket.expect_nothing_more().await;
        stage.until_settled().await;
        assert_eq!(stage.last_reason(&stage.bob).await.as_deref(), Some("pong"), "{failpoint}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_whose_node_dies_with_its_event_resumes_elsewhere() {
    let mut stage = Stage::set().await;
    let _ann = stage.connect(&stage.ann, 2, "").await;
    for (turn, failpoint) in RECEIVING.into_iter().enumerate() {
        stage.arm(HOLDER, failpoint).await;
        let last = stage.last_seq(&stage.bob).await;
        let mut socket = stage.connect(&stage.bob, HOLDER, "").await;
        socket.expect_nothing_more().await;
        stage.until_known(&stage.bob).await;

        stage.ann_sets(ACTOR, light(turn)).await;
        stage.crashed(HOLDER, failpoint).await;

        let mut seen = last;
        while let Some(event) = socket.event_before_end().await {
            assert_eq!(seq(&event), seen + 1, "{failpoint}: {event}");
            seen += 1;
        }
        let mut resumed = stage.connect(&stage.bob, 2, &format!("since={seen}")).await;
        if seen == last {
            expect_seq(&mut resumed, last + 1, failpoint).await;
        }
        resumed.expect_nothing_more().await;
        stage.until_settled().await;
        let reason = stage.last_reason(&stage.bob).await;
        assert!(matches!(reason.as_deref(), Some("pong" | "resumed")), "{failpoint}: {reason:?}");
        resumed.close().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_that_was_taken_up_again_by_a_node_that_dies_is_told_by_its_holder() {
    let mut stage = Stage::set().await;
    for failpoint in SWEEPING {
        stage.arm(ACTOR, failpoint).await;
        let mut socket = stage.connect(&stage.bob, HOLDER, "").await;
        socket.expect_nothing_more().await;
        stage.until_known(&stage.bob).await;
        let last = stage.last_seq(&stage.bob).await;

        // Holds the event, and says nothing.
        stage.signal(&OTHERS, Signal::Stop);
        stage.ann_tries("BUSY").await;
        stage.crashed(ACTOR, failpoint).await;
        stage.signal(&OTHERS, Signal::Cont);

        expect_seq(&mut socket, last + 1, failpoint).await;
        socket.expect_nothing_more().await;
        stage.until_settled_for(&stage.bob).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_push_that_dies_with_its_node_is_made_by_another_and_seen_once() {
    const TOKEN: &str = "token-phone";
    let mut stage = Stage::set().await;
    stage.register_device(&stage.bob, "phone", TOKEN).await;
    for (turn, failpoint) in PUSHING.into_iter().enumerate() {
        stage.arm(ACTOR, failpoint).await;
        let last = stage.last_seq(&stage.bob).await;

        stage.signal(&OTHERS, Signal::Stop);
        let answered = stage.ann_tries(light(turn)).await;
        stage.crashed(ACTOR, failpoint).await;
        stage.signal(&OTHERS, Signal::Cont);
        stage.until_settled_for(&stage.bob).await;

        assert!(answered || stage.last_seq(&stage.bob).await == last + 1, "{failpoint}: never committed");
        assert_eq!(stage.last_reason(&stage.bob).await.as_deref(), Some("accepted"), "{failpoint}");
        let waited = stage.settled_after_ms(&stage.bob).await;
        assert!(waited <= HANDED_OFF_WITHIN_MS, "{failpoint}: {waited} ms");
        let told = (last + 1).to_string();
        let sends = stage.pushes().iter().filter(|push| push.message["data"]["seq"] == told).count();
        // What FCM has taken and nobody has written down is sent again; the device shows it once.
        let expected = if failpoint == "after_push" { 2 } else { 1 };
        assert_eq!(sends, expected, "{failpoint}");
        let screen = stage.cluster.fcm.device(TOKEN).screen;
        let shown: Vec<&Value> = screen.iter().map(|message| &message["data"]["seq"]).collect();
        assert_eq!(shown, [&json!(told)], "{failpoint}");
    }
    assert!(stage.reasons(&stage.bob).await.iter().all(Option::is_some));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_that_nobody_came_for_expires_once() {
    let mut stage = Stage::set().await;
    for failpoint in EXPIRING {
        stage.arm(ACTOR, failpoint).await;
        stage.signal(&OTHERS, Signal::Stop);
        stage.ann_sets(ACTOR, "BUSY").await;
        until("it waits for a device", async || {
            stage.last_reason(&stage.bob).await.as_deref() == Some("no_device")
        })
        .await;

        sqlx::query("UPDATE events SET expires_at = now(), due_at = now() WHERE outcome IS NULL AND user_id = $1::uuid")
            .bind(&stage.bob.id)
            .execute(&stage.pool)
            .await
            .unwrap();
        stage.crashed(ACTOR, failpoint).await;
        stage.signal(&OTHERS, Signal::Cont);

        let (_, outcome) = stage.outcomes(&stage.bob).await.pop().unwrap();
        assert_eq!(outcome.as_deref(), Some("expired"), "{failpoint}");
        assert_eq!(stage.last_reason(&stage.bob).await.as_deref(), Some("no_device"), "{failpoint}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_written_to_is_told_once_although_the_node_dies_with_the_message() {
    let mut stage = Stage::set().await;
    let direct = json!({"kind": "direct", "userId": stage.bob.id});
    let direct = stage.ann.post("/channels/", direct).await.expect(201)["id"].clone();
    let mut socket = stage.connect(&stage.bob, HOLDER, "").await;
    socket.expect_event("CHANNEL_CREATED").await;
    stage.until_settled_for(&stage.bob).await;
    for failpoint in NOTIFYING {
        stage.arm(ACTOR, failpoint).await;
        stage.until_known(&stage.bob).await;

        // They would take it up first.
        stage.signal(&OTHERS, Signal::Stop);
        let ann = stage.ann.at(&stage.node(ACTOR));
        let message = json!({"channelId": direct, "content": "hello", "clientId": failpoint});
        let request = ann.request(http::Method::POST, "/messages").json(&message);
        // It may not live to answer.
        let _answer = request.send().await;
        stage.crashed(ACTOR, failpoint).await;
        stage.signal(&OTHERS, Signal::Cont);

        let told = socket.expect_event("DIRECT_MESSAGE").await;
        let written = stage.ann.at(&stage.node(HOLDER)).post("/messages", message).await.expect(200);
        assert_eq!(told["messageId"], written["id"], "{failpoint}");
        socket.expect_nothing_more().await;
        stage.until_settled_for(&stage.bob).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_node_wrote_in_a_room_before_it_died_is_heard_once_by_comparison_or_with_the_next_change() {
    let mut stage = Stage::set_on(options(&ROOMY)).await;
    let room = room_of_two(&stage).await;
    take_invitation(&stage).await;
    let mut bob = follow(&stage, &stage.bob, HOLDER, &room).await;
    for (failpoint, is_followed) in IN_A_ROOM.into_iter().flat_map(|it| [(it, true), (it, false)]) {
        stage.arm(ACTOR, failpoint).await;
        let content = format!("{failpoint}, followed: {is_followed}");
        let message = json!({"channelId": room, "content": content, "clientId": content});
        let request =
            stage.ann.at(&stage.node(ACTOR)).request(http::Method::POST, "/messages/").json(&message);
        let sent_at = Instant::now();
        // Whether it is answered, depends on which is faster.
        let _answer = request.send().await;
        stage.crashed(ACTOR, failpoint).await;
        if is_followed {
            say(&stage, &stage.ann, 2, &room, "next").await;
        }

        let heard = bob.expect_event("MESSAGE_CREATED").await;
        assert_eq!(heard["content"], content.as_str(), "{heard}");
        assert!(sent_at.elapsed() < ROOM_CONVERGES_WITHIN, "{failpoint}: {:?}", sent_at.elapsed());
        if is_followed {
            assert_eq!(bob.expect_event("MESSAGE_CREATED").await["content"], "next");
        }
        // Who was not answered sends it again, and it is the same message.
        let again = stage.ann.at(&stage.node(2)).post("/messages/", message).await.expect(200);
        assert_eq!(again["id"], heard["id"], "{failpoint}");
        bob.expect_nothing_more().await;
    }
}

#[test]
fn every_failpoint_of_the_code_is_listed_and_crashed_at() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut in_code = Vec::new();
    for path in sources(&root.join("src")) {
        let text = std::fs::read_to_string(&path).unwrap();
        let names =
            text.split("failpoint!(\"").skip(1).map(|rest| rest.split('"').next().unwrap().to_owned());
        in_code.extend(names);
    }
    let page = std::fs::read_to_string(root.join("src/failpoint.rs")).unwrap();
    let rows = page.lines().filter_map(|line| line.strip_prefix("//! | `"));
    let listed: Vec<&str> = rows.map(|row| row.split('`').next().unwrap()).collect();
    let tables = [
        &BEFORE_THE_COMMIT[..],
        &TELLING,
        &RECEIVING,
        &SWEEPING,
        &PUSHING,
        &EXPIRING,
        &NOTIFYING,
        &IN_A_ROOM,
    ];

    assert_eq!(tables.concat(), listed, "the tables here and in src/failpoint.rs");
    let distinct: BTreeSet<&str> = in_code.iter().map(String::as_str).collect();
    assert_eq!(distinct.len(), in_code.len(), "a name stands for one place: {in_code:?}");
    assert_eq!(distinct, listed.into_iter().collect::<BTreeSet<_>>(), "the code and src/failpoint.rs");
}

fn sources(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap().map(Result::unwrap) {
        let path = entry.path();
        if path.is_dir() {
            found.extend(sources(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
    found
}
