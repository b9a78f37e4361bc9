//! What was measured beside what was wanted, as Markdown.

use crate::statistics::{Spread, short};

/// Numbers that were measured in one way.
pub struct Section {
    /// How.
    pub method: String,
    pub rows: Vec<Row>,
}

pub struct Row {
    /// With its unit.
    pub metric: String,
    pub floor: Option<Spread>,
    pub fanlight: Option<Spread>,
    pub goal: Goal,
}

/// What `Fanlight` should reach.
#[derive(Clone, Copy)]
pub enum Goal {
    /// At most so many times the floor.
    TimesFloor(f64),
    /// At least this share of the floor.
    ShareOfFloor(f64),
    AtMost(f64),
    /// So many, but for what is done for several at once.
    Number(u32),
    /// Nothing is said about it; it explains others.
    None,
}

impl Goal {
    fn text(self) -> String {
        match self {
            Self::TimesFloor(times) => format!("≤ {times} ×"),
            Self::ShareOfFloor(share) => format!("≥ {share} ×"),
            Self::AtMost(most) => format!("≤ {most}"),
            Self::Number(number) => number.to_string(),
            Self::None => String::new(),
        }
    }

    fn is_met(self, fanlight: f64, ratio: Option<f64>) -> Option<bool> {
        match self {
            Self::TimesFloor(times) => ratio.map(|ratio| ratio <= times),
            Self::ShareOfFloor(share) => ratio.map(|ratio| ratio >= share),
            Self::AtMost(most) => Some(fanlight <= most),
            Self::Number(number) => Some(fanlight < f64::from(number) + 0.25),
            Self::None => None,
        }
    }
}

impl Row {
    fn line(&self, method: usize) -> String {
        let median = |spread: Option<Spread>| spread.map(|spread| spread.median);
        let (floor, fanlight) = (median(self.floor), median(self.fanlight));
        let ratio = floor.zip(fanlight).filter(|(floor, _)| *floor > 0.0).map(|(floor, ours)| ours / floor);
        let met = match fanlight.and_then(|fanlight| self.goal.is_met(fanlight, ratio)) {
            Some(true) => "yes",
            Some(false) => "**no**",
            None => "",
        };
        let cell = |spread: Option<Spread>| spread.map(|spread| spread.to_string()).unwrap_or_default();
        format!(
            "| {} [{method}] | {} | {} | {} | {} | {met} |",
            self.metric,
            cell(self.floor),
            cell(self.fanlight),
            ratio.map(short).unwrap_or_default(),
            self.goal.text()
        )
    }
}

pub fn print(sections: &[Section]) {
    println!("\n| metric | floor | Fanlight | ratio | goal | met? |\n|---|---|---|---|---|---|");
    for (method, section) in (1..).zip(sections) {
        for row in &section.rows {
            println!("{}", row.line(method));
        }
    }
    println!();
    for (method, section) in (1..).zip(sections) {
        println!("{method}. {}", section.method);
    }
}
