//! Generated expressions, asked of PostgreSQL and of us: same types, same values, same class of
//! error.
//!
//! A seed decides everything, so that a difference is asked again with its seed.

mod calls;
mod expressions;
mod random;

use tokio_postgres::{Client, SimpleQueryMessage};

use self::expressions::Generator;
pub use self::random::Random;

/// The table the expressions are about, with its rows; the same on both sides.
#[must_use]
pub fn setup() -> &'static str {
    expressions::SETUP
}

/// The statement of a seed: of the kind that is asked for (`expressions` or one of
/// [`kinds`]), else of any.
#[must_use]
pub fn statement(seed: u64, kind: Option<&str>) -> String {
    let mut random = Random::new(seed);
    match kind {
        Some("expressions") => Generator::new(random).statement(),
        Some(kind) => calls::statement(random, Some(kind)),
        None if random.once_in(2) => Generator::new(random).statement(),
        None => calls::statement(random, None),
    }
}

/// Kinds of statements besides `expressions`.
pub fn kinds() -> impl Iterator<Item = &'static str> {
    calls::kinds()
}

/// Value of an option `--name N` of this program.
///
/// # Panics
/// It is no number.
#[must_use]
pub fn option(name: &str) -> Option<u64> {
    let mut arguments = std::env::args().skip_while(|a| a != name);
    arguments.next()?;
    let value = arguments.next().unwrap_or_default();
    Some(value.parse().unwrap_or_else(|_| panic!("{name} takes a number, not {value:?}")))
}

/// What a server says to a statement.
#[derive(Clone, PartialEq, Debug)]
pub enum Answer {
    /// One text for each row.
    Rows(Vec<String>),
    /// SQLSTATE and message.
    Error(String, String),
    /// The connection broke, or the like.
    Broken(String),
}

/// Asks a server.
pub async fn ask(client: &Client, sql: &str) -> Answer {
    match client.simple_query(sql).await {
        Ok(messages) => {
            let rows = messages.into_iter().filter_map(|message| match message {
                SimpleQueryMessage::Row(row) => {
                    let values = (0..row.len()).map(|i| row.get(i).unwrap_or("NULL").to_owned());
                    Some(values.collect::<Vec<_>>().join("|"))
                }
                _ => None,
            });
            Answer::Rows(rows.collect())
        }
        Err(error) => match error.as_db_error() {
            Some(db) => Answer::Error(db.code().code().to_owned(), db.message().to_owned()),
            None => Answer::Broken(error.to_string()),
        },
    }
}

/// Whether our answer differs in a way that counts. What is refused with 0A000 is not built, and
/// says so.
#[must_use]
pub fn differs(sql: &str, postgres: &Answer, ours: &Answer) -> bool {
    match (postgres, ours) {
        (_, Answer::Error(state, _)) if state == "0A000" => false,
        (Answer::Rows(a), Answer::Rows(b)) => a != b,
        // Functions that are not there are errors that say so, too.
        (Answer::Error(a, _), Answer::Error(b, _)) => a.get(..2) != b.get(..2),
        // Constants are computed before rows that need them are looked for, and conditions that
        // are found false before: some errors come on one side only.
        (Answer::Error(state, _), Answer::Rows(_)) => !state.starts_with("22"),
        // Beside a NULL that PostgreSQL knows before it asks for rows it computes nothing.
        (Answer::Rows(_), Answer::Error(state, _)) => {
            !(state.starts_with("22") && (sql.contains(" where ") || sql.contains("nullif(")))
        }
        _ => true,
    }
}
