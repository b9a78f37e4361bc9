//! What happens when the clocks of the nodes disagree: the first is right, the second ahead, the third behind.

use std::time::Duration;

use fanlight::config::Config;
use fanlight::dev::faketime;
use fanlight::domain::clock::{Clock as _, SystemClock};
use serde_json::json;

use crate::client::Client;
use crate::stage::{Stage, options, seq, until};
use crate::stores::Watchers;

const RIGHT: usize = 0;
const AHEAD: usize = 1;
const BEHIND: usize = 2;
const HOURS_OFF: [(usize, i32); 2] = [(AHEAD, 2), (BEHIND, -2)];
const HOUR_MS: f64 = 3_600_000.0;
const MINUTE_MS: f64 = 60_000.0;
/// `delivery.ack_deadline_ms`
const ACK_DEADLINE_MS: f64 = 5_000.0;
/// Less than the clocks are off.
const LIFE: Duration = Duration::from_hours(1);
const SHORT_LIFE: Duration = Duration::from_secs(3);

impl Stage {
    /// Sets the clocks of two nodes wrong, and gives the couple tokens that are valid by all of them.
    async fn set_clocks_wrong(&mut self) {
        for (node, hours) in HOURS_OFF {
            let env = faketime::off_by(&format!("{hours:+}h")).unwrap();
            self.cluster.nodes[node].restart(&env).await.unwrap();
        }
        self.ann = self.with_long_token(&self.ann);
        self.bob = self.with_long_token(&self.bob);
    }

    /// From four hours ago to in four hours.
    fn with_long_token(&self, client: &Client) -> Client {
        let config = Config::load(Some(&self.cluster.state.path().join("fanlight.toml"))).unwrap();
        let (keys, now) = (config.auth.key_ring().unwrap(), SystemClock.now());
        let claims = keys.verify(&client.access_token, now).unwrap();
        let (began, ttl) = (now - Duration::from_hours(4), Duration::from_hours(8));
        client.with_token(&keys.mint(claims.sub, claims.sid, began, ttl))
    }

    async fn append(&self, user: &Client, kind: &str, ttl: Duration) {
        sqlx::query("SELECT append_event(gen_random_uuid(), $1::uuid, $2, $3, NULL, $4)")
            .bind(&user.id)
            .bind(kind)
            .bind(json!({"type": kind, "timestamp": 0}).to_string())
            .bind(i64::try_from(ttl.as_millis()).unwrap())
            .execute(&self.pool)
            .await
            .unwrap();
    }

    /// How long after its commit the user's last event was to be pushed, if it was.
    async fn turned_to_push_after_ms(&self, user: &Client) -> Option<f64> {
        sqlx::query_scalar(
            "SELECT (EXTRACT(EPOCH FROM min(pushes.updated_at) - min(events.created_at)) * 1000)::float8
             FROM events JOIN pushes ON pushes.event_id = events.id
             WHERE seq = (SELECT last_seq FROM inboxes WHERE user_id = $1::uuid) AND user_id = $1::uuid",
        )
        .bind(&user.id)
        .fetch_one(&self.pool)
        .await
        .unwrap()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nodes_whose_clocks_are_hours_off_tell_each_event_once_and_push_nobody_who_is_there() {
    const ROUNDS: usize = 4;
    let mut stage = Stage::set_patient().await;
    stage.set_clocks_wrong().await;
    let mut ann = stage.connect(&stage.ann, RIGHT, "").await;
    ann.expect_nothing_more().await;
    // At the wrong ones.
    let mut watchers = Watchers::new(&stage).await;

    let mut times = Vec::new();
    for _ in 0..ROUNDS {
        for (node, hours) in [(RIGHT, 0)].into_iter().chain(HOURS_OFF) {
            let committed = stage.ann_sets(node, "BUSY").await;
            let told = ann.expect_event("SELF_STATUS_CHANGED").await;
            // By the clock of the node, which is as wrong as it should be.
            let error = told["timestamp"].as_f64().unwrap() - committed - f64::from(hours) * HOUR_MS;
            assert!(error.abs() < MINUTE_MS, "{error} ms");
            times.push(committed);
        }
    }

    assert!(times.is_sorted(), "{times:?}");
    watchers.saw_everything(&stage).await;
    for (seq, outcome) in stage.outcomes(&stage.bob).await {
        assert_eq!(outcome.as_deref(), Some("delivered"), "{seq}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nodes_whose_clocks_are_hours_off_keep_deadlines_and_lives() {
    let mut stage = Stage::set().await;
    stage.set_clocks_wrong().await;
    // None of its own clock's making: the stores measure both.
    stage.append(&stage.ann, "LATE", LIFE).await;
    stage.append(&stage.ann, "SOON", SHORT_LIFE).await;
    until("the short life has ended", async || stage.outcomes(&stage.ann).await[2].1.is_some()).await;
    assert_eq!(stage.outcomes(&stage.ann).await[2].1.as_deref(), Some("expired"));
    assert!(stage.settled_after_ms(&stage.ann).await >= 3_000.0);
    assert_eq!(stage.outcomes(&stage.ann).await[1].1, None);
    let mut ann = stage.connect(&stage.ann, BEHIND, "").await;
    assert_eq!(seq(&ann.expect_event("LATE").await), 2);
    stage.until_settled().await;
    ann.close().await;

    stage.register_device(&stage.bob, "phone", "token-phone").await;
    for (node, _) in HOURS_OFF {
        let mut phone = stage.connect(&stage.bob, node, "").await;
        phone.expect_nothing_more().await;
        phone.freeze();
        stage.ann_sets(node, "BUSY").await;
        until("it is to be pushed", async || stage.turned_to_push_after_ms(&stage.bob).await.is_some()).await;
        let waited = stage.turned_to_push_after_ms(&stage.bob).await.unwrap();
        assert!(waited >= ACK_DEADLINE_MS, "{waited} ms");
        phone.thaw();
        phone.expect_event("PARTNER_STATUS_CHANGED").await;
        stage.until_settled_for(&stage.bob).await;
        phone.close().await;
    }
}

/// Tokens are the one thing that begins and ends by the clock of a node.
#[tokio::test(flavor = "multi_thread")]
async fn a_token_of_a_node_whose_clock_is_hours_off_is_refused_and_refreshed_elsewhere() {
    let mut stage = Stage::set_on(options(&[("FANLIGHT__ACCOUNTS__ACCESS_TTL_SECONDS", "900")])).await;
    stage.set_clocks_wrong().await;
    for (wrong, _) in HOURS_OFF {
        let session = stage.bob.at(&stage.node(wrong)).log_in_again().await;
        session.get("/me").await.expect(200);
        let right = session.at(&stage.node(RIGHT));
        right.get("/me").await.expect_problem(401, "unauthenticated");
        let refresh = json!({"refreshToken": session.refresh_token});
        let refreshed = right.post("/auth/refresh", refresh).await.expect(200);
        right.with_token(refreshed["accessToken"].as_str().unwrap()).get("/me").await.expect(200);
    }
}
