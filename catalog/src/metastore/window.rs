//! The window of timestamps that a leader may give, kept in the metastore.

use std::{
    fmt,
    sync::atomic::{AtomicU64, Ordering},
};

use glaredb_txn::{
    commit::time::{TimestampWindow, WindowError},
    ids::{LogId, Timestamp},
};
use parking_lot::Mutex;

use super::{
    MetastoreError, Transaction,
    keys::{self, ValueError},
    leadership::{FencedOutcome, Leadership, LeadershipError},
};

/// How often an extension is tried when the bound changes under it: only an attempt of our own
/// whose answer got lost can do that.
const ATTEMPTS_MAX: usize = 8;

/// See [`TimestampWindow`]. Only the leader of the metastore's term extends it.
pub struct MetastoreWindow {
    leadership: Leadership,
    log: LogId,
    /// The highest bound known to be stored.
    bound: AtomicU64,
    /// One extension at a time.
    extending: Mutex<()>,
}

impl MetastoreWindow {
    /// Starts at the bound that is stored, 0 if none is.
    pub fn open(leadership: Leadership, log: LogId) -> Result<Self, LeadershipError> {
        let key = keys::window(log);
        let bound = match leadership.metastore().get(&key)? {
            Some(entry) => decode(&key, &entry.value)?,
            None => Timestamp::ZERO,
        };
        let bound = AtomicU64::new(bound.0);
        Ok(Self { leadership, log, bound, extending: Mutex::new(()) })
    }

    fn store(&self, to: Timestamp) -> Result<Timestamp, LeadershipError> {
        let key = keys::window(self.log);
        for _ in 0..ATTEMPTS_MAX {
            let entry = self.leadership.metastore().get(&key)?;
            let stored = match &entry {
                Some(entry) => decode(&key, &entry.value)?,
                None => Timestamp::ZERO,
            };
            // Written even where the stored bound suffices: a successor may have stored that, and
            // only the fence tells.
            let bound = stored.max(to);
            let write = Transaction::new()
                .when_unchanged(key.clone(), entry.as_ref())
                .put(key.clone(), encode(bound));
            if let FencedOutcome::Applied(_) = self.leadership.commit(write)? {
                return Ok(bound);
            }
        }
        let reason = format!("the window changed {ATTEMPTS_MAX} times while it was extended");
        Err(MetastoreError::Unavailable(reason).into())
    }
}

impl TimestampWindow for MetastoreWindow {
    fn upper_bound(&self) -> Timestamp {
        Timestamp(self.bound.load(Ordering::Acquire))
    }

    fn extend(&self, to: Timestamp) -> Result<Timestamp, WindowError> {
        let _one = self.extending.lock();
        if self.upper_bound() >= to {
            return Ok(self.upper_bound());
        }
        let stored = self.store(to).map_err(|error| match error {
            LeadershipError::Fenced { own, current } => {
                WindowError::Fenced { requested: own.0, current: current.0 }
            }
            LeadershipError::Metastore(MetastoreError::Broken(reason)) => {
                WindowError::Broken(reason)
            }
            // What is stored does not decode, and will not the next time.
            LeadershipError::Value(error) => WindowError::Broken(error.to_string()),
            LeadershipError::Metastore(error) => WindowError::Unavailable(error.to_string()),
        })?;
        self.bound.fetch_max(stored.0, Ordering::AcqRel);
        Ok(self.upper_bound())
    }
}

impl fmt::Debug for MetastoreWindow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MetastoreWindow")
            .field("log", &self.log)
            .field("upper_bound", &self.upper_bound())
            .finish_non_exhaustive()
    }
}

fn encode(bound: Timestamp) -> bytes::Bytes {
    keys::encode(|w| {
        w.u64(bound.0);
    })
}

fn decode(key: &[u8], value: &[u8]) -> Result<Timestamp, ValueError> {
    keys::decode(key, value, |r| r.u64().map(Timestamp))
}

#[cfg(all(test, feature = "testing"))]
mod tests {
    use std::sync::Arc;

    use glaredb_txn::{
        commit::time::{self, TimestampWindow},
        ids::Term,
        sim::{Operation, SimEnv},
    };

    use super::*;
    use crate::metastore::{EmbeddedMetastore, Metastore, faulty::FaultyMetastore};

    const LOG: LogId = LogId(0);

    #[test]
    fn conforms() {
        let sim = SimEnv::new(1);
        time::conformance(&mut || {
            let metastore = EmbeddedMetastore::open(sim.env(), "metastore.redb").expect("open");
            let metastore: Arc<dyn Metastore> = Arc::new(metastore);
            let leadership =
                Leadership::begin(metastore, &*sim.random, Term::MIN).expect("begin a term");
            Arc::new(MetastoreWindow::open(leadership, LOG).expect("open the window"))
        });
    }

    /// Nobody knows what a metastore holds whose disk failed: the node must stop, not wait for it.
    #[test]
    fn a_metastore_that_failed_is_not_one_that_is_away() {
        let sim = SimEnv::new(3);
        let metastore = EmbeddedMetastore::open(sim.env(), "metastore.redb").expect("open");
        let leadership = Leadership::begin(Arc::new(metastore), &*sim.random, Term::MIN);
        let window = MetastoreWindow::open(leadership.expect("begin a term"), LOG).expect("open");
        sim.disk.fail_after(Operation::Sync, "metastore.redb", 1);
        let unknown = window.extend(Timestamp(100)).expect_err("its sync fails");
        assert!(!unknown.is_final(), "whether it is stored, the next attempt finds out: {unknown}");
        let broken = window.extend(Timestamp(100)).expect_err("it is broken");
        assert!(matches!(broken, WindowError::Broken(_)) && broken.is_final(), "{broken}");
    }

    #[test]
    fn a_lost_answer_costs_nothing_and_another_leader_ends_it() {
        let sim = SimEnv::new(2);
        let embedded = EmbeddedMetastore::open(sim.env(), "metastore.redb").expect("open");
        let faulty = Arc::new(FaultyMetastore::new(Arc::new(embedded)));
        let begin =
            || Leadership::begin(faulty.clone(), &*sim.random, Term::MIN).expect("begin a term");
        let window = MetastoreWindow::open(begin(), LOG).expect("open");
        faulty.lose_answers(1);
        let lost = window.extend(Timestamp(100));
        assert!(matches!(lost, Err(WindowError::Unavailable(_))), "{lost:?}");
        assert_eq!(window.upper_bound(), Timestamp::ZERO, "nobody said that it was stored");
        assert_eq!(window.extend(Timestamp(90)), Ok(Timestamp(100)), "it had been");

        let next = MetastoreWindow::open(begin(), LOG).expect("open");
        assert_eq!(next.upper_bound(), Timestamp(100));
        assert_eq!(next.extend(Timestamp(300)), Ok(Timestamp(300)));
        let fenced = window.extend(Timestamp(200));
        assert!(matches!(fenced, Err(WindowError::Fenced { .. })), "{fenced:?}");
    }
}
