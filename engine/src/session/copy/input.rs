//! COPY … FROM: bytes straight into columns, columns into the write set.

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
    binary_input::BinaryReader,
    line_reader::LineReader,
    options::{CopyFormat, Options},
    progress::Running,
};
use crate::{
    error::{SqlError, sqlstate},
    query::{
        errors::sql_error,
        planner::{self, PlannedExpr, ResolvedTable},
        statement::{Copy, Statement},
    },
    session::{context::ExecutionContext, dml::TableSink, transaction::Transaction},
    types::encoding::Encoding,
};

/// Rows and bytes of a batch that goes into the write set.
pub(super) const BATCH_ROWS: usize = 8192;
pub(super) const BATCH_BYTES: usize = 4 << 20;

/// A COPY that is under way.
pub(super) struct CopySource {
    context: ExecutionContext,
    table: ResolvedTable,
    /// Ordinals of the copied columns.
    ordinals: Vec<usize>,
    reader: Reader,
    encoding: Encoding,
    /// Defaults of the columns that are not copied, by ordinal.
    defaults: Vec<(usize, Arc<dyn PhysicalExpr>)>,
    filter: Option<Arc<dyn PhysicalExpr>>,
    sink: TableSink,
    copied: u64,
    /// Told what was read.
    pub(super) running: Running,
}

enum Reader {
    Lines(Box<LineReader>),
    Binary(Box<BinaryReader>),
}

impl CopySource {
    pub(super) fn new(
        context: &ExecutionContext,
        statement: &Statement,
        copy: &Copy,
        options: &Options,
        (table, ordinals): (ResolvedTable, Vec<usize>),
    ) -> Result<Self, SqlError> {
        let sink = TableSink::new(context, &table)?;
        let format = context.format();
        let reader = if options.format == CopyFormat::Binary {
            let copied = ordinals.iter().map(|i| &table.columns[*i]);
            let names = copied.clone().map(|column| column.name.clone()).collect();
            let types = copied.map(|column| column.pg_type.clone()).collect();
            Reader::Binary(Box::new(BinaryReader::new(&table.name, names, types, format)))
        } else {
            Reader::Lines(Box::new(LineReader::new(options, &table, &ordinals, format)?))
        };
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
            running: Running::new(context, table.oid, true, copy.file.is_some()),
            reader,
            encoding: options.encoding.unwrap_or(context.settings.derived().format.encoding),
            context: context.clone(),
            table,
            ordinals,
            defaults,
            filter,
            sink,
            copied: 0,
        })
    }

    /// Bytes as they came off the wire or from a file, cut anywhere.
    pub(super) async fn take_bytes(&mut self, bytes: &[u8]) -> Result<(), SqlError> {
        self.running.add_bytes(bytes.len());
        let decoded = match &self.reader {
            Reader::Lines(_) => self.encoding.decode(bytes),
            Reader::Binary(_) => Ok(bytes.into()),
        };
        let decoded =
            decoded.map_err(|error| error.context(self.reader.context(&self.table.name)))?;
        let mut rest = decoded.as_ref();
        while self.reader.read(&mut rest)? {
            self.flush().await?;
            tokio::task::yield_now().await;
        }
        Ok(())
    }

    /// Puts what was read into the write set.
    async fn flush(&mut self) -> Result<(), SqlError> {
        let rows = self.reader.rows();
        if rows == 0 {
            return Ok(());
        }
        let mut columns: Vec<Option<ArrayRef>> = vec![None; self.table.columns.len()];
        for (ordinal, column) in self.ordinals.iter().zip(self.reader.finish()?) {
            columns[*ordinal] = Some(column);
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
            None => error.context(format!("COPY {}", self.table.name)),
        };
        let batch = match &self.filter {
            None => self.sink.rows(columns).map_err(context)?,
            Some(filter) => {
                let batch = self.filtered(filter, columns)?;
                self.sink.rows(batch).map_err(context)?
            }
        };
        let taken = batch.num_rows() as u64;
        self.copied += taken;
        self.running.add_excluded(rows as u64 - taken);
        self.sink.insert(batch, None).await.map_err(|error| match error.object.context {
            Some(_) => error,
            None => error.context(format!("COPY {}", self.table.name)),
        })?;
        self.running.add_rows(taken);
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
        match &mut self.reader {
            Reader::Lines(reader) => reader.end()?,
            Reader::Binary(reader) => reader.end()?,
        }
        self.flush().await?;
        Ok(self.copied)
    }

    /// The error of a client that gave up.
    pub(super) fn given_up(&self, reason: &str) -> SqlError {
        SqlError::new(sqlstate::QUERY_CANCELED, format!("COPY from stdin failed: {reason}"))
            .context(self.reader.context(&self.table.name))
    }
}

impl Reader {
    fn read(&mut self, input: &mut &[u8]) -> Result<bool, SqlError> {
        match self {
            Self::Lines(reader) => reader.read(input),
            Self::Binary(reader) => reader.read(input),
        }
    }

    fn rows(&self) -> usize {
        match self {
            Self::Lines(reader) => reader.rows(),
            Self::Binary(reader) => reader.rows(),
        }
    }

    fn finish(&mut self) -> Result<Vec<ArrayRef>, SqlError> {
        match self {
            Self::Lines(reader) => Ok(reader.finish()),
            Self::Binary(reader) => reader.finish(),
        }
    }

    /// Where the next row would be.
    fn context(&self, table: &str) -> String {
        let line = match self {
            Self::Lines(reader) => reader.next_line(),
            Self::Binary(reader) => reader.next_line(),
        };
        format!("COPY {table}, line {line}")
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
