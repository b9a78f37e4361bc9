//! Node and Playwright, as `tests/browser/package-lock.json` pins them, installed into target/ when a test first asks.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::LazyLock;

/// Node and the packages beside it.
pub struct Toolbox {
    pub node: PathBuf,
    /// Where the packages are.
    pub root: PathBuf,
}

static TOOLBOX: LazyLock<Toolbox> = LazyLock::new(install);

/// Blocks for the seconds that the installation takes, the first time.
pub fn toolbox() -> &'static Toolbox {
    &TOOLBOX
}

fn install() -> Toolbox {
    const FILES: [&str; 2] = ["package.json", "package-lock.json"];
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/browser");
    let root = Path::new(env!("CARGO_TARGET_TMPDIR")).join("toolbox");
    fs::create_dir_all(&root).unwrap();
    // Another test process may be at it.
    let lock = File::create(root.join("lock")).unwrap();
    lock.lock().unwrap();
    let (wanted, stamp) =
        (FILES.map(|name| fs::read_to_string(source.join(name)).unwrap()), root.join("stamp"));
    if fs::read_to_string(&stamp).ok() != Some(wanted.concat()) {
        FILES.iter().zip(&wanted).for_each(|(name, text)| fs::write(root.join(name), text).unwrap());
        let mut npm = Command::new("npm");
        npm.args(["ci", "--ignore-scripts", "--no-audit", "--no-fund"]).current_dir(&root);
        let output = npm.output().expect("npm is there: deploy/install-tools.sh installs it for ./test");
        assert!(output.status.success(), "npm ci: {}", String::from_utf8_lossy(&output.stderr));
        fs::write(&stamp, wanted.concat()).unwrap();
    }
    let packaged = ["x64", "arm64"].map(|cpu| root.join(format!("node_modules/node-linux-{cpu}/bin/node")));
    // Elsewhere it is the machine's own.
    let node = packaged.into_iter().find(|node| node.exists()).unwrap_or_else(|| "node".into());
    Toolbox { node, root }
}
