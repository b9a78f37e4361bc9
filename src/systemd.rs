//! Tells systemd how this node is: ready, leaving, alive (`sd_notify(3)`, `Type=notify`).
//!
//! Whoever else starts the node sets no `NOTIFY_SOCKET`, and nothing is said. What cannot be said changes nothing.

use sd_notify::NotifyState;

use crate::shutdown::Shutdown;

/// How often the watchdog is answered within its time: one answer may come late.
const ANSWERS_PER_TIMEOUT: u32 = 3;

/// The node takes connections.
pub fn ready() {
    say(&[NotifyState::Ready, NotifyState::Status("taking connections")]);
}

/// The node leaves; a service that is restarted stays so until the process has ended.
pub fn stopping() {
    say(&[NotifyState::Stopping, NotifyState::Status("draining")]);
}

/// Answers the watchdog, if there is one, as long as tasks are run at all.
pub fn answer_watchdog(shutdown: &Shutdown) {
    let Some(timeout) = sd_notify::watchdog_enabled().filter(|timeout| !timeout.is_zero()) else { return };
    let stop = shutdown.clone();
    shutdown.spawn("systemd.watchdog", async move {
        let pause = timeout / ANSWERS_PER_TIMEOUT;
        while stop.unless_stopped(tokio::time::sleep(pause)).await.is_some() {
            say(&[NotifyState::Watchdog]);
        }
    });
}

fn say(state: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(state) {
        tracing::warn!(%error, "cannot tell systemd");
    }
}
