//! Writes one blob as it comes, with room for one part of it in memory.

use std::sync::Arc;

use object_store::path::Path;
use object_store::{MultipartUpload, ObjectStore, ObjectStoreExt as _, PutPayloadMut};

use super::{BlobError, Kind, timed};

/// S3 wants parts of at least 5 MiB, and some that are like it want all of one size.
pub const PART_BYTES: usize = 5 * 1024 * 1024;
/// Copied into blocks of this size: what comes byte by byte takes no more memory than what comes at once.
const BLOCK_BYTES: usize = 64 * 1024;

/// A blob that is not there yet. What is neither finished nor given up may leave parts in the store.
pub struct Writing {
    store: Arc<dyn ObjectStore>,
    kind: Kind,
    path: Path,
    part: PutPayloadMut,
    /// None: all of it may still fit into one part, which takes a single request.
    parts: Option<Box<dyn MultipartUpload>>,
}

impl Writing {
    pub(super) fn new(store: Arc<dyn ObjectStore>, kind: Kind, path: Path) -> Self {
        Self { store, kind, path, part: empty(), parts: None }
    }

    /// # Errors
    /// When the store does not take it; then the blob can only be given up.
    pub async fn write(&mut self, mut bytes: &[u8]) -> Result<(), BlobError> {
        while !bytes.is_empty() {
            // With something left to write: the last part is written by `finish`.
            if self.part.content_length() == PART_BYTES {
                self.write_part().await?;
            }
            let (now, later) = bytes.split_at(bytes.len().min(PART_BYTES - self.part.content_length()));
            self.part.extend_from_slice(now);
            bytes = later;
        }
        Ok(())
    }

    /// Makes the blob visible, as a whole.
    ///
    /// # Errors
    /// When the store does not say that it did. It may have: remove the blob.
    pub async fn finish(&mut self) -> Result<(), BlobError> {
        if self.parts.is_none() {
            let whole = std::mem::replace(&mut self.part, empty()).freeze();
            timed("write", self.store.put(&self.path, whole)).await?;
        } else {
            self.write_part().await?;
            let parts = self.parts.as_mut().expect("the other branch takes what has none");
            timed("finish", parts.complete()).await?;
        }
        self.kind.check("finish").await
    }

    /// Leaves nothing of a blob that will not be finished.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn give_up(mut self) -> Result<(), BlobError> {
        match &mut self.parts {
            Some(parts) => timed("give_up", parts.abort()).await,
            None => Ok(()),
        }
    }

    async fn write_part(&mut self) -> Result<(), BlobError> {
        if self.parts.is_none() {
            self.parts = Some(timed("begin", self.store.put_multipart(&self.path)).await?);
        }
        let parts = self.parts.as_mut().expect("it was begun above");
        let part = std::mem::replace(&mut self.part, empty()).freeze();
        timed("write", parts.put_part(part)).await
    }
}

fn empty() -> PutPayloadMut {
    PutPayloadMut::new().with_block_size(BLOCK_BYTES)
}
