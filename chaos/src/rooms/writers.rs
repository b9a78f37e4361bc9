//! The people of rooms write, edit, delete and react: over HTTP, or by a letter to their socket.
//!
//! A message that is sent over HTTP, and of which nothing is known, is sent again through another door with the same
//! `clientId`.

use std::sync::Arc;
use std::time::Duration;

use fanlight::shutdown::Shutdown;
use parking_lot::Mutex;
use reqwest::{Client, Method, RequestBuilder, Response};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::sync::{Semaphore, mpsc};
use tokio::time::{Instant, MissedTickBehavior, sleep};
use uuid::Uuid;

use super::follower::Letter;
use super::history::{Attempt, RoomRecord, Wish};
use crate::client::World;
use crate::generator::{ANSWERED_WITHIN, answer};
use crate::history::{Answer, Record, now};

const IN_FLIGHT_MAX: usize = 128;
const SENT_AT_MOST: usize = 4;
const SEND_AGAIN: Duration = Duration::from_millis(500);
/// The latest messages of all rooms, to do something with.
const KNOWN_MAX: usize = 150;

/// A message that was written.
#[derive(Clone)]
struct Known {
    room: usize,
    author: usize,
    message: Uuid,
    /// Reactions that are there.
    reactions: Vec<(usize, String)>,
}

/// Who wants what of which room.
struct Errand {
    room: usize,
    user: usize,
    wish: Wish,
    /// Tells it from all others.
    number: u64,
}

#[derive(Deserialize)]
struct Written {
    id: Uuid,
    seq: i64,
}

pub struct Writers {
    pub world: Arc<World>,
    /// To everybody's socket.
    pub letters: Vec<mpsc::Sender<Letter>>,
    pub rng: fastrand::Rng,
    pub wishes_per_second: f64,
}

/// What all attempts share.
struct Desk {
    world: Arc<World>,
    http: Client,
    known: Mutex<Vec<Known>>,
}

impl Writers {
    /// Writes until the storm is over, and waits for the answers.
    pub async fn run(mut self, storm: Duration) -> anyhow::Result<()> {
        if self.world.rooms.is_empty() {
            return Ok(());
        }
        let http = Client::builder().timeout(ANSWERED_WITHIN).no_proxy().build()?;
        let desk = Arc::new(Desk { world: Arc::clone(&self.world), http, known: Mutex::default() });
        let permits = Arc::new(Semaphore::new(IN_FLIGHT_MAX));
        let tasks = Shutdown::new();
        let mut pace = tokio::time::interval(Duration::from_secs_f64(1.0 / self.wishes_per_second));
        pace.set_missed_tick_behavior(MissedTickBehavior::Skip);
        let end = Instant::now() + storm;
        let mut number = 0;
        while Instant::now() < end {
            pace.tick().await;
            let Ok(permit) = Arc::clone(&permits).try_acquire_owned() else { continue };
            number += 1;
            let Some(errand) = self.errand(&desk, number) else { continue };
            let (desk, rng) = (Arc::clone(&desk), self.rng.fork());
            tasks.spawn_light(async move {
                desk.fulfil(errand, rng).await;
                drop(permit);
            });
        }
        tasks.finished(ANSWERED_WITHIN * 5).await;
        Ok(())
    }

    /// What somebody wants. `None`: it was left to a socket, or there is nothing to do that with.
    fn errand(&mut self, desk: &Desk, number: u64) -> Option<Errand> {
        let rng = &mut self.rng;
        let errand = |room, user, wish| Some(Errand { room, user, wish, number });
        let room = &self.world.rooms[rng.usize(0..self.world.rooms.len())];
        let user = room.seats[rng.usize(0..room.seats.len())].user;
        let kind = rng.u8(0..10);
        if kind < 6 {
            let client_id = format!("u{user}-{number}");
            if rng.bool() {
                // Whoever is away for long has letters enough.
                let _full = self.letters[user].try_send(Letter { room: room.index, client_id });
                return None;
            }
            return errand(room.index, user, Wish::Send { client_id });
        }
        let mut known = desk.known.lock();
        let at = (!known.is_empty()).then(|| rng.usize(0..known.len()))?;
        if kind == 6 {
            let Known { room, author, message, .. } = known.swap_remove(at);
            return errand(room, author, Wish::Delete { message });
        }
        let it = &mut known[at];
        let message = it.message;
        match kind {
            7 => errand(it.room, it.author, Wish::Edit { message }),
            8 => {
                let (user, emoji) = it.reactions.pop()?;
                errand(it.room, user, Wish::TakeBack { message, emoji })
            }
            _ => {
                let seats = &self.world.rooms[it.room].seats;
                let (user, emoji) = (seats[rng.usize(0..seats.len())].user, format!("r{number}"));
                errand(it.room, user, Wish::React { message, emoji })
            }
        }
    }
}

impl Desk {
    async fn fulfil(&self, errand: Errand, mut rng: fastrand::Rng) {
        let attempts = if matches!(errand.wish, Wish::Send { .. }) { SENT_AT_MOST } else { 1 };
        for _ in 0..attempts {
            let door = self.world.doors[rng.usize(0..self.world.doors.len())];
            let (method, path, body) = request(&errand, self.world.rooms[errand.room].id);
            let request = self.http.request(method, format!("http://{door}{path}"));
            let attempt = self.attempt(&errand, with_body(request, body)).await;
            let answer = attempt.answer;
            self.learn(&attempt);
            self.world.recorder.add(Record::Room(RoomRecord::Attempt(attempt)));
            if answer != Answer::Unknown {
                return;
            }
            sleep(SEND_AGAIN).await;
        }
    }

    async fn attempt(&self, errand: &Errand, request: RequestBuilder) -> Attempt {
        let Errand { room, user, .. } = *errand;
        let sent_at = now();
        let sent = request.bearer_auth(&self.world.users[user].person.token).send().await;
        let (answer, status) = answer(&sent);
        let place = match sent {
            Ok(response) if answer == Answer::Done => written(response).await,
            _ => None,
        };
        let (said, wish) = (status.map(|status| status.to_string()), errand.wish.clone());
        Attempt { user, room, wish, sent_at, answered_at: now(), answer, said, place }
    }

    fn learn(&self, attempt: &Attempt) {
        let mut known = self.known.lock();
        match &attempt.wish {
            Wish::Send { .. } => {
                let Some((message, _)) = attempt.place else { return };
                if known.len() >= KNOWN_MAX {
                    known.remove(0);
                }
                let (room, author) = (attempt.room, attempt.user);
                known.push(Known { room, author, message, reactions: Vec::new() });
            }
            Wish::React { message, emoji } if attempt.answer == Answer::Done => {
                if let Some(known) = known.iter_mut().find(|known| known.message == *message) {
                    known.reactions.push((attempt.user, emoji.clone()));
                }
            }
            _ => {}
        }
    }
}

fn request(Errand { wish, number, .. }: &Errand, room: Uuid) -> (Method, String, Option<Value>) {
    let reaction = |message, emoji| format!("/messages/{message}/reactions/{emoji}");
    match wish {
        Wish::Send { client_id } => {
            let body = json!({"channelId": room, "content": client_id, "clientId": client_id});
            (Method::POST, "/messages".to_owned(), Some(body))
        }
        Wish::Edit { message } => {
            let body = json!({"content": format!("edit {number}")});
            (Method::PUT, format!("/messages/{message}"), Some(body))
        }
        Wish::Delete { message } => (Method::DELETE, format!("/messages/{message}"), None),
        Wish::React { message, emoji } => (Method::PUT, reaction(message, emoji), None),
        Wish::TakeBack { message, emoji } => (Method::DELETE, reaction(message, emoji), None),
    }
}

fn with_body(request: RequestBuilder, body: Option<Value>) -> RequestBuilder {
    match body {
        Some(body) => request.json(&body),
        None => request,
    }
}

/// Where a message stands; `None`: something else was done, or the answer was cut.
async fn written(response: Response) -> Option<(Uuid, i64)> {
    let Written { id, seq } = response.json().await.ok()?;
    Some((id, seq))
}
