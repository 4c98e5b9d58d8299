//! Servers that speak S3, each with a bucket of its own: `weed server -s3` and `moto`.

use std::{
    fs::File,
    path::Path,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use tempfile::TempDir;

use crate::{duck::venv, ports::free_port, server::Options};

pub mod proxy;

/// How long a start may take before the test fails.
const START_SECONDS_MAX: u64 = 120;

pub const BUCKET: &str = "glaredb";
pub const ACCESS_KEY_ID: &str = "test-key";
pub const SECRET_ACCESS_KEY: &str = "test-secret";

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum S3Kind {
    /// SeaweedFS: checks signatures.
    Weed,
    /// In memory; takes any keys.
    Moto,
}

/// A running server with an empty bucket. Killed when dropped.
pub struct S3Server {
    child: Child,
    pub port: u16,
    folder: TempDir,
}

impl S3Server {
    /// Starts it and makes the bucket.
    #[must_use]
    pub fn start(kind: S3Kind) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let port = free_port();
        let mut command = match kind {
            S3Kind::Weed => weed(folder.path(), port),
            S3Kind::Moto => {
                let mut command = Command::new(venv().join("bin/moto_server"));
                command.args(["-H", "127.0.0.1", "-p", &port.to_string()]);
                command
            }
        };
        let log = File::create(folder.path().join("log")).expect("a log file");
        let child = command
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("a second handle"))
            .stderr(log)
            .spawn()
            .expect("the server starts: scripts/install-tools test");
        let mut server = Self { child, port, folder };
        server.make_bucket();
        server
    }

    #[must_use]
    pub fn endpoint(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// A bucket, and an object in it: the first one makes the server reserve space, which takes a while.
    fn make_bucket(&mut self) {
        let url = format!("{}/{BUCKET}", self.endpoint());
        self.put(&url, "");
        self.put(&format!("{url}/first"), "first");
    }

    fn put(&mut self, url: &str, body: &str) {
        let begin = Instant::now();
        while begin.elapsed() < Duration::from_secs(START_SECONDS_MAX) {
            if let Some(status) = self.child.try_wait().expect("the child can be asked") {
                panic!("the S3 server ended with {status}:\n{}", self.log_text());
            }
            let made = Command::new("curl")
                .args(["-s", "-f", "-X", "PUT", "-d", body, "--aws-sigv4", "aws:amz:us-east-1:s3"])
                .args(["-H", "x-amz-content-sha256: UNSIGNED-PAYLOAD", "--user"])
                .arg(format!("{ACCESS_KEY_ID}:{SECRET_ACCESS_KEY}"))
                .arg(url)
                .output()
                .expect("curl runs: scripts/install-tools test");
            if made.status.success() {
                return;
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        panic!("no {url} after {START_SECONDS_MAX} s:\n{}", self.log_text());
    }

    fn log_text(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }
}

/// How our server is told to use an S3 server: by flags, but for the keys, which are in the environment.
#[must_use]
pub fn options(endpoint: &str, storage: Option<&str>) -> Options {
    let mut arguments =
        vec!["--s3-endpoint".to_owned(), endpoint.to_owned(), "--storage-timeout=20".to_owned()];
    if let Some(storage) = storage {
        arguments.extend(["--storage".to_owned(), storage.to_owned()]);
    }
    let environment = [
        ("AWS_ACCESS_KEY_ID", ACCESS_KEY_ID),
        ("AWS_SECRET_ACCESS_KEY", SECRET_ACCESS_KEY),
        ("AWS_REGION", "us-east-1"),
    ];
    Options {
        arguments,
        environment: environment.map(|(k, v)| (k.to_owned(), v.to_owned())).into(),
        wrapper: Vec::new(),
    }
}

fn weed(folder: &Path, port: u16) -> Command {
    let config = format!(
        r#"{{"identities": [{{"name": "test", "actions": ["Admin", "Read", "Write", "List"],
            "credentials": [{{"accessKey": "{ACCESS_KEY_ID}", "secretKey": "{SECRET_ACCESS_KEY}"}}]}}]}}"#
    );
    std::fs::write(folder.join("s3.json"), config).expect("a configuration file");
    std::fs::create_dir(folder.join("data")).expect("a data folder");
    let mut command = Command::new(venv().join("bin/weed"));
    command.args(["server", "-ip=127.0.0.1", "-ip.bind=127.0.0.1", "-master.telemetry=false"]);
    command.args(["-s3", "-s3.port.iceberg=0", "-s3.port.lance=0", "-s3.iam=false"]);
    // Small volumes, so that a test does not reserve gigabytes.
    command.args(["-volume.max=50", "-master.volumeSizeLimitMB=64"]);
    command.arg(format!("-s3.port={port}"));
    for option in [
        "master.port",
        "master.port.grpc",
        "volume.port",
        "volume.port.grpc",
        "filer.port",
        "filer.port.grpc",
        "s3.port.grpc",
    ] {
        command.arg(format!("-{option}={}", free_port()));
    }
    command.arg(format!("-dir={}", folder.join("data").display()));
    command.arg(format!("-s3.config={}", folder.join("s3.json").display()));
    command
}

impl Drop for S3Server {
    fn drop(&mut self) {
        // It may have ended by itself: nothing to do then.
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            let log = self.log_text();
            let tail = log.len().saturating_sub(4_000);
            eprintln!(
                "--- end of the S3 server's log\n{}",
                String::from_utf8_lossy(&log.as_bytes()[tail..])
            );
        }
    }
}
