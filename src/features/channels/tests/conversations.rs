//! Conversations are made, changed and deleted.

use http::StatusCode;
use serde_json::{Value, json};

use super::{Seen, add, create, id, made, path, roles};
use crate::domain::clock::Clock as _;
use crate::features::channels::purge::purge_batch;
use crate::features::channels::{Notice, members_among};
use crate::features::fixture::{World, kinds};

#[tokio::test]
async fn a_channel_is_what_the_contract_says_and_its_creator_owns_it() {
    let world = World::new().await;
    let ann = world.user(Some("Ann")).await;
    let body = json!({"name": " general ", "description": "For everything", "is_private": false});

    let answer = create(&world, ann, body).await;

    assert_eq!(answer.status, StatusCode::CREATED);
    let (channel, now) = (id(&answer.body), world.clock.now());
    let shown = json!({
        "id": channel, "name": "general", "description": "For everything", "isPrivate": false, "kind": "channel",
        "createdBy": ann, "createdAt": now, "updatedAt": now, "memberCount": 1, "messageCount": 0, "lastSeq": 0,
    });
    assert_eq!(answer.body, shown);
    assert_eq!(world.get(ann, &path(channel)).await.body, shown);
    assert_eq!(roles(&world, channel).await, [(ann, "owner".to_owned())]);
    let created = json!({
        "type": "CHANNEL_CREATED", "channelId": channel, "kind": "channel", "name": "general", "isPrivate": false,
        "createdBy": ann, "timestamp": now.timestamp_millis(), "push": null,
    });
    assert_eq!(world.told(ann).await, [created]);
}

#[tokio::test]
async fn a_group_begins_with_the_people_it_is_made_of_and_they_are_told() {
    let world = World::new().await;
    let (ann, bob, cid) =
        (world.user(Some("Ann")).await, world.user(Some("Bob")).await, world.user(Some("Cid")).await);
    // Saying it twice, or oneself, changes nothing.
    let body = json!({"kind": "group", "name": "Trip", "userIds": [bob, cid, bob, ann]});

    let answer = create(&world, ann, body).await;

    assert_eq!(answer.status, StatusCode::CREATED);
    let (group, timestamp) = (id(&answer.body), world.clock.now().timestamp_millis());
    assert_eq!((&answer.body["memberCount"], &answer.body["isPrivate"]), (&json!(3), &json!(true)));
    assert_eq!(world.get(bob, &path(group)).await.body, answer.body);
    assert_eq!(kinds(&world.told(ann).await), ["CHANNEL_CREATED"]);
    let invited = json!({
        "type": "INVITED", "channelId": group, "kind": "group", "name": "Trip", "role": "member", "invitedBy": ann,
        "timestamp": timestamp,
        "push": {
            "text": "invited", "args": {"name": "Trip", "actor": "Ann"},
            "data": {"channelId": group, "actorId": ann}, "collapse_key": format!("invited.{group}"),
        },
    });
    assert_eq!(world.told(bob).await, [invited]);
    assert_eq!(kinds(&world.told(cid).await), ["INVITED"]);
    // Groups may share a name, with each other and with a channel.
    made(&world, bob, json!({"kind": "group", "name": "Trip", "user_ids": []})).await;
    made(&world, bob, json!({"name": "Trip"})).await;
}

#[tokio::test]
async fn two_people_have_one_direct_conversation_whoever_asks() {
    let world = World::new().await;
    let (ann, bob, cid) = (world.user(None).await, world.user(None).await, world.user(None).await);

    let first = create(&world, ann, json!({"kind": "direct", "userId": bob})).await;

    assert_eq!(first.status, StatusCode::CREATED);
    assert_eq!((&first.body["name"], &first.body["isPrivate"]), (&Value::Null, &json!(true)));
    for (one, other) in [(ann, bob), (bob, ann)] {
        let again = create(&world, one, json!({"kind": "direct", "user_id": other})).await;
        assert_eq!((again.status, &again.body), (StatusCode::OK, &first.body));
    }
    let other = create(&world, ann, json!({"kind": "direct", "userId": cid})).await;
    assert_ne!(id(&other.body), id(&first.body));
    let channel = id(&first.body);
    let mut both = [(ann, "member".to_owned()), (bob, "member".to_owned())];
    both.sort();
    assert_eq!(roles(&world, channel).await, both);
    // Both devices know of it; no phone is woken before something is written.
    for user in [ann, bob] {
        let told = &world.told(user).await[0];
        let expected = json!({
            "type": "CHANNEL_CREATED", "channelId": channel, "kind": "direct", "name": null, "isPrivate": true,
            "createdBy": ann, "timestamp": world.clock.now().timestamp_millis(), "push": null,
        });
        assert_eq!(told, &expected);
    }
}

#[tokio::test]
async fn what_cannot_be_made_is_refused_and_says_why() {
    let world = World::new().await;
    let (ann, bob) = (world.user(None).await, world.user(None).await);
    let nobody = crate::domain::ids::UserId::generate();
    made(&world, ann, json!({"name": "General"})).await;
    for (body, status, error) in [
        (json!({"name": "gENERAL "}), 409, "channel_name_taken"),
        (json!({"kind": "direct", "userId": nobody}), 404, "unknown_user"),
        (json!({"kind": "group", "name": "Trip", "userIds": [bob, nobody]}), 404, "unknown_user"),
        (json!({"kind": "direct", "userId": ann}), 400, "own_conversation"),
        (json!({}), 422, "invalid_body"),
        (json!({"name": "a"}), 422, "invalid_body"),
        (json!({"name": " a "}), 422, "invalid_body"),
        (json!({"name": "x".repeat(101)}), 422, "invalid_body"),
        (json!({"name": "two\nlines"}), 422, "invalid_body"),
        (json!({"name": "nul\u{0}"}), 422, "invalid_body"),
        (json!({"name": "\u{a0}wide\u{a0}"}), 422, "invalid_body"),
        (json!({"name": "about", "description": "x".repeat(1001)}), 422, "invalid_body"),
        (json!({"name": "about", "description": "nul\u{0}"}), 422, "invalid_body"),
        (json!({"name": "about", "isPrivate": null}), 422, "invalid_body"),
        (json!({"name": "about", "isPrivate": true, "is_private": true}), 422, "invalid_body"),
        (json!({"name": "about", "userIds": [bob]}), 422, "invalid_body"),
        (json!({"kind": "club", "name": "about"}), 422, "invalid_body"),
        (json!({"kind": "group", "name": "about", "isPrivate": false}), 422, "invalid_body"),
        (json!({"kind": "group", "name": "about", "userIds": vec![bob; 101]}), 422, "invalid_body"),
        (json!({"kind": "group"}), 422, "invalid_body"),
        (json!({"kind": "direct"}), 422, "invalid_body"),
        (json!({"kind": "direct", "userId": bob, "name": "us"}), 422, "invalid_body"),
        (json!({"kind": "direct", "userId": bob, "description": "us"}), 422, "invalid_body"),
    ] {
        let answer = create(&world, ann, body.clone()).await;
        assert_eq!((answer.status.as_u16(), answer.error()), (status, error), "{body}");
    }
    let answer = create(&world, nobody, json!({"name": "ghost"})).await;
    assert_eq!((answer.status, answer.error()), (StatusCode::UNAUTHORIZED, "unauthenticated"));
    assert_eq!(world.count("SELECT count(*) FROM channels").await, 1);
    made(&world, ann, json!({"name": "é".repeat(100), "description": "Line\n\tand line"})).await;
}

#[tokio::test]
async fn a_change_keeps_what_it_does_not_name_and_those_who_follow_see_it() {
    let world = World::new().await;
    let ann = world.user(None).await;
    let channel = made(&world, ann, json!({"name": "general", "description": "All"})).await;
    made(&world, ann, json!({"name": "other"})).await;
    let put = async |body: Value| world.send_json(ann, "PUT", &path(channel), &body).await;
    world.clock.advance(std::time::Duration::from_secs(5));
    let now = world.clock.now();
    world.followed.take();

    let renamed = put(json!({"name": "lounge"})).await;

    assert_eq!((&renamed.body["name"], &renamed.body["description"]), (&json!("lounge"), &json!("All")));
    assert_eq!((&renamed.body["updatedAt"], &renamed.body["isPrivate"]), (&json!(now), &json!(false)));
    let notice = Notice::ChannelUpdated {
        channel_id: channel,
        name: Some("lounge".to_owned()),
        description: Some("All".to_owned()),
        is_private: false,
        timestamp: now.timestamp_millis(),
    };
    assert_eq!(world.followed.take(), [Seen::Told(channel, notice)]);
    assert_eq!(put(json!({"description": null})).await.body["description"], Value::Null);
    assert_eq!(put(json!({"is_private": true})).await.body["isPrivate"], true);
    assert_eq!(put(json!({"name": "LOUNGE"})).await.body["name"], "LOUNGE", "its own name, in other letters");
    assert_eq!(put(json!({})).await.body, world.get(ann, &path(channel)).await.body);
    for (body, status, error) in [
        (json!({"name": "Other"}), 409, "channel_name_taken"),
        (json!({"name": null}), 422, "invalid_body"),
        (json!({"name": "a"}), 422, "invalid_body"),
        (json!({"description": "nul\u{0}"}), 422, "invalid_body"),
        (json!({"isPrivate": null}), 422, "invalid_body"),
        (json!({"kind": "group"}), 422, "invalid_body"),
    ] {
        let answer = put(body.clone()).await;
        assert_eq!((answer.status.as_u16(), answer.error()), (status, error), "{body}");
    }
    let group = made(&world, ann, json!({"kind": "group", "name": "Trip"})).await;
    let opened = world.send_json(ann, "PUT", &path(group), &json!({"isPrivate": false})).await;
    assert_eq!((opened.status.as_u16(), opened.error()), (409, "always_private"));
}

#[tokio::test]
async fn a_deleted_channel_is_gone_at_once_for_everybody() {
    let world = World::new().await;
    let (ann, bob) = (world.user(None).await, world.user(None).await);
    let channel = made(&world, ann, json!({"name": "general"})).await;
    add(&world, ann, channel, bob, "admin").await;
    world.followed.take();

    assert_eq!(world.delete(ann, &path(channel)).await.status, StatusCode::NO_CONTENT);

    let timestamp = world.clock.now().timestamp_millis();
    let notice = Notice::ChannelDeleted { channel_id: channel, deleted_by: ann, timestamp };
    assert_eq!(world.followed.take(), [Seen::Told(channel, notice), Seen::Expelled(channel, None)]);
    for user in [ann, bob] {
        for (method, below, body) in [
            ("GET", "", json!(null)),
            ("PUT", "", json!({"name": "again"})),
            ("DELETE", "", json!(null)),
            ("GET", "/members", json!(null)),
            ("POST", "/members", json!({"userId": ann})),
            ("POST", "/join", json!(null)),
            ("DELETE", &format!("/members/{user}"), json!(null)),
        ] {
            let answer = world.send_json(user, method, &format!("{}{below}", path(channel)), &body).await;
            assert_eq!((answer.status.as_u16(), answer.error()), (404, "not_found"), "{method} {below}");
        }
        assert_eq!(world.get(user, "/channels").await.body["items"], json!([]));
    }
    assert!(members_among(&world.pool, channel, &[ann, bob]).await.unwrap().is_empty());
    // Its name is free again.
    made(&world, bob, json!({"name": "general"})).await;
}

#[tokio::test]
async fn what_was_written_in_a_deleted_channel_goes_some_at_a_time() {
    let world = World::new().await;
    let ann = world.user(None).await;
    let (gone, kept) =
        (made(&world, ann, json!({"name": "gone"})).await, made(&world, ann, json!({"name": "kept"})).await);
    for channel in [gone, kept] {
        sqlx::query(
            "INSERT INTO messages (id, channel_id, seq, revision, user_id, message_type, content, created_at, updated_at)
             SELECT gen_random_uuid(), $1, seq, seq, $2, 'text', 'hello', now(), now() FROM generate_series(1, 25) AS seq",
        )
        .bind(channel.0)
        .bind(ann.0)
        .execute(&world.pool)
        .await
        .unwrap();
    }
    assert!(!purge_batch(&world.pool, 10).await.unwrap(), "nothing is deleted");
    world.delete(ann, &path(gone)).await;

    let mut left = Vec::new();
    while purge_batch(&world.pool, 10).await.unwrap() {
        left.push(world.count("SELECT count(*) FROM messages").await);
    }

    assert_eq!(left, [40, 30, 25]);
    assert_eq!(world.count("SELECT count(*) FROM channels").await, 1);
    assert_eq!(world.get(ann, &path(kept)).await.status, StatusCode::OK);
}
