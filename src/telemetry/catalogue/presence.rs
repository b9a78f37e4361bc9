//! Who is online, away or offline, and who is told.

use super::Values::OneOf;
use super::metrics;

metrics! {
    /// Transitions of users that this node made.
    counter "fanlight_presence_changes_total" { status: OneOf(&["online", "away", "offline"]) };
    /// Users looked at a grace after a connection was closed or a node lost; `later`: nobody can tell yet.
    counter "fanlight_presence_looks_total" { result: OneOf(&["here", "elsewhere", "later", "offline"]) };
    /// Users taken over from nodes that were lost.
    counter "fanlight_presence_orphans_total";
    /// Attempts to write down who came and went that failed in part; what failed is tried again.
    counter "fanlight_presence_write_failures_total";
    /// Users whom somebody on this node watches.
    gauge "fanlight_presence_watched_users";
    /// By how many connections each, together.
    gauge "fanlight_presence_watches";
    /// Changes left in the mailboxes of watchers here, each for each of them.
    counter "fanlight_presence_frames_left_total";
    /// Watched users of whom a comparison with Postgres found a change that was lost on the way.
    counter "fanlight_presence_repairs_total";
    /// Watches ended because the two share nothing any more.
    counter "fanlight_presence_hidden_total";
    /// Full queues: too many users came and went, or were to be told of; all are compared then.
    counter "fanlight_presence_overflows_total" { queue: OneOf(&["turnover", "telling"]) };
}
