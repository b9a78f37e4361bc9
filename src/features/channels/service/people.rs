//! Who is in a conversation: shows them, takes people in, takes them out.

use super::{Service, count, lock};
use crate::delivery::outbox;
use crate::domain::ids::{ChannelId, UserId};
use crate::edge::http::paging;
use crate::features::accounts;
use crate::features::channels::access::{Operation, access};
use crate::features::channels::error::ChannelsError;
use crate::features::channels::events::{self, Inviter};
use crate::features::channels::followers::Notice;
use crate::features::channels::model::{Member, Role};
use crate::features::channels::repository::members;
use crate::features::notifications::Invitations;

impl Service {
    /// One page of those who are in it, by their ids, and whether there are more.
    pub async fn members(
        &self,
        caller: UserId,
        channel: ChannelId,
        after: Option<UserId>,
        limit: u32,
    ) -> Result<(Vec<Member>, bool), ChannelsError> {
        let access = access(&self.pool, caller, channel).await?.ok_or(ChannelsError::NotFound)?;
        access.allows(Operation::View)?;
        let mut found = members::list(&self.pool, channel, after, paging::one_more(limit)).await?;
        let has_more = paging::cut(&mut found, limit);
        Ok((found, has_more))
    }

    /// Takes somebody in, and tells them.
    pub async fn add(
        &self,
        caller: UserId,
        channel: ChannelId,
        user: UserId,
        role: Role,
    ) -> Result<Member, ChannelsError> {
        self.count_invitations(caller, 1).await?;
        let mut tx = self.pool.begin().await?;
        let found = members::lock_users(&mut tx, &[user]).await?;
        let (access, mut channel) = lock(&mut tx, caller, channel).await?;
        access.allows(Operation::Invite { role })?;
        if found.is_empty() {
            return Err(ChannelsError::UnknownUser);
        }
        if self.take_in(&mut tx, &mut channel, &[user], role).await? == 0 {
            return Err(ChannelsError::AlreadyMember);
        }
        let member = members::find(&mut *tx, channel.id, user).await?.ok_or(ChannelsError::NotFound)?;
        let name = accounts::display_name(&mut tx, caller).await?;
        let by = Inviter { id: caller, name: name.as_deref() };
        let invitations = Invitations::to(&mut tx, &[user], member.joined_at).await?;
        let told = events::invited(&channel, user, role, &by, member.joined_at);
        let committed = outbox::append(&mut tx, vec![invitations.allow(told)]).await?;
        tx.commit().await?;

        self.followers.tell(channel.id, &Notice::added(channel.id, user, role, caller, member.joined_at));
        self.dispatcher.dispatch(committed).await;
        invitations.count();
        count("invited");
        Ok(member)
    }

    /// Goes in. Returns what the caller is there, and whether they were not in it before.
    pub async fn join(&self, caller: UserId, channel: ChannelId) -> Result<(Member, bool), ChannelsError> {
        // Who comes and goes all the time makes everybody else hear of it.
        self.count_invitations(caller, 1).await?;
        let mut tx = self.pool.begin().await?;
        if members::lock_users(&mut tx, &[caller]).await?.is_empty() {
            return Err(ChannelsError::NoAccount);
        }
        let (access, mut channel) = lock(&mut tx, caller, channel).await?;
        access.allows(Operation::Join)?;
        let is_new = self.take_in(&mut tx, &mut channel, &[caller], Role::Member).await? == 1;
        let member = members::find(&mut *tx, channel.id, caller).await?.ok_or(ChannelsError::NotFound)?;
        tx.commit().await?;

        if is_new {
            let notice = Notice::added(channel.id, caller, member.role, caller, member.joined_at);
            self.followers.tell(channel.id, &notice);
            count("joined");
        }
        Ok((member, is_new))
    }

    /// Makes somebody what they are there from now on; the caller may only become less. Again, it changes nothing.
    pub async fn appoint(
        &self,
        caller: UserId,
        channel: ChannelId,
        user: UserId,
        role: Role,
    ) -> Result<Member, ChannelsError> {
        self.count_change(caller).await?;
        let mut tx = self.pool.begin().await?;
        let (access, _) = lock(&mut tx, caller, channel).await?;
        let theirs = members::role_of(&mut tx, channel, user).await?;
        if caller == user {
            access.allows(Operation::StepDown { to: role })?;
        } else {
            let from = theirs.unwrap_or(Role::Member);
            access.allows(Operation::Appoint { from, to: role })?;
        }
        let is_new = theirs.ok_or(ChannelsError::NotFound)? != role;
        if theirs == Some(Role::Owner) && is_new && !members::has_other_owner(&mut tx, channel, user).await? {
            return Err(ChannelsError::LastOwner);
        }
        members::appoint(&mut tx, channel, user, role).await?;
        let member = members::find(&mut *tx, channel, user).await?.ok_or(ChannelsError::NotFound)?;
        tx.commit().await?;

        if is_new {
            self.followers.tell(channel, &Notice::appointed(channel, user, role, caller, self.clock.now()));
            count("appointed");
        }
        Ok(member)
    }

    /// Takes somebody out, or lets the caller go.
    pub async fn remove(
        &self,
        caller: UserId,
        channel: ChannelId,
        user: UserId,
    ) -> Result<(), ChannelsError> {
        let mut tx = self.pool.begin().await?;
        members::lock_users(&mut tx, &[user]).await?;
        let (access, _) = lock(&mut tx, caller, channel).await?;
        if caller == user {
            access.allows(Operation::Leave)?;
            let is_owner = access.role == Some(Role::Owner);
            if is_owner && !members::has_other_owner(&mut tx, channel, user).await? {
                return Err(ChannelsError::LastOwner);
            }
        } else {
            let theirs = members::role_of(&mut tx, channel, user).await?;
            // Who may take out nobody does not learn who is in it, either.
            access.allows(Operation::RemoveMember { role: theirs.unwrap_or(Role::Member) })?;
            theirs.ok_or(ChannelsError::NotFound)?;
        }
        let revision = members::delete(&mut tx, channel, user).await?;
        let now = self.clock.now();
        let committed = outbox::append(&mut tx, vec![events::removed(channel, user, caller, now)]).await?;
        tx.commit().await?;

        // First, and without a pause in which the caller may give up.
        self.followers.expel(channel, user, revision);
        self.followers.tell(channel, &Notice::removed(channel, user, caller, now));
        self.dispatcher.dispatch(committed).await;
        count(if caller == user { "left" } else { "removed" });
        Ok(())
    }
}
