//! How users stand, for those who watch them.

use sqlx::PgExecutor;

use super::{Row, ids, standings};
use crate::domain::ids::UserId;
use crate::domain::standing::Standing;

/// Those of the users whom `viewer` may see, each once.
pub async fn visible(
    db: impl PgExecutor<'_>,
    viewer: UserId,
    users: &[UserId],
) -> Result<Vec<Standing>, sqlx::Error> {
    let rows =
        sqlx::query_file_as!(Row, "src/features/presence/repository/visible.sql", viewer.0, &ids(users))
            .fetch_all(db)
            .await?;
    standings(rows)
}

/// Those of the users who have another revision than this.
pub async fn changed(db: impl PgExecutor<'_>, known: &[(UserId, i64)]) -> Result<Vec<Standing>, sqlx::Error> {
    let (users, revisions): (Vec<_>, Vec<i64>) =
        known.iter().map(|(user, revision)| (user.0, *revision)).unzip();
    let rows = sqlx::query_as!(
        Row,
        r#"SELECT k.user_id AS "user_id!: UserId", COALESCE(p.status, 'offline') AS "status!",
                  p.last_seen AS "last_seen?", p.changed_at AS "changed_at?", COALESCE(p.revision, 0) AS "revision!"
           FROM unnest($1::uuid[], $2::bigint[]) AS k (user_id, revision)
           LEFT JOIN user_presence AS p ON p.user_id = k.user_id
           WHERE COALESCE(p.revision, 0) <> k.revision"#,
        &users,
        &revisions,
    )
    .fetch_all(db)
    .await?;
    standings(rows)
}

/// Those of these pairs whose first may not see the second any more.
pub async fn hidden(
    db: impl PgExecutor<'_>,
    pairs: &[(UserId, UserId)],
) -> Result<Vec<(UserId, UserId)>, sqlx::Error> {
    let (viewers, users): (Vec<_>, Vec<_>) = pairs.iter().map(|(viewer, user)| (viewer.0, user.0)).unzip();
    let rows = sqlx::query_file!("src/features/presence/repository/hidden.sql", &viewers, &users)
        .fetch_all(db)
        .await?;
    Ok(rows.into_iter().map(|row| (row.viewer, row.user_id)).collect())
}
