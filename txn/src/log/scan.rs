//! Reading the frames of one file in order, and judging what comes after the last good one.

use crate::{
    env::{DiskError, DiskFile},
    ids::EntryIndex,
    log::{
        format::{
            DATA_OFFSET, EntryId, FRAME_ALIGNMENT, FRAME_HEADER_BYTES, FrameError, FrameHeader,
            Identity, Seed, padded,
        },
        wal::ENTRY_BYTES_MAX,
    },
};

/// Files are read in pieces of at least this many bytes.
const READ_BYTES: usize = 1 << 20;

/// A file seen through a buffer that moves forward.
struct Window<'f> {
    file: &'f dyn DiskFile,
    file_bytes: u64,
    start: u64,
    buffer: Vec<u8>,
}

impl<'f> Window<'f> {
    fn new(file: &'f dyn DiskFile, file_bytes: u64) -> Self {
        Self { file, file_bytes, start: 0, buffer: Vec::new() }
    }

    /// `len` bytes at `offset`, or as many as there are before the end of the file.
    fn bytes(&mut self, offset: u64, len: usize) -> Result<&[u8], DiskError> {
        let len = len.min(usize::try_from(self.file_bytes.saturating_sub(offset)).unwrap_or(len));
        let end = offset + len as u64;
        if offset < self.start || end > self.start + self.buffer.len() as u64 {
            let left = self.file_bytes.saturating_sub(offset);
            let read = len.max(READ_BYTES).min(usize::try_from(left).unwrap_or(usize::MAX));
            self.buffer.resize(read, 0);
            let got = self.file.read_at(offset, &mut self.buffer)?;
            self.buffer.truncate(got);
            self.start = offset;
        }
        let at = usize::try_from(offset - self.start).expect("within the buffer");
        Ok(&self.buffer[at..(at + len).min(self.buffer.len())])
    }
}

/// Why the frames of a file end where they end.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FrameFault {
    #[error(transparent)]
    Header(#[from] FrameError),
    #[error("the body of entry {} does not match its CRC32C", index.0)]
    Body { index: EntryIndex },
    #[error("entry {} is {bytes} bytes long, which does not fit", index.0)]
    Length { index: EntryIndex, bytes: u64 },
    #[error("entry {} of term {} follows entry {} of term {}",
        found.index.0, found.term.0, previous.index.0, previous.term.0)]
    Order { previous: EntryId, found: EntryId },
    #[error("the file ends")]
    EndOfFile,
}

/// One good frame.
#[derive(Clone, Copy, Debug)]
pub struct ScannedFrame<'a> {
    /// Of the frame's header in the file.
    pub offset: u64,
    pub header: FrameHeader,
    pub body: &'a [u8],
}

/// Walks the frames of one file.
pub struct FrameScan<'f> {
    window: Window<'f>,
    seed: Seed,
    offset: u64,
    previous: EntryId,
}

impl<'f> FrameScan<'f> {
    /// `previous` is the entry before the file's first.
    pub fn new(file: &'f dyn DiskFile, identity: &Identity, previous: EntryId) -> Self {
        Self {
            window: Window::new(file, identity.file_bytes),
            seed: identity.seed(),
            offset: DATA_OFFSET,
            previous,
        }
    }

    /// Where the next frame begins, or the last good one ended.
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// The newest good entry, or the one before the file's first.
    pub fn previous(&self) -> EntryId {
        self.previous
    }

    /// The next frame, or why there is none; after a fault the scan does not move on.
    pub fn next_frame(&mut self) -> Result<Result<ScannedFrame<'_>, FrameFault>, DiskError> {
        let header = match self.header_at(self.offset)? {
            Ok(header) => header,
            Err(fault) => return Ok(Err(fault)),
        };
        let end = self.offset + header.frame_bytes();
        if header.body_len() > ENTRY_BYTES_MAX || end > self.window.file_bytes {
            let bytes = u64::from(header.body_len);
            return Ok(Err(FrameFault::Length { index: header.id.index, bytes }));
        }
        if header.id.index.0.checked_sub(1) != Some(self.previous.index.0)
            || header.id.term < self.previous.term
        {
            let (previous, found) = (self.previous, header.id);
            return Ok(Err(FrameFault::Order { previous, found }));
        }
        let offset = self.offset;
        let body_offset = offset + FRAME_HEADER_BYTES as u64;
        let body = self.window.bytes(body_offset, padded(header.body_len()))?;
        if body.len() < padded(header.body_len()) || !header.body_matches(self.seed, body) {
            return Ok(Err(FrameFault::Body { index: header.id.index }));
        }
        self.previous = header.id;
        self.offset = end;
        Ok(Ok(ScannedFrame { offset, header, body: &body[..header.body_len()] }))
    }

    fn header_at(&mut self, offset: u64) -> Result<Result<FrameHeader, FrameFault>, DiskError> {
        let seed = self.seed;
        let bytes = self.window.bytes(offset, FRAME_HEADER_BYTES)?;
        let Ok(bytes) = <&[u8; FRAME_HEADER_BYTES]>::try_from(bytes) else {
            return Ok(Err(FrameFault::EndOfFile));
        };
        Ok(FrameHeader::decode(bytes, seed).map_err(FrameFault::Header))
    }

    /// Look at everything behind the last good frame.
    pub fn tail(&mut self) -> Result<Tail, DiskError> {
        let start = self.offset;
        let mut tail = Tail { offset: start, used_bytes: 0, stray: None, proof: None };
        let mut offset = start;
        while offset < self.window.file_bytes {
            let piece = self.window.bytes(offset, READ_BYTES)?;
            if piece.is_empty() {
                break;
            }
            let piece_bytes = piece.len() as u64;
            if let Some(last) = piece.iter().rposition(|byte| *byte != 0) {
                tail.used_bytes = offset + last as u64 + 1 - start;
                self.strays_within(offset, offset + piece_bytes, &mut tail)?;
            }
            offset += piece_bytes;
        }
        Ok(tail)
    }

    /// Look for frame headers that begin in `offset .. end`.
    fn strays_within(&mut self, offset: u64, end: u64, tail: &mut Tail) -> Result<(), DiskError> {
        let mut at = offset;
        while at < end && tail.proof.is_none() {
            if let Ok(header) = self.header_at(at)? {
                let stray = Stray { offset: at, entry: header.id, durable: header.durable };
                if stray.durable > self.previous.index {
                    tail.proof = Some(stray.clone());
                }
                tail.stray.get_or_insert(stray);
            }
            at += FRAME_ALIGNMENT as u64;
        }
        Ok(())
    }
}

/// What lies behind the last good frame of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tail {
    /// Where the last good frame ended.
    pub offset: u64,
    /// Bytes from there to the last one that is not zero; 0 when the tail is clean.
    pub used_bytes: u64,
    /// The first frame header found behind.
    pub stray: Option<Stray>,
    /// A frame header behind that was written when the missing entry was already durable: the tail
    /// is no unfinished write, the file is corrupt.
    pub proof: Option<Stray>,
}

/// A frame behind one that is missing or damaged. Its body was not looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stray {
    pub offset: u64,
    pub entry: EntryId,
    pub durable: EntryIndex,
}
