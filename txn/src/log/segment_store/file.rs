//! One file of the log.

use std::sync::Arc;

use parking_lot::Mutex;

use crate::{
    env::{DiskError, DiskFile},
    ids::EntryIndex,
    log::{
        error::OpenError,
        format::{
            ACTIVATION_OFFSET, Activation, BLOCK_BYTES, BlockError, DATA_OFFSET, EntryId,
            IDENTITY_OFFSET, Identity, Seed,
        },
    },
};

/// An entry's offset is noted once in so many bytes.
const INDEX_STEP_BYTES: u64 = 16 << 10;

/// Name of the file with `sequence`, in the log's directory.
pub(super) fn file_name(sequence: u64) -> String {
    format!("{sequence:020}.log")
}

/// The sequence in a file's name; `None` if it is no log file.
pub(crate) fn parse_file_name(name: &str) -> Option<u64> {
    let digits = name.strip_suffix(".log")?;
    if digits.len() != 20 || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    digits.parse().ok()
}

/// A file that was prepared: its identity block is durable, the rest is zeros.
pub(super) struct PreparedFile {
    pub(super) path: String,
    pub(super) file: Arc<dyn DiskFile>,
    pub(super) identity: Identity,
}

/// A file that holds, or is about to hold, entries.
pub(super) struct LogFile {
    pub(super) path: String,
    pub(super) file: Arc<dyn DiskFile>,
    pub(super) identity: Identity,
    pub(super) seed: Seed,
    pub(super) activation: Activation,
    offsets: Mutex<Vec<(EntryIndex, u64)>>,
}

/// What the blocks at the begin of a file say.
pub(crate) struct FileHead {
    pub(crate) identity: Result<Identity, BlockError>,
    /// `Empty` when the file is a spare, or its identity is unknown.
    pub(crate) activation: Result<Activation, BlockError>,
}

impl FileHead {
    pub(crate) fn read(file: &dyn DiskFile) -> Result<Self, DiskError> {
        let mut bytes = [0; BLOCK_BYTES];
        let got = file.read_at(IDENTITY_OFFSET, &mut bytes)?;
        let identity = Identity::decode(&bytes[..got]);
        let got = file.read_at(ACTIVATION_OFFSET, &mut bytes)?;
        let activation = match &identity {
            Ok(identity) => Activation::decode(&bytes[..got], identity),
            Err(_) => Err(BlockError::Empty),
        };
        Ok(Self { identity, activation })
    }
}

impl PreparedFile {
    pub(super) fn activate(self, activation: Activation) -> LogFile {
        LogFile {
            seed: self.identity.seed(),
            path: self.path,
            file: self.file,
            identity: self.identity,
            activation,
            offsets: Mutex::new(Vec::new()),
        }
    }

    /// Check size and identity of a file found in the log's directory.
    pub(super) fn check(
        file: Arc<dyn DiskFile>,
        path: String,
        sequence: u64,
    ) -> Result<(Self, Result<Activation, BlockError>), OpenError> {
        let head = FileHead::read(&*file)?;
        let identity =
            head.identity.map_err(|error| OpenError::block(&path, IDENTITY_OFFSET, &error))?;
        if identity.sequence != sequence {
            let reason = format!("its identity says file {}", identity.sequence);
            return Err(OpenError::corrupt(&path, IDENTITY_OFFSET, reason));
        }
        let len = file.len()?;
        if len != identity.file_bytes {
            // The size was durable before the first entry: no crash explains another one.
            let reason =
                format!("the file should have {} bytes, it has {len}", identity.file_bytes);
            return Err(OpenError::corrupt(&path, len.min(identity.file_bytes), reason));
        }
        Ok((Self { path, file, identity }, head.activation))
    }
}

impl LogFile {
    /// The entry before the first one of this file.
    pub(super) fn previous(&self) -> EntryId {
        let index = EntryIndex(self.activation.first.0 - 1);
        EntryId::new(self.activation.previous_term, index)
    }

    pub(super) fn first(&self) -> EntryIndex {
        self.activation.first
    }

    /// Note where an entry begins; entries come in order.
    pub(super) fn note(&self, index: EntryIndex, offset: u64) {
        let mut offsets = self.offsets.lock();
        if offsets.last().is_none_or(|(_, last)| offset >= last + INDEX_STEP_BYTES) {
            offsets.push((index, offset));
        }
    }

    /// Where reading must begin to meet entry `index`: an entry at or before it, and its offset.
    pub(super) fn offset_before(&self, index: EntryIndex) -> (EntryIndex, u64) {
        let offsets = self.offsets.lock();
        match offsets.partition_point(|(noted, _)| *noted <= index) {
            0 => (self.first(), DATA_OFFSET),
            at => offsets[at - 1],
        }
    }
}
