//! Which layer wins, and what refuses to boot.

use secrecy::ExposeSecret as _;

use super::*;
use crate::dev::fcm::service_account;

fn load(overlay: &str, env: &[(&str, &str)]) -> anyhow::Result<Config> {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("fanlight.toml");
    std::fs::write(&file, overlay).unwrap();
    Config::from_layers(Some(&file), env.iter().map(|(name, value)| (name.into(), value.into())))
}

fn refusal(overlay: &str, env: &[(&str, &str)]) -> String {
    let sentence = format!("{:#}", load(overlay, env).unwrap_err());
    assert!(!sentence.contains('\n'), "{sentence}");
    sentence
}

#[test]
fn the_printed_defaults_are_the_whole_configuration() {
    let printed: Config = toml::from_str(DEFAULT_TOML).unwrap();
    let used = Config::from_layers(None, []).unwrap();
    assert_eq!(format!("{printed:?}"), format!("{used:?}"));
    assert!(used.is_production(), "nobody is to get development by forgetting a setting");
}

#[test]
fn every_default_has_to_be_there() {
    let defaults = default_table();
    for (section, settings) in &defaults {
        for key in settings.as_table().into_iter().flat_map(toml::Table::keys) {
            let mut lacking = defaults.clone();
            lacking[section].as_table_mut().unwrap().remove(key);
            assert!(lacking.try_into::<Config>().is_err(), "{section}.{key} has a second, hidden default");
        }
    }
}

#[test]
fn the_environment_wins_over_the_file_and_the_file_over_the_default() {
    let overlay = "[server]\ndrain_ms = 1\nstop_timeout_ms = 2\n";
    let config = load(overlay, &[("FANLIGHT__SERVER__DRAIN_MS", "3"), ("DRAIN_MS", "4")]).unwrap();
    assert_eq!(config.server.drain_ms, 3);
    assert_eq!(config.server.stop_timeout_ms, 2);
    assert_eq!(config.server.header_timeout_ms, 10_000);
}

#[test]
fn an_unknown_setting_refuses_by_name() {
    for sentence in [
        refusal("[server]\nlissen = 1", &[]),
        refusal("[sever]\nlissen = 1", &[]),
        refusal("", &[("FANLIGHT__SERVER__LISSEN", "1")]),
        refusal("", &[("FANLIGHT__LISSEN", "1")]),
        refusal("", &[("FANLIGHT__SERVER__DRAIN_MS__LISSEN", "1")]),
        refusal("", &[("FANLIGHT__SERVER__0LISSEN", "1")]),
    ] {
        let named = ["lissen", "sever", "drain_ms"].iter().any(|name| sentence.contains(name));
        assert!(named, "{sentence}");
    }
}

#[test]
fn a_value_of_the_wrong_type_refuses_by_name() {
    for (value, overlay) in
        [("soon", "\"soon\""), ("-1", "-1"), ("1.5", "\"1.5\""), ("", "\"\""), ("[1]", "[1]")]
    {
        let sentence = refusal("", &[("FANLIGHT__SERVER__DRAIN_MS", value)]);
        assert!(sentence.contains("drain_ms"), "{sentence}");
        let sentence = refusal(&format!("[server]\ndrain_ms = {overlay}"), &[]);
        assert!(sentence.contains("drain_ms"), "{sentence}");
    }
    let sentence = refusal("", &[("FANLIGHT__SERVER__LISTEN", "here")]);
    assert!(sentence.contains("server.listen"), "{sentence}");
}

#[test]
fn text_that_looks_like_something_else_stays_text() {
    for text in
        ["123", "007", "1e5", "1_000", "0x10", "true", "2026-01-01", "\"quoted\"", "[1]", "1 # not a comment"]
    {
        let config = load("", &[("FANLIGHT__POSTGRES__URL", text)]).unwrap();
        assert_eq!(config.postgres.url.expose_secret(), text);
    }
    let config = load("", &[("FANLIGHT__REDIS__KEY_PREFIX", "123")]).unwrap();
    assert_eq!(config.redis.key_prefix, "123");
}

#[test]
fn numbers_booleans_and_lists_are_read_from_the_environment() {
    let config = load(
        "",
        &[
            ("FANLIGHT__SERVER__ALLOWED_ORIGINS", r#"["https://one.example", "https://other.example"]"#),
            ("FANLIGHT__PUSH__FCM__ALLOW_INSECURE_ENDPOINT", "true"),
            ("FANLIGHT__AUTH__KEYS", r#"[{ kid = "1", algorithm = "HS256", private_key = "secret" }]"#),
        ],
    )
    .unwrap();
    assert_eq!(config.server.allowed_origins, ["https://one.example", "https://other.example"]);
    assert!(config.push.fcm.allow_insecure_endpoint);
    assert_eq!(config.auth.keys[0].kid, "1");
    let sentence = refusal("", &[("FANLIGHT__AUTH__KEYS", "[{ private_key = secret }]")]);
    assert!(sentence.contains("FANLIGHT__AUTH__KEYS") && !sentence.contains("secret"), "{sentence}");
}

#[test]
fn secrets_are_read_from_files() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("url");
    let path = file.to_str().unwrap();
    let name = "FANLIGHT__POSTGRES__URL_FILE";
    std::fs::write(&file, "postgres://u:1 2@host/db\r\n").unwrap();
    let config = load("", &[(name, path)]).unwrap();
    assert_eq!(config.postgres.url.expose_secret(), "postgres://u:1 2@host/db");

    let missing = refusal("", &[(name, "/nowhere/url")]);
    assert!(missing.contains(name) && missing.contains("/nowhere/url"), "{missing}");
    let both = refusal("", &[(name, path), ("FANLIGHT__POSTGRES__URL", "postgres://other")]);
    assert!(both.contains(name) && both.contains("both set"), "{both}");
}

#[test]
fn the_well_known_variables_of_opentelemetry_set_what_ours_do_not() {
    let known = [("OTEL_EXPORTER_OTLP_ENDPOINT", "http://known:4318"), ("OTEL_SERVICE_NAME", "known")];
    let telemetry = |env: &[(&str, &str)]| {
        let telemetry = load("[telemetry]\nservice_name = \"file\"", env).unwrap().telemetry;
        [telemetry.endpoint, telemetry.service_name]
    };
    assert_eq!(telemetry(&[]), ["", "file"]);
    assert_eq!(telemetry(&known), ["http://known:4318", "known"]);
    let ours = ("FANLIGHT__TELEMETRY__ENDPOINT", "http://ours:4318");
    assert_eq!(telemetry(&[ours, known[0]]), ["http://ours:4318", "file"]);
}

#[test]
fn numbers_that_contradict_each_other_refuse_by_name() {
    for (overlay, key) in [
        ("[server]\ninternal_listen = \"0.0.0.0:8080\"", "server.internal_listen"),
        ("[server]\nhandshakes_max = 0", "server.handshakes_max"),
        ("[server]\nhandshakes_per_address_max = 0", "server.handshakes_per_address_max"),
        ("[server]\ntrusted_proxies = [\"proxy\"]", "server.trusted_proxies"),
        ("[postgres]\nconnections_max = 0", "postgres.connections_max"),
        ("[redis]\nlease_ms = 1000", "redis.lease_ms"),
        ("[redis]\nkey_prefix = \"a:b\"", "redis.key_prefix"),
        ("[delivery]\nack_deadline_ms = 1000", "delivery.ack_deadline_ms"),
        ("[delivery]\nsweep_interval_ms = 5000", "delivery.sweep_interval_ms"),
        ("[delivery]\nreconcile_interval_ms = 0", "delivery.reconcile_interval_ms"),
        ("[delivery]\nretention_hours = 0", "delivery.retention_hours"),
        ("[delivery]\nkept_events_per_user_max = 10", "delivery.kept_events_per_user_max"),
        ("[redis]\nsentinels = [\"one:26379\"]", "redis.sentinels"),
        ("[delivery]\nclaim_lease_ms = 500", "delivery.claim_lease_ms"),
        ("[delivery.push]\ncoalesce_window_ms = 60001", "delivery.push.coalesce_window_ms"),
        ("[delivery]\nreplay_concurrency = 20", "delivery.replay_concurrency"),
        ("[delivery.push]\nbackoff_first_ms = 700000", "delivery.push.backoff_first_ms"),
        ("[delivery.rooms]\nread_concurrency = 12", "delivery.rooms.read_concurrency"),
        ("[delivery.rooms]\ngate_changes_max = 256", "delivery.rooms.gate_changes_max"),
        ("[delivery.rooms]\ngap_grace_ms = 1000", "delivery.rooms.gap_grace_ms"),
        ("[sockets]\nqueue_bytes_max = 1000", "sockets.queue_bytes_max"),
        ("[sockets]\nmemory_bytes_max = 1000", "sockets.memory_bytes_max"),
        ("[sockets]\nhandshakes_per_second = 0", "sockets"),
        ("[push.fcm]\nenabled = true", "push.fcm.service_account"),
        ("[throttle]\nlocal_keys_max = 0", "throttle.local_keys_max"),
        ("[telemetry]\nsample_ratio = 1.5", "telemetry.sample_ratio"),
        ("[telemetry]\nqueue_spans = 0", "telemetry.queue_spans"),
        ("[telemetry]\nendpoint = \"collector:4318\"", "telemetry.endpoint"),
    ] {
        let sentence = refusal(overlay, &[]);
        assert!(sentence.contains(key), "{key}: {sentence}");
    }
}

#[test]
fn a_node_without_signing_keys_is_told_how_to_make_one() {
    let config = load("environment = \"production\"", &[]).unwrap();
    let sentence = format!("{:#}", config.auth.key_ring().err().unwrap());
    assert!(sentence.contains("fanlight keys generate"), "{sentence}");
    assert!(sentence.contains("no signing key"), "{sentence}");
}

#[test]
fn secrets_do_not_appear_when_settings_are_printed() {
    let env = [
        ("FANLIGHT__POSTGRES__URL", "postgres://u:hunter2@h"),
        ("FANLIGHT__REDIS__URL", "redis://:hunter2@h"),
    ];
    assert!(!format!("{:?}", load("", &env).unwrap()).contains("hunter2"));
}

#[test]
fn a_service_account_is_read_from_a_file_and_must_be_googles_in_production() {
    let account = service_account("project", "http://127.0.0.1:9099/token");
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(&file, format!("{account:#}")).unwrap();
    let path = file.path().to_str().unwrap();
    let push = [
        ("FANLIGHT__PUSH__FCM__ENABLED", "true"),
        ("FANLIGHT__PUSH__FCM__BASE_URL", "http://127.0.0.1:9099"),
        ("FANLIGHT__PUSH__FCM__SERVICE_ACCOUNT_FILE", path),
    ];
    let with = |key, value| load("", &[push[0], push[1], push[2], (key, value)]);

    assert!(load("", &push).unwrap_err().to_string().contains("push.fcm.base_url"));
    let development = with("FANLIGHT__ENVIRONMENT", "development").unwrap();
    assert!(development.push.fcm.service_account.is_some());
    with("FANLIGHT__PUSH__FCM__ALLOW_INSECURE_ENDPOINT", "true").unwrap();
}
