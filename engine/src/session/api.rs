//! The surface between a client protocol and a session.
//!
//! ```text
//! simple query:    parse(sql) → statements;  begin_block() if several;
//!                  for each: prepare, execute → Execution, taken to its end;
//!                  on an error: stop, statement_failed();  then end_block(), which may fail too
//! extended query:  parse, prepare → Prepared (kept by name by the server)
//!                  Execute directly followed by Sync: execute(prepared, params) in autocommit;
//!                  else begin_block() first. Execution::Rows is kept as the portal by the server
//!                  Sync → end_block()
//! ```
//!
//! Autocommit (no block open): `execute` has committed when it returns, and retries a 40001 a few
//! times by itself, as nothing was sent yet. Only a SELECT still runs while its rows are taken.
//!
//! Cancelling is dropping: the future of `execute`, or the stream of rows. A commit that was handed
//! to the leader goes on without its session.

use std::{pin::Pin, sync::Arc};

use arrow::array::RecordBatch;
use datafusion::scalar::ScalarValue;
use futures::Stream;

use crate::{error::SqlError, types::PgType};

/// What ReadyForQuery says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum TransactionStatus {
    Idle,
    InBlock,
    Failed,
}

/// A column of a result.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct FieldDescription {
    pub name: String,
    pub pg_type: PgType,
    /// OID and column number of the table column shown unchanged, else (0, 0).
    pub table_oid: u32,
    pub column_number: i16,
    /// Whether clients are told precision and scale: of what is computed they only say how it is
    /// kept here.
    pub shows_modifier: bool,
}

impl FieldDescription {
    /// The type modifier as clients see it; -1 for none.
    #[must_use]
    pub fn typmod(&self) -> i32 {
        match self.pg_type {
            PgType::Numeric(_) if !self.shows_modifier => -1,
            _ => self.pg_type.typmod(),
        }
    }
}

/// A parameter value: `ScalarValue` of the Arrow type of the parameter's `PgType`, NULL typed too.
pub type ParamValue = ScalarValue;

/// Rows of a result. An error ends the stream and fails the transaction block, if one is open.
/// Dropping it gives up the query.
pub type RowStream = Pin<Box<dyn Stream<Item = Result<RecordBatch, SqlError>> + Send>>;

/// What executing a statement gives.
pub enum Execution {
    /// Empty query string.
    Empty,
    /// Nothing to show but the command tag, such as `CREATE TABLE` or `INSERT 0 5`.
    Command {
        tag: String,
    },
    /// Rows. `{n}` in `tag` is replaced by the number of rows that were sent (`SELECT {n}`); DML
    /// with RETURNING carries its own count.
    Rows {
        fields: Arc<[FieldDescription]>,
        stream: RowStream,
        tag: String,
        /// They come from a BINARY cursor, which holds where the client says nothing else.
        binary: bool,
    },
    CopyIn(CopyIn),
    CopyOut(CopyOut),
}

impl std::fmt::Debug for Execution {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Empty => f.write_str("Empty"),
            Self::Command { tag } => write!(f, "Command({tag})"),
            Self::Rows { tag, fields, .. } => write!(f, "Rows({tag}, {} fields)", fields.len()),
            Self::CopyIn(copy) => write!(f, "CopyIn({} columns)", copy.columns),
            Self::CopyOut(copy) => write!(f, "CopyOut({} columns)", copy.columns),
        }
    }
}

/// COPY … FROM STDIN: the server sends CopyInResponse, then feeds the bytes of CopyData as they
/// come, then `finish` or `fail`.
pub struct CopyIn {
    pub columns: usize,
    pub binary: bool,
    pub sink: Box<dyn CopySink>,
}

#[async_trait::async_trait]
pub trait CopySink: Send {
    /// Bytes as they came off the wire, cut anywhere.
    async fn data(&mut self, bytes: &[u8]) -> Result<(), SqlError>;
    /// CopyDone: the command tag, `COPY n`. Under autocommit the commit is done.
    async fn finish(self: Box<Self>) -> Result<String, SqlError>;
    /// CopyFail (with the client's reason), or the client went away.
    async fn fail(self: Box<Self>, reason: String) -> SqlError;
}

/// COPY … TO STDOUT: the server cuts each chunk into one CopyData message per row.
pub struct CopyOut {
    pub columns: usize,
    pub binary: bool,
    pub rows: Pin<Box<dyn Stream<Item = Result<CopyChunk, SqlError>> + Send>>,
}

/// Several encoded rows.
#[derive(Debug)]
pub struct CopyChunk {
    /// Rows of the table in it: what the tag `COPY n` counts (a header line is no row).
    pub rows: u64,
    pub bytes: bytes::Bytes,
    /// End offset of each line in `bytes`.
    pub ends: Vec<u32>,
}

/// Something to tell the client beside results.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Notice {
    /// `WARNING`, `NOTICE`, `INFO`.
    pub severity: &'static str,
    pub sqlstate: &'static str,
    pub message: String,
    pub detail: Option<String>,
    pub hint: Option<String>,
}

impl Notice {
    #[must_use]
    pub fn new(severity: &'static str, sqlstate: &'static str, message: impl Into<String>) -> Self {
        Self { severity, sqlstate, message: message.into(), detail: None, hint: None }
    }

    #[must_use]
    pub fn warning(sqlstate: &'static str, message: impl Into<String>) -> Self {
        Self::new("WARNING", sqlstate, message)
    }

    /// A NOTICE with SQLSTATE 00000.
    #[must_use]
    pub fn note(message: impl Into<String>) -> Self {
        Self::new("NOTICE", crate::error::sqlstate::SUCCESSFUL_COMPLETION, message)
    }
}
