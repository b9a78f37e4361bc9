//! Takes a file from its client to the store, piece by piece, and looks at it on the way.

use std::time::Duration;

use aws_lc_rs::digest::{Context, SHA256};
use axum::body::Body;
use futures_util::StreamExt as _;
use tokio::time::timeout;

use crate::features::uploads::error::UploadsError;
use crate::features::uploads::kinds::{HEAD_BYTES, Kind};
use crate::features::uploads::model::Received;
use crate::ports::blobs::Writing;

/// A client that sends nothing for so long is gone, whatever TCP believes.
const SILENCE_MAX: Duration = Duration::from_secs(30);

/// What is known of a file before it comes.
pub struct Expected {
    pub kind: &'static Kind,
    /// All that there is room for.
    pub bytes_max: u64,
    /// Whether it must be just as long.
    pub is_exact: bool,
}

/// Writes what comes, up to its end. Nothing reaches the store before its first bytes are what they are said to be.
///
/// # Errors
/// When it is not what was expected, does not come as a whole, or cannot be written.
pub async fn pour(body: Body, into: &mut Writing, expected: &Expected) -> Result<Received, UploadsError> {
    let (mut bytes, mut digest) = (0_u64, Context::new(&SHA256));
    let mut head = Head::default();
    let mut pieces = body.into_data_stream();
    loop {
        let Ok(piece) = timeout(SILENCE_MAX, pieces.next()).await else { return Err(UploadsError::TooSlow) };
        let Some(piece) = piece else { break };
        let piece = piece.map_err(|_| UploadsError::CutOff)?;
        bytes += piece.len() as u64;
        if bytes > expected.bytes_max {
            return Err(if expected.is_exact { UploadsError::CutOff } else { UploadsError::TooLarge });
        }
        head.look_at(&piece, expected.kind)?;
        digest.update(&piece);
        into.write(&piece).await?;
        metrics::counter!("fanlight_upload_bytes_total").increment(piece.len() as u64);
    }
    if expected.is_exact && bytes != expected.bytes_max {
        return Err(UploadsError::CutOff);
    }
    if bytes == 0 {
        return Err(UploadsError::Empty);
    }
    head.end(expected.kind)?;
    into.finish().await?;
    Ok(Received { bytes, sha256: digest.finish().as_ref().to_vec() })
}

/// The first bytes, until they were looked at.
#[derive(Default)]
struct Head {
    bytes: Vec<u8>,
    is_known: bool,
}

impl Head {
    fn look_at(&mut self, piece: &[u8], kind: &Kind) -> Result<(), UploadsError> {
        if self.is_known {
            return Ok(());
        }
        let missing = HEAD_BYTES - self.bytes.len();
        self.bytes.extend_from_slice(&piece[..piece.len().min(missing)]);
        if self.bytes.len() < HEAD_BYTES { Ok(()) } else { self.end(kind) }
    }

    fn end(&mut self, kind: &Kind) -> Result<(), UploadsError> {
        if !self.is_known && !kind.fits(&self.bytes) {
            return Err(UploadsError::TypeMismatch);
        }
        self.is_known = true;
        Ok(())
    }
}
