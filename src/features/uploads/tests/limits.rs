//! No limit can be passed: how large, how much, how often, how many at once.

use axum::body::Body;
use bytes::Bytes;
use futures_util::future::join_all;
use futures_util::{StreamExt as _, stream};
use serde_json::Value;
use tokio_util::sync::CancellationToken;

use super::{PNG, attach, offer, path, picture, rows, upload};
use crate::features::fixture::World;
use crate::features::messages::tests::{channel_of, path as message_path};

fn size() -> u64 {
    PNG.len() as u64
}

#[tokio::test]
async fn a_file_that_is_too_large_is_refused_whether_it_says_so_or_not() {
    let world = World::with(|sections| sections.uploads.bytes_max = size()).await;
    let ann = world.user(None).await;
    let too_long = [PNG, b"!"].concat();
    assert_eq!(upload(&world, ann, "a.png", "image/png", PNG).await.status, 201);
    assert_eq!(upload(&world, ann, "a.png", "image/png", &too_long).await.error(), "body_too_large");

    let unsaid = offer(&world, ann, "a.png", "image/png").body(Body::from(too_long)).unwrap();
    assert_eq!(world.send(unsaid).await.error(), "body_too_large");
    // Before anything of it comes, and however much it would be.
    let never = Body::from_stream(stream::pending::<Result<Bytes, std::io::Error>>());
    let huge = offer(&world, ann, "a.png", "image/png").header("content-length", 10_u64 << 30);
    let answer = world.send(huge.body(never).unwrap()).await;
    assert_eq!((answer.status.as_u16(), answer.error()), (413, "body_too_large"));
    assert_eq!(rows(&world).await, 1);
}

#[tokio::test]
async fn of_twenty_at_once_as_many_are_kept_as_there_is_room_for() {
    let world = World::with(|sections| {
        sections.uploads.bytes_max = size();
        sections.uploads.quota_bytes_per_user = 5 * size() + 1;
        sections.uploads.receiving_max = 20;
        sections.uploads.receiving_per_user_max = 20;
    })
    .await;
    let (ann, ben) = (world.user(None).await, world.user(None).await);

    let answers = join_all((0..20).map(|_| upload(&world, ann, "a.png", "image/png", PNG))).await;

    let kept: Vec<&Value> = answers.iter().filter(|it| it.status == 201).map(|it| &it.body).collect();
    assert_eq!(kept.len(), 5);
    for refused in answers.iter().filter(|answer| answer.status != 201) {
        assert_eq!((refused.status.as_u16(), refused.error()), (409, "quota_exceeded"));
    }
    assert_eq!(
        upload(&world, ben, "a.png", "image/png", PNG).await.status,
        201,
        "each has room of their own"
    );
    // What is part of a message counts until the message goes, and what is deleted until it is gone from the store.
    let channel = channel_of(&world, &[ann]).await;
    let message = attach(&world, ann, channel, &kept[..1]).await.body;
    assert_eq!(upload(&world, ann, "a.png", "image/png", PNG).await.error(), "quota_exceeded");
    let deleted = [path(kept[1]), message_path(&message)];
    for path in deleted {
        assert_eq!(world.delete(ann, &path).await.status, 204);
        assert_eq!(upload(&world, ann, "a.png", "image/png", PNG).await.error(), "quota_exceeded");
        world.uploads.sweep_batch().await.unwrap();
        picture(&world, ann).await;
    }
    assert_eq!(upload(&world, ann, "a.png", "image/png", PNG).await.error(), "quota_exceeded");
}

#[tokio::test]
async fn too_many_in_a_minute_are_told_to_wait() {
    let world = World::with(|sections| sections.uploads.per_minute_max = 2).await;
    let ann = world.user(None).await;
    picture(&world, ann).await;
    picture(&world, ann).await;
    let answer = upload(&world, ann, "a.png", "image/png", PNG).await;
    assert_eq!((answer.status.as_u16(), answer.error()), (429, "rate_limited"));
    assert_eq!(answer.headers["retry-after"], "60");
}

#[tokio::test]
async fn a_node_receives_only_so_many_at_once() {
    let world = World::with(|sections| {
        sections.uploads.receiving_max = 2;
        sections.uploads.receiving_per_user_max = 1;
    })
    .await;
    let [ann, ben, eve] = [world.user(None).await, world.user(None).await, world.user(None).await];
    let go_on = CancellationToken::new();
    let slow = |user| {
        let go_on = go_on.clone();
        let rest = stream::once(async move {
            go_on.cancelled().await;
            Ok(Bytes::new())
        });
        let whole = stream::iter([Ok::<_, std::io::Error>(Bytes::from_static(PNG))]).chain(rest);
        offer(&world, user, "a.png", "image/png").body(Body::from_stream(whole)).unwrap()
    };
    let meanwhile = async {
        while world.count("SELECT count(*) FROM uploads WHERE sha256 IS NULL").await < 2 {}
        let of_one = upload(&world, ann, "a.png", "image/png", PNG).await;
        assert_eq!((of_one.status.as_u16(), of_one.error()), (429, "rate_limited"));
        let of_all = upload(&world, eve, "a.png", "image/png", PNG).await;
        assert_eq!((of_all.status.as_u16(), of_all.error()), (503, "overloaded"));
        go_on.cancel();
    };
    let (one, other, ()) = tokio::join!(world.send(slow(ann)), world.send(slow(ben)), meanwhile);
    assert_eq!((one.status.as_u16(), other.status.as_u16()), (201, 201));
    picture(&world, ann).await;
}
