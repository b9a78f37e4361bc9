//! After another Postgres took over, or a backup was restored: every connection looks whether what it sent is
//! still the past.

use std::sync::Arc;
use std::time::Duration;

use crate::db::Watch;
use crate::delivery::registry::Registry;
use crate::shutdown::Shutdown;

/// Each connection asks Postgres one question: so many at once ...
const CONNECTIONS_AT_ONCE: usize = 100;
/// ... and then a pause, for a server that has just begun.
const PAUSE: Duration = Duration::from_millis(50);

/// Wakes all connections after each takeover, until the process stops.
pub async fn watch(database: Arc<Watch>, registry: Arc<Registry>, shutdown: Shutdown) {
    while shutdown.unless_stopped(database.taken_over()).await.is_some() {
        for some in registry.all().chunks(CONNECTIONS_AT_ONCE) {
            for mailbox in some {
                mailbox.ring(mailbox.set_alarm());
            }
            tokio::time::sleep(PAUSE).await;
        }
    }
}
