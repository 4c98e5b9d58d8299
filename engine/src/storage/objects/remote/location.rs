//! Which bucket, how it is reached, and with which keys.

use std::{fmt, sync::Arc, time::Duration};

use glaredb_txn::env::Random;
use object_store::{
    ClientOptions, RetryConfig, aws::AmazonS3Builder, azure::MicrosoftAzureBuilder,
    gcp::GoogleCloudStorageBuilder,
};

use super::{Limits, RemoteObjects, RemoteStore};
use crate::storage::objects::ObjectName;

/// Time to reach the store.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Service {
    S3,
    Google,
    Azure,
}

impl Service {
    const ALL: [(&'static str, Self); 3] =
        [("s3://", Self::S3), ("gs://", Self::Google), ("az://", Self::Azure)];

    fn scheme(self) -> &'static str {
        Self::ALL.iter().find(|(_, service)| *service == self).map_or("", |(scheme, _)| scheme)
    }
}

/// A bucket and a folder in it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RemoteLocation {
    service: Service,
    bucket: String,
    /// Without slashes at its ends; may be empty.
    folder: String,
}

/// How S3 is reached. What is `None` is taken from the variables `AWS_…`, as by Amazon's own tools.
#[derive(Clone, Default)]
pub struct S3Options {
    /// `http://HOST:PORT` or `https://…`.
    pub endpoint: Option<String>,
    pub region: Option<String>,
    /// The bucket in the path and not in the host's name. Without it: with an endpoint, yes.
    pub path_style: Option<bool>,
    pub access_key_id: Option<String>,
    pub secret_access_key: Option<String>,
}

/// Without the secret.
impl fmt::Debug for S3Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("S3Options")
            .field("endpoint", &self.endpoint)
            .field("region", &self.region)
            .field("path_style", &self.path_style)
            .field("access_key_id", &self.access_key_id)
            .finish_non_exhaustive()
    }
}

/// Why a location is none, or cannot be used as it was given.
#[derive(Debug, thiserror::Error)]
pub enum LocationError {
    #[error(
        "{0:?} is not a storage location: a path, file:///PATH, s3://BUCKET/PREFIX, \
         gs://BUCKET/PREFIX or az://CONTAINER/PREFIX is expected"
    )]
    NotALocation(String),
    #[error("{0:?} names no bucket")]
    NoBucket(String),
    #[error(
        "{url:?}: {prefix:?} cannot be a prefix; its parts are letters, digits, '-', '_' and '.'"
    )]
    Prefix { url: String, prefix: String },
    #[error("{0:?} is not an S3 endpoint; http://HOST:PORT or https://HOST is expected")]
    Endpoint(String),
    #[error("{url}: {reason}; check the keys, the region and the endpoint that were given")]
    Options { url: String, reason: String },
    #[error("threads for {url}: {reason}")]
    Threads { url: String, reason: String },
}

impl RemoteLocation {
    /// `None` if it is no bucket's URL.
    pub fn parse(url: &str) -> Option<Result<Self, LocationError>> {
        let (scheme, service) =
            Service::ALL.into_iter().find(|(scheme, _)| url.starts_with(scheme))?;
        Some(Self::parse_rest(url, &url[scheme.len()..], service))
    }

    fn parse_rest(url: &str, rest: &str, service: Service) -> Result<Self, LocationError> {
        let (bucket, folder) = rest.split_once('/').unwrap_or((rest, ""));
        if ObjectName::new(bucket).is_err() {
            return Err(LocationError::NoBucket(url.to_owned()));
        }
        let folder = folder.strip_suffix('/').unwrap_or(folder);
        if !folder.is_empty() && ObjectName::new(folder).is_err() {
            return Err(LocationError::Prefix { url: url.to_owned(), prefix: folder.to_owned() });
        }
        Ok(Self { service, bucket: bucket.to_owned(), folder: folder.to_owned() })
    }

    /// The same for the same place, however it was written.
    #[must_use]
    pub fn url(&self) -> String {
        let slash = if self.folder.is_empty() { "" } else { "/" };
        format!("{}{}{slash}{}", self.service.scheme(), self.bucket, self.folder)
    }

    /// Objects in the folder `below` of this location. Nothing is asked of the store yet.
    pub fn connect(
        &self,
        below: &str,
        s3: &S3Options,
        limits: Limits,
        random: Arc<dyn Random>,
    ) -> Result<RemoteObjects, LocationError> {
        let (store, endpoint) = self.store(s3, limits)?;
        let shown = match endpoint {
            Some(endpoint) => format!("{} at {endpoint}", self.url()),
            None => self.url(),
        };
        let folder = format!("{}/{below}", self.folder);
        let connected = RemoteObjects::new(store, folder.trim_matches('/'), &shown, limits, random);
        connected
            .map_err(|error| LocationError::Threads { url: self.url(), reason: error.to_string() })
    }

    /// The client, and the endpoint it talks to where that was chosen.
    fn store(
        &self,
        s3: &S3Options,
        limits: Limits,
    ) -> Result<(Arc<dyn RemoteStore>, Option<String>), LocationError> {
        // Attempts are repeated by us: who repeats a write must look at its outcome.
        let retry = RetryConfig { max_retries: 0, ..RetryConfig::default() };
        let client = ClientOptions::new()
            .with_timeout(limits.attempt)
            .with_connect_timeout(CONNECT_TIMEOUT.min(limits.attempt));
        let refused = |error: object_store::Error| LocationError::Options {
            url: self.url(),
            reason: error.to_string(),
        };
        match self.service {
            Service::S3 => {
                let (builder, endpoint) = self.s3_builder(s3, client)?;
                let store = builder.with_retry(retry).build().map_err(refused)?;
                Ok((Arc::new(store), endpoint))
            }
            Service::Google => {
                let builder = GoogleCloudStorageBuilder::from_env()
                    .with_bucket_name(&self.bucket)
                    .with_client_options(client)
                    .with_retry(retry);
                Ok((Arc::new(builder.build().map_err(refused)?), None))
            }
            Service::Azure => {
                let builder = MicrosoftAzureBuilder::from_env()
                    .with_container_name(&self.bucket)
                    .with_client_options(client)
                    .with_retry(retry);
                Ok((Arc::new(builder.build().map_err(refused)?), None))
            }
        }
    }

    fn s3_builder(
        &self,
        s3: &S3Options,
        client: ClientOptions,
    ) -> Result<(AmazonS3Builder, Option<String>), LocationError> {
        use object_store::aws::AmazonS3ConfigKey::{Endpoint, S3Endpoint};

        let mut builder = AmazonS3Builder::from_env();
        let of_environment =
            builder.get_config_value(&S3Endpoint).or_else(|| builder.get_config_value(&Endpoint));
        let endpoint = s3.endpoint.clone().or(of_environment);
        let path_style = s3.path_style.unwrap_or(endpoint.is_some());
        let mut client = client;
        if let Some(endpoint) = &endpoint {
            let host = endpoint.strip_prefix("http://").or(endpoint.strip_prefix("https://"));
            let host = host.filter(|host| !host.trim_end_matches('/').is_empty());
            let host = host.ok_or_else(|| LocationError::Endpoint(endpoint.clone()))?;
            let scheme = &endpoint[..endpoint.len() - host.len()];
            client = client.with_allow_http(scheme == "http://");
            let used = match path_style {
                true => endpoint.clone(),
                // The client takes an endpoint with the bucket in it.
                false => format!("{scheme}{}.{host}", self.bucket),
            };
            builder = builder.with_config(S3Endpoint, used);
        }
        if let Some(region) = &s3.region {
            builder = builder.with_region(region);
        }
        if let Some(id) = &s3.access_key_id {
            builder = builder.with_access_key_id(id);
        }
        if let Some(secret) = &s3.secret_access_key {
            builder = builder.with_secret_access_key(secret);
        }
        let builder = builder
            .with_bucket_name(&self.bucket)
            .with_virtual_hosted_style_request(!path_style)
            .with_client_options(client);
        Ok((builder, endpoint))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(url: &str) -> Result<RemoteLocation, LocationError> {
        RemoteLocation::parse(url).expect("a bucket's URL")
    }

    #[test]
    fn a_place_has_one_url() {
        for (given, url) in [
            ("s3://bucket", "s3://bucket"),
            ("s3://bucket/", "s3://bucket"),
            ("s3://bucket/a/b/", "s3://bucket/a/b"),
            ("gs://bucket/a", "gs://bucket/a"),
            ("az://container/a", "az://container/a"),
        ] {
            assert_eq!(parse(given).expect(given).url(), url);
        }
        for path in ["/srv/data", "file:///srv", "s4://bucket", "s3:/bucket"] {
            assert!(RemoteLocation::parse(path).is_none(), "{path}");
        }
    }

    #[test]
    fn nonsense_is_refused_by_name() {
        for (url, named) in [
            ("s3://", "\"s3://\" names no bucket"),
            ("s3:///prefix", "\"s3:///prefix\" names no bucket"),
            ("s3://bucket//x", "\"/x\" cannot be a prefix"),
            ("s3://bucket/a b", "\"a b\" cannot be a prefix"),
            ("gs://bucket/../x", "\"../x\" cannot be a prefix"),
        ] {
            let error = parse(url).expect_err(url).to_string();
            assert!(error.contains(named), "{error}");
        }
    }

    #[test]
    fn an_endpoint_is_a_url() {
        let location = parse("s3://bucket").expect("valid");
        for endpoint in ["127.0.0.1:9000", "http://", "ftp://host", "https:///"] {
            let s3 = S3Options { endpoint: Some(endpoint.to_owned()), ..S3Options::default() };
            let error = location.s3_builder(&s3, ClientOptions::new()).map(drop);
            let error = error.expect_err(endpoint).to_string();
            assert!(error.contains(endpoint), "{error}");
        }
    }

    #[test]
    fn a_secret_is_not_shown() {
        let secret_access_key = Some("hunter2".to_owned());
        let options = S3Options { secret_access_key, ..S3Options::default() };
        assert!(!format!("{options:?}").contains("hunter2"));
    }
}
