//! `fanlight dev`: the cluster, two people in it, and what to try.

#![expect(clippy::print_stdout, reason = "this is a command that talks to a person")]

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context as _;
use tokio::signal::unix::{Signal as Listener, SignalKind, signal};

use super::cluster::{Cluster, ClusterOptions};
use super::manifest::{self, Manifest};
use super::page::{self, Action, Desk, NodeFact, Order};
use super::ports;
use super::process::Signal;
use super::seed::{self, Seeded, User};
use super::state::{self, StateDir};
use super::watch::Watch;

const LOOK_EVERY: Duration = Duration::from_millis(250);
const NODES_MAX: i64 = 20;

/// What differs from a cluster of strangers: one address may make all the accounts it likes, and a person reads
/// the logs.
const RELAXED: [(&str, &str); 2] =
    [("FANLIGHT__ACCOUNTS__REGISTRATIONS_PER_ADDRESS_MAX", "1000000"), ("FANLIGHT__LOG__FORMAT", "pretty")];

/// Starts a private cluster on this machine, with two linked people in it.
#[derive(Debug, clap::Args)]
pub struct DevOptions {
    /// How many server processes.
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u16).range(1..=NODES_MAX))]
    nodes: u16,
    /// Where the load balancer listens, on 127.0.0.1.
    #[arg(long, value_name = "P", default_value_t = 8080)]
    port: u16,
    /// Where data and logs are kept [default: `fanlight` in the XDG state home, or a folder below the temporary one].
    #[arg(long, value_name = "DIR")]
    state: Option<PathBuf>,
    /// Forget what an earlier run left in the state directory.
    #[arg(long)]
    fresh: bool,
}

/// Runs until Ctrl-C or SIGTERM, then stops everything it started.
///
/// # Errors
/// When something is not installed, does not start, or another cluster uses the state directory.
pub async fn run(options: DevOptions) -> anyhow::Result<()> {
    let mut stop = Stop::listen()?;
    let state = StateDir::open(&options.state.map_or_else(state::default_path, Ok)?)?;
    let directory = state.path().to_path_buf();
    if options.fresh {
        state.clear()?;
    }
    // A manifest means that the cluster is ready; this one is from an earlier run.
    state::remove(&manifest::file(&directory))?;

    println!("Starting {} nodes in {} …", options.nodes, directory.display());
    let page = ports::free()?;
    let starting = start(ClusterOptions {
        nodes: options.nodes.into(),
        port: Some(options.port),
        state: Some(state),
        binary: std::env::current_exe().context("cannot tell which program this is")?,
        page: Some(page),
        env: RELAXED.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec(),
    });
    // Cancel-safe: dropping a half-started cluster ends what was started.
    let (mut cluster, seeded) = tokio::select! {
        started = starting => started?,
        () = stop.asked() => return Ok(()),
    };
    let mut desk = page::start(page, &cluster, &seeded).await?;
    Manifest::of(&cluster, &seeded).write(&directory)?;
    introduce(&cluster, &seeded.users);

    let watched = watch(&mut cluster, &seeded, &mut desk, &mut stop).await;
    drop(desk);
    println!("Stopping …");
    state::remove(&manifest::file(&directory))?;
    // Cancel-safe: asked a second time, the cluster is dropped, which ends every process without waiting.
    tokio::select! {
        () = cluster.stop() => {}
        () = stop.asked() => {}
    }
    watched
}

async fn start(options: ClusterOptions) -> anyhow::Result<(Cluster, Seeded)> {
    let cluster = Cluster::start(options).await?;
    let seeded = seed::all(&cluster.url(), &cluster.fcm).await?;
    Ok((cluster, seeded))
}

/// Keeps everything alive until somebody asks to stop.
async fn watch(
    cluster: &mut Cluster,
    seeded: &Seeded,
    desk: &mut Desk,
    stop: &mut Stop,
) -> anyhow::Result<()> {
    let mut watch = Watch::default();
    let mut look = tokio::time::interval(LOOK_EVERY);
    loop {
        // Cancel-safe: all only wait; an order that was not taken stays in its queue.
        let order = tokio::select! {
            _ = look.tick() => None,
            order = desk.orders.recv() => order,
            () = stop.asked() => return Ok(()),
        };
        let mut revived = watch.look(cluster).await;
        if let Some(Order { node, action, done }) = order {
            let outcome = obey(cluster, &node, action).await;
            revived.extend((action == Action::Restart && outcome.is_ok()).then_some(node));
            // Who asked may have gone.
            let _unheard = done.send(outcome);
        }
        NodeFact::publish(cluster, &desk.nodes);
        if !revived.is_empty() {
            println!("Started again: {}", revived.join(", "));
            Manifest::of(cluster, seeded).write(cluster.state.path())?;
        }
    }
}

async fn obey(cluster: &mut Cluster, node: &str, action: Action) -> anyhow::Result<()> {
    let node = cluster.nodes.iter_mut().find(|it| it.name() == node).context("there is no such node")?;
    match action {
        Action::Kill => node.process.signal(Signal::Kill),
        // As an orchestrator does it: the node tells the load balancer, and sends its clients away.
        Action::Drain => node.process.signal(Signal::Term),
        Action::Restart => node.process.restart().await,
    }
}

fn introduce(cluster: &Cluster, users: &[User]) {
    let [ada, ben] = users else { return };
    let url = cluster.url();
    println!("\nFanlight is ready. Open {url}\n");
    for node in &cluster.nodes {
        println!("  {:<9} {}   health and metrics {}", node.name(), node.http(), node.internal());
    }
    println!("  API       {url}/docs   as a page; {url}/openapi.json, {url}/asyncapi.json");
    println!("  fake FCM  {}   GET /log, POST /script", cluster.fcm.url());
    println!("  Postgres  {}", cluster.postgres_url());
    println!("  Redis     {}", cluster.redis.url());
    println!("  state     {}   dev.json, fanlight.toml, logs\n", cluster.state.path().display());
    for user in users {
        println!("  {} {}   token {}\n", user.email, user.password, user.access_token);
    }
    println!(
        "Or by hand: watch Ben's socket with any WebSocket client, change Ada's light, see what was pushed.\n"
    );
    println!("  websocat '{}/ws?token={}'\n", url.replace("http", "ws"), ben.access_token);
    println!(
        "  curl -X PATCH {url}/status -H 'Authorization: Bearer {}' -H 'Content-Type: application/json' -d '{{\"status\":\"BUSY\"}}'\n",
        ada.access_token
    );
    println!("  curl {}/log\n", cluster.fcm.url());
    println!("Ctrl-C stops everything.");
}

/// The ways to ask this command to stop.
struct Stop {
    interrupt: Listener,
    terminate: Listener,
}

impl Stop {
    fn listen() -> anyhow::Result<Self> {
        Ok(Self { interrupt: signal(SignalKind::interrupt())?, terminate: signal(SignalKind::terminate())? })
    }

    async fn asked(&mut self) {
        // Cancel-safe: both only wait.
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}
