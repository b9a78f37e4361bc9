//! The units of `deploy/systemd`.

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::process::Command;

use crate::settings::{accepted, defaults, longest_stop};
use crate::tree::read;

const PROGRAM: &str = "/usr/local/bin/fanlight";

struct Unit(Vec<(String, String)>);

impl Unit {
    fn read(name: &str) -> Self {
        let text = read(&format!("deploy/systemd/{name}"));
        let lines = text.lines().filter(|line| !line.starts_with('#'));
        let settings = lines.filter_map(|line| line.split_once('='));
        Self(settings.map(|(name, value)| (name.to_owned(), value.to_owned())).collect())
    }

    fn all(&self, name: &str) -> impl Iterator<Item = &str> {
        self.0.iter().filter(move |(found, _)| found == name).map(|(_, value)| value.as_str())
    }

    #[track_caller]
    fn only(&self, name: &str) -> &str {
        let values: Vec<&str> = self.all(name).collect();
        assert_eq!(values.len(), 1, "{name}: {values:?}");
        values[0]
    }

    fn number(&self, name: &str) -> u64 {
        self.only(name).parse().unwrap()
    }

    fn environment(&self) -> BTreeMap<String, String> {
        let pairs = self.all("Environment").map(|value| value.trim_matches('\'').split_once('=').unwrap());
        pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
    }
}

#[test]
fn the_service_fits_the_program() {
    let unit = Unit::read("fanlight.service");
    assert_eq!(unit.only("Type"), "notify");
    assert!(unit.number("WatchdogSec") >= 10, "a busy machine must not look like a dead node");
    assert!(unit.number("TimeoutStopSec") > longest_stop().as_secs(), "{:?}", longest_stop());
    let connections = u64::try_from(defaults().sockets.connections_max).unwrap();
    assert!(unit.number("LimitNOFILE") > connections * 2, "a socket is a file");
}

#[test]
fn the_credentials_and_settings_of_the_units_are_what_a_node_takes() {
    let (node, push) = (Unit::read("fanlight.service"), Unit::read("push.conf"));
    let mut env = node.environment();
    env.extend(push.environment());
    accepted(&env, "%d", &[]);
    let credentials: Vec<&str> = node.all("LoadCredential").chain(push.all("LoadCredential")).collect();
    for (name, value) in &env {
        let Some((_, file)) = value.split_once("%d/") else { continue };
        let file = file.split('"').next().unwrap();
        assert!(
            credentials.contains(&&*format!("{file}:/etc/fanlight/credentials/{file}")),
            "{name}: {file}"
        );
    }
    // Of the Postgres it needs, the other unit knows as much.
    let migrate = Unit::read("fanlight-migrate.service");
    assert!(migrate.environment().iter().all(|(name, value)| env.get(name) == Some(value)));
}

#[test]
fn systemd_understands_the_units() {
    let folder = tempfile::tempdir().unwrap();
    let drop_in = folder.path().join("fanlight.service.d");
    std::fs::create_dir(&drop_in).unwrap();
    std::fs::write(drop_in.join("push.conf"), read("deploy/systemd/push.conf")).unwrap();
    let mut verify = Command::new("systemd-analyze");
    verify.arg("verify");
    for name in ["fanlight.service", "fanlight-migrate.service"] {
        // It looks whether the program is there.
        let text = read(&format!("deploy/systemd/{name}")).replace(PROGRAM, env!("CARGO_BIN_EXE_fanlight"));
        std::fs::write(folder.path().join(name), text).unwrap();
        verify.arg(folder.path().join(name));
    }
    let output = match verify.output() {
        Ok(output) => output,
        Err(error) if error.kind() == ErrorKind::NotFound => {
            eprintln!("not run: there is no systemd-analyze here");
            return;
        }
        Err(error) => panic!("{error}"),
    };
    // Of what is misspelt it only warns.
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && said.is_empty(), "{said}");
}
