//! The order of `seq` is the order of commits, without a gap, whoever writes.

use futures_util::future::join_all;
use http::StatusCode;
use serde_json::json;

use super::{channel_of, couple, send};
use crate::features::channels::tests::remove;
use crate::features::fixture::World;

#[tokio::test(flavor = "multi_thread")]
async fn twenty_writers_leave_no_gap() {
    const WRITERS: usize = 20;
    const EACH: usize = 25;
    let world = World::new().await;
    let people = join_all((0..WRITERS).map(|_| world.user(None))).await;
    let channel = channel_of(&world, &people).await;

    let writers = people.iter().map(async |user| {
        let mut seqs = Vec::new();
        for number in 0..EACH {
            // Every fifth is refused when the statement has begun already: no such message to reply to.
            let parent = (number % 5 == 4).then(crate::domain::ids::MessageId::generate);
            let body = json!({"channelId": channel, "content": format!("{number}"), "parentId": parent});
            let answer = send(&world, *user, &body).await;
            assert_eq!(answer.status == StatusCode::CREATED, parent.is_none(), "{answer:?}");
            seqs.extend(answer.body["seq"].as_i64());
        }
        assert!(seqs.is_sorted(), "one's own order is kept");
        seqs
    });
    let mut seqs = join_all(writers).await.concat();

    seqs.sort_unstable();
    let written = i64::try_from(WRITERS * EACH * 4 / 5).unwrap();
    assert!(seqs.into_iter().eq(1..=written));
    let heads: (i64, i64, i64) =
        sqlx::query_as("SELECT last_seq, last_revision, message_count FROM channels WHERE id = $1")
            .bind(channel.0)
            .fetch_one(&world.pool)
            .await
            .unwrap();
    assert_eq!(heads, (written, written, written));
    let mut revisions: Vec<i64> =
        world.heard.take().iter().map(|frame| frame["revision"].as_i64().unwrap()).collect();
    revisions.sort_unstable();
    assert!(revisions.into_iter().eq(1..=written));
    assert_eq!(world.deadlocks().await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_written_after_its_author_was_taken_out() {
    let world = World::new().await;
    for _ in 0..20 {
        let (ann, ben, channel) = couple(&world).await;
        let writing = async {
            let mut written = 0_i64;
            while send(&world, ben, &json!({"channelId": channel, "content": "a"})).await.status
                == StatusCode::CREATED
            {
                written += 1;
            }
            written
        };
        let removing = async {
            assert_eq!(remove(&world, ann, channel, ben).await.status, 204);
            let last: i64 = sqlx::query_scalar("SELECT last_seq FROM channels WHERE id = $1")
                .bind(channel.0)
                .fetch_one(&world.pool)
                .await
                .unwrap();
            last
        };
        let (written, seen) = tokio::join!(writing, removing);
        assert_eq!(written, seen);
    }
}

/// What refers to a conversation keeps it from being deleted, and the version of its row alive that it looked at: whoever
/// goes back to that version, having locked a later one, waits for the writer who waits for it.
#[tokio::test(flavor = "multi_thread")]
async fn who_waits_to_write_is_in_nobodys_way() {
    let world = World::new().await;
    let (ann, ben, channel) = couple(&world).await;
    let mut referring = world.pool.begin().await.unwrap();
    let refer = sqlx::query("SELECT FROM channels WHERE id = $1 FOR KEY SHARE").bind(channel.0);
    refer.execute(&mut *referring).await.unwrap();
    let mut changing = world.pool.begin().await.unwrap();
    let change = sqlx::query("UPDATE channels SET description = 'new' WHERE id = $1").bind(channel.0);
    change.execute(&mut *changing).await.unwrap();
    let release = async {
        world.blocked(2).await;
        changing.commit().await.unwrap();
    };

    let body = json!({"channelId": channel, "content": "a"});
    let (one, other, ()) = tokio::join!(send(&world, ann, &body), send(&world, ben, &body), release);

    referring.rollback().await.unwrap();
    assert_eq!([one.status, other.status], [StatusCode::CREATED; 2], "{one:?} {other:?}");
    assert_eq!(world.deadlocks().await, 0);
}
