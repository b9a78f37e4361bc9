//! A phone: a socket that comes back with `since`, confirms what it gets, and checks what it is shown.
//!
//! The first of a couple confirms as every WebSocket library does, by its pongs; the second says `ACK`
//! (`fanlight.v1`).

use std::sync::Arc;
use std::time::Duration;

use fanlight::domain::random::jitter;
use futures_util::{SinkExt as _, StreamExt as _};
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until, timeout};
use tokio_tungstenite::tungstenite::Message;

use crate::couple::{Couple, Handle, Orders, Presence, Sample};
use crate::frame::Frame;
use crate::handshake::{self, Hello, Refusal, Stream};
use crate::inbox::{Inbox, Since};
use crate::ledger::Side;
use crate::sight::Sight;
use crate::tally::{Fault, Span};
use crate::world::World;

pub const BACKOFF_FIRST: Duration = Duration::from_millis(500);
pub const BACKOFF_MAX: Duration = Duration::from_secs(10);
/// A server that says nothing for so long, not even a ping, has gone without a word.
pub const SILENCE_MAX: Duration = Duration::from_secs(60);
/// Events that come at once are confirmed at once.
const ACK_AFTER: Duration = Duration::from_millis(50);
const CLOSED_WITHIN: Duration = Duration::from_secs(1);
pub const NO_CLOSE_FRAME: u16 = 1006;

pub struct Phone {
    world: Arc<World>,
    couple: Arc<Couple>,
    side: Side,
    orders: watch::Receiver<Orders>,
    sight: Sight,
    inbox: Inbox,
    /// It was away by its own choice up to then.
    back_since: Option<Instant>,
    connected_before: bool,
}

/// How a connection ended.
enum End {
    /// As its owner wished.
    Chosen,
    /// The server ended it, and said when to come back.
    Closed(Duration),
}

impl Phone {
    pub fn new(world: &Arc<World>, couple: &Arc<Couple>, side: Side) -> Self {
        Self {
            world: Arc::clone(world),
            couple: Arc::clone(couple),
            side,
            orders: couple.phones[side].orders.subscribe(),
            sight: Sight::default(),
            inbox: Inbox::new(world, couple, side),
            back_since: None,
            connected_before: false,
        }
    }

    /// Lives until it is told that it is over.
    pub async fn run(mut self) {
        let mut failures: u32 = 0;
        let mut chosen = true;
        let mut trying_since = None;
        loop {
            let orders = *self.orders.borrow_and_update();
            match orders.presence {
                Presence::Over => return,
                Presence::Away(until) => {
                    self.stay_away(until).await;
                    (chosen, trying_since) = (true, None);
                    continue;
                }
                Presence::Here => {}
            }
            let begun = *trying_since.get_or_insert_with(Instant::now);
            if chosen {
                self.back_since = Some(begun);
            }
            let pause = match self.connect(orders.forgotten).await {
                Ok(stream) => {
                    (failures, trying_since) = (0, None);
                    let end = self.converse(stream, begun, orders).await;
                    self.handle().place.send_modify(|place| place.turns += 1);
                    chosen = matches!(end, End::Chosen);
                    match end {
                        End::Chosen => Duration::ZERO,
                        End::Closed(hint) => hint,
                    }
                }
                Err(retry_after) => {
                    failures += 1;
                    chosen = false;
                    let backoff = BACKOFF_FIRST.saturating_mul(1 << failures.min(6)).min(BACKOFF_MAX);
                    retry_after.max(jitter(backoff))
                }
            };
            self.pause(pause).await;
        }
    }

    fn handle(&self) -> &Handle {
        &self.couple.phones[self.side]
    }

    async fn stay_away(&mut self, until: Instant) {
        // Cancel-safe: both only wait.
        tokio::select! {
            () = sleep_until(until) => {
                self.handle().orders.send_if_modified(|orders| {
                    let is_due = orders.presence == Presence::Away(until);
                    if is_due {
                        orders.presence = Presence::Here;
                    }
                    is_due
                });
            }
            _ = self.orders.changed() => {}
        }
    }

    /// Waits before the next attempt, unless it is over.
    async fn pause(&mut self, pause: Duration) {
        let over = self.orders.wait_for(|orders| orders.presence == Presence::Over);
        let _either = timeout(pause, over).await;
    }

    fn says_ack(&self) -> bool {
        self.side == 1
    }

    /// Opens a socket, or says how long the server wants us to wait.
    async fn connect(&mut self, forgotten: i64) -> Result<Stream, Duration> {
        let since = self.sight.since(forgotten);
        let begun = Instant::now();
        let token = &self.couple.people[self.side].token;
        let hello = Hello { url: &self.world.url, token, since: Some(since), says_ack: self.says_ack() };
        let opened = handshake::open(hello).await;
        let took = begun.elapsed();
        match opened {
            Ok((stream, node)) => {
                self.sight.connected(since);
                self.world.tally.time(Span::Connect, took);
                self.report("connect", took, Some(101), None);
                let handle = self.handle();
                handle.place.send_modify(|place| {
                    place.turns += 1;
                    place.node = node;
                });
                // It forgot once, not for ever.
                handle.orders.send_if_modified(|orders| {
                    orders.forgotten = 0;
                    false
                });
                Ok(stream)
            }
            Err(Refusal { status, retry_after, error }) => {
                self.world.tally.count(|counts| *counts.refused.entry(status).or_default() += 1);
                self.report("connect", took, (status > 0).then_some(status), Some(error));
                Err(retry_after.min(BACKOFF_MAX))
            }
        }
    }

    /// Reads until the end of the connection, which was first tried at `begun` and opened under these orders.
    async fn converse(&mut self, mut stream: Stream, begun: Instant, first: Orders) -> End {
        let since = Since { back_at: self.back_since, recalled: first.recalled };
        // The answer comes when all that was missed is through.
        let mut resuming = std::mem::replace(&mut self.connected_before, true);
        if resuming && stream.send(Message::text(r#"{"type":"PING"}"#)).await.is_err() {
            return self.closed(NO_CLOSE_FRAME, None);
        }
        let mut heard_at = Instant::now();
        let mut ack_at: Option<Instant> = None;
        let mut hint = None;
        loop {
            let orders = *self.orders.borrow_and_update();
            if orders.presence != Presence::Here {
                // Whoever does not answer in time is left.
                let _answer = timeout(CLOSED_WITHIN, stream.close(None)).await;
                return End::Chosen;
            }
            if orders.cuts != first.cuts {
                return End::Chosen;
            }
            let silent_at = heard_at + SILENCE_MAX;
            // Cancel-safe: a stream keeps what it has read of a message; the others only wait.
            let message = tokio::select! {
                message = stream.next() => message,
                () = sleep_until(ack_at.unwrap_or(silent_at).min(silent_at)) => {
                    if silent_at <= Instant::now() {
                        return self.closed(NO_CLOSE_FRAME, None);
                    }
                    ack_at = None;
                    let ack = format!(r#"{{"type":"ACK","seq":{}}}"#, self.sight.last());
                    if stream.send(Message::text(ack)).await.is_err() {
                        return self.closed(NO_CLOSE_FRAME, hint);
                    }
                    continue;
                }
                _ = self.orders.changed() => continue,
            };
            heard_at = Instant::now();
            let text = match message {
                Some(Ok(Message::Text(text))) => text,
                Some(Ok(Message::Close(close))) => {
                    return self.closed(close.map_or(NO_CLOSE_FRAME, |close| close.code.into()), hint);
                }
                Some(Ok(_)) => continue,
                Some(Err(_)) | None => return self.closed(NO_CLOSE_FRAME, hint),
            };
            match Frame::read(&text) {
                Frame::Event { id, seq, event } => {
                    self.inbox.take(seq, &event, self.sight.see(seq, id), since);
                    if self.says_ack() && ack_at.is_none() {
                        ack_at = Some(heard_at + ACK_AFTER);
                    }
                }
                Frame::Resync { from_seq } => {
                    let who = self.couple.people[self.side].id;
                    self.world.tally.fault(Fault::Resync, || format!("{who}: from seq {from_seq}"));
                    self.sight.resync(from_seq);
                }
                Frame::Draining { reconnect_after_ms } => {
                    hint = Some(Duration::from_millis(reconnect_after_ms).min(BACKOFF_MAX));
                }
                Frame::Pong if resuming => {
                    resuming = false;
                    let took = begun.elapsed();
                    self.world.tally.time(Span::Resume, took);
                    self.report("resume", took, None, None);
                }
                Frame::Pong | Frame::Other => {}
            }
        }
    }

    fn closed(&self, code: u16, hint: Option<Duration>) -> End {
        self.world.tally.count(|counts| *counts.closes.entry(code).or_default() += 1);
        End::Closed(hint.unwrap_or_else(|| jitter(BACKOFF_FIRST)))
    }

    fn report(&self, name: &'static str, took: Duration, status: Option<u16>, error: Option<String>) {
        self.couple.report(&self.world, Sample { method: "WS", name, took, status, error });
    }
}
