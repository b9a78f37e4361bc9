//! Notifications through messages that are written and a job that runs, on a real Postgres.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use parking_lot::Mutex;
use serde_json::{Value, json};

use crate::delivery::dispatcher::Dispatcher;
use crate::domain::ids::{ChannelId, UserId};
use crate::features::channels::tests::made;
use crate::features::fixture::{Sections, World};
use crate::features::messages::tests::send;
use crate::features::notifications::decision::Reason;
use crate::features::notifications::{Attention, AttentionUnavailable, Teller};

mod deciding;
mod decision;
mod invitations;
mod meanwhile;
mod noting;
mod preferences;
mod races;
mod telling;

/// What is on people's screens.
#[derive(Default)]
struct Screens {
    shown: Mutex<HashSet<(UserId, ChannelId)>>,
    is_away: AtomicBool,
}

#[async_trait]
impl Attention for Screens {
    async fn viewing(
        &self,
        places: &[(UserId, ChannelId)],
    ) -> Result<HashSet<(UserId, ChannelId)>, AttentionUnavailable> {
        if self.is_away.load(Ordering::Relaxed) {
            return Err(AttentionUnavailable("a test".into()));
        }
        let shown = self.shown.lock();
        Ok(places.iter().copied().filter(|place| shown.contains(place)).collect())
    }
}

/// A world, and a node's job in it that runs when it is told to.
struct Stage {
    world: World,
    screens: Arc<Screens>,
    teller: Teller,
}

impl Stage {
    async fn new() -> Self {
        Self::with(|_| ()).await
    }

    async fn with(change: impl FnOnce(&mut Sections)) -> Self {
        let world = World::with(|config| {
            config.messages.per_minute_max = 100_000;
            change(config);
        })
        .await;
        let screens = Arc::new(Screens::default());
        let teller = teller(&world, &screens);
        Self { world, screens, teller }
    }

    /// Ann and Ben, who can be named.
    async fn ann_and_ben(&self) -> (UserId, UserId) {
        (self.named("ann").await, self.named("ben").await)
    }

    async fn named(&self, name: &str) -> UserId {
        let user = self.world.user(Some(&format!("The {name}"))).await;
        sqlx::query("UPDATE users SET username = $2 WHERE id = $1")
            .bind(user.0)
            .bind(name)
            .execute(&self.world.pool)
            .await
            .unwrap();
        user
    }

    async fn direct(&self, one: UserId, other: UserId) -> ChannelId {
        made(&self.world, one, json!({"kind": "direct", "userId": other})).await
    }

    async fn say(&self, user: UserId, channel: ChannelId, content: &str) -> Value {
        let answer = send(&self.world, user, &json!({"channelId": channel, "content": content})).await;
        assert_eq!(answer.status, 201, "{answer:?}");
        answer.body
    }

    async fn read(&self, user: UserId, channel: ChannelId, message: &Value) {
        let body = json!({"messageId": message["id"]});
        let path = format!("/channels/{channel}/read");
        let answer = self.world.send_json(user, "POST", &path, &body).await;
        assert_eq!(answer.status, 200, "{answer:?}");
    }

    async fn prefer(&self, user: UserId, body: Value) {
        let answer = self.world.send_json(user, "PUT", "/notification-preferences", &body).await;
        assert_eq!(answer.status, 200, "{answer:?}");
    }

    async fn prefer_of(&self, user: UserId, channel: ChannelId, body: Value) {
        let path = format!("/notification-preferences/channels/{channel}");
        let answer = self.world.send_json(user, "PUT", &path, &body).await;
        assert_eq!(answer.status, 200, "{answer:?}");
    }

    fn shows(&self, user: UserId, channel: ChannelId) {
        self.screens.shown.lock().insert((user, channel));
    }

    fn shows_nothing(&self) {
        self.screens.shown.lock().clear();
    }

    fn pass(&self, milliseconds: u32) {
        self.world.clock.advance(Duration::from_millis(milliseconds.into()));
    }

    /// Lets the time pass in which messages are gathered.
    fn gather(&self) {
        self.pass(self.world.config.notifications.gather_all_ms);
    }

    /// Does all that there is to do now. Returns what was decided for whom.
    async fn run(&self) -> Vec<(UserId, Reason)> {
        while self.teller.note().await.unwrap() {}
        let mut decided = Vec::new();
        loop {
            let round = self.teller.tell().await.unwrap();
            decided.extend(round.decided.iter().map(|one| (one.place.0, one.reason)));
            if !round.is_full {
                return decided;
            }
        }
    }

    /// As [`Stage::run`], after what was written has been gathered.
    async fn run_later(&self) -> Vec<(UserId, Reason)> {
        while self.teller.note().await.unwrap() {}
        self.gather();
        self.run().await
    }

    /// The notifications that the user was told, in order.
    async fn told(&self, user: UserId) -> Vec<Value> {
        let kinds = ["MENTIONED", "DIRECT_MESSAGE", "CHANNEL_ACTIVITY"];
        let told = self.world.told(user).await.into_iter();
        told.filter(|event| kinds.contains(&event["type"].as_str().unwrap())).collect()
    }

    async fn notices(&self) -> i64 {
        self.world.count("SELECT count(*) FROM message_notices").await
    }

    async fn pending(&self) -> i64 {
        self.world.count("SELECT count(*) FROM pending_notifications").await
    }
}

/// The job of one more node.
fn teller(world: &World, screens: &Arc<Screens>) -> Teller {
    Teller {
        pool: world.pool.clone(),
        clock: world.clock.clone(),
        dispatcher: Dispatcher::idle(),
        attention: Arc::clone(screens) as _,
        noticed: Arc::default(),
        config: world.config.notifications.clone(),
    }
}
