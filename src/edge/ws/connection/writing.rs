//! What a connection writes to its socket.

use std::pin::pin;
use std::time::Duration;

use bytes::BytesMut;
use tokio::io::{AsyncWrite, AsyncWriteExt as _};
use tokio::time::error::Elapsed;
use tokio::time::{Instant, timeout};

use super::{Connection, End};
use crate::delivery::mailbox::Numbered;
use crate::delivery::settlement;
use crate::edge::ws::socket::FAREWELL_TIMEOUT;
use crate::failpoint;
use crate::seeded_bug;
use crate::telemetry::traces::{Span, SpanKind};

/// What one write takes; larger events go out alone.
const WRITE_BYTES_MAX: usize = 32 * 1024;

impl<W: AsyncWrite + Unpin> Connection<'_, W> {
    /// Writes events that follow each other, and asks for their receipt: many at a time, but not so many that a
    /// client that does not read makes us keep all of them twice.
    pub(super) async fn write_events(&mut self, mut events: &[Numbered]) -> Result<(), End> {
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
        let now = Instant::now();
        self.asked_at.get_or_insert(now);
        if let Some(ping) = self.session.wrote(last.seq, now) {
            self.meter.sent_frame(&ping);
            out.extend_from_slice(&ping);
        }
        // Before the write: a confirmation can only come after it.
        self.mailbox.set_sent_seq(self.session.sent_seq());
        self.meter.sent_events(events.len());
        let mut spans = self.spans(events);
        let written = self.write(&out).await;
        if written.is_err() {
            for span in &mut spans {
                span.fail("the connection ended");
            }
        }
        drop(spans);
        written?;
        failpoint!("after_write");
        Ok(())
    }

    /// Those of the events that are traced.
    fn spans(&self, events: &[Numbered]) -> Vec<Span> {
        let traced = events.iter().filter(|event| event.trace.is_some());
        let span = |event: &Numbered| {
            Span::below(event.trace, SpanKind::Consumer, "event.write")
                .with_id("event.id", event.id)
                .with("event.seq", || event.seq)
                .with_id("connection.id", self.mailbox.connection)
        };
        traced.map(span).collect()
    }

    /// A receipt counts from the oldest write that it covers, or from the receipt before it.
    pub(super) fn note_receipt(&mut self, seq: i64) {
        let now = Instant::now();
        let took = self.asked_at.take().map(|asked_at| now.duration_since(asked_at));
        let open = self.session.sent_seq() - seq;
        self.meter.confirmed(self.receipt, open, took);
        self.asked_at = (open > 0).then_some(now);
    }

    /// Writes one text or control frame.
    pub(super) async fn write_frame(&mut self, frame: &[u8]) -> Result<(), End> {
        self.meter.sent_frame(frame);
        self.write(frame).await
    }

    /// Writes all of `bytes`, or ends the connection: nothing can follow half a frame.
    pub(super) async fn write(&mut self, bytes: &[u8]) -> Result<(), End> {
        let limit = Duration::from_millis(self.sockets.parts.config.write_timeout_ms);
        let mailbox = self.mailbox;
        let _held = mailbox.hold(bytes.len());
        self.meter.sent_bytes(bytes.len());
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
}

pub(super) fn bytes_of(events: &[Numbered]) -> usize {
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
