//! PostgreSQL 15 as a process: the source of expected results, and the peer of measurements.

use std::{
    path::{Path, PathBuf},
    process::Command,
    time::{Duration, Instant},
};

use tempfile::TempDir;

use crate::ports::free_port;

const BIN: &str = "/usr/lib/postgresql/15/bin";

/// A PostgreSQL cluster of its own, with fsync on; stopped when dropped.
pub struct Postgres {
    pub port: u16,
    data: PathBuf,
    _folder: TempDir,
}

impl Postgres {
    /// Make a cluster (C collation, UTF8, UTC) and start it; `settings` are lines of
    /// postgresql.conf.
    #[must_use]
    pub fn start(settings: &[&str]) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let data = folder.path().join("pg");
        // PostgreSQL refuses to run as root: the folder belongs to its own user.
        let owner = if rustix::process::geteuid().is_root() { Some("postgres") } else { None };
        if let Some(user) = owner {
            command(None, "chown").arg(user).arg(folder.path()).status().expect("chown runs");
        }
        let ok = |name: &str, output: std::process::Output| {
            assert!(output.status.success(), "{name}: {}", String::from_utf8_lossy(&output.stderr));
        };
        ok(
            "initdb",
            command(owner, &format!("{BIN}/initdb"))
                .args(["-U", "postgres", "-A", "trust", "--locale=C", "-E", "UTF8", "-D"])
                .arg(&data)
                .output()
                .expect("initdb runs"),
        );
        let port = free_port();
        let mut lines = format!(
            "port = {port}\nlisten_addresses = '127.0.0.1'\nunix_socket_directories = ''\n\
             timezone = 'UTC'\nlog_timezone = 'UTC'\n"
        );
        for line in settings {
            lines.push_str(line);
            lines.push('\n');
        }
        append(&data.join("postgresql.conf"), &lines);
        ok(
            "pg_ctl",
            command(owner, &format!("{BIN}/pg_ctl"))
                .args(["start", "-w", "-s", "-D"])
                .arg(&data)
                .arg("-l")
                .arg(folder.path().join("pg/log.txt"))
                .output()
                .expect("pg_ctl runs"),
        );
        let peer = Self { port, data, _folder: folder };
        peer.wait_ready();
        peer
    }

    fn wait_ready(&self) {
        let begin = Instant::now();
        while self.psql("select 1").is_err() {
            assert!(begin.elapsed() < Duration::from_secs(60), "PostgreSQL does not answer");
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    pub fn psql(&self, sql: &str) -> Result<String, String> {
        self.psql_in("postgres", sql)
    }

    /// In another database than `postgres`.
    pub fn psql_in(&self, database: &str, sql: &str) -> Result<String, String> {
        crate::client::psql(
            self.port,
            "postgres",
            &["-X", "-q", "-At", "-v", "ON_ERROR_STOP=1", "-d", database, "-c", sql],
        )
    }
}

fn append(path: &Path, text: &str) {
    let mut all = std::fs::read_to_string(path).expect("initdb wrote it");
    all.push_str(text);
    std::fs::write(path, all).expect("the configuration can be written");
}

/// The program, as another user where we are root.
fn command(user: Option<&str>, program: &str) -> Command {
    match user {
        Some(user) => {
            let mut command = Command::new("setpriv");
            command.args(["--reuid", user, "--regid", user, "--init-groups", program]);
            command.current_dir("/");
            command
        }
        None => Command::new(program),
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        let owner = if rustix::process::geteuid().is_root() { Some("postgres") } else { None };
        let _ = command(owner, &format!("{BIN}/pg_ctl"))
            .args(["stop", "-s", "-m", "immediate", "-D"])
            .arg(&self.data)
            .output();
    }
}
