//! A disk so small that a test can fill it, and empty again.
//!
//! A file system in memory, mounted on a directory by a small shell (`disk.sh`) that takes it away when we end.
//! Only root may mount: in a container that takes `CAP_SYS_ADMIN`, elsewhere `sudo` without a password does as well.

use std::fs::File;
use std::io::{BufRead as _, BufReader, ErrorKind, Write as _};
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use anyhow::{Context as _, bail};

use super::account;
use super::state::{self, StateDir};

const MOUNT: &str = include_str!("disk.sh");
const FILLER: &str = "filler";
const CHUNK_BYTES: usize = 4_096;

pub struct SmallDisk {
    path: PathBuf,
    shell: Child,
}

impl SmallDisk {
    /// Puts an empty disk where `state` keeps the store of this name.
    ///
    /// # Errors
    /// When nothing can be mounted here.
    pub fn mount(state: &StateDir, name: &str, mib: u32) -> anyhow::Result<Self> {
        let path = state.folder(name)?;
        let uid = state.account().map_or_else(account::effective_uid, |account| Ok(account.uid))?;
        let mut shell = Command::new("sh")
            .args(["-c", MOUNT, "disk"])
            .arg(&path)
            .arg(format!("size={mib}m,mode=0700,uid={uid}"))
            .current_dir("/")
            // Ctrl-C goes to us alone.
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit())
            .spawn()
            .context("cannot start a shell")?;
        let mut said = String::new();
        if let Some(stdout) = shell.stdout.take() {
            BufReader::new(stdout).read_line(&mut said)?;
        }
        if said.trim() != "mounted" {
            bail!(
                "cannot mount a small disk on {}: that takes root with CAP_SYS_ADMIN, or sudo without a password",
                path.display()
            );
        }
        Ok(Self { path, shell })
    }

    /// Leaves no byte free. What its owner deletes meanwhile is free again.
    ///
    /// # Errors
    /// When it cannot be written for another reason.
    pub fn fill(&self) -> anyhow::Result<()> {
        let mut filler = File::options().create(true).append(true).open(self.path.join(FILLER))?;
        loop {
            match filler.write_all(&[0; CHUNK_BYTES]) {
                Ok(()) => {}
                Err(error) if error.kind() == ErrorKind::StorageFull => return Ok(()),
                Err(error) => return Err(error).context("cannot fill a disk"),
            }
        }
    }

    /// Frees what [`SmallDisk::fill`] took.
    ///
    /// # Errors
    /// When the file system refuses.
    pub fn free(&self) -> anyhow::Result<()> {
        state::remove(&self.path.join(FILLER))
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        drop(self.shell.stdin.take());
        // The directory can be removed only when nothing is mounted on it.
        let _unmounted = self.shell.wait();
    }
}
