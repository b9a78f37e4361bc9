//! Channels, groups and direct conversations, and who is in them.

use http::Method;
use serde_json::{Value, json};

use crate::client::{Api, Client, PASSWORD};
use crate::shape::assert_shape;
use crate::shared::{cluster, fresh, person, pushes_to, settled, socket_at};

/// As the contract documents it.
fn channel(name: &str, creator: &str) -> Value {
    json!({
        "id": "<uuid>", "name": name, "description": null, "isPrivate": false, "kind": "channel",
        "createdBy": creator, "createdAt": "<iso>", "updatedAt": "<iso>", "memberCount": 1, "messageCount": 0,
        "lastSeq": 0,
    })
}

fn member(client: &Client, role: &str) -> Value {
    json!({
        "userId": client.id, "username": null, "displayName": client.email.split('@').next(), "avatarUrl": null,
        "avatarColor": null, "role": role, "joinedAt": "<iso>",
    })
}

async fn made(client: &Client, body: Value) -> String {
    let channel = client.post("/channels/", body).await.expect(201);
    format!("/channels/{}", channel["id"].as_str().unwrap())
}

#[tokio::test]
async fn somebody_registers_logs_in_and_makes_a_channel() {
    let api = Api::anonymous(&cluster().await.url());
    let (username, name) = (fresh("ann"), fresh("general"));
    let account = json!({
        "username": username, "email": format!("{username}@example.com"), "password": PASSWORD, "full_name": "Ann",
    });
    let user = api.post("/users/register", account).await.expect(201);
    let login = json!({"username": username, "password": PASSWORD});
    let tokens = api.post("/users/login", login).await.expect(200);
    let ann = api.with_bearer(tokens["accessToken"].as_str().unwrap());

    let body = json!({"name": name, "description": "For everything", "is_private": false});
    let made = ann.post("/channels/", body).await.expect(201);

    let mut documented = channel(&name, user["id"].as_str().unwrap());
    documented["description"] = "For everything".into();
    assert_shape(&made, &documented);
    let path = format!("/channels/{}", made["id"].as_str().unwrap());
    assert_eq!(ann.get(&path).await.expect(200), made);
    let found = ann.get("/channels/?limit=100").await.expect(200);
    assert!(found["items"].as_array().unwrap().contains(&made), "{found}");
    let mine = ann.get("/channels/?mine=true").await.expect(200);
    assert_eq!(mine, json!({"items": [made], "next": null}));
    let members = ann.get(&format!("{path}/members")).await.expect(200);
    assert_eq!(members["items"][0]["role"], "owner");
    assert_eq!(members["next"], Value::Null);
    ann.post("/channels/", json!({"name": name})).await.expect_problem(409, "channel_name_taken");
    ann.post("/channels/", json!({"name": "a"})).await.expect_problem(422, "invalid_body");
}

#[tokio::test]
async fn owner_and_admin_change_a_channel_and_the_owner_deletes_it() {
    let (ann, bob, cid) = tokio::join!(person("ann"), person("bob"), person("cid"));
    let path = made(&ann, json!({"name": fresh("general")})).await;
    let members = format!("{path}/members");
    ann.post(&members, json!({"user_id": bob.id, "role": "admin"})).await.expect(201);
    ann.post(&members, json!({"user_id": cid.id, "role": "member"})).await.expect(201);

    let renamed = fresh("lounge");
    let changed = bob.put(&path, json!({"name": renamed, "is_private": true})).await.expect(200);
    let mut documented = channel(&renamed, &ann.id);
    documented["isPrivate"] = true.into();
    documented["memberCount"] = 3.into();
    assert_shape(&changed, &documented);
    cid.put(&path, json!({"name": "mine"})).await.expect_problem(403, "forbidden");
    for other in [&bob, &cid] {
        other.delete(&path).await.expect_problem(403, "forbidden");
    }
    person("eve").await.get(&path).await.expect_problem(403, "forbidden");

    assert_eq!(ann.delete(&path).await.expect(204), Value::Null);
    for client in [&ann, &bob, &cid] {
        client.get(&path).await.expect_problem(404, "not_found");
    }
    ann.get("/channels/0193a5c0-0000-7000-8000-000000000001").await.expect_problem(404, "not_found");
    ann.get("/channels/nonsense").await.expect_problem(404, "not_found");
}

#[tokio::test]
async fn members_come_and_go() {
    let (ann, bob, cid) = tokio::join!(person("ann"), person("bob"), person("cid"));
    let path = made(&ann, json!({"name": fresh("general"), "is_private": true})).await;
    let members = format!("{path}/members");
    let of = |client: &Client| format!("{members}/{}", client.id);

    let added = ann.post(&members, json!({"user_id": bob.id, "role": "admin"})).await.expect(201);
    assert_shape(&added, &member(&bob, "admin"));
    // The role is `member` unless it is said.
    let added = bob.post(&members, json!({"user_id": cid.id})).await.expect(201);
    assert_shape(&added, &member(&cid, "member"));
    ann.post(&members, json!({"user_id": cid.id})).await.expect_problem(409, "already_member");
    let eve = person("eve").await;
    cid.post(&members, json!({"user_id": eve.id})).await.expect_problem(403, "forbidden");
    bob.post(&members, json!({"user_id": eve.id, "role": "owner"})).await.expect_problem(403, "forbidden");
    let nobody = json!({"user_id": "0193a5c0-0000-7000-8000-000000000001"});
    ann.post(&members, nobody).await.expect_problem(404, "unknown_user");
    let mut all = vec![member(&ann, "owner"), member(&bob, "admin"), member(&cid, "member")];
    all.sort_by_key(|member| member["userId"].as_str().unwrap().to_owned());
    assert_shape(&cid.get(&members).await.expect(200), &json!({"items": all, "next": null}));

    cid.delete(&of(&bob)).await.expect_problem(403, "forbidden");
    bob.delete(&of(&ann)).await.expect_problem(403, "forbidden");
    ann.delete(&of(&ann)).await.expect_problem(403, "last_owner");
    assert_eq!(bob.delete(&of(&cid)).await.expect(204), Value::Null);
    ann.delete(&of(&cid)).await.expect_problem(404, "not_found");
    assert_eq!(bob.delete(&of(&bob)).await.expect(204), Value::Null);
    for outside in [&bob, &cid] {
        outside.get(&members).await.expect_problem(403, "forbidden");
    }
    assert_eq!(ann.get(&path).await.expect(200)["memberCount"], 1);
}

#[tokio::test]
async fn a_public_channel_is_open_to_all_and_a_private_one_is_not() {
    let (ann, bob) = tokio::join!(person("ann"), person("bob"));
    let public = made(&ann, json!({"name": fresh("public")})).await;
    let private = made(&ann, json!({"name": fresh("private"), "isPrivate": true})).await;

    assert_shape(
        &bob.post(&format!("{public}/join"), Value::Null).await.expect(201),
        &member(&bob, "member"),
    );
    bob.post(&format!("{public}/join"), Value::Null).await.expect(200);
    bob.post(&format!("{private}/join"), Value::Null).await.expect_problem(403, "forbidden");
    assert_eq!(bob.get(&public).await.expect(200)["memberCount"], 2);
}

#[tokio::test]
async fn groups_and_direct_conversations_are_known_to_those_in_them_alone() {
    let (ann, bob, eve) = tokio::join!(person("ann"), person("bob"), person("eve"));
    let group = json!({"kind": "group", "name": "Trip", "userIds": [bob.id]});
    let group = ann.post("/channels/", group).await.expect(201);
    let mut documented = channel("Trip", &ann.id);
    for (field, value) in [
        ("kind", json!("group")),
        ("isPrivate", json!(true)),
        ("memberCount", json!(2)),
        ("name", json!("Trip")),
    ] {
        documented[field] = value;
    }
    assert_shape(&group, &documented);

    let direct = ann.post("/channels/", json!({"kind": "direct", "userId": bob.id})).await.expect(201);
    documented["kind"] = "direct".into();
    documented["name"] = Value::Null;
    assert_shape(&direct, &documented);
    let again = bob.post("/channels/", json!({"kind": "direct", "user_id": ann.id})).await.expect(200);
    assert_eq!(again, direct);

    for channel in [&group, &direct] {
        let path = format!("/channels/{}", channel["id"].as_str().unwrap());
        assert_eq!(bob.get(&path).await.expect(200), *channel);
        eve.get(&path).await.expect_problem(404, "not_found");
        eve.post(&format!("{path}/join"), Value::Null).await.expect_problem(404, "not_found");
    }
    assert_eq!(eve.get("/channels/?mine=true").await.expect(200)["items"], json!([]));
}

#[tokio::test]
async fn who_is_taken_in_or_out_is_told_on_every_device_and_woken_only_for_an_invitation() {
    let (ann, bob) = tokio::join!(person("ann"), person("bob"));
    let name = fresh("general");
    let token = fresh("fcm");
    let device = json!({"deviceId": token, "fcmToken": token, "platform": "android"});
    bob.send(bob.request(Method::PUT, "/devices/fcm-token").json(&device)).await.expect(201);
    let mut other_device = socket_at(&ann, 2).await;

    // Bob is nowhere: his phone is woken.
    let path = made(&ann, json!({"name": name})).await;
    let created = json!({
        "type": "CHANNEL_CREATED", "channelId": "<uuid>", "kind": "channel", "name": name, "isPrivate": false,
        "createdBy": ann.id, "timestamp": "<ms>", "id": "<uuid>", "seq": 1,
    });
    assert_shape(&other_device.next_event().await, &created);
    let members = format!("{path}/members");
    ann.post(&members, json!({"user_id": bob.id})).await.expect(201);
    let pushed = &pushes_to(&token, 1).await[0].message;
    assert_eq!(pushed["notification"]["title"], name.as_str());
    let ann_name = ann.email.split('@').next().unwrap();
    assert_eq!(pushed["notification"]["body"], format!("{ann_name} added you"));
    assert_eq!(pushed["data"]["type"], "INVITED");
    assert_eq!(format!("/channels/{}", pushed["data"]["channelId"].as_str().unwrap()), path);

    // Now he has two devices, on two nodes.
    settled(&bob).await;
    let (mut one, mut other) = tokio::join!(socket_at(&bob, 0), socket_at(&bob, 1));
    ann.delete(&format!("{members}/{}", bob.id)).await.expect(204);
    ann.post(&members, json!({"user_id": bob.id, "role": "admin"})).await.expect(201);
    for socket in [&mut one, &mut other] {
        let removed = json!({
            "type": "MEMBER_REMOVED", "channelId": "<uuid>", "userId": bob.id, "removedBy": ann.id,
            "timestamp": "<ms>", "id": "<uuid>", "seq": 2,
        });
        assert_shape(&socket.expect_event("MEMBER_REMOVED").await, &removed);
        let invited = json!({
            "type": "INVITED", "channelId": "<uuid>", "kind": "channel", "name": name, "role": "admin",
            "invitedBy": ann.id, "timestamp": "<ms>", "id": "<uuid>", "seq": 3,
        });
        assert_shape(&socket.next_event().await, &invited);
        socket.expect_nothing_more().await;
    }
    assert_eq!(pushes_to(&token, 1).await.len(), 1, "who is there is not woken");
}
