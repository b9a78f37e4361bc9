//! Rooms: who is in which, who comes and goes, and who would only like to listen.
//!
//! Their people use the sockets that they have anyway ([`follower`]), write in them ([`writers`]) and are taken out and in
//! again ([`porter`]). What they did and heard is in the [`history`], what became of it in the [`truth`].

use std::collections::HashMap;

use fanlight::domain::ids::ChannelId;
use parking_lot::Mutex;
use serde::Serialize;
use sqlx::PgPool;
use uuid::Uuid;

use crate::users::User;

pub mod follower;
pub mod history;
mod memory;
pub mod porter;
pub mod truth;
pub mod writers;

const MEMBERS_MIN: usize = 6;
const MEMBERS_MAX: usize = 10;
const GUESTS: usize = 2;
const STRANGERS: usize = 2;

/// What somebody is to a room.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Part {
    /// Takes the guests in and out.
    Owner,
    /// Stays.
    Member,
    /// Is in it at first, and taken out and in again.
    Guest,
    /// Never in it, however often they ask.
    Stranger,
}

#[derive(Clone, Debug, Serialize)]
pub struct Seat {
    pub user: usize,
    pub part: Part,
    /// Comes back with the last `seq`, and not with the last `revision`: hears of messages only while away.
    pub by_seq: bool,
}

#[derive(Clone, Debug, Serialize)]
pub struct Room {
    pub index: usize,
    pub id: Uuid,
    /// The owner first.
    pub seats: Vec<Seat>,
}

impl Room {
    pub fn owner(&self) -> usize {
        self.seats[0].user
    }

    pub fn seat_of(&self, user: usize) -> Option<&Seat> {
        self.seats.iter().find(|seat| seat.user == user)
    }

    fn guests(&self) -> impl Iterator<Item = usize> {
        self.seats.iter().filter(|seat| seat.part == Part::Guest).map(|seat| seat.user)
    }
}

/// How far everybody is who follows rooms, while the run goes on.
#[derive(Default)]
pub struct Progress {
    /// By user and room: the last revision that they were told, or that nothing is missing up to.
    pub told: Mutex<HashMap<(usize, usize), i64>>,
}

/// Gives each room its people.
pub fn cast(count: usize, users: usize, rng: &mut fastrand::Rng) -> Vec<Room> {
    let rooms = (0..count).map(|index| {
        let mut people: Vec<usize> = (0..users).collect();
        rng.shuffle(&mut people);
        let members = rng.usize(MEMBERS_MIN..=MEMBERS_MAX).min(users);
        let seats = people.into_iter().take(members + STRANGERS).enumerate().map(|(place, user)| {
            let part = match place {
                0 => Part::Owner,
                _ if place >= members => Part::Stranger,
                _ if place <= GUESTS => Part::Guest,
                _ => Part::Member,
            };
            Seat { user, part, by_seq: rng.u8(0..4) == 0 }
        });
        Room { index, id: ChannelId::generate().0, seats: seats.collect() }
    });
    rooms.collect()
}

/// Writes the rooms into the database: nobody is invited, so nobody is told.
pub async fn open(pool: &PgPool, rooms: &[Room], users: &[User]) -> anyhow::Result<()> {
    for room in rooms {
        let members = room.seats.iter().filter(|seat| seat.part != Part::Stranger);
        let members: Vec<Uuid> = members.map(|seat| users[seat.user].person.id.0).collect();
        sqlx::query(
            "WITH room AS (
                 INSERT INTO channels (id, kind, name, is_private, created_by, created_at, updated_at)
                 VALUES ($1, 'channel', $2, $3, $4, now(), now()) RETURNING id)
             INSERT INTO channel_members (channel_id, user_id, role, joined_at)
             SELECT room.id, member, CASE member WHEN $4 THEN 'owner' ELSE 'member' END, now()
             FROM room, unnest($5::uuid[]) AS member",
        )
        .bind(room.id)
        .bind(format!("Room {}", room.index))
        .bind(room.index % 2 == 0)
        .bind(members[0])
        .bind(&members)
        .execute(pool)
        .await?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_room_has_an_owner_guests_and_strangers() {
        let rooms = cast(3, 40, &mut fastrand::Rng::with_seed(7));
        for room in &rooms {
            let count = |part| room.seats.iter().filter(|seat| seat.part == part).count();
            assert_eq!(
                (count(Part::Owner), count(Part::Guest), count(Part::Stranger)),
                (1, GUESTS, STRANGERS)
            );
            assert!((MEMBERS_MIN..=MEMBERS_MAX).contains(&(room.seats.len() - STRANGERS)));
            assert_eq!(room.seat_of(room.owner()).unwrap().part, Part::Owner);
        }
        let couple = cast(1, 2, &mut fastrand::Rng::with_seed(7));
        assert_eq!(couple[0].seats.len(), 2);
    }
}
