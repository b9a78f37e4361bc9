//! What every store of blobs does, shown on each that needs no server; `tests/it/uploads.rs` asks one that speaks S3.

use futures_util::TryStreamExt as _;
use uuid::Uuid;

use super::writing::PART_BYTES;
use super::{BlobError, Blobs, Location, MARKER, S3Config};

fn s3() -> S3Config {
    S3Config {
        endpoint: None,
        region: "eu-west-1".to_owned(),
        access_key_id: None,
        secret_access_key: None,
        allow_insecure_endpoint: false,
    }
}

/// All of it, or a part.
async fn read(blobs: &Blobs, key: Uuid, bytes: std::ops::Range<usize>) -> Result<Vec<u8>, BlobError> {
    let pieces: Vec<_> = blobs.read(key, bytes.start as u64..bytes.end as u64).await?.try_collect().await?;
    Ok(pieces.concat())
}

/// Bytes by which one sees where they come from.
fn sample(length: usize) -> Vec<u8> {
    (0..length).map(|at| (at ^ (at >> 8) ^ (at >> 16)).to_le_bytes()[0]).collect()
}

async fn keeps_what_is_written(blobs: &Blobs) {
    for length in [1, PART_BYTES, PART_BYTES + 1, 2 * PART_BYTES + 7] {
        let (key, whole) = (Uuid::now_v7(), sample(length));
        let mut writing = blobs.begin(key);
        for chunk in whole.chunks(100_003) {
            writing.write(chunk).await.unwrap();
            assert!(
                matches!(read(blobs, key, 0..1).await, Err(BlobError::Missing)),
                "seen before it is whole"
            );
        }
        writing.finish().await.unwrap();

        assert!(read(blobs, key, 0..length).await.unwrap() == whole, "{length}");
        let part = length / 3..length.div_ceil(2);
        assert!(read(blobs, key, part.clone()).await.unwrap() == whole[part], "{length}");

        for _again in 0..2 {
            blobs.remove(key).await.unwrap();
            assert!(matches!(read(blobs, key, 0..1).await, Err(BlobError::Missing)));
        }
    }
}

async fn leaves_nothing_of_what_is_given_up(blobs: &Blobs) {
    for length in [10, PART_BYTES + 1] {
        let key = Uuid::now_v7();
        let mut writing = blobs.begin(key);
        writing.write(&sample(length)).await.unwrap();
        writing.give_up().await.unwrap();
        assert!(matches!(read(blobs, key, 0..1).await, Err(BlobError::Missing)));
    }
}

#[tokio::test]
async fn memory_keeps_the_contract() {
    let blobs = Blobs::in_memory();
    keeps_what_is_written(&blobs).await;
    leaves_nothing_of_what_is_given_up(&blobs).await;
}

fn files(directory: &std::path::Path) -> usize {
    let entries = std::fs::read_dir(directory).unwrap().map(Result::unwrap);
    let entries = entries.filter(|entry| entry.file_name() != MARKER);
    entries.map(|entry| if entry.path().is_dir() { files(&entry.path()) } else { 1 }).sum()
}

#[tokio::test]
async fn a_directory_keeps_the_contract_and_holds_nothing_else() {
    let directory = tempfile::tempdir().unwrap();
    let url = format!("file://{}", directory.path().display());
    let blobs = Blobs::open(&url, &s3()).unwrap();
    keeps_what_is_written(&blobs).await;
    leaves_nothing_of_what_is_given_up(&blobs).await;
    assert_eq!(files(directory.path()), 0);

    // A node that dies leaves what it had begun.
    let key = Uuid::now_v7();
    let mut writing = blobs.begin(key);
    writing.write(&sample(PART_BYTES + 1)).await.unwrap();
    std::mem::forget(writing);
    assert_eq!(files(directory.path()), 1);
    blobs.remove(key).await.unwrap();
    assert_eq!(files(directory.path()), 0);
}

#[tokio::test]
async fn a_directory_that_is_none_is_refused_at_the_start_and_later() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("uploads");
    let url = format!("file://{}", path.display());
    let refusal = Blobs::open(&url, &s3()).err().unwrap().to_string();
    assert!(refusal.contains("is no directory"), "{refusal}");

    std::fs::create_dir(&path).unwrap();
    let blobs = Blobs::open(&url, &s3()).unwrap();
    std::fs::remove_dir_all(&path).unwrap();
    std::fs::write(&path, b"not a directory").unwrap();
    let mut writing = blobs.begin(Uuid::now_v7());
    writing.write(b"a").await.unwrap();
    assert!(matches!(writing.finish().await, Err(BlobError::Unavailable(_))));
    assert!(matches!(Location::parse(&url), Ok(Location::Directory(_))));
}

#[tokio::test]
async fn what_is_missing_is_gone_only_where_the_store_is() {
    let directory = tempfile::tempdir().unwrap();
    let (path, away) = (directory.path().join("uploads"), directory.path().join("away"));
    std::fs::create_dir(&path).unwrap();
    let url = format!("file://{}", path.display());
    let blobs = Blobs::open(&url, &s3()).unwrap();
    let key = Uuid::now_v7();
    let mut writing = blobs.begin(key);
    writing.write(b"a").await.unwrap();
    writing.finish().await.unwrap();

    // Not mounted: there is no directory, or an empty one.
    std::fs::rename(&path, &away).unwrap();
    for _ in 0..2 {
        assert!(matches!(blobs.remove(key).await, Err(BlobError::Unavailable(_))));
        assert!(matches!(read(&blobs, key, 0..1).await, Err(BlobError::Unavailable(_))));
        let _there_already = std::fs::create_dir(&path);
    }
    let mut astray = blobs.begin(Uuid::now_v7());
    astray.write(b"b").await.unwrap();
    assert!(matches!(astray.finish().await, Err(BlobError::Unavailable(_))));
    std::fs::remove_dir_all(&path).unwrap();
    std::fs::rename(&away, &path).unwrap();
    assert_eq!(read(&blobs, key, 0..1).await.unwrap(), b"a");

    // Files that nobody can tell the origin of are not taken over.
    Blobs::open(&url, &s3()).unwrap();
    std::fs::remove_file(path.join(MARKER)).unwrap();
    let refusal = Blobs::open(&url, &s3()).err().unwrap().to_string();
    assert!(refusal.contains("is not empty, and has no .fanlight-store"), "{refusal}");
}

#[tokio::test]
async fn a_bucket_that_is_gone_has_removed_nothing() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = Some(format!("http://{}", listener.local_addr().unwrap()));
    let keys =
        S3Config { access_key_id: Some("id".into()), secret_access_key: Some("secret".into()), ..s3() };
    let blobs = Blobs::open("s3://files", &S3Config { endpoint, ..keys }).unwrap();
    let nothing = axum::Router::new().fallback(|| async { http::StatusCode::NOT_FOUND });
    tokio::select! {
        ended = axum::serve(listener, nothing).into_future() => panic!("{ended:?}"),
        removed = blobs.remove(Uuid::now_v7()) => assert!(matches!(removed, Err(BlobError::Unavailable(_)))),
    }
}
