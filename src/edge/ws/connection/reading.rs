//! What a connection reads from Postgres: what its client missed, what Redis lost, what another server does not know.

use std::time::Duration;

use tokio::io::AsyncWrite;
use tokio::time::Instant;

use super::writing::bytes_of;
use super::{Connection, End};
use crate::delivery::mailbox::Farewell;
use crate::delivery::outbox::{Cursor, Position};
use crate::delivery::settlement;
use crate::domain::random;
use crate::edge::ws::close::Closing;
use crate::edge::ws::protocol::{Reply, ResyncReason, WelcomeLimits};
use crate::edge::ws::replay::Start;
use crate::edge::ws::session::Receipt;

/// After Postgres could not be read, when a connection tries again.
const CATCH_UP_RETRY: Duration = Duration::from_secs(1);

impl<W: AsyncWrite + Unpin> Connection<'_, W> {
    /// Says welcome, and sends what the client missed.
    pub(super) async fn begin(&mut self, seen: Cursor) -> Result<(), End> {
        let unreadable = |error: sqlx::Error| {
            tracing::warn!(%error, "cannot read what a client missed");
            End::Close(Closing::TryLater)
        };
        // Before the read: one that comes after it is looked at again.
        self.takeovers = self.sockets.parts.replay.takeovers();
        let (start, Position { last_seq, epoch, .. }) =
            self.sockets.parts.replay.start(self.mailbox.user, seen).await.map_err(unreadable)?;
        // Not later: how long the rest takes is the client's doing.
        self.beginning = None;
        metrics::histogram!("fanlight_connection_begin_duration_seconds").record(self.known_at.elapsed());
        self.epoch = epoch;
        if self.receipt == Receipt::Ack {
            self.write_frame(&self.welcome(last_seq).frame()).await?;
        }
        let result = match start {
            Start::Resume { after } => {
                self.session.start_after(after);
                self.sockets.parts.settlement.confirm(self.mailbox, after, settlement::Receipt::Resume);
                if last_seq > after {
                    self.catch_up().await?;
                    "replayed"
                } else {
                    "lossless"
                }
            }
            Start::Unsettled { last_seq } => {
                self.send_unsettled(last_seq).await.map_err(|failure| match failure {
                    Failure::Database(error) => unreadable(error),
                    Failure::End(end) => end,
                })?;
                "fresh"
            }
            Start::Resync { reason, last_seq } => {
                self.resync(reason, last_seq).await?;
                "resync"
            }
        };
        self.meter.began(result);
        self.mailbox.set_sent_seq(self.session.sent_seq());
        Ok(())
    }

    fn welcome(&self, seq: i64) -> Reply<'static> {
        let config = &self.sockets.parts.config;
        Reply::Welcome {
            connection_id: self.mailbox.connection,
            node: self.sockets.parts.node,
            seq,
            epoch: self.epoch,
            heartbeat_ms: config.heartbeat_ms,
            limits: WelcomeLimits {
                message_bytes_max: config.message_bytes_max,
                messages_per_second: config.messages_per_second,
                messages_burst: config.messages_burst,
            },
        }
    }

    async fn send_unsettled(&mut self, last_seq: i64) -> Result<(), Failure> {
        let replay = &self.sockets.parts.replay;
        let mut after = 0;
        let mut sent = 0;
        loop {
            let page = replay.unsettled_page(self.mailbox.user, after, last_seq).await?;
            let (Some(first), Some(last)) = (page.first(), page.last()) else { break };
            if after == 0 {
                self.session.start_after(first.seq - 1);
            }
            after = last.seq;
            sent += i64::try_from(page.len()).unwrap_or(i64::MAX);
            if sent > replay.events_max {
                self.resync(ResyncReason::TooFarBehind, last_seq).await.map_err(Failure::End)?;
                return Ok(());
            }
            let _held = self.mailbox.hold(bytes_of(&page));
            self.write_events(&page).await.map_err(Failure::End)?;
        }
        if after == 0 {
            self.session.start_after(last_seq);
        }
        self.session.skip_to(last_seq);
        Ok(())
    }

    async fn resync(&mut self, reason: ResyncReason, seq: i64) -> Result<(), End> {
        metrics::counter!("fanlight_resyncs_total", "reason" => reason.as_str()).increment(1);
        self.session.start_after(seq);
        self.write_frame(&Reply::Resync { reason, from_seq: seq }.frame()).await
    }

    /// Another server took over, or a backup was restored. A client that saw what is no more is told to read the
    /// state, and begins anew: its numbers stand for other events now.
    pub(super) async fn compare_past(&mut self) -> Result<(), End> {
        let replay = &self.sockets.parts.replay;
        let takeovers = replay.takeovers();
        let sent = Cursor { since: Some(self.session.sent_seq()), epoch: self.epoch };
        match replay.start(self.mailbox.user, sent).await {
            Ok((Start::Resync { reason, last_seq }, _)) => {
                self.resync(reason, last_seq).await?;
                Err(End::Close(Farewell::Leaving.into()))
            }
            Ok((_, position)) => {
                (self.takeovers, self.epoch) = (takeovers, position.epoch);
                Ok(())
            }
            Err(error) => {
                tracing::warn!(%error, "cannot compare with the database that took over; will try again");
                self.read_again_later();
                Ok(())
            }
        }
    }

    fn read_again_later(&mut self) {
        // Not all at once, when Postgres is just back.
        let wait = CATCH_UP_RETRY + random::jitter(CATCH_UP_RETRY);
        self.catch_up_at = Some(Instant::now() + wait);
        self.schedule_tick();
    }

    /// Reads from Postgres, page by page, all that comes after the last event sent.
    pub(super) async fn catch_up(&mut self) -> Result<(), End> {
        let replay = &self.sockets.parts.replay;
        loop {
            let page = match replay.page(self.mailbox.user, self.session.sent_seq()).await {
                Ok(page) => page,
                Err(error) => {
                    tracing::warn!(%error, "cannot read what a connection lacks; will try again");
                    self.read_again_later();
                    return Ok(());
                }
            };
            self.catch_up_at = None;
            let _held = self.mailbox.hold(bytes_of(&page));
            // What is pruned out of turn leaves a hole, and a hole is told.
            for run in page.chunk_by(|one, next| one.seq + 1 == next.seq) {
                if run[0].seq != self.session.sent_seq() + 1 {
                    self.resync(ResyncReason::BeyondRetention, run[0].seq - 1).await?;
                }
                self.write_events(run).await?;
            }
            // Whatever is committed from now on says so in the mailbox.
            if !replay.is_full(&page) {
                return Ok(());
            }
        }
    }
}

enum Failure {
    Database(sqlx::Error),
    End(End),
}

impl From<sqlx::Error> for Failure {
    fn from(error: sqlx::Error) -> Self {
        Self::Database(error)
    }
}
