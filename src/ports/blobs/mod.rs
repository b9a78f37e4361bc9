//! Keeps what files hold, in a directory that all nodes share or in an S3-compatible store, by the crate `object_store`.
//!
//! A blob is there as a whole or not at all, is never changed, and is named by whoever keeps a record of it: record
//! first, blob second, and the other way round when both go. So no blob is ever without a record that leads to it.

use std::future::Future;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use bytes::Bytes;
use futures_util::StreamExt as _;
use futures_util::stream::BoxStream;
use object_store::local::LocalFileSystem;
use object_store::path::Path;
use object_store::{GetOptions, GetRange, ObjectStore, ObjectStoreExt as _};
use tokio::time::timeout;
use uuid::Uuid;

mod config;
#[cfg(test)]
mod contract;
mod directory;
mod writing;

pub use config::{Location, S3Config};
#[cfg(test)]
pub use directory::MARKER;
pub use writing::Writing;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
/// How long one operation may take: writing a part, beginning to read, removing.
const OPERATION_TIMEOUT: Duration = Duration::from_secs(20);

/// Why not, by what the caller does about it.
#[derive(Debug, thiserror::Error)]
pub enum BlobError {
    #[error("there is no such blob")]
    Missing,
    /// Nothing is known of what became of it, and the same call may succeed later.
    #[error("the store does not answer: {0}")]
    Unavailable(String),
}

impl From<object_store::Error> for BlobError {
    fn from(error: object_store::Error) -> Self {
        match error {
            object_store::Error::NotFound { .. } => Self::Missing,
            error => Self::Unavailable(error.to_string()),
        }
    }
}

/// A part of a blob, piece by piece.
pub type Content = BoxStream<'static, Result<Bytes, BlobError>>;

#[derive(Clone)]
pub struct Blobs {
    store: Arc<dyn ObjectStore>,
    prefix: Path,
    kind: Kind,
}

/// What is behind a store, where that makes a difference.
#[derive(Clone)]
enum Kind {
    Directory(PathBuf),
    S3,
    #[cfg(test)]
    Memory,
}

impl Kind {
    /// A directory that is not mounted looks empty, and takes what is lost when it is mounted again.
    async fn check(&self, operation: &'static str) -> Result<(), BlobError> {
        let Self::Directory(directory) = self else { return Ok(()) };
        timed(operation, directory::check(directory)).await
    }
}

impl Blobs {
    /// Opens the store at this URL. Of a directory it is known afterwards that it can be written.
    ///
    /// # Errors
    /// One sentence: what is wrong with the URL, the settings or the directory.
    pub fn open(location: &str, s3: &S3Config) -> anyhow::Result<Self> {
        match Location::parse(location)? {
            Location::Directory(path) => Self::in_directory(path),
            Location::S3 { bucket, prefix } => {
                let prefix = Path::parse(&prefix).context("the prefix is none that S3 takes")?;
                Ok(Self { store: Arc::new(s3.open(&bucket)?), prefix, kind: Kind::S3 })
            }
        }
    }

    fn in_directory(path: PathBuf) -> anyhow::Result<Self> {
        let shown = path.display().to_string();
        directory::claim(&path)?;
        // What a row promises must be there after a power failure.
        let store = LocalFileSystem::new_with_prefix(&path).context(shown)?.with_fsync(true);
        Ok(Self { store: Arc::new(store), prefix: Path::default(), kind: Kind::Directory(path) })
    }

    /// In memory, for tests.
    #[cfg(test)]
    #[must_use]
    pub fn in_memory() -> Self {
        let store = Arc::new(object_store::memory::InMemory::new());
        Self { store, prefix: Path::default(), kind: Kind::Memory }
    }

    /// A new blob, that nobody sees before it is finished.
    #[must_use]
    pub fn begin(&self, key: Uuid) -> Writing {
        Writing::new(Arc::clone(&self.store), self.kind.clone(), self.path(key))
    }

    /// These bytes of a blob.
    ///
    /// # Errors
    /// When there is no such blob, or the store does not answer; also later, in the midst of it.
    pub async fn read(&self, key: Uuid, bytes: Range<u64>) -> Result<Content, BlobError> {
        let options = GetOptions { range: Some(GetRange::Bounded(bytes)), ..GetOptions::default() };
        let path = self.path(key);
        let found = match timed("read", self.store.get_opts(&path, options)).await {
            Err(BlobError::Missing) => {
                self.kind.check("read").await?;
                return Err(BlobError::Missing);
            }
            found => found?,
        };
        Ok(found.into_stream().map(|piece| piece.map_err(BlobError::from)).boxed())
    }

    /// Removes a blob, and what a node that died left of one that was not finished. Again, it does nothing.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn remove(&self, key: Uuid) -> Result<(), BlobError> {
        let path = self.path(key);
        match (timed("remove", self.store.delete(&path)).await, &self.kind) {
            // Of a blob that it does not have, S3 says that it is removed.
            (Err(BlobError::Missing), Kind::S3) => {
                return Err(BlobError::Unavailable("there is no such bucket".to_owned()));
            }
            (Err(BlobError::Missing), kind) => kind.check("remove").await?,
            (removed, _) => removed?,
        }
        let Kind::Directory(directory) = &self.kind else { return Ok(()) };
        timed("remove", directory::remove_unfinished(directory, &path)).await
    }

    /// The end of an id is random: no folder takes them all.
    fn path(&self, key: Uuid) -> Path {
        let key = key.to_string();
        self.prefix.clone().join(&key[key.len() - 2..]).join(key)
    }
}

/// Waits for the store, but not for ever, and counts how that went.
async fn timed<T, E: Into<BlobError>>(
    operation: &'static str,
    work: impl Future<Output = Result<T, E>>,
) -> Result<T, BlobError> {
    let started = Instant::now();
    let result = match timeout(OPERATION_TIMEOUT, work).await {
        Ok(result) => result.map_err(Into::into),
        Err(_) => Err(BlobError::Unavailable(format!("{operation} took too long"))),
    };
    metrics::histogram!("fanlight_blob_store_duration_seconds", "operation" => operation)
        .record(started.elapsed());
    if matches!(result, Err(BlobError::Unavailable(_))) {
        metrics::counter!("fanlight_blob_store_failures_total", "operation" => operation).increment(1);
    }
    result
}
