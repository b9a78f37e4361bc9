//! Who may do what with messages: everybody, in every kind of place, by every operation.

use serde_json::{Value, json};
use uuid::Uuid;

use crate::domain::ids::{MessageId, UserId};
use crate::features::channels::tests::permissions::{Row, Scene, Who, assert_table};
use crate::features::fixture::World;

/// Where there is no such person, as in the table of channels.
const NOBODY: u16 = 0;

/// For whoever is in it; in a direct conversation, both.
const fn inside(owner: u16, admin: u16, member: u16, direct: u16) -> [[u16; 6]; 4] {
    [
        [owner, admin, member, 403, 403, 401],
        [owner, admin, member, 403, 403, 401],
        [owner, admin, member, 404, 404, 401],
        [NOBODY, NOBODY, direct, NOBODY, 404, 401],
    ]
}

const fn all_inside(status: u16) -> [[u16; 6]; 4] {
    inside(status, status, status, status)
}

/// Everybody who asks has written one message here, as if they had been in it.
fn message_of(scene: &Scene, user: UserId) -> MessageId {
    MessageId(Uuid::from_u128(scene.channel.0.as_u128() ^ user.0.as_u128()))
}

async fn write(world: &World, scene: &Scene) {
    let people = [scene.owner, scene.admin, scene.member, scene.former, scene.stranger, scene.other_member];
    for (user, seq) in people.into_iter().zip(1_i64..) {
        sqlx::query(
            "INSERT INTO messages (id, channel_id, seq, revision, user_id, message_type, content, created_at, updated_at)
             VALUES ($1, $2, $3, $3, $4, 'text', 'hello', now(), now())",
        )
        .bind(message_of(scene, user).0)
        .bind(scene.channel.0)
        .bind(seq)
        .bind(user.0)
        .execute(&world.pool)
        .await
        .unwrap();
    }
    sqlx::query("UPDATE channels SET last_seq = 6, last_revision = 6, message_count = 6 WHERE id = $1")
        .bind(scene.channel.0)
        .execute(&world.pool)
        .await
        .unwrap();
}

fn own(scene: &Scene, who: Who, rest: &str) -> String {
    format!("/messages/{}{rest}", message_of(scene, scene.user(who)))
}

fn others(scene: &Scene, rest: &str) -> String {
    format!("/messages/{}{rest}", message_of(scene, scene.other_member))
}

fn said(scene: &Scene, more: &Value) -> Value {
    let mut body = json!({"channelId": scene.channel, "content": "hello"});
    body.as_object_mut().unwrap().extend(more.as_object().cloned().unwrap_or_default());
    body
}

const TABLE: [Row; 16] = [
    Row {
        operation: "write",
        ask: |scene, _| ("POST", "/messages".into(), said(scene, &Value::Null)),
        answers: all_inside(201),
    },
    Row {
        operation: "write with a key",
        ask: |scene, _| ("POST", "/messages".into(), said(scene, &json!({"clientId": "a"}))),
        answers: all_inside(201),
    },
    Row {
        operation: "reply",
        ask: |scene, _| {
            let parent = json!({"parentId": message_of(scene, scene.other_member)});
            ("POST", "/messages".into(), said(scene, &parent))
        },
        answers: all_inside(201),
    },
    Row {
        operation: "read a page",
        ask: |scene, _| ("GET", format!("/messages/channels/{}", scene.channel), Value::Null),
        answers: all_inside(200),
    },
    Row {
        operation: "read a message",
        ask: |scene, _| ("GET", others(scene, ""), Value::Null),
        answers: all_inside(200),
    },
    Row {
        operation: "read what one wrote",
        ask: |scene, who| ("GET", own(scene, who, ""), Value::Null),
        answers: all_inside(200),
    },
    Row {
        operation: "read a thread",
        ask: |scene, _| ("GET", others(scene, "/thread"), Value::Null),
        answers: all_inside(200),
    },
    Row {
        operation: "search there",
        ask: |scene, _| ("GET", format!("/messages/search?q=hello&channelId={}", scene.channel), Value::Null),
        answers: all_inside(200),
    },
    Row {
        operation: "edit what one wrote",
        ask: |scene, who| ("PUT", own(scene, who, ""), json!({"content": "bye"})),
        answers: all_inside(200),
    },
    Row {
        operation: "edit what another wrote",
        ask: |scene, _| ("PUT", others(scene, ""), json!({"content": "bye"})),
        answers: all_inside(403),
    },
    Row {
        operation: "delete what one wrote",
        ask: |scene, who| ("DELETE", own(scene, who, ""), Value::Null),
        answers: all_inside(204),
    },
    Row {
        operation: "delete what another wrote",
        ask: |scene, _| ("DELETE", others(scene, ""), Value::Null),
        answers: inside(204, 204, 403, 403),
    },
    Row {
        operation: "react",
        ask: |scene, _| ("PUT", others(scene, "/reactions/+1"), Value::Null),
        answers: all_inside(204),
    },
    Row {
        operation: "take a reaction back",
        ask: |scene, _| ("DELETE", others(scene, "/reactions/+1"), Value::Null),
        answers: all_inside(204),
    },
    Row {
        operation: "say how far one has read",
        ask: |scene, _| {
            let body = json!({"messageId": message_of(scene, scene.other_member)});
            ("POST", format!("/channels/{}/read", scene.channel), body)
        },
        answers: all_inside(200),
    },
    Row {
        operation: "see how far one has read",
        ask: |scene, _| ("GET", format!("/channels/{}/read", scene.channel), Value::Null),
        answers: all_inside(200),
    },
];

#[tokio::test]
async fn everybody_may_do_what_the_table_says() {
    let world = World::new().await;
    assert_table(&world, &TABLE, async |scene| write(&world, scene).await).await;
}
