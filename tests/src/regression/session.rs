//! psql, on a whole script, with what it prints cut at the marks.

use std::{
    fs::File,
    io::{Read, Seek, Write},
    path::Path,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use super::script::Chunk;

/// One of the two servers.
pub struct Side<'a> {
    pub port: u16,
    /// The folder that holds the scripts' `data`, and takes the files in `results` that they write:
    /// open to the server's user.
    pub folder: &'a Path,
}

/// The settings under which PostgreSQL's scripts run. Made by statements: a server that refuses one
/// still runs the script.
const SETTINGS: &str = "\\set VERBOSITY verbose
set timezone = 'PST8PDT';
set datestyle = 'Postgres, MDY';
set intervalstyle = postgres_verbose;
";

/// Answers to the steps in their order; None where psql did not come to it, because a condition
/// kept it away, the time was over, or the server was gone.
///
/// # Errors
/// If psql cannot be started.
pub fn run(
    side: &Side<'_>,
    chunks: &[Chunk],
    limit: Duration,
) -> std::io::Result<Vec<Option<String>>> {
    let mut output = tempfile::tempfile()?;
    let mut child = psql(side, &output)?;
    let mut input = child.stdin.take().expect("its input is piped");
    let mut script = SETTINGS.to_owned();
    script.push_str(&format!("\\echo {}\n", mark(0)));
    for (number, chunk) in chunks.iter().enumerate() {
        script.push_str(&format!("{}\n\\echo {}\n", chunk.text, mark(number + 1)));
    }
    let writer = std::thread::spawn(move || input.write_all(script.as_bytes()));
    wait(&mut child, limit);
    // A psql that ended early leaves a broken pipe: what it did not read has no answer.
    let _ = writer.join();
    let mut text = Vec::new();
    output.rewind()?;
    output.read_to_end(&mut text)?;
    Ok(cut(&String::from_utf8_lossy(&text), chunks.len()))
}

fn psql(side: &Side<'_>, output: &File) -> std::io::Result<Child> {
    Command::new("psql")
        .args(["-X", "-q", "-h", "127.0.0.1", "-U", "postgres", "-d", "postgres"])
        .args(["-v", "HIDE_TABLEAM=on", "-v", "HIDE_TOAST_COMPRESSION=on"])
        .env("PGPORT", side.port.to_string())
        .env("PG_ABS_SRCDIR", side.folder)
        .env("PG_ABS_BUILDDIR", side.folder)
        .env("PG_LIBDIR", "/usr/lib/postgresql/15/lib")
        .env("PG_DLSUFFIX", ".so")
        .env("PGCONNECT_TIMEOUT", "10")
        .env("LC_ALL", "C")
        .stdin(Stdio::piped())
        .stdout(output.try_clone()?)
        .stderr(output.try_clone()?)
        .spawn()
}

fn wait(child: &mut Child, limit: Duration) {
    let begin = Instant::now();
    while child.try_wait().is_ok_and(|ended| ended.is_none()) {
        if begin.elapsed() > limit {
            // It may have ended by itself in this moment.
            let _ = child.kill();
            let _ = child.wait();
            return;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn mark(number: usize) -> String {
    format!("=-=-= step {number} ends =-=-=")
}

fn cut(text: &str, steps: usize) -> Vec<Option<String>> {
    let mut rest = text;
    let mut answers = Vec::with_capacity(steps);
    if let Some(at) = rest.find(&mark(0)) {
        rest = &rest[at + mark(0).len()..];
    }
    for step in 1..=steps {
        let mark = format!("{}\n", mark(step));
        answers.push(rest.find(&mark).map(|at| {
            let answer = without_places(&rest[..at]);
            rest = &rest[at + mark.len()..];
            answer
        }));
    }
    answers
}

/// Without the lines that say where in PostgreSQL's source an error comes from, and without psql's
/// count of lines, which tells what the marks add.
fn without_places(answer: &str) -> String {
    let lines = answer.lines().filter(|line| !line.starts_with("LOCATION:"));
    let lines: Vec<&str> = lines.map(without_prefix).collect();
    lines.join("\n").trim_matches('\n').to_owned()
}

/// `psql:<stdin>:12: ERROR: …` without what psql puts before it.
fn without_prefix(line: &str) -> &str {
    let Some(rest) = line.strip_prefix("psql:<stdin>:") else { return line };
    rest.trim_start_matches(|c: char| c.is_ascii_digit()).strip_prefix(": ").unwrap_or(line)
}
