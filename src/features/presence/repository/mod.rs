//! The `user_presence` table.
//!
//! Whoever writes many rows locks them in the order of the users' ids. All times are those of Postgres' clock: nodes' clocks
//! differ, and a grace must not.

use crate::domain::clock::Timestamp;
use crate::domain::ids::UserId;
use crate::domain::standing::{Availability, Standing};

mod answering;
mod watched;

pub use answering::{
    Claim, Gone, absent, answering_nodes, claim, connected, hand_over, left, orphan, strays,
};
pub use watched::{changed, hidden, visible};

struct Row {
    user_id: UserId,
    status: String,
    last_seen: Option<Timestamp>,
    changed_at: Option<Timestamp>,
    revision: i64,
}

impl TryFrom<Row> for Standing {
    type Error = sqlx::Error;

    fn try_from(row: Row) -> Result<Self, sqlx::Error> {
        let known = Availability::ALL.into_iter().find(|it| it.as_str() == row.status);
        let availability = known
            .ok_or_else(|| sqlx::Error::Decode(format!("`{}` is no availability", row.status).into()))?;
        // What is written of who is here is when another connection was closed.
        let last_seen = row.last_seen.filter(|_| availability == Availability::Offline);
        Ok(Self {
            user: row.user_id,
            availability,
            last_seen,
            changed_at: row.changed_at,
            revision: row.revision,
        })
    }
}

fn standings(rows: Vec<Row>) -> Result<Vec<Standing>, sqlx::Error> {
    rows.into_iter().map(Standing::try_from).collect()
}

fn ids(users: &[UserId]) -> Vec<uuid::Uuid> {
    users.iter().map(|user| user.0).collect()
}
