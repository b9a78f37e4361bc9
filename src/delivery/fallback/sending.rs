//! One question to the push service, and what its answer means.

use std::time::Duration;

use tokio::time::Instant;

use crate::db::within_deadline;
use crate::delivery::claims::Claimed;
use crate::delivery::device_tokens::DeviceToken;
use crate::delivery::event::PushContent;
use crate::delivery::fallback::attempts::{self, Due, Verdict};
use crate::delivery::fallback::holds::backoff;
use crate::delivery::fallback::worker::Worker;
use crate::delivery::texts;
use crate::failpoint;
use crate::ports::push::{Accepted, Push, PushError};
use crate::telemetry::traces::{self, Span, SpanKind};

/// What is sent, and since when we may.
pub struct Opened<'a> {
    pub event: &'a Claimed,
    pub content: &'a PushContent,
    pub at: Instant,
}

impl Worker {
    /// Asks the push service once for one device, and writes down what it said.
    pub async fn attempt<'a>(
        &self,
        opened: &Opened<'_>,
        token: &'a DeviceToken,
        due: Due,
    ) -> Result<(&'a DeviceToken, Verdict), sqlx::Error> {
        failpoint!("before_push");
        if opened.at.elapsed() >= self.config.claim_lease() {
            // Frozen since its last look: by now the push is somebody else's, and so is the record.
            metrics::counter!("fanlight_push_attempts_overtaken_total").increment(1);
            return Ok((token, Verdict::Later { after: Duration::ZERO, reason: "overtaken", counts: false }));
        }
        let mut verdict = if let Some(after) = self.holds.remaining(token.platform) {
            Verdict::Later { after, reason: "held", counts: false }
        } else {
            let mut span = Span::below(traces::current(), SpanKind::Client, "fcm.send")
                .with("push.platform", || token.platform.as_str());
            let answer = self.gateway.send(&message(opened.event, opened.content, token)).await;
            failpoint!("after_push");
            let verdict = self.judge(&answer, token, due);
            span.set("push.verdict", || verdict.as_str());
            if let Err(error) = &answer {
                span.set("push.error", || error.to_string());
                span.fail("the push was not taken");
            }
            verdict
        };
        if let Verdict::TokenDead { reason } = verdict
            && !within_deadline(self.tokens.retire(token, reason)).await?
        {
            // Registered again in between: what was called dead is not what the device has now.
            verdict = Verdict::Later { after: Duration::ZERO, reason: "registered_again", counts: false };
        }
        if verdict == Verdict::Accepted {
            let event = opened.event;
            let at_claim = (event.now - event.created_at).to_std().unwrap_or(Duration::ZERO);
            metrics::histogram!(
                "fanlight_delivery_push_duration_seconds", "platform" => token.platform.as_str()
            )
            .record(at_claim + opened.at.elapsed());
        }
        metrics::counter!(
            "fanlight_push_attempts_total",
            "platform" => token.platform.as_str(), "verdict" => verdict.as_str()
        )
        .increment(1);
        within_deadline(attempts::record(&self.pool, opened.event.id, token.id, verdict)).await?;
        Ok((token, verdict))
    }

    /// What an answer of the push service means for this attempt, and for all others.
    fn judge(&self, answer: &Result<Accepted, PushError>, token: &DeviceToken, due: Due) -> Verdict {
        let later = |after: Option<Duration>, reason| {
            let attempts = u32::try_from(due.attempts).unwrap_or(0);
            let after = after.unwrap_or_else(|| backoff(attempts, &self.config.push));
            Verdict::Later { after, reason, counts: true }
        };
        if let Err(PushError::Retry { .. }) = answer {
            if let Some(pause) = self.pace.failed(Instant::now()) {
                self.holds.hold(None, pause, "breaker");
            }
        } else {
            self.pace.answered();
        }
        match *answer {
            Ok(_) => Verdict::Accepted,
            Err(PushError::Retry { after, reason } | PushError::Busy { after, reason }) => {
                later(after, reason)
            }
            Err(PushError::Hold { after, reason }) => {
                self.pace.slow_down(Instant::now());
                self.holds.hold(None, after, reason);
                later(Some(after), reason)
            }
            Err(PushError::HoldPlatform { after, reason }) => {
                self.holds.hold(Some(token.platform), after, reason);
                later(Some(after), reason)
            }
            Err(PushError::TokenDead { reason }) => Verdict::TokenDead { reason },
            Err(PushError::Fatal { reason }) => {
                tracing::error!(push.reason = reason, "the push service will never take this message");
                Verdict::Refused { reason }
            }
        }
    }

    /// A message that the service took for one device and called wrong for another of the same platform is not
    /// wrong: the other's token is.
    pub async fn retire_wrong_tokens(&self, verdicts: &[(&DeviceToken, Verdict)]) -> Result<(), sqlx::Error> {
        for (token, verdict) in verdicts {
            let Verdict::Refused { reason: reason @ "invalid_argument" } = verdict else { continue };
            let taken = |(other, verdict): &(&DeviceToken, Verdict)| {
                other.platform == token.platform && *verdict == Verdict::Accepted
            };
            if verdicts.iter().any(taken) {
                within_deadline(self.tokens.retire(token, reason)).await?;
            }
        }
        Ok(())
    }
}

fn message(claimed: &Claimed, content: &PushContent, token: &DeviceToken) -> Push {
    let text = texts::render(&content.text, &content.args, &token.locale);
    Push {
        token: token.fcm_token.clone(),
        platform: token.platform,
        data: content.data_of(&claimed.kind, claimed.id, claimed.seq),
        title: text.title,
        body: text.body,
        collapse_key: content.collapse_key.clone(),
        ttl: (claimed.expires_at - claimed.now).to_std().unwrap_or(Duration::ZERO),
    }
}
