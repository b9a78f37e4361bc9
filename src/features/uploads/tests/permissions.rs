//! Who may read a file, and delete it: everybody, for each standing that a file can have.

use axum::body::Body;
use http::Request;
use serde_json::json;

use super::{attach, path, picture};
use crate::features::channels::tests::made;
use crate::features::fixture::World;
use crate::features::messages::tests::path as message_path;

const SENDER: usize = 0;
const MEMBER: usize = 1;
const FORMER: usize = 2;
const ANONYMOUS: usize = 4;

/// What is asked, and how the sender, a member, a former member, a stranger and somebody without a token are answered.
type Row = (&'static str, [u16; 5]);

/// For each standing that a file can have.
const TABLE: [(&str, [Row; 2]); 5] = [
    ("unattached", [("GET", [200, 404, 404, 404, 401]), ("DELETE", [204, 404, 404, 404, 401])]),
    ("channel", [("GET", [200, 200, 403, 403, 401]), ("DELETE", [409, 403, 403, 403, 401])]),
    ("group", [("GET", [200, 200, 404, 404, 401]), ("DELETE", [409, 403, 404, 404, 401])]),
    ("deleted", [("GET", [404, 404, 404, 404, 401]), ("DELETE", [404, 404, 404, 404, 401])]),
    // Who sent it is taken out: it is the conversation's now.
    ("left", [("GET", [403, 200, 403, 403, 401]), ("DELETE", [409, 403, 403, 403, 401])]),
];

#[tokio::test]
async fn everybody_may_do_what_the_table_says() {
    let world = World::new().await;
    let mut people = Vec::new();
    for _ in 0..4 {
        people.push(world.user(None).await);
    }
    let owner = world.user(None).await;
    let mut wrong = Vec::new();
    for (standing, rows) in TABLE {
        for (method, answers) in rows {
            for (who, expected) in answers.into_iter().enumerate() {
                // Each question of its own file, because an answer may end it.
                let name = format!("{standing} {method} {who}");
                let place = match standing {
                    "group" => json!({"kind": "group", "name": name}),
                    _ => json!({"name": name, "isPrivate": true}),
                };
                let channel = made(&world, owner, place).await;
                for member in [SENDER, MEMBER, FORMER] {
                    let body = json!({"userId": people[member]});
                    let members = format!("/channels/{channel}/members");
                    assert_eq!(world.send_json(owner, "POST", &members, &body).await.status, 201);
                }
                let file = picture(&world, people[SENDER]).await;
                if standing != "unattached" {
                    let message = attach(&world, people[SENDER], channel, &[&file]).await;
                    assert_eq!(message.status, 201, "{message:?}");
                    if standing == "deleted" {
                        world.delete(owner, &message_path(&message.body)).await;
                    }
                }
                let leaving: &[usize] = if standing == "left" { &[FORMER, SENDER] } else { &[FORMER] };
                for member in leaving {
                    world.delete(owner, &format!("/channels/{channel}/members/{}", people[*member])).await;
                }
                let request = if who == ANONYMOUS {
                    Request::builder().method(method).uri(path(&file))
                } else {
                    world.request(people[who], method, &path(&file))
                };
                let (status, _, _) = world.send_raw(request.body(Body::empty()).unwrap()).await;
                if status != expected {
                    wrong.push(format!("{name}: {status}"));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}
