//! A session that ends takes its sockets with it, on whatever node, also when nobody could tell that node.

use fanlight::dev::process::Signal;
use serde_json::Value;

use crate::stage::Stage;

#[tokio::test(flavor = "multi_thread")]
async fn a_socket_ends_with_its_session_although_redis_is_away() {
    let mut stage = Stage::set().await;
    let other_session = stage.bob.log_in_again().await;
    let mut revoked = stage.connect(&stage.bob, 1, "").await;
    let mut kept = stage.connect(&other_session, 1, "").await;
    for socket in [&mut revoked, &mut kept] {
        socket.expect_nothing_more().await;
    }
    stage.cluster.redis.process.signal(Signal::Stop).unwrap();

    stage.bob.at(&stage.node(0)).post("/auth/logout", Value::Null).await.expect(204);

    assert_eq!(revoked.expect_close().await, (4003, "Session revoked".to_owned()));
    kept.expect_nothing_more().await;
    stage.cluster.redis.process.signal(Signal::Cont).unwrap();
}
