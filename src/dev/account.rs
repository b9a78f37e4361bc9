//! Who the private stores run as.
//!
//! Postgres refuses to run as root. So when we are root, which is usual in containers, the stores run as
//! another user, and every directory of theirs belongs to that user.

use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, bail};

const ROOT: u32 = 0;
const CANDIDATES: [&str; 2] = ["postgres", "nobody"];

/// A user that is not root.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Account {
    pub uid: u32,
    pub gid: u32,
}

impl Account {
    /// The user to drop to, or `None` when we are not root and need not.
    ///
    /// # Errors
    /// When we are root and no such user exists.
    pub fn for_stores() -> anyhow::Result<Option<Self>> {
        if effective_uid()? != ROOT {
            return Ok(None);
        }
        let passwd = std::fs::read_to_string("/etc/passwd").context("cannot read /etc/passwd")?;
        match CANDIDATES.iter().find_map(|name| find(&passwd, name)) {
            Some(account) => Ok(Some(account)),
            None => {
                bail!("Postgres refuses to run as root, and there is neither a user `postgres` nor `nobody`")
            }
        }
    }

    /// Makes `command` run as this user. The standard library drops supplementary groups with it.
    pub fn apply(self, command: &mut Command) {
        command.uid(self.uid).gid(self.gid);
    }

    /// # Errors
    /// When the path does not exist, or we are not root.
    pub fn own(self, path: &Path) -> anyhow::Result<()> {
        std::os::unix::fs::chown(path, Some(self.uid), Some(self.gid))
            .with_context(|| format!("cannot give {} to user {}", path.display(), self.uid))
    }
}

/// The user this process acts as.
///
/// # Errors
/// When `id` cannot be run.
pub fn effective_uid() -> anyhow::Result<u32> {
    let output = Command::new("id").arg("-u").output().context("cannot run `id -u`")?;
    let text = String::from_utf8_lossy(&output.stdout);
    text.trim().parse().with_context(|| format!("`id -u` said {text:?}"))
}

fn find(passwd: &str, name: &str) -> Option<Account> {
    let line = passwd.lines().find(|line| line.split(':').next() == Some(name))?;
    let mut fields = line.split(':').skip(2);
    let account = Account { uid: fields.next()?.parse().ok()?, gid: fields.next()?.parse().ok()? };
    (account.uid != ROOT).then_some(account)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_is_found_by_its_whole_name_and_is_never_root() {
        let passwd =
            "root:x:0:0::/root:/bin/sh\npostgres2:x:7:7::/:/x\npostgres:x:101:104:,,,:/var:/bin/bash\n";

        assert_eq!(find(passwd, "postgres"), Some(Account { uid: 101, gid: 104 }));
        assert_eq!(find(passwd, "root"), None);
        assert_eq!(find(passwd, "nobody"), None);
    }
}
