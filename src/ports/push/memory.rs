//! A push service in memory: remembers what it was sent, and refuses what a test told it to.

use std::collections::{HashMap, VecDeque};

use async_trait::async_trait;
use parking_lot::Mutex;
use tokio::sync::watch;

use crate::ports::push::{Accepted, Push, PushError, PushGateway};

/// Answers in the order they were scripted, per token; without a script it accepts.
pub struct MemoryPush {
    received: watch::Sender<Vec<Push>>,
    refusals: Mutex<HashMap<String, VecDeque<PushError>>>,
}

impl Default for MemoryPush {
    fn default() -> Self {
        Self::new()
    }
}

impl MemoryPush {
    #[must_use]
    pub fn new() -> Self {
        Self { received: watch::Sender::new(Vec::new()), refusals: Mutex::default() }
    }

    /// Refuses one more push to `token`; several are answered in the order of these calls.
    pub fn refuse_next(&self, token: &str, error: PushError) {
        self.refusals.lock().entry(token.to_owned()).or_default().push_back(error);
    }

    /// Every push that arrived so far, refused ones included.
    #[must_use]
    pub fn received(&self) -> Vec<Push> {
        self.received.borrow().clone()
    }

    /// Waits until at least `count` pushes have arrived, refused ones included, and returns all of them.
    pub async fn received_at_least(&self, count: usize) -> Vec<Push> {
        let mut received = self.received.subscribe();
        let pushes = received.wait_for(|pushes| pushes.len() >= count).await;
        pushes.expect("the sender lives as long as self").clone()
    }
}

#[async_trait]
impl PushGateway for MemoryPush {
    async fn send(&self, push: &Push) -> Result<Accepted, PushError> {
        push.check()?;
        let refusal = self.refusals.lock().get_mut(&push.token).and_then(VecDeque::pop_front);
        let mut name = String::new();
        self.received.send_modify(|pushes| {
            pushes.push(push.clone());
            name = format!("projects/memory/messages/{}", pushes.len());
        });
        refusal.map_or(Ok(Accepted { name }), Err)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::ports::push::contract::{self, Peer, Refusal};

    struct Memory<'a>(&'a MemoryPush);

    #[async_trait]
    impl Peer for Memory<'_> {
        async fn refuse_next(&self, token: &str, refusal: Refusal) {
            let after = Duration::from_secs(7);
            self.0.refuse_next(
                token,
                match refusal {
                    Refusal::Overloaded => PushError::Retry { after: Some(after), reason: "unavailable" },
                    Refusal::OverQuota => PushError::Hold { after, reason: "quota_exceeded" },
                    Refusal::PlatformBroken => PushError::HoldPlatform { after, reason: "third_party_auth" },
                    Refusal::Unregistered => PushError::TokenDead { reason: "unregistered" },
                    Refusal::WrongMessage => PushError::Fatal { reason: "invalid_argument" },
                },
            );
        }

        async fn received(&self) -> Vec<String> {
            self.0.received().into_iter().map(|push| push.token).collect()
        }
    }

    #[tokio::test]
    async fn keeps_the_contract() {
        let push = MemoryPush::new();
        contract::holds(&push, &Memory(&push)).await;
    }
}
