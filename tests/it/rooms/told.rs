//! All that is said in and about a room, for whoever holds it against its documentation.

use serde_json::{Value, json};

use crate::client::Client;
use crate::documents::Conversation;
use crate::shared::{fresh, person};
use crate::socket::Socket;
use crate::stage::until;

/// Ada opens a room with Ben, who hears everything that can happen there.
pub async fn follow_a_room(conversation: &mut Conversation, ada: &Client, ben: &Client) {
    let channel = ada.post("/channels/", json!({"name": fresh("heard")})).await.expect(201)["id"].clone();
    let path = format!("/channels/{}", channel.as_str().unwrap());
    let members = format!("{path}/members");
    // Once it is answered, nothing else is on its way to this socket.
    let cia = person("cia").await;
    let mut listener = ben.connect(&ben.base_url, "").await;
    ada.post(&members, json!({"userId": ben.id})).await.expect(201);
    while listener.next_event().await["type"] != "INVITED" {}
    let speaker = &mut ada.connect(&ada.base_url, "since=1000000").await;
    conversation.hear(speaker, &["RESYNC"]).await;

    ask(conversation, &mut listener, json!({"type": "SUBSCRIBE", "channelId": channel, "ref": 1})).await;
    let ahead = json!({"type": "SUBSCRIBE", "channelId": channel, "revision": 1_000_000, "ref": 2});
    conversation.say(&listener, ahead).await;
    conversation.hear_both(&mut listener, ["OK", "ROOM_RESYNC"]).await;

    let body = json!({"channelId": channel, "content": "Hello"});
    let message = ada.post("/messages/", body).await.expect(201)["id"].clone();
    let written = format!("/messages/{}", message.as_str().unwrap());
    ada.put(&format!("{written}/reactions/+1"), Value::Null).await.expect(204);
    ada.delete(&format!("{written}/reactions/+1")).await.expect(204);
    ada.put(&written, json!({"content": "Hello!"})).await.expect(200);
    ada.post(&format!("{path}/read"), json!({"messageId": message})).await.expect(200);
    ada.delete(&written).await.expect(204);
    let kinds = [
        "MESSAGE_CREATED",
        "REACTION_ADDED",
        "REACTION_REMOVED",
        "MESSAGE_EDITED",
        "READ_MARKER",
        "MESSAGE_DELETED",
    ];
    conversation.hear(&mut listener, &kinds).await;

    let typing = json!({"type": "TYPING", "channelId": channel, "isTyping": true});
    conversation.say(speaker, typing).await;
    conversation.hear(&mut listener, &["TYPING"]).await;
    ada.put(&path, json!({"description": "Everything"})).await.expect(200);
    conversation.hear(&mut listener, &["CHANNEL_UPDATED"]).await;
    ada.post(&members, json!({"userId": cia.id})).await.expect(201);
    conversation.hear(&mut listener, &["MEMBER_ADDED"]).await;
    ada.put(&format!("{members}/{}", cia.id), json!({"role": "admin"})).await.expect(200);
    conversation.hear(&mut listener, &["MEMBER_UPDATED"]).await;
    ada.delete(&format!("{members}/{}", cia.id)).await.expect(204);
    conversation.hear(&mut listener, &["MEMBER_REMOVED"]).await;

    let send = json!({"type": "SEND", "channelId": channel, "content": "Bye", "clientId": "c", "ref": 3});
    conversation.say(&listener, send).await;
    conversation.hear_both(&mut listener, ["MESSAGE_CREATED", "OK"]).await;
    ask(conversation, &mut listener, json!({"type": "UNSUBSCRIBE", "channelId": channel, "ref": 4})).await;
    ask(conversation, &mut listener, json!({"type": "SUBSCRIBE", "channelId": channel, "ref": 5})).await;
    ada.delete(&path).await.expect(204);
    conversation.hear(&mut listener, &["CHANNEL_DELETED", "UNSUBSCRIBED"]).await;
}

/// Ben watches Ada, whose one device is left alone. Ada shares something with him.
pub async fn watch_somebody(conversation: &mut Conversation, ada: &Client, ben: &Client) {
    let mut device = ada.connect(&ada.base_url, "since=1000000").await;
    device.expect_event("RESYNC").await;
    let mut watcher = ben.connect(&ben.base_url, "since=1000000").await;
    watcher.expect_event("RESYNC").await;
    let online = async || {
        let found = ben.get(&format!("/presence?userIds={}", ada.id)).await.expect(200);
        found["items"][0]["status"] == "online"
    };
    until("she is online", online).await;
    ask(conversation, &mut watcher, json!({"type": "WATCH", "userIds": [ada.id], "ref": 6})).await;
    ask(conversation, &mut device, json!({"type": "VIEW", "channelId": null, "ref": 7})).await;
    ask(conversation, &mut device, json!({"type": "PRESENCE", "status": "away", "ref": 8})).await;
    conversation.hear(&mut watcher, &["PRESENCE_CHANGED"]).await;
}

async fn ask(conversation: &mut Conversation, socket: &mut Socket, command: Value) {
    conversation.say(socket, command).await;
    conversation.hear(socket, &["OK"]).await;
}
