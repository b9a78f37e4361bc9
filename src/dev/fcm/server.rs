//! Serves the fake's routes, and ends connections the rude way when an answer says so.

use std::convert::Infallible;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::response::{IntoResponse, Response};
use http::{Request, StatusCode};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use hyper_util::server::conn::auto;
use socket2::Socket;
use tokio::net::{TcpListener, TcpStream};
use tower::ServiceExt as _;

use super::Cut;
use crate::shutdown::Shutdown;

/// Does not make the loop spin when the process has no file descriptors left.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// An answer that is not to be sent; the connection ends instead.
pub(super) fn cut(how: Cut) -> Response {
    let mut response = StatusCode::NO_CONTENT.into_response();
    response.extensions_mut().insert(how);
    response
}

pub(super) fn serve(shutdown: &Shutdown, listener: TcpListener, router: Router) {
    let tasks = shutdown.clone();
    shutdown.spawn("fake-fcm", async move {
        while let Some(accepted) = tasks.unless_stopped(listener.accept()).await {
            match accepted {
                Ok((stream, _)) => connection(&tasks, stream, router.clone()),
                Err(_) => tokio::time::sleep(ACCEPT_PAUSE).await,
            }
        }
    });
}

fn connection(shutdown: &Shutdown, stream: TcpStream, router: Router) {
    // A second handle to the socket: hyper owns the first, and a reset needs an option set on it.
    let Ok(socket) = socket2::SockRef::from(&stream).try_clone().map(Arc::new) else { return };
    let tasks = shutdown.clone();
    shutdown.spawn_light(async move {
        let service = service_fn(|request| answer(router.clone(), Arc::clone(&socket), request));
        let builder = auto::Builder::new(Tasks(tasks.clone()));
        let served = tasks.unless_stopped(builder.serve_connection(TokioIo::new(stream), service)).await;
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
        Some(Cut::Reset) => {
            // What is closed with no time to linger is reset (RST).
            socket.set_linger(Some(Duration::ZERO))?;
            Err(io::ErrorKind::ConnectionReset.into())
        }
    }
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
