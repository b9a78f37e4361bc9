//! The main path, on three real processes: what is committed arrives, once, in order, everywhere.

use std::collections::HashSet;

use serde_json::json;

use crate::socket::Socket;
use crate::stage::{Stage, seq};

const CHANGES: usize = 1_000;

/// Reads a socket until the seq, and checks that each event came once and in order.
async fn read_until(socket: &mut Socket, first: i64, last: i64) -> Vec<String> {
    let mut ids = HashSet::new();
    let mut kinds = Vec::new();
    for expected in first..=last {
        let event = socket.next_event().await;
        assert_eq!(seq(&event), expected, "{event}");
        assert!(ids.insert(event["id"].as_str().unwrap().to_owned()), "twice: {event}");
        kinds.push(event["type"].as_str().unwrap().to_owned());
    }
    kinds
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_changes_reach_every_socket_once_and_in_order() {
    let stage = Stage::set_patient().await;
    stage.register_device(&stage.ann, "ann-phone", "ann-token").await;
    stage.register_device(&stage.bob, "bob-phone", "bob-token").await;
    let mut ann = stage.connect(&stage.ann, 0, "").await;
    let mut bob_phone = stage.connect(&stage.bob, 1, "").await;
    let mut bob_tablet = stage.connect(&stage.bob, 2, "").await;

    let changing = async {
        for change in 0..CHANGES {
            // Through the load balancer, so that every node is the one that commits.
            let actor = [&stage.ann, &stage.bob][change % 2];
            let status = ["AVAILABLE", "BUSY", "OFFLINE"][change % 3];
            actor.patch("/status", json!({ "status": status })).await.expect(200);
        }
    };
    // Seq 1 was the linking.
    let last = i64::try_from(CHANGES).unwrap() + 1;
    let reading = async {
        tokio::join!(
            read_until(&mut ann, 2, last),
            read_until(&mut bob_phone, 2, last),
            read_until(&mut bob_tablet, 2, last),
        )
    };
    let ((), (ann_kinds, phone_kinds, tablet_kinds)) = tokio::join!(changing, reading);

    assert_eq!(phone_kinds, tablet_kinds);
    for (ann_kind, bob_kind) in ann_kinds.iter().zip(&phone_kinds) {
        let mut kinds = [ann_kind.as_str(), bob_kind.as_str()];
        kinds.sort_unstable();
        assert_eq!(kinds, ["PARTNER_STATUS_CHANGED", "SELF_STATUS_CHANGED"]);
    }
    for socket in [&mut ann, &mut bob_phone, &mut bob_tablet] {
        socket.expect_nothing_more().await;
    }
    stage.until_settled().await;
    for user in [&stage.ann, &stage.bob] {
        for (seq, outcome) in stage.outcomes(user).await {
            assert_eq!(outcome.as_deref(), Some("delivered"), "{seq}");
        }
    }
    assert!(stage.pushes().is_empty(), "{:?}", stage.pushes());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_comes_back_with_since_misses_nothing_and_sees_nothing_twice() {
    let stage = Stage::set().await;
    let mut socket = stage.connect(&stage.bob, 1, "").await;
    for change in 0..5 {
        stage.ann_sets(0, ["AVAILABLE", "BUSY"][change % 2]).await;
    }
    read_until(&mut socket, 2, 6).await;
    socket.close().await;
    for change in 0..300 {
        stage.ann_sets(0, ["OFFLINE", "BUSY"][change % 2]).await;
    }

    // On another node, while more is committed.
    let mut resumed = stage.connect(&stage.bob, 2, "since=6").await;
    let changing = async {
        for change in 0..100 {
            stage.ann_sets(1, ["OFFLINE", "BUSY"][change % 2]).await;
        }
    };
    tokio::join!(changing, read_until(&mut resumed, 7, 406));
    resumed.expect_nothing_more().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_missed_too_much_is_told_to_read_the_state() {
    let stage = Stage::set().await;
    sqlx::query("UPDATE inboxes SET last_seq = 5000 WHERE user_id = $1::uuid")
        .bind(&stage.bob.id)
        .execute(&stage.pool)
        .await
        .unwrap();
    let mut behind = stage.connect(&stage.bob, 1, "since=1").await;
    let resync = behind.expect_event("RESYNC").await;
    assert_eq!(resync, json!({"type": "RESYNC", "reason": "too_far_behind", "fromSeq": 5000}));
    let mut ahead = stage.connect(&stage.bob, 2, "since=7000").await;
    let resync = ahead.expect_event("RESYNC").await;
    assert_eq!(resync, json!({"type": "RESYNC", "reason": "ahead_of_server", "fromSeq": 5000}));
    stage.ann_sets(0, "BUSY").await;
    for socket in [&mut behind, &mut ahead] {
        assert_eq!(seq(&socket.expect_event("PARTNER_STATUS_CHANGED").await), 5001);
    }
}
