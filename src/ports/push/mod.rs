//! Wakes a device that no socket reaches.
//!
//! A push that was accepted is not "delivered"; one that was refused says what to do about it. No answer, however
//! odd, loses an event or kills a token that the service did not plainly call dead.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use crate::domain::clock::SharedClock;

#[cfg(test)]
mod contract;
mod disabled;
mod fcm;
mod memory;

pub use disabled::DisabledPush;
pub use fcm::{Config as FcmConfig, FcmGateway};
pub use memory::MemoryPush;

/// What FCM carries at most: keys and values of `data`, title and body, in bytes.
/// <https://firebase.google.com/docs/cloud-messaging/customize-messages/set-message-type>
pub const PAYLOAD_BYTES_MAX: usize = 4096;

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    pub fcm: FcmConfig,
}

/// The gateway that the settings ask for. Says once, in the log, when push is off.
///
/// # Errors
/// One sentence that names the key and what is wrong with it.
pub fn gateway(config: &Config, clock: SharedClock) -> anyhow::Result<Arc<dyn PushGateway>> {
    if config.fcm.enabled {
        return Ok(Arc::new(FcmGateway::new(&config.fcm, clock)?));
    }
    tracing::warn!(
        "push is off (push.fcm.enabled): events that no socket takes wait until their device connects"
    );
    Ok(Arc::new(DisabledPush))
}

/// The system a device runs; decides which part of a push message applies to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Platform {
    Android,
    Ios,
    Web,
}

impl Platform {
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Android => "android",
            Self::Ios => "ios",
            Self::Web => "web",
        }
    }
}

/// One push to one device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Push {
    /// The registration token that FCM gave to the device. A secret: never logged.
    pub token: String,
    pub platform: Platform,
    /// What the app reads: `type`, `eventId`, `seq`, and the event's own fields. All strings.
    pub data: BTreeMap<String, String>,
    /// What the person reads, in the device's language.
    pub title: String,
    pub body: String,
    /// A later push with the same key replaces an earlier one on the device. At most 64 bytes.
    pub collapse_key: String,
    /// How long the push service may keep it for an unreachable device: what is left of the event's life.
    pub ttl: Duration,
}

impl Push {
    /// Refuses what the service would refuse anyway, before it costs a request.
    pub(crate) fn check(&self) -> Result<(), PushError> {
        if self.data.keys().any(|key| is_reserved(key)) {
            return Err(PushError::Fatal { reason: "reserved_data_key" });
        }
        let data: usize = self.data.iter().map(|(key, value)| key.len() + value.len()).sum();
        if data + self.title.len() + self.body.len() > PAYLOAD_BYTES_MAX {
            return Err(PushError::Fatal { reason: "payload_too_large" });
        }
        Ok(())
    }
}

/// Keys of `data` that FCM keeps for itself.
fn is_reserved(key: &str) -> bool {
    matches!(key, "from" | "message_type") || key.starts_with("google") || key.starts_with("gcm")
}

/// The push service took it. Not "delivered": the service may still drop it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Accepted {
    /// The service's name for the message, `projects/…/messages/…`.
    pub name: String,
}

/// Why a push was not taken, by what the caller does about it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PushError {
    /// The service is in trouble. May succeed later, not before `after` if it said so. `reason` is a stable word for metrics and records.
    #[error("push refused for now: {reason}")]
    Retry { after: Option<Duration>, reason: &'static str },
    /// This device has had too many of late; says nothing of the service, or of other devices.
    #[error("push refused for now: {reason}")]
    Busy { after: Option<Duration>, reason: &'static str },
    /// The whole project must slow down or is locked out; hold every push until `after`.
    #[error("push is held back: {reason}")]
    Hold { after: Duration, reason: &'static str },
    /// Only this platform's credentials are broken; hold pushes to it until `after`.
    #[error("push to this platform is held back: {reason}")]
    HoldPlatform { after: Duration, reason: &'static str },
    /// The token will never work again.
    #[error("the device token is dead: {reason}")]
    TokenDead { reason: &'static str },
    /// The message itself is wrong; repeating it is useless.
    #[error("push refused: {reason}")]
    Fatal { reason: &'static str },
}

#[async_trait]
pub trait PushGateway: Send + Sync {
    /// Hands one message to the push service. Has a deadline of its own; after [`PushError::Retry`] with
    /// reason `timeout` or `connection_failed` the service may have taken it all the same.
    async fn send(&self, push: &Push) -> Result<Accepted, PushError>;
}
