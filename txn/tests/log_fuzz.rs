//! Random and mutated bytes against everything that decodes the log's files.
//!
//! The corpus is the golden folder. `LOG_FUZZ_ITERATIONS=10000000` runs for long,
//! `LOG_FUZZ_SEED=7` starts elsewhere; a failure names the seed of its iteration.

mod folder;

use std::panic::{AssertUnwindSafe, catch_unwind};

use bytes::Bytes;
use folder::{DIRECTORY, FILE_BYTES, Folder};
use glaredb_txn::{
    codec::Reader,
    env::DiskError,
    ids::{DatabaseId, EntryIndex, LogId, Term},
    log::{
        dump::{Dump, Item},
        format::{
            Activation, BLOCK_BYTES, EntryId, FRAME_HEADER_BYTES, FrameHeader, Identity, MarkBlock,
            Marks, Vote, encode_frame,
        },
        scan::FrameScan,
    },
    sim::Rng,
};

fn number(variable: &str, default: u64) -> u64 {
    std::env::var(variable).map_or(default, |value| value.parse().expect("a number"))
}

/// Run `iteration` with many seeds.
fn fuzz(iterations: u64, iteration: impl Fn(&mut Rng)) {
    let start = number("LOG_FUZZ_SEED", 0);
    for seed in start..start + number("LOG_FUZZ_ITERATIONS", iterations) {
        let run = AssertUnwindSafe(|| iteration(&mut Rng::new(seed)));
        if let Err(panic) = catch_unwind(run) {
            eprintln!("failing seed: LOG_FUZZ_SEED={seed} LOG_FUZZ_ITERATIONS=1");
            std::panic::resume_unwind(panic);
        }
    }
}

/// Numbers that break things.
fn number_of(rng: &mut Rng) -> u64 {
    match rng.below(6) {
        0 => rng.below(4),
        1 => u64::MAX - rng.below(3),
        2 => (u64::MAX >> 1) - 1 + rng.below(3),
        3 => u64::from(u32::MAX) - 1 + rng.below(3),
        4 => rng.below(1 << 16),
        _ => rng.next_u64(),
    }
}

fn mutate(rng: &mut Rng, bytes: &mut Vec<u8>) {
    for _ in 0..=rng.below(4) {
        if bytes.is_empty() {
            return;
        }
        let at = rng.index(bytes.len());
        match rng.below(7) {
            0 => bytes[at] ^= 1 << rng.below(8),
            1 => bytes[at] = rng.next_u64() as u8,
            2 => bytes.truncate(at),
            3 => {
                let end = (at + 1 + rng.index(64)).min(bytes.len());
                bytes[at..end].fill(0);
            }
            4 => {
                let end = (at + 8).min(bytes.len());
                let number = number_of(rng).to_le_bytes();
                bytes[at..end].copy_from_slice(&number[..end - at]);
            }
            5 => {
                // A piece of it elsewhere, as a lost or misplaced sector would be.
                let len = (1 + rng.index(512)).min(bytes.len() - at);
                let to = rng.index(bytes.len() - len + 1);
                bytes.copy_within(at..at + len, to);
            }
            _ => {
                let extra = rng.index(40);
                let extra = rng.bytes(extra);
                bytes.splice(at..at, extra);
            }
        }
    }
}

#[test]
fn blocks_and_headers() {
    let golden = folder::make(true);
    let blocks: Vec<&[u8]> =
        golden.values().flat_map(|bytes| bytes.chunks(BLOCK_BYTES).take(12)).collect();
    fuzz(20_000, |rng| {
        let mut bytes = match rng.below(3) {
            0 => {
                let len = rng.index(600);
                rng.bytes(len)
            }
            _ => blocks[rng.index(blocks.len())].to_vec(),
        };
        mutate(rng, &mut bytes);
        if let Ok(identity) = Identity::decode(&bytes) {
            assert_eq!(Identity::decode(&identity.encode()), Ok(identity.clone()));
            let _ = Activation::decode(&bytes, &identity);
        }
        if let Ok(block) = MarkBlock::decode(&bytes) {
            assert_eq!(MarkBlock::decode(&block.encode()), Ok(block));
        }
        if let Some(header) = bytes.first_chunk::<FRAME_HEADER_BYTES>() {
            let _ = FrameHeader::decode(header, any_identity(rng).seed());
        }
    });
}

fn any_identity(rng: &mut Rng) -> Identity {
    Identity {
        database_id: folder::DATABASE,
        log_id: folder::LOG,
        sequence: 1 + rng.below(3),
        file_bytes: FILE_BYTES,
        salt: rng.next_u64(),
    }
}

/// Frames whose checksums are right and whose content may be anything.
fn any_frames(rng: &mut Rng, identity: &Identity, first: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut term = 1;
    for index in first..first + rng.below(8) {
        let len = rng.index(300);
        let body = rng.bytes(len);
        let lie = rng.chance(1, 4);
        let id = if lie { (number_of(rng), number_of(rng)) } else { (index, term) };
        let durable = if rng.chance(1, 2) { index - 1 } else { number_of(rng) };
        let start = bytes.len();
        let id = EntryId::new(Term(id.1), EntryIndex(id.0));
        encode_frame(&mut bytes, identity.seed(), id, EntryIndex(durable), &body);
        if rng.chance(1, 6) {
            // A length that lies, under a checksum that does not.
            let len = number_of(rng) as u32;
            bytes[start + 4..start + 8].copy_from_slice(&len.to_le_bytes());
            let checksum = crc32c::crc32c_append(
                identity.seed().0,
                &bytes[start + 4..start + FRAME_HEADER_BYTES],
            );
            bytes[start..start + 4].copy_from_slice(&checksum.to_le_bytes());
        }
        term += rng.below(2);
    }
    bytes
}

fn any_file(rng: &mut Rng, sequence: u64, first: u64) -> Vec<u8> {
    let identity = Identity { sequence, ..any_identity(rng) };
    let mut file = vec![0; FILE_BYTES as usize];
    file[..512].copy_from_slice(&identity.encode());
    if rng.chance(5, 6) {
        let first = if rng.chance(1, 5) { number_of(rng) } else { first };
        let previous_term = Term(if rng.chance(1, 5) { number_of(rng) } else { 1 });
        let activation = Activation { first: EntryIndex(first), previous_term };
        file[512..1024].copy_from_slice(&activation.encode(&identity));
    }
    let frames = any_frames(rng, &identity, first);
    file[4096..4096 + frames.len()].copy_from_slice(&frames);
    file
}

fn any_marks(rng: &mut Rng) -> Vec<u8> {
    let mut number = |usual: u64| if rng.chance(1, 8) { number_of(rng) } else { usual };
    let marks = Marks {
        vote: Vote { term: Term(number(1)), node: number(1), committed: true },
        committed: EntryIndex(number(0)),
        cut: EntryId::new(Term(number(0)), EntryIndex(number(0))),
        newest_file: number(0),
    };
    let (sequence, database_id) = (number(1), DatabaseId(folder::DATABASE.0));
    let block = MarkBlock { database_id, log_id: LogId(folder::LOG.0), sequence, marks };
    let mut file = vec![0; 4096 + 512];
    file[..512].copy_from_slice(&block.encode());
    file[4096..].copy_from_slice(&block.encode());
    file
}

/// Either the folder is refused, or it is a log that works and stays as it was found.
fn open_and_use(folder: &Folder) -> bool {
    let disk = folder::disk_with(folder);
    let env = folder::env(&disk);
    let mut entries = 0;
    let dump = Dump::open(&*disk, DIRECTORY).expect("the folder is there");
    let visited = dump.visit(&mut |item| {
        entries += usize::from(matches!(item, Item::Frame { .. }));
        Ok::<(), DiskError>(())
    });
    assert_eq!(visited, Ok(()));
    let verdict = dump.check();
    let Ok(store) = folder::open(&env) else {
        assert!(verdict.is_err());
        return false;
    };
    assert_eq!(verdict, Ok(()));
    let (first, last) = (store.first(), store.last());
    let mut found = Vec::new();
    while let Some(entry) =
        store.read(EntryIndex(first.0 + found.len() as u64), 0).expect("checked on opening").pop()
    {
        found.push(entry);
    }
    assert_eq!(first.0 + found.len() as u64, last.index.0 + 1);
    assert!(found.len() <= entries, "an entry that no dump shows");
    // The end of the numbers is refused, not wrapped; anything else can be gone on with.
    if last.index.0 < u64::MAX >> 2 {
        let index = store.append(last.term, b"and on").expect("room enough");
        assert_eq!(store.sync(), Ok(index));
        drop(store);
        disk.crash();
        let store = folder::open(&env).expect("what was opened once opens again");
        assert_eq!((store.first(), store.last().index), (first, index));
        let again = store.read(index, 0).expect("just written").remove(0);
        assert_eq!(again.body, Bytes::from_static(b"and on"));
    }
    true
}

#[test]
fn folders_of_mutated_files() {
    let golden = [folder::make(true), folder::make(false)];
    fuzz(3000, |rng| {
        let mut folder = golden[rng.index(2)].clone();
        for _ in 0..=rng.below(2) {
            let path = folder.keys().nth(rng.index(folder.len())).expect("in range").clone();
            mutate(rng, folder.get_mut(&path).expect("it is there"));
        }
        open_and_use(&folder);
    });
}

#[test]
fn folders_whose_checksums_are_right_and_whose_content_lies() {
    let opened = std::cell::Cell::new(0);
    fuzz(5000, |rng| {
        let mut folder = Folder::new();
        folder.insert("log/marks".to_owned(), any_marks(rng));
        let mut first = 1;
        for sequence in 1..=1 + rng.below(3) {
            folder.insert(format!("log/{sequence:020}.log"), any_file(rng, sequence, first));
            first += rng.below(8);
        }
        if open_and_use(&folder) {
            opened.set(opened.get() + 1);
        }
    });
    assert!(opened.get() > 0 || number("LOG_FUZZ_ITERATIONS", 5000) < 100, "none ever opens");
}

#[test]
fn frames_of_one_file() {
    fuzz(10_000, |rng| {
        let first = 1 + rng.below(5);
        let mut bytes = any_file(rng, 1, first);
        if rng.chance(1, 2) {
            let mut frames = bytes.split_off(4096);
            mutate(rng, &mut frames);
            bytes.extend(frames);
        }
        let Ok(identity) = Identity::decode(&bytes[..512]) else { return };
        let folder = Folder::from([("log/x".to_owned(), bytes)]);
        let disk = folder::disk_with(&folder);
        let file = glaredb_txn::env::Disk::open_read_only(&*disk, "log/x").expect("it is there");
        let previous = EntryId::new(Term(0), EntryIndex(first - 1));
        let mut scan = FrameScan::new(&*file, &identity, previous);
        let mut last = previous.index;
        while let Ok(frame) = scan.next_frame().expect("a good disk") {
            assert_eq!(frame.header.id.index, last.next());
            last = frame.header.id.index;
        }
        let tail = scan.tail().expect("a good disk");
        assert!(tail.offset + tail.used_bytes <= FILE_BYTES.max(9000));
    });
}

#[test]
fn the_reader_takes_anything() {
    fuzz(20_000, |rng| {
        let len = rng.index(80);
        let bytes = Bytes::from(rng.bytes(len));
        let mut reader = if rng.chance(1, 2) { Reader::new(&bytes) } else { Reader::of(&bytes) };
        for _ in 0..rng.below(12) {
            let before = reader.offset();
            match rng.below(13) {
                0 => drop(reader.u8()),
                1 => drop(reader.bool()),
                2 => drop(reader.u16()),
                3 => drop(reader.u32()),
                4 => drop(reader.u64()),
                5 => drop(reader.u128()),
                6 => drop(reader.varint()),
                7 => drop(reader.zigzag()),
                8 => drop(reader.shared()),
                9 => drop(reader.str()),
                10 => drop(reader.frame()),
                11 => drop(reader.count(3)),
                _ => drop(reader.varint_u32("number")),
            }
            assert!(reader.offset() >= before && reader.offset() <= bytes.len());
        }
        let _ = reader.finish();
    });
}
