//! Small histories, each with one thing wrong: what the checker must see.

use uuid::Uuid;

use super::*;
use crate::history::{Answer, Arrival, Change, Opened, Resync};
use crate::rooms::{Part, Seat};

/// A couple, one change of the first that both were told, and both saw.
struct Story {
    parties: Vec<Party>,
    records: Vec<Record>,
    rows: Vec<Row>,
    pushes: Vec<Push>,
    rooms: Vec<(Room, RoomTruth)>,
    overdue: i64,
}

const NAME: i64 = 86_401;

fn party(partner: usize, habit: Habit) -> Party {
    Party { partner, habit, resumes: true, acks: false, has_phone: true }
}

fn row(user: usize, seq: i64, name: i64) -> Row {
    Row {
        id: Uuid::from_u128(u128::try_from(seq).unwrap() * 10 + user as u128),
        user,
        seq,
        actor: Some(0),
        name: Some(name),
        room: None,
        own: user == 0,
        pushable: user == 1,
        created_at: 1_000 * seq,
        settled_at: Some(1_000 * seq + 100),
        outcome: Some("delivered".into()),
        fingerprint: 7,
    }
}

fn change(name: i64, answer: Answer) -> Record {
    Record::Change(Change { actor: 0, name, sent_at: 0, answered_at: 1, answer, status: None })
}

fn opened(user: usize, connection: u64, recall: bool) -> Record {
    Record::Opened(Opened { user, connection, at: 0, since: Some(0), recall })
}

fn arrival(row: &Row, connection: u64) -> Record {
    let Row { user, seq, id, fingerprint, created_at, .. } = *row;
    Record::Arrival(Arrival { user, connection, at: created_at + 50, seq, id, fingerprint })
}

fn push(row: &Row) -> Push {
    let (user, event, seq, at) = (Some(row.user), Some(row.id), row.seq, row.created_at + 60);
    Push { at, user, event, seq, accepted: true }
}

impl Story {
    fn good() -> Self {
        let rows = vec![row(0, 1, NAME), row(1, 1, NAME)];
        let mut records = vec![change(NAME, Answer::Done), opened(0, 0, false), opened(1, 1, false)];
        records.extend([arrival(&rows[0], 0), arrival(&rows[1], 1)]);
        let parties = vec![party(1, Habit::Steady), party(0, Habit::Steady)];
        Self { parties, records, rows, pushes: Vec::new(), rooms: Vec::new(), overdue: 0 }
    }

    fn judge(&self) -> Findings {
        judge(&Evidence {
            parties: &self.parties,
            records: &self.records,
            rows: &self.rows,
            pushes: &self.pushes,
            rooms: &self.rooms,
            recalled_at: 1_000_000,
            overdue_after_healing: self.overdue,
        })
    }

    fn found(&self) -> Vec<Invariant> {
        self.judge().violations.into_keys().collect()
    }

    /// The partner's event comes only when asked for.
    fn recall_partner(&mut self) {
        self.records.pop();
        self.records.extend([opened(1, 2, true), arrival(&self.rows[1], 2)]);
        self.rows[1].outcome = Some("pushed".into());
    }
}

#[test]
fn a_good_run_is_clean() {
    let findings = Story::good().judge();
    assert!(findings.is_clean(), "{findings:?}");
    assert_eq!((findings.changes_done, findings.events, findings.arrivals), (1, 2, 2));
}

#[test]
fn what_never_came_is_lost() {
    let mut story = Story::good();
    story.records.pop();
    assert_eq!(story.found(), [Invariant::Lost, Invariant::Unearned]);
}

#[test]
fn an_answered_change_that_is_not_committed_is_lost() {
    let mut story = Story::good();
    story.records.push(change(NAME + 1, Answer::Done));
    assert_eq!(story.found(), [Invariant::Lost]);
}

#[test]
fn half_a_change_is_lost_even_if_nobody_knows_of_it() {
    let mut story = Story::good();
    let half = row(0, 2, NAME + 1);
    story.records.extend([change(NAME + 1, Answer::Unknown), arrival(&half, 0)]);
    story.rows.insert(1, half);
    assert_eq!(story.found(), [Invariant::Lost]);
}

#[test]
fn an_unknown_change_may_have_been_made_or_not() {
    let mut story = Story::good();
    story.records[0] = change(NAME, Answer::Unknown);
    story.records.push(change(NAME + 1, Answer::Unknown));
    assert_eq!(story.found(), []);
}

#[test]
fn a_client_that_remembers_must_be_shown_what_was_pushed_too() {
    let mut story = Story::good();
    story.recall_partner();
    story.pushes.push(push(&story.rows[1]));
    assert_eq!(story.found(), [Invariant::Lost]);
    story.parties[1].habit = Habit::Absent;
    assert_eq!(story.found(), []);
    // Nobody took it.
    story.pushes[0].accepted = false;
    assert_eq!(story.found(), [Invariant::Lost, Invariant::Unearned]);
}

#[test]
fn what_nobody_committed_is_a_phantom() {
    let mut story = Story::good();
    let made_up = row(1, 2, NAME);
    story.records.push(arrival(&made_up, 1));
    assert_eq!(story.found(), [Invariant::Phantom]);

    let mut refused = Story::good();
    refused.records[0] = change(NAME, Answer::Refused);
    assert_eq!(refused.found(), [Invariant::Phantom]);

    let mut altered = Story::good();
    altered.rows[0].fingerprint = 8;
    assert_eq!(altered.found(), [Invariant::Phantom]);
}

#[test]
fn the_same_seq_twice_on_a_connection_is_a_duplicate_and_on_another_is_counted() {
    let mut story = Story::good();
    story.records.push(arrival(&story.rows[1], 1));
    assert_eq!(story.found(), [Invariant::Duplicate]);

    let mut again = Story::good();
    again.records.extend([opened(1, 5, false), arrival(&again.rows[1], 5)]);
    let findings = again.judge();
    assert!(findings.is_clean() && findings.raw_duplicates == 1, "{findings:?}");
}

#[test]
fn a_gap_is_disorder() {
    let mut story = Story::good();
    let (second, third) = (row(0, 2, NAME + 1), row(0, 3, NAME + 2));
    story.records.extend([arrival(&third, 0), arrival(&second, 0)]);
    story.rows.splice(1..1, [second, third]);
    assert!(story.found().contains(&Invariant::Disorder));
}

#[test]
fn what_is_for_somebody_else_is_a_leak() {
    let mut story = Story::good();
    story.records.extend([opened(1, 3, false), arrival(&Row { user: 1, ..story.rows[0].clone() }, 3)]);
    assert_eq!(story.found(), [Invariant::Leak]);

    let mut pushed = Story::good();
    pushed.pushes.push(Push { user: Some(0), ..push(&pushed.rows[1]) });
    assert_eq!(pushed.found(), [Invariant::Leak]);
}

#[test]
fn what_is_told_of_a_room_is_for_those_who_are_or_were_in_it() {
    let mut story = Story::good();
    let invited = Row { room: Some(Uuid::nil()), actor: None, name: None, ..row(1, 2, NAME) };
    story.records.push(arrival(&invited, 1));
    story.rows.push(invited);
    assert_eq!(story.found(), [Invariant::Leak]);
    let seats = vec![Seat { user: 1, part: Part::Guest, by_seq: false }];
    story.rooms.push((Room { index: 0, id: Uuid::nil(), seats }, RoomTruth::default()));
    assert_eq!(story.found(), []);
    story.rooms[0].0.seats[0].part = Part::Stranger;
    assert_eq!(story.found(), [Invariant::Leak]);
}

#[test]
fn a_delivery_that_was_settled_before_it_came_is_unearned() {
    let mut story = Story::good();
    story.rows[1].settled_at = Some(story.rows[1].created_at - 5_000);
    assert_eq!(story.found(), [Invariant::Unearned]);
}

#[test]
fn what_is_never_settled_is_overdue() {
    let mut story = Story::good();
    story.rows[0].outcome = None;
    assert_eq!(story.found(), [Invariant::Overdue]);
    let mut late = Story::good();
    late.overdue = 3;
    assert_eq!(late.found(), [Invariant::Overdue]);
}

#[test]
fn a_resync_without_need_is_told() {
    let mut story = Story::good();
    let reason = "too_far_behind".to_owned();
    story.records.push(Record::Resync(Resync { user: 0, connection: 0, at: 9, from_seq: 1, reason }));
    assert_eq!(story.found(), [Invariant::Resync]);
}

#[test]
fn a_push_long_after_the_arrival_is_counted() {
    let mut story = Story::good();
    story.pushes.push(Push { at: 60_000, ..push(&story.rows[1]) });
    let findings = story.judge();
    assert!(findings.is_clean());
    assert_eq!(findings.false_pushes, 1);
}
