//! One connection's decisions, without I/O: what to do about a message, an event, and the passing of time.
//!
//! Invariants: `confirmed_seq <= sent_seq`, both only grow; an event is written only if its seq follows the
//! last one written, so that what the client sees is in order, without gap and without repetition.

use std::time::Duration;

use bytes::Bytes;
use tokio::time::Instant;

pub use crate::edge::ws::action::Action;
use crate::edge::ws::allowance::{Allowance, Rates};
use crate::edge::ws::close::Closing;
use crate::edge::ws::protocol::{self, Command, CommandError, Reply};
use crate::edge::ws::socket::{Message, ping_frame, pong_frame};

/// How this client confirms events.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Receipt {
    /// By the pong that any WebSocket library sends.
    Pong,
    /// By `ACK`, once it has stored them (sub-protocol `fanlight.v1`).
    Ack,
}

/// The numbers a session is run by.
#[derive(Clone, Copy, Debug)]
pub struct Rules {
    pub heartbeat: Duration,
    pub pong_timeout: Duration,
    pub age_max: Duration,
    pub rates: Rates,
}

/// What to do about an event that is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// It is the next one.
    Next,
    /// It was written already.
    Seen,
    /// Events before it are missing.
    Ahead,
}

#[derive(Clone, Copy, Debug)]
struct PingInFlight {
    /// What its pong confirms; `None`: only life.
    seq: Option<i64>,
    sent_at: Instant,
}

impl PingInFlight {
    fn payload(self) -> Bytes {
        self.seq.map(|seq| Bytes::from(seq.to_string())).unwrap_or_default()
    }
}

pub struct Session {
    rules: Rules,
    receipt: Receipt,
    sent_seq: i64,
    confirmed_seq: i64,
    ping: Option<PingInFlight>,
    heard_at: Instant,
    ticked_at: Instant,
    expires_at: Instant,
    ends_at: Instant,
    allowance: Allowance,
}

impl Session {
    pub fn new(rules: Rules, receipt: Receipt, expires_at: Instant, now: Instant) -> Self {
        Self {
            rules,
            receipt,
            sent_seq: 0,
            confirmed_seq: 0,
            ping: None,
            heard_at: now,
            ticked_at: now,
            expires_at,
            ends_at: now + rules.age_max,
            allowance: Allowance::new(rules.rates, now),
        }
    }

    pub fn sent_seq(&self) -> i64 {
        self.sent_seq
    }

    /// The sequence goes on after `seq`: the client has seen what came before, or was told to read the state.
    pub fn start_after(&mut self, seq: i64) {
        self.sent_seq = seq;
        self.confirmed_seq = seq;
    }

    /// Up to `seq` there is nothing left that this client must be sent.
    pub fn skip_to(&mut self, seq: i64) {
        if self.confirmed_seq == self.sent_seq {
            self.confirmed_seq = self.confirmed_seq.max(seq);
        }
        self.sent_seq = self.sent_seq.max(seq);
    }

    pub fn place(&self, seq: i64) -> Place {
        match seq - self.sent_seq {
            ..=0 => Place::Seen,
            1 => Place::Next,
            _ => Place::Ahead,
        }
    }

    /// Notes that events up to `seq` were written. Returns the ping that asks for their receipt, unless one
    /// is on its way: its pong brings the next.
    pub fn wrote(&mut self, seq: i64, now: Instant) -> Option<Bytes> {
        self.sent_seq = self.sent_seq.max(seq);
        self.ask_for_receipt(now)
    }

    fn ask_for_receipt(&mut self, now: Instant) -> Option<Bytes> {
        if self.receipt != Receipt::Pong || self.confirmed_seq >= self.sent_seq {
            return None;
        }
        if self.ping.is_some_and(|ping| ping.seq.is_some()) {
            return None;
        }
        self.ping = Some(PingInFlight { seq: Some(self.sent_seq), sent_at: now });
        Some(ping_frame(self.sent_seq.to_string().as_bytes()))
    }

    pub fn on_message(&mut self, message: Message, now: Instant) -> Vec<Action> {
        self.heard_at = now;
        let is_answer = matches!(&message, Message::Pong(payload) if self.is_awaited(payload));
        if !self.allowance.spend(&message, is_answer, now) {
            return vec![Action::Close(Closing::RateLimited)];
        }
        match message {
            Message::Text(text) => self.on_text(text),
            Message::Binary(_) => vec![Action::Close(Closing::BinaryMessage)],
            Message::Ping(payload) => vec![Action::Write(pong_frame(&payload))],
            Message::Pong(payload) => self.on_pong(&payload, now),
            Message::Close(code) => vec![Action::CloseBack(code)],
        }
    }

    fn on_text(&mut self, text: String) -> Vec<Action> {
        let (command, reference) = protocol::read(&text);
        if command == Err(CommandError::Unknown) {
            return vec![Action::Call(text)];
        }
        protocol::count(&command);
        match command {
            Ok(Command::Ping) => vec![Action::Write(Reply::Pong { r#ref: reference }.frame())],
            Ok(Command::Auth(auth)) => {
                vec![Action::Renew { auth, answer: Reply::Ok { r#ref: reference }.frame() }]
            }
            Ok(Command::Ack { seq }) if (0..=self.sent_seq).contains(&seq) => {
                let Some(seq) = self.confirm(seq) else { return Vec::new() };
                // We asked for it: there are no more of these than events.
                self.allowance.give_back_message();
                vec![Action::Confirm(seq)]
            }
            Ok(Command::Ack { .. }) => {
                vec![Action::Write(Reply::invalid_ack(reference).frame())]
            }
            Err(error) => vec![Action::Write(Reply::refusal(error, reference).frame())],
        }
    }

    fn on_pong(&mut self, payload: &[u8], now: Instant) -> Vec<Action> {
        // Any other pong proves life, and nothing else.
        let Some(ping) = self.ping.take_if(|ping| ping.payload() == payload) else { return Vec::new() };
        let mut actions = Vec::new();
        if let Some(seq) = ping.seq.and_then(|seq| self.confirm(seq)) {
            actions.push(Action::Confirm(seq));
        }
        actions.extend(self.ask_for_receipt(now).map(Action::Write));
        actions
    }

    fn is_awaited(&self, pong: &[u8]) -> bool {
        self.ping.is_some_and(|ping| ping.payload() == pong)
    }

    /// Moves the confirmation forward; `None` if it is there already.
    fn confirm(&mut self, seq: i64) -> Option<i64> {
        let seq = seq.min(self.sent_seq);
        (seq > self.confirmed_seq).then(|| {
            self.confirmed_seq = seq;
            seq
        })
    }

    /// Time has passed.
    pub fn on_tick(&mut self, now: Instant) -> Vec<Action> {
        self.ticked_at = now;
        if now >= self.expires_at {
            return vec![Action::Close(Closing::TokenExpired)];
        }
        if now >= self.ends_at {
            return vec![Action::Close(Closing::TooOld)];
        }
        match self.ping {
            Some(ping) if now >= self.dead_at(ping) => vec![Action::Close(Closing::HeartbeatLost)],
            None if now >= self.heard_at + self.rules.heartbeat => {
                self.ping = Some(PingInFlight { seq: None, sent_at: now });
                vec![Action::Write(ping_frame(b""))]
            }
            _ => Vec::new(),
        }
    }

    /// Anything the client says after a ping proves that it lives, even before the pong.
    fn dead_at(&self, ping: PingInFlight) -> Instant {
        ping.sent_at.max(self.heard_at) + self.rules.pong_timeout
    }

    /// When to call [`Session::on_tick`] at the latest.
    pub fn next_tick(&self) -> Instant {
        let silence = match self.ping {
            // Answered in the meantime, the next one may be due earlier than this one's deadline.
            Some(ping) => self.dead_at(ping).min(self.ticked_at + self.rules.heartbeat),
            None => self.heard_at + self.rules.heartbeat,
        };
        silence.min(self.expires_at).min(self.ends_at)
    }

    pub fn renew(&mut self, expires_at: Instant) {
        self.expires_at = expires_at;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::edge::ws::allowance::Rate;

    const RULES: Rules = Rules {
        heartbeat: Duration::from_secs(25),
        pong_timeout: Duration::from_secs(20),
        age_max: Duration::from_secs(2_000),
        rates: Rates {
            messages: Rate { per_second: 20, burst: 60 },
            pings: Rate { per_second: 2, burst: 10 },
            bytes: Rate { per_second: 1_000, burst: 2_000 },
        },
    };

    fn session(receipt: Receipt) -> (Session, Instant) {
        let now = Instant::now();
        (Session::new(RULES, receipt, now + Duration::from_secs(900), now), now)
    }

    fn pong(payload: &'static str) -> Message {
        Message::Pong(Bytes::from_static(payload.as_bytes()))
    }

    #[test]
    fn pings_coalesce_and_a_pong_confirms_all_up_to_its_seq() {
        let (mut session, now) = session(Receipt::Pong);
        assert_eq!(session.wrote(1, now), Some(ping_frame(b"1")));
        assert_eq!(session.wrote(2, now), None);
        assert_eq!(session.wrote(3, now), None);
        let actions = session.on_message(pong("1"), now);
        assert_eq!(actions, vec![Action::Confirm(1), Action::Write(ping_frame(b"3"))]);
        assert_eq!(session.on_message(pong("3"), now), vec![Action::Confirm(3)]);
    }

    #[test]
    fn a_forged_pong_confirms_nothing() {
        let (mut session, now) = session(Receipt::Pong);
        session.wrote(1, now);
        assert_eq!(session.on_message(pong("99"), now), vec![]);
        assert_eq!(session.on_message(pong("1"), now), vec![Action::Confirm(1)]);
        assert_eq!(session.on_message(pong("1"), now), vec![]);
    }

    #[test]
    fn a_client_that_acknowledges_is_not_confirmed_by_pongs() {
        let (mut session, now) = session(Receipt::Ack);
        assert_eq!(session.wrote(5, now), None);
        assert_eq!(session.on_message(pong("5"), now), vec![]);
        let ack = Message::Text(r#"{"type":"ACK","seq":5}"#.into());
        assert_eq!(session.on_message(ack.clone(), now), vec![Action::Confirm(5)]);
        assert_eq!(session.on_message(ack, now), vec![]);
    }

    #[test]
    fn an_ack_beyond_what_was_sent_is_refused() {
        let (mut session, now) = session(Receipt::Ack);
        session.wrote(5, now);
        for seq in ["6", "-1", "9223372036854775807"] {
            let ack = Message::Text(format!(r#"{{"type":"ACK","seq":{seq}}}"#));
            assert!(matches!(session.on_message(ack, now)[..], [Action::Write(_)]), "{seq}");
        }
    }

    #[test]
    fn only_the_next_seq_is_written() {
        let (mut session, now) = session(Receipt::Pong);
        session.start_after(10);
        assert_eq!(session.place(10), Place::Seen);
        assert_eq!(session.place(11), Place::Next);
        assert_eq!(session.place(12), Place::Ahead);
        session.wrote(11, now);
        assert_eq!(session.place(12), Place::Next);
    }

    #[test]
    fn silence_is_answered_by_a_ping_and_then_by_the_end() {
        let (mut session, start) = session(Receipt::Pong);
        assert_eq!(session.on_tick(start + Duration::from_secs(24)), vec![]);
        let pinged = start + Duration::from_secs(25);
        assert_eq!(session.on_tick(pinged), vec![Action::Write(ping_frame(b""))]);
        assert_eq!(session.next_tick(), pinged + RULES.pong_timeout);
        assert_eq!(session.on_tick(pinged + RULES.pong_timeout), vec![Action::Close(Closing::HeartbeatLost)]);
    }

    #[test]
    fn a_client_that_answers_stays() {
        let (mut session, start) = session(Receipt::Pong);
        let mut now = start;
        for _ in 0..100 {
            now = session.next_tick();
            match session.on_tick(now).as_slice() {
                [Action::Write(_)] => assert_eq!(session.on_message(pong(""), now), vec![]),
                [Action::Close(Closing::TokenExpired)] => break,
                other => panic!("{other:?}"),
            }
        }
        assert_eq!(now, start + Duration::from_secs(900));
    }

    #[test]
    fn who_confirms_each_event_is_no_flood_and_who_repeats_himself_is() {
        let ack = |seq: i64| Message::Text(format!(r#"{{"type":"ACK","seq":{seq}}}"#));
        let (mut diligent, now) = session(Receipt::Ack);
        for seq in 1..=i64::from(RULES.rates.messages.burst) + 2 {
            diligent.wrote(seq, now);
            assert_eq!(diligent.on_message(ack(seq), now), [Action::Confirm(seq)]);
        }
        let (mut repeating, now) = session(Receipt::Ack);
        for _ in 0..RULES.rates.messages.burst {
            assert_eq!(repeating.on_message(ack(0), now), []);
        }
        assert_eq!(repeating.on_message(ack(0), now), [Action::Close(Closing::RateLimited)]);
    }

    #[test]
    fn answers_to_our_pings_are_free_and_other_pongs_are_not() {
        let (mut session, now) = session(Receipt::Pong);
        for seq in 1..=100 {
            session.wrote(seq, now);
            let answer = Message::Pong(Bytes::from(seq.to_string()));
            assert_eq!(session.on_message(answer, now), vec![Action::Confirm(seq)]);
        }
        for _ in 0..RULES.rates.messages.burst {
            assert_eq!(session.on_message(pong("x"), now), vec![]);
        }
        assert_eq!(session.on_message(pong("x"), now), vec![Action::Close(Closing::RateLimited)]);
    }

    #[test]
    fn no_connection_lives_for_ever() {
        let (mut session, now) = session(Receipt::Pong);
        session.renew(now + Duration::from_secs(10_000));
        let end = now + RULES.age_max;
        let just_heard = end - Duration::from_secs(1);
        assert_eq!(session.on_message(pong(""), just_heard), vec![]);
        assert_eq!(session.next_tick(), end);
        assert_eq!(session.on_tick(end), vec![Action::Close(Closing::TooOld)]);
    }

    #[test]
    fn an_expired_token_ends_the_connection_unless_renewed() {
        let (mut session, now) = session(Receipt::Pong);
        session.renew(now + Duration::from_secs(1_000));
        assert_ne!(
            session.on_tick(now + Duration::from_secs(900)),
            vec![Action::Close(Closing::TokenExpired)]
        );
        assert_eq!(
            session.on_tick(now + Duration::from_secs(1_000)),
            vec![Action::Close(Closing::TokenExpired)]
        );
    }
}
