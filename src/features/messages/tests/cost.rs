//! However much was written, what is read costs the same: counted in entries of indexes, and in pages that are touched.

use sqlx::PgConnection;

use super::{channel_of, fill};
use crate::domain::clock::Clock as _;
use crate::domain::ids::{ChannelId, UserId};
use crate::features::fixture::World;
use crate::features::messages::model::{Draft, MessageType, Metadata, Search};
use crate::features::messages::repository::paging::{self, Bounds, Direction, Of};
use crate::features::messages::repository::searching::{self, Cost};
use crate::features::messages::repository::sending::{self, Outcome};
use crate::features::messages::repository::{history, reading};

const MESSAGES: i64 = 100_000;
const NEWEST: Bounds = Bounds { after: 0, before: i64::MAX };
const MIDDLE: Bounds = Bounds { after: MESSAGES / 2, before: i64::MAX };

/// A channel in which Ann wrote every thousandth message and Ben the rest, of which he deleted every thousandth.
async fn crowded(world: &World) -> (UserId, ChannelId) {
    let (ann, ben) = (world.user(None).await, world.user(None).await);
    let channel = channel_of(world, &[ann, ben]).await;
    let mut authors = vec![ben; 1_000];
    authors[0] = ann;
    fill(world, channel, &authors, MESSAGES).await;
    for change in [
        "UPDATE messages SET content = '', deleted_at = now() WHERE seq % 1000 = 500",
        "UPDATE messages SET content = 'needle ' || seq WHERE seq IN (7, 50001)",
        "VACUUM ANALYZE messages",
        "VACUUM ANALYZE channel_members",
    ] {
        sqlx::query(change).execute(&world.pool).await.unwrap();
    }
    (ann, channel)
}

/// Entries of indexes and rows of scans that were read, and pages that were touched, of messages, by anybody so far.
async fn touched(conn: &mut PgConnection) -> (i64, i64) {
    sqlx::query("SELECT pg_stat_force_next_flush()").execute(&mut *conn).await.unwrap();
    sqlx::query_as(
        "SELECT (SELECT sum(idx_tup_read)::bigint FROM pg_stat_user_indexes WHERE relname = 'messages')
                + (SELECT seq_tup_read FROM pg_stat_user_tables WHERE relname = 'messages'),
                (SELECT heap_blks_read + heap_blks_hit + idx_blks_read + idx_blks_hit
                 FROM pg_statio_user_tables WHERE relname = 'messages')",
    )
    .fetch_one(conn)
    .await
    .unwrap()
}

/// Fails with everything that cost more than it may: entries, pages.
struct Costs<'a> {
    conn: &'a mut PgConnection,
    complaints: Vec<String>,
}

impl Costs<'_> {
    async fn bound<T>(
        &mut self,
        what: &str,
        (entries_max, pages_max): (i64, i64),
        work: impl AsyncFnOnce(&mut PgConnection) -> Result<T, sqlx::Error>,
    ) -> T {
        let before = touched(self.conn).await;
        let result = work(self.conn).await.unwrap();
        let after = touched(self.conn).await;
        let (entries, pages) = (after.0 - before.0, after.1 - before.1);
        if entries > entries_max || pages > pages_max {
            self.complaints.push(format!("{what}: {entries} entries, {pages} pages"));
        }
        result
    }
}

#[tokio::test]
async fn a_hundred_thousand_messages_cost_no_more_than_a_few() {
    let world = World::new().await;
    let (ann, channel) = crowded(&world).await;
    let mut conn = world.pool.acquire().await.unwrap();
    let mut costs = Costs { conn: &mut conn, complaints: Vec::new() };

    let page = async |conn: &mut PgConnection| {
        paging::part(conn, Of::Channel(channel), NEWEST, Direction::Backwards, 51).await
    };
    assert_eq!(costs.bound("the newest page", (60, 80), page).await.len(), 51);
    let page = async |conn: &mut PgConnection| {
        paging::part(conn, Of::Channel(channel), MIDDLE, Direction::Forwards, 51).await
    };
    assert_eq!(costs.bound("a page in the middle", (60, 80), page).await[0].seq, MESSAGES / 2 + 1);
    let marker = async |conn: &mut PgConnection| reading::marker(conn, channel, ann).await;
    let unread = costs.bound("what is unread", (250, 50), marker).await.unwrap().unread;
    assert_eq!(unread, MESSAGES - 100 - 100, "without her own and the deleted ones");
    let steps = async |conn: &mut PgConnection| history::after(conn, channel, MESSAGES / 2, 100).await;
    assert_eq!(costs.bound("what was missed", (110, 120), steps).await.len(), 100);
    let draft = Draft {
        attachments: Vec::new(),
        channel,
        content: "one more".into(),
        message_type: MessageType::Text,
        metadata: Metadata::new(),
        parent: None,
        client_id: Some("c-1".into()),
    };
    let sending =
        async |conn: &mut PgConnection| sending::send(conn, ann, &draft, &[], world.clock.now()).await;
    let sent = costs.bound("one more message", (5, 60), sending).await;
    assert!(matches!(sent, Outcome::Written { message, .. } if message.seq == MESSAGES + 1));

    assert!(costs.complaints.is_empty(), "\n{}\n", costs.complaints.join("\n"));
}

#[tokio::test]
async fn a_search_reads_no_more_than_it_may() {
    let world = World::new().await;
    let (ann, channel) = crowded(&world).await;
    let mut conn = world.pool.acquire().await.unwrap();
    let mut costs = Costs { conn: &mut conn, complaints: Vec::new() };
    let cost = Cost { matches_max: 500, recent_max: 1_000 };

    for channel in [None, Some(channel)] {
        let search = |text: &str| Search { text: text.into(), channel, before: None, limit: 50 };
        let (rare, none, common) = (search("needle"), search("haystack"), search("text"));
        let found = costs
            .bound("a rare word", (20, 60), async |conn: &mut PgConnection| {
                searching::search(conn, ann, &rare, cost, 51).await
            })
            .await;
        assert_eq!(found.iter().map(|message| message.seq).collect::<Vec<_>>(), [50_001, 7]);
        let found = costs
            .bound("no word of any message", (20, 60), async |conn: &mut PgConnection| {
                searching::search(conn, ann, &none, cost, 51).await
            })
            .await;
        assert!(found.is_empty());
        // The index counts what it finds, wherever that is; of it, only so much is read.
        let found = costs
            .bound("a word of all messages", (MESSAGES + 2_000, 2_000), async |conn: &mut PgConnection| {
                searching::search(conn, ann, &common, cost, 51).await
            })
            .await;
        assert_eq!((found.len(), found[0].seq), (51, MESSAGES));
    }

    assert!(costs.complaints.is_empty(), "\n{}\n", costs.complaints.join("\n"));
}
