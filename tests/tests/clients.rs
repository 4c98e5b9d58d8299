//! Drivers as they come from their registries do what somebody does with them on the first day: the
//! scripts of `tests/clients`, each on a server of its own.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use glaredb_tests::{duck::venv, server::Server};

/// Where `scripts/install-tools test` finds or puts the driver of Java.
const PGJDBC: &str = "/usr/share/java/postgresql.jar";

fn script(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("clients").join(name)
}

/// Runs a client's day, which ends with the word `done`.
fn spend_the_day(command: &mut Command) {
    let output = command.output().unwrap_or_else(|e| panic!("{command:?}: {e}"));
    let (out, err) =
        (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success() && out.trim_end().ends_with("done"), "{out}\n{err}");
}

fn python(name: &str) {
    let server = Server::start();
    let python = venv().join("bin/python");
    spend_the_day(Command::new(python).arg(script(name)).arg(server.port.to_string()));
}

#[test]
fn psycopg() {
    python("psycopg_day.py");
}

#[test]
fn sqlalchemy_core() {
    python("sqlalchemy_day.py");
}

#[test]
fn asyncpg() {
    python("asyncpg_day.py");
}

#[test]
fn binary_copy() {
    python("binary_copy.py");
}

#[test]
fn duckdb_attaches() {
    python("duckdb_day.py");
}

fn node(name: &str) {
    let server = Server::start();
    let modules = venv().with_file_name("node").join("node_modules");
    spend_the_day(
        Command::new("node")
            .env("NODE_PATH", modules)
            .arg(script(name))
            .arg(server.port.to_string()),
    );
}

#[test]
fn node_postgres() {
    node("node_postgres_day.js");
}

#[test]
fn postgres_js() {
    node("postgres_js_day.js");
}

#[test]
fn pgjdbc() {
    let server = Server::start();
    let classes = tempfile::tempdir().expect("a folder");
    let compiled = Command::new("javac")
        .args(["-cp", PGJDBC, "-d"])
        .arg(classes.path())
        .arg(script("Day.java"))
        .output()
        .expect("javac runs: scripts/install-tools test");
    assert!(compiled.status.success(), "{}", String::from_utf8_lossy(&compiled.stderr));
    let path = format!("{PGJDBC}:{}", classes.path().display());
    spend_the_day(Command::new("java").args(["-cp", &path, "Day"]).arg(server.port.to_string()));
}
