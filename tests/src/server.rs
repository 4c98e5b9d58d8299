//! The `glaredb` process.

use std::{
    fs::File,
    io::{Read, Write},
    net::TcpStream,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    sync::OnceLock,
    time::{Duration, Instant},
};

use tempfile::TempDir;

use crate::ports::free_port;

/// How long a start (with recovery) may take before the test fails.
const START_SECONDS_MAX: u64 = 120;

static BINARY: OnceLock<PathBuf> = OnceLock::new();

/// Use this binary from now on; the first call counts.
pub fn set_binary(path: PathBuf) {
    BINARY.get_or_init(|| path);
}

/// The binary under test: what [`set_binary`] said, else `GLAREDB_BIN`, else the one that was built
/// beside this test.
#[must_use]
pub fn binary() -> PathBuf {
    if let Some(path) = BINARY.get() {
        return path.clone();
    }
    if let Some(path) = std::env::var_os("GLAREDB_BIN") {
        return path.into();
    }
    let test = std::env::current_exe().expect("a running program has a path");
    let mut folder = test.parent().expect("a program lies in a folder");
    if folder.ends_with("deps") {
        folder = folder.parent().expect("deps lies in the profile's folder");
    }
    let path = folder.join("glaredb");
    assert!(
        path.exists(),
        "{} is not built: cargo build --workspace --all-features",
        path.display()
    );
    path
}

/// How to start a server.
#[derive(Default)]
pub struct Options {
    pub arguments: Vec<String>,
    pub environment: Vec<(String, String)>,
    /// Put before the binary: `strace -f …`.
    pub wrapper: Vec<String>,
}

/// A running server. Killed (-9) when dropped.
pub struct Server {
    child: Child,
    pub port: u16,
    pub admin_port: u16,
    data_dir: PathBuf,
    log: PathBuf,
    // Holds the folder for as long as the server lives.
    folder: Option<TempDir>,
}

impl Server {
    /// Start on an empty folder of its own.
    #[must_use]
    pub fn start() -> Self {
        Self::start_with(Options::default())
    }

    #[must_use]
    pub fn start_with(options: Options) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let mut server = Self::start_in(&folder.path().join("data"), options);
        server.folder = Some(folder);
        server
    }

    /// Start on a given data folder and wait until it answers queries.
    #[must_use]
    pub fn start_in(data_dir: &Path, options: Options) -> Self {
        let mut server = Self::spawn_in(data_dir, options);
        server.wait_ready();
        server
    }

    /// Start, but do not wait for it.
    #[must_use]
    pub fn spawn_in(data_dir: &Path, options: Options) -> Self {
        let (port, admin_port) = (free_port(), free_port());
        let log = data_dir.with_extension(format!("{port}.log"));
        if let Some(parent) = log.parent() {
            std::fs::create_dir_all(parent).expect("the data folder's parent");
        }
        let out = File::create(&log).expect("a log file beside the data folder");
        let mut words = options.wrapper;
        words.push(binary().to_string_lossy().into_owned());
        let child = Command::new(&words[0])
            .args(&words[1..])
            .args(["server", "--port", &port.to_string(), "--admin-port", &admin_port.to_string()])
            .arg("--data-dir")
            .arg(data_dir)
            .args(&options.arguments)
            .envs(options.environment)
            .stdin(Stdio::null())
            .stdout(out.try_clone().expect("a second handle"))
            .stderr(out)
            .spawn()
            .expect("the server starts");
        Self { child, port, admin_port, data_dir: data_dir.to_owned(), log, folder: None }
    }

    /// Kill and start again on the same folder.
    #[must_use]
    pub fn kill_and_restart(mut self) -> Self {
        self.kill();
        self.start_again(Options::default())
    }

    /// Start again on the same folder after the process ended.
    #[must_use]
    pub fn start_again(mut self, options: Options) -> Self {
        let folder = self.folder.take();
        let mut next = Self::start_in(&self.data_dir, options);
        next.folder = folder;
        next
    }

    fn wait_ready(&mut self) {
        let begin = Instant::now();
        while begin.elapsed() < Duration::from_secs(START_SECONDS_MAX) {
            if let Some(status) = self.child.try_wait().expect("the child can be asked") {
                panic!("server ended with {status} while starting:\n{}", self.log_text());
            }
            if self.psql("select 1").is_ok() {
                return;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        panic!("server not ready after {START_SECONDS_MAX} s:\n{}", self.log_text());
    }

    /// kill -9.
    pub fn kill(&mut self) {
        // The process may have ended by itself: nothing to do then.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// SIGTERM, then wait for the end.
    pub fn terminate(&mut self, within: Duration) -> ExitStatus {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).expect("SIGTERM is sent");
        self.wait_end(within)
    }

    /// Wait until the process ends by itself.
    pub fn wait_end(&mut self, within: Duration) -> ExitStatus {
        let begin = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().expect("the child can be asked") {
                return status;
            }
            assert!(
                begin.elapsed() < within,
                "server still runs after {within:?}:\n{}",
                self.log_text()
            );
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    #[must_use]
    pub fn is_running(&mut self) -> bool {
        self.child.try_wait().expect("the child can be asked").is_none()
    }

    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    #[must_use]
    pub fn data_dir(&self) -> &Path {
        &self.data_dir
    }

    /// What the server wrote to standard output and standard error.
    #[must_use]
    pub fn log_text(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Resident memory in bytes.
    #[must_use]
    pub fn resident_bytes(&self) -> u64 {
        self.memory("VmRSS:")
    }

    /// The most resident memory that the process ever had, in bytes.
    #[must_use]
    pub fn peak_resident_bytes(&self) -> u64 {
        self.memory("VmHWM:")
    }

    /// A line of `/proc/PID/status`, in bytes; 0 once the process has ended.
    fn memory(&self, name: &str) -> u64 {
        let status =
            std::fs::read_to_string(format!("/proc/{}/status", self.pid())).unwrap_or_default();
        status
            .lines()
            .find_map(|l| l.strip_prefix(name))
            .and_then(|l| l.trim().trim_end_matches("kB").trim().parse::<u64>().ok())
            .unwrap_or(0)
            * 1024
    }

    /// A number of the admin port's `/metrics`, by its name.
    #[must_use]
    pub fn metric(&self, name: &str) -> f64 {
        let mut stream = TcpStream::connect(("127.0.0.1", self.admin_port)).expect("it listens");
        write!(stream, "GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            .expect("the request is sent");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("an answer");
        let line = answer.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        line.and_then(|value| value.parse().ok()).unwrap_or_else(|| panic!("{name} in {answer}"))
    }

    /// Run statements through psql; its output unaligned and without headers, or its error text.
    pub fn psql(&self, sql: &str) -> Result<String, String> {
        crate::client::psql(
            self.port,
            "postgres",
            &["-X", "-q", "-At", "-v", "ON_ERROR_STOP=1", "-c", sql],
        )
    }

    pub async fn connect(&self) -> tokio_postgres::Client {
        crate::client::connect(self.port).await
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
        if std::thread::panicking() {
            eprintln!("--- server log\n{}", self.log_text());
        }
    }
}
