//! What waits for connections, and the memory it may take.

use std::sync::Arc;

use bytes::Bytes;
use futures_util::FutureExt as _;

use super::{BOUNDS, mailbox};
use crate::delivery::budget::{Budget, Share};
use crate::delivery::mailbox::{Bounds, Farewell, Mailbox, Notice, NoticeKind, Numbered};
use crate::delivery::registry::Registry;
use crate::domain::ids::{EventId, SessionId, UserId};

const WIDE: Bounds = Bounds { frames_max: 1_000, bytes_max: 1_000_000 };

fn on_node(budget: &Arc<Budget>) -> Arc<Mailbox> {
    Arc::new(Mailbox::new(UserId::generate(), SessionId::generate(), None, WIDE).within(Share::of(budget)))
}

fn event(seq: i64, bytes: usize) -> Numbered {
    Numbered { id: EventId::generate(), seq, frame: vec![0; bytes].into(), trace: None }
}

fn state(key: &str, frame: &'static str) -> Notice {
    Notice { kind: NoticeKind::State { key: key.into() }, frame: frame.into() }
}

fn ephemeral(frame: &'static str) -> Notice {
    Notice { kind: NoticeKind::Ephemeral, frame: frame.into() }
}

fn frames(mailbox: &Mailbox) -> Vec<String> {
    let mail = mailbox.collect().now_or_never().unwrap();
    mail.notices.iter().map(|notice| String::from_utf8(notice.frame.to_vec()).unwrap()).collect()
}

#[test]
fn of_a_state_only_the_newest_waits() {
    let mailbox = mailbox(UserId::generate(), None);
    for round in ["a1", "a2", "a3", "a4", "a5"] {
        mailbox.notify(state("a", round));
    }
    mailbox.notify(state("b", "b1"));
    mailbox.notify(state("a", "a6"));

    assert_eq!(frames(&mailbox), ["b1", "a6"]);
    assert!(mailbox.collect().now_or_never().is_none());
}

#[test]
fn a_queue_that_is_half_full_takes_only_what_matters_later() {
    let mailbox = mailbox(UserId::generate(), None);
    mailbox.offer(event(1, 1));
    mailbox.notify(ephemeral("taken"));
    mailbox.notify(ephemeral("dropped"));
    mailbox.notify(state("a", "state"));
    let mail = mailbox.collect().now_or_never().unwrap();
    assert_eq!((mail.events.len(), mail.notices.len(), mail.farewell), (1, 2, None));

    mailbox.offer(event(2, BOUNDS.bytes_max / 2));
    mailbox.notify(ephemeral("dropped"));
    assert!(frames(&mailbox).is_empty());
}

#[test]
fn a_state_that_finds_no_place_ends_the_connection() {
    let mailbox = mailbox(UserId::generate(), None);
    for key in ["a", "b", "c", "d"] {
        mailbox.notify(state(key, "state"));
    }
    mailbox.notify(state("a", "newer"));
    assert_eq!(frames(&mailbox), ["state", "state", "state", "newer"]);

    for key in ["a", "b", "c", "d", "e"] {
        mailbox.notify(state(key, "state"));
    }
    let mail = mailbox.collect().now_or_never().unwrap();
    assert_eq!((mail.farewell, mail.notices.len()), (Some(Farewell::SlowConsumer), 0));
}

#[test]
fn without_memory_an_event_is_only_told_of() {
    let budget = Budget::new(1_000);
    let (full, other) = (on_node(&budget), on_node(&budget));
    full.offer(event(1, 900));

    other.offer(event(7, 101));

    assert!(budget.is_exhausted());
    let mail = other.collect().now_or_never().unwrap();
    assert_eq!((mail.events.len(), mail.newest_seq, mail.farewell), (0, 7, None));
    assert_eq!(budget.bytes(), 900);
}

#[test]
fn frames_that_follow_each_other_are_left_together_or_not_at_all() {
    let budget = Budget::new(1_000);
    let (full, other) = (on_node(&budget), on_node(&budget));
    full.offer(event(1, 900));
    let [small, large] = [Bytes::from_static(&[b'a'; 50]), Bytes::from_static(&[b'b'; 60])];

    assert!(!other.leave([&small, &large].into_iter()), "there is no memory for both");
    assert!(other.collect().now_or_never().is_none());
    other.answer(large.clone());
    assert_eq!(budget.bytes(), 960);
    full.collect().now_or_never().unwrap();
    assert!(other.leave([&small, &large].into_iter()));
    assert_eq!(frames(&other).iter().map(String::len).collect::<Vec<_>>(), [60, 50, 60]);
    assert_eq!(budget.bytes(), 0);
}

#[test]
fn frames_that_find_no_place_end_the_connection() {
    let mailbox = mailbox(UserId::generate(), None);
    let frame = Bytes::from_static(b"frame");
    assert!(mailbox.leave(std::iter::repeat_n(&frame, BOUNDS.frames_max)));
    mailbox.notify(ephemeral("dropped"));
    assert_eq!(frames(&mailbox).len(), BOUNDS.frames_max);

    assert!(mailbox.leave(std::iter::repeat_n(&frame, BOUNDS.frames_max + 1)));
    assert!(mailbox.is_ended());
    let mail = mailbox.collect().now_or_never().unwrap();
    assert_eq!((mail.farewell, mail.notices.len()), (Some(Farewell::SlowConsumer), 0));
}

#[test]
fn all_memory_comes_back() {
    let budget = Budget::new(10_000);
    let mailboxes: Vec<_> = std::iter::repeat_with(|| on_node(&budget)).take(4).collect();
    for mailbox in &mailboxes {
        mailbox.offer(event(1, 100));
        mailbox.notify(state("a", "12345"));
        mailbox.notify(state("a", "123"));
    }
    assert_eq!(budget.bytes(), 4 * 103);
    let [collected, closed, busy, dropped] = &mailboxes[..] else { unreachable!() };

    assert_eq!(collected.collect().now_or_never().unwrap().events.len(), 1);
    assert!(closed.close(Farewell::Leaving));
    assert!(!closed.close(Farewell::Replaced));
    closed.offer(event(2, 100));
    assert_eq!(budget.bytes(), 2 * 103);

    let in_hand = busy.hold(50);
    assert_eq!((busy.weight(), budget.bytes()), (153, 256));
    drop(in_hand);
    assert_eq!(dropped.weight(), 103);
    drop(mailboxes);
    assert_eq!(budget.bytes(), 0);
}

#[test]
fn whatever_many_connections_do_at_once_all_memory_comes_back() {
    let budget = Budget::new(6_000);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for round in 1..=2_000 {
                    let mailbox = on_node(&budget);
                    let mut held = mailbox.hold(round % 7 * 100);
                    mailbox.offer(event(1, round));
                    held.grow_to(round * 2);
                    mailbox.offer(event(2, 3_000));
                    match round % 3 {
                        0 => drop(mailbox.collect().now_or_never()),
                        1 => drop(mailbox.close(Farewell::Leaving)),
                        // The hold outlives the mailbox, as in a connection that ends.
                        _ => drop(mailbox),
                    }
                    drop(held);
                }
            });
        }
    });
    assert!(budget.is_exhausted());
    assert_eq!(budget.bytes(), 0);
}

#[test]
fn who_holds_the_most_is_closed_until_there_is_room() {
    let budget = Budget::new(1_000);
    let registry = Registry::default();
    let mailboxes = [300, 10, 400, 20, 260].map(|bytes| {
        let mailbox = on_node(&budget);
        registry.insert(&mailbox);
        mailbox.offer(event(1, bytes));
        mailbox
    });
    // What a connection has in hand is taken whatever the budget says, and counts as its own.
    let hold = mailboxes[4].hold(200);
    assert!(budget.is_exhausted());

    budget.relieve(&registry);

    let ended = mailboxes.each_ref().map(|it| it.collect().now_or_never().unwrap().farewell);
    assert_eq!(ended, [None, None, None, None, Some(Farewell::SlowConsumer)]);
    // Its task frees the rest; until then the node takes nobody.
    assert!(budget.is_exhausted() || budget.bytes() <= 800);
    drop(hold);
    budget.relieve(&registry);
    assert!(!budget.is_exhausted());
}

#[test]
fn of_many_connections_at_once_exactly_as_many_as_allowed_get_in() {
    const ALLOWED: usize = 5;
    let (registry, user) = (Registry::default(), UserId::generate());
    let connections: Vec<_> = std::iter::repeat_with(|| mailbox(user, None)).take(64).collect();
    let inside = std::thread::scope(|scope| {
        let registry = &registry;
        let enter = |mailbox| scope.spawn(move || registry.insert_within(mailbox, ALLOWED));
        let entering: Vec<_> = connections.iter().map(enter).collect();
        entering.into_iter().filter_map(|thread| thread.join().unwrap().then_some(())).count()
    });
    assert_eq!((inside, registry.len()), (ALLOWED, ALLOWED));
}

#[test]
fn a_connection_that_replaces_another_needs_no_place_of_its_own() {
    let (registry, user) = (Registry::default(), UserId::generate());
    assert!(registry.insert_within(&mailbox(user, Some("phone")), 1));
    assert!(!registry.insert_within(&mailbox(user, Some("tablet")), 1));
    assert!(!registry.insert_within(&mailbox(user, None), 1));
    assert!(registry.insert_within(&mailbox(user, Some("phone")), 1));
}
