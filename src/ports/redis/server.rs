//! Which Redis to use, and the connections to it: the one at the configured address, or the one that the
//! sentinels call master.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use bb8_redis::{RedisConnectionManager, bb8};
use redis::aio::{ConnectionManager, ConnectionManagerConfig};
use redis::io::tcp::TcpSettings;
use redis::sentinel::{Sentinel, SentinelNodeConnectionInfo};
use redis::{
    Client, ConnectionAddr, ConnectionInfo, IntoConnectionInfo as _, RedisError, TlsCertificates, TlsMode,
};
use secrecy::{ExposeSecret as _, SecretString};
use socket2::TcpKeepalive;

use super::Config;

/// Connections for work in bulk.
const ASIDE_MAX: u32 = 2;
/// Bulk work is rare: what it leaves open is closed again.
const ASIDE_IDLE: Duration = Duration::from_secs(60);
/// A Redis that acknowledges nothing this long is gone, whatever TCP believes: without it, a host that
/// vanished would hold our connections for a quarter of an hour.
const TCP_DEAD_AFTER: Duration = Duration::from_secs(5);

/// A shared connection that leaves so many commands in a row unanswered is given up: what stands between may
/// acknowledge every byte, so that TCP never notices that nobody is there any more.
const UNANSWERED_MAX: u32 = 2;

/// One Redis, and the connections to it. Cheap to clone.
#[derive(Clone)]
pub struct Server {
    pub client: Client,
    pub commands: ConnectionManager,
    pub aside: bb8::Pool<RedisConnectionManager>,
    unanswered: Arc<AtomicU32>,
}

impl Server {
    /// Does not connect yet.
    ///
    /// # Errors
    /// When the address is not one that can be connected to.
    pub fn new(info: ConnectionInfo, config: &Config) -> Result<Self, RedisError> {
        let connect_timeout = Duration::from_millis(config.connect_timeout_ms);
        let client = Client::open(info.clone())?;
        let settings = ConnectionManagerConfig::new()
            .set_connection_timeout(Some(connect_timeout))
            .set_response_timeout(Some(Duration::from_millis(config.command_timeout_ms)))
            .set_number_of_retries(0)
            .set_pipeline_buffer_size(1024);
        let commands = ConnectionManager::new_lazy_with_config(client.clone(), settings)?;
        let aside = bb8::Pool::builder()
            .max_size(ASIDE_MAX)
            .connection_timeout(connect_timeout)
            .idle_timeout(Some(ASIDE_IDLE))
            .build_unchecked(RedisConnectionManager::new(info)?);
        Ok(Self { client, commands, aside, unanswered: Arc::default() })
    }

    /// Notes whether a command on the shared connection was answered. Returns whether it is time for new
    /// connections; once, however many commands were on their way.
    pub fn is_silent(&self, answered: bool) -> bool {
        if answered {
            self.unanswered.store(0, Ordering::Relaxed);
            return false;
        }
        self.unanswered.fetch_add(1, Ordering::Relaxed) + 1 == UNANSWERED_MAX
    }

    /// Whether these are the same connections.
    pub fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.unanswered, &other.unanswered)
    }

    pub fn info(&self) -> &ConnectionInfo {
        self.client.get_connection_info()
    }

    pub fn address(&self) -> &ConnectionAddr {
        self.info().addr()
    }
}

/// Finds the server to use.
pub enum Locator {
    Fixed(ConnectionInfo),
    Sentinels {
        sentinels: Box<Sentinel>,
        master: String,
        /// How to speak to the master, wherever it is.
        login: SentinelNodeConnectionInfo,
    },
}

impl Locator {
    /// # Errors
    /// When a URL cannot be parsed.
    pub fn new(config: &Config) -> Result<Self, RedisError> {
        let server = parse(&config.url)?;
        if config.sentinels.is_empty() {
            return Ok(Self::Fixed(with_certificates(server, config)?));
        }
        let sentinels = config.sentinels.iter().map(parse).collect::<Result<Vec<_>, _>>()?;
        let mut login = SentinelNodeConnectionInfo::default()
            .set_redis_connection_info(server.redis_settings().clone())
            .set_tcp_settings(tcp_settings());
        if let ConnectionAddr::TcpTls { insecure, .. } = server.addr() {
            login = login.set_tls_mode(if *insecure { TlsMode::Insecure } else { TlsMode::Secure });
        }
        let sentinels = Box::new(Sentinel::build(sentinels)?);
        Ok(Self::Sentinels { sentinels, master: config.sentinel_master.clone(), login })
    }

    /// Asks the sentinels who the master is, and the master whether that is so.
    ///
    /// # Errors
    /// When no sentinel answers, or none knows a master that is well: there may be one soon.
    pub async fn find(&mut self) -> Result<ConnectionInfo, RedisError> {
        match self {
            Self::Fixed(server) => Ok(server.clone()),
            Self::Sentinels { sentinels, master, login } => {
                Ok(sentinels.async_master_for(master, Some(login)).await?.get_connection_info().clone())
            }
        }
    }
}

/// Lets the server prove itself by our certificates, if there are any.
fn with_certificates(server: ConnectionInfo, config: &Config) -> Result<ConnectionInfo, RedisError> {
    let Some(certificates) = config.root_certificates()? else { return Ok(server) };
    let tls = TlsCertificates { client_tls: None, root_cert: Some(certificates) };
    Ok(Client::build_with_tls(server, tls)?.get_connection_info().clone())
}

/// # Errors
/// When it is not a URL of Redis.
pub fn parse(url: &SecretString) -> Result<ConnectionInfo, RedisError> {
    Ok(url.expose_secret().into_connection_info()?.set_tcp_settings(tcp_settings()))
}

fn tcp_settings() -> TcpSettings {
    let keepalive = TcpKeepalive::new().with_time(TCP_DEAD_AFTER).with_interval(TCP_DEAD_AFTER / 5);
    TcpSettings::default().set_nodelay(true).set_keepalive(keepalive).set_user_timeout(TCP_DEAD_AFTER)
}
