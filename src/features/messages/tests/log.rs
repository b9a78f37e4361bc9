//! What was missed live is told again from the log: all of it, in order, as it was told or as it is now.

use serde_json::{Value, json};

use super::{couple, id, json_of, kinds, path, say};
use crate::delivery::rooms::{Head, RoomError, RoomLog as _};
use crate::domain::ids::ChannelId;
use crate::features::fixture::World;
use crate::features::messages::Log;
use crate::features::messages::prune::prune_batch;

fn log(world: &World) -> Log {
    Log { pool: world.pool.clone() }
}

async fn after(world: &World, channel: ChannelId, revision: i64, limit: i64) -> Vec<Value> {
    let frames = log(world).after_revision(channel, revision, limit).await.unwrap();
    frames.iter().map(json_of).collect()
}

/// Everything that can happen, and one message that is changed afterwards.
async fn history(world: &World) -> (ChannelId, Vec<Value>) {
    let (ann, ben, channel) = couple(world).await;
    world.heard.take();
    let one = say(world, ann, channel, "one").await;
    let two = say(world, ben, channel, "two").await;
    let reaction = format!("{}/reactions/+1", path(&one));
    world.send_text(ben, "PUT", &reaction, "").await;
    world.delete(ben, &reaction).await;
    world.send_json(ann, "PUT", &path(&one), &json!({"content": "one, mended"})).await;
    say(world, ben, channel, "three").await;
    world.delete(ann, &path(&two)).await;
    (channel, world.heard.take())
}

#[tokio::test]
async fn what_was_missed_is_told_again_in_order() {
    let world = World::new().await;
    let (channel, mut live) = history(&world).await;
    // It was taken back.
    live.retain(|frame| frame["type"] != "REACTION_ADDED");

    let told = after(&world, channel, 0, 100).await;

    assert_eq!(kinds(&told), kinds(&live));
    for (told, live) in told.iter().zip(&live) {
        assert_eq!(told["revision"], live["revision"]);
        if !["MESSAGE_CREATED", "MESSAGE_EDITED"].contains(&live["type"].as_str().unwrap()) {
            assert_eq!(told, live);
        }
    }
    // As they are now, so that whoever has seen all knows what is there.
    assert_eq!((&told[0]["content"], &told[0]["isEdited"]), (&json!("one, mended"), &json!(true)));
    assert_eq!((&told[1]["content"], &told[1]["isDeleted"]), (&json!(""), &json!(true)));
    for revision in 0..=7 {
        let rest = after(&world, channel, revision, 100).await;
        let later = told.iter().filter(|frame| frame["revision"].as_i64() > Some(revision));
        assert_eq!(rest, later.cloned().collect::<Vec<_>>());
    }
    assert_eq!(after(&world, channel, 2, 3).await[..], told[2..5]);
}

#[tokio::test]
async fn a_subscriber_gets_the_messages_since_the_last_one_it_saw() {
    let world = World::new().await;
    let (channel, _) = history(&world).await;
    let log = log(&world);

    let replay = log.since(channel, 1, 100).await.unwrap();

    assert_eq!(replay.head, Head { seq: 3, revision: 7 });
    assert_eq!(replay.messages.iter().map(|(seq, _)| *seq).collect::<Vec<_>>(), [2, 3]);
    let frames: Vec<Value> = replay.messages.iter().map(|(_, frame)| json_of(frame)).collect();
    assert_eq!(kinds(&frames), ["MESSAGE_CREATED"; 2]);
    assert_eq!(log.since(channel, 0, 2).await.unwrap().messages.len(), 2);
    assert!(log.since(channel, 3, 2).await.unwrap().messages.is_empty());
    let nowhere = log.since(ChannelId::generate(), 0, 1).await;
    assert!(matches!(nowhere, Err(RoomError::NoSuchRoom)));
    let heads = log.heads(&[channel, ChannelId::generate()]).await.unwrap();
    assert_eq!(heads, [(channel, 3, 7)]);
}

#[tokio::test]
async fn the_log_knows_who_may_hear() {
    let world = World::new().await;
    let (ann, ben, channel) = couple(&world).await;
    let stranger = world.user(None).await;
    let mut members = log(&world).members(channel, &[ann, stranger, ben]).await.unwrap();
    members.sort();
    assert_eq!(members, [ann.min(ben), ann.max(ben)]);
}

#[tokio::test]
async fn what_happened_long_ago_is_forgotten_and_no_message_is() {
    let world = World::with(|config| {
        (config.messages.changes_kept_max, config.messages.prune_batch_max) = (3, 2);
    })
    .await;
    let (channel, live) = history(&world).await;
    let (ann, _, other) = couple(&world).await;
    let young = say(&world, ann, other, "young").await;
    world.delete(ann, &path(&young)).await;

    let mut forgotten = Vec::new();
    for _ in 0..2 {
        forgotten.push(prune_batch(&world.pool, &world.config.messages).await.unwrap());
    }

    // Of the seven revisions, the changes at 3 and 4.
    assert_eq!(forgotten, [2, 0]);
    assert_eq!(kinds(&after(&world, channel, 4, 100).await), kinds(&live[4..]));
    assert_eq!(kinds(&after(&world, channel, 0, 4).await)[..2], ["MESSAGE_CREATED"; 2]);
    let kept = after(&world, other, 1, 100).await;
    assert_eq!((kinds(&kept), &kept[0]["id"]), (vec!["MESSAGE_DELETED"], &json!(id(&young))));
}
