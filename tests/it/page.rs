//! The page of `fanlight dev` in real Chromium: linked, changed, frozen, killed, and nothing lost.

use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::process::Command;
use tokio::time::timeout;

use crate::readme::Dev;
use crate::toolbox::toolbox;

/// All of it: a browser's steps, each of which has a minute.
const PATIENCE: Duration = Duration::from_secs(600);

/// As Debian calls it, or others do.
pub fn chromium() -> PathBuf {
    let folders = std::env::var_os("PATH").unwrap_or_default();
    let folders: Vec<PathBuf> = std::env::split_paths(&folders).collect();
    let named = |name: &str| folders.iter().map(|folder| folder.join(name)).find(|file| file.exists());
    let found = ["chromium", "chromium-browser", "google-chrome"].into_iter().find_map(named);
    found.expect("Chromium is there: deploy/install-tools.sh installs it for ./test")
}

#[tokio::test]
async fn the_page_shows_two_phones_that_lose_nothing() {
    let dev = Dev::start(3).await;
    let screenshots = Path::new(env!("CARGO_TARGET_TMPDIR")).join("page");
    std::fs::create_dir_all(&screenshots).unwrap();
    let browsing = Command::new(&toolbox().node)
        .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/browser/page.js"))
        .arg(dev.manifest["http"].as_str().unwrap())
        .arg(&toolbox().root)
        .arg(&screenshots)
        .arg(chromium())
        .kill_on_drop(true)
        .output();

    let output = timeout(PATIENCE, browsing).await.expect("it ends").unwrap();

    let (said, complained) =
        (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{said}\n{complained}\nscreenshots in {}", screenshots.display());
    dev.stop();
}
