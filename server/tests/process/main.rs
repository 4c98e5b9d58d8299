//! The `glaredb` process: how it starts, refuses to, is watched and stops; and what it serves.

#[allow(unreachable_pub, reason = "a library uses it too")]
#[path = "../../../tests/src/ports.rs"]
mod ports;
#[allow(dead_code, reason = "shared with the tests of the wire, which use all of it")]
#[path = "../wire/random.rs"]
mod random;
#[allow(dead_code, reason = "shared with the tests of the wire, which use all of it")]
#[path = "../wire/raw.rs"]
mod raw;

mod arrays_and_json;
mod client_encoding;
mod copy_files;
mod data_dir;
mod ddl;
#[cfg(feature = "failpoints")]
mod fail_points;
#[cfg(feature = "failpoints")]
mod failing_threads;
mod harness;
mod operators;
#[cfg(feature = "failpoints")]
mod recovery;
mod slow_clients;
mod sql;
mod wire_fuzz;

use std::{
    net::TcpListener,
    process::{Command, Output},
};

use harness::GLAREDB;
pub(crate) use harness::{Server, metric};

/// Runs a command that ends by itself.
fn run(arguments: &[&str]) -> Output {
    Command::new(GLAREDB).args(arguments).output().expect("the binary starts")
}

fn error_text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn a_second_server_on_the_same_data_names_the_first() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = Server::start(folder.path(), &[]);
    let data_dir = folder.path().to_str().expect("UTF-8");
    let output = run(&["server", "--port", "0", "--admin-port", "0", "--data-dir", data_dir]);
    assert_eq!(output.status.code(), Some(1));
    let text = error_text(&output);
    assert!(text.contains(&format!("(pid {})", server.pid())), "{text}");
}

#[test]
fn a_port_in_use_is_named() {
    let folder = tempfile::tempdir().expect("a folder");
    let taken = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let port = taken.local_addr().expect("bound").port().to_string();
    let data_dir = folder.path().to_str().expect("UTF-8");
    let output = run(&["server", "--port", &port, "--admin-port", "0", "--data-dir", data_dir]);
    assert_eq!(output.status.code(), Some(1));
    let text = error_text(&output);
    assert!(text.contains(&format!("cannot listen on 127.0.0.1:{port}")), "{text}");
    assert!(text.contains("in use"), "{text}");
}

#[test]
fn an_address_that_others_reach_needs_to_be_asked_for() {
    let folder = tempfile::tempdir().expect("a folder");
    let data_dir = folder.path().to_str().expect("UTF-8");
    let output = run(&["server", "--port", "0", "--listen", "0.0.0.0", "--data-dir", data_dir]);
    assert_eq!(output.status.code(), Some(1));
    assert!(error_text(&output).contains("--insecure"), "{}", error_text(&output));
    // And is then allowed.
    Server::start(folder.path(), &["--listen", "0.0.0.0", "--insecure"]);
}

#[test]
fn versions_and_wrong_arguments() {
    let output = run(&["--version"]);
    let expected = format!("glaredb {}\n", env!("CARGO_PKG_VERSION"));
    assert_eq!(String::from_utf8_lossy(&output.stdout), expected);
    assert_eq!(run(&["server"]).status.code(), Some(2));
    let output = run(&["server", "--data-dir", "x", "--memory-limit", "lots"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(error_text(&output).contains("lots"));
}

#[tokio::test]
async fn sigterm_ends_sessions_and_the_process_cleanly() {
    for signal in [rustix::process::Signal::TERM, rustix::process::Signal::INT] {
        let folder = tempfile::tempdir().expect("a folder");
        let mut server = Server::start(folder.path(), &[]);
        let (_client, connection) = server.connect().await;
        server.signal(signal);
        assert_eq!(connection.await.expect("no panic").as_deref(), Some("57P01"));
        assert_eq!(server.wait().code(), Some(0));
        server.line_with("stopped");
        // What it leaves can be opened again.
        let mut server = Server::start(folder.path(), &[]);
        server.signal(signal);
        assert_eq!(server.wait().code(), Some(0));
    }
}

#[tokio::test]
async fn operators_see_health_and_numbers() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = Server::start(folder.path(), &[]);
    let (_client, _connection) = server.connect().await;
    for path in ["/healthz", "/readyz"] {
        let answer = server.get(path);
        assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    }
    let answer = server.get("/metrics");
    assert!(answer.contains("content-type: text/plain; version=0.0.4"), "{answer}");
    for line in ["glaredb_ready 1", "glaredb_connections 1", "glaredb_connections_opened_total 1"] {
        assert!(answer.lines().any(|l| l == line), "{line} in {answer}");
    }
    for name in [
        "glaredb_statement_duration_seconds_bucket{le=\"+Inf\"}",
        "glaredb_commits_total",
        "glaredb_log_bytes_total",
        "glaredb_delta_bytes",
        "glaredb_checkpoint_bytes",
        "process_resident_memory_bytes",
    ] {
        assert!(answer.lines().any(|l| l.starts_with(&format!("{name} "))), "{name} in {answer}");
    }
    assert!(server.get("/nothing").starts_with("HTTP/1.1 404 "));
}

#[tokio::test]
async fn unknown_roles_and_databases_are_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = Server::start(folder.path(), &[]);
    for (who, code, message) in [
        ("user=joe", "28000", "role \"joe\" does not exist"),
        ("user=postgres dbname=shop", "3D000", "database \"shop\" does not exist"),
    ] {
        let config = format!("host=127.0.0.1 port={} {who}", server.port);
        let refused = tokio_postgres::connect(&config, tokio_postgres::NoTls).await;
        let error = refused.err().expect("refused");
        let error = error.as_db_error().expect("by the server");
        assert_eq!((error.code().code(), error.message()), (code, message));
    }
}

#[test]
fn logs_can_be_json() {
    let folder = tempfile::tempdir().expect("a folder");
    let data = folder.path().join("data");
    let server = Server::start(&data, &["--log-format", "json"]);
    server.signal(rustix::process::Signal::TERM);
    let line = server.line_with("\"stopped\"");
    assert!(line.starts_with('{') && line.ends_with('}'), "{line}");
    assert!(line.contains("\"level\":\"INFO\""), "{line}");
}

#[test]
fn logs_and_checkpoints_are_read_offline() {
    let folder = tempfile::tempdir().expect("a folder");
    let data_dir = folder.path().to_str().expect("UTF-8");
    let mut server = Server::start(folder.path(), &[]);
    server.signal(rustix::process::Signal::TERM);
    server.wait();

    let output = run(&["log", "dump", data_dir]);
    assert_eq!(output.status.code(), Some(0), "{}", error_text(&output));
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(text.contains(" commit "), "{text}");
    let output = run(&["checkpoint", "show", data_dir]);
    assert_eq!(output.status.code(), Some(0), "{}", error_text(&output));
    assert!(String::from_utf8_lossy(&output.stdout).starts_with("checkpoint 1 of database "));

    // Objects whose manifest is lost are named.
    let objects = std::fs::read_dir(folder.path().join("objects/checkpoint")).expect("a folder");
    let mut objects = objects.filter_map(|entry| Some(entry.ok()?.path()));
    let manifest = objects.find(|path| path.to_string_lossy().ends_with("-manifest"));
    let (manifest, away) = (manifest.expect("a manifest"), folder.path().join("away"));
    std::fs::rename(&manifest, &away).expect("moved");
    let other = manifest.with_file_name(
        manifest.file_name().expect("a name").to_string_lossy().replace("manifest", "open-0"),
    );
    std::fs::write(&other, "x").expect("writable");
    let output = run(&["checkpoint", "show", data_dir]);
    assert_eq!(output.status.code(), Some(0), "{}", error_text(&output));
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(text.contains("no checkpoint in") && text.contains("-open-0: of a"), "{text}");
    std::fs::rename(&away, &manifest).expect("moved back");

    // A bit that flipped in the identity of a log file.
    let log = std::fs::read_dir(folder.path().join("log"))
        .expect("a folder")
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.extension().is_some_and(|e| e == "log"))
        .min()
        .expect("a log file");
    let mut bytes = std::fs::read(&log).expect("readable");
    bytes[20] ^= 1;
    std::fs::write(&log, bytes).expect("writable");
    let output = run(&["log", "dump", data_dir]);
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stdout).contains("DAMAGED"));
    // The server does not start on it either, and says which file it is.
    let output = run(&["server", "--port", "0", "--admin-port", "0", "--data-dir", data_dir]);
    assert_eq!(output.status.code(), Some(1));
    let name = log.file_name().expect("a name").to_str().expect("UTF-8");
    assert!(error_text(&output).contains(name), "{}", error_text(&output));

    let output = run(&["log", "dump", "/nowhere"]);
    assert_eq!(output.status.code(), Some(1));
    let output = run(&["checkpoint", "show", "/nowhere"]);
    assert_eq!(output.status.code(), Some(1));
}
