//! Places where a test can crash a node or hold it up, so that each failure window is opened on purpose.
//!
//! Compiled in only with the feature `failpoints`. `FANLIGHT_FAILPOINTS` holds `name=action` pairs joined by
//! `;`, where the action is `abort` (as kill -9 at this line), `abort:N` (at the N-th time), or `hold:PATH` (whoever
//! comes by stands still until that file exists). In the order of an event's path (`tests/it/crashes.rs` crashes at
//! each once):
//!
//! | name | the node dies |
//! |---|---|
//! | `authenticated` | knowing who asks |
//! | `before_commit` | having decided |
//! | `after_commit` | before anybody was told |
//! | `before_answer` | before the caller hears that it is done |
//! | `on_dispatch` | with the event in its queue |
//! | `before_publish` | before the other nodes are told |
//! | `after_publish` | not knowing whom it has told |
//! | `on_receive` | with the event from another node |
//! | `before_write` | before the client gets it |
//! | `after_write` | having written it to the kernel |
//! | `on_confirm` | with the client's receipt |
//! | `before_settle` | before the receipt is in the database |
//! | `after_settle` | with the receipt in the database |
//! | `on_sweep` | having claimed the event to route it again |
//! | `after_claim` | having claimed the event to push it |
//! | `before_push` | holding the lane, the attempt opened |
//! | `after_push` | before what FCM said is written down |
//! | `after_record` | before the event is settled |
//! | `after_conclude` | with the event settled, and not counted |
//! | `after_expire` | likewise |
//! | `before_noticing` | having written a message, before anybody looks whom it concerns |
//! | `before_notifying` | having decided who is told of it |
//! | `room_committed` | with a change of a room of which nobody was told |
//! | `room_unsaid` | before the other nodes are told of a change of a room |

/// Acts if the test asked for it here; compiles to nothing otherwise.
#[macro_export]
macro_rules! failpoint {
    ($name:literal) => {
        #[cfg(feature = "failpoints")]
        {
            static PASSES: std::sync::atomic::AtomicU64 = std::sync::atomic::AtomicU64::new(0);
            $crate::failpoint::reached($name, &PASSES);
        }
    };
}

#[cfg(feature = "failpoints")]
enum Action {
    AbortAt(u64),
    HoldUntil(std::path::PathBuf),
}

#[cfg(feature = "failpoints")]
pub fn reached(name: &str, passes: &std::sync::atomic::AtomicU64) {
    use std::collections::HashMap;
    use std::sync::OnceLock;
    use std::sync::atomic::Ordering;
    use std::time::{Duration, Instant};

    const HOLD_MAX: Duration = Duration::from_mins(2);
    static ACTIONS: OnceLock<HashMap<String, Action>> = OnceLock::new();
    let actions = ACTIONS.get_or_init(|| {
        #[expect(clippy::disallowed_methods, reason = "a test's switch, not a setting")]
        let script = std::env::var("FANLIGHT_FAILPOINTS").unwrap_or_default();
        script.split(';').filter_map(parse).collect()
    });
    let pass = passes.fetch_add(1, Ordering::Relaxed) + 1;
    match actions.get(name) {
        Some(Action::AbortAt(at)) if *at == pass => std::process::abort(),
        Some(Action::HoldUntil(file)) => {
            let since = Instant::now();
            // The thread, not the task: nothing else of the task goes on meanwhile.
            while !file.exists() && since.elapsed() < HOLD_MAX {
                std::thread::sleep(Duration::from_millis(10));
            }
        }
        _ => {}
    }
}

#[cfg(feature = "failpoints")]
fn parse(pair: &str) -> Option<(String, Action)> {
    let (name, action) = pair.split_once('=')?;
    let action = match action.split_once(':') {
        None if action == "abort" => Action::AbortAt(1),
        Some(("abort", pass)) => Action::AbortAt(pass.parse().ok()?),
        Some(("hold", file)) => Action::HoldUntil(file.into()),
        _ => return None,
    };
    Some((name.trim().to_owned(), action))
}
