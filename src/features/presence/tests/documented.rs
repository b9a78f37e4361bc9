//! What docs/protocol.md shows is what is said.

use super::*;
use crate::features::presence::{commands, frames as examples};

const PAGE: &str = include_str!("../../../../docs/protocol.md");

#[test]
fn the_page_shows_what_clients_and_nodes_say() {
    let shown: Vec<Value> = PAGE.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
    for frame in examples() {
        assert!(shown.contains(&serde_json::to_value(frame).unwrap()), "{frame:?}");
    }
    for (command, _) in commands() {
        assert!(shown.contains(&command), "{command}");
    }
}
