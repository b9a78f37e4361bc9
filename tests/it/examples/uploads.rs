//! Files: sent, shown by the message that has them, read by who may read it.

use http::Method;
use http::header::CONTENT_TYPE;
use serde_json::{Value, json};

use crate::client::Client;
use crate::shape::assert_shape;
use crate::shared::{fresh, person};

const TEXT: &str = "Milk, eggs, bread.\n";

async fn upload(client: &Client, path: &str) -> Value {
    let request = client.request(Method::POST, path).header(CONTENT_TYPE, "text/plain").body(TEXT);
    client.send(request).await.expect(201)
}

fn path_of(upload: &Value) -> String {
    format!("/uploads/{}", upload["id"].as_str().unwrap())
}

#[tokio::test]
async fn a_file_is_sent_attached_read_and_gone_with_its_message() {
    let (ada, ben) = tokio::join!(person("ada"), person("ben"));
    let channel = ada.post("/channels/", json!({"name": fresh("room")})).await.expect(201);
    let join = format!("/channels/{}/join", channel["id"].as_str().unwrap());
    ben.post(&join, Value::Null).await.expect(201);

    let file = upload(&ada, "/api/v1/uploads/?name=shopping.txt").await;

    let expected = json!({
        "id": "<uuid>", "name": "shopping.txt", "contentType": "text/plain", "size": TEXT.len(),
        "sha256": "0dd86e4605a68f4f8eeeb2e9972f078c410b2f20f1d812a99fa3977349aa9397", "createdAt": "<iso>", "expiresAt": "<iso>",
    });
    assert_shape(&file, &expected);
    ben.get(&path_of(&file)).await.expect_problem(404, "not_found");

    let body = json!({"channelId": channel["id"], "content": "For tonight", "attachments": [file["id"]]});
    let message = ada.post("/messages/", body.clone()).await.expect(201);
    let attached =
        json!({"id": file["id"], "name": "shopping.txt", "contentType": "text/plain", "size": TEXT.len()});
    assert_eq!(message["attachments"], json!([attached]));
    let download = ben.get(&path_of(&file)).await;
    assert_eq!(download.header("content-type"), Some("text/plain; charset=utf-8"));
    assert_eq!(download.header("x-content-type-options"), Some("nosniff"));
    assert_eq!(download.header("cache-control"), Some("private, no-cache"));
    let name = "attachment; filename=\"shopping.txt\"; filename*=UTF-8''shopping.txt";
    assert_eq!(download.header("content-disposition"), Some(name));
    assert_eq!(download.expect(200), TEXT);
    person("cid").await.get(&path_of(&file)).await.expect_problem(403, "forbidden");

    ada.post("/messages/", body).await.expect_problem(404, "unknown_upload");
    ada.delete(&path_of(&file)).await.expect_problem(409, "file_attached");
    ada.delete(&format!("/messages/{}", message["id"].as_str().unwrap())).await.expect(204);
    ben.get(&path_of(&file)).await.expect_problem(404, "not_found");
}

#[tokio::test]
async fn a_file_that_no_message_has_can_be_taken_back() {
    let ada = person("ada").await;
    let file = upload(&ada, "/uploads").await;
    assert_eq!(file["name"], "file.txt");
    ada.delete(&path_of(&file)).await.expect(204);
    ada.get(&path_of(&file)).await.expect_problem(404, "not_found");
    ada.delete(&path_of(&file)).await.expect_problem(404, "not_found");
}
