//! A table's storage as a checkpoint sees it, and back.

use std::sync::{Arc, atomic::Ordering};

use glaredb_txn::ids::Timestamp;

use super::{
    Table, TableSegment,
    write::{Tally, row_hashes},
};
use crate::storage::{
    StorageError,
    budget::Budget,
    chunk::{
        Chunk, LoadedBlock,
        block::{Begins, RowIds, RowNumbers},
    },
    record::GROUP_ROWS_MAX,
    state::{BlockImage, ChunkImage, TableImage},
};

impl Table {
    /// The table now: shares the frozen blocks, copies the open one. Private chunks are not part of
    /// it. Called between two records.
    pub(crate) fn image(&self, at: Timestamp) -> TableImage {
        let chunks = self.chunk_list();
        let chunks = chunks.iter().filter(|chunk| !chunk.is_private());
        let schema = self.schema();
        TableImage {
            table: self.id,
            next_row_id: self.next_row_id(),
            state_hash: self.state_hash(),
            rows_live: self.row_count_estimate(),
            chunks: chunks.map(|chunk| ChunkImage::of(chunk, &schema, at)).collect(),
            segments: self.segments().iter().map(|segment| segment.image()).collect(),
            schema,
        }
    }

    /// The table that an image showed. Counts its rows and hashes them anew; its key index is still
    /// to be built.
    pub(crate) fn from_image(image: TableImage, budget: Arc<Budget>) -> Result<Self, StorageError> {
        let schema = image.schema;
        let table = Self::new(image.table, Arc::clone(&schema), budget);
        table.defer_index();
        table.next_row_id.store(image.next_row_id.0, Ordering::Relaxed);
        let mut tally = Tally::default();
        let mut chunks = Vec::with_capacity(image.chunks.len());
        for mut chunk in image.chunks {
            let blocks = chunk.take_blocks();
            let mut loaded = Vec::with_capacity(blocks.len());
            let mut live = Tally::default();
            for block in &blocks {
                let (alive_rows, alive_ids) = alive(block)?;
                let columns: Vec<_> = match alive_rows {
                    None => block.batch.columns().to_vec(),
                    Some(places) => block
                        .batch
                        .columns()
                        .iter()
                        .map(|column| arrow::compute::take(column, &places, None))
                        .collect::<Result<_, _>>()
                        .map_err(|e| StorageError::corrupt("checkpoint", e.to_string()))?,
                };
                let rows = alive_ids.len();
                let hashes = row_hashes(&schema, &columns, rows, |n| alive_ids[n])?;
                hashes.into_iter().for_each(|hash| live.add(hash));
                loaded.push(loaded_block(block));
            }
            let whole = Chunk::load(chunk.segment, loaded, chunk.rows_placed, chunk.sealed)?;
            for (row, at) in blocks.iter().flat_map(|b| &b.deletions) {
                if *row >= chunk.rows_placed || !whole.deletions().delete(*row, *at) {
                    let reason = format!("deletion of row {row} of {}", chunk.segment);
                    return Err(StorageError::corrupt("checkpoint", reason));
                }
            }
            whole.count_inserted(live.rows as u32, live.hash);
            tally.add_all(live);
            chunks.push(Arc::new(whole));
        }
        chunks.sort_by_key(|chunk| chunk.segment());
        let segments: Vec<_> =
            image.segments.into_iter().map(|image| Arc::new(TableSegment::load(image))).collect();
        for (rows, hash) in segments.iter().map(|segment| segment.live()) {
            tally.add_all(Tally { rows: rows.into(), hash });
        }
        *table.segments.write() = Arc::new(segments);
        table.prunable.store(true, Ordering::Relaxed);
        *table.chunks.write() = Arc::new(chunks);
        table.count_inserted(tally, Timestamp::ZERO);
        table.account();
        Ok(table)
    }
}

/// Places of the rows that are not deleted (`None`: all), and their ids.
fn alive(
    block: &BlockImage,
) -> Result<(Option<arrow::array::UInt32Array>, Vec<glaredb_txn::ids::RowId>), StorageError> {
    let rows = block.batch.num_rows();
    let fits = [block.rows.len(), block.row_ids.len(), block.begins.len()];
    let ascending = block.rows.windows(2).all(|pair| pair[0] < pair[1]);
    if fits != [rows; 3] || !ascending || rows > GROUP_ROWS_MAX as usize {
        let reason = format!("a block of {rows} rows with {fits:?} numbers, ids and timestamps");
        return Err(StorageError::corrupt("checkpoint", reason));
    }
    if block.deletions.is_empty() {
        return Ok((None, block.row_ids.clone()));
    }
    let mut dead: Vec<u32> = block.deletions.iter().map(|(row, _)| *row).collect();
    dead.sort_unstable();
    let places: Vec<u32> = (0..rows as u32)
        .filter(|n| dead.binary_search(&block.rows[*n as usize]).is_err())
        .collect();
    let ids = places.iter().map(|n| block.row_ids[*n as usize]).collect();
    Ok((Some(places.into()), ids))
}

fn loaded_block(block: &BlockImage) -> LoadedBlock {
    let rows = match (block.rows.first(), block.rows.last()) {
        (Some(first), Some(last)) if (last - first) as usize + 1 == block.rows.len() => {
            RowNumbers::From(*first)
        }
        _ => RowNumbers::Each(block.rows.as_slice().into()),
    };
    let first_id = block.row_ids.first().map_or(0, |id| id.0);
    let row_ids = if block.row_ids.iter().zip(first_id..).all(|(id, next)| id.0 == next) {
        RowIds::From(first_id)
    } else {
        RowIds::Each(block.row_ids.iter().map(|id| id.0).collect())
    };
    LoadedBlock {
        len: block.batch.num_rows(),
        rows,
        row_ids,
        begins: Begins::of(&block.begins),
        columns: block.batch.columns().to_vec(),
    }
}
