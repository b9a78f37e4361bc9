//! A directory as the store, and how it is told from the empty place where it should be mounted.

use std::io::ErrorKind;
use std::path::Path;

use anyhow::{Context as _, ensure};
use uuid::Uuid;

use super::BlobError;

/// In the directory from the first start on. Where it is not, nothing that is missing is gone.
pub const MARKER: &str = ".fanlight-store";

/// Makes an empty directory the store; one that is the store already may be written.
///
/// # Errors
/// One sentence: it is no directory, holds something else, or cannot be written.
pub fn claim(directory: &Path) -> anyhow::Result<()> {
    let shown = directory.display();
    ensure!(directory.is_dir(), "{shown} is no directory; make it, on a disk that all nodes share");
    let is_claimed = directory.join(MARKER).exists();
    let is_empty = is_empty(directory).with_context(|| format!("{shown} cannot be read"))?;
    ensure!(
        is_claimed || is_empty,
        "{shown} is not empty, and has no {MARKER}: name an empty directory, or make that file if it is the store"
    );
    try_to_write(directory).with_context(|| format!("{shown} cannot be written"))
}

/// Hidden files do not count: they are what nodes that start at the same moment write, or the file system itself.
fn is_empty(directory: &Path) -> std::io::Result<bool> {
    for entry in std::fs::read_dir(directory)? {
        let name = entry?.file_name();
        if name != "lost+found" && !name.as_encoded_bytes().starts_with(b".") {
            return Ok(false);
        }
    }
    Ok(true)
}

fn try_to_write(directory: &Path) -> std::io::Result<()> {
    let probe = directory.join(format!(".probe-{}", Uuid::new_v4()));
    std::fs::write(&probe, b"")?;
    std::fs::remove_file(probe)?;
    std::fs::write(directory.join(MARKER), b"")
}

/// # Errors
/// When the directory is not the store, or does not answer.
pub async fn check(directory: &Path) -> Result<(), BlobError> {
    let found = tokio::fs::metadata(directory.join(MARKER)).await;
    found.map(drop).map_err(|error| BlobError::Unavailable(format!("{MARKER}: {error}")))
}

/// Removes what a node that died left of a blob. Other readers of the directory never see it.
///
/// # Errors
/// When the directory does not answer.
pub async fn remove_unfinished(directory: &Path, blob: &object_store::path::Path) -> Result<(), BlobError> {
    // As `object_store` calls what is not finished.
    match tokio::fs::remove_file(directory.join(format!("{blob}#1"))).await {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(BlobError::Unavailable(error.to_string())),
        _ => Ok(()),
    }
}
