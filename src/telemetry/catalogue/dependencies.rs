//! What a node leans on: Postgres and Redis.

use super::Values::OneOf;
use super::buckets::CALL;
use super::metrics;

const POOLS: &[&str] = &["requests", "background"];
const COMMANDS: &[&str] = &[
    "route",
    "broadcast",
    "publish",
    "probe",
    "lease_renew",
    "lease_release",
    "presence_enter",
    "presence_enter_many",
    "presence_leave",
    "presence_depart",
    "presence_read",
    "marks_set",
    "marks_linger",
    "marks_find",
    "marks_silent",
    "throttle",
    "throttle_reset",
];

const BLOB_OPERATIONS: &[&str] = &["begin", "write", "finish", "give_up", "read", "remove"];

metrics! {
    /// 1 while Postgres answers, 0 otherwise.
    gauge "fanlight_database_reachable";
    /// How long Postgres took for the question that is asked every second, the wait for a connection included.
    histogram(CALL) "fanlight_database_check_duration_seconds";
    /// Open connections to Postgres.
    gauge "fanlight_database_connections" { pool: OneOf(POOLS) };
    /// Those of them that nobody uses.
    gauge "fanlight_database_connections_idle" { pool: OneOf(POOLS) };
    /// How many there may be.
    gauge "fanlight_database_connections_max" { pool: OneOf(POOLS) };
    /// How long work outside of requests waited for Postgres, and how that ended.
    histogram(CALL) "fanlight_database_work_duration_seconds" { outcome: OneOf(&["ok", "error", "deadline"]) };
    /// Times that another past of the database took the place of the one known: a failover, or a restored backup.
    counter "fanlight_database_takeovers_total";
    /// 1 while this node reaches the others through Redis, 0 otherwise.
    gauge "fanlight_broker_reachable";
    /// Subscriptions of this node that ended, or could not be made.
    counter "fanlight_broker_interruptions_total";
    /// Messages of other nodes that cannot be read; a newer version may send some.
    counter "fanlight_broker_unreadable_messages_total";
    /// Commands to Redis, by how they ended; `not_asked`: it failed a moment ago.
    counter "fanlight_redis_commands_total" {
        command: OneOf(COMMANDS), outcome: OneOf(&["ok", "error", "deadline", "not_asked"]),
    };
    /// From a command to Redis to its answer.
    histogram(CALL) "fanlight_redis_command_duration_seconds" { command: OneOf(COMMANDS) };
    /// Connections to Redis given up because nothing was answered on them.
    counter "fanlight_redis_silences_total";
    /// Moves to another Redis.
    counter "fanlight_redis_moves_total";
    /// Looks for the Redis to use that failed.
    counter "fanlight_redis_lookup_failures_total";
    /// How long the store of files took.
    histogram(CALL) "fanlight_blob_store_duration_seconds" { operation: OneOf(BLOB_OPERATIONS) };
    /// Operations that the store of files refused or did not answer.
    counter "fanlight_blob_store_failures_total" { operation: OneOf(BLOB_OPERATIONS) };
    /// Limits that were counted on this node alone, because Redis did not answer.
    counter "fanlight_throttle_fallbacks_total";
    /// Keys forgotten because this node counts too many.
    counter "fanlight_throttle_keys_evicted_total";
}
