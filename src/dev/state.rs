//! The directory in which a cluster keeps its data and logs.
//!
//! One cluster at a time: a lock is held on it while the cluster runs. A scratch directory removes itself when its
//! owner is gone, however that ended.

use std::fs::{DirBuilder, File, OpenOptions, TryLockError};
use std::io::{ErrorKind, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{ChildStdin, Command, Stdio};

use anyhow::{Context as _, bail};

use super::account::{self, Account};
use crate::domain::random;

const REMOVE: &str = include_str!("remove.sh");
/// What a run leaves for the next one, besides logs.
const CONTENTS: [&str; 6] =
    ["postgres", "postgres.password", "redis", "auth.pem", "fcm-account.json", "fanlight.toml"];
/// Owner only, but others may pass through to what they own below: the stores run as another user when we are root.
const MODE: u32 = 0o711;

pub struct StateDir {
    path: PathBuf,
    account: Option<Account>,
    /// Held as long as the cluster runs.
    _lock: File,
    /// Closing it removes a scratch directory.
    tether: Option<ChildStdin>,
}

impl StateDir {
    /// A lasting directory; made if it does not exist.
    ///
    /// # Errors
    /// When another cluster uses it, or the stores' user cannot reach it.
    pub fn open(path: &Path) -> anyhow::Result<Self> {
        let account = Account::for_stores()?;
        Self::prepare(path, account)
    }

    /// An empty directory for one run.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn scratch() -> anyhow::Result<Self> {
        let account = Account::for_stores()?;
        let root = temporary_root(account)?;
        let name = format!("scratch-{}-{:016x}", std::process::id(), u64::from_le_bytes(random::bytes()));
        let mut state = Self::prepare(&root.join(name), account)?;
        let mut command = Command::new("sh");
        command
            .args(["-c", REMOVE, "remove"])
            .arg(&state.path)
            .current_dir("/")
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        state.tether = command.spawn().context("cannot start a shell")?.stdin.take();
        Ok(state)
    }

    fn prepare(path: &Path, account: Option<Account>) -> anyhow::Result<Self> {
        create(path).with_context(|| format!("cannot make the state directory {}", path.display()))?;
        let path = path.canonicalize()?;
        if let Some(account) = account {
            if let Some(closed) = first_closed(&path, account) {
                bail!(
                    "the stores run as user {}, who cannot enter {}; choose another place with --state",
                    account.uid,
                    closed.display()
                );
            }
            account.own(&path)?;
        }
        let lock = File::create(path.join("lock"))?;
        match lock.try_lock() {
            Ok(()) => Ok(Self { path, account, _lock: lock, tether: None }),
            Err(TryLockError::WouldBlock) => {
                bail!(
                    "another cluster runs in {}; stop it, or choose another place with --state",
                    path.display()
                )
            }
            Err(TryLockError::Error(error)) => Err(error).context("cannot lock the state directory"),
        }
    }

    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Who the stores run as: the owner of this directory.
    #[must_use]
    pub fn account(&self) -> Option<Account> {
        self.account
    }

    /// Forgets everything that an earlier run left. Only names that are ours: the directory may be anybody's.
    ///
    /// # Errors
    /// When something cannot be removed.
    pub fn clear(&self) -> anyhow::Result<()> {
        CONTENTS.iter().try_for_each(|name| remove(&self.path.join(name)))
    }

    /// A directory of its own for one store, empty or as the last run left it.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn folder(&self, name: &str) -> anyhow::Result<PathBuf> {
        let path = self.path.join(name);
        if !path.exists() {
            DirBuilder::new().mode(0o700).create(&path)?;
        }
        if let Some(account) = self.account {
            account.own(&path)?;
        }
        Ok(path)
    }
}

/// Where `fanlight dev` keeps its state unless told otherwise.
///
/// # Errors
/// When the system's temporary directory cannot be used.
pub fn default_path() -> anyhow::Result<PathBuf> {
    let account = Account::for_stores()?;
    // `XDG_STATE_HOME` is the system's, not a setting of ours (XDG Base Directory Specification).
    let home = std::env::var_os("XDG_STATE_HOME").map(PathBuf::from).filter(|path| path.is_absolute());
    match home.map(|home| home.join("fanlight")) {
        Some(path) if account.is_none_or(|account| first_closed(&path, account).is_none()) => Ok(path),
        _ => Ok(temporary_root(account)?.join("dev")),
    }
}

/// Our folder below the system's temporary one, named for this program and user.
fn temporary_root(account: Option<Account>) -> anyhow::Result<PathBuf> {
    let uid = account::effective_uid()?;
    let preferred = std::env::temp_dir();
    let closed = account.is_some_and(|account| first_closed(&preferred, account).is_some());
    let parent = if closed { PathBuf::from("/tmp") } else { preferred };
    let root = parent.join(format!("fanlight-{uid}"));
    create(&root).with_context(|| format!("cannot make {}", root.display()))?;
    // The name can be guessed, and anybody may make files beside it.
    let found = root.symlink_metadata()?;
    if !found.is_dir() || found.uid() != uid {
        bail!("{} belongs to somebody else; set TMPDIR to a directory of yours", root.display());
    }
    Ok(root)
}

/// Writes a file that only its owner may read.
///
/// # Errors
/// When it exists, or cannot be written.
pub fn write_secret(path: &Path, text: &str) -> anyhow::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    Ok(file.write_all(text.as_bytes())?)
}

/// Replaces a file as a whole by one that only its owner may read: who reads it sees the old one or the new one.
///
/// # Errors
/// When the directory cannot be written.
pub fn replace_secret(path: &Path, text: &str) -> anyhow::Result<()> {
    let mut new = path.as_os_str().to_owned();
    new.push(".new");
    let new = PathBuf::from(new);
    remove(&new)?;
    write_secret(&new, text)?;
    std::fs::rename(&new, path).with_context(|| format!("cannot replace {}", path.display()))
}

/// Removes a file or a directory, if it exists.
///
/// # Errors
/// When it exists and cannot be removed.
pub fn remove(path: &Path) -> anyhow::Result<()> {
    let removed = if path.is_dir() { std::fs::remove_dir_all(path) } else { std::fs::remove_file(path) };
    match removed {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            Err(error).with_context(|| format!("cannot remove {}", path.display()))
        }
        _ => Ok(()),
    }
}

fn create(path: &Path) -> std::io::Result<()> {
    DirBuilder::new().recursive(true).mode(MODE).create(path)
}

/// The first existing directory on the way to `path` that `account` may not enter.
fn first_closed(path: &Path, account: Account) -> Option<PathBuf> {
    let mut parents: Vec<&Path> = path.ancestors().skip(1).collect();
    parents.reverse();
    parents
        .into_iter()
        .find(|parent| {
            parent.metadata().is_ok_and(|parent| {
                let (owner, group, others) = (0o100, 0o010, 0o001);
                let needed = if parent.uid() == account.uid {
                    owner
                } else if parent.gid() == account.gid {
                    group
                } else {
                    others
                };
                parent.mode() & needed == 0
            })
        })
        .map(Path::to_path_buf)
}
