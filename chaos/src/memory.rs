//! What a client remembers of its events: all it needs to come back without a gap.

use std::collections::BTreeSet;

use serde::Deserialize;
use uuid::Uuid;

use crate::history::{Arrival, Record, Resync, fingerprint, now};

pub struct Memory {
    user: usize,
    connection: u64,
    /// All events up to this one were seen.
    complete_up_to: i64,
    /// Those that were seen beyond a hole.
    beyond: BTreeSet<i64>,
    /// The last one written on this connection: what an `ACK` may name.
    newest: i64,
}

/// What a text frame was.
pub enum Read {
    Event(Record),
    Resync(Record),
    Other,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Frame {
    r#type: String,
    id: Option<Uuid>,
    seq: Option<i64>,
    from_seq: Option<i64>,
    reason: Option<String>,
}

impl Memory {
    pub fn new(user: usize) -> Self {
        Self { user, connection: 0, complete_up_to: 0, beyond: BTreeSet::new(), newest: 0 }
    }

    pub fn connected(&mut self, connection: u64, since: Option<i64>) {
        self.connection = connection;
        self.newest = since.unwrap_or(0);
    }

    pub fn connection(&self) -> u64 {
        self.connection
    }

    pub fn complete_up_to(&self) -> i64 {
        self.complete_up_to
    }

    pub fn newest(&self) -> i64 {
        self.newest
    }

    /// Whether there is a hole in what was seen.
    pub fn lacks_something(&self) -> bool {
        !self.beyond.is_empty()
    }

    pub fn read(&mut self, text: &str) -> Read {
        let Ok(frame) = serde_json::from_str::<Frame>(text) else { return Read::Other };
        let (user, connection, at) = (self.user, self.connection, now());
        match frame {
            Frame { id: Some(id), seq: Some(seq), .. } => {
                self.see(seq);
                let fingerprint = fingerprint(text);
                Read::Event(Record::Arrival(Arrival { user, connection, at, seq, id, fingerprint }))
            }
            Frame { from_seq: Some(from_seq), .. } if frame.r#type == "RESYNC" => {
                self.complete_up_to = from_seq;
                self.beyond.clear();
                let reason = frame.reason.unwrap_or_default();
                Read::Resync(Record::Resync(Resync { user, connection, at, from_seq, reason }))
            }
            _ => Read::Other,
        }
    }

    fn see(&mut self, seq: i64) {
        self.newest = self.newest.max(seq);
        if seq > self.complete_up_to {
            self.beyond.insert(seq);
        }
        while self.beyond.remove(&(self.complete_up_to + 1)) {
            self.complete_up_to += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hole_is_remembered_until_it_is_filled() {
        let mut memory = Memory::new(0);
        for seq in [1, 2, 4, 5] {
            memory.see(seq);
        }
        assert_eq!((memory.complete_up_to(), memory.lacks_something()), (2, true));
        memory.see(3);
        assert_eq!((memory.complete_up_to(), memory.lacks_something()), (5, false));
    }

    #[test]
    fn events_are_told_from_what_the_server_says_besides() {
        let mut memory = Memory::new(0);
        let event = r#"{"type":"X","id":"01890a5d-ac96-774b-bcce-b302099a8057","seq":1}"#;
        assert!(matches!(memory.read(event), Read::Event(_)));
        assert!(matches!(memory.read(r#"{"type":"WELCOME","seq":7}"#), Read::Other));
        assert!(matches!(memory.read(r#"{"type":"RESYNC","reason":"x","fromSeq":9}"#), Read::Resync(_)));
        assert_eq!(memory.complete_up_to(), 9);
    }
}
