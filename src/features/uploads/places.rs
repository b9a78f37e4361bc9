//! How many files a node receives at once, or sends, in all and of one person: each that comes takes memory for one part.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use metrics::Gauge;
use parking_lot::Mutex;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::domain::ids::UserId;
use crate::features::uploads::error::UploadsError;

/// Nobody knows when the other files will be through.
const RETRY_AFTER: Duration = Duration::from_secs(5);

type Held = Arc<Mutex<HashMap<UserId, usize>>>;

pub struct Places {
    free: Arc<Semaphore>,
    held: Held,
    per_user_max: usize,
    taken: Gauge,
}

/// One of them, until it is dropped.
pub struct Place {
    _free: OwnedSemaphorePermit,
    held: Held,
    user: UserId,
    taken: Gauge,
}

impl Places {
    pub fn new(max: usize, per_user_max: usize, taken: Gauge) -> Self {
        Self { free: Arc::new(Semaphore::new(max)), held: Held::default(), per_user_max, taken }
    }

    /// # Errors
    /// When the node, or this person, has none left.
    pub fn take(&self, user: UserId) -> Result<Place, UploadsError> {
        let mut held = self.held.lock();
        if held.get(&user).is_some_and(|of_user| *of_user >= self.per_user_max) {
            return Err(UploadsError::TooMany { retry_after: RETRY_AFTER });
        }
        let free = Arc::clone(&self.free).try_acquire_owned().map_err(|_| UploadsError::Busy)?;
        *held.entry(user).or_default() += 1;
        self.taken.increment(1);
        Ok(Place { _free: free, held: Arc::clone(&self.held), user, taken: self.taken.clone() })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.taken.decrement(1);
        let mut held = self.held.lock();
        if let Some(of_user) = held.get_mut(&self.user) {
            *of_user -= 1;
            if *of_user == 0 {
                held.remove(&self.user);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_holds_more_than_their_places_and_all_no_more_than_there_are() {
        let (places, ann, ben) = (Places::new(3, 2, Gauge::noop()), UserId::generate(), UserId::generate());
        let mut taken = vec![places.take(ann).ok().unwrap(), places.take(ann).ok().unwrap()];
        assert!(matches!(places.take(ann), Err(UploadsError::TooMany { .. })));
        taken.push(places.take(ben).ok().unwrap());
        assert!(matches!(places.take(ben), Err(UploadsError::Busy)));
        drop(taken);
        assert!(places.held.lock().is_empty());
        assert!(places.take(ben).is_ok());
    }
}
