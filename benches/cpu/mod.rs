//! What processes cost.

use anyhow::Context as _;

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
