//! A file is there as a whole and as it was sent, or nothing of it is.

use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use futures_util::{FutureExt as _, StreamExt as _, stream};
use http::StatusCode;
use serde_json::json;
use tokio_util::sync::CancellationToken;

use super::{PNG, fetch, offer, path, rows, upload};
use crate::domain::clock::Clock as _;
use crate::features::fixture::World;
use crate::features::uploads::views::hex;
use crate::ports::blobs::{Blobs, MARKER, S3Config};

#[tokio::test]
async fn a_file_is_answered_as_documented_and_is_what_was_sent() {
    let world = World::new().await;
    let ann = world.user(None).await;
    let now = world.clock.now();

    let answer = upload(&world, ann, "photo.png", "image/png", PNG).await;

    assert_eq!(answer.status, StatusCode::CREATED);
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, PNG);
    let expected = json!({
        "id": answer.body["id"], "name": "photo.png", "contentType": "image/png", "size": PNG.len(),
        "sha256": hex(digest.as_ref()),
        "createdAt": now, "expiresAt": now + Duration::from_hours(24),
    });
    assert_eq!(answer.body, expected);
    let (status, _, bytes) = fetch(&world, ann, &answer.body, &[]).await;
    assert_eq!((status, &*bytes), (StatusCode::OK, PNG));
}

#[tokio::test]
async fn a_file_may_come_in_pieces_of_any_size_without_saying_how_long_it_is() {
    let world = World::new().await;
    let ann = world.user(None).await;
    let text: Vec<u8> = "ø\n".bytes().cycle().take(3_000).collect();
    for size in [1, 7, 511, 3_000] {
        let pieces: Vec<_> = text.chunks(size).map(|piece| Ok::<_, std::io::Error>(piece.to_vec())).collect();
        let request = offer(&world, ann, "a.txt", "text/plain; charset=utf-8");
        let answer = world.send(request.body(Body::from_stream(stream::iter(pieces))).unwrap()).await;
        assert_eq!((answer.status, &answer.body["size"]), (StatusCode::CREATED, &json!(3_000)), "{size}");
        assert_eq!(fetch(&world, ann, &answer.body, &[]).await.2, text);
    }
}

#[tokio::test]
async fn a_name_is_cleaned_and_one_that_is_too_long_is_refused() {
    let world = World::new().await;
    let ann = world.user(None).await;
    for (asked, shown) in [
        ("..%2F..%2Fetc%2Fpasswd", "passwd.png"),
        ("a%00b.png", "ab.png"),
        ("evil.html", "evil.html.png"),
        ("%C3%A6%C3%B8.png", "æø.png"),
        ("", "file.png"),
    ] {
        assert_eq!(upload(&world, ann, asked, "image/png", PNG).await.body["name"], shown);
    }
    let long = upload(&world, ann, &"%C3%B8".repeat(300), "image/png", PNG).await;
    assert_eq!((long.status, long.error()), (StatusCode::BAD_REQUEST, "bad_parameter"));
}

#[tokio::test]
async fn what_is_not_taken_or_is_something_else_leaves_nothing() {
    let world = World::new().await;
    let ann = world.user(None).await;
    for content_type in
        ["text/html", "image/svg+xml", "application/octet-stream", "application/json", "png", ""]
    {
        let answer = upload(&world, ann, "a", content_type, PNG).await;
        assert_eq!((answer.status.as_u16(), answer.error()), (415, "unsupported_file"), "{content_type}");
    }
    let html = b"<html><script>alert(1)</script>";
    for (content_type, file) in
        [("image/png", &html[..]), ("image/gif", PNG), ("text/plain", PNG), ("application/pdf", b"x%PDF-1.7")]
    {
        let answer = upload(&world, ann, "a", content_type, file).await;
        assert_eq!((answer.status.as_u16(), answer.error()), (422, "type_mismatch"), "{content_type}");
    }
    let empty = upload(&world, ann, "a", "image/png", b"").await;
    assert_eq!((empty.status.as_u16(), empty.error()), (422, "invalid_body"));
    let request = offer(&world, ann, "a", "image/png").body(Body::empty()).unwrap();
    assert_eq!(world.send(request).await.error(), "invalid_body");
    assert_eq!(rows(&world).await, 0);
}

#[tokio::test]
async fn a_file_that_is_another_on_the_inside_is_only_ever_saved_as_what_it_begins_as() {
    let world = World::new().await;
    let ann = world.user(None).await;
    let polyglot = b"GIF89a/*\x01\x00*/=1;<script>alert(1)</script>";
    let answer = upload(&world, ann, "a.html", "image/gif", polyglot).await.body;
    assert_eq!(answer["name"], "a.html.gif");

    let (_, headers, _) = fetch(&world, ann, &answer, &[]).await;

    assert_eq!(headers["content-type"], "image/gif");
    assert!(
        headers["content-disposition"].to_str().unwrap().starts_with("attachment; filename=\"a.html.gif\"")
    );
    assert_eq!(headers["content-security-policy"], "default-src 'none'; sandbox");
}

#[tokio::test]
async fn a_file_that_is_cut_off_leaves_nothing() {
    let world = World::new().await;
    let ann = world.user(None).await;
    let broken = || {
        let whole = stream::iter([Ok(Bytes::from_static(PNG)), Err(std::io::Error::other("reset"))]);
        Body::from_stream(whole)
    };
    let request = || offer(&world, ann, "a.png", "image/png");
    let longer = PNG.len() + 1;
    for request in [
        request().body(broken()).unwrap(),
        request().header("content-length", longer).body(broken()).unwrap(),
        // The connection has ended, and nobody said so.
        request().header("content-length", longer).body(Body::from(PNG)).unwrap(),
    ] {
        let answer = world.send(request).await;
        assert_eq!((answer.status.as_u16(), answer.error()), (400, "incomplete_file"));
    }
    assert_eq!(rows(&world).await, 0);
}

#[tokio::test]
async fn what_a_client_began_and_left_is_gone() {
    let directory = tempfile::tempdir().unwrap();
    let world = World::with_store(Some(in_directory(directory.path())), |sections| {
        sections.uploads.transfer_timeout_ms = 50;
    })
    .await;
    let ann = world.user(None).await;
    // More than a part: some of it is in the store.
    let part = Bytes::from([PNG, &vec![0; 6 * 1024 * 1024]].concat());
    let endless = stream::iter([Ok::<_, std::io::Error>(part)]).chain(stream::pending());
    let request = offer(&world, ann, "a.png", "image/png").body(Body::from_stream(endless)).unwrap();

    let answer = world.send(request).await;

    assert_eq!((answer.status.as_u16(), answer.error()), (408, "request_timeout"));
    world.clock.advance(Duration::from_mins(1));
    world.uploads.sweep_batch().await.unwrap();
    assert_eq!(rows(&world).await, 0);
    assert_eq!(files(directory.path()), 0);
}

#[tokio::test]
async fn a_store_that_is_away_is_said_so_and_leaves_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let store = directory.path().join("uploads");
    std::fs::create_dir(&store).unwrap();
    let world = World::with_store(Some(in_directory(&store)), |_| ()).await;
    let ann = world.user(None).await;
    let kept = upload(&world, ann, "a.png", "image/png", PNG).await.body;
    let away = directory.path().join("away");
    std::fs::rename(&store, &away).unwrap();
    // Root may write anywhere, but not below a file.
    std::fs::write(&store, b"").unwrap();

    let answer = upload(&world, ann, "b.png", "image/png", PNG).await;
    assert_eq!((answer.status.as_u16(), answer.error()), (503, "unavailable"));
    let unread = world.get(ann, &path(&kept)).await;
    assert_eq!((unread.status.as_u16(), unread.error()), (503, "unavailable"));

    std::fs::remove_file(&store).unwrap();
    std::fs::rename(&away, &store).unwrap();
    assert_eq!(fetch(&world, ann, &kept, &[]).await.2, PNG);
    // What may have come true all the same, the sweep finds.
    world.clock.advance(Duration::from_mins(1));
    world.uploads.sweep_batch().await.unwrap();
    assert_eq!((rows(&world).await, files(&store)), (1, 1));
}

#[tokio::test]
async fn a_file_that_arrives_after_its_row_was_swept_leaves_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let world = World::with_store(Some(in_directory(directory.path())), |_| ()).await;
    let ann = world.user(None).await;
    let go_on = CancellationToken::new();
    let end = go_on.clone().cancelled_owned().map(|()| Ok(Bytes::new()));
    let whole = stream::iter([Ok::<_, std::io::Error>(Bytes::from_static(PNG))]).chain(stream::once(end));
    let request = offer(&world, ann, "a.png", "image/png").body(Body::from_stream(whole)).unwrap();
    let sweep = async {
        while rows(&world).await == 0 {}
        world.clock.advance(Duration::from_hours(1));
        world.uploads.sweep_batch().await.unwrap();
        assert_eq!(rows(&world).await, 0);
        go_on.cancel();
    };

    let (answer, ()) = tokio::join!(world.send(request), sweep);

    assert_eq!((answer.status.as_u16(), answer.error()), (503, "unavailable"));
    assert_eq!(files(directory.path()), 0);
}

#[tokio::test]
async fn a_node_that_stops_gives_up_what_it_receives() {
    let directory = tempfile::tempdir().unwrap();
    let world = World::with_store(Some(in_directory(directory.path())), |_| ()).await;
    let ann = world.user(None).await;
    let part = Bytes::from([PNG, &vec![0; 6 * 1024 * 1024]].concat());
    let endless = stream::iter([Ok::<_, std::io::Error>(part)]).chain(stream::pending());
    let request = offer(&world, ann, "a.png", "image/png").body(Body::from_stream(endless)).unwrap();
    let stop = async {
        while files(directory.path()) == 0 {
            tokio::task::yield_now().await;
        }
        world.uploads.working.stop();
    };

    let (answer, ()) = tokio::join!(world.send(request), stop);

    assert_eq!((answer.status.as_u16(), answer.error()), (503, "unavailable"));
    assert_eq!(files(directory.path()), 0);
}

#[tokio::test]
async fn without_a_store_nothing_is_kept_and_that_is_said() {
    let world = World::with_store(None, |_| ()).await;
    let ann = world.user(None).await;
    let answer = upload(&world, ann, "a.png", "image/png", PNG).await;
    assert_eq!((answer.status.as_u16(), answer.error()), (503, "uploads_disabled"));
    let answer = world.get(ann, "/uploads/0193a5c0-0000-7000-8000-000000000012").await;
    assert_eq!((answer.status.as_u16(), answer.error()), (503, "uploads_disabled"));
}

fn in_directory(path: &std::path::Path) -> Blobs {
    let s3 = S3Config {
        endpoint: None,
        region: "none".to_owned(),
        access_key_id: None,
        secret_access_key: None,
        allow_insecure_endpoint: false,
    };
    Blobs::open(&format!("file://{}", path.display()), &s3).unwrap()
}

fn files(directory: &std::path::Path) -> usize {
    let entries = std::fs::read_dir(directory).unwrap().map(Result::unwrap);
    let entries = entries.filter(|entry| entry.file_name() != MARKER);
    entries.map(|entry| if entry.path().is_dir() { files(&entry.path()) } else { 1 }).sum()
}
