//! Everything that the page shows, in one answer.

use std::collections::HashMap;

use futures_util::future::join_all;
use serde::Serialize;
use serde_json::Value;
use sqlx::FromRow;
use uuid::Uuid;

use super::Page;
use super::journal::{Way, milliseconds};
use super::line::LineReport;
use super::nodes::{self, NodeReport};
use crate::domain::clock::{Clock as _, SystemClock};

const EVENTS_MAX: i64 = 60;
const MESSAGES_MAX: i64 = 30;
const PUSHES_MAX: usize = 60;

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub struct State {
    /// Epoch ms, by the clock that all the times here are of.
    now: f64,
    nodes: Vec<NodeReport>,
    lines: Vec<LineReport>,
    /// The newest first; `null` while Postgres does not answer.
    events: Option<Vec<EventReport>>,
    /// Those of the channel, the newest first.
    messages: Vec<MessageReport>,
    /// How many events ended how, over all that are kept.
    outcomes: Vec<OutcomeCount>,
    /// What the fake FCM was sent, the newest first.
    pushes: Vec<Push>,
}

#[derive(Serialize, FromRow)]
#[serde(rename_all = "camelCase")]
struct EventReport {
    id: Uuid,
    user_id: Uuid,
    seq: i64,
    kind: String,
    /// What it tells, if it is a status.
    status: Option<String>,
    committed_at: f64,
    due_at: f64,
    settled_at: Option<f64>,
    outcome: Option<String>,
    reason: Option<String>,
    #[sqlx(skip)]
    #[serde(flatten)]
    way: Way,
}

#[derive(Serialize, FromRow)]
#[serde(rename_all = "camelCase")]
struct MessageReport {
    id: Uuid,
    /// Who wrote it.
    user_id: Option<Uuid>,
    seq: i64,
    committed_at: f64,
    #[sqlx(skip)]
    #[serde(flatten)]
    way: Way,
}

#[derive(Serialize, FromRow)]
struct OutcomeCount {
    outcome: Option<String>,
    reason: Option<String>,
    count: i64,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Push {
    at: i64,
    /// Whose phone it is for.
    user_id: Option<String>,
    event_id: Option<String>,
    title: Option<String>,
    body: Option<String>,
    outcome: String,
    attempt: usize,
}

pub async fn read(page: &Page) -> State {
    page.bus.keep_watching();
    let facts = page.nodes.borrow().clone();
    let probing = join_all(facts.into_iter().map(|fact| nodes::report(&page.http, fact)));
    let (nodes, events, messages, outcomes) =
        tokio::join!(probing, events(page), messages(page), outcomes(page));
    State {
        now: milliseconds(SystemClock.now()),
        nodes,
        lines: page.lines.iter().map(|line| line.report()).collect(),
        events: events.ok(),
        messages: messages.unwrap_or_default(),
        outcomes: outcomes.unwrap_or_default(),
        pushes: pushes(page),
    }
}

async fn events(page: &Page) -> sqlx::Result<Vec<EventReport>> {
    let mut events: Vec<EventReport> = sqlx::query_as(
        "SELECT id, user_id, seq, kind, body::json ->> 'status' AS status, outcome, reason,
                (EXTRACT(EPOCH FROM created_at) * 1000)::float8 AS committed_at,
                (EXTRACT(EPOCH FROM due_at) * 1000)::float8 AS due_at,
                (EXTRACT(EPOCH FROM settled_at) * 1000)::float8 AS settled_at
         FROM events ORDER BY id DESC LIMIT $1",
    )
    .bind(EVENTS_MAX)
    .fetch_all(&page.pool)
    .await?;
    for event in &mut events {
        event.way = page.journal.way(event.id);
    }
    Ok(events)
}

async fn messages(page: &Page) -> sqlx::Result<Vec<MessageReport>> {
    let mut messages: Vec<MessageReport> = sqlx::query_as(
        "SELECT id, user_id, seq, (EXTRACT(EPOCH FROM created_at) * 1000)::float8 AS committed_at
         FROM messages WHERE channel_id = $1::uuid ORDER BY seq DESC LIMIT $2",
    )
    .bind(&page.seeded.channel.id)
    .bind(MESSAGES_MAX)
    .fetch_all(&page.pool)
    .await?;
    for message in &mut messages {
        message.way = page.journal.way(message.id);
    }
    Ok(messages)
}

async fn outcomes(page: &Page) -> sqlx::Result<Vec<OutcomeCount>> {
    sqlx::query_as("SELECT outcome, reason, count(*) AS count FROM events GROUP BY 1, 2 ORDER BY 3 DESC")
        .fetch_all(&page.pool)
        .await
}

fn pushes(page: &Page) -> Vec<Push> {
    let owners: HashMap<String, &str> =
        page.seeded.users.iter().map(|user| (user.fcm_token(), user.id.as_str())).collect();
    let text = |value: &Value| value.as_str().map(ToOwned::to_owned);
    let pushes = page.fcm.latest(PUSHES_MAX).into_iter().map(|entry| Push {
        at: entry.at,
        user_id: owners.get(&entry.token).map(|id| (*id).to_owned()),
        event_id: text(&entry.message["data"]["eventId"]),
        title: text(&entry.message["notification"]["title"]),
        body: text(&entry.message["notification"]["body"]),
        outcome: entry.outcome,
        attempt: entry.attempt,
    });
    pushes.collect()
}
