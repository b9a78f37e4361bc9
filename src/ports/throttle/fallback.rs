//! The shared counter while it answers, this node's own while it does not. Never "allow".
//!
//! While the shared store is away a limit holds per node, so that N nodes allow at most N times as much.

use std::sync::Arc;

use async_trait::async_trait;

use super::{Limit, Throttle, ThrottleError, Verdict};

pub struct FallbackThrottle {
    pub shared: Arc<dyn Throttle>,
    pub local: Arc<dyn Throttle>,
}

impl FallbackThrottle {
    fn note(error: &ThrottleError) {
        metrics::counter!("fanlight_throttle_fallbacks_total").increment(1);
        tracing::debug!(%error, "limits are counted on this node alone");
    }
}

#[async_trait]
impl Throttle for FallbackThrottle {
    async fn hit(&self, key: &str, limit: Limit) -> Result<Verdict, ThrottleError> {
        match self.shared.hit(key, limit).await {
            Ok(verdict) => Ok(verdict),
            Err(error) => {
                Self::note(&error);
                self.local.hit(key, limit).await
            }
        }
    }

    async fn check(&self, key: &str, limit: Limit) -> Result<Verdict, ThrottleError> {
        match self.shared.check(key, limit).await {
            Ok(verdict) => Ok(verdict),
            Err(error) => {
                Self::note(&error);
                self.local.check(key, limit).await
            }
        }
    }

    /// Forgets in both. A shared count that cannot be reached now lapses with its window.
    async fn reset(&self, key: &str) -> Result<(), ThrottleError> {
        if let Err(error) = self.shared.reset(key).await {
            Self::note(&error);
        }
        self.local.reset(key).await
    }
}
