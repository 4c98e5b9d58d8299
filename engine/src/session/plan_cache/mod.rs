//! Plans of the simple protocol, found again by the statement's text without its literals.
//!
//! A statement that comes a second time is made a template of, if it is one for the short way (by
//! primary key, INSERT of VALUES) or begins or ends a transaction. Whatever is not quite sure, an
//! error of any kind included, takes the long way and says there what it has to say.

mod literals;
mod template;

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering::Relaxed},
};

use hashbrown::HashMap;

use self::{literals::Parts, template::Candidate};
use super::{Block, Session, api::Execution, prepare::Prepared};
use crate::error::SqlError;

/// Most statements that a session knows.
const ENTRIES_MAX: usize = 200;

/// The statements of one session, by their texts without literals.
#[derive(Default)]
pub(super) struct PlanCache {
    entries: HashMap<Box<[u8]>, Entry, foldhash::fast::RandomState>,
    parts: Parts,
}

#[derive(Clone)]
enum Entry {
    /// Came once: statements that never come again cost nothing more.
    Seen,
    Template(Arc<Prepared>),
    /// Takes the long way.
    Refused,
}

/// Counted over all sessions.
#[derive(Default, Debug)]
pub struct PlanCacheCounters {
    hits: AtomicU64,
    misses: AtomicU64,
}

impl PlanCacheCounters {
    /// Statements that ran on a plan found again.
    #[must_use]
    pub fn hits(&self) -> u64 {
        self.hits.load(Relaxed)
    }

    /// Statements that were looked for in vain.
    #[must_use]
    pub fn misses(&self) -> u64 {
        self.misses.load(Relaxed)
    }
}

impl Session {
    /// Executes a query string of one statement, if its plan is known from before; `None`: it is to
    /// be parsed, and nothing was done.
    ///
    /// # Errors
    /// Whatever the statement says.
    pub async fn execute_known(&mut self, sql: &str) -> Result<Option<Execution>, SqlError> {
        let Some(prepared) = self.known(sql) else { return Ok(None) };
        let result = if prepared.has_plan() {
            let format = &self.settings.derived().format;
            let literals = &self.plans.parts.literals;
            match template::params(literals, prepared.param_types(), format) {
                Some(params) => self.attempt(&prepared, &params).await,
                None => Ok(None),
            }
        } else {
            self.execute_prepared(&prepared, &[]).await.map(Some)
        };
        let counters = self.engine.plan_cache();
        match &result {
            Ok(None) => {
                // Made for another catalog or other settings: made anew when it comes again.
                counters.misses.fetch_add(1, Relaxed);
                if let Some(entry) = self.plans.entries.get_mut(self.plans.parts.shape.as_slice()) {
                    *entry = Entry::Seen;
                }
            }
            Ok(Some(_)) => {
                counters.hits.fetch_add(1, Relaxed);
            }
            Err(_) => self.statement_failed(),
        }
        result
    }

    /// The template for a query string.
    fn known(&mut self, sql: &str) -> Option<Arc<Prepared>> {
        let failed = self.block != Block::Autocommit && self.failed.load(Relaxed);
        if failed || !self.settings.derived().plan_cache || !self.plans.parts.take_apart(sql) {
            return None;
        }
        let plans = &mut self.plans;
        match plans.entries.get(plans.parts.shape.as_slice()) {
            Some(Entry::Template(prepared)) => return Some(Arc::clone(prepared)),
            Some(Entry::Refused) => return None,
            Some(Entry::Seen) => {}
            None => {
                self.engine.plan_cache().misses.fetch_add(1, Relaxed);
                if plans.entries.len() >= ENTRIES_MAX {
                    plans.entries.clear();
                }
                plans.entries.insert(plans.parts.shape.as_slice().into(), Entry::Seen);
                return None;
            }
        }
        let prepared = match template::candidate(sql, &plans.parts) {
            Some(Candidate::Plain(prepared)) => Some(prepared),
            Some(Candidate::Planned(statement)) => {
                let context = self.statement_context().ok()?;
                template::make(&context, &statement, &self.plans.parts)
            }
            None => None,
        };
        let prepared = prepared.map(Arc::new);
        let entry = match &prepared {
            Some(prepared) => Entry::Template(Arc::clone(prepared)),
            None => Entry::Refused,
        };
        self.plans.entries.insert(self.plans.parts.shape.as_slice().into(), entry);
        prepared
    }
}
