//! Serves the fake's routes, and ends connections the rude way when an answer says so.

use std::convert::Infallible;
use std::future;
use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::response::Response;
use futures_util::{StreamExt as _, stream};
use http::Request;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use hyper_util::server::conn::auto;
use socket2::Socket;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tower::ServiceExt as _;

use super::Cut;
use crate::shutdown::Shutdown;

/// Does not make the loop spin when the process has no file descriptors left.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Between the two halves of an answer of which only the first is sent.
const MIDWAY_PAUSE: Duration = Duration::from_millis(50);

/// An answer that is not to be sent, or not all of it; the connection ends instead.
pub(super) fn cut(how: Cut, mut response: Response) -> Response {
    response.extensions_mut().insert(how);
    response
}

pub(super) fn serve(shutdown: &Shutdown, listener: TcpListener, router: Router, goaway: watch::Receiver<()>) {
    let tasks = shutdown.clone();
    shutdown.spawn("fake-fcm", async move {
        while let Some(accepted) = tasks.unless_stopped(listener.accept()).await {
            match accepted {
                Ok((stream, _)) => {
                    let mut goaway = goaway.clone();
                    // What was said before this connection is not meant for it.
                    goaway.mark_unchanged();
                    connection(&tasks, stream, router.clone(), goaway);
                }
                Err(_) => tokio::time::sleep(ACCEPT_PAUSE).await,
            }
        }
    });
}

fn connection(shutdown: &Shutdown, stream: TcpStream, router: Router, mut goaway: watch::Receiver<()>) {
    // A second handle to the socket: hyper owns the first, and a reset needs an option set on it.
    let Ok(socket) = socket2::SockRef::from(&stream).try_clone().map(Arc::new) else { return };
    let tasks = shutdown.clone();
    shutdown.spawn_light(async move {
        let service = service_fn(|request| answer(router.clone(), Arc::clone(&socket), request));
        let builder = auto::Builder::new(Tasks(tasks.clone()));
        let serving = async {
            let mut connection = pin!(builder.serve_connection(TokioIo::new(stream), service));
            // Cancel-safe: the connection is kept and asked again.
            tokio::select! {
                ended = connection.as_mut() => return ended,
                _ = goaway.changed() => connection.as_mut().graceful_shutdown(),
            }
            connection.await
        };
        let served = tasks.unless_stopped(serving).await;
        if let Some(Err(error)) = served {
            tracing::debug!(%error, "a connection to the fake FCM ended");
        }
    });
}

async fn answer(router: Router, socket: Arc<Socket>, request: Request<Incoming>) -> io::Result<Response> {
    let Ok::<_, Infallible>(response) = router.oneshot(request.map(Body::new)).await;
    match response.extensions().get::<Cut>() {
        None => Ok(response),
        Some(Cut::Close) => Err(io::ErrorKind::ConnectionAborted.into()),
        Some(Cut::Reset) => Err(reset(&socket)),
        Some(Cut::Midway) => {
            let (parts, body) = response.into_parts();
            let bytes = axum::body::to_bytes(body, usize::MAX).await.map_err(io::Error::other)?;
            let begun = stream::once(future::ready(Ok(bytes.slice(..bytes.len() / 2))));
            let cut = stream::once(async move {
                // What was begun goes out first.
                tokio::time::sleep(MIDWAY_PAUSE).await;
                Err(reset(&socket))
            });
            Ok(Response::from_parts(parts, Body::from_stream(begun.chain(cut))))
        }
    }
}

/// What is closed with no time to linger is reset (RST).
fn reset(socket: &Socket) -> io::Error {
    socket.set_linger(Some(Duration::ZERO)).err().unwrap_or_else(|| io::ErrorKind::ConnectionReset.into())
}

/// Lets hyper start the tasks of an HTTP/2 connection as ours.
#[derive(Clone)]
struct Tasks(Shutdown);

impl<F> hyper::rt::Executor<F> for Tasks
where
    F: Future<Output = ()> + Send + 'static,
{
    fn execute(&self, task: F) {
        self.0.spawn_light(task);
    }
}
