//! A file is sent as it is, whole or in part, to be saved and never to be run.

use axum::body::Body;
use http::StatusCode;

use super::{PNG, attach, fetch, path, picture, upload};
use crate::features::fixture::World;
use crate::features::messages::tests::couple;

#[tokio::test]
async fn a_download_says_all_that_a_browser_must_know() {
    let world = World::new().await;
    let ann = world.user(None).await;
    let picture = upload(&world, ann, "%C3%B8%22.png", "image/png", PNG).await.body;

    let (status, headers, bytes) = fetch(&world, ann, &picture, &[]).await;

    assert_eq!((status, &*bytes), (StatusCode::OK, PNG));
    for (name, value) in [
        ("content-type", "image/png"),
        ("content-length", &*PNG.len().to_string()),
        ("content-disposition", "attachment; filename=\"__.png\"; filename*=UTF-8''%C3%B8%22.png"),
        ("content-security-policy", "default-src 'none'; sandbox"),
        ("cache-control", "private, no-cache"),
        ("accept-ranges", "bytes"),
        ("etag", &*format!("\"{}\"", picture["sha256"].as_str().unwrap())),
    ] {
        assert_eq!(headers[name], value);
    }
    let text = upload(&world, ann, "a.txt", "text/plain", b"<script>").await.body;
    assert_eq!(fetch(&world, ann, &text, &[]).await.1["content-type"], "text/plain; charset=utf-8");

    let request = world.request(ann, "HEAD", &path(&picture)).body(Body::empty()).unwrap();
    let (status, of_head, nothing) = world.send_raw(request).await;
    assert_eq!((status, nothing.len()), (StatusCode::OK, 0));
    assert_eq!(of_head, headers);
}

#[tokio::test]
async fn a_part_is_sent_alone_and_what_the_client_has_not_at_all() {
    let world = World::new().await;
    let ann = world.user(None).await;
    let picture = picture(&world, ann).await;
    let length = PNG.len();

    let (status, headers, bytes) = fetch(&world, ann, &picture, &[("range", "bytes=1-3")]).await;
    assert_eq!((status, &*bytes), (StatusCode::PARTIAL_CONTENT, &b"PNG"[..]));
    assert_eq!(headers["content-range"], format!("bytes 1-3/{length}"));
    assert_eq!(headers["content-length"], "3");
    let (_, _, end) = fetch(&world, ann, &picture, &[("range", "bytes=-2")]).await;
    assert_eq!(&*end, b"on");

    let request = world.request(ann, "GET", &path(&picture)).header("range", "bytes=1000-");
    let beyond = world.send(request.body(Body::empty()).unwrap()).await;
    assert_eq!((beyond.status.as_u16(), beyond.error()), (416, "range_not_satisfiable"));
    assert_eq!(beyond.headers["content-range"], format!("bytes */{length}"));

    let etag = headers["etag"].to_str().unwrap();
    let (status, of_known, bytes) = fetch(&world, ann, &picture, &[("if-none-match", etag)]).await;
    assert_eq!((status, bytes.len()), (StatusCode::NOT_MODIFIED, 0));
    assert_eq!(of_known["etag"], etag);
    let (status, _, bytes) =
        fetch(&world, ann, &picture, &[("if-range", "\"old\""), ("range", "bytes=0-0")]).await;
    assert_eq!((status, &*bytes), (StatusCode::OK, PNG));
}

#[tokio::test]
async fn who_has_a_copy_is_asked_each_time_whether_they_may_still_read_it() {
    let world = World::new().await;
    let (ann, ben, channel) = couple(&world).await;
    let picture = picture(&world, ann).await;
    assert_eq!(attach(&world, ann, channel, &[&picture]).await.status, 201);
    let (_, headers, _) = fetch(&world, ben, &picture, &[]).await;
    let etag = headers["etag"].to_str().unwrap();
    assert_eq!(fetch(&world, ben, &picture, &[("if-none-match", etag)]).await.0, StatusCode::NOT_MODIFIED);

    world.delete(ann, &format!("/channels/{channel}/members/{ben}")).await;

    assert_eq!(fetch(&world, ben, &picture, &[("if-none-match", etag)]).await.0, StatusCode::FORBIDDEN);
}

#[tokio::test]
async fn a_node_sends_only_so_many_at_once() {
    let world = World::with(|sections| {
        sections.uploads.sending_max = 2;
        sections.uploads.sending_per_user_max = 1;
    })
    .await;
    let (ann, ben, channel) = couple(&world).await;
    let eve = world.user(None).await;
    let picture = picture(&world, ann).await;
    let upload = world.uploads.find(ann, picture["id"].as_str().unwrap().parse().unwrap()).await.unwrap();

    let of_ann = world.uploads.read(ann, &upload, 0..upload.bytes).await.unwrap();
    let answer = world.get(ann, &path(&picture)).await;
    assert_eq!((answer.status.as_u16(), answer.error()), (429, "rate_limited"));
    let of_eve = world.uploads.read(eve, &upload, 0..upload.bytes).await.unwrap();
    assert_eq!(attach(&world, ann, channel, &[&picture]).await.status, 201);
    let answer = world.get(ben, &path(&picture)).await;
    assert_eq!((answer.status.as_u16(), answer.error()), (503, "overloaded"));
    drop((of_ann, of_eve));
    assert_eq!(fetch(&world, ann, &picture, &[]).await.2, PNG);
}
