//! The written keys of a commit, kept encoded: a bulk load names millions of them, and each costs
//! its key and about two bytes, on the session's side, in the message and at the leader.
//!
//! ```text
//! write = head u8, [table varint, index varint], [base: log, index, ordinal varint], key bytes
//! head  = mark (bits 0-1) | SAME_INDEX (bit 2) | SAME_BASE (bit 3)
//! ```
//!
//! A bracket is left out when it repeats the write before.

use std::fmt;

use super::{KeyWrite, Mark};
use crate::{
    codec::{DecodeError, Reader, Writer},
    ids::{EntryIndex, IndexId, LogId, Position, TableId},
};

const MARK_BITS: u8 = 0b0011;
const SAME_INDEX: u8 = 0b0100;
const SAME_BASE: u8 = 0b1000;

/// A written key, borrowed from a `KeyWrites`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct KeyWriteRef<'a> {
    pub table: TableId,
    pub index: IndexId,
    pub key: &'a [u8],
    pub mark: Mark,
    pub base: Position,
}

impl<'a> From<&'a KeyWrite> for KeyWriteRef<'a> {
    fn from(write: &'a KeyWrite) -> Self {
        let KeyWrite { table, index, ref key, mark, base } = *write;
        Self { table, index, key, mark, base }
    }
}

/// What a write repeats from the one before it.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
struct Context {
    place: Option<(TableId, IndexId)>,
    base: Option<Position>,
}

/// A list of written keys. Pushing those of one index and one statement together keeps it small.
#[derive(Clone, Default)]
pub struct KeyWrites {
    encoded: Writer,
    count: usize,
    context: Context,
}

impl KeyWrites {
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    #[must_use]
    pub fn len(&self) -> usize {
        self.count
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Bytes held, for memory accounting.
    #[must_use]
    pub fn encoded_len(&self) -> usize {
        self.encoded.len()
    }

    /// Adds a write. A key belongs into one list once, with the mark of its net effect; were it
    /// named twice, both count.
    pub fn push(&mut self, write: KeyWriteRef<'_>) {
        let place = Some((write.table, write.index));
        let base = Some(write.base);
        let mut head = write.mark as u8;
        if place == self.context.place {
            head |= SAME_INDEX;
        }
        if base == self.context.base {
            head |= SAME_BASE;
        }
        self.encoded.u8(head);
        if head & SAME_INDEX == 0 {
            self.encoded.varint(u64::from(write.table.0));
            self.encoded.varint(u64::from(write.index.0));
        }
        if head & SAME_BASE == 0 {
            put_position(&mut self.encoded, write.base);
        }
        self.encoded.bytes(write.key);
        self.context = Context { place, base };
        self.count += 1;
    }

    #[must_use]
    pub fn iter(&self) -> Iter<'_> {
        Iter {
            reader: Reader::new(self.encoded.as_slice()),
            left: self.count,
            context: Context::default(),
        }
    }

    pub(super) fn encode(&self, out: &mut Writer) {
        out.varint(self.count as u64);
        out.bytes(self.encoded.as_slice());
    }

    /// Reads every write once, so that iterating later cannot fail.
    pub(super) fn decode(from: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let count = from.varint()?;
        let encoded = from.bytes()?;
        let mut reader = Reader::new(encoded);
        let mut context = Context::default();
        let mut found = 0_u64;
        while !reader.is_empty() {
            read_write(&mut reader, &mut context)?;
            found += 1;
        }
        if found != count {
            return Err(from.invalid("number of key writes", count));
        }
        let mut copy = Writer::with_capacity(encoded.len());
        copy.raw(encoded);
        Ok(Self { encoded: copy, count: found as usize, context })
    }
}

fn read_write<'a>(
    reader: &mut Reader<'a>,
    context: &mut Context,
) -> Result<KeyWriteRef<'a>, DecodeError> {
    let head = reader.u8()?;
    let mark = match head & MARK_BITS {
        1 => Mark::Added,
        2 => Mark::Removed,
        3 => Mark::Changed,
        _ => return Err(reader.invalid("head of a key write", head.into())),
    };
    if head & !(MARK_BITS | SAME_INDEX | SAME_BASE) != 0 {
        return Err(reader.invalid("head of a key write", head.into()));
    }
    if head & SAME_INDEX == 0 {
        let table = TableId(reader.varint_u32("table")?);
        context.place = Some((table, IndexId(reader.varint_u32("index")?)));
    }
    if head & SAME_BASE == 0 {
        context.base = Some(get_position(reader)?);
    }
    let key = reader.bytes()?;
    match *context {
        Context { place: Some((table, index)), base: Some(base) } => {
            Ok(KeyWriteRef { table, index, key, mark, base })
        }
        _ => Err(reader.invalid("head of a first key write", head.into())),
    }
}

pub(super) fn put_position(out: &mut Writer, position: Position) {
    out.varint(u64::from(position.log.0));
    out.varint(position.index.0);
    out.varint(u64::from(position.ordinal));
}

pub(super) fn get_position(from: &mut Reader<'_>) -> Result<Position, DecodeError> {
    Ok(Position {
        log: LogId(from.varint_u32("log")?),
        index: EntryIndex(from.varint()?),
        ordinal: from.varint_u32("ordinal")?,
    })
}

/// Iterates over a `KeyWrites` in the order of the pushes.
#[derive(Clone)]
pub struct Iter<'a> {
    reader: Reader<'a>,
    left: usize,
    context: Context,
}

impl<'a> Iterator for Iter<'a> {
    type Item = KeyWriteRef<'a>;

    fn next(&mut self) -> Option<KeyWriteRef<'a>> {
        if self.left == 0 {
            return None;
        }
        self.left -= 1;
        let write = read_write(&mut self.reader, &mut self.context);
        Some(write.expect("pushed here, or checked when it was decoded"))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left, Some(self.left))
    }
}

impl ExactSizeIterator for Iter<'_> {}

impl<'a> IntoIterator for &'a KeyWrites {
    type Item = KeyWriteRef<'a>;
    type IntoIter = Iter<'a>;

    fn into_iter(self) -> Iter<'a> {
        self.iter()
    }
}

impl FromIterator<KeyWrite> for KeyWrites {
    fn from_iter<I: IntoIterator<Item = KeyWrite>>(writes: I) -> Self {
        let mut all = Self::new();
        for write in writes {
            all.push((&write).into());
        }
        all
    }
}

impl PartialEq for KeyWrites {
    fn eq(&self, other: &Self) -> bool {
        self.count == other.count && self.encoded.as_slice() == other.encoded.as_slice()
    }
}

impl Eq for KeyWrites {}

impl fmt::Debug for KeyWrites {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}
