//! One connection, from its welcome to its end: the only task that reads from it or writes to it.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::Instant;

use crate::db::EpochId;
use crate::delivery::mailbox::{Farewell, Mail, Mailbox, Numbered};
use crate::delivery::outbox::Cursor;
use crate::delivery::settlement;
use crate::domain::random;
use crate::edge::ws::admission::Slot;
use crate::edge::ws::close::Closing;
use crate::edge::ws::meter::Meter;
use crate::edge::ws::protocol::{Auth, Reply};
use crate::edge::ws::session::{Action, Place, Receipt, Session};
use crate::edge::ws::socket::{ReadError, Reader};
use crate::edge::ws::sockets::Sockets;
use crate::seeded_bug;

mod reading;
mod writing;

/// How a conversation ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    Close(Closing),
    /// The client closed, with this code.
    CloseBack(Option<u16>),
    /// There is nobody to say anything to.
    Gone,
}

impl End {
    /// The code of the close frame, whoever sent it.
    pub fn code(self) -> Option<u16> {
        match self {
            Self::Close(closing) => Some(closing.code()),
            Self::CloseBack(code) => code,
            Self::Gone => None,
        }
    }

    /// The row of `close.rs`, or who else ended it.
    pub fn reason(self) -> &'static str {
        match self {
            Self::Close(closing) => closing.name(),
            Self::CloseBack(_) => "client",
            Self::Gone => "gone",
        }
    }
}

impl From<ReadError> for End {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::Refused(closing) => Self::Close(closing),
            ReadError::Gone => Self::Gone,
        }
    }
}

pub enum Never {}

pub struct Connection<'a, W> {
    pub sockets: &'a Sockets,
    pub meter: Meter<'a>,
    /// Held while it is one of those that begin.
    pub beginning: Option<Slot>,
    /// When the client had shown who it is.
    pub known_at: Instant,
    /// Since when a receipt is awaited.
    pub asked_at: Option<Instant>,
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
            let message = message?;
            self.meter.received(&message);
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
            self.meter.sent_texts(frames.len());
            self.write(&frames.concat()).await?;
        }
        let next: Vec<Numbered> = self.in_order(mail.events);
        if !next.is_empty() {
            self.write_events(&next).await?;
            self.sockets.traffic.wrote_live(&next, self.sockets.parts.clock.now());
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

    async fn perform(&mut self, actions: Vec<Action>) -> Result<(), End> {
        for action in actions {
            match action {
                Action::Write(frame) => self.write_frame(&frame).await?,
                Action::Call(text) => {
                    if let Some(refusal) = self.sockets.desks.take(self.mailbox, text) {
                        self.write_frame(&refusal).await?;
                    }
                }
                Action::Confirm(seq) => {
                    self.note_receipt(seq);
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
                self.write_frame(answer).await
            }
            _ => Err(End::Close(Closing::AuthenticationFailed)),
        }
    }

    async fn take_leave(&mut self, farewell: Farewell) -> End {
        if farewell == Farewell::Leaving && self.receipt == Receipt::Ack {
            let spread = Duration::from_secs(1);
            let wait = u64::try_from(random::jitter(spread).as_millis()).unwrap_or(0);
            if let Err(end) = self.write_frame(&Reply::Draining { reconnect_after_ms: wait }.frame()).await {
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
