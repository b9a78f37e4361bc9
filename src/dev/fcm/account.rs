//! The service account that this fake knows: a key made at start, and the JSON that Google would hand out for it.

use jsonwebtoken::jwk::Jwk;
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey};
use serde_json::json;

use crate::domain::tokens::{KeyAlgorithm, generate_private_key};

pub(super) struct Account {
    pub(super) project_id: String,
    pub(super) email: String,
    pub(super) key_id: String,
    pub(super) token_url: String,
    pub(super) public_key: DecodingKey,
    pub(super) json: String,
}

impl Account {
    pub(super) fn generate(project_id: String, token_url: &str) -> Self {
        let private_key = generate_private_key(KeyAlgorithm::RS256);
        let key = EncodingKey::from_rsa_pem(private_key.as_bytes()).expect("the key was just made");
        let public = Jwk::from_encoding_key(&key, Algorithm::RS256).expect("the key was just made");
        let key_id = uuid::Uuid::new_v4().simple().to_string();
        let email = format!("firebase-adminsdk@{project_id}.iam.gserviceaccount.com");
        let json = json!({
            "type": "service_account",
            "project_id": project_id,
            "private_key_id": key_id,
            "private_key": private_key,
            "client_email": email,
            "client_id": "100000000000000000000",
            "token_uri": token_url,
        });
        Self {
            public_key: DecodingKey::from_jwk(&public).expect("an RSA key has a public half"),
            project_id,
            email,
            key_id,
            token_url: token_url.to_owned(),
            json: json.to_string(),
        }
    }
}
