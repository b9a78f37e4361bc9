//! Everybody changes their light, again and again; what became of each request is taken down.

use std::sync::Arc;
use std::time::Duration;

use fanlight::shutdown::Shutdown;
use serde_json::json;
use tokio::sync::Semaphore;
use tokio::time::{Instant, MissedTickBehavior};

use crate::client::World;
use crate::history::{Answer, Change, Record, now};

/// The first name of a change: a day, so that none lapses during a run.
const FIRST_NAME: i64 = 86_400;
pub const ANSWERED_WITHIN: Duration = Duration::from_secs(20);
/// Requests on their way; while there are more, no further ones are made.
const IN_FLIGHT_MAX: usize = 256;
const STATUSES: [&str; 3] = ["AVAILABLE", "BUSY", "OFFLINE"];

pub struct Generator {
    pub world: Arc<World>,
    pub rng: fastrand::Rng,
    pub changes_per_second: f64,
}

impl Generator {
    /// Makes changes until the storm is over, and waits for the answers.
    pub async fn run(mut self, storm: Duration) -> anyhow::Result<()> {
        let http = reqwest::Client::builder().timeout(ANSWERED_WITHIN).no_proxy().build()?;
        let permits = Arc::new(Semaphore::new(IN_FLIGHT_MAX));
        let tasks = Shutdown::new();
        let mut names = vec![FIRST_NAME; self.world.users.len()];
        let mut pace = tokio::time::interval(Duration::from_secs_f64(1.0 / self.changes_per_second));
        pace.set_missed_tick_behavior(MissedTickBehavior::Skip);
        let end = Instant::now() + storm;
        while Instant::now() < end {
            pace.tick().await;
            let Ok(permit) = Arc::clone(&permits).try_acquire_owned() else { continue };
            let actor = self.rng.usize(0..self.world.users.len());
            names[actor] += 1;
            let name = names[actor];
            let door = self.world.doors[self.rng.usize(0..self.world.doors.len())];
            let status = STATUSES[self.rng.usize(0..STATUSES.len())];
            let request = http
                .patch(format!("http://{door}/status"))
                .bearer_auth(&self.world.users[actor].person.token)
                .json(&json!({"status": status, "durationSeconds": name}));
            let world = Arc::clone(&self.world);
            tasks.spawn_light(async move {
                let sent_at = now();
                let (answer, status) = answer(&request.send().await);
                let change = Change { actor, name, sent_at, answered_at: now(), answer, status };
                world.recorder.add(Record::Change(change));
                drop(permit);
            });
        }
        tasks.finished(ANSWERED_WITHIN * 2).await;
        Ok(())
    }
}

/// What the answer to a request says of it.
pub fn answer(sent: &reqwest::Result<reqwest::Response>) -> (Answer, Option<u16>) {
    match sent.as_ref().map(reqwest::Response::status) {
        Ok(status) if status.is_success() => (Answer::Done, Some(status.as_u16())),
        Ok(status) if status.is_client_error() => (Answer::Refused, Some(status.as_u16())),
        Ok(status) => (Answer::Unknown, Some(status.as_u16())),
        Err(error) if error.is_connect() => (Answer::Refused, None),
        Err(_) => (Answer::Unknown, None),
    }
}
