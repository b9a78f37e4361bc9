//! Search finds words in what one may read, and nothing else.

use http::StatusCode;
use serde_json::{Value, json};

use super::{channel_of, contents, couple, fill, path, say};
use crate::domain::ids::{ChannelId, UserId};
use crate::features::channels::tests::{made, remove};
use crate::features::fixture::World;

async fn search(world: &World, user: UserId, query: &str) -> Value {
    let answer = world.get(user, &format!("/messages/search?{query}")).await;
    assert_eq!(answer.status, StatusCode::OK, "{answer:?}");
    answer.body
}

#[tokio::test]
async fn words_are_found_as_they_are_written_the_newest_first() {
    let world = World::new().await;
    let (ann, ben, channel) = couple(&world).await;
    for content in ["The harbour is open", "A HARBOUR, closed", "harbours", "Ørsted på havn", "open, then"]
    {
        say(&world, ann, channel, content).await;
    }
    for (query, expected) in [
        ("harbour", &["A HARBOUR, closed", "The harbour is open"][..]),
        ("harbour open", &["The harbour is open"]),
        ("open or closed", &["open, then", "A HARBOUR, closed", "The harbour is open"]),
        ("harbour -closed", &["The harbour is open"]),
        ("\"is open\"", &["The harbour is open"]),
        ("\"open is\"", &[]),
        ("p%C3%A5", &["Ørsted på havn"]),
        ("nothing", &[]),
        ("!!!", &[]),
        ("'; DROP TABLE messages; --", &[]),
    ] {
        let query = query.replace(' ', "+").replace('"', "%22");
        assert_eq!(contents(&search(&world, ben, &format!("q={query}")).await), expected, "{query}");
    }
    for wrong in
        ["", "q=", "q=+", "q=%00", "q=a&limit=0", "q=a&channelId=x", &format!("q={}", "a".repeat(201))]
    {
        let answer = world.get(ben, &format!("/messages/search?{wrong}")).await;
        assert_eq!((answer.status, answer.error()), (StatusCode::BAD_REQUEST, "bad_parameter"), "{wrong}");
    }
}

#[tokio::test]
async fn only_what_one_may_read_is_found() {
    let world = World::new().await;
    let (ann, ben, channel) = couple(&world).await;
    let public = made(&world, ann, json!({"name": "public"})).await;
    let private = channel_of(&world, &[ann]).await;
    for (channel, content) in [(channel, "word of both"), (public, "word of all"), (private, "word of ann")] {
        say(&world, ann, channel, content).await;
    }
    let found = async |user| {
        let page = search(&world, user, "q=word").await;
        contents(&page).into_iter().map(str::to_owned).collect::<Vec<_>>()
    };

    assert_eq!(found(ann).await, ["word of ann", "word of all", "word of both"]);
    assert_eq!(found(ben).await, ["word of both"]);
    assert_eq!(found(world.user(None).await).await, Vec::<String>::new());
    let there = search(&world, ann, &format!("q=word&channelId={public}")).await;
    assert_eq!(contents(&there), ["word of all"]);
    for (channel, code) in
        [(public, "forbidden"), (private, "forbidden"), (ChannelId::generate(), "not_found")]
    {
        let answer = world.get(ben, &format!("/messages/search?q=word&channelId={channel}")).await;
        assert_eq!(answer.error(), code);
    }
    // Whoever writes what a channel is called does not put it there.
    for word in [channel.to_string(), format!("'channel {channel}'")] {
        say(&world, ann, private, &format!("word see {word}")).await;
    }
    assert_eq!(found(ben).await, ["word of both"]);
    // Knowing the index' own word for a channel opens none.
    assert_eq!(contents(&search(&world, ben, &format!("q={private}")).await), Vec::<&str>::new());
    remove(&world, ann, channel, ben).await;
    assert_eq!(found(ben).await, Vec::<String>::new());
}

#[tokio::test]
async fn what_was_changed_or_deleted_is_found_as_it_is_now() {
    let world = World::new().await;
    let (ann, _, channel) = couple(&world).await;
    let edited = say(&world, ann, channel, "before").await;
    let deleted = say(&world, ann, channel, "before too").await;
    world.send_json(ann, "PUT", &path(&edited), &json!({"content": "after"})).await;
    world.delete(ann, &path(&deleted)).await;

    assert_eq!(contents(&search(&world, ann, "q=before").await), Vec::<&str>::new());
    assert_eq!(contents(&search(&world, ann, "q=after").await), ["after"]);
    assert_eq!(contents(&search(&world, ann, "q=-before").await), ["after"]);
}

#[tokio::test]
async fn what_is_found_comes_page_by_page() {
    let world = World::new().await;
    let (ann, ben, channel) = couple(&world).await;
    fill(&world, channel, &[ann, ben], 25).await;

    let (mut found, mut query) = (Vec::new(), "q=text&limit=10".to_owned());
    loop {
        let page = search(&world, ann, &query).await;
        found.extend(contents(&page).into_iter().map(str::to_owned));
        say(&world, ben, channel, "text meanwhile").await;
        let Some(next) = page["next"].as_str() else { break };
        query = format!("q=text&limit=10&before={next}");
    }

    let expected: Vec<String> = (1..=25).rev().map(|number| format!("text {number}")).collect();
    assert_eq!(found, expected);
}

#[tokio::test]
async fn of_a_word_that_very_many_hold_the_newest_are_found_and_a_rare_one_everywhere() {
    let world = World::with(|config| {
        (config.messages.search_matches_max, config.messages.search_recent_max) = (10, 20);
    })
    .await;
    let (ann, ben, channel) = couple(&world).await;
    let other = channel_of(&world, &[ann]).await;
    fill(&world, channel, &[ann, ben], 50).await;
    say(&world, ann, other, "text elsewhere").await;

    let all = search(&world, ann, "q=text&limit=100").await;
    // Half of the twenty in each of two channels.
    assert_eq!(all["items"].as_array().unwrap().len(), 11);
    assert_eq!(contents(&all)[..2], ["text elsewhere", "text 50"]);
    let there = search(&world, ann, &format!("q=text&limit=100&channelId={channel}")).await;
    assert_eq!(contents(&there).len(), 20);
    assert_eq!(contents(&search(&world, ann, "q=3+text").await), ["text 3"]);
    let elsewhere = search(&world, ann, &format!("q=text&channelId={other}")).await;
    assert_eq!(contents(&elsewhere), ["text elsewhere"], "rare there, however often it is said elsewhere");
}

#[tokio::test]
async fn searches_are_limited() {
    let world = World::with(|config| config.messages.searches_per_minute_max = 2).await;
    let (ann, ben, _) = couple(&world).await;
    for _ in 0..2 {
        search(&world, ann, "q=a").await;
    }
    assert_eq!(world.get(ann, "/messages/search?q=a").await.error(), "rate_limited");
    search(&world, ben, "q=a").await;
}
