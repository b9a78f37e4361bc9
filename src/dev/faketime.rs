//! A process whose clock is wrong: libfaketime stands between it and the system's.

use std::process::{Command, Stdio};

use anyhow::{Context as _, bail};

/// The environment of a process whose wall clock is off by `offset`, such as `+2h`. Its monotonic clock is right:
/// no adjustment of a clock changes that one.
///
/// # Errors
/// When libfaketime is not installed.
pub fn off_by(offset: &str) -> anyhow::Result<Vec<(String, String)>> {
    // The program that comes with it knows where it is.
    let output = Command::new("faketime")
        .args(["-m", "--exclude-monotonic", "-f", offset, "env"])
        .stdin(Stdio::null())
        .output()
        .context("`faketime` is not installed; deploy/install-tools.sh does it")?;
    let said = String::from_utf8_lossy(&output.stdout);
    let ours = ["LD_PRELOAD", "FAKETIME", "FAKETIME_DONT_FAKE_MONOTONIC"];
    let env: Vec<_> = said
        .lines()
        .filter_map(|line| line.split_once('='))
        .filter(|(name, _)| ours.contains(name))
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect();
    if env.len() != ours.len() {
        bail!("`faketime` says {said:?} {:?}", String::from_utf8_lossy(&output.stderr));
    }
    Ok(env)
}
