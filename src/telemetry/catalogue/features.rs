//! What people do.

use super::Values::OneOf;
use super::buckets::{CALL, DELIVERY};
use super::metrics;

metrics! {
    /// Changes of a traffic light, by a person or because their time was over.
    counter "fanlight_status_changes_total" { cause: OneOf(&["set", "lapse"]) };
    /// Couples made and parted.
    counter "fanlight_linking_changes_total" { change: OneOf(&["linked", "unlinked"]) };
    /// Attempts that were over a limit.
    counter "fanlight_throttled_total" { scope: OneOf(&[
        "login_address", "login_account", "login_account_and_address", "registration", "link_code",
        "invitation", "channel_change", "message", "message_read", "message_search", "notification_preferences",
        "upload",
    ]) };
    /// Logins, by how they ended.
    counter "fanlight_accounts_logins_total" { outcome: OneOf(&[
        "success", "bad_credentials", "throttled", "overloaded", "error",
    ]) };
    /// How long a password took to hash.
    histogram(CALL) "fanlight_accounts_hashing_seconds";
    /// Requests answered 503 because too many passwords wait to be hashed.
    counter "fanlight_accounts_hashing_refused_total";
    /// Sessions ended.
    counter "fanlight_accounts_sessions_revoked_total" { reason: OneOf(&[
        "logout", "removed", "refresh_reuse", "too_many",
    ]) };
    /// Ended sessions of which nodes were not told; they find them by their poll.
    counter "fanlight_revocation_announcements_dropped_total";
    /// Old rows of sessions and tokens deleted.
    counter "fanlight_accounts_rows_deleted_total";
    /// Tokens of devices that are not pushed to any more.
    counter "fanlight_device_tokens_retired_total" { reason: OneOf(&[
        "token_dead", "removed", "moved", "device_limit", "stale", "logout",
    ]) };
    /// Channels, groups and direct conversations made, changed and deleted, and people who came and went.
    counter "fanlight_channel_changes_total" { change: OneOf(&[
        "created", "updated", "deleted", "joined", "invited", "appointed", "left", "removed",
    ]) };
    /// People who were not taken into a channel because it, or they, had reached a limit.
    counter "fanlight_channel_refusals_total" { limit: OneOf(&["members", "memberships"]) };
    /// Messages written, said again with the same key, and what happened to them later.
    counter "fanlight_messages_total" { change: OneOf(&[
        "sent", "repeated", "edited", "deleted", "reaction_added", "reaction_removed",
    ]) };
    /// Files sent to this node, by how that ended.
    counter "fanlight_uploads_total" { result: OneOf(&[
        "stored", "wrong_type", "too_large", "cut_off", "too_slow", "quota", "busy", "refused", "unavailable",
    ]) };
    /// Files that this node is receiving.
    gauge "fanlight_uploads_receiving";
    /// Files that this node is sending.
    gauge "fanlight_uploads_sending";
    /// What this node has received of files.
    counter "fanlight_upload_bytes_total";
    /// What this node has sent of files.
    counter "fanlight_download_bytes_total";
    /// Files deleted because they were over: never attached, cut off, or gone with their message.
    counter "fanlight_uploads_swept_total";
    /// Edits, deletions and reactions that nobody needs to be told again.
    counter "fanlight_message_changes_deleted_total";
    /// Whether people were told of what concerns them, and why not: `docs/notifications.md`.
    counter "fanlight_notifications_total" {
        cause: OneOf(&["mention", "direct", "all", "invite"]),
        reason: OneOf(&[
            "sent", "read", "muted", "preference", "quiet_hours", "viewing", "viewed", "not_a_member", "deleted",
            "expired",
        ]),
    };
    /// From a message to the event that tells somebody of it, if nothing held that up, by the clocks of two nodes.
    histogram(DELIVERY) "fanlight_notification_duration_seconds" { cause: OneOf(&["mention", "direct", "all"]) };
    /// Times that a node could not decide what is due; it is tried again.
    counter "fanlight_notification_failures_total";
    /// Times that it was not known what is on screens; whoever might have been looking was told.
    counter "fanlight_notification_attention_failures_total";
    /// Messages of which it is not known yet whom they concern, up to 10,000.
    gauge "fanlight_message_notices";
    /// Age of the oldest of them.
    gauge "fanlight_message_notices_oldest_age_seconds";
    /// Notifications that are to be decided, or wait, up to 10,000.
    gauge "fanlight_notifications_pending";
    /// How long the one that is due longest has been due.
    gauge "fanlight_notifications_overdue_seconds";
}
