//! What is on people's screens at this moment: who looks at a conversation need not be told of it.

use std::collections::HashSet;

use async_trait::async_trait;

use crate::domain::ids::{ChannelId, UserId};

/// Knows what the devices that are connected, to any node, say that they show.
#[async_trait]
pub trait Attention: Send + Sync + 'static {
    /// Those of these users and conversations of which a device of the user shows the conversation now. One question for
    /// all of them.
    ///
    /// # Errors
    /// When that cannot be found out soon: whoever might be looking is then told.
    async fn viewing(
        &self,
        places: &[(UserId, ChannelId)],
    ) -> Result<HashSet<(UserId, ChannelId)>, AttentionUnavailable>;
}

#[derive(Debug, thiserror::Error)]
#[error("what is on screens is not known: {0}")]
pub struct AttentionUnavailable(pub String);
