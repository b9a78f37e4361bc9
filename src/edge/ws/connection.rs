//! One connection, from its welcome to its end: the only task that reads from it or writes to it.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::Instant;

use crate::db::EpochId;
use crate::delivery::mailbox::{Farewell, Mail, Mailbox, Numbered};
use crate::delivery::outbox::{Cursor, Position};
use crate::delivery::settlement;
use crate::domain::random;
use crate::edge::ws::admission::Slot;
use crate::edge::ws::close::Closing;
use crate::edge::ws::protocol::{Auth, Reply, ResyncReason, WelcomeLimits};
use crate::edge::ws::replay::Start;
use crate::edge::ws::session::{Action, Place, Receipt, Session};
use crate::edge::ws::socket::{ReadError, Reader};
use crate::edge::ws::sockets::Sockets;
use crate::edge::ws::writing::bytes_of;
use crate::seeded_bug;

/// After Postgres could not be read, when a connection tries again.
const CATCH_UP_RETRY: Duration = Duration::from_secs(1);

/// How a conversation ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    Close(Closing),
    /// The client closed, with this code.
    CloseBack(Option<u16>),
    /// There is nobody to say anything to.
    Gone,
}

pub enum Never {}

pub struct Connection<'a, W> {
    pub sockets: &'a Sockets,
    /// Held while it is one of those that begin.
    pub beginning: Option<Slot>,
    pub mailbox: &'a Arc<Mailbox>,
    pub session: Session,
    pub writer: &'a mut W,
    pub receipt: Receipt,
    /// Postgres could not be read: when to try again.
    pub catch_up_at: Option<Instant>,
    /// The past of the database that this connection's events belong to.
    pub epoch: Option<EpochId>,
    /// The takeovers that this connection has looked at.
    pub takeovers: u64,
}

impl<W: AsyncWrite + Unpin> Connection<'_, W> {
    pub async fn run<R: AsyncRead + Unpin>(
        &mut self,
        reader: &mut Reader<R>,
        seen: Cursor,
    ) -> Result<Never, End> {
        // A revocation that came while this connection was not yet in the registry.
        if self.sockets.parts.authenticator.revoked().contains(self.mailbox.session) {
            return Err(End::Close(Closing::SessionRevoked));
        }
        self.begin(seen).await?;
        self.schedule_tick();
        let mailbox = self.mailbox;
        loop {
            let mut read = pin!(reader.message());
            let message = loop {
                // Cancel-safe: `read` is kept until it returns; `collect` takes nothing unless it returns.
                let mail = tokio::select! {
                    message = &mut read => break message,
                    mail = mailbox.collect() => mail,
                };
                self.on_mail(mail).await?;
            };
            let message = message.map_err(|error| match error {
                ReadError::Refused(closing) => End::Close(closing),
                ReadError::Gone => End::Gone,
            })?;
            let actions = self.session.on_message(message, Instant::now());
            self.perform(actions).await?;
        }
    }

    /// Says welcome, and sends what the client missed.
    async fn begin(&mut self, seen: Cursor) -> Result<(), End> {
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
        self.epoch = epoch;
        if self.receipt == Receipt::Ack {
            self.write(&self.welcome(last_seq).frame()).await?;
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
        metrics::counter!("fanlight_resumes_total", "result" => result).increment(1);
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
            let mailbox = self.mailbox;
            let _held = mailbox.hold(bytes_of(&page));
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
        self.write(&Reply::Resync { reason, from_seq: seq }.frame()).await
    }

    async fn on_mail(&mut self, mail: Mail) -> Result<(), End> {
        if let Some(farewell) = mail.farewell {
            return Err(self.take_leave(farewell).await);
        }
        if mail.tick {
            let now = Instant::now();
            let actions = self.session.on_tick(now);
            self.perform(actions).await?;
            if self.takeovers != self.sockets.parts.replay.takeovers() {
                self.compare_past().await?;
            }
            if self.catch_up_at.is_some_and(|at| at <= now) {
                self.catch_up().await?;
            }
            self.schedule_tick();
        }
        if !mail.notices.is_empty() {
            let frames: Vec<_> = mail.notices.iter().map(|notice| &notice.frame[..]).collect();
            self.write(&frames.concat()).await?;
        }
        let next: Vec<Numbered> = self.in_order(mail.events);
        if !next.is_empty() {
            self.write_events(&next).await?;
        }
        if mail.newest_seq > self.session.sent_seq() && !seeded_bug::leaves_gaps() {
            metrics::counter!("fanlight_gap_repairs_total").increment(1);
            self.catch_up().await?;
        }
        Ok(())
    }

    /// Another server took over, or a backup was restored. A client that saw what is no more is told to read the
    /// state, and begins anew: its numbers stand for other events now.
    async fn compare_past(&mut self) -> Result<(), End> {
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

    /// The events that directly continue what was sent; what lies behind a gap is read from Postgres.
    fn in_order(&self, events: impl IntoIterator<Item = Numbered>) -> Vec<Numbered> {
        let mut next = Vec::new();
        for event in events {
            let expected = self.session.sent_seq() + i64::try_from(next.len()).unwrap_or(i64::MAX);
            let unseen = self.session.place(event.seq) != Place::Seen;
            if (unseen && (event.seq == expected + 1 || seeded_bug::leaves_gaps()))
                || seeded_bug::repeats_at_seam()
            {
                next.push(event);
            }
        }
        next
    }

    /// Reads from Postgres, page by page, all that comes after the last event sent.
    async fn catch_up(&mut self) -> Result<(), End> {
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
            let mailbox = self.mailbox;
            let _held = mailbox.hold(bytes_of(&page));
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

    async fn perform(&mut self, actions: Vec<Action>) -> Result<(), End> {
        for action in actions {
            match action {
                Action::Write(bytes) => self.write(&bytes).await?,
                Action::Confirm(seq) => {
                    let receipt = match self.receipt {
                        Receipt::Pong => settlement::Receipt::Pong,
                        Receipt::Ack => settlement::Receipt::Ack,
                    };
                    self.sockets.parts.settlement.confirm(self.mailbox, seq, receipt);
                }
                Action::Renew { auth, answer } => self.renew(&auth, &answer).await?,
                Action::Close(closing) => return Err(End::Close(closing)),
                Action::CloseBack(code) => return Err(End::CloseBack(code)),
            }
        }
        Ok(())
    }

    /// A newer token of the same session lengthens the connection's life.
    async fn renew(&mut self, auth: &Auth, answer: &[u8]) -> Result<(), End> {
        match self.sockets.parts.authenticator.verify(&auth.token) {
            Ok(claims) if claims.sub == self.mailbox.user && claims.sid == self.mailbox.session => {
                self.session.renew(self.sockets.instant_of(&claims));
                self.schedule_tick();
                self.write(answer).await
            }
            _ => Err(End::Close(Closing::AuthenticationFailed)),
        }
    }

    async fn take_leave(&mut self, farewell: Farewell) -> End {
        if farewell == Farewell::Leaving && self.receipt == Receipt::Ack {
            let spread = Duration::from_secs(1);
            let wait = u64::try_from(random::jitter(spread).as_millis()).unwrap_or(0);
            if let Err(end) = self.write(&Reply::Draining { reconnect_after_ms: wait }.frame()).await {
                return end;
            }
        }
        End::Close(farewell.into())
    }

    fn schedule_tick(&self) {
        let next = self.session.next_tick();
        let next = self.catch_up_at.map_or(next, |at| at.min(next));
        self.sockets.wheel.schedule(self.mailbox, next);
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
