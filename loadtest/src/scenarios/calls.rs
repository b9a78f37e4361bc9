//! Requests of goose's own.

use goose::goose::{GooseMethod, GooseRequest, GooseUser, TransactionError};
use serde_json::Value;

use crate::ledger::Answer;

/// A request, under the name that the report gives it.
pub struct Call<'a> {
    pub method: GooseMethod,
    pub path: &'a str,
    pub name: &'a str,
    pub token: &'a str,
    pub body: Option<Value>,
}

impl<'a> Call<'a> {
    /// A request whose path is its name.
    pub fn new(method: GooseMethod, path: &'a str, token: &'a str) -> Self {
        Self { method, path, name: path, token, body: None }
    }

    /// With ids in its path.
    pub fn named(self, name: &'a str) -> Self {
        Self { name, ..self }
    }

    pub fn with(self, body: Value) -> Self {
        Self { body: Some(body), ..self }
    }

    /// Sends it. Returns what it did, and what was answered.
    pub async fn send(self, user: &mut GooseUser) -> Result<(Answer, Value), Box<TransactionError>> {
        let mut builder = user.get_request_builder(&self.method, self.path)?;
        if !self.token.is_empty() {
            builder = builder.bearer_auth(self.token);
        }
        if let Some(body) = &self.body {
            builder = builder.json(body);
        }
        let request = GooseRequest::builder().set_request_builder(builder).name(self.name).build();
        let sent = user.request(request).await?;
        let answer = match &sent.response {
            Ok(response) if response.status().is_success() => Answer::Done,
            Ok(response) if response.status().is_client_error() => Answer::Refused,
            Ok(_) | Err(_) => Answer::Unknown,
        };
        let body = match sent.response {
            Ok(response) => response.json().await.unwrap_or_default(),
            Err(_) => Value::Null,
        };
        Ok((answer, body))
    }
}
