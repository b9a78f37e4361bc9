//! Who is elsewhere is told on three real nodes: on a device that is connected, or else by one push.

use http::Method;
use serde_json::{Value, json};

use crate::client::Client;
use crate::shared::{fresh, person};
use crate::stage::{Stage, options, until};

/// Five messages are written before they are told, however slow the machine is, and nobody is pushed who is there.
const UNHURRIED: [(&str, &str); 2] = [
    ("FANLIGHT__NOTIFICATIONS__GATHER_DIRECT_MS", "5000"),
    ("FANLIGHT__DELIVERY__PUSH__COALESCE_WINDOW_MS", "100"),
];

/// Everything that Ben may be told of while he is elsewhere, in this order: somebody opens a direct conversation, names
/// him, writes to him, and writes in a channel of which he wants every message.
pub async fn concern(ada: &Client, ben: &Client) {
    let (username, cia) = (fresh("ben"), person("cia").await);
    ben.put("/users/me", json!({"username": username})).await.expect(200);
    let (called, lively) = (public_channel(ada, ben).await, public_channel(ada, ben).await);
    let path = format!("/notification-preferences/channels/{}", lively.as_str().unwrap());
    ben.put(&path, json!({"all": true})).await.expect(200);
    let direct = direct(&cia, ben).await;
    say(ada, &called, &format!("Hello @{username}")).await;
    say(&cia, &direct, "Hello").await;
    say(ada, &lively, "Hello").await;
}

async fn public_channel(owner: &Client, member: &Client) -> Value {
    let channel = owner.post("/channels/", json!({"name": fresh("room")})).await.expect(201)["id"].clone();
    let path = format!("/channels/{}/join", channel.as_str().unwrap());
    member.post(&path, Value::Null).await.expect(201);
    channel
}

async fn direct(one: &Client, other: &Client) -> Value {
    let body = json!({"kind": "direct", "userId": other.id});
    one.post("/channels/", body).await.expect(201)["id"].clone()
}

pub async fn say(client: &Client, channel: &Value, content: &str) -> Value {
    client.post("/messages/", json!({"channelId": channel, "content": content})).await.expect(201)
}

impl Stage {
    async fn until_all_is_decided(&self) {
        until("everything is decided", async || {
            let open: i64 = sqlx::query_scalar(
                "SELECT (SELECT count(*) FROM message_notices) + (SELECT count(*) FROM pending_notifications)",
            )
            .fetch_one(&self.pool)
            .await
            .unwrap();
            open == 0
        })
        .await;
    }

    /// What Bob's phone was told of messages: the titles and texts, in any order.
    fn told_by_push(&self) -> Vec<(String, String)> {
        let pushes = self.pushes().into_iter().map(|push| push.message);
        let of_messages = pushes.filter(|push| push["data"]["type"] == "DIRECT_MESSAGE");
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        let told = of_messages.map(|push| {
            let notification = &push["notification"];
            (text(&notification["title"]), text(&notification["body"]))
        });
        let mut told: Vec<_> = told.collect();
        told.sort();
        told
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_absent_user_gets_one_push_for_each_conversation_and_none_for_what_is_read_in_time() {
    let stage = Stage::set_on(options(&UNHURRIED)).await;
    stage.register_device(&stage.bob, "phone", "token-phone").await;
    let cia = Client::register(&stage.cluster.url(), "cia@example.com").await;
    let dan = Client::register(&stage.cluster.url(), "dan@example.com").await;
    let mut read = Value::Null;
    for (client, count) in [(&stage.ann, 5), (&cia, 1), (&dan, 2)] {
        let direct = direct(client, &stage.bob).await;
        for number in 0..count {
            let at = client.at(&stage.node(number % 3));
            read = say(&at, &direct, &number.to_string()).await;
        }
    }
    let path = format!("/channels/{}/read", read["channelId"].as_str().unwrap());
    stage.bob.post(&path, json!({"messageId": read["id"]})).await.expect(200);

    stage.until_all_is_decided().await;
    let accepted = "SELECT count(*) FROM events WHERE kind = 'DIRECT_MESSAGE' AND reason = 'accepted'";
    until("both are pushed", async || {
        sqlx::query_scalar::<_, i64>(accepted).fetch_one(&stage.pool).await.unwrap() == 2
    })
    .await;

    let expected = [("ann", "5 new messages"), ("cia", "New message")];
    assert_eq!(stage.told_by_push(), expected.map(|(title, body)| (title.to_owned(), body.to_owned())));
    // Each decision was counted by the node that made it.
    for (reason, expected) in [("sent", 2), ("read", 1)] {
        let mut counted = 0;
        for node in 0..3 {
            let label = format!("cause=\"direct\",reason=\"{reason}\"");
            counted += stage.metric(node, "fanlight_notifications_total", &label).await;
        }
        assert_eq!(counted, expected, "{reason}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_named_is_told_on_the_device_that_is_connected_and_not_woken() {
    let stage = Stage::set_patient().await;
    stage.register_device(&stage.bob, "phone", "token-phone").await;
    stage.bob.send_json(Method::PUT, "/users/me", json!({"username": "bob"})).await.expect(200);
    let channel = public_channel(&stage.ann, &stage.bob).await;
    let mut socket = stage.connect(&stage.bob, 1, "").await;
    socket.expect_nothing_more().await;

    for node in 0..3 {
        let message = say(&stage.ann.at(&stage.node(node)), &channel, "Hello @bob").await;
        let told = socket.expect_event("MENTIONED").await;
        assert_eq!((&told["messageId"], &told["userId"]), (&message["id"], &json!(stage.ann.id)), "{told}");
    }

    socket.expect_nothing_more().await;
    stage.until_settled_for(&stage.bob).await;
    assert!(stage.pushes().is_empty(), "{:?}", stage.pushes());
}
