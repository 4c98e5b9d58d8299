//! A segment that is open, while there is room for its footer.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering::Relaxed},
};

use parking_lot::RwLock;

use super::Segment;

/// Where a table has an open segment. What is decoded of footers is held within the budget of the
/// [resident form](super::Resident), which closes those that were not used.
#[derive(Debug, Default)]
pub struct Opened {
    segment: RwLock<Option<Arc<Segment>>>,
    /// Since the hand of the clock came by.
    used: AtomicBool,
}

impl Opened {
    #[must_use]
    pub fn get(&self) -> Option<Arc<Segment>> {
        let segment = self.segment.read().clone()?;
        if !self.used.load(Relaxed) {
            self.used.store(true, Relaxed);
        }
        Some(segment)
    }

    /// Whether it is open; that is no use.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.segment.read().is_some()
    }

    /// Stays until it is closed, by the store's resident form at the latest, which may be at once.
    pub fn set(self: &Arc<Self>, segment: &Arc<Segment>) {
        *self.segment.write() = Some(Arc::clone(segment));
        segment.resident().keep_footer(self, segment.id(), segment.memory_bytes());
    }

    /// Forgets the footer; who holds the segment goes on with it.
    pub fn close(&self) {
        let closed = self.segment.write().take();
        // Not under the lock.
        drop(closed);
    }

    /// As if somebody got it.
    #[cfg(test)]
    pub(super) fn touch(&self) {
        self.used.store(true, Relaxed);
    }

    pub(super) fn was_used(&self) -> bool {
        self.used.swap(false, Relaxed)
    }
}
