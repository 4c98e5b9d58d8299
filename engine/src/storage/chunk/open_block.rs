//! The block of a chunk that still grows.

use std::sync::Arc;

use glaredb_txn::{
    codec::Reader,
    ids::{RowId, Timestamp},
};

use super::{
    BLOCK_ROWS,
    block::{Begins, Block, RowIds, RowNumbers},
    deletions::Deletions,
};
use crate::storage::{
    StorageError,
    codec::{builder::ColumnBuilder, row},
    schema::TableSchema,
};

/// Rows that are appended one by one. A reader gets a copy, the only copy any reader makes, and the
/// last one is kept until another row comes.
#[derive(Debug)]
pub struct OpenBlock {
    first_row: u32,
    columns: Vec<ColumnBuilder>,
    row_ids: Vec<u64>,
    begins: Vec<Timestamp>,
    deletions: Arc<Deletions>,
    copy: parking_lot::Mutex<Option<Arc<Block>>>,
}

impl OpenBlock {
    pub fn new(
        schema: &TableSchema,
        first_row: u32,
        deletions: Arc<Deletions>,
    ) -> Result<Self, StorageError> {
        // A table of ten rows should not take the memory of a thousand: the vectors grow.
        let columns = schema
            .columns()
            .iter()
            .map(|column| ColumnBuilder::new(&column.pg_type, 8))
            .collect::<Result<_, _>>()?;
        Ok(Self {
            first_row,
            columns,
            row_ids: Vec::new(),
            begins: Vec::new(),
            deletions,
            copy: parking_lot::Mutex::new(None),
        })
    }

    pub fn len(&self) -> usize {
        self.row_ids.len()
    }

    pub fn is_empty(&self) -> bool {
        self.row_ids.is_empty()
    }

    pub fn is_full(&self) -> bool {
        self.len() >= BLOCK_ROWS
    }

    pub fn first_row(&self) -> u32 {
        self.first_row
    }

    /// Decode one row to the end of the block.
    pub fn append(
        &mut self,
        input: &mut Reader<'_>,
        row_id: RowId,
        begin: Timestamp,
    ) -> Result<(), StorageError> {
        row::decode(input, &mut self.columns)?;
        self.row_ids.push(row_id.0);
        self.begins.push(begin);
        Ok(())
    }

    pub fn columns(&self) -> &[ColumnBuilder] {
        &self.columns
    }

    pub fn row_id(&self, n: usize) -> RowId {
        RowId(self.row_ids[n])
    }

    pub fn begin(&self, n: usize) -> Timestamp {
        self.begins[n]
    }

    /// The rows as they are now.
    pub fn snapshot(&self) -> Arc<Block> {
        let mut copy = self.copy.lock();
        match &*copy {
            Some(block) if block.len == self.len() => Arc::clone(block),
            _ => {
                let columns = self.columns.iter().map(|c| c.clone().finish()).collect();
                let block = Arc::new(self.block_of(columns));
                *copy = Some(Arc::clone(&block));
                block
            }
        }
    }

    /// No row will be added.
    pub fn freeze(mut self) -> Block {
        let columns = std::mem::take(&mut self.columns);
        self.block_of(columns.into_iter().map(ColumnBuilder::finish).collect())
    }

    fn block_of(&self, columns: Vec<arrow::array::ArrayRef>) -> Block {
        let first_id = self.row_ids.first().copied().unwrap_or(0);
        let consecutive = self.row_ids.iter().zip(first_id..).all(|(id, next)| *id == next);
        Block {
            len: self.len(),
            rows: RowNumbers::From(self.first_row),
            row_ids: if consecutive {
                RowIds::From(first_id)
            } else {
                RowIds::Each(self.row_ids.as_slice().into())
            },
            begins: Begins::of(&self.begins),
            columns,
            deletions: Arc::clone(&self.deletions),
        }
    }

    pub fn memory_bytes(&self) -> usize {
        self.columns.iter().map(ColumnBuilder::memory_bytes).sum::<usize>()
            + self.row_ids.capacity() * 16
    }
}
