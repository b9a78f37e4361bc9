//! Breaks one thing after the other, and then two at a time, in an order that the seed decides.

use std::collections::VecDeque;
use std::time::Duration;

use serde::Serialize;
use tokio::time::{Instant, sleep};

use crate::arena::Arena;
use crate::faults::Fault;
use crate::history::{Millis, now};
use crate::injuries::{Injury, heal_everything, strike};

const HOLD_SECONDS: (f64, f64) = (3.0, 7.0);
/// After each, so that what was late can be told from what comes next.
const REST: Duration = Duration::from_secs(4);

/// Something that was broken for a while.
#[derive(Clone, Debug, Serialize)]
pub struct Strike {
    pub faults: Vec<Fault>,
    pub struck_at: Millis,
    pub healed_at: Millis,
}

/// The order of the faults: each alone, then each pair, then all over again.
pub struct Plan {
    rng: fastrand::Rng,
    faults: Vec<Fault>,
    pairs: Vec<[Fault; 2]>,
    coming: VecDeque<Vec<Fault>>,
}

impl Plan {
    pub fn new(mut rng: fastrand::Rng, faults: Vec<Fault>, with_pairs: bool) -> Self {
        let mut pairs = Vec::new();
        for (at, one) in faults.iter().enumerate().filter(|_| with_pairs) {
            let others = faults[at + 1..].iter().filter(|other| one.goes_with(**other));
            pairs.extend(others.map(|other| [*one, *other]));
        }
        rng.shuffle(&mut pairs);
        Self { rng, faults, pairs, coming: VecDeque::new() }
    }

    fn refill(&mut self) {
        self.rng.shuffle(&mut self.faults);
        self.coming.extend(self.faults.iter().map(|fault| vec![*fault]));
        self.coming.extend(self.pairs.iter().map(|pair| pair.to_vec()));
    }
}

impl Iterator for Plan {
    type Item = Vec<Fault>;

    fn next(&mut self) -> Option<Vec<Fault>> {
        if self.coming.is_empty() {
            self.refill();
        }
        self.coming.pop_front()
    }
}

/// What was done, and what could not be.
#[derive(Debug, Default)]
pub struct Rage {
    pub strikes: Vec<Strike>,
    pub troubles: Vec<String>,
}

/// Breaks and heals until `end`.
pub async fn rage(
    arena: &mut Arena,
    plan: &mut Plan,
    rng: &mut fastrand::Rng,
    end: Instant,
) -> anyhow::Result<Rage> {
    let mut rage = Rage::default();
    for faults in plan {
        let (shortest, longest) = HOLD_SECONDS;
        let hold = Duration::from_secs_f64(shortest + rng.f64() * (longest - shortest));
        if Instant::now() + hold + REST > end {
            break;
        }
        let names: Vec<String> = faults.iter().map(|fault| fault.name()).collect();
        match once(arena, faults, rng, hold).await {
            Ok(strike) => rage.strikes.push(strike),
            Err(error) => {
                rage.troubles.push(format!("{}: {error:#}", names.join(" + ")));
                heal_everything(arena).await?;
            }
        }
        sleep(REST).await;
    }
    Ok(rage)
}

async fn once(
    arena: &mut Arena,
    mut faults: Vec<Fault>,
    rng: &mut fastrand::Rng,
    hold: Duration,
) -> anyhow::Result<Strike> {
    // It takes its time while it is struck: the other fault has to be there by then.
    faults.sort_by_key(|fault| *fault == Fault::RollingRestart);
    let struck_at = now();
    let mut injuries: Vec<Injury> = Vec::new();
    for fault in &faults {
        injuries.push(strike(*fault, arena, rng).await?);
    }
    if !faults.contains(&Fault::RollingRestart) {
        sleep(hold).await;
    }
    // A node that starts needs its stores.
    injuries.sort_by_key(|injury| injury.fault() == Fault::NodeKill);
    for injury in injuries {
        injury.heal(arena).await?;
    }
    Ok(Strike { faults, struck_at, healed_at: now() })
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    fn plan(seed: u64) -> Vec<Vec<Fault>> {
        Plan::new(fastrand::Rng::with_seed(seed), Fault::all(), true).take(200).collect()
    }

    #[test]
    fn the_seed_decides_the_order() {
        assert_eq!(plan(7), plan(7));
        assert_ne!(plan(7), plan(8));
    }

    #[test]
    fn every_fault_comes_alone_before_any_pair() {
        let count = Fault::all().len();
        let plan = plan(7);
        let alone: HashSet<Fault> = plan[..count].iter().flatten().copied().collect();
        assert_eq!(alone.len(), count);
        assert!(plan[count..].iter().all(|faults| faults.len() == 2));
    }
}
