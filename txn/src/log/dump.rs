//! Reading a log's folder without changing it: for `glaredb log dump`, and for the curious.
//!
//! Everything is reported as it is found; nothing is refused. Damage in one file does not keep the
//! others from being shown; [`Dump::check`] gives the verdict.

use bytes::Bytes;

pub use super::scan::{FrameFault, Stray, Tail};
use super::{
    error::OpenError,
    format::{Activation, BlockError, EntryId, Identity, MarkBlock},
    marks::{self, MARKS_FILE},
    scan::FrameScan,
    segment_store::{FileHead, examine, parse_file_name},
};
use crate::{
    env::{Disk, DiskError},
    ids::EntryIndex,
};

/// One thing found in the folder, in the order of the files.
#[derive(Debug)]
pub enum Item {
    /// Both copies of the marks.
    Marks { file: String, copies: [Result<MarkBlock, BlockError>; 2] },
    /// A file begins. Its frames follow if it is active, that is if it has an activation block.
    File {
        file: String,
        /// Bytes the file has; `identity` says what it should have.
        bytes: u64,
        identity: Result<Identity, BlockError>,
        /// `Empty` for a spare.
        activation: Result<Activation, BlockError>,
    },
    /// One entry.
    Frame {
        file: String,
        /// Of the frame's header.
        offset: u64,
        id: EntryId,
        /// Newest entry known to be durable when this one was written.
        durable: EntryIndex,
        /// Sequence of the newer file that replaced this entry, if one did.
        replaced_by: Option<u64>,
        body: Bytes,
    },
    /// A file's frames end.
    End { file: String, fault: FrameFault, tail: Tail },
}

/// A log's folder.
pub struct Dump<'d> {
    disk: &'d dyn Disk,
    directory: String,
    /// Names of the log files, oldest first.
    files: Vec<String>,
    has_marks: bool,
}

impl<'d> Dump<'d> {
    /// Look at `directory`; nothing in it is changed, also later.
    pub fn open(disk: &'d dyn Disk, directory: &str) -> Result<Self, DiskError> {
        let names = disk.list(directory)?;
        Ok(Self {
            disk,
            directory: directory.to_owned(),
            has_marks: names.iter().any(|name| name == MARKS_FILE),
            files: names.into_iter().filter(|name| parse_file_name(name).is_some()).collect(),
        })
    }

    /// Show everything to `visit`, which may stop with an error of its own.
    pub fn visit<E: From<DiskError>>(
        &self,
        visit: &mut dyn FnMut(Item) -> Result<(), E>,
    ) -> Result<(), E> {
        if self.has_marks {
            let file = self.disk.open_read_only(&self.path(MARKS_FILE))?;
            let copies = marks::read_blocks(&*file)?;
            visit(Item::Marks { file: MARKS_FILE.to_owned(), copies })?;
        }
        let heads = self
            .files
            .iter()
            .map(|name| FileHead::read(&*self.disk.open_read_only(&self.path(name))?))
            .collect::<Result<Vec<_>, _>>()?;
        for (at, name) in self.files.iter().enumerate() {
            self.visit_file(name, &heads[at..], visit)?;
        }
        Ok(())
    }

    /// What opening the log would say: the verdict on all that `visit` shows. A tail that a crash
    /// explains is fine.
    pub fn check(&self) -> Result<(), OpenError> {
        examine(self.disk, &self.directory)
    }

    fn path(&self, name: &str) -> String {
        format!("{}/{name}", self.directory)
    }

    /// `heads` begins with that of file `name`; those of newer files follow.
    fn visit_file<E: From<DiskError>>(
        &self,
        name: &str,
        heads: &[FileHead],
        visit: &mut dyn FnMut(Item) -> Result<(), E>,
    ) -> Result<(), E> {
        let (head, newer) = heads.split_first().expect("the file's own head is there");
        let file = self.disk.open_read_only(&self.path(name))?;
        visit(Item::File {
            file: name.to_owned(),
            bytes: file.len()?,
            identity: head.identity.clone(),
            activation: head.activation.clone(),
        })?;
        let (Ok(identity), Ok(activation)) = (&head.identity, &head.activation) else {
            return Ok(());
        };
        // Newer active files: sequence and first entry.
        let newer: Vec<(u64, EntryIndex)> = newer
            .iter()
            .filter_map(|head| {
                let sequence = head.identity.as_ref().ok()?.sequence;
                Some((sequence, head.activation.as_ref().ok()?.first))
            })
            .collect();
        let previous = EntryId::new(activation.previous_term, EntryIndex(activation.first.0 - 1));
        let mut scan = FrameScan::new(&*file, identity, previous);
        loop {
            match scan.next_frame()? {
                Ok(frame) => visit(Item::Frame {
                    file: name.to_owned(),
                    offset: frame.offset,
                    id: frame.header.id,
                    durable: frame.header.durable,
                    replaced_by: newer
                        .iter()
                        .find(|(_, first)| *first <= frame.header.id.index)
                        .map(|(sequence, _)| *sequence),
                    body: Bytes::copy_from_slice(frame.body),
                })?,
                Err(fault) => {
                    let (file, tail) = (name.to_owned(), scan.tail()?);
                    return visit(Item::End { file, fault, tail });
                }
            }
        }
    }
}
