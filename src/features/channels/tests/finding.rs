//! Conversations, and who is in them, are found page by page.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::{add, id, join, made, path};
use crate::domain::ids::{ChannelId, UserId};
use crate::features::fixture::World;

/// All pages of a list, and how many items each had.
async fn pages(world: &World, caller: UserId, list: &str, cursor: &str) -> (Vec<Value>, Vec<usize>) {
    let (mut items, mut sizes, mut query) = (Vec::new(), Vec::new(), String::new());
    loop {
        let page = world.get(caller, &format!("{list}{query}")).await.body;
        let found = page["items"].as_array().unwrap();
        items.extend(found.iter().cloned());
        sizes.push(found.len());
        let Some(next) = page["next"].as_str() else { return (items, sizes) };
        query = format!("&{cursor}={next}");
    }
}

#[tokio::test]
async fn everybody_finds_what_is_public_and_what_they_are_in_once_the_newest_first() {
    let world = World::new().await;
    let (ann, bob) = (world.user(None).await, world.user(None).await);
    let mut public = Vec::new();
    for number in 0..4 {
        public.push(made(&world, ann, json!({"name": format!("public {number}")})).await);
    }
    let private = made(&world, ann, json!({"name": "private", "isPrivate": true})).await;
    let group = made(&world, ann, json!({"kind": "group", "name": "Trip"})).await;
    let direct = made(&world, ann, json!({"kind": "direct", "userId": bob})).await;
    join(&world, bob, public[1]).await;
    let ids = |items: Vec<Value>| items.iter().map(id).collect::<Vec<ChannelId>>();
    let newest_first = |mut channels: Vec<ChannelId>| {
        channels.sort();
        channels.reverse();
        channels
    };

    let (items, sizes) = pages(&world, bob, "/channels?limit=2", "before").await;
    assert_eq!(sizes, [2, 2, 1]);
    assert_eq!(ids(items), newest_first([&public[..], &[direct]].concat()));
    let (items, sizes) = pages(&world, ann, "/channels?limit=7", "before").await;
    assert_eq!(sizes, [7]);
    assert_eq!(ids(items), newest_first([&public[..], &[private, group, direct]].concat()));
    let (items, _) = pages(&world, bob, "/channels?mine=true&limit=1", "before").await;
    assert_eq!(ids(items), newest_first(vec![public[1], direct]));
    for query in ["limit=0", "limit=101", "limit=ten", "before=nonsense", "mine=perhaps"] {
        let answer = world.get(ann, &format!("/channels?{query}")).await;
        assert_eq!((answer.status.as_u16(), answer.error()), (400, "bad_parameter"), "{query}");
    }
}

#[tokio::test]
async fn members_are_found_with_what_others_see_of_them() {
    let world = World::new().await;
    let ann = world.user(Some("Ann")).await;
    let channel = made(&world, ann, json!({"name": "general"})).await;
    let mut people = BTreeSet::from([ann]);
    for _ in 0..4 {
        let user = world.user(None).await;
        add(&world, ann, channel, user, "member").await;
        people.insert(user);
    }
    let list = format!("{}/members?limit=2", path(channel));

    let (items, sizes) = pages(&world, ann, &list, "after").await;

    assert_eq!(sizes, [2, 2, 1]);
    let found: Vec<UserId> =
        items.iter().map(|item| item["userId"].as_str().unwrap().parse().unwrap()).collect();
    assert_eq!(found, people.into_iter().collect::<Vec<_>>());
    let mine = items.iter().find(|item| item["userId"] == json!(ann)).unwrap();
    let joined_at = &world.get(ann, &path(channel)).await.body["createdAt"];
    let expected = json!({
        "userId": ann, "username": null, "displayName": "Ann", "avatarUrl": null, "avatarColor": null,
        "role": "owner", "joinedAt": joined_at,
    });
    assert_eq!(mine, &expected);
    for query in ["limit=0", "after=nonsense"] {
        let answer = world.get(ann, &format!("{}/members?{query}", path(channel))).await;
        assert_eq!((answer.status.as_u16(), answer.error()), (400, "bad_parameter"), "{query}");
    }
}
