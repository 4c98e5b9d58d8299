//! The process under test.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::TcpStream,
    path::Path,
    process::{Child, Command, ExitStatus, Stdio},
    sync::mpsc,
    time::Duration,
};

use crate::ports;

pub(crate) const GLAREDB: &str = env!("CARGO_BIN_EXE_glaredb");
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// A server that runs; killed when dropped.
pub(crate) struct Server {
    child: Child,
    pub(crate) port: u16,
    admin_port: u16,
    pub(crate) lines: mpsc::Receiver<String>,
}

impl Server {
    /// Starts and waits until it says that it is ready.
    pub(crate) fn start(data_dir: &Path, arguments: &[&str]) -> Self {
        let server = Self::spawn(data_dir, arguments, "");
        server.line_with("ready: psql");
        server
    }

    /// Starts with these fail points (`FAILPOINTS` of the `fail` crate), and does not wait.
    pub(crate) fn spawn(data_dir: &Path, arguments: &[&str], fail_points: &str) -> Self {
        Self::spawn_by(&mut Command::new(GLAREDB), data_dir, arguments, fail_points)
    }

    /// Starts with a limit of open files, and waits until it says that it is ready.
    pub(crate) fn start_with_files(data_dir: &Path, files: u32) -> Self {
        let mut shell = Command::new("sh");
        shell.args(["-c", &format!("ulimit -n {files} && exec \"$0\" \"$@\""), GLAREDB]);
        let server = Self::spawn_by(&mut shell, data_dir, &[], "");
        server.line_with("ready: psql");
        server
    }

    fn spawn_by(
        command: &mut Command,
        data_dir: &Path,
        arguments: &[&str],
        fail_points: &str,
    ) -> Self {
        let (port, admin_port) = (ports::free_port(), ports::free_port());
        let mut child = command
            .args(["server", "--port", &port.to_string()])
            .args(["--admin-port", &admin_port.to_string(), "--data-dir"])
            .arg(data_dir)
            .args(arguments)
            .env("FAILPOINTS", fail_points)
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
        Self { child, port, admin_port, lines }
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn kill(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    pub(crate) fn is_running(&mut self) -> bool {
        self.child.try_wait().expect("a child").is_none()
    }

    /// The next line of the log with this text in it.
    pub(crate) fn line_with(&self, text: &str) -> String {
        let mut seen = Vec::new();
        loop {
            match self.lines.recv_timeout(PATIENCE) {
                Ok(line) if line.contains(text) => return line,
                Ok(line) => seen.push(line),
                Err(error) => panic!("no line with {text:?}: {error}\n{}", seen.join("\n")),
            }
        }
    }

    pub(crate) fn signal(&self, signal: rustix::process::Signal) {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, signal).expect("it runs");
    }

    pub(crate) fn wait(&mut self) -> ExitStatus {
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

    pub(crate) fn get(&self, path: &str) -> String {
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

/// A number that the server shows of itself.
pub(crate) fn metric(server: &Server, name: &str) -> f64 {
    let page = server.get("/metrics");
    let line = page.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    line.and_then(|value| value.parse().ok()).unwrap_or_else(|| panic!("no {name} in {page}"))
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[allow(clippy::disallowed_methods, reason = "a test of a real process waits in real time")]
pub(crate) fn pause(time: Duration) {
    std::thread::sleep(time);
}
