//! Marks in Redis: one hash per user who has said something, connection id → mark.

use std::time::Duration;

use async_trait::async_trait;
use redis::{Pipeline, Script};

use super::{Device, Found, Mark, Marks, Silent};
use crate::domain::ids::{NodeId, UserId};
use crate::ports::presence::redis::HANDFUL;
use crate::ports::presence::{Entry, PresenceError};
use crate::ports::redis::{BELIEF, RedisLink};

/// What one script looks at: Redis does nothing else meanwhile.
const USERS_PER_SCRIPT: usize = 200;
const AWAY: &str = "away";

pub struct RedisMarks {
    link: RedisLink,
    find: Script,
    silent: Script,
}

impl RedisMarks {
    #[must_use]
    pub fn new(link: RedisLink) -> Self {
        let script = |own: &str| Script::new(&[BELIEF, own].concat());
        Self { link, find: script(include_str!("find.lua")), silent: script(include_str!("silent.lua")) }
    }

    async fn send(&self, name: &'static str, pipeline: &Pipeline) -> Result<(), PresenceError> {
        if pipeline.len() > HANDFUL {
            let send = async |mut redis| pipeline.query_async::<()>(&mut redis).await;
            self.link.run_aside(name, send).await?;
        } else {
            let send = async |mut redis| pipeline.query_async::<()>(&mut redis).await;
            self.link.run(name, send).await?;
        }
        Ok(())
    }
}

/// `away`, the conversation, or both with a space between.
fn encode(mark: Mark) -> String {
    let viewing = mark.viewing.map(|channel| channel.to_string());
    let parts = [mark.is_away.then_some(AWAY), viewing.as_deref()];
    parts.into_iter().flatten().collect::<Vec<_>>().join(" ")
}

/// What a newer version may say more is left out.
fn decode(text: &str) -> Mark {
    let words = || text.split(' ');
    Mark { is_away: words().any(|word| word == AWAY), viewing: words().find_map(|word| word.parse().ok()) }
}

#[async_trait]
impl Marks for RedisMarks {
    async fn set(&self, marks: &[(Entry, Mark)]) -> Result<(), PresenceError> {
        if marks.is_empty() {
            return Ok(());
        }
        let mut pipeline = redis::pipe();
        for (entry, mark) in marks {
            let (key, field) = (self.link.key("marks", entry.user), entry.connection.to_string());
            if *mark == Mark::default() {
                pipeline.hdel(key, field).ignore();
            } else {
                pipeline.hset(key, field, encode(*mark)).ignore();
            }
        }
        self.send("marks_set", &pipeline).await
    }

    async fn linger(&self, node: NodeId, users: &[(UserId, Duration)]) -> Result<(), PresenceError> {
        if users.is_empty() {
            return Ok(());
        }
        let mut pipeline = redis::pipe();
        for (user, time) in users {
            let ms = u64::try_from(time.as_millis()).unwrap_or(u64::MAX).max(1);
            pipeline.pset_ex(self.link.key("left", user), node.to_string(), ms).ignore();
        }
        self.send("marks_linger", &pipeline).await
    }

    async fn find(&self, asker: NodeId, users: &[UserId]) -> Result<Vec<Found>, PresenceError> {
        let config = self.link.config();
        let mut found = Vec::with_capacity(users.len());
        for some in users.chunks(USERS_PER_SCRIPT) {
            let mut call = self.find.prepare_invoke();
            call.key(self.link.pulse_key());
            for user in some {
                for kind in ["presence", "moving", "marks", "left"] {
                    call.key(self.link.key(kind, user));
                }
            }
            call.arg(&config.key_prefix).arg(config.stall_ms()).arg(config.warmup_ms);
            call.arg(asker.to_string());
            let call = &call;
            let find = async |mut redis| call.invoke_async::<Vec<Vec<String>>>(&mut redis).await;
            let answers = self.link.run("marks_find", find).await?;
            found.extend(some.iter().zip(&answers).map(|(user, answer)| read(*user, answer)));
        }
        Ok(found)
    }

    async fn silent(&self, nodes: &[NodeId]) -> Result<Vec<Silent>, PresenceError> {
        if nodes.is_empty() {
            return Ok(Vec::new());
        }
        let config = self.link.config();
        let mut call = self.silent.prepare_invoke();
        call.key(self.link.pulse_key());
        for node in nodes {
            call.key(self.link.key("lease", node));
        }
        call.arg(config.lease_ms).arg(config.stall_ms()).arg(config.warmup_ms);
        let call = &call;
        let ask = async |mut redis| call.invoke_async::<Option<Vec<i64>>>(&mut redis).await;
        let Some(answers) = self.link.run("marks_silent", ask).await? else {
            return Err(PresenceError::Unavailable("it lost its memory a moment ago".into()));
        };
        let silent = |(node, ms): (&NodeId, i64)| {
            let since = Duration::from_millis(u64::try_from(ms).ok()?);
            Some(Silent { node: *node, since })
        };
        Ok(nodes.iter().zip(answers).filter_map(silent).collect())
    }
}

fn read(user: UserId, answer: &[String]) -> Found {
    let (is_certain, rest) =
        answer.split_first().map_or((false, answer), |(first, rest)| (first == "1", rest));
    let device = |fields: &[String]| {
        let [connection, node, mark] = fields else { return None };
        Some(Device { connection: connection.parse().ok()?, node: node.parse().ok()?, mark: decode(mark) })
    };
    Found { user, devices: rest.chunks(3).filter_map(device).collect(), is_certain }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::ids::ChannelId;

    #[test]
    fn a_mark_survives_redis() {
        let viewing = Some(ChannelId::generate());
        for mark in [
            Mark { is_away: true, viewing },
            Mark { is_away: false, viewing },
            Mark { is_away: true, viewing: None },
            Mark::default(),
        ] {
            assert_eq!(decode(&encode(mark)), mark);
        }
        assert_eq!(decode("something new"), Mark::default());
    }
}
