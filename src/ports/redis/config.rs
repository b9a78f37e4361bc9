//! The settings of the connection to Redis.

use std::path::PathBuf;

use anyhow::{Context as _, bail, ensure};
use redis::ConnectionAddr;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use secrecy::SecretString;
use serde::Deserialize;

use super::server::parse;

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// `redis://[user:password@]host:port/db`, or `rediss://` for TLS. With sentinels, host and port are
    /// those that they name.
    pub url: SecretString,
    /// Certificates in PEM form, instead of the system's: with `rediss://` Redis must show one that these signed.
    pub ca: Option<String>,
    /// Names a file that holds them.
    pub ca_file: Option<PathBuf>,
    /// `redis://[user:password@]host:26379` of each sentinel; empty without Sentinel.
    pub sentinels: Vec<SecretString>,
    /// What the sentinels call the master.
    pub sentinel_master: String,
    /// Begins every key and channel, so that several clusters can share one Redis.
    pub key_prefix: String,
    /// How long one command may take.
    pub command_timeout_ms: u64,
    /// How long connecting may take.
    pub connect_timeout_ms: u64,
    /// After a failed command, how long others fail at once instead of waiting.
    pub breaker_ms: u64,
    /// How long a node's presence stays valid without a sign of life.
    pub lease_ms: u64,
    /// After Redis came back empty or hung, or a node was lost, how long "nobody is connected" is not believed.
    pub warmup_ms: u64,
}

impl Config {
    /// # Errors
    /// One sentence that names the key and what is wrong with it.
    pub fn check(&self) -> anyhow::Result<()> {
        if self.key_prefix.is_empty() || self.key_prefix.contains([':', ' ', '\n']) {
            bail!("redis.key_prefix must be a word without colons and spaces");
        }
        check_servers(self)?;
        check_certificates(self)?;
        if self.command_timeout_ms == 0 || self.connect_timeout_ms == 0 {
            bail!("redis.command_timeout_ms and redis.connect_timeout_ms must be at least 1");
        }
        if self.lease_ms < 3_000 {
            bail!("redis.lease_ms must be at least 3000: a lease is renewed once a second, and may miss one");
        }
        if self.warmup_ms < 2_000 {
            bail!("redis.warmup_ms must be at least 2000: the nodes need it to say again who is connected");
        }
        Ok(())
    }

    /// The certificates that sign Redis' own; `None`: the system's.
    pub(super) fn root_certificates(&self) -> std::io::Result<Option<Vec<u8>>> {
        match (&self.ca, &self.ca_file) {
            (Some(text), _) => Ok(Some(text.clone().into_bytes())),
            (None, Some(path)) => std::fs::read(path).map(Some),
            (None, None) => Ok(None),
        }
    }

    /// How long the nodes' signs of life may stop until Redis counts as having hung.
    #[must_use]
    pub fn stall_ms(&self) -> u64 {
        self.lease_ms / 2
    }
}

/// Refuses addresses that contradict each other.
fn check_servers(config: &Config) -> anyhow::Result<()> {
    // What is wrong with a URL is not repeated: it may hold a password.
    let Ok(server) = parse(&config.url) else { bail!("redis.url is not a URL of Redis") };
    if config.sentinels.is_empty() {
        return Ok(());
    }
    if config.sentinel_master.is_empty() || config.sentinel_master.contains(char::is_whitespace) {
        bail!("redis.sentinel_master must be the name that redis.sentinels have for the master");
    }
    if matches!(server.addr(), ConnectionAddr::Unix(_)) {
        bail!("redis.url must not be a unix socket: redis.sentinels name the master's host");
    }
    let mut known: Vec<ConnectionAddr> = Vec::new();
    for url in &config.sentinels {
        let Ok(sentinel) = parse(url) else { bail!("redis.sentinels holds what is not a URL of Redis") };
        if sentinel.redis_settings().db() != 0 {
            bail!(
                "redis.sentinels must not name a database: a sentinel has none, redis.url says which one to use"
            );
        }
        if known.contains(sentinel.addr()) {
            bail!("redis.sentinels names {} twice", sentinel.addr());
        }
        known.push(sentinel.addr().clone());
    }
    Ok(())
}

fn check_certificates(config: &Config) -> anyhow::Result<()> {
    ensure!(config.ca.is_none() || config.ca_file.is_none(), "redis.ca and redis.ca_file are both set");
    let certificates = config.root_certificates().context("redis.ca_file cannot be read")?;
    let Some(certificates) = certificates else { return Ok(()) };
    let readable = CertificateDer::pem_slice_iter(&certificates).collect::<Result<Vec<_>, _>>();
    ensure!(
        readable.is_ok_and(|certificates| !certificates.is_empty()),
        "redis.ca must be certificates in PEM form"
    );
    ensure!(
        parse(&config.url).is_ok_and(|server| matches!(server.addr(), ConnectionAddr::TcpTls { .. })),
        "redis.ca is of no use without TLS: redis.url must begin with rediss://"
    );
    ensure!(
        config.sentinels.is_empty(),
        "redis.ca cannot be used with redis.sentinels: give it to the system instead"
    );
    Ok(())
}
