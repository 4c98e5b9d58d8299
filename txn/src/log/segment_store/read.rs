//! Reading entries back, synced or not.

use std::sync::Arc;

use bytes::Bytes;

use super::{SegmentStore, State, file::LogFile};
use crate::{
    ids::{EntryIndex, Term},
    log::{
        format::{FRAME_HEADER_BYTES, FrameHeader, frame_bytes},
        wal::{ENTRY_BYTES_MAX, Entry, WalError},
    },
};

/// Where a read ended: the next one usually goes on there.
#[derive(Clone, Copy)]
pub(super) struct Cursor {
    sequence: u64,
    index: EntryIndex,
    offset: u64,
}

/// A piece of a read: entries from `index` up to, not including, `end`, all in `file`.
pub(super) struct ReadPlan {
    file: Arc<LogFile>,
    /// The frame at `offset` holds this entry, at or before `index`.
    start: EntryIndex,
    offset: u64,
    index: EntryIndex,
    end: EntryIndex,
}

impl State {
    pub(super) fn plan(&self, index: EntryIndex) -> ReadPlan {
        let at = self.files.partition_point(|file| file.first() <= index);
        let file = &self.files[at.checked_sub(1).expect("index is not below the first file")];
        let end = self.files.get(at).map_or(self.last.index.next(), |next| next.first());
        let (start, offset) = match self.cursor {
            Some(cursor) if cursor.index == index && cursor.sequence == file.identity.sequence => {
                (index, cursor.offset)
            }
            _ => file.offset_before(index),
        };
        ReadPlan { file: Arc::clone(file), start, offset, index, end }
    }
}

impl SegmentStore {
    /// Entries from `from` on, at most about `bytes_max` of bodies, at least one if there is one.
    pub fn read(&self, from: EntryIndex, bytes_max: usize) -> Result<Vec<Entry>, WalError> {
        let mut entries = Vec::new();
        let mut next = from;
        let mut bytes = 0;
        while entries.is_empty() || bytes < bytes_max {
            let plan = {
                let state = self.state.lock();
                if next < state.first {
                    return Err(WalError::Cut { from, first: state.first });
                }
                if next > state.last.index {
                    break;
                }
                state.plan(next)
            };
            let offset = read_entries(&plan, bytes_max - bytes.min(bytes_max), &mut entries)?;
            let last = entries.last().expect("a read gives at least one entry");
            next = last.index.next();
            bytes = entries.iter().map(|entry| entry.body.len()).sum();
            let sequence = plan.file.identity.sequence;
            self.state.lock().cursor = Some(Cursor { sequence, index: next, offset });
        }
        Ok(entries)
    }

    /// Term of an entry, or of the newest one that was cut.
    pub fn term_of(&self, index: EntryIndex) -> Result<Term, WalError> {
        let cut = self.marks.lock().get().cut;
        if index == cut.index {
            return Ok(cut.term);
        }
        let plan = {
            let state = self.state.lock();
            if index == state.last.index {
                return Ok(state.last.term);
            }
            if index < state.first {
                return Err(WalError::Cut { from: index, first: state.first });
            }
            if index > state.last.index {
                let reason = format!("the log ends at {}", state.last.index.0);
                return Err(WalError::Misuse(format!("term of entry {}: {reason}", index.0)));
            }
            state.plan(index)
        };
        let mut entry = Vec::with_capacity(1);
        read_entries(&plan, 0, &mut entry)?;
        Ok(entry[0].term)
    }
}

/// Read the entries of `plan`, at most about `bytes_max` of bodies but at least one; returns the
/// offset behind the last one.
pub(super) fn read_entries(
    plan: &ReadPlan,
    bytes_max: usize,
    entries: &mut Vec<Entry>,
) -> Result<u64, WalError> {
    /// For the frames between the noted offset and the entry asked for, and for frame headers.
    const SLACK_BYTES: usize = 32 << 10;
    let mut offset = plan.offset;
    let mut expected = plan.start;
    let mut taken = 0;
    let mut any = false;
    let mut read_bytes = bytes_max.saturating_add(SLACK_BYTES);
    loop {
        let buffer = read_piece(&plan.file, offset, read_bytes)?;
        let mut at = 0;
        while let Some(header) = frame_at(plan, &buffer, at, offset, expected)? {
            let end = at + header.frame_bytes() as usize;
            if end > buffer.len() {
                break;
            }
            let body_start = at + FRAME_HEADER_BYTES;
            if !header.body_matches(plan.file.seed, &buffer[body_start..end]) {
                let reason = format!("the body of entry {} does not match its CRC32C", expected.0);
                return Err(corrupt(&plan.file, offset + at as u64, &reason));
            }
            if expected >= plan.index {
                let body = buffer.slice(body_start..body_start + header.body_len());
                taken += body.len();
                any = true;
                entries.push(Entry { term: header.id.term, index: expected, body });
            }
            at = end;
            expected = expected.next();
            if expected == plan.end || (any && taken >= bytes_max) {
                return Ok(offset + at as u64);
            }
        }
        offset += at as u64;
        if any {
            return Ok(offset);
        }
        // Not even one whole frame of those asked for: the next piece holds one for sure.
        read_bytes = frame_bytes(ENTRY_BYTES_MAX) + SLACK_BYTES;
    }
}

/// The header of the frame of entry `expected`, `at` bytes into `buffer`, which was read from
/// `offset`; `None` where the buffer ends.
fn frame_at(
    plan: &ReadPlan,
    buffer: &[u8],
    at: usize,
    offset: u64,
    expected: EntryIndex,
) -> Result<Option<FrameHeader>, WalError> {
    let Some(bytes) = buffer[at..].first_chunk::<FRAME_HEADER_BYTES>() else {
        return Ok(None);
    };
    let refuse = |reason: &str| corrupt(&plan.file, offset + at as u64, reason);
    let header = FrameHeader::decode(bytes, plan.file.seed)
        .map_err(|error| refuse(&format!("entry {} is expected, {error}", expected.0)))?;
    if header.id.index != expected || header.body_len() > ENTRY_BYTES_MAX {
        return Err(refuse(&format!(
            "entry {} is expected, entry {} of {} bytes is found",
            expected.0, header.id.index.0, header.body_len
        )));
    }
    Ok(Some(header))
}

fn read_piece(file: &LogFile, offset: u64, bytes: usize) -> Result<Bytes, WalError> {
    let left = file.identity.file_bytes.saturating_sub(offset);
    let mut buffer = vec![0; bytes.min(usize::try_from(left).unwrap_or(usize::MAX))];
    let got = file
        .file
        .read_at(offset, &mut buffer)
        .map_err(|error| WalError::Unreadable(error.to_string()))?;
    if got < FRAME_HEADER_BYTES {
        return Err(corrupt(file, offset, "the file ends"));
    }
    buffer.truncate(got);
    Ok(buffer.into())
}

fn corrupt(file: &LogFile, offset: u64, reason: &str) -> WalError {
    WalError::Corrupt(format!("{} at byte {offset}: {reason}", file.path))
}
