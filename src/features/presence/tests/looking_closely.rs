//! What changes while somebody looks who is still there.

use super::*;

const GRACE: f64 = 15.0;

#[tokio::test]
async fn who_comes_while_redis_is_asked_is_here_and_stays_in_redis() {
    let (world, [node]) = World::nodes().await;
    let user = world.user().await;
    let closed = node.open(user).await;
    settle(&[&node]).await;
    node.close(&closed).await;
    node.flush().await;
    world.pass(GRACE).await;
    node.flush().await;

    let bounds = Bounds { frames_max: 100, bytes_max: 100_000 };
    let mailbox = Arc::new(Mailbox::new(user, SessionId::generate(), None, bounds));
    let (comes, membership) = (Arc::clone(&mailbox), Arc::clone(&node.shared.parts.membership));
    let enters = async move { membership.enter(&comes, usize::MAX).await.unwrap() };
    *world.marks.meanwhile.lock() = Some(enters.boxed());
    node.look().await;

    assert!(world.marks.meanwhile.lock().is_none());
    assert_eq!(world.presence.connections_of(user).await.unwrap(), [mailbox.entry(node.id)]);
    world.pass(GRACE).await;
    settle(&[&node]).await;
    assert_eq!(world.said_of(user), ["online"]);
}

#[tokio::test]
async fn whose_last_connection_is_closed_after_a_hand_over_has_the_grace() {
    let (world, [one, other]) = World::nodes().await;
    let user = world.user().await;
    let phone = one.open(user).await;
    settle(&[&one, &other]).await;
    let laptop = other.open(user).await;
    settle(&[&one, &other]).await;
    one.close(&phone).await;
    one.flush().await;
    world.pass(GRACE).await;
    one.flush().await;
    one.look().await;
    let answers: bool = sqlx::query_scalar("SELECT node = $1 AND look_at <= now() FROM user_presence")
        .bind(other.id.0)
        .fetch_one(&world.pool)
        .await
        .unwrap();
    assert!(answers, "it was handed over");

    other.close(&laptop).await;
    other.look().await;
    settle(&[&one, &other]).await;
    world.pass(GRACE - 1.0).await;
    settle(&[&one, &other]).await;
    assert_eq!(world.said_of(user), ["online"]);

    world.pass(GRACE).await;
    settle(&[&one, &other]).await;
    assert_eq!(world.said_of(user), ["online", "offline"]);
}

#[tokio::test]
async fn whose_last_connection_is_closed_after_a_look_has_the_grace() {
    let (world, [node]) = World::nodes().await;
    let user = world.user().await;
    let phone = node.open(user).await;
    settle(&[&node]).await;
    sqlx::query("UPDATE user_presence SET look_at = now()").execute(&world.pool).await.unwrap();
    node.look().await;
    node.close(&phone).await;
    world.pass(2.0).await;
    node.look().await;
    node.flush().await;
    assert_eq!(world.said_of(user), ["online"]);
    world.pass(GRACE * 2.0).await;
    settle(&[&node]).await;
    assert_eq!(world.said_of(user), ["online", "offline"]);
}
