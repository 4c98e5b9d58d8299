//! A term of leadership, as the metastore knows it: every write of a leader is fenced by it.

use std::sync::Arc;

use glaredb_txn::{env::Random, ids::Term};

use super::{
    Condition, KeyState, Metastore, MetastoreError, Outcome, Revision, Transaction,
    keys::{self, ValueError},
};

/// How often a new leader tries to raise the term when others do so at the same time.
const ATTEMPTS_MAX: usize = 16;

/// The right to write what a leader writes, until another begins a term.
#[derive(Clone)]
pub struct Leadership {
    metastore: Arc<dyn Metastore>,
    term: Term,
    /// The transaction that stored the term: whoever raises it changes that.
    begun: Revision,
}

#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum LeadershipError {
    #[error(transparent)]
    Metastore(#[from] MetastoreError),
    #[error(transparent)]
    Value(#[from] ValueError),
    /// Determinate: nothing was written.
    #[error("the metastore is at term {current}, this leader is of term {own}")]
    Fenced { own: Term, current: Term },
}

/// Refusal of a fenced transaction by another condition than the fence; by its place among those
/// the caller gave.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum FencedOutcome {
    Applied(Revision),
    Refused { condition: usize },
}

impl Leadership {
    /// Has there ever been a leader? Then there is a log too.
    pub fn has_begun(metastore: &dyn Metastore) -> Result<bool, MetastoreError> {
        Ok(metastore.get(&keys::TERM)?.is_some())
    }

    /// Begin the next term, above the one stored and above `above` (the newest in the log).
    pub fn begin(
        metastore: Arc<dyn Metastore>,
        random: &dyn Random,
        above: Term,
    ) -> Result<Self, LeadershipError> {
        let token = random.next_u64();
        for _ in 0..ATTEMPTS_MAX {
            let stored = metastore.get(&keys::TERM)?;
            let (current, holder) = match &stored {
                Some(entry) => decode_term(&entry.value)?,
                None => (Term::MIN, 0),
            };
            if let Some(entry) = &stored
                && holder == token
            {
                // An attempt whose answer got lost did succeed.
                return Ok(Self { metastore, term: current, begun: entry.modified });
            }
            let term = current.max(above).next();
            let value = keys::encode(|w| {
                w.u64(term.0).u64(token);
            });
            let raise = Transaction::new()
                .when_unchanged(keys::TERM, stored.as_ref())
                .put(keys::TERM, value);
            match metastore.commit(&raise) {
                Ok(Outcome::Applied(begun)) => return Ok(Self { metastore, term, begun }),
                Ok(Outcome::Refused { .. }) | Err(MetastoreError::Indeterminate(_)) => {}
                Err(e) => return Err(e.into()),
            }
        }
        let reason = format!("the term could not be raised in {ATTEMPTS_MAX} attempts");
        Err(MetastoreError::Unavailable(reason).into())
    }

    #[must_use]
    pub fn term(&self) -> Term {
        self.term
    }

    #[must_use]
    pub fn metastore(&self) -> &dyn Metastore {
        &*self.metastore
    }

    /// Apply `transaction` if this is still the leader's term.
    pub fn commit(&self, transaction: Transaction) -> Result<FencedOutcome, LeadershipError> {
        let mut fenced = transaction;
        let fence = Condition { key: keys::TERM, state: KeyState::ModifiedAt(self.begun) };
        fenced.conditions.insert(0, fence);
        match self.metastore.commit(&fenced)? {
            Outcome::Applied(revision) => Ok(FencedOutcome::Applied(revision)),
            Outcome::Refused { condition: 0 } => {
                let current = match self.metastore.get(&keys::TERM)? {
                    Some(entry) => decode_term(&entry.value)?.0,
                    None => Term::MIN,
                };
                Err(LeadershipError::Fenced { own: self.term, current })
            }
            Outcome::Refused { condition } => {
                Ok(FencedOutcome::Refused { condition: condition - 1 })
            }
        }
    }
}

/// Term and token of the process that began it.
fn decode_term(value: &[u8]) -> Result<(Term, u64), ValueError> {
    keys::decode(&keys::TERM, value, |r| Ok((Term(r.u64()?), r.u64()?)))
}
