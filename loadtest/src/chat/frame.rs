//! What the server says of a room, as far as a phone here listens.

use serde::Deserialize;
use uuid::Uuid;

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Frame {
    Created(Created),
    /// A `SUBSCRIBE` is done: what was missed is through.
    Subscribed,
    /// A `SUBSCRIBE` cannot be done.
    NotSubscribed,
    /// The message of this number was written at this place, ...
    Sent {
        number: usize,
        seq: i64,
    },
    /// ... or was not; `definitely`, unless it may have been nevertheless.
    NotSent {
        number: usize,
        definitely: bool,
        code: String,
    },
    Typing {
        user: Uuid,
    },
    Resync {
        from_seq: i64,
    },
    Unsubscribed,
    Draining {
        reconnect_after_ms: u64,
    },
    Other,
}

/// A message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Created {
    pub id: Uuid,
    pub seq: i64,
    pub author: Option<Uuid>,
    /// What the author called it.
    pub client_id: Option<String>,
}

/// The `ref` of a `SUBSCRIBE`; that of a `SEND` is the number of the message.
pub const SUBSCRIBE: &str = "subscribe";

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Text {
    r#type: String,
    r#ref: Option<Ref>,
    id: Option<Uuid>,
    seq: Option<i64>,
    user_id: Option<Uuid>,
    client_id: Option<String>,
    code: Option<String>,
    from_seq: Option<i64>,
    reconnect_after_ms: Option<u64>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Ref {
    Number(usize),
    Name(String),
}

impl Frame {
    pub fn read(text: &str) -> Self {
        let Ok(text) = serde_json::from_str::<Text>(text) else { return Self::Other };
        match (text.r#type.as_str(), text.r#ref, text.seq) {
            ("MESSAGE_CREATED", _, Some(seq)) => {
                let Text { id: Some(id), user_id: author, client_id, .. } = text else { return Self::Other };
                Self::Created(Created { id, seq, author, client_id })
            }
            ("OK", Some(Ref::Name(name)), _) if name == SUBSCRIBE => Self::Subscribed,
            ("ERROR", Some(Ref::Name(name)), _) if name == SUBSCRIBE => Self::NotSubscribed,
            ("OK", Some(Ref::Number(number)), Some(seq)) => Self::Sent { number, seq },
            ("ERROR", Some(Ref::Number(number)), _) => {
                let code = text.code.unwrap_or_default();
                let definitely = !["unavailable", "internal"].contains(&code.as_str());
                Self::NotSent { number, definitely, code }
            }
            ("TYPING", ..) => text.user_id.map_or(Self::Other, |user| Self::Typing { user }),
            ("ROOM_RESYNC", ..) => Self::Resync { from_seq: text.from_seq.unwrap_or(0) },
            ("UNSUBSCRIBED", ..) => Self::Unsubscribed,
            ("DRAINING", ..) => {
                Self::Draining { reconnect_after_ms: text.reconnect_after_ms.unwrap_or_default() }
            }
            _ => Self::Other,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_told_from_what_happens() {
        let created = r#"{"type":"MESSAGE_CREATED","id":"01890a5d-ac96-774b-bcce-b302099a8057","seq":3,"userId":null,"clientId":"c"}"#;
        assert!(matches!(Frame::read(created), Frame::Created(Created { seq: 3, author: None, .. })));
        assert_eq!(Frame::read(r#"{"type":"OK","ref":"subscribe","seq":3}"#), Frame::Subscribed);
        assert_eq!(Frame::read(r#"{"type":"OK","ref":5,"seq":3}"#), Frame::Sent { number: 5, seq: 3 });
        for (code, definitely) in [("rate_limited", true), ("unavailable", false)] {
            let frame = Frame::read(&format!(r#"{{"type":"ERROR","ref":5,"code":"{code}"}}"#));
            assert_eq!(frame, Frame::NotSent { number: 5, definitely, code: code.to_owned() });
        }
        assert_eq!(Frame::read(r#"{"type":"ROOM_RESYNC","fromSeq":9}"#), Frame::Resync { from_seq: 9 });
        assert_eq!(Frame::read("no JSON"), Frame::Other);
    }
}
