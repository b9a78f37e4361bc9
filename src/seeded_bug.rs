//! Mistakes that a test makes the product make, so that the checker is seen to find them.
//!
//! Compiled in only with the feature `seeded-bugs`; without it every question here is answered "no" by a constant.
//! `FANLIGHT_SEEDED_BUG` chooses one: `drop_messages` (every 1000th message of Redis, or `drop_messages=N`: every
//! N-th, with the repair of gaps off), `settle_before_write`, `poll_by_id`, `repeat_at_seam`; of rooms
//! `drop_room_messages` (likewise) and `keep_the_removed`.

pub use switch::{
    drops_message, drops_room_message, keeps_the_removed, leaves_gaps, leaves_room_gaps, repeats_at_seam,
    settles_before_write, skip_older,
};

#[cfg(not(feature = "seeded-bugs"))]
mod switch {
    use uuid::Uuid;

    /// Whether a message that Redis brought is lost.
    pub const fn drops_message() -> bool {
        false
    }

    /// Whether a gap in a sequence is passed over.
    pub const fn leaves_gaps() -> bool {
        false
    }

    /// Whether an event counts as delivered before it is written.
    pub const fn settles_before_write() -> bool {
        false
    }

    /// Whether what a replay has sent is sent again when it comes live.
    pub const fn repeats_at_seam() -> bool {
        false
    }

    /// Whether what another node says in a room is lost.
    pub const fn drops_room_message() -> bool {
        false
    }

    /// Whether what a room lacks is passed over.
    pub const fn leaves_room_gaps() -> bool {
        false
    }

    /// Whether who was removed from a room goes on hearing it.
    pub const fn keeps_the_removed() -> bool {
        false
    }

    /// Leaves, of what a look of the sweeper has claimed, only what is newer than everything that any look has.
    pub fn skip_older<T>(_claimed: &mut Vec<T>, _id: impl Fn(&T) -> Uuid + Copy) {}
}

#[cfg(feature = "seeded-bugs")]
mod switch {
    use std::sync::OnceLock;
    use std::sync::atomic::{AtomicU64, Ordering};

    use parking_lot::Mutex;
    use uuid::Uuid;

    const EVERY: u64 = 1_000;

    #[derive(Clone, Copy, PartialEq, Eq)]
    enum Bug {
        DropMessages { every: u64 },
        SettleBeforeWrite,
        PollById,
        RepeatAtSeam,
        DropRoomMessages { every: u64 },
        KeepTheRemoved,
    }

    fn chosen() -> Option<Bug> {
        static CHOSEN: OnceLock<Option<Bug>> = OnceLock::new();
        *CHOSEN.get_or_init(|| {
            #[expect(clippy::disallowed_methods, reason = "a test's switch, not a setting")]
            let text = std::env::var("FANLIGHT_SEEDED_BUG").ok()?;
            let (name, number) = text.split_once('=').unwrap_or((&text, ""));
            Some(match name {
                "drop_messages" => Bug::DropMessages { every: number.parse().unwrap_or(EVERY) },
                "settle_before_write" => Bug::SettleBeforeWrite,
                "poll_by_id" => Bug::PollById,
                "repeat_at_seam" => Bug::RepeatAtSeam,
                "drop_room_messages" => Bug::DropRoomMessages { every: number.parse().unwrap_or(EVERY) },
                "keep_the_removed" => Bug::KeepTheRemoved,
                unknown => panic!("FANLIGHT_SEEDED_BUG: there is no bug `{unknown}`"),
            })
        })
    }

    pub fn drops_message() -> bool {
        static MESSAGES: AtomicU64 = AtomicU64::new(0);
        let Some(Bug::DropMessages { every }) = chosen() else { return false };
        is_one_of(&MESSAGES, every)
    }

    fn is_one_of(messages: &AtomicU64, every: u64) -> bool {
        (messages.fetch_add(1, Ordering::Relaxed) + 1).is_multiple_of(every.max(1))
    }

    pub fn leaves_gaps() -> bool {
        matches!(chosen(), Some(Bug::DropMessages { .. }))
    }

    pub fn settles_before_write() -> bool {
        chosen() == Some(Bug::SettleBeforeWrite)
    }

    pub fn repeats_at_seam() -> bool {
        chosen() == Some(Bug::RepeatAtSeam)
    }

    pub fn drops_room_message() -> bool {
        static MESSAGES: AtomicU64 = AtomicU64::new(0);
        let Some(Bug::DropRoomMessages { every }) = chosen() else { return false };
        is_one_of(&MESSAGES, every)
    }

    pub fn leaves_room_gaps() -> bool {
        matches!(chosen(), Some(Bug::DropRoomMessages { .. }))
    }

    pub fn keeps_the_removed() -> bool {
        chosen() == Some(Bug::KeepTheRemoved)
    }

    pub fn skip_older<T>(claimed: &mut Vec<T>, id: impl Fn(&T) -> Uuid + Copy) {
        static LAST_SEEN: Mutex<Uuid> = Mutex::new(Uuid::nil());
        if chosen() != Some(Bug::PollById) {
            return;
        }
        let mut last_seen = LAST_SEEN.lock();
        claimed.retain(|event| id(event) > *last_seen);
        *last_seen = claimed.iter().map(id).max().unwrap_or(*last_seen);
    }
}
