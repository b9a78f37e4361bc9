//! How the database says that events ended, and how long after their commit.

use sqlx::PgPool;

pub struct Ending {
    pub outcome: String,
    pub reason: String,
    pub count: i64,
    /// From commit to settlement.
    pub p50_ms: f64,
    pub p99_ms: f64,
}

type Columns = (String, String, i64, f64, f64);

pub async fn endings(pool: &PgPool) -> anyhow::Result<Vec<Ending>> {
    let rows: Vec<Columns> = sqlx::query_as(
        "SELECT outcome, coalesce(reason, ''), count(*),
                percentile_cont(0.5) WITHIN GROUP (ORDER BY 1000 * extract(epoch FROM settled_at - created_at)::float8),
                percentile_cont(0.99) WITHIN GROUP (ORDER BY 1000 * extract(epoch FROM settled_at - created_at)::float8)
         FROM events WHERE outcome IS NOT NULL GROUP BY 1, 2 ORDER BY 3 DESC",
    )
    .fetch_all(pool)
    .await?;
    let ending = |(outcome, reason, count, p50_ms, p99_ms)| Ending { outcome, reason, count, p50_ms, p99_ms };
    Ok(rows.into_iter().map(ending).collect())
}
