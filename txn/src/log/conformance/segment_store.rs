//! The suite of what the segment store promises beyond the `Wal` contract.

use super::{StoreHarness, body};
use crate::{
    ids::{EntryIndex, Term},
    log::{
        format::{EntryId, Marks, Vote},
        segment_store::SegmentStore,
        wal::WalError,
    },
};

type Make<'m> = &'m dyn Fn() -> Box<dyn StoreHarness>;

/// Run the whole suite; `make` gives a new, empty store each time.
pub fn segment_store(make: Make<'_>) {
    truncated_entries_never_come_back(make);
    truncation_reaches_into_older_files(make);
    committed_entries_cannot_be_truncated(make);
    marks_survive(make);
    terms_are_known(make);
    a_reset_goes_on_elsewhere(make);
}

fn append(store: &SegmentStore, term: u64, count: u64) {
    for _ in 0..count {
        let index = store.last().index.next();
        assert_eq!(store.append(Term(term), &body(index.0 ^ term << 32, 100)), Ok(index));
    }
}

/// The store holds entries `first ..` with these terms.
fn check(store: &SegmentStore, first: u64, terms: &[u64]) {
    let last = first - 1 + terms.len() as u64;
    assert_eq!((store.first().0, store.last().index.0), (first, last));
    for (at, term) in terms.iter().enumerate() {
        let index = first + at as u64;
        let entry = store.read(EntryIndex(index), 0).expect("readable").remove(0);
        assert_eq!((entry.index.0, entry.term.0), (index, *term));
        assert!(entry.body == body(index ^ term << 32, 100), "entry {index} is what was appended");
        assert_eq!(store.term_of(EntryIndex(index)), Ok(Term(*term)));
    }
}

fn reopen(harness: &mut dyn StoreHarness, store: SegmentStore) -> SegmentStore {
    harness.crash();
    drop(store);
    harness.open()
}

fn truncated_entries_never_come_back(make: Make<'_>) {
    let mut harness = make();
    let mut store = harness.open();
    append(&store, 1, 10);
    assert_eq!(store.truncate_suffix(EntryIndex(11)), Ok(()), "nothing to do");
    assert_eq!(store.truncate_suffix(EntryIndex(6)), Ok(()));
    check(&store, 1, &[1; 5]);
    assert_eq!(store.durable(), EntryIndex(5), "what is kept is durable");
    store = reopen(&mut *harness, store);
    check(&store, 1, &[1; 5]);
    append(&store, 2, 2);
    check(&store, 1, &[1, 1, 1, 1, 1, 2, 2]);
    assert_eq!(store.sync(), Ok(EntryIndex(7)));
    store = reopen(&mut *harness, store);
    check(&store, 1, &[1, 1, 1, 1, 1, 2, 2]);
    // The same place again, and the very first entry.
    for (from, term) in [(6, 3), (6, 4), (1, 5)] {
        assert_eq!(store.truncate_suffix(EntryIndex(from)), Ok(()));
        append(&store, term, 1);
        assert_eq!(store.sync(), Ok(EntryIndex(from)));
        store = reopen(&mut *harness, store);
        let mut terms = vec![1; from as usize - 1];
        terms.push(term);
        check(&store, 1, &terms);
    }
}

fn truncation_reaches_into_older_files(make: Make<'_>) {
    let mut harness = make();
    let mut store = harness.open();
    append(&store, 1, 300);
    assert_eq!(store.truncate_suffix(EntryIndex(21)), Ok(()));
    check(&store, 1, &[1; 20]);
    append(&store, 2, 200);
    assert_eq!(store.sync(), Ok(EntryIndex(220)));
    assert_eq!(store.cut_prefix(EntryIndex(11)), Ok(()));
    let terms: Vec<u64> = (11..=220).map(|index| if index <= 20 { 1 } else { 2 }).collect();
    check(&store, 11, &terms);
    store = reopen(&mut *harness, store);
    check(&store, 11, &terms);
    let (from, first) = (EntryIndex(10), EntryIndex(11));
    let error = store.truncate_suffix(from);
    assert!(matches!(error, Err(WalError::Misuse(_) | WalError::Cut { .. })), "{error:?}");
    assert_eq!(store.first(), first);
    assert_eq!(store.truncate_suffix(first), Ok(()), "everything that is left");
    check(&store, 11, &[]);
    store = reopen(&mut *harness, store);
    check(&store, 11, &[]);
    append(&store, 3, 3);
    check(&store, 11, &[3; 3]);
}

fn committed_entries_cannot_be_truncated(make: Make<'_>) {
    let mut harness = make();
    let mut store = harness.open();
    append(&store, 1, 10);
    assert!(matches!(store.save_committed(EntryIndex(1)), Err(WalError::Misuse(_))), "not durable");
    assert_eq!(store.sync(), Ok(EntryIndex(10)));
    assert_eq!(store.save_committed(EntryIndex(7)), Ok(()));
    assert_eq!(store.save_committed(EntryIndex(3)), Ok(()), "it never goes back");
    store = reopen(&mut *harness, store);
    assert_eq!(store.marks().committed, EntryIndex(7));
    assert!(matches!(store.truncate_suffix(EntryIndex(7)), Err(WalError::Misuse(_))));
    assert_eq!(store.truncate_suffix(EntryIndex(8)), Ok(()));
    check(&store, 1, &[1; 7]);
}

fn marks_survive(make: Make<'_>) {
    let mut harness = make();
    let mut store = harness.open();
    assert_eq!(Marks { newest_file: 0, ..store.marks() }, Marks::default());
    append(&store, 1, 5);
    assert_eq!(store.sync(), Ok(EntryIndex(5)));
    for number in 1..10 {
        let vote = Vote { term: Term(number), node: number * 7, committed: number % 2 == 0 };
        assert_eq!(store.save_vote(vote), Ok(()));
        store = reopen(&mut *harness, store);
        let newest_file = store.marks().newest_file;
        assert_eq!(store.marks(), Marks { vote, newest_file, ..Marks::default() });
        check(&store, 1, &[1; 5]);
    }
}

fn terms_are_known(make: Make<'_>) {
    let mut harness = make();
    let store = harness.open();
    assert_eq!(store.term_of(EntryIndex(0)), Ok(Term(0)), "before the first entry");
    append(&store, 1, 50);
    append(&store, 4, 50);
    assert!(matches!(store.append(Term(3), b""), Err(WalError::Fenced { .. })));
    assert_eq!(store.cut_prefix(EntryIndex(41)), Ok(()));
    assert_eq!(store.term_of(EntryIndex(40)), Ok(Term(1)), "of the newest entry that was cut");
    assert!(matches!(store.term_of(EntryIndex(39)), Err(WalError::Cut { .. })));
    assert!(matches!(store.term_of(EntryIndex(101)), Err(WalError::Misuse(_))));
    let mut terms = vec![1; 10];
    terms.extend([4; 50]);
    check(&store, 41, &terms);
}

fn a_reset_goes_on_elsewhere(make: Make<'_>) {
    let mut harness = make();
    let mut store = harness.open();
    append(&store, 1, 100);
    let to = EntryId::new(Term(3), EntryIndex(500));
    assert!(matches!(
        store.reset(EntryId { index: EntryIndex(99), ..to }),
        Err(WalError::Misuse(_))
    ));
    assert_eq!(store.reset(to), Ok(()));
    for _ in 0..2 {
        assert_eq!((store.last(), store.durable()), (to, to.index));
        check(&store, 501, &[]);
        assert_eq!(store.term_of(to.index), Ok(to.term));
        store = reopen(&mut *harness, store);
    }
    assert!(matches!(store.append(Term(2), b""), Err(WalError::Fenced { .. })));
    append(&store, 3, 40);
    assert_eq!(store.sync(), Ok(EntryIndex(540)));
    store = reopen(&mut *harness, store);
    check(&store, 501, &[3; 40]);
}
