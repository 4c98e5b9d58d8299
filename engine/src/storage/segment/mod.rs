//! Segments: rows of a table in a Parquet file on object storage, sorted by the key.
//!
//! The file stands in `docs/formats/segment.md`. A [`SegmentWriter`] writes one and says in a
//! [`SegmentMeta`] what readers need to know of it before they open it; a [`SegmentStore`] opens
//! it as a [`Segment`], from which rows are read by row group, by number and by key. What is
//! decoded stays in a [`Resident`] for all readers. Nothing here knows of deletions, snapshots or the
//! log.

// A list of one range of rows is meant where it stands, not the rows.
#![allow(clippy::single_range_in_vec_init)]

mod columns;
mod format;
mod held;
mod index;
mod lookup;
mod meta;
mod opened;
mod pages;
mod reader;
mod resident;
mod rows;
mod sketch;
mod statistics;
#[cfg(test)]
pub(super) mod tests;
mod verify;
mod writer;

pub use glaredb_txn::key_filter::{KeyFilter, key_hash};

pub use self::{
    columns::widened,
    format::{FORMAT_VERSION, ROW_ID_FIELD, TIMESTAMP_FIELD},
    held::{Answer, Held, Needs},
    index::Extent,
    lookup::Seek,
    meta::{SegmentMeta, SortOrder},
    opened::Opened,
    reader::{Decimals, Projection, Segment, SegmentRows, SegmentStore},
    resident::{Resident, ResidentMetrics},
    sketch::Sketch,
    statistics::{Bound, Bounds, ColumnStatistics},
    verify::VerifiedRows,
    writer::{ROW_GROUP_ROWS, RowIdColumn, SegmentOptions, SegmentWriter, TimestampColumn},
};
