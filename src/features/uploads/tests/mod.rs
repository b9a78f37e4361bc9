//! Files through their routes, on a real Postgres and a store in memory.

use axum::body::Body;
use bytes::Bytes;
use http::{HeaderMap, StatusCode};
use serde_json::{Value, json};

use crate::domain::ids::{ChannelId, UserId};
use crate::features::fixture::{Answer, World};
use crate::features::messages::tests::send as send_message;

mod attaching;
mod downloading;
mod limits;
mod permissions;
mod receiving;
mod sweeping;

/// A picture of one pixel would be no better: nobody looks beyond the beginning.
pub const PNG: &[u8] = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR and so on";

pub fn offer(world: &World, user: UserId, name: &str, content_type: &str) -> http::request::Builder {
    let mut request = world.request(user, "POST", &format!("/uploads?name={name}"));
    request.headers_mut().unwrap().insert("content-type", content_type.parse().unwrap());
    request
}

/// Sends a file, its length said.
pub async fn upload(world: &World, user: UserId, name: &str, content_type: &str, file: &[u8]) -> Answer {
    let request = offer(world, user, name, content_type).header("content-length", file.len());
    world.send(request.body(Body::from(file.to_vec())).unwrap()).await
}

/// A picture that has arrived.
pub async fn picture(world: &World, user: UserId) -> Value {
    let answer = upload(world, user, "photo.png", "image/png", PNG).await;
    assert_eq!(answer.status, StatusCode::CREATED, "{answer:?}");
    answer.body
}

pub fn path(upload: &Value) -> String {
    format!("/uploads/{}", upload["id"].as_str().unwrap())
}

pub async fn attach(world: &World, user: UserId, channel: ChannelId, uploads: &[&Value]) -> Answer {
    let ids: Vec<&Value> = uploads.iter().map(|upload| &upload["id"]).collect();
    send_message(world, user, &json!({"channelId": channel, "content": "Look", "attachments": ids})).await
}

/// What a download is answered, byte by byte.
pub async fn fetch(
    world: &World,
    user: UserId,
    upload: &Value,
    headers: &[(&'static str, &str)],
) -> (StatusCode, HeaderMap, Bytes) {
    let mut request = world.request(user, "GET", &path(upload));
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    world.send_raw(request.body(Body::empty()).unwrap()).await
}

/// Rows, and nothing of what the test did not make.
pub async fn rows(world: &World) -> i64 {
    world.count("SELECT count(*) FROM uploads").await
}
