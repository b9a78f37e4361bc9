//! Says no to a connection that there is no place for, without the buffers that serving one takes.

use std::sync::Arc;
use std::time::Duration;

use axum::body::to_bytes;
use axum::response::IntoResponse as _;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio::time::timeout;

use crate::edge::http::problem::Problem;
use crate::shutdown::Shutdown;

/// Refusals that are being said at once; beyond it connections are dropped without a word.
const REFUSALS_MAX: usize = 256;
/// How long a refused client has to send its request, and to read the answer.
const REFUSAL_TIMEOUT: Duration = Duration::from_secs(1);
/// Most requests are whole in their first segment.
const REQUEST_BYTES: usize = 2_048;
/// A request that goes on after its refusal is read so far: unread bytes would make TCP destroy the answer.
const DRAIN_BYTES_MAX: u64 = 256 * 1024;
const BODY_BYTES_MAX: usize = 4_096;

/// The refusals of one listener.
pub struct Refusals(Arc<Semaphore>);

impl Default for Refusals {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(REFUSALS_MAX)))
    }
}

impl Refusals {
    /// Answers the connection's first request with `problem`, and ends the connection.
    pub fn refuse(&self, stream: TcpStream, problem: Problem, shutdown: &Shutdown) {
        let Ok(permit) = Arc::clone(&self.0).try_acquire_owned() else { return };
        shutdown.spawn_light(async move {
            let answer = whole_answer(problem).await;
            // Who neither asks nor reads in time is not waited for.
            let _unheard = timeout(REFUSAL_TIMEOUT, say(stream, &answer)).await;
            drop(permit);
        });
    }
}

/// After the first bytes of the request, because an answer that comes before its question confuses clients.
async fn say(mut stream: TcpStream, answer: &[u8]) -> std::io::Result<()> {
    let mut request = [0; REQUEST_BYTES];
    if stream.read(&mut request).await? == 0 {
        return Ok(());
    }
    stream.write_all(answer).await?;
    stream.shutdown().await?;
    tokio::io::copy(&mut stream.take(DRAIN_BYTES_MAX), &mut tokio::io::sink()).await.map(drop)
}

async fn whole_answer(problem: Problem) -> Vec<u8> {
    let (head, body) = problem.into_response().into_parts();
    let body = to_bytes(body, BODY_BYTES_MAX).await.expect("the body of a problem is short, and in memory");
    let mut answer = format!("HTTP/1.1 {}\r\n", head.status).into_bytes();
    for (name, value) in &head.headers {
        answer.extend_from_slice(name.as_str().as_bytes());
        answer.extend_from_slice(b": ");
        answer.extend_from_slice(value.as_bytes());
        answer.extend_from_slice(b"\r\n");
    }
    answer.extend_from_slice(format!("content-length: {}\r\n", body.len()).as_bytes());
    answer.extend_from_slice(b"cache-control: no-store\r\nconnection: close\r\n\r\n");
    answer.extend_from_slice(&body);
    answer
}
