//! ALTER TABLE, ALTER VIEW, ALTER MATERIALIZED VIEW.

use datafusion::sql::sqlparser::tokenizer::Token;

use super::{
    ddl::{default_text, index_parameters, refuse_constraint, storage_options, table_element},
    tokens::Cursor,
};
use crate::{
    error::SqlError,
    query::statement::{
        AlterTable, AlterTableAction, AlteredKind, CreateTable, PrimaryKeyDefinition, RelationName,
        StatementKind,
    },
};

/// After `ALTER TABLE` and kin.
pub(super) fn parse(cursor: &mut Cursor<'_>, kind: AlteredKind) -> Result<StatementKind, SqlError> {
    let if_exists = cursor.eat_keywords(&["IF", "EXISTS"]);
    let _ = cursor.is_keyword_at(0, "ONLY") && cursor.eat_keyword("ONLY");
    let name = cursor.relation_name()?;
    cursor.eat(&Token::Mul);
    let mut actions = Vec::new();
    if let Some(alone) = lone_action(cursor)? {
        actions.push(alone);
    } else {
        loop {
            actions.push(action(cursor, &name)?);
            if !cursor.eat(&Token::Comma) {
                break;
            }
        }
    }
    Ok(StatementKind::AlterTable(Box::new(AlterTable { kind, name, if_exists, actions })))
}

/// What stands beside nothing else.
fn lone_action(cursor: &mut Cursor<'_>) -> Result<Option<AlterTableAction>, SqlError> {
    if cursor.eat_keywords(&["SET", "SCHEMA"]) {
        return Ok(Some(AlterTableAction::SetSchema(cursor.identifier()?)));
    }
    if !cursor.eat_keyword("RENAME") {
        return Ok(None);
    }
    if cursor.is_keyword_at(0, "CONSTRAINT") && !cursor.is_keyword_at(1, "TO") {
        cursor.eat_keyword("CONSTRAINT");
        let from = cursor.identifier()?;
        cursor.expect_keyword("TO")?;
        return Ok(Some(AlterTableAction::RenameConstraint { from, to: cursor.identifier()? }));
    }
    if cursor.eat_keyword("TO") {
        return Ok(Some(AlterTableAction::Rename(cursor.identifier()?)));
    }
    cursor.eat_keyword("COLUMN");
    let from = cursor.identifier()?;
    cursor.expect_keyword("TO")?;
    Ok(Some(AlterTableAction::RenameColumn { from, to: cursor.identifier()? }))
}

fn action(cursor: &mut Cursor<'_>, table: &RelationName) -> Result<AlterTableAction, SqlError> {
    if cursor.eat_keyword("ADD") {
        return add(cursor, table);
    }
    if cursor.is_keyword_at(0, "DROP") && !cursor.is_keyword_at(1, "CONSTRAINT") {
        cursor.eat_keyword("DROP");
        cursor.eat_keyword("COLUMN");
        let if_exists = cursor.eat_keywords(&["IF", "EXISTS"]);
        let name = cursor.identifier()?;
        let cascade = super::ddl::cascade(cursor);
        return Ok(AlterTableAction::DropColumn { name, if_exists, cascade });
    }
    if cursor.eat_keyword("ALTER") {
        cursor.eat_keyword("COLUMN");
        return alter_column(cursor);
    }
    if cursor.is_keyword_at(0, "SET") && cursor.peek_nth(1) == Some(&Token::LParen) {
        cursor.eat_keyword("SET");
        return Ok(AlterTableAction::SetStorageOptions(storage_options(cursor)?));
    }
    const KNOWN: [&str; 20] = [
        "ATTACH",
        "CLUSTER",
        "DETACH",
        "DISABLE",
        "DROP",
        "ENABLE",
        "FORCE",
        "INHERIT",
        "NO",
        "NOT",
        "OF",
        "OWNER",
        "REPLICA",
        "RESET",
        "SET",
        "TABLESPACE",
        "LOGGED",
        "UNLOGGED",
        "VALIDATE",
        "WITHOUT",
    ];
    unsupported(cursor, &KNOWN, "ALTER TABLE")
}

/// Refused by the word that says what it is.
fn unsupported(
    cursor: &mut Cursor<'_>,
    known: &[&str],
    what: &str,
) -> Result<AlterTableAction, SqlError> {
    match cursor.peek_word().map(str::to_ascii_uppercase) {
        Some(word) if known.contains(&word.as_str()) => {
            cursor.skip_until(|c| c.peek_is(&Token::Comma));
            Ok(AlterTableAction::Unsupported(format!("{what} {word}")))
        }
        _ => Err(cursor.unexpected()),
    }
}

fn add(cursor: &mut Cursor<'_>, table: &RelationName) -> Result<AlterTableAction, SqlError> {
    let named = cursor.eat_keyword("CONSTRAINT");
    let name = if named { Some(cursor.identifier()?) } else { None };
    if cursor.eat_keywords(&["PRIMARY", "KEY"]) {
        if cursor.is_keyword_at(0, "USING") {
            return Err(SqlError::not_supported("ADD PRIMARY KEY USING INDEX"));
        }
        let columns = cursor.identifier_list()?;
        index_parameters(cursor)?;
        return Ok(AlterTableAction::AddPrimaryKey(PrimaryKeyDefinition { name, columns }));
    }
    refuse_constraint(cursor)?;
    if named {
        return Err(cursor.unexpected());
    }
    cursor.eat_keyword("COLUMN");
    let if_not_exists = super::ddl::if_not_exists(cursor);
    // A column as in CREATE TABLE.
    let mut scratch = CreateTable {
        temporary: None,
        on_commit: None,
        like: Vec::new(),
        name: table.clone(),
        if_not_exists: false,
        columns: Vec::new(),
        primary_key: None,
        options: Vec::new(),
    };
    table_element(cursor, &mut scratch)?;
    let Some(mut column) = scratch.columns.pop() else {
        return Err(cursor.unexpected());
    };
    column.not_null |= scratch.primary_key.is_some();
    let primary_key = scratch.primary_key;
    Ok(AlterTableAction::AddColumn { column: Box::new(column), if_not_exists, primary_key })
}

fn alter_column(cursor: &mut Cursor<'_>) -> Result<AlterTableAction, SqlError> {
    let column = cursor.identifier()?;
    if cursor.eat_keywords(&["SET", "DEFAULT"]) {
        let default = Some(default_text(cursor)?);
        return Ok(AlterTableAction::SetDefault { column, default });
    }
    if cursor.eat_keywords(&["DROP", "DEFAULT"]) {
        return Ok(AlterTableAction::SetDefault { column, default: None });
    }
    if cursor.eat_keywords(&["SET", "NOT", "NULL"]) {
        return Ok(AlterTableAction::SetNotNull { column, not_null: true });
    }
    if cursor.eat_keywords(&["DROP", "NOT", "NULL"]) {
        return Ok(AlterTableAction::SetNotNull { column, not_null: false });
    }
    let known = ["SET", "DROP", "TYPE", "ADD", "RESET", "RESTART"];
    unsupported(cursor, &known, "ALTER TABLE ALTER COLUMN")
}
