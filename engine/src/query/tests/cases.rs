//! Files of queries with PostgreSQL 15's answers.
//!
//! A query follows `> `, its rows the query; columns are parted by `|`, NULL is `∅`, an error is
//! `ERROR code: message`. Where GlareDB refuses what PostgreSQL answers, the query follows `>! `
//! and `ERROR 0A000` alone stands below.

use super::fixture::{Database, empty};

struct Case {
    sql: String,
    expected: String,
}

fn read(text: &str) -> Vec<Case> {
    let mut cases: Vec<Case> = Vec::new();
    for line in text.lines() {
        if let Some(sql) = line.strip_prefix("> ").or_else(|| line.strip_prefix(">! ")) {
            cases.push(Case { sql: sql.to_owned(), expected: String::new() });
        } else if let Some(case) = cases.last_mut() {
            if !case.expected.is_empty() {
                case.expected.push('\n');
            }
            case.expected.push_str(line);
        }
    }
    cases
}

fn answer(database: &Database, case: &Case) -> String {
    match database.query(&case.sql) {
        Ok(rows) => rows,
        Err(error) if case.expected == "ERROR 0A000" && error.sqlstate == "0A000" => {
            case.expected.clone()
        }
        Err(error) => format!("ERROR {}: {}", error.sqlstate, error.message),
    }
}

fn check(text: &str) {
    let database = empty();
    let cases = read(text);
    let mut wrong = Vec::new();
    for case in &cases {
        let shown = answer(&database, case);
        if shown != case.expected {
            wrong.push(format!(
                "{}\n  expected {:?}\n  got      {:?}",
                case.sql, case.expected, shown
            ));
        }
    }
    assert!(wrong.is_empty(), "{} of {} differ\n{}", wrong.len(), cases.len(), wrong.join("\n"));
}

#[test]
fn expressions() {
    check(include_str!("cases/expressions.txt"));
}
