//! Conversations and threads page by page: in order, without gaps or repetitions, whoever writes meanwhile.

use http::StatusCode;
use serde_json::{Value, json};

use super::{channel_of, contents, couple, fill, id, path, say, send};
use crate::domain::ids::{ChannelId, MessageId, UserId};
use crate::features::fixture::World;

async fn page(world: &World, user: UserId, channel: ChannelId, query: &str) -> Value {
    let answer = world.get(user, &format!("/messages/channels/{channel}?{query}")).await;
    assert_eq!(answer.status, StatusCode::OK, "{answer:?}");
    answer.body
}

fn texts(numbers: std::ops::RangeInclusive<i64>) -> Vec<String> {
    numbers.map(|number| format!("text {number}")).collect()
}

#[tokio::test]
async fn without_a_bound_the_newest_are_shown_in_order() {
    let world = World::new().await;
    let (ann, ben, channel) = couple(&world).await;
    assert_eq!(page(&world, ann, channel, "").await, json!({"items": [], "next": null}));
    fill(&world, channel, &[ann, ben], 120).await;

    let newest = page(&world, ann, channel, "limit=3").await;
    assert_eq!(contents(&newest), texts(118..=120));
    assert_eq!(newest["next"], newest["items"][0]["id"]);
    assert_eq!(contents(&page(&world, ann, channel, "").await), texts(71..=120));
    let all = page(&world, ann, channel, "limit=100").await;
    assert_eq!(contents(&all), texts(21..=120));
    let before = format!("limit=100&before={}", all["next"].as_str().unwrap());
    let rest = page(&world, ann, channel, &before).await;
    assert_eq!((contents(&rest).len(), &rest["next"]), (20, &Value::Null));
    assert_eq!(contents(&rest), texts(1..=20));
}

#[tokio::test]
async fn after_a_message_it_goes_on_to_the_end() {
    let world = World::new().await;
    let (ann, ben, channel) = couple(&world).await;
    fill(&world, channel, &[ann, ben], 10).await;
    let all = page(&world, ann, channel, "").await;
    let nth = |seq: usize| id(&all["items"][seq - 1]);

    let next = page(&world, ann, channel, &format!("after={}&limit=4", nth(3))).await;
    assert_eq!(
        (contents(&next), &next["next"]),
        (vec!["text 4", "text 5", "text 6", "text 7"], &json!(nth(7)))
    );
    let last = page(&world, ann, channel, &format!("after={}&limit=3", nth(7))).await;
    assert_eq!((contents(&last), &last["next"]), (vec!["text 8", "text 9", "text 10"], &Value::Null));
    let between = page(&world, ann, channel, &format!("after={}&before={}", nth(3), nth(6))).await;
    assert_eq!(contents(&between), ["text 4", "text 5"]);
    let end = page(&world, ann, channel, &format!("after={}", nth(10))).await;
    assert_eq!(end, json!({"items": [], "next": null}));
}

#[tokio::test]
async fn what_cannot_be_a_page_is_refused() {
    let world = World::new().await;
    let (ann, _, channel) = couple(&world).await;
    let elsewhere = say(&world, ann, channel_of(&world, &[ann]).await, "elsewhere").await;
    for query in ["limit=0", "limit=101", "limit=x", "before=x", "after="] {
        let answer = world.get(ann, &format!("/messages/channels/{channel}?{query}")).await;
        assert_eq!((answer.status, answer.error()), (StatusCode::BAD_REQUEST, "bad_parameter"), "{query}");
    }
    for bound in [MessageId::generate(), id(&elsewhere)] {
        let answer = world.get(ann, &format!("/messages/channels/{channel}?before={bound}")).await;
        assert_eq!(answer.error(), "not_found");
    }
    assert_eq!(world.get(ann, "/messages/channels/general").await.error(), "not_found");
}

/// Somebody reads back and somebody reads on, while others write and delete.
#[tokio::test(flavor = "multi_thread")]
async fn pages_have_no_gap_and_no_repetition_while_others_write() {
    const BEFORE: i64 = 60;
    const MEANWHILE: i64 = 60;
    let world = World::new().await;
    let (ann, ben, channel) = couple(&world).await;
    fill(&world, channel, &[ann, ben], BEFORE).await;
    let start = id(&page(&world, ann, channel, "limit=1").await["items"][0]);

    let writing = async {
        for number in 1..=MEANWHILE {
            let message = say(&world, ben, channel, &format!("text {}", BEFORE + number)).await;
            if number % 10 == 0 {
                world.delete(ben, &path(&message)).await;
            }
        }
    };
    let back = async {
        let (mut seen, mut before) = (Vec::new(), start);
        loop {
            let page = page(&world, ann, channel, &format!("limit=7&before={before}")).await;
            let mut seqs: Vec<i64> = seqs(&page);
            seqs.extend(seen);
            seen = seqs;
            match page["next"].as_str() {
                Some(next) => before = next.parse().unwrap(),
                None => return seen,
            }
        }
    };
    let on = async {
        let (mut seen, mut after) = (Vec::new(), start);
        while seen.last() != Some(&(BEFORE + MEANWHILE)) {
            let page = page(&world, ann, channel, &format!("limit=7&after={after}")).await;
            seen.extend(seqs(&page));
            if let Some(last) = page["items"].as_array().unwrap().last() {
                after = id(last);
            }
        }
        seen
    };
    let ((), back, on) = tokio::join!(writing, back, on);

    assert!(back.into_iter().eq(1..BEFORE));
    assert!(on.into_iter().eq(BEFORE + 1..=BEFORE + MEANWHILE));
}

fn seqs(page: &Value) -> Vec<i64> {
    page["items"].as_array().unwrap().iter().map(|item| item["seq"].as_i64().unwrap()).collect()
}

#[tokio::test]
async fn a_thread_has_its_replies_and_no_other_message() {
    let world = World::new().await;
    let (ann, ben, channel) = couple(&world).await;
    let first = say(&world, ann, channel, "Lunch?").await;
    let mut replies = Vec::new();
    for number in 1..=5 {
        say(&world, ann, channel, "between").await;
        let body =
            json!({"channelId": channel, "content": format!("reply {number}"), "parentId": id(&first)});
        replies.push(send(&world, ben, &body).await.body);
    }
    let thread = async |of: &Value, query: &str| {
        world.get(ann, &format!("/messages/{}/thread?{query}", id(of))).await.body
    };

    let all = thread(&first, "").await;
    assert_eq!(all, json!({"items": replies, "next": null}));
    assert_eq!(thread(&replies[2], "").await, all, "of a reply, the thread that it is in");
    let newest = thread(&first, "limit=2").await;
    assert_eq!(contents(&newest), ["reply 4", "reply 5"]);
    let before = thread(&first, &format!("limit=2&before={}", newest["next"].as_str().unwrap())).await;
    assert_eq!(contents(&before), ["reply 2", "reply 3"]);
    let on = thread(&first, &format!("limit=2&after={}", id(&first))).await;
    assert_eq!((contents(&on), &on["next"]), (vec!["reply 1", "reply 2"], &replies[1]["id"]));
    world.delete(ann, &path(&first)).await;
    assert_eq!(thread(&first, "").await, all, "the replies stay");
}
