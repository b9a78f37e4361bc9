//! How the world reaches a node: sockets, their memory, requests.

use super::Values::{Each, OneOf};
use super::buckets::{CALL, LIFE};
use super::metrics;

const OPCODES: &[&str] = &["text", "binary", "ping", "pong", "close"];
/// What features handle.
const FEATURE_COMMANDS: &[&str] =
    &["subscribe", "unsubscribe", "typing", "send", "watch", "presence", "view"];

metrics! {
    /// Connections that have shown who they are.
    gauge "fanlight_connections";
    /// Connections, in whatever stage, that this node takes at most (`sockets.connections_max`).
    gauge "fanlight_connections_max";
    /// Users with a connection to this node.
    gauge "fanlight_connected_users";
    /// 1 while the node leaves, 0 otherwise.
    gauge "fanlight_draining";
    /// WebSocket handshakes, by how they were answered.
    counter "fanlight_handshakes_total" { outcome: OneOf(&[
        "accepted", "draining", "full", "memory", "crowd", "pace", "address", "strangers",
        "bad_upgrade", "bad_parameter", "foreign_origin", "method_not_allowed", "upgrade_required",
    ]) };
    /// From a valid token until it is known what the client missed.
    histogram(CALL) "fanlight_connection_begin_duration_seconds";
    /// How connections began: without `since`, with nothing missed, with a replay, or with a `RESYNC`.
    counter "fanlight_resumes_total" { result: OneOf(&["fresh", "lossless", "replayed", "resync"]) };
    /// `RESYNC` frames: the client has to read the state.
    counter "fanlight_resyncs_total" { reason: OneOf(&[
        "too_far_behind", "beyond_retention", "ahead_of_server", "another_past",
    ]) };
    /// How long a connection waited for its turn to read what it missed.
    histogram(CALL) "fanlight_replay_wait_duration_seconds";
    /// Ended connections; `client`: it closed, `gone`: it vanished.
    counter "fanlight_connections_closed_total" {
        code: Each("the close code, `client` or `gone`"), reason: Each("the row of `src/edge/ws/close.rs`"),
    };
    /// How long connections lasted.
    histogram(LIFE) "fanlight_connection_duration_seconds";
    /// WebSocket messages from clients.
    counter "fanlight_messages_received_total" { opcode: OneOf(OPCODES) };
    /// WebSocket messages to clients.
    counter "fanlight_messages_sent_total" { opcode: OneOf(OPCODES) };
    /// Payload of the messages from clients.
    counter "fanlight_received_bytes_total";
    /// Bytes written to sockets, frame headers included.
    counter "fanlight_sent_bytes_total";
    /// What clients said in text messages, and whether it was done; `busy`: too many commands of the connection waited.
    counter "fanlight_commands_total" {
        command: OneOf(&[
            "ack", "ping", "auth", "subscribe", "unsubscribe", "typing", "send", "watch", "presence", "view", "none",
        ]),
        result: OneOf(&["ok", "malformed", "unknown", "invalid", "refused", "busy"]),
    };
    /// How long a command took a feature, without its wait for those before it.
    histogram(CALL) "fanlight_command_duration_seconds" { command: OneOf(FEATURE_COMMANDS) };
    /// Connections that took no bytes for `sockets.write_timeout_ms`.
    counter "fanlight_write_timeouts_total";
    /// Connections whose queue was full; they are closed, and resume.
    counter "fanlight_mailbox_overflows_total";
    /// Notices that found no place in a queue that was half full.
    counter "fanlight_mailbox_notices_dropped_total";
    /// Memory for what waits for all connections of this node.
    gauge "fanlight_queued_bytes";
    /// How much of it there may be (`sockets.memory_bytes_max`).
    gauge "fanlight_queued_max_bytes";
    /// Events only told of, because the memory was used up; the connection reads them from Postgres.
    counter "fanlight_budget_deferrals_total";
    /// Connections closed because they held the most when the memory was used up.
    counter "fanlight_budget_closes_total";
    /// HTTP requests, by route and status.
    counter "fanlight_http_requests_total" {
        method: OneOf(&["GET", "POST", "PUT", "PATCH", "DELETE", "other"]),
        route: Each("the routes of the API, or `none`"), status: Each("the status codes of the API"),
    };
    /// From the head of a request to the head of its answer.
    histogram(CALL) "fanlight_http_request_duration_seconds" {
        method: OneOf(&["GET", "POST", "PUT", "PATCH", "DELETE", "other"]),
        route: Each("the routes of the API, or `none`"),
    };
    /// TCP connections that could not be accepted: no file descriptor is left, as a rule.
    counter "fanlight_accept_failures_total";
    /// TCP connections that ended in mid request: broken, too slow, reset.
    counter "fanlight_http_connection_errors_total";
    /// TCP connections refused before their first request: all places are taken, or those of their address.
    counter "fanlight_http_connections_refused_total" { reason: OneOf(&["full", "address"]) };
}
