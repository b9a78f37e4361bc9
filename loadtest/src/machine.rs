//! What machine this is, for whoever reads the numbers; not which one.

use std::fs::read_to_string;

pub struct Machine {
    pub cores: usize,
    pub processor: String,
    pub memory_gib: u64,
    pub kernel: String,
}

impl Machine {
    /// As the system tells, where it does.
    pub fn this() -> Self {
        let file = |path: &str| read_to_string(path).unwrap_or_default();
        Self {
            cores: std::thread::available_parallelism().map_or(0, usize::from),
            processor: field(&file("/proc/cpuinfo"), "model name").unwrap_or("processor unknown").to_owned(),
            memory_gib: memory_gib(&file("/proc/meminfo")),
            kernel: file("/proc/sys/kernel/osrelease")
                .trim()
                .split('-')
                .next()
                .unwrap_or_default()
                .to_owned(),
        }
    }

    pub fn line(&self) -> String {
        let Self { cores, processor, memory_gib, kernel } = self;
        format!("{cores} cores ({processor}), {memory_gib} GiB, Linux {kernel}")
    }
}

fn field<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    text.lines().find_map(|line| {
        let (found, value) = line.split_once(':')?;
        (found.trim() == name).then(|| value.trim())
    })
}

fn memory_gib(meminfo: &str) -> u64 {
    let kib = field(meminfo, "MemTotal").and_then(|value| value.split(' ').next()?.parse::<u64>().ok());
    (kib.unwrap_or(0) + 512 * 1024) / (1024 * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_found() {
        let cpuinfo = "processor\t: 0\nmodel name\t: Some CPU @ 2 GHz\n";
        assert_eq!(field(cpuinfo, "model name"), Some("Some CPU @ 2 GHz"));
        assert_eq!(memory_gib("MemTotal:       16384000 kB\n"), 16);
    }
}
