//! The written keys of a large commit, as filters: who writes more keys than [`BULK_KEYS`] need not
//! name them one by one. A filter says of a key whether it may be among them, so what meets a set is
//! perhaps no conflict; that is for the sender to find out, who knows the keys.
//!
//! ```text
//! key set   table 7, index 0, added, base 12/0
//! groups    [ "aab" … "fzz" filter ][ "gaa" … "pqr" filter ] …     ascending, each up to some 100,000 keys
//! ```

use bytes::Bytes;

use super::{
    Mark,
    key_writes::{get_position, put_position},
};
use crate::{
    codec::{DecodeError, Reader, Writer},
    ids::{IndexId, Position, TableId},
    key_filter::{KeyFilter, key_hash},
};

/// From so many keys on a commit should bring sets: naming them costs everybody time and memory.
pub const BULK_KEYS: usize = 16_384;

/// Many keys of one index that a commit wrote with one effect.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct KeySet {
    pub table: TableId,
    pub index: IndexId,
    pub mark: Mark,
    /// As that of a [`KeyWrite`](super::KeyWrite): of all its keys. Where they were looked up under several snapshots, the
    /// oldest.
    pub base: Position,
    /// Ascending: the first key of a group is not below the last one of the group before. Not empty.
    pub groups: Vec<KeyGroup>,
}

/// Some keys of a [`KeySet`].
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct KeyGroup {
    /// No key is below it.
    pub first: Bytes,
    /// No key is above it.
    pub last: Bytes,
    /// Over the hashes ([`key_hash`]) of all of them.
    pub filter: KeyFilter,
}

impl KeyGroup {
    /// A group of these keys; `None`: there is none.
    #[must_use]
    pub fn of<'k>(keys: impl IntoIterator<Item = &'k [u8]>) -> Option<Self> {
        let mut hashes = Vec::new();
        let mut fences: Option<(&[u8], &[u8])> = None;
        for key in keys {
            hashes.push(key_hash(key));
            let (first, last) = fences.unwrap_or((key, key));
            fences = Some((first.min(key), last.max(key)));
        }
        let (first, last) = fences?;
        let (first, last) = (Bytes::copy_from_slice(first), Bytes::copy_from_slice(last));
        Some(Self { first, last, filter: KeyFilter::build(hashes) })
    }

    /// May the key be in it? `false` is certain. `hash`: the key's [`key_hash`].
    #[must_use]
    pub fn may_contain(&self, key: &[u8], hash: u64) -> bool {
        self.spans(key) && self.filter.may_contain(hash)
    }

    /// Is the key between its fences?
    #[must_use]
    pub fn spans(&self, key: &[u8]) -> bool {
        *self.first <= *key && key <= &*self.last
    }
}

impl KeySet {
    /// May the key be in it? `false` is certain.
    #[must_use]
    pub fn may_contain(&self, key: &[u8]) -> bool {
        let behind = self.groups.partition_point(|group| *group.last < *key);
        let mut candidates = self.groups[behind..].iter().take_while(|group| group.spans(key));
        match candidates.next() {
            None => false,
            Some(group) => {
                let hash = key_hash(key);
                group.filter.may_contain(hash)
                    || candidates.any(|group| group.filter.may_contain(hash))
            }
        }
    }

    /// Its least and its greatest key at most.
    #[must_use]
    pub fn fences(&self) -> (&[u8], &[u8]) {
        match (self.groups.first(), self.groups.last()) {
            (Some(first), Some(last)) => (&first.first, &last.last),
            _ => (&[], &[]),
        }
    }

    /// Bytes held, about.
    #[must_use]
    pub fn memory_bytes(&self) -> usize {
        let group = |group: &KeyGroup| {
            group.first.len()
                + group.last.len()
                + group.filter.memory_bytes()
                + size_of::<KeyGroup>()
        };
        size_of::<Self>() + self.groups.iter().map(group).sum::<usize>()
    }

    pub(super) fn encode(&self, out: &mut Writer) {
        let Self { table, index, mark, base, groups } = self;
        out.varint(table.0.into()).varint(index.0.into()).u8(*mark as u8);
        put_position(out, *base);
        out.varint(groups.len() as u64);
        for KeyGroup { first, last, filter } in groups {
            out.bytes(first).bytes(last);
            filter.encode(out);
        }
    }

    /// Fences and filters share the input's memory.
    pub(super) fn decode(from: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let table = TableId(from.varint_u32("table")?);
        let index = IndexId(from.varint_u32("index")?);
        let mark = match from.u8()? {
            1 => Mark::Added,
            2 => Mark::Removed,
            3 => Mark::Changed,
            other => return Err(from.invalid("mark of a key set", other.into())),
        };
        let base = get_position(from)?;
        let count = from.count(5)?;
        let mut groups: Vec<KeyGroup> = Vec::with_capacity(count);
        for _ in 0..count {
            let (first, last) = (from.shared()?, from.shared()?);
            let behind = groups.last().is_none_or(|before| before.last <= first);
            if first > last || !behind {
                return Err(from.invalid("fence of a key set", groups.len() as u64));
            }
            groups.push(KeyGroup { first, last, filter: KeyFilter::decode(from)? });
        }
        if groups.is_empty() {
            return Err(from.invalid("number of groups of a key set", 0));
        }
        Ok(Self { table, index, mark, base, groups })
    }
}
