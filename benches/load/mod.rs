//! Couples who change their lights, and the arithmetic of what that took.

#![allow(dead_code, reason = "each benchmark uses its part")]

use anyhow::Context as _;
use fanlight::dev::people::Person;

/// A request that changes somebody's light.
pub fn change(actor: &Person, status: &str) -> Vec<u8> {
    let body = format!(r#"{{"status":"{status}"}}"#);
    format!(
        "PATCH /status HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {}\r\n\
         Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        actor.token,
        body.len()
    )
    .into_bytes()
}

/// The value below which this share of all lies; NaN of none.
pub fn percentile(values: impl Iterator<Item = f64>, share: f64) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a share of a length")]
    #[expect(clippy::cast_precision_loss, reason = "no run has 2^52 samples")]
    let rank = (values.len() as f64 * share).ceil() as usize;
    values.get(rank.max(1) - 1).copied().unwrap_or(f64::NAN)
}

/// The CPU time of a process and its children that run (proc(5), `stat`).
pub fn cpu_us(pid: u32) -> anyhow::Result<f64> {
    const TICK_US: f64 = 10_000.0;
    let mut total = 0.0;
    for entry in std::fs::read_dir("/proc")? {
        let Ok(stat) = std::fs::read_to_string(entry?.path().join("stat")) else { continue };
        let (id, rest) = stat.split_once(" (").context("a pid")?;
        // The name may contain anything, a closing parenthesis too.
        let fields: Vec<&str> = rest.rsplit_once(") ").context("a name")?.1.split(' ').collect();
        let [parent, user, system] = [1, 11, 12].map(|index| fields.get(index).copied().unwrap_or("0"));
        if id.parse() == Ok(pid) || parent.parse() == Ok(pid) {
            total += (user.parse::<f64>()? + system.parse::<f64>()?) * TICK_US;
        }
    }
    Ok(total)
}
