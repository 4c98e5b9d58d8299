//! What every log must do, checked. An implementation passes if the suite returns; a violation
//! panics with what was seen.
//!
//! [`wal`] checks the [`Wal`](super::wal::Wal) contract and is generic over a harness, so that the
//! log of one node and the replicated one run the same suite; [`segment_store`] checks what the
//! segment store promises beyond it.

mod segment_store;
mod wal;

use std::sync::Arc;

use super::{segment_store::SegmentStore, wal::Wal};

pub use self::{segment_store::segment_store, wal::wal};

/// One log under test, with the machine it lives on.
pub trait WalHarness {
    /// Open the log, or open it again; the suite has dropped every earlier handle.
    fn open(&mut self) -> Arc<dyn Wal>;

    /// End the process hard while handles are open: with a power cut where the harness can, by
    /// forgetting everything in memory otherwise.
    fn crash(&mut self);

    /// Take all space away (true), or give it back. False if the harness cannot.
    fn set_full(&mut self, full: bool) -> bool {
        let _ = full;
        false
    }

    /// Let the next sync fail with an input/output error. False if the harness cannot.
    fn fail_next_sync(&mut self) -> bool {
        false
    }

    /// Entries are small and files smaller still under test: the greatest body the log takes.
    fn entry_bytes_max(&self) -> usize;
}

/// As [`WalHarness`], for the segment store.
pub trait StoreHarness {
    fn open(&mut self) -> SegmentStore;

    fn crash(&mut self);
}

/// A body that tells which entry it is of.
fn body(index: u64, len: usize) -> Vec<u8> {
    let pattern = index.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_le_bytes();
    pattern.iter().copied().cycle().take(len).collect()
}
