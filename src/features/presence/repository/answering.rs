//! Which node answers for whom, and the transitions.

use std::time::Duration;

use sqlx::PgExecutor;

use super::{Row, ids, standings};
use crate::domain::clock::Timestamp;
use crate::domain::ids::{NodeId, UserId};
use crate::domain::standing::{Availability, Standing};

/// These users have a connection to this node. Returns who went from one status to another by that.
pub async fn connected(
    db: impl PgExecutor<'_>,
    node: NodeId,
    users: &[(UserId, Availability)],
) -> Result<Vec<Standing>, sqlx::Error> {
    let (users, statuses): (Vec<_>, Vec<_>) =
        users.iter().map(|(user, it)| (user.0, it.as_str().to_owned())).unzip();
    let rows = sqlx::query_file_as!(
        Row,
        "src/features/presence/repository/connected.sql",
        &users,
        &statuses,
        node.0
    )
    .fetch_all(db)
    .await?;
    standings(rows)
}

/// Somebody who left this node.
pub struct Gone {
    pub user: UserId,
    pub ago: Duration,
    /// Whether the user is known to look at a device that is connected to another node.
    pub is_elsewhere: bool,
}

/// These users' connections to this node were closed: look after the grace whether there are others. Of those who are elsewhere
/// only whom this node answers for; the others are in good hands.
pub async fn left(
    db: impl PgExecutor<'_>,
    node: NodeId,
    users: &[Gone],
    grace: Duration,
) -> Result<(), sqlx::Error> {
    let ids: Vec<_> = users.iter().map(|gone| gone.user.0).collect();
    let ages: Vec<_> = users.iter().map(|gone| gone.ago.as_secs_f64()).collect();
    let elsewhere: Vec<_> = users.iter().map(|gone| gone.is_elsewhere).collect();
    sqlx::query!(
        "WITH gone AS MATERIALIZED (
             SELECT p.user_id, now() - make_interval(secs => g.age) AS at
             FROM unnest($1::uuid[], $2::float8[], $3::boolean[]) AS g (user_id, age, is_elsewhere)
             JOIN user_presence AS p ON p.user_id = g.user_id
             WHERE p.status <> 'offline' AND (p.node = $4 OR NOT g.is_elsewhere)
             ORDER BY p.user_id FOR UPDATE OF p
         )
         UPDATE user_presence AS p SET
             node = $4,
             last_seen = greatest(p.last_seen, gone.at),
             look_at = greatest(p.look_at, gone.at + make_interval(secs => $5))
         FROM gone WHERE p.user_id = gone.user_id",
        &ids,
        &ages,
        &elsewhere,
        node.0,
        grace.as_secs_f64(),
    )
    .execute(db)
    .await?;
    Ok(())
}

/// Users at whom this node should look now.
pub struct Claim {
    pub users: Vec<UserId>,
    /// When somebody looks again. As long as it stands in their rows, the claim holds.
    pub look_at: Timestamp,
}

/// Takes some that are due; nobody else does for as long as `retry`. Those for whom another node answers only when it is
/// late by `patience`.
pub async fn claim(
    db: impl PgExecutor<'_>,
    node: NodeId,
    retry: Duration,
    patience: Duration,
    max: i64,
) -> Result<Option<Claim>, sqlx::Error> {
    let (retry, patience) = (retry.as_secs_f64(), patience.as_secs_f64());
    let rows = sqlx::query_file!("src/features/presence/repository/claim.sql", node.0, retry, patience, max)
        .fetch_all(db)
        .await?;
    // One transaction, so one time.
    let look_at = rows.first().map(|row| row.look_at);
    Ok(look_at.map(|look_at| Claim { users: rows.iter().map(|row| row.user_id).collect(), look_at }))
}

/// These users are connected nowhere: they go offline, if the claim still holds.
pub async fn absent(
    db: impl PgExecutor<'_>,
    users: &[UserId],
    look_at: Timestamp,
) -> Result<Vec<Standing>, sqlx::Error> {
    let rows = sqlx::query_as!(
        Row,
        r#"WITH gone AS MATERIALIZED (
               SELECT user_id FROM user_presence WHERE user_id = ANY ($1::uuid[]) AND look_at = $2
               ORDER BY user_id FOR UPDATE
           )
           UPDATE user_presence AS p SET
               status = 'offline', look_at = NULL, last_seen = COALESCE(last_seen, now()), changed_at = now(),
               revision = revision + 1
           FROM gone WHERE p.user_id = gone.user_id
           RETURNING p.user_id AS "user_id: UserId", status, last_seen, changed_at AS "changed_at?", revision"#,
        &ids(users),
        look_at,
    )
    .fetch_all(db)
    .await?;
    standings(rows)
}

/// These users are connected to other nodes, which are to look at once, if the claim still holds.
pub async fn hand_over(
    db: impl PgExecutor<'_>,
    users: &[(UserId, NodeId)],
    look_at: Timestamp,
) -> Result<(), sqlx::Error> {
    let (users, nodes): (Vec<_>, Vec<_>) = users.iter().map(|(user, node)| (user.0, node.0)).unzip();
    sqlx::query!(
        "WITH held AS MATERIALIZED (
             SELECT p.user_id, h.node FROM unnest($1::uuid[], $2::uuid[]) AS h (user_id, node)
             JOIN user_presence AS p ON p.user_id = h.user_id WHERE p.look_at = $3
             ORDER BY p.user_id FOR UPDATE OF p
         )
         UPDATE user_presence AS p SET node = held.node, look_at = now()
         FROM held WHERE p.user_id = held.user_id",
        &users,
        &nodes,
        look_at,
    )
    .execute(db)
    .await?;
    Ok(())
}

/// The other nodes that answer for somebody.
pub async fn answering_nodes(db: impl PgExecutor<'_>, node: NodeId) -> Result<Vec<NodeId>, sqlx::Error> {
    let rows =
        sqlx::query_file!("src/features/presence/repository/answering.sql", node.0).fetch_all(db).await?;
    Ok(rows.into_iter().map(|row| row.node).collect())
}

/// Takes over users of a node that has been silent for so long: look after the grace whether they are elsewhere. Returns how
/// many it were.
pub async fn orphan(
    db: impl PgExecutor<'_>,
    node: NodeId,
    (silent, since): (NodeId, Duration),
    grace: Duration,
    max: i64,
) -> Result<u64, sqlx::Error> {
    let taken = sqlx::query!(
        "WITH orphan AS (
             SELECT user_id FROM user_presence
             WHERE node = $1 AND look_at IS NULL AND status <> 'offline'
             LIMIT $5 FOR UPDATE SKIP LOCKED
         )
         UPDATE user_presence AS p SET
             node = $2,
             last_seen = greatest(p.last_seen, now() - make_interval(secs => $3)),
             look_at = now() + make_interval(secs => $4 - $3)
         FROM orphan WHERE p.user_id = orphan.user_id",
        silent.0,
        node.0,
        since.as_secs_f64(),
        grace.as_secs_f64(),
        max,
    )
    .execute(db)
    .await?;
    Ok(taken.rows_affected())
}

/// For whom this node answers, although they are not `here`.
pub async fn strays(
    db: impl PgExecutor<'_>,
    node: NodeId,
    here: &[UserId],
) -> Result<Vec<UserId>, sqlx::Error> {
    sqlx::query_scalar!(
        r#"SELECT user_id AS "user_id!: UserId" FROM user_presence
           WHERE node = $1 AND look_at IS NULL AND status <> 'offline'
           EXCEPT SELECT * FROM unnest($2::uuid[])"#,
        node.0,
        &ids(here),
    )
    .fetch_all(db)
    .await
}
