//! How the fake is told to misbehave. The JSON shape is described in the folder's `mod.rs`.

use std::collections::VecDeque;
use std::time::Duration;

use serde::Deserialize;

use super::replies::Code;

/// Seconds that an access token lives at Google.
const TOKEN_LIFE_SECONDS: i64 = 3599;
const MINUTE_MS: i64 = 60_000;
/// More pending replies are cut off.
const REPLIES_MAX: usize = 1000;

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
pub struct Script {
    pub reset: bool,
    pub replies: Vec<ReplyScript>,
    pub latency_ms: Option<Latency>,
    pub sends_per_minute: Option<usize>,
    pub oauth: Option<OauthScript>,
    pub goaway: bool,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
pub struct ReplyScript {
    pub times: u32,
    /// Only for sends to this token.
    pub token: Option<String>,
    pub code: Code,
    pub status: Option<u16>,
    pub body: Option<String>,
    pub retry_after: Option<RetryAfter>,
    pub latency_ms: u64,
    pub cut: Option<Cut>,
}

impl Default for ReplyScript {
    fn default() -> Self {
        Self {
            times: 1,
            token: None,
            code: Code::Accepted,
            status: None,
            body: None,
            retry_after: None,
            latency_ms: 0,
            cut: None,
        }
    }
}

/// Seconds, or whatever text.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(untagged)]
pub enum RetryAfter {
    Seconds(u64),
    Text(String),
}

/// How a connection ends without an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Cut {
    Close,
    Reset,
    Midway,
}

#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Latency {
    pub min: u64,
    pub max: u64,
}

impl Latency {
    fn pick(self) -> Duration {
        let spread = self.max.saturating_sub(self.min).saturating_add(1);
        let random = u64::from_le_bytes(crate::domain::random::bytes());
        Duration::from_millis(self.min.saturating_add(random % spread))
    }
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
pub struct OauthScript {
    pub mode: OauthMode,
    pub expires_in: Option<i64>,
    pub revoke: bool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OauthMode {
    #[default]
    Ok,
    Error,
    Hang,
}

/// A bucket that is refilled each minute, counted from a send, not from the clock.
struct Quota {
    max: usize,
    begun_at: i64,
    used: usize,
}

impl Quota {
    fn take(&mut self, at: i64) -> bool {
        if at >= self.begun_at.saturating_add(MINUTE_MS) {
            (self.begun_at, self.used) = (at, 0);
        }
        let within = self.used < self.max;
        self.used += usize::from(within);
        within
    }
}

/// What is scripted at this moment.
pub(super) struct Scripted {
    replies: VecDeque<ReplyScript>,
    latency: Latency,
    quota: Option<Quota>,
    pub(super) oauth: OauthMode,
    pub(super) token_life_seconds: i64,
}

impl Default for Scripted {
    fn default() -> Self {
        Self {
            replies: VecDeque::new(),
            latency: Latency::default(),
            quota: None,
            oauth: OauthMode::Ok,
            token_life_seconds: TOKEN_LIFE_SECONDS,
        }
    }
}

impl Scripted {
    pub(super) fn apply(&mut self, script: Script) {
        self.replies.extend(script.replies.into_iter().filter(|reply| reply.times > 0));
        self.replies.truncate(REPLIES_MAX);
        self.latency = script.latency_ms.unwrap_or(self.latency);
        let quota = script.sends_per_minute.map(|max| Quota { max, begun_at: i64::MIN, used: 0 });
        self.quota = quota.or(self.quota.take());
        if let Some(oauth) = script.oauth {
            self.oauth = oauth.mode;
            self.token_life_seconds = oauth.expires_in.unwrap_or(self.token_life_seconds);
        }
    }

    /// Counts a send against the quota of its minute. Returns whether it is within.
    pub(super) fn within_quota(&mut self, at: i64) -> bool {
        self.quota.as_mut().is_none_or(|quota| quota.take(at))
    }

    /// The scripted reply to the next send to `token`, if there is one.
    pub(super) fn next_reply(&mut self, token: &str) -> Option<ReplyScript> {
        let applies = |reply: &ReplyScript| reply.token.as_deref().is_none_or(|only| only == token);
        let index = self.replies.iter().position(applies)?;
        let reply = self.replies.get_mut(index)?;
        reply.times -= 1;
        if reply.times == 0 { self.replies.remove(index) } else { Some(reply.clone()) }
    }

    pub(super) fn latency(&self) -> Duration {
        self.latency.pick()
    }

    pub(super) fn end_replies(&mut self) {
        self.replies.clear();
    }

    pub(super) fn pending_replies(&self) -> usize {
        self.replies.iter().map(|reply| reply.times as usize).sum()
    }
}
