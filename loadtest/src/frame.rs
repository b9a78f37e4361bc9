//! What the server says on a socket, as far as a phone here listens.

use serde::Deserialize;
use uuid::Uuid;

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Frame {
    Event {
        id: Uuid,
        seq: i64,
        event: Event,
    },
    Resync {
        from_seq: i64,
    },
    /// The node leaves, and asks for so many ms before the client comes back.
    Draining {
        reconnect_after_ms: u64,
    },
    /// The answer to a `PING` after a connect: what was missed is through.
    Pong,
    Other,
}

/// The fields of all events, flat.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Event {
    pub r#type: String,
    /// Epoch ms.
    pub timestamp: i64,
    pub partner_id: Option<Uuid>,
    pub user_id: Option<Uuid>,
    pub status_expiration: Option<i64>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Text {
    r#type: String,
    id: Option<Uuid>,
    seq: Option<i64>,
    from_seq: Option<i64>,
    reconnect_after_ms: Option<u64>,
}

impl Frame {
    pub fn read(text: &str) -> Self {
        let Ok(Text { r#type, id, seq, from_seq, reconnect_after_ms }) = serde_json::from_str(text) else {
            return Self::Other;
        };
        match (r#type.as_str(), id, seq) {
            (_, Some(id), Some(seq)) => match serde_json::from_str(text) {
                Ok(event) => Self::Event { id, seq, event },
                Err(_) => Self::Other,
            },
            ("RESYNC", ..) => Self::Resync { from_seq: from_seq.unwrap_or(0) },
            ("DRAINING", ..) => Self::Draining { reconnect_after_ms: reconnect_after_ms.unwrap_or_default() },
            ("PONG", ..) => Self::Pong,
            _ => Self::Other,
        }
    }
}

#[cfg(test)]
impl Event {
    /// An event of that time that says nothing else.
    pub fn at(timestamp: i64) -> Self {
        let r#type = "PARTNER_STATUS_CHANGED".to_owned();
        Self { r#type, timestamp, partner_id: None, user_id: None, status_expiration: None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_told_from_what_the_server_says_besides() {
        let event = r#"{"type":"X","timestamp":5,"id":"01890a5d-ac96-774b-bcce-b302099a8057","seq":1}"#;
        assert!(matches!(Frame::read(event), Frame::Event { seq: 1, .. }));
        assert_eq!(Frame::read(r#"{"type":"WELCOME","seq":7}"#), Frame::Other);
        assert_eq!(Frame::read(r#"{"type":"RESYNC","fromSeq":9}"#), Frame::Resync { from_seq: 9 });
        assert_eq!(Frame::read(r#"{"type":"PONG","seq":9}"#), Frame::Pong);
        let draining = Frame::read(r#"{"type":"DRAINING","reconnectAfterMs":5}"#);
        assert_eq!(draining, Frame::Draining { reconnect_after_ms: 5 });
        assert_eq!(Frame::read("no JSON"), Frame::Other);
    }
}
