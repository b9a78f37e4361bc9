//! How events reach their users, and what became of them.

use super::Values::OneOf;
use super::buckets::DELIVERY;
use super::metrics;

/// What features tell.
pub(super) const KINDS: &[&str] = &[
    "PARTNER_LINKED",
    "PARTNER_UNLINKED",
    "PARTNER_STATUS_CHANGED",
    "SELF_STATUS_CHANGED",
    "CHANNEL_CREATED",
    "INVITED",
    "MEMBER_REMOVED",
    "SELF_READ_MARKER",
    "MENTIONED",
    "DIRECT_MESSAGE",
    "CHANNEL_ACTIVITY",
];

metrics! {
    /// Events sent on their way, also again by a sweeper, by where their user was seen.
    counter "fanlight_events_routed_total" {
        kind: OneOf(KINDS), sighting: OneOf(&["local", "remote", "absent", "unknown"]),
    };
    /// Events written to sockets.
    counter "fanlight_events_written_total";
    /// From the statement that made an event to the end of its write to a live socket, by the clocks of two nodes.
    histogram(DELIVERY) "fanlight_delivery_write_duration_seconds";
    /// From the write of an event to its receipt; of those written while one is awaited, from that one on.
    histogram(DELIVERY) "fanlight_delivery_receipt_duration_seconds" { receipt: OneOf(&["pong", "ack"]) };
    /// From the commit of an event until it is written down that a device has it, by the clock of Postgres.
    histogram(DELIVERY) "fanlight_delivery_confirm_duration_seconds" { kind: OneOf(KINDS) };
    /// Events that ended, and why: `docs/outcomes.md`.
    counter "fanlight_events_settled_total" {
        kind: OneOf(KINDS), outcome: OneOf(&["delivered", "pushed", "expired"]),
        reason: OneOf(&[
            "pong", "ack", "resumed", "seen", "every_device", "some_device", "accepted", "coalesced", "silent",
            "no_device", "token_dead", "refused", "unreadable", "given_up", "unconfirmed",
        ]),
    };
    /// Events that wait for their user from now on, because no device can be woken for them.
    counter "fanlight_events_parked_total" {
        kind: OneOf(KINDS),
        reason: OneOf(&["silent", "no_device", "token_dead", "refused", "unreadable", "given_up"]),
    };
    /// Events in Postgres that are not settled, counted up to 10,000; every node says it of the whole cluster.
    gauge "fanlight_outbox_pending_events";
    /// Age of the oldest of them; one that waits for its user may be as old as its time to live.
    gauge "fanlight_outbox_oldest_age_seconds";
    /// How long the one that is due longest has been due: sweepers that work keep it at a second or two.
    gauge "fanlight_outbox_overdue_seconds";
    /// Events that fell due and were taken on by this node, to be routed again or pushed.
    counter "fanlight_events_swept_total" { step: OneOf(&["route", "push"]) };
    /// Looks for due events that failed.
    counter "fanlight_sweep_failures_total";
    /// Writes of confirmations that failed, and are repeated.
    counter "fanlight_settlement_failures_total";
    /// Old events deleted.
    counter "fanlight_events_pruned_total";
    /// Events whose frame cannot be made any more: a bug of ours.
    counter "fanlight_events_unreadable_total";
    /// Committed events that found the dispatcher's queue full, and wait for a sweeper.
    counter "fanlight_dispatch_overflows_total";
    /// Events that came for a user who is not connected here any more.
    counter "fanlight_events_missed_total";
    /// Of these, those that found the queue for them full, and wait for a sweeper.
    counter "fanlight_missed_overflows_total";
    /// Gaps before an event that a connection filled from Postgres.
    counter "fanlight_gap_repairs_total";
    /// Connections that a comparison with Postgres found behind.
    counter "fanlight_reconcile_gaps_total";
    /// Connections ahead of Postgres, which has lost commits; they are sent to resume.
    counter "fanlight_reconcile_ahead_total";
    /// Forgotten names of devices of users with too many.
    counter "fanlight_device_cursors_forgotten_total";
}
