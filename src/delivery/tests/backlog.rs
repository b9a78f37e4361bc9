//! What is told of the events that are not settled.

use super::World;
use crate::delivery::backlog::{Backlog, measure};

#[tokio::test]
async fn the_backlog_is_what_is_not_settled_and_overdue_what_nobody_takes_on() {
    let world = World::new().await;
    let user = world.user().await;
    let nothing = Backlog { events: 0, age_seconds: 0.0, overdue_seconds: 0.0 };
    assert_eq!(measure(&world.pool).await.unwrap(), nothing);

    world.tell(user).await;
    world.tell(user).await;
    let fresh = measure(&world.pool).await.unwrap();
    assert_eq!((fresh.events, fresh.overdue_seconds), (2, 0.0), "they fall due after a second");

    world.age(3_600).await;
    let overdue = "UPDATE events SET due_at = clock_timestamp() - interval '90 s' WHERE seq = 2";
    sqlx::query(overdue).execute(&world.pool).await.unwrap();
    let stuck = measure(&world.pool).await.unwrap();
    assert!((3_600.0..3_900.0).contains(&stuck.age_seconds), "{stuck:?}");
    assert!((90.0..390.0).contains(&stuck.overdue_seconds), "{stuck:?}");

    world.sweeper().expire().await.unwrap();
    assert_eq!(measure(&world.pool).await.unwrap(), nothing);
}
