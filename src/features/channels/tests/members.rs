//! People are taken in, come, are taken out, and go.

use http::StatusCode;
use serde_json::{Value, json};

use super::{Seen, add, join, made, path, remove, roles};
use crate::domain::clock::Clock as _;
use crate::domain::ids::UserId;
use crate::features::channels::{Notice, Role, members_among};
use crate::features::fixture::{World, kinds};

#[tokio::test]
async fn who_is_taken_in_is_told_and_those_who_follow_see_it() {
    let world = World::new().await;
    let (ann, bob) = (world.user(Some("Ann")).await, world.user(Some("Bob")).await);
    let channel = made(&world, ann, json!({"name": "general", "isPrivate": true})).await;
    let at = world.clock.now();

    let answer = add(&world, ann, channel, bob, "admin").await;

    let member = json!({
        "userId": bob, "username": null, "displayName": "Bob", "avatarUrl": null, "avatarColor": null,
        "role": "admin", "joinedAt": at,
    });
    assert_eq!((answer.status, answer.body), (StatusCode::CREATED, member));
    assert_eq!(world.get(bob, &path(channel)).await.body["memberCount"], 2);
    let timestamp = at.timestamp_millis();
    let notice = Notice::MemberAdded {
        channel_id: channel,
        user_id: bob,
        role: Role::Admin,
        added_by: ann,
        timestamp,
    };
    assert_eq!(world.followed.take(), [Seen::Told(channel, notice)]);
    let invited = json!({
        "type": "INVITED", "channelId": channel, "kind": "channel", "name": "general", "role": "admin",
        "invitedBy": ann, "timestamp": timestamp,
        "push": {
            "text": "invited", "args": {"name": "general", "actor": "Ann"},
            "data": {"channelId": channel, "actorId": ann}, "collapse_key": format!("invited.{channel}"),
        },
    });
    assert_eq!(world.told(bob).await, [invited]);
    let again = add(&world, ann, channel, bob, "member").await;
    assert_eq!((again.status.as_u16(), again.error()), (409, "already_member"));
    let unknown = add(&world, ann, channel, UserId::generate(), "member").await;
    assert_eq!((unknown.status.as_u16(), unknown.error()), (404, "unknown_user"));
    let members = format!("{}/members", path(channel));
    for body in [
        json!({}),
        json!({"userId": "x"}),
        json!({"userId": bob, "role": "king"}),
        json!({"userId": bob, "role": null}),
    ] {
        let answer = world.send_json(ann, "POST", &members, &body).await;
        assert_eq!((answer.status.as_u16(), answer.error()), (422, "invalid_body"), "{body}");
    }
    // As the contract spells it, with the role that it has by default.
    let cid = world.user(None).await;
    let plain = world.send_json(ann, "POST", &members, &json!({"user_id": cid})).await;
    assert_eq!((plain.status.as_u16(), &plain.body["role"]), (201, &json!("member")));
}

#[tokio::test]
async fn a_public_channel_is_joined_once_however_often_one_says_so() {
    let world = World::new().await;
    let (ann, bob) = (world.user(None).await, world.user(None).await);
    let channel = made(&world, ann, json!({"name": "general"})).await;

    let joined = join(&world, bob, channel).await;
    let again = join(&world, bob, channel).await;

    assert_eq!((joined.status, &joined.body["role"]), (StatusCode::CREATED, &json!("member")));
    assert_eq!((again.status, &again.body), (StatusCode::OK, &joined.body));
    assert_eq!(join(&world, ann, channel).await.body["role"], "owner", "stays what they are");
    let timestamp = world.clock.now().timestamp_millis();
    let notice = Notice::MemberAdded {
        channel_id: channel,
        user_id: bob,
        role: Role::Member,
        added_by: bob,
        timestamp,
    };
    assert_eq!(world.followed.take(), [Seen::Told(channel, notice)]);
    assert!(world.told(bob).await.is_empty(), "who acts needs no invitation");
    assert_eq!(world.get(bob, &path(channel)).await.body["memberCount"], 2);
}

#[tokio::test]
async fn who_is_taken_out_or_leaves_is_expelled_first_and_told() {
    let world = World::new().await;
    let (ann, bob, cid) = (world.user(None).await, world.user(None).await, world.user(None).await);
    let channel = made(&world, ann, json!({"name": "general", "isPrivate": true})).await;
    add(&world, ann, channel, bob, "member").await;
    add(&world, ann, channel, cid, "member").await;
    world.followed.take();
    let timestamp = world.clock.now().timestamp_millis();

    for (by, user) in [(ann, bob), (cid, cid)] {
        assert_eq!(remove(&world, by, channel, user).await.status, StatusCode::NO_CONTENT);

        let notice = Notice::MemberRemoved { channel_id: channel, user_id: user, removed_by: by, timestamp };
        let expected = [Seen::Expelled(channel, Some(user)), Seen::Told(channel, notice)];
        assert_eq!(world.followed.take(), expected);
        let told = world.told(user).await;
        assert_eq!(kinds(&told), ["INVITED", "MEMBER_REMOVED"]);
        let removed = json!({
            "type": "MEMBER_REMOVED", "channelId": channel, "userId": user, "removedBy": by,
            "timestamp": timestamp, "push": null,
        });
        assert_eq!(told[1], removed);
        assert_eq!(world.get(user, &path(channel)).await.status, StatusCode::FORBIDDEN);
    }
    assert_eq!(roles(&world, channel).await, [(ann, "owner".to_owned())]);
    assert_eq!(world.get(ann, &path(channel)).await.body["memberCount"], 1);
    let gone = remove(&world, ann, channel, bob).await;
    assert_eq!((gone.status.as_u16(), gone.error()), (404, "not_found"));
    assert_eq!(members_among(&world.pool, channel, &[ann, bob]).await.unwrap(), [ann]);
    // They may come back.
    assert_eq!(add(&world, ann, channel, bob, "member").await.status, StatusCode::CREATED);
}

#[tokio::test]
async fn the_only_owner_stays_and_one_of_two_may_go() {
    let world = World::new().await;
    let (ann, bob) = (world.user(None).await, world.user(None).await);
    let channel = made(&world, ann, json!({"name": "general"})).await;
    let refused = remove(&world, ann, channel, ann).await;
    assert_eq!((refused.status.as_u16(), refused.error()), (403, "last_owner"));

    add(&world, ann, channel, bob, "owner").await;
    let other = remove(&world, bob, channel, ann).await;
    assert_eq!((other.status.as_u16(), other.error()), (403, "forbidden"), "an owner is never taken out");
    assert_eq!(remove(&world, ann, channel, ann).await.status, StatusCode::NO_CONTENT);
    assert_eq!(remove(&world, bob, channel, bob).await.error(), "last_owner");
}

#[tokio::test]
async fn who_is_made_something_else_stays_and_those_who_follow_see_it_once() {
    let world = World::new().await;
    let (ann, bob) = (world.user(None).await, world.user(Some("Bob")).await);
    let channel = made(&world, ann, json!({"name": "general"})).await;
    let joined = add(&world, ann, channel, bob, "member").await.body["joinedAt"].clone();
    let appoint = async |caller: UserId, user: UserId, body: Value| {
        world.send_json(caller, "PUT", &format!("{}/members/{user}", path(channel)), &body).await
    };
    world.followed.take();
    let timestamp = world.clock.now().timestamp_millis();

    let answer = appoint(ann, bob, json!({"role": "admin"})).await;
    let again = appoint(ann, bob, json!({"role": "admin"})).await;

    let member = json!({
        "userId": bob, "username": null, "displayName": "Bob", "avatarUrl": null, "avatarColor": null,
        "role": "admin", "joinedAt": joined,
    });
    assert_eq!((answer.status, &answer.body), (StatusCode::OK, &member));
    assert_eq!((again.status, &again.body), (StatusCode::OK, &member));
    let notice = Notice::MemberUpdated {
        channel_id: channel,
        user_id: bob,
        role: Role::Admin,
        updated_by: ann,
        timestamp,
    };
    assert_eq!(world.followed.take(), [Seen::Told(channel, notice)]);
    for body in [json!({}), json!({"role": "king"}), json!({"role": null}), json!({"role": "admin", "x": 1})]
    {
        let answer = appoint(ann, bob, body.clone()).await;
        assert_eq!((answer.status.as_u16(), answer.error()), (422, "invalid_body"), "{body}");
    }
    // An owner hands over before they step down, and is then what they made of themselves.
    assert_eq!(appoint(ann, ann, json!({"role": "member"})).await.error(), "last_owner");
    assert_eq!(appoint(ann, bob, json!({"role": "owner"})).await.status, StatusCode::OK);
    assert_eq!(
        appoint(bob, ann, json!({"role": "member"})).await.error(),
        "forbidden",
        "nor is an owner made less"
    );
    assert_eq!(appoint(ann, ann, json!({"role": "member"})).await.status, StatusCode::OK);
    assert_eq!(
        appoint(ann, ann, json!({"role": "admin"})).await.error(),
        "forbidden",
        "the way back is closed"
    );
    let mut expected = vec![(ann, "member".to_owned()), (bob, "owner".to_owned())];
    expected.sort();
    assert_eq!(roles(&world, channel).await, expected);
}

#[tokio::test]
async fn a_conversation_takes_so_many_and_a_person_is_in_so_many() {
    let world = World::with(|config| {
        config.channels.members_max = 3;
        config.channels.memberships_per_user_max = 2;
    })
    .await;
    let mut people = Vec::new();
    for _ in 0..5 {
        people.push(world.user(None).await);
    }
    let [ann, bob, cid, dan, eve] = people[..] else { unreachable!() };
    let channel = made(&world, ann, json!({"name": "general"})).await;
    add(&world, ann, channel, bob, "member").await;
    join(&world, cid, channel).await;
    for answer in [add(&world, ann, channel, dan, "member").await, join(&world, dan, channel).await] {
        assert_eq!((answer.status.as_u16(), answer.error()), (409, "channel_full"));
    }
    assert_eq!(join(&world, cid, channel).await.status, StatusCode::OK, "who is in it is in it");
    let group = json!({"kind": "group", "name": "Trip", "userIds": [bob, dan, eve]});
    assert_eq!(super::create(&world, ann, group).await.error(), "channel_full");

    made(&world, ann, json!({"name": "second"})).await;
    for body in [json!({"name": "third"}), json!({"kind": "direct", "userId": dan})] {
        let answer = super::create(&world, ann, body).await;
        assert_eq!((answer.status.as_u16(), answer.error()), (409, "too_many_channels"));
    }
    let theirs = made(&world, dan, json!({"name": "theirs"})).await;
    for answer in [add(&world, dan, theirs, ann, "member").await, join(&world, ann, theirs).await] {
        assert_eq!((answer.status.as_u16(), answer.error()), (409, "too_many_channels"));
    }
    assert_eq!(world.count("SELECT count(*) FROM channels").await, 3);
    assert_eq!(world.told(eve).await.len(), 0);
}

#[tokio::test]
async fn who_takes_in_too_many_people_is_stopped_and_wakes_nobody() {
    let world = World::with(|config| config.channels.invitations_per_user_max = 3).await;
    let mut people = Vec::new();
    for _ in 0..5 {
        people.push(world.user(None).await);
    }
    let [ann, bob, cid, dan, eve] = people[..] else { unreachable!() };
    let direct = json!({"kind": "direct", "userId": bob});
    made(&world, ann, direct.clone()).await;
    let channel = made(&world, ann, json!({"name": "general"})).await;
    add(&world, ann, channel, bob, "member").await;

    let group = json!({"kind": "group", "name": "Trip", "userIds": [cid, dan]});
    let refused = super::create(&world, ann, group).await;

    assert_eq!((refused.status, refused.error()), (StatusCode::TOO_MANY_REQUESTS, "rate_limited"));
    assert_eq!(refused.headers["retry-after"], "3600");
    assert_eq!(add(&world, ann, channel, eve, "member").await.error(), "rate_limited");
    for user in [cid, dan, eve] {
        assert!(world.told(user).await.is_empty());
    }
    // What is there already, and what concerns nobody else, is not counted.
    assert_eq!(super::create(&world, ann, direct).await.status, StatusCode::OK);
    made(&world, ann, json!({"name": "second"})).await;
    assert_eq!(join(&world, eve, channel).await.status, StatusCode::CREATED);
}

#[tokio::test]
async fn who_changes_too_much_is_stopped_and_nobody_hears_of_it() {
    let world = World::with(|config| config.channels.changes_per_minute_max = 3).await;
    let (ann, bob) = (world.user(None).await, world.user(None).await);
    let channel = made(&world, ann, json!({"name": "general"})).await;
    add(&world, ann, channel, bob, "member").await;
    let rename = async |user: UserId, name: &str| {
        world.send_json(user, "PUT", &path(channel), &json!({"name": name})).await
    };
    let appoint = async |role: &str| {
        let path = format!("/channels/{channel}/members/{bob}");
        world.send_json(ann, "PUT", &path, &json!({"role": role})).await
    };
    assert_eq!(rename(ann, "second").await.status, StatusCode::OK);
    assert_eq!(appoint("admin").await.status, StatusCode::OK);
    world.followed.take();

    let refused = rename(ann, "third").await;

    assert_eq!((refused.status, refused.error()), (StatusCode::TOO_MANY_REQUESTS, "rate_limited"));
    assert_eq!(refused.headers["retry-after"], "60");
    assert_eq!(appoint("member").await.error(), "rate_limited");
    assert_eq!(super::create(&world, ann, json!({"name": "another"})).await.error(), "rate_limited");
    assert_eq!(world.delete(ann, &path(channel)).await.error(), "rate_limited");
    assert!(world.followed.take().is_empty());
    // It is counted for each on their own.
    assert_eq!(rename(bob, "third").await.status, StatusCode::OK);
}
