//! A client as a person's phone has one: HTTP with a token, and sockets that confirm what they get.
//!
//! Every wait has a deadline, and says what it has seen when it passes.

use std::ops::Deref;
use std::time::Duration;

use http::header::{AUTHORIZATION, CONTENT_TYPE};
use http::{HeaderMap, Method};
use reqwest::RequestBuilder;
use serde_json::{Value, json};

use crate::socket::Socket;

pub const PASSWORD: &str = "correct-horse-battery";
/// How long anything may take to be seen, on a machine that has much else to do.
pub const DEADLINE: Duration = Duration::from_secs(30);

/// An answer. `body` is null if there is none, and a string if it is no JSON.
#[derive(Clone, Debug)]
pub struct Response {
    pub status: u16,
    pub headers: HeaderMap,
    pub body: Value,
}

impl Response {
    /// The body of an answer with this status.
    #[track_caller]
    pub fn expect(self, status: u16) -> Value {
        assert_eq!(self.status, status, "{}", self.body);
        self.body
    }

    /// An RFC 9457 answer with this status and code.
    #[track_caller]
    pub fn expect_problem(self, status: u16, error: &str) -> Self {
        assert_eq!((self.status, self.body["error"].as_str()), (status, Some(error)), "{}", self.body);
        assert_eq!(self.header("content-type"), Some("application/problem+json"));
        assert_eq!(self.body["status"], status, "{}", self.body);
        assert_eq!(self.body["type"], format!("urn:fanlight:error:{error}"));
        assert!(self.body["title"].as_str().is_some_and(|title| !title.is_empty()), "{}", self.body);
        self
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }
}

/// What proves who calls.
#[derive(Clone, Debug)]
pub enum Credentials {
    None,
    Bearer(String),
    Cookie(String),
}

/// The HTTP API at one address, with or without credentials.
#[derive(Clone, Debug)]
pub struct Api {
    pub base_url: String,
    pub credentials: Credentials,
    http: reqwest::Client,
}

impl Api {
    pub fn anonymous(base_url: &str) -> Self {
        let http = reqwest::Client::builder().timeout(DEADLINE * 2).no_proxy().build().unwrap();
        Self { base_url: base_url.to_owned(), credentials: Credentials::None, http }
    }

    pub fn with(&self, credentials: Credentials) -> Self {
        Self { credentials, ..self.clone() }
    }

    pub fn with_bearer(&self, token: impl Into<String>) -> Self {
        self.with(Credentials::Bearer(token.into()))
    }

    pub async fn get(&self, path: &str) -> Response {
        self.send(self.request(Method::GET, path)).await
    }

    pub async fn post(&self, path: &str, body: Value) -> Response {
        self.send_json(Method::POST, path, body).await
    }

    pub async fn put(&self, path: &str, body: Value) -> Response {
        self.send_json(Method::PUT, path, body).await
    }

    pub async fn patch(&self, path: &str, body: Value) -> Response {
        self.send_json(Method::PATCH, path, body).await
    }

    pub async fn delete(&self, path: &str) -> Response {
        self.send(self.request(Method::DELETE, path)).await
    }

    /// Without a body if it is null.
    pub async fn send_json(&self, method: Method, path: &str, body: Value) -> Response {
        let request = self.request(method, path);
        self.send(if body.is_null() { request } else { request.json(&body) }).await
    }

    /// A JSON body as it stands, valid or not.
    pub async fn send_text(&self, method: Method, path: &str, body: impl Into<String>) -> Response {
        let request = self.request(method, path).header(CONTENT_TYPE, "application/json").body(body.into());
        self.send(request).await
    }

    /// For what the other methods do not offer.
    pub fn request(&self, method: Method, path: &str) -> RequestBuilder {
        let request = self.http.request(method, format!("{}{path}", self.base_url));
        match &self.credentials {
            Credentials::None => request,
            Credentials::Bearer(token) => request.header(AUTHORIZATION, format!("Bearer {token}")),
            Credentials::Cookie(token) => request.header("cookie", format!("theme=dark; jwt_token={token}")),
        }
    }

    pub async fn send(&self, request: RequestBuilder) -> Response {
        let answer = request.send().await.unwrap();
        let (status, headers) = (answer.status().as_u16(), answer.headers().clone());
        let text = answer.text().await.unwrap();
        let body = match text.as_str() {
            "" => Value::Null,
            text => serde_json::from_str(text).unwrap_or_else(|_| Value::String(text.to_owned())),
        };
        Response { status, headers, body }
    }
}

/// A person with an account, signed in.
#[derive(Clone, Debug)]
pub struct Client {
    pub id: String,
    pub email: String,
    pub access_token: String,
    pub refresh_token: String,
    api: Api,
}

impl Deref for Client {
    type Target = Api;

    fn deref(&self) -> &Api {
        &self.api
    }
}

impl Client {
    /// Makes an account; the display name is what stands before the `@`.
    pub async fn register(base_url: &str, email: &str) -> Self {
        let name = email.split('@').next().unwrap();
        let account = json!({"email": email, "password": PASSWORD, "displayName": name});
        let api = Api::anonymous(base_url);
        Self::signed_in(&api, &api.post("/auth/register", account).await.expect(201))
    }

    /// The same person, signed in on another device: a session of its own.
    pub async fn log_in_again(&self) -> Self {
        let credentials = json!({"email": self.email, "password": PASSWORD});
        let api = self.api.with(Credentials::None);
        Self::signed_in(&api, &api.post("/auth/login", credentials).await.expect(200))
    }

    /// The same session, through another address of the cluster.
    pub fn at(&self, base_url: &str) -> Self {
        let api = Api { base_url: base_url.to_owned(), ..self.api.clone() };
        Self { api, ..self.clone() }
    }

    /// The same session, with another access token.
    pub fn with_token(&self, access_token: &str) -> Self {
        let api = self.api.with_bearer(access_token);
        Self { api, access_token: access_token.to_owned(), ..self.clone() }
    }

    fn signed_in(api: &Api, tokens: &Value) -> Self {
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        let access_token = text(&tokens["accessToken"]);
        Self {
            id: text(&tokens["user"]["id"]),
            email: text(&tokens["user"]["email"]),
            refresh_token: text(&tokens["refreshToken"]),
            api: api.with_bearer(access_token.clone()),
            access_token,
        }
    }

    /// Opens a socket at an address of the cluster. `query` is what stands behind the token, such as `since=4`,
    /// or empty.
    pub async fn connect(&self, base_url: &str, query: &str) -> Socket {
        let and = if query.is_empty() { "" } else { "&" };
        Socket::open(&format!("{base_url}/ws?token={}{and}{query}", self.access_token), &[]).await
    }
}

/// Makes a couple of two people: the first shows a code, the second confirms it.
pub async fn link(owner: &Client, other: &Client) {
    let session = owner.post("/linking/sessions", Value::Null).await.expect(201);
    other.post("/linking/sessions/confirm", json!({"linkCode": session["linkCode"]})).await.expect(200);
}
