//! Where blobs are kept, as the settings say it.

use std::path::PathBuf;

use anyhow::{Context as _, bail, ensure};
use object_store::aws::{AmazonS3, AmazonS3Builder};
use object_store::{BackoffConfig, ClientOptions, RetryConfig};
use reqwest::Url;
use secrecy::{ExposeSecret as _, SecretString};
use serde::Deserialize;

use super::{CONNECT_TIMEOUT, OPERATION_TIMEOUT};

/// A request that failed is repeated so often while the caller's own deadline lasts.
const RETRIES_MAX: usize = 3;

/// How an S3-compatible store is reached.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct S3Config {
    /// None: Amazon's own, of the region.
    pub endpoint: Option<String>,
    pub region: String,
    pub access_key_id: Option<SecretString>,
    pub secret_access_key: Option<SecretString>,
    /// Lets a production node speak to an endpoint without TLS.
    pub allow_insecure_endpoint: bool,
}

/// A store, by its URL.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Location {
    Directory(PathBuf),
    S3 { bucket: String, prefix: String },
}

impl Location {
    /// # Errors
    /// One sentence that says what it may be.
    pub fn parse(text: &str) -> anyhow::Result<Self> {
        let url = Url::parse(text).ok().filter(|url| url.query().is_none() && url.fragment().is_none());
        match url.as_ref().map(|url| (url.scheme(), url)) {
            Some(("file", url)) if url.host().is_none() => {
                let path = url.to_file_path().ok().filter(|path| path.parent().is_some());
                path.map(Self::Directory)
                    .context("must name a directory, such as file:///var/lib/fanlight/uploads")
            }
            Some(("s3", url)) if url.username().is_empty() && url.password().is_none() => {
                let bucket = url.host_str().unwrap_or_default().to_owned();
                ensure!(!bucket.is_empty(), "must name a bucket, such as s3://fanlight-uploads");
                Ok(Self::S3 { bucket, prefix: url.path().trim_matches('/').to_owned() })
            }
            _ => bail!("must be file:///… or s3://bucket, without credentials"),
        }
    }
}

impl S3Config {
    /// Refuses what cannot work, and in production an endpoint that would hear everything in the clear.
    ///
    /// # Errors
    /// One sentence that names the key and what is wrong with it.
    pub fn check(&self, production: bool) -> anyhow::Result<()> {
        ensure!(!self.region.is_empty(), "uploads.s3.region must not be empty");
        ensure!(
            self.access_key_id.is_some() && self.secret_access_key.is_some(),
            "uploads.store in S3 needs uploads.s3.access_key_id and uploads.s3.secret_access_key"
        );
        let Some(endpoint) = &self.endpoint else { return Ok(()) };
        let url = Url::parse(endpoint).ok().filter(|url| matches!(url.scheme(), "https" | "http"));
        let url = url.context("uploads.s3.endpoint must be an https URL")?;
        ensure!(
            url.scheme() == "https" || !production || self.allow_insecure_endpoint,
            "uploads.s3.endpoint must be https in production (or set uploads.s3.allow_insecure_endpoint)"
        );
        Ok(())
    }

    pub(super) fn open(&self, bucket: &str) -> anyhow::Result<AmazonS3> {
        let secret = |value: &Option<SecretString>| {
            value.as_ref().map(|secret| secret.expose_secret().to_owned()).unwrap_or_default()
        };
        // How long an operation takes is bounded by who asks: a download is as slow as its client.
        let client = ClientOptions::new()
            .with_timeout_disabled()
            .with_connect_timeout(CONNECT_TIMEOUT)
            .with_allow_http(self.endpoint.as_ref().is_some_and(|url| url.starts_with("http://")));
        let retry = RetryConfig {
            backoff: BackoffConfig::default(),
            max_retries: RETRIES_MAX,
            retry_timeout: OPERATION_TIMEOUT,
        };
        let mut builder = AmazonS3Builder::new()
            .with_bucket_name(bucket)
            .with_region(&self.region)
            .with_access_key_id(secret(&self.access_key_id))
            .with_secret_access_key(secret(&self.secret_access_key))
            .with_client_options(client)
            .with_retry(retry);
        if let Some(endpoint) = &self.endpoint {
            builder = builder.with_endpoint(endpoint.trim_end_matches('/'));
        }
        builder.build().context("uploads.s3")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_store_is_a_directory_or_a_bucket() {
        let directory = Location::parse("file:///var/lib/fanlight/uploads").unwrap();
        assert_eq!(directory, Location::Directory("/var/lib/fanlight/uploads".into()));
        for (text, prefix) in [("s3://files", ""), ("s3://files/", ""), ("s3://files/a/b/", "a/b")] {
            let expected = Location::S3 { bucket: "files".to_owned(), prefix: prefix.to_owned() };
            assert_eq!(Location::parse(text).unwrap(), expected, "{text}");
        }
        for text in [
            "",
            "uploads",
            "/var/lib",
            "file:///",
            "file://host/a",
            "s3://",
            "s3://key:secret@files",
            "https://a",
        ] {
            assert!(Location::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn an_endpoint_in_the_clear_and_missing_keys_are_refused_by_name() {
        let good = S3Config {
            endpoint: Some("https://s3.example".to_owned()),
            region: "eu-west-1".to_owned(),
            access_key_id: Some("id".into()),
            secret_access_key: Some("CANARY".into()),
            allow_insecure_endpoint: false,
        };
        good.check(true).unwrap();
        good.open("bucket").unwrap();
        let clear = S3Config { endpoint: Some("http://s3.example".to_owned()), ..good.clone() };
        clear.check(false).unwrap();
        S3Config { allow_insecure_endpoint: true, ..clear.clone() }.check(true).unwrap();
        let odd = S3Config { endpoint: Some("s3.example".to_owned()), ..good.clone() };
        let keyless = S3Config { secret_access_key: None, ..good.clone() };
        let nowhere = S3Config { region: String::new(), ..good.clone() };
        for (config, key) in
            [(clear, "endpoint"), (odd, "endpoint"), (keyless, "secret_access_key"), (nowhere, "region")]
        {
            let refusal = config.check(true).unwrap_err().to_string();
            assert!(
                refusal.contains(&format!("uploads.s3.{key}")) && !refusal.contains("CANARY"),
                "{refusal}"
            );
        }
        assert!(!format!("{good:?}").contains("CANARY"));
    }
}
