//! What a stream reads of segments, one row group after the other, the next one while the last is in use.

use std::{
    sync::Arc,
    task::{Context, Poll},
};

use datafusion::common::Result;
use futures::{FutureExt, future::BoxFuture};

use super::{
    segment_morsel::SegmentMorsel,
    segment_read::{Loaded, SegmentReader},
};

/// At most one read is under way, and what it gave is taken before the next one.
pub(super) struct SegmentQueue {
    pub(super) reader: Arc<SegmentReader>,
    state: State,
    /// The read that is under way, or came last, did not find everything in memory.
    pub(super) waited: bool,
}

enum State {
    Idle,
    Reading(BoxFuture<'static, Result<Loaded>>),
    Done(Result<Loaded>),
}

impl SegmentQueue {
    pub(super) fn new(reader: Arc<SegmentReader>) -> Self {
        Self { reader, state: State::Idle, waited: false }
    }

    pub(super) fn is_idle(&self) -> bool {
        matches!(self.state, State::Idle)
    }

    /// Begins to read; nothing else is being read.
    pub(super) fn begin(&mut self, morsel: SegmentMorsel, limit: usize) {
        debug_assert!(self.is_idle());
        self.waited = false;
        self.state = State::Reading(Arc::clone(&self.reader).load(morsel, limit).boxed());
    }

    /// Lets the read that is under way go on; what it gives stays here.
    pub(super) fn advance(&mut self, context: &mut Context<'_>) {
        let State::Reading(read) = &mut self.state else { return };
        match read.poll_unpin(context) {
            Poll::Ready(loaded) => self.state = State::Done(loaded),
            Poll::Pending => self.waited = true,
        }
    }

    /// What was read. Not to be called while idle.
    pub(super) fn poll(&mut self, context: &mut Context<'_>) -> Poll<Result<Loaded>> {
        self.advance(context);
        match std::mem::replace(&mut self.state, State::Idle) {
            State::Done(loaded) => Poll::Ready(loaded),
            under_way => {
                self.state = under_way;
                Poll::Pending
            }
        }
    }
}
