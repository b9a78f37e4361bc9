//! Takes the guests of each room out and in again, one after the other.
//!
//! Each removal takes a revision that no table names. Because the owner asks until it is done for certain, before anything else
//! is asked, the gaps in the revisions are the removals, in this order.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use reqwest::Client;
use serde_json::json;
use tokio::time::{Instant, sleep};

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

/// What all rooms share while they are kept.
struct Shift {
    world: Arc<World>,
    http: Client,
    end: Instant,
}

impl Porter {
    /// Keeps all rooms until the storm is over.
    pub async fn run(mut self, storm: Duration) -> anyhow::Result<()> {
        let http = Client::builder().timeout(ANSWERED_WITHIN).no_proxy().build()?;
        let shift = Shift { world: self.world, http, end: Instant::now() + storm };
        let rooms = shift.world.rooms.iter().map(|room| shift.keep(room, self.rng.fork()));
        join_all(rooms).await;
        Ok(())
    }
}

impl Shift {
    async fn keep(&self, room: &Room, mut rng: fastrand::Rng) {
        let guests: Vec<usize> = room.guests().collect();
        if guests.is_empty() {
            return;
        }
        loop {
            let guest = guests[rng.usize(0..guests.len())];
            for (out, (least, most)) in [(true, STAYS_SECONDS), (false, IS_OUT_SECONDS)] {
                sleep(Duration::from_secs_f64(least + rng.f64() * (most - least))).await;
                if Instant::now() >= self.end || !self.take(room, guest, out, &mut rng).await {
                    return;
                }
            }
        }
    }

    /// Returns whether it was done for certain.
    async fn take(&self, room: &Room, guest: usize, out: bool, rng: &mut fastrand::Rng) -> bool {
        let began_at = now();
        let id = self.world.users[guest].person.id;
        let mut certain = false;
        while !certain && Instant::now() < self.end + CERTAIN_WITHIN {
            let door = self.world.doors[rng.usize(0..self.world.doors.len())];
            let members = format!("http://{door}/channels/{}/members", room.id);
            let request = if out {
                self.http.delete(format!("{members}/{id}"))
            } else {
                self.http.post(members).json(&json!({"userId": id}))
            };
            let answered = request.bearer_auth(&self.world.users[room.owner()].person.token).send().await;
            // 404 and 409: who asks again after an answer that was lost.
            let expected = if out { [204, 404] } else { [201, 409] };
            certain = answered.is_ok_and(|answer| expected.contains(&answer.status().as_u16()));
            if !certain {
                sleep(ASK_AGAIN).await;
            }
        }
        let (room, ended_at) = (room.index, now());
        let moved = Moved { room, guest, out, began_at, ended_at, certain };
        self.world.recorder.add(Record::Room(RoomRecord::Moved(moved)));
        certain
    }
}
