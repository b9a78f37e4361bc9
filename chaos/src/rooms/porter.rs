//! Takes the guests of each room out and in again, one after the other.
//!
//! Each removal takes a revision that no table names. Because the owner asks until it is done for certain, before anything else
//! is asked, the gaps in the revisions are the removals, in this order.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use reqwest::{Client, Method};
use serde_json::json;
use tokio::time::{Instant, sleep_until};

use super::Room;
use super::history::{Moved, RoomRecord};
use crate::client::World;
use crate::history::{Record, now};

const ANSWERED_WITHIN: Duration = Duration::from_secs(10);
const ASK_AGAIN: Duration = Duration::from_millis(500);
/// After the storm, everything is answered.
const CERTAIN_WITHIN: Duration = Duration::from_secs(45);
const STAYS_SECONDS: (f64, f64) = (3.0, 9.0);
const IS_OUT_SECONDS: (f64, f64) = (1.0, 7.0);

pub struct Porter {
    pub world: Arc<World>,
    pub rng: fastrand::Rng,
}

impl Porter {
    pub async fn run(mut self, storm: Duration) -> anyhow::Result<()> {
        let http = Client::builder().timeout(ANSWERED_WITHIN).no_proxy().build()?;
        let end = Instant::now() + storm;
        let rngs: Vec<_> = self.world.rooms.iter().map(|_| self.rng.fork()).collect();
        join_all(self.world.rooms.iter().zip(rngs).map(|(room, rng)| self.keep(room, &http, end, rng))).await;
        Ok(())
    }

    async fn keep(&self, room: &Room, http: &Client, end: Instant, mut rng: fastrand::Rng) {
        let guests: Vec<usize> = room.guests().collect();
        if guests.is_empty() {
            return;
        }
        loop {
            let guest = guests[rng.usize(0..guests.len())];
            for (out, (least, most)) in [(true, STAYS_SECONDS), (false, IS_OUT_SECONDS)] {
                sleep_until(Instant::now() + Duration::from_secs_f64(least + rng.f64() * (most - least)))
                    .await;
                if Instant::now() >= end || !self.take(room, guest, out, http, end, &mut rng).await {
                    return;
                }
            }
        }
    }

    /// Returns whether it was done for certain.
    async fn take(
        &self,
        room: &Room,
        guest: usize,
        out: bool,
        http: &Client,
        end: Instant,
        rng: &mut fastrand::Rng,
    ) -> bool {
        let began_at = now();
        let mut certain = false;
        while !certain && Instant::now() < end + CERTAIN_WITHIN {
            let door = self.world.doors[rng.usize(0..self.world.doors.len())];
            let (members, id) =
                (format!("http://{door}/channels/{}/members", room.id), self.world.users[guest].person.id);
            let request = if out {
                http.request(Method::DELETE, format!("{members}/{id}"))
            } else {
                http.request(Method::POST, members).json(&json!({"userId": id}))
            };
            let answered = request.bearer_auth(&self.world.users[room.owner()].person.token).send().await;
            certain = answered.is_ok_and(|answer| match (out, answer.status().as_u16()) {
                // The second are of who asks again after an answer that was lost.
                (true, status) => matches!(status, 204 | 404),
                (false, status) => matches!(status, 201 | 409),
            });
            if !certain {
                sleep_until(Instant::now() + ASK_AGAIN).await;
            }
        }
        let (room, ended_at) = (room.index, now());
        let moved = Moved { room, guest, out, began_at, ended_at, certain };
        self.world.recorder.add(Record::Room(RoomRecord::Moved(moved)));
        certain
    }
}
