//! What the list of a table's segments says of its columns: of every row, without reading one.

use std::{cmp::Ordering, sync::Arc};

use datafusion::scalar::ScalarValue;

use super::{pruning::is_ordered_as_stored, statistics::ColumnFacts};
use crate::storage::{
    StorageError,
    schema::TableSchema,
    segment::{Bound, Bounds, Sketch},
    table::{SegmentView, TableList},
};

/// One column in all segments. Rows that are deleted count as if they were there.
#[derive(Clone, PartialEq, Debug, Default)]
pub(crate) struct SegmentFacts {
    pub(crate) rows: u64,
    pub(crate) nulls: u64,
    /// Bytes of all values.
    pub(crate) bytes: u64,
    pub(crate) distinct: u64,
    /// No value is less, as far as the type has an order.
    pub(crate) min: Option<ScalarValue>,
    pub(crate) max: Option<ScalarValue>,
    /// These are values, not only bounds of them, if all rows are seen.
    pub(crate) exact: bool,
}

impl SegmentFacts {
    /// The same of all segments of a list, worked out once for it.
    pub(crate) fn of_list(
        list: &TableList,
        segments: &[SegmentView],
        schema: &TableSchema,
        ordinal: usize,
    ) -> Result<Arc<Self>, StorageError> {
        let column = schema.columns()[ordinal].id;
        let mut everywhere = segments.len() == list.segments().len();
        for segment in list.segments() {
            everywhere &= segment.description()?.column(column).is_some();
        }
        // Where it is missing, it depends on who asks what is there instead.
        match everywhere {
            true => list.derived(column, || Self::of(segments, schema, ordinal)),
            false => Self::of(segments, schema, ordinal).map(Arc::new),
        }
    }

    /// Error: what is said of a segment cannot be read.
    pub(crate) fn of(
        segments: &[SegmentView],
        schema: &TableSchema,
        ordinal: usize,
    ) -> Result<Self, StorageError> {
        let column = &schema.columns()[ordinal];
        let mut facts = Self { exact: is_ordered_as_stored(&column.pg_type), ..Self::default() };
        let (mut sketch, mut has_missing) = (Sketch::default(), 0);
        for view in segments {
            let rows = u64::from(view.segment().rows());
            facts.rows += rows;
            let Some(known) = view.segment().description()?.column(column.id) else {
                let missing = ScalarValue::try_from_array(&schema.missing(ordinal, 1), 0)
                    .map_err(|e| StorageError::Invalid(format!("a missing value: {e}")))?;
                if missing.is_null() {
                    facts.nulls += rows;
                } else {
                    facts.widen(Some(missing.clone()), Some(missing));
                    has_missing = 1;
                }
                continue;
            };
            facts.nulls += known.nulls;
            facts.bytes += known.bytes;
            sketch.merge(&known.distinct);
            let value = |bound: &Bound| {
                let array = bound.to_array(&column.pg_type).ok()?;
                ScalarValue::try_from_array(&array, 0).ok()
            };
            let values = rows.saturating_sub(known.nulls);
            facts.exact &= match &known.bounds {
                Some(Bounds { min, max }) => min.exact && max.exact,
                None => values == 0,
            };
            if let Some(bounds) = &known.bounds {
                facts.widen(value(&bounds.min), value(&bounds.max));
            }
        }
        // Where nothing is known all may differ.
        facts.distinct = sketch.distinct().saturating_add(has_missing).min(facts.values());
        Ok(facts)
    }

    /// Rows in which the column is not NULL.
    pub(crate) fn values(&self) -> u64 {
        self.rows.saturating_sub(self.nulls)
    }

    fn widen(&mut self, min: Option<ScalarValue>, max: Option<ScalarValue>) {
        self.min = wider(self.min.take(), min, Ordering::Less);
        self.max = wider(self.max.take(), max, Ordering::Greater);
    }

    /// Together with what is known of `rows` other rows.
    pub(crate) fn and(&self, others: &ColumnFacts, rows: u64) -> ColumnFacts {
        let nulls = others.null_fraction * rows as f64;
        let (all, values) = (self.rows + rows, (rows as f64 - nulls).max(0.0) as u64);
        ColumnFacts {
            null_fraction: (self.nulls as f64 + nulls) / all.max(1) as f64,
            distinct: self.distinct_with(others.distinct, values),
            min: wider(self.min.clone(), others.min.clone(), Ordering::Less),
            max: wider(self.max.clone(), others.max.clone(), Ordering::Greater),
        }
    }

    /// How many different values there are together with `values` others, of which `distinct` differ.
    fn distinct_with(&self, distinct: u64, values: u64) -> u64 {
        let differ = |distinct: u64, of: u64| distinct > of / 2;
        // Where most values differ from each other they differ from those elsewhere, too; where they
        // are repeated, elsewhere are the same ones.
        let all = if differ(self.distinct, self.values()) && differ(distinct, values) {
            self.distinct + distinct
        } else {
            self.distinct.max(distinct)
        };
        all.min(self.values() + values)
    }
}

/// The one of two bounds that comes first in `order`.
fn wider(a: Option<ScalarValue>, b: Option<ScalarValue>, order: Ordering) -> Option<ScalarValue> {
    match (a, b) {
        (Some(a), Some(b)) => Some(if b.partial_cmp(&a) == Some(order) { b } else { a }),
        (a, b) => a.or(b),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts(rows: u64, distinct: u64, min: i32, max: i32) -> SegmentFacts {
        let (min, max) = (Some(ScalarValue::from(min)), Some(ScalarValue::from(max)));
        let (nulls, bytes) = (rows / 10, rows * 4);
        SegmentFacts { rows, nulls, bytes, distinct, min, max, exact: true }
    }

    #[test]
    fn keys_add_up_and_categories_are_the_same_ones() {
        let others = |distinct| ColumnFacts {
            null_fraction: 0.5,
            distinct,
            min: Some(ScalarValue::from(5)),
            max: Some(ScalarValue::from(500)),
        };
        let keys = facts(1000, 900, 10, 100).and(&others(50), 100);
        assert_eq!((keys.distinct, keys.null_fraction), (950, 150.0 / 1100.0));
        assert_eq!(
            (keys.min, keys.max),
            (Some(ScalarValue::from(5)), Some(ScalarValue::from(500)))
        );
        assert_eq!(facts(1000, 40, 10, 100).and(&others(30), 100).distinct, 40);
        assert_eq!(facts(1000, 40, 10, 100).and(&others(60), 100).distinct, 60);
        let alone = SegmentFacts::default().and(&others(30), 100);
        assert_eq!((alone.distinct, alone.null_fraction), (30, 0.5));
    }
}
