//! What clients get.

use std::fmt::Write as _;

use chrono::{DateTime, Utc};
use serde::Serialize;
use utoipa::ToSchema;

use crate::domain::ids::UploadId;
use crate::features::uploads::model::Upload;

/// A file that has arrived.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Upload)]
pub struct UploadView {
    /// What a message names in `attachments`.
    id: UploadId,
    /// As it is shown: the last part of what it was called, with an ending of its type.
    #[schema(max_length = 255)]
    name: String,
    #[schema(example = "image/png")]
    content_type: String,
    /// In bytes.
    size: u64,
    /// Of what it holds, in hexadecimal.
    #[schema(pattern = "^[0-9a-f]{64}$")]
    sha256: String,
    created_at: DateTime<Utc>,
    /// It is deleted then, unless a message has it.
    expires_at: DateTime<Utc>,
}

impl From<Upload> for UploadView {
    fn from(upload: Upload) -> Self {
        Self {
            id: upload.id,
            name: upload.name,
            content_type: upload.content_type,
            size: upload.bytes,
            sha256: hex(&upload.sha256),
            created_at: upload.created_at,
            expires_at: upload.expires_at,
        }
    }
}

/// What a file holds.
#[derive(ToSchema)]
#[schema(value_type = String, format = Binary)]
#[expect(dead_code, reason = "only its schema is used")]
pub struct File(Vec<u8>);

pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        // Writing to a String does not fail.
        let _written = write!(text, "{byte:02x}");
        text
    })
}
