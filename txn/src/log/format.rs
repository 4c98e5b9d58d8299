//! The bytes of the log's files; `docs/formats/log.md` describes them one by one and golden files
//! pin them. Pure functions: nothing here does I/O.
//!
//! ```text
//! file     0    identity block     magic, database, log, file sequence, size, salt
//!          512  activation block   first index, entry before it; zeros while the file is a spare
//!          4096 frame frame frame … zeros
//! frame    40 bytes header, body, zeros up to a multiple of 8
//! marks    0    mark block, 4096 the same again
//! ```
//!
//! Checksums of frames are seeded with the identity block, whose salt is random: bytes that lay in
//! another file, or in this one's previous life, or in a user's row, never pass for a frame.

use crate::{
    codec::{DecodeError, Reader, Writer},
    ids::{DatabaseId, EntryIndex, LogId, Term},
};

/// Version of all formats here.
pub const FORMAT_VERSION: u32 = 1;
/// A block is written in one sector, so that it is torn as rarely as hardware allows.
pub const BLOCK_BYTES: usize = 512;
pub const IDENTITY_OFFSET: u64 = 0;
pub const ACTIVATION_OFFSET: u64 = 512;
/// Where frames begin.
pub const DATA_OFFSET: u64 = 4096;
pub const FRAME_HEADER_BYTES: usize = 40;
/// Frames begin at multiples of this many bytes.
pub const FRAME_ALIGNMENT: usize = 8;
pub const MARK_OFFSETS: [u64; 2] = [0, 4096];
pub const MARKS_FILE_BYTES: u64 = 4096 + BLOCK_BYTES as u64;

/// No index or term exceeds this: one can always be added.
const NUMBER_MAX: u64 = u64::MAX >> 1;

const IDENTITY_MAGIC: &[u8; 8] = b"GLARELOG";
const ACTIVATION_MAGIC: &[u8; 8] = b"GLAREACT";
const MARKS_MAGIC: &[u8; 8] = b"GLAREMRK";
/// Magic, version, payload length, checksum.
const BLOCK_HEADER_BYTES: usize = 20;

/// Term and index of an entry; together they name it for ever.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Debug)]
pub struct EntryId {
    pub term: Term,
    pub index: EntryIndex,
}

impl EntryId {
    /// Before the first entry.
    pub const ZERO: Self = Self { term: Term(0), index: EntryIndex(0) };

    #[must_use]
    pub const fn new(term: Term, index: EntryIndex) -> Self {
        Self { term, index }
    }
}

/// Why a block is not what it should be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BlockError {
    /// Nothing was ever written here.
    #[error("the block is empty")]
    Empty,
    #[error("the block does not begin with {}", String::from_utf8_lossy(&expected[..]))]
    Magic { expected: [u8; 8] },
    #[error("the block's CRC32C is {found:08x}, its content's is {computed:08x}")]
    Checksum { found: u32, computed: u32 },
    #[error("the block is cut off after {0} bytes")]
    Truncated(usize),
    /// The block is whole, a newer program wrote it.
    #[error("format version {found} is newer than {FORMAT_VERSION}")]
    Newer { found: u32 },
    /// The block is whole and of this version, but makes no sense.
    #[error("the block's content is wrong {0}")]
    Content(#[from] DecodeError),
}

/// A block: magic (8), version (u32), payload length (u32), CRC32C of version, length and payload
/// (u32), payload, zeros. Every later version keeps this envelope.
fn encode_block(magic: &[u8; 8], payload: &[u8]) -> [u8; BLOCK_BYTES] {
    let mut head = Writer::new();
    head.u32(FORMAT_VERSION).u32(payload.len() as u32);
    let checksum = crc32c::crc32c_append(crc32c::crc32c(head.as_slice()), payload);
    let mut writer = Writer::new();
    writer.raw(magic).raw(head.as_slice()).u32(checksum).raw(payload);
    let mut block = [0; BLOCK_BYTES];
    block[..writer.len()].copy_from_slice(writer.as_slice());
    block
}

/// The payload of a block, its bytes beyond `BLOCK_BYTES` ignored.
fn decode_block<'a>(magic: &[u8; 8], block: &'a [u8]) -> Result<&'a [u8], BlockError> {
    let block = &block[..block.len().min(BLOCK_BYTES)];
    if block.iter().all(|byte| *byte == 0) {
        return Err(BlockError::Empty);
    }
    if block.len() < BLOCK_BYTES {
        return Err(BlockError::Truncated(block.len()));
    }
    if &block[..8] != magic {
        return Err(BlockError::Magic { expected: *magic });
    }
    let mut reader = Reader::new(&block[8..BLOCK_HEADER_BYTES]);
    let (version, len, found) = (reader.u32()?, reader.u32()?, reader.u32()?);
    let len = usize::try_from(len).unwrap_or(usize::MAX).min(BLOCK_BYTES - BLOCK_HEADER_BYTES);
    let payload = &block[BLOCK_HEADER_BYTES..BLOCK_HEADER_BYTES + len];
    let computed = crc32c::crc32c_append(crc32c::crc32c(&block[8..16]), payload);
    if computed != found {
        return Err(BlockError::Checksum { found, computed });
    }
    if version > FORMAT_VERSION {
        return Err(BlockError::Newer { found: version });
    }
    Ok(payload)
}

fn number(reader: &mut Reader<'_>, what: &'static str) -> Result<u64, DecodeError> {
    match reader.u64()? {
        value @ ..=NUMBER_MAX => Ok(value),
        value => Err(reader.invalid(what, value)),
    }
}

/// What a file is: written once, when the file is prepared.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    pub database_id: DatabaseId,
    pub log_id: LogId,
    /// Order of the files of a log; never reused by another live file. Also the file's name.
    pub sequence: u64,
    /// Size of the file, which never changes.
    pub file_bytes: u64,
    /// Random.
    pub salt: u64,
}

impl Identity {
    pub fn encode(&self) -> [u8; BLOCK_BYTES] {
        encode_block(IDENTITY_MAGIC, self.payload().as_slice())
    }

    pub fn decode(block: &[u8]) -> Result<Self, BlockError> {
        let mut reader = Reader::new(decode_block(IDENTITY_MAGIC, block)?);
        let identity = Self {
            database_id: DatabaseId(reader.u128()?),
            log_id: LogId(reader.u32()?),
            sequence: reader.u64()?,
            file_bytes: reader.u64()?,
            salt: reader.u64()?,
        };
        if identity.file_bytes < DATA_OFFSET {
            return Err(reader.invalid("file size", identity.file_bytes).into());
        }
        reader.finish()?;
        Ok(identity)
    }

    fn payload(&self) -> Writer {
        let mut writer = Writer::new();
        writer
            .u128(self.database_id.0)
            .u32(self.log_id.0)
            .u64(self.sequence)
            .u64(self.file_bytes)
            .u64(self.salt);
        writer
    }

    /// What the checksums of this file's frames start from.
    pub fn seed(&self) -> Seed {
        Seed(crc32c::crc32c(self.payload().as_slice()))
    }
}

/// Start value of the checksums of one file's frames.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Seed(pub u32);

/// Where a file stands in the log: written once, when the file takes its first entry. A file that
/// begins at or below an entry of an older file replaces that entry and all after it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Activation {
    /// Index of the file's first entry, present or still to come.
    pub first: EntryIndex,
    /// Term of the entry before it; 0 for the first of a log.
    pub previous_term: Term,
}

impl Activation {
    /// `identity` binds the block to its file.
    pub fn encode(&self, identity: &Identity) -> [u8; BLOCK_BYTES] {
        let mut writer = Writer::new();
        writer
            .u64(identity.sequence)
            .u64(identity.salt)
            .u64(self.first.0)
            .u64(self.previous_term.0);
        encode_block(ACTIVATION_MAGIC, writer.as_slice())
    }

    /// `Empty` when the file is a spare.
    pub fn decode(block: &[u8], identity: &Identity) -> Result<Self, BlockError> {
        let mut reader = Reader::new(decode_block(ACTIVATION_MAGIC, block)?);
        let (sequence, salt) = (reader.u64()?, reader.u64()?);
        if sequence != identity.sequence || salt != identity.salt {
            return Err(reader.invalid("file sequence of the activation block", sequence).into());
        }
        let first = number(&mut reader, "first index")?;
        if first == 0 {
            return Err(reader.invalid("first index", first).into());
        }
        let previous_term = Term(number(&mut reader, "term")?);
        reader.finish()?;
        Ok(Self { first: EntryIndex(first), previous_term })
    }
}

/// Whom this replica voted for, in raft's terms. On one node only `term` matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Vote {
    pub term: Term,
    pub node: u64,
    /// A quorum granted it.
    pub committed: bool,
}

/// What the log keeps beside its entries.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Marks {
    pub vote: Vote,
    /// Entries up to here are known to be durable and will never be truncated; it may trail.
    pub committed: EntryIndex,
    /// Newest entry that was cut from the front.
    pub cut: EntryId,
    /// Sequence of the newest file that was begun when the marks were written: it, or a newer one,
    /// must be there.
    pub newest_file: u64,
}

/// One of the two copies of the marks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MarkBlock {
    pub database_id: DatabaseId,
    pub log_id: LogId,
    /// Grows by one with every change; the copy with the higher number counts.
    pub sequence: u64,
    pub marks: Marks,
}

impl MarkBlock {
    pub fn encode(&self) -> [u8; BLOCK_BYTES] {
        let Marks { vote, committed, cut, newest_file } = &self.marks;
        let mut writer = Writer::new();
        writer.u128(self.database_id.0).u32(self.log_id.0).u64(self.sequence);
        writer.u64(vote.term.0).u64(vote.node).bool(vote.committed);
        writer.u64(committed.0).u64(cut.term.0).u64(cut.index.0).u64(*newest_file);
        encode_block(MARKS_MAGIC, writer.as_slice())
    }

    pub fn decode(block: &[u8]) -> Result<Self, BlockError> {
        let mut reader = Reader::new(decode_block(MARKS_MAGIC, block)?);
        let block = Self {
            database_id: DatabaseId(reader.u128()?),
            log_id: LogId(reader.u32()?),
            sequence: reader.u64()?,
            marks: Marks {
                vote: Vote {
                    term: Term(number(&mut reader, "term")?),
                    node: reader.u64()?,
                    committed: reader.bool()?,
                },
                committed: EntryIndex(number(&mut reader, "committed index")?),
                cut: EntryId::new(
                    Term(number(&mut reader, "term")?),
                    EntryIndex(number(&mut reader, "cut index")?),
                ),
                newest_file: reader.u64()?,
            },
        };
        reader.finish()?;
        Ok(block)
    }
}

/// Head of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FrameHeader {
    pub body_len: u32,
    pub id: EntryId,
    /// Newest entry known to be durable when this one was written. A damaged entry at or below the
    /// `durable` of a later frame was no unfinished write: that is what tells corruption from a torn
    /// tail.
    pub durable: EntryIndex,
    /// CRC32C of body and padding, seeded.
    pub body_checksum: u32,
}

/// Bytes that body and padding take.
pub const fn padded(body_len: usize) -> usize {
    body_len.next_multiple_of(FRAME_ALIGNMENT)
}

/// Bytes that a whole frame takes.
pub const fn frame_bytes(body_len: usize) -> usize {
    FRAME_HEADER_BYTES + padded(body_len)
}

/// Append a whole frame to `buffer`.
pub fn encode_frame(
    buffer: &mut Vec<u8>,
    seed: Seed,
    id: EntryId,
    durable: EntryIndex,
    body: &[u8],
) {
    let start = buffer.len();
    buffer.extend_from_slice(&[0; FRAME_HEADER_BYTES]);
    buffer.extend_from_slice(body);
    buffer.resize(start + frame_bytes(body.len()), 0);
    let body_checksum = crc32c::crc32c_append(seed.0, &buffer[start + FRAME_HEADER_BYTES..]);
    let header = &mut buffer[start..start + FRAME_HEADER_BYTES];
    header[4..8].copy_from_slice(&(body.len() as u32).to_le_bytes());
    header[8..16].copy_from_slice(&id.index.0.to_le_bytes());
    header[16..24].copy_from_slice(&id.term.0.to_le_bytes());
    header[24..32].copy_from_slice(&durable.0.to_le_bytes());
    header[32..36].copy_from_slice(&body_checksum.to_le_bytes());
    let checksum = crc32c::crc32c_append(seed.0, &header[4..]);
    header[..4].copy_from_slice(&checksum.to_le_bytes());
}

/// Why bytes are no frame header.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// Zeros: nothing was written here.
    #[error("there is no frame")]
    Empty,
    #[error("the frame header's CRC32C is {found:08x}, its content's is {computed:08x}")]
    Checksum { found: u32, computed: u32 },
    #[error("the frame header names index {index} and term {term}, which are out of range")]
    Range { index: u64, term: u64 },
}

impl FrameHeader {
    /// Decode the first `FRAME_HEADER_BYTES` of `bytes`, which must be there.
    pub fn decode(bytes: &[u8; FRAME_HEADER_BYTES], seed: Seed) -> Result<Self, FrameError> {
        if bytes.iter().all(|byte| *byte == 0) {
            return Err(FrameError::Empty);
        }
        let u32_at = |at: usize| u32::from_le_bytes([0, 1, 2, 3].map(|i| bytes[at + i]));
        let u64_at =
            |at: usize| u64::from_le_bytes([0, 1, 2, 3, 4, 5, 6, 7].map(|i| bytes[at + i]));
        let found = u32_at(0);
        let computed = crc32c::crc32c_append(seed.0, &bytes[4..]);
        if found != computed {
            return Err(FrameError::Checksum { found, computed });
        }
        let (index, term) = (u64_at(8), u64_at(16));
        if index > NUMBER_MAX || term > NUMBER_MAX {
            return Err(FrameError::Range { index, term });
        }
        Ok(Self {
            body_len: u32_at(4),
            id: EntryId::new(Term(term), EntryIndex(index)),
            durable: EntryIndex(u64_at(24)),
            body_checksum: u32_at(32),
        })
    }

    /// Bytes of the body without padding.
    pub fn body_len(&self) -> usize {
        // u32 fits usize on every platform this runs on.
        self.body_len as usize
    }

    /// Bytes of the whole frame.
    pub fn frame_bytes(&self) -> u64 {
        FRAME_HEADER_BYTES as u64 + u64::from(self.body_len).next_multiple_of(8)
    }

    /// Is `padded_body`, body and padding, what was written?
    pub fn body_matches(&self, seed: Seed, padded_body: &[u8]) -> bool {
        crc32c::crc32c_append(seed.0, padded_body) == self.body_checksum
    }
}
