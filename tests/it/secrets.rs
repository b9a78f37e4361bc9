//! What nobody may find in a log, a metric, a trace or Redis: everything that opens a door, and what people say.
//!
//! Each secret is recognisable, goes in by every way there is, right and wrong, and is then looked for in all that the
//! cluster left behind, with its logs at their loudest.

use std::fs;
use std::path::Path;

use fanlight::dev::cluster::{Cluster, ClusterOptions};
use serde_json::{Value, json};

use crate::client::{Api, Client, link};
use crate::collector::Collector;
use crate::socket::Socket;
use crate::stage::until;

const MARK: &str = "cAnArY";

fn secret(name: &str) -> String {
    format!("{MARK}-{name}-{MARK}")
}

/// Where a secret was found.
#[derive(Default)]
struct Search {
    secrets: Vec<String>,
    places: usize,
    found: Vec<String>,
}

impl Search {
    fn look_into(&mut self, place: &str, content: &[u8]) {
        self.places += 1;
        for secret in &self.secrets {
            let found = content.windows(secret.len()).any(|window| window == secret.as_bytes());
            if found {
                let text = String::from_utf8_lossy(content);
                let line = text.lines().find(|line| line.contains(secret)).unwrap_or_default().to_owned();
                self.found.push(format!("{secret:?} in {place}: {line}"));
            }
        }
    }

    fn look_into_logs(&mut self, folder: &Path) {
        for entry in fs::read_dir(folder).unwrap().map(Result::unwrap) {
            let path = entry.path();
            if path.extension().is_some_and(|extension| extension == "log") {
                self.look_into(&path.display().to_string(), &fs::read(&path).unwrap());
            }
        }
    }
}

/// Says the secrets by every way to open a socket. Those who listen refuse all of these.
async fn open_sockets_in_vain(node: &str) {
    let by_query = format!("{node}/ws?token={}&since=0", secret("query"));
    let bearer = format!("Bearer {}", secret("authorization"));
    let protocols = format!("fanlight.v1, bearer.{}", secret("protocol"));
    let cookie = format!("jwt_token={}", secret("cookie"));
    let plain = format!("{node}/ws");
    for (url, headers) in [
        (&by_query, vec![]),
        (&plain, vec![("authorization", bearer.as_str())]),
        (&plain, vec![("sec-websocket-protocol", protocols.as_str())]),
        (&plain, vec![("cookie", cookie.as_str())]),
    ] {
        let mut socket = Socket::open(url, &headers).await;
        assert_eq!(socket.expect_close().await.0, 1008);
    }
    let mut socket = Socket::open(&plain, &[("sec-websocket-protocol", "fanlight.v1")]).await;
    socket.send(json!({"type": "AUTH", "token": secret("auth-frame"), "deviceId": "phone"})).await;
    assert_eq!(socket.expect_close().await.0, 4001);
    // Refused before it is a socket.
    for query in
        [format!("token={}&since=soon", secret("query")), format!("{}=1&token=a&token=b", secret("query"))]
    {
        let refused = Socket::try_open(&format!("{node}/ws?{query}"), &[]).await;
        assert_eq!(refused.err(), Some(400));
    }
}

/// Goes through the API, and makes mistakes.
async fn use_the_api(node: &str, ann: &Client) {
    let api = Api::anonymous(node);
    let wrong = json!({"email": ann.email, "password": secret("password")});
    api.post("/auth/login", wrong).await.expect(401);
    api.post("/auth/refresh", json!({"refreshToken": secret("refresh")})).await.expect(401);
    api.with_bearer(secret("authorization")).get("/me").await.expect(401);
    api.get(&format!("/me?token={}", secret("query"))).await.expect(401);
    ann.send_text(http::Method::PATCH, "/status", format!("{{\"status\": \"{}\"", secret("body")))
        .await
        .expect(400);
    ann.post("/linking/sessions/confirm", json!({"linkCode": secret("link-code")})).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_secret_is_found_anywhere() {
    let collector = Collector::start().await;
    let loud = [
        ("FANLIGHT__LOG__FILTER", "trace"),
        ("FANLIGHT__TELEMETRY__ENDPOINT", &collector.url),
        ("FANLIGHT__TELEMETRY__SAMPLE_RATIO", "1.0"),
        ("FANLIGHT__ACCOUNTS__HASHING_MEMORY_KIB", "64"),
    ];
    let env = loud.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec();
    let cluster = Cluster::start(ClusterOptions {
        nodes: 2,
        env,
        ..ClusterOptions::scratch(env!("CARGO_BIN_EXE_fanlight"))
    })
    .await
    .unwrap();
    let ann = Client::register(&cluster.url(), &format!("{}@example.com", secret("ann"))).await;
    let bob = Client::register(&cluster.url(), "bob@example.com").await;
    link(&ann, &bob).await;

    open_sockets_in_vain(&cluster.nodes[0].http()).await;
    use_the_api(&cluster.nodes[0].http(), &ann).await;
    // Events on their way through Redis, pushes that work and pushes that do not.
    let mut socket = bob.connect(&cluster.nodes[1].http(), "since=0").await;
    ann.at(&cluster.nodes[0].http()).patch("/status", json!({"status": "BUSY"})).await.expect(200);
    while socket.next_event().await["type"] != "PARTNER_STATUS_CHANGED" {}
    socket.send(json!({"type": secret("command"), "ref": secret("ref"), "text": secret("message")})).await;
    assert_eq!(socket.next_event().await["code"], "unknown_command");
    socket.send(json!({"type": "AUTH", "token": secret("renewal")})).await;
    assert_eq!(socket.expect_close().await.0, 4001);
    let fates = ["", "unreg-", "quota-", "flaky-1-"];
    for (number, fate) in fates.into_iter().enumerate() {
        let token = format!("{fate}{}", secret("fcm-token"));
        let device = json!({"deviceId": format!("phone-{number}"), "fcmToken": token, "platform": "android"});
        bob.put("/devices/fcm-token", device).await.expect(201);
    }
    ann.patch("/status", json!({"status": "AVAILABLE"})).await.expect(200);
    until("the devices are pushed to", async || cluster.fcm.log().len() >= fates.len()).await;

    let mut search = Search::default();
    // A token's last part is its proof; what it says is no secret.
    let proof = |token: &str| token.rsplit('.').next().unwrap().to_owned();
    search.secrets = vec![MARK.to_owned(), crate::client::PASSWORD.to_owned()];
    for person in [&ann, &bob] {
        search.secrets.extend([proof(&person.access_token), person.refresh_token.clone()]);
    }
    let service_account: Value = serde_json::from_str(cluster.fcm.service_account()).unwrap();
    search.secrets.push(service_account["private_key"].as_str().unwrap().to_owned());
    for node in &cluster.nodes {
        let metrics =
            reqwest::get(format!("{}/metrics", node.internal())).await.unwrap().text().await.unwrap();
        assert!(metrics.contains("fanlight_handshakes_total"));
        search.look_into(&format!("{}/metrics", node.name()), metrics.as_bytes());
    }
    until("the requests and pushes are traced", async || {
        let told = format!("{:?}", collector.all());
        ["POST /auth/login", "GET /me", "fcm.send"].iter().all(|name| told.contains(name))
    })
    .await;
    search.look_into("traces", format!("{:?}", collector.all()).as_bytes());
    search.look_into("redis", &redis_contents(&cluster).await);
    search.look_into_logs(cluster.state.path());
    assert!(search.places >= 7, "there is too little to look into");
    assert!(search.found.is_empty(), "\n{}", search.found.join("\n"));

    // Else nothing would have been found because nothing was written.
    let log = fs::read_to_string(cluster.state.path().join("node-1.log")).unwrap();
    assert!(log.contains("\"DEBUG\"") && log.contains("handshake"), "{log}");
}

/// All keys and values, as Redis would write them to a disk.
async fn redis_contents(cluster: &Cluster) -> Vec<u8> {
    let client = redis::Client::open(cluster.redis.url()).unwrap();
    let mut redis = fanlight::dev::redis::connect(&client).await.unwrap();
    let () =
        redis::cmd("CONFIG").arg(&["SET", "rdbcompression", "no"]).query_async(&mut redis).await.unwrap();
    let () = redis::cmd("SAVE").query_async(&mut redis).await.unwrap();
    let (_, folder): (String, String) =
        redis::cmd("CONFIG").arg(&["GET", "dir"]).query_async(&mut redis).await.unwrap();
    let contents = fs::read(Path::new(&folder).join("dump.rdb")).unwrap();
    let presence = b"fanlight:";
    assert!(contents.windows(presence.len()).any(|window| window == presence));
    contents
}
