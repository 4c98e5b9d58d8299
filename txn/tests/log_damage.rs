//! Files that decayed, were cut off, swapped, removed, or belong to someone else.

mod folder;

use folder::{DATABASE, DIRECTORY, ENTRIES, FILE_BYTES, Folder, LOG, check_prefix, disk_with, env};
use glaredb_txn::{
    env::DiskError,
    ids::{DatabaseId, EntryIndex, LogId, Term},
    log::{
        OpenError,
        dump::{Dump, Item},
        format::{EntryId, Identity, Marks, encode_frame},
        segment_store::SegmentStore,
    },
    sim::{Rng, SimDisk, SimEnv},
};

fn open(folder: &Folder) -> Result<SegmentStore, OpenError> {
    folder::open(&env(&disk_with(folder)))
}

fn dump(disk: &SimDisk) -> Vec<Item> {
    let mut items = Vec::new();
    let visited = Dump::open(disk, DIRECTORY).and_then(|dump| {
        dump.visit(&mut |item| {
            items.push(item);
            Ok::<(), DiskError>(())
        })
    });
    assert_eq!(visited, Ok(()));
    items
}

fn check(disk: &SimDisk) -> Result<(), OpenError> {
    Dump::open(disk, DIRECTORY).expect("the folder is there").check()
}

fn log_files(folder: &Folder) -> Vec<String> {
    folder.keys().filter(|path| path.ends_with(".log")).cloned().collect()
}

/// The newest file with entries; a spare follows it.
fn newest(folder: &Folder) -> String {
    let files = log_files(folder);
    files[files.len() - 2].clone()
}

#[test]
fn no_flipped_bit_changes_or_loses_an_entry() {
    let folder = folder::make(true);
    let healthy = open(&folder).expect("the folder is good").marks();
    let mut rng = Rng::new(3);
    let (mut refused, mut harmless) = (0, 0);
    for (path, bytes) in &folder {
        for at in 0..bytes.len() {
            let mut damaged = folder.clone();
            damaged.get_mut(path).expect("it is there")[at] ^= 1 << rng.below(8);
            match open(&damaged) {
                Ok(store) => {
                    harmless += 1;
                    assert_eq!(check_prefix(&store), ENTRIES.len(), "{path} byte {at}");
                    assert_eq!(
                        Marks { newest_file: 0, ..store.marks() },
                        Marks { newest_file: 0, ..healthy }
                    );
                }
                Err(OpenError::Corrupt { file, offset, reason }) => {
                    refused += 1;
                    assert_eq!(&file, path, "{reason}");
                    assert!(offset <= at as u64, "byte {at}, reported at {offset}: {reason}");
                    assert!(at as u64 - offset < 3100, "byte {at}, reported at {offset}: {reason}");
                }
                Err(other) => panic!("{path} byte {at}: {other}"),
            }
        }
    }
    // Zeros behind the entries and the second copy of the marks do not matter, frames do.
    assert!(refused > 8000 && harmless > 8000, "{refused} refused, {harmless} harmless");
}

#[test]
fn damage_in_the_last_entry_alone_may_be_an_unfinished_write() {
    let folder = folder::make(false);
    let path = newest(&folder);
    let end = folder[&path].iter().rposition(|byte| *byte != 0).expect("entries");
    let mut damaged = folder.clone();
    damaged.get_mut(&path).expect("it is there")[end] ^= 1;
    let disk = disk_with(&damaged);
    assert_eq!(check(&disk), Ok(()));
    let store = folder::open(&env(&disk)).expect("an unfinished write is cut");
    assert_eq!(check_prefix(&store), ENTRIES.len() - 1);
    // Not so when the mark says that it was committed.
    let mut damaged = folder::make(true);
    damaged.get_mut(&path).expect("it is there")[end] ^= 1;
    let error = open(&damaged).err().expect("refused").to_string();
    assert!(error.contains("entries up to 14 were durable"), "{error}");
    // Nor one entry before, because the last one says so.
    let mut damaged = folder;
    damaged.get_mut(&path).expect("it is there")[end - 60] ^= 1;
    let error = open(&damaged).err().expect("refused").to_string();
    assert!(error.contains("was written when entries up to 13 were durable"), "{error}");
}

#[test]
fn a_file_that_was_cut_off_or_extended_is_refused() {
    let folder = folder::make(false);
    for path in log_files(&folder) {
        for len in [0, 1, 511, 512, 1000, 1024, 4095, 4096, 4100, 6000, 8191, 8193, 9000] {
            let mut damaged = folder.clone();
            damaged.get_mut(&path).expect("it is there").resize(len, 0);
            match open(&damaged) {
                Err(OpenError::Corrupt { file, .. }) => assert_eq!(file, path),
                other => panic!("{path} with {len} bytes: {:?}", other.err()),
            }
        }
    }
    for len in [0, 100, 600, 4096, 4600] {
        let mut damaged = folder.clone();
        damaged.get_mut("log/marks").expect("it is there").resize(len, 0);
        match open(&damaged) {
            Ok(store) => assert!(len > 512 && check_prefix(&store) == ENTRIES.len()),
            Err(error) => assert!(len < 512, "{len} bytes of marks: {error}"),
        }
    }
}

#[test]
fn a_missing_file_is_noticed() {
    let folder = folder::make(false);
    let files = log_files(&folder);
    let (spare, active) = files.split_last().expect("files");
    for path in active.iter().map(String::as_str).chain(["log/marks"]) {
        let mut damaged = folder.clone();
        damaged.remove(path);
        let error = open(&damaged).err().expect("refused");
        assert!(matches!(error, OpenError::Corrupt { .. }), "{path}: {error}");
    }
    let mut damaged = folder;
    damaged.remove(spare);
    let store = open(&damaged).expect("a spare holds nothing");
    assert_eq!(check_prefix(&store), ENTRIES.len());
}

#[test]
fn files_in_each_others_place_are_refused() {
    let folder = folder::make(false);
    let files = log_files(&folder);
    for from in &files {
        for to in &files {
            if from != to {
                let mut damaged = folder.clone();
                damaged.insert(to.clone(), folder[from].clone());
                match open(&damaged) {
                    Err(OpenError::Corrupt { file, offset: 0, .. }) => assert_eq!(&file, to),
                    other => panic!("{from} in place of {to}: {:?}", other.err()),
                }
            }
        }
    }
}

#[test]
fn a_spare_with_entries_is_refused() {
    // As if the sector of the activation block had been lost.
    let folder = folder::make(true);
    for path in &log_files(&folder)[..2] {
        for damage in [0x00, 0xff] {
            let mut damaged = folder.clone();
            damaged.get_mut(path).expect("it is there")[512..1024].fill(damage);
            match open(&damaged) {
                Err(OpenError::Corrupt { file, offset: 512, .. }) => assert_eq!(&file, path),
                other => panic!("{path}: {:?}", other.err()),
            }
        }
    }
}

fn other_log(database_id: DatabaseId, log_id: LogId) -> Folder {
    let sim = SimEnv::new(9);
    let store = SegmentStore::open(&sim.env(), DIRECTORY, database_id, log_id, FILE_BYTES);
    store.expect("a new log").0.append(Term(1), b"theirs").expect("room");
    folder::files(&sim.disk)
}

#[test]
fn what_belongs_to_another_is_refused_by_name() {
    let ours = folder::make(true);
    let (other_database, other_id) = (DatabaseId(0xabc), LogId(6));
    for path in ["log/marks".to_owned(), log_files(&ours)[1].clone()] {
        let theirs = other_log(other_database, LOG);
        let mut mixed = ours.clone();
        let mut bytes = theirs.get(&path).unwrap_or(&theirs["log/marks"]).clone();
        if path.ends_with(".log") {
            // Their file under the name of ours: the sequence matches.
            bytes = their_file(other_database, LOG, sequence(&path));
        }
        mixed.insert(path.clone(), bytes);
        let expected = OpenError::Foreign { file: path, expected: DATABASE, found: other_database };
        assert_eq!(open(&mixed).err(), Some(expected.clone()));
        let text = expected.to_string();
        assert!(text.contains("00000000000000000000000000000abc"), "{text}");
    }
    let mut mixed = ours.clone();
    mixed.insert("log/marks".to_owned(), other_log(DATABASE, other_id)["log/marks"].clone());
    assert!(matches!(
        open(&mixed).err(),
        Some(OpenError::ForeignLog { expected: LOG, found: LogId(6), .. })
    ));
}

fn sequence(path: &str) -> u64 {
    let name = path.rsplit('/').next().expect("a path has a name");
    name.trim_end_matches(".log").parse().expect("a file's name is its sequence")
}

/// File `sequence` of a log of somebody else.
fn their_file(database_id: DatabaseId, log_id: LogId, sequence: u64) -> Vec<u8> {
    let sim = SimEnv::new(9);
    let store = SegmentStore::open(&sim.env(), DIRECTORY, database_id, log_id, FILE_BYTES)
        .expect("a new log")
        .0;
    for _ in 0..20 {
        store.append(Term(1), &[7; 1000]).expect("room");
    }
    sim.disk.content(&format!("{DIRECTORY}/{sequence:020}.log")).expect("so many files")
}

/// Make a block of the same content and a newer version.
fn newer(block: &mut [u8]) {
    block[8..12].copy_from_slice(&2_u32.to_le_bytes());
    let len = u32::from_le_bytes(block[12..16].try_into().expect("four bytes")) as usize;
    let checksum = crc32c::crc32c_append(crc32c::crc32c(&block[8..16]), &block[20..20 + len]);
    block[16..20].copy_from_slice(&checksum.to_le_bytes());
}

#[test]
fn a_newer_format_is_refused_by_version() {
    let folder = folder::make(true);
    let file = log_files(&folder)[1].clone();
    for (path, at) in [("log/marks", 0), ("log/marks", 4096), (&file, 0), (&file, 512)] {
        let mut changed = folder.clone();
        newer(&mut changed.get_mut(path).expect("it is there")[at..at + 512]);
        let expected = OpenError::Newer { file: path.to_owned(), supported: 1, found: 2 };
        assert_eq!(open(&changed).err(), Some(expected), "{path} at {at}");
    }
}

#[test]
fn a_frame_of_another_file_never_passes_for_one_of_this() {
    let folder = folder::make(true);
    let path = newest(&folder);
    let bytes = &folder[&path];
    let ours = Identity::decode(&bytes[..512]).expect("a good block");
    let end = bytes.iter().rposition(|byte| *byte != 0).expect("entries");
    let end = (end + 1).next_multiple_of(8);
    let id = EntryId::new(Term(4), EntryIndex(15));
    for other in [
        ours.clone(),
        Identity { salt: ours.salt + 1, ..ours.clone() },
        Identity { sequence: ours.sequence - 1, ..ours.clone() },
        Identity { database_id: DatabaseId(1), ..ours.clone() },
    ] {
        let mut frame = Vec::new();
        encode_frame(&mut frame, other.seed(), id, EntryIndex(14), b"not of this file");
        let mut changed = folder.clone();
        changed.get_mut(&path).expect("it is there")[end..end + frame.len()]
            .copy_from_slice(&frame);
        let store = open(&changed).expect("an unfinished write");
        let expected = if other == ours { 15 } else { 14 };
        assert_eq!(store.last().index, EntryIndex(expected), "{other:?}");
    }
}

/// Entries of one frame per sector, three of them never synced; the middle one is lost. What is
/// written in its place later must not be followed by the old third one.
#[test]
fn what_lay_behind_a_lost_entry_never_comes_back() {
    let len = 512 - 40;
    let mut brought = 0;
    for seed in 0..200 {
        let sim = SimEnv::new(seed);
        let store = folder::open(&sim.env()).expect("a new log");
        store.append(Term(1), &vec![1; len]).expect("room");
        store.sync().expect("a good disk");
        for number in 2..6 {
            store.append(Term(1), &vec![number; len]).expect("room");
        }
        sim.disk.crash();
        let store = folder::open(&sim.env()).expect("unfinished writes are cut");
        let found = store.last().index.0;
        if found == 5 {
            continue;
        }
        store.append(Term(1), &vec![99; len]).expect("room");
        store.sync().expect("a good disk");
        sim.disk.crash();
        let store = folder::open(&sim.env()).expect("all is well");
        assert_eq!(store.last().index, EntryIndex(found + 1), "seed {seed}");
        brought += 1;
    }
    assert!(brought > 50);
}

#[test]
fn a_dump_shows_everything_and_changes_nothing() {
    let folder = folder::make(true);
    let disk = disk_with(&folder);
    let operations = disk.operations();
    let items = dump(&disk);
    assert_eq!(disk.operations(), operations, "not one operation that changes the disk");
    assert_eq!(check(&disk), Ok(()));
    assert_eq!(disk.operations(), operations);
    let mut live = Vec::new();
    let (mut replaced, mut ends) = (0, 0);
    for item in &items {
        match item {
            Item::Frame { replaced_by: Some(_), .. } => replaced += 1,
            Item::Frame { id, body, .. } if id.index.0 >= folder::FIRST => {
                live.push((id.term.0, body.len()));
            }
            Item::End { .. } => ends += 1,
            _ => {}
        }
    }
    assert_eq!(live, ENTRIES);
    assert_eq!(replaced, 1, "of the truncated entries, the one in a file with others");
    assert_eq!(ends, log_files(&folder).len() - 1, "each file but the spare");
}

#[test]
fn a_dump_of_any_damage_never_fails() {
    let folder = folder::make(true);
    let mut rng = Rng::new(5);
    for _ in 0..300 {
        let mut damaged = folder.clone();
        for _ in 0..1 + rng.below(20) {
            let path = damaged.keys().nth(rng.index(folder.len())).expect("in range").clone();
            let bytes = damaged.get_mut(&path).expect("it is there");
            match rng.below(3) {
                0 => bytes.truncate(rng.index(bytes.len() + 1)),
                _ if bytes.is_empty() => {}
                _ => {
                    let at = rng.index(bytes.len());
                    bytes[at] ^= 1 << rng.below(8);
                }
            }
        }
        let disk = disk_with(&damaged);
        dump(&disk);
        let verdict = check(&disk);
        assert_eq!(
            folder::open(&env(&disk)).err(),
            verdict.err(),
            "the dump says what opening does"
        );
    }
}
