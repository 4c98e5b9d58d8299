//! A small log with everything in it, for tests that look at its bytes.

#![allow(dead_code, reason = "each test that includes this module uses its part of it")]

use std::{collections::BTreeMap, sync::Arc};

use glaredb_txn::{
    env::{Disk, Env, Random},
    ids::{DatabaseId, EntryIndex, LogId, Term},
    log::{OpenError, format::Vote, segment_store::SegmentStore},
    sim::{SimDisk, SimEnv},
};

pub(crate) const DATABASE: DatabaseId = DatabaseId(0x0011_2233_4455_6677_8899_aabb_ccdd_eeff);
pub(crate) const LOG: LogId = LogId(5);
pub(crate) const FILE_BYTES: u64 = 8 << 10;
pub(crate) const DIRECTORY: &str = "log";

/// Files by path.
pub(crate) type Folder = BTreeMap<String, Vec<u8>>;

/// Counts: salts of golden files must not depend on a generator.
struct Counting(std::sync::atomic::AtomicU64);

impl Random for Counting {
    fn next_u64(&self) -> u64 {
        0x5a17_0000 + self.0.fetch_add(1, std::sync::atomic::Ordering::Relaxed)
    }
}

pub(crate) fn body(index: u64, term: u64, len: usize) -> Vec<u8> {
    format!("entry {index} of term {term}. ").bytes().cycle().take(len).collect()
}

/// Terms and lengths of the entries in the folder, from index 4 on: 1 to 3 are cut.
pub(crate) const ENTRIES: [(u64, usize); 11] = [
    (1, 1000),
    (1, 1500),
    (1, 900),
    (3, 5),
    (3, 0),
    (3, 8),
    (3, 3000),
    (4, 1000),
    (4, 17),
    (4, 64),
    (4, 1),
];
pub(crate) const FIRST: u64 = 4;

pub(crate) fn env(disk: &Arc<SimDisk>) -> Env {
    let random = Arc::new(Counting(1.into()));
    Env { disk: Arc::clone(disk) as _, random, ..SimEnv::new(0).env() }
}

pub(crate) fn open(env: &Env) -> Result<SegmentStore, OpenError> {
    Ok(SegmentStore::open(env, DIRECTORY, DATABASE, LOG, FILE_BYTES)?.0)
}

/// Make the folder: entries cut, sealed files, a truncation, a vote, a spare. Every entry is synced
/// when the next is written, the last one too.
pub(crate) fn make(committed: bool) -> Folder {
    let disk = Arc::new(SimDisk::new(1));
    let store = open(&env(&disk)).expect("a new log");
    let append = |term: u64, len: usize| {
        let index = store.last().index.next();
        store.append(Term(term), &body(index.0, term, len)).expect("room enough");
        store.sync().expect("a good disk");
    };
    for len in [2000, 1900, 10] {
        append(1, len);
    }
    for (term, len) in &ENTRIES[..3] {
        append(*term, *len);
    }
    append(2, 333);
    append(2, 444);
    store.truncate_suffix(EntryIndex(7)).expect("nothing is committed");
    for (term, len) in &ENTRIES[3..] {
        append(*term, *len);
    }
    store.cut_prefix(EntryIndex(FIRST)).expect("they are there");
    store.save_vote(Vote { term: Term(6), node: 2, committed: true }).expect("a good disk");
    if committed {
        store.save_committed(store.durable()).expect("a good disk");
    }
    store.prepare_spare().expect("room enough");
    files(&disk)
}

pub(crate) fn files(disk: &SimDisk) -> Folder {
    let names = disk.list(DIRECTORY).expect("the folder is there");
    let paths = names.into_iter().map(|name| format!("{DIRECTORY}/{name}"));
    paths.map(|path| (path.clone(), disk.content(&path).expect("listed"))).collect()
}

/// A disk that holds these files, durably.
pub(crate) fn disk_with(folder: &Folder) -> Arc<SimDisk> {
    let disk = Arc::new(SimDisk::new(1));
    disk.create_dir_all(DIRECTORY).expect("a good disk");
    for (path, bytes) in folder {
        let file = disk.create(path).expect("a good disk");
        file.write_at(0, bytes).expect("a good disk");
        file.sync_data().expect("a good disk");
    }
    disk.sync_dir(DIRECTORY).expect("a good disk");
    disk
}

/// Does the store hold a prefix of the folder's entries, unchanged? Its length.
pub(crate) fn check_prefix(store: &SegmentStore) -> usize {
    assert_eq!(store.first(), EntryIndex(FIRST));
    let mut count = 0;
    while let Some(entry) =
        store.read(EntryIndex(FIRST + count as u64), 0).expect("what was found is readable").pop()
    {
        let (term, len) = ENTRIES[count];
        assert_eq!((entry.index.0, entry.term.0), (FIRST + count as u64, term));
        assert!(entry.body == body(entry.index.0, term, len), "{entry:?}");
        count += 1;
    }
    assert_eq!(store.last().index.0, FIRST - 1 + count as u64);
    count
}
