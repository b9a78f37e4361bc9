//! How much a client may send: messages, pings, bytes.
//!
//! Three token buckets: each refills with time and holds at most a burst. What we asked for (the pong to our ping,
//! the `ACK` of an event) costs its bytes only.

use tokio::time::Instant;

use crate::edge::ws::socket::Message;

/// The least that a client's frame takes besides its payload (RFC 6455 §5.2).
pub const FRAME_HEADER_BYTES: usize = 6;

#[derive(Clone, Copy, Debug)]
pub struct Rate {
    pub per_second: u32,
    pub burst: u32,
}

#[derive(Clone, Copy, Debug)]
pub struct Rates {
    pub messages: Rate,
    pub pings: Rate,
    pub bytes: Rate,
}

/// What is left of a client's rates.
pub struct Allowance {
    messages: Bucket,
    pings: Bucket,
    bytes: Bucket,
    filled_at: Instant,
}

impl Allowance {
    pub fn new(rates: Rates, now: Instant) -> Self {
        let full = |rate: Rate| Bucket { rate, left: f64::from(rate.burst) };
        Self {
            messages: full(rates.messages),
            pings: full(rates.pings),
            bytes: full(rates.bytes),
            filled_at: now,
        }
    }

    /// Takes what this message costs. False: the client has sent more than it may.
    pub fn spend(&mut self, message: &Message, is_answer: bool, now: Instant) -> bool {
        let seconds = now.duration_since(self.filled_at).as_secs_f64();
        self.filled_at = now;
        for bucket in [&mut self.messages, &mut self.pings, &mut self.bytes] {
            bucket.fill(seconds);
        }
        let (pings, bytes) = match message {
            Message::Text(text) => (0, text.len()),
            Message::Binary(payload) | Message::Pong(payload) => (0, payload.len()),
            Message::Ping(payload) => (1, payload.len()),
            // Nothing comes after it.
            Message::Close(_) => return true,
        };
        let bytes = u32::try_from(bytes + FRAME_HEADER_BYTES).unwrap_or(u32::MAX);
        self.messages.take(u32::from(!is_answer)) && self.pings.take(pings) && self.bytes.take(bytes)
    }

    /// The message just paid for was an answer after all.
    pub fn give_back_message(&mut self) {
        self.messages.left += 1.0;
    }
}

struct Bucket {
    rate: Rate,
    left: f64,
}

impl Bucket {
    fn fill(&mut self, seconds: f64) {
        let more = seconds * f64::from(self.rate.per_second);
        self.left = (self.left + more).min(f64::from(self.rate.burst));
    }

    fn take(&mut self, amount: u32) -> bool {
        let enough = self.left >= f64::from(amount);
        if enough {
            self.left -= f64::from(amount);
        }
        enough
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use bytes::Bytes;

    use super::*;

    const RATES: Rates = Rates {
        messages: Rate { per_second: 20, burst: 60 },
        pings: Rate { per_second: 2, burst: 10 },
        bytes: Rate { per_second: 1_000, burst: 2_000 },
    };

    /// How many of these may be sent at once, and how many more in each of the next three seconds.
    fn counts(message: &Message, is_answer: bool) -> [usize; 4] {
        let start = Instant::now();
        let mut allowance = Allowance::new(RATES, start);
        [0, 1, 2, 3].map(|second| {
            let now = start + Duration::from_secs(second);
            (0..1_000).take_while(|_| allowance.spend(message, is_answer, now)).count()
        })
    }

    #[test]
    fn a_burst_is_allowed_and_then_the_rate() {
        assert_eq!(counts(&Message::Text(String::new()), false), [60, 20, 20, 20]);
        assert_eq!(counts(&Message::Ping(Bytes::new()), false), [10, 2, 2, 2]);
        assert_eq!(counts(&Message::Pong(Bytes::new()), false), [60, 20, 20, 20]);
    }

    #[test]
    fn bytes_count_whatever_carries_them() {
        let payload = Bytes::from_static(&[0; 494]);
        for message in [Message::Binary(payload.clone()), Message::Text("x".repeat(494))] {
            assert_eq!(counts(&message, false), [4, 2, 2, 2]);
        }
        assert_eq!(counts(&Message::Pong(payload), true), [4, 2, 2, 2]);
    }

    #[test]
    fn what_was_asked_for_costs_no_message() {
        assert_eq!(counts(&Message::Pong(Bytes::new()), true)[0], 2_000 / FRAME_HEADER_BYTES);
    }

    #[test]
    fn a_close_is_always_heard() {
        assert_eq!(counts(&Message::Close(None), false), [1_000; 4]);
    }
}
