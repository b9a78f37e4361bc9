//! Whom a message names: members only, when it is written and when it is edited.

use serde_json::{Value, json};

use super::{couple, path, say};
use crate::domain::ids::UserId;
use crate::features::channels::tests::remove;
use crate::features::fixture::World;

async fn name(world: &World, user: UserId, username: &str) {
    sqlx::query("UPDATE users SET username = $2 WHERE id = $1")
        .bind(user.0)
        .bind(username)
        .execute(&world.pool)
        .await
        .unwrap();
}

fn mentions(message: &Value) -> Vec<Value> {
    let mut mentions = message["mentions"].as_array().unwrap().clone();
    mentions.sort_by_key(Value::to_string);
    mentions
}

#[tokio::test]
async fn members_are_named_and_nobody_else() {
    let world = World::new().await;
    let (ann, ben, channel) = couple(&world).await;
    let stranger = world.user(None).await;
    for (user, username) in [(ann, "Ann"), (ben, "ben.b"), (stranger, "mallory")] {
        name(&world, user, username).await;
    }

    let message = say(&world, ann, channel, "@Ben.B @ben.b, @mallory @nobody and mail@ann.example").await;

    assert_eq!(mentions(&message), [json!(ben)]);
    let edit = async |content: &str| {
        let answer = world.send_json(ann, "PUT", &path(&message), &json!({"content": content})).await;
        mentions(&answer.body)
    };
    assert_eq!(edit("@ann: ask @ben.b.").await.len(), 2, "oneself, and with a dot behind");
    remove(&world, ann, channel, ben).await;
    assert_eq!(edit("@ann and @ben.b!").await, [json!(ann)]);
    assert_eq!(edit("nobody").await, Vec::<Value>::new());
}
