//! What a client gets that comes back: everything it missed, once and in order, wherever it connects.

use serde_json::json;

use crate::stage::{Stage, seq, until};

/// Far more than one replay sends.
const BACKLOG: i64 = 50_000;
const BODY_BYTES: usize = 2_000;
/// Much less than the backlog (100 MB), much more than a page of it.
const GROWTH_MAX_KIB: u64 = 16 * 1_024;

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_hops_between_nodes_under_load_sees_each_event_once_and_in_order() {
    const HOPS: usize = 30;
    let stage = Stage::set_patient().await;
    let (stop, stopped) = tokio::sync::watch::channel(false);
    let load = async {
        let mut change = 0;
        while !*stopped.borrow() {
            let status = ["AVAILABLE", "BUSY"][change % 2];
            stage
                .ann
                .at(&stage.node(change % 3))
                .patch("/status", json!({"status": status}))
                .await
                .expect(200);
            change += 1;
        }
    };
    let hops = async {
        let mut seen = 1;
        for hop in 0..HOPS {
            let mut socket = stage.connect(&stage.bob, 1 + hop % 2, &format!("since={seen}")).await;
            // Some from the replay, some live; then gone without a word.
            for _ in 0..=hop % 7 {
                seen += 1;
                assert_eq!(seq(&socket.next_event().await), seen, "hop {hop}");
            }
        }
        stop.send_replace(true);
        seen
    };
    let ((), seen) = tokio::join!(load, hops);

    let last = stage.outcomes(&stage.bob).await.last().unwrap().0;
    let mut socket = stage.connect(&stage.bob, 2, &format!("since={seen}")).await;
    for expected in seen + 1..=last {
        assert_eq!(seq(&socket.next_event().await), expected);
    }
    socket.expect_nothing_more().await;
    stage.until_settled_for(&stage.bob).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_device_that_comes_back_before_its_old_socket_is_known_to_be_dead_replaces_it() {
    let stage = Stage::set_patient().await;
    let mut half_open = stage.connect(&stage.bob, 1, "deviceId=phone").await;
    let mut tablet = stage.connect(&stage.bob, 1, "deviceId=tablet").await;
    half_open.expect_nothing_more().await;
    tablet.expect_nothing_more().await;
    half_open.freeze();

    let mut resumed = stage.connect(&stage.bob, 2, "deviceId=phone&since=1").await;
    stage.ann_sets(0, "BUSY").await;
    for socket in [&mut resumed, &mut tablet] {
        assert_eq!(seq(&socket.expect_event("PARTNER_STATUS_CHANGED").await), 2);
        socket.expect_nothing_more().await;
    }

    half_open.thaw();
    assert_eq!(half_open.expect_close().await.0, 4005);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_long_absence_is_replayed_page_by_page_or_answered_with_resync() {
    let mut stage = Stage::set_patient().await;
    let body = json!({"type": "OLD", "text": "x".repeat(BODY_BYTES)}).to_string();
    sqlx::query(
        "WITH later AS (UPDATE inboxes SET last_seq = $3 WHERE user_id = $1::uuid)
         INSERT INTO events (id, user_id, seq, kind, body, expires_at, due_at)
         SELECT gen_random_uuid(), $1::uuid, seq, 'OLD', $2, now() + interval '1 day', now() + interval '1 day'
         FROM generate_series(2, $3) AS seq",
    )
    .bind(&stage.bob.id)
    .bind(body)
    .bind(BACKLOG)
    .execute(&stage.pool)
    .await
    .unwrap();

    for query in ["since=1", ""] {
        let mut absent = stage.connect(&stage.bob, 0, query).await;
        // Without `since` it gets what was not settled, up to the limit.
        let resync = loop {
            let frame = absent.next_event().await;
            if frame["type"] == "RESYNC" {
                break frame;
            }
            assert!(query.is_empty() && seq(&frame) <= 1_001, "{query}");
        };
        assert_eq!(resync, json!({"type": "RESYNC", "reason": "too_far_behind", "fromSeq": BACKLOG}));
        absent.close().await;
    }

    let generous = ["REPLAY_EVENTS_MAX", "KEPT_EVENTS_PER_USER_MAX"]
        .map(|key| (format!("FANLIGHT__DELIVERY__{key}"), (2 * BACKLOG).to_string()));
    stage.cluster.nodes[1].restart(&generous).await.unwrap();
    stage.connect(&stage.bob, 1, &format!("since={BACKLOG}")).await.close().await;
    let pid = stage.cluster.nodes[1].process.pid();
    let before = resident_kib(pid);
    let mut patient = stage.connect(&stage.bob, 1, "since=1").await;
    let mut most = 0;
    for expected in 2..=BACKLOG {
        assert_eq!(seq(&patient.next_event().await), expected);
        if expected % 500 == 0 {
            most = most.max(resident_kib(pid));
        }
    }
    patient.expect_nothing_more().await;
    let growth = most.saturating_sub(before);
    assert!(growth < GROWTH_MAX_KIB, "{growth} KiB more for a replay of {BACKLOG} events");
    for result in ["lossless", "replayed"] {
        let label = format!("result=\"{result}\"");
        assert_eq!(stage.metric(1, "fanlight_resumes_total", &label).await, 1, "{result}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_acknowledges_is_confirmed_by_nothing_else() {
    let stage = Stage::set_patient().await;
    let url = format!("{}/ws?token={}&since=1", stage.node(1), stage.bob.access_token);
    let mut socket = crate::socket::Socket::open(&url, &[("sec-websocket-protocol", "fanlight.v1")]).await;
    socket.expect_event("WELCOME").await;
    stage.ann_sets(0, "BUSY").await;
    stage.ann_sets(0, "AVAILABLE").await;
    for expected in [2, 3] {
        assert_eq!(seq(&socket.expect_event("PARTNER_STATUS_CHANGED").await), expected);
    }
    // It answers pings, and that confirms nothing; stored is what it says.
    socket.send(json!({"type": "ACK", "seq": 2})).await;
    until("the first is settled", async || stage.outcomes(&stage.bob).await[1].1.is_some()).await;
    assert_eq!(stage.outcomes(&stage.bob).await[2].1, None);

    drop(socket);
    let mut resumed = stage.connect(&stage.bob, 2, "since=2").await;
    assert_eq!(seq(&resumed.expect_event("PARTNER_STATUS_CHANGED").await), 3);
    stage.until_settled_for(&stage.bob).await;
}

fn resident_kib(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}
