//! Changes at fixed times, whatever became of the ones before.
//!
//! The load is open: a server that is slow gets no rest, and what it made wait is timed from when it was due.

use std::sync::Arc;

use fanlight::domain::random::jitter;
use serde_json::json;
use tokio::time::{Instant, sleep_until};

use crate::couple::{Couple, Sample};
use crate::handshake::node_of;
use crate::ledger::{Answer, Side, Topic, duration_of};
use crate::tally::{Fault, Span};
use crate::world::World;

const STATUSES: [&str; 3] = ["AVAILABLE", "BUSY", "OFFLINE"];

/// Lets a couple change their lights in turns until its changes are stopped.
pub async fn keep(world: Arc<World>, couple: Arc<Couple>) {
    // Couples that began together do not change together.
    let mut due = Instant::now() + jitter(world.pace);
    for turn in 0_usize.. {
        if couple.changes.unless_stopped(sleep_until(due)).await.is_none() {
            return;
        }
        begin(&world, &couple, turn % 2, STATUSES[turn % STATUSES.len()], due);
        due += world.pace;
    }
}

/// Sends a change, and does not wait for it.
fn begin(world: &Arc<World>, couple: &Arc<Couple>, actor: Side, status: &'static str, due: Instant) {
    let refuse = |why: &str| world.tally.fault(Fault::NotSent, || format!("couple {}: {why}", couple.index));
    let Ok(permit) = Arc::clone(&world.in_flight).try_acquire_owned() else {
        return refuse("too many are on their way");
    };
    let number = couple.ledger.lock().begin(Topic::Status, actor, due);
    let Some(duration) = duration_of(number) else {
        couple.ledger.lock().withdraw(Topic::Status);
        return refuse("there are no more numbers");
    };
    let (world, couple) = (Arc::clone(world), Arc::clone(couple));
    Arc::clone(&couple).changes.spawn_light(async move {
        world.tally.time(Span::Sent, due.elapsed());
        let request = world
            .http
            .patch(format!("{}/status", world.url))
            .bearer_auth(&couple.people[actor].token)
            .json(&json!({"status": status, "durationSeconds": duration}));
        let answered = match request.send().await {
            Ok(response) => Answered::of(&response),
            Err(error) => Answered::from(error),
        };
        couple.ledger.lock().answered(Topic::Status, number, answered.answer, answered.node);
        let took = due.elapsed();
        world.tally.time(Span::Answer, took);
        let Answered { status, error, .. } = answered;
        couple.report(&world, Sample { method: "PATCH", name: "/status", took, status, error });
        drop(permit);
    });
}

/// What is known of a request.
pub struct Answered {
    pub answer: Answer,
    pub status: Option<u16>,
    node: Option<String>,
    pub error: Option<String>,
}

impl Answered {
    pub fn of(response: &reqwest::Response) -> Self {
        let (node, status) = (node_of(response.headers()), response.status());
        let answer = match status {
            status if status.is_success() => Answer::Done,
            status if status.is_client_error() => Answer::Refused,
            _ => Answer::Unknown,
        };
        let error = (!status.is_success()).then(|| format!("answered {status}"));
        Self { answer, status: Some(status.as_u16()), node, error }
    }
}

impl From<reqwest::Error> for Answered {
    fn from(error: reqwest::Error) -> Self {
        let answer = if error.is_connect() { Answer::Refused } else { Answer::Unknown };
        // Without the address: the same error is one line in the report.
        Self { answer, status: None, node: None, error: Some(error.without_url().to_string()) }
    }
}
