//! Where the rows of rewritten sources lie now.
//!
//! A job that writes segments in place of other sources ([`super::record::Edit`]) notes for each row
//! of its inputs the new place. Nobody else can: records name rows by their places, and the order of
//! the new segments is that of the key. Placement translates by it the deletions that arrived while
//! the job ran, sessions what their write sets name.

use glaredb_txn::ids::{Locator, SegmentId};
use hashbrown::HashMap;

/// No row of the new segments: dead when it was rewritten.
pub(super) const GONE: u32 = u32::MAX;

/// From places in the inputs of a job to places in what it wrote. 4 bytes for each row of the inputs.
#[derive(Debug, Default)]
pub struct Remap {
    /// By input and row: number of the row among all rows written, or [`GONE`].
    inputs: HashMap<SegmentId, Vec<u32>>,
    /// Number of the first row of each segment written, and at last that of all rows.
    starts: Vec<u32>,
}

/// A row of a new segment, whose id is given only when the edit is placed.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct NewPlace {
    /// Number of the segment among those that the edit adds.
    pub segment: u32,
    pub row: u32,
}

impl Remap {
    /// `rows`: of each segment written, in order.
    #[must_use]
    pub fn new(rows: &[u32]) -> Self {
        let mut starts = vec![0];
        for rows in rows {
            starts.push(starts[starts.len() - 1] + rows);
        }
        Self { inputs: HashMap::new(), starts }
    }

    /// `inputs`: of each input, by row, its number among all rows written, or [`GONE`].
    #[must_use]
    pub(super) fn from_inputs(
        rows: &[u32],
        inputs: impl IntoIterator<Item = (SegmentId, Vec<u32>)>,
    ) -> Self {
        Self { inputs: inputs.into_iter().collect(), ..Self::new(rows) }
    }

    /// The row at `from` is the `number`th of all rows written, counted from 0.
    pub fn put(&mut self, from: Locator, number: u32) {
        debug_assert!(self.starts.last().is_some_and(|end| number < *end));
        let rows = self.inputs.entry(from.segment).or_default();
        let row = from.row as usize;
        if rows.len() <= row {
            rows.resize(row + 1, GONE);
        }
        rows[row] = number;
    }

    /// `None`: the row is of no input, or was left out.
    #[must_use]
    pub fn get(&self, from: Locator) -> Option<NewPlace> {
        let number = *self.inputs.get(&from.segment)?.get(from.row as usize)?;
        if number == GONE {
            return None;
        }
        let segment = self.starts.partition_point(|start| *start <= number) - 1;
        Some(NewPlace { segment: segment as u32, row: number - self.starts[segment] })
    }

    #[must_use]
    pub fn memory_bytes(&self) -> usize {
        self.inputs.values().map(|rows| rows.capacity() * 4).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_found_in_the_segment_they_went_to() {
        let at = |segment, row| Locator { segment: SegmentId(segment), row };
        let mut remap = Remap::new(&[2, 0, 3]);
        remap.put(at(7, 5), 0);
        remap.put(at(9, 0), 1);
        remap.put(at(7, 0), 2);
        remap.put(at(7, 2), 4);
        let place = |segment, row| Some(NewPlace { segment, row });
        assert_eq!(remap.get(at(7, 5)), place(0, 0));
        assert_eq!(remap.get(at(9, 0)), place(0, 1));
        assert_eq!(remap.get(at(7, 0)), place(2, 0));
        assert_eq!(remap.get(at(7, 2)), place(2, 2));
        for gone in [at(7, 1), at(7, 6), at(9, 1), at(8, 0)] {
            assert_eq!(remap.get(gone), None, "{gone}");
        }
    }
}
