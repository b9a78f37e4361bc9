//! What notifications ask about screens, answered by presence, which knows what devices say of themselves.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use async_trait::async_trait;

use crate::domain::ids::{ChannelId, UserId};
use crate::features::notifications::{Attention, AttentionUnavailable};
use crate::features::presence;

/// The screens of all devices that are connected, to any node.
pub struct Screens {
    pub presence: Arc<presence::Service>,
}

#[async_trait]
impl Attention for Screens {
    async fn viewing(
        &self,
        places: &[(UserId, ChannelId)],
    ) -> Result<HashSet<(UserId, ChannelId)>, AttentionUnavailable> {
        let users: HashSet<UserId> = places.iter().map(|(user, _)| *user).collect();
        let users: Vec<UserId> = users.into_iter().collect();
        let found = self.presence.devices_of(&users).await;
        let devices: HashMap<UserId, Vec<presence::Device>> =
            found.map_err(|error| AttentionUnavailable(error.to_string()))?.into_iter().collect();
        let is_shown = |(user, channel): &(UserId, ChannelId)| {
            let of_user = devices.get(user).map_or(&[][..], Vec::as_slice);
            of_user.iter().any(|device| !device.is_away && device.viewing == Some(*channel))
        };
        Ok(places.iter().copied().filter(is_shown).collect())
    }
}
