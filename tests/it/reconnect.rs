//! What coming back costs: nothing that a crowd of returning clients could turn into an outage.

use crate::client::Client;
use crate::stage::{Stage, options, seq, until};

const RECONNECTS: usize = 60;

impl Stage {
    /// The number of the next transaction that writes, as Postgres counts them: one that only reads takes none.
    async fn next_write(&self) -> i64 {
        sqlx::query_scalar("SELECT pg_snapshot_xmax(pg_current_snapshot())::text::bigint")
            .fetch_one(&self.pool)
            .await
            .unwrap()
    }

    /// Postgres' own housekeeping writes too, whenever it likes.
    async fn without_autovacuum(&self) {
        sqlx::query("ALTER SYSTEM SET autovacuum = off").execute(&self.pool).await.unwrap();
        sqlx::query("SELECT pg_reload_conf()").execute(&self.pool).await.unwrap();
        until("autovacuum has ended", async || {
            let running: i64 = sqlx::query_scalar(
                "SELECT count(*) FROM pg_stat_activity WHERE backend_type LIKE 'autovacuum%'",
            )
            .fetch_one(&self.pool)
            .await
            .unwrap();
            running == 0
        })
        .await;
    }

    /// The sum of a metric over all nodes, and over those of its series that have this in their labels.
    async fn metric_of_all(&self, name: &str, label: &str) -> u64 {
        let mut sum = 0;
        for node in 0..self.cluster.nodes.len() {
            sum += self.metric(node, name, label).await;
        }
        sum
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reconnect_hashes_nothing_writes_nothing_and_pushes_nobody() {
    // Who went offline before is written down when the grace is over.
    let stage = Stage::set_on(options(&[("FANLIGHT__PRESENCE__GRACE_MS", "600000")])).await;
    stage.register_device(&stage.bob, "phone", "token-phone").await;
    let bob: &Client = &stage.bob;
    let mut socket = stage.connect(bob, 0, "").await;
    let ann = stage.connect(&stage.ann, 0, "").await;
    stage.ann_sets(0, "BUSY").await;
    let last = seq(&socket.expect_event("PARTNER_STATUS_CHANGED").await);
    // An event that waits for somebody is looked at again and again, which writes.
    stage.until_settled().await;
    socket.close().await;
    ann.close().await;
    stage.without_autovacuum().await;
    let hashes = async || stage.metric_of_all("fanlight_accounts_hashing_seconds_count", "").await;
    let (hashed_before, written_before) = (hashes().await, stage.next_write().await);
    assert!(hashed_before >= 1, "the metric is there");

    for reconnect in 0..RECONNECTS {
        // Half of them with what a resume brings in, half while the former socket is still open.
        let query = format!("since={last}&deviceId=phone");
        let mut socket = stage.connect(bob, reconnect % 3, &query).await;
        socket.expect_nothing_more().await;
        if reconnect % 2 == 0 {
            socket.close().await;
        }
    }

    assert_eq!(stage.metric_of_all("fanlight_resumes_total", "lossless").await, RECONNECTS as u64);
    assert_eq!(stage.next_write().await, written_before, "transactions that wrote");
    assert_eq!(hashes().await, hashed_before, "passwords hashed");
    assert!(stage.pushes().is_empty(), "{:?}", stage.pushes());
}
