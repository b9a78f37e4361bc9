//! Counts what goes over the sockets of a node.
//!
//! Each message is counted, so the counters are looked up once, and then cost one addition each.

use std::time::Duration;

use metrics::{Counter, Histogram, counter, histogram};

use crate::delivery::mailbox::Numbered;
use crate::domain::clock::Timestamp;
use crate::edge::ws::session::Receipt;
use crate::edge::ws::socket::Message;

pub struct Traffic {
    received: Messages,
    received_bytes: Counter,
    sent: Messages,
    sent_bytes: Counter,
    events: Counter,
    write_duration: Histogram,
    pong_duration: Histogram,
    ack_duration: Histogram,
}

struct Messages {
    text: Counter,
    binary: Counter,
    ping: Counter,
    pong: Counter,
    close: Counter,
}

impl Messages {
    fn new(count: impl Fn(&'static str) -> Counter) -> Self {
        Self {
            text: count("text"),
            binary: count("binary"),
            ping: count("ping"),
            pong: count("pong"),
            close: count("close"),
        }
    }
}

impl Traffic {
    pub fn new() -> Self {
        Self {
            received: Messages::new(
                |opcode| counter!("fanlight_messages_received_total", "opcode" => opcode),
            ),
            received_bytes: counter!("fanlight_received_bytes_total"),
            sent: Messages::new(|opcode| counter!("fanlight_messages_sent_total", "opcode" => opcode)),
            sent_bytes: counter!("fanlight_sent_bytes_total"),
            events: counter!("fanlight_events_written_total"),
            write_duration: histogram!("fanlight_delivery_write_duration_seconds"),
            pong_duration: histogram!("fanlight_delivery_receipt_duration_seconds", "receipt" => "pong"),
            ack_duration: histogram!("fanlight_delivery_receipt_duration_seconds", "receipt" => "ack"),
        }
    }

    /// Returns how many bytes it had.
    pub fn received(&self, message: &Message) -> u64 {
        let (of_its_kind, bytes) = match message {
            Message::Text(text) => (&self.received.text, text.len()),
            Message::Binary(payload) => (&self.received.binary, payload.len()),
            Message::Ping(payload) => (&self.received.ping, payload.len()),
            Message::Pong(payload) => (&self.received.pong, payload.len()),
            Message::Close(code) => (&self.received.close, code.map_or(0, |_| 2)),
        };
        of_its_kind.increment(1);
        self.received_bytes.increment(bytes as u64);
        bytes as u64
    }

    /// One frame of ours: a text or a control frame.
    pub fn sent_frame(&self, frame: &[u8]) {
        let of_its_kind = match frame.first().map(|first| first & 0x0f) {
            Some(0x8) => &self.sent.close,
            Some(0x9) => &self.sent.ping,
            Some(0xA) => &self.sent.pong,
            _ => &self.sent.text,
        };
        of_its_kind.increment(1);
    }

    pub fn sent_texts(&self, count: usize) {
        self.sent.text.increment(count as u64);
    }

    pub fn sent_events(&self, count: usize) {
        self.sent_texts(count);
        self.events.increment(count as u64);
    }

    pub fn sent_bytes(&self, count: usize) {
        self.sent_bytes.increment(count as u64);
    }

    /// Events that were committed a moment ago. Their ids say when they were made, in milliseconds of the clock of
    /// their node: what the clocks of two nodes differ by, this is wrong by.
    pub fn wrote_live(&self, events: &[Numbered], now: Timestamp) {
        for event in events {
            let age = (now - event.id.made_at()).to_std().unwrap_or(Duration::ZERO);
            self.write_duration.record(age);
        }
    }

    /// A connection ended, for a row of `close.rs`, or because the client closed (`client`) or vanished (`gone`):
    /// then there was nobody to say a last word to.
    pub fn ended(&self, code: String, reason: &'static str, lasted: Duration) {
        self.sent.close.increment(u64::from(reason != "gone"));
        counter!("fanlight_connections_closed_total", "code" => code, "reason" => reason).increment(1);
        histogram!("fanlight_connection_duration_seconds").record(lasted);
    }

    pub fn confirmed(&self, receipt: Receipt, took: Duration) {
        match receipt {
            Receipt::Pong => self.pong_duration.record(took),
            Receipt::Ack => self.ack_duration.record(took),
        }
    }
}
