//! What is said in a room, at fixed times: in turns by its people, by a request or on the phone's socket. The load is open, as
//! that of couples.

use std::sync::Arc;

use fanlight::domain::random::jitter;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep_until};

use super::room::{Room, Wish};
use crate::couple::Sample;
use crate::ledger::Answer;
use crate::schedule::Answered;
use crate::tally::{Fault, Span};
use crate::world::World;

/// Of so many messages one is sent on the author's socket, ...
const ONE_BY_SOCKET_IN: usize = 2;
/// ... before one somebody else was typing, ...
const ONE_TYPES_IN: usize = 3;
/// ... and after one somebody says how far they have read.
const ONE_READS_IN: usize = 5;

/// Lets the people of a room talk until its changes are stopped.
pub async fn keep(world: Arc<World>, room: Arc<Room>) {
    // Rooms that began together do not talk together.
    let mut due = Instant::now() + jitter(world.pace);
    for turn in 0_usize.. {
        if room.changes.unless_stopped(sleep_until(due)).await.is_none() {
            return;
        }
        say(&world, &room, turn, due);
        if turn.is_multiple_of(ONE_TYPES_IN) {
            // Worth nothing later: a phone that is away does not say it.
            let typist = &room.seats[(turn + 1) % room.seats.len()];
            let _is_worth_nothing_later = typist.wishes.try_send(Wish::Type);
        }
        if turn.is_multiple_of(ONE_READS_IN) {
            read(&world, &room, turn);
        }
        due += world.pace;
    }
}

/// Sends a message, and does not wait for it.
fn say(world: &Arc<World>, room: &Arc<Room>, turn: usize, due: Instant) {
    let author = turn % room.people.len();
    // Its people take turns, and each of them both ways.
    let by_socket = (turn + turn / room.people.len()).is_multiple_of(ONE_BY_SOCKET_IN);
    let number = room.minutes.lock().begin(author, due);
    let seat = &room.seats[author];
    if by_socket && seat.handle.is_connected() && seat.wishes.try_send(Wish::Say(number)).is_ok() {
        return;
    }
    let Ok(permit) = Arc::clone(&world.in_flight).try_acquire_owned() else {
        let _it_has_just_begun = room.minutes.lock().answered(number, Answer::Refused, None);
        return world.tally.fault(Fault::NotSent, || format!("room {}: too many are on their way", room.id));
    };
    let (world, room) = (Arc::clone(world), Arc::clone(room));
    Arc::clone(&room).changes.spawn_light(async move {
        world.tally.time(Span::Sent, due.elapsed());
        let body = json!({"channelId": room.id, "content": content(number), "clientId": client_id(number)});
        let (answered, message) = post(&world, &room, author, "/messages", &body).await;
        answer(&world, &room, number, (answered.answer, message["seq"].as_i64()));
        room.report(&world, sample("/messages", due, answered));
        drop(permit);
    });
}

/// Somebody says that they have read all that anybody has heard.
fn read(world: &Arc<World>, room: &Arc<Room>, turn: usize) {
    let Some(message) = room.minutes.lock().last() else { return };
    let (world, room) = (Arc::clone(world), Arc::clone(room));
    Arc::clone(&room).changes.spawn_light(async move {
        let (begun, reader) = (Instant::now(), (turn + 1) % room.people.len());
        let path = format!("/channels/{}/read", room.id);
        let (answered, _) = post(&world, &room, reader, &path, &json!({"messageId": message})).await;
        room.report(&world, sample("/channels/{id}/read", begun, answered));
    });
}

fn sample(name: &'static str, begun: Instant, answered: Answered) -> Sample {
    let Answered { status, error, .. } = answered;
    Sample { method: "POST", name, took: begun.elapsed(), status, error }
}

/// Makes a request. Returns what it did, and what was answered.
async fn post(world: &World, room: &Room, caller: usize, path: &str, body: &Value) -> (Answered, Value) {
    let token = &room.people[caller].token;
    let request = world.http.post(format!("{}{path}", world.url)).bearer_auth(token).json(body);
    match request.send().await {
        Ok(response) => {
            let answered = Answered::of(&response);
            (answered, response.json().await.unwrap_or_default())
        }
        Err(error) => (Answered::from(error), Value::Null),
    }
}

/// What became of a message, and where it stands.
pub fn answer(world: &World, room: &Room, number: usize, (answer, seq): (Answer, Option<i64>)) {
    let mut minutes = room.minutes.lock();
    if let Some(said) = minutes.all().get(number) {
        world.tally.time(Span::Answer, said.due.elapsed());
    }
    if minutes.answered(number, answer, seq).is_err() {
        world.tally.fault(Fault::Duplicate, || format!("room {}: message {number} stands twice", room.id));
    }
}

pub fn content(number: usize) -> String {
    format!("Message {number}: has anybody seen the keys of the small meeting room?")
}

/// What the author calls a message.
pub fn client_id(number: usize) -> String {
    format!("m-{number}")
}

/// The number of a message that is called so.
pub fn number_of(client_id: &str) -> Option<usize> {
    client_id.strip_prefix("m-")?.parse().ok()
}
