//! Sets a light, and shows it.

use std::sync::Arc;
use std::time::Duration;

use sqlx::error::DatabaseError;
use tokio::sync::Notify;

use crate::db::{self, PgPool};
use crate::delivery::dispatcher::Dispatcher;
use crate::delivery::event::{Committed, NewEvent};
use crate::domain::clock::SharedClock;
use crate::domain::ids::UserId;
use crate::edge::http::{ErrorCode, Problem};
use crate::failpoint;
use crate::features::status::Config;
use crate::features::status::events::Change;
use crate::features::status::model::{Light, Person, Status, Timer};
use crate::features::status::repository::{self, StatusChange};
use crate::telemetry::traces;

/// How often a change is tried that Postgres rolled back because of a concurrent one.
const ATTEMPTS_MAX: u32 = 4;

#[derive(Debug, thiserror::Error)]
pub enum StatusError {
    #[error("durationSeconds: must be at most {max}")]
    TooLong { max: u32 },
    #[error("the user has no partner")]
    NoPartner,
    /// A genuine token of an account that does not exist any more.
    #[error("there is no such user")]
    UnknownUser,
    #[error(transparent)]
    Database(sqlx::Error),
}

impl From<sqlx::Error> for StatusError {
    fn from(error: sqlx::Error) -> Self {
        match db::violated_constraint(&error) {
            Some("statuses_user_id_fkey") => Self::UnknownUser,
            _ => Self::Database(error),
        }
    }
}

impl From<StatusError> for Problem {
    fn from(error: StatusError) -> Self {
        match error {
            StatusError::TooLong { .. } => Self::new(ErrorCode::InvalidBody).detail(error.to_string()),
            StatusError::NoPartner => ErrorCode::NoPartner.into(),
            StatusError::UnknownUser => ErrorCode::Unauthenticated.into(),
            StatusError::Database(error) => error.into(),
        }
    }
}

pub struct Service {
    pub(super) pool: PgPool,
    pub(super) clock: SharedClock,
    pub(super) dispatcher: Dispatcher,
    pub(super) config: Config,
    /// Tells the lapse job of a new timer.
    pub(super) timer_set: Notify,
}

impl Service {
    #[must_use]
    pub fn new(pool: PgPool, clock: SharedClock, dispatcher: Dispatcher, config: Config) -> Arc<Self> {
        Arc::new(Self { pool, clock, dispatcher, config, timer_set: Notify::new() })
    }

    /// The user as they see themselves.
    pub async fn me(&self, user: UserId) -> Result<Person, StatusError> {
        repository::person(&self.pool, user, self.clock.now()).await?.ok_or(StatusError::UnknownUser)
    }

    pub async fn partner(&self, user: UserId) -> Result<Person, StatusError> {
        repository::partner(&self.pool, user, self.clock.now()).await?.ok_or(StatusError::NoPartner)
    }

    /// Sets the light, for some seconds or until the next change, and tells both sides.
    pub async fn set(
        &self,
        user: UserId,
        status: Status,
        duration_seconds: Option<u32>,
    ) -> Result<Light, StatusError> {
        let max = self.config.duration_seconds_max;
        if duration_seconds.is_some_and(|seconds| seconds > max) {
            return Err(StatusError::TooLong { max });
        }
        let at = self.clock.now();
        let timer = duration_seconds.map(|duration_seconds| Timer {
            expires_at: at + Duration::from_secs(duration_seconds.into()),
            duration_seconds,
        });
        let light = Light { status, timer };

        // The statement puts the name into the push and says who the partner is: one round trip.
        let told = Change { actor: user, name: None, light, at };
        let (for_actor, for_partner) = (told.for_actor(), told.for_partner(user));
        let change = StatusChange { user, light, at, for_actor: &for_actor, for_partner: &for_partner };
        failpoint!("before_commit");
        let committed = self.write(&change).await?;

        if timer.is_some() {
            self.timer_set.notify_one();
        }
        self.dispatcher.dispatch(committed).await;
        metrics::counter!("fanlight_status_changes_total", "cause" => "set").increment(1);
        failpoint!("before_answer");
        Ok(light)
    }

    async fn write(&self, change: &StatusChange<'_>) -> Result<Vec<Committed>, sqlx::Error> {
        let mut attempt = 1;
        let told = loop {
            match traces::statement("postgres.status.change", repository::change(&self.pool, change)).await {
                // Nothing of it happened, so the same change can be made again.
                Err(error) if is_rolled_back(&error) && attempt < ATTEMPTS_MAX => attempt += 1,
                result => break result?,
            }
        };
        let committed = told.into_iter().map(|told| {
            if told.user == change.user {
                change.for_actor.committed(told.seq)
            } else {
                NewEvent { user: told.user, ..change.for_partner.clone() }.committed(told.seq)
            }
        });
        Ok(committed.collect())
    }
}

/// Class 40: deadlock or serialization failure (appendix A of the manual).
fn is_rolled_back(error: &sqlx::Error) -> bool {
    error.as_database_error().and_then(DatabaseError::code).is_some_and(|code| code.starts_with("40"))
}
