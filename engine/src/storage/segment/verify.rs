//! Checks all of a segment: every byte against its checksum, then the rows against what index, filters
//! and description say of them.

use std::sync::Arc;

use arrow::array::ArrayRef;
use glaredb_txn::ids::{RowId, Timestamp};

use super::{
    held::{Held, Needs},
    index::FENCE_ROWS,
    key_hash,
    meta::SortOrder,
    reader::{Decimals, Projection, Segment, SegmentRows},
    statistics::{ColumnStatistics, Gatherer},
};
use crate::storage::{StorageError, schema::TableSchema};

/// More problems of one kind in one row group are counted, not told.
const TOLD_MAX: usize = 3;

/// What a row group's rows were checked to be; for checks that span segments.
pub struct VerifiedRows<'a> {
    /// Number of the first one in the segment.
    pub first: u32,
    pub row_ids: &'a [u64],
    pub timestamps: &'a [u64],
}

/// What is known so far.
struct State {
    problems: Vec<String>,
    gatherers: Vec<Gatherer>,
    last_key: Option<Vec<u8>>,
    first_key: Option<Vec<u8>>,
    row_ids: (u64, u64),
    timestamps: (u64, u64),
    /// All row groups could be read: only then what was gathered means something.
    is_whole: bool,
}

impl Segment {
    /// Everything that is wrong with the segment, in words; nothing, if it is sound. `schema`: of a
    /// version that knows its columns. `rows` gets those of each row group that can be read.
    pub async fn verify(
        &self,
        schema: &TableSchema,
        rows: &mut (dyn FnMut(VerifiedRows<'_>) + Send),
    ) -> Vec<String> {
        let columns: Vec<usize> = (0..schema.columns().len())
            .filter(|ordinal| self.place_of_column(schema.columns()[*ordinal].id).is_some())
            .collect();
        let mut state = State {
            problems: Vec::new(),
            gatherers: columns.iter().map(|n| Gatherer::new(&schema.columns()[*n])).collect(),
            last_key: None,
            first_key: None,
            row_ids: (u64::MAX, 0),
            timestamps: (u64::MAX, 0),
            is_whole: true,
        };
        self.verify_front(&mut state).await;
        for row_group in 0..self.row_groups() {
            let hashes = match self.read_whole(schema, &columns, row_group, &mut state).await {
                Some(read) => {
                    rows(VerifiedRows {
                        first: self.row_group_rows(row_group).start,
                        row_ids: read.row_ids.as_ref().map_or(&[], |ids| ids.values()),
                        timestamps: read.timestamps.as_ref().map_or(&[], |at| at.values()),
                    });
                    self.verify_rows(schema, &columns, row_group, &read, &mut state)
                }
                None => {
                    state.is_whole = false;
                    Vec::new()
                }
            };
            self.verify_filter(row_group, &hashes, &mut state).await;
        }
        if state.is_whole {
            self.verify_description(&mut state);
        }
        state.problems
    }

    /// The magic number at the front, which nothing else reads.
    async fn verify_front(&self, state: &mut State) {
        match self.read_front().await {
            Ok(front) if &front[..] == b"PAR1" => {}
            Ok(front) => state.problems.push(format!("it begins with {front:?}, not with PAR1")),
            Err(error) => state.problems.push(reason(&error)),
        }
    }

    /// All columns of a row group; if that cannot be, each damaged one is told.
    async fn read_whole(
        &self,
        schema: &TableSchema,
        columns: &[usize],
        row_group: usize,
        state: &mut State,
    ) -> Option<SegmentRows> {
        let decimals = Decimals::Wide;
        let all = Projection { columns, row_ids: true, timestamps: true, decimals };
        let error = match self.read(schema, &all, row_group, None).await {
            Ok(rows) => return Some(rows),
            Err(error) => error,
        };
        let before = state.problems.len();
        for ordinal in columns {
            let one = Projection { columns: &[*ordinal], ..Projection::default() };
            if let Err(error) = self.read(schema, &one, row_group, None).await {
                let name = &schema.columns()[*ordinal].name;
                let problem =
                    format!("row group {row_group}, column \"{name}\": {}", reason(&error));
                state.problems.push(problem);
            }
        }
        let hidden = Projection { row_ids: true, timestamps: true, ..Projection::default() };
        if let Err(error) = self.read(schema, &hidden, row_group, None).await {
            let problem = format!("row group {row_group}, hidden columns: {}", reason(&error));
            state.problems.push(problem);
        }
        if state.problems.len() == before {
            state.problems.push(format!("row group {row_group}: {}", reason(&error)));
        }
        None
    }

    /// Order and fences; what is gathered of columns. Hashes of the keys.
    fn verify_rows(
        &self,
        schema: &TableSchema,
        columns: &[usize],
        row_group: usize,
        read: &SegmentRows,
        state: &mut State,
    ) -> Vec<u64> {
        let group = self.row_group_rows(row_group);
        if read.batch.num_rows() != group.len() {
            let found = read.batch.num_rows();
            let problem = format!("row group {row_group} has {found} rows, not {}", group.len());
            state.problems.push(problem);
            return Vec::new();
        }
        for (gatherer, array) in state.gatherers.iter_mut().zip(read.batch.columns()) {
            if let Err(error) = gatherer.add(array) {
                state.problems.push(format!("row group {row_group}: {}", reason(&error)));
                state.is_whole = false;
            }
        }
        let (ids, at) = (read.row_ids.as_ref(), read.timestamps.as_ref());
        for id in ids.into_iter().flat_map(|ids| ids.values()) {
            state.row_ids = (state.row_ids.0.min(*id), state.row_ids.1.max(*id));
        }
        for at in at.into_iter().flat_map(|at| at.values()) {
            state.timestamps = (state.timestamps.0.min(*at), state.timestamps.1.max(*at));
        }
        match self.keys_of(schema, columns, read) {
            Ok(keys) => self.verify_keys(row_group, &keys, state),
            Err(error) => {
                state.problems.push(format!("row group {row_group}: {}", reason(&error)));
                Vec::new()
            }
        }
    }

    fn keys_of(
        &self,
        schema: &TableSchema,
        columns: &[usize],
        read: &SegmentRows,
    ) -> Result<Vec<Vec<u8>>, StorageError> {
        let (SortOrder::Key(key), Some(sort)) = (&self.meta.sort_order, &self.key) else {
            let ids = read.row_ids.as_ref().map_or(&[][..], |ids| ids.values());
            return Ok(ids.iter().map(|id| id.to_be_bytes().to_vec()).collect());
        };
        let array = |id: &u32| {
            let place = columns.iter().position(|n| schema.columns()[*n].id == *id);
            place.map(|place| Arc::clone(read.batch.column(place)))
        };
        let arrays: Option<Vec<ArrayRef>> = key.iter().map(array).collect();
        let arrays =
            arrays.ok_or_else(|| StorageError::Invalid("a column of its key is missing".into()))?;
        let keys = sort.encoder.encode_stored(&arrays)?;
        Ok(keys.iter().map(<[u8]>::to_vec).collect())
    }

    fn verify_keys(&self, row_group: usize, keys: &[Vec<u8>], state: &mut State) -> Vec<u64> {
        let first = self.row_group_rows(row_group).start;
        let mut out_of_order = Told::default();
        let mut off_fence = Told::default();
        for (row, key) in (first..).zip(keys) {
            if state.last_key.as_ref().is_some_and(|last| key < last) {
                out_of_order.add(|| format!("row {row} is out of the order of the key"), state);
            }
            let is_fence = (row - first).is_multiple_of(FENCE_ROWS);
            let due = self.inherited_key(row).map_or_else(|| key.clone(), |id| id.to_vec());
            if is_fence && self.index.fence(row).is_none_or(|fence| *fence != due) {
                off_fence.add(|| format!("the fence at row {row} is not the row's key"), state);
            }
            if state.first_key.is_none() {
                state.first_key = Some(key.clone());
            }
            state.last_key = Some(key.clone());
        }
        out_of_order.finish("rows out of order", row_group, state);
        off_fence.finish("fences that are not keys", row_group, state);
        keys.iter().map(|key| key_hash(key)).collect()
    }

    /// The fence at a row where all row ids are inherited: from what the file says, whose writer may not
    /// have known them.
    fn inherited_key(&self, row: u32) -> Option<[u8; 8]> {
        let all = self.key.is_none() && self.row_id_place().is_none();
        all.then(|| (self.properties.first_row_id.0 + u64::from(row)).to_be_bytes())
    }

    async fn verify_filter(&self, row_group: usize, hashes: &[u64], state: &mut State) {
        if self.index.row_groups[row_group].filter.is_none() {
            if self.key.is_some() {
                state.problems.push(format!("row group {row_group} has no filter"));
            }
            return;
        }
        let mut held = Held::default();
        let needs = Needs::filter(row_group);
        if let Err(error) = self.warm(needs, &mut held).await {
            state.problems.push(format!("filter of row group {row_group}: {}", reason(&error)));
            return;
        }
        let Some(filter) = self.filter(row_group, &held) else { return };
        let turned_away = hashes.iter().filter(|hash| !filter.may_contain(**hash)).count();
        if turned_away > 0 {
            let problem = format!(
                "the filter of row group {row_group} turns {turned_away} of its {} keys away",
                hashes.len()
            );
            state.problems.push(problem);
        }
    }

    /// What the list of segments says, against all rows.
    fn verify_description(&self, state: &mut State) {
        let meta = &self.meta;
        let mut problems = Vec::new();
        let keys = (state.first_key.as_deref(), state.last_key.as_deref());
        if keys != (Some(&meta.keys.0[..]), Some(&meta.keys.1[..])) {
            problems.push("its first and last key are not those of its description".to_owned());
        }
        let ids = (RowId(state.row_ids.0), RowId(state.row_ids.1));
        if ids != meta.row_ids {
            problems
                .push(format!("its row ids are {ids:?}, its description says {:?}", meta.row_ids));
        }
        let at = (Timestamp(state.timestamps.0), Timestamp(state.timestamps.1));
        if at != meta.commits {
            let said = meta.commits;
            problems.push(format!("its commits are {at:?}, its description says {said:?}"));
        }
        for gatherer in std::mem::take(&mut state.gatherers) {
            match gatherer.finish() {
                Ok(found) => match meta.column(found.id) {
                    Some(said) => problems.extend(differences(&found, said)),
                    None => problems.push(format!("no statistics of column {}", found.id)),
                },
                Err(error) => problems.push(reason(&error)),
            }
        }
        state.problems.extend(problems);
    }
}

/// In what statistics differ from those of the rows.
fn differences(found: &ColumnStatistics, said: &ColumnStatistics) -> Vec<String> {
    let column = found.id;
    let mut problems = Vec::new();
    if found.nulls != said.nulls {
        problems.push(format!(
            "column {column} has {} NULLs, its statistics say {}",
            found.nulls, said.nulls
        ));
    }
    if found.bytes != said.bytes {
        problems.push(format!(
            "column {column} has {} bytes, its statistics say {}",
            found.bytes, said.bytes
        ));
    }
    if found.bounds != said.bounds {
        problems.push(format!("the bounds of column {column} are not those of its statistics"));
    }
    if !said.distinct.is_unknown() && found.distinct != said.distinct {
        problems.push(format!(
            "the distinct values of column {column} are not those of its statistics"
        ));
    }
    problems
}

/// Without the object's name, which whoever tells it knows.
fn reason(error: &StorageError) -> String {
    match error {
        StorageError::CorruptObject { reason, .. } => reason.clone(),
        other => other.to_string(),
    }
}

/// Tells the first few of many.
#[derive(Default)]
struct Told(usize);

impl Told {
    fn add(&mut self, problem: impl FnOnce() -> String, state: &mut State) {
        self.0 += 1;
        if self.0 <= TOLD_MAX {
            state.problems.push(problem());
        }
    }

    fn finish(self, what: &str, row_group: usize, state: &mut State) {
        if let Some(more @ 1..) = self.0.checked_sub(TOLD_MAX) {
            state.problems.push(format!("row group {row_group}: {more} more {what}"));
        }
    }
}
