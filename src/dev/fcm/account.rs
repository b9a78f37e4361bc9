//! The service account that this fake knows: a key made at start, and the JSON that Google would hand out for it.

use jsonwebtoken::jwk::Jwk;
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey};
use serde_json::{Value, json};

use crate::domain::tokens::{KeyAlgorithm, generate_private_key};

pub(super) struct Account {
    pub(super) project_id: String,
    pub(super) email: String,
    pub(super) key_id: String,
    pub(super) token_url: String,
    pub(super) public_key: DecodingKey,
    pub(super) json: String,
}

/// A service account with a new key, as Google hands it out.
#[must_use]
pub fn service_account(project_id: &str, token_url: &str) -> Value {
    json!({
        "type": "service_account",
        "project_id": project_id,
        "private_key_id": uuid::Uuid::new_v4().simple().to_string(),
        "private_key": generate_private_key(KeyAlgorithm::RS256),
        "client_email": format!("firebase-adminsdk@{project_id}.iam.gserviceaccount.com"),
        "client_id": "100000000000000000000",
        "token_uri": token_url,
    })
}

impl Account {
    pub(super) fn generate(project_id: String, token_url: &str) -> Self {
        let account = service_account(&project_id, token_url);
        let text = |name: &str| account[name].as_str().expect("it was just made").to_owned();
        let key = EncodingKey::from_rsa_pem(text("private_key").as_bytes()).expect("the key was just made");
        let public = Jwk::from_encoding_key(&key, Algorithm::RS256).expect("the key was just made");
        Self {
            public_key: DecodingKey::from_jwk(&public).expect("an RSA key has a public half"),
            project_id,
            email: text("client_email"),
            key_id: text("private_key_id"),
            token_url: token_url.to_owned(),
            json: account.to_string(),
        }
    }
}
