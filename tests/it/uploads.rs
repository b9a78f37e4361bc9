//! Files on three real nodes: sent to one, attached through another, read from the third, in either kind of store.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use fanlight::dev::ports;
use http::Method;
use http::header::{CONTENT_TYPE, RANGE};
use serde_json::json;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;
use tokio::process::{Child, Command};

use crate::client::Client;
use crate::rooms::{follow, room_of_two, take_invitation};
use crate::stage::{Stage, options, until};

const SWEEP: (&str, &str) = ("FANLIGHT__UPLOADS__SWEEP_POLL_SECONDS", "1");

/// More than a part of a multipart upload, and much more than other requests may bring.
fn picture() -> Vec<u8> {
    let noise = (0_u32..2_000_000).flat_map(|n| n.wrapping_mul(2_654_435_761).to_le_bytes());
    b"\x89PNG\r\n\x1a\n".iter().copied().chain(noise).collect()
}

async fn download(client: &Client, path: &str, range: &str) -> (u16, Vec<u8>) {
    let answer = client.request(Method::GET, path).header(RANGE, range).send().await.unwrap();
    (answer.status().as_u16(), answer.bytes().await.unwrap().to_vec())
}

/// Ann sends a picture to Bob; then she deletes the message. `kept` counts what the store has.
async fn a_picture_is_sent_seen_and_deleted(stage: &Stage, kept: impl AsyncFn() -> usize) {
    let room = room_of_two(stage).await;
    take_invitation(stage).await;
    let mut bob = follow(stage, &stage.bob, 2, &room).await;
    let mut ann = stage.connect(&stage.ann, 1, "").await;
    let picture = picture();

    // To the first node, through the load balancer to all.
    let upload = stage.ann.at(&stage.node(0)).request(Method::POST, "/uploads?name=photo.png");
    let upload =
        stage.ann.send(upload.header(CONTENT_TYPE, "image/png").body(picture.clone())).await.expect(201);
    assert_eq!(kept().await, 1);
    let send = json!({"type": "SEND", "channelId": room, "content": "Look", "attachments": [upload["id"]]});
    ann.send(send).await;
    ann.expect_event("OK").await;

    let message = bob.expect_event("MESSAGE_CREATED").await;
    let attached =
        json!({"id": upload["id"], "name": "photo.png", "contentType": "image/png", "size": picture.len()});
    assert_eq!(message["attachments"], json!([attached]));
    let path = format!("/uploads/{}", upload["id"].as_str().unwrap());
    for bob in [stage.bob.at(&stage.node(2)), stage.bob.clone()] {
        let (status, bytes) = download(&bob, &path, "").await;
        assert!(status == 200 && bytes == picture, "{status}, {} bytes", bytes.len());
        let part = 5_242_870..5_242_890;
        let (status, bytes) = download(&bob, &path, &format!("bytes={}-{}", part.start, part.end - 1)).await;
        assert_eq!((status, bytes.as_slice()), (206, &picture[part]));
    }
    let stranger = Client::register(&stage.cluster.url(), "cid@example.com").await;
    stranger.get(&path).await.expect_problem(403, "forbidden");
    assert_eq!(stage.metric(0, "fanlight_uploads_total", "stored").await, 1);

    stage.ann.delete(&format!("/messages/{}", message["id"].as_str().unwrap())).await.expect(204);
    stage.bob.get(&path).await.expect_problem(404, "not_found");
    until("what was deleted is gone", async || kept().await == 0).await;
}

fn files(directory: &Path) -> usize {
    let entries = std::fs::read_dir(directory).unwrap().map(Result::unwrap);
    // By which the nodes know their store.
    let entries = entries.filter(|entry| entry.file_name() != ".fanlight-store");
    entries.map(|entry| if entry.path().is_dir() { files(&entry.path()) } else { 1 }).sum()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_directory_that_all_nodes_share_has_what_people_send() {
    let stage = Stage::set_on(options(&[SWEEP])).await;
    let directory = stage.cluster.state.path().join("uploads");
    a_picture_is_sent_seen_and_deleted(&stage, async || files(&directory)).await;
}

/// A store that speaks S3, with an empty bucket; ends with the test.
struct Moto {
    url: String,
    process: Child,
}

impl Moto {
    async fn start() -> Self {
        let port = ports::free().unwrap();
        let mut command = Command::new(installed());
        command.args(["-H", "127.0.0.1", "-p", &port.to_string()]);
        let process = command.stdout(Stdio::null()).stderr(Stdio::null()).kill_on_drop(true).spawn().unwrap();
        let moto = Self { url: format!("http://127.0.0.1:{port}"), process };
        until("moto takes a bucket", async || moto.ask(Method::PUT, "files").await.is_ok()).await;
        moto
    }

    async fn ask(&self, method: Method, path: &str) -> reqwest::Result<String> {
        let http = reqwest::Client::builder().no_proxy().build()?;
        http.request(method, format!("{}/{path}", self.url)).send().await?.error_for_status()?.text().await
    }

    /// Objects, and uploads that were begun and not finished.
    async fn kept(&self) -> usize {
        let objects = self.ask(Method::GET, "files?list-type=2").await.unwrap();
        let begun = self.ask(Method::GET, "files?uploads").await.unwrap();
        objects.matches("<Key>pictures/").count() + begun.matches("<UploadId>").count()
    }
}

/// As tests/install-moto.sh installs it.
fn installed() -> PathBuf {
    let moto = Path::new(env!("CARGO_TARGET_TMPDIR")).with_file_name("moto/bin/moto_server");
    assert!(moto.exists(), "{} is not there: ./test installs it, or tests/install-moto.sh", moto.display());
    moto
}

/// All but the last byte of a picture, and then nothing more.
async fn hang_up_in_the_midst(stage: &Stage) {
    let (node, picture) = (stage.node(0), picture());
    let address = node.strip_prefix("http://").unwrap();
    let head = format!(
        "POST /uploads HTTP/1.1\r\nhost: {address}\r\nauthorization: Bearer {}\r\ncontent-type: image/png\r\n\
         content-length: {}\r\n\r\n",
        stage.ann.access_token,
        picture.len() + 1,
    );
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(head.as_bytes()).await.unwrap();
    stream.write_all(&picture).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn so_has_a_store_that_speaks_s3_and_its_absence_is_said() {
    let mut moto = Moto::start().await;
    let settings = [
        SWEEP,
        ("NO_PROXY", "*"),
        ("FANLIGHT__UPLOADS__STORE", "s3://files/pictures"),
        ("FANLIGHT__UPLOADS__S3__ENDPOINT", &moto.url),
        ("FANLIGHT__UPLOADS__S3__ACCESS_KEY_ID", "id"),
        ("FANLIGHT__UPLOADS__S3__SECRET_ACCESS_KEY", "secret"),
    ];
    let stage = Stage::set_on(options(&settings)).await;
    a_picture_is_sent_seen_and_deleted(&stage, async || moto.kept().await).await;

    // What is cut off in the midst of a multipart upload leaves no parts.
    hang_up_in_the_midst(&stage).await;
    let cut_off = async || stage.metric(0, "fanlight_uploads_total", "cut_off").await == 1;
    until("the node has noticed", cut_off).await;
    assert_eq!(moto.kept().await, 0);

    moto.process.kill().await.unwrap();
    let request =
        stage.ann.request(Method::POST, "/uploads").header(CONTENT_TYPE, "text/plain").body("Hello");
    stage.ann.send(request).await.expect_problem(503, "unavailable");
    let arrived: i64 = sqlx::query_scalar("SELECT count(*) FROM uploads WHERE sha256 IS NOT NULL")
        .fetch_one(&stage.pool)
        .await
        .unwrap();
    assert_eq!(arrived, 0);
}
