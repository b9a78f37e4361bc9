//! How what happens in rooms reaches those who subscribe.

use super::Values::OneOf;
use super::buckets::CALL;
use super::metrics;

/// What rooms tell.
const KINDS: &[&str] = &[
    "MESSAGE_CREATED",
    "MESSAGE_EDITED",
    "MESSAGE_DELETED",
    "REACTION_ADDED",
    "REACTION_REMOVED",
    "READ_MARKER",
    "TYPING",
    "CHANNEL_UPDATED",
    "CHANNEL_DELETED",
    "MEMBER_ADDED",
    "MEMBER_UPDATED",
    "MEMBER_REMOVED",
];

metrics! {
    /// Rooms with a subscriber on this node.
    gauge "fanlight_rooms";
    /// Subscriptions of this node's connections to them.
    gauge "fanlight_room_subscriptions";
    /// Subscriptions refused because the connection has as many as one may.
    counter "fanlight_room_subscriptions_refused_total";
    /// Frames told to rooms by this node.
    counter "fanlight_room_frames_published_total" { kind: OneOf(KINDS) };
    /// Frames left in the mailboxes of subscribers here, each for each of them.
    counter "fanlight_room_frames_left_total";
    /// How long it took to leave what is next with all subscribers of a room here, the turns of others included.
    histogram(CALL) "fanlight_room_fanout_duration_seconds";
    /// Frames that found the queue to the other nodes full; these read them from Postgres.
    counter "fanlight_room_publish_overflows_total";
    /// Batches that Redis did not take; the other nodes are told later that there is something to read.
    counter "fanlight_room_publish_failures_total";
    /// Changes that found too many others waiting in their room, and are read from Postgres.
    counter "fanlight_room_waiting_overflows_total";
    /// Times that a room, or some of its subscribers, lacked changes, and they were read from Postgres.
    counter "fanlight_room_repairs_total";
    /// Rooms that a comparison with Postgres found behind.
    counter "fanlight_room_gaps_found_total";
    /// Subscriptions that were told to read the state.
    counter "fanlight_room_resyncs_total" {
        reason: OneOf(&["too_far_behind", "ahead_of_server", "another_past"]),
    };
    /// Subscriptions that had to read once more, because more happened than is kept for those who join.
    counter "fanlight_room_gate_overflows_total";
    /// Subscriptions ended because the user was removed, or the room deleted.
    counter "fanlight_room_expulsions_total" { reason: OneOf(&["removed", "gone"]) };
    /// Who began to type, went on, ended, or ended without saying so; `refused`: too many type.
    counter "fanlight_typing_total" { result: OneOf(&["begun", "throttled", "ended", "lapsed", "refused"]) };
}
