//! The surface between a client protocol and a session.
//!
//! ```text
//! simple query:    parse(sql) → statements;  begin_block (if several);  for each: prepare, execute;  end_block
//! extended query:  parse, prepare → Prepared (kept by name by the server)
//!                  execute(prepared, params) → Execution (kept as portal by the server)
//!                  Sync → end_block
//! ```

use std::sync::Arc;

use datafusion::{execution::SendableRecordBatchStream, scalar::ScalarValue};

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
}

/// A parameter value: `ScalarValue` of the Arrow type of the parameter's `PgType`, NULL typed too.
pub type ParamValue = ScalarValue;

/// What executing a statement gives.
pub enum Execution {
    /// Empty query string.
    Empty,
    /// Nothing to show but the command tag, such as `CREATE TABLE` or `INSERT 0 5`.
    Command {
        tag: String,
    },
    /// Rows. `tag` is asked for when the stream has ended; `{n}` in it is replaced by the number of
    /// rows that were sent (`SELECT {n}`); DML with RETURNING carries its own count.
    Rows {
        fields: Arc<[FieldDescription]>,
        stream: SendableRecordBatchStream,
        tag: String,
    },
    CopyIn(CopyIn),
    CopyOut(CopyOut),
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
    /// CopyFail, or the client went away.
    async fn fail(self: Box<Self>, reason: String) -> SqlError;
}

/// COPY … TO STDOUT: each item is one CopyData message's bytes (one row with its line end).
pub struct CopyOut {
    pub columns: usize,
    pub binary: bool,
    pub rows: futures::stream::BoxStream<'static, Result<CopyChunk, SqlError>>,
}

/// Several encoded rows.
pub struct CopyChunk {
    pub rows: u64,
    pub bytes: bytes::Bytes,
    /// End offset of each row in `bytes`.
    pub ends: Vec<u32>,
}

/// Something to tell the client beside results.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Notice {
    /// `WARNING`, `NOTICE`, `INFO`.
    pub severity: &'static str,
    pub sqlstate: &'static str,
    pub message: String,
}
