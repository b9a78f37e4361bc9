//! An echo server over Fanlight's own handshake and sockets, for conformance suites.
//!
//! `cargo run --release --example echo -- --port 9001`, then for instance `wstest -m fuzzingclient` of the Autobahn
//! `TestSuite` with `{"servers": [{"url": "ws://127.0.0.1:9001"}], "cases": ["*"], "exclude-cases": ["12.*", "13.*"]}`.

use std::time::Duration;

use anyhow::Context as _;
use clap::Parser;
use fanlight::dev::echo::{self, Settings};
use fanlight::edge::ws::socket::Limits;
use fanlight::shutdown::Shutdown;

#[derive(Parser)]
#[command(about = "Says back what it is told, over Fanlight's own handshake and sockets")]
struct Options {
    #[arg(long, default_value = "127.0.0.1")]
    host: String,
    /// 0 for a free one.
    #[arg(long)]
    port: u16,
    /// The largest message, over all its fragments.
    #[arg(long, default_value_t = 16 * 1024 * 1024)]
    message_bytes_max: usize,
    /// The most fragments a message may have.
    #[arg(long, default_value_t = 256 * 1024)]
    fragments_max: usize,
    /// How long a message may take from its first fragment to its last.
    #[arg(long, default_value_t = 120_000)]
    assembly_timeout_ms: u64,
    /// How long a client has for the headers of its handshake.
    #[arg(long, default_value_t = 10_000)]
    header_timeout_ms: u64,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let options = Options::parse();
    let limits = Limits {
        message_bytes_max: options.message_bytes_max,
        fragments_max: options.fragments_max,
        assembly_timeout: Duration::from_millis(options.assembly_timeout_ms),
    };
    let settings = Settings { limits, header_timeout: Duration::from_millis(options.header_timeout_ms) };
    let shutdown = Shutdown::new();
    let mut addresses = tokio::net::lookup_host((options.host.as_str(), options.port)).await?;
    let address = addresses.next().context("the host has no address")?;
    let address = echo::start(address, settings, &shutdown)?;
    eprintln!("echoing on ws://{address}");
    tokio::signal::ctrl_c().await?;
    shutdown.stop();
    shutdown.finished(Duration::from_secs(2)).await;
    Ok(())
}
