//! Delivery against a real Postgres, with a push service, a broker and presence in memory.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use serde::Deserialize;
use tokio::time::Instant;

use crate::config::DEFAULT_TOML;
use crate::db::PgPool;
use crate::delivery::Config;
use crate::delivery::claims::{self, Claimed};
use crate::delivery::config::SettledBy;
use crate::delivery::device_tokens::{DeviceToken, DeviceTokens};
use crate::delivery::event::{Committed, NewEvent, PushContent};
use crate::delivery::fallback::Fallback;
use crate::delivery::mailbox::{Bounds, Mailbox};
use crate::delivery::outbox;
use crate::delivery::reconcile::BrokerHealth;
use crate::delivery::registry::Registry;
use crate::delivery::route::Route;
use crate::delivery::settlement::Settlement;
use crate::delivery::sweeper::Sweeper;
use crate::dev::testing;
use crate::domain::clock::Timestamp;
use crate::domain::ids::{DeviceTokenId, EventId, NodeId, SessionId, UserId};
use crate::ports::broker::{MemoryBroker, MemoryBus};
use crate::ports::presence::MemoryPresence;
use crate::ports::push::{MemoryPush, Platform, PushGateway};
use crate::shutdown::Shutdown;

mod backlog;
mod budget;
mod coalescing;
mod connections;
mod pushing;
mod settling;
mod sweeping;
mod waiting;

const PATIENCE: Duration = Duration::from_secs(20);
pub const BOUNDS: Bounds = Bounds { frames_max: 4, bytes_max: 4_096 };

/// One node's delivery, with what it leans on.
pub struct World {
    pub pool: PgPool,
    pub config: Config,
    pub push: Arc<MemoryPush>,
    pub registry: Arc<Registry>,
    pub presence: Arc<MemoryPresence>,
    pub bus: Arc<MemoryBus>,
    pub node: NodeId,
    pub shutdown: Shutdown,
}

impl World {
    pub async fn new() -> Self {
        Self::with(|_| {}).await
    }

    pub async fn with(change: impl FnOnce(&mut Config)) -> Self {
        #[derive(Deserialize)]
        struct Defaults {
            delivery: Config,
        }
        let mut config = toml::from_str::<Defaults>(DEFAULT_TOML).unwrap().delivery;
        change(&mut config);
        Self {
            pool: testing::database().await,
            config,
            push: Arc::new(MemoryPush::new()),
            registry: Arc::default(),
            presence: Arc::default(),
            bus: Arc::default(),
            node: NodeId::generate(),
            shutdown: Shutdown::new(),
        }
    }

    pub fn broker(&self) -> Arc<MemoryBroker> {
        Arc::new(MemoryBroker::new(Arc::clone(&self.bus), Arc::clone(&self.presence), self.node))
    }

    pub fn route(&self) -> Route {
        let health = Arc::new(BrokerHealth::default());
        health.set(true);
        Route { registry: Arc::clone(&self.registry), broker: self.broker(), health }
    }

    /// A new one each time, as after a restart of the process.
    pub fn fallback(&self) -> Fallback {
        self.fallback_to(Arc::clone(&self.push) as _)
    }

    pub fn fallback_to(&self, gateway: Arc<dyn PushGateway>) -> Fallback {
        Fallback::start(self.pool.clone(), &self.config, self.tokens(), gateway, &self.shutdown)
    }

    pub fn tokens(&self) -> Arc<dyn DeviceTokens> {
        Arc::new(TokenTable(self.pool.clone()))
    }

    /// Of a node that reaches the others.
    pub fn sweeper(&self) -> Sweeper {
        Sweeper {
            pool: self.pool.clone(),
            config: self.config.clone(),
            route: self.route(),
            fallback: self.fallback(),
        }
    }

    pub async fn user(&self) -> UserId {
        testing::user(&self.pool).await
    }

    pub async fn device(&self, user: UserId, name: &str) {
        sqlx::query(
            "INSERT INTO device_tokens (id, user_id, device_id, fcm_token, platform, created_at, updated_at, last_registered_at)
             VALUES ($1, $2, $3, $4, 'android', now(), now(), now())",
        )
        .bind(DeviceTokenId::generate().0)
        .bind(user.0)
        .bind(name)
        .bind(token(user, name))
        .execute(&self.pool)
        .await
        .unwrap();
    }

    pub async fn append(&self, event: NewEvent) -> Committed {
        let mut tx = self.pool.begin().await.unwrap();
        let mut committed = outbox::append(&mut tx, vec![event]).await.unwrap();
        tx.commit().await.unwrap();
        committed.remove(0)
    }

    /// An event that a push may tell of.
    pub async fn event(&self, user: UserId) -> Committed {
        self.append(pushable(user)).await
    }

    /// What is due now and unconfirmed, claimed.
    pub async fn claim(&self) -> Vec<Claimed> {
        let (deadline, lease) = (self.config.ack_deadline(), self.config.claim_lease());
        claims::claim_overdue(&self.pool, 100, deadline, lease).await.unwrap()
    }

    /// The same, and nobody dispatches it.
    pub async fn tell(&self, user: UserId) {
        drop(self.event(user).await);
    }

    /// Makes all events `seconds` older, and unconfirmed ones due.
    pub async fn age(&self, seconds: i32) {
        sqlx::query(
            "UPDATE events SET created_at = created_at - make_interval(secs => $1), due_at = clock_timestamp(),
                    expires_at = expires_at - make_interval(secs => $1)",
        )
        .bind(seconds)
        .execute(&self.pool)
        .await
        .unwrap();
    }

    /// What became of the user's events, in order.
    pub async fn outcomes(&self, user: UserId) -> Vec<Option<String>> {
        sqlx::query_scalar("SELECT outcome FROM events WHERE user_id = $1 ORDER BY seq")
            .bind(user.0)
            .fetch_all(&self.pool)
            .await
            .unwrap()
    }

    /// Why, in order: of what is settled, and of what waits.
    pub async fn reasons(&self, user: UserId) -> Vec<Option<String>> {
        sqlx::query_scalar("SELECT reason FROM events WHERE user_id = $1 ORDER BY seq")
            .bind(user.0)
            .fetch_all(&self.pool)
            .await
            .unwrap()
    }

    pub async fn until_reasons(&self, user: UserId, expected: &[&str]) {
        until(&format!("the reasons are {expected:?}"), async || {
            let reasons = self.reasons(user).await;
            reasons.iter().map(|reason| reason.as_deref().unwrap_or("")).eq(expected.iter().copied())
        })
        .await;
    }

    pub async fn until_outcomes(&self, user: UserId, expected: &[&str]) {
        until(&format!("the outcomes are {expected:?}"), async || {
            self.outcomes(user)
                .await
                .iter()
                .map(|outcome| outcome.as_deref().unwrap_or(""))
                .eq(expected.iter().copied())
        })
        .await;
    }

    /// In how many seconds the event falls due.
    pub async fn due_in(&self, event: EventId) -> f64 {
        sqlx::query_scalar(
            "SELECT EXTRACT(EPOCH FROM due_at - clock_timestamp())::float8 FROM events WHERE id = $1",
        )
        .bind(event.0)
        .fetch_one(&self.pool)
        .await
        .unwrap()
    }

    /// The tokens that pushes went to, in alphabetical order.
    pub fn pushed(&self) -> Vec<String> {
        let mut tokens: Vec<String> = self.push.received().into_iter().map(|push| push.token).collect();
        tokens.sort();
        tokens
    }

    pub fn settlement(&self) -> Settlement {
        Settlement::new(self.config.settled_by)
    }
}

impl Drop for World {
    fn drop(&mut self) {
        self.shutdown.stop();
    }
}

pub fn every_device(config: &mut Config) {
    config.settled_by = SettledBy::EveryDevice;
}

pub fn token(user: UserId, device: &str) -> String {
    format!("{device}-of-{user}")
}

pub fn pushable(user: UserId) -> NewEvent {
    let push = PushContent {
        text: "partner_linked".into(),
        args: [("name".to_owned(), "Ann".to_owned())].into(),
        data: std::collections::BTreeMap::new(),
        collapse_key: "linked".into(),
    };
    NewEvent { push: Some(push), ..silent(user) }
}

/// An event that is never worth waking a phone.
pub fn silent(user: UserId) -> NewEvent {
    NewEvent {
        id: EventId::generate(),
        user,
        kind: "TEST",
        body: r#"{"type":"TEST"}"#.into(),
        push: None,
        ttl: Duration::from_hours(1),
        trace: None,
    }
}

pub fn mailbox(user: UserId, device: Option<&str>) -> Arc<Mailbox> {
    Arc::new(Mailbox::new(user, SessionId::generate(), device.map(Into::into), BOUNDS))
}

/// Waits for an effect that nothing announces.
pub async fn until(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !holds().await {
        assert!(Instant::now() < deadline, "never: {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// The devices as they are in the table.
struct TokenTable(PgPool);

#[async_trait]
impl DeviceTokens for TokenTable {
    async fn active(&self, user: UserId) -> Result<Vec<DeviceToken>, sqlx::Error> {
        let rows: Vec<(uuid::Uuid, String, String, Timestamp)> = sqlx::query_as(
            "SELECT id, device_id, fcm_token, last_registered_at
             FROM device_tokens WHERE user_id = $1 AND deactivated_at IS NULL",
        )
        .bind(user.0)
        .fetch_all(&self.0)
        .await?;
        let device = |(id, device_id, fcm_token, registered_at)| DeviceToken {
            id: DeviceTokenId(id),
            device_id,
            fcm_token,
            platform: Platform::Android,
            locale: "en".into(),
            registered_at,
        };
        Ok(rows.into_iter().map(device).collect())
    }

    async fn reachable(&self, users: &[UserId]) -> Result<HashSet<UserId>, sqlx::Error> {
        let users: Vec<uuid::Uuid> = users.iter().map(|user| user.0).collect();
        let reachable: Vec<uuid::Uuid> = sqlx::query_scalar(
            "SELECT DISTINCT user_id FROM device_tokens WHERE user_id = ANY($1) AND deactivated_at IS NULL",
        )
        .bind(users)
        .fetch_all(&self.0)
        .await?;
        Ok(reachable.into_iter().map(UserId).collect())
    }

    async fn retire(&self, token: &DeviceToken, reason: &'static str) -> Result<bool, sqlx::Error> {
        let retired = sqlx::query(
            "UPDATE device_tokens SET deactivated_at = now(), deactivated_reason = $2
             WHERE id = $1 AND deactivated_at IS NULL AND last_registered_at = $3",
        )
        .bind(token.id.0)
        .bind(reason)
        .bind(token.registered_at)
        .execute(&self.0)
        .await?;
        Ok(retired.rows_affected() == 1)
    }
}
