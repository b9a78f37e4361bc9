//! Accepts connections and serves requests on them, one connection at a time.
//!
//! Nothing of the HTTP stage outlives an upgrade: the raw stream goes to the socket, hyper's buffers are
//! dropped. The number of connections in the HTTP stage is bounded, in all and per address. A burst waits in
//! the kernel's backlog, where it costs nothing; when no place comes free for a while, it is answered 503.

use std::net::{IpAddr, SocketAddr};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, bail};
use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use ipnet::IpNet;
use serde::Deserialize;
use socket2::{Domain, Protocol, SockRef, Socket, Type};
use tokio::net::{TcpListener, TcpStream};
use tower::{Service as _, service_fn};

use crate::edge::http::addresses::TrustedProxies;
use crate::edge::http::entrance::Entrance;
use crate::edge::http::extract::PeerAddress;
use crate::edge::http::refusal::Refusals;
use crate::shutdown::Shutdown;

const BACKLOG: i32 = 4096;
const HEADER_BYTES_MAX: usize = 16 * 1024;
const HEADERS_MAX: usize = 64;
/// A peer that acknowledges nothing this long is gone, whatever TCP believes (RFC 5482).
const TCP_USER_TIMEOUT: Duration = Duration::from_secs(20);
/// What the kernel holds for a peer beyond what is on its way: the rest of its queue is ours to count and to bound.
const UNSENT_BYTES_MAX: u32 = 64 * 1024;
/// After an error such as "too many open files", which a busy loop would only make worse.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    pub listen: SocketAddr,
    pub internal_listen: SocketAddr,
    pub allowed_origins: Vec<String>,
    /// Proxies whose `X-Forwarded-For` is believed: addresses or CIDR blocks.
    pub trusted_proxies: Vec<String>,
    /// Connections in their HTTP stage.
    pub handshakes_max: usize,
    /// Of these, how many may come from one address that is no trusted proxy.
    pub handshakes_per_address_max: usize,
    pub header_timeout_ms: u64,
    pub request_timeout_ms: u64,
    pub body_bytes_max: usize,
    pub drain_notice_ms: u64,
    pub drain_ms: u64,
    pub stop_timeout_ms: u64,
}

impl Config {
    /// # Errors
    /// One sentence that names the key and what is wrong with it.
    pub fn check(&self) -> anyhow::Result<()> {
        if self.handshakes_max == 0 || self.handshakes_per_address_max == 0 || self.body_bytes_max == 0 {
            bail!(
                "server.handshakes_max, server.handshakes_per_address_max and server.body_bytes_max must be at least 1"
            );
        }
        if self.header_timeout_ms == 0 || self.request_timeout_ms == 0 {
            bail!("server.header_timeout_ms and server.request_timeout_ms must be at least 1");
        }
        self.proxies().map(drop)
    }

    /// # Errors
    /// When an entry is neither an address nor a CIDR block.
    pub fn proxies(&self) -> anyhow::Result<TrustedProxies> {
        let parse = |text: &String| {
            let network = text.parse::<IpNet>().or_else(|_| text.parse::<IpAddr>().map(IpNet::from));
            network.with_context(|| {
                format!("server.trusted_proxies: `{text}` is neither an address nor a CIDR block")
            })
        };
        self.trusted_proxies.iter().map(parse).collect()
    }
}

/// Opens a listening socket.
///
/// # Errors
/// When the address is taken or not ours.
pub fn listen(address: SocketAddr) -> anyhow::Result<TcpListener> {
    let open = || {
        let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
        socket.set_reuse_address(true)?;
        socket.set_nonblocking(true)?;
        socket.bind(&address.into())?;
        socket.listen(BACKLOG)?;
        TcpListener::from_std(socket.into())
    };
    open().with_context(|| format!("cannot listen on {address}"))
}

/// One listener and what it serves.
pub struct Server {
    pub listener: TcpListener,
    pub router: Router,
    pub proxies: TrustedProxies,
    pub header_timeout: Duration,
    pub connections_max: usize,
    pub connections_per_address_max: usize,
}

impl Server {
    /// Accepts until the process stops; connections end after the request they are in.
    pub async fn run(self, shutdown: Shutdown) {
        let mut entrance = Entrance::new(self.connections_max, self.connections_per_address_max);
        let refusals = Refusals::default();
        let proxies = Arc::new(self.proxies);
        loop {
            let next = async {
                let permit = entrance.permit().await;
                (self.listener.accept().await, permit)
            };
            // Cancel-safe: a connection that was not accepted stays in the backlog.
            let Some((accepted, permit)) = shutdown.unless_stopped(next).await else { return };
            let (stream, peer) = match accepted {
                Ok((stream, peer)) => (stream, peer.ip()),
                Err(error) => {
                    tracing::warn!(%error, "cannot accept a connection");
                    metrics::counter!("fanlight_accept_failures_total").increment(1);
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                    continue;
                }
            };
            let place = match entrance.place(permit, peer, &proxies) {
                Ok(place) => place,
                Err(problem) => {
                    refusals.refuse(stream, problem, &shutdown);
                    continue;
                }
            };
            let connection = serve(
                stream,
                peer,
                self.router.clone(),
                Arc::clone(&proxies),
                self.header_timeout,
                shutdown.clone(),
            );
            shutdown.spawn_light(async move {
                connection.await;
                drop(place);
            });
        }
    }
}

/// Makes sure that a peer that is gone is noticed, that one that does not read takes little of the kernel's
/// memory, and that small frames go out at once.
fn tune(stream: &TcpStream) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    let socket = SockRef::from(stream);
    socket.set_tcp_notsent_lowat(UNSENT_BYTES_MAX)?;
    socket.set_tcp_user_timeout(Some(TCP_USER_TIMEOUT))
}

async fn serve(
    stream: TcpStream,
    peer: IpAddr,
    router: Router,
    proxies: Arc<TrustedProxies>,
    header_timeout: Duration,
    shutdown: Shutdown,
) {
    // It fails only for a peer that has gone already.
    if tune(&stream).is_err() {
        return;
    }
    let service = service_fn(move |request: hyper::Request<Incoming>| {
        let mut request = request.map(Body::new);
        let client = proxies.client(peer, request.headers());
        request.extensions_mut().insert(PeerAddress(client));
        normalise(&mut request);
        router.clone().call(request)
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(header_timeout)
        .max_buf_size(HEADER_BYTES_MAX)
        .max_headers(HEADERS_MAX)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(service))
        .with_upgrades();
    let mut connection = pin!(connection);
    // Cancel-safe: the connection is kept, and asked to end after its current request.
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = shutdown.stopped() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        // The client's doing: a broken request, a timeout, a reset. Counted, because many at once mean something.
        tracing::debug!(%error, "an HTTP connection ended early");
        metrics::counter!("fanlight_http_connection_errors_total").increment(1);
    }
}

/// The same API is served at `/` and under `/api/v1`, and a trailing slash makes no difference.
fn normalise(request: &mut Request) {
    let uri = request.uri();
    let path = uri.path();
    let mut plain =
        path.strip_prefix("/api/v1").filter(|rest| rest.is_empty() || rest.starts_with('/')).unwrap_or(path);
    if plain.len() > 1 {
        plain = plain.strip_suffix('/').unwrap_or(plain);
    }
    let plain = if plain.is_empty() { "/" } else { plain };
    if plain == path {
        return;
    }
    let target = uri.query().map_or_else(|| plain.to_owned(), |query| format!("{plain}?{query}"));
    if let Ok(target) = target.parse() {
        *request.uri_mut() = target;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_prefix_and_a_trailing_slash_make_no_difference() {
        for (asked, served) in [
            ("/", "/"),
            ("/me", "/me"),
            ("/me/", "/me"),
            ("/api/v1", "/"),
            ("/api/v1/", "/"),
            ("/api/v1/users/?query=a%2Fb", "/users?query=a%2Fb"),
            ("/api/v10/me", "/api/v10/me"),
        ] {
            let mut request = Request::builder().uri(asked).body(Body::empty()).unwrap();
            normalise(&mut request);
            assert_eq!(request.uri(), served);
        }
    }

    #[tokio::test]
    async fn the_kernel_notices_who_vanishes_and_holds_little_for_who_does_not_read() {
        let listener = listen(([127, 0, 0, 1], 0).into()).unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (accepted, _) = listener.accept().await.unwrap();

        tune(&accepted).unwrap();

        assert_eq!(SockRef::from(&accepted).tcp_user_timeout().unwrap(), Some(TCP_USER_TIMEOUT));
        assert_eq!(SockRef::from(&accepted).tcp_notsent_lowat().unwrap(), UNSENT_BYTES_MAX);
        assert!(accepted.nodelay().unwrap());
        drop(client);
    }
}
