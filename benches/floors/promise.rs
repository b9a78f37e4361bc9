//! What a status change writes, in a database of the product that nothing else works on.

use std::ops::Range;

use chrono::{DateTime, Utc};
use fanlight::db;
use fanlight::dev::people::{self, Person};
use fanlight::domain::ids::UserId;
use sqlx::{PgConnection, PgPool};
use uuid::Uuid;

/// Makes the couples of these lanes.
pub async fn fill(url: &str, lanes: Range<usize>) -> anyhow::Result<()> {
    let pool = PgPool::connect(url).await?;
    db::migrate(&pool).await?;
    let actors = lanes.clone().map(actor).map(somebody).collect::<Vec<_>>();
    let partners = lanes.map(|_| somebody(UserId::generate())).collect::<Vec<_>>();
    for people in [&actors, &partners] {
        people::add(&pool, people).await?;
    }
    people::link(&pool, &actors, &partners).await?;
    pool.close().await;
    Ok(())
}

fn somebody(id: UserId) -> Person {
    Person { id, token: String::new() }
}

fn actor(lane: usize) -> UserId {
    UserId(Uuid::from_u64_pair(0, lane as u64))
}

/// As `features::status::repository::change` does, with texts of the same size.
pub async fn write(postgres: &mut PgConnection, lane: usize) -> anyhow::Result<()> {
    const TTL_MS: i64 = 86_400_000;
    let body = format!(r#"{{"type":"PARTNER_STATUS_CHANGED","text":"{}"}}"#, ".".repeat(130));
    let push = serde_json::json!({
        "text": "partner_status_changed.busy", "args": {}, "data": { "status": "BUSY" }, "collapse_key": "status",
    });
    sqlx::query(include_str!("../../src/features/status/change.sql"))
        .bind(actor(lane).0)
        .bind("BUSY")
        .bind(None::<i64>)
        .bind(None::<DateTime<Utc>>)
        .bind(Utc::now())
        .bind(Uuid::now_v7())
        .bind("STATUS_CHANGED")
        .bind(&body)
        .bind(TTL_MS)
        .bind(Uuid::now_v7())
        .bind("PARTNER_STATUS_CHANGED")
        .bind(&body)
        .bind(TTL_MS)
        .bind(push)
        .bind(None::<String>)
        .execute(postgres)
        .await?;
    Ok(())
}
