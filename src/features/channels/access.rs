//! Who may do what in a conversation: the one decision behind REST, the socket and whatever else comes to it.
//!
//! [`access`] reads what somebody is to a conversation, [`Access::allows`] decides, without asking anything more.
//! Whoever acts on the answer, by writing there or by changing who is in it, reads with [`access_locked`]: until that
//! transaction ends nobody is taken out, and whoever is taken out first cannot act.

use sqlx::PgExecutor;
use uuid::Uuid;

use crate::db::PgConnection;
use crate::domain::ids::{ChannelId, UserId};
use crate::features::channels::model::{Kind, Role};

/// What somebody is to a conversation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Access {
    pub kind: Kind,
    pub is_private: bool,
    /// None: not in it.
    pub role: Option<Role>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// See what it is called and who is in it.
    View,
    /// Read what was written.
    Read,
    /// Follow it live.
    Subscribe,
    Send,
    React,
    /// Delete what others wrote.
    Moderate,
    /// Change its name and what it is about.
    Update,
    Delete,
    Join,
    /// Take somebody in, as this.
    Invite {
        role: Role,
    },
    /// Take somebody else out, who is this.
    RemoveMember {
        role: Role,
    },
    /// Make somebody else, who is this, another.
    Appoint {
        from: Role,
        to: Role,
    },
    /// Be this from now on.
    StepDown {
        to: Role,
    },
    Leave,
}

/// Why not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Denied {
    /// They may not even know that it is there: as if it were not.
    Hidden,
    /// They may know of it, but not do this.
    Forbidden,
}

impl Access {
    /// # Errors
    /// Why not.
    pub fn allows(self, operation: Operation) -> Result<(), Denied> {
        let Some(role) = self.role else { return self.allows_outsider(operation) };
        let allowed = match operation {
            Operation::View
            | Operation::Read
            | Operation::Subscribe
            | Operation::Send
            | Operation::React
            | Operation::Join => true,
            Operation::Moderate | Operation::Update => role >= Role::Admin,
            Operation::Delete => role == Role::Owner,
            Operation::Invite { role: new } => role >= Role::Admin && new <= role,
            Operation::RemoveMember { role: theirs } => role >= Role::Admin && theirs < role,
            Operation::Appoint { from, to } => role >= Role::Admin && from < role && to <= role,
            Operation::StepDown { to } => to <= role,
            // It is the two of them for ever.
            Operation::Leave => self.kind != Kind::Direct,
        };
        if allowed { Ok(()) } else { Err(Denied::Forbidden) }
    }

    fn allows_outsider(self, operation: Operation) -> Result<(), Denied> {
        match (self.kind, operation) {
            (Kind::Channel, Operation::View | Operation::Join) if !self.is_private => Ok(()),
            (Kind::Channel, _) => Err(Denied::Forbidden),
            (Kind::Group | Kind::Direct, _) => Err(Denied::Hidden),
        }
    }
}

/// What `user` is to the conversation now; `None`: there is none.
///
/// # Errors
/// When Postgres does not answer.
pub async fn access(
    executor: impl PgExecutor<'_>,
    user: UserId,
    channel: ChannelId,
) -> Result<Option<Access>, sqlx::Error> {
    let row = sqlx::query!(
        r#"SELECT c.kind, c.is_private, m.role AS "role?"
           FROM channels c LEFT JOIN channel_members m ON m.channel_id = c.id AND m.user_id = $2
           WHERE c.id = $1 AND c.deleted_at IS NULL"#,
        channel.0,
        user.0,
    )
    .fetch_optional(executor)
    .await?;
    row.map(|row| from_columns(&row.kind, row.is_private, row.role.as_deref())).transpose()
}

/// As [`access`], and locks the conversation until the transaction ends: nobody is taken in or out meanwhile, nobody
/// else writes there, and what was done before has been read. Take it after the locks of users, before all others.
///
/// # Errors
/// When Postgres does not answer.
pub async fn access_locked(
    conn: &mut PgConnection,
    user: UserId,
    channel: ChannelId,
) -> Result<Option<Access>, sqlx::Error> {
    let row =
        sqlx::query!("SELECT kind, is_private, role FROM lock_channel_access($1, $2)", channel.0, user.0)
            .fetch_one(conn)
            .await?;
    let (Some(kind), Some(is_private)) = (row.kind, row.is_private) else { return Ok(None) };
    from_columns(&kind, is_private, row.role.as_deref()).map(Some)
}

/// Those of these users who are in the conversation.
///
/// # Errors
/// When Postgres does not answer.
pub async fn members_among(
    executor: impl PgExecutor<'_>,
    channel: ChannelId,
    users: &[UserId],
) -> Result<Vec<UserId>, sqlx::Error> {
    let users: Vec<Uuid> = users.iter().map(|user| user.0).collect();
    sqlx::query_scalar!(
        r#"SELECT user_id AS "user: UserId" FROM channel_members WHERE channel_id = $1 AND user_id = ANY($2)"#,
        channel.0,
        &users,
    )
    .fetch_all(executor)
    .await
}

fn from_columns(kind: &str, is_private: bool, role: Option<&str>) -> Result<Access, sqlx::Error> {
    let role = role.map(Role::from_column).transpose()?;
    Ok(Access { kind: Kind::from_column(kind)?, is_private, role })
}

#[cfg(test)]
mod tests {
    use super::*;

    const INSIDE: [Operation; 5] =
        [Operation::View, Operation::Read, Operation::Subscribe, Operation::Send, Operation::React];

    fn of(kind: Kind, is_private: bool, role: Option<Role>) -> Access {
        Access { kind, is_private, role }
    }

    #[test]
    fn a_member_reads_and_writes_whatever_it_is() {
        for kind in Kind::ALL {
            for role in Role::ALL {
                for operation in INSIDE {
                    assert_eq!(of(kind, true, Some(role)).allows(operation), Ok(()), "{kind:?} {role:?}");
                }
            }
        }
    }

    #[test]
    fn somebody_outside_sees_and_joins_what_is_public_and_knows_nothing_of_groups() {
        let all = INSIDE.into_iter().chain([
            Operation::Join,
            Operation::Leave,
            Operation::Update,
            Operation::Delete,
            Operation::Moderate,
            Operation::Invite { role: Role::Member },
            Operation::RemoveMember { role: Role::Member },
            Operation::Appoint { from: Role::Member, to: Role::Member },
            Operation::StepDown { to: Role::Member },
        ]);
        for operation in all {
            let open = matches!(operation, Operation::View | Operation::Join);
            let public = of(Kind::Channel, false, None).allows(operation);
            assert_eq!(public, if open { Ok(()) } else { Err(Denied::Forbidden) }, "{operation:?}");
            assert_eq!(of(Kind::Channel, true, None).allows(operation), Err(Denied::Forbidden));
            assert_eq!(of(Kind::Group, true, None).allows(operation), Err(Denied::Hidden));
            assert_eq!(of(Kind::Direct, true, None).allows(operation), Err(Denied::Hidden));
        }
    }

    #[test]
    fn nobody_gives_more_than_they_have_or_takes_out_who_has_as_much() {
        let allowed = |role, operation| of(Kind::Group, true, Some(role)).allows(operation).is_ok();
        for (role, invites, removes) in [
            (Role::Member, &[][..], &[][..]),
            (Role::Admin, &[Role::Member, Role::Admin][..], &[Role::Member][..]),
            (Role::Owner, &Role::ALL[..], &[Role::Member, Role::Admin][..]),
        ] {
            for other in Role::ALL {
                assert_eq!(allowed(role, Operation::Invite { role: other }), invites.contains(&other));
                assert_eq!(allowed(role, Operation::RemoveMember { role: other }), removes.contains(&other));
                for to in Role::ALL {
                    let appoints = removes.contains(&other) && invites.contains(&to);
                    assert_eq!(allowed(role, Operation::Appoint { from: other, to }), appoints);
                }
                assert_eq!(allowed(role, Operation::StepDown { to: other }), other <= role);
            }
        }
    }

    #[test]
    fn a_direct_conversation_stays_what_it_is() {
        let one = of(Kind::Direct, true, Some(Role::Member));
        for operation in [
            Operation::Update,
            Operation::Delete,
            Operation::Leave,
            Operation::Moderate,
            Operation::Invite { role: Role::Member },
            Operation::RemoveMember { role: Role::Member },
        ] {
            assert_eq!(one.allows(operation), Err(Denied::Forbidden), "{operation:?}");
        }
    }
}
