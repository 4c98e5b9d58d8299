//! Rows of a large write that lie in an object before it commits (`docs/flush.md`).

use bytes::Bytes;
use glaredb_txn::{
    codec::{Reader, Writer},
    ids::{JobId, RowId, SegmentId, Timestamp},
};

use super::AddedSegment;
use crate::storage::{
    StorageError,
    codec::corrupt,
    segment::{SegmentMeta, SortOrder},
};

const WHAT: &str = "staged segment";

/// What a part says of a segment. When it was written nobody knew which row ids and which commit
/// timestamp its rows get: the description that its commit puts into the table's list says both.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct StagedRows {
    /// Under which the object was written. It must not be over when the commit is placed.
    pub job: JobId,
    /// As the writer left it.
    pub meta: SegmentMeta,
}

impl StagedRows {
    pub fn encode(&self, out: &mut Writer) {
        out.u64(self.job.0);
        self.meta.encode(out);
    }

    /// Errors: bytes that are none. Never panics.
    pub fn decode(bytes: &[u8]) -> Result<Self, StorageError> {
        let bytes = Bytes::copy_from_slice(bytes);
        let mut input = Reader::of(&bytes);
        let job = JobId(input.u64().map_err(corrupt(WHAT))?);
        let meta = SegmentMeta::decode(&mut input)?;
        input.finish().map_err(corrupt(WHAT))?;
        Ok(Self { job, meta })
    }

    /// What the commit at `at` adds to the table's list. `first`: the id of the first row, whose
    /// followers have the next ones; `None`: the rows brought theirs.
    #[must_use]
    pub fn added(&self, segment: SegmentId, first: Option<RowId>, at: Timestamp) -> AddedSegment {
        let mut meta = self.meta.clone();
        meta.commits = (at, at);
        if let Some(first) = first {
            let last = RowId(first.0 + u64::from(meta.rows) - 1);
            meta.row_ids = (first, last);
            if meta.sort_order == SortOrder::RowId {
                let key = |id: RowId| Bytes::copy_from_slice(&id.0.to_be_bytes());
                meta.keys = (key(first), key(last));
            }
        }
        AddedSegment::of(segment, &meta)
    }
}
