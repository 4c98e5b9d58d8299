//! Space in the log, asked for before anything is stamped: a commit that the log could not take is
//! refused while nothing of it is anywhere.
//!
//! Asking may preallocate a file, so it is done in the background and well ahead; in the critical
//! section there are two numbers to compare. Only when the disk is nearly full is the log asked
//! for each commit, and after a refusal not again for `REFUSED_FOR`.

use std::time::Duration;

use crate::{
    env::Clock,
    log::wal::{Wal, WalError},
};

/// Kept for records that free space or end a commit (control, abort), which are small.
pub(super) const SPARE_BYTES: u64 = 256 << 10;

const REFUSED_FOR: Duration = Duration::from_millis(50);

/// On a nearly full disk, asking ahead may write and delete a file: not more often than this.
const AHEAD_REFUSED_FOR: Duration = Duration::from_secs(1);

/// Bytes of the log, counted from the start of the process.
#[derive(Debug)]
pub(super) struct Space {
    /// How much is asked for at a time.
    ahead: u64,
    /// Taken by records that are placed.
    placed: u64,
    /// How far `placed` may go.
    granted: u64,
    /// After a refusal: until when (monotonic), and its text.
    refused: Option<(Duration, String)>,
    /// Ask ahead not before (monotonic).
    ahead_from: Duration,
}

impl Space {
    pub(super) fn new(ahead: u64) -> Self {
        Self { ahead, placed: 0, granted: 0, refused: None, ahead_from: Duration::ZERO }
    }

    /// Time to ask for more.
    pub(super) fn is_low(&self) -> bool {
        self.granted - self.placed < self.ahead / 2
    }

    /// As `is_low`, unless that was refused a moment ago.
    pub(super) fn wants_more(&self, clock: &dyn Clock) -> bool {
        self.is_low() && clock.monotonic() >= self.ahead_from
    }

    pub(super) fn ahead_refused(&mut self, clock: &dyn Clock) {
        self.ahead_from = clock.monotonic() + AHEAD_REFUSED_FOR;
    }

    pub(super) fn ahead(&self) -> u64 {
        self.ahead
    }

    pub(super) fn placed(&self) -> u64 {
        self.placed
    }

    pub(super) fn place(&mut self, bytes: u64) {
        self.placed += bytes;
        assert!(self.placed <= self.granted, "{} of {} bytes", self.placed, self.granted);
    }

    /// The log answered a request made when `placed` was as given: it can take `bytes` more.
    pub(super) fn grant(&mut self, placed: u64, bytes: u64) {
        self.granted = self.granted.max(placed + bytes);
        self.refused = None;
    }

    /// Makes sure of `bytes` and a spare. `appended` is what the log has taken so far.
    pub(super) fn ensure(
        &mut self,
        bytes: u64,
        spare: u64,
        appended: u64,
        wal: &dyn Wal,
        clock: &dyn Clock,
    ) -> Result<(), WalError> {
        let wanted = bytes + spare;
        if self.placed + wanted <= self.granted {
            return Ok(());
        }
        if spare > 0
            && let Some((until, reason)) = &self.refused
            && clock.monotonic() < *until
        {
            return Err(WalError::Full(reason.clone()));
        }
        let asked = wal.reserve(self.placed - appended + wanted);
        match &asked {
            Ok(()) => self.grant(self.placed, wanted),
            Err(WalError::Full(reason)) => {
                self.refused = Some((clock.monotonic() + REFUSED_FOR, reason.clone()));
            }
            Err(_) => {}
        }
        asked
    }
}
