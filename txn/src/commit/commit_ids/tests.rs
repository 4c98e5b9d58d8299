use bytes::Bytes;

use super::*;
use crate::ids::EntryIndex;

fn id(number: u64) -> CommitId {
    CommitId { term: Term(1), start: 77, number }
}

fn at(index: u64) -> Position {
    Position::new(LogId(0), EntryIndex(index), 0)
}

fn commit(number: u64, time: u64, parts: u32) -> Record {
    Record::Commit { id: id(number), timestamp: Timestamp(time), parts, payload: Bytes::new() }
}

fn part(number: u64, sequence: u32) -> Record {
    Record::Part { id: id(number), sequence, payload: Bytes::new() }
}

#[test]
fn outcomes_follow_the_log() {
    let ids = CommitIds::new(LogId(0));
    assert_eq!(ids.outcome(id(1)), Outcome::Unknown);
    ids.record(at(1), &commit(1, 10, 0)).unwrap();
    ids.record(at(2), &Record::Abort { id: id(2) }).unwrap();
    let control = Record::Control { timestamp: Timestamp(20), payload: Bytes::new() };
    ids.record(at(3), &control).unwrap();
    let committed = Outcome::Committed { position: at(1), timestamp: Timestamp(10) };
    assert_eq!(ids.outcome(id(1)), committed);
    assert_eq!(ids.outcome(id(2)), Outcome::Aborted { position: at(2) });
    assert_eq!(ids.outcome(id(3)), Outcome::Unknown);
    assert_eq!(ids.applied(), Snapshot { position: at(3), timestamp: Timestamp(20) });

    let twice = ids.record(at(4), &commit(1, 30, 0));
    assert_eq!(twice, Err(OutOfOrder::Id { position: at(4), id: id(1), found: committed }));
    let late = ids.record(at(4), &commit(2, 30, 0));
    assert!(matches!(late, Err(OutOfOrder::Id { .. })), "an aborted id never commits");
    let old = ids.record(at(3), &commit(4, 30, 0));
    assert!(matches!(old, Err(OutOfOrder::Position { .. })));
    let back = ids.record(at(4), &commit(4, 20, 0));
    assert!(matches!(back, Err(OutOfOrder::Timestamp { .. })));
    assert_eq!(ids.applied().position, at(3), "what is refused changes nothing");
}

#[test]
fn parts_come_in_sequence_and_hold_the_log() {
    let ids = CommitIds::new(LogId(0));
    assert_eq!(ids.oldest_open_part(), None);
    ids.record(at(5), &part(1, 0)).unwrap();
    ids.record(at(6), &part(2, 0)).unwrap();
    ids.record(at(7), &part(1, 1)).unwrap();
    assert_eq!(ids.oldest_open_part(), Some(at(5)));
    let gap = ids.record(at(8), &part(1, 3));
    assert_eq!(gap, Err(OutOfOrder::Part { position: at(8), id: id(1), found: 3, expected: 2 }));
    let short = ids.record(at(8), &commit(1, 10, 1));
    assert!(matches!(short, Err(OutOfOrder::Parts { found: 1, expected: 2, .. })));
    ids.record(at(8), &commit(1, 10, 2)).unwrap();
    assert_eq!(ids.open_parts(), vec![OpenParts { id: id(2), first: at(6), parts: 1 }]);
    ids.record(at(9), &Record::Abort { id: id(2) }).unwrap();
    assert_eq!(ids.oldest_open_part(), None);
    assert!(ids.record(at(10), &part(2, 1)).is_err(), "an aborted id gets no more parts");
}

#[test]
fn what_is_forgotten_is_never_called_unknown() {
    let ids = CommitIds::with_limit(LogId(0), 3);
    ids.record(at(1), &part(2, 0)).unwrap();
    for number in 3..=8 {
        ids.record(at(number), &commit(number, number * 10, 0)).unwrap();
    }
    for number in 3..=5 {
        assert_eq!(ids.outcome(id(number)), Outcome::Forgotten, "{number}");
    }
    for number in 6..=8 {
        assert!(matches!(ids.outcome(id(number)), Outcome::Committed { .. }), "{number}");
    }
    assert_eq!(ids.outcome(id(1)), Outcome::Forgotten, "below the floor nobody can say");
    assert_eq!(ids.outcome(id(9)), Outcome::Unknown);
    assert!(matches!(ids.outcome(id(2)), Outcome::Open { .. }), "open ones are never forgotten");
    let elsewhere = CommitId { start: 78, ..id(1) };
    assert_eq!(ids.outcome(elsewhere), Outcome::Unknown, "floors are per origin");
}

#[test]
fn origins_are_bounded() {
    let ids = CommitIds::with_limit(LogId(0), 0);
    let of = |term| CommitId { term: Term(term), start: 1, number: 1 };
    let count = ORIGINS_MAX as u64 + 2;
    for term in 1..=count {
        ids.record(at(term), &Record::Abort { id: of(term) }).unwrap();
        assert!(ids.state.lock().floors.len() <= ORIGINS_MAX);
    }
    for term in 1..=count {
        assert_eq!(ids.outcome(of(term)), Outcome::Forgotten, "{term}");
    }
    assert_eq!(ids.outcome(CommitId { start: 2, ..of(1) }), Outcome::Forgotten);
    assert_eq!(ids.outcome(CommitId { start: 2, ..of(count) }), Outcome::Unknown);
}

fn filled() -> CommitIds {
    let ids = CommitIds::with_limit(LogId(0), 3);
    ids.record(at(1), &part(20, 0)).unwrap();
    for number in 2..=7 {
        ids.record(at(number), &commit(number, number * 10, 0)).unwrap();
    }
    ids.record(at(8), &Record::Abort { id: id(9) }).unwrap();
    ids.record(at(9), &part(20, 1)).unwrap();
    ids
}

#[test]
fn an_export_holds_everything() {
    let ids = filled();
    let exported = ids.export().bytes;
    assert_eq!(ids.export().log_from, EntryIndex(1), "the open part is older");
    let imported = CommitIds::import(&exported).expect("just exported");
    assert_eq!(*imported.state.lock(), *ids.state.lock());
    let hex: String = exported.iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(hex, include_str!("golden.txt").trim_end(), "the exported format changed");
    imported.record(at(10), &commit(20, 100, 2)).unwrap();
}

#[test]
fn no_damaged_export_panics() {
    let exported = filled().export().bytes;
    for len in 0..exported.len() {
        assert!(CommitIds::import(&exported[..len]).is_err(), "cut to {len}");
    }
    for at in 0..exported.len() {
        for value in [0, 1, 2, 0x7f, 0x80, 0xff] {
            let mut changed = exported.clone();
            changed[at] = value;
            let _ = CommitIds::import(&changed);
        }
    }
}
