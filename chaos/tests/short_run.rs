//! The checker, briefly: a few faults in an order of one seed are borne, and each seeded mistake is found.

#![expect(clippy::unwrap_used, reason = "tests")]

use std::process::Command;

/// Two clusters at once would measure each other.
#[cfg(feature = "seeded-bugs")]
static TURN: std::sync::Mutex<()> = std::sync::Mutex::new(());

/// Runs it; the goals are for machines that have nothing else to do.
fn run(arguments: &[&str]) {
    let folder = tempfile::tempdir().unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_chaos"))
        .args(["--seed", "7", "--users", "20", "--patience", "10", "--no-pairs", "--out"])
        .arg(folder.path())
        .args(arguments)
        .output()
        .unwrap();
    let (said, complained) =
        (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{said}\n{complained}");
}

#[test]
fn a_short_storm_breaks_no_promise() {
    #[cfg(feature = "seeded-bugs")]
    let _turn = TURN.lock();
    let faults = "node-kill,redis-kill,postgres-crash,clients-reset,fcm-unavailable";
    run(&["--minutes", "0.9", "--rate", "15", "--faults", faults]);
}

#[cfg(feature = "seeded-bugs")]
#[test]
#[ignore = "takes seven minutes; for whoever changes the checker: cargo test -p chaos --features seeded-bugs -- --ignored"]
fn every_seeded_mistake_is_found() {
    let _turn = TURN.lock();
    run(&["--minutes", "0.25", "--warm-up", "3", "--rate", "30", "--settled-within", "12", "--self-test"]);
}
