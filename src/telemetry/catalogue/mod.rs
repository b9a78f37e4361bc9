//! Every metric of a node: its name, what it counts, and which values its labels may have.
//!
//! The one list: `/metrics` takes its HELP and its buckets from it, `docs/metrics.md` its tables. A test holds
//! it equal to what the code counts, and the dashboards and alerts to it. No label is ever what a client said.

use std::fmt::Write as _;
use std::iter::once;

use metrics::{Key, Label as KeyLabel, Level, Metadata};

mod buckets;
mod delivery;
mod dependencies;
mod edge;
mod features;
mod presence;
mod process;
mod push;
mod rooms;

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Kind {
    Counter,
    Gauge,
    /// With the upper bounds of its buckets.
    Histogram(&'static [f64]),
}

impl Kind {
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram(_) => "histogram",
        }
    }
}

/// What a label may say.
#[derive(Clone, Copy, Debug)]
pub enum Values {
    /// One of these words.
    OneOf(&'static [&'static str]),
    /// Something that the code has a bounded number of; what that is.
    Each(&'static str),
}

#[derive(Clone, Copy, Debug)]
pub struct Label {
    pub name: &'static str,
    pub values: Values,
}

#[derive(Clone, Copy, Debug)]
pub struct Metric {
    pub name: &'static str,
    pub kind: Kind,
    pub labels: &'static [Label],
    help: &'static str,
}

impl Metric {
    /// What it says, in one sentence.
    #[must_use]
    pub fn help(&self) -> &'static str {
        self.help.trim()
    }

    /// All label sets that it can have, if that is known.
    fn label_sets(&self) -> Option<Vec<Vec<KeyLabel>>> {
        let mut sets = vec![Vec::new()];
        for label in self.labels {
            let Values::OneOf(values) = label.values else { return None };
            let with = |set: &Vec<KeyLabel>| -> Vec<Vec<KeyLabel>> {
                let one = |value: &&'static str| KeyLabel::from_static_parts(label.name, value);
                values.iter().map(|value| set.iter().cloned().chain(once(one(value))).collect()).collect()
            };
            sets = sets.iter().flat_map(with).collect();
        }
        Some(sets)
    }
}

/// Metrics as `/// help`, `kind "name" { label: values };`.
macro_rules! metrics {
    (@kind counter) => { $crate::telemetry::catalogue::Kind::Counter };
    (@kind gauge) => { $crate::telemetry::catalogue::Kind::Gauge };
    (@kind histogram $buckets:expr) => { $crate::telemetry::catalogue::Kind::Histogram($buckets) };
    ($(
        $(#[doc = $help:literal])+
        $kind:ident $(($buckets:expr))? $name:literal $({ $($label:ident: $values:expr),+ $(,)? })?;
    )*) => {
        pub(super) const METRICS: &[$crate::telemetry::catalogue::Metric] = &[$(
            $crate::telemetry::catalogue::Metric {
                name: $name,
                kind: metrics!(@kind $kind $($buckets)?),
                labels: &[$($($crate::telemetry::catalogue::Label {
                    name: stringify!($label),
                    values: $values,
                },)+)?],
                help: concat!($($help),+),
            },
        )*];
    };
}
use metrics;

/// The sections of `docs/metrics.md`.
const SECTIONS: [(&str, &[Metric]); 8] = [
    ("Connections and requests", edge::METRICS),
    ("Delivery", delivery::METRICS),
    ("Rooms", rooms::METRICS),
    ("Presence", presence::METRICS),
    ("Push", push::METRICS),
    ("Redis, Postgres, the store of files", dependencies::METRICS),
    ("Accounts, couples, devices, channels, messages, files, notifications", features::METRICS),
    ("The process", process::METRICS),
];

/// All metrics.
pub fn all() -> impl Iterator<Item = &'static Metric> {
    SECTIONS.iter().flat_map(|(_, metrics)| *metrics)
}

/// The metric of this name.
#[must_use]
pub fn find(name: &str) -> Option<&'static Metric> {
    all().find(|metric| metric.name == name)
}

/// Tells the recorder what each metric is, and begins the counters whose series are known at zero.
pub(super) fn begin() {
    const METADATA: Metadata<'_> = Metadata::new(module_path!(), Level::INFO, None);
    for metric in all() {
        match metric.kind {
            Kind::Counter => metrics::describe_counter!(metric.name, metric.help()),
            Kind::Gauge => metrics::describe_gauge!(metric.name, metric.help()),
            Kind::Histogram(_) => metrics::describe_histogram!(metric.name, metric.help()),
        }
        // Prometheus sees no increase in a series that begins with its first event.
        let sets = if metric.kind == Kind::Counter { metric.label_sets() } else { None };
        for labels in sets.into_iter().flatten() {
            let key = Key::from_parts(metric.name, labels);
            metrics::with_recorder(|recorder| recorder.register_counter(&key, &METADATA)).increment(0);
        }
    }
}

/// The tables of `docs/metrics.md`.
#[must_use]
pub fn tables() -> String {
    let mut page = String::new();
    for (title, metrics) in SECTIONS {
        write!(page, "\n## {title}\n\n| metric | labels | |\n|---|---|---|\n").expect("a string takes it");
        for metric in metrics {
            let labels: Vec<String> = metric.labels.iter().map(described).collect();
            let (name, kind, labels) = (metric.name, metric.kind.as_str(), labels.join("; "));
            writeln!(page, "| `{name}` {kind} | {labels} | {} |", metric.help()).expect("a string takes it");
        }
    }
    page
}

fn described(label: &Label) -> String {
    match label.values {
        Values::OneOf(values) => format!("`{}`: {}", label.name, values.join(", ")),
        Values::Each(what) => format!("`{}`: {what}", label.name),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::delivery::outcome::{Outcome, Reason};

    fn values(metric: &str, label: &str) -> &'static [&'static str] {
        let labels = find(metric).unwrap().labels;
        match labels.iter().find(|it| it.name == label).unwrap().values {
            Values::OneOf(values) => values,
            Values::Each(_) => panic!("{metric}{{{label}}} is open"),
        }
    }

    #[test]
    fn every_metric_is_named_once_and_by_the_rules_of_prometheus() {
        let names: BTreeSet<&str> = all().map(|metric| metric.name).collect();
        assert_eq!(names.len(), all().count(), "a name stands twice");
        for metric in all() {
            let is_ours = metric.name.starts_with("fanlight_") || metric.name.starts_with("process_");
            assert!(is_ours, "{}", metric.name);
            assert_eq!(metric.name.ends_with("_total"), metric.kind == Kind::Counter, "{}", metric.name);
            if let Kind::Histogram(buckets) = metric.kind {
                assert!(buckets.is_sorted() && metric.name.ends_with("_seconds"), "{}", metric.name);
            }
            assert!(metric.help().ends_with('.') && !metric.help().contains(['|', '\n']), "{}", metric.name);
        }
    }

    #[test]
    fn the_documented_reasons_are_those_of_the_code() {
        assert_eq!(values("fanlight_events_settled_total", "reason"), Reason::ALL.map(Reason::as_str));
        let outcomes = [Outcome::Delivered, Outcome::Pushed, Outcome::Expired].map(Outcome::as_str);
        assert_eq!(values("fanlight_events_settled_total", "outcome"), outcomes);
    }

    #[test]
    fn a_counter_begins_with_few_series_and_only_where_its_labels_are_closed() {
        for metric in all() {
            assert!(metric.label_sets().is_none_or(|sets| sets.len() < 500), "{}", metric.name);
        }
        let series = |name| find(name).unwrap().label_sets().map(|sets| sets.len());
        assert_eq!(series("fanlight_settlement_failures_total"), Some(1));
        assert_eq!(series("fanlight_events_parked_total"), Some(delivery::KINDS.len() * 6));
        assert_eq!(series("fanlight_http_requests_total"), None);
    }
}
