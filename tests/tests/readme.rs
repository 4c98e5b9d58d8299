//! The README's tour is true: its statements answer what it shows, its commands run.

use std::{
    os::unix::fs::symlink,
    path::Path,
    process::{Command, Stdio},
};

use glaredb_tests::server::{self, Options, Server};

/// The blocks of the tour, as lines.
fn blocks() -> Vec<Vec<String>> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../README.md");
    let text = std::fs::read_to_string(path).expect("the README is there");
    let (_, tour) = text.split_once("## A tour of three minutes").expect("it has a tour");
    let (tour, _) = tour.split_once("\n## ").expect("another section follows");
    let inside = tour.split("```").skip(1).step_by(2);
    let lines = |block: &str| block.lines().skip(1).map(str::to_owned).collect();
    inside.map(lines).collect()
}

/// A line typed at psql's prompt, in and out of transactions.
fn statement(line: &str) -> Option<&str> {
    ["postgres=# ", "postgres=*# "].iter().find_map(|prompt| line.strip_prefix(prompt))
}

/// What psql prints for these lines of input, errors in between.
fn psql(port: u16, input: &str) -> Vec<String> {
    use std::io::Write;
    let mut child = Command::new("sh")
        .args(["-c", "exec psql -X -h 127.0.0.1 -p \"$0\" -U postgres 2>&1", &port.to_string()])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("psql starts");
    let mut stdin = child.stdin.take().expect("its input is piped");
    stdin.write_all(input.as_bytes()).expect("it reads its input");
    drop(stdin);
    let output = child.wait_with_output().expect("psql ends");
    lines(&String::from_utf8_lossy(&output.stdout))
}

/// Lines that are not blank, without blanks at their ends.
fn lines(text: &str) -> Vec<String> {
    text.lines().map(|l| l.trim_end().to_owned()).filter(|l| !l.is_empty()).collect()
}

#[test]
fn the_tours_statements_answer_what_it_shows() {
    let server = Server::start();
    let mut statements = 0;
    for block in blocks() {
        let shown: Vec<&String> = block.iter().filter(|l| !l.starts_with("$ ")).collect();
        let typed: Vec<&str> = shown.iter().filter_map(|line| statement(line)).collect();
        if typed.is_empty() {
            assert!(shown.is_empty(), "output without a statement: {shown:?}");
            continue;
        }
        statements += typed.len();
        let answers: Vec<&str> =
            shown.iter().filter(|l| statement(l).is_none()).map(|l| l.as_str()).collect();
        assert_eq!(psql(server.port, &typed.join("\n")), lines(&answers.join("\n")), "{typed:?}");
    }
    assert!(statements >= 8, "the tour has only {statements} statements: is it read right?");
}

#[test]
fn the_tours_commands_run() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    symlink(server::binary(), folder.path().join("glaredb")).expect("a link to the binary");
    let data = folder.path().join("data");
    let mut server = Server::start_in(&data, Options::default());
    let mut ran = 0;
    for line in blocks().concat() {
        let Some(command) = line.strip_prefix("$ ") else { continue };
        if command.starts_with("psql") {
            continue; // The other test.
        }
        if command == "make run" {
            // What was killed ends, and starts again on its data.
            server.wait_end(std::time::Duration::from_secs(60));
            server = Server::start_in(&data, Options::default());
            continue;
        }
        let command = command
            .replace("127.0.0.1:5433", &format!("127.0.0.1:{}", server.admin_port))
            .replace("-T 10", "-t 20");
        let output = Command::new("bash")
            .args(["-e", "-o", "pipefail", "-c", &command])
            .current_dir(folder.path())
            .env("PGPORT", server.port.to_string())
            .output()
            .expect("bash runs");
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{command}: {error}");
        if !command.starts_with("kill") {
            assert!(!output.stdout.is_empty() || !output.stderr.is_empty(), "{command}: silent");
        }
        ran += 1;
    }
    assert!(ran >= 6, "the tour has only {ran} commands: is it read right?");
    let rows = server.psql("select count(*) from pgbench_accounts").expect("rows after the kill");
    assert_eq!(rows.trim(), "100000");
}
