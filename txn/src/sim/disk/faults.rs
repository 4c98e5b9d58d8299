//! Failures that a test asked for.

use crate::env::DiskError;

/// Kinds of operations, for choosing which one fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    Create,
    Open,
    Read,
    /// `write_at`, `allocate_zeroed` and `set_len`.
    Write,
    Sync,
    SyncDir,
    Rename,
    Remove,
}

impl Operation {
    fn changes_the_disk(self) -> bool {
        !matches!(self, Self::Open | Self::Read)
    }

    fn describe(self) -> &'static str {
        match self {
            Self::Create => "creation",
            Self::Open => "opening",
            Self::Read => "reading",
            Self::Write => "writing",
            Self::Sync => "syncing",
            Self::SyncDir => "syncing the directory",
            Self::Rename => "renaming",
            Self::Remove => "removal",
        }
    }
}

#[derive(Default)]
pub(super) struct Faults {
    /// Changing operations left until the power goes; 0: it is gone.
    power_left: Option<u64>,
    operations: u64,
    planned: Vec<Planned>,
    just_failed: bool,
}

struct Planned {
    operation: Operation,
    path_part: String,
    count: u64,
}

impl Faults {
    pub(super) fn cut_power_after(&mut self, count: u64) {
        self.power_left = Some(count);
    }

    pub(super) fn is_without_power(&self) -> bool {
        self.power_left == Some(0)
    }

    pub(super) fn operations(&self) -> u64 {
        self.operations
    }

    pub(super) fn fail_after(&mut self, operation: Operation, path_part: &str, count: u64) {
        let path_part = path_part.to_owned();
        self.planned.push(Planned { operation, path_part, count });
    }

    /// The operation that `begin` just refused was reached by the fault itself, so that part of it
    /// may have happened; not one that came after the power had gone.
    pub(super) fn just_failed(&self) -> bool {
        self.just_failed
    }

    pub(super) fn begin(&mut self, operation: Operation, path: &str) -> Result<(), DiskError> {
        self.just_failed = false;
        let fail = |reason: &str| {
            let (operation, path) = (operation.describe(), path.to_owned());
            Err(DiskError::Io { operation, path, reason: reason.to_owned() })
        };
        if self.is_without_power() {
            return fail("the power is off");
        }
        if operation.changes_the_disk() {
            self.operations += 1;
            if let Some(left) = &mut self.power_left {
                *left -= 1;
                if *left == 0 {
                    self.just_failed = true;
                    return fail("the power went off");
                }
            }
        }
        let mut due = false;
        self.planned.retain_mut(|planned| {
            if planned.operation == operation && path.contains(&planned.path_part) {
                planned.count = planned.count.saturating_sub(1);
                due |= planned.count == 0;
            }
            planned.count > 0
        });
        if due {
            self.just_failed = true;
            return fail("input/output error");
        }
        Ok(())
    }
}
