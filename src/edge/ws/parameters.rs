//! What a client may say in its handshake besides who it is, and where.

use serde::Deserialize;
use utoipa::ToSchema;

/// As `since` in the query, which wins.
pub const SINCE_HEADER: &str = "fanlight-since";
/// As `epoch` in the query, which wins.
pub const EPOCH_HEADER: &str = "fanlight-epoch";

/// The query of the handshake.
#[derive(Default, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Parameters {
    /// An access token, for clients that can set no header. It is never logged.
    #[schema(nullable = false)]
    pub(super) token: Option<String>,
    /// The last seq that the client has seen: everything later comes in order, then live.
    #[schema(value_type = Option<i64>, nullable = false)]
    pub(super) since: Option<String>,
    /// What `WELCOME` said together with it.
    #[schema(value_type = Option<uuid::Uuid>, nullable = false)]
    pub(super) epoch: Option<String>,
    /// Names the device: a newer connection of the same one replaces the older one.
    #[schema(nullable = false, min_length = 1, max_length = 191)]
    pub(super) device_id: Option<String>,
}
