//! The decision by itself, and its words in the documents.

use chrono::TimeDelta;

use crate::domain::clock::Timestamp;
use crate::features::notifications::Config;
use crate::features::notifications::decision::{Case, Cause, Decision, Reason};
use crate::features::notifications::model::{General, Mute, Special};
use crate::features::notifications::quiet::QuietHours;
use crate::telemetry::catalogue::{self, Values};

fn config() -> Config {
    let mut settings: toml::Table = toml::from_str(crate::config::DEFAULT_TOML).unwrap();
    settings.remove("notifications").unwrap().try_into().unwrap()
}

fn noon() -> Timestamp {
    "2026-07-01T12:00:00Z".parse().unwrap()
}

/// Somebody is named in a channel, just now.
fn named() -> Case {
    Case {
        noted: Cause::Mention,
        noticed_at: noon(),
        held_since: None,
        read_to: Some(4),
        is_direct: false,
        newest: Some(5),
        mention: Some(5),
        general: General::default(),
        special: Special::default(),
        is_viewing: false,
    }
}

fn written_to() -> Case {
    Case { noted: Cause::Direct, is_direct: true, mention: None, ..named() }
}

/// Somebody who wants every message.
fn listening() -> Case {
    let general = General { all: true, ..General::default() };
    Case { noted: Cause::All, mention: None, general, ..named() }
}

/// The cause, and the reason.
fn outcome(of: Case) -> (Cause, Reason) {
    match of.decide(noon(), &config()) {
        Decision::Tell(cause) => (cause, Reason::Sent),
        Decision::Wait { cause, reason, .. } | Decision::End { cause, reason } => (cause, reason),
    }
}

#[test]
fn the_strongest_cause_that_is_wanted_counts() {
    let all_and_mention = Case { mention: Some(5), ..listening() };
    let without_mentions = |case: Case| Case { general: General { mentions: false, ..case.general }, ..case };
    for (case, expected) in [
        (named(), (Cause::Mention, Reason::Sent)),
        (written_to(), (Cause::Direct, Reason::Sent)),
        (listening(), (Cause::All, Reason::Sent)),
        (all_and_mention, (Cause::Mention, Reason::Sent)),
        (without_mentions(all_and_mention), (Cause::All, Reason::Sent)),
        (without_mentions(named()), (Cause::Mention, Reason::Preference)),
        (
            Case { general: General { direct: false, ..General::default() }, ..written_to() },
            (Cause::Direct, Reason::Preference),
        ),
        (Case { general: General::default(), ..listening() }, (Cause::All, Reason::Preference)),
        // What is wanted of this one conversation counts more than what is wanted everywhere.
        (
            Case { special: Special { mentions: Some(false), ..Special::default() }, ..named() },
            (Cause::Mention, Reason::Preference),
        ),
        (
            Case { special: Special { all: Some(false), ..Special::default() }, ..listening() },
            (Cause::All, Reason::Preference),
        ),
        (
            Case {
                general: General::default(),
                special: Special { all: Some(true), ..Special::default() },
                ..listening()
            },
            (Cause::All, Reason::Sent),
        ),
    ] {
        assert_eq!(outcome(case), expected, "{case:?}");
    }
}

#[test]
fn a_mute_lets_mentions_through_but_nothing_of_a_direct_conversation() {
    let muted = |case: Case| Case { special: Special { mute: Mute::ForGood, ..case.special }, ..case };
    assert_eq!(outcome(muted(named())), (Cause::Mention, Reason::Sent));
    assert_eq!(outcome(muted(listening())), (Cause::All, Reason::Muted));
    assert_eq!(outcome(muted(written_to())), (Cause::Direct, Reason::Muted));
    let over = Special { mute: Mute::Until(noon()), ..Special::default() };
    assert_eq!(outcome(Case { special: over, ..written_to() }), (Cause::Direct, Reason::Sent));
}

#[test]
fn what_is_read_gone_or_old_is_not_told() {
    for (case, reason) in [
        (Case { read_to: None, ..named() }, Reason::NotAMember),
        (Case { read_to: Some(5), ..named() }, Reason::Read),
        (Case { newest: None, mention: None, ..named() }, Reason::Deleted),
        // It was edited, and names nobody now.
        (Case { mention: None, ..named() }, Reason::Deleted),
        // Something was written after it, for who does not want that.
        (Case { read_to: Some(5), newest: Some(6), ..named() }, Reason::Read),
        (Case { noticed_at: noon() - config().kept(), ..named() }, Reason::Expired),
    ] {
        assert_eq!(outcome(case), (Cause::Mention, reason), "{case:?}");
    }
}

#[test]
fn who_looks_is_told_when_they_look_away_and_quiet_hours_come_after_that() {
    let config = config();
    let night = "22:00:00".parse().unwrap();
    let quiet = QuietHours { from: "11:00:00".parse().unwrap(), until: night, zone: chrono_tz::UTC };
    let general = General { quiet_hours: Some(quiet), ..General::default() };
    let at = |case: Case| case.decide(noon(), &config);

    let looking = Case { is_viewing: true, general, ..named() };
    let again = noon() + config.hold();
    let wait = |reason, until| Decision::Wait { cause: Cause::Mention, reason, until };
    assert_eq!(at(looking), wait(Reason::Viewing, again));
    let held = Case { held_since: Some(noon() - config.hold_max() + TimeDelta::milliseconds(1)), ..looking };
    assert_eq!(at(held), wait(Reason::Viewing, again));
    let seen = Case { held_since: Some(noon() - config.hold_max()), ..looking };
    assert_eq!(at(seen), Decision::End { cause: Cause::Mention, reason: Reason::Viewed });
    let end = "2026-07-01T22:00:00Z".parse().unwrap();
    assert_eq!(at(Case { is_viewing: false, ..held }), wait(Reason::QuietHours, end));
    assert_eq!(
        at(Case { general: General::default(), is_viewing: false, ..held }),
        Decision::Tell(Cause::Mention)
    );
}

/// The first column of the documented table.
fn documented() -> Vec<String> {
    let page = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/notifications.md");
    let page = std::fs::read_to_string(page).unwrap();
    let rows = page.lines().filter_map(|line| line.strip_prefix("| `"));
    rows.map(|row| row.split('`').next().unwrap().to_owned()).collect()
}

#[test]
fn the_documented_and_the_counted_reasons_are_those_of_the_code() {
    let ours = Reason::ALL.map(Reason::as_str);
    assert_eq!(documented(), ours);

    let metric = catalogue::all().find(|metric| metric.name == "fanlight_notifications_total").unwrap();
    let counted = metric.labels.iter().find(|label| label.name == "reason").unwrap();
    assert!(matches!(counted.values, Values::OneOf(words) if words == ours));
}
