//! The phone of somebody in a room: a socket that subscribes, comes back with `since`, and checks what it hears.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use fanlight::domain::random::jitter;
use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::json;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, timeout};
use tokio_tungstenite::tungstenite::Message;

use super::frame::{Frame, SUBSCRIBE};
use super::room::{Room, Seat, Wish};
use super::talk;
use crate::couple::{Orders, Presence, Sample};
use crate::handshake::{self, Hello, Refusal, Stream};
use crate::phone::{BACKOFF_FIRST, BACKOFF_MAX, NO_CLOSE_FRAME, SILENCE_MAX};
use crate::sight::Sight;
use crate::tally::Span;
use crate::world::World;

mod hearing;

pub struct Member {
    world: Arc<World>,
    room: Arc<Room>,
    place: usize,
    orders: watch::Receiver<Orders>,
    wishes: mpsc::Receiver<Wish>,
    sight: Sight,
    /// Messages that were sent on the socket and are not answered: said again on the next one, under the same name.
    unanswered: BTreeSet<usize>,
    connected_before: bool,
}

impl Member {
    pub fn new(world: &Arc<World>, room: &Arc<Room>, place: usize, wishes: mpsc::Receiver<Wish>) -> Self {
        Self {
            world: Arc::clone(world),
            room: Arc::clone(room),
            place,
            orders: room.seats[place].handle.orders.subscribe(),
            wishes,
            sight: Sight::default(),
            unanswered: BTreeSet::new(),
            connected_before: false,
        }
    }

    /// Lives until it is told that it is over.
    pub async fn run(mut self) {
        let (mut failures, mut trying_since): (u32, _) = (0, None);
        loop {
            let orders = *self.orders.borrow_and_update();
            if orders.presence != Presence::Here {
                return;
            }
            let begun = *trying_since.get_or_insert_with(Instant::now);
            let pause = match self.connect().await {
                Ok(stream) => {
                    (failures, trying_since) = (0, None);
                    let hint = self.converse(stream, begun, orders).await;
                    self.seat().handle.place.send_modify(|place| place.turns += 1);
                    hint
                }
                Err(retry_after) => {
                    failures += 1;
                    let backoff = BACKOFF_FIRST.saturating_mul(1 << failures.min(6)).min(BACKOFF_MAX);
                    retry_after.max(jitter(backoff))
                }
            };
            let over = self.orders.wait_for(|orders| orders.presence == Presence::Over);
            let _either = timeout(pause, over).await;
        }
    }

    fn seat(&self) -> &Seat {
        &self.room.seats[self.place]
    }

    async fn connect(&mut self) -> Result<Stream, Duration> {
        let (begun, token) = (Instant::now(), &self.room.people[self.place].token);
        // Of its user's own events it takes those that are not settled.
        let opened =
            handshake::open(Hello { url: &self.world.url, token, since: None, says_ack: false }).await;
        let took = begun.elapsed();
        match opened {
            Ok((stream, node)) => {
                self.world.tally.time(Span::Connect, took);
                self.report("connect", took, Some(101), None);
                self.seat().handle.place.send_modify(|place| {
                    place.turns += 1;
                    place.node = node;
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

    /// Reads until the end of the connection, which was first tried at `begun`. Returns when to come back.
    async fn converse(&mut self, mut stream: Stream, begun: Instant, first: Orders) -> Duration {
        let since = self.sight.since(first.forgotten);
        // It forgot once, not for ever.
        self.seat().handle.orders.send_if_modified(|orders| {
            orders.forgotten = 0;
            false
        });
        self.sight.connected(since);
        let subscribe =
            json!({"type": "SUBSCRIBE", "channelId": self.room.id, "since": since, "ref": SUBSCRIBE});
        if stream.send(Message::text(subscribe.to_string())).await.is_err() {
            return self.closed(NO_CLOSE_FRAME, None);
        }
        let (mut subscribed, mut hint) = (false, None);
        loop {
            let orders = *self.orders.borrow_and_update();
            if orders.presence != Presence::Here || orders.cuts != first.cuts {
                return Duration::ZERO;
            }
            // Cancel-safe: a stream keeps what it has read of a message, and the others take nothing unless they return.
            let message = tokio::select! {
                message = timeout(SILENCE_MAX, stream.next()) => message.ok().flatten(),
                Some(wish) = self.wishes.recv(), if subscribed => {
                    if self.say(&mut stream, wish).await.is_err() {
                        return self.closed(NO_CLOSE_FRAME, hint);
                    }
                    continue;
                }
                _ = self.orders.changed() => continue,
            };
            let text = match message {
                Some(Ok(Message::Text(text))) => text,
                Some(Ok(Message::Close(close))) => {
                    return self.closed(close.map_or(NO_CLOSE_FRAME, |close| close.code.into()), hint);
                }
                Some(Ok(_)) => continue,
                Some(Err(_)) | None => return self.closed(NO_CLOSE_FRAME, hint),
            };
            match Frame::read(&text) {
                Frame::Subscribed => {
                    subscribed = true;
                    self.has_subscribed(begun);
                    for number in self.unanswered.clone() {
                        if self.say(&mut stream, Wish::Say(number)).await.is_err() {
                            return self.closed(NO_CLOSE_FRAME, hint);
                        }
                    }
                }
                // It may go better on another node.
                Frame::NotSubscribed => return jitter(BACKOFF_MAX),
                Frame::Draining { reconnect_after_ms } => {
                    hint = Some(Duration::from_millis(reconnect_after_ms).min(BACKOFF_MAX));
                }
                frame => self.hear(frame),
            }
        }
    }

    fn has_subscribed(&mut self, begun: Instant) {
        let took = begun.elapsed();
        if std::mem::replace(&mut self.connected_before, true) {
            self.world.tally.time(Span::Resume, took);
            self.report("resume", took, None, None);
        }
    }

    async fn say(
        &mut self,
        stream: &mut Stream,
        wish: Wish,
    ) -> Result<(), tokio_tungstenite::tungstenite::Error> {
        let room = self.room.id;
        let command = match wish {
            Wish::Type => json!({"type": "TYPING", "channelId": room, "isTyping": true}),
            Wish::Say(number) => {
                if self.unanswered.insert(number)
                    && let Some(said) = self.room.minutes.lock().all().get(number)
                {
                    self.world.tally.time(Span::Sent, said.due.elapsed());
                }
                let (content, client_id) = (talk::content(number), talk::client_id(number));
                json!({"type": "SEND", "channelId": room, "content": content, "clientId": client_id, "ref": number})
            }
        };
        stream.send(Message::text(command.to_string())).await
    }

    fn closed(&self, code: u16, hint: Option<Duration>) -> Duration {
        self.world.tally.count(|counts| *counts.closes.entry(code).or_default() += 1);
        hint.unwrap_or_else(|| jitter(BACKOFF_FIRST))
    }

    fn report(&self, name: &'static str, took: Duration, status: Option<u16>, error: Option<String>) {
        self.room.report(&self.world, Sample { method: "WS", name, took, status, error });
    }
}
