//! The file of the marks: vote, committed index, where the log was cut.
//!
//! Both of its blocks are written with every change, one after the other is durable. So at any
//! moment one of them is whole, and a block that goes bad later is made good from the other.

use std::sync::Arc;

use crate::{
    env::{Disk, DiskError, DiskFile, replace_file},
    ids::{DatabaseId, LogId},
    log::{
        error::OpenError,
        fault,
        format::{BLOCK_BYTES, BlockError, MARK_OFFSETS, MARKS_FILE_BYTES, MarkBlock, Marks},
    },
};

/// Name of the file in the log's directory.
pub(super) const MARKS_FILE: &str = "marks";

pub(super) struct MarksFile {
    file: Arc<dyn DiskFile>,
    path: String,
    current: MarkBlock,
}

impl MarksFile {
    /// Make the file of a new log; durable on return.
    pub(super) fn create(
        disk: &dyn Disk,
        path: &str,
        owner: (DatabaseId, LogId),
    ) -> Result<Self, OpenError> {
        let current = MarkBlock {
            database_id: owner.0,
            log_id: owner.1,
            sequence: 1,
            marks: Marks::default(),
        };
        replace_file(disk, path, &file_image(&current))?;
        Ok(Self { file: disk.open(path)?, path: path.to_owned(), current })
    }

    /// Open an existing file; a block that is bad or older than the other is made good.
    pub(super) fn open(
        disk: &dyn Disk,
        path: &str,
        owner: (DatabaseId, LogId),
    ) -> Result<Self, OpenError> {
        let blocks = read_blocks(&*disk.open_read_only(path)?)?;
        let current = choose(path, &blocks)?;
        OpenError::check_owner(path, owner, (current.database_id, current.log_id))?;
        let both_good = blocks.iter().all(|block| block.as_ref() == Ok(&current));
        let mut marks = Self { file: disk.open(path)?, path: path.to_owned(), current };
        if !both_good {
            tracing::warn!(
                file = path,
                "one copy of the log's marks is outdated or damaged; renewing it"
            );
            marks.save(marks.current.marks)?;
        }
        Ok(marks)
    }

    pub(super) fn get(&self) -> Marks {
        self.current.marks
    }

    /// Make `marks` durable. After an error it is unknown which ones a restart finds.
    pub(super) fn save(&mut self, marks: Marks) -> Result<(), DiskError> {
        let next = MarkBlock { sequence: self.current.sequence + 1, marks, ..self.current.clone() };
        let block = next.encode();
        let points = ["log::marks::first", "log::marks::second"];
        for (offset, point) in MARK_OFFSETS.into_iter().zip(points) {
            fault::point(point, &self.path)?;
            self.file.write_at(offset, &block)?;
            self.file.sync_data()?;
        }
        self.current = next;
        Ok(())
    }
}

/// The whole file with both blocks alike.
fn file_image(block: &MarkBlock) -> Vec<u8> {
    let mut image = vec![0; MARKS_FILE_BYTES as usize];
    for offset in MARK_OFFSETS {
        let at = offset as usize;
        image[at..at + BLOCK_BYTES].copy_from_slice(&block.encode());
    }
    image
}

/// Both copies as they stand in the file.
pub(super) fn read_blocks(
    file: &dyn DiskFile,
) -> Result<[Result<MarkBlock, BlockError>; 2], DiskError> {
    let read = |offset: u64| -> Result<Result<MarkBlock, BlockError>, DiskError> {
        let mut bytes = [0; BLOCK_BYTES];
        let got = file.read_at(offset, &mut bytes)?;
        Ok(if got < BLOCK_BYTES {
            Err(BlockError::Truncated(got))
        } else {
            MarkBlock::decode(&bytes)
        })
    };
    Ok([read(MARK_OFFSETS[0])?, read(MARK_OFFSETS[1])?])
}

/// The copy that counts.
pub(super) fn choose(
    path: &str,
    blocks: &[Result<MarkBlock, BlockError>; 2],
) -> Result<MarkBlock, OpenError> {
    for (block, offset) in blocks.iter().zip(MARK_OFFSETS) {
        // A newer program was here: its marks must not be overwritten, whatever the other copy is.
        if let Err(error @ BlockError::Newer { .. }) = block {
            return Err(OpenError::block(path, offset, error));
        }
    }
    match blocks {
        [Ok(first), Ok(second)] if first.sequence == second.sequence && first != second => {
            let reason = format!("both copies have sequence {}, but differ", first.sequence);
            Err(OpenError::corrupt(path, MARK_OFFSETS[1], reason))
        }
        [Ok(first), Ok(second)] if second.sequence > first.sequence => Ok(second.clone()),
        [Ok(first), _] => Ok(first.clone()),
        [_, Ok(second)] => Ok(second.clone()),
        [Err(first), Err(second)] => {
            let reason = format!("no copy of the marks is whole: {first}; {second}");
            Err(OpenError::corrupt(path, MARK_OFFSETS[0], reason))
        }
    }
}
