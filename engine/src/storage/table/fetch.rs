//! Rows by their places, in chunks and in segments.

use std::{borrow::Cow, collections::HashMap, sync::Arc};

use arrow::{
    array::{Array, ArrayRef, RecordBatch},
    compute::interleave,
};
use glaredb_txn::ids::{Locator, RowId, SegmentId};

use super::{Table, TableList, TableSegment, view};
use crate::storage::{
    StorageError,
    chunk::{Chunk, Place, block::Block},
    codec::{builder::ColumnBuilder, column::ColumnRef},
    schema::TableSchema,
    segment::Projection,
    warmed::{ColdReads, ReadError, Warmed},
};

/// Rows asked for, by source.
#[derive(Default)]
struct Sources {
    chunk_rows: Vec<Locator>,
    segments: Vec<(Arc<TableSegment>, Vec<u32>)>,
    /// Of each row asked for: its source (0 stands for all chunks, then `segments`), and its number
    /// among the rows of that.
    places: Vec<(usize, usize)>,
}

impl Sources {
    fn of(list: &TableList, locators: &[Locator]) -> Result<Self, StorageError> {
        let mut sources = Self { places: Vec::with_capacity(locators.len()), ..Self::default() };
        let mut known: HashMap<SegmentId, usize> = HashMap::new();
        for locator in locators {
            let source = match known.get(&locator.segment) {
                Some(source) => *source,
                None => {
                    let source = match list.segment(locator.segment) {
                        Some(segment) => {
                            sources.segments.push((Arc::clone(segment), Vec::new()));
                            sources.segments.len()
                        }
                        None => 0,
                    };
                    *known.entry(locator.segment).or_insert(source)
                }
            };
            let number = match source.checked_sub(1).map(|n| &mut sources.segments[n]) {
                None => {
                    sources.chunk_rows.push(*locator);
                    sources.chunk_rows.len() - 1
                }
                Some((segment, rows)) => {
                    if locator.row >= segment.rows() {
                        return Err(StorageError::RowGone(*locator));
                    }
                    rows.push(locator.row);
                    rows.len() - 1
                }
            };
            sources.places.push((source, number));
        }
        Ok(sources)
    }
}

impl Table {
    /// Rows by locator, in the order given. `projection`: ordinals of columns, `None` for all.
    /// Error: a locator that is gone.
    pub fn fetch(
        &self,
        locators: &[Locator],
        projection: Option<&[usize]>,
        warmed: &Warmed,
    ) -> Result<RecordBatch, ReadError> {
        self.fetch_as(&self.schema(), locators, projection, warmed)
    }

    /// The same, in the columns of `schema`. Of a row whose source was rewritten since the locator was
    /// found, the row as it lies now.
    pub fn fetch_as(
        &self,
        schema: &Arc<TableSchema>,
        locators: &[Locator],
        projection: Option<&[usize]>,
        warmed: &Warmed,
    ) -> Result<RecordBatch, ReadError> {
        let all: Vec<usize>;
        let projection = match projection {
            Some(columns) => columns,
            None => {
                all = (0..schema.columns().len()).collect();
                &all
            }
        };
        let (list, locators) = self.in_newest_list(locators)?;
        if list.segments().is_empty() {
            return Ok(fetch_from_chunks(&list, schema, &locators, projection)?);
        }
        let sources = Sources::of(&list, &locators)?;
        let newest = self.schema();
        let mut cold = ColdReads::default();
        let mut batches = vec![fetch_from_chunks(&list, schema, &sources.chunk_rows, projection)?];
        for (segment, rows) in &sources.segments {
            self.check_columns(segment, schema, projection)?;
            let wanted = Projection { columns: projection, ..Projection::default() };
            let read = warmed.ask(segment, &newest, |opened, held| {
                opened.fetch_now(schema, &wanted, rows, held)
            });
            batches.extend(cold.note(read)?.map(|read| read.batch));
        }
        cold.finish()?;
        if let [_, only] = &batches[..]
            && sources.chunk_rows.is_empty()
        {
            return Ok(only.clone());
        }
        let column = |n: usize| {
            let parts: Vec<&dyn Array> =
                batches.iter().map(|batch| batch.column(n).as_ref()).collect();
            interleave(&parts, &sources.places)
                .map_err(|e| StorageError::Invalid(format!("rows of {}: {e}", self.id)))
        };
        let arrays: Vec<ArrayRef> =
            (0..projection.len()).map(column).collect::<Result<_, StorageError>>()?;
        let fields = view::projected(schema.arrow(), projection);
        Ok(view::batch_of(fields, arrays, locators.len()))
    }

    /// Row ids by locator, in the order given.
    pub fn fetch_row_ids(
        &self,
        locators: &[Locator],
        warmed: &Warmed,
    ) -> Result<Vec<RowId>, ReadError> {
        let (list, locators) = self.in_newest_list(locators)?;
        if list.segments().is_empty() {
            return Ok(row_ids_from_chunks(&list, &locators)?);
        }
        let sources = Sources::of(&list, &locators)?;
        let newest = self.schema();
        let mut cold = ColdReads::default();
        let mut ids = vec![row_ids_from_chunks(&list, &sources.chunk_rows)?];
        for (segment, rows) in &sources.segments {
            let wanted = Projection { row_ids: true, ..Projection::default() };
            let read = warmed.ask(segment, &newest, |opened, held| {
                opened.fetch_now(&newest, &wanted, rows, held)
            });
            let read = cold.note(read)?.and_then(|read| read.row_ids);
            ids.push(read.iter().flat_map(|ids| ids.values()).map(|id| RowId(*id)).collect());
        }
        cold.finish()?;
        let id = |(source, number): &(usize, usize)| {
            ids.get(*source).and_then(|ids| ids.get(*number)).copied()
        };
        sources
            .places
            .iter()
            .zip(locators.iter())
            .map(|(place, locator)| {
                id(place).ok_or_else(|| ReadError::Failed(StorageError::RowGone(*locator)))
            })
            .collect()
    }

    /// A segment that was written after a column was dropped has not its values: whoever still sees the
    /// column must not take them for missing.
    fn check_columns(
        &self,
        segment: &TableSegment,
        schema: &TableSchema,
        projection: &[usize],
    ) -> Result<(), StorageError> {
        let meta = segment.description()?;
        if meta.schema_version <= schema.version() {
            return Ok(());
        }
        for ordinal in projection {
            let column = &schema.columns()[*ordinal];
            if !column.dropped && meta.column(column.id).is_none() {
                let column = column.name.clone();
                return Err(StorageError::ColumnDropped { table: self.id, column });
            }
        }
        Ok(())
    }

    /// The newest list and where these rows lie in it.
    fn in_newest_list<'a>(
        &self,
        locators: &'a [Locator],
    ) -> Result<(TableList, Cow<'a, [Locator]>), StorageError> {
        let list = self.list();
        let mut known = None;
        let mut is_here = |locator: &Locator| {
            let here = known == Some(locator.segment) || list.has_source(locator.segment);
            known = here.then_some(locator.segment);
            here
        };
        let Some(first) = locators.iter().position(|locator| !is_here(locator)) else {
            return Ok((list, Cow::Borrowed(locators)));
        };
        let mut placed = locators[..first].to_vec();
        for locator in &locators[first..] {
            placed.push(match is_here(locator) {
                true => *locator,
                false => {
                    self.place_in(*locator, &list).ok_or(StorageError::NoChunk(locator.segment))?
                }
            });
        }
        Ok((list, Cow::Owned(placed)))
    }
}

/// Row ids of rows that lie in chunks, in the order given.
fn row_ids_from_chunks(list: &TableList, locators: &[Locator]) -> Result<Vec<RowId>, StorageError> {
    let id = |locator: &Locator| {
        let chunk = list.chunk(locator.segment)?;
        chunk.with_row(locator.row, |place| match place {
            Place::Frozen(block, n) => block.row_id(n),
            Place::Open(open, n) => open.row_id(n),
        })
    };
    locators.iter().map(|l| id(l).ok_or(StorageError::RowGone(*l))).collect()
}

/// Rows that lie in chunks, in the order given.
fn fetch_from_chunks(
    list: &TableList,
    schema: &TableSchema,
    locators: &[Locator],
    projection: &[usize],
) -> Result<RecordBatch, StorageError> {
    let mut builders = projection
        .iter()
        .map(|c| ColumnBuilder::new(&schema.columns()[*c].pg_type, locators.len()))
        .collect::<Result<Vec<_>, _>>()?;
    let mut at = 0;
    while at < locators.len() {
        let segment = locators[at].segment;
        let chunk = list.chunk(segment).ok_or(StorageError::NoChunk(segment))?;
        at += copy_rows(schema, chunk, &locators[at..], projection, &mut builders)?;
    }
    let arrays = builders.into_iter().map(ColumnBuilder::finish).collect();
    let fields = view::projected(schema.arrow(), projection);
    Ok(view::batch_of(fields, arrays, locators.len()))
}

/// Copy rows from the front of `locators` that lie in `chunk`; returns how many.
fn copy_rows(
    schema: &TableSchema,
    chunk: &Chunk,
    locators: &[Locator],
    projection: &[usize],
    builders: &mut [ColumnBuilder],
) -> Result<usize, StorageError> {
    let mut at = 0;
    while at < locators.len() && locators[at].segment == chunk.segment() {
        let row = locators[at].row;
        let frozen = chunk.with_row(row, |place| match place {
            Place::Frozen(block, _) => Ok::<_, StorageError>(Some(Arc::clone(block))),
            Place::Open(open, n) => {
                for (column, builder) in projection.iter().zip(builders.iter_mut()) {
                    match open.columns().get(*column) {
                        Some(values) => builder.push(values.value(n)),
                        None => push_missing(schema, *column, builder)?,
                    }
                }
                Ok(None)
            }
        });
        match frozen.transpose()? {
            None => return Err(StorageError::RowGone(locators[at])),
            Some(None) => at += 1,
            Some(Some(block)) => {
                let mine = |l: &&Locator| l.segment == chunk.segment();
                let places: Vec<usize> = locators[at..]
                    .iter()
                    .take_while(mine)
                    .map_while(|l| block.place_of(l.row))
                    .collect();
                copy_places(schema, &block, &places, projection, builders)?;
                at += places.len();
            }
        }
    }
    Ok(at)
}

/// The value of a column that came later than the row.
fn push_missing(
    schema: &TableSchema,
    ordinal: usize,
    builder: &mut ColumnBuilder,
) -> Result<(), StorageError> {
    let array = schema.missing(ordinal, 1);
    builder.push(ColumnRef::new(&schema.columns()[ordinal].pg_type, &array)?.value(0));
    Ok(())
}

fn copy_places(
    schema: &TableSchema,
    block: &Block,
    places: &[usize],
    projection: &[usize],
    builders: &mut [ColumnBuilder],
) -> Result<(), StorageError> {
    for (column, builder) in projection.iter().zip(builders) {
        let array = block.column(schema, *column);
        let from = ColumnRef::new(&schema.columns()[*column].pg_type, &array)?;
        places.iter().for_each(|n| builder.push(from.value(*n)));
    }
    Ok(())
}
