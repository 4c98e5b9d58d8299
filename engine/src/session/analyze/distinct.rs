//! Counting distinct values of a sample, and of the table behind it.

use arrow::array::Array;
use datafusion::common::hash_utils::create_hashes;
use hashbrown::HashMap;

use crate::{error::SqlError, query::errors::sql_error};

/// Hashes of the values seen, and how often: a sample is small enough to keep them all.
#[derive(Default)]
pub(super) struct DistinctCounter {
    seen: HashMap<u64, u32, foldhash::fast::RandomState>,
}

impl DistinctCounter {
    pub(super) fn add(&mut self, array: &dyn Array) -> Result<(), SqlError> {
        let mut hashes = vec![0; array.len()];
        let state = datafusion::common::hash_utils::RandomState::default();
        create_hashes([array], &state, &mut hashes).map_err(sql_error)?;
        for (row, hash) in hashes.into_iter().enumerate() {
            if array.is_valid(row) {
                *self.seen.entry(hash).or_default() += 1;
            }
        }
        Ok(())
    }

    /// Distinct values in a table `scale` times as large as the sample of `values` values, by the
    /// estimator of Haas and Stokes that PostgreSQL's ANALYZE uses too:
    /// `n·d / (n - f1 + f1·n/N)` with `d` distinct values in the sample, `f1` of them seen once.
    pub(super) fn estimate(&self, values: usize, scale: f64) -> u64 {
        let distinct = self.seen.len() as f64;
        if scale <= 1.0 || values == 0 {
            return self.seen.len() as u64;
        }
        let once = self.seen.values().filter(|count| **count == 1).count() as f64;
        let n = values as f64;
        let all = n * scale;
        let estimate = n * distinct / (n - once + once * n / all);
        estimate.clamp(distinct, all).round() as u64
    }
}

#[cfg(test)]
mod tests {
    use arrow::array::Int64Array;

    use super::*;

    fn counter(values: impl IntoIterator<Item = i64>) -> DistinctCounter {
        let mut counter = DistinctCounter::default();
        counter.add(&Int64Array::from_iter_values(values)).expect("integers have hashes");
        counter
    }

    #[test]
    fn keys_grow_with_the_table_and_categories_do_not() {
        assert_eq!(counter(0..1000).estimate(1000, 1.0), 1000);
        assert_eq!(counter(0..1000).estimate(1000, 50.0), 50_000);
        assert_eq!(counter((0..1000).map(|i| i % 7)).estimate(1000, 50.0), 7);
        assert_eq!(counter([]).estimate(0, 1.0), 0);
    }
}
