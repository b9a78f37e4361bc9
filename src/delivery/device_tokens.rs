//! Which devices of a user can be woken: what delivery asks of the devices feature.

use async_trait::async_trait;

use crate::domain::clock::Timestamp;
use crate::domain::ids::{DeviceTokenId, UserId};
use crate::ports::push::Platform;

/// A device that can be woken.
#[derive(Clone, Debug)]
pub struct DeviceToken {
    pub id: DeviceTokenId,
    pub device_id: String,
    /// A secret: never logged.
    pub fcm_token: String,
    pub platform: Platform,
    /// A language tag such as `da` or `pt-BR`.
    pub locale: String,
}

#[async_trait]
pub trait DeviceTokens: Send + Sync {
    /// The user's active tokens.
    async fn active(&self, user: UserId) -> Result<Vec<DeviceToken>, sqlx::Error>;

    /// Retires a token that FCM called dead, unless the device has registered it again since
    /// `attempted_at`. Returns whether it was retired.
    async fn retire(
        &self,
        token: DeviceTokenId,
        reason: &'static str,
        attempted_at: Timestamp,
    ) -> Result<bool, sqlx::Error>;
}
