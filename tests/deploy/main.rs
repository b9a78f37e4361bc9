//! What people deploy with says what the program knows: settings, ports, probes, and how long a node takes to stop.
//!
//! Everything is checked without a cluster, an engine or a network. What only a foreign program can tell is asked where
//! that program is installed: `kubectl` renders the overlays, `systemd-analyze` reads the units.

#![expect(clippy::unwrap_used, reason = "tests")]

mod compose;
mod kubernetes;
mod objects;
mod settings;
mod systemd;
#[expect(dead_code, reason = "it reads no whole folders")]
#[path = "../tree/mod.rs"]
mod tree;
