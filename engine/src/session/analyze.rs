//! ANALYZE and VACUUM.
//!
//! ANALYZE reads a sample of slices spread over the rows in memory; of those in segments it knows from
//! the list of these, which has statistics of all rows. What it finds stays in memory; after a start, and
//! when a table has changed much, it runs by itself.

mod distinct;

use std::{
    sync::{Arc, Weak},
    time::Duration,
};

use arrow::{
    array::{Array, ArrayRef, RecordBatch},
    datatypes::DataType,
};
use datafusion::{
    functions_aggregate::min_max::{MaxAccumulator, MinAccumulator},
    logical_expr::Accumulator,
    scalar::ScalarValue,
};
use glaredb_catalog::descriptor::Table as TableDescriptor;
use glaredb_txn::ids::{TableId, Timestamp};

use self::distinct::DistinctCounter;
use super::{
    Engine,
    api::Execution,
    context::ExecutionContext,
    errors::{rewrite_error, storage_error},
};
use crate::{
    error::{SqlError, sqlstate},
    query::{
        errors::sql_error,
        scan::{ColumnFacts, SegmentFacts, TableFacts},
        statement::Vacuum,
    },
    storage::{
        StorageError,
        database::Database,
        rewrite::RewriteError,
        schema::TableSchema,
        table::{ScanUnit, Table, TableView, Visibility},
    },
};

/// Rows read of a large table.
const SAMPLE_ROWS: usize = 300_000;
const SLICE_ROWS: usize = 8192;
/// How often tables are looked at that may have changed.
const INTERVAL: Duration = Duration::from_secs(5);
/// A table is analyzed again when this many rows, and a fifth of it, came or went.
const CHANGED_ROWS: u64 = 500;

/// VACUUM: rows in memory go to segments, without those that no snapshot sees; FULL makes the segments
/// few and writes those anew that have dead rows. Then ANALYZE, if asked.
pub(super) async fn vacuum(
    context: &ExecutionContext,
    vacuum: &Vacuum,
) -> Result<Execution, SqlError> {
    let tables = tables(context, vacuum)?;
    let database = context.engine.database();
    if database.rewrite_options().by_vacuum {
        for table in &tables {
            rewrite(database, table.storage, vacuum.full).await?;
        }
    }
    if vacuum.analyze {
        analyze_tables(context, &tables).await?;
    }
    Ok(Execution::Command { tag: "VACUUM".to_owned() })
}

async fn rewrite(database: &Database, table: TableId, full: bool) -> Result<(), SqlError> {
    let rewritten = match full {
        true => database.compact_now(table).await,
        false => database.flush_now(table).await,
    };
    match rewritten {
        Ok(_) => Ok(()),
        // A temporary table, or one that was dropped meanwhile.
        Err(RewriteError::NoTable(_)) => Ok(()),
        Err(error) if error.is_passing() => {
            tracing::info!(%table, %error, "VACUUM leaves rows in memory");
            Ok(())
        }
        Err(error) => Err(rewrite_error(error)),
    }
}

pub(super) async fn analyze(
    context: &ExecutionContext,
    vacuum: &Vacuum,
) -> Result<Execution, SqlError> {
    analyze_tables(context, &tables(context, vacuum)?).await?;
    Ok(Execution::Command { tag: "ANALYZE".to_owned() })
}

fn tables(
    context: &ExecutionContext,
    vacuum: &Vacuum,
) -> Result<Vec<Arc<TableDescriptor>>, SqlError> {
    if vacuum.tables.is_empty() {
        return Ok(context.catalog.tables().filter(|table| table.is_stored()).cloned().collect());
    }
    let mut tables = Vec::new();
    for named in &vacuum.tables {
        let table = context.stored_relation(&named.name)?;
        if let Some(column) = named.columns.iter().find(|column| table.column(column).is_none()) {
            return Err(SqlError::new(
                sqlstate::UNDEFINED_COLUMN,
                format!("column \"{column}\" of relation \"{}\" does not exist", table.name),
            ));
        }
        tables.push(Arc::clone(table));
    }
    Ok(tables)
}

async fn analyze_tables(
    context: &ExecutionContext,
    tables: &[Arc<TableDescriptor>],
) -> Result<(), SqlError> {
    for table in tables {
        let Some((storage, at)) = context.view.storage(table.storage) else { continue };
        let facts = sample(&storage, at).await?;
        context.engine.set_facts(table.storage, facts);
    }
    Ok(())
}

/// What a sample of the rows visible at `at`, a registered snapshot, tells.
async fn sample(storage: &Table, at: Timestamp) -> Result<TableFacts, SqlError> {
    let schema = storage.schema();
    let view = storage.view_as(&schema, at);
    let mut sample = Sample::new(schema.columns().len());
    let slices = choose(view.units());
    let read = slices.iter().map(|(_, range)| range.len()).sum::<usize>();
    for (unit, range) in slices {
        sample.add(unit, range)?;
        // Between slices others have their turn, and a cancelled ANALYZE ends.
        tokio::task::yield_now().await;
    }
    let held: usize = view.units().iter().map(ScanUnit::rows).sum();
    with_segments(&view, &schema, sample.finish(held, read)).map_err(storage_error)
}

/// `facts`, of the rows in memory, together with what is known of those in segments.
fn with_segments(
    view: &TableView,
    schema: &TableSchema,
    facts: TableFacts,
) -> Result<TableFacts, StorageError> {
    let segments = view.segments();
    if segments.is_empty() {
        return Ok(facts);
    }
    let columns = facts.columns.iter().enumerate().map(|(ordinal, column)| {
        Ok(SegmentFacts::of(segments, schema, ordinal)?.and(column, facts.rows))
    });
    let columns = columns.collect::<Result<_, StorageError>>()?;
    let alive = segments
        .iter()
        .map(|segment| u64::from(segment.segment().rows()).saturating_sub(segment.deleted().len()));
    Ok(TableFacts { rows: facts.rows + alive.sum::<u64>(), columns })
}

/// Analyzes tables that changed much since they were analyzed, or never were (after a start, for
/// one), as long as the engine lives.
pub(super) async fn keep_analyzed(engine: Weak<Engine>) {
    let mut ticks = tokio::time::interval(INTERVAL);
    loop {
        ticks.tick().await;
        let Some(engine) = engine.upgrade() else { return };
        let snapshot = engine.database().snapshots().register();
        let catalog = engine.database().catalog_at(&snapshot.snapshot());
        for table in catalog.tables().filter(|table| table.is_stored()) {
            let Some(storage) = engine.database().table(table.storage) else { continue };
            let rows = storage.row_count_estimate();
            let known = engine.facts(table.storage).map_or(0, |facts| facts.rows);
            if rows.abs_diff(known) <= CHANGED_ROWS + known / 5 {
                continue;
            }
            match sample(&storage, snapshot.timestamp()).await {
                Ok(facts) => engine.set_facts(table.storage, facts),
                Err(error) => tracing::warn!(table = table.name, %error, "not analyzed"),
            }
        }
    }
}

/// Slices spread evenly over the units, at most [`SAMPLE_ROWS`] in all.
fn choose(units: &[ScanUnit]) -> Vec<(&ScanUnit, std::ops::Range<usize>)> {
    let mut slices = Vec::new();
    for unit in units {
        for start in (0..unit.rows()).step_by(SLICE_ROWS) {
            slices.push((unit, start..unit.rows().min(start + SLICE_ROWS)));
        }
    }
    let rows: usize = slices.iter().map(|(_, range)| range.len()).sum();
    let step = rows.div_ceil(SAMPLE_ROWS).max(1);
    slices.into_iter().step_by(step).collect()
}

struct Sample {
    /// Visible rows.
    rows: usize,
    columns: Vec<ColumnSample>,
}

#[derive(Default)]
struct ColumnSample {
    nulls: usize,
    distinct: DistinctCounter,
    /// Made with the first values, for types that have an order.
    bounds: Option<(MinAccumulator, MaxAccumulator)>,
}

impl Sample {
    fn new(columns: usize) -> Self {
        Self { rows: 0, columns: (0..columns).map(|_| ColumnSample::default()).collect() }
    }

    fn add(&mut self, unit: &ScanUnit, range: std::ops::Range<usize>) -> Result<(), SqlError> {
        let internal = |error: arrow::error::ArrowError| SqlError::internal(error.to_string());
        let ordinals: Vec<usize> = (0..self.columns.len()).collect();
        let batch: RecordBatch = match unit.visible(range.clone()) {
            Visibility::None => return Ok(()),
            Visibility::All => unit.batch(range, &ordinals),
            Visibility::Mask(mask) => {
                let batch = unit.batch(range, &ordinals);
                let mask = arrow::array::BooleanArray::new(mask, None);
                arrow::compute::filter_record_batch(&batch, &mask).map_err(internal)?
            }
        };
        self.rows += batch.num_rows();
        for (sample, array) in self.columns.iter_mut().zip(batch.columns()) {
            sample.nulls += array.null_count();
            sample.distinct.add(array.as_ref())?;
            if is_ordered(array.data_type()) && array.null_count() < array.len() {
                sample.bound(array).map_err(sql_error)?;
            }
        }
        Ok(())
    }

    /// `held`: rows of all units; `read`: those of the slices that were read.
    fn finish(self, held: usize, read: usize) -> TableFacts {
        let scale = if read == 0 { 1.0 } else { held as f64 / read as f64 };
        let sampled = self.rows;
        let rows = (sampled as f64 * scale).round();
        let columns = self.columns.into_iter().map(|mut column| {
            let (min, max) = column.bounds();
            let values = sampled - column.nulls;
            ColumnFacts {
                null_fraction: column.nulls as f64 / sampled.max(1) as f64,
                distinct: column.distinct.estimate(values, scale),
                min,
                max,
            }
        });
        TableFacts { rows: rows as u64, columns: columns.collect() }
    }
}

impl ColumnSample {
    fn bound(&mut self, array: &ArrayRef) -> datafusion::error::Result<()> {
        if self.bounds.is_none() {
            let data_type = array.data_type();
            self.bounds =
                Some((MinAccumulator::try_new(data_type)?, MaxAccumulator::try_new(data_type)?));
        }
        if let Some((min, max)) = &mut self.bounds {
            min.update_batch(std::slice::from_ref(array))?;
            max.update_batch(std::slice::from_ref(array))?;
        }
        Ok(())
    }

    fn bounds(&mut self) -> (Option<ScalarValue>, Option<ScalarValue>) {
        match &mut self.bounds {
            Some((min, max)) => (min.evaluate().ok(), max.evaluate().ok()),
            None => (None, None),
        }
    }
}

/// Types whose least and greatest values the planner can use.
fn is_ordered(data_type: &DataType) -> bool {
    data_type.is_integer()
        || data_type.is_floating()
        || data_type.is_decimal()
        || matches!(data_type, DataType::Date32 | DataType::Timestamp(..) | DataType::Utf8View)
}
