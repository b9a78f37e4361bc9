//! The API documents: the pages that show them, and that they say what the cluster does.

use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};
use std::time::Duration;

use fanlight::dev::cluster::{Cluster, ClusterOptions};
use http::Method;
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt as _;
use tokio::process::Command;
use tokio::time::timeout;

use crate::client::{self, Api, Client};
use crate::notifications::concern;
use crate::observability::files::{literals_behind, program};
use crate::page::chromium;
use crate::rooms::told::{follow_a_room, watch_somebody};
use crate::shared;
use crate::socket::Socket;
use crate::stage::options;
use crate::toolbox::toolbox;

/// A browser's steps, or a minute of schemathesis on a busy machine.
const PATIENCE: Duration = Duration::from_secs(600);
/// All requests come from one person at one address, and hashing well is not what they are about.
const UNLIMITED: [(&str, &str); 14] = [
    ("FANLIGHT__ACCOUNTS__REGISTRATIONS_PER_ADDRESS_MAX", "1000000"),
    ("FANLIGHT__ACCOUNTS__LOGIN_FAILURES_PER_ACCOUNT_AND_ADDRESS_MAX", "1000000"),
    ("FANLIGHT__ACCOUNTS__LOGIN_FAILURES_PER_ACCOUNT_MAX", "1000000"),
    ("FANLIGHT__ACCOUNTS__LOGIN_FAILURES_PER_ADDRESS_MAX", "1000000"),
    ("FANLIGHT__LINKING__WRONG_CODES_MAX", "1000000"),
    ("FANLIGHT__CHANNELS__INVITATIONS_PER_USER_MAX", "1000000"),
    ("FANLIGHT__CHANNELS__CHANGES_PER_MINUTE_MAX", "1000000"),
    ("FANLIGHT__MESSAGES__PER_MINUTE_MAX", "1000000"),
    ("FANLIGHT__MESSAGES__READS_PER_MINUTE_MAX", "1000000"),
    ("FANLIGHT__MESSAGES__SEARCHES_PER_MINUTE_MAX", "1000000"),
    ("FANLIGHT__UPLOADS__PER_MINUTE_MAX", "1000000"),
    ("FANLIGHT__ACCOUNTS__HASHING_MEMORY_KIB", "64"),
    ("FANLIGHT__ACCOUNTS__HASHING_PASSES", "1"),
    ("FANLIGHT__ACCOUNTS__HASHING_LANES", "1"),
];

fn file(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

async fn one_node(settings: &[(&str, &str)]) -> Cluster {
    Cluster::start(ClusterOptions { nodes: 1, ..options(settings) }).await.unwrap()
}

/// Runs it to its end.
async fn run(command: &mut Command) -> Output {
    timeout(PATIENCE, command.kill_on_drop(true).output()).await.expect("it ends").unwrap()
}

#[track_caller]
fn assert_success(output: &Output) {
    let (said, complained) =
        (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{said}\n{complained}");
}

/// The bundle of `ReDoc`.
async fn redoc() -> String {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("redoc");
    assert_success(&run(Command::new(file("deploy/fetch-redoc.sh")).arg(&folder)).await);
    folder.join("redoc.standalone.js").to_str().unwrap().to_owned()
}

#[tokio::test]
async fn the_pages_show_every_operation_and_ask_no_other_server() {
    let cluster = one_node(&[("FANLIGHT__DOCUMENTS__REDOC_BUNDLE", &redoc().await)]).await;
    let screenshots = Path::new(env!("CARGO_TARGET_TMPDIR")).join("documents");
    std::fs::create_dir_all(&screenshots).unwrap();

    let mut browsing = Command::new(&toolbox().node);
    browsing.arg(file("tests/browser/documents.js")).arg(cluster.nodes[0].http());
    browsing.arg(&toolbox().root).arg(&screenshots).arg(chromium());

    assert_success(&run(&mut browsing).await);
}

#[tokio::test]
async fn a_node_shows_as_much_of_it_as_it_is_told() {
    const ALL: [&str; 4] = ["/openapi.json", "/asyncapi.json", "/docs", "/docs/swagger-ui-bundle.js"];
    let mut cluster = one_node(&[]).await;
    for (serve, shown) in [("pages", 4), ("json", 2), ("none", 0)] {
        let setting = ("FANLIGHT__DOCUMENTS__SERVE".to_owned(), serve.to_owned());
        cluster.nodes[0].process.stop().await;
        cluster.nodes[0].restart(&[setting]).await.unwrap();
        let api = Api::anonymous(&cluster.nodes[0].http());
        for (index, path) in ALL.into_iter().enumerate() {
            let status = api.get(path).await.status;
            assert_eq!(status, if index < shown { 200 } else { 404 }, "{serve}: {path}");
        }
        // The bundle is not there.
        let redoc = api.get("/redoc").await;
        assert_eq!((redoc.status, &redoc.body["error"]), (404, &json!("not_found")));
        assert_eq!(redoc.body["detail"].is_string(), serve == "pages", "{}", redoc.body);
    }
}

/// What `fanlight` prints.
async fn printed(command: &str) -> Value {
    let output = run(Command::new(env!("CARGO_BIN_EXE_fanlight")).arg(command)).await;
    assert_success(&output);
    serde_json::from_slice(&output.stdout).unwrap()
}

#[tokio::test]
async fn the_documents_are_of_the_routes_that_are_served() {
    let api = Api::anonymous(&shared::cluster().await.url());
    for (path, command) in [("/openapi.json", "openapi"), ("/asyncapi.json", "asyncapi")] {
        assert_eq!(api.get(path).await.expect(200), printed(command).await, "{path}");
    }
}

/// Routes are added together with their description. Those that are not are these.
#[test]
fn no_route_is_served_that_the_documents_lack() {
    const UNDESCRIBED: [(&str, &[&str]); 4] = [
        ("src/documents/mod.rs", &["/openapi.json", "/asyncapi.json"]),
        (
            "src/documents/pages.rs",
            &[
                "/docs",
                "/docs/start.js",
                "/docs/swagger-ui.css",
                "/docs/swagger-ui-bundle.js",
                "/redoc",
                "/redoc",
                "/redoc/style.css",
                "/redoc/start.js",
                "/redoc/redoc.standalone.js",
            ],
        ),
        // The internal listener.
        ("src/edge/ops.rs", &["/livez", "/readyz", "/metrics", "/drain"]),
        // The socket, which is in the other document.
        ("src/edge/ws/upgrade.rs", &[]),
    ];
    let routers =
        program().into_iter().filter(|(path, text)| !path.starts_with("src/dev/") && text.contains("Router"));
    for (path, text) in routers {
        let expected = UNDESCRIBED.iter().find(|(file, _)| *file == path).map(|(_, routes)| *routes);
        let allowed = expected.map_or(0, |routes| routes.len().max(1));
        assert_eq!(
            text.matches(".route(").count(),
            allowed,
            "{path}: add it with `routes!`, or say here why not"
        );
        assert_eq!(literals_behind(&text, ".route("), expected.unwrap_or_default(), "{path}");
        for method in [".nest(", ".route_service(", ".nest_service("] {
            assert!(!text.contains(method), "{path}: {method}");
        }
    }
}

/// What goes out on a socket is an event, which is listed or does not compile, or a reply, which is a variant of the
/// enum that the document is made of. What is put together as text is found here.
#[tokio::test]
async fn no_frame_is_sent_that_the_document_lacks() {
    const TYPE: &str = r#""type":""#;
    let document = printed("asyncapi").await;
    let messages = document["channels"]["socket"]["messages"].as_object().unwrap();
    let mut found = 0;
    for (path, text) in program().into_iter().filter(|(path, _)| !path.starts_with("src/dev/")) {
        for (at, _) in text.match_indices(TYPE) {
            let kind = text[at + TYPE.len()..].split('"').next().unwrap();
            assert!(messages.contains_key(kind), "{path}: {kind}");
            found += 1;
        }
        let frames = text.matches("text_frame(").count();
        let known = [
            "src/delivery/event.rs",
            "src/delivery/rooms/notice.rs",
            "src/edge/ws/protocol.rs",
            "src/features/channels/followers.rs",
            "src/features/presence/frames.rs",
            "src/features/rooms/frames.rs",
        ];
        let known = known.contains(&path.as_str());
        assert!(known || frames == 0, "{path}: a frame that is neither an event nor a reply");
    }
    assert_eq!(found, 1, "UNREADABLE");
}

#[tokio::test]
async fn what_is_said_on_sockets_and_pushed_is_what_the_document_says() {
    let (ada, ben) = shared::couple().await;
    let token = shared::fresh("fcm");
    let device = json!({"deviceId": token, "fcmToken": token, "platform": "android"});
    ben.send(ben.request(Method::PUT, "/devices/fcm-token").json(&device)).await.expect(201);

    // Without a socket: pushes.
    ada.patch("/status", json!({"status": "BUSY"})).await.expect(200);
    ada.delete("/partner").await.expect(204);
    client::link(&ben, &ada).await;
    let channel = ada.post("/channels/", json!({"name": shared::fresh("general")})).await.expect(201);
    let members = format!("/channels/{}/members", channel["id"].as_str().unwrap());
    ada.post(&members, json!({"userId": ben.id})).await.expect(201);
    concern(&ada, &ben).await;
    let pushed = shared::pushes_to(&token, 7).await;
    let pushed: Vec<Value> = pushed
        .iter()
        .map(|entry| json!({"notification": entry.message["notification"], "data": entry.message["data"]}))
        .collect();

    let mut conversation = Conversation::default();
    let mut first = ben.connect(&ben.base_url, "since=1000000").await;
    conversation.hear(&mut first, &["RESYNC"]).await;
    // What was pushed may not be settled yet, and would come again.
    let since = &conversation.heard[0]["fromSeq"];
    let url = format!("{}/ws", ben.base_url);
    let mut v1 = Socket::open(&url, &[("sec-websocket-protocol", "fanlight.v1")]).await;
    let auth = json!({"type": "AUTH", "token": ben.access_token, "since": since, "deviceId": token});
    conversation.say(&v1, auth).await;
    conversation.hear(&mut v1, &["WELCOME"]).await;
    for (command, answer) in [
        (json!({"type": "PING", "ref": [1, {"a": null}]}), "PONG"),
        (json!({"type": "AUTH", "token": ben.access_token, "ref": 7}), "OK"),
        (json!({"type": "ACK", "seq": 1_000_000, "ref": "a"}), "ERROR"),
    ] {
        conversation.say(&v1, command).await;
        conversation.hear(&mut v1, &[answer]).await;
    }
    v1.send(json!({"type": "NOPE"})).await;
    conversation.hear(&mut v1, &["ERROR"]).await;
    ada.patch("/status", json!({"status": "AVAILABLE", "durationSeconds": 60.0})).await.expect(200);
    ben.patch("/status", json!({"status": "BUSY"})).await.expect(200);
    ada.delete("/partner").await.expect(204);
    client::link(&ada, &ben).await;
    ada.delete(&format!("{members}/{}", ben.id)).await.expect(204);
    ada.post(&members, json!({"userId": ben.id})).await.expect(201);
    ben.post("/channels/", json!({"kind": "direct", "userId": ada.id})).await.expect(201);
    let kinds = [
        "PARTNER_STATUS_CHANGED",
        "SELF_STATUS_CHANGED",
        "PARTNER_UNLINKED",
        "PARTNER_LINKED",
        "MEMBER_REMOVED",
        "INVITED",
        "CHANNEL_CREATED",
    ];
    conversation.hear(&mut v1, &kinds).await;
    let (channel, _, message) = said_in_a_channel(&ben).await;
    let read = json!({"messageId": message});
    ben.post(&format!("/channels/{channel}/read"), read).await.expect(200);
    conversation.hear(&mut v1, &["CHANNEL_CREATED", "SELF_READ_MARKER"]).await;
    concern(&ada, &ben).await;
    let kinds = ["CHANNEL_CREATED", "MENTIONED", "DIRECT_MESSAGE", "CHANNEL_ACTIVITY"];
    conversation.hear(&mut v1, &kinds).await;
    follow_a_room(&mut conversation, &ada, &ben).await;
    watch_somebody(&mut conversation, &ada, &ben).await;
    hold_against_the_documents(&conversation, &pushed).await;
}

async fn hold_against_the_documents(conversation: &Conversation, pushed: &[Value]) {
    let mut holding = Command::new(&toolbox().node);
    holding.arg(file("tests/browser/messages.js")).arg(&toolbox().root);
    holding.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    let mut process = holding.spawn().unwrap();
    let input = json!({
        "openapi": printed("openapi").await,
        "asyncapi": printed("asyncapi").await,
        "heard": conversation.heard,
        "said": conversation.said,
        "pushed": pushed,
    });
    let mut stdin = process.stdin.take().unwrap();
    stdin.write_all(input.to_string().as_bytes()).await.unwrap();
    drop(stdin);
    assert_success(&timeout(PATIENCE, process.wait_with_output()).await.unwrap().unwrap());
}

/// A channel of this person, and two messages in it.
async fn said_in_a_channel(client: &Client) -> (String, String, String) {
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let channel = client.post("/channels", json!({"name": shared::fresh("room")})).await.expect(201);
    let channel = text(&channel["id"]);
    let say = async |content: &str| {
        let message = json!({"channelId": channel, "content": content});
        text(&client.post("/messages", message).await.expect(201)["id"])
    };
    let (one, other) = (say("one").await, say("other").await);
    (channel, one, other)
}

/// What was said on a socket, both ways.
#[derive(Default)]
pub struct Conversation {
    heard: Vec<Value>,
    said: Vec<Value>,
}

impl Conversation {
    pub async fn say(&mut self, socket: &Socket, command: Value) {
        socket.send(command.clone()).await;
        self.said.push(command);
    }

    pub async fn hear(&mut self, socket: &mut Socket, kinds: &[&str]) {
        for kind in kinds {
            self.heard.push(socket.expect_event(kind).await);
        }
    }

    /// In either order.
    pub async fn hear_both(&mut self, socket: &mut Socket, kinds: [&str; 2]) {
        let both = [socket.next_event().await, socket.next_event().await];
        let mut heard = [0, 1].map(|one: usize| both[one]["type"].as_str().unwrap());
        heard.sort_unstable();
        assert_eq!(heard, kinds);
        self.heard.extend(both);
    }
}

/// `st`, as tests/install-schemathesis.sh installs it.
fn schemathesis() -> PathBuf {
    let st = Path::new(env!("CARGO_TARGET_TMPDIR")).with_file_name("schemathesis/bin/st");
    assert!(
        st.exists(),
        "{} is not there: ./test installs it, or tests/install-schemathesis.sh",
        st.display()
    );
    st
}

async fn try_all(cluster: &Cluster, settings: &str, env: &[(&str, &str)]) {
    let url = cluster.nodes[0].http();
    let folder = tempfile::tempdir().unwrap();
    let mut command = Command::new(schemathesis());
    command.arg("--config-file").arg(file("tests/schemathesis").join(settings));
    command.args(["run", &format!("{url}/openapi.json"), "--no-color"]);
    command.current_dir(&folder).env("NO_PROXY", "*").envs(env.iter().copied());
    let output = run(&mut command).await;
    assert_success(&output);
    let document = printed("openapi").await;
    let operations: usize =
        document["paths"].as_object().unwrap().values().map(|path| path.as_object().unwrap().len()).sum();
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(said.contains(&format!("Tested: {operations}\n")), "{said}");
}

#[tokio::test]
async fn schemathesis_finds_nothing_that_the_document_does_not_say() {
    let cluster = one_node(&UNLIMITED).await;
    let url = cluster.nodes[0].http();
    let named = json!({"username": "user", "email": "named@example.com", "password": "correct-horse"});
    Api::anonymous(&url).post("/users/register", named).await.expect(201);
    let register = async |name: &str| Client::register(&url, &format!("{name}@example.com")).await;
    let (user, leaving, revoking) =
        (register("user").await, register("leaving").await, register("revoking").await);
    let (coupled, parting) = (register("coupled").await, register("parting").await);
    client::link(&coupled, &register("other").await).await;
    client::link(&parting, &register("parted").await).await;
    let offered = user.post("/linking/sessions", Value::Null).await.expect(201);
    let (channel, message, deleted_message) = said_in_a_channel(&user).await;
    let upload = user.request(Method::POST, "/uploads").header("content-type", "text/plain").body("Hello");
    let upload = user.send(upload).await.expect(201);

    try_all(
        &cluster,
        "user.toml",
        &[
            ("TOKEN", &user.access_token),
            ("LEAVING_TOKEN", &leaving.access_token),
            ("REVOKING_TOKEN", &revoking.access_token),
            ("COUPLED_TOKEN", &coupled.access_token),
            ("PARTING_TOKEN", &parting.access_token),
            ("USERNAME", "user"),
            ("LINK_SESSION", offered["sessionId"].as_str().unwrap()),
            ("CHANNEL", &channel),
            ("MESSAGE", &message),
            ("DELETED_MESSAGE", &deleted_message),
            ("UPLOAD", upload["id"].as_str().unwrap()),
        ],
    )
    .await;
    try_all(&cluster, "stranger.toml", &[]).await;
}
