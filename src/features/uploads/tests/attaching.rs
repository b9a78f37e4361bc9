//! A message has its files from the moment that it is there, each file one message, and all that show it show them.

use futures_util::future::join_all;
use http::StatusCode;
use serde_json::{Value, json};
use uuid::Uuid;

use super::{PNG, attach, fetch, path, picture, upload};
use crate::delivery::rooms::RoomLog as _;
use crate::domain::ids::{ChannelId, UserId};
use crate::features::fixture::World;
use crate::features::messages::Log;
use crate::features::messages::tests::{couple, id, json_of, path as message_path, say, send};

fn shown(upload: &Value) -> Value {
    json!({"id": upload["id"], "name": upload["name"], "contentType": upload["contentType"], "size": upload["size"]})
}

#[tokio::test]
async fn a_message_shows_its_files_wherever_it_is_shown() {
    let world = World::new().await;
    let (ann, ben, channel) = couple(&world).await;
    let text = upload(&world, ann, "a.txt", "text/plain", b"Hello").await.body;
    let files = [&text, &picture(&world, ann).await];
    let expected = json!([shown(files[0]), shown(files[1])]);

    let message = attach(&world, ann, channel, &files).await;

    assert_eq!((message.status, &message.body["attachments"]), (StatusCode::CREATED, &expected));
    let message = message.body;
    assert_eq!(world.heard.take()[0]["attachments"], expected);
    assert_eq!(world.get(ben, &message_path(&message)).await.body["attachments"], expected);
    let first = |page: Value| page["items"][0]["attachments"].clone();
    assert_eq!(first(world.get(ben, &format!("/messages/channels/{channel}")).await.body), expected);
    assert_eq!(first(world.get(ben, "/messages/search?q=look").await.body), expected);
    let reply = json!({"channelId": channel, "content": "Nice", "parentId": message["id"]});
    assert_eq!(send(&world, ben, &reply).await.body["attachments"], json!([]));
    assert_eq!(first(world.get(ann, &format!("{}/thread", message_path(&message))).await.body), json!([]));
    let log = Log { pool: world.pool.clone() };
    assert_eq!(json_of(&log.after_revision(channel, 0, 1).await.unwrap()[0])["attachments"], expected);
    // An edit leaves them.
    world.heard.take();
    let edited =
        world.send_json(ann, "PUT", &message_path(&message), &json!({"content": "Look at this"})).await;
    assert_eq!(edited.body["attachments"], expected);
    assert_eq!(world.heard.take()[0]["attachments"], expected);
}

#[tokio::test]
async fn what_cannot_be_attached_is_said_without_saying_why_and_writes_nothing() {
    let world = World::new().await;
    let (ann, ben, channel) = couple(&world).await;
    let (mine, theirs, used, deleted) = (
        picture(&world, ann).await,
        picture(&world, ben).await,
        picture(&world, ann).await,
        picture(&world, ann).await,
    );
    assert_eq!(attach(&world, ann, channel, &[&used]).await.status, StatusCode::CREATED);
    world.delete(ann, &path(&deleted)).await;
    world.heard.take();
    let nowhere = json!({"id": Uuid::now_v7()});
    for other in [&theirs, &used, &deleted, &nowhere] {
        let answer = attach(&world, ann, channel, &[&mine, other]).await;
        assert_eq!((answer.status, answer.error()), (StatusCode::NOT_FOUND, "unknown_upload"));
    }
    let lots: Vec<_> = (0..11).map(|_| Uuid::now_v7()).collect();
    for wrong in [json!([mine["id"], mine["id"]]), json!(lots), json!(["a"]), json!("a"), json!([{}])] {
        let body = json!({"channelId": channel, "content": "Look", "attachments": wrong});
        assert_eq!(send(&world, ann, &body).await.error(), "invalid_body");
    }
    assert!(world.heard.take().is_empty());
    assert_eq!(attach(&world, ann, channel, &[&mine]).await.body["seq"], 2);
}

#[tokio::test]
async fn the_same_message_sent_again_has_the_same_files() {
    let world = World::new().await;
    let (ann, _, channel) = couple(&world).await;
    let picture = picture(&world, ann).await;
    let body = |uploads: Value| json!({"channelId": channel, "content": "Look", "clientId": "c-1", "attachments": uploads});
    let first = send(&world, ann, &body(json!([picture["id"]]))).await;
    let again = send(&world, ann, &body(json!([picture["id"]]))).await;
    assert_eq!((again.status, &again.body), (StatusCode::OK, &first.body));
    assert_eq!(send(&world, ann, &body(json!([]))).await.error(), "key_reused");
}

#[tokio::test]
async fn the_same_message_sent_twice_at_once_is_written_once_with_its_files() {
    let world = World::new().await;
    let (ann, _, channel) = couple(&world).await;
    let picture = picture(&world, ann).await;
    let body =
        json!({"channelId": channel, "content": "Look", "clientId": "c-1", "attachments": [picture["id"]]});
    let mut lock = world.pool.begin().await.unwrap();
    let held = sqlx::query("SELECT FROM channels WHERE id = $1 FOR UPDATE").bind(channel.0);
    held.execute(&mut *lock).await.unwrap();
    // Both have looked for a message before there is one.
    let release = async {
        world.blocked(2).await;
        lock.rollback().await.unwrap();
    };

    let (one, other, ()) = tokio::join!(send(&world, ann, &body), send(&world, ann, &body), release);

    let mut statuses = [one.status.as_u16(), other.status.as_u16()];
    statuses.sort_unstable();
    assert_eq!(statuses, [200, 201], "{one:?} {other:?}");
    assert_eq!(one.body, other.body);
    assert_eq!(one.body["attachments"], json!([shown(&picture)]));
}

#[tokio::test]
async fn of_two_messages_that_want_a_file_one_gets_it() {
    let world = World::new().await;
    let (ann, _, channel) = couple(&world).await;
    let other = crate::features::messages::tests::channel_of(&world, &[ann]).await;
    for _round in 0..5 {
        let (one, two) = (picture(&world, ann).await, picture(&world, ann).await);
        let places: [(ChannelId, [&Value; 2]); 4] =
            [(channel, [&one, &two]), (other, [&two, &one]), (channel, [&two, &one]), (other, [&one, &two])];
        let answers = join_all(places.iter().map(|(place, files)| attach(&world, ann, *place, files))).await;
        let mut statuses: Vec<_> = answers.iter().map(|answer| answer.status.as_u16()).collect();
        statuses.sort_unstable();
        assert_eq!(statuses, [201, 404, 404, 404]);
    }
    assert_eq!(world.deadlocks().await, 0);
}

async fn is_readable(world: &World, user: UserId, upload: &Value) -> bool {
    let (status, _, bytes) = fetch(world, user, upload, &[]).await;
    assert_eq!(status == StatusCode::OK, bytes == PNG);
    status == StatusCode::OK
}

#[tokio::test]
async fn a_message_that_is_deleted_takes_its_files_with_it() {
    let world = World::new().await;
    let (ann, ben, channel) = couple(&world).await;
    let [one, two] = [picture(&world, ann).await, picture(&world, ann).await];
    let message = attach(&world, ann, channel, &[&one]).await.body;
    assert_eq!(attach(&world, ann, channel, &[&two]).await.status, 201);
    assert!(is_readable(&world, ben, &one).await);

    world.delete(ann, &message_path(&message)).await;

    assert_eq!(world.get(ann, &message_path(&message)).await.body["attachments"], json!([]));
    assert!(!is_readable(&world, ben, &one).await && !is_readable(&world, ann, &one).await);
    assert!(is_readable(&world, ben, &two).await);
    // Its sender cannot use it again.
    assert_eq!(attach(&world, ann, channel, &[&one]).await.error(), "unknown_upload");
    let plain = say(&world, ann, channel, "Bye").await;
    assert_eq!(world.delete(ann, &message_path(&plain)).await.status, 204);
    assert_ne!(id(&plain), id(&message));

    world.delete(ann, &format!("/channels/{channel}")).await;
    assert!(!is_readable(&world, ben, &two).await && !is_readable(&world, ann, &two).await);
}
