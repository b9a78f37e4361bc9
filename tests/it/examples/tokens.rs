//! Tokens that the cluster did not issue: honest ones with another life, and forged ones.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::Utc;
use fanlight::domain::ids::{SessionId, UserId};
use fanlight::domain::tokens::{self, KeyAlgorithm, KeyRing};

use crate::client::Client;
use crate::shared::cluster;

#[derive(Clone, Copy, Debug)]
pub enum Forged {
    Nonsense,
    Expired,
    OtherKey,
    OtherIssuer,
    OtherAudience,
    OtherSubject,
    /// `alg: none`, without a signature.
    Unsigned,
    /// A refresh token is no access token.
    Refresh,
}

impl Forged {
    pub const ALL: [Self; 8] = [
        Self::Nonsense,
        Self::Expired,
        Self::OtherKey,
        Self::OtherIssuer,
        Self::OtherAudience,
        Self::OtherSubject,
        Self::Unsigned,
        Self::Refresh,
    ];

    pub async fn token(self, client: &Client) -> String {
        let ours = ring().await;
        let user: UserId = client.id.parse().unwrap();
        let (session, now, ttl) = (SessionId::generate(), Utc::now(), Duration::from_secs(900));
        match self {
            Self::Nonsense => "nonsense".to_owned(),
            Self::Expired => ours.mint(user, session, now - Duration::from_secs(3600), ttl),
            Self::OtherKey => {
                key_ring(&tokens::generate_private_key(KeyAlgorithm::ES256)).mint(user, session, now, ttl)
            }
            Self::OtherIssuer => ours.mint_for(user, session, now, ttl, "elsewhere", "fanlight"),
            Self::OtherAudience => ours.mint_for(user, session, now, ttl, "fanlight", "elsewhere"),
            Self::OtherSubject => {
                let (head, signature) = client.access_token.rsplit_once('.').unwrap();
                let (header, claims) = head.split_once('.').unwrap();
                let claims = String::from_utf8(URL_SAFE_NO_PAD.decode(claims).unwrap()).unwrap();
                let claims = claims.replace(&client.id, &UserId::generate().to_string());
                format!("{header}.{}.{signature}", URL_SAFE_NO_PAD.encode(claims))
            }
            Self::Unsigned => {
                let claims = client.access_token.split('.').nth(1).unwrap();
                let header = URL_SAFE_NO_PAD.encode(r#"{"typ":"at+jwt","alg":"none","kid":"dev"}"#);
                format!("{header}.{claims}.")
            }
            Self::Refresh => client.refresh_token.clone(),
        }
    }
}

/// A token as the cluster's own, that lives for so long.
pub async fn mint(client: &Client, ttl: Duration) -> String {
    ring().await.mint(client.id.parse().unwrap(), SessionId::generate(), Utc::now(), ttl)
}

async fn ring() -> KeyRing {
    let key = cluster().await.state.path().join("auth.pem");
    key_ring(&std::fs::read_to_string(key).unwrap())
}

fn key_ring(private_key: &str) -> KeyRing {
    // Fails only if it is installed already.
    let _already = jsonwebtoken::crypto::aws_lc::DEFAULT_PROVIDER.install_default();
    let keys = [("dev".to_owned(), KeyAlgorithm::ES256, private_key.to_owned())];
    KeyRing::new(keys, "fanlight".to_owned(), "fanlight".to_owned()).unwrap()
}
