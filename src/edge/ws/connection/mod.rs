//! One connection, from its welcome to its end: the only task that reads from it or writes to it.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _};
use tokio::time::error::Elapsed;
use tokio::time::{Instant, timeout};

use crate::db::EpochId;
use crate::delivery::mailbox::{Farewell, Mail, Mailbox, Numbered};
use crate::delivery::outbox::Cursor;
use crate::delivery::settlement;
use crate::domain::random;
use crate::edge::ws::admission::Slot;
use crate::edge::ws::close::Closing;
use crate::edge::ws::protocol::{Auth, Reply};
use crate::edge::ws::session::{Action, Place, Receipt, Session};
use crate::edge::ws::socket::{FAREWELL_TIMEOUT, ReadError, Reader};
use crate::edge::ws::sockets::Sockets;
use crate::failpoint;
use crate::seeded_bug;

mod reading;

/// What one write takes; larger events go out alone.
const WRITE_BYTES_MAX: usize = 32 * 1024;

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

    /// Writes events that follow each other, and asks for their receipt: many at a time, but not so many that a
    /// client that does not read makes us keep all of them twice.
    async fn write_events(&mut self, mut events: &[Numbered]) -> Result<(), End> {
        while !events.is_empty() {
            let (some, later) = events.split_at(at_a_time(events));
            self.write_some(some).await?;
            events = later;
        }
        Ok(())
    }

    async fn write_some(&mut self, events: &[Numbered]) -> Result<(), End> {
        let Some(last) = events.last() else { return Ok(()) };
        if seeded_bug::settles_before_write() {
            self.sockets.parts.settlement.confirm(self.mailbox, last.seq, settlement::Receipt::Pong);
        }
        failpoint!("before_write");
        let mut out = BytesMut::with_capacity(bytes_of(events) + 32);
        for event in events {
            out.extend_from_slice(&event.frame);
        }
        if let Some(ping) = self.session.wrote(last.seq, Instant::now()) {
            out.extend_from_slice(&ping);
        }
        // Before the write: a confirmation can only come after it.
        self.mailbox.set_sent_seq(self.session.sent_seq());
        metrics::counter!("fanlight_events_written_total").increment(events.len() as u64);
        self.write(&out).await?;
        failpoint!("after_write");
        Ok(())
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

    /// Writes all of `bytes`, or ends the connection: nothing can follow half a frame.
    async fn write(&mut self, bytes: &[u8]) -> Result<(), End> {
        let limit = Duration::from_millis(self.sockets.parts.config.write_timeout_ms);
        let _held = self.mailbox.hold(bytes.len());
        let mut write = pin!(timeout(limit, self.writer.write_all(bytes)));
        // Cancel-safe: a write that is given up ends the connection.
        let farewell = tokio::select! {
            biased;
            written = &mut write => return outcome(&written),
            farewell = self.mailbox.dismissed() => farewell,
        };
        match timeout(FAREWELL_TIMEOUT, write).await {
            Ok(written) => outcome(&written).and(Err(End::Close(farewell.into()))),
            Err(_) => Err(End::Gone),
        }
    }

    fn schedule_tick(&self) {
        let next = self.session.next_tick();
        let next = self.catch_up_at.map_or(next, |at| at.min(next));
        self.sockets.wheel.schedule(self.mailbox, next);
    }
}

fn bytes_of(events: &[Numbered]) -> usize {
    events.iter().map(|event| event.frame.len()).sum()
}

/// How many of these events go out in one write; at least one.
fn at_a_time(events: &[Numbered]) -> usize {
    let mut bytes = 0;
    let fits = |event: &&Numbered| {
        bytes += event.frame.len();
        bytes <= WRITE_BYTES_MAX
    };
    events.iter().take_while(fits).count().max(1)
}

fn outcome(written: &Result<std::io::Result<()>, Elapsed>) -> Result<(), End> {
    match written {
        Ok(Ok(())) => Ok(()),
        Ok(Err(_)) => Err(End::Gone),
        Err(_) => {
            metrics::counter!("fanlight_write_timeouts_total").increment(1);
            Err(End::Gone)
        }
    }
}
