//! Which devices of a user can be woken: what delivery asks of the devices feature.

use std::collections::HashSet;

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
    /// When the device registered it: a later registration is another token, even if it reads the same.
    pub registered_at: Timestamp,
}

#[async_trait]
pub trait DeviceTokens: Send + Sync {
    /// The user's active tokens.
    async fn active(&self, user: UserId) -> Result<Vec<DeviceToken>, sqlx::Error>;

    /// Those of these users who have an active token.
    async fn reachable(&self, users: &[UserId]) -> Result<HashSet<UserId>, sqlx::Error>;

    /// Retires a token that FCM called dead, unless the device has registered again since it was read. Returns
    /// whether it was retired.
    async fn retire(&self, token: &DeviceToken, reason: &'static str) -> Result<bool, sqlx::Error>;
}

/// Nobody has a phone.
#[cfg(test)]
pub struct NoDevices;

#[cfg(test)]
#[async_trait]
impl DeviceTokens for NoDevices {
    async fn active(&self, _: UserId) -> Result<Vec<DeviceToken>, sqlx::Error> {
        Ok(Vec::new())
    }

    async fn reachable(&self, _: &[UserId]) -> Result<HashSet<UserId>, sqlx::Error> {
        Ok(HashSet::new())
    }

    async fn retire(&self, _: &DeviceToken, _: &'static str) -> Result<bool, sqlx::Error> {
        Ok(false)
    }
}
