//! The gateway against the fake FCM, over real sockets.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures_util::future::join_all;
use serde_json::json;

use super::*;
use crate::dev::fcm::{self, Code, Cut, FakeFcm, OauthMode, OauthScript, ReplyScript, RetryAfter, Script};
use crate::domain::clock::{Clock as _, ManualClock, SystemClock};
use crate::ports::push::contract::{self, Peer, push};
use crate::shutdown::Shutdown;

mod connections;
mod fake;

/// Long enough for two busy cores, short enough to wait for.
const TIMEOUT_MS: u64 = 5_000;

struct Bench {
    fake: FakeFcm,
    gateway: FcmGateway,
    clock: Arc<ManualClock>,
    shutdown: Shutdown,
}

impl Drop for Bench {
    fn drop(&mut self) {
        self.shutdown.stop();
    }
}

fn settings(fake: &FakeFcm) -> Config {
    Config {
        enabled: true,
        service_account: Some(fake.service_account().into()),
        service_account_file: None,
        project_id: None,
        base_url: fake.url(),
        token_url: None,
        timeout_ms: TIMEOUT_MS,
        allow_insecure_endpoint: false,
    }
}

async fn bench() -> Bench {
    bench_with(|_| {}).await
}

async fn bench_with(change: impl FnOnce(&mut Config)) -> Bench {
    let shutdown = Shutdown::new();
    let clock = Arc::new(ManualClock::at(SystemClock.now()));
    let config = fcm::Config { clock: clock.clone(), ..fcm::Config::default() };
    let listen = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let fake = fcm::start(&shutdown, listen, config).await.expect("a free port");
    let mut settings = settings(&fake);
    change(&mut settings);
    let gateway = FcmGateway::new(&settings, clock.clone()).expect("good settings");
    Bench { fake, gateway, clock, shutdown }
}

impl Bench {
    fn reply(&self, reply: ReplyScript) {
        self.fake.script(Script { replies: vec![reply], ..Script::default() });
    }

    fn oauth(&self, oauth: OauthScript) {
        self.fake.script(Script { oauth: Some(oauth), ..Script::default() });
    }

    async fn send(&self, token: &str) -> Result<(), PushError> {
        self.gateway.send(&push(token)).await.map(drop)
    }

    fn outcomes(&self) -> Vec<String> {
        self.fake.log().into_iter().map(|entry| entry.outcome).collect()
    }
}

#[async_trait]
impl Peer for Bench {
    async fn refuse_next(&self, token: &str, refusal: contract::Refusal) {
        let code = match refusal {
            contract::Refusal::Overloaded => Code::Unavailable,
            contract::Refusal::OverQuota => Code::QuotaExceeded,
            contract::Refusal::PlatformBroken => Code::ThirdPartyAuthError,
            contract::Refusal::Unregistered => Code::Unregistered,
            contract::Refusal::WrongMessage => Code::InvalidArgument,
        };
        let retry_after = Some(RetryAfter::Seconds(7));
        self.reply(ReplyScript {
            token: Some(token.to_owned()),
            code,
            retry_after,
            ..ReplyScript::default()
        });
    }

    async fn received(&self) -> Vec<String> {
        self.fake.log().into_iter().map(|entry| entry.token).collect()
    }
}

#[tokio::test]
async fn keeps_the_contract() {
    let bench = bench().await;
    contract::holds(&bench.gateway, &bench).await;
}

#[tokio::test]
async fn every_row_of_the_error_table_has_its_reaction() {
    let bench = bench().await;
    let minute = Duration::from_mins(1);
    let table = [
        (Code::InvalidArgument, PushError::Fatal { reason: "invalid_argument" }),
        (Code::InvalidToken, PushError::TokenDead { reason: "invalid_token" }),
        (Code::MalformedToken, PushError::TokenDead { reason: "invalid_token" }),
        (Code::ThirdPartyAuthError, PushError::HoldPlatform { after: minute, reason: "third_party_auth" }),
        (Code::SenderIdMismatch, PushError::TokenDead { reason: "sender_id_mismatch" }),
        (Code::PermissionDenied, PushError::Hold { after: minute, reason: "permission_denied" }),
        (Code::Unregistered, PushError::TokenDead { reason: "unregistered" }),
        (Code::NotFound, PushError::Retry { after: None, reason: "not_found" }),
        (Code::QuotaExceeded, PushError::Hold { after: minute, reason: "quota_exceeded" }),
        (Code::DeviceRateExceeded, PushError::Busy { after: Some(minute), reason: "quota_exceeded" }),
        (Code::ResourceExhausted, PushError::Hold { after: minute, reason: "quota_exceeded" }),
        (Code::Internal, PushError::Retry { after: None, reason: "internal" }),
        (Code::Unavailable, PushError::Retry { after: None, reason: "unavailable" }),
        (Code::UnspecifiedError, PushError::Retry { after: None, reason: "internal" }),
    ];
    for (code, expected) in table {
        bench.reply(ReplyScript { code, ..ReplyScript::default() });
        assert_eq!(bench.send("phone").await, Err(expected), "{code:?}");
    }
    assert_eq!(bench.fake.token_requests(), 1, "none of these is about our own token");
}

#[tokio::test]
async fn what_a_token_begins_with_decides_its_fate() {
    let bench = bench_with(|config| config.timeout_ms = 500).await;
    let minute = Duration::from_mins(1);
    let unavailable = PushError::Retry { after: None, reason: "unavailable" };
    let timeout = PushError::Retry { after: None, reason: "timeout" };
    let table = [
        ("unreg-1", Err(PushError::TokenDead { reason: "unregistered" })),
        ("mismatch-1", Err(PushError::TokenDead { reason: "sender_id_mismatch" })),
        ("bad-1", Err(PushError::TokenDead { reason: "invalid_token" })),
        ("quota-1", Err(PushError::Busy { after: Some(minute), reason: "quota_exceeded" })),
        ("apnsauth-1", Err(PushError::HoldPlatform { after: minute, reason: "third_party_auth" })),
        ("flaky-2-1", Err(unavailable.clone())),
        ("flaky-2-1", Err(unavailable)),
        ("flaky-2-1", Ok(())),
        ("hang-1", Err(timeout.clone())),
        ("slow-1", Err(timeout)),
        ("plain", Ok(())),
    ];
    for (token, expected) in table {
        assert_eq!(bench.send(token).await, expected, "{token}");
    }
    let log = bench.fake.log();
    assert_eq!(log.iter().map(|entry| entry.attempt).collect::<Vec<_>>(), [1, 1, 1, 1, 1, 1, 2, 3, 1, 1, 1]);
    let slow = log.iter().find(|entry| entry.token == "slow-1").unwrap();
    assert_eq!(slow.outcome, "accepted", "a timeout may hide a push that was taken");
}

#[tokio::test]
async fn retry_after_is_honoured_as_seconds_and_as_a_date() {
    let bench = bench().await;
    let date = (bench.clock.now() + Duration::from_secs(30)).format("%a, %d %b %Y %H:%M:%S GMT").to_string();
    for (text, least, most) in [("12", 12, 12), (date.as_str(), 29, 30)] {
        let retry_after = Some(RetryAfter::Text(text.to_owned()));
        bench.reply(ReplyScript { code: Code::Unavailable, retry_after, ..ReplyScript::default() });
        let Err(PushError::Retry { after: Some(after), reason: "unavailable" }) = bench.send("phone").await
        else {
            panic!("{text}: not a retry with a time");
        };
        assert!((least..=most).contains(&after.as_secs()), "{text}: {after:?}");
    }
}

#[tokio::test]
async fn fifty_parallel_sends_ask_for_one_access_token() {
    let bench = bench().await;
    let answers = join_all((0..50).map(|_| bench.send("phone"))).await;
    assert!(answers.iter().all(Result::is_ok), "{answers:?}");
    assert_eq!(bench.fake.token_requests(), 1);

    // Soon to expire: one of them replaces it, and none of them waits for nothing.
    bench.clock.advance(Duration::from_mins(56));
    let answers = join_all((0..50).map(|_| bench.send("phone"))).await;
    assert!(answers.iter().all(Result::is_ok), "{answers:?}");
    assert_eq!(bench.fake.token_requests(), 2);
}

#[tokio::test]
async fn a_revoked_access_token_is_replaced_once_and_nothing_is_lost() {
    let bench = bench().await;
    bench.send("phone").await.unwrap();
    bench.oauth(OauthScript { revoke: true, ..OauthScript::default() });

    let answers = join_all((0..50).map(|_| bench.send("phone"))).await;
    assert!(answers.iter().all(Result::is_ok), "{answers:?}");
    assert_eq!(bench.fake.token_requests(), 2);
}

#[tokio::test]
async fn a_fresh_token_that_is_refused_holds_everything_back() {
    let bench = bench().await;
    bench.reply(ReplyScript { code: Code::Unauthenticated, times: 2, ..ReplyScript::default() });
    let hold = PushError::Hold { after: CREDENTIALS_HOLD, reason: "unauthenticated" };
    assert_eq!(bench.send("phone").await, Err(hold));
    assert_eq!(bench.outcomes(), ["UNAUTHENTICATED", "UNAUTHENTICATED"], "one refresh, one retry");
    bench.send("phone").await.unwrap();
}

#[tokio::test]
async fn the_old_token_serves_while_the_token_endpoint_fails() {
    let bench = bench().await;
    bench.send("phone").await.unwrap();
    bench.oauth(OauthScript { mode: OauthMode::Error, ..OauthScript::default() });

    bench.clock.advance(Duration::from_mins(56));
    bench.send("phone").await.unwrap();
    bench.send("phone").await.unwrap();
    assert_eq!(bench.fake.token_requests(), 2, "after a failure nobody asks for a while");

    bench.clock.advance(Duration::from_mins(4));
    let Err(PushError::Hold { reason: "oauth_unavailable", .. }) = bench.send("phone").await else {
        panic!("the old token has expired");
    };
    bench.oauth(OauthScript::default());
    bench.clock.advance(Duration::from_secs(5));
    bench.send("phone").await.unwrap();
}

#[tokio::test]
async fn a_token_endpoint_that_hangs_is_waited_for_once_by_all() {
    let bench = bench_with(|config| config.timeout_ms = 300).await;
    bench.oauth(OauthScript { mode: OauthMode::Hang, ..OauthScript::default() });
    let started = Instant::now();
    let answers = join_all((0..20).map(|_| bench.send("phone"))).await;
    for answer in answers {
        assert!(matches!(answer, Err(PushError::Hold { reason: "oauth_unavailable", .. })), "{answer:?}");
    }
    assert_eq!(bench.fake.token_requests(), 1);
    assert!(started.elapsed() < Duration::from_secs(3), "one after the other they would need 6 s");
}

#[tokio::test]
async fn a_short_lived_token_is_replaced_at_half_its_life() {
    let bench = bench().await;
    bench.oauth(OauthScript { expires_in: Some(60), ..OauthScript::default() });
    bench.send("phone").await.unwrap();
    bench.clock.advance(Duration::from_secs(29));
    bench.send("phone").await.unwrap();
    assert_eq!(bench.fake.token_requests(), 1);
    bench.clock.advance(Duration::from_secs(1));
    bench.send("phone").await.unwrap();
    assert_eq!(bench.fake.token_requests(), 2);
}

#[tokio::test]
async fn google_refuses_an_assertion_of_a_stranger_or_of_the_wrong_time() {
    let (bench, stranger) = (bench().await, bench().await);
    let mut settings = settings(&bench.fake);
    settings.service_account = Some(stranger.fake.service_account().into());
    settings.token_url = Some(format!("{}/token", bench.fake.url()));
    let gateway = FcmGateway::new(&settings, bench.clock.clone()).unwrap();
    let refused = PushError::Hold { after: Duration::from_mins(1), reason: "oauth_refused" };
    assert_eq!(gateway.send(&push("phone")).await, Err(refused.clone()));

    let ahead = Arc::new(ManualClock::at(bench.clock.now() + Duration::from_mins(6)));
    let gateway = FcmGateway::new(&self::settings(&bench.fake), ahead).unwrap();
    assert_eq!(gateway.send(&push("phone")).await, Err(refused));
    assert!(bench.fake.log().is_empty());
}

#[tokio::test]
async fn the_wrong_project_kills_no_token() {
    let bench = bench_with(|config| config.project_id = Some("another-project".to_owned())).await;
    let retry = PushError::Retry { after: None, reason: "not_found" };
    assert_eq!(bench.send("phone").await, Err(retry));
}

#[tokio::test]
async fn the_minute_quota_of_the_project_holds_everything_back() {
    let bench = bench().await;
    bench.fake.script(Script { sends_per_minute: Some(1), ..Script::default() });
    bench.send("phone").await.unwrap();
    let hold = PushError::Hold { after: Duration::from_mins(1), reason: "quota_exceeded" };
    assert_eq!(bench.send("phone").await, Err(hold));
    bench.clock.advance(Duration::from_mins(1));
    bench.send("phone").await.unwrap();
}

/// Collects what is logged on this thread.
#[derive(Clone, Default)]
struct Captured(Arc<parking_lot::Mutex<Vec<u8>>>);

impl std::io::Write for Captured {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn no_token_and_no_words_of_a_push_reach_the_log() {
    let captured = Captured::default();
    let writer = captured.clone();
    let log = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::TRACE)
        .with_writer(move || writer.clone())
        .finish();
    let guard = tracing::subscriber::set_default(log);
    let bench = bench().await;
    for _ in 0..2 {
        for code in [Code::Accepted, Code::InvalidToken, Code::PermissionDenied, Code::Internal] {
            bench.reply(ReplyScript { code, ..ReplyScript::default() });
            bench.send("canary-token").await.ok();
        }
        bench.reply(ReplyScript { cut: Some(Cut::Reset), ..ReplyScript::default() });
        bench.send("canary-token").await.unwrap_err();
        bench.oauth(OauthScript { revoke: true, ..OauthScript::default() });
        // A test on another thread that logs nothing may have switched these lines off for the process.
        tracing::callsite::rebuild_interest_cache();
    }
    drop(guard);

    let log = String::from_utf8(captured.0.lock().clone()).unwrap();
    assert!(log.contains("FCM refused a push"), "nothing was captured");
    for secret in ["canary-token", "is available", "ya29.", "PRIVATE KEY", "eyJ"] {
        assert!(!log.contains(secret), "the log shows {secret}");
    }
}
