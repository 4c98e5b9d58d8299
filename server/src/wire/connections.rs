//! Who is connected, and what they do.

use std::{
    collections::HashMap,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicI32, AtomicUsize, Ordering},
    },
};

use glaredb_engine::session::api::TransactionStatus;
use glaredb_txn::env::{Clock, SystemClock};
use parking_lot::Mutex;

use super::{interrupt::Interrupt, session::StartupParameters};
use crate::pg_catalog::{Activities, Activity};

/// Bytes of a query's text that are kept to be shown, as PostgreSQL's `track_activity_query_size`.
const QUERY_BYTES_MAX: usize = 1024;

/// Everybody who is connected, by process number.
#[derive(Debug)]
pub struct Connections {
    by_pid: Mutex<HashMap<i32, Entry>>,
    next_pid: AtomicI32,
    count: AtomicUsize,
    max: usize,
}

#[derive(Debug)]
struct Entry {
    interrupt: Arc<Interrupt>,
    /// What a cancel request must present.
    secret: Vec<u8>,
    shown: Arc<Mutex<Activity>>,
}

impl Connections {
    /// `max`: how many may be connected at a time.
    #[must_use]
    pub fn new(max: usize) -> Arc<Self> {
        Arc::new(Self {
            by_pid: Mutex::default(),
            next_pid: AtomicI32::new(1),
            count: AtomicUsize::new(0),
            max,
        })
    }

    /// How many are connected.
    #[must_use]
    pub fn count(&self) -> usize {
        self.count.load(Ordering::Relaxed)
    }

    /// Registers a connection. `None`: there are as many as may be.
    pub(crate) fn register(
        self: &Arc<Self>,
        secret: Vec<u8>,
        parameters: &StartupParameters,
        client: Option<SocketAddr>,
    ) -> Option<Registration> {
        if self.count.fetch_add(1, Ordering::SeqCst) >= self.max {
            self.count.fetch_sub(1, Ordering::SeqCst);
            return None;
        }
        let interrupt = Arc::new(Interrupt::default());
        let mut by_pid = self.by_pid.lock();
        let process_id = loop {
            let pid = self.next_pid.fetch_add(1, Ordering::Relaxed) & i32::MAX;
            if pid != 0 && !by_pid.contains_key(&pid) {
                break pid;
            }
        };
        let shown = Arc::new(Mutex::new(Activity {
            process_id,
            role: parameters.user.clone(),
            database: parameters.database.clone(),
            application_name: parameters.setting("application_name").unwrap_or_default().to_owned(),
            client,
            started_us: now_us(),
            query_started_us: None,
            transaction_started_us: None,
            state: "idle",
            query: String::new(),
        }));
        let entry = Entry { interrupt: interrupt.clone(), secret, shown: shown.clone() };
        by_pid.insert(process_id, entry);
        Some(Registration { connections: self.clone(), pid: process_id, interrupt, shown })
    }

    /// Serves a cancel request. One that does not match is ignored without a word.
    pub(crate) fn cancel(&self, pid: i32, secret: &[u8]) {
        if let Some(entry) = self.by_pid.lock().get(&pid)
            && same_bytes(&entry.secret, secret)
        {
            entry.interrupt.cancel();
        }
    }

    /// Asks every connection to end.
    pub(crate) fn terminate_all(&self) {
        for entry in self.by_pid.lock().values() {
            entry.interrupt.terminate();
        }
    }
}

impl Activities for Connections {
    fn list(&self) -> Vec<Activity> {
        let mut list: Vec<_> =
            self.by_pid.lock().values().map(|entry| entry.shown.lock().clone()).collect();
        list.sort_by_key(|activity| activity.process_id);
        list
    }

    fn interrupt(&self, process_id: i32, end: bool) -> bool {
        let by_pid = self.by_pid.lock();
        let Some(entry) = by_pid.get(&process_id) else { return false };
        if end {
            entry.interrupt.terminate();
        } else {
            entry.interrupt.cancel();
        }
        true
    }
}

/// Compares without telling by the time it takes where the first difference is.
fn same_bytes(a: &[u8], b: &[u8]) -> bool {
    a.len() == b.len() && a.iter().zip(b).fold(0, |all, (a, b)| all | (a ^ b)) == 0
}

fn now_us() -> i64 {
    i64::try_from(SystemClock.now_us()).unwrap_or(i64::MAX)
}

/// A place among the connections, given back when dropped.
#[derive(Debug)]
pub(crate) struct Registration {
    connections: Arc<Connections>,
    pub(crate) pid: i32,
    pub(crate) interrupt: Arc<Interrupt>,
    shown: Arc<Mutex<Activity>>,
}

impl Registration {
    /// A query of this text begins.
    pub(crate) fn show_query(&self, sql: &str) {
        let mut end = sql.len().min(QUERY_BYTES_MAX);
        while !sql.is_char_boundary(end) {
            end -= 1;
        }
        let mut shown = self.shown.lock();
        shown.query.clear();
        shown.query.push_str(&sql[..end]);
    }

    /// A statement runs.
    pub(crate) fn show_active(&self) {
        let now = now_us();
        let mut shown = self.shown.lock();
        shown.query_started_us = Some(now);
        // The first statement of a transaction.
        shown.transaction_started_us.get_or_insert(now);
        shown.state = "active";
    }

    /// The session waits for its client.
    pub(crate) fn show_idle(&self, status: TransactionStatus) {
        let mut shown = self.shown.lock();
        if status == TransactionStatus::Idle {
            shown.transaction_started_us = None;
        }
        shown.state = match status {
            TransactionStatus::Idle => "idle",
            TransactionStatus::InBlock => "idle in transaction",
            TransactionStatus::Failed => "idle in transaction (aborted)",
        };
    }

    /// The text of the query that runs or ran last, cut.
    pub(crate) fn query(&self) -> String {
        self.shown.lock().query.clone()
    }

    /// `application_name` was set.
    pub(crate) fn show_application(&self, name: &str) {
        name.clone_into(&mut self.shown.lock().application_name);
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        self.connections.by_pid.lock().remove(&self.pid);
        self.connections.count.fetch_sub(1, Ordering::SeqCst);
    }
}
