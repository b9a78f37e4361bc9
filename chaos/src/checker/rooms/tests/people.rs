//! Who may be told anything.

use super::*;

#[test]
fn who_was_taken_out_is_told_nothing_later() {
    let mut story = Story::good();
    story.remove_guest();
    assert_eq!(story.found(), []);

    let later = told(GUEST, 5, created(&story.truth.messages[2]));
    let mut leaking = story.records.clone();
    leaking.push(later.clone());
    leaking.retain(|record| {
        !matches!(record, Record::Room(RoomRecord::Heard(Heard { word: Word::Unsubscribed { .. }, .. })))
    });
    std::mem::swap(&mut story.records, &mut leaking);
    assert_eq!(story.found(), [Invariant::Leak]);
    // They were in it again by then.
    story.records.push(moved(false, 4_200, 4_300));
    assert_eq!(story.found(), []);

    std::mem::swap(&mut story.records, &mut leaking);
    story.records.push(heard(GUEST, 6_000, Word::Asked { from: From::Revision(3) }));
    story.records.push(heard(GUEST, 6_050, Word::Joined { seq: 2, revision: 4 }));
    assert_eq!(story.found(), [Invariant::Leak]);
}

#[test]
fn who_comes_back_has_all_in_the_end() {
    let mut story = Story::good();
    story.remove_guest();
    story.truth.members.push(GUEST);
    story.records.push(moved(false, 6_000, 6_100));
    assert_eq!(story.found(), [Invariant::Lost]);
    story.records.push(heard(GUEST, 7_000, Word::Asked { from: From::Revision(3) }));
    let missed = Word::Change { revision: 5, change: created(&story.truth.messages[2]) };
    story.records.push(heard(GUEST, 7_050, missed));
    story.records.push(heard(GUEST, 7_060, Word::Joined { seq: 3, revision: 5 }));
    assert_eq!(story.found(), []);
}

#[test]
fn strangers_are_told_nothing() {
    for word in [Word::Joined { seq: 0, revision: 0 }, Word::Passing { kind: "TYPING".to_owned() }] {
        let mut story = Story::good();
        story.records.extend([asked(STRANGER, From::Revision(0)), heard(STRANGER, 9_000, word)]);
        assert!(story.found().contains(&Invariant::Leak));
    }
    let mut unknown = Story::good();
    let (user, connection, room, at) = (STRANGER, 9, usize::MAX, 9);
    let word = Word::Passing { kind: "TYPING".to_owned() };
    unknown.records.push(Record::Room(RoomRecord::Heard(Heard { user, connection, room, at, word })));
    assert_eq!(unknown.found(), [Invariant::Leak]);
}

#[test]
fn nobody_is_told_that_they_were_taken_out_who_was_not() {
    let mut story = Story::good();
    story.records.push(heard(MEMBER, 9_000, Word::Unsubscribed { reason: "removed".to_owned() }));
    assert_eq!(story.found(), [Invariant::Phantom]);
    let mut lost = Story::good();
    lost.truth.members.retain(|member| *member != MEMBER);
    assert_eq!(lost.found(), [Invariant::Lost]);
}

#[test]
fn who_is_taken_out_while_they_subscribe_may_be_told_both_that_and_that_they_are_refused() {
    let mut story = Story::good();
    story.remove_guest();
    story.records.push(heard(GUEST, 4_060, Word::Denied { code: "forbidden".to_owned() }));
    story.records.push(heard(GUEST, 4_070, Word::Unsubscribed { reason: "removed".to_owned() }));
    assert_eq!(story.found(), []);
}
