//! Who is told what.

use super::*;

/// Ann and Ben share a channel, and both are on nodes of their own; Ann watches Ben.
async fn ann_watches_ben(world: &World, nodes: [&Node; 2]) -> (Arc<Mailbox>, UserId) {
    let [ann, ben] = world.two().await;
    let mailbox = nodes[0].open(ann).await;
    settle(&nodes).await;
    let stands = nodes[0].watch(&mailbox, &[ben]).await;
    assert_eq!(stands, json!([{"userId": ben, "status": "offline", "lastSeen": null}]));
    (mailbox, ben)
}

#[tokio::test]
async fn whoever_watches_is_told_of_each_change_once_on_every_node() {
    let (world, [one, other]) = World::nodes().await;
    let nodes = [&one, &other];
    let (ann, ben) = ann_watches_ben(&world, nodes).await;
    let stranger = one.open(world.user().await).await;
    let phone = other.open(ben).await;
    settle(&nodes).await;
    assert_eq!(told(&ann), [change(ben, "online")]);
    other.say(&phone, &json!({"type": "PRESENCE", "status": "away"})).await;
    settle(&nodes).await;
    assert_eq!(told(&ann), [change(ben, "away")]);
    let before = chrono::Utc::now().timestamp_millis();
    other.close(&phone).await;
    settle(&nodes).await;
    world.pass(15.0).await;
    settle(&nodes).await;
    let offline = frames(&ann).pop().unwrap();
    assert_eq!(offline["status"], "offline");
    let seen = offline["lastSeen"].as_i64().unwrap();
    assert!((before - 17_000..=offline["timestamp"].as_i64().unwrap()).contains(&seen), "{offline}");
    for node in nodes {
        node.shared.watching.compare().await.unwrap();
        node.tell().await;
    }
    assert_eq!((frames(&ann), frames(&stranger)), (Vec::new(), Vec::new()));
}

#[tokio::test]
async fn a_list_replaces_the_one_before() {
    let (world, [node]) = World::nodes().await;
    let people = [world.user().await, world.user().await, world.user().await];
    world.channel(&people).await;
    let [ann, ben, cid] = people;
    let mailbox = node.open(ann).await;
    settle(&[&node]).await;
    let stands = node.watch(&mailbox, &[ben, ann, ben]).await;
    assert_eq!(stands[0]["userId"], ben.to_string());
    assert_eq!(stands[1], json!({"userId": ann, "status": "online", "lastSeen": null}));
    assert_eq!(stands[2], Value::Null, "each once");
    assert_eq!(node.shared.watching.sizes(), (2, 2));
    node.watch(&mailbox, &[cid]).await;
    let (_ben, _cid) = (node.open(ben).await, node.open(cid).await);
    settle(&[&node]).await;
    assert_eq!(told(&mailbox), [change(cid, "online")]);
    assert_eq!(node.watch(&mailbox, &[]).await, json!([]));
    assert_eq!(node.shared.watching.sizes(), (0, 0));

    node.watch(&mailbox, &[ben, cid]).await;
    node.close(&mailbox).await;
    assert_eq!(node.shared.watching.sizes(), (0, 0));
}

#[tokio::test]
async fn a_list_that_is_too_long_changes_nothing() {
    let (world, [node]) = World::nodes().await;
    let [ann, ben] = world.two().await;
    let mailbox = node.open(ann).await;
    node.watch(&mailbox, &[ben]).await;
    let many: Vec<UserId> = (0..=world.config.watch_max).map(|_| UserId::generate()).collect();
    let answer = node.say(&mailbox, &json!({"type": "WATCH", "userIds": many, "ref": 7})).await.unwrap();
    assert_eq!((&answer["code"], &answer["ref"]), (&json!("too_many_watched"), &json!(7)));
    assert_eq!(node.shared.watching.sizes(), (1, 1));
    assert_eq!(node.watch(&mailbox, &many[1..]).await, json!([]));
}

#[tokio::test]
async fn one_sees_oneself_the_partner_and_with_whom_one_shares_a_conversation() {
    let (world, [node]) = World::nodes().await;
    let [ann, partner, mate, former, gone, stranger, nobody] = [
        world.user().await,
        world.user().await,
        world.user().await,
        world.user().await,
        world.user().await,
        world.user().await,
        UserId::generate(),
    ];
    let couple =
        "INSERT INTO partners (user_id, partner_id, linked_at) VALUES ($1, $2, now()), ($2, $1, now())";
    sqlx::query(couple).bind(ann.0).bind(partner.0).execute(&world.pool).await.unwrap();
    let channel = world.channel(&[ann, mate, former]).await;
    let deleted = world.channel(&[ann, gone]).await;
    world.channel(&[stranger, mate]).await;
    sqlx::query("UPDATE channels SET deleted_at = now() WHERE id = $1")
        .bind(deleted)
        .execute(&world.pool)
        .await
        .unwrap();
    let leave = async |user: UserId| {
        let leave = "DELETE FROM channel_members WHERE channel_id = $1 AND user_id = $2";
        sqlx::query(leave).bind(channel).bind(user.0).execute(&world.pool).await.unwrap();
    };
    leave(former).await;
    let everybody = [nobody, stranger, gone, former, mate, partner, ann];
    let mut open = Vec::new();
    for user in &everybody[1..6] {
        open.push(node.open(*user).await);
    }
    let mailbox = node.open(ann).await;
    settle(&[&node]).await;

    let ids = |stands: &Value| -> Vec<String> {
        stands.as_array().unwrap().iter().map(|it| it["userId"].as_str().unwrap().to_owned()).collect()
    };
    let stands = node.watch(&mailbox, &everybody).await;
    assert_eq!(ids(&stands), [mate, partner, ann].map(|user| user.to_string()));
    let visible = node.commands.service.visible(ann, &everybody).await.unwrap();
    assert_eq!(visible.iter().map(|it| it.user).collect::<Vec<_>>(), [mate, partner, ann]);
    assert_eq!(node.shared.watching.sizes(), (3, 3), "nothing is kept of the others");

    let mut last = None;
    node.shared.watching.recheck(&mut last, 1).await.unwrap();
    assert_eq!(node.shared.watching.sizes(), (3, 3));
    leave(mate).await;
    sqlx::query("DELETE FROM partners").execute(&world.pool).await.unwrap();
    // A part at a time, and then from the beginning.
    let mut left = Vec::new();
    for _ in 0..5 {
        node.shared.watching.recheck(&mut last, 3).await.unwrap();
        left.push(node.shared.watching.sizes().1);
    }
    assert!(left.windows(2).all(|two| two[0] - two[1] <= 1), "{left:?}");
    assert_eq!(node.shared.watching.sizes(), (1, 1));
    for mailbox in &open {
        node.close(mailbox).await;
    }
    settle(&[&node]).await;
    world.pass(15.0).await;
    settle(&[&node]).await;
    assert_eq!(frames(&mailbox), Vec::<Value>::new());
}

/// Anybody can begin a direct conversation, with somebody who cannot leave it.
#[tokio::test]
async fn a_direct_conversation_shows_only_who_has_written_there() {
    let (world, [node]) = World::nodes().await;
    let (ann, ben) = (world.user().await, world.user().await);
    let channel = world.channel(&[ann, ben]).await;
    let mut pair = [ann.0, ben.0];
    pair.sort_unstable();
    let direct =
        sqlx::query("UPDATE channels SET kind = 'direct', name = NULL, direct_pair = $2 WHERE id = $1");
    direct.bind(channel).bind(&pair[..]).execute(&world.pool).await.unwrap();
    let sees = async |who: UserId, whom: UserId| {
        !node.commands.service.visible(who, &[whom]).await.unwrap().is_empty()
    };
    assert!(!sees(ann, ben).await);

    sqlx::query(
        "INSERT INTO messages (id, channel_id, seq, revision, user_id, message_type, content, created_at, updated_at)
         VALUES ($1, $1, 1, 1, $2, 'text', 'hello', now(), now())",
    )
    .bind(channel)
    .bind(ben.0)
    .execute(&world.pool)
    .await
    .unwrap();

    assert!(sees(ann, ben).await);
    assert!(!sees(ben, ann).await);
}

#[tokio::test]
async fn what_redis_lost_is_found_by_comparison() {
    let (world, [one, other]) = World::nodes().await;
    let nodes = [&one, &other];
    let (ann, ben) = ann_watches_ben(&world, nodes).await;
    world.loses.store(true, Ordering::SeqCst);
    let phone = other.open(ben).await;
    settle(&nodes).await;
    assert_eq!(told(&ann), []);
    one.shared.watching.compare().await.unwrap();
    one.tell().await;
    assert_eq!(told(&ann), [change(ben, "online")]);

    // Away and back: there is nothing to tell.
    for status in ["away", "online"] {
        other.say(&phone, &json!({"type": "PRESENCE", "status": status})).await;
        settle(&nodes).await;
    }
    one.shared.watching.compare().await.unwrap();
    one.tell().await;
    assert_eq!(told(&ann), []);
    world.loses.store(false, Ordering::SeqCst);
    other.say(&phone, &json!({"type": "PRESENCE", "status": "away"})).await;
    settle(&nodes).await;
    assert_eq!(told(&ann), [change(ben, "away")]);
}

#[tokio::test]
async fn a_postgres_that_lost_changes_is_believed() {
    let (world, [node]) = World::nodes().await;
    let (ann, ben) = ann_watches_ben(&world, [&node, &node]).await;
    let _phone = node.open(ben).await;
    settle(&[&node]).await;
    assert_eq!(told(&ann), [change(ben, "online")]);
    sqlx::query("DELETE FROM user_presence WHERE user_id = $1")
        .bind(ben.0)
        .execute(&world.pool)
        .await
        .unwrap();
    node.shared.watching.compare().await.unwrap();
    node.tell().await;
    assert_eq!(told(&ann), [change(ben, "offline")]);
}

#[tokio::test]
async fn who_has_no_room_is_told_later_how_things_are_then() {
    let (world, [node]) = World::nodes().await;
    let [ann, ben] = world.two().await;
    let mailbox = node.open_within(ann, Bounds { frames_max: 2, bytes_max: 100_000 }).await;
    settle(&[&node]).await;
    node.watch(&mailbox, &[ben]).await;
    mailbox.answer(Bytes::from_static(b"\x81\x02{}"));
    let phone = node.open(ben).await;
    settle(&[&node]).await;
    node.say(&phone, &json!({"type": "PRESENCE", "status": "away"})).await;
    settle(&[&node]).await;
    assert_eq!(frames(&mailbox), [json!({})], "it was half full");
    node.shared.watching.tell_laggards();
    node.tell().await;
    assert_eq!(told(&mailbox), [change(ben, "away")]);
    node.shared.watching.tell_laggards();
    node.tell().await;
    assert_eq!(told(&mailbox), []);
}

#[tokio::test]
async fn a_crowd_of_watchers_is_told_once_each() {
    let (world, [node]) = World::nodes().await;
    let [ann, ben] = world.two().await;
    let mut crowd = Vec::new();
    for _ in 0..600 {
        let mailbox = node.open(ann).await;
        node.watch(&mailbox, &[ben]).await;
        crowd.push(mailbox);
    }
    let _phone = node.open(ben).await;
    settle(&[&node]).await;
    for mailbox in &crowd {
        assert_eq!(told(mailbox), [change(ben, "online")]);
    }
}

#[tokio::test]
async fn between_the_answer_and_what_happens_then_there_is_no_gap() {
    let (world, [node]) = World::nodes().await;
    let [ann, ben] = world.two().await;
    let watcher = node.open(ann).await;
    settle(&[&node]).await;
    for round in 0..50 {
        let statuses = ["away", "online"];
        let phone = node.open(ben).await;
        let happens = async {
            for status in statuses {
                node.flush().await;
                node.tell().await;
                node.say(&phone, &json!({"type": "PRESENCE", "status": status})).await;
            }
            settle(&[&node]).await;
        };
        let watch = json!({"type": "WATCH", "userIds": [ben]});
        let ((), answered) = tokio::join!(happens, node.say(&watcher, &watch));
        assert_eq!(answered, None);
        settle(&[&node]).await;
        let mut all = frames(&watcher);
        let at = all.iter().position(|frame| frame["type"] == "OK").unwrap();
        let told: Vec<Value> = all.split_off(at);
        let last = if told.len() == 1 { &told[0]["presence"][0] } else { told.last().unwrap() };
        assert_eq!(last["status"], "online", "{round}: {told:?}");
        for two in told.windows(2).skip(1) {
            assert_ne!(two[0]["status"], two[1]["status"], "{told:?}");
        }
        node.close(&phone).await;
        settle(&[&node]).await;
        world.pass(15.0).await;
        settle(&[&node]).await;
        assert_eq!(super::told(&watcher).pop(), Some(change(ben, "offline")));
    }
}
