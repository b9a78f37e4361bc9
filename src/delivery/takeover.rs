//! After another Postgres took over, or a backup was restored: every connection and room looks whether what it sent is
//! still the past, and the other nodes hear of it. One of them may still speak to the server that was replaced.

use std::sync::Arc;
use std::time::Duration;

use crate::db::Watch;
use crate::delivery::membership::{Control, Membership};
use crate::delivery::registry::Registry;
use crate::delivery::rooms::Rooms;
use crate::shutdown::Shutdown;

/// The broker may lose what is said.
const SAY_AGAIN: Duration = Duration::from_secs(15);
/// Each connection asks Postgres one question: so many at once ...
const CONNECTIONS_AT_ONCE: usize = 100;
/// ... and then a pause, for a server that has just begun.
const PAUSE: Duration = Duration::from_millis(50);

/// Tells the other nodes which server is the newest, and wakes all rooms and connections of this one, until the process stops.
pub async fn watch(
    database: Arc<Watch>,
    membership: Arc<Membership>,
    registry: Arc<Registry>,
    rooms: Rooms,
    shutdown: Shutdown,
) {
    // Cancel-safe: a lost notification is repeated by the timer, except for the connections, which look by themselves
    // at their next tick.
    let news = || tokio::time::timeout(SAY_AGAIN, database.news());
    while let Some(woken) = shutdown.unless_stopped(news()).await {
        if let Some(server) = database.newest() {
            membership.broadcast(&Control::DatabaseSeen(server)).await;
        }
        if woken.is_err() {
            continue;
        }
        rooms.begin_anew();
        registry.turnover().note_everyone();
        for some in registry.all().chunks(CONNECTIONS_AT_ONCE) {
            for mailbox in some {
                mailbox.ring(mailbox.set_alarm());
            }
            tokio::time::sleep(PAUSE).await;
        }
    }
}
