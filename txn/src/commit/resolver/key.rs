//! Compact keys and positions of the resolver.

use std::hash::{BuildHasher, Hasher};

use foldhash::fast::FixedState;

use crate::ids::{EntryIndex, IndexId, LogId, Position, TableId};

/// Keys up to this long are stored in place.
pub(super) const INLINE_KEY_BYTES: usize = 22;

/// The bytes of an encoded key.
#[derive(Debug)]
pub(super) enum Key {
    Inline { len: u8, bytes: [u8; INLINE_KEY_BYTES] },
    Heap(Box<[u8]>),
}

impl Key {
    pub(super) fn new(key: &[u8]) -> Self {
        if key.len() > INLINE_KEY_BYTES {
            return Self::Heap(key.into());
        }
        let mut bytes = [0; INLINE_KEY_BYTES];
        bytes[..key.len()].copy_from_slice(key);
        Self::Inline { len: u8::try_from(key.len()).expect("at most 22"), bytes }
    }

    pub(super) fn as_slice(&self) -> &[u8] {
        match self {
            Self::Inline { len, bytes } => &bytes[..usize::from(*len)],
            Self::Heap(bytes) => bytes,
        }
    }

    pub(super) fn heap_bytes(&self) -> usize {
        match self {
            Self::Inline { .. } => 0,
            // What an allocator adds to a small block, about.
            Self::Heap(bytes) => bytes.len() + 16,
        }
    }
}

pub(super) fn hash_key(hasher: &FixedState, table: TableId, index: IndexId, key: &[u8]) -> u64 {
    let mut hash = hasher.build_hasher();
    hash.write_u64(u64::from(table.0) << 32 | u64::from(index.0));
    hash.write(key);
    hash.finish()
}

/// A position of the one log in 64 bits: 44 of the entry's index, 20 of the ordinal. An entry has
/// less than 2^20 records, being at most 1 MiB long; 2^44 entries are 200 days of a million a
/// second, and 55 years of ten thousand.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) struct Place(u64);

const ORDINAL_BITS: u32 = 20;

impl Place {
    /// Before every record.
    pub(super) const NEVER: Self = Self(0);
    /// After every record.
    pub(super) const FOREVER: Self = Self(u64::MAX);

    pub(super) fn of(position: Position) -> Self {
        let Position { index, ordinal, .. } = position;
        if index.0 >= 1 << (64 - ORDINAL_BITS) || ordinal >= 1 << ORDINAL_BITS {
            // Comes from a message: later than everything, hence refused.
            return Self::FOREVER;
        }
        Self(index.0 << ORDINAL_BITS | u64::from(ordinal))
    }

    pub(super) fn position(self, log: LogId) -> Position {
        let ordinal = self.0 & ((1 << ORDINAL_BITS) - 1);
        let ordinal = u32::try_from(ordinal).expect("20 bits");
        Position::new(log, EntryIndex(self.0 >> ORDINAL_BITS), ordinal)
    }
}
