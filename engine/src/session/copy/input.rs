//! COPY … FROM STDIN: bytes straight into columns.

use std::sync::Arc;

use arrow::{
    array::{ArrayRef, AsArray, RecordBatch, RecordBatchOptions},
    compute::filter_record_batch,
    datatypes::Schema,
};
use datafusion::{
    common::DFSchema,
    logical_expr::physical_planning_context::PhysicalPlanningContext,
    physical_expr::{PhysicalExpr, create_physical_expr},
};

use super::{
    chosen,
    lines::{Dialect, Field, LineEnd, Scan, invalid_utf8},
};
use crate::{
    error::{SqlError, sqlstate},
    query::{
        errors::sql_error,
        planner::{self, PlannedExpr, ResolvedTable},
        statement::{Copy, CopyHeader, Statement},
    },
    session::{context::ExecutionContext, dml::TableSink, transaction::Transaction},
    types::text::{ColumnBuilder, FormatSettings},
};

/// Rows and bytes of a batch that goes into the write set.
const BATCH_ROWS: usize = 8192;
const BATCH_BYTES: usize = 4 << 20;
/// Most bytes of a line or value in the context of an error.
const SHOWN_BYTES_MAX: usize = 100;

/// A COPY that is under way.
pub(super) struct CopySource {
    context: ExecutionContext,
    table: ResolvedTable,
    /// Ordinals of the copied columns.
    ordinals: Vec<usize>,
    reader: Reader,
    /// Defaults of the columns that are not copied, by ordinal.
    defaults: Vec<(usize, Arc<dyn PhysicalExpr>)>,
    filter: Option<Arc<dyn PhysicalExpr>>,
    sink: TableSink,
    /// The line that the data so far leaves open.
    open: Vec<u8>,
    /// Bytes of `open` that were searched for its end.
    searched: usize,
    scan: Scan,
    copied: u64,
}

/// Lines to columns.
struct Reader {
    dialect: Dialect,
    format: FormatSettings,
    table: String,
    names: Vec<String>,
    builders: Vec<ColumnBuilder>,
    force_not_null: Vec<bool>,
    force_null: Vec<bool>,
    header: CopyHeader,
    /// Of the line in hand, from 1.
    line: u64,
    /// How the first line ended.
    line_end: Option<LineEnd>,
    /// The end-of-data mark was seen; what follows is ignored.
    ended: bool,
}

impl CopySource {
    pub(super) fn new(
        context: &ExecutionContext,
        statement: &Statement,
        copy: &Copy,
        table: ResolvedTable,
        ordinals: Vec<usize>,
    ) -> Result<Self, SqlError> {
        let sink = TableSink::new(context, &table)?;
        let names: Vec<String> = ordinals.iter().map(|i| table.columns[*i].name.clone()).collect();
        let builders = ordinals
            .iter()
            .map(|i| ColumnBuilder::new(&table.columns[*i].pg_type, BATCH_ROWS))
            .collect::<Result<_, _>>()?;
        let mut defaults = Vec::new();
        for (ordinal, column) in table.columns.iter().enumerate() {
            if ordinals.contains(&ordinal) {
                continue;
            }
            let text = column.default.as_deref().unwrap_or("NULL");
            let planned = context
                .plan(|plan| planner::plan_default(plan, &column.name, &column.pg_type, text))?;
            defaults.push((ordinal, physical(context, &planned, &DFSchema::empty())?));
        }
        let filter = match &copy.filter {
            Some(filter) => {
                let planned = context
                    .plan(|plan| planner::plan_copy_filter(plan, statement, &table, filter))?;
                Some(physical(context, &planned, &planned.schema)?)
            }
            None => None,
        };
        Ok(Self {
            reader: Reader {
                dialect: Dialect::new(copy),
                format: context.format(),
                table: table.name.clone(),
                force_not_null: chosen("FORCE_NOT_NULL", &copy.force_not_null, &names)?,
                force_null: chosen("FORCE_NULL", &copy.force_null, &names)?,
                names,
                builders,
                header: copy.header,
                line: 0,
                line_end: None,
                ended: false,
            },
            context: context.clone(),
            table,
            ordinals,
            defaults,
            filter,
            sink,
            open: Vec::new(),
            searched: 0,
            scan: Scan::default(),
            copied: 0,
        })
    }

    /// Bytes as they came off the wire, cut anywhere.
    pub(super) async fn take_bytes(&mut self, bytes: &[u8]) -> Result<(), SqlError> {
        if self.reader.ended {
            return Ok(());
        }
        // Only the line that a message cuts is copied.
        let mut rest = bytes;
        if !self.open.is_empty() {
            self.open.extend_from_slice(bytes);
            let open = std::mem::take(&mut self.open);
            let used = self.lines(&open, self.searched).await?;
            self.open = open;
            self.open.drain(..used);
            self.searched = self.open.len();
            return Ok(());
        }
        let used = self.lines(rest, 0).await?;
        rest = &rest[used..];
        self.open.extend_from_slice(rest);
        self.searched = self.open.len();
        Ok(())
    }

    /// Reads whole lines; the number of bytes they take.
    async fn lines(&mut self, bytes: &[u8], searched: usize) -> Result<usize, SqlError> {
        let mut start = 0;
        let mut from = searched;
        let mut scan = self.scan;
        while let Some((end, next)) = self.reader.dialect.line_end(bytes, from, &mut scan) {
            self.reader.line(&bytes[start..end], true)?;
            (start, from) = (next, next);
            if self.reader.is_full() {
                self.flush().await?;
                tokio::task::yield_now().await;
            }
            if self.reader.ended {
                return Ok(bytes.len());
            }
        }
        self.scan = scan;
        Ok(start)
    }

    /// Puts what was read into the write set.
    async fn flush(&mut self) -> Result<(), SqlError> {
        let rows = self.reader.rows();
        if rows == 0 {
            return Ok(());
        }
        let mut columns: Vec<Option<ArrayRef>> = vec![None; self.table.columns.len()];
        for (ordinal, builder) in self.ordinals.iter().zip(&mut self.reader.builders) {
            columns[*ordinal] = Some(builder.finish());
        }
        if !self.defaults.is_empty() {
            let nothing = nothing(rows)?;
            for (ordinal, default) in &self.defaults {
                let value = default
                    .evaluate(&nothing)
                    .and_then(|value| value.into_array(rows))
                    .map_err(sql_error)?;
                columns[*ordinal] = Some(value);
            }
        }
        let columns: Vec<ArrayRef> = columns
            .into_iter()
            .map(|column| column.ok_or_else(|| SqlError::internal("a column was not copied")))
            .collect::<Result<_, _>>()?;
        let context = |error: SqlError| match error.object.context {
            Some(_) => error,
            None => error.context(format!("COPY {}", self.reader.table)),
        };
        let batch = match &self.filter {
            None => self.sink.rows(columns).map_err(context)?,
            Some(filter) => {
                let batch = self.filtered(filter, columns)?;
                self.sink.rows(batch).map_err(context)?
            }
        };
        self.copied += batch.num_rows() as u64;
        self.sink.insert(batch, None).map_err(|error| match error.object.context {
            Some(_) => error,
            None => error.context(format!("COPY {}", self.reader.table)),
        })?;
        if self.context.is_last {
            Transaction::stream_parts(&self.context.transaction).await?;
        }
        Ok(())
    }

    fn filtered(
        &self,
        filter: &Arc<dyn PhysicalExpr>,
        columns: Vec<ArrayRef>,
    ) -> Result<Vec<ArrayRef>, SqlError> {
        let internal = |error: arrow::error::ArrowError| SqlError::internal(error.to_string());
        let fields: Vec<_> = self
            .table
            .columns
            .iter()
            .map(|column| column.pg_type.field(&column.name, true))
            .collect();
        let batch =
            RecordBatch::try_new(Arc::new(Schema::new(fields)), columns).map_err(internal)?;
        let mask = filter
            .evaluate(&batch)
            .and_then(|mask| mask.into_array(batch.num_rows()))
            .map_err(sql_error)?;
        let batch = filter_record_batch(&batch, mask.as_boolean()).map_err(internal)?;
        Ok(batch.columns().to_vec())
    }

    /// After the last byte: everything into the write set. The number of rows.
    pub(super) async fn end(&mut self) -> Result<u64, SqlError> {
        if !self.open.is_empty() && !self.reader.ended {
            let open = std::mem::take(&mut self.open);
            if self.scan.quoted {
                let error =
                    SqlError::new(sqlstate::BAD_COPY_FILE_FORMAT, "unterminated CSV quoted field");
                let text = String::from_utf8_lossy(&open);
                return Err(error.context(self.reader.line_context(self.reader.line + 1, &text)));
            }
            self.reader.line(&open, false)?;
        }
        self.flush().await?;
        Ok(self.copied)
    }

    /// The error of a client that gave up.
    pub(super) fn given_up(&self, reason: &str) -> SqlError {
        SqlError::new(sqlstate::QUERY_CANCELED, format!("COPY from stdin failed: {reason}"))
            .context(format!("COPY {}, line {}", self.reader.table, self.reader.line + 1))
    }
}

fn nothing(rows: usize) -> Result<RecordBatch, SqlError> {
    let options = RecordBatchOptions::new().with_row_count(Some(rows));
    RecordBatch::try_new_with_options(Arc::new(Schema::empty()), Vec::new(), &options)
        .map_err(|error| SqlError::internal(error.to_string()))
}

fn physical(
    context: &ExecutionContext,
    planned: &PlannedExpr,
    schema: &DFSchema,
) -> Result<Arc<dyn PhysicalExpr>, SqlError> {
    create_physical_expr(
        &planned.expr,
        schema,
        &context.execution_props(),
        &PhysicalPlanningContext::default(),
    )
    .map_err(sql_error)
}

impl Reader {
    fn rows(&self) -> usize {
        self.builders.first().map_or(0, ColumnBuilder::len)
    }

    fn is_full(&self) -> bool {
        let rows = self.rows();
        rows >= BATCH_ROWS
            || (rows.is_multiple_of(256)
                && self.builders.iter().map(ColumnBuilder::memory_bytes).sum::<usize>()
                    >= BATCH_BYTES)
    }

    /// One line without its newline, if it ended with one.
    fn line(&mut self, bytes: &[u8], newline: bool) -> Result<(), SqlError> {
        self.line += 1;
        let stripped = self.dialect.without_carriage_return(bytes, newline, &mut self.line_end);
        let located =
            |error: SqlError| error.context(format!("COPY {}, line {}", self.table, self.line));
        let bytes = stripped.map_err(located)?;
        let bytes = match self.dialect.before_end_mark(bytes) {
            None => bytes,
            Some(before) => {
                self.ended = true;
                if before.is_empty() {
                    return Ok(());
                }
                before
            }
        };
        if memchr::memchr(0, bytes).is_some() {
            return Err(located(invalid_utf8(&[0])));
        }
        let line = std::str::from_utf8(bytes).map_err(|error| {
            let context = format!("COPY {}, line {}", self.table, self.line);
            invalid_utf8(&bytes[error.valid_up_to()..]).context(context)
        })?;
        let mut fields = Vec::with_capacity(self.builders.len());
        self.dialect
            .fields(line, &mut fields)
            .map_err(|error| error.context(self.line_context(self.line, line)))?;
        if self.line == 1 && self.header != CopyHeader::No {
            return match self.header {
                CopyHeader::Match => self.check_header(&fields),
                _ => Ok(()),
            };
        }
        if fields.len() != self.builders.len() {
            return Err(self.wrong_count(fields.len(), line));
        }
        for (column, field) in fields.into_iter().enumerate() {
            self.append(column, field)?;
        }
        Ok(())
    }

    fn append(&mut self, column: usize, field: Field<'_>) -> Result<(), SqlError> {
        let builder = &mut self.builders[column];
        let field = match &field {
            Some(text) if self.force_null[column] && self.dialect.is_null_text(text) => None,
            Some(text) => Some(text.as_ref()),
            None if self.force_not_null[column] => Some(""),
            None => None,
        };
        match field {
            None => builder.append_null(),
            Some(text) => {
                if let Err(error) = builder.append(text, &self.format) {
                    let name = &self.names[column];
                    return Err(error.context(format!(
                        "COPY {}, line {}, column {name}: \"{}\"",
                        self.table,
                        self.line,
                        shortened(text)
                    )));
                }
            }
        }
        Ok(())
    }

    fn check_header(&self, fields: &[Field<'_>]) -> Result<(), SqlError> {
        let wrong = |message: String| {
            let context = format!("COPY {}, line 1", self.table);
            Err(SqlError::new(sqlstate::BAD_COPY_FILE_FORMAT, message).context(context))
        };
        if fields.len() != self.names.len() {
            return wrong(format!(
                "wrong number of fields in header line: got {}, expected {}",
                fields.len(),
                self.names.len()
            ));
        }
        for (index, (field, name)) in fields.iter().zip(&self.names).enumerate() {
            let number = index + 1;
            match field {
                Some(field) if field == name => {}
                Some(field) => {
                    return wrong(format!(
                        "column name mismatch in header line field {number}: got \"{field}\", \
                         expected \"{name}\""
                    ));
                }
                None => {
                    return wrong(format!(
                        "column name mismatch in header line field {number}: got null value, \
                         expected \"{name}\""
                    ));
                }
            }
        }
        Ok(())
    }

    fn wrong_count(&self, count: usize, line: &str) -> SqlError {
        let message = match self.names.get(count) {
            Some(name) => format!("missing data for column \"{name}\""),
            None => "extra data after last expected column".to_owned(),
        };
        SqlError::new(sqlstate::BAD_COPY_FILE_FORMAT, message)
            .context(self.line_context(self.line, line))
    }

    fn line_context(&self, number: u64, line: &str) -> String {
        format!("COPY {}, line {number}: \"{}\"", self.table, shortened(line))
    }
}

fn shortened(text: &str) -> String {
    if text.len() <= SHOWN_BYTES_MAX {
        return text.to_owned();
    }
    let mut end = SHOWN_BYTES_MAX;
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    format!("{}...", &text[..end])
}
