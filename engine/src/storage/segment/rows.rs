//! Rows of a segment as the table has them: by row group for scans, by number for locators.

use std::{collections::HashMap, ops::Range, sync::Arc};

use arrow::{
    array::{ArrayRef, AsArray, RecordBatch, RecordBatchOptions, UInt32Array, UInt64Array},
    compute,
    datatypes::{Schema, UInt64Type},
};

use super::{
    columns,
    held::{Answer, Held, Needs, Part},
    reader::{Decimals, Projection, Segment, SegmentRows, corrupt},
};
use crate::storage::{StorageError, schema::TableSchema};

/// Some rows of a row group; `None`: all.
type Rows<'a> = Option<&'a [Range<u32>]>;

impl Segment {
    /// Rows of a row group. `rows`: by their numbers in the row group, ascending ranges without
    /// overlap; `None`: all. A column that the segment has not comes as its missing value. Panics
    /// if there is no such row group or row. Errors: the object is damaged or cannot be read.
    pub async fn read(
        &self,
        schema: &TableSchema,
        projection: &Projection<'_>,
        row_group: usize,
        rows: Option<&[Range<u32>]>,
    ) -> Result<SegmentRows, StorageError> {
        let mut held = Held::default();
        loop {
            match self.read_now(schema, projection, row_group, rows, &held)? {
                Answer::Here(rows) => return Ok(rows),
                Answer::Cold(needs) => self.warm(needs, &mut held).await?,
            }
        }
    }

    /// The same from memory.
    pub fn read_now(
        &self,
        schema: &TableSchema,
        projection: &Projection<'_>,
        row_group: usize,
        rows: Option<&[Range<u32>]>,
        held: &Held,
    ) -> Result<Answer<SegmentRows>, StorageError> {
        let total = self.row_group_rows(row_group).len();
        let count = rows.map_or(total, |rows| rows.iter().map(|range| range.len()).sum());
        // Of a quarter of the rows most pages would be read anyway.
        let wanted = rows.filter(|_| count < total / 4);
        let mut needs = Needs::default();
        let places = self.places(schema, projection);
        let places = places.into_iter().filter(|_| count > 0);
        let parts = self.parts(row_group, places, wanted, held, &mut needs);
        if !needs.is_empty() {
            return Ok(Answer::Cold(needs));
        }
        self.assemble(schema, projection, row_group, rows, &parts).map(Answer::Here)
    }

    fn assemble(
        &self,
        schema: &TableSchema,
        projection: &Projection<'_>,
        row_group: usize,
        rows: Rows<'_>,
        parts: &HashMap<usize, Part>,
    ) -> Result<SegmentRows, StorageError> {
        let all = [0..self.row_group_rows(row_group).len() as u32];
        let numbers = rows.unwrap_or(&all);
        let count = numbers.iter().map(|range| range.len()).sum();
        let found = |place: Option<usize>| {
            place.and_then(|place| parts.get(&place)).map(|part| part.select(rows)).transpose()
        };
        let mut arrays = Vec::with_capacity(projection.columns.len());
        for ordinal in projection.columns {
            let column = &schema.columns()[*ordinal];
            let array = match found(self.place_of_column(column.id))? {
                Some(array) => array,
                None => columns::narrowed(&column.pg_type, &schema.missing(*ordinal, count))?,
            };
            arrays.push(match projection.decimals {
                Decimals::Wide => columns::widened(&column.pg_type, &array),
                Decimals::Narrow => array,
            });
        }
        let inherited = || {
            let first = self.inherited(row_group);
            let ids = numbers.iter().cloned().flatten();
            UInt64Array::from_iter_values(ids.map(|row| first.saturating_add(row.into())))
        };
        let unsigned = |array: ArrayRef| array.as_primitive::<UInt64Type>().clone();
        let row_ids = match projection.row_ids {
            true => Some(found(self.row_id_place())?.map_or_else(inherited, unsigned)),
            false => None,
        };
        // Of the description: the file may have been written before its commit.
        let one = || UInt64Array::from(vec![self.meta.commits.0.0; count]);
        let timestamps = match projection.timestamps {
            true => Some(found(self.timestamp_place())?.map_or_else(one, unsigned)),
            false => None,
        };
        let batch = self.batch(schema, projection, arrays, count)?;
        Ok(SegmentRows { batch, row_ids, timestamps })
    }

    fn batch(
        &self,
        schema: &TableSchema,
        projection: &Projection<'_>,
        arrays: Vec<ArrayRef>,
        rows: usize,
    ) -> Result<RecordBatch, StorageError> {
        let fields = projection.columns.iter().zip(&arrays).map(|(ordinal, array)| {
            let field = &schema.arrow().fields()[*ordinal];
            match field.data_type() == array.data_type() {
                true => Arc::clone(field),
                false => {
                    let narrow = array.data_type().clone();
                    Arc::new(field.as_ref().clone().with_data_type(narrow))
                }
            }
        });
        let schema = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
        let options = RecordBatchOptions::new().with_row_count(Some(rows));
        RecordBatch::try_new_with_options(schema, arrays, &options)
            .map_err(|e| corrupt(&self.meta, e.to_string()))
    }

    /// Rows by their numbers in the segment, in the order asked for; one may be asked for twice.
    /// Errors: a number beyond the segment's rows; the object is damaged or cannot be read.
    pub async fn fetch(
        &self,
        schema: &TableSchema,
        projection: &Projection<'_>,
        rows: &[u32],
    ) -> Result<SegmentRows, StorageError> {
        let mut held = Held::default();
        loop {
            match self.fetch_now(schema, projection, rows, &held)? {
                Answer::Here(rows) => return Ok(rows),
                Answer::Cold(needs) => self.warm(needs, &mut held).await?,
            }
        }
    }

    /// The same from memory.
    pub fn fetch_now(
        &self,
        schema: &TableSchema,
        projection: &Projection<'_>,
        rows: &[u32],
        held: &Held,
    ) -> Result<Answer<SegmentRows>, StorageError> {
        let mut sorted = rows.to_vec();
        sorted.sort_unstable();
        sorted.dedup();
        if let Some(beyond) = sorted.last().filter(|row| **row >= self.meta.rows) {
            let (name, rows) = (&self.meta.name, self.meta.rows);
            return Err(StorageError::Invalid(format!(
                "row {beyond} of segment {name}, which has {rows}"
            )));
        }
        let places = self.places(schema, projection);
        let mut needs = Needs::default();
        let mut groups = Vec::new();
        for (row_group, ranges) in self.by_row_group(&sorted) {
            let places = places.iter().copied();
            let parts = self.parts(row_group, places, Some(&ranges), held, &mut needs);
            groups.push((row_group, ranges, parts));
        }
        if !needs.is_empty() {
            return Ok(Answer::Cold(needs));
        }
        let mut found = Vec::with_capacity(groups.len());
        for (row_group, ranges, parts) in groups {
            found.push(self.assemble(schema, projection, row_group, Some(&ranges), &parts)?);
        }
        self.in_order(schema, projection, found, &sorted, rows).map(Answer::Here)
    }

    /// Sorted rows by row group, as ranges of numbers there.
    fn by_row_group(&self, sorted: &[u32]) -> Vec<(usize, Vec<Range<u32>>)> {
        let mut groups: Vec<(usize, Vec<Range<u32>>)> = Vec::new();
        for row in sorted {
            let (row_group, row) = self.place_of(*row);
            let same = groups.last_mut().filter(|(group, _)| *group == row_group);
            match same {
                None => groups.push((row_group, vec![row..row + 1])),
                Some((_, ranges)) => match ranges.last_mut() {
                    Some(last) if last.end == row => last.end += 1,
                    _ => ranges.push(row..row + 1),
                },
            }
        }
        groups
    }

    /// What was found for `sorted`, in the order of `rows`.
    fn in_order(
        &self,
        schema: &TableSchema,
        projection: &Projection<'_>,
        mut found: Vec<SegmentRows>,
        sorted: &[u32],
        rows: &[u32],
    ) -> Result<SegmentRows, StorageError> {
        let is_sorted = sorted == rows;
        if is_sorted && found.len() == 1 {
            return Ok(found.remove(0));
        }
        let wrong = |e: arrow::error::ArrowError| corrupt(&self.meta, e.to_string());
        let place = |row: &u32| sorted.partition_point(|other| other < row) as u32;
        let places = UInt32Array::from_iter_values(rows.iter().map(place));
        let whole = |arrays: Vec<ArrayRef>| -> Result<ArrayRef, StorageError> {
            let arrays: Vec<_> = arrays.iter().map(AsRef::as_ref).collect();
            let whole = compute::concat(&arrays).map_err(wrong)?;
            if is_sorted { Ok(whole) } else { compute::take(&whole, &places, None).map_err(wrong) }
        };
        let hidden = |pick: fn(&SegmentRows) -> &Option<UInt64Array>| {
            let arrays =
                found.iter().map(|part| pick(part).clone().map(|a| Arc::new(a) as ArrayRef));
            let arrays: Option<Vec<ArrayRef>> = arrays.collect();
            let arrays = arrays.filter(|arrays| !arrays.is_empty());
            let array = arrays.map(whole).transpose()?;
            Ok::<_, StorageError>(array.map(|array| array.as_primitive::<UInt64Type>().clone()))
        };
        if found.is_empty() {
            let none = Some(UInt64Array::from(Vec::<u64>::new()));
            let empty = projection.columns.iter().map(|ordinal| {
                let pg_type = &schema.columns()[*ordinal].pg_type;
                let missing = schema.missing(*ordinal, 0);
                match projection.decimals {
                    Decimals::Wide => Ok(missing),
                    Decimals::Narrow => columns::narrowed(pg_type, &missing),
                }
            });
            let empty = empty.collect::<Result<_, _>>()?;
            return Ok(SegmentRows {
                batch: self.batch(schema, projection, empty, 0)?,
                row_ids: none.clone().filter(|_| projection.row_ids),
                timestamps: none.filter(|_| projection.timestamps),
            });
        }
        let (row_ids, timestamps) =
            (hidden(|part| &part.row_ids)?, hidden(|part| &part.timestamps)?);
        let columns = (0..projection.columns.len())
            .map(|n| whole(found.iter().map(|part| Arc::clone(part.batch.column(n))).collect()));
        let columns = columns.collect::<Result<_, _>>()?;
        let batch = self.batch(schema, projection, columns, rows.len())?;
        Ok(SegmentRows { batch, row_ids, timestamps })
    }
}
