//! Transaction control, settings, VACUUM and the other statements without rows.

use datafusion::sql::sqlparser::tokenizer::Token;

use super::tokens::Cursor;
use crate::{
    error::{SqlError, sqlstate},
    query::{
        statement::{
            Discard, Execute, IsolationLevel, Prepare, SetVariable, StatementClass, StatementKind,
            TransactionModes, Vacuum, VacuumTable,
        },
        type_names,
    },
    types::text::{IntervalStyle, parse_interval},
};

/// Commands of PostgreSQL that are refused as a whole.
const UNSUPPORTED: [&str; 14] = [
    "CALL", "CLUSTER", "DO", "GRANT", "IMPORT", "LISTEN", "LOAD", "LOCK", "MERGE", "NOTIFY",
    "REASSIGN", "REINDEX", "REVOKE", "SECURITY",
];

pub(super) fn parse(cursor: &mut Cursor<'_>) -> Result<StatementKind, SqlError> {
    let word = cursor.peek_word().unwrap_or_default().to_ascii_uppercase();
    if UNSUPPORTED.contains(&word.as_str()) {
        return Ok(StatementKind::Unsupported { what: word });
    }
    let parse_rest: fn(&mut Cursor<'_>) -> Result<StatementKind, SqlError> = match word.as_str() {
        "BEGIN" | "START" => begin,
        "COMMIT" | "END" => commit,
        "ROLLBACK" | "ABORT" => rollback,
        "SAVEPOINT" => |cursor| {
            cursor.next();
            cursor.identifier().map(StatementKind::Savepoint)
        },
        "RELEASE" => |cursor| {
            cursor.next();
            cursor.eat_keyword("SAVEPOINT");
            cursor.identifier().map(StatementKind::Release)
        },
        "SET" => set,
        "RESET" => reset,
        "SHOW" => show,
        "DISCARD" => discard,
        "PREPARE" => prepare,
        "EXECUTE" => execute,
        "DEALLOCATE" => deallocate,
        "COMMENT" => super::views::comment,
        "REFRESH" => super::views::refresh,
        "VACUUM" => vacuum,
        "ANALYZE" | "ANALYSE" => analyze,
        "CHECKPOINT" => |cursor| {
            cursor.next();
            Ok(StatementKind::Checkpoint)
        },
        "DECLARE" => super::cursors::declare,
        "FETCH" | "MOVE" => super::cursors::fetch,
        "CLOSE" => super::cursors::close,
        "UNLISTEN" => |cursor| {
            // Drivers send UNLISTEN * when a connection goes back to its pool: nothing to undo.
            cursor.next();
            if !cursor.eat(&Token::Mul) {
                cursor.identifier()?;
            }
            Ok(StatementKind::Unlisten)
        },
        _ => return Err(cursor.unexpected()),
    };
    let kind = parse_rest(cursor)?;
    if !matches!(kind, StatementKind::Unsupported { .. }) {
        cursor.end()?;
    }
    Ok(kind)
}

fn begin(cursor: &mut Cursor<'_>) -> Result<StatementKind, SqlError> {
    if cursor.eat_keyword("START") {
        cursor.expect_keyword("TRANSACTION")?;
    } else {
        cursor.next();
        work_or_transaction(cursor);
    }
    Ok(StatementKind::Begin(modes(cursor)?))
}

fn work_or_transaction(cursor: &mut Cursor<'_>) {
    if !cursor.eat_keyword("WORK") {
        cursor.eat_keyword("TRANSACTION");
    }
}

/// `ISOLATION LEVEL …`, `READ ONLY`, `READ WRITE`, `[NOT] DEFERRABLE`, with or without commas.
fn modes(cursor: &mut Cursor<'_>) -> Result<TransactionModes, SqlError> {
    let mut modes = TransactionModes::default();
    while !cursor.at_end() {
        if cursor.eat_keywords(&["ISOLATION", "LEVEL"]) {
            modes.isolation = Some(if cursor.eat_keywords(&["READ", "UNCOMMITTED"]) {
                IsolationLevel::ReadUncommitted
            } else if cursor.eat_keywords(&["READ", "COMMITTED"]) {
                IsolationLevel::ReadCommitted
            } else if cursor.eat_keywords(&["REPEATABLE", "READ"]) {
                IsolationLevel::RepeatableRead
            } else if cursor.eat_keyword("SERIALIZABLE") {
                IsolationLevel::Serializable
            } else {
                return Err(cursor.unexpected());
            });
        } else if cursor.eat_keywords(&["READ", "ONLY"]) {
            modes.read_only = Some(true);
        } else if cursor.eat_keywords(&["READ", "WRITE"]) {
            modes.read_only = Some(false);
        } else if cursor.eat_keyword("DEFERRABLE") {
            modes.deferrable = Some(true);
        } else if cursor.eat_keywords(&["NOT", "DEFERRABLE"]) {
            modes.deferrable = Some(false);
        } else {
            return Err(cursor.unexpected());
        }
        cursor.eat(&Token::Comma);
    }
    Ok(modes)
}

/// `AND [NO] CHAIN`.
fn chain(cursor: &mut Cursor<'_>) -> Result<bool, SqlError> {
    if !cursor.eat_keyword("AND") {
        return Ok(false);
    }
    let no = cursor.eat_keyword("NO");
    cursor.expect_keyword("CHAIN")?;
    Ok(!no)
}

fn commit(cursor: &mut Cursor<'_>) -> Result<StatementKind, SqlError> {
    cursor.next();
    if cursor.eat_keyword("PREPARED") {
        return Ok(StatementKind::Unsupported { what: "COMMIT PREPARED".to_owned() });
    }
    work_or_transaction(cursor);
    Ok(StatementKind::Commit { chain: chain(cursor)? })
}

fn rollback(cursor: &mut Cursor<'_>) -> Result<StatementKind, SqlError> {
    cursor.next();
    if cursor.eat_keyword("PREPARED") {
        return Ok(StatementKind::Unsupported { what: "ROLLBACK PREPARED".to_owned() });
    }
    work_or_transaction(cursor);
    if cursor.eat_keyword("TO") {
        cursor.eat_keyword("SAVEPOINT");
        return cursor.identifier().map(StatementKind::RollbackTo);
    }
    Ok(StatementKind::Rollback { chain: chain(cursor)? })
}

fn set(cursor: &mut Cursor<'_>) -> Result<StatementKind, SqlError> {
    cursor.next();
    if cursor.eat_keywords(&["SESSION", "CHARACTERISTICS", "AS", "TRANSACTION"]) {
        return Ok(StatementKind::SetTransaction { session: true, modes: modes(cursor)? });
    }
    if cursor.eat_keywords(&["TRANSACTION", "SNAPSHOT"]) {
        return Ok(StatementKind::Unsupported { what: "SET TRANSACTION SNAPSHOT".to_owned() });
    }
    if cursor.eat_keyword("TRANSACTION") {
        return Ok(StatementKind::SetTransaction { session: false, modes: modes(cursor)? });
    }
    if cursor.is_keyword_at(0, "CONSTRAINTS") {
        return Ok(StatementKind::Unsupported { what: "SET CONSTRAINTS".to_owned() });
    }
    // `SET SESSION AUTHORIZATION` is a setting of its own, unlike `SET SESSION name`.
    let authorization = cursor.eat_keywords(&["SESSION", "AUTHORIZATION"]);
    if authorization || cursor.is_keyword_at(0, "ROLE") && !cursor.peek_is_assignment(1) {
        if !authorization {
            cursor.next();
        }
        let value = match cursor.string() {
            Ok(value) => value,
            Err(_) => cursor.identifier()?,
        };
        let name = if authorization { "session_authorization" } else { "role" };
        let values = (!value.eq_ignore_ascii_case("default")).then(|| vec![value]);
        return Ok(StatementKind::Set(SetVariable { name: name.to_owned(), local: false, values }));
    }
    let local = cursor.eat_keyword("LOCAL");
    if !local {
        cursor.eat_keyword("SESSION");
    }
    let (name, has_sign) = if cursor.eat_keywords(&["TIME", "ZONE"]) {
        ("timezone".to_owned(), true)
    } else if cursor.eat_keyword("NAMES") {
        ("client_encoding".to_owned(), true)
    } else if cursor.eat_keyword("SCHEMA") {
        ("search_path".to_owned(), true)
    } else {
        (setting_name(cursor)?, false)
    };
    if !has_sign && !cursor.eat(&Token::Eq) {
        cursor.expect_keyword("TO")?;
    }
    let values = set_values(cursor, &name)?;
    Ok(StatementKind::Set(SetVariable { name, local, values }))
}

/// `name` or `extension.name`, lower case.
fn setting_name(cursor: &mut Cursor<'_>) -> Result<String, SqlError> {
    let mut name = cursor.identifier()?;
    while cursor.eat(&Token::Period) {
        name = format!("{name}.{}", cursor.identifier()?);
    }
    Ok(name.to_lowercase())
}

fn set_values(cursor: &mut Cursor<'_>, name: &str) -> Result<Option<Vec<String>>, SqlError> {
    if cursor.at_end() && name == "client_encoding" || cursor.eat_keyword("DEFAULT") {
        return Ok(None);
    }
    if name == "timezone" && cursor.eat_keyword("LOCAL") {
        return Ok(None);
    }
    if name == "timezone" && cursor.eat_keyword("INTERVAL") {
        let text = cursor.string()?;
        if cursor.eat_keyword("HOUR") && cursor.eat_keyword("TO") {
            cursor.expect_keyword("MINUTE")?;
        }
        let interval = parse_interval(&text, IntervalStyle::Postgres, None)?;
        if interval.months != 0 || interval.days != 0 {
            let message = "invalid value for parameter \"TimeZone\": months and days";
            return Err(SqlError::new(sqlstate::INVALID_PARAMETER_VALUE, message));
        }
        let hours = interval.nanoseconds as f64 / 3.6e12;
        return Ok(Some(vec![hours.to_string()]));
    }
    let mut values = Vec::new();
    loop {
        let negative = cursor.eat(&Token::Minus);
        if !negative {
            cursor.eat(&Token::Plus);
        }
        let value = match cursor.peek() {
            Some(Token::Number(digits, _)) => {
                cursor.next();
                if negative { format!("-{digits}") } else { digits.clone() }
            }
            _ if negative => return Err(cursor.unexpected()),
            Some(Token::Word(_)) => cursor.identifier()?,
            _ => cursor.string()?,
        };
        values.push(value);
        if !cursor.eat(&Token::Comma) {
            return Ok(Some(values));
        }
    }
}

fn reset(cursor: &mut Cursor<'_>) -> Result<StatementKind, SqlError> {
    cursor.next();
    variable(cursor).map(StatementKind::Reset)
}

fn show(cursor: &mut Cursor<'_>) -> Result<StatementKind, SqlError> {
    cursor.next();
    variable(cursor).map(StatementKind::Show)
}

fn variable(cursor: &mut Cursor<'_>) -> Result<Option<String>, SqlError> {
    if cursor.eat_keyword("ALL") {
        return Ok(None);
    }
    let name = if cursor.eat_keywords(&["TIME", "ZONE"]) {
        "timezone".to_owned()
    } else if cursor.eat_keywords(&["TRANSACTION", "ISOLATION", "LEVEL"]) {
        "transaction_isolation".to_owned()
    } else if cursor.eat_keywords(&["SESSION", "AUTHORIZATION"]) {
        "session_authorization".to_owned()
    } else {
        setting_name(cursor)?
    };
    Ok(Some(name))
}

fn discard(cursor: &mut Cursor<'_>) -> Result<StatementKind, SqlError> {
    cursor.next();
    let what = match cursor.identifier()?.as_str() {
        "all" => Discard::All,
        "plans" => Discard::Plans,
        "sequences" => Discard::Sequences,
        "temp" | "temporary" => Discard::Temp,
        _ => return Err(cursor.unexpected_at(1)),
    };
    Ok(StatementKind::Discard(what))
}

/// `PREPARE name [(types)] AS statement`, and `PREPARE TRANSACTION`.
fn prepare(cursor: &mut Cursor<'_>) -> Result<StatementKind, SqlError> {
    cursor.next();
    if cursor.is_keyword_at(0, "TRANSACTION") && !cursor.is_keyword_at(1, "AS") {
        return Ok(StatementKind::Unsupported { what: "PREPARE TRANSACTION".to_owned() });
    }
    let name = cursor.identifier()?;
    let mut param_types = Vec::new();
    if cursor.eat(&Token::LParen) {
        loop {
            param_types.push(type_names::pg_type_or_name(&cursor.data_type()?)?);
            if !cursor.eat(&Token::Comma) {
                break;
            }
        }
        cursor.expect(&Token::RParen)?;
    }
    cursor.expect_keyword("AS")?;
    let wrong = cursor.unexpected();
    let statement = cursor.statement_to_end()?;
    if !matches!(statement.class(), StatementClass::Query | StatementClass::Dml) {
        return Err(wrong);
    }
    Ok(StatementKind::Prepare(Box::new(Prepare { name, param_types, statement })))
}

fn execute(cursor: &mut Cursor<'_>) -> Result<StatementKind, SqlError> {
    cursor.next();
    let name = cursor.identifier()?;
    let mut arguments = Vec::new();
    if cursor.eat(&Token::LParen) {
        loop {
            arguments.push(cursor.sqlparser(|parser| parser.parse_expr())?);
            if !cursor.eat(&Token::Comma) {
                break;
            }
        }
        cursor.expect(&Token::RParen)?;
    }
    Ok(StatementKind::Execute(Execute { name, arguments }))
}

fn deallocate(cursor: &mut Cursor<'_>) -> Result<StatementKind, SqlError> {
    cursor.next();
    cursor.eat_keyword("PREPARE");
    if cursor.eat_keyword("ALL") {
        return Ok(StatementKind::Deallocate(None));
    }
    Ok(StatementKind::Deallocate(Some(cursor.identifier()?)))
}

/// `VACUUM [FULL] [FREEZE] [VERBOSE] [ANALYZE] [table, …]` or with a list of options.
fn vacuum(cursor: &mut Cursor<'_>) -> Result<StatementKind, SqlError> {
    cursor.next();
    let mut vacuum = Vacuum::default();
    if cursor.eat(&Token::LParen) {
        vacuum_options(cursor, &mut vacuum, "VACUUM")?;
    } else {
        vacuum.full = cursor.eat_keyword("FULL");
        vacuum.freeze = cursor.eat_keyword("FREEZE");
        vacuum.verbose = cursor.eat_keyword("VERBOSE");
        vacuum.analyze = cursor.eat_keyword("ANALYZE") || cursor.eat_keyword("ANALYSE");
    }
    vacuum.tables = vacuum_tables(cursor)?;
    if vacuum.tables.iter().any(|t| !t.columns.is_empty()) && !vacuum.analyze {
        return Err(SqlError::new(
            sqlstate::FEATURE_NOT_SUPPORTED,
            "ANALYZE option must be specified when a column list is provided",
        ));
    }
    Ok(StatementKind::Vacuum(vacuum))
}

fn analyze(cursor: &mut Cursor<'_>) -> Result<StatementKind, SqlError> {
    cursor.next();
    let mut vacuum = Vacuum { analyze: true, ..Vacuum::default() };
    if cursor.eat(&Token::LParen) {
        vacuum_options(cursor, &mut vacuum, "ANALYZE")?;
    } else {
        vacuum.verbose = cursor.eat_keyword("VERBOSE");
    }
    vacuum.tables = vacuum_tables(cursor)?;
    Ok(StatementKind::Analyze(vacuum))
}

fn vacuum_options(
    cursor: &mut Cursor<'_>,
    vacuum: &mut Vacuum,
    command: &str,
) -> Result<(), SqlError> {
    loop {
        let name = cursor.identifier()?;
        let value = cursor.option_value();
        let switch = || boolean_option(&name, value.as_deref());
        match (command, name.as_str()) {
            (_, "verbose") => vacuum.verbose = switch()?,
            (_, "skip_locked") => {
                switch()?;
            }
            ("VACUUM", "full") => vacuum.full = switch()?,
            ("VACUUM", "freeze") => vacuum.freeze = switch()?,
            ("VACUUM", "analyze" | "analyse") => vacuum.analyze = switch()?,
            ("VACUUM", "truncate" | "process_toast" | "disable_page_skipping") => {
                switch()?;
            }
            ("VACUUM", "index_cleanup" | "parallel") => {}
            _ => {
                let message = format!("unrecognized {command} option \"{name}\"");
                return Err(SqlError::new(sqlstate::SYNTAX_ERROR, message));
            }
        }
        if !cursor.eat(&Token::Comma) {
            break;
        }
    }
    cursor.expect(&Token::RParen)
}

fn vacuum_tables(cursor: &mut Cursor<'_>) -> Result<Vec<VacuumTable>, SqlError> {
    let mut tables = Vec::new();
    while !cursor.at_end() {
        let name = cursor.relation_name()?;
        let columns =
            if cursor.peek_is(&Token::LParen) { cursor.identifier_list()? } else { Vec::new() };
        tables.push(VacuumTable { name, columns });
        if !cursor.eat(&Token::Comma) {
            break;
        }
    }
    Ok(tables)
}

/// The value of an option that is on when nothing follows its name.
pub(super) fn boolean_option(name: &str, value: Option<&str>) -> Result<bool, SqlError> {
    match value.map(str::to_ascii_lowercase).as_deref() {
        None | Some("true" | "on" | "1" | "t" | "yes") => Ok(true),
        Some("false" | "off" | "0" | "f" | "no") => Ok(false),
        // `format text` is read as a switch by EXPLAIN's loop before its value is looked at.
        Some(_) if name == "format" => Ok(true),
        Some(_) => {
            Err(SqlError::new(sqlstate::SYNTAX_ERROR, format!("{name} requires a Boolean value")))
        }
    }
}

impl Cursor<'_> {
    /// Whether `=` or `TO` stands `n` tokens ahead.
    fn peek_is_assignment(&self, n: usize) -> bool {
        self.peek_nth(n) == Some(&Token::Eq) || self.is_keyword_at(n, "TO")
    }
}
