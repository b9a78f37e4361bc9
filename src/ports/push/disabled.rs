//! Push is off: every event waits for its device to connect.

use std::time::Duration;

use async_trait::async_trait;

use crate::ports::push::{Accepted, Push, PushError, PushGateway};

/// How long delivery leaves push alone before it asks again; the answer changes only with a restart.
const ASK_AGAIN: Duration = Duration::from_mins(1);

/// Holds every push back, so that its event stays pending: nothing is called sent that was not.
pub struct DisabledPush;

#[async_trait]
impl PushGateway for DisabledPush {
    async fn send(&self, _push: &Push) -> Result<Accepted, PushError> {
        Err(PushError::Hold { after: ASK_AGAIN, reason: "push_disabled" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ports::push::contract;

    #[tokio::test]
    async fn a_push_is_held_back_and_not_called_sent() {
        let answer = DisabledPush.send(&contract::push("any")).await;
        assert_eq!(answer, Err(PushError::Hold { after: ASK_AGAIN, reason: "push_disabled" }));
    }
}
