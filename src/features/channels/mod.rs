//! Where people write to each other: channels, groups and direct conversations, and who is in them.
//!
//! One model for all three. Whoever changes a conversation or who is in it locks its row first and decides by what it
//! reads then, so that two changes never see the same past; what members write takes the same lock, so that nothing
//! is written by somebody who was taken out. Lock order: users' rows by their ids, the conversation's row, its
//! members', inboxes by user id. The count of members, and that a conversation has an owner, are kept by the database.
//!
//! `routes` → [`Service`] → [`access`] decides → `repository`; those concerned are told by events, those who
//! follow it live through [`Followers`].

use anyhow::bail;
use serde::Deserialize;

mod access;
mod commands;
mod doorkeeper;
mod error;
mod events;
mod followers;
mod forms;
mod model;
mod purge;
mod repository;
mod routes;
mod service;
#[cfg(test)]
pub(in crate::features) mod tests;
mod views;

pub use access::{Access, Denied, Operation, access, access_locked, members_among};
pub use doorkeeper::Doorkeeper;
pub use error::ChannelsError;
pub(super) use events::events;
pub use followers::{Followers, Notice};
pub use model::{Channel, ChannelChange, Kind, Member, NewChannel, Role};
pub use purge::run_purge_job;
pub use routes::{openapi, routes};
pub use service::{Service, Settings};

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// How many people one conversation takes.
    pub members_max: u32,
    /// How many conversations one person may be in.
    pub memberships_per_user_max: u32,
    /// How many people one person may take in per window.
    pub invitations_per_user_max: u32,
    pub invitations_window_seconds: u32,
    /// How often one person may make, change and delete conversations, and give roles.
    pub changes_per_minute_max: u32,
    /// How often a node looks for messages of deleted conversations.
    pub purge_poll_seconds: u64,
    /// How many of them one transaction deletes.
    pub purge_batch_max: u32,
}

impl Config {
    /// # Errors
    /// One sentence that names the key and what is wrong with it.
    pub fn check(&self) -> anyhow::Result<()> {
        if self.members_max < 2 || self.memberships_per_user_max == 0 {
            bail!(
                "channels.members_max must be at least 2, and channels.memberships_per_user_max at least 1"
            );
        }
        if self.invitations_per_user_max == 0 || self.invitations_window_seconds == 0 {
            bail!(
                "channels.invitations_per_user_max and channels.invitations_window_seconds must be at least 1"
            );
        }
        if self.changes_per_minute_max == 0 {
            bail!("channels.changes_per_minute_max must be at least 1");
        }
        if self.purge_poll_seconds == 0 || self.purge_batch_max == 0 {
            bail!("channels.purge_poll_seconds and channels.purge_batch_max must be at least 1");
        }
        Ok(())
    }
}
