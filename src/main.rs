//! The one binary of Fanlight.

#![expect(clippy::print_stdout, reason = "this is a command that talks to a person")]

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Parser, Subcommand, ValueEnum};
use fanlight::config::{self, Config};
use fanlight::db;
use fanlight::documents::{asyncapi, openapi};
use fanlight::domain::clock::{Clock as _, SystemClock};
use fanlight::domain::ids::{SessionId, UserId};
use fanlight::domain::tokens::{self, KeyAlgorithm};
use fanlight::serve::{install_crypto, serve};

#[cfg(feature = "jemalloc")]
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// A horizontally scaled WebSocket cluster that never silently loses a committed event.
#[derive(Parser)]
#[command(version)]
struct Cli {
    /// A TOML file with the settings that differ from the defaults.
    #[arg(long, global = true, value_name = "FILE", env = "FANLIGHT_CONFIG")]
    config: Option<PathBuf>,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
#[expect(clippy::doc_markdown, reason = "the comments are printed to people, who do not read Markdown")]
enum Command {
    /// Run one node.
    Serve {
        /// Bring the schema up to date first.
        #[arg(long)]
        migrate: bool,
    },
    /// Run a whole private cluster on this machine, with two linked people in it.
    #[cfg(feature = "dev")]
    Dev(fanlight::dev::DevOptions),
    /// Bring the schema up to date, and exit.
    Migrate,
    /// Read the configuration as `serve` would, and say what is wrong with it.
    CheckConfig,
    /// Print every setting with its default and what it means.
    PrintDefaultConfig,
    /// Mint an access token for debugging.
    Token {
        /// Whose token.
        #[arg(long, value_name = "ID")]
        user: UserId,
        /// For how long.
        #[arg(long, value_name = "SECONDS", default_value_t = 900)]
        ttl: u64,
        /// Another audience than the configured one.
        #[arg(long)]
        audience: Option<String>,
        /// Another issuer than the configured one.
        #[arg(long)]
        issuer: Option<String>,
    },
    /// Make signing keys.
    #[command(subcommand)]
    Keys(Keys),
    /// Ask the node on this machine whether it is ready; exits 0 if it is.
    Healthcheck,
    /// Print the HTTP API as an OpenAPI 3.1 document.
    Openapi,
    /// Print the socket's messages and the pushes as an AsyncAPI 3 document.
    Asyncapi,
}

#[derive(Subcommand)]
enum Keys {
    /// Print a new private key.
    Generate {
        #[arg(long, value_enum, default_value_t = Algorithm::Es256)]
        algorithm: Algorithm,
    },
}

#[derive(Clone, Copy, ValueEnum)]
enum Algorithm {
    Es256,
    Rs256,
    Eddsa,
    Hs256,
}

impl From<Algorithm> for KeyAlgorithm {
    fn from(algorithm: Algorithm) -> Self {
        match algorithm {
            Algorithm::Es256 => Self::ES256,
            Algorithm::Rs256 => Self::RS256,
            Algorithm::Eddsa => Self::EdDSA,
            Algorithm::Hs256 => Self::HS256,
        }
    }
}

#[tokio::main]
async fn main() -> ExitCode {
    match run(Cli::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("fanlight: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run(cli: Cli) -> anyhow::Result<()> {
    install_crypto();
    let load = || Config::load(cli.config.as_deref());
    match cli.command {
        Command::Serve { migrate } => serve(load()?, migrate).await,
        #[cfg(feature = "dev")]
        Command::Dev(options) => fanlight::dev::run(options).await,
        Command::Migrate => Ok(db::migrate(&db::pool(&load()?.postgres)?).await?),
        Command::CheckConfig => {
            let config = load()?;
            config.auth.key_ring()?;
            println!("The configuration is valid.");
            Ok(())
        }
        Command::PrintDefaultConfig => {
            print!("{}", config::DEFAULT_TOML);
            Ok(())
        }
        Command::Token { user, ttl, audience, issuer } => {
            let mut auth = load()?.auth;
            auth.issuer = issuer.unwrap_or(auth.issuer);
            auth.audience = audience.unwrap_or(auth.audience);
            let ttl = Duration::from_secs(ttl);
            println!("{}", auth.key_ring()?.mint(user, SessionId::generate(), SystemClock.now(), ttl));
            Ok(())
        }
        Command::Keys(Keys::Generate { algorithm }) => {
            print!("{}", tokens::generate_private_key(algorithm.into()));
            Ok(())
        }
        Command::Healthcheck => healthcheck(&load()?).await,
        Command::Openapi => {
            println!("{}", openapi::document().to_pretty_json()?);
            Ok(())
        }
        Command::Asyncapi => {
            println!("{:#}", asyncapi::document());
            Ok(())
        }
    }
}

async fn healthcheck(config: &Config) -> anyhow::Result<()> {
    let mut address = config.server.internal_listen;
    if address.ip().is_unspecified() {
        address.set_ip(std::net::Ipv4Addr::LOCALHOST.into());
    }
    let client = reqwest::Client::builder().timeout(Duration::from_secs(2)).no_proxy().build()?;
    let status = client.get(format!("http://{address}/readyz")).send().await?.status();
    anyhow::ensure!(status.is_success(), "the node answers {status}");
    Ok(())
}
