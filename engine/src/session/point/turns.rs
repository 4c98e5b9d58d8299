//! Turns at rows: who changes a row by its key waits a little for another transaction that has
//! changed it and not ended, rather than to work in vain.
//!
//! A hint and no lock: whoever waited too long goes on without his turn, and the resolver alone
//! decides who wins. Nothing rests on it but speed.

use std::{
    collections::{HashMap, VecDeque},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use bytes::Bytes;
use glaredb_txn::ids::TableId;
use parking_lot::Mutex;
use tokio::sync::oneshot;

/// Longest wait for a turn. Who holds one longer is not waited for again.
const WAIT_MAX: Duration = Duration::from_secs(1);
/// Most turns a transaction holds.
pub(in crate::session) const TURNS_MAX: usize = 1024;

pub(in crate::session) type Key = (TableId, Bytes);

/// Whose turn it is, by transaction.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(in crate::session) struct Holder(u64);

/// The turns of all sessions.
pub(in crate::session) struct Turns {
    next_holder: AtomicU64,
    state: Mutex<State>,
    wait_max: Duration,
}

impl Default for Turns {
    fn default() -> Self {
        Self { next_holder: AtomicU64::new(0), state: Mutex::default(), wait_max: WAIT_MAX }
    }
}

#[derive(Default)]
struct State {
    rows: HashMap<Key, Row, foldhash::fast::RandomState>,
    /// What each that waits waits for.
    waits: HashMap<Holder, Key, foldhash::fast::RandomState>,
}

struct Row {
    holder: Holder,
    waiting: VecDeque<(Holder, oneshot::Sender<Turn>)>,
    /// Somebody waited in vain.
    slow: bool,
}

/// A turn, until it is dropped.
#[derive(Debug)]
pub(in crate::session) struct Turn {
    turns: Arc<Turns>,
    /// `None` once it was passed on.
    key: Option<Key>,
}

impl std::fmt::Debug for Turns {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Turns({} rows)", self.state.lock().rows.len())
    }
}

impl Turns {
    pub(in crate::session) fn holder(&self) -> Holder {
        Holder(self.next_holder.fetch_add(1, Relaxed))
    }

    /// The turn at a row that `holder` holds no turn at; `None` if it is not to be had soon, or if
    /// waiting for it would be waiting for oneself.
    pub(in crate::session) async fn take(
        self: &Arc<Self>,
        holder: Holder,
        key: Key,
    ) -> Option<Turn> {
        let coming = {
            let mut state = self.state.lock();
            let Some(row) = state.rows.get(&key) else {
                let row = Row { holder, waiting: VecDeque::new(), slow: false };
                state.rows.insert(key.clone(), row);
                return Some(Turn { turns: Arc::clone(self), key: Some(key) });
            };
            if row.slow || state.leads_to(row.holder, holder) {
                return None;
            }
            let (sender, receiver) = oneshot::channel();
            state.rows.get_mut(&key)?.waiting.push_back((holder, sender));
            state.waits.insert(holder, key.clone());
            receiver
        };
        let waiting = Waiting { turns: self, holder };
        let turn = tokio::time::timeout(self.wait_max, coming).await;
        drop(waiting);
        match turn {
            Ok(turn) => turn.ok(),
            Err(_) => {
                if let Some(row) = self.state.lock().rows.get_mut(&key) {
                    row.slow = true;
                }
                None
            }
        }
    }

    /// Passes the turn on, to the first that still waits for it.
    fn pass_on(self: &Arc<Self>, key: Key) {
        let mut state = self.state.lock();
        let state = &mut *state;
        let Some(row) = state.rows.get_mut(&key) else { return };
        row.slow = false;
        while let Some((holder, sender)) = row.waiting.pop_front() {
            row.holder = holder;
            let turn = Turn { turns: Arc::clone(self), key: Some(key.clone()) };
            match sender.send(turn) {
                Ok(()) => {
                    state.waits.remove(&holder);
                    return;
                }
                // Gave up: its turn must not be passed on again by being dropped.
                Err(mut turn) => turn.key = None,
            }
        }
        state.rows.remove(&key);
    }
}

impl State {
    /// Whether `from` waits for `to`, directly or through others.
    fn leads_to(&self, from: Holder, to: Holder) -> bool {
        let mut at = from;
        // No chain is longer than there are waits, and each follows another.
        for _ in 0..=self.waits.len() {
            if at == to {
                return true;
            }
            match self.waits.get(&at).and_then(|key| self.rows.get(key)) {
                Some(row) => at = row.holder,
                None => return false,
            }
        }
        true
    }
}

/// Forgets a wait that ended, also one that was given up by being dropped.
struct Waiting<'a> {
    turns: &'a Turns,
    holder: Holder,
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.turns.state.lock().waits.remove(&self.holder);
    }
}

impl Turn {
    pub(in crate::session) fn is_at(&self, key: &Key) -> bool {
        self.key.as_ref() == Some(key)
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        if let Some(key) = self.key.take() {
            self.turns.pass_on(key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(row: u8) -> Key {
        (TableId(1), Bytes::copy_from_slice(&[row]))
    }

    #[tokio::test]
    async fn a_turn_goes_to_the_first_that_still_waits() {
        let turns = Arc::new(Turns::default());
        let (a, b, c) = (turns.holder(), turns.holder(), turns.holder());
        let first = turns.take(a, key(1)).await.expect("nobody has it");
        let mut second = Box::pin(turns.take(b, key(1)));
        let mut third = Box::pin(turns.take(c, key(1)));
        assert!(futures::poll!(second.as_mut()).is_pending());
        assert!(futures::poll!(third.as_mut()).is_pending());
        drop(second);
        drop(first);
        let turn = third.await.expect("its turn");
        assert!(turn.is_at(&key(1)));
        drop(turn);
        assert!(turns.state.lock().rows.is_empty());
        assert!(turns.state.lock().waits.is_empty());
    }

    #[tokio::test]
    async fn a_turn_that_comes_to_one_who_left_goes_on() {
        let turns = Arc::new(Turns::default());
        let (a, b) = (turns.holder(), turns.holder());
        let first = turns.take(a, key(1)).await;
        let mut second = Box::pin(turns.take(b, key(1)));
        assert!(futures::poll!(second.as_mut()).is_pending());
        drop(first);
        drop(second);
        assert!(turns.state.lock().rows.is_empty());
        assert!(turns.take(a, key(1)).await.is_some());
    }

    #[tokio::test]
    async fn nobody_waits_for_himself() {
        let turns = Arc::new(Turns::default());
        let (a, b) = (turns.holder(), turns.holder());
        let _of_a = turns.take(a, key(1)).await.expect("nobody has it");
        let of_b = turns.take(b, key(2)).await.expect("nobody has it");
        let mut waits = Box::pin(turns.take(a, key(2)));
        assert!(futures::poll!(waits.as_mut()).is_pending());
        assert!(turns.take(b, key(1)).await.is_none(), "each would wait for the other");
        drop(of_b);
        assert!(waits.await.is_some());
    }

    #[tokio::test]
    async fn who_is_slow_is_waited_for_once() {
        let wait_max = Duration::from_millis(1);
        let turns = Arc::new(Turns { wait_max, ..Turns::default() });
        let (a, b) = (turns.holder(), turns.holder());
        let slow = turns.take(a, key(1)).await.expect("nobody has it");
        assert!(turns.take(b, key(1)).await.is_none());
        let mut again = Box::pin(turns.take(b, key(1)));
        assert!(matches!(futures::poll!(again.as_mut()), std::task::Poll::Ready(None)));
        drop(slow);
        assert!(turns.take(b, key(1)).await.is_some());
    }
}
