//! What a confirmation does.

use std::time::Duration;

use sqlx::postgres::PgPoolOptions;

use super::{World, every_device, mailbox};
use crate::delivery::cursors;
use crate::delivery::settlement::Receipt;

#[tokio::test]
async fn a_confirmation_before_the_deadline_cancels_the_push() {
    let world = World::new().await;
    let user = world.user().await;
    world.device(user, "phone").await;
    for _ in 0..3 {
        world.tell(user).await;
    }
    let settlement = world.settlement();
    settlement.confirm(&mailbox(user, None), 2, Receipt::Pong);
    settlement.flush(&world.pool).await;
    world.age(10).await;

    world.sweeper().push().await.unwrap();

    world.until_outcomes(user, &["delivered", "delivered", "pushed"]).await;
    assert_eq!(world.pushed().len(), 1);
    assert_eq!(world.push.received()[0].data["seq"], "3");
}

#[tokio::test]
async fn a_confirmation_that_cannot_be_written_is_kept() {
    let world = World::new().await;
    let user = world.user().await;
    world.tell(user).await;
    world.tell(user).await;
    let settlement = world.settlement();
    let broken = PgPoolOptions::new().acquire_timeout(Duration::from_millis(100));
    let broken = broken.connect_lazy("postgres://nobody@127.0.0.1:1/none").unwrap();

    settlement.confirm(&mailbox(user, None), 2, Receipt::Pong);
    settlement.flush(&broken).await;
    settlement.confirm(&mailbox(user, None), 1, Receipt::Pong);
    settlement.flush(&world.pool).await;

    let delivered = Some("delivered".to_owned());
    assert_eq!(world.outcomes(user).await, [delivered.clone(), delivered]);
}

#[tokio::test]
async fn one_device_does_not_confirm_for_another_where_every_device_counts() {
    let world = World::with(every_device).await;
    let user = world.user().await;
    world.tell(user).await;
    let settlement = world.settlement();
    settlement.confirm(&mailbox(user, Some("phone")), 1, Receipt::Pong);
    settlement.confirm(&mailbox(user, Some("tablet")), 0, Receipt::Pong);
    settlement.flush(&world.pool).await;

    let cursors = cursors::of_user(&world.pool, user).await.unwrap();

    assert_eq!((cursors["phone"], cursors["tablet"]), (1, 0));
    assert_eq!(world.outcomes(user).await, [None]);
}

#[tokio::test]
async fn a_deleted_user_takes_all_events_along() {
    let world = World::new().await;
    let (leaver, stayer) = (world.user().await, world.user().await);
    for user in [leaver, leaver, stayer] {
        world.tell(user).await;
    }
    sqlx::query("DELETE FROM users WHERE id = $1").bind(leaver.0).execute(&world.pool).await.unwrap();
    let left: Vec<uuid::Uuid> =
        sqlx::query_scalar("SELECT user_id FROM events").fetch_all(&world.pool).await.unwrap();
    assert_eq!(left, [stayer.0]);
}
