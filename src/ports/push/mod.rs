//! Wakes a device that no socket reaches.

use std::collections::BTreeMap;
use std::time::Duration;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

mod fcm;
mod memory;

pub use fcm::{Config as FcmConfig, FcmGateway};
pub use memory::MemoryPush;

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

/// The push service took it. Not "delivered": the service may still drop it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Accepted {
    /// The service's name for the message, `projects/…/messages/…`.
    pub name: String,
}

/// Why a push was not taken, by what the caller does about it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PushError {
    /// May succeed later, not before `after` if the service said so. `reason` is a stable word for metrics and records.
    #[error("push refused for now: {reason}")]
    Retry { after: Option<Duration>, reason: &'static str },
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
    /// reason `timeout` the service may have taken it all the same.
    async fn send(&self, push: &Push) -> Result<Accepted, PushError>;
}
