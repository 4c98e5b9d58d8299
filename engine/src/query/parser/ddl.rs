//! CREATE, DROP, ALTER and TRUNCATE of what the catalog knows; the rest is refused by name.

use datafusion::sql::sqlparser::tokenizer::Token;
use glaredb_catalog::descriptor::OnCommit;

use super::{alter, tokens::Cursor, views};
use crate::{
    error::{SqlError, sqlstate},
    query::{
        statement::{
            AlteredKind, ColumnDefinition, CreateSchema, CreateTable, CreateTableAs, CreateType,
            DropObjects, LikeClause, PrimaryKeyDefinition, RelationName, StatementClass,
            StatementKind, StorageOption, Temporary, Truncate,
        },
        type_names,
    },
};

pub(super) fn parse(cursor: &mut Cursor<'_>) -> Result<StatementKind, SqlError> {
    let kind = if cursor.eat_keyword("TRUNCATE") {
        truncate(cursor)
    } else if cursor.eat_keywords(&["CREATE", "SCHEMA"]) {
        create_schema(cursor)
    } else if let Some(view) = views::create(cursor)? {
        Ok(view)
    } else if is_composite_type(cursor) {
        create_type(cursor)
    } else if cursor.is_keyword_at(0, "CREATE") {
        create_table(cursor)
    } else if cursor.eat_keywords(&["DROP", "TABLE"]) {
        drop_objects(cursor).map(StatementKind::DropTable)
    } else if cursor.eat_keywords(&["DROP", "SCHEMA"]) {
        drop_objects(cursor).map(StatementKind::DropSchema)
    } else if cursor.eat_keywords(&["DROP", "TYPE"]) {
        drop_objects(cursor).map(StatementKind::DropType)
    } else if cursor.eat_keywords(&["DROP", "VIEW"]) {
        drop_objects(cursor).map(StatementKind::DropView)
    } else if cursor.eat_keywords(&["DROP", "MATERIALIZED", "VIEW"]) {
        drop_objects(cursor).map(StatementKind::DropMaterializedView)
    } else if cursor.eat_keywords(&["ALTER", "TABLE"]) {
        alter::parse(cursor, AlteredKind::Table)
    } else if cursor.eat_keywords(&["ALTER", "VIEW"]) {
        alter::parse(cursor, AlteredKind::View)
    } else if cursor.eat_keywords(&["ALTER", "MATERIALIZED", "VIEW"]) {
        alter::parse(cursor, AlteredKind::MaterializedView)
    } else {
        unsupported(cursor)
    }?;
    if !matches!(kind, StatementKind::Unsupported { .. }) {
        cursor.end()?;
    }
    Ok(kind)
}

/// `CREATE INDEX` and the other kinds of objects, named by the first two words that say so.
fn unsupported(cursor: &mut Cursor<'_>) -> Result<StatementKind, SqlError> {
    let verb = cursor.peek_word().unwrap_or_default().to_ascii_uppercase();
    cursor.next();
    cursor.eat_keywords(&["OR", "REPLACE"]);
    for modifier in
        ["TEMP", "TEMPORARY", "UNLOGGED", "GLOBAL", "LOCAL", "UNIQUE", "RECURSIVE", "MATERIALIZED"]
    {
        if cursor.eat_keyword(modifier) && cursor.is_keyword_at(0, "TABLE") {
            return Ok(StatementKind::Unsupported { what: format!("{verb} {modifier} TABLE") });
        }
    }
    const KINDS: [&str; 32] = [
        "ACCESS",
        "AGGREGATE",
        "CAST",
        "COLLATION",
        "CONVERSION",
        "DATABASE",
        "DEFAULT",
        "DOMAIN",
        "EVENT",
        "EXTENSION",
        "FOREIGN",
        "FUNCTION",
        "GROUP",
        "INDEX",
        "LANGUAGE",
        "OPERATOR",
        "OWNED",
        "POLICY",
        "PROCEDURE",
        "PUBLICATION",
        "ROLE",
        "RULE",
        "SCHEMA",
        "SEQUENCE",
        "SERVER",
        "STATISTICS",
        "SUBSCRIPTION",
        "SYSTEM",
        "TABLESPACE",
        "TEXT",
        "TRIGGER",
        "TYPE",
    ];
    let word = cursor.peek_word().unwrap_or_default().to_ascii_uppercase();
    if KINDS.contains(&word.as_str()) || matches!(word.as_str(), "USER" | "VIEW" | "TRANSFORM") {
        return Ok(StatementKind::Unsupported { what: format!("{verb} {word}") });
    }
    Err(cursor.unexpected())
}

pub(super) fn if_not_exists(cursor: &mut Cursor<'_>) -> bool {
    cursor.eat_keywords(&["IF", "NOT", "EXISTS"])
}

fn create_schema(cursor: &mut Cursor<'_>) -> Result<StatementKind, SqlError> {
    let if_not_exists = if_not_exists(cursor);
    let name = match cursor.is_keyword_at(0, "AUTHORIZATION") {
        true => None,
        false => Some(cursor.identifier()?),
    };
    let authorization =
        if cursor.eat_keyword("AUTHORIZATION") { Some(cursor.identifier()?) } else { None };
    let mut elements = Vec::new();
    while cursor.is_keyword_at(0, "CREATE") || cursor.is_keyword_at(0, "GRANT") {
        elements.push(cursor.schema_element()?);
    }
    let name = match name.or_else(|| authorization.clone()) {
        Some(name) => name,
        None => return Err(cursor.unexpected()),
    };
    if if_not_exists && !elements.is_empty() {
        let message = "CREATE SCHEMA IF NOT EXISTS cannot include schema elements";
        return Err(SqlError::new(sqlstate::FEATURE_NOT_SUPPORTED, message));
    }
    for element in &mut elements {
        let object = match &mut element.kind {
            StatementKind::CreateTable(create) => &mut create.name,
            StatementKind::CreateView(create) => &mut create.name,
            _ => {
                let what = format!("{} in CREATE SCHEMA", element.command());
                return Err(SqlError::not_supported(what));
            }
        };
        match &object.schema {
            Some(other) if *other != name => {
                let message = format!(
                    "CREATE specifies a schema ({other}) different from the one being created \
                     ({name})"
                );
                return Err(SqlError::new("42P15", message));
            }
            _ => object.schema = Some(name.clone()),
        }
    }
    Ok(StatementKind::CreateSchema(CreateSchema { name, if_not_exists, authorization, elements }))
}

/// `[GLOBAL | LOCAL] TEMPORARY` at the `n`th word from here, and how many words it is.
pub(super) fn temporary_at(cursor: &Cursor<'_>, n: usize) -> (Option<Temporary>, usize) {
    let is = |n: usize, words: &[&str]| words.iter().any(|word| cursor.is_keyword_at(n, word));
    let scope = usize::from(is(n, &["GLOBAL", "LOCAL"]));
    if is(n + scope, &["TEMP", "TEMPORARY"]) {
        (Some(Temporary { global: is(n, &["GLOBAL"]) }), scope + 1)
    } else {
        (None, 0)
    }
}

/// `ON COMMIT …`.
fn on_commit(cursor: &mut Cursor<'_>) -> Result<Option<OnCommit>, SqlError> {
    if !cursor.eat_keywords(&["ON", "COMMIT"]) {
        return Ok(None);
    }
    if cursor.eat_keyword("DROP") {
        Ok(Some(OnCommit::Drop))
    } else if cursor.eat_keywords(&["DELETE", "ROWS"]) {
        Ok(Some(OnCommit::DeleteRows))
    } else if cursor.eat_keywords(&["PRESERVE", "ROWS"]) {
        Ok(Some(OnCommit::PreserveRows))
    } else {
        Err(cursor.unexpected())
    }
}

/// `WITH (…)`, `WITHOUT OIDS`, `ON COMMIT …`.
fn table_options(
    cursor: &mut Cursor<'_>,
) -> Result<(Vec<StorageOption>, Option<OnCommit>), SqlError> {
    let options = if cursor.eat_keyword("WITH") { storage_options(cursor)? } else { Vec::new() };
    if cursor.is_keyword_at(0, "WITHOUT") && cursor.is_keyword_at(1, "OIDS") {
        cursor.eat_keywords(&["WITHOUT", "OIDS"]);
    }
    let on_commit = on_commit(cursor)?;
    if cursor.is_keyword_at(0, "TABLESPACE") {
        return Err(SqlError::not_supported("CREATE TABLE with TABLESPACE"));
    }
    Ok((options, on_commit))
}

/// `CREATE TYPE [schema.]name AS (`.
fn is_composite_type(cursor: &Cursor<'_>) -> bool {
    let schema = matches!(cursor.peek_nth(3), Some(Token::Period));
    let after = if schema { 5 } else { 3 };
    cursor.is_keyword_at(0, "CREATE")
        && cursor.is_keyword_at(1, "TYPE")
        && cursor.is_keyword_at(after, "AS")
        && matches!(cursor.peek_nth(after + 1), Some(Token::LParen))
}

fn create_type(cursor: &mut Cursor<'_>) -> Result<StatementKind, SqlError> {
    cursor.eat_keywords(&["CREATE", "TYPE"]);
    let name = cursor.relation_name()?;
    cursor.expect_keyword("AS")?;
    cursor.expect(&Token::LParen)?;
    let mut columns = Vec::new();
    if !cursor.eat(&Token::RParen) {
        loop {
            let name = cursor.identifier()?;
            let pg_type = type_names::pg_type_or_name(&cursor.data_type()?)?;
            if cursor.is_keyword_at(0, "COLLATE") {
                return Err(SqlError::not_supported("COLLATE in a composite type"));
            }
            columns.push(ColumnDefinition { name, pg_type, not_null: false, default: None });
            if !cursor.eat(&Token::Comma) {
                break;
            }
        }
        cursor.expect(&Token::RParen)?;
    }
    Ok(StatementKind::CreateType(CreateType { name, columns }))
}

fn create_table(cursor: &mut Cursor<'_>) -> Result<StatementKind, SqlError> {
    let (temporary, words) = temporary_at(cursor, 1);
    if !cursor.is_keyword_at(1 + words, "TABLE") {
        return unsupported(cursor);
    }
    cursor.skip(words + 2);
    let if_not_exists = if_not_exists(cursor);
    let name = cursor.relation_name()?;
    for clause in ["PARTITION", "OF", "INHERITS", "USING"] {
        if cursor.is_keyword_at(0, clause) {
            return Err(SqlError::not_supported(format!("CREATE TABLE with {clause}")));
        }
    }
    // `(a, b) AS SELECT` names columns, `(a int, …)` defines them.
    let names_only = cursor.peek_is(&Token::LParen)
        && matches!(cursor.peek_nth(1), Some(Token::Word(_)))
        && matches!(cursor.peek_nth(2), Some(Token::Comma | Token::RParen));
    if names_only || ["AS", "WITH", "ON"].iter().any(|word| cursor.is_keyword_at(0, word)) {
        return create_table_as(cursor, name, temporary, if_not_exists);
    }
    let mut table = CreateTable {
        name,
        temporary,
        on_commit: None,
        if_not_exists,
        columns: Vec::new(),
        like: Vec::new(),
        primary_key: None,
        options: Vec::new(),
    };
    cursor.expect(&Token::LParen)?;
    if !cursor.eat(&Token::RParen) {
        loop {
            table_element(cursor, &mut table)?;
            if !cursor.eat(&Token::Comma) {
                break;
            }
        }
        cursor.expect(&Token::RParen)?;
    }
    for clause in ["INHERITS", "PARTITION", "USING"] {
        if cursor.is_keyword_at(0, clause) {
            return Err(SqlError::not_supported(format!("CREATE TABLE with {clause}")));
        }
    }
    (table.options, table.on_commit) = table_options(cursor)?;
    check_table(&mut table)?;
    Ok(StatementKind::CreateTable(Box::new(table)))
}

fn create_table_as(
    cursor: &mut Cursor<'_>,
    name: RelationName,
    temporary: Option<Temporary>,
    if_not_exists: bool,
) -> Result<StatementKind, SqlError> {
    let column_names =
        if cursor.peek_is(&Token::LParen) { cursor.identifier_list()? } else { Vec::new() };
    let (options, on_commit) = table_options(cursor)?;
    cursor.expect_keyword("AS")?;
    let (query, with_data) = cursor.query_with_data()?;
    let is_query = query.class() == StatementClass::Query;
    if !is_query && !matches!(query.kind, StatementKind::Execute(_)) {
        return Err(match query.kind {
            StatementKind::Unsupported { what } => SqlError::not_supported(what),
            _ => cursor.unexpected(),
        });
    }
    Ok(StatementKind::CreateTableAs(Box::new(CreateTableAs {
        name,
        temporary,
        on_commit,
        if_not_exists,
        column_names,
        query,
        with_data,
        options,
    })))
}

pub(super) fn table_element(
    cursor: &mut Cursor<'_>,
    table: &mut CreateTable,
) -> Result<(), SqlError> {
    let constraint_name =
        if cursor.eat_keyword("CONSTRAINT") { Some(cursor.identifier()?) } else { None };
    if cursor.eat_keywords(&["PRIMARY", "KEY"]) {
        let columns = cursor.identifier_list()?;
        index_parameters(cursor)?;
        return set_primary_key(table, PrimaryKeyDefinition { name: constraint_name, columns });
    }
    refuse_constraint(cursor)?;
    if constraint_name.is_some() {
        return Err(cursor.unexpected());
    }
    if cursor.is_keyword_at(0, "LIKE") && !matches!(cursor.peek_nth(1), Some(Token::LParen)) {
        return like(cursor, table);
    }
    let name = cursor.identifier()?;
    let pg_type = type_names::pg_type_or_name(&cursor.data_type()?)?;
    let mut column = ColumnDefinition { name, pg_type, not_null: false, default: None };
    let mut nullable = false;
    loop {
        let constraint =
            if cursor.eat_keyword("CONSTRAINT") { Some(cursor.identifier()?) } else { None };
        if cursor.eat_keywords(&["NOT", "NULL"]) {
            column.not_null = true;
        } else if cursor.eat_keyword("NULL") {
            nullable = true;
        } else if cursor.eat_keyword("DEFAULT") {
            if column.default.is_some() {
                let message = format!(
                    "multiple default values specified for column \"{}\" of table \"{}\"",
                    column.name, table.name.name
                );
                return Err(SqlError::new(sqlstate::SYNTAX_ERROR, message));
            }
            column.default = Some(default_text(cursor)?);
        } else if cursor.eat_keywords(&["PRIMARY", "KEY"]) {
            index_parameters(cursor)?;
            let columns = vec![column.name.clone()];
            set_primary_key(table, PrimaryKeyDefinition { name: constraint, columns })?;
        } else if cursor.is_keyword_at(0, "GENERATED") {
            return Err(SqlError::not_supported("GENERATED columns"));
        } else if cursor.is_keyword_at(0, "COLLATE") {
            return Err(SqlError::not_supported("COLLATE in a column definition"));
        } else {
            refuse_constraint(cursor)?;
            if constraint.is_some() {
                return Err(cursor.unexpected());
            }
            break;
        }
    }
    if nullable && column.not_null {
        let message = format!(
            "conflicting NULL/NOT NULL declarations for column \"{}\" of table \"{}\"",
            column.name, table.name.name
        );
        return Err(SqlError::new(sqlstate::SYNTAX_ERROR, message));
    }
    table.columns.push(column);
    Ok(())
}

/// `LIKE table INCLUDING … EXCLUDING …`: the last word on each kind of property counts.
fn like(cursor: &mut Cursor<'_>, table: &mut CreateTable) -> Result<(), SqlError> {
    cursor.expect_keyword("LIKE")?;
    let (at, source) = (table.columns.len(), cursor.relation_name()?);
    let mut clause = LikeClause { at, source, defaults: false, indexes: false, comments: false };
    loop {
        let including = cursor.eat_keyword("INCLUDING");
        if !including && !cursor.eat_keyword("EXCLUDING") {
            break;
        }
        let property = cursor.peek_word().unwrap_or_default().to_ascii_uppercase();
        match property.as_str() {
            "ALL" => {
                (clause.defaults, clause.indexes, clause.comments) =
                    (including, including, including);
            }
            "DEFAULTS" => clause.defaults = including,
            "INDEXES" => clause.indexes = including,
            "COMMENTS" => clause.comments = including,
            // What no table here has.
            "COMPRESSION" | "CONSTRAINTS" | "GENERATED" | "IDENTITY" | "STATISTICS" | "STORAGE" => {
            }
            _ => return Err(cursor.unexpected()),
        }
        cursor.next();
    }
    table.like.push(clause);
    Ok(())
}

/// The text of a default expression: up to what can follow it in a column definition.
pub(super) fn default_text(cursor: &mut Cursor<'_>) -> Result<String, SqlError> {
    let mut first = true;
    let (text, _) = cursor.text_of(|cursor| {
        cursor.skip_until(|cursor| {
            if std::mem::take(&mut first) {
                return false;
            }
            let keywords = [
                "NULL",
                "PRIMARY",
                "UNIQUE",
                "CHECK",
                "REFERENCES",
                "CONSTRAINT",
                "COLLATE",
                "GENERATED",
                "DEFAULT",
            ];
            cursor.peek_is(&Token::Comma)
                || cursor.is_keyword_at(0, "NOT") && cursor.is_keyword_at(1, "NULL")
                || keywords.iter().any(|k| cursor.is_keyword_at(0, k))
        });
    })?;
    super::parse_expression(&text)?;
    Ok(text)
}

pub(super) fn refuse_constraint(cursor: &Cursor<'_>) -> Result<(), SqlError> {
    for (keyword, what) in [
        ("UNIQUE", "UNIQUE constraints"),
        ("CHECK", "CHECK constraints"),
        ("REFERENCES", "FOREIGN KEY constraints"),
        ("FOREIGN", "FOREIGN KEY constraints"),
        ("EXCLUDE", "EXCLUDE constraints"),
    ] {
        // A column may be called so only if quoted, as in PostgreSQL.
        if cursor.is_keyword_at(0, keyword) {
            return Err(SqlError::not_supported(what));
        }
    }
    Ok(())
}

/// What may follow PRIMARY KEY.
pub(super) fn index_parameters(cursor: &mut Cursor<'_>) -> Result<(), SqlError> {
    if cursor.eat_keyword("WITH") {
        storage_options(cursor)?;
    }
    for clause in ["INCLUDE", "USING", "DEFERRABLE", "INITIALLY"] {
        if cursor.is_keyword_at(0, clause) {
            return Err(SqlError::not_supported(format!("PRIMARY KEY with {clause}")));
        }
    }
    Ok(())
}

fn set_primary_key(table: &mut CreateTable, key: PrimaryKeyDefinition) -> Result<(), SqlError> {
    if table.primary_key.is_some() {
        let message =
            format!("multiple primary keys for table \"{}\" are not allowed", table.name.name);
        return Err(SqlError::new(sqlstate::INVALID_TABLE_DEFINITION, message));
    }
    table.primary_key = Some(key);
    Ok(())
}

/// Names that occur twice or not at all; key columns become NOT NULL.
fn check_table(table: &mut CreateTable) -> Result<(), SqlError> {
    for (index, column) in table.columns.iter().enumerate() {
        if table.columns[..index].iter().any(|c| c.name == column.name) {
            let message = format!("column \"{}\" specified more than once", column.name);
            return Err(SqlError::new(sqlstate::DUPLICATE_COLUMN, message));
        }
    }
    let Some(key) = &table.primary_key else {
        return Ok(());
    };
    for (index, name) in key.columns.iter().enumerate() {
        if key.columns[..index].contains(name) {
            let message = format!("column \"{name}\" appears twice in primary key constraint");
            return Err(SqlError::new(sqlstate::DUPLICATE_COLUMN, message));
        }
        match table.columns.iter_mut().find(|c| &c.name == name) {
            Some(column) => column.not_null = true,
            // It may come with a LIKE.
            None if !table.like.is_empty() => {}
            None => {
                let message = format!("column \"{name}\" named in key does not exist");
                return Err(SqlError::new(sqlstate::UNDEFINED_COLUMN, message));
            }
        }
    }
    Ok(())
}

/// `(name = value, …)`.
pub(super) fn storage_options(cursor: &mut Cursor<'_>) -> Result<Vec<StorageOption>, SqlError> {
    cursor.expect(&Token::LParen)?;
    let mut options = Vec::new();
    loop {
        let mut name = cursor.identifier()?;
        while cursor.eat(&Token::Period) {
            name = format!("{name}.{}", cursor.identifier()?);
        }
        let value = if cursor.eat(&Token::Eq) {
            Some(cursor.option_value().ok_or_else(|| cursor.unexpected())?)
        } else {
            None
        };
        options.push(StorageOption { name, value });
        if !cursor.eat(&Token::Comma) {
            break;
        }
    }
    cursor.expect(&Token::RParen)?;
    Ok(options)
}

fn relation_names(cursor: &mut Cursor<'_>) -> Result<Vec<RelationName>, SqlError> {
    let mut names = Vec::new();
    loop {
        let _ = cursor.is_keyword_at(0, "ONLY") && cursor.eat_keyword("ONLY");
        names.push(cursor.relation_name()?);
        cursor.eat(&Token::Mul);
        if !cursor.eat(&Token::Comma) {
            return Ok(names);
        }
    }
}

pub(super) fn cascade(cursor: &mut Cursor<'_>) -> bool {
    cursor.eat_keyword("CASCADE") || {
        cursor.eat_keyword("RESTRICT");
        false
    }
}

fn drop_objects(cursor: &mut Cursor<'_>) -> Result<DropObjects, SqlError> {
    let if_exists = cursor.eat_keywords(&["IF", "EXISTS"]);
    let names = relation_names(cursor)?;
    Ok(DropObjects { names, if_exists, cascade: cascade(cursor) })
}

fn truncate(cursor: &mut Cursor<'_>) -> Result<StatementKind, SqlError> {
    cursor.eat_keyword("TABLE");
    let tables = relation_names(cursor)?;
    let restart_identity = cursor.eat_keywords(&["RESTART", "IDENTITY"]);
    if !restart_identity {
        cursor.eat_keywords(&["CONTINUE", "IDENTITY"]);
    }
    Ok(StatementKind::Truncate(Truncate { tables, restart_identity, cascade: cascade(cursor) }))
}
