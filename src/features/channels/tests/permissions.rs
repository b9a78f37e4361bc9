//! Who may do what: everybody, in every kind of place, by every operation.
//!
//! A table, so that other features whose operations are in a conversation hold theirs against it, too.

use axum::body::Body;
use http::Request;
use serde_json::{Value, json};

use crate::domain::ids::{ChannelId, MessageId, UserId};
use crate::features::fixture::World;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Who {
    Owner,
    Admin,
    Member,
    /// Was a member.
    Former,
    Stranger,
    /// Shows no token.
    Anonymous,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    Public,
    Private,
    Group,
    Direct,
}

const EVERYBODY: [Who; 6] = [Who::Owner, Who::Admin, Who::Member, Who::Former, Who::Stranger, Who::Anonymous];
const EVERYWHERE: [Place; 4] = [Place::Public, Place::Private, Place::Group, Place::Direct];

/// Where there is no such person: a direct conversation has two members.
const NOBODY: u16 = 0;

/// A conversation, fresh for every question, and the people around it.
pub struct Scene {
    pub channel: ChannelId,
    /// Free for what a test writes there.
    pub message: MessageId,
    pub owner: UserId,
    pub admin: UserId,
    pub member: UserId,
    pub former: UserId,
    pub stranger: UserId,
    /// Another admin; nobody where there is none.
    pub other_admin: UserId,
    /// Another member, also of a direct conversation.
    pub other_member: UserId,
    /// Was never in it, and does not ask.
    pub newcomer: UserId,
}

impl Scene {
    async fn people(world: &World) -> Self {
        Self {
            channel: ChannelId::generate(),
            message: MessageId::generate(),
            owner: world.user(None).await,
            admin: world.user(None).await,
            member: world.user(None).await,
            former: world.user(None).await,
            stranger: world.user(None).await,
            other_admin: world.user(None).await,
            other_member: world.user(None).await,
            newcomer: world.user(None).await,
        }
    }

    /// Who shows no token speaks of the stranger as of themselves.
    pub fn user(&self, who: Who) -> UserId {
        match who {
            Who::Owner => self.owner,
            Who::Admin => self.admin,
            Who::Member => self.member,
            Who::Former => self.former,
            Who::Stranger | Who::Anonymous => self.stranger,
        }
    }

    /// The same people, in a conversation of this kind that nobody has touched.
    async fn set(&mut self, world: &World, place: Place) {
        (self.channel, self.message) = (ChannelId::generate(), MessageId::generate());
        let (kind, is_private, name) = match place {
            Place::Public => ("channel", false, Some("general")),
            Place::Private => ("channel", true, Some("general")),
            Place::Group => ("group", true, Some("general")),
            Place::Direct => ("direct", true, None),
        };
        let (one, other) = (self.member.min(self.other_member), self.member.max(self.other_member));
        let pair = (place == Place::Direct).then(|| vec![one.0, other.0]);
        sqlx::query("DELETE FROM channels").execute(&world.pool).await.unwrap();
        sqlx::query(
            "INSERT INTO channels (id, kind, name, is_private, direct_pair, created_at, updated_at)
             VALUES ($1, $2, $3, $4, $5, now(), now())",
        )
        .bind(self.channel.0)
        .bind(kind)
        .bind(name)
        .bind(is_private)
        .bind(pair)
        .execute(&world.pool)
        .await
        .unwrap();
        let mut members = vec![(self.member, "member"), (self.other_member, "member")];
        if place != Place::Direct {
            members.extend([(self.owner, "owner"), (self.admin, "admin"), (self.other_admin, "admin")]);
            members.push((self.former, "member"));
        }
        let (users, roles): (Vec<_>, Vec<_>) = members.into_iter().map(|(user, role)| (user.0, role)).unzip();
        sqlx::query(
            "INSERT INTO channel_members (channel_id, user_id, role, joined_at)
             SELECT $1, user_id, role, now() FROM unnest($2::uuid[], $3::text[]) AS new (user_id, role)",
        )
        .bind(self.channel.0)
        .bind(users)
        .bind(roles)
        .execute(&world.pool)
        .await
        .unwrap();
        sqlx::query("DELETE FROM channel_members WHERE user_id = $1")
            .bind(self.former.0)
            .execute(&world.pool)
            .await
            .unwrap();
    }
}

/// Method, path, and body if it is not null.
pub type Ask = (&'static str, String, Value);

/// An operation, and how each is answered.
pub struct Row {
    pub operation: &'static str,
    pub ask: fn(&Scene, Who) -> Ask,
    /// In the order of the enums: one line for each place, in it one status for each of the people.
    pub answers: [[u16; 6]; 4],
}

/// Holds every cell of the table. `prepare` puts into each fresh scene what the operations need.
pub async fn assert_table(world: &World, table: &[Row], prepare: impl AsyncFn(&Scene)) {
    let mut scene = Scene::people(world).await;
    let mut wrong = Vec::new();
    for row in table {
        for (place, answers) in EVERYWHERE.into_iter().zip(row.answers) {
            for (who, expected) in EVERYBODY.into_iter().zip(answers) {
                if expected == NOBODY {
                    continue;
                }
                scene.set(world, place).await;
                prepare(&scene).await;
                let given = ask(world, &scene, row, who).await;
                if given != expected {
                    wrong.push(format!("{who:?}, {place:?}: {}: {given}, not {expected}", row.operation));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "\n{}\n", wrong.join("\n"));
}

async fn ask(world: &World, scene: &Scene, row: &Row, who: Who) -> u16 {
    let (method, path, body) = (row.ask)(scene, who);
    let request = match who {
        Who::Anonymous => {
            Request::builder().method(method).uri(path).header("content-type", "application/json")
        }
        who => world.request(scene.user(who), method, &path),
    };
    let body = if body.is_null() { Body::empty() } else { Body::from(body.to_string()) };
    world.send(request.body(body).unwrap()).await.status.as_u16()
}

/// The same in a public and in a private channel and in a group, for those who are in it.
const fn inside(owner: u16, admin: u16, member: u16) -> [[u16; 6]; 4] {
    [
        [owner, admin, member, 403, 403, 401],
        [owner, admin, member, 403, 403, 401],
        [owner, admin, member, 404, 404, 401],
        [NOBODY, NOBODY, 403, NOBODY, 404, 401],
    ]
}

/// For whoever can find it.
const SEEN: [[u16; 6]; 4] = [
    [200, 200, 200, 200, 200, 401],
    [200, 200, 200, 403, 403, 401],
    [200, 200, 200, 404, 404, 401],
    [NOBODY, NOBODY, 200, NOBODY, 404, 401],
];

fn below(scene: &Scene, rest: &str) -> String {
    format!("/channels/{}{rest}", scene.channel)
}

fn add(scene: &Scene, role: &str) -> Ask {
    ("POST", below(scene, "/members"), json!({"user_id": scene.newcomer, "role": role}))
}

fn remove(scene: &Scene, user: UserId) -> Ask {
    ("DELETE", below(scene, &format!("/members/{user}")), Value::Null)
}

fn appoint(scene: &Scene, user: UserId, role: &str) -> Ask {
    ("PUT", below(scene, &format!("/members/{user}")), json!({"role": role}))
}

const TABLE: [Row; 19] = [
    Row { operation: "see it", ask: |scene, _| ("GET", below(scene, ""), Value::Null), answers: SEEN },
    Row {
        operation: "see who is in it",
        ask: |scene, _| ("GET", below(scene, "/members"), Value::Null),
        answers: SEEN,
    },
    Row {
        operation: "join",
        ask: |scene, _| ("POST", below(scene, "/join"), Value::Null),
        answers: [
            [200, 200, 200, 201, 201, 401],
            [200, 200, 200, 403, 403, 401],
            [200, 200, 200, 404, 404, 401],
            [NOBODY, NOBODY, 200, NOBODY, 404, 401],
        ],
    },
    Row {
        operation: "rename it",
        ask: |scene, _| ("PUT", below(scene, ""), json!({"name": "lounge"})),
        answers: inside(200, 200, 403),
    },
    Row {
        operation: "make it private",
        ask: |scene, _| ("PUT", below(scene, ""), json!({"isPrivate": true})),
        answers: inside(200, 200, 403),
    },
    Row {
        operation: "delete it",
        ask: |scene, _| ("DELETE", below(scene, ""), Value::Null),
        answers: inside(204, 403, 403),
    },
    Row { operation: "add a member", ask: |scene, _| add(scene, "member"), answers: inside(201, 201, 403) },
    Row { operation: "add an admin", ask: |scene, _| add(scene, "admin"), answers: inside(201, 201, 403) },
    Row { operation: "add an owner", ask: |scene, _| add(scene, "owner"), answers: inside(201, 403, 403) },
    Row {
        operation: "remove a member",
        ask: |scene, _| remove(scene, scene.other_member),
        answers: inside(204, 204, 403),
    },
    Row {
        operation: "remove an admin",
        ask: |scene, _| remove(scene, scene.other_admin),
        answers: inside(204, 403, 403),
    },
    Row {
        operation: "remove the owner",
        ask: |scene, _| remove(scene, scene.owner),
        answers: inside(403, 403, 403),
    },
    Row {
        operation: "remove somebody who is not in it",
        ask: |scene, _| remove(scene, scene.newcomer),
        answers: inside(404, 404, 403),
    },
    Row {
        operation: "make a member an admin",
        ask: |scene, _| appoint(scene, scene.other_member, "admin"),
        answers: inside(200, 200, 403),
    },
    Row {
        operation: "make a member an owner",
        ask: |scene, _| appoint(scene, scene.other_member, "owner"),
        answers: inside(200, 403, 403),
    },
    Row {
        operation: "make another admin a member",
        ask: |scene, _| appoint(scene, scene.other_admin, "member"),
        answers: inside(200, 403, 403),
    },
    Row {
        operation: "make somebody who is not in it a member",
        ask: |scene, _| appoint(scene, scene.newcomer, "member"),
        answers: inside(404, 404, 403),
    },
    Row {
        operation: "make oneself an admin",
        ask: |scene, who| appoint(scene, scene.user(who), "admin"),
        answers: inside(403, 200, 403),
    },
    Row {
        operation: "leave",
        ask: |scene, who| remove(scene, scene.user(who)),
        answers: inside(403, 204, 204),
    },
];

#[tokio::test]
async fn everybody_may_do_what_the_table_says() {
    let world = World::new().await;
    assert_table(&world, &TABLE, async |_| ()).await;
}

#[tokio::test]
async fn nobody_finds_in_a_list_what_they_may_not_see() {
    let world = World::new().await;
    let mut scene = Scene::people(&world).await;
    for (place, expected) in EVERYWHERE.into_iter().zip(SEEN) {
        for (who, expected) in EVERYBODY.into_iter().zip(expected).filter(|(who, _)| *who != Who::Anonymous) {
            scene.set(&world, place).await;
            let list = world.get(scene.user(who), "/channels").await.body;
            let found = list["items"].as_array().unwrap().len();
            assert_eq!(found, usize::from(expected == 200), "{who:?}, {place:?}");
        }
    }
}
