//! sqllogictest over the simple protocol, the same for us and for PostgreSQL.
//!
//! A row is one line, its values joined by `|`; NULL is `NULL`, an empty string `(empty)`. An error
//! is `SQLSTATE: message`, a notice is not shown. `connection NAME` in a script is another session.
//! Labels: `skipif postgres` marks what only we answer (0A000 of what is not built), `skipif
//! glaredb` what only PostgreSQL does.

use std::{path::PathBuf, time::Duration};

use sqllogictest::{AsyncDB, DBOutput, DefaultColumnType, Runner};
use tokio_postgres::{Client, SimpleQueryMessage};

/// One session of a script.
pub struct Session {
    client: Client,
    engine: &'static str,
}

/// `SQLSTATE: message`, or what the client library says when the connection broke.
#[derive(Debug)]
pub struct SltError(String);

impl std::fmt::Display for SltError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for SltError {}

impl From<tokio_postgres::Error> for SltError {
    fn from(error: tokio_postgres::Error) -> Self {
        match error.as_db_error() {
            Some(db) => Self(format!("{}: {}", db.code().code(), db.message())),
            None => Self(error.to_string()),
        }
    }
}

#[async_trait::async_trait]
impl AsyncDB for Session {
    type Error = SltError;
    type ColumnType = DefaultColumnType;

    async fn run(&mut self, sql: &str) -> Result<DBOutput<DefaultColumnType>, SltError> {
        // A hang is a failure of that statement, not of the whole run.
        let messages = tokio::time::timeout(Duration::from_secs(60), self.client.simple_query(sql))
            .await
            .map_err(|_| SltError(format!("no answer within 60 s: {sql}")))??;
        let mut rows = Vec::new();
        let mut count = 0;
        let mut has_rows = false;
        for message in messages {
            match message {
                SimpleQueryMessage::RowDescription(_) => has_rows = true,
                SimpleQueryMessage::Row(row) => {
                    has_rows = true;
                    rows.push(vec![row_text(&row)]);
                }
                SimpleQueryMessage::CommandComplete(n) => count = n,
                _ => {}
            }
        }
        Ok(if has_rows {
            DBOutput::Rows { types: vec![DefaultColumnType::Text], rows }
        } else {
            DBOutput::StatementComplete(count)
        })
    }

    async fn shutdown(&mut self) {}

    fn engine_name(&self) -> &str {
        self.engine
    }

    async fn sleep(dur: Duration) {
        tokio::time::sleep(dur).await;
    }
}

fn row_text(row: &tokio_postgres::SimpleQueryRow) -> String {
    let values: Vec<&str> = (0..row.len())
        .map(|i| match row.get(i) {
            None => "NULL",
            Some("") => "(empty)",
            Some(text) => text,
        })
        .collect();
    // A line break inside a value would look like another row.
    values.join("|").replace('\n', "\\n")
}

/// The scripts of `tests/slt`, in order of name.
#[must_use]
pub fn scripts() -> Vec<PathBuf> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("slt");
    let mut paths: Vec<PathBuf> = std::fs::read_dir(&folder)
        .expect("tests/slt is there")
        .map(|entry| entry.expect("a folder entry").path())
        .filter(|path| path.extension().is_some_and(|e| e == "slt"))
        .collect();
    paths.sort();
    paths
}

// Rows are compared to the letter: blanks count.
#[expect(clippy::ptr_arg, reason = "sqllogictest's signature")]
fn exact(line: &String) -> String {
    line.trim_end().to_owned()
}

/// Compare lines to the letter, trailing blanks apart.
pub fn same_lines(
    _: sqllogictest::Normalizer,
    actual: &[Vec<String>],
    expected: &[String],
) -> bool {
    let actual: Vec<String> = actual.iter().map(|row| exact(&row.join("|"))).collect();
    let expected: Vec<String> = expected.iter().map(exact).collect();
    actual == expected
}

async fn connect(port: u16, engine: &'static str) -> Result<Session, SltError> {
    Ok(Session { client: crate::client::try_connect(port).await?, engine })
}

/// Run one script against a server; the first difference as text.
pub async fn run(port: u16, engine: &'static str, script: &PathBuf) -> Result<(), String> {
    let mut runner = Runner::new(|| connect(port, engine));
    runner.add_label(engine);
    runner.with_validator(same_lines);
    runner.with_normalizer(exact);
    runner.run_file_async(script).await.map_err(|e| e.display(false).to_string())
}

/// Write the expectations of a script anew from a server.
pub async fn update(port: u16, engine: &'static str, script: &PathBuf) -> Result<(), String> {
    let mut runner = Runner::new(|| connect(port, engine));
    runner.add_label(engine);
    runner
        .update_test_file(script, "|", same_lines, exact, sqllogictest::default_column_validator)
        .await
        .map_err(|e| e.to_string())
}
