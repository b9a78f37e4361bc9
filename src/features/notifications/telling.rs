//! The job: notes whom messages concern, decides what is due, and tells.
//!
//! A message that may concern somebody left a notice in its own transaction; the notice becomes a row for each person and
//! conversation in the transaction that removes it; and the row becomes an event in the transaction that removes the row.
//! So whichever node dies, what was committed is told, and told once. Every node runs this job: rows that another one
//! has are passed over.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;

use crate::db::{PgConnection, PgPool, within_deadline};
use crate::delivery::dispatcher::Dispatcher;
use crate::delivery::event::{Committed, NewEvent};
use crate::delivery::outbox;
use crate::domain::clock::{SharedClock, Timestamp};
use crate::failpoint;
use crate::features::messages;
use crate::features::notifications::attention::Attention;
use crate::features::notifications::config::Config;
use crate::features::notifications::decision::{Cause, Decision, Reason, count};
use crate::features::notifications::events::Telling;
use crate::features::notifications::repository::deciding::{self, Pending, Place};
use crate::features::notifications::repository::noting;
use crate::shutdown::Shutdown;

/// Whoever cannot say sooner what is on screens is not waited for.
const ATTENTION_DEADLINE: Duration = Duration::from_secs(1);
/// What is overdue is in the hands of another node; to look at once would only spin.
const LOCKED_RETRY: Duration = Duration::from_millis(50);

pub struct Teller {
    pub pool: PgPool,
    pub clock: SharedClock,
    pub dispatcher: Dispatcher,
    pub attention: Arc<dyn Attention>,
    /// Told of by whoever has written a message that may concern somebody.
    pub noticed: Arc<Notify>,
    pub config: Config,
}

/// A decision that is written down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Decided {
    pub place: Place,
    pub cause: Cause,
    pub reason: Reason,
    /// From the message to the event, if nothing held it up.
    took: Option<Duration>,
}

/// What came of one look at what is due.
#[derive(Default)]
pub struct Round {
    pub decided: Vec<Decided>,
    /// It was as much as one look takes on: there may be more.
    pub is_full: bool,
}

impl Decided {
    fn count(&self) {
        count(self.cause.as_str(), self.reason);
        if let Some(took) = self.took {
            metrics::histogram!("fanlight_notification_duration_seconds", "cause" => self.cause.as_str())
                .record(took);
        }
    }
}

impl Teller {
    /// Notes some of what was noticed. Returns whether there may be more.
    ///
    /// # Errors
    /// When Postgres does not answer; then nothing was noted.
    pub async fn note(&self) -> Result<bool, sqlx::Error> {
        noting::note(&self.pool, self.clock.now(), &self.config).await
    }

    /// Decides some of what is due.
    ///
    /// # Errors
    /// When Postgres does not answer; then nothing was decided.
    pub async fn tell(&self) -> Result<Round, sqlx::Error> {
        let now = self.clock.now();
        let limit = i64::from(self.config.decisions_batch_max);
        let due = deciding::due(&self.pool, now, limit).await?;
        if due.is_empty() {
            return Ok(Round::default());
        }
        // Before anything is locked: nobody waits for Redis with a lock in hand.
        let viewing = self.viewing(&due).await;

        let mut tx = self.pool.begin().await?;
        let taken = deciding::lock(&mut tx, &due, now).await?;
        if taken.is_empty() {
            return Ok(Round::default());
        }
        let pending = deciding::read(&mut tx, &taken, |place| viewing.contains(place)).await?;
        let (decided, committed) = self.decide(&mut tx, &pending, now).await?;
        failpoint!("before_notifying");
        tx.commit().await?;

        self.dispatcher.dispatch(committed).await;
        decided.iter().for_each(Decided::count);
        Ok(Round { decided, is_full: i64::try_from(due.len()) == Ok(limit) })
    }

    /// Who is looking. If that is not known, nobody: whoever is looking has a connection, so that one needless frame is
    /// all that it costs, and no phone is woken.
    async fn viewing(&self, places: &[Place]) -> HashSet<Place> {
        let asked = tokio::time::timeout(ATTENTION_DEADLINE, self.attention.viewing(places)).await;
        let complaint = match asked {
            Ok(Ok(viewing)) => return viewing,
            Ok(Err(error)) => error.to_string(),
            Err(_) => "it took too long to find out what is on screens".to_owned(),
        };
        tracing::debug!(complaint, "who might be looking is told");
        metrics::counter!("fanlight_notification_attention_failures_total").increment(1);
        HashSet::new()
    }

    async fn decide(
        &self,
        conn: &mut PgConnection,
        pending: &[Pending],
        now: Timestamp,
    ) -> Result<(Vec<Decided>, Vec<Committed>), sqlx::Error> {
        let (mut decided, mut ended, mut told) = (Vec::new(), Vec::new(), Vec::new());
        for one in pending {
            let decision = one.case.decide(now, &self.config);
            let (cause, reason) = match decision {
                Decision::Wait { cause, reason, until } => {
                    let held_since = one.held_since(decision, now);
                    deciding::postpone(conn, one.place, reason, until, held_since).await?;
                    if one.waited_for == Some(reason) {
                        continue;
                    }
                    (cause, reason)
                }
                Decision::End { cause, reason } => {
                    ended.push(one.place);
                    (cause, reason)
                }
                Decision::Tell(cause) => {
                    ended.push(one.place);
                    let event = event(conn, one, cause, now).await?;
                    let reason = if event.is_some() { Reason::Sent } else { Reason::NotAMember };
                    told.extend(event);
                    (cause, reason)
                }
            };
            let is_prompt = reason == Reason::Sent && one.waited_for.is_none();
            let took = is_prompt.then(|| (now - one.case.noticed_at).to_std().unwrap_or(Duration::ZERO));
            decided.push(Decided { place: one.place, cause, reason, took });
        }
        deciding::delete(conn, &ended).await?;
        Ok((decided, outbox::append(conn, told).await?))
    }

    /// Does all that there is to do now. Returns how long the job may sleep.
    async fn turn(&self, shutdown: &Shutdown) -> Result<Duration, sqlx::Error> {
        while !shutdown.is_stopping() {
            let noted = within_deadline(self.note()).await;
            // What was noted before is told, even if nothing more can be noted.
            let round = within_deadline(self.tell()).await?;
            if !noted? && !round.is_full {
                break;
            }
        }
        let next = within_deadline(deciding::next_due(&self.pool, self.clock.now())).await?;
        let poll = self.config.poll();
        Ok(next.map_or(poll, |next| next.max(LOCKED_RETRY).min(poll)))
    }

    /// Runs until the process stops. Woken by messages that were written here, and by the clock.
    pub async fn run(self, shutdown: Shutdown) {
        while !shutdown.is_stopping() {
            let sleep = self.turn(&shutdown).await.unwrap_or_else(|error| {
                tracing::warn!(%error, "notifications cannot be decided; will try again");
                metrics::counter!("fanlight_notification_failures_total").increment(1);
                self.config.poll()
            });
            // Cancel-safe: a notification that is not consumed stays stored; the rest holds no state.
            tokio::select! {
                () = self.noticed.notified() => {}
                () = tokio::time::sleep(sleep) => {}
                () = shutdown.stopped() => {}
            }
        }
    }
}

/// What is told. None: they were taken out at this very moment.
async fn event(
    conn: &mut PgConnection,
    pending: &Pending,
    cause: Cause,
    now: Timestamp,
) -> Result<Option<NewEvent>, sqlx::Error> {
    let (user, channel) = pending.place;
    // Of many messages only the newest are looked up: a mention may be all that is left.
    let newest = pending.newest.as_ref().or(pending.mention.as_ref());
    let about = if cause == Cause::Mention { pending.mention.as_ref() } else { newest };
    let (Some(about), Some(marker)) = (about, messages::marker(conn, channel, user).await?) else {
        return Ok(None);
    };
    let telling = Telling {
        cause,
        channel,
        channel_name: pending.channel_name.as_deref(),
        message: about.id,
        message_seq: about.seq,
        author: about.author,
        author_name: about.author_name.as_deref(),
        unread_count: marker.unread,
        at: now,
    };
    Ok(Some(telling.to(user)))
}
