//! What a client remembers of one room, and what a frame says about it.

use serde::Deserialize;
use uuid::Uuid;

use super::history::{From, Told, Word};
use crate::history::fingerprint;

/// All that a client needs to come back to a room without a gap.
#[derive(Clone, Copy, Debug, Default)]
pub struct RoomMemory {
    pub seq: i64,
    pub revision: i64,
}

impl RoomMemory {
    pub fn from(self, by_seq: bool) -> From {
        if by_seq { From::Seq(self.seq) } else { From::Revision(self.revision) }
    }

    pub fn hear(&mut self, word: &Word) {
        match word {
            Word::Joined { seq, revision } | Word::Resync { from_seq: seq, revision, .. } => {
                (self.seq, self.revision) = (*seq, *revision);
            }
            Word::Change { revision, change } => {
                self.revision = *revision;
                if let Told::Created { seq, .. } = change {
                    self.seq = *seq;
                }
            }
            _ => {}
        }
    }
}

/// Every text frame of the server, as far as rooms go.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Frame {
    pub r#type: String,
    pub r#ref: Option<String>,
    pub channel_id: Option<Uuid>,
    pub seq: Option<i64>,
    pub message_id: Option<Uuid>,
    pub code: Option<String>,
    pub revision: Option<i64>,
    id: Option<Uuid>,
    from_seq: Option<i64>,
    reason: Option<String>,
    user_id: Option<Uuid>,
    emoji: Option<String>,
    content: Option<String>,
}

impl Frame {
    /// What it tells of its room. `None`: it is a durable event, or none of ours.
    pub fn word(&self) -> Option<Word> {
        let reason = || self.reason.clone().unwrap_or_default();
        Some(match self.r#type.as_str() {
            "ROOM_RESYNC" => {
                Word::Resync { reason: reason(), from_seq: self.from_seq?, revision: self.revision? }
            }
            "UNSUBSCRIBED" => Word::Unsubscribed { reason: reason() },
            _ if self.revision.is_some() => Word::Change { revision: self.revision?, change: self.told()? },
            kind if self.id.is_none() => Word::Passing { kind: kind.to_owned() },
            _ => return None,
        })
    }

    fn told(&self) -> Option<Told> {
        let content = || self.content.as_deref().map(fingerprint);
        let reaction = || Some((self.message_id?, self.user_id?, self.emoji.clone()?));
        Some(match self.r#type.as_str() {
            "MESSAGE_CREATED" => Told::Created { message: self.id?, seq: self.seq?, content: content()? },
            "MESSAGE_EDITED" => Told::Edited { message: self.id?, content: content()? },
            "MESSAGE_DELETED" => Told::Deleted { message: self.id? },
            "REACTION_ADDED" => {
                let (message, by, emoji) = reaction()?;
                Told::ReactionAdded { message, by, emoji }
            }
            "REACTION_REMOVED" => {
                let (message, by, emoji) = reaction()?;
                Told::ReactionRemoved { message, by, emoji }
            }
            _ => return None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROOM: &str = "0193a5c0-0000-7000-8000-0000000000c1";

    fn word(rest: &str) -> Option<Word> {
        serde_json::from_str::<Frame>(&format!(r#"{{"channelId":"{ROOM}",{rest}}}"#)).unwrap().word()
    }

    #[test]
    fn changes_are_told_from_durable_events_and_from_what_passes() {
        let created = format!(r#""type":"MESSAGE_CREATED","id":"{ROOM}","seq":4,"content":"x","revision":9"#);
        let created = word(&created).unwrap();
        let change = Told::Created { message: ROOM.parse().unwrap(), seq: 4, content: fingerprint("x") };
        assert_eq!(created, Word::Change { revision: 9, change });
        assert_eq!(word(&format!(r#""type":"INVITED","id":"{ROOM}","seq":4"#)), None);
        assert_eq!(word(r#""type":"MEMBER_REMOVED""#), Some(Word::Passing { kind: "MEMBER_REMOVED".into() }));

        let mut memory = RoomMemory::default();
        memory.hear(&created);
        assert_eq!((memory.from(true), memory.from(false)), (From::Seq(4), From::Revision(9)));
        memory.hear(&word(r#""type":"ROOM_RESYNC","reason":"x","fromSeq":7,"revision":30"#).unwrap());
        assert_eq!((memory.from(true), memory.from(false)), (From::Seq(7), From::Revision(30)));
    }
}
