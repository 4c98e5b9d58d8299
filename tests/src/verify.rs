//! `glaredb storage verify` from the command line.

use std::{path::Path, process::Command};

use crate::server::{Options, binary};

/// What it said.
#[derive(Debug)]
pub struct Verified {
    pub code: Option<i32>,
    /// Standard output: what is wrong, and orphans.
    pub findings: String,
    /// Standard error: what was looked at, and the summary.
    pub progress: String,
}

/// Of a data directory that no server uses. `options`: how the store is reached.
///
/// # Panics
/// The program does not start.
#[must_use]
pub fn verify(data_dir: &Path, options: &Options) -> Verified {
    let output = Command::new(binary())
        .args(["storage", "verify"])
        .arg(data_dir)
        .args(&options.arguments)
        .envs(options.environment.iter().map(|(name, value)| (name, value)))
        .output()
        .expect("it runs");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Verified {
        code: output.status.code(),
        findings: text(&output.stdout),
        progress: text(&output.stderr),
    }
}
