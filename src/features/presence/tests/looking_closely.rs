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
