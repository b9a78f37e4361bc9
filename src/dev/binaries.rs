//! Finds the servers that the cluster needs on this machine.
//!
//! Looks in `PATH`, then where Debian, Red Hat and Homebrew keep versioned servers, newest first. What is missing
//! is answered with one line to paste, because "not found" alone helps nobody.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use anyhow::anyhow;

/// Folders that are often not in `PATH`.
const SYSTEM_FOLDERS: [&str; 5] =
    ["/usr/sbin", "/usr/local/sbin", "/opt/homebrew/bin", "/usr/local/bin", "/home/linuxbrew/.linuxbrew/bin"];

/// Folders with one subfolder per installed version of Postgres, and where the programs are below it.
const POSTGRES_FOLDERS: [(&str, &str, &str); 4] = [
    ("/usr/lib/postgresql", "", "bin"),
    ("/usr", "pgsql-", "bin"),
    ("/opt/homebrew/opt", "postgresql@", "bin"),
    ("/usr/local/opt", "postgresql@", "bin"),
];

/// A program that the cluster needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Program {
    Postgres,
    Initdb,
    Redis,
    Haproxy,
}

impl Program {
    /// The names it goes by.
    fn names(self) -> &'static [&'static str] {
        match self {
            Self::Postgres => &["postgres"],
            Self::Initdb => &["initdb"],
            Self::Redis => &["redis-server", "valkey-server"],
            Self::Haproxy => &["haproxy"],
        }
    }
}

/// Where the program is.
///
/// # Errors
/// When it is not installed; the message is what to type on this system.
pub fn find(program: Program) -> anyhow::Result<PathBuf> {
    program.names().iter().find_map(|name| find_named(program, name)).ok_or_else(|| {
        anyhow!(
            "`{}` is not installed. {} Or start the cluster in containers: docker compose up --build",
            program.names()[0],
            install_line(
                &std::fs::read_to_string("/etc/os-release").unwrap_or_default(),
                std::env::consts::OS
            ),
        )
    })
}

fn find_named(program: Program, name: &str) -> Option<PathBuf> {
    // `PATH` is the system's, not a setting of ours.
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::env::split_paths(&path).chain(SYSTEM_FOLDERS.map(PathBuf::from));
    let folders: Vec<PathBuf> = match program {
        // All of Postgres must be of one version, so the versioned folders come first for both of its programs.
        Program::Postgres | Program::Initdb => {
            let both =
                |folder: &PathBuf| ["postgres", "initdb"].iter().all(|name| is_program(&folder.join(name)));
            folders.filter(both).chain(postgres_folders()).collect()
        }
        Program::Redis | Program::Haproxy => folders.collect(),
    };
    folders.into_iter().map(|folder| folder.join(name)).find(|path| is_program(path))
}

/// The folders of all installed versions of Postgres, newest first.
fn postgres_folders() -> Vec<PathBuf> {
    let mut found = Vec::new();
    for (root, prefix, below) in POSTGRES_FOLDERS {
        for entry in std::fs::read_dir(root).into_iter().flatten().flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            if let Some(version) = name.strip_prefix(prefix).and_then(|version| version.parse::<u32>().ok()) {
                found.push((version, entry.path().join(below)));
            }
        }
    }
    found.sort_by_key(|(version, _)| std::cmp::Reverse(*version));
    found.into_iter().map(|(_, folder)| folder).collect()
}

fn is_program(path: &Path) -> bool {
    const ANYBODY_MAY_RUN: u32 = 0o111;
    path.metadata().is_ok_and(|file| file.is_file() && file.permissions().mode() & ANYBODY_MAY_RUN != 0)
}

/// One line that installs everything on the system that `os_release` (os-release(5)) describes.
fn install_line(os_release: &str, os: &str) -> &'static str {
    let ids: Vec<&str> = os_release
        .lines()
        .filter_map(|line| line.strip_prefix("ID=").or_else(|| line.strip_prefix("ID_LIKE=")))
        .flat_map(|value| value.trim_matches('"').split(' '))
        .collect();
    let is = |names: &[&str]| ids.iter().any(|id| names.contains(id));
    if os == "macos" {
        "Install what is missing: brew install postgresql@17 redis haproxy"
    } else if is(&["debian", "ubuntu"]) {
        "Start with ./run, which installs what is missing, or do it yourself: deploy/install-tools.sh"
    } else if is(&["fedora", "rhel", "centos"]) {
        "Install what is missing: sudo dnf install postgresql-server valkey haproxy"
    } else if is(&["arch"]) {
        "Install what is missing: sudo pacman -S postgresql valkey haproxy"
    } else if is(&["alpine"]) {
        "Install what is missing: apk add postgresql redis haproxy"
    } else {
        "Install PostgreSQL 15 or later, Redis 7 or Valkey, and HAProxy 2.6 or later."
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_programs_of_postgres_come_from_one_folder() {
        let (postgres, initdb) = (find(Program::Postgres).unwrap(), find(Program::Initdb).unwrap());

        assert_eq!(postgres.parent(), initdb.parent());
    }

    #[test]
    fn each_system_gets_its_own_line_to_paste() {
        assert!(install_line("ID=ubuntu\nID_LIKE=debian\n", "linux").contains("./run"));
        assert!(install_line("ID=\"rocky\"\nID_LIKE=\"rhel centos fedora\"\n", "linux").contains("dnf"));
        assert!(install_line("ID=arch\n", "linux").contains("pacman"));
        assert!(install_line("", "macos").contains("brew"));
        assert!(install_line("ID=plan9\n", "linux").contains("PostgreSQL 15"));
    }
}
