//! Messages: written, paged, searched, changed, read; and the way there from nothing.

use serde_json::{Value, json};

use crate::client::{Api, Client, PASSWORD};
use crate::shape::assert_shape;
use crate::shared::{cluster, fresh, person};

fn message(channel: &Value, author: &Value, content: &str) -> Value {
    json!({
        "id": "<uuid>", "channelId": channel, "seq": "<int>", "userId": author, "content": content,
        "messageType": "text", "metadata": {}, "attachments": [], "parentId": null, "isEdited": false, "isDeleted": false,
        "createdAt": "<iso>", "updatedAt": "<iso>", "mentions": [], "reactions": [],
    })
}

/// A public channel that both are in.
async fn channel_of(owner: &Client, member: &Client) -> Value {
    let channel = owner.post("/channels/", json!({"name": fresh("room")})).await.expect(201);
    let path = format!("/channels/{}/join", channel["id"].as_str().unwrap());
    member.post(&path, Value::Null).await.expect(201);
    channel["id"].clone()
}

fn path_of(message: &Value) -> String {
    format!("/messages/{}", message["id"].as_str().unwrap())
}

#[tokio::test]
async fn from_nothing_to_a_message() {
    let api = Api::anonymous(&cluster().await.url());
    let username = fresh("mia");
    let email = format!("{username}@example.com");
    let account = json!({"username": username, "email": email, "password": PASSWORD, "full_name": "Mia"});
    let user = api.post("/users/register", account).await.expect(201);
    let credentials = json!({"username": username, "password": PASSWORD});
    let tokens = api.post("/users/login", credentials).await.expect(200);
    let mia = api.with_bearer(tokens["accessToken"].as_str().unwrap());
    let body = json!({"name": fresh("general"), "description": "For everything", "is_private": false});
    let channel = mia.post("/channels/", body).await.expect(201);

    let body = json!({"channel_id": channel["id"], "content": "Hello", "message_type": "text"});
    let sent = mia.post("/messages/", body).await.expect(201);

    assert_shape(&sent, &message(&channel["id"], &user["id"], "Hello"));
    assert_eq!(sent["seq"], 1);
    assert_eq!(mia.get(&path_of(&sent)).await.expect(200), sent);
    let page = mia.get(&format!("/messages/channels/{}", channel["id"].as_str().unwrap())).await.expect(200);
    assert_eq!(page, json!({"items": [sent], "next": null}));
}

#[tokio::test]
async fn a_message_is_edited_answered_liked_and_deleted() {
    let (ada, ben) = tokio::join!(person("ada"), person("ben"));
    let channel = channel_of(&ada, &ben).await;
    let body =
        json!({"channelId": channel, "content": "Lunch?", "clientId": "c-1", "metadata": {"mood": "hungry"}});
    let sent = ada.post("/messages", body.clone()).await.expect(201);
    assert_eq!(ada.post("/messages", body).await.expect(200), sent);

    let reply =
        json!({"channelId": channel, "content": "Yes", "parentId": sent["id"], "messageType": "text"});
    let reply = ben.post("/messages", reply).await.expect(201);
    let mut expected = message(&channel, &json!(ben.id), "Yes");
    expected["parentId"] = sent["id"].clone();
    assert_shape(&reply, &expected);
    let thread = ada.get(&format!("{}/thread", path_of(&sent))).await.expect(200);
    assert_eq!(thread, json!({"items": [reply], "next": null}));

    let reaction = format!("{}/reactions/%F0%9F%91%8D", path_of(&sent));
    ben.send_text(http::Method::PUT, &reaction, "").await.expect(204);
    let edited = ada.put(&path_of(&sent), json!({"content": "Lunch at twelve?"})).await.expect(200);
    let mut expected = message(&channel, &json!(ada.id), "Lunch at twelve?");
    expected["metadata"] = json!({"mood": "hungry"});
    expected["isEdited"] = json!(true);
    expected["reactions"] = json!([{"emoji": "👍", "userIds": [ben.id]}]);
    assert_shape(&edited, &expected);
    ben.put(&path_of(&sent), json!({"content": "Mine"})).await.expect_problem(403, "forbidden");
    ben.delete(&reaction).await.expect(204);

    ben.delete(&path_of(&sent)).await.expect_problem(403, "forbidden");
    ada.delete(&path_of(&sent)).await.expect(204);
    ada.put(&path_of(&sent), json!({"content": "Again"})).await.expect_problem(409, "message_deleted");
    let deleted = ben.get(&path_of(&sent)).await.expect(200);
    assert_eq!((&deleted["isDeleted"], &deleted["content"]), (&json!(true), &json!("")));
}

#[tokio::test]
async fn what_is_unread_is_counted_and_what_was_said_is_found() {
    let (ada, ben) = tokio::join!(person("ada"), person("ben"));
    let channel = channel_of(&ada, &ben).await;
    let say = async |client: &Client, content: &str| {
        client.post("/messages", json!({"channelId": channel, "content": content})).await.expect(201)
    };
    let (one, two) = (say(&ada, "red herring").await, say(&ada, "blue whale").await);
    say(&ben, "grey seal").await;
    let read = format!("/channels/{}/read", channel.as_str().unwrap());

    let marker = |last: &Value, seq: i64, unread: i64| json!({"channelId": channel, "lastReadMessageId": last, "lastReadSeq": seq, "unreadCount": unread});
    assert_eq!(ada.get(&read).await.expect(200), marker(&Value::Null, 0, 1));
    let moved = ben.post(&read, json!({"messageId": two["id"]})).await.expect(200);
    assert_eq!(moved, marker(&two["id"], 2, 0));
    assert_eq!(ben.post(&read, json!({"messageId": one["id"]})).await.expect(200), moved);

    let search = format!("/messages/search?q=whale&channelId={}", channel.as_str().unwrap());
    assert_eq!(ben.get(&search).await.expect(200), json!({"items": [two], "next": null}));
    let stranger = person("cid").await;
    stranger.get(&search).await.expect_problem(403, "forbidden");
    let page = format!(
        "/messages/channels/{}?limit=1&before={}",
        channel.as_str().unwrap(),
        two["id"].as_str().unwrap()
    );
    assert_eq!(ben.get(&page).await.expect(200), json!({"items": [one], "next": null}));
    stranger.get(&page).await.expect_problem(403, "forbidden");
}
