//! Reads that may have to wait for an object.
//!
//! Chunks answer at once; of a segment something may have to be fetched and decoded first. What reads
//! is synchronous all the same: it answers from memory, or ends with [`ReadError::Cold`], which says
//! what it missed. Whoever may wait [warms](Warmed::warm) that and asks again, which
//! [`Warmed::answer`] does. So there is one implementation of each read, and one that finds everything
//! in memory never leaves its thread.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

use glaredb_txn::ids::SegmentId;
use parking_lot::Mutex;

use super::{
    StorageError,
    objects::{ReadCounts, ReadFigures},
    schema::TableSchema,
    segment::{Answer, Held, Needs, Segment, SegmentStore},
    table::{KeyOrder, TableSegment},
};

/// Rounds after which a read that still misses something is given up as a fault of ours.
const ROUNDS_MAX: usize = 1_000;

/// Why a read has no answer.
#[derive(Debug)]
pub enum ReadError {
    /// Something is to be warmed before.
    Cold(ColdReads),
    Failed(StorageError),
}

impl From<StorageError> for ReadError {
    fn from(error: StorageError) -> Self {
        Self::Failed(error)
    }
}

/// What a read missed.
#[derive(Debug, Default)]
pub struct ColdReads(Vec<ColdRead>);

#[derive(Debug)]
struct ColdRead {
    segment: Arc<TableSegment>,
    schema: Arc<TableSchema>,
    missed: Missed,
}

#[derive(Debug)]
enum Missed {
    Footer,
    Parts(Needs),
    /// Its rows in the order of this schema's key.
    KeyOrder(Arc<TableSchema>),
}

impl ColdReads {
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Goes on where there is an answer; keeps what is cold, so that all of it is warmed at once.
    pub fn note<T>(&mut self, answer: Result<T, ReadError>) -> Result<Option<T>, StorageError> {
        match answer {
            Ok(answer) => Ok(Some(answer)),
            Err(ReadError::Cold(cold)) => {
                self.0.extend(cold.0);
                Ok(None)
            }
            Err(ReadError::Failed(error)) => Err(error),
        }
    }

    /// The end of a read that noted what it missed.
    pub fn finish(self) -> Result<(), ReadError> {
        if self.is_empty() { Ok(()) } else { Err(ReadError::Cold(self)) }
    }
}

fn cold(segment: &Arc<TableSegment>, schema: &Arc<TableSchema>, missed: Missed) -> ReadError {
    let (segment, schema) = (Arc::clone(segment), Arc::clone(schema));
    ReadError::Cold(ColdReads(vec![ColdRead { segment, schema, missed }]))
}

/// What was warmed for one reader: it stays until it is [released](Warmed::release), so that the reader
/// comes to an end however small the budget of the resident form is.
#[derive(Debug)]
pub struct Warmed {
    store: SegmentStore,
    held: Mutex<HashMap<SegmentId, Held>>,
    /// Segments that this reader opened: there may be no room for them elsewhere.
    opened: Mutex<HashMap<SegmentId, Arc<Segment>>>,
    /// Once somebody wants to know what it reads.
    figures: OnceLock<Figures>,
}

#[derive(Debug, Default)]
struct Figures {
    reads: Arc<ReadFigures>,
    misses: AtomicU64,
    /// Segments considered, and whether they were left out.
    segments: Mutex<BTreeMap<SegmentId, bool>>,
}

/// What one reader read since it was [watched](Warmed::watch).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct WarmedCounts {
    pub segments: u64,
    /// Of these: those that have no row for it, as the list of segments says.
    pub segments_pruned: u64,
    /// Columns of row groups that were not in memory.
    pub resident_misses: u64,
    pub reads: ReadCounts,
}

impl Warmed {
    #[must_use]
    pub fn new(store: SegmentStore) -> Self {
        let (held, opened, figures) = <_>::default();
        Self { store, held, opened, figures }
    }

    /// Counts what is read from now on.
    pub fn watch(&self) {
        self.figures.get_or_init(Figures::default);
    }

    /// What was read since it is watched; `None`: it is not.
    #[must_use]
    pub fn counts(&self) -> Option<WarmedCounts> {
        let figures = self.figures.get()?;
        let segments = figures.segments.lock();
        Some(WarmedCounts {
            segments: segments.len() as u64,
            segments_pruned: segments.values().filter(|pruned| **pruned).count() as u64,
            resident_misses: figures.misses.load(Relaxed),
            reads: figures.reads.counts(),
        })
    }

    /// A segment is looked into, or left out for what is said of it.
    pub(super) fn consider(&self, segment: &TableSegment, is_pruned: bool) {
        if let Some(figures) = self.figures.get() {
            // Some keys may be in it, others not.
            let mut segments = figures.segments.lock();
            *segments.entry(segment.segment()).or_insert(true) &= is_pruned;
        }
    }

    #[must_use]
    pub fn store(&self) -> &SegmentStore {
        &self.store
    }

    /// Asks a segment. `schema`: the newest of its table that the caller knows; dropped columns are in
    /// it.
    pub fn ask<T>(
        &self,
        segment: &Arc<TableSegment>,
        schema: &Arc<TableSchema>,
        question: impl FnOnce(&Segment, &Held) -> Result<Answer<T>, StorageError>,
    ) -> Result<T, ReadError> {
        let opened = segment.opened();
        let opened = opened.or_else(|| self.opened.lock().get(&segment.segment()).cloned());
        let Some(opened) = opened else {
            return Err(cold(segment, schema, Missed::Footer));
        };
        let held = self.held.lock();
        let nothing = Held::default();
        let held = held.get(&segment.segment()).unwrap_or(&nothing);
        match question(&opened, held)? {
            Answer::Here(answer) => Ok(answer),
            Answer::Cold(needs) => {
                if let Some(figures) = self.figures.get() {
                    figures.misses.fetch_add(needs.columns() as u64, Relaxed);
                }
                Err(cold(segment, schema, Missed::Parts(needs)))
            }
        }
    }

    /// The rows of a segment in the order of `key`'s key, which it is not sorted by. `schema`: as in
    /// [`ask`](Self::ask).
    pub fn ask_order(
        &self,
        segment: &Arc<TableSegment>,
        schema: &Arc<TableSchema>,
        key: &Arc<TableSchema>,
    ) -> Result<Arc<KeyOrder>, ReadError> {
        let missed = || cold(segment, schema, Missed::KeyOrder(Arc::clone(key)));
        segment.key_order(key).ok_or_else(missed)
    }

    /// Fetches and decodes what was missed, segments side by side. Decoding computes.
    /// Errors: an object is damaged or cannot be read.
    pub async fn warm(&self, cold: ColdReads) -> Result<(), StorageError> {
        let mut segments: HashMap<SegmentId, Vec<ColdRead>> = HashMap::new();
        for cold in cold.0 {
            segments.entry(cold.segment.segment()).or_default().push(cold);
        }
        let reads = segments.into_values().map(|reads| async {
            // What one of them warms is held when the next one comes.
            for cold in reads {
                self.warm_one(cold).await?;
            }
            Ok::<_, StorageError>(())
        });
        let reads = futures::future::try_join_all(reads);
        let read = match self.figures.get() {
            Some(figures) => figures.reads.scope(reads).await,
            None => reads.await,
        };
        read.map(drop)
    }

    async fn warm_one(&self, cold: ColdRead) -> Result<(), StorageError> {
        let ColdRead { segment, schema, missed } = cold;
        let opened = segment.opened();
        let opened = opened.or_else(|| self.opened.lock().get(&segment.segment()).cloned());
        let opened = match opened {
            Some(opened) => opened,
            None => segment.open(&self.store, &schema).await?,
        };
        let needs = match missed {
            Missed::Footer => {
                self.opened.lock().insert(segment.segment(), opened);
                return Ok(());
            }
            Missed::KeyOrder(key) => return segment.order(&opened, &key).await,
            Missed::Parts(needs) => needs,
        };
        let mut held = self.held.lock().get(&segment.segment()).cloned().unwrap_or_default();
        opened.warm_near(needs, &mut held).await?;
        self.held.lock().insert(segment.segment(), held);
        Ok(())
    }

    /// Asks until there is an answer.
    pub async fn answer<T>(
        &self,
        mut question: impl FnMut(&Self) -> Result<T, ReadError>,
    ) -> Result<T, StorageError> {
        for _ in 0..ROUNDS_MAX {
            match question(self) {
                Ok(answer) => return Ok(answer),
                Err(ReadError::Cold(cold)) => self.warm(cold).await?,
                Err(ReadError::Failed(error)) => return Err(error),
            }
        }
        Err(StorageError::Invalid(format!("a read is still cold after {ROUNDS_MAX} rounds")))
    }

    /// Gives back the rows that are held, if they take more than so many bytes: for a reader that goes on
    /// and has done with those before. It must be the only one that asks.
    pub fn release_beyond(&self, bytes_max: usize) {
        let mut held = self.held.lock();
        let bytes: usize = held.values().map(Held::memory_bytes).sum();
        if bytes > bytes_max {
            held.clear();
        }
    }

    /// Bytes of the rows that are held.
    #[must_use]
    pub fn held_bytes(&self) -> usize {
        self.held.lock().values().map(Held::memory_bytes).sum()
    }

    /// Gives back what is held.
    pub fn release(&self) {
        self.held.lock().clear();
        self.opened.lock().clear();
    }
}
