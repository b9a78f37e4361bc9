//! The process and its runtime. `process_…` are the names that Prometheus' own libraries give.

use super::Values::{Each, OneOf};
use super::metrics;

const TASKS: &[&str] = &[
    "telemetry.upkeep",
    "ws.wheel",
    "delivery.dispatcher",
    "delivery.fallback",
    "delivery.subscriber",
    "delivery.missed",
    "delivery.lease",
    "delivery.takeover",
    "delivery.budget",
    "delivery.settlement",
    "delivery.sweeper",
    "delivery.prune",
    "delivery.reconcile",
    "delivery.backlog",
    "rooms.publishing",
    "rooms.subscriptions",
    "rooms.comparing",
    "rooms.typing",
    "presence.vouching",
    "presence.looking",
    "presence.telling",
    "presence.comparing",
    "ops.health",
    "accounts.revocation",
    "accounts.housekeeping",
    "accounts.announce",
    "status.lapse",
    "devices.stale",
    "channels.purge",
    "messages.prune",
    "uploads.sweep",
    "notifications.telling",
    "notifications.backlog",
    "redis.follow",
    "systemd.watchdog",
    "http.public",
    "http.internal",
];

metrics! {
    /// Always 1; says which version runs.
    gauge "fanlight_build_info" { version: Each("the version") };
    /// Tasks that panicked.
    counter "fanlight_task_panics_total" { task: OneOf(TASKS) };
    /// Lines of the log that were not written, because whoever reads it was too slow, or has gone.
    counter "fanlight_log_lines_dropped_total";
    /// Spans by what became of them; `dropped`: too many waited, `failed`: the collector did not take them.
    counter "fanlight_trace_spans_total" { result: OneOf(&["exported", "failed", "dropped"]) };
    /// Tasks that run: the long-lived ones, and one or more per connection.
    gauge "fanlight_tasks";
    /// Threads that run them.
    gauge "fanlight_runtime_workers";
    /// How much of the last seconds these threads worked.
    gauge "fanlight_runtime_busy_ratio";
    /// Tasks that wait for any of these threads.
    gauge "fanlight_runtime_queue_depth";
    /// CPU time used, in whole seconds.
    counter "process_cpu_seconds_total";
    /// Open file descriptors.
    gauge "process_open_fds";
    /// How many there may be.
    gauge "process_max_fds";
    /// Resident memory.
    gauge "process_resident_memory_bytes";
    /// Virtual memory.
    gauge "process_virtual_memory_bytes";
    /// When the process started, in seconds since 1970.
    gauge "process_start_time_seconds";
    /// Threads.
    gauge "process_threads";
}
