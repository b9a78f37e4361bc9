//! Tokens that the cluster did not issue: honest ones with another life, and forged ones.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::Utc;
use fanlight::domain::ids::{SessionId, UserId};
use fanlight::domain::tokens::{self, KeyAlgorithm, KeyRing};

use crate::client::Client;
use crate::shared::cluster;

const ISSUER: &str = "fanlight";
const AUDIENCE: &str = "fanlight";

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
        let key = private_key().await;
        let other = |issuer, audience| key_ring(&key, issuer, audience);
        let user: UserId = client.id.parse().unwrap();
        let (session, now, ttl) = (SessionId::generate(), Utc::now(), Duration::from_secs(900));
        match self {
            Self::Nonsense => "nonsense".to_owned(),
            Self::Expired => {
                other(ISSUER, AUDIENCE).mint(user, session, now - Duration::from_secs(3600), ttl)
            }
            Self::OtherKey => {
                let key = tokens::generate_private_key(KeyAlgorithm::ES256);
                key_ring(&key, ISSUER, AUDIENCE).mint(user, session, now, ttl)
            }
            Self::OtherIssuer => other("elsewhere", "fanlight").mint(user, session, now, ttl),
            Self::OtherAudience => other("fanlight", "elsewhere").mint(user, session, now, ttl),
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

/// Another token of the client's session, as the cluster would issue it, that lives for so long.
pub async fn mint(client: &Client, ttl: Duration) -> String {
    let ring = key_ring(&private_key().await, ISSUER, AUDIENCE);
    let claims = ring.verify(&client.access_token, Utc::now()).unwrap();
    ring.mint(claims.sub, claims.sid, Utc::now(), ttl)
}

async fn private_key() -> String {
    std::fs::read_to_string(cluster().await.state.path().join("auth.pem")).unwrap()
}

fn key_ring(private_key: &str, issuer: &str, audience: &str) -> KeyRing {
    // Fails only if it is installed already.
    let _already = jsonwebtoken::crypto::aws_lc::DEFAULT_PROVIDER.install_default();
    let keys = [("dev".to_owned(), KeyAlgorithm::ES256, private_key.to_owned())];
    KeyRing::new(keys, issuer.to_owned(), audience.to_owned()).unwrap()
}
