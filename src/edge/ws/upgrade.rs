//! From an HTTP request to a WebSocket connection (RFC 6455 §4.2).
//!
//! A bad or missing token is accepted here and closed with a reason afterwards, because a browser shows its
//! page nothing of a refused handshake.

use std::net::IpAddr;
use std::str::FromStr;
use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::Response;
use axum::routing::any;
use axum::{Extension, Router};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::header::{
    CONNECTION, ORIGIN, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_PROTOCOL,
    SEC_WEBSOCKET_VERSION, UPGRADE,
};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Version};
use hyper::upgrade::{OnUpgrade, Parts};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use crate::db::EpochId;
use crate::delivery::outbox::Cursor;
use crate::edge::auth::{Authenticator, bearer_token};
use crate::edge::http::PeerAddress;
use crate::edge::http::problem::{ErrorCode, Problem};
use crate::edge::ws::admission::{Admission, Refusal};
use crate::edge::ws::parameters::{EPOCH_HEADER, Parameters, SINCE_HEADER};
use crate::edge::ws::protocol::SUBPROTOCOL;
use crate::edge::ws::session::Receipt;
use crate::edge::ws::sockets::{Credentials, Hello, Sockets, device_name};

/// The socket's address.
pub const PATH: &str = "/ws";
const TOKEN_PROTOCOL_PREFIX: &str = "bearer.";
/// RFC 6455 §1.3.
const ACCEPT_GUID: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// The socket's one route.
pub fn routes(sockets: Arc<Sockets>) -> Router {
    Router::new().route(PATH, any(handshake)).with_state(sockets)
}

/// Answers 101 and hands the connection over, or refuses.
///
/// # Errors
/// 400 for a handshake that is not one, 403 for a foreign origin, 405, 426, 429 when the address has too many
/// connections, and 503 when the node takes nobody now.
pub async fn handshake(
    State(sockets): State<Arc<Sockets>>,
    Extension(authenticator): Extension<Arc<Authenticator>>,
    PeerAddress(address): PeerAddress,
    mut request: Request,
) -> Result<Response, Problem> {
    let result = prepare(&sockets, &authenticator, address, &request);
    let outcome = match &result {
        Ok(_) => "accepted",
        Err(Refused::Handshake(problem)) => problem.code().as_str(),
        Err(Refused::Admission(refusal)) => refusal.as_str(),
    };
    metrics::counter!("fanlight_handshakes_total", "outcome" => outcome).increment(1);
    let (response, hello, admission) = result?;

    let upgrade = hyper::upgrade::on(&mut request);
    // Nothing of the HTTP stage outlives the handshake: a kept header pins its whole buffer.
    drop(request);
    let shutdown = sockets.parts.shutdown.clone();
    shutdown.spawn_light(async move {
        if let Some((stream, leftover)) = taken_over(upgrade).await {
            sockets.serve(stream, leftover, hello, admission).await;
        }
    });
    Ok(response)
}

/// The connection itself, once the 101 is written, and what HTTP had read beyond the handshake.
pub async fn taken_over(upgrade: OnUpgrade) -> Option<(TcpStream, Bytes)> {
    let upgraded = upgrade.await.ok()?;
    match upgraded.downcast::<TokioIo<TcpStream>>() {
        // A copy: even nothing, as hyper hands it over, would keep hyper's whole buffer.
        Ok(Parts { io, read_buf, .. }) => Some((io.into_inner(), Bytes::copy_from_slice(&read_buf))),
        Err(_) => {
            tracing::error!("an upgraded connection is not the TCP stream that was accepted");
            None
        }
    }
}

/// Why a handshake is not taken.
enum Refused {
    /// It is not a good one.
    Handshake(Problem),
    /// It is, but there is no place.
    Admission(Refusal),
}

impl From<Problem> for Refused {
    fn from(problem: Problem) -> Self {
        Self::Handshake(problem)
    }
}

impl From<ErrorCode> for Refused {
    fn from(code: ErrorCode) -> Self {
        Self::Handshake(code.into())
    }
}

impl From<Refusal> for Refused {
    fn from(refusal: Refusal) -> Self {
        Self::Admission(refusal)
    }
}

impl From<Refused> for Problem {
    fn from(refused: Refused) -> Self {
        match refused {
            Refused::Handshake(problem) => problem,
            Refused::Admission(refusal) => refusal.into(),
        }
    }
}

fn prepare(
    sockets: &Sockets,
    authenticator: &Authenticator,
    address: IpAddr,
    request: &Request,
) -> Result<(Response, Hello, Admission), Refused> {
    let headers = request.headers();
    let mut response = accept(request)?;
    if headers.contains_key(ORIGIN) && !authenticator.origins().allows_headers(headers) {
        return Err(ErrorCode::ForeignOrigin.into());
    }
    let parameters = axum::extract::Query::<Parameters>::try_from_uri(request.uri())
        .map_err(|error| Problem::new(ErrorCode::BadParameter).detail(error.body_text()))?
        .0;
    let seen = Cursor {
        since: either(headers, SINCE_HEADER, parameters.since.as_deref())
            .map_err(|()| refusal("`since` must be a whole number"))?,
        epoch: either(headers, EPOCH_HEADER, parameters.epoch.as_deref())
            .map_err(|()| refusal("`epoch` must be what `WELCOME` said"))?
            .map(EpochId),
    };
    let device = parameters.device_id.map(device).transpose()?;
    // Before the token is looked at: a signature takes more time than all the rest.
    let mut admission = sockets.door.admit(address)?;
    let offered = offered_protocols(headers);
    let speaks_v1 = offered.contains(&SUBPROTOCOL);
    let credentials = credentials(authenticator, headers, &offered, parameters.token.as_deref(), speaks_v1);
    if !matches!(credentials, Credentials::Valid(_)) {
        admission = admission.distrust(&sockets.door)?;
    }
    let receipt = if speaks_v1 { Receipt::Ack } else { Receipt::Pong };
    if speaks_v1 {
        response.headers_mut().insert(SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(SUBPROTOCOL));
    }
    tracing::debug!(node.id = %sockets.parts.node, "handshake");
    Ok((response, Hello { credentials, receipt, seen, device }, admission))
}

/// The 101 that accepts a handshake, with no extension and no sub-protocol.
///
/// # Errors
/// 400, 405 or 426 for a handshake that is not one.
pub fn accept(request: &Request) -> Result<Response, Problem> {
    let key = check(request.method(), request.version(), request.headers())?;
    let response = Response::builder()
        .status(StatusCode::SWITCHING_PROTOCOLS)
        .header(UPGRADE, "websocket")
        .header(CONNECTION, "Upgrade")
        .header(SEC_WEBSOCKET_ACCEPT, key)
        .body(Body::empty());
    Ok(response.expect("constant headers and base64 are valid"))
}

/// Checks the handshake, and returns the proof that we understood it.
fn check(method: &Method, version: Version, headers: &HeaderMap) -> Result<String, Problem> {
    if method != Method::GET {
        return Err(ErrorCode::MethodNotAllowed.into());
    }
    if !has_token(headers, &UPGRADE, "websocket") {
        return Err(ErrorCode::UpgradeRequired.into());
    }
    let bad = |detail: &str| Problem::new(ErrorCode::BadUpgrade).detail(detail);
    if version != Version::HTTP_11 {
        return Err(bad("A WebSocket handshake needs HTTP/1.1"));
    }
    if !has_token(headers, &CONNECTION, "upgrade") {
        return Err(bad("`Connection` must contain `Upgrade`"));
    }
    if headers.get(SEC_WEBSOCKET_VERSION).is_none_or(|version| version != "13") {
        return Err(ErrorCode::UpgradeRequired.into());
    }
    let mut keys = headers.get_all(SEC_WEBSOCKET_KEY).iter();
    let (Some(key), None) = (keys.next(), keys.next()) else {
        return Err(bad("`Sec-WebSocket-Key` must be there once"));
    };
    if STANDARD.decode(key).map_or(0, |key| key.len()) != 16 {
        return Err(bad("`Sec-WebSocket-Key` must be 16 bytes in base64"));
    }
    Ok(accept_key(key.as_bytes()))
}

fn accept_key(key: &[u8]) -> String {
    use aws_lc_rs::digest::{Context, SHA1_FOR_LEGACY_USE_ONLY};

    let mut digest = Context::new(&SHA1_FOR_LEGACY_USE_ONLY);
    digest.update(key);
    digest.update(ACCEPT_GUID);
    STANDARD.encode(digest.finish())
}

/// The comma-separated items of all headers of this name.
fn items<'a>(headers: &'a HeaderMap, name: &HeaderName) -> impl Iterator<Item = &'a str> {
    let values = headers.get_all(name).iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).map(str::trim)
}

fn has_token(headers: &HeaderMap, name: &HeaderName, token: &str) -> bool {
    items(headers, name).any(|item| item.eq_ignore_ascii_case(token))
}

fn offered_protocols(headers: &HeaderMap) -> Vec<&str> {
    items(headers, &SEC_WEBSOCKET_PROTOCOL).collect()
}

fn credentials(
    authenticator: &Authenticator,
    headers: &HeaderMap,
    offered: &[&str],
    in_query: Option<&str>,
    speaks_v1: bool,
) -> Credentials {
    let in_protocol = || offered.iter().find_map(|protocol| protocol.strip_prefix(TOKEN_PROTOCOL_PREFIX));
    let token = bearer_token(headers).or_else(in_protocol).or(in_query).filter(|token| !token.is_empty());
    match token.map(|token| authenticator.verify(token)) {
        Some(Ok(claims)) => Credentials::Valid(claims),
        Some(Err(_)) => Credentials::Invalid,
        None if speaks_v1 => Credentials::Awaited,
        None => Credentials::Missing,
    }
}

fn device(name: String) -> Result<String, Problem> {
    device_name(name).ok_or_else(|| refusal("`deviceId` must have 1 to 191 characters"))
}

fn refusal(detail: &str) -> Problem {
    Problem::new(ErrorCode::BadParameter).detail(detail)
}

/// What the query says, or else the header.
fn either<T: FromStr>(headers: &HeaderMap, name: &str, in_query: Option<&str>) -> Result<Option<T>, ()> {
    let in_header = headers.get(name).and_then(|value| value.to_str().ok());
    in_query.or(in_header).map(str::parse).transpose().map_err(|_| ())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::io::AsyncWriteExt as _;

    use super::*;
    use crate::edge::http::addresses::TrustedProxies;
    use crate::edge::http::server::{Server, listen};
    use crate::shutdown::Shutdown;

    #[test]
    fn the_accept_key_is_that_of_the_rfc() {
        assert_eq!(accept_key(b"dGhlIHNhbXBsZSBub25jZQ=="), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    }

    #[tokio::test]
    async fn a_connection_that_is_taken_over_does_not_keep_the_buffer_of_http() {
        const HANDSHAKE: &str = "GET / HTTP/1.1\r\nHost: h\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\
            Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\nmore";
        let (shutdown, (sender, mut leftovers)) = (Shutdown::new(), tokio::sync::mpsc::channel(1));
        let take_over = async move |mut request: Request| {
            let response = accept(&request).unwrap();
            let upgrade = hyper::upgrade::on(&mut request);
            drop(request);
            Shutdown::new().spawn_light(async move {
                let (_stream, leftover) = taken_over(upgrade).await.unwrap();
                sender.send(leftover).await.unwrap();
            });
            response
        };
        let listener = listen(([127, 0, 0, 1], 0).into()).unwrap();
        let mut client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let server = Server {
            listener,
            router: Router::new().fallback(any(take_over)),
            proxies: TrustedProxies::default(),
            header_timeout: Duration::from_secs(20),
            connections_max: 1,
            connections_per_address_max: 1,
        };
        shutdown.spawn("test.server", server.run(shutdown.clone()));
        client.write_all(HANDSHAKE.as_bytes()).await.unwrap();

        let leftover = leftovers.recv().await.unwrap().try_into_mut().unwrap();

        assert_eq!((&leftover[..], leftover.capacity()), (&b"more"[..], 4));
        shutdown.stop();
    }

    #[test]
    fn a_handshake_that_is_not_one_is_refused() {
        let good = [
            (UPGRADE, "WebSocket"),
            (CONNECTION, "keep-alive, Upgrade"),
            (SEC_WEBSOCKET_VERSION, "13"),
            (SEC_WEBSOCKET_KEY, "dGhlIHNhbXBsZSBub25jZQ=="),
        ];
        let with = |name: &HeaderName, value: Option<&'static str>| {
            let mut headers: HeaderMap =
                good.iter().map(|(name, value)| (name.clone(), HeaderValue::from_static(value))).collect();
            headers.remove(name);
            headers.extend(value.map(|value| (name.clone(), HeaderValue::from_static(value))));
            check(&Method::GET, Version::HTTP_11, &headers).map_err(|problem| problem.code())
        };
        assert!(with(&ORIGIN, None).is_ok());
        assert_eq!(with(&UPGRADE, None), Err(ErrorCode::UpgradeRequired));
        assert_eq!(with(&UPGRADE, Some("h2c")), Err(ErrorCode::UpgradeRequired));
        assert_eq!(with(&CONNECTION, Some("close")), Err(ErrorCode::BadUpgrade));
        assert_eq!(with(&SEC_WEBSOCKET_VERSION, Some("8")), Err(ErrorCode::UpgradeRequired));
        for key in [None, Some(""), Some("c2hvcnQ="), Some("not base64!"), Some("AAAAAAAAAAAAAAAAAAAAAAAA")] {
            assert_eq!(with(&SEC_WEBSOCKET_KEY, key), Err(ErrorCode::BadUpgrade), "{key:?}");
        }
        let mut headers = HeaderMap::new();
        headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
        assert!(check(&Method::POST, Version::HTTP_11, &headers).is_err());
        assert!(check(&Method::GET, Version::HTTP_10, &headers).is_err());
    }
}
