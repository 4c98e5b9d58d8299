//! One file of the simulated disk: what is seen, and what would survive.

use std::collections::BTreeMap;

use super::SECTOR_BYTES;
use crate::sim::random::Rng;

#[derive(Default)]
pub(super) struct Inode {
    content: Vec<u8>,
    durable: Vec<u8>,
    /// Since the last sync, in order.
    unsynced: Vec<Change>,
    allocated_bytes: u64,
}

enum Change {
    Write { offset: usize, bytes: Vec<u8> },
    SetLen(usize),
}

/// How much of the unsynced writes a power cut takes.
#[derive(Clone, Copy, Debug)]
pub(super) enum LossManner {
    All,
    Nothing,
    /// A prefix of the writes survives, the last of it torn.
    InOrder,
    /// Each sector is found as it was after any number of its writes.
    AnySector,
}

impl LossManner {
    pub(super) fn draw(rng: &mut Rng) -> Self {
        match rng.below(6) {
            0 => Self::All,
            1 => Self::Nothing,
            2 | 3 => Self::InOrder,
            _ => Self::AnySector,
        }
    }
}

fn write_into(target: &mut Vec<u8>, offset: usize, bytes: &[u8]) {
    let end = offset + bytes.len();
    if target.len() < end {
        target.resize(end, 0);
    }
    target[offset..end].copy_from_slice(bytes);
}

/// The pieces of a write, cut at sector boundaries: sector, offset, bytes.
fn sectors(offset: usize, bytes: &[u8]) -> impl Iterator<Item = (usize, usize, &[u8])> {
    let mut at = 0;
    std::iter::from_fn(move || {
        if at == bytes.len() {
            return None;
        }
        let start = offset + at;
        let sector = start / SECTOR_BYTES;
        let len = ((sector + 1) * SECTOR_BYTES - start).min(bytes.len() - at);
        let piece = (sector, start, &bytes[at..at + len]);
        at += len;
        Some(piece)
    })
}

impl Change {
    fn apply(&self, target: &mut Vec<u8>) {
        match self {
            Self::Write { offset, bytes } => write_into(target, *offset, bytes),
            Self::SetLen(len) => target.resize(*len, 0),
        }
    }
}

impl Inode {
    pub(super) fn content(&self) -> &[u8] {
        &self.content
    }

    /// Bytes of space that a write up to `end` needs anew.
    pub(super) fn growth(&self, end: u64) -> u64 {
        end.saturating_sub(self.allocated_bytes)
    }

    pub(super) fn allocated_bytes(&self) -> u64 {
        self.allocated_bytes
    }

    pub(super) fn read(&self, offset: u64, buffer: &mut [u8]) -> usize {
        let offset = usize::try_from(offset).unwrap_or(usize::MAX).min(self.content.len());
        let len = buffer.len().min(self.content.len() - offset);
        buffer[..len].copy_from_slice(&self.content[offset..offset + len]);
        len
    }

    pub(super) fn write(&mut self, offset: u64, bytes: &[u8]) {
        let offset = usize::try_from(offset).expect("a simulated file fits memory");
        write_into(&mut self.content, offset, bytes);
        self.unsynced.push(Change::Write { offset, bytes: bytes.to_vec() });
        self.allocated_bytes = self.allocated_bytes.max((offset + bytes.len()) as u64);
    }

    pub(super) fn set_len(&mut self, len: u64) {
        let len = usize::try_from(len).expect("a simulated file fits memory");
        self.content.resize(len, 0);
        self.unsynced.push(Change::SetLen(len));
        self.allocated_bytes = self.allocated_bytes.min(len as u64);
    }

    pub(super) fn sync(&mut self) {
        for change in self.unsynced.drain(..) {
            change.apply(&mut self.durable);
        }
    }

    /// Part of what was not synced becomes durable, the rest never will.
    pub(super) fn fail_sync(&mut self, rng: &mut Rng, manner: LossManner) {
        self.settle(rng, manner);
    }

    /// What a power cut leaves.
    pub(super) fn lose_unsynced(&mut self, rng: &mut Rng, manner: LossManner) {
        self.settle(rng, manner);
        self.content = self.durable.clone();
        self.allocated_bytes = self.content.len() as u64;
    }

    pub(super) fn damage(&mut self, change: impl FnOnce(&mut Vec<u8>)) {
        self.sync();
        change(&mut self.durable);
        self.content = self.durable.clone();
    }

    fn settle(&mut self, rng: &mut Rng, manner: LossManner) {
        let unsynced = std::mem::take(&mut self.unsynced);
        match manner {
            LossManner::All => {}
            LossManner::Nothing => unsynced.iter().for_each(|c| c.apply(&mut self.durable)),
            LossManner::InOrder => {
                let kept = rng.index(unsynced.len() + 1);
                for (at, change) in unsynced.iter().enumerate().take(kept) {
                    match change {
                        Change::Write { offset, bytes } if at + 1 == kept => {
                            let pieces = sectors(*offset, bytes).count();
                            let arrived = rng.index(pieces + 1);
                            for (_, start, piece) in sectors(*offset, bytes).take(arrived) {
                                write_into(&mut self.durable, start, piece);
                            }
                        }
                        _ => change.apply(&mut self.durable),
                    }
                }
            }
            LossManner::AnySector => self.settle_sectors(rng, &unsynced),
        }
    }

    fn settle_sectors(&mut self, rng: &mut Rng, unsynced: &[Change]) {
        let mut writes = BTreeMap::<usize, usize>::new();
        for change in unsynced {
            if let Change::Write { offset, bytes } = change {
                for (sector, _, _) in sectors(*offset, bytes) {
                    *writes.entry(sector).or_default() += 1;
                }
            }
        }
        // How many of a sector's writes arrived.
        let mut arrived: BTreeMap<usize, usize> =
            writes.into_iter().map(|(sector, count)| (sector, rng.index(count + 1))).collect();
        for change in unsynced {
            match change {
                Change::Write { offset, bytes } => {
                    for (sector, start, piece) in sectors(*offset, bytes) {
                        let left = arrived.get_mut(&sector).expect("counted above");
                        if *left > 0 {
                            *left -= 1;
                            write_into(&mut self.durable, start, piece);
                        }
                    }
                }
                Change::SetLen(_) => {
                    if rng.chance(1, 2) {
                        change.apply(&mut self.durable);
                    }
                }
            }
        }
    }
}
