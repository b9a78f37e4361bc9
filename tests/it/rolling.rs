//! A rolling restart, as clients live through it: everybody is sent elsewhere, comes back, and misses nothing.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::time::Duration;

use fanlight::dev::process::Signal;
use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream};

use crate::client::{self, Client};
use crate::stage::{Stage, seq, until};

const COUPLES: usize = 3;
const PACE: Duration = Duration::from_millis(50);
/// Far beyond what a reconnect takes; the goal is in docs/reliability.md.
const GAP_MAX: Duration = Duration::from_secs(20);
const BACKOFF_FIRST: Duration = Duration::from_millis(100);
const BACKOFF_MAX: Duration = Duration::from_secs(2);
/// A server that says nothing for so long has gone without a word.
const SILENCE_MAX: Duration = Duration::from_secs(30);

type Stream = WebSocketStream<MaybeTlsStream<TcpStream>>;

/// A client as it should be: it resumes where it was, and after a hint when it was told to.
struct Follower {
    client: Client,
    url: String,
    /// Confirms with `ACK`, and hears of a drain; otherwise its library's pong does.
    explicit: bool,
    /// The last seq seen; each was one more than the one before.
    seen: Arc<AtomicI64>,
    done: Arc<AtomicBool>,
    absences: Vec<Absence>,
    hints: usize,
}

/// Without a connection from one moment to another (epoch ms).
#[derive(Clone, Copy, Debug)]
struct Absence {
    from: i64,
    to: i64,
}

impl Follower {
    async fn follow(mut self) -> Self {
        let mut down_at = None;
        while !self.done.load(Ordering::Relaxed) {
            let mut stream = self.connect().await;
            if let Some(from) = down_at {
                self.absences.push(Absence { from, to: now_ms() });
            }
            let hint = self.read(&mut stream).await;
            down_at = Some(now_ms());
            sleep(hint).await;
        }
        self
    }

    async fn connect(&self) -> Stream {
        let mut backoff = BACKOFF_FIRST;
        loop {
            let since = self.seen.load(Ordering::Relaxed);
            let address = format!("{}/ws?since={since}", self.url.replacen("http", "ws", 1));
            let mut request = address.into_client_request().unwrap();
            let bearer = format!("Bearer {}", self.client.access_token);
            request.headers_mut().insert("authorization", bearer.parse().unwrap());
            if self.explicit {
                request.headers_mut().insert("sec-websocket-protocol", "fanlight.v1".parse().unwrap());
            }
            match timeout(SILENCE_MAX, tokio_tungstenite::connect_async(request)).await {
                Ok(Ok((stream, _))) => return stream,
                _ => sleep(fanlight::domain::random::jitter(backoff)).await,
            }
            backoff = (backoff * 2).min(BACKOFF_MAX);
        }
    }

    /// Reads until the connection ends, and says how long the server asked us to wait.
    async fn read(&mut self, stream: &mut Stream) -> Duration {
        let mut hint = None;
        while !self.done.load(Ordering::Relaxed) {
            let text = match timeout(PACE, stream.next()).await {
                Ok(Some(Ok(Message::Text(text)))) => text,
                Ok(Some(Ok(Message::Close(frame)))) => {
                    let code = frame.map(|frame| u16::from(frame.code));
                    assert_eq!(code, Some(1012), "only a node that leaves closes a connection");
                    assert_eq!(hint.is_some(), self.explicit, "DRAINING comes before it on fanlight.v1");
                    break;
                }
                // A control frame, or time to look whether it is over.
                Ok(Some(Ok(_))) | Err(_) => continue,
                Ok(None | Some(Err(_))) => break,
            };
            let frame: Value = serde_json::from_str(&text).unwrap();
            match frame["type"].as_str().unwrap() {
                "WELCOME" => {}
                "DRAINING" => {
                    self.hints += 1;
                    hint = Some(Duration::from_millis(frame["reconnectAfterMs"].as_u64().unwrap()));
                    assert!(hint <= Some(Duration::from_secs(5)), "{frame}");
                }
                _ => {
                    let last = self.seen.swap(seq(&frame), Ordering::Relaxed);
                    assert_eq!(seq(&frame), last + 1, "each event once and in order: {frame}");
                    if self.explicit {
                        let ack = json!({"type": "ACK", "seq": seq(&frame)}).to_string();
                        // A connection that cannot be written to ends when it is read.
                        let _unsent = stream.send(Message::text(ack)).await;
                    }
                }
            }
        }
        hint.unwrap_or_default()
    }
}

fn now_ms() -> i64 {
    chrono::Utc::now().timestamp_millis()
}

async fn couples(stage: &Stage) -> Vec<(Client, Client)> {
    let mut couples = vec![(stage.ann.clone(), stage.bob.clone())];
    for number in 1..COUPLES {
        let url = stage.cluster.url();
        let ann = Client::register(&url, &format!("ann-{number}@example.com")).await;
        let bob = Client::register(&url, &format!("bob-{number}@example.com")).await;
        client::link(&ann, &bob).await;
        couples.push((ann, bob));
    }
    couples
}

/// Everybody's phone, under a token that names its owner.
async fn register_devices(stage: &Stage, couples: &[(Client, Client)]) {
    for user in couples.iter().flat_map(|(ann, bob)| [ann, bob]) {
        stage.register_device(user, "phone", &format!("token-{}", user.id)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rolling_restart_under_load_loses_nothing_and_wakes_nobody_who_is_there() {
    let mut stage = Stage::set().await;
    let couples = couples(&stage).await;
    let done = Arc::new(AtomicBool::new(false));
    let mut followers = JoinSet::new();
    let mut progress = Vec::new();
    for (index, user) in couples.iter().flat_map(|(ann, bob)| [ann, bob]).enumerate() {
        let seen = Arc::new(AtomicI64::new(stage.outcomes(user).await.last().unwrap().0));
        progress.push((user.clone(), Arc::clone(&seen)));
        let (url, done) = (stage.cluster.url(), Arc::clone(&done));
        let follower = Follower {
            client: user.clone(),
            url,
            explicit: index % 2 == 0,
            seen,
            done,
            absences: Vec::new(),
            hints: 0,
        };
        followers.spawn(follower.follow());
    }
    for (user, _) in &progress {
        stage.until_known(user).await;
    }
    register_devices(&stage, &couples).await;

    let traffic = async {
        let mut pace = tokio::time::interval(PACE);
        for turn in 0_usize.. {
            pace.tick().await;
            let (ann, bob) = &couples[turn % COUPLES];
            let actor = [ann, bob][turn / COUPLES % 2];
            let status = ["BUSY", "AVAILABLE", "OFFLINE"][turn / COUPLES % 3];
            actor.patch("/status", json!({ "status": status })).await.expect(200);
        }
    };
    let restarts = async {
        for node in &mut stage.cluster.nodes {
            node.process.signal(Signal::Term).unwrap();
            assert!(node.process.ended(Duration::from_secs(15)).await, "{} does not leave", node.name());
            node.restart(&[]).await.unwrap();
            let back = Instant::now();
            until("the load balancer has looked", async || back.elapsed() > Duration::from_secs(2)).await;
        }
    };
    tokio::select! {
        () = traffic => unreachable!("it goes on until the nodes are through"),
        () = restarts => {}
    }

    for (user, seen) in &progress {
        until("every event was seen", async || {
            let last = stage.outcomes(user).await.last().unwrap().0;
            seen.load(Ordering::Relaxed) == last
        })
        .await;
    }
    stage.until_settled().await;
    done.store(true, Ordering::Relaxed);
    let followers: Vec<Follower> = followers.join_all().await;
    check_gaps(&followers);
    check_pushes(&stage, &followers).await;
}

fn check_gaps(followers: &[Follower]) {
    let absences = followers.iter().flat_map(|follower| &follower.absences);
    let mut gaps: Vec<i64> = absences.map(|absence| absence.to - absence.from).collect();
    gaps.sort_unstable();
    // Whoever starts on a node is sent away from it once at least, over the whole round.
    assert!(gaps.len() >= followers.len(), "{gaps:?}");
    let (median, longest) = (gaps[gaps.len() / 2], *gaps.last().unwrap());
    eprintln!(
        "{} reconnects; without a connection for {median} ms (median), {longest} ms (longest)",
        gaps.len()
    );
    assert!(longest <= i64::try_from(GAP_MAX.as_millis()).unwrap(), "{gaps:?}");
    assert!(followers.iter().filter(|follower| follower.explicit).all(|follower| follower.hints > 0));
}

/// A push is right only for somebody who was away between the commit and the push.
async fn check_pushes(stage: &Stage, followers: &[Follower]) {
    let committed: HashMap<String, i64> =
        sqlx::query_as("SELECT id::text, (EXTRACT(EPOCH FROM created_at) * 1000)::bigint FROM events")
            .fetch_all(&stage.pool)
            .await
            .unwrap()
            .into_iter()
            .collect();
    for push in stage.pushes() {
        let owner = followers.iter().find(|it| push.token == format!("token-{}", it.client.id)).unwrap();
        let event = push.message["data"]["eventId"].as_str().unwrap();
        let was_away = |absence: &Absence| absence.from <= push.at && absence.to >= committed[event];
        assert!(owner.absences.iter().any(was_away), "{push:?} {:?}", owner.absences);
    }
}
