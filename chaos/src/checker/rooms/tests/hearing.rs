//! What a connection may be told, and in which order.

use super::*;

#[test]
fn what_a_member_never_heard_is_lost_and_so_is_the_order() {
    let mut last = Story::good();
    last.forget(MEMBER, 3);
    assert_eq!(last.found(), [Invariant::Lost]);

    let mut middle = Story::good();
    middle.forget(MEMBER, 2);
    assert_eq!(middle.found(), [Invariant::Lost, Invariant::Disorder]);
    // It came later, and is not lost.
    middle.records.push(told(MEMBER, 2, told_of(&middle.truth.changes[0])));
    assert_eq!(middle.found(), [Invariant::Duplicate, Invariant::Disorder]);
}

#[test]
fn a_change_that_comes_again_is_a_duplicate_on_any_connection() {
    let mut story = Story::good();
    let again = told(MEMBER, 3, created(&story.truth.messages[1]));
    story.records.push(again.clone());
    assert_eq!(story.found(), [Invariant::Duplicate]);

    let mut resumed = Story::good();
    resumed.records.extend([asked(MEMBER, From::Revision(3)), again]);
    assert_eq!(resumed.found(), [Invariant::Duplicate]);
}

#[test]
fn who_comes_back_is_told_what_they_missed_before_they_have_joined() {
    let mut story = Story::good();
    story.forget(MEMBER, 3);
    story.records.push(asked(MEMBER, From::Revision(2)));
    story.records.push(told(MEMBER, 3, created(&story.truth.messages[1])));
    story.records.push(heard(MEMBER, 9_000, Word::Joined { seq: 2, revision: 3 }));
    assert_eq!(story.found(), []);

    let mut missing = Story::good();
    missing.forget(MEMBER, 3);
    missing.records.push(asked(MEMBER, From::Revision(2)));
    missing.records.push(heard(MEMBER, 9_000, Word::Joined { seq: 2, revision: 3 }));
    assert_eq!(missing.found(), [Invariant::Lost, Invariant::Disorder]);
}

#[test]
fn who_comes_back_by_seq_is_told_the_messages_only_and_all_of_them() {
    let back = |revisions: &[i64]| {
        let mut story = Story::good();
        for revision in 1..=3 {
            story.forget(BY_SEQ, revision);
        }
        story.records.push(asked(BY_SEQ, From::Seq(0)));
        for message in story.truth.messages.iter().filter(|message| revisions.contains(&message.revision)) {
            story.records.push(told(BY_SEQ, message.revision, created(message)));
        }
        story.records.push(heard(BY_SEQ, 9_000, Word::Joined { seq: 2, revision: 3 }));
        story.found()
    };
    assert_eq!(back(&[1, 3]), []);
    assert_eq!(back(&[3]), [Invariant::Lost, Invariant::Disorder]);
    assert_eq!(back(&[1]), [Invariant::Lost, Invariant::Disorder]);
}

#[test]
fn a_reaction_that_was_taken_back_need_not_be_told_to_who_missed_it() {
    let mut story = Story::good();
    story.change(changed(4, 1, "reaction_removed", MEMBER));
    story.truth.reactions.clear();
    assert_eq!(story.found(), []);
    story.forget(GUEST, 2);
    assert_eq!(story.found(), []);
    story.forget(GUEST, 4);
    assert_eq!(story.found(), [Invariant::Lost]);
}

#[test]
fn a_resync_is_for_those_who_missed_too_much() {
    let resync = |reason: &str, revision| {
        let mut story = Story::good();
        let word = Word::Resync { reason: reason.to_owned(), from_seq: 2, revision };
        story.records.push(heard(MEMBER, 9_000, word));
        story.found()
    };
    assert_eq!(resync("too_far_behind", 900), [Invariant::Resync]);
    assert_eq!(resync("too_far_behind", 1_004), []);
    assert_eq!(resync("another_past", 1_004), [Invariant::Resync]);
}
