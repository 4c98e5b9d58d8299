//! The `glaredb` process: how it starts, refuses to, is watched and stops; and what it serves.

#[allow(unreachable_pub, reason = "a library uses it too")]
#[path = "../../../tests/src/ports.rs"]
mod ports;
#[path = "../wire/random.rs"]
mod random;
#[allow(dead_code, reason = "shared with the tests of the wire, which use all of it")]
#[path = "../wire/raw.rs"]
mod raw;

mod sql;
mod streams;

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{TcpListener, TcpStream},
    path::Path,
    process::{Child, Command, ExitStatus, Output, Stdio},
    sync::mpsc,
    time::Duration,
};

const GLAREDB: &str = env!("CARGO_BIN_EXE_glaredb");
const PATIENCE: Duration = Duration::from_secs(30);

/// A server that runs; killed when dropped.
pub(crate) struct Server {
    child: Child,
    pub(crate) port: u16,
    admin_port: u16,
    lines: mpsc::Receiver<String>,
}

impl Server {
    /// Starts and waits until it says that it is ready.
    pub(crate) fn start(data_dir: &Path, arguments: &[&str]) -> Self {
        let (port, admin_port) = (ports::free_port(), ports::free_port());
        let mut child = Command::new(GLAREDB)
            .args(["server", "--port", &port.to_string()])
            .args(["--admin-port", &admin_port.to_string(), "--data-dir"])
            .arg(data_dir)
            .args(arguments)
            .stderr(Stdio::piped())
            .spawn()
            .expect("the binary starts");
        let log = BufReader::new(child.stderr.take().expect("piped"));
        let (send, lines) = mpsc::channel();
        std::thread::Builder::new()
            .spawn(move || {
                for line in log.lines().map_while(Result::ok) {
                    // Nobody listens any more when the test has ended.
                    let _ = send.send(line);
                }
            })
            .expect("a thread");
        let server = Self { child, port, admin_port, lines };
        server.line_with("ready");
        server
    }

    /// The next line of the log with this text in it.
    fn line_with(&self, text: &str) -> String {
        let mut seen = Vec::new();
        loop {
            match self.lines.recv_timeout(PATIENCE) {
                Ok(line) if line.contains(text) => return line,
                Ok(line) => seen.push(line),
                Err(error) => panic!("no line with {text:?}: {error}\n{}", seen.join("\n")),
            }
        }
    }

    fn signal(&self, signal: rustix::process::Signal) {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, signal).expect("it runs");
    }

    fn wait(&mut self) -> ExitStatus {
        let mut waited = Duration::ZERO;
        loop {
            if let Some(status) = self.child.try_wait().expect("a child") {
                return status;
            }
            assert!(waited < PATIENCE, "the server does not end");
            pause(Duration::from_millis(10));
            waited += Duration::from_millis(10);
        }
    }

    fn get(&self, path: &str) -> String {
        let mut stream = TcpStream::connect(("127.0.0.1", self.admin_port)).expect("it listens");
        write!(stream, "GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            .expect("sent");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("an answer");
        answer
    }

    pub(crate) async fn connect(
        &self,
    ) -> (tokio_postgres::Client, tokio::task::JoinHandle<Option<String>>) {
        let config = format!("host=127.0.0.1 port={} user=postgres", self.port);
        let (client, connection) =
            tokio_postgres::connect(&config, tokio_postgres::NoTls).await.expect("connects");
        let connection = tokio::spawn(async move {
            let error = connection.await.err()?;
            error.code().map(|code| code.code().to_owned())
        });
        (client, connection)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[allow(clippy::disallowed_methods, reason = "a test of a real process waits in real time")]
fn pause(time: Duration) {
    std::thread::sleep(time);
}

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
    assert!(text.contains(&format!("(pid {})", server.child.id())), "{text}");
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

#[test]
fn a_data_directory_that_is_a_file_is_refused() {
    let file = tempfile::NamedTempFile::new().expect("a file");
    let path = file.path().to_str().expect("UTF-8");
    let output = run(&["server", "--port", "0", "--admin-port", "0", "--data-dir", path]);
    assert_eq!(output.status.code(), Some(1));
    assert!(error_text(&output).contains(path), "{}", error_text(&output));
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
