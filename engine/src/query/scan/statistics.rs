//! What the planner is told of a table: row counts as of now, values as of the last ANALYZE and as the
//! list of segments has them.
//!
//! Exact is only what is known of a table that lies in segments and of which the snapshot sees all: the
//! number of rows and of NULLs, the least and the greatest value. These are taken for the answers of
//! `count`, `min` and `max`.

use std::{collections::HashMap, sync::Arc};

use arrow::datatypes::{Field, SchemaRef};
use datafusion::{
    common::{ColumnStatistics, Result, Statistics, stats::Precision},
    logical_expr::Operator,
    physical_expr::{
        PhysicalExpr, conjunction_opt,
        expressions::{BinaryExpr, Column, InListExpr, Literal},
        intervals::utils::check_support,
        split_conjunction,
    },
    physical_plan::{
        ExecutionPlan, empty::EmptyExec, filter::FilterExec, statistics::StatisticsArgs,
    },
    scalar::ScalarValue,
};

use super::{exec::ReadColumns, segment_facts::SegmentFacts};

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

/// What is known of a table before its rows are looked at.
#[derive(Clone, Copy, Debug)]
pub(super) struct Knowledge<'a> {
    /// What ANALYZE found.
    pub(super) facts: Option<&'a TableFacts>,
    /// Rows that the statement sees, about.
    pub(super) rows: u64,
    /// The same, if it is certain.
    pub(super) exact_rows: Option<u64>,
    /// By ordinal of the column; empty if there are no segments.
    pub(super) segments: &'a HashMap<usize, Arc<SegmentFacts>>,
}

impl Knowledge<'_> {
    /// A column's values, where they are known.
    fn column(&self, ordinal: usize) -> Option<ColumnFacts> {
        let facts = self.facts.and_then(|facts| facts.columns.get(ordinal));
        let Some(segments) = self.segments.get(&ordinal) else { return facts.cloned() };
        let in_memory = self.rows.saturating_sub(segments.rows);
        match facts {
            // Of those in memory it is not known how they differ from those that ANALYZE saw.
            Some(facts) if in_memory > 0 => Some(segments.and(facts, in_memory)),
            // Nothing is known of most rows.
            None if in_memory > segments.rows => None,
            _ => Some(segments.and(&ColumnFacts::default(), 0)),
        }
    }

    fn statistics(&self, ordinal: usize, rows: usize) -> ColumnStatistics {
        let Some(facts) = self.column(ordinal) else { return ColumnStatistics::new_unknown() };
        let seen = self.segments.get(&ordinal).filter(|s| self.exact_rows == Some(s.rows));
        let exact = seen.filter(|segments| segments.exact);
        let value = |exact: Option<&Option<ScalarValue>>, about: &Option<ScalarValue>| match exact
            .and_then(Option::as_ref)
            .filter(|value| is_the_only_one(value))
        {
            Some(exact) => Precision::Exact(exact.clone()),
            None => about.clone().map_or(Precision::Absent, Precision::Inexact),
        };
        let count = |count: u64| usize::try_from(count).unwrap_or(rows).min(rows);
        let mut statistics = ColumnStatistics::new_unknown();
        statistics.null_count = match seen {
            Some(segments) => Precision::Exact(count(segments.nulls)),
            None => Precision::Inexact((facts.null_fraction * rows as f64).round() as usize),
        };
        statistics.distinct_count = Precision::Inexact(count(facts.distinct));
        statistics.min_value = value(exact.map(|exact| &exact.min), &facts.min);
        statistics.max_value = value(exact.map(|exact| &exact.max), &facts.max);
        statistics
    }

    /// About how many bytes a value takes.
    fn width(&self, ordinal: Option<usize>, field: &Field) -> usize {
        if let Some(width) = field.data_type().primitive_width() {
            return width;
        }
        let segments = ordinal.and_then(|ordinal| self.segments.get(&ordinal));
        let bytes = segments.and_then(|facts| facts.bytes.checked_div(facts.rows));
        // Else strings are guessed; what matters is which side of a join is larger.
        bytes.map_or(24, |bytes| 16 + usize::try_from(bytes).unwrap_or(usize::MAX / 2))
    }
}

/// Whether no other value is equal to it: zeros are two.
fn is_the_only_one(value: &ScalarValue) -> bool {
    match value {
        ScalarValue::Float32(Some(value)) => *value != 0.0,
        ScalarValue::Float64(Some(value)) => *value != 0.0,
        _ => true,
    }
}

/// Statistics of the projected columns after the filters.
pub(super) fn estimate(
    known: Knowledge<'_>,
    read: &ReadColumns,
    filters: &[Arc<dyn PhysicalExpr>],
) -> Result<Statistics> {
    let rows = usize::try_from(known.exact_rows.unwrap_or(known.rows)).unwrap_or(usize::MAX);
    let mut columns = Vec::with_capacity(read.all().len());
    let mut row_bytes = 0_usize;
    for (ordinal, field) in read.ordinals().zip(read.schema().fields()) {
        row_bytes = row_bytes.saturating_add(known.width(ordinal, field));
        columns.push(
            ordinal.map_or_else(ColumnStatistics::new_unknown, |ordinal| {
                known.statistics(ordinal, rows)
            }),
        );
    }
    let all = Statistics {
        num_rows: match known.exact_rows {
            Some(_) => Precision::Exact(rows),
            None => Precision::Inexact(rows),
        },
        total_byte_size: Precision::Inexact(rows.saturating_mul(row_bytes)),
        column_statistics: columns,
    };
    let all = if filters.is_empty() { all } else { all.to_inexact() };
    let filtered = filtered(all, read.schema(), filters)?;
    let projected: Vec<usize> = (0..read.projected_schema().fields().len()).collect();
    Ok(filtered.project(Some(&projected)))
}

/// What is left after the filters: equalities by the number of distinct values, ranges by minimum
/// and maximum, anything else by a guess.
fn filtered(
    mut statistics: Statistics,
    schema: &SchemaRef,
    filters: &[Arc<dyn PhysicalExpr>],
) -> Result<Statistics> {
    let (mut ranges, mut others) = (Vec::new(), Vec::new());
    for filter in filters.iter().flat_map(split_conjunction) {
        if let Some((column, values)) = equality(filter)
            && let Some(selectivity) = share(&statistics.column_statistics[column], values)
        {
            statistics = scaled(statistics, selectivity);
            let known = &mut statistics.column_statistics[column];
            known.distinct_count = known.distinct_count.min(&Precision::Inexact(values));
        } else if check_support(filter, schema) {
            ranges.push(Arc::clone(filter));
        } else {
            others.push(Arc::clone(filter));
        }
    }
    for filters in [ranges, others] {
        let Some(filter) = conjunction_opt(filters) else { continue };
        // The estimates of a filter over a scan without one.
        let input = Arc::new(EmptyExec::new(Arc::clone(schema)));
        let filter = FilterExec::try_new(filter, input)?;
        let estimate =
            filter.statistics_from_inputs(&[Arc::new(statistics)], &StatisticsArgs::new())?;
        statistics = Arc::unwrap_or_clone(estimate).to_inexact();
    }
    Ok(statistics)
}

/// A column that equals one of so many constants.
fn equality(filter: &Arc<dyn PhysicalExpr>) -> Option<(usize, usize)> {
    let column = |expr: &Arc<dyn PhysicalExpr>| expr.downcast_ref::<Column>().map(Column::index);
    if let Some(list) = filter.downcast_ref::<InListExpr>() {
        let constants = list.list().iter().all(|item| item.is::<Literal>());
        return (constants && !list.negated())
            .then(|| Some((column(list.expr())?, list.list().len())))?;
    }
    let binary = filter.downcast_ref::<BinaryExpr>()?;
    match binary.op() {
        Operator::Eq if binary.right().is::<Literal>() => Some((column(binary.left())?, 1)),
        Operator::Eq if binary.left().is::<Literal>() => Some((column(binary.right())?, 1)),
        // `a = 1 or a = 2`
        Operator::Or => {
            let (left, right) = (equality(binary.left())?, equality(binary.right())?);
            (left.0 == right.0).then_some((left.0, left.1 + right.1))
        }
        _ => None,
    }
}

/// The share of rows that have one of `values` values, were all values equally frequent.
fn share(column: &ColumnStatistics, values: usize) -> Option<f64> {
    let distinct = *column.distinct_count.get_value()?;
    (distinct > 0).then(|| (values as f64 / distinct as f64).min(1.0))
}

fn scaled(mut statistics: Statistics, share: f64) -> Statistics {
    let part = |count: Precision<usize>| count.with_estimated_selectivity(share);
    statistics.num_rows = part(statistics.num_rows);
    statistics.total_byte_size = part(statistics.total_byte_size);
    let rows = statistics.num_rows;
    for column in &mut statistics.column_statistics {
        column.null_count = part(column.null_count);
        if column.distinct_count != Precision::Absent {
            column.distinct_count = column.distinct_count.min(&rows);
        }
    }
    statistics
}

#[cfg(test)]
mod tests {
    use arrow::datatypes::{DataType, Field, Schema};
    use datafusion::physical_expr::expressions::{binary, col, in_list, lit};

    use super::*;

    /// A column of 40 texts, one of the numbers 1 to 1000, one that nothing is known of.
    fn table() -> (SchemaRef, Statistics) {
        let schema = Arc::new(Schema::new(vec![
            Field::new("text", DataType::Utf8View, true),
            Field::new("number", DataType::Int32, true),
            Field::new("unknown", DataType::Utf8View, true),
        ]));
        let mut statistics = Statistics::new_unknown(&schema);
        statistics.num_rows = Precision::Inexact(100_000);
        statistics.total_byte_size = Precision::Inexact(5_200_000);
        statistics.column_statistics[0].distinct_count = Precision::Inexact(40);
        let number = &mut statistics.column_statistics[1];
        number.distinct_count = Precision::Inexact(1000);
        number.min_value = Precision::Inexact(ScalarValue::Int32(Some(1)));
        number.max_value = Precision::Inexact(ScalarValue::Int32(Some(1000)));
        (schema, statistics)
    }

    fn rows_after(filters: &[Arc<dyn PhysicalExpr>]) -> usize {
        let (schema, statistics) = table();
        let statistics = filtered(statistics, &schema, filters).expect("an estimate");
        *statistics.num_rows.get_value().expect("a number of rows")
    }

    #[test]
    fn equalities_count_by_distinct_values() {
        let (schema, _) = table();
        let column = |name| col(name, &schema).expect("a column");
        let is = |name, op, value: ScalarValue| {
            binary(column(name), op, lit(value), &schema).expect("a comparison")
        };
        let text = |text: &str| ScalarValue::Utf8View(Some(text.to_owned()));
        let number = |n| ScalarValue::Int32(Some(n));
        let equal = is("text", Operator::Eq, text("a"));
        assert_eq!(rows_after(&[]), 100_000);
        assert_eq!(rows_after(&[Arc::clone(&equal)]), 2500);
        let turned = binary(lit(text("a")), Operator::Eq, column("text"), &schema).expect("ok");
        assert_eq!(rows_after(&[turned]), 2500);
        let list = vec![lit(text("a")), lit(text("b")), lit(text("c")), lit(text("d"))];
        let among = in_list(column("text"), list.clone(), &false, &schema).expect("a list");
        assert_eq!(rows_after(&[among]), 10_000);
        let either = binary(
            is("text", Operator::Eq, text("a")),
            Operator::Or,
            is("text", Operator::Eq, text("b")),
            &schema,
        );
        assert_eq!(rows_after(&[either.expect("a disjunction")]), 5000);
        // Together with a range, which an equality of texts does not make a guess.
        let both = binary(
            Arc::clone(&equal),
            Operator::And,
            is("number", Operator::LtEq, number(500)),
            &schema,
        );
        let rows = rows_after(&[both.expect("a conjunction")]);
        assert!((1200..=1300).contains(&rows), "{rows}");
        // What nothing is known of is guessed as before: a fifth.
        assert_eq!(rows_after(&[is("unknown", Operator::Eq, text("a"))]), 20_000);
        let none_of = in_list(column("text"), list, &true, &schema).expect("a list");
        assert_eq!(rows_after(&[none_of]), 20_000);
        let mixed = [is("unknown", Operator::Eq, text("a")), equal];
        assert_eq!(rows_after(&mixed), 500);
    }
}
