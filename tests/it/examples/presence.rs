//! Who is online, by REST and on sockets.

use serde_json::json;

use crate::shape::assert_shape;
use crate::shared::{couple, eventually, person, socket_at};

#[tokio::test]
async fn whoever_watches_hears_that_somebody_comes_and_is_away() {
    let (ada, ben) = couple().await;
    let mut watching = socket_at(&ada, 0).await;
    watching.send(json!({"type": "WATCH", "userIds": [ben.id], "ref": "a5"})).await;
    let answer = watching.next_event().await;
    let before = &answer["presence"][0];
    assert_eq!(
        (&answer["type"], &answer["ref"], &before["userId"]),
        (&json!("OK"), &json!("a5"), &json!(ben.id))
    );
    let socket = socket_at(&ben, 1).await;
    // He was there a moment ago, to be linked.
    if before["status"] == "offline" {
        assert_eq!(watching.expect_event("PRESENCE_CHANGED").await["status"], "online");
    }
    socket.send(json!({"type": "PRESENCE", "status": "away"})).await;
    let change = watching.next_event().await;
    let documented = json!({
        "type": "PRESENCE_CHANGED", "userId": ben.id, "status": "away", "lastSeen": null, "timestamp": "<ms>",
    });
    assert_shape(&change, &documented);

    let path = format!("/presence?userIds={},{}", ben.id, ada.id);
    let one = |id: &str, status: &str| json!({"userId": id, "status": status, "lastSeen": null});
    let items = [one(&ben.id, "away"), one(&ada.id, "online")];
    assert_eq!(ada.get(&path).await.expect(200), json!({ "items": items }));
    assert_eq!(ada.get(&path.replace("userIds", "user_ids")).await.expect(200), json!({ "items": items }));
    watching
        .send(json!({"type": "VIEW", "channelId": "0193a5c0-0000-7000-8000-0000000000c1", "ref": 1}))
        .await;
    assert_eq!(watching.next_event().await, json!({"type": "OK", "ref": 1}));
}

#[tokio::test]
async fn a_stranger_cannot_be_told_from_nobody() {
    let (ada, eve) = tokio::join!(person("ada"), person("eve"));
    let _open = socket_at(&ada, 2).await;
    let online = async || {
        let own = ada.get(&format!("/presence?userIds={}", ada.id)).await.expect(200);
        (own["items"][0]["status"] == "online").then_some(())
    };
    eventually(std::time::Duration::from_secs(20), "she is online", online).await;
    for user in [&ada.id, "0193a5c0-0000-7000-8000-0000000000ff"] {
        assert_eq!(eve.get(&format!("/presence?userIds={user}")).await.expect(200), json!({"items": []}));
    }
    let mut socket = socket_at(&eve, 0).await;
    socket.send(json!({"type": "WATCH", "userIds": [ada.id]})).await;
    assert_eq!(socket.next_event().await, json!({"type": "OK", "presence": []}));
}

#[tokio::test]
async fn what_cannot_be_asked_is_refused() {
    let ada = person("ada").await;
    let many = vec![ada.id.clone(); 101].join(",");
    ada.get(&format!("/presence?userIds={many}")).await.expect_problem(422, "invalid_body");
    ada.get(&format!("/presence?userIds={}", vec![ada.id.clone(); 100].join(","))).await.expect(200);
    ada.get("/presence?userIds=me").await.expect_problem(400, "bad_parameter");
    ada.get("/presence").await.expect_problem(400, "bad_parameter");
    ada.get("/presence?userIds=").await.expect_problem(400, "bad_parameter");
}
