//! What every push gateway does, whatever is behind it.

use std::time::Duration;

use async_trait::async_trait;

use crate::ports::push::{PAYLOAD_BYTES_MAX, Platform, Push, PushError, PushGateway};

/// Why the service behind a gateway refuses a push. Where it may say how long to wait, it says 7 seconds.
#[derive(Clone, Copy, Debug)]
pub enum Refusal {
    Overloaded,
    OverQuota,
    PlatformBroken,
    Unregistered,
    WrongMessage,
}

/// The service behind a gateway, in the hands of a test.
#[async_trait]
pub trait Peer: Sync {
    async fn refuse_next(&self, token: &str, refusal: Refusal);

    /// The tokens of the pushes that arrived, in order.
    async fn received(&self) -> Vec<String>;
}

/// A push as delivery makes it.
pub fn push(token: &str) -> Push {
    let data = [
        ("type", "PARTNER_STATUS_CHANGED"),
        ("eventId", "0193a5c0-0000-7000-8000-000000000001"),
        ("seq", "7"),
        ("actorId", "0193a5c0-0000-7000-8000-000000000002"),
        ("status", "AVAILABLE"),
    ];
    Push {
        token: token.to_owned(),
        platform: Platform::Android,
        data: data.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect(),
        title: "Anna".to_owned(),
        body: "is available".to_owned(),
        collapse_key: "status:0193a5c0-0000-7000-8000-000000000002".to_owned(),
        ttl: Duration::from_hours(1),
    }
}

/// The whole suite, for a gateway and the fresh service behind it.
pub async fn holds(gateway: &dyn PushGateway, peer: &dyn Peer) {
    accepts_and_names_each_message(gateway, peer).await;
    each_refusal_says_what_to_do(gateway, peer).await;
    one_refused_token_does_not_stop_another(gateway, peer).await;
    what_cannot_be_sent_never_reaches_the_service(gateway, peer).await;
}

async fn accepts_and_names_each_message(gateway: &dyn PushGateway, peer: &dyn Peer) {
    let mut names = Vec::new();
    for platform in [Platform::Android, Platform::Ios, Platform::Web] {
        let push = Push { platform, ..push(platform.as_str()) };
        names.push(gateway.send(&push).await.expect("nothing was scripted").name);
    }
    assert_eq!(peer.received().await, ["android", "ios", "web"]);
    assert!(names.iter().all(|name| name.starts_with("projects/")), "{names:?}");
    names.sort();
    names.dedup();
    assert_eq!(names.len(), 3, "two messages share a name");
}

async fn each_refusal_says_what_to_do(gateway: &dyn PushGateway, peer: &dyn Peer) {
    let after = Duration::from_secs(7);
    let table = [
        (Refusal::Overloaded, PushError::Retry { after: Some(after), reason: "unavailable" }),
        (Refusal::OverQuota, PushError::Hold { after, reason: "quota_exceeded" }),
        (Refusal::PlatformBroken, PushError::HoldPlatform { after, reason: "third_party_auth" }),
        (Refusal::Unregistered, PushError::TokenDead { reason: "unregistered" }),
        (Refusal::WrongMessage, PushError::Fatal { reason: "invalid_argument" }),
    ];
    for (refusal, expected) in table {
        peer.refuse_next("refused", refusal).await;
        assert_eq!(gateway.send(&push("refused")).await, Err(expected), "{refusal:?}");
        gateway.send(&push("refused")).await.expect("a refusal is for one push only");
    }
}

async fn one_refused_token_does_not_stop_another(gateway: &dyn PushGateway, peer: &dyn Peer) {
    peer.refuse_next("first", Refusal::Unregistered).await;
    let (first, second) = (push("first"), push("second"));
    let (first, second) = tokio::join!(gateway.send(&first), gateway.send(&second));
    assert_eq!(first, Err(PushError::TokenDead { reason: "unregistered" }));
    second.expect("only the first token was scripted");
}

async fn what_cannot_be_sent_never_reaches_the_service(gateway: &dyn PushGateway, peer: &dyn Peer) {
    let before = peer.received().await.len();

    let mut large = push("large");
    large.body = "x".repeat(PAYLOAD_BYTES_MAX);
    assert_eq!(gateway.send(&large).await, Err(PushError::Fatal { reason: "payload_too_large" }));

    for key in ["from", "message_type", "google.id", "gcm_id"] {
        let mut reserved = push("reserved");
        reserved.data.insert(key.to_owned(), "1".to_owned());
        assert_eq!(gateway.send(&reserved).await, Err(PushError::Fatal { reason: "reserved_data_key" }));
    }
    assert_eq!(peer.received().await.len(), before);
}
