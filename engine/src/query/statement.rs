//! Statements as the session sees them.
//!
//! Queries and DML keep sqlparser's syntax tree, which only the planner reads. Everything else is
//! turned into small structs here, already checked for clauses that are not supported.

use std::sync::Arc;

use datafusion::sql::sqlparser::{ast, tokenizer::Location};

use glaredb_catalog::descriptor::OnCommit;

use crate::types::PgType;

/// One statement of a query string.
#[derive(Clone, Debug)]
pub struct Statement {
    /// Text of this statement alone, without the semicolon.
    pub text: Arc<str>,
    /// The whole query string, which locations in syntax trees and error positions refer to.
    pub source: Arc<str>,
    pub kind: StatementKind,
}

#[derive(Clone, Debug)]
pub enum StatementKind {
    Query(Box<ast::Query>),
    Insert(Box<Dml<ast::Insert>>),
    Update(Box<Dml<ast::Update>>),
    Delete(Box<Dml<ast::Delete>>),
    CreateTable(Box<CreateTable>),
    CreateTableAs(Box<CreateTableAs>),
    CreateSchema(CreateSchema),
    CreateView(Box<CreateView>),
    CreateMaterializedView(Box<CreateMaterializedView>),
    RefreshView(RefreshView),
    Comment(Comment),
    DropTable(DropObjects),
    DropView(DropObjects),
    DropMaterializedView(DropObjects),
    DropSchema(DropObjects),
    CreateType(CreateType),
    DropType(DropObjects),
    AlterTable(Box<AlterTable>),
    Truncate(Truncate),
    Explain(Box<Explain>),
    Copy(Box<Copy>),
    Vacuum(Vacuum),
    Analyze(Vacuum),
    Begin(TransactionModes),
    Commit {
        chain: bool,
    },
    Rollback {
        chain: bool,
    },
    Savepoint(String),
    Release(String),
    RollbackTo(String),
    /// `SET TRANSACTION …` or `SET SESSION CHARACTERISTICS AS TRANSACTION …`.
    SetTransaction {
        session: bool,
        modes: TransactionModes,
    },
    Set(SetVariable),
    /// `RESET name`, or all of them for `None`.
    Reset(Option<String>),
    /// `SHOW name`; `None` for `SHOW ALL`.
    Show(Option<String>),
    Discard(Discard),
    Prepare(Box<Prepare>),
    Execute(Execute),
    /// `None`: all.
    Deallocate(Option<String>),
    Checkpoint,
    /// `UNLISTEN`: nothing listens, so nothing is to be done.
    Unlisten,
    Declare(Box<Declare>),
    /// FETCH and MOVE.
    Fetch(Fetch),
    /// `CLOSE name`, or all for `None`.
    Close(Option<String>),
    /// Parsed, but refused with 0A000 when executed.
    Unsupported {
        /// What the statement would do, for the message: `PREPARE TRANSACTION`.
        what: String,
    },
}

/// A statement that changes rows, with the WITH in front of it.
#[derive(Clone, Debug)]
pub struct Dml<T> {
    pub with: Option<ast::With>,
    pub change: T,
}

/// `[schema.]name`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RelationName {
    pub schema: Option<String>,
    pub name: String,
    /// Character position in the query string, from 1.
    pub position: Option<usize>,
}

#[derive(Clone, Debug)]
pub struct CreateTable {
    pub name: RelationName,
    pub temporary: Option<Temporary>,
    pub on_commit: Option<OnCommit>,
    pub if_not_exists: bool,
    pub columns: Vec<ColumnDefinition>,
    pub like: Vec<LikeClause>,
    pub primary_key: Option<PrimaryKeyDefinition>,
    pub options: Vec<StorageOption>,
}

/// How a statement says that what it creates is temporary.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Temporary {
    /// GLOBAL, which is deprecated.
    pub global: bool,
}

/// `LIKE table INCLUDING …`. NOT NULL is always copied.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LikeClause {
    /// How many columns stand in front of it.
    pub at: usize,
    pub source: RelationName,
    pub defaults: bool,
    pub indexes: bool,
    pub comments: bool,
}

/// `CREATE TYPE name AS (field type, …)`.
#[derive(Clone, Debug)]
pub struct CreateType {
    pub name: RelationName,
    /// Without constraints and defaults.
    pub columns: Vec<ColumnDefinition>,
}

#[derive(Clone, Debug)]
pub struct ColumnDefinition {
    pub name: String,
    /// A name only where it is no built-in type, see [`unresolved`](crate::types::RecordType::unresolved).
    pub pg_type: PgType,
    pub not_null: bool,
    /// SQL text of the default expression.
    pub default: Option<String>,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PrimaryKeyDefinition {
    pub name: Option<String>,
    pub columns: Vec<String>,
}

/// `WITH (fillfactor = 100)`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct StorageOption {
    pub name: String,
    pub value: Option<String>,
}

#[derive(Clone, Debug)]
pub struct CreateTableAs {
    pub name: RelationName,
    pub temporary: Option<Temporary>,
    pub on_commit: Option<OnCommit>,
    pub if_not_exists: bool,
    /// Names for the first columns; the rest keep the query's.
    pub column_names: Vec<String>,
    /// A [`StatementKind::Query`], or a [`StatementKind::Execute`] of one.
    pub query: Statement,
    /// False for `WITH NO DATA`.
    pub with_data: bool,
    pub options: Vec<StorageOption>,
}

#[derive(Clone, Debug)]
pub struct CreateSchema {
    pub name: String,
    pub if_not_exists: bool,
    pub authorization: Option<String>,
    /// Tables and views to be made in it, which are named without another schema.
    pub elements: Vec<Statement>,
}

#[derive(Clone, Debug)]
pub struct CreateView {
    pub name: RelationName,
    pub temporary: Option<Temporary>,
    pub or_replace: bool,
    /// Names for the first columns; the rest keep the query's.
    pub column_names: Vec<String>,
    pub options: Vec<StorageOption>,
    /// A [`StatementKind::Query`].
    pub query: Statement,
}

#[derive(Clone, Debug)]
pub struct CreateMaterializedView {
    pub name: RelationName,
    pub if_not_exists: bool,
    /// Names for the first columns; the rest keep the query's.
    pub column_names: Vec<String>,
    /// A [`StatementKind::Query`].
    pub query: Statement,
    /// False for `WITH NO DATA`.
    pub with_data: bool,
    pub options: Vec<StorageOption>,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RefreshView {
    pub name: RelationName,
    /// False for `WITH NO DATA`.
    pub with_data: bool,
}

/// `COMMENT ON target IS text`; `None` takes the comment away.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Comment {
    pub target: CommentTarget,
    pub text: Option<String>,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub enum CommentTarget {
    Table(RelationName),
    View(RelationName),
    MaterializedView(RelationName),
    Column(RelationName, String),
    Schema(String),
    Database(String),
}

/// `DROP TABLE` or `DROP SCHEMA` (whose names have no schema of their own).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DropObjects {
    pub names: Vec<RelationName>,
    pub if_exists: bool,
    pub cascade: bool,
}

/// What ALTER says it alters.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum AlteredKind {
    Table,
    View,
    MaterializedView,
}

#[derive(Clone, Debug)]
pub struct AlterTable {
    pub kind: AlteredKind,
    pub name: RelationName,
    pub if_exists: bool,
    pub actions: Vec<AlterTableAction>,
}

#[derive(Clone, Debug)]
pub enum AlterTableAction {
    AddPrimaryKey(PrimaryKeyDefinition),
    SetStorageOptions(Vec<StorageOption>),
    AddColumn {
        column: Box<ColumnDefinition>,
        if_not_exists: bool,
        /// Of `ADD COLUMN … PRIMARY KEY`.
        primary_key: Option<PrimaryKeyDefinition>,
    },
    DropColumn {
        name: String,
        if_exists: bool,
        cascade: bool,
    },
    SetDefault {
        column: String,
        /// SQL text; `None`: DROP DEFAULT.
        default: Option<String>,
    },
    SetNotNull {
        column: String,
        not_null: bool,
    },
    /// The rest stand alone in their statement.
    RenameColumn {
        from: String,
        to: String,
    },
    RenameConstraint {
        from: String,
        to: String,
    },
    Rename(String),
    SetSchema(String),
    /// Refused with 0A000; the text says what.
    Unsupported(String),
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Truncate {
    pub tables: Vec<RelationName>,
    pub cascade: bool,
    pub restart_identity: bool,
}

#[derive(Clone, Debug)]
pub struct Explain {
    pub analyze: bool,
    pub verbose: bool,
    pub statement: Statement,
}

/// `COPY`; programs are refused by the parser.
#[derive(Clone, Debug)]
pub struct Copy {
    pub source: CopyObject,
    /// True: `FROM`; false: `TO`.
    pub from: bool,
    /// A file of the server; `None`: `STDIN` or `STDOUT`.
    pub file: Option<String>,
    /// As they stand; what they mean, and whether they may, is found out when they are executed.
    pub options: Vec<CopyOption>,
    pub filter: Option<Box<ast::Expr>>,
}

#[derive(Clone, Debug)]
pub enum CopyObject {
    Table {
        name: RelationName,
        columns: Vec<String>,
    },
    /// Of class query or DML.
    Query(Statement),
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CopyOption {
    /// Folded.
    pub name: String,
    pub value: CopyOptionValue,
    /// In the statement's text, in characters from 1.
    pub position: Option<usize>,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub enum CopyOptionValue {
    None,
    /// A word, folded, a string or a number.
    Text(String),
    /// `*`
    All,
    Columns(Vec<String>),
}

/// `VACUUM` and `ANALYZE`. No tables: all of them.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Vacuum {
    pub tables: Vec<VacuumTable>,
    pub analyze: bool,
    pub full: bool,
    pub freeze: bool,
    pub verbose: bool,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct VacuumTable {
    pub name: RelationName,
    pub columns: Vec<String>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct TransactionModes {
    pub isolation: Option<IsolationLevel>,
    pub read_only: Option<bool>,
    pub deferrable: Option<bool>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum IsolationLevel {
    ReadUncommitted,
    ReadCommitted,
    RepeatableRead,
    Serializable,
}

impl IsolationLevel {
    /// As SHOW prints it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::ReadUncommitted => "read uncommitted",
            Self::ReadCommitted => "read committed",
            Self::RepeatableRead => "repeatable read",
            Self::Serializable => "serializable",
        }
    }
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SetVariable {
    /// Lower case; `time zone` comes as `timezone`.
    pub name: String,
    pub local: bool,
    /// `None`: DEFAULT. Lists come as their items.
    pub values: Option<Vec<String>>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Discard {
    All,
    Plans,
    Sequences,
    Temp,
}

#[derive(Clone, Debug)]
pub struct Prepare {
    pub name: String,
    pub param_types: Vec<PgType>,
    pub statement: Statement,
}

#[derive(Clone, Debug)]
pub struct Execute {
    pub name: String,
    pub arguments: Vec<ast::Expr>,
}

#[derive(Clone, Debug)]
pub struct Declare {
    pub name: String,
    /// Its rows come in binary format.
    pub binary: bool,
    /// SCROLL or NO SCROLL.
    pub scroll: Option<bool>,
    /// WITH HOLD.
    pub hold: bool,
    /// A [`StatementKind::Query`].
    pub query: Statement,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Fetch {
    pub name: String,
    pub direction: FetchDirection,
    /// MOVE: the rows are not given.
    pub moves: bool,
}

/// Which rows of a cursor, seen from the one it stands on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum FetchDirection {
    /// So many rows; backward if negative; the row it stands on for 0.
    Forward(i64),
    ForwardAll,
    BackwardAll,
    /// The row of that number, from the end if negative.
    Absolute(i64),
    /// The row so many further.
    Relative(i64),
}

/// What kind of thing a statement does.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum StatementClass {
    Query,
    Dml,
    Ddl,
    /// COMMIT, ROLLBACK and kin.
    TransactionControl,
    Utility,
}

impl Statement {
    /// The character position, from 1, of a location in a syntax tree of this statement.
    #[must_use]
    pub fn position(&self, location: Location) -> Option<usize> {
        super::parser::position_of(&self.source, location)
    }

    #[must_use]
    pub fn class(&self) -> StatementClass {
        use StatementKind as K;
        match &self.kind {
            K::Query(_) => StatementClass::Query,
            K::Insert(_) | K::Update(_) | K::Delete(_) => StatementClass::Dml,
            K::CreateTable(_)
            | K::CreateTableAs(_)
            | K::CreateSchema(_)
            | K::CreateView(_)
            | K::CreateMaterializedView(_)
            | K::RefreshView(_)
            | K::Comment(_)
            | K::DropView(_)
            | K::DropMaterializedView(_)
            | K::DropTable(_)
            | K::DropSchema(_)
            | K::CreateType(_)
            | K::DropType(_)
            | K::AlterTable(_)
            | K::Truncate(_) => StatementClass::Ddl,
            K::Begin(_)
            | K::Commit { .. }
            | K::Rollback { .. }
            | K::Savepoint(_)
            | K::Release(_)
            | K::RollbackTo(_) => StatementClass::TransactionControl,
            _ => StatementClass::Utility,
        }
    }

    /// Whether a failed transaction block still accepts it.
    #[must_use]
    pub fn allowed_in_failed_transaction(&self) -> bool {
        matches!(
            self.kind,
            StatementKind::Commit { .. }
                | StatementKind::Rollback { .. }
                | StatementKind::RollbackTo(_)
        )
    }

    /// Whether it refuses to run inside a transaction block (25001), as VACUUM does.
    #[must_use]
    pub fn refuses_transaction_block(&self) -> bool {
        matches!(self.kind, StatementKind::Vacuum(_) | StatementKind::Discard(Discard::All))
    }

    /// The command tag without counts.
    #[must_use]
    pub fn command(&self) -> &'static str {
        use StatementKind as K;
        match &self.kind {
            K::Query(_) => "SELECT",
            K::Insert(_) => "INSERT",
            K::Update(_) => "UPDATE",
            K::Delete(_) => "DELETE",
            K::CreateTable(_) => "CREATE TABLE",
            K::CreateTableAs(_) => "CREATE TABLE AS",
            K::CreateSchema(_) => "CREATE SCHEMA",
            K::DropTable(_) => "DROP TABLE",
            K::DropSchema(_) => "DROP SCHEMA",
            K::CreateType(_) => "CREATE TYPE",
            K::DropType(_) => "DROP TYPE",
            K::AlterTable(alter) => match alter.kind {
                AlteredKind::Table => "ALTER TABLE",
                AlteredKind::View => "ALTER VIEW",
                AlteredKind::MaterializedView => "ALTER MATERIALIZED VIEW",
            },
            K::CreateView(_) => "CREATE VIEW",
            K::CreateMaterializedView(_) => "CREATE MATERIALIZED VIEW",
            K::RefreshView(_) => "REFRESH MATERIALIZED VIEW",
            K::Comment(_) => "COMMENT",
            K::DropView(_) => "DROP VIEW",
            K::DropMaterializedView(_) => "DROP MATERIALIZED VIEW",
            K::Truncate(_) => "TRUNCATE TABLE",
            K::Explain(_) => "EXPLAIN",
            K::Copy(_) => "COPY",
            K::Vacuum(_) => "VACUUM",
            K::Analyze(_) => "ANALYZE",
            K::Begin(_) => "BEGIN",
            K::Commit { .. } => "COMMIT",
            K::Rollback { .. } | K::RollbackTo(_) => "ROLLBACK",
            K::Savepoint(_) => "SAVEPOINT",
            K::Release(_) => "RELEASE",
            K::SetTransaction { .. } | K::Set(_) => "SET",
            K::Reset(_) => "RESET",
            K::Show(_) => "SHOW",
            K::Discard(Discard::All) => "DISCARD ALL",
            K::Discard(Discard::Plans) => "DISCARD PLANS",
            K::Discard(Discard::Sequences) => "DISCARD SEQUENCES",
            K::Discard(Discard::Temp) => "DISCARD TEMP",
            K::Prepare(_) => "PREPARE",
            K::Execute(_) => "EXECUTE",
            K::Deallocate(None) => "DEALLOCATE ALL",
            K::Deallocate(Some(_)) => "DEALLOCATE",
            K::Checkpoint => "CHECKPOINT",
            K::Unlisten => "UNLISTEN",
            K::Declare(_) => "DECLARE CURSOR",
            K::Fetch(Fetch { moves: false, .. }) => "FETCH",
            K::Fetch(_) => "MOVE",
            K::Close(Some(_)) => "CLOSE CURSOR",
            K::Close(None) => "CLOSE CURSOR ALL",
            K::Unsupported { .. } => "",
        }
    }
}
