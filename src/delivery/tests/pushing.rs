//! Who is pushed, when, and how often.

use std::sync::Arc;
use std::time::Duration;

use super::{World, every_device, silent, token, until};
use crate::delivery::cursors;
use crate::delivery::dispatcher::Dispatcher;
use crate::delivery::route::{Sighting, Turn};
use crate::delivery::sweeper::Sweeper;
use crate::domain::ids::ConnectionId;
use crate::ports::broker::Broker as _;
use crate::ports::presence::{Entry, Presence as _};
use crate::ports::push::PushError;

#[tokio::test]
async fn an_absent_user_is_pushed_at_once_on_every_device() {
    let world = World::new().await;
    let user = world.user().await;
    world.device(user, "phone").await;
    world.device(user, "tablet").await;
    let dispatcher = Dispatcher::start(&world.route(), &world.fallback(), 8, &world.shutdown);

    dispatcher.dispatch(vec![world.event(user).await]).await;

    world.until_outcomes(user, &["pushed"]).await;
    assert_eq!(world.pushed(), [token(user, "phone"), token(user, "tablet")]);
}

#[tokio::test]
async fn a_silent_event_never_wakes_a_phone() {
    let world = World::new().await;
    let user = world.user().await;
    world.device(user, "phone").await;
    let event = world.append(silent(user)).await;
    world.age(10).await;

    world.sweeper().push().await.unwrap();

    until("it waits for its end", async || world.due_in(event.envelope.event).await > 3_000.0).await;
    assert!(world.pushed().is_empty());
}

#[tokio::test]
async fn two_sweepers_never_push_the_same_event_twice() {
    let world = World::new().await;
    let mut users = Vec::new();
    for _ in 0..40 {
        let user = world.user().await;
        world.device(user, "phone").await;
        world.tell(user).await;
        users.push(user);
    }
    world.age(10).await;

    let sweepers = [world.sweeper(), world.sweeper()];
    let sweep = async |sweeper: &Sweeper| {
        for _ in 0..4 {
            sweeper.push().await.unwrap();
        }
    };
    tokio::join!(sweep(&sweepers[0]), sweep(&sweepers[1]));

    for user in &users {
        world.until_outcomes(*user, &["pushed"]).await;
    }
    let mut expected: Vec<String> = users.iter().map(|user| token(*user, "phone")).collect();
    expected.sort();
    assert_eq!(world.pushed(), expected);
}

#[tokio::test]
async fn a_dead_token_is_retired_and_the_others_are_still_pushed() {
    let world = World::new().await;
    let user = world.user().await;
    world.device(user, "dead").await;
    world.device(user, "phone").await;
    world.push.refuse_next(&token(user, "dead"), PushError::TokenDead { reason: "unregistered" });
    world.tell(user).await;
    world.age(10).await;

    world.sweeper().push().await.unwrap();

    world.until_outcomes(user, &["pushed"]).await;
    assert_eq!(world.pushed(), [token(user, "dead"), token(user, "phone")]);
    let retired: Vec<(String, String)> = sqlx::query_as(
        "SELECT device_id, deactivated_reason FROM device_tokens WHERE deactivated_at IS NOT NULL",
    )
    .fetch_all(&world.pool)
    .await
    .unwrap();
    assert_eq!(retired, [("dead".to_owned(), "unregistered".to_owned())]);
}

#[tokio::test]
async fn a_device_that_confirmed_is_not_pushed_in_every_device_mode() {
    let world = World::with(every_device).await;
    let user = world.user().await;
    world.device(user, "phone").await;
    world.device(user, "tablet").await;
    world.tell(user).await;
    cursors::advance(&world.pool, &[user.0], &["tablet".into()], &[1]).await.unwrap();
    world.age(10).await;

    world.sweeper().push().await.unwrap();

    world.until_outcomes(user, &["pushed"]).await;
    assert_eq!(world.pushed(), [token(user, "phone")]);
}

#[tokio::test]
async fn an_event_that_every_device_confirmed_is_delivered_without_a_push() {
    let world = World::with(every_device).await;
    let user = world.user().await;
    world.device(user, "phone").await;
    world.tell(user).await;
    cursors::advance(&world.pool, &[user.0], &["phone".into()], &[1]).await.unwrap();
    world.age(10).await;

    world.sweeper().push().await.unwrap();

    world.until_outcomes(user, &["delivered"]).await;
    assert!(world.pushed().is_empty());
}

#[tokio::test]
async fn a_hold_stops_all_pushes_until_it_ends() {
    let world = World::new().await;
    let (first, second) = (world.user().await, world.user().await);
    world.device(first, "phone").await;
    world.device(second, "phone").await;
    // Long enough for a busy machine to come to the second push meanwhile.
    let hold = PushError::Hold { after: Duration::from_secs(6), reason: "quota_exceeded" };
    world.push.refuse_next(&token(first, "phone"), hold);
    let sweeper = world.sweeper();

    world.tell(first).await;
    world.age(10).await;
    sweeper.push().await.unwrap();
    until("the hold is on record", async || reasons(&world).await == ["quota_exceeded"]).await;
    world.tell(second).await;
    world.age(10).await;
    sweeper.push().await.unwrap();
    until("the second push is held", async || reasons(&world).await == ["held", "quota_exceeded"]).await;
    assert_eq!(world.pushed(), [token(first, "phone")]);

    until("both are pushed after the hold", async || {
        sweeper.push().await.unwrap();
        world.pushed().len() == 3
    })
    .await;
    world.until_outcomes(first, &["pushed"]).await;
    world.until_outcomes(second, &["pushed"]).await;
}

/// Why attempts are still to be made, in alphabetical order.
async fn reasons(world: &World) -> Vec<String> {
    sqlx::query_scalar(
        "SELECT reason FROM pushes WHERE outcome IS NULL AND reason IS NOT NULL ORDER BY reason",
    )
    .fetch_all(&world.pool)
    .await
    .unwrap()
}

#[tokio::test]
async fn retries_survive_a_restart_and_repeat_only_what_failed() {
    let world = World::new().await;
    let user = world.user().await;
    world.device(user, "phone").await;
    world.device(user, "tablet").await;
    let later = PushError::Retry { after: Some(Duration::from_millis(50)), reason: "unavailable" };
    world.push.refuse_next(&token(user, "phone"), later);
    world.tell(user).await;
    world.age(10).await;
    world.sweeper().push().await.unwrap();
    world.push.received_at_least(2).await;
    assert_eq!(world.outcomes(user).await, [None]);

    let restarted = world.sweeper();
    until("the failed one is repeated", async || {
        restarted.push().await.unwrap();
        world.pushed().len() == 3
    })
    .await;

    world.until_outcomes(user, &["pushed"]).await;
    assert_eq!(world.pushed(), [token(user, "phone"), token(user, "phone"), token(user, "tablet")]);
}

#[tokio::test]
async fn unreadable_push_content_holds_no_other_event_up() {
    let world = World::new().await;
    let (broken, fine) = (world.user().await, world.user().await);
    world.device(broken, "phone").await;
    world.device(fine, "phone").await;
    let event = world.event(broken).await;
    sqlx::query("UPDATE events SET push = '{\"of\": \"another version\"}'")
        .execute(&world.pool)
        .await
        .unwrap();
    world.tell(fine).await;
    world.age(10).await;

    world.sweeper().push().await.unwrap();

    world.until_outcomes(fine, &["pushed"]).await;
    until("the other waits", async || world.due_in(event.envelope.event).await > 3_000.0).await;
    assert_eq!(world.pushed(), [token(fine, "phone")]);
}

#[tokio::test]
async fn a_user_of_another_node_is_not_pushed_before_the_deadline() {
    let world = World::new().await;
    let user = world.user().await;
    world.device(user, "phone").await;
    // Frozen: it takes the event, and nobody confirms.
    let other = world.twin();
    let entry = Entry { user, connection: ConnectionId::generate(), node: other.node };
    world.presence.renew_lease(other.node).await.unwrap();
    world.presence.enter(&[entry]).await.unwrap();
    let (frozen, stop) = (other.broker(), world.shutdown.clone());
    world.shutdown.spawn_light(async move {
        stop.unless_stopped(frozen.listen(Arc::new(|_| {}))).await;
    });
    let event = world.event(user).await;
    until("the other node listens", async || {
        world.route().send(std::slice::from_ref(&event), Turn::First).await == [Sighting::Remote]
    })
    .await;

    let sweeper = world.sweeper();
    world.age(2).await;
    sweeper.route_again().await.unwrap();
    sweeper.push().await.unwrap();
    assert!(world.pushed().is_empty());

    world.age(10).await;
    sweeper.push().await.unwrap();
    world.until_outcomes(user, &["pushed"]).await;
    assert_eq!(world.pushed(), [token(user, "phone")]);
}
