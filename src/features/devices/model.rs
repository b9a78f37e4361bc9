//! A device's registration.

use crate::domain::clock::Timestamp;
use crate::domain::ids::{DeviceTokenId, SessionId, UserId};
use crate::ports::push::Platform;

/// What a device says of itself when it registers.
#[derive(Clone, Debug)]
pub struct Registration {
    pub user: UserId,
    /// The login that registers it: its logout retires the token.
    pub session: SessionId,
    pub device_id: String,
    /// A secret: never logged.
    pub fcm_token: String,
    pub platform: Platform,
    pub app_version: Option<String>,
    pub locale: String,
}

/// A registration as its owner sees it: without the token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Device {
    pub id: DeviceTokenId,
    pub device_id: String,
    pub platform: Platform,
    pub app_version: Option<String>,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
    pub last_registered_at: Timestamp,
    /// `None` while it is active.
    pub deactivated_at: Option<Timestamp>,
}

/// Why a registration is not active any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Retirement {
    /// Its owner took it back.
    Removed,
    /// Another user or device registered the same token.
    Moved,
    /// The user has registered too many newer devices.
    DeviceLimit,
    /// Its app has not registered it for a long time.
    Stale,
    /// The login that registered it has ended.
    Logout,
}

impl Retirement {
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Removed => "removed",
            Self::Moved => "moved",
            Self::DeviceLimit => "device_limit",
            Self::Stale => "stale",
            Self::Logout => "logout",
        }
    }
}

/// Reads what the database holds.
///
/// # Errors
/// For a text that the column's CHECK does not admit.
pub fn platform_from_column(text: &str) -> Result<Platform, sqlx::Error> {
    [Platform::Android, Platform::Ios, Platform::Web]
        .into_iter()
        .find(|platform| platform.as_str() == text)
        .ok_or_else(|| sqlx::Error::Decode(format!("`{text}` is not a platform").into()))
}
