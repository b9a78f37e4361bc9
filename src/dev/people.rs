//! People in a cluster's database, made in one statement: Argon2 and a request each would take minutes for thousands.

use std::time::Duration;

use sqlx::PgPool;
use uuid::Uuid;

use super::cluster::Cluster;
use crate::config::Config;
use crate::domain::clock::{Clock as _, SystemClock};
use crate::domain::ids::{ChannelId, DeviceTokenId, SessionId, UserId};

/// Somebody with a token.
#[derive(Clone, Debug)]
pub struct Person {
    pub id: UserId,
    pub token: String,
}

/// Makes people whose tokens are good for `ttl`.
///
/// # Errors
/// When the cluster's settings cannot be read, or Postgres refuses.
pub async fn people(
    cluster: &Cluster,
    pool: &PgPool,
    count: usize,
    ttl: Duration,
) -> anyhow::Result<Vec<Person>> {
    let _already = jsonwebtoken::crypto::aws_lc::DEFAULT_PROVIDER.install_default();
    // The keys as the nodes have them; this process signs as they would.
    let keys = Config::load(Some(&cluster.state.path().join("fanlight.toml")))?.auth.key_ring()?;
    let mint = |id| keys.mint(id, SessionId::generate(), SystemClock.now(), ttl);
    let people: Vec<Person> = std::iter::repeat_with(UserId::generate)
        .take(count)
        .map(|id| Person { id, token: mint(id) })
        .collect();
    add(pool, &people).await?;
    Ok(people)
}

/// Writes people who cannot sign in.
///
/// # Errors
/// When one of them is there already.
pub async fn add(pool: &PgPool, people: &[Person]) -> anyhow::Result<()> {
    sqlx::query(
        "INSERT INTO users (id, email, password_hash, display_name, created_at, updated_at)
         SELECT id, id || '@example.com', '', 'Somebody', now(), now() FROM unnest($1::uuid[]) AS id",
    )
    .bind(ids(people))
    .execute(pool)
    .await?;
    Ok(())
}

/// Makes couples of two lists of people, in their order.
///
/// # Errors
/// When one of them has a partner already.
pub async fn link(pool: &PgPool, actors: &[Person], partners: &[Person]) -> anyhow::Result<()> {
    sqlx::query(
        "INSERT INTO partners (user_id, partner_id, linked_at)
         SELECT one, other, now() FROM unnest($1::uuid[], $2::uuid[]) AS couple (one, other)
         UNION ALL SELECT other, one, now() FROM unnest($1::uuid[], $2::uuid[]) AS couple (one, other)",
    )
    .bind(ids(actors))
    .bind(ids(partners))
    .execute(pool)
    .await?;
    Ok(())
}

/// Makes a group of people, which belongs to the first of them.
///
/// # Errors
/// When one of them is not in the database.
pub async fn gather(pool: &PgPool, members: &[Person]) -> anyhow::Result<ChannelId> {
    let channel = ChannelId::generate();
    let owner = members.first().map(|owner| owner.id.0);
    sqlx::query(
        "INSERT INTO channels (id, kind, name, is_private, created_by, created_at, updated_at)
         VALUES ($1, 'group', 'A group', true, $2, now(), now())",
    )
    .bind(channel.0)
    .bind(owner)
    .execute(pool)
    .await?;
    take_in(pool, channel, members).await?;
    Ok(channel)
}

/// Takes people into a group; one who made it becomes its owner.
///
/// # Errors
/// When one of them is in it already.
pub async fn take_in(pool: &PgPool, channel: ChannelId, people: &[Person]) -> anyhow::Result<()> {
    sqlx::query(
        "INSERT INTO channel_members (channel_id, user_id, role, joined_at)
         SELECT c.id, member, CASE WHEN member = c.created_by THEN 'owner' ELSE 'member' END, now()
         FROM channels AS c, unnest($2::uuid[]) AS member WHERE c.id = $1",
    )
    .bind(channel.0)
    .bind(ids(people))
    .execute(pool)
    .await?;
    Ok(())
}

/// Gives somebody a phone that can be woken.
///
/// # Errors
/// When another active phone has this token.
pub async fn give_phone(pool: &PgPool, person: &Person, fcm_token: &str) -> anyhow::Result<()> {
    sqlx::query(
        "INSERT INTO device_tokens
             (id, user_id, device_id, fcm_token, platform, created_at, updated_at, last_registered_at)
         VALUES ($1, $2, 'phone', $3, 'android', now(), now(), now())",
    )
    .bind(DeviceTokenId::generate().0)
    .bind(person.id.0)
    .bind(fcm_token)
    .execute(pool)
    .await?;
    Ok(())
}

fn ids(people: &[Person]) -> Vec<Uuid> {
    people.iter().map(|person| person.id.0).collect()
}
