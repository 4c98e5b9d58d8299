//! DuckDB through Python, and the TPC-H files of `tpchgen-cli`.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

/// The Python environment that `scripts/install-tools test` makes.
#[must_use]
pub fn venv() -> PathBuf {
    let cache = std::env::var_os("GLAREDB_CACHE").map_or_else(
        || PathBuf::from(std::env::var_os("HOME").unwrap_or_default()).join(".cache/glaredb"),
        PathBuf::from,
    );
    cache.join("venv")
}

/// Run a Python script of this package with arguments; its standard output.
#[must_use]
pub fn python(script: &str, arguments: &[&str]) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("python").join(script);
    let out = Command::new(venv().join("bin/python"))
        .arg(path)
        .args(arguments)
        .output()
        .expect("python runs: scripts/install-tools test");
    assert!(out.status.success(), "{script}: {}", String::from_utf8_lossy(&out.stderr));
    String::from_utf8_lossy(&out.stdout).into_owned()
}

/// Write TPC-H tables of a scale as `csv` or `parquet` files into a folder.
pub fn tpch_files(folder: &Path, scale: &str, format: &str) {
    let out = Command::new(venv().join("bin/tpchgen-cli"))
        .args([format, "-s", scale, "--output-dir"])
        .arg(folder)
        .output()
        .expect("tpchgen-cli runs: scripts/install-tools test");
    assert!(out.status.success(), "tpchgen-cli: {}", String::from_utf8_lossy(&out.stderr));
}
