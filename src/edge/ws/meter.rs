//! What went over one connection: counted for its node, and for the line in the log when it has ended.
//!
//! Only connections whose user is known have that line, so that strangers cannot fill the log.

use std::time::Duration;

use crate::delivery::mailbox::Mailbox;
use crate::edge::ws::connection::End;
use crate::edge::ws::session::Receipt;
use crate::edge::ws::socket::Message;
use crate::edge::ws::traffic::Traffic;

pub struct Meter<'a> {
    node: &'a Traffic,
    /// How it began: the `result` of `fanlight_resumes_total`.
    began: Option<&'static str>,
    received_messages: u64,
    received_bytes: u64,
    sent_messages: u64,
    sent_bytes: u64,
    events: u64,
    events_confirmed: u64,
}

impl<'a> Meter<'a> {
    pub fn new(node: &'a Traffic) -> Self {
        Self {
            node,
            began: None,
            received_messages: 0,
            received_bytes: 0,
            sent_messages: 0,
            sent_bytes: 0,
            events: 0,
            events_confirmed: 0,
        }
    }

    pub fn began(&mut self, result: &'static str) {
        metrics::counter!("fanlight_resumes_total", "result" => result).increment(1);
        self.began = Some(result);
    }

    pub fn received(&mut self, message: &Message) {
        self.received_messages += 1;
        self.received_bytes += self.node.received(message);
    }

    /// One frame of ours: a text or a control frame.
    pub fn sent_frame(&mut self, frame: &[u8]) {
        self.sent_messages += 1;
        self.node.sent_frame(frame);
    }

    pub fn sent_texts(&mut self, count: usize) {
        self.sent_messages += count as u64;
        self.node.sent_texts(count);
    }

    pub fn sent_events(&mut self, count: usize) {
        self.sent_messages += count as u64;
        self.events += count as u64;
        self.node.sent_events(count);
    }

    pub fn sent_bytes(&mut self, count: usize) {
        self.sent_bytes += count as u64;
        self.node.sent_bytes(count);
    }

    /// A receipt came, for all but the last `open` events. `took`: how long after they were written, if that is known.
    pub fn confirmed(&mut self, receipt: Receipt, open: i64, took: Option<Duration>) {
        let confirmed = self.events.saturating_sub(open.unsigned_abs());
        self.events_confirmed = self.events_confirmed.max(confirmed);
        if let Some(took) = took {
            self.node.confirmed(receipt, took);
        }
    }

    /// The one line about a connection that has ended.
    pub fn tell(&self, mailbox: &Mailbox, end: End, sent_seq: i64, lasted: Duration) {
        tracing::info!(
            user.id = %mailbox.user,
            connection.id = %mailbox.connection,
            session.id = %mailbox.session,
            close.code = end.code(),
            close.reason = end.reason(),
            seconds = lasted.as_secs_f64(),
            began = self.began,
            received.messages = self.received_messages,
            received.bytes = self.received_bytes,
            sent.messages = self.sent_messages,
            sent.bytes = self.sent_bytes,
            events.sent = self.events,
            events.confirmed = self.events_confirmed,
            events.last_seq = sent_seq,
            "connection closed"
        );
    }
}
