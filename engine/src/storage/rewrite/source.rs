//! The inputs of a job as sorted runs of rows.

use std::{cmp::Ordering, ops::Range, sync::Arc};

use arrow::array::{ArrayRef, UInt64Array};
use glaredb_txn::ids::{Locator, RowId, SegmentId, Timestamp};

use super::RewriteError;
use crate::storage::{
    StorageError,
    chunk::block::{Begins, Block},
    codec::key::EncodedKeys,
    schema::TableSchema,
    segment::{Projection, ROW_GROUP_ROWS, Segment, SegmentMeta, SegmentStore, SortOrder},
    table::{CapturedDeletions, TableList},
};

/// Rows of a segment that are read at once for a merge.
const PIECE_ROWS_MAX: u64 = 1 << 20;
const PIECE_ROWS_MIN: u64 = 256;
/// Rows that are sorted at once.
const SORTED_ROWS_MAX: u64 = 4 << 20;
/// Memory of a row beside its values: id, timestamp, key and place in the order; and of a value that
/// has no fixed width.
const HIDDEN_BYTES: u64 = 40;
const VIEW_BYTES: u64 = 16;

/// What a job reads: the same at every look, whatever happens beside it.
pub(super) struct Input {
    pub(super) source: SegmentId,
    /// One more than the greatest number of a row.
    pub(super) rows: u32,
    pub(super) content: Content,
}

pub(super) enum Content {
    Chunk(Vec<Arc<Block>>),
    Segment { meta: Arc<SegmentMeta>, deletions: CapturedDeletions },
}

/// From when on rows count, and which are left out.
#[derive(Clone, Copy, Debug)]
pub(super) struct Moment {
    /// Deletions later than this are not the job's.
    pub(super) as_of: Timestamp,
    /// What was deleted until then is left out.
    pub(super) horizon: Timestamp,
}

impl Input {
    /// `None`: nothing is left of it. `list`: taken while a snapshot at the job's moment is
    /// registered.
    pub(super) fn capture(
        list: &TableList,
        source: SegmentId,
    ) -> Result<Option<Self>, StorageError> {
        if let Some(chunk) = list.chunk(source) {
            let content = Content::Chunk(chunk.blocks());
            return Ok(Some(Self { source, rows: chunk.next_row(), content }));
        }
        let Some(segment) = list.segment(source) else { return Ok(None) };
        let content = Content::Segment {
            meta: Arc::clone(segment.description()?),
            deletions: segment.deletions().capture(),
        };
        Ok(Some(Self { source, rows: segment.rows(), content }))
    }

    /// The timestamp that all its rows have, if they have one.
    pub(super) fn one_commit(&self) -> Option<Timestamp> {
        match &self.content {
            Content::Chunk(blocks) => {
                let begins = blocks.iter().map(|block| match &block.begins {
                    Begins::One(at) => Some(*at),
                    Begins::Publication(cell) => Some(cell.timestamp()),
                    Begins::Each(_) => None,
                });
                one(begins)
            }
            Content::Segment { meta, .. } => {
                let (least, greatest) = meta.commits;
                (least == greatest).then_some(least)
            }
        }
    }

    /// Memory of a row, about.
    pub(super) fn row_bytes(&self) -> u64 {
        match &self.content {
            Content::Chunk(_) => self.bytes() / u64::from(self.rows).max(1),
            Content::Segment { meta, .. } => row_bytes(meta),
        }
    }

    /// Bytes in memory, or of the object.
    pub(super) fn bytes(&self) -> u64 {
        match &self.content {
            Content::Chunk(blocks) => blocks.iter().map(|b| b.memory_bytes() as u64).sum(),
            Content::Segment { meta, .. } => meta.bytes,
        }
    }
}

/// Memory of a row of a segment, as far as its statistics tell.
fn row_bytes(meta: &SegmentMeta) -> u64 {
    let values: u64 = meta.columns.iter().map(|column| column.bytes).sum();
    values / u64::from(meta.rows).max(1) + VIEW_BYTES * meta.columns.len() as u64 + HIDDEN_BYTES
}

/// What all are equal to.
pub(super) fn one<T: PartialEq>(mut all: impl Iterator<Item = Option<T>>) -> Option<T> {
    let first = all.next()??;
    all.all(|other| other.as_ref() == Some(&first)).then_some(first)
}

/// How rows are sorted and which columns they have.
pub(super) struct Shape {
    /// Its key is what rows are sorted by.
    pub(super) schema: Arc<TableSchema>,
    pub(super) order: SortOrder,
    /// Places of the key's columns among those that live.
    key: Vec<usize>,
}

impl Shape {
    pub(super) fn new(schema: Arc<TableSchema>) -> Result<Self, StorageError> {
        let columns = schema.columns();
        let (order, key) = match schema.key() {
            None => (SortOrder::RowId, Vec::new()),
            Some(key) => {
                let place = |ordinal: &usize| schema.live().binary_search(ordinal).ok();
                let places: Option<Vec<usize>> = key.iter().map(place).collect();
                let places = places.ok_or_else(|| {
                    StorageError::Invalid("a column of the key is dropped".to_owned())
                })?;
                (SortOrder::Key(key.iter().map(|n| columns[*n].id).collect()), places)
            }
        };
        Ok(Self { schema, order, key })
    }

    fn keys(&self, columns: &[ArrayRef]) -> Result<Keys, StorageError> {
        let Some(encoder) = self.schema.key_encoder() else { return Ok(Keys::RowIds) };
        let columns: Vec<ArrayRef> = self.key.iter().map(|n| Arc::clone(&columns[*n])).collect();
        Ok(Keys::Encoded(encoder.encode_stored(&columns)?))
    }
}

enum Keys {
    RowIds,
    Encoded(EncodedKeys),
}

/// Rows in memory, in the order of the key.
pub(super) struct Piece {
    source: SegmentId,
    /// Those that live.
    pub(super) columns: Vec<ArrayRef>,
    keys: Keys,
    hidden: Hidden,
    /// Places of the rows that are written, in order of the key; `None`: all, as they lie.
    order: Option<Vec<u32>>,
    rows: usize,
}

/// What stands beside the columns.
enum Hidden {
    Block(Arc<Block>),
    Segment { first: u32, row_ids: UInt64Array, begins: UInt64Array, deletions: CapturedDeletions },
}

impl Hidden {
    fn row(&self, place: usize) -> u32 {
        match self {
            Self::Block(block) => block.row(place),
            Self::Segment { first, .. } => first + place as u32,
        }
    }

    fn row_id(&self, place: usize) -> RowId {
        match self {
            Self::Block(block) => block.row_id(place),
            Self::Segment { row_ids, .. } => RowId(row_ids.value(place)),
        }
    }

    fn begin(&self, place: usize) -> Timestamp {
        match self {
            Self::Block(block) => block.begin(place),
            Self::Segment { begins, .. } => Timestamp(begins.value(place)),
        }
    }

    fn end(&self, place: usize) -> Timestamp {
        let row = self.row(place);
        match self {
            Self::Block(block) => block.deletions.end(row),
            Self::Segment { deletions, .. } => deletions.end(row),
        }
    }
}

impl Piece {
    fn new(
        source: SegmentId,
        shape: &Shape,
        columns: Vec<ArrayRef>,
        hidden: Hidden,
        len: usize,
        moment: Moment,
    ) -> Result<Self, StorageError> {
        let keys = shape.keys(&columns)?;
        let mut piece = Self { source, columns, keys, hidden, order: None, rows: len };
        if (0..len).any(|n| piece.hidden.begin(n) > moment.as_of) {
            return Err(StorageError::Invalid(format!(
                "{source} has rows that were committed after {}",
                moment.as_of
            )));
        }
        let is_left_out = |n: usize| piece.hidden.end(n) <= moment.horizon;
        let is_sorted = (1..len).all(|n| piece.compare_places(n - 1, &piece, n).is_le());
        if is_sorted && !(0..len).any(is_left_out) {
            return Ok(piece);
        }
        let mut order: Vec<u32> = (0..len).filter(|n| !is_left_out(*n)).map(|n| n as u32).collect();
        if !is_sorted {
            order.sort_unstable_by(|a, b| {
                piece.compare_places(*a as usize, &piece, *b as usize).then(a.cmp(b))
            });
        }
        piece.rows = order.len();
        piece.order = Some(order);
        Ok(piece)
    }

    /// By key, then by age.
    fn compare_places(&self, place: usize, other: &Self, other_place: usize) -> Ordering {
        let by_key = match (&self.keys, &other.keys) {
            (Keys::Encoded(keys), Keys::Encoded(others)) => {
                keys.get(place).cmp(others.get(other_place))
            }
            _ => self.hidden.row_id(place).cmp(&other.hidden.row_id(other_place)),
        };
        by_key.then_with(|| self.hidden.begin(place).cmp(&other.hidden.begin(other_place)))
    }

    /// Place of the `n`th row.
    fn place(&self, n: usize) -> usize {
        self.order.as_ref().map_or(n, |order| order[n] as usize)
    }
}

/// Rows of one input in order of the key, and where it stands.
pub(super) struct Run {
    /// Number of the input among the job's.
    pub(super) input: usize,
    pub(super) piece: Piece,
    at: usize,
    rest: Option<SegmentRest>,
}

impl Run {
    pub(super) fn is_at_end(&self) -> bool {
        self.at >= self.piece.rows
    }

    pub(super) fn has_more(&self) -> bool {
        self.rest.is_some()
    }

    /// Place of the current row in the piece.
    pub(super) fn place(&self) -> usize {
        self.piece.place(self.at)
    }

    pub(super) fn advance(&mut self) {
        self.at += 1;
    }

    pub(super) fn compare(&self, other: &Self) -> Ordering {
        self.piece.compare_places(self.place(), &other.piece, other.place())
    }

    /// The key of a row of the piece.
    pub(super) fn key_into(&self, place: usize, key: &mut Vec<u8>) {
        key.clear();
        match &self.piece.keys {
            Keys::Encoded(keys) => key.extend_from_slice(keys.get(place)),
            Keys::RowIds => key.extend_from_slice(&self.piece.hidden.row_id(place).0.to_be_bytes()),
        }
    }

    pub(super) fn row(&self, place: usize, moment: Moment) -> Row {
        let hidden = &self.piece.hidden;
        let end = hidden.end(place);
        Row {
            input: self.input,
            row_id: hidden.row_id(place),
            begin: hidden.begin(place),
            at: Locator { segment: self.piece.source, row: hidden.row(place) },
            end: (end <= moment.as_of).then_some(end),
        }
    }

    /// The next rows, when those before are done. False: there are none.
    pub(super) async fn refill(
        &mut self,
        shape: &Shape,
        moment: Moment,
    ) -> Result<bool, RewriteError> {
        while self.is_at_end() {
            let Some(rest) = &mut self.rest else { return Ok(false) };
            match rest.next(shape, moment).await? {
                Some(piece) => (self.piece, self.at) = (piece, 0),
                None => self.rest = None,
            }
        }
        Ok(true)
    }

    /// Lets its rows go.
    pub(super) fn clear(&mut self) {
        self.piece.columns = Vec::new();
        self.piece.keys = Keys::RowIds;
        self.piece.order = None;
        (self.piece.rows, self.at) = (0, 0);
    }
}

/// What a job writes of a row beside its values.
#[derive(Clone, Copy, Debug)]
pub(super) struct Row {
    pub(super) input: usize,
    pub(super) row_id: RowId,
    pub(super) begin: Timestamp,
    pub(super) at: Locator,
    /// Deleted at the job's moment already.
    pub(super) end: Option<Timestamp>,
}

/// Rows of a segment that were not read yet.
pub(super) struct SegmentRest {
    segment: Arc<Segment>,
    deletions: CapturedDeletions,
    /// Numbers in the segment.
    rows: Range<u32>,
    piece_rows: u32,
    /// In memory, about.
    row_bytes: u64,
}

impl SegmentRest {
    /// `bytes`: what its rows may take in memory at a time.
    pub(super) async fn open(
        store: &SegmentStore,
        source: SegmentId,
        meta: &Arc<SegmentMeta>,
        schema: &TableSchema,
        deletions: &CapturedDeletions,
        bytes: u64,
    ) -> Result<Self, RewriteError> {
        let segment = Arc::new(store.open(source, meta, schema).await?);
        let row_bytes = row_bytes(meta);
        let mut piece_rows = (bytes / row_bytes).clamp(PIECE_ROWS_MIN, PIECE_ROWS_MAX) as u32;
        if piece_rows < ROW_GROUP_ROWS as u32 {
            // Of a larger part of a row group all would be decoded.
            piece_rows = piece_rows.min(ROW_GROUP_ROWS as u32 / 4 - 1);
        }
        let (deletions, rows) = (deletions.clone(), 0..meta.rows);
        Ok(Self { segment, deletions, rows, piece_rows, row_bytes })
    }

    /// `None`: that was all.
    pub(super) async fn next(
        &mut self,
        shape: &Shape,
        moment: Moment,
    ) -> Result<Option<Piece>, RewriteError> {
        if self.rows.is_empty() {
            return Ok(None);
        }
        let first = self.rows.start;
        let (group, rows) = self.segment.row_group_of(first);
        let end = rows.end.min(first + self.piece_rows).min(self.rows.end);
        let within = first - rows.start..end - rows.start;
        let projection = Projection {
            columns: shape.schema.live(),
            row_ids: true,
            timestamps: true,
            ..Projection::default()
        };
        let wanted = [within.clone()];
        let wanted = (within.len() < rows.len()).then_some(&wanted[..]);
        let read = self.segment.read(&shape.schema, &projection, group, wanted).await?;
        self.rows.start = end;
        let missing = || StorageError::Invalid("hidden columns were asked for".to_owned());
        let hidden = Hidden::Segment {
            first,
            row_ids: read.row_ids.ok_or_else(missing)?,
            begins: read.timestamps.ok_or_else(missing)?,
            deletions: self.deletions.clone(),
        };
        let (len, columns) = (read.batch.num_rows(), read.batch.columns().to_vec());
        let source = self.segment.id();
        Ok(Some(Piece::new(source, shape, columns, hidden, len, moment)?))
    }
}

impl SegmentRest {
    /// Runs of as many rows as are sorted at once, in so many bytes of memory, read one after the other.
    /// None: that was all.
    pub(super) async fn sorted_runs(
        &mut self,
        (input, sorted_bytes): (usize, u64),
        shape: &Shape,
        moment: Moment,
    ) -> Result<Vec<Run>, RewriteError> {
        let (mut runs, mut rows) = (Vec::new(), 0);
        let rows_max = (sorted_bytes / self.row_bytes).clamp(1, SORTED_ROWS_MAX);
        while rows < rows_max
            && let Some(piece) = self.next(shape, moment).await?
        {
            rows += piece.rows as u64;
            if piece.rows > 0 {
                runs.push(Run { input, piece, at: 0, rest: None });
            }
        }
        Ok(runs)
    }
}

/// The runs of a chunk: one for each block.
pub(super) fn chunk_runs(
    input: usize,
    source: SegmentId,
    blocks: &[Arc<Block>],
    shape: &Shape,
    moment: Moment,
    runs: &mut Vec<Run>,
) -> Result<(), StorageError> {
    for block in blocks {
        let columns: Vec<ArrayRef> =
            shape.schema.live().iter().map(|n| block.column(&shape.schema, *n)).collect();
        let hidden = Hidden::Block(Arc::clone(block));
        let piece = Piece::new(source, shape, columns, hidden, block.len, moment)?;
        runs.push(Run { input, piece, at: 0, rest: None });
    }
    Ok(())
}

/// The run of a segment that is sorted as the job sorts; `None`: no row of it is written.
pub(super) async fn segment_run(
    input: usize,
    mut rest: SegmentRest,
    shape: &Shape,
    moment: Moment,
) -> Result<Option<Run>, RewriteError> {
    let Some(piece) = rest.next(shape, moment).await? else { return Ok(None) };
    let mut run = Run { input, piece, at: 0, rest: Some(rest) };
    Ok(run.refill(shape, moment).await?.then_some(run))
}
