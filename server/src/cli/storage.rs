//! Options that say where objects are and how the store is reached.

use std::{fs, path::PathBuf, time::Duration};

use glaredb_engine::storage::objects::{
    Limits, LocationError, S3Options, StorageLocation, StorageOptions,
};

#[derive(clap::Args, Debug)]
pub(crate) struct StorageArguments {
    /// Where checkpoints and segments are: a directory, s3://BUCKET/PREFIX, gs://BUCKET/PREFIX or
    /// az://CONTAINER/PREFIX. Without it, the data directory, or where it was at the first start.
    #[arg(long, value_name = "URL", value_parser = parse_location)]
    storage: Option<StorageLocation>,
    /// S3 endpoint other than Amazon's, such as http://127.0.0.1:9000. Without it,
    /// AWS_ENDPOINT_URL.
    #[arg(long, value_name = "URL")]
    s3_endpoint: Option<String>,
    /// S3 region. Without it, AWS_REGION, or us-east-1.
    #[arg(long, value_name = "NAME")]
    s3_region: Option<String>,
    /// Whether the bucket stands in the path of S3 requests and not in the host's name. Without it,
    /// so if there is an endpoint.
    #[arg(long, value_name = "BOOL", num_args = 0..=1, default_missing_value = "true")]
    s3_path_style: Option<bool>,
    /// Access key id for S3. Without it, AWS_ACCESS_KEY_ID, or what the machine was given.
    #[arg(long, value_name = "ID", requires = "s3_secret_access_key_file")]
    s3_access_key_id: Option<String>,
    /// File that holds the secret access key for S3. Without it, AWS_SECRET_ACCESS_KEY.
    #[arg(long, value_name = "FILE", requires = "s3_access_key_id")]
    s3_secret_access_key_file: Option<PathBuf>,
    /// Seconds for a request to the object store, with all its attempts.
    #[arg(long, value_name = "SECONDS", default_value_t = 60,
          value_parser = clap::value_parser!(u64).range(1..=3600))]
    storage_timeout: u64,
}

/// Why the options cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StorageArgumentsError {
    #[error("--s3-secret-access-key-file {}: {source}", path.display())]
    SecretFile { path: PathBuf, source: std::io::Error },
    #[error("--s3-secret-access-key-file {} is empty", .0.display())]
    NoSecret(PathBuf),
    #[error("{0} is given, but --storage {1} is not in S3")]
    NotS3(&'static str, String),
}

fn parse_location(text: &str) -> Result<StorageLocation, LocationError> {
    StorageLocation::parse(text)
}

impl StorageArguments {
    pub(crate) fn options(self) -> Result<StorageOptions, StorageArgumentsError> {
        let for_s3 = [
            (self.s3_endpoint.is_some(), "--s3-endpoint"),
            (self.s3_region.is_some(), "--s3-region"),
            (self.s3_path_style.is_some(), "--s3-path-style"),
            (self.s3_access_key_id.is_some(), "--s3-access-key-id"),
        ];
        if let Some(location) = &self.storage
            && !location.url().starts_with("s3://")
            && let Some((_, option)) = for_s3.into_iter().find(|(given, _)| *given)
        {
            return Err(StorageArgumentsError::NotS3(option, location.url()));
        }
        let request = Duration::from_secs(self.storage_timeout);
        let limits = Limits {
            attempt: Limits::default().attempt.min(request / 2),
            request,
            ..Limits::default()
        };
        let secret_access_key = self.s3_secret_access_key_file.map(read_secret).transpose()?;
        Ok(StorageOptions {
            location: self.storage,
            s3: S3Options {
                endpoint: self.s3_endpoint,
                region: self.s3_region,
                path_style: self.s3_path_style,
                access_key_id: self.s3_access_key_id,
                secret_access_key,
            },
            limits,
        })
    }
}

fn read_secret(path: PathBuf) -> Result<String, StorageArgumentsError> {
    let read = fs::read_to_string(&path);
    let text =
        read.map_err(|source| StorageArgumentsError::SecretFile { path: path.clone(), source })?;
    let secret = text.trim();
    if secret.is_empty() {
        return Err(StorageArgumentsError::NoSecret(path));
    }
    Ok(secret.to_owned())
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser, Debug)]
    struct Line {
        #[command(flatten)]
        storage: StorageArguments,
    }

    fn parse(arguments: &[&str]) -> Result<StorageArguments, String> {
        let line = Line::try_parse_from([&["test"], arguments].concat());
        line.map(|line| line.storage).map_err(|error| error.to_string())
    }

    #[test]
    fn options_say_where_objects_are() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("secret");
        fs::write(&file, "s3cr3t\n").expect("write");
        let arguments = parse(&[
            "--storage=s3://bucket/a",
            "--s3-endpoint=http://127.0.0.1:9000",
            "--s3-path-style",
            "--s3-access-key-id=id",
            "--s3-secret-access-key-file",
            file.to_str().expect("text"),
            "--storage-timeout=4",
        ]);
        let options = arguments.expect("valid").options().expect("usable");
        assert_eq!(options.location.expect("given").url(), "s3://bucket/a");
        assert_eq!(options.s3.path_style, Some(true));
        assert_eq!(options.s3.secret_access_key.as_deref(), Some("s3cr3t"));
        assert_eq!(options.limits.request, Duration::from_secs(4));
        assert_eq!(options.limits.attempt, Duration::from_secs(2));
        let none = parse(&[]).expect("valid").options().expect("usable");
        assert_eq!((none.location, none.limits), (None, Limits::default()));
    }

    #[test]
    fn nonsense_is_refused_by_name() {
        for (arguments, named) in [
            (&["--storage=ftp://host/x"][..], "ftp://host/x"),
            (&["--storage=s3://"], "s3://"),
            (&["--s3-path-style=perhaps"], "perhaps"),
            (&["--storage-timeout=0"], "0"),
            (&["--s3-access-key-id=id"], "--s3-secret-access-key-file"),
        ] {
            let error = parse(arguments).expect_err(named);
            assert!(error.contains(named), "{error}");
        }
        for (arguments, named) in [
            (
                &["--storage=/srv/x", "--s3-region=r"][..],
                "--s3-region is given, but --storage file:///srv/x",
            ),
            (
                &["--storage=s3://b", "--s3-access-key-id=i", "--s3-secret-access-key-file=/none"],
                "/none",
            ),
        ] {
            let error = parse(arguments).expect(named).options().expect_err(named).to_string();
            assert!(error.contains(named), "{error}");
        }
    }
}
