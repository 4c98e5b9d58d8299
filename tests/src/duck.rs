//! DuckDB through Python, and the TPC-H files of `tpchgen-cli`.

use std::{
    path::{Path, PathBuf},
    process::{Command, Stdio},
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
    let out = generator(format, scale)
        .arg("--output-dir")
        .arg(folder)
        .output()
        .expect("tpchgen-cli runs: scripts/install-tools test");
    assert!(out.status.success(), "tpchgen-cli: {}", String::from_utf8_lossy(&out.stderr));
}

/// Write one table of TPC-H as a `csv` file into a folder.
pub fn tpch_table(folder: &Path, scale: &str, table: &str) {
    let mut command = generator("csv", scale);
    command.args(["--tables", table, "--output-dir"]).arg(folder);
    let out = command.output().expect("tpchgen-cli runs: scripts/install-tools test");
    assert!(out.status.success(), "tpchgen-cli: {}", String::from_utf8_lossy(&out.stderr));
}

/// The text of a table of TPC-H, csv with a header, into the standard input of another program, so that
/// it is never on disk. Its end is that program's, with what it wrote.
pub fn tpch_pipe(scale: &str, table: &str, into: &mut Command) -> std::process::Output {
    let mut source = generator("csv", scale)
        .args(["--tables", table, "--stdout", "--quiet"])
        .stdout(Stdio::piped())
        .spawn()
        .expect("tpchgen-cli runs: scripts/install-tools test");
    let text = source.stdout.take().expect("it is piped");
    let out = into.stdin(text).output().expect("the program runs");
    let status = source.wait().expect("it was started");
    assert!(status.success() || !out.status.success(), "tpchgen-cli {table}: {status}");
    out
}

fn generator(format: &str, scale: &str) -> Command {
    let mut command = Command::new(venv().join("bin/tpchgen-cli"));
    command.args([format, "-s", scale]);
    command
}
