//! Where the people come from: made in the database of a private cluster, or registered like anybody else.

use std::collections::HashMap;
use std::slice::from_ref;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use fanlight::dev::cluster::Cluster;
use fanlight::dev::people;
use fanlight::domain::clock::{Clock as _, SystemClock};
use parking_lot::Mutex;
use reqwest::Method;
use serde_json::{Value, json};
use sqlx::PgPool;
use uuid::Uuid;

use crate::chat::size_of;
use crate::couple::{Pair, Person};

/// Longer than any run.
const TOKEN_TTL: Duration = Duration::from_hours(24);
const ANSWERED_WITHIN: Duration = Duration::from_secs(20);
/// Of a room at a target.
const PEOPLE_REGISTERED_MAX: usize = 20;
pub const PASSWORD: &str = "correct-horse-battery";

/// A room and who is in it.
type People = (Uuid, Vec<Person>);

pub enum Roster {
    Made { couples: Mutex<Vec<Pair>>, singles: Mutex<Vec<Pair>>, rooms: Mutex<HashMap<usize, People>> },
    Registered(Registrar),
}

impl Roster {
    /// Makes so many couples, as many pairs of people who are not linked, and so many rooms.
    pub async fn made(cluster: &Cluster, pool: &PgPool, pairs: usize, rooms: usize) -> anyhow::Result<Self> {
        let people = people::people(cluster, pool, pairs * 4, TOKEN_TTL).await?;
        for person in &people {
            people::give_phone(pool, person, &fcm_token(person.id.0)).await?;
        }
        let mut made: Vec<Pair> = people.chunks_exact(2).map(pair_of).collect();
        let singles = made.split_off(pairs);
        for couple in people.chunks_exact(2).take(pairs) {
            people::link(pool, from_ref(&couple[0]), from_ref(&couple[1])).await?;
        }
        let mut gathered = HashMap::new();
        for number in 0..rooms {
            let people = people::people(cluster, pool, size_of(number), TOKEN_TTL).await?;
            let channel = people::gather(pool, &people).await?;
            gathered.insert(number, (channel.0, people.iter().map(person_of).collect()));
        }
        let (couples, singles) = (Mutex::new(made), Mutex::new(singles));
        Ok(Self::Made { couples, singles, rooms: Mutex::new(gathered) })
    }

    /// Two people who are linked.
    pub async fn couple(&self) -> anyhow::Result<Pair> {
        match self {
            Self::Made { couples, .. } => couples.lock().pop().context("more couples than --users"),
            Self::Registered(registrar) => registrar.pair(true).await,
        }
    }

    /// Two people who are not.
    pub async fn singles(&self) -> anyhow::Result<Pair> {
        match self {
            Self::Made { singles, .. } => singles.lock().pop().context("more pairs than --users"),
            Self::Registered(registrar) => registrar.pair(false).await,
        }
    }

    /// The room of this number.
    pub async fn room(&self, number: usize) -> anyhow::Result<People> {
        match self {
            Self::Made { rooms, .. } => rooms.lock().remove(&number).context("more rooms than --users"),
            Self::Registered(registrar) => registrar.room(number).await,
        }
    }
}

fn fcm_token(id: Uuid) -> String {
    format!("phone-{id}")
}

fn pair_of(two: &[people::Person]) -> Pair {
    Pair { people: [0, 1].map(|side: usize| person_of(&two[side])), told_of_link: false }
}

fn person_of(made: &people::Person) -> Person {
    Person { id: made.id.0, token: made.token.clone(), fcm_token: fcm_token(made.id.0) }
}

/// Registers people through the API.
pub struct Registrar {
    client: reqwest::Client,
    url: String,
    /// Tells the people of this run from those of others.
    run: i64,
    registered: AtomicU64,
}

impl Registrar {
    /// Looks whether the tokens of this cluster live as long as the run.
    pub async fn new(url: &str, run_time: Duration) -> anyhow::Result<Self> {
        let client = reqwest::Client::builder().timeout(ANSWERED_WITHIN).no_proxy().build()?;
        let run = SystemClock.now().timestamp_millis();
        let registrar = Self { client, url: url.to_owned(), run, registered: AtomicU64::new(0) };
        let (_, ttl) = registrar.register().await.context("the target takes nobody in")?;
        ensure!(
            ttl > run_time,
            "the target's tokens live for {} s: make a shorter run, or raise accounts.access_ttl_seconds",
            ttl.as_secs()
        );
        Ok(registrar)
    }

    async fn pair(&self, linked: bool) -> anyhow::Result<Pair> {
        let (people, _) = {
            let (first, ttl) = self.register().await?;
            ([first, self.register().await?.0], ttl)
        };
        if linked {
            let session = self.call(Method::POST, "/linking/sessions", &people[0], &Value::Null).await?;
            let code = json!({ "linkCode": session["linkCode"] });
            self.call(Method::POST, "/linking/sessions/confirm", &people[1], &code).await?;
        }
        for person in &people {
            let phone = json!({"deviceId": "phone", "fcmToken": person.fcm_token, "platform": "android"});
            self.call(Method::PUT, "/devices/fcm-token", person, &phone).await?;
        }
        Ok(Pair { people, told_of_link: linked })
    }

    /// A small one: everybody is registered, and taken in, by requests.
    async fn room(&self, number: usize) -> anyhow::Result<People> {
        let mut people = Vec::new();
        for _ in 0..size_of(number).min(PEOPLE_REGISTERED_MAX) {
            people.push(self.register().await?.0);
        }
        let form = json!({"name": format!("Load {} {number}", self.run), "isPrivate": true});
        let channel = self.call(Method::POST, "/channels", &people[0], &form).await?;
        let id: Uuid = serde_json::from_value(channel["id"].clone()).context("a channel has no id")?;
        for person in &people[1..] {
            let member = json!({"userId": person.id, "role": "member"});
            self.call(Method::POST, &format!("/channels/{id}/members"), &people[0], &member).await?;
        }
        Ok((id, people))
    }

    async fn register(&self) -> anyhow::Result<(Person, Duration)> {
        let number = self.registered.fetch_add(1, Ordering::Relaxed);
        let email = format!("load-{}-{number}@example.com", self.run);
        let account = json!({"email": email, "password": PASSWORD, "displayName": "Somebody"});
        let nobody = Person { id: Uuid::nil(), token: String::new(), fcm_token: String::new() };
        let login = self.call(Method::POST, "/auth/register", &nobody, &account).await?;
        let id: Uuid =
            serde_json::from_value(login["user"]["id"].clone()).context("a login names no user")?;
        let token = login["accessToken"].as_str().context("a login gives no token")?.to_owned();
        let ttl = Duration::from_secs(login["expiresIn"].as_u64().unwrap_or(0));
        Ok((Person { id, token, fcm_token: fcm_token(id) }, ttl))
    }

    async fn call(&self, method: Method, path: &str, caller: &Person, body: &Value) -> anyhow::Result<Value> {
        let mut request = self.client.request(method, format!("{}{path}", self.url));
        if !caller.token.is_empty() {
            request = request.bearer_auth(&caller.token);
        }
        if !body.is_null() {
            request = request.json(body);
        }
        let response = request.send().await?;
        let status = response.status();
        let text = response.text().await?;
        if status.as_u16() == 429 {
            bail!("{path} answered 429: raise accounts.registrations_per_address_max of the target: {text}");
        }
        ensure!(status.is_success(), "{path} answered {status}: {text}");
        Ok(serde_json::from_str(&text).unwrap_or_default())
    }
}
