//! What Postgres and the push service hold in the end: the truth that the history is compared with.

use std::collections::HashMap;

use anyhow::ensure;
use fanlight::dev::fcm;
use serde::{Deserialize, Serialize};
use sqlx::PgPool;
use uuid::Uuid;

use crate::history::{Millis, fingerprint};
use crate::users::User;

/// What the fake FCM keeps; beyond it, it forgets.
const PUSHES_LOGGED_MAX: usize = 20_000;

/// One event as it is in the database.
#[derive(Clone, Debug, Serialize)]
pub struct Row {
    pub id: Uuid,
    /// Whose event it is.
    pub user: usize,
    pub seq: i64,
    /// The change that it tells of: who made it, and its name.
    pub actor: Option<usize>,
    pub name: Option<i64>,
    /// The room that it is about, if it is about one.
    pub room: Option<Uuid>,
    /// Tells the actor, not the partner.
    pub own: bool,
    pub pushable: bool,
    pub created_at: Millis,
    pub settled_at: Option<Millis>,
    pub outcome: Option<String>,
    /// Of the frame that the user should get.
    pub fingerprint: u64,
}

/// A push that arrived at the push service.
#[derive(Clone, Debug, Serialize)]
pub struct Push {
    pub at: Millis,
    /// Whose phone it was for.
    pub user: Option<usize>,
    pub event: Option<Uuid>,
    pub seq: i64,
    pub accepted: bool,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Body {
    r#type: String,
    partner_id: Option<Uuid>,
    user_id: Option<Uuid>,
    channel_id: Option<Uuid>,
    status_expiration: Option<i64>,
    timestamp: i64,
}

type Columns = (Uuid, Uuid, i64, String, bool, i64, Option<i64>, Option<String>);

/// All events, in the order of users and seqs.
pub async fn rows(pool: &PgPool, users: &[User]) -> anyhow::Result<Vec<Row>> {
    let index: HashMap<Uuid, usize> = users.iter().map(|user| (user.person.id.0, user.index)).collect();
    let columns: Vec<Columns> = sqlx::query_as(
        "SELECT id, user_id, seq, body, push IS NOT NULL,
                (EXTRACT(EPOCH FROM created_at) * 1000)::bigint,
                (EXTRACT(EPOCH FROM settled_at) * 1000)::bigint, outcome
         FROM events ORDER BY user_id, seq",
    )
    .fetch_all(pool)
    .await?;
    let rows = columns.into_iter().filter_map(|columns| {
        let user = *index.get(&columns.1)?;
        Some(row(columns, user, &index))
    });
    Ok(rows.collect())
}

fn row(columns: Columns, user: usize, index: &HashMap<Uuid, usize>) -> Row {
    let (id, _, seq, text, pushable, created_at, settled_at, outcome) = columns;
    let body: Option<Body> = serde_json::from_str(&text).ok();
    let own = body.as_ref().is_some_and(|body| body.r#type == "SELF_STATUS_CHANGED");
    let actor = body.as_ref().and_then(|body| if own { body.user_id } else { body.partner_id });
    let room = body.as_ref().and_then(|body| body.channel_id);
    let name = body.and_then(|body| Some((body.status_expiration? - body.timestamp) / 1_000));
    // As the contract says: the body, with `id` and `seq` added.
    let frame = format!(r#"{},"id":"{id}","seq":{seq}}}"#, text.strip_suffix('}').unwrap_or(&text));
    Row {
        id,
        user,
        seq,
        actor: actor.and_then(|actor| index.get(&actor).copied()),
        name,
        room,
        own,
        pushable,
        created_at,
        settled_at,
        outcome,
        fingerprint: fingerprint(&frame),
    }
}

/// How many events are not settled, of those that somebody can still take before the recall: these people's, and
/// those that a phone can be woken for.
pub async fn pending(pool: &PgPool, everybody: bool, attached: &[Uuid]) -> anyhow::Result<i64> {
    let pending = sqlx::query_scalar(
        "SELECT count(*) FROM events AS e WHERE outcome IS NULL AND ($1 OR user_id = ANY($2) OR
             (push IS NOT NULL AND EXISTS (SELECT FROM device_tokens d
                                           WHERE d.user_id = e.user_id AND d.deactivated_at IS NULL)))",
    )
    .bind(everybody)
    .bind(attached)
    .fetch_one(pool)
    .await?;
    Ok(pending)
}

/// All pushes, oldest first.
pub fn pushes(log: Vec<fcm::Entry>, users: &[User]) -> anyhow::Result<Vec<Push>> {
    ensure!(log.len() < PUSHES_LOGGED_MAX, "more pushes than the fake FCM remembers: make a shorter run");
    let phones: HashMap<&str, usize> =
        users.iter().filter_map(|user| Some((user.phone.as_deref()?, user.index))).collect();
    let push = |entry: fcm::Entry| {
        let data = &entry.message["data"];
        let text = |key: &str| data[key].as_str().unwrap_or_default().to_owned();
        Push {
            at: entry.at,
            user: phones.get(entry.token.as_str()).copied(),
            event: text("eventId").parse().ok(),
            seq: text("seq").parse().unwrap_or(0),
            accepted: entry.outcome == "accepted",
        }
    };
    Ok(log.into_iter().map(push).collect())
}
