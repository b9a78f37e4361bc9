//! Which Redis the link uses.

use std::time::Duration;

use redis::aio::ConnectionManager;
use tokio::net::{TcpListener, TcpStream};

use super::{Config, RedisFailure, RedisLink};
use crate::dev::ports;
use crate::dev::process::Signal;
use crate::dev::redis::Redis;
use crate::dev::sentinel::{MASTER, Sentinels};
use crate::dev::state::StateDir;
use crate::shutdown::Shutdown;

fn config(url: &str, sentinels: &[&str], master: &str) -> Config {
    Config {
        url: url.into(),
        sentinels: sentinels.iter().map(|url| (*url).into()).collect(),
        sentinel_master: master.to_owned(),
        ..RedisLink::for_test("redis://127.0.0.1:1", "test").config().clone()
    }
}

#[tokio::test]
async fn addresses_that_contradict_each_other_are_refused_by_name() {
    let good = "redis://:secret@one:26379";
    let refused = [
        (config("postgres://here", &[], ""), "redis.url"),
        (config("unix:///run/redis.sock", &[good], "main"), "redis.url"),
        (config("redis://here", &[good], ""), "redis.sentinel_master"),
        (config("redis://here", &[good], "two words"), "redis.sentinel_master"),
        (config("redis://here", &["one:26379"], "main"), "redis.sentinels"),
        (config("redis://here", &["redis://one:26379/1"], "main"), "redis.sentinels"),
        (config("redis://here", &[good, "redis://one:26379"], "main"), "redis.sentinels"),
    ];
    for (config, key) in refused {
        let config = Config { warmup_ms: 3_000, ..config };
        let sentence = config.check().unwrap_err().to_string();
        assert!(sentence.contains(key) && !sentence.contains("secret"), "{key}: {sentence}");
    }
    let config = config("rediss://user:secret@ignored/3", &[good, "redis://two:26379"], "main");
    Config { warmup_ms: 3_000, ..config }.check().unwrap();
}

#[tokio::test]
async fn certificates_that_cannot_be_used_are_refused_by_name() {
    let pem = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    let with = |url: &str, sentinels: &[&str], ca: &str| Config {
        warmup_ms: 3_000,
        ca: Some(ca.to_owned()),
        ..config(url, sentinels, "main")
    };
    let good = with("rediss://here", &[], pem);
    let refused = [
        (with("redis://here", &[], pem), "rediss://"),
        (with("rediss://here", &["redis://one:26379"], pem), "redis.sentinels"),
        (with("rediss://here", &[], "no certificate"), "PEM"),
        (Config { ca_file: Some("/x".into()), ..good.clone() }, "both"),
        (Config { ca: None, ca_file: Some("/does/not/exist".into()), ..good.clone() }, "redis.ca_file"),
    ];
    for (config, word) in refused {
        let sentence = format!("{:#}", config.check().unwrap_err());
        assert!(sentence.contains(word), "{word}: {sentence}");
    }
    good.check().unwrap();
}

const PASSWORD: &str = "secret";
const PATIENCE: Duration = Duration::from_secs(60);

/// Asks until Redis takes a write.
async fn until_written(link: &RedisLink) {
    let writing = async {
        loop {
            let write =
                async |mut redis| redis::cmd("SET").arg("key").arg("1").query_async::<()>(&mut redis).await;
            if link.probe("test", write).await.is_ok() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(PATIENCE, writing).await.expect("no write succeeds");
}

fn follow(link: &RedisLink, shutdown: &Shutdown) {
    let (link, stop) = (link.clone(), shutdown.clone());
    shutdown.spawn_light(async move {
        let _stopped = stop.unless_stopped(link.follow()).await;
    });
}

#[tokio::test]
async fn the_link_follows_the_master_that_the_sentinels_name() {
    let state = StateDir::scratch().unwrap();
    let args = ["--save", "", "--appendonly", "no", "--requirepass", PASSWORD, "--masterauth", PASSWORD];
    let mut master = Redis::launch(&state, "redis", ports::free().unwrap(), &args).await.unwrap();
    let sentinels = Sentinels::watch(&state, &master, PASSWORD).await.unwrap();
    let urls = sentinels.urls();
    // One sentinel is away, and host and port of the URL are not used.
    let urls: Vec<&str> =
        std::iter::once("redis://127.0.0.1:1").chain(urls.iter().map(String::as_str)).collect();
    let link = RedisLink::new(config(&format!("redis://:{PASSWORD}@127.0.0.1:2"), &urls, MASTER)).unwrap();
    let asked = link.probe("test", async |_| Ok(())).await;
    assert!(matches!(asked, Err(RedisFailure::NoServer)), "{asked:?}");
    let shutdown = Shutdown::new();
    follow(&link, &shutdown);
    let address = || link.server().borrow().as_ref().map(|server| server.address().to_string());

    until_written(&link).await;
    assert_eq!(address(), Some(format!("127.0.0.1:{}", master.port())));
    sentinels.ready().await.unwrap();

    master.process.signal(Signal::Kill).unwrap();
    let moved = async {
        let replica = format!("127.0.0.1:{}", sentinels.replica.port());
        while address().as_ref() != Some(&replica) {
            // What fails makes it look.
            let _failed = link
                .probe("test", async |mut redis| redis::cmd("PING").query_async::<()>(&mut redis).await)
                .await;
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(PATIENCE, moved).await.expect("the link stays with a dead master");
    until_written(&link).await;
    shutdown.stop();
}

#[tokio::test]
async fn a_server_that_only_follows_is_left_for_whom_its_address_leads_to_now() {
    let state = StateDir::scratch().unwrap();
    let server = Redis::start(&state, None).await.unwrap();
    let link = RedisLink::new(config(&server.url(), &[], "")).unwrap();
    let shutdown = Shutdown::new();
    follow(&link, &shutdown);
    until_written(&link).await;
    let mut connections = link.server();
    let replicate = async |mut redis: ConnectionManager| {
        redis::cmd("REPLICAOF").arg("127.0.0.1").arg(1).query_async::<()>(&mut redis).await
    };
    link.probe("test", replicate).await.unwrap();

    let write = async |mut redis| redis::cmd("SET").arg("key").arg("1").query_async::<()>(&mut redis).await;
    link.probe("test", write).await.unwrap_err();

    tokio::time::timeout(PATIENCE, connections.changed()).await.expect("the old connections stay").unwrap();
    shutdown.stop();
}

/// Leads to Redis, but for its first connection, which takes everything and gives nothing.
async fn first_connection_lost(redis: Redis, listener: TcpListener) {
    let mut silent = None;
    while let Ok((mut client, _)) = listener.accept().await {
        if silent.is_none() {
            silent = Some(client);
            continue;
        }
        let address = redis.url().replace("redis://", "").replace('/', "");
        Shutdown::new().spawn_light(async move {
            let mut server = TcpStream::connect(address).await.unwrap();
            // Ends with the test.
            let _ended = tokio::io::copy_bidirectional(&mut client, &mut server).await;
        });
    }
}

#[tokio::test]
async fn a_connection_that_takes_everything_and_answers_nothing_is_replaced() {
    let state = StateDir::scratch().unwrap();
    let redis = Redis::start(&state, None).await.unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("redis://{}", listener.local_addr().unwrap());
    let shutdown = Shutdown::new();
    let stop = shutdown.clone();
    shutdown.spawn_light(async move {
        let _stopped = stop.unless_stopped(first_connection_lost(redis, listener)).await;
    });
    let link = RedisLink::new(Config { command_timeout_ms: 250, ..config(&url, &[], "") }).unwrap();
    until_written(&link).await;
    shutdown.stop();
}
