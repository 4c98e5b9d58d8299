//! The state as bytes, for checkpoints. Described in `docs/formats/commit_ids.md`.

use super::{CommitIds, Finished, Open, State};
use crate::{
    codec::{DecodeError, Reader, Writer},
    ids::{CommitId, EntryIndex, LogId, Position, Snapshot, Term, Timestamp},
};

use hashbrown::HashMap;
use parking_lot::Mutex;

/// First byte; another one is refused.
const FORMAT_VERSION: u8 = 1;

const COMMITTED: u8 = 1;
const ABORTED: u8 = 2;

/// What a checkpoint holds of commit ids.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Exported {
    pub bytes: Vec<u8>,
    /// Recovery from this checkpoint reads the log from this entry on: cut below it, never above.
    /// Lies before the checkpoint's entry if a large commit is under way, also if that has ended by
    /// the time of the cut: its commit record needs the parts.
    pub log_from: EntryIndex,
}

impl CommitIds {
    /// The state as it is now. Called within `Apply::apply` of a control record, that is the state
    /// at this record's position exactly: the pipeline takes a record in before it applies it.
    #[must_use]
    pub fn export(&self) -> Exported {
        let state = self.state.lock();
        Exported { bytes: state.export(), log_from: state.log_from() }
    }

    /// What `export` returned.
    pub fn import(bytes: &[u8]) -> Result<Self, DecodeError> {
        Ok(Self { state: Mutex::new(State::import(bytes)?) })
    }
}

impl State {
    /// The entry of what is applied last may be applied in part only.
    fn log_from(&self) -> EntryIndex {
        let oldest = self.open.values().map(|open| open.first.index).min();
        let applied = self.applied.position.index;
        oldest.map_or(applied, |oldest| oldest.min(applied)).max(EntryIndex(1))
    }

    fn export(&self) -> Vec<u8> {
        let mut out = Writer::with_capacity(64 + 24 * self.order.len());
        out.u8(FORMAT_VERSION);
        out.varint(self.applied.position.log.0.into());
        put_place(&mut out, self.applied.position);
        out.u64(self.applied.timestamp.0);
        out.varint(self.remembered_max as u64);

        out.varint(self.term_floor.0);
        let mut floors: Vec<_> = self.floors.iter().collect();
        floors.sort_unstable();
        out.varint(floors.len() as u64);
        for (&(term, start), &floor) in floors {
            out.varint(term.0).u64(start).varint(floor);
        }

        out.varint(self.order.len() as u64);
        for id in &self.order {
            let finished = &self.finished[id];
            out.u8(if finished.timestamp.is_some() { COMMITTED } else { ABORTED });
            put_id(&mut out, *id);
            put_place(&mut out, finished.position);
            if let Some(timestamp) = finished.timestamp {
                out.u64(timestamp.0);
            }
        }

        let mut open: Vec<_> = self.open.iter().collect();
        open.sort_unstable_by_key(|(id, _)| **id);
        out.varint(open.len() as u64);
        for (id, open) in open {
            put_id(&mut out, *id);
            put_place(&mut out, open.first);
            out.varint(open.parts.into());
        }
        out.into_vec()
    }

    fn import(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut from = Reader::new(bytes);
        match from.u8()? {
            FORMAT_VERSION => {}
            other => return Err(from.invalid("version of exported commit ids", other.into())),
        }
        let log = LogId(from.varint_u32("log")?);
        let position = get_place(&mut from, log)?;
        let applied = Snapshot { position, timestamp: Timestamp(from.u64()?) };
        let remembered_max = usize::try_from(from.varint()?).unwrap_or(usize::MAX);
        let mut state = CommitIds::with_limit(log, remembered_max).state.into_inner();
        state.applied = applied;

        state.term_floor = Term(from.varint()?);
        for _ in 0..from.count(10)? {
            let origin = (Term(from.varint()?), from.u64()?);
            state.floors.insert(origin, from.varint()?);
        }
        for _ in 0..from.count(13)? {
            let kind = from.u8()?;
            let id = get_id(&mut from)?;
            let position = get_place(&mut from, log)?;
            let timestamp = match kind {
                COMMITTED => Some(Timestamp(from.u64()?)),
                ABORTED => None,
                other => return Err(from.invalid("outcome of a commit id", other.into())),
            };
            unique(&from, &mut state.finished, id, Finished { position, timestamp })?;
            state.order.push_back(id);
        }
        for _ in 0..from.count(13)? {
            let id = get_id(&mut from)?;
            let first = get_place(&mut from, log)?;
            let parts = from.varint_u32("number of parts")?;
            unique(&from, &mut state.open, id, Open { first, parts })?;
        }
        from.finish()?;
        Ok(state)
    }
}

fn unique<V, S: std::hash::BuildHasher>(
    from: &Reader<'_>,
    into: &mut HashMap<CommitId, V, S>,
    id: CommitId,
    value: V,
) -> Result<(), DecodeError> {
    match into.insert(id, value) {
        None => Ok(()),
        Some(_) => Err(from.invalid("commit id (it occurs twice)", id.number)),
    }
}

/// Position without its log, which is the same for all.
fn put_place(out: &mut Writer, position: Position) {
    out.varint(position.index.0).varint(position.ordinal.into());
}

fn get_place(from: &mut Reader<'_>, log: LogId) -> Result<Position, DecodeError> {
    Ok(Position::new(log, EntryIndex(from.varint()?), from.varint_u32("ordinal")?))
}

fn put_id(out: &mut Writer, id: CommitId) {
    out.varint(id.term.0).u64(id.start).varint(id.number);
}

fn get_id(from: &mut Reader<'_>) -> Result<CommitId, DecodeError> {
    Ok(CommitId { term: Term(from.varint()?), start: from.u64()?, number: from.varint()? })
}
