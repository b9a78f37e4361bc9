//! A TCP proxy that is a bad network: slow, stalled, half-open, cut in the middle of a frame, or reset.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use fanlight::shutdown::Shutdown;
use serde::Serialize;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

const CHUNK_BYTES: usize = 16 * 1024;

/// What happens to bytes on their way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Weather {
    Clear,
    /// Every chunk takes this much longer.
    Slow(Duration),
    /// Nothing gets through; later it goes on.
    Stalled,
    /// Nothing gets through, then or ever after, and neither side hears of it.
    HalfOpen,
    /// A connection is reset after this many more bytes in one direction.
    CutAfter(usize),
}

/// One way to one server. Ends with the tasks it was started with.
pub struct Proxy {
    address: SocketAddr,
    sky: watch::Sender<Sky>,
}

#[derive(Clone, Copy)]
struct Sky {
    weather: Weather,
    /// Counts up; all connections of that moment are reset.
    resets: u64,
}

/// The connection has to be reset.
struct Torn;

impl Proxy {
    pub async fn start(upstream: SocketAddr, tasks: &Shutdown) -> anyhow::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let (sky, watched) = watch::channel(Sky { weather: Weather::Clear, resets: 0 });
        let (stop, inner) = (tasks.clone(), tasks.clone());
        tasks.spawn("proxy", async move {
            while let Some(accepted) = stop.unless_stopped(listener.accept()).await {
                let Ok((client, _)) = accepted else { continue };
                let (stop, watched) = (inner.clone(), watched.clone());
                inner.spawn_light(async move {
                    stop.unless_stopped(carry(client, upstream, watched)).await.unwrap_or_default();
                });
            }
        });
        Ok(Self { address, sky })
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    pub fn set(&self, weather: Weather) {
        self.sky.send_modify(|sky| sky.weather = weather);
    }

    /// Resets all connections; new ones are welcome.
    pub fn reset(&self) {
        self.sky.send_modify(|sky| sky.resets += 1);
    }
}

async fn carry(client: TcpStream, upstream: SocketAddr, mut sky: watch::Receiver<Sky>) {
    sky.mark_unchanged();
    let Ok(server) = TcpStream::connect(upstream).await else {
        // A server that is not there refuses.
        let _closed = client.set_zero_linger();
        return;
    };
    // Neither side may be gone already: the first read says so.
    let _gone = (client.set_nodelay(true), server.set_nodelay(true));
    let (client_in, mut client_out) = client.into_split();
    let (server_in, mut server_out) = server.into_split();
    let carried = tokio::try_join!(
        pump(client_in, &mut server_out, sky.clone()),
        pump(server_in, &mut client_out, sky),
    );
    if carried.is_err() {
        for side in [&client_out, &server_out] {
            // An error means that it is closed already.
            let _closed = side.as_ref().set_zero_linger();
        }
        // Dropped, they would say a polite goodbye first.
        client_out.forget();
        server_out.forget();
    }
}

/// Carries one direction to its end.
async fn pump(
    mut from: OwnedReadHalf,
    to: &mut OwnedWriteHalf,
    mut sky: watch::Receiver<Sky>,
) -> Result<(), Torn> {
    let resets = sky.borrow().resets;
    let mut buffer = vec![0; CHUNK_BYTES];
    let (mut lost, mut carried) = (false, 0);
    loop {
        let now = *sky.borrow_and_update();
        if now.resets != resets {
            return Err(Torn);
        }
        match now.weather {
            Weather::HalfOpen => lost = true,
            Weather::CutAfter(_) => {}
            _ => carried = 0,
        }
        let stalled = now.weather == Weather::Stalled && !lost;
        // Cancel-safe: a read takes nothing unless it returns.
        let length = tokio::select! {
            biased;
            changed = sky.changed() => match changed {
                Ok(()) => continue,
                Err(_) => return Ok(()),
            },
            read = from.read(&mut buffer), if !stalled => read.map_err(|_| Torn),
        };
        match length {
            // Who talks to nobody is not told, and tells nobody.
            Ok(0) | Err(Torn) if lost => return Ok(()),
            Ok(0) => return to.shutdown().await.map_err(|_| Torn),
            Err(Torn) => return Err(Torn),
            Ok(_) if lost => {}
            Ok(length) => {
                if let Weather::Slow(delay) = now.weather {
                    tokio::time::sleep(delay).await;
                }
                let allowed = match now.weather {
                    Weather::CutAfter(bytes) => length.min(bytes.saturating_sub(carried)),
                    _ => length,
                };
                to.write_all(&buffer[..allowed]).await.map_err(|_| Torn)?;
                carried += allowed;
                if allowed < length {
                    return Err(Torn);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Wire {
        proxy: Proxy,
        client: TcpStream,
        server: TcpStream,
        tasks: Shutdown,
    }

    async fn wire() -> Wire {
        let tasks = Shutdown::new();
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let proxy = Proxy::start(listener.local_addr().unwrap(), &tasks).await.unwrap();
        let client = TcpStream::connect(proxy.address()).await.unwrap();
        let (server, _) = listener.accept().await.unwrap();
        Wire { proxy, client, server, tasks }
    }

    async fn send_and_read(wire: &mut Wire, bytes: &[u8]) -> std::io::Result<Vec<u8>> {
        wire.server.write_all(bytes).await.unwrap();
        let mut got = vec![0; bytes.len()];
        wire.client.read_exact(&mut got).await.map(|_| got)
    }

    #[tokio::test]
    async fn what_was_stalled_goes_on() {
        let mut wire = wire().await;
        wire.proxy.set(Weather::Stalled);
        wire.server.write_all(b"later").await.unwrap();
        let mut got = [0; 5];
        let early = tokio::time::timeout(Duration::from_millis(100), wire.client.read(&mut got)).await;
        assert!(early.is_err());
        wire.proxy.set(Weather::Clear);
        wire.client.read_exact(&mut got).await.unwrap();
        assert_eq!(&got, b"later");
        wire.tasks.stop();
    }

    #[tokio::test]
    async fn a_half_open_connection_stays_dead_and_a_new_one_lives() {
        let mut wire = wire().await;
        assert_eq!(send_and_read(&mut wire, b"hello").await.unwrap(), b"hello");
        wire.proxy.set(Weather::HalfOpen);
        // Until both pumps have seen the weather.
        tokio::time::sleep(Duration::from_millis(50)).await;
        wire.proxy.set(Weather::Clear);
        wire.server.write_all(b"lost").await.unwrap();
        let mut got = [0; 4];
        let silent = tokio::time::timeout(Duration::from_millis(200), wire.client.read(&mut got)).await;
        assert!(silent.is_err(), "{silent:?}");
        wire.tasks.stop();
    }

    #[tokio::test]
    async fn a_cut_comes_at_its_byte_and_a_reset_at_once() {
        let mut cut = wire().await;
        cut.proxy.set(Weather::CutAfter(3));
        tokio::time::sleep(Duration::from_millis(50)).await;
        cut.server.write_all(b"12345").await.unwrap();
        let mut got = Vec::new();
        cut.client.read_to_end(&mut got).await.unwrap_err();
        assert!(got.len() <= 3, "{got:?}");

        let mut reset = wire().await;
        assert_eq!(send_and_read(&mut reset, b"hello").await.unwrap(), b"hello");
        reset.proxy.reset();
        reset.client.read_to_end(&mut got).await.unwrap_err();
        cut.tasks.stop();
        reset.tasks.stop();
    }
}
