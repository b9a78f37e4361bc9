//! The arithmetic of measurements.

use std::fmt;

/// The value below which this share of all lies; NaN of none.
pub fn percentile(values: impl Iterator<Item = f64>, share: f64) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a share of a length")]
    let rank = (count(values.len()) * share).ceil() as usize;
    values.get(rank.max(1) - 1).copied().unwrap_or(f64::NAN)
}

/// A number of things, to calculate with.
#[expect(clippy::cast_precision_loss, reason = "no run has 2^52 of anything")]
pub fn count(number: usize) -> f64 {
    number as f64
}

/// The median of some rounds, with the quartiles: on a busy machine a single round says more about the others on it.
#[derive(Clone, Copy)]
pub struct Spread {
    pub median: f64,
    quartiles: Option<[f64; 2]>,
}

impl Spread {
    pub fn of(rounds: impl Iterator<Item = f64>) -> Self {
        let rounds: Vec<f64> = rounds.collect();
        let [low, median, high] = [0.25, 0.5, 0.75].map(|share| percentile(rounds.iter().copied(), share));
        Self { median, quartiles: (rounds.len() > 1).then_some([low, high]) }
    }
}

/// What was measured once.
impl From<f64> for Spread {
    fn from(median: f64) -> Self {
        Self { median, quartiles: None }
    }
}

impl fmt::Display for Spread {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.quartiles {
            None => write!(out, "{}", short(self.median)),
            Some([low, high]) => write!(out, "{} ({}–{})", short(self.median), short(low), short(high)),
        }
    }
}

/// Three digits, or all before the point.
pub fn short(value: f64) -> String {
    let decimals = match value.abs() {
        0.0 | 100.0.. => 0,
        10.0.. => 1,
        1.0.. => 2,
        0.001.. => 3,
        _ => 5,
    };
    format!("{value:.decimals$}")
}
