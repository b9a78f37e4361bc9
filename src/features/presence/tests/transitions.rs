//! Who goes online and offline, when, and that exactly one node says so.

use futures_util::future::join_all;

use super::*;
use crate::delivery::turnover::Turned;

const GRACE: f64 = 15.0;

#[tokio::test]
async fn a_user_is_online_from_the_first_connection_until_a_grace_after_the_last() {
    let (world, [node]) = World::nodes().await;
    let user = world.user().await;
    let phone = node.open(user).await;
    settle(&[&node]).await;
    assert_eq!(world.standing(user).await, ("online".into(), 1));
    let laptop = node.open(user).await;
    node.close(&phone).await;
    settle(&[&node]).await;
    assert_eq!(node.shared.parts.registry.turnover().take(), Turned::default());

    node.close(&laptop).await;
    settle(&[&node]).await;
    world.pass(GRACE - 1.0).await;
    settle(&[&node]).await;
    assert_eq!(world.standing(user).await, ("online".into(), 1));
    world.pass(1.0).await;
    settle(&[&node]).await;
    assert_eq!(world.standing(user).await, ("offline".into(), 2));
    assert_eq!(world.said_of(user), ["online", "offline"]);
    let seen: bool = sqlx::query_scalar(
        "SELECT last_seen BETWEEN changed_at - interval '17 s' AND changed_at - interval '14 s' FROM user_presence",
    )
    .fetch_one(&world.pool)
    .await
    .unwrap();
    assert!(seen, "when the connection was closed");
}

#[tokio::test]
async fn who_comes_back_within_the_grace_was_online_all_the_time() {
    let (world, [one, other]) = World::nodes().await;
    let user = world.user().await;
    let mut mailbox = one.open(user).await;
    settle(&[&one, &other]).await;
    let mut here = &one;
    for next in [&one, &other, &one] {
        here.close(&mailbox).await;
        settle(&[&one, &other]).await;
        world.pass(GRACE - 1.0).await;
        mailbox = next.open(user).await;
        here = next;
        settle(&[&one, &other]).await;
        world.pass(GRACE * 10.0).await;
        settle(&[&one, &other]).await;
    }
    assert_eq!(world.said_of(user), ["online"]);
}

#[tokio::test]
async fn who_hops_between_nodes_is_written_down_once() {
    let (world, nodes) = World::nodes::<3>().await;
    let all: Vec<&Node> = nodes.iter().collect();
    let user = world.user().await;
    let mut mailbox = nodes[0].open(user).await;
    settle(&all).await;
    let row = "SELECT p.xmin::text || p::text FROM user_presence AS p";
    let written: String = sqlx::query_scalar(row).fetch_one(&world.pool).await.unwrap();
    for hop in 0..9 {
        nodes[hop % 3].close(&mailbox).await;
        settle(&all).await;
        mailbox = nodes[(hop + 1) % 3].open(user).await;
        settle(&all).await;
        world.pass(1.0).await;
    }
    assert_eq!(sqlx::query_scalar::<_, String>(row).fetch_one(&world.pool).await.unwrap(), written);
    nodes[0].close(&mailbox).await;
    for _ in 0..14 {
        settle(&all).await;
        assert_eq!(world.standing(user).await, ("online".into(), 1));
        world.pass(1.0).await;
    }
    world.pass(1.0).await;
    settle(&all).await;
    assert_eq!(world.standing(user).await, ("offline".into(), 2));
}

#[tokio::test]
async fn who_comes_and_goes_within_a_moment_is_nothing_to_tell() {
    let (world, [node]) = World::nodes().await;
    let user = world.user().await;
    let mailbox = node.open(user).await;
    node.close(&mailbox).await;
    settle(&[&node]).await;
    assert_eq!(world.standing(user).await, ("none".into(), 0));
}

#[tokio::test]
async fn a_user_on_many_nodes_goes_offline_after_the_last_connection() {
    let (world, nodes) = World::nodes::<3>().await;
    let all: Vec<&Node> = nodes.iter().collect();
    let user = world.user().await;
    let mailboxes = join_all(nodes.iter().map(|node| node.open(user))).await;
    join_all(nodes.iter().map(Node::flush)).await;
    // Closed in another order than opened, so that whoever answers is not the last.
    for index in [1, 2, 0] {
        assert_eq!(world.standing(user).await, ("online".into(), 1));
        nodes[index].close(&mailboxes[index]).await;
        settle(&all).await;
        world.pass(GRACE - 1.0).await;
        settle(&all).await;
    }
    assert_eq!(world.said_of(user), ["online"]);
    world.pass(GRACE).await;
    settle(&all).await;
    assert_eq!(world.said_of(user), ["online", "offline"]);
}

#[tokio::test]
async fn the_users_of_a_killed_node_go_offline_once() {
    let (world, [killed, one, other]) = World::nodes().await;
    let users = join_all((0..20).map(|_| world.user())).await;
    let mut mailboxes = Vec::new();
    for user in &users {
        mailboxes.push(killed.open(*user).await);
    }
    killed.flush().await;
    // One of them had been closed before, and one is somewhere else as well.
    killed.close(&mailboxes[0]).await;
    killed.flush().await;
    let _elsewhere = one.open(users[1]).await;
    one.flush().await;
    world.kill(killed).await;

    let nodes = [&one, &other];
    join_all(nodes.map(Node::sweep)).await;
    settle(&nodes).await;
    // Back within the grace.
    let _back = other.open(users[2]).await;
    for _ in 0..3 {
        world.pass(GRACE).await;
        join_all(nodes.map(Node::sweep)).await;
        join_all(nodes.map(Node::look)).await;
        settle(&nodes).await;
    }

    for (index, user) in users.iter().enumerate() {
        let stays = [1, 2].contains(&index);
        let expected: &[&str] = if stays { &["online"] } else { &["online", "offline"] };
        assert_eq!(world.said_of(*user), expected, "{index}");
    }
}

#[tokio::test]
async fn a_node_that_dies_while_it_looks_is_followed_by_another() {
    let (world, [dies, lives]) = World::nodes().await;
    let user = world.user().await;
    let mailbox = dies.open(user).await;
    dies.flush().await;
    dies.close(&mailbox).await;
    dies.flush().await;
    world.pass(GRACE).await;
    dies.flush().await;
    world.kill(dies).await;
    lives.look().await;
    assert_eq!(world.standing(user).await.0, "online", "it may only be slow");
    world.pass(8.0).await;
    lives.look().await;
    assert_eq!(world.said_of(user), ["online", "offline"]);
}

#[tokio::test]
async fn nobody_goes_offline_while_redis_cannot_be_believed() {
    let (world, [killed, node]) = World::nodes().await;
    let [left, lost] = world.two().await;
    let mailbox = node.open(left).await;
    let _lost = killed.open(lost).await;
    settle(&[&killed, &node]).await;
    node.close(&mailbox).await;
    node.flush().await;
    world.kill(killed).await;
    for mood in [Mood::Away, Mood::Doubtful] {
        world.set_mood(mood);
        world.pass(GRACE * 2.0).await;
        node.flush().await;
        let looked = looking::look(&node.shared).await;
        assert_eq!(looked.is_err(), mood == Mood::Away);
        assert!(looking::sweep(&node.shared).await.is_err());
    }
    assert_eq!((world.said_of(left), world.said_of(lost)), (vec!["online".into()], vec!["online".into()]));

    world.set_mood(Mood::Well);
    for _ in 0..2 {
        node.sweep().await;
        world.pass(GRACE * 2.0).await;
        settle(&[&node]).await;
    }
    assert_eq!(world.said_of(left), ["online", "offline"]);
    assert_eq!(world.said_of(lost), ["online", "offline"]);
}

#[tokio::test]
async fn a_node_that_was_taken_for_dead_lets_its_users_be_online_again() {
    let (world, [frozen, other]) = World::nodes().await;
    let user = world.user().await;
    let _open = frozen.open(user).await;
    frozen.flush().await;
    world.presence.release_lease(frozen.id).await.unwrap();
    other.sweep().await;
    world.pass(GRACE).await;
    other.look().await;
    assert_eq!(world.standing(user).await.0, "offline");

    world.presence.renew_lease(frozen.id).await.unwrap();
    let entries = frozen.shared.parts.registry.entries(frozen.id);
    world.presence.enter(&entries).await.unwrap();
    frozen.shared.parts.registry.turnover().note_everyone();
    frozen.flush().await;
    assert_eq!(world.said_of(user), ["online", "offline", "online"]);
}

#[tokio::test]
async fn a_connection_that_redis_still_knows_does_not_keep_its_user_online() {
    let (world, [node, other]) = World::nodes().await;
    let user = world.user().await;
    let (mailbox, laptop) = (node.open(user).await, other.open(user).await);
    settle(&[&node, &other]).await;
    // Redis was away when they were closed.
    for (at, closed) in [(&node, &mailbox), (&other, &laptop)] {
        at.shared.parts.registry.remove(closed);
    }
    for _ in 0..4 {
        settle(&[&node, &other]).await;
        world.pass(GRACE).await;
    }
    assert_eq!(world.said_of(user), ["online", "offline"]);
    assert_eq!(world.presence.connections_of(user).await.unwrap(), []);
}

#[tokio::test]
async fn what_postgres_lost_is_written_again() {
    let (world, [node]) = World::nodes().await;
    let [stays, goes] = world.two().await;
    let (_open, closed) = (node.open(stays).await, node.open(goes).await);
    settle(&[&node]).await;
    // A standby took over that lacks one commit, and has another that this node forgot.
    sqlx::query("DELETE FROM user_presence WHERE user_id = $1")
        .bind(stays.0)
        .execute(&world.pool)
        .await
        .unwrap();
    node.close(&closed).await;
    node.flush().await;
    world.pass(GRACE).await;
    node.flush().await;
    sqlx::query("UPDATE user_presence SET look_at = NULL").execute(&world.pool).await.unwrap();

    node.shared.parts.registry.turnover().note_everyone();
    settle(&[&node]).await;
    world.pass(GRACE).await;
    settle(&[&node]).await;

    assert_eq!(world.standing(stays).await, ("online".into(), 1));
    assert_eq!(world.said_of(goes), ["online", "offline"]);
}

#[tokio::test]
async fn a_user_at_rest_costs_redis_and_postgres_nothing() {
    let (world, [one, other]) = World::nodes().await;
    let nodes = [&one, &other];
    let mut open = Vec::new();
    for number in 0..40 {
        open.push(nodes[number % 2].open(world.user().await).await);
    }
    settle(&nodes).await;
    assert_eq!(world.marks.asked.load(Ordering::SeqCst), 0, "nobody left, and nobody is away");
    let rows = "SELECT jsonb_agg(p.xmin::text || p::text ORDER BY p.user_id)::text FROM user_presence AS p";
    let before: String = sqlx::query_scalar(rows).fetch_one(&world.pool).await.unwrap();
    for node in nodes {
        node.shared.parts.registry.turnover().note_everyone();
        node.sweep().await;
        node.shared.watching.compare().await.unwrap();
    }
    settle(&nodes).await;
    assert_eq!(world.marks.asked.load(Ordering::SeqCst), 0);
    assert_eq!(sqlx::query_scalar::<_, String>(rows).fetch_one(&world.pool).await.unwrap(), before);
}

#[tokio::test]
async fn an_account_that_is_deleted_is_in_nobodys_way() {
    let (world, [node]) = World::nodes().await;
    let [deleted, stays] = world.two().await;
    let (open, _stays) = (node.open(deleted).await, node.open(stays).await);
    sqlx::query("DELETE FROM users WHERE id = $1").bind(deleted.0).execute(&world.pool).await.unwrap();
    settle(&[&node]).await;
    assert_eq!(world.standing(stays).await, ("online".into(), 1));
    node.close(&open).await;
    settle(&[&node]).await;
    assert_eq!(world.standing(deleted).await, ("none".into(), 0));
}
