//! Leases of the embedded metastore: in memory, because every holder lives in this process and is
//! gone after a restart.

use std::{collections::BTreeMap, time::Duration};

use super::{LeaseId, MetastoreError};

#[derive(Default)]
pub(super) struct Leases {
    granted: BTreeMap<LeaseId, Granted>,
    last: u64,
}

struct Granted {
    time_to_live: Duration,
    /// On the environment's monotonic clock.
    ends: Duration,
}

impl Leases {
    pub(super) fn grant(&mut self, time_to_live: Duration, now: Duration) -> LeaseId {
        self.last += 1;
        let id = LeaseId(self.last);
        self.granted.insert(id, Granted { time_to_live, ends: now + time_to_live });
        id
    }

    pub(super) fn keep_alive(
        &mut self,
        id: LeaseId,
        now: Duration,
    ) -> Result<Duration, MetastoreError> {
        let lease = self.granted.get_mut(&id).ok_or(MetastoreError::LeaseEnded(id))?;
        lease.ends = now + lease.time_to_live;
        Ok(lease.time_to_live)
    }

    pub(super) fn check(&self, id: LeaseId) -> Result<(), MetastoreError> {
        self.granted.get(&id).map(|_| ()).ok_or(MetastoreError::LeaseEnded(id))
    }

    /// Those whose time has passed, still granted until `end` is called.
    pub(super) fn ended(&self, now: Duration) -> Vec<LeaseId> {
        self.granted.iter().filter(|(_, lease)| lease.ends <= now).map(|(id, _)| *id).collect()
    }

    pub(super) fn end(&mut self, id: LeaseId) {
        self.granted.remove(&id);
    }
}
