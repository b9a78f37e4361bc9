//! Hostile access tokens: none of them is anybody's.

use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use http::StatusCode;
use serde_json::{Value, json};

use super::{Node, Parts, Person, key_ring};
use crate::domain::clock::Clock as _;
use crate::domain::ids::{SessionId, UserId};
use crate::domain::tokens::{KeyAlgorithm, KeyRing, TokenError, generate_private_key};

/// A node that signs with ES256 and has a key of each other algorithm; the secret of HS256 is known to the
/// test, so that it can make tokens whose signature is genuine.
struct Target {
    node: Node,
    ann: Person,
    keys: Arc<KeyRing>,
    secret: String,
    pems: Vec<(String, KeyAlgorithm, String)>,
}

impl Target {
    async fn new() -> Self {
        let mut parts = Parts::new().await;
        let named = [
            ("es", KeyAlgorithm::ES256),
            ("rs", KeyAlgorithm::RS256),
            ("ed", KeyAlgorithm::EdDSA),
            ("hs", KeyAlgorithm::HS256),
        ];
        let pems: Vec<_> = named
            .into_iter()
            .map(|(kid, algorithm)| (kid.to_owned(), algorithm, generate_private_key(algorithm)))
            .collect();
        let keys = Arc::new(key_ring(pems.clone()));
        parts.keys = keys.clone();
        let node = parts.start();
        let ann = node.join("ann").await;
        Self { node, ann, keys, secret: pems[3].2.clone(), pems }
    }

    fn now(&self) -> i64 {
        self.node.clock.now().timestamp()
    }

    /// The claims of a good token.
    fn claims(&self) -> Value {
        json!({
            "iss": "fanlight", "aud": "fanlight", "sub": self.ann.id, "sid": SessionId::generate(), "jti": "x",
            "iat": self.now(), "exp": self.now() + 600,
        })
    }

    /// A good token but for these claims, with a genuine signature.
    fn with(&self, changes: &Value) -> String {
        let mut claims = self.claims();
        for (name, value) in changes.as_object().unwrap() {
            claims[name] = value.clone();
        }
        self.signed(&claims.to_string())
    }

    fn without(&self, claim: &str) -> String {
        let mut claims = self.claims();
        claims.as_object_mut().unwrap().remove(claim);
        self.signed(&claims.to_string())
    }

    fn signed(&self, claims: &str) -> String {
        hs256(
            &json!({"alg": "HS256", "typ": "at+jwt", "kid": "hs"}).to_string(),
            claims,
            self.secret.as_bytes(),
        )
    }

    /// Good claims under this header, signed with the shared secret.
    fn under(&self, header: &Value) -> String {
        hs256(&header.to_string(), &self.claims().to_string(), self.secret.as_bytes())
    }

    async fn refuses(&self, name: &str, token: &str) {
        assert!(self.node.authenticator.verify(token).is_err(), "{name} was accepted");
        let answer = self.node.get("/users/me", token).await;
        assert_eq!(answer.status, StatusCode::UNAUTHORIZED, "{name}: {}", answer.body);
    }
}

fn b64(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

fn hs256(header: &str, claims: &str, secret: &[u8]) -> String {
    let message = format!("{}.{}", b64(header), b64(claims));
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret);
    let signature = b64(hmac::sign(&key, message.as_bytes()));
    format!("{message}.{signature}")
}

#[tokio::test]
async fn a_good_token_of_each_algorithm_is_accepted() {
    let target = Target::new().await;
    target.node.get("/users/me", &target.ann.access).await.expect(StatusCode::OK);
    target.node.get("/users/me", &target.with(&json!({}))).await.expect(StatusCode::OK);
    for (kid, algorithm, pem) in &target.pems {
        let other_node = key_ring([(kid.clone(), *algorithm, pem.clone())]);
        let user = UserId(target.ann.id.parse().unwrap());
        let token =
            other_node.mint(user, SessionId::generate(), target.node.clock.now(), Duration::from_mins(1));
        target.node.get("/users/me", &token).await.expect(StatusCode::OK);
    }
}

#[tokio::test]
async fn a_token_without_a_signature_of_ours_is_refused() {
    let target = Target::new().await;
    let claims = target.claims().to_string();
    for alg in ["none", "None", "NONE", "nOnE", "", "HS384", "HS512", "RS512", "PS256", "ES384", "es256"] {
        for kid in ["es", "rs", "ed", "hs"] {
            let header = json!({"alg": alg, "typ": "at+jwt", "kid": kid}).to_string();
            target.refuses(alg, &format!("{}.{}.", b64(&header), b64(&claims))).await;
            target.refuses(alg, &format!("{}.{}", b64(&header), b64(&claims))).await;
            target.refuses(alg, &hs256(&header, &claims, b"")).await;
        }
    }
    let [header, payload, signature] = target.ann.access.split('.').collect::<Vec<_>>()[..] else {
        unreachable!()
    };
    let other = b64(claims);
    let zeros = b64([0; 64]);
    let longer = format!("{payload}AA");
    for (name, token) in [
        ("empty signature", format!("{header}.{payload}.")),
        ("all-zero ES256 signature (CVE-2022-21449)", format!("{header}.{payload}.{zeros}")),
        ("other claims", format!("{header}.{other}.{signature}")),
        ("longer claims", format!("{header}.{longer}.{signature}")),
        ("truncated signature", format!("{header}.{payload}.{}", &signature[..80])),
        ("trailing dot", format!("{}.", target.ann.access)),
        ("four parts", format!("{}.{signature}", target.ann.access)),
        ("leading dot", format!(".{}", target.ann.access)),
        ("padded base64", format!("{header}.{payload}.{signature}==")),
        ("standard base64", format!("{header}.{payload}.{}", STANDARD.encode([255; 64]))),
        ("two parts", format!("{header}.{payload}")),
        ("dots alone", "..".to_owned()),
        ("nothing", String::new()),
        ("not base64", "🔑.🔑.🔑".to_owned()),
        ("larger than 8 KiB", format!("{header}.{}.{signature}", "A".repeat(9000))),
    ] {
        target.refuses(name, &token).await;
    }
}

#[tokio::test]
async fn a_public_key_is_no_shared_secret() {
    let target = Target::new().await;
    let claims = target.claims().to_string();
    for jwk in &serde_json::to_value(target.keys.jwks()).unwrap()["keys"].as_array().unwrap().clone() {
        let kid = jwk["kid"].as_str().unwrap();
        let header = json!({"alg": "HS256", "typ": "at+jwt", "kid": kid}).to_string();
        let mut secrets = vec![jwk.to_string().into_bytes()];
        for field in ["x", "y", "n", "e"] {
            if let Some(text) = jwk[field].as_str() {
                secrets.push(text.as_bytes().to_vec());
                secrets.push(URL_SAFE_NO_PAD.decode(text).unwrap());
            }
        }
        for secret in secrets {
            target.refuses(kid, &hs256(&header, &claims, &secret)).await;
        }
        // The genuine secret of another key does not sign for this one, nor under this one's algorithm.
        target.refuses(kid, &hs256(&header, &claims, target.secret.as_bytes())).await;
        let header = json!({"alg": jwk["alg"], "typ": "at+jwt", "kid": "hs"});
        target.refuses(kid, &target.under(&header)).await;
    }
}

#[tokio::test]
async fn a_key_id_is_a_name_and_nothing_else() {
    let target = Target::new().await;
    let long = "k".repeat(5000);
    for kid in [
        "",
        "unknown",
        "../../../../dev/null",
        "/dev/null",
        "hs' OR '1'='1",
        "hs\u{0}",
        "HS",
        " hs",
        "hs ",
        &long,
    ] {
        target.refuses(kid, &target.under(&json!({"alg": "HS256", "typ": "at+jwt", "kid": kid}))).await;
    }
    for kid in [json!(null), json!(0), json!(["hs"]), json!({"hs": 1})] {
        target
            .refuses(
                "kid of another type",
                &target.under(&json!({"alg": "HS256", "typ": "at+jwt", "kid": kid})),
            )
            .await;
    }
    target.refuses("no kid", &target.under(&json!({"alg": "HS256", "typ": "at+jwt"}))).await;
    // The same id in another ring is another key.
    let foreign =
        key_ring([("es".to_owned(), KeyAlgorithm::ES256, generate_private_key(KeyAlgorithm::ES256))]);
    let user = UserId(target.ann.id.parse().unwrap());
    let now = target.node.clock.now();
    target
        .refuses("foreign key", &foreign.mint(user, SessionId::generate(), now, Duration::from_mins(1)))
        .await;
}

#[tokio::test]
async fn a_header_cannot_bring_its_own_key_or_type() {
    let target = Target::new().await;
    let base = json!({"alg": "HS256", "typ": "at+jwt", "kid": "hs"});
    for (name, value) in [
        ("typ", json!("JWT")),
        ("typ", json!("refresh+jwt")),
        ("typ", json!("AT+JWT")),
        ("typ", json!(null)),
        ("jku", json!("http://127.0.0.1:9/jwks.json")),
        ("x5u", json!("http://127.0.0.1:9/cert.pem")),
        ("x5c", json!(["MIIB"])),
        ("crit", json!(["exp"])),
        ("jwk", json!({"kty": "oct", "k": "AAAA"})),
        ("alg", json!(["HS256", "none"])),
        ("alg", json!(null)),
    ] {
        let mut header = base.clone();
        header[name] = value;
        target.refuses(name, &target.under(&header)).await;
    }
    target.refuses("no typ", &target.under(&json!({"alg": "HS256", "kid": "hs"}))).await;
    let claims = target.claims().to_string();
    let twice = r#"{"alg":"HS256","alg":"none","typ":"at+jwt","kid":"hs"}"#;
    target.refuses("alg twice", &hs256(twice, &claims, target.secret.as_bytes())).await;
}

#[tokio::test]
async fn claims_that_are_not_for_us_are_refused_though_the_signature_is_genuine() {
    let target = Target::new().await;
    let now = target.now();
    for claims in [
        json!({"iss": "somebody"}),
        json!({"iss": "Fanlight"}),
        json!({"iss": ["fanlight"]}),
        json!({"iss": null}),
        json!({"aud": "another service"}),
        json!({"aud": ["another service", "third"]}),
        json!({"aud": null}),
        json!({"sub": "ann"}),
        json!({"sub": 1}),
        json!({"sub": null}),
        json!({"sub": {"id": target.ann.id}}),
        json!({"sid": "x"}),
        json!({"sid": null}),
        json!({"exp": now}),
        json!({"exp": now - 1}),
        json!({"exp": -1}),
        json!({"exp": 0}),
        json!({"exp": (now + 600).to_string()}),
        json!({"exp": 1_800_000_600.5}),
        json!({"exp": 1e300}),
        json!({"exp": u64::MAX}),
        json!({"exp": null}),
        json!({"exp": true}),
        json!({"nbf": now + 60}),
        json!({"nbf": "now"}),
        json!({"iat": now + 3600}),
        json!({"iat": null}),
    ] {
        target.refuses(&claims.to_string(), &target.with(&claims)).await;
    }
    for claim in ["iss", "aud", "sub", "sid", "exp"] {
        target.refuses(claim, &target.without(claim)).await;
    }
    let twice = target.claims().to_string().replace('{', r#"{"sub":"00000000-0000-0000-0000-000000000000","#);
    for (name, claims) in
        [("sub twice", twice.as_str()), ("a list", "[]"), ("null", "null"), ("no JSON", "{"), ("", "")]
    {
        target.refuses(name, &target.signed(claims)).await;
    }
}

#[tokio::test]
async fn a_token_without_a_sensible_end_breaks_nothing() {
    let target = Target::new().await;
    for exp in [253_402_300_799_i64, i64::MAX] {
        let token = target.with(&json!({"exp": exp}));
        target.node.get("/users/me", &token).await.expect(StatusCode::OK);
    }
}

#[tokio::test]
async fn an_expired_token_says_so_and_one_of_a_removed_key_is_unknown() {
    let target = Target::new().await;
    target.node.clock.advance(Duration::from_secs(899));
    target.node.authenticator.verify(&target.ann.access).unwrap();
    target.node.clock.advance(Duration::from_secs(1));
    assert_eq!(target.node.authenticator.verify(&target.ann.access), Err(TokenError::Expired));

    let rotated = key_ring(target.pems[1..].to_vec());
    assert_eq!(rotated.verify(&target.ann.access, target.node.clock.now()), Err(TokenError::Invalid));
}
