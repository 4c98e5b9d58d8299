//! Numbers of transactions, for `txid_current()` and what goes with it.
//!
//! Nothing here needs them: what a transaction sees goes by positions and timestamps. So a transaction has
//! a number only once somebody asks for it. They grow, across restarts too as long as the clock does not go
//! back: the first one after a start is the time in microseconds.

use std::{collections::VecDeque, sync::Arc};

use parking_lot::Mutex;

use crate::error::{SqlError, sqlstate};

/// How many of the newest transactions are remembered with their outcome.
const KNOWN_MAX: usize = 100_000;

/// All that were given out since the start.
#[derive(Debug)]
pub struct TransactionIds(Mutex<Known>);

#[derive(Debug)]
struct Known {
    /// Of the first that is remembered.
    first: i64,
    outcomes: VecDeque<Outcome>,
}

#[derive(Clone, Copy, Debug)]
enum Outcome {
    InProgress,
    Committed,
    Aborted,
}

impl TransactionIds {
    /// Goes on behind every number given out before `now_us`, microseconds since 1970-01-01 UTC.
    #[must_use]
    pub(crate) fn starting(now_us: i64) -> Arc<Self> {
        Arc::new(Self(Mutex::new(Known { first: now_us, outcomes: VecDeque::new() })))
    }

    pub(super) fn next(self: &Arc<Self>) -> TransactionId {
        let mut known = self.0.lock();
        if known.outcomes.len() >= KNOWN_MAX {
            known.outcomes.pop_front();
            known.first += 1;
        }
        let number = known.first + known.outcomes.len() as i64;
        known.outcomes.push_back(Outcome::InProgress);
        TransactionId { ids: Arc::clone(self), number, committed: false }
    }

    /// What became of a transaction, as `txid_status` says it; `None` for one that is forgotten.
    ///
    /// # Errors
    /// 22023 for a number that was not given out yet.
    pub fn status(&self, number: i64) -> Result<Option<&'static str>, SqlError> {
        if matches!(number, 1 | 2) {
            // What every database began with.
            return Ok(Some("committed"));
        }
        let known = self.0.lock();
        let Some(place) = number.checked_sub(known.first).and_then(|n| usize::try_from(n).ok())
        else {
            return Ok(None);
        };
        match known.outcomes.get(place) {
            Some(Outcome::InProgress) => Ok(Some("in progress")),
            Some(Outcome::Committed) => Ok(Some("committed")),
            Some(Outcome::Aborted) => Ok(Some("aborted")),
            None => {
                let message = format!("transaction ID {number} is in the future");
                Err(SqlError::new(sqlstate::INVALID_PARAMETER_VALUE, message))
            }
        }
    }
}

/// A transaction's number. It has ended when this is dropped.
#[derive(Debug)]
pub(super) struct TransactionId {
    ids: Arc<TransactionIds>,
    pub(super) number: i64,
    pub(super) committed: bool,
}

impl Drop for TransactionId {
    fn drop(&mut self) {
        let outcome = if self.committed { Outcome::Committed } else { Outcome::Aborted };
        let mut known = self.ids.0.lock();
        let place = usize::try_from(self.number - known.first);
        if let Some(known) = place.ok().and_then(|place| known.outcomes.get_mut(place)) {
            *known = outcome;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outcomes_are_remembered_and_the_oldest_forgotten() {
        let ids = TransactionIds::starting(1_000);
        let (mut first, second) = (ids.next(), ids.next());
        assert_eq!((first.number, second.number), (1_000, 1_001));
        assert_eq!(ids.status(1_000).expect("known"), Some("in progress"));
        first.committed = true;
        drop(first);
        drop(second);
        assert_eq!(ids.status(1_000).expect("known"), Some("committed"));
        assert_eq!(ids.status(1_001).expect("known"), Some("aborted"));
        assert_eq!(ids.status(999).expect("older"), None);
        assert_eq!(ids.status(i64::MIN).expect("older"), None);
        assert_eq!(ids.status(1_002).expect_err("later").sqlstate, "22023");
        for _ in 0..KNOWN_MAX {
            drop(ids.next());
        }
        assert_eq!(ids.status(1_001).expect("forgotten"), None);
        assert_eq!(ids.status(1_002).expect("known"), Some("aborted"));
    }
}
