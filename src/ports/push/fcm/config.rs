//! The settings of FCM, and which endpoints a production node accepts.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use reqwest::Url;
use secrecy::{ExposeSecret as _, SecretString};
use serde::Deserialize;

use crate::ports::push::fcm::auth::ServiceAccount;

const TIMEOUT_MS_MAX: u64 = 60_000;

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Without it no phone is woken.
    pub enabled: bool,
    /// The service account's JSON, as the Firebase console hands it out.
    pub service_account: Option<SecretString>,
    /// Names a file that holds it.
    pub service_account_file: Option<PathBuf>,
    /// Another project than the service account's own.
    pub project_id: Option<String>,
    pub base_url: String,
    /// Another token endpoint than the service account's own.
    pub token_url: Option<String>,
    /// How long one request to Google may take; a push, with its access token, twice as long.
    pub timeout_ms: u64,
    /// Lets a production node send to an endpoint that is not Google's, or not https.
    pub allow_insecure_endpoint: bool,
}

impl Config {
    /// Refuses what cannot work, and in production any endpoint that is not Google's: what a push says, and the
    /// right to push, would go there.
    ///
    /// # Errors
    /// One sentence that names the key and what is wrong with it.
    pub fn check(&self, production: bool) -> anyhow::Result<()> {
        if !self.enabled {
            return Ok(());
        }
        ensure!(
            (1..=TIMEOUT_MS_MAX).contains(&self.timeout_ms),
            "push.fcm.timeout_ms must be between 1 and {TIMEOUT_MS_MAX}"
        );
        let account = self.account()?;
        if production && !self.allow_insecure_endpoint {
            require_google("push.fcm.base_url", &self.send_url(&account.project_id)?)?;
            require_google("push.fcm.token_url", &account.token_url)?;
        }
        Ok(())
    }

    pub(super) fn timeout(&self) -> Duration {
        Duration::from_millis(self.timeout_ms)
    }

    /// The service account, with our overrides.
    pub(super) fn account(&self) -> anyhow::Result<ServiceAccount> {
        let json = match (&self.service_account, &self.service_account_file) {
            (Some(json), None) => json.expose_secret().to_owned(),
            (None, Some(path)) => std::fs::read_to_string(path)
                .with_context(|| format!("push.fcm.service_account_file: cannot read {}", path.display()))?,
            _ => bail!(
                "push.fcm.enabled needs either push.fcm.service_account or push.fcm.service_account_file"
            ),
        };
        let mut account = ServiceAccount::parse(&json).context("push.fcm.service_account")?;
        if let Some(url) = &self.token_url {
            account.token_url = Url::parse(url).context("push.fcm.token_url is not a URL")?;
        }
        if let Some(project_id) = &self.project_id {
            account.project_id.clone_from(project_id);
        }
        ensure!(
            is_project_id(&account.project_id),
            "push.fcm.project_id may only hold letters, digits, `-`, `.` and `:`"
        );
        Ok(account)
    }

    pub(super) fn send_url(&self, project_id: &str) -> anyhow::Result<Url> {
        let base = self.base_url.trim_end_matches('/');
        Url::parse(&format!("{base}/v1/projects/{project_id}/messages:send"))
            .context("push.fcm.base_url is not a URL")
    }
}

/// Part of a path: must not leave it.
fn is_project_id(text: &str) -> bool {
    !text.is_empty()
        && !text.starts_with('.')
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-.:".contains(&byte))
}

fn require_google(key: &str, url: &Url) -> anyhow::Result<()> {
    let google = url.host_str().is_some_and(|host| host.ends_with(".googleapis.com"));
    ensure!(
        google && url.scheme() == "https" && url.port().is_none(),
        "{key} must be an https address of googleapis.com in production (or set push.fcm.allow_insecure_endpoint)"
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dev::fcm::service_account;

    fn settings(token_uri: &str) -> Config {
        let account = service_account("project", token_uri);
        Config {
            enabled: true,
            service_account: Some(account.to_string().into()),
            service_account_file: None,
            project_id: None,
            base_url: "https://fcm.googleapis.com".to_owned(),
            token_url: None,
            timeout_ms: 10_000,
            allow_insecure_endpoint: false,
        }
    }

    fn refusal(settings: &Config) -> String {
        format!("{:#}", settings.check(true).expect_err("must be refused"))
    }

    #[test]
    fn production_pushes_only_to_google_over_https() {
        let google = settings("https://oauth2.googleapis.com/token");
        google.check(true).expect("these are Google's");

        for foreign in [
            "http://fcm.googleapis.com",
            "https://fcm.googleapis.com.example",
            "https://example/fcm.googleapis.com",
            "https://fcm.googleapis.com@example",
            "https://evilgoogleapis.com",
            "https://fcm.googleapis.com:8443",
            "http://127.0.0.1:9099",
        ] {
            let base = Config { base_url: foreign.to_owned(), ..google.clone() };
            assert!(refusal(&base).contains("push.fcm.base_url"), "{foreign}");
            let token = Config { token_url: Some(foreign.to_owned()), ..google.clone() };
            assert!(refusal(&token).contains("push.fcm.token_url"), "{foreign}");
            assert!(refusal(&settings(foreign)).contains("push.fcm.token_url"), "{foreign}");

            base.check(false).expect("development may use a fake");
            Config { allow_insecure_endpoint: true, ..base }.check(true).expect("told otherwise");
        }
    }

    #[test]
    fn a_service_account_is_needed_once_and_its_key_is_never_quoted() {
        let good = settings("https://oauth2.googleapis.com/token");
        let none = Config { service_account: None, ..good.clone() };
        assert!(refusal(&none).contains("needs either"));
        let both = Config { service_account_file: Some("/x".into()), ..good.clone() };
        assert!(refusal(&both).contains("needs either"));
        let wrong = Config { service_account: Some(r#"{"private_key": "CANARY""#.into()), ..good.clone() };
        assert!(refusal(&wrong).contains("not a service account's JSON"));
        assert!(!refusal(&wrong).contains("CANARY"));
        let off = Config { enabled: false, ..none };
        off.check(true).expect("push is off");
    }

    #[test]
    fn a_project_id_cannot_leave_its_path() {
        let good = settings("https://oauth2.googleapis.com/token");
        for project in ["", "a/b", "..", "a?b", "a#b", "a b"] {
            let wrong = Config { project_id: Some(project.to_owned()), ..good.clone() };
            assert!(refusal(&wrong).contains("push.fcm.project_id"), "{project}");
        }
    }
}
