//! Who may follow a conversation live, and be seen typing there.

use async_trait::async_trait;

use crate::db::{PgPool, within_deadline};
use crate::domain::ids::{ChannelId, UserId};
use crate::features::channels::access::{self, Operation, access};
use crate::features::rooms;

pub struct Doorkeeper {
    pub pool: PgPool,
}

impl Doorkeeper {
    async fn may(&self, user: UserId, room: ChannelId, operation: Operation) -> Result<(), rooms::Denied> {
        let access = within_deadline(access(&self.pool, user, room)).await.map_err(|error| {
            tracing::warn!(%error, "cannot read who may follow a conversation");
            rooms::Denied::Unavailable
        })?;
        access.ok_or(rooms::Denied::Hidden)?.allows(operation).map_err(|denied| match denied {
            access::Denied::Hidden => rooms::Denied::Hidden,
            access::Denied::Forbidden => rooms::Denied::Forbidden,
        })
    }
}

#[async_trait]
impl rooms::Doorkeeper for Doorkeeper {
    async fn may_subscribe(&self, user: UserId, room: ChannelId) -> Result<(), rooms::Denied> {
        self.may(user, room, Operation::Subscribe).await
    }

    async fn may_type(&self, user: UserId, room: ChannelId) -> Result<(), rooms::Denied> {
        self.may(user, room, Operation::Send).await
    }
}
