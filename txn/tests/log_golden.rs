//! The formats of the log's files, pinned: `golden/log.txt` is a whole folder, byte by byte.
//!
//! A format may only change together with its version; the old file then stays, for the decoder.
//! `GOLDEN_WRITE=1` writes the file anew.

mod folder;

use std::{fmt::Write as _, path::Path};

use folder::{DATABASE, ENTRIES, FIRST, Folder, LOG};
use glaredb_txn::{
    ids::{EntryIndex, Term},
    log::{
        format::{Activation, EntryId, Identity, MarkBlock, Vote},
        wal::WalError,
    },
};

/// Readable, comparable: lines of 16 bytes, those that are all zeros left out.
fn to_text(folder: &Folder) -> String {
    let mut text = String::new();
    for (path, bytes) in folder {
        writeln!(text, "file {path} {}", bytes.len()).expect("a string takes everything");
        for (at, line) in bytes.chunks(16).enumerate() {
            if line.iter().any(|byte| *byte != 0) {
                write!(text, "{:08x} ", at * 16).expect("a string takes everything");
                for byte in line {
                    write!(text, " {byte:02x}").expect("a string takes everything");
                }
                text.push('\n');
            }
        }
    }
    text
}

fn from_text(text: &str) -> Folder {
    let mut folder = Folder::new();
    let mut path = String::new();
    for line in text.lines() {
        let words: Vec<&str> = line.split_whitespace().collect();
        if words[0] == "file" {
            path = words[1].to_owned();
            folder.insert(path.clone(), vec![0; words[2].parse().expect("a length")]);
        } else {
            let at = usize::from_str_radix(words[0], 16).expect("an offset");
            let bytes = folder.get_mut(&path).expect("a file line came before");
            for (byte, word) in bytes[at..].iter_mut().zip(&words[1..]) {
                *byte = u8::from_str_radix(word, 16).expect("a byte");
            }
        }
    }
    folder
}

fn golden() -> Folder {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/log.txt");
    if std::env::var_os("GOLDEN_WRITE").is_some() {
        std::fs::write(&path, to_text(&folder::make(true))).expect("a writable folder");
    }
    let folder = from_text(&std::fs::read_to_string(path).expect("the golden file"));
    assert!(folder.len() >= 4, "marks, sealed, active, spare");
    folder
}

#[test]
fn the_golden_folder_is_read() {
    let disk = folder::disk_with(&golden());
    let store = folder::open(&folder::env(&disk)).expect("a good folder");
    assert_eq!(folder::check_prefix(&store), ENTRIES.len());
    let marks = store.marks();
    assert_eq!(marks.vote, Vote { term: Term(6), node: 2, committed: true });
    assert_eq!(marks.committed, EntryIndex(14));
    assert_eq!(marks.cut, EntryId::new(Term(1), EntryIndex(3)));
    assert!(matches!(store.read(EntryIndex(3), 0), Err(WalError::Cut { .. })));
    // And is as it was: opening a good folder changes nothing.
    assert_eq!(to_text(&folder::files(&disk)), to_text(&golden()));
}

#[test]
fn the_same_bytes_are_written() {
    assert_eq!(to_text(&folder::make(true)), to_text(&golden()));
}

#[test]
fn blocks_say_what_docs_say() {
    let golden = golden();
    let marks = MarkBlock::decode(&golden["log/marks"][..512]).expect("a good block");
    assert_eq!((marks.database_id, marks.log_id), (DATABASE, LOG));
    assert_eq!(golden["log/marks"][..512], golden["log/marks"][4096..], "both copies are alike");
    let (path, newest) = golden.iter().rev().find(|(path, _)| path.ends_with("4.log")).expect("4");
    let identity = Identity::decode(&newest[..512]).expect("a good block");
    assert_eq!((identity.sequence, identity.file_bytes), (4, folder::FILE_BYTES), "{path}");
    assert_eq!(identity.salt, 0x5a17_0004);
    let activation = Activation::decode(&newest[512..1024], &identity).expect("a good block");
    assert!(activation.first.0 > FIRST);
}
