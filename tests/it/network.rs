//! A network of its own for a client, whose way to the nodes can be made to drop every packet.
//!
//! A namespace (ip-netns(8)) at the end of a virtual cable (veth(4)). Cut, each side sends its frames to an address
//! that nobody has: they vanish, both links stay up, and nobody hears of it, as with a router that died far away.
//! It needs root. It is removed when its owner is gone, however that ended.

use std::fs::File;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::fd::AsFd as _;
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use fanlight::domain::random;
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use tokio::net::TcpStream;

const OUR_MAC: &str = "02:00:00:00:00:01";
const THEIR_MAC: &str = "02:00:00:00:00:02";
const NOBODYS_MAC: &str = "02:00:00:00:00:03";
/// 198.18.0.0/15, for tests of networks (RFC 2544): 32,768 networks of four addresses.
const FIRST_ADDRESS: u32 = 0xC612_0000;

/// Waits until standard input closes.
const REMOVE: &str = r#"read -r _; ip link delete "$1"; ip netns delete "$1""#;

const NEEDS: &str =
    "This test makes a network namespace: it needs iproute2 (deploy/install-tools.sh) and root.";

static NETWORKS: AtomicU32 = AtomicU32::new(0);

pub struct Network {
    /// Of the namespace, and of both ends of the cable.
    name: String,
    /// Where a node is reached from in there, if it listens on all addresses.
    pub ours: Ipv4Addr,
    theirs: Ipv4Addr,
    remover: Child,
}

impl Network {
    pub fn new() -> Self {
        // An interface's name has at most 15 characters.
        let name = format!("fl{}-{}", std::process::id(), NETWORKS.fetch_add(1, Ordering::Relaxed));
        let first = FIRST_ADDRESS + u32::from(u16::from_le_bytes(random::bytes()) / 2) * 4;
        let (ours, theirs) = (Ipv4Addr::from(first + 1), Ipv4Addr::from(first + 2));
        let mut remover = Command::new("sh");
        remover.args(["-c", REMOVE, "remove", &name]).process_group(0).stdin(Stdio::piped());
        let remover = remover.stderr(Stdio::null()).spawn().unwrap();
        let network = Self { name, ours, theirs, remover };
        let Self { name, .. } = &network;
        ip(&format!(
            "netns add {name}
             link add {name} address {OUR_MAC} type veth peer name {name} address {THEIR_MAC} netns {name}
             address add {ours}/30 dev {name}
             link set {name} up
             -n {name} address add {theirs}/30 dev {name}
             -n {name} link set {name} up"
        ));
        network.heal();
        network
    }

    /// From now on every packet is lost, in both directions, and nobody is told.
    pub fn cut(&self) {
        self.send_to(NOBODYS_MAC, NOBODYS_MAC);
    }

    pub fn heal(&self) {
        self.send_to(OUR_MAC, THEIR_MAC);
    }

    fn send_to(&self, our_mac: &str, their_mac: &str) {
        let Self { name, ours, theirs, .. } = self;
        ip(&format!(
            "neighbour replace {theirs} lladdr {their_mac} dev {name} nud permanent
             -n {name} neighbour replace {ours} lladdr {our_mac} dev {name} nud permanent"
        ));
    }

    /// A connection from in there to one of our ports.
    pub fn connect(&self, port: u16, limit: Duration) -> std::io::Result<TcpStream> {
        let namespace = File::open(format!("/run/netns/{}", self.name))?;
        let address = SocketAddr::from((self.ours, port));
        // A thread enters the namespace for good; a socket stays in the one that it was made in.
        let connecting = std::thread::spawn(move || {
            move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network))?;
            std::net::TcpStream::connect_timeout(&address, limit)
        });
        let stream = connecting.join().unwrap()?;
        stream.set_nonblocking(true)?;
        TcpStream::from_std(stream)
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        drop(self.remover.stdin.take());
        // Nothing better can be done at the end of a test that failed already.
        let _removed = self.remover.wait();
    }
}

/// Runs each line as a command of `ip`.
fn ip(commands: &str) {
    for command in commands.lines() {
        let output = Command::new("ip").args(command.split_whitespace()).output();
        let output = output.unwrap_or_else(|error| panic!("cannot run `ip`: {error}. {NEEDS}"));
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "ip {}: {}. {NEEDS}", command.trim(), said.trim());
    }
}
