//! What Redis is told to publish, while somebody looks at the page.
//!
//! With `MONITOR`, not with a subscription: that would be counted among the receivers of every envelope, and a node that
//! is gone would seem to listen. It slows Redis down, so it ends when nobody looks any more.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt as _;
use tokio::sync::watch;
use tokio::time::Instant;
use uuid::Uuid;

use super::journal::Journal;
use super::line::message_in;
use crate::delivery::rooms;
use crate::ports::broker::wire::{self, Message};
use crate::shutdown::Shutdown;

const INBOX: &str = r#""PUBLISH" "fanlight:inbox:"#;
const TOPIC: &str = r#""PUBLISH" "fanlight:topic:"#;
const WATCH_ON: Duration = Duration::from_secs(10);
const AGAIN: Duration = Duration::from_millis(500);

pub struct Bus {
    /// Nobody looks any more after this.
    until: watch::Sender<Instant>,
}

impl Bus {
    /// # Errors
    /// When the URL is none.
    pub fn follow(journal: &Arc<Journal>, redis: &str, tasks: &Shutdown) -> anyhow::Result<Arc<Self>> {
        let client = redis::Client::open(redis)?;
        let bus = Arc::new(Self { until: watch::Sender::new(Instant::now()) });
        let (journal, stop, mut until) = (Arc::clone(journal), tasks.clone(), bus.until.subscribe());
        tasks.spawn("dev.bus", async move {
            // Cancel-safe: what is not noted is only not shown.
            stop.unless_stopped(async {
                while until.wait_for(|until| *until > Instant::now()).await.is_ok() {
                    if let Err(error) = watch_on(&client, &journal, &until).await {
                        tracing::debug!(%error, "the bus cannot be watched now");
                        tokio::time::sleep(AGAIN).await;
                    }
                }
            })
            .await;
        });
        Ok(bus)
    }

    /// Somebody looks.
    pub fn keep_watching(&self) {
        self.until.send_replace(Instant::now() + WATCH_ON);
    }
}

/// Notes every envelope and every message, until nobody looks or Redis is away.
async fn watch_on(
    client: &redis::Client,
    journal: &Journal,
    until: &watch::Receiver<Instant>,
) -> redis::RedisResult<()> {
    let monitor = client.get_async_monitor().await?;
    let mut lines = monitor.into_on_message::<String>();
    let mut look = tokio::time::interval(AGAIN);
    loop {
        // Cancel-safe: a line that was not taken stays in the stream.
        let line = tokio::select! {
            line = lines.next() => line,
            _ = look.tick() => {
                if *until.borrow() < Instant::now() {
                    return Ok(());
                }
                continue;
            }
        };
        let Some(line) = line else { return Err((redis::ErrorKind::Io, "Redis is gone").into()) };
        if let Some((at, node, id)) = envelope(&line).or_else(|| message(&line)) {
            journal.published(id, node, at);
        }
    }
}

/// When which event was published to which inbox.
fn envelope(line: &str) -> Option<(f64, Uuid, Uuid)> {
    let (at, inbox, payload) = publication(line, INBOX)?;
    match wire::decode(payload)? {
        Message::Envelope(envelope) => Some((at, inbox, envelope.event.0)),
        Message::Probe(_) => None,
    }
}

/// When a node said that which message was written.
fn message(line: &str) -> Option<(f64, Uuid, Uuid)> {
    let (at, _, payload) = publication(line, TOPIC)?;
    let (node, frame) = rooms::frame_of(payload)?;
    Some((at, node.0, message_in(&frame)?))
}

/// When, to whom, what. A line is `1710930000.123456 [0 lua] "PUBLISH" "channel" "payload"`.
fn publication(line: &str, channel: &str) -> Option<(f64, Uuid, Bytes)> {
    let (head, rest) = line.split_once(channel)?;
    let (id, payload) = rest.split_once(r#"" ""#)?;
    let seconds: f64 = head.split(' ').next()?.parse().ok()?;
    Some((seconds * 1000.0, id.parse().ok()?, unescaped(payload.strip_suffix('"')?)?))
}

/// Bytes as Redis quotes them (`sdscatrepr`).
fn unescaped(text: &str) -> Option<Bytes> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        let plain = match byte {
            b'\\' => match rest.next()? {
                b'n' => b'\n',
                b'r' => b'\r',
                b't' => b'\t',
                b'a' => 0x07,
                b'b' => 0x08,
                b'x' => {
                    let digits = [rest.next()?, rest.next()?];
                    u8::from_str_radix(std::str::from_utf8(&digits).ok()?, 16).ok()?
                }
                quoted => quoted,
            },
            other => other,
        };
        bytes.push(plain);
    }
    Some(bytes.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dev::testing::redis_url;
    use crate::domain::ids::{EventId, UserId};
    use crate::ports::broker::Envelope;

    #[tokio::test]
    async fn what_redis_publishes_is_seen_without_being_a_receiver() {
        let client = redis::Client::open(redis_url().await).unwrap();
        let mut redis = crate::dev::redis::connect(&client).await.unwrap();
        let mut lines = client.get_async_monitor().await.unwrap().into_on_message::<String>();
        let (event, inbox) = (EventId::generate(), Uuid::now_v7());
        let frame = Bytes::from_static(b"\x81\"\\ \n\r\t\x07\x08\xff");
        let envelope = Envelope { event, user: UserId::generate(), seq: 7, trace: None, frame };
        let script = "return redis.call('PUBLISH', ARGV[1], ARGV[2])";
        let mut publish = redis::cmd("EVAL");
        publish.arg(script).arg(0).arg(format!("fanlight:inbox:{inbox}")).arg(&wire::encode(&envelope)[..]);
        let receivers: i64 = publish.query_async(&mut redis).await.unwrap();
        assert_eq!(receivers, 0);

        // Other tests may publish in the same Redis.
        let seen = async {
            loop {
                let line = lines.next().await.unwrap();
                if let Some((at, _, id)) = super::envelope(&line).filter(|(_, seen, _)| *seen == inbox) {
                    break (at, id);
                }
            }
        };
        let (at, id) = tokio::time::timeout(Duration::from_secs(30), seen).await.unwrap();
        assert_eq!(id, event.0);
        assert!(at > 1_710_930_000_000.0);
    }

    #[test]
    fn a_message_is_seen_with_the_node_that_says_it() {
        let (room, node, id) = (Uuid::now_v7(), Uuid::now_v7(), Uuid::now_v7());
        let bytes: Vec<_> = node.as_bytes().iter().map(|byte| format!("\\x{byte:02x}")).collect();
        let header = format!("\\x01\\x01{}{}", bytes.concat(), "\\x00".repeat(8));
        let line = |kind: &str| {
            let frame = format!(r#"{{\"type\":\"{kind}\",\"id\":\"{id}\",\"channelId\":\"{room}\"}}"#);
            format!(r#"1.5 [0 127.0.0.1:1] "PUBLISH" "fanlight:topic:{room}" "{header}\x81\x7e{frame}""#)
        };
        assert_eq!(message(&line("MESSAGE_CREATED")), Some((1_500.0, node, id)));
        assert_eq!(message(&line("MESSAGE_EDITED")), None);
    }

    #[test]
    fn what_is_neither_is_passed_over() {
        for line in [
            "",
            r#"1.5 [0 lua] "PUBLISH" "fanlight:inbox:x" "\x01""#,
            r#"1.5 [0 lua] "PUBLISH" "fanlight:inbox:0193553a-7b0c-7d3e-8f00-000000000001" "\x0"#,
            r#"1.5 [0 127.0.0.1:1] "PUBLISH" "fanlight:topic:0193553a-7b0c-7d3e-8f00-000000000001" "\x01\x03""#,
            r#"1.5 [0 127.0.0.1:1] "GET" "fanlight:lease:x""#,
        ] {
            assert_eq!(envelope(line).or_else(|| message(line)), None, "{line}");
        }
    }
}
