//! The storm: every so often all its phones are cut off at once, and come back with `since`.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use goose::goose::{GooseUser, TransactionFunction, TransactionResult};

use super::session::{Session, follow};

/// What an app may have shown but not stored when its connection went: so many events at most.
pub(super) const FORGOTTEN_MAX: i64 = 2;

pub fn weather() -> TransactionFunction {
    Arc::new(|user| Box::pin(wait_for_it(user)))
}

async fn wait_for_it(user: &mut GooseUser) -> TransactionResult {
    follow(user).await?;
    if let Ok(session) = Session::of(user) {
        let passed = session.world.began.elapsed().as_secs() / session.world.storm_every.as_secs();
        if session.storms.swap(passed, Ordering::Relaxed) < passed {
            for phone in &session.couple.phones {
                phone.cut(fastrand::i64(0..=FORGOTTEN_MAX));
            }
        }
    }
    Ok(())
}
