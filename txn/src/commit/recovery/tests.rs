use bytes::Bytes;

use super::*;
use crate::{
    env::SystemThreads,
    ids::{LogId, Term, Timestamp},
    sim::{MemoryWal, SimThreads},
};

/// Notes what it is given; refuses one position.
#[derive(Default)]
struct Seen {
    positions: Vec<Position>,
    refused: Option<Position>,
}

impl Apply for Seen {
    fn apply(&mut self, position: Position, _: &Record) -> Result<(), ApplyError> {
        if Some(position) == self.refused {
            return Err(ApplyError { position, reason: "refused".to_owned() });
        }
        self.positions.push(position);
        Ok(())
    }
}

fn at(entry: u64) -> Position {
    Position::new(LogId(0), EntryIndex(entry), 0)
}

fn commit(number: u64) -> Record {
    Record::Commit {
        id: CommitId { number, ..CommitId::default() },
        timestamp: Timestamp(number),
        parts: 0,
        payload: Bytes::from(vec![0; 100]),
    }
}

/// A log of commits; the entries in `damaged` hold no records.
fn log(entries: u64, damaged: &[u64]) -> MemoryWal {
    let wal = MemoryWal::new();
    for n in 1..=entries {
        let body = match damaged.contains(&n) {
            true => Bytes::from_static(b"?"),
            false => record::encode(&[commit(n)]),
        };
        wal.append(Term(1), body).unwrap();
    }
    wal
}

fn replay(
    wal: &MemoryWal,
    threads: &dyn Threads,
    piece_bytes: usize,
    apply: &mut Seen,
) -> (Result<Snapshot, ReplayError>, Vec<Progress>) {
    let ids = CommitIds::new(LogId(0));
    let mut progress = Vec::new();
    let replay = Replay { wal, ids: &ids, threads, piece_bytes };
    let end = replay.run(apply, &mut |now| progress.push(now));
    (end, progress)
}

/// Piece sizes of one entry, a few, and all.
const PIECES: [usize; 3] = [1, 300, PIECE_BYTES];

#[test]
fn every_record_comes_once_and_in_order_however_large_the_pieces() {
    let wal = log(20, &[]);
    for piece_bytes in PIECES {
        for threads in [&SystemThreads as &dyn Threads, &SimThreads::default()] {
            let mut seen = Seen::default();
            let (end, progress) = replay(&wal, threads, piece_bytes, &mut seen);
            assert_eq!(end.unwrap().position, at(20));
            assert_eq!(seen.positions, (1..=20).map(at).collect::<Vec<_>>());
            let last = progress.last().unwrap();
            assert_eq!((last.entries, last.entries_total, last.records), (20, 20, 20));
            assert_eq!(progress.len() == 20, piece_bytes == 1);
        }
    }
}

#[test]
fn damage_is_told_when_everything_before_it_is_applied() {
    let wal = log(20, &[15, 17]);
    for piece_bytes in PIECES {
        let mut seen = Seen::default();
        let (end, _) = replay(&wal, &SystemThreads, piece_bytes, &mut seen);
        let error = end.unwrap_err();
        assert!(matches!(error, ReplayError::Decode { index: EntryIndex(15), .. }), "{error}");
        assert_eq!(seen.positions, (1..=14).map(at).collect::<Vec<_>>());
    }
}

#[test]
fn the_first_error_in_log_order_counts_though_reading_is_ahead() {
    let wal = log(20, &[15]);
    for piece_bytes in PIECES {
        let mut seen = Seen { refused: Some(at(14)), ..Seen::default() };
        let (end, _) = replay(&wal, &SystemThreads, piece_bytes, &mut seen);
        let error = end.unwrap_err();
        assert!(matches!(&error, ReplayError::Apply(apply) if apply.position == at(14)), "{error}");
        assert_eq!(seen.positions, (1..=13).map(at).collect::<Vec<_>>());
    }
}

#[test]
fn records_that_contradict_each_other_end_the_replay_where_they_stand() {
    let wal = log(3, &[]);
    wal.append(Term(1), record::encode(&[commit(2)])).unwrap();
    let mut seen = Seen::default();
    let (end, _) = replay(&wal, &SystemThreads, PIECE_BYTES, &mut seen);
    assert!(matches!(end.unwrap_err(), ReplayError::OutOfOrder(_)));
    assert_eq!(seen.positions.len(), 3);
}
