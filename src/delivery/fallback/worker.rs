//! One push, from the claimed event to what became of it.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::try_join_all;
use tokio::time::Instant;
use uuid::Uuid;

use crate::db::{PgPool, within_deadline};
use crate::delivery::claims::{self, Claimed};
use crate::delivery::config::{Config, SettledBy};
use crate::delivery::cursors;
use crate::delivery::device_tokens::{DeviceToken, DeviceTokens};
use crate::delivery::fallback::attempts;
use crate::delivery::fallback::holds::Holds;
use crate::delivery::fallback::lanes::{self, Lane, Later};
use crate::delivery::fallback::pace::Pace;
use crate::delivery::fallback::sending::Opened;
use crate::delivery::outcome::Reason;
use crate::domain::ids::UserId;
use crate::failpoint;
use crate::ports::push::PushGateway;
use crate::telemetry::traces::{self, Span, SpanKind};

/// How soon an event that waits for a device is looked at even if nobody said that there is one.
const LOOK_AGAIN: Duration = Duration::from_hours(6);

pub struct Worker {
    pub pool: PgPool,
    pub config: Config,
    pub tokens: Arc<dyn DeviceTokens>,
    pub gateway: Arc<dyn PushGateway>,
    pub holds: Holds,
    pub pace: Pace,
}

impl Worker {
    /// Leaves those of the claimed events whose users have no device at all. Returns the others.
    pub async fn reachable(&self, claimed: Vec<Claimed>) -> Result<Vec<Claimed>, sqlx::Error> {
        if self.config.settled_by == SettledBy::EveryDevice {
            return Ok(claimed);
        }
        let with_devices = self.with_devices(&claimed).await?;
        let (others, left): (Vec<_>, Vec<_>) =
            claimed.into_iter().partition(|event| event.push.is_none() || with_devices.contains(&event.user));
        if let [first, ..] = &*left {
            let due_at = first.now + LOOK_AGAIN;
            within_deadline(claims::park(&self.pool, &left, Reason::NoDevice, due_at)).await?;
            self.wake_if_registered(&left).await?;
        }
        Ok(others)
    }

    /// A device that was registered after we looked, and before we left the events, has woken nothing.
    async fn wake_if_registered(&self, left: &[Claimed]) -> Result<(), sqlx::Error> {
        let users: Vec<UserId> = self.with_devices(left).await?.into_iter().collect();
        if users.is_empty() {
            return Ok(());
        }
        within_deadline(claims::wake(&self.pool, &users)).await
    }

    async fn with_devices(&self, events: &[Claimed]) -> Result<HashSet<UserId>, sqlx::Error> {
        let users: Vec<UserId> = events.iter().map(|event| event.user).collect();
        within_deadline(self.tokens.reachable(&users)).await
    }

    /// Pushes a claimed event, or the newest of its lane in its place.
    pub async fn push(&self, claimed: &Claimed) -> Result<(), sqlx::Error> {
        failpoint!("after_claim");
        let key = match claimed.content() {
            Ok(content) => content.collapse_key,
            Err(reason) => return self.unpushable(claimed, reason).await,
        };
        let active = within_deadline(self.tokens.active(claimed.user)).await?;
        let lease = self.config.claim_lease();
        let Some(lane) = within_deadline(lanes::take(&self.pool, claimed, &key, lease)).await? else {
            return within_deadline(lanes::wait_turn(&self.pool, claimed, &key, lease / 3)).await;
        };
        let newest = &lane.newest;
        let span = Span::below(newest.trace(), SpanKind::Internal, "event.push")
            .with_id("event.id", newest.id)
            .with("event.kind", || newest.kind.clone());
        // Cancel-safe: both only run statements that are complete or not done at all.
        tokio::select! {
            done = span.carry(self.push_newest(&lane, active)) => done,
            never = self.keep(&lane) => match never {},
        }
    }

    /// Renews the hold on the lane for as long as the push takes: FCM may need longer than a lease.
    async fn keep(&self, lane: &Lane) -> std::convert::Infallible {
        let lease = self.config.claim_lease();
        loop {
            tokio::time::sleep(lease / 3).await;
            if let Err(error) = within_deadline(lanes::renew(&self.pool, lane, lease)).await {
                tracing::debug!(%error, "the hold on a push is not renewed");
            }
        }
    }

    async fn push_newest(&self, lane: &Lane, active: Vec<DeviceToken>) -> Result<(), sqlx::Error> {
        let newest = &lane.newest;
        let content = match newest.content() {
            Ok(content) => content,
            Err(reason) => return self.set_aside(lane, reason).await,
        };
        let had_devices = !active.is_empty();
        let Some(targets) = self.unconfirmed(newest, active).await? else {
            return self.settle(lane, Reason::EveryDevice, Reason::EveryDevice).await;
        };
        if !had_devices {
            return self.leave(lane, Reason::NoDevice).await;
        }
        let ids: Vec<Uuid> = targets.iter().map(|token| token.id.0).collect();
        let opened_at = Instant::now();
        let open = attempts::open(&self.pool, lane, &ids, self.config.claim_lease());
        let due = within_deadline(open).await?;
        let opened = Opened { event: newest, content: &content, at: opened_at };
        let sends = due.iter().filter_map(|due| {
            let token = targets.iter().find(|token| token.id == due.token)?;
            Some(self.attempt(&opened, token, *due))
        });
        let verdicts = try_join_all(sends).await?;
        self.retire_wrong_tokens(&verdicts).await?;
        failpoint!("after_record");
        self.conclude(lane, &ids).await
    }

    /// The devices that should be woken for this event; `None` if every one has confirmed it already.
    async fn unconfirmed(
        &self,
        event: &Claimed,
        mut active: Vec<DeviceToken>,
    ) -> Result<Option<Vec<DeviceToken>>, sqlx::Error> {
        if self.config.settled_by == SettledBy::AnyDevice {
            return Ok(Some(active));
        }
        let cursors = within_deadline(cursors::of_user(&self.pool, event.user)).await?;
        active.retain(|token| cursors.get(&token.device_id).is_none_or(|seq| *seq < event.seq));
        let confirmed = cursors.values().any(|seq| *seq >= event.seq);
        Ok((!active.is_empty() || !confirmed).then_some(active))
    }

    async fn conclude(&self, lane: &Lane, ids: &[Uuid]) -> Result<(), sqlx::Error> {
        let newest = &lane.newest;
        let summary = within_deadline(attempts::summary(&self.pool, newest.id, ids)).await?;
        let give_up_at = newest.created_at + Duration::from_secs(self.config.push.give_up_minutes * 60);
        match summary.next_attempt_at {
            Some(due_at) if due_at <= give_up_at => {
                let later = Later { due_at, reason: None, newest_only: false };
                within_deadline(lanes::postpone(&self.pool, lane, later)).await
            }
            _ if summary.accepted => self.settle(lane, Reason::Accepted, Reason::Coalesced).await,
            Some(_) => self.give_up(lane).await,
            None if summary.refused => self.set_aside(lane, Reason::Refused).await,
            None => self.leave(lane, Reason::TokenDead).await,
        }
    }

    async fn settle(&self, lane: &Lane, reason: Reason, before: Reason) -> Result<(), sqlx::Error> {
        let rest = Duration::from_millis(self.config.push.coalesce_window_ms);
        let began = traces::now();
        let settled = within_deadline(lanes::settle(&self.pool, lane, reason, before, rest)).await?;
        failpoint!("after_conclude");
        for event in settled {
            event.tell(began);
        }
        Ok(())
    }

    /// There is nobody to wake: the next connect, a new device or the end of its life settles the lane.
    async fn leave(&self, lane: &Lane, reason: Reason) -> Result<(), sqlx::Error> {
        let later = Later { due_at: lane.newest.now + LOOK_AGAIN, reason: Some(reason), newest_only: false };
        within_deadline(lanes::postpone(&self.pool, lane, later)).await?;
        self.wake_if_registered(std::slice::from_ref(&lane.newest)).await
    }

    async fn give_up(&self, lane: &Lane) -> Result<(), sqlx::Error> {
        let due_at = lane.newest.expires_at;
        let later = Later { due_at, reason: Some(Reason::GivenUp), newest_only: false };
        within_deadline(lanes::postpone(&self.pool, lane, later)).await
    }

    /// This event can never be pushed, and must not hold up the others of its lane.
    async fn set_aside(&self, lane: &Lane, reason: Reason) -> Result<(), sqlx::Error> {
        let later = Later { due_at: lane.newest.expires_at, reason: Some(reason), newest_only: true };
        within_deadline(lanes::postpone(&self.pool, lane, later)).await
    }

    /// An event without anything to push. It will not get better, and is not looked at again before its life ends.
    async fn unpushable(&self, claimed: &Claimed, reason: Reason) -> Result<(), sqlx::Error> {
        if self.config.settled_by == SettledBy::EveryDevice
            && self.unconfirmed(claimed, Vec::new()).await?.is_none()
        {
            let began = traces::now();
            let settle = claims::settle(&self.pool, claimed, Reason::EveryDevice);
            within_deadline(settle).await?.iter().for_each(|settled| settled.tell(began));
            return Ok(());
        }
        within_deadline(claims::park(&self.pool, std::slice::from_ref(claimed), reason, claimed.expires_at))
            .await
    }
}
