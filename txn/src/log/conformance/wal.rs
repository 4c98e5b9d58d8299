//! The suite of the `Wal` contract.

use std::sync::Arc;

use bytes::Bytes;

use super::{WalHarness, body};
use crate::{
    ids::{EntryIndex, Term},
    log::wal::{Entry, FRAME_BYTES, Wal, WalError},
    sim::Rng,
};

type Make<'m> = &'m dyn Fn() -> Box<dyn WalHarness>;

/// Run the whole suite; `make` gives a new, empty log each time.
pub fn wal(make: Make<'_>) {
    indexes_are_consecutive_and_entries_readable_at_once(make);
    reads_are_bounded(make);
    synced_entries_survive_and_a_prefix_is_found(make);
    what_was_found_is_durable(make);
    older_terms_are_fenced_off(make);
    terms_grow_with_every_opening(make);
    too_large_an_entry_leaves_no_trace(make);
    a_cut_drops_the_prefix_only(make);
    cutting_everything_keeps_the_end(make);
    a_full_disk_leaves_no_trace(make);
    a_reservation_is_kept(make);
    a_failed_sync_is_for_ever(make);
    threads_share_the_log(make);
}

fn append(wal: &dyn Wal, len: usize) -> EntryIndex {
    let index = wal.last().next();
    let appended = wal.append(wal.term(), body(index.0, len).into());
    assert_eq!(appended, Ok(index), "append gives the index after last()");
    index
}

/// All entries from `from` on, in reads of `bytes_max`.
fn read_all(wal: &dyn Wal, from: EntryIndex, bytes_max: usize) -> Vec<Entry> {
    let mut entries: Vec<Entry> = Vec::new();
    let mut next = from;
    loop {
        let more = wal.read(next, bytes_max).expect("entries up to last() are readable");
        let Some(last) = more.last() else { return entries };
        assert_eq!(more[0].index, next, "a read begins where it was asked to");
        next = last.index.next();
        entries.extend(more);
    }
}

/// The log holds exactly the entries of `lens`, the first of them with index `first`.
fn check_content(wal: &dyn Wal, first: u64, lens: &[usize]) {
    let last = EntryIndex(first - 1 + lens.len() as u64);
    assert_eq!((wal.first(), wal.last()), (EntryIndex(first), last));
    for bytes_max in [0, 100, usize::MAX >> 1] {
        let entries = read_all(wal, EntryIndex(first), bytes_max);
        assert_eq!(entries.len(), lens.len());
        for (at, (entry, len)) in entries.iter().zip(lens).enumerate() {
            let index = first + at as u64;
            assert_eq!(entry.index.0, index);
            assert!(entry.body == body(index, *len), "entry {index} is what was appended");
        }
    }
}

fn indexes_are_consecutive_and_entries_readable_at_once(make: Make<'_>) {
    let mut harness = make();
    let wal = harness.open();
    assert_eq!(
        (wal.first(), wal.last(), wal.durable()),
        (EntryIndex(1), EntryIndex(0), wal.last())
    );
    assert_eq!(wal.read(EntryIndex(1), 100), Ok(Vec::new()), "an empty log reads as empty");
    let max = harness.entry_bytes_max();
    let lens = [0, 1, 7, 8, 9, 100, 0, max, 1000.min(max), max - 1, 3];
    for (at, len) in lens.iter().enumerate() {
        append(&*wal, *len);
        check_content(&*wal, 1, &lens[..=at]);
    }
    assert_eq!(wal.sync(), Ok(wal.last()));
    assert_eq!(wal.durable(), wal.last());
    check_content(&*wal, 1, &lens);
}

fn reads_are_bounded(make: Make<'_>) {
    let mut harness = make();
    let wal = harness.open();
    for _ in 0..100 {
        append(&*wal, 100);
    }
    assert_eq!(wal.read(EntryIndex(1), 0).map(|e| e.len()), Ok(1), "at least one entry");
    assert_eq!(wal.read(EntryIndex(100), 0).map(|e| e.len()), Ok(1));
    let some = wal.read(EntryIndex(20), 1000).expect("readable").len();
    assert!((5..=15).contains(&some), "{some} entries of 100 bytes for 1000 bytes");
    assert_eq!(wal.read(EntryIndex(101), 1000), Ok(Vec::new()), "beyond the end is empty");
    assert_eq!(wal.read(EntryIndex::MAX, 1000), Ok(Vec::new()));
}

fn synced_entries_survive_and_a_prefix_is_found(make: Make<'_>) {
    let mut rng = Rng::new(1);
    for _ in 0..10 {
        let mut harness = make();
        let mut lens = Vec::new();
        for _ in 0..4 {
            let wal = harness.open();
            let found = wal.last().0 as usize;
            assert!(found <= lens.len(), "nothing is found that was not appended");
            lens.truncate(found);
            check_content(&*wal, 1, &lens);
            let mut synced = found;
            for _ in 0..rng.below(40) {
                let len = rng.index(harness.entry_bytes_max().min(600) + 1);
                append(&*wal, len);
                lens.push(len);
                if rng.chance(1, 5) {
                    synced = wal.sync().expect("the disk works").0 as usize;
                    assert_eq!(synced, lens.len());
                }
            }
            harness.crash();
            drop(wal);
            let wal = harness.open();
            assert!(wal.last().0 as usize >= synced, "{synced} synced, {} found", wal.last());
        }
    }
}

fn what_was_found_is_durable(make: Make<'_>) {
    let mut harness = make();
    let wal = harness.open();
    for _ in 0..20 {
        append(&*wal, 300);
    }
    harness.crash();
    drop(wal);
    let wal = harness.open();
    let found = wal.last();
    assert_eq!(wal.durable(), found);
    harness.crash();
    drop(wal);
    assert_eq!(harness.open().last(), found, "what was there after one crash is after the next");
}

fn older_terms_are_fenced_off(make: Make<'_>) {
    let mut harness = make();
    let wal = harness.open();
    let old = wal.term();
    append(&*wal, 10);
    let new = old.next();
    assert_eq!(wal.append(new, body(2, 10).into()), Ok(EntryIndex(2)));
    assert_eq!(wal.term(), new);
    let fenced = WalError::Fenced { requested: old, current: new };
    assert_eq!(wal.append(old, body(3, 10).into()), Err(fenced));
    check_content(&*wal, 1, &[10, 10]);
    assert_eq!(wal.sync(), Ok(EntryIndex(2)));
    drop(wal);
    let wal = harness.open();
    assert!(wal.term() >= new, "the term outlives the process");
    let entries = read_all(&*wal, EntryIndex(1), 0);
    assert_eq!(entries.iter().map(|e| e.term).collect::<Vec<_>>(), [old, new]);
    assert!(matches!(wal.append(old, Bytes::new()), Err(WalError::Fenced { .. })));
}

fn terms_grow_with_every_opening(make: Make<'_>) {
    let mut harness = make();
    let mut last = Term(0);
    for _ in 0..4 {
        let wal = harness.open();
        assert!(wal.term() > last, "{} after {last}", wal.term());
        last = wal.term();
        harness.crash();
    }
}

fn too_large_an_entry_leaves_no_trace(make: Make<'_>) {
    let mut harness = make();
    let wal = harness.open();
    append(&*wal, 5);
    let bytes_max = harness.entry_bytes_max();
    let error = wal.append(wal.term(), body(2, bytes_max + 1).into());
    assert_eq!(error, Err(WalError::TooLarge { bytes: bytes_max + 1, bytes_max }));
    append(&*wal, 6);
    check_content(&*wal, 1, &[5, 6]);
}

fn a_cut_drops_the_prefix_only(make: Make<'_>) {
    let mut harness = make();
    let mut wal = harness.open();
    let lens: Vec<usize> = (0..200).map(|i| 50 + i).collect();
    for len in &lens {
        append(&*wal, *len);
    }
    for before in [1, 2, 77, 60, 150] {
        let first = wal.first();
        assert_eq!(wal.cut_prefix(EntryIndex(before)), Ok(()));
        assert!(wal.first() <= EntryIndex(before).max(first), "nothing at or after it is dropped");
        assert!(wal.first() >= first, "first() never goes back");
        let first = wal.first();
        check_content(&*wal, first.0, &lens[first.0 as usize - 1..]);
        if first > EntryIndex(1) {
            let below = EntryIndex(first.0 - 1);
            assert_eq!(wal.read(below, 100), Err(WalError::Cut { from: below, first }));
        }
        assert_eq!(wal.sync(), Ok(EntryIndex(200)));
        harness.crash();
        drop(wal);
        wal = harness.open();
        assert!(wal.first() >= first, "nor over a restart");
        let first = wal.first();
        check_content(&*wal, first.0, &lens[first.0 as usize - 1..]);
    }
    let (before, last) = (EntryIndex(202), EntryIndex(200));
    assert_eq!(wal.cut_prefix(before), Err(WalError::BeyondEnd { before, last }));
    check_content(&*wal, wal.first().0, &lens[wal.first().0 as usize - 1..]);
}

fn cutting_everything_keeps_the_end(make: Make<'_>) {
    let mut harness = make();
    let mut wal = harness.open();
    for _ in 0..30 {
        append(&*wal, 200);
    }
    let term = wal.term();
    assert_eq!(wal.cut_prefix(EntryIndex(31)), Ok(()), "also of entries not yet synced");
    for _ in 0..2 {
        assert_eq!(wal.last(), EntryIndex(30));
        assert!(wal.term() >= term);
        harness.crash();
        drop(wal);
        wal = harness.open();
    }
    assert_eq!(append(&*wal, 20), EntryIndex(31));
    assert_eq!(wal.sync(), Ok(EntryIndex(31)));
    harness.crash();
    drop(wal);
    wal = harness.open();
    let entry = wal.read(EntryIndex(31), 100).expect("readable").pop().expect("there is one");
    assert_eq!(entry.body, body(31, 20));
}

fn a_full_disk_leaves_no_trace(make: Make<'_>) {
    let mut harness = make();
    let mut wal = harness.open();
    let len = harness.entry_bytes_max().min(500);
    let mut lens = Vec::new();
    for _ in 0..5 {
        append(&*wal, len);
        lens.push(len);
    }
    if !harness.set_full(true) {
        return;
    }
    let mut refused = 0;
    for _ in 0..100_000 {
        match wal.append(wal.term(), body(wal.last().0 + 1, len).into()) {
            Ok(_) => lens.push(len),
            Err(WalError::Full(_)) => refused += 1,
            Err(other) => panic!("a full disk gives Full, not {other}"),
        }
        if refused == 3 {
            break;
        }
    }
    assert_eq!(refused, 3, "the disk is full some time");
    check_content(&*wal, 1, &lens);
    assert!(matches!(wal.reserve(1 << 30), Err(WalError::Full(_))));
    assert!(harness.set_full(false));
    assert_eq!(wal.reserve(20_000), Ok(()), "space is back");
    assert!(harness.set_full(true));
    assert_eq!(wal.sync(), Ok(wal.last()), "what is in the log can be synced");
    harness.crash();
    drop(wal);
    wal = harness.open();
    check_content(&*wal, 1, &lens);
    assert!(harness.set_full(false));
    for _ in 0..50 {
        append(&*wal, len);
        lens.push(len);
    }
    assert_eq!(wal.sync(), Ok(wal.last()));
    check_content(&*wal, 1, &lens);
}

fn a_reservation_is_kept(make: Make<'_>) {
    for seed in 0..20 {
        let mut rng = Rng::new(seed);
        let mut harness = make();
        let wal = harness.open();
        for _ in 0..rng.below(30) {
            append(&*wal, 100);
        }
        let mut left = rng.below(60_000);
        assert_eq!(wal.reserve(left), Ok(()));
        if !harness.set_full(true) {
            return;
        }
        let max = harness.entry_bytes_max();
        while left >= FRAME_BYTES as u64 {
            let len = match rng.below(3) {
                0 => max,
                1 => rng.index(max),
                _ => rng.index(200),
            };
            let len = len.min(usize::try_from(left).expect("small") - FRAME_BYTES);
            append(&*wal, len);
            left -= (len + FRAME_BYTES) as u64;
        }
    }
}

fn a_failed_sync_is_for_ever(make: Make<'_>) {
    let mut harness = make();
    let wal = harness.open();
    append(&*wal, 10);
    assert_eq!(wal.sync(), Ok(EntryIndex(1)));
    append(&*wal, 20);
    if !harness.fail_next_sync() {
        return;
    }
    let indeterminate = |result| matches!(result, Err(WalError::Indeterminate(_)));
    assert!(indeterminate(wal.sync().map(|_| ())));
    for _ in 0..2 {
        assert!(indeterminate(wal.sync().map(|_| ())), "a later sync proves nothing");
        assert!(indeterminate(wal.append(wal.term(), Bytes::new()).map(|_| ())));
        assert!(indeterminate(wal.reserve(1)));
        assert!(indeterminate(wal.cut_prefix(EntryIndex(2))));
    }
    assert_eq!(wal.durable(), EntryIndex(1), "durable() does not move");
    check_content(&*wal, 1, &[10, 20]);
    harness.crash();
    drop(wal);
    let wal = harness.open();
    assert!((1..=2).contains(&wal.last().0));
    check_content(&*wal, 1, &[10, 20][..wal.last().0 as usize]);
}

fn threads_share_the_log(make: Make<'_>) {
    const ENTRIES: u64 = 400;
    let mut harness = make();
    let wal = harness.open();
    std::thread::scope(|scope| {
        let wal: &Arc<dyn Wal> = &wal;
        scope.spawn(move || {
            for _ in 0..ENTRIES {
                append(&**wal, 64);
            }
        });
        for _ in 0..2 {
            scope.spawn(move || {
                let mut before = EntryIndex(0);
                while before.0 < ENTRIES {
                    let appended = wal.last();
                    let durable = wal.sync().expect("the disk works");
                    assert!(durable >= appended && durable >= before);
                    before = durable;
                }
            });
        }
        scope.spawn(move || {
            let mut next = EntryIndex(1);
            while next.0 <= ENTRIES {
                for entry in wal.read(next, 1000).expect("readable") {
                    assert_eq!(entry.index, next);
                    assert_eq!(entry.body, body(next.0, 64));
                    next = next.next();
                }
            }
        });
    });
    check_content(&*wal, 1, &[64; ENTRIES as usize]);
}
