//! Two linked people with a phone each, and the channel that both are in, made through the public API, as clients make them.

use std::time::Duration;

use anyhow::{Context as _, bail};
use reqwest::{Client, Method, StatusCode};
use serde::Serialize;
use serde_json::{Value, json};
use tokio::time::Instant;

use super::fcm::{FakeFcm, Script};

const PASSWORD: &str = "correct-horse-battery";
const PEOPLE: [(&str, &str); 2] = [("ada@example.com", "Ada"), ("ben@example.com", "Ben")];
const CHANNEL: &str = "everybody";
const REQUEST_WITHIN: Duration = Duration::from_secs(15);
const PUSHED_WITHIN: Duration = Duration::from_secs(10);
const POLL: Duration = Duration::from_millis(50);

/// A seeded person, with what is needed to act as them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct User {
    pub email: String,
    pub password: String,
    pub id: String,
    pub access_token: String,
}

impl User {
    /// What stands before the `@`.
    #[must_use]
    pub fn name(&self) -> String {
        self.email.split('@').next().unwrap_or_default().to_owned()
    }

    /// The token of this person's phone at the fake FCM.
    #[must_use]
    pub fn fcm_token(&self) -> String {
        format!("{}-fcm-token", self.name())
    }
}

/// Who is there, and where they talk.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Seeded {
    pub users: Vec<User>,
    pub channel: Channel,
}

/// The channel of all seeded people.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Channel {
    pub id: String,
    pub name: String,
}

/// Registers the two, links them, registers a phone for each, and lets them share a channel; what the last run did already
/// stays as it is.
///
/// # Errors
/// When the API answers something unexpected.
pub async fn all(api: &str, fcm: &FakeFcm) -> anyhow::Result<Seeded> {
    let api =
        Api { client: Client::builder().timeout(REQUEST_WITHIN).no_proxy().build()?, url: api.to_owned() };
    let mut users = Vec::new();
    for (email, name) in PEOPLE {
        users.push(api.person(email, name).await.with_context(|| format!("cannot seed {email}"))?);
    }
    if api.link(&users[0], &users[1]).await.context("cannot link the two")? {
        forget_pushes(fcm).await;
    }
    let channel = api.channel(&users).await.context("cannot seed the channel")?;
    Ok(Seeded { users, channel })
}

/// Being linked is pushed to both phones. Waits for that, so that the fake FCM shows only what is tried afterwards.
async fn forget_pushes(fcm: &FakeFcm) {
    let deadline = Instant::now() + PUSHED_WITHIN;
    while fcm.log().len() < PEOPLE.len() && Instant::now() < deadline {
        tokio::time::sleep(POLL).await;
    }
    fcm.script(Script { reset: true, ..Script::default() });
}

struct Api {
    client: Client,
    url: String,
}

impl Api {
    async fn person(&self, email: &str, name: &str) -> anyhow::Result<User> {
        let account = json!({"email": email, "password": PASSWORD, "displayName": name});
        self.call(Method::POST, "/auth/register", None, &account, StatusCode::CONFLICT).await?;
        let credentials = json!({"email": email, "password": PASSWORD});
        let login = self.call(Method::POST, "/auth/login", None, &credentials, StatusCode::OK).await?;
        let text = |value: &Value| value.as_str().map(str::to_owned).context("the login lacks a field");
        let user = User {
            email: email.to_owned(),
            password: PASSWORD.to_owned(),
            id: text(&login["user"]["id"])?,
            access_token: text(&login["accessToken"])?,
        };
        let phone = json!({
            "deviceId": format!("{}-phone", user.name()), "fcmToken": user.fcm_token(), "platform": "android",
        });
        self.call(Method::PUT, "/devices/fcm-token", Some(&user), &phone, StatusCode::OK).await?;
        Ok(user)
    }

    /// Returns whether they were not linked before.
    async fn link(&self, owner: &User, other: &User) -> anyhow::Result<bool> {
        let session = self
            .call(Method::POST, "/linking/sessions", Some(owner), &Value::Null, StatusCode::CONFLICT)
            .await?;
        let Some(code) = session["linkCode"].as_str() else { return Ok(false) };
        let confirm = json!({ "linkCode": code });
        self.call(Method::POST, "/linking/sessions/confirm", Some(other), &confirm, StatusCode::OK).await?;
        Ok(true)
    }

    /// The first person's channel, which the others have joined: whoever joins by themselves is not told, and not pushed.
    async fn channel(&self, users: &[User]) -> anyhow::Result<Channel> {
        let owner = users.first().context("there is nobody")?;
        let new = json!({"name": CHANNEL, "description": "Of all who are here"});
        let made = self.call(Method::POST, "/channels/", Some(owner), &new, StatusCode::CONFLICT).await?;
        let id = match made["id"].as_str() {
            Some(id) => id.to_owned(),
            None => self.find_channel(owner).await?,
        };
        for user in users {
            let path = format!("/channels/{id}/join");
            self.call(Method::POST, &path, Some(user), &Value::Null, StatusCode::OK).await?;
        }
        Ok(Channel { id, name: CHANNEL.to_owned() })
    }

    /// The channel of an earlier run. Of the few that a person makes in the meantime, it is on the first page.
    async fn find_channel(&self, owner: &User) -> anyhow::Result<String> {
        let path = "/channels/?mine=true&limit=100";
        let mine = self.call(Method::GET, path, Some(owner), &Value::Null, StatusCode::OK).await?;
        let mut channels = mine["items"].as_array().into_iter().flatten();
        let found = channels.find(|channel| channel["name"] == CHANNEL).and_then(|it| it["id"].as_str());
        Ok(found.context("somebody else has a channel of this name")?.to_owned())
    }

    /// One request; `also` is the status besides 2xx that is no failure.
    async fn call(
        &self,
        method: Method,
        path: &str,
        caller: Option<&User>,
        body: &Value,
        also: StatusCode,
    ) -> anyhow::Result<Value> {
        let mut request = self.client.request(method, format!("{}{path}", self.url));
        if let Some(user) = caller {
            request = request.bearer_auth(&user.access_token);
        }
        if !body.is_null() {
            request = request.json(body);
        }
        let response = request.send().await?;
        let status = response.status();
        let text = response.text().await?;
        if !status.is_success() && status != also {
            bail!("{path} answered {status}: {text}");
        }
        Ok(serde_json::from_str(&text).unwrap_or_default())
    }
}
