//! What users get wrong is answered as PostgreSQL 15 answers it: SQLSTATE, message, detail, hint and
//! the place in the text. The statements stand in `tests/mistakes.sql`, one or more to a paragraph.

use std::{
    io::Write,
    process::{Command, Stdio},
};

use glaredb_tests::{peer::Postgres, server::Server};

/// What psql prints of a paragraph, errors with all their fields.
fn answer(port: u16, statements: &str) -> String {
    let mut child = Command::new("sh")
        .args(["-c", "exec psql -X -q -h 127.0.0.1 -p \"$0\" -U postgres -d postgres 2>&1"])
        .arg(port.to_string())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("psql starts");
    let mut stdin = child.stdin.take().expect("its input is piped");
    let settings = "\\set VERBOSITY verbose\n\\set SHOW_CONTEXT never\n";
    stdin.write_all(format!("{settings}{statements}\n").as_bytes()).expect("it reads its input");
    drop(stdin);
    let output = child.wait_with_output().expect("psql ends");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    // Where in PostgreSQL's own source an error comes from.
    text.lines().filter(|line| !line.starts_with("LOCATION:")).collect::<Vec<_>>().join("\n")
}

#[test]
fn mistakes_are_answered_as_postgresql_answers_them() {
    let (ours, theirs) = (Server::start(), Postgres::start(&[]));
    let script = include_str!("../mistakes.sql");
    let paragraphs: Vec<&str> = script.split("\n\n").filter(|p| !p.starts_with("--")).collect();
    assert!(paragraphs.len() > 60, "only {} paragraphs", paragraphs.len());
    let mut differences = Vec::new();
    for statements in &paragraphs {
        let (found, expected) = (answer(ours.port, statements), answer(theirs.port, statements));
        if found != expected {
            differences
                .push(format!("=== {statements}\n--- expected\n{expected}\n--- found\n{found}"));
        }
    }
    assert!(
        differences.is_empty(),
        "{} of {} differ\n{}",
        differences.len(),
        paragraphs.len(),
        differences.join("\n")
    );
}
