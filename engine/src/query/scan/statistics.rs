//! What the planner is told of a table: row counts as of now, values as of the last ANALYZE.
//!
//! Nothing is exact: an exact count would be taken for the answer of `count(*)`, which depends on
//! the snapshot.

use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use datafusion::{
    common::{ColumnStatistics, Result, Statistics, stats::Precision},
    physical_expr::{PhysicalExpr, conjunction_opt},
    physical_plan::{
        ExecutionPlan, empty::EmptyExec, filter::FilterExec, statistics::StatisticsArgs,
    },
    scalar::ScalarValue,
};

use super::exec::ReadColumns;

/// What ANALYZE found out about a table.
#[derive(Clone, Debug, Default)]
pub struct TableFacts {
    /// Rows when it ran.
    pub rows: u64,
    /// By ordinal of the column.
    pub columns: Vec<ColumnFacts>,
}

#[derive(Clone, Debug, Default)]
pub struct ColumnFacts {
    /// Of 0 to 1.
    pub null_fraction: f64,
    pub distinct: u64,
    pub min: Option<ScalarValue>,
    pub max: Option<ScalarValue>,
}

/// Statistics of rows at hand.
pub(super) fn of_rows(schema: &SchemaRef, rows: usize) -> Statistics {
    let mut statistics = Statistics::new_unknown(schema);
    statistics.num_rows = Precision::Inexact(rows);
    statistics
}

/// Statistics of the projected columns after the filters.
pub(super) fn estimate(
    facts: Option<&TableFacts>,
    rows: u64,
    read: &ReadColumns,
    filters: &[Arc<dyn PhysicalExpr>],
) -> Result<Statistics> {
    let rows = usize::try_from(rows).unwrap_or(usize::MAX);
    let mut columns = Vec::with_capacity(read.all().len());
    let mut row_bytes = 0;
    for (ordinal, field) in read.ordinals().zip(read.schema().fields()) {
        // Strings are guessed; what matters is which side of a join is larger.
        row_bytes += field.data_type().primitive_width().unwrap_or(24);
        let facts = ordinal.and_then(|ordinal| facts?.columns.get(ordinal));
        columns.push(facts.map_or_else(ColumnStatistics::new_unknown, |facts| {
            let value = |value: &Option<ScalarValue>| {
                value.clone().map_or(Precision::Absent, Precision::Inexact)
            };
            let mut statistics = ColumnStatistics::new_unknown();
            statistics.null_count =
                Precision::Inexact((facts.null_fraction * rows as f64).round() as usize);
            statistics.distinct_count =
                Precision::Inexact(usize::try_from(facts.distinct).unwrap_or(rows).min(rows));
            statistics.min_value = value(&facts.min);
            statistics.max_value = value(&facts.max);
            statistics
        }));
    }
    let all = Statistics {
        num_rows: Precision::Inexact(rows),
        total_byte_size: Precision::Inexact(rows.saturating_mul(row_bytes)),
        column_statistics: columns,
    };
    let filtered = match conjunction_opt(filters.iter().cloned()) {
        None => all,
        Some(filter) => {
            // The estimates of a filter over a scan without one.
            let input = Arc::new(EmptyExec::new(Arc::clone(read.schema())));
            let filter = FilterExec::try_new(filter, input)?;
            let estimate =
                filter.statistics_from_inputs(&[Arc::new(all)], &StatisticsArgs::new())?;
            Arc::unwrap_or_clone(estimate).to_inexact()
        }
    };
    let projected: Vec<usize> = (0..read.projected_schema().fields().len()).collect();
    Ok(filtered.project(Some(&projected)))
}
