//! Opening a log: finding the files that count, the end of the log, and what a crash left behind.

use std::{
    collections::VecDeque,
    sync::{Arc, OnceLock, atomic::AtomicBool, atomic::AtomicU64},
};

use parking_lot::Mutex;

use super::{
    FILE_BYTES_MAX, FILE_BYTES_MIN, SegmentStore, State, Synced,
    file::{LogFile, PreparedFile, file_name, parse_file_name},
    spare::{PREPARING, Spares},
};
use crate::{
    env::{Disk, DiskError, Env},
    ids::{DatabaseId, EntryIndex, LogId},
    log::{
        error::OpenError,
        format::{ACTIVATION_OFFSET, Activation, BlockError, DATA_OFFSET, EntryId, Marks},
        marks::{self, MARKS_FILE, MarksFile},
        scan::{FrameFault, FrameScan},
        wal::{ENTRY_BYTES_MAX, FRAME_BYTES},
    },
};

/// What opening found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoreReport {
    /// There was no log here; an empty one was made.
    pub created: bool,
    /// Bytes of unfinished writes cut off behind the last whole entry.
    pub torn_bytes: u64,
}

/// The files of a directory, sorted by what they are.
struct Found {
    /// In order of sequence.
    active: Vec<LogFile>,
    spare: Vec<PreparedFile>,
    /// Files that hold nothing that counts.
    unused: Vec<String>,
    next_sequence: u64,
}

#[derive(Clone, Copy)]
enum Access {
    Read,
    Write,
}

/// Where the log ends.
struct End {
    last: EntryId,
    write_offset: u64,
    torn_bytes: u64,
    /// Why the frames end where they end.
    fault: Option<(String, FrameFault)>,
    /// All files end before the cut: a reset was interrupted after it was noted.
    replaced: bool,
    /// Where the entries begin that nothing says were durable.
    unsynced_offset: u64,
}

impl SegmentStore {
    /// Is there a log in `directory`, whole or not?
    pub fn exists(env: &Env, directory: &str) -> Result<bool, OpenError> {
        if !env.disk.exists(directory)? {
            return Ok(false);
        }
        let path = format!("{directory}/{MARKS_FILE}");
        check_unmarked(&*env.disk, directory, &path)
            .map_or(Ok(true), |()| Ok(env.disk.exists(&path)?))
    }

    /// Open the log in `directory`, or make an empty one. `file_bytes` is the size of files made
    /// from now on.
    pub fn open(
        env: &Env,
        directory: &str,
        database_id: DatabaseId,
        log_id: LogId,
        file_bytes: u64,
    ) -> Result<(Self, StoreReport), OpenError> {
        if !(FILE_BYTES_MIN..=FILE_BYTES_MAX).contains(&file_bytes) {
            let range = format!("{FILE_BYTES_MIN} to {FILE_BYTES_MAX}");
            return Err(OpenError::Options(format!("file size {file_bytes} is not in {range}")));
        }
        let owner = (database_id, log_id);
        env.disk.create_dir_all(directory)?;
        let (marks, created) = open_marks(env, directory, owner)?;
        let found = find_files(&*env.disk, directory, owner, Access::Write)?;
        let mut spares =
            Spares::new(env.clone(), directory, owner, file_bytes, found.next_sequence);
        let (mut files, mut unused) = choose_files(found.active, marks.get().cut.index);
        let end = check_files(directory, &files, &marks.get())?;
        settle(&files, &end)?;
        let newest_file = files.back().map_or(0, |file| file.identity.sequence);
        let replaced = if end.replaced { std::mem::take(&mut files) } else { VecDeque::new() };
        unused.extend(found.unused);

        for spare in found.spare {
            // Those of another size are of no use, those older than the active file would confuse.
            if spare.identity.file_bytes == file_bytes && spare.identity.sequence > newest_file {
                spares.adopt(spare);
            } else {
                unused.push(spare.path);
            }
        }
        for path in &unused {
            env.disk.remove(path)?;
        }
        env.disk.sync_dir(directory)?;

        let cut = marks.get().cut;
        let store = Self {
            newest_file: AtomicU64::new(newest_file),
            env: env.clone(),
            directory: directory.to_owned(),
            log_id,
            entry_bytes_max: entry_bytes_max(file_bytes),
            failed: OnceLock::new(),
            marks: Mutex::new(marks),
            durable: AtomicU64::new(end.last.index.0),
            synced: Mutex::new(Synced { durable: end.last.index, truncations: 0 }),
            spare_wanted: AtomicBool::new(spares.ready() == 0),
            spares: Mutex::new(spares),
            state: Mutex::new(State {
                files,
                first: cut.index.next(),
                last: end.last,
                write_offset: end.write_offset,
                cursor: None,
                frame: Vec::new(),
            }),
        };
        store.begin_if_empty(end.last)?;
        // Not before there is a newer one.
        store.remove_files("log::cut::remove", replaced);
        Ok((store, StoreReport { created, torn_bytes: end.torn_bytes }))
    }

    /// A new log, one whose making was interrupted, or one whose reset was: begin the first file.
    fn begin_if_empty(&self, last: EntryId) -> Result<(), OpenError> {
        let mut state = self.state.lock();
        if !state.files.is_empty() {
            return Ok(());
        }
        let spare = self.spares.lock().take()?;
        let (path, activation) =
            (spare.path.clone(), Activation { first: last.index.next(), previous_term: last.term });
        self.activate(&mut state, spare, activation).map_err(|error| {
            OpenError::Disk(DiskError::Io { operation: "writing", path, reason: error.to_string() })
        })
    }
}

/// What opening the log in `directory` would say, without changing anything.
pub(crate) fn examine(disk: &dyn Disk, directory: &str) -> Result<(), OpenError> {
    let path = format!("{directory}/{MARKS_FILE}");
    if !disk.exists(&path)? {
        return check_unmarked(disk, directory, &path);
    }
    let block = marks::choose(&path, &marks::read_blocks(&*disk.open_read_only(&path)?)?)?;
    let owner = (block.database_id, block.log_id);
    let found = find_files(disk, directory, owner, Access::Read)?;
    let (files, _) = choose_files(found.active, block.marks.cut.index);
    check_files(directory, &files, &block.marks).map(|_| ())
}

/// The greatest body that fits a file of `file_bytes`, within the limit of the `Wal` contract.
fn entry_bytes_max(file_bytes: u64) -> usize {
    let room = file_bytes - DATA_OFFSET - FRAME_BYTES as u64;
    usize::try_from(room).map_or(ENTRY_BYTES_MAX, |room| room.min(ENTRY_BYTES_MAX))
}

fn open_marks(
    env: &Env,
    directory: &str,
    owner: (DatabaseId, LogId),
) -> Result<(MarksFile, bool), OpenError> {
    let path = format!("{directory}/{MARKS_FILE}");
    if env.disk.exists(&path)? {
        return Ok((MarksFile::open(&*env.disk, &path, owner)?, false));
    }
    check_unmarked(&*env.disk, directory, &path)?;
    Ok((MarksFile::create(&*env.disk, &path, owner)?, true))
}

/// A folder without marks must hold no log: they are made durable before the first file is begun.
fn check_unmarked(disk: &dyn Disk, directory: &str, path: &str) -> Result<(), OpenError> {
    let names = disk.list(directory)?;
    match names.iter().find(|name| parse_file_name(name).is_some()) {
        None => Ok(()),
        Some(name) => {
            let reason = format!("the file is missing, while {name} is there");
            Err(OpenError::corrupt(path, 0, reason))
        }
    }
}

/// Open and sort all files. Changes nothing.
fn find_files(
    disk: &dyn Disk,
    directory: &str,
    owner: (DatabaseId, LogId),
    access: Access,
) -> Result<Found, OpenError> {
    let mut found =
        Found { active: Vec::new(), spare: Vec::new(), unused: Vec::new(), next_sequence: 1 };
    let mut damaged = None;
    for name in disk.list(directory)? {
        let path = format!("{directory}/{name}");
        let Some(sequence) = parse_file_name(&name) else {
            if name.ends_with(PREPARING) {
                found.unused.push(path);
            }
            continue;
        };
        found.next_sequence = sequence.checked_add(1).ok_or_else(|| {
            OpenError::corrupt(&path, 0, "there is no file sequence after the one of its name")
        })?;
        let file = match access {
            Access::Read => disk.open_read_only(&path)?,
            Access::Write => disk.open(&path)?,
        };
        let (file, activation) = PreparedFile::check(file, path.clone(), sequence)?;
        OpenError::check_owner(&path, owner, (file.identity.database_id, file.identity.log_id))?;
        match activation {
            Ok(activation) => {
                if let Some(error) = damaged {
                    return Err(error);
                }
                found.active.push(file.activate(activation));
            }
            Err(error @ BlockError::Newer { .. }) => {
                return Err(OpenError::block(&path, ACTIVATION_OFFSET, &error));
            }
            Err(error) => {
                let clean = check_unused(&file, &error)?;
                if error != BlockError::Empty {
                    // Being activated when the power went: only the newest file can be.
                    damaged = Some(OpenError::block(&path, ACTIVATION_OFFSET, &error));
                }
                if clean && error == BlockError::Empty {
                    found.spare.push(file);
                } else {
                    found.unused.push(path);
                }
            }
        }
    }
    Ok(found)
}

/// A file that was never activated must hold no entries. Is it all zeros?
fn check_unused(file: &PreparedFile, error: &BlockError) -> Result<bool, OpenError> {
    let tail = FrameScan::new(&*file.file, &file.identity, EntryId::ZERO).tail()?;
    match tail.stray {
        None => Ok(tail.used_bytes == 0),
        Some(stray) => {
            let reason = format!("{error}, but entry {} is in the file", stray.entry.index.0);
            Err(OpenError::corrupt(&file.path, ACTIVATION_OFFSET, reason))
        }
    }
}

/// The files whose entries count, in order; and the paths of those that later files replaced or
/// that were cut. The newest file always counts.
fn choose_files(active: Vec<LogFile>, cut: EntryIndex) -> (VecDeque<Arc<LogFile>>, Vec<String>) {
    let (mut files, mut unused) = (VecDeque::new(), Vec::new());
    // Entries from here on stand in a newer file.
    let mut limit = EntryIndex::MAX;
    for file in active.into_iter().rev() {
        let first = file.first();
        if files.is_empty() || (first < limit && limit > cut.next()) {
            files.push_front(Arc::new(file));
        } else {
            unused.push(file.path);
        }
        limit = limit.min(first);
    }
    (files, unused)
}

/// Check every entry that counts and find the end. Changes nothing.
fn check_files(
    directory: &str,
    files: &VecDeque<Arc<LogFile>>,
    marks: &Marks,
) -> Result<End, OpenError> {
    if let Some(file) = files.front()
        && file.first() > marks.cut.index.next()
    {
        let expected = marks.cut.index.next().0;
        let reason = format!("it begins at entry {}, the log at {expected}", file.first().0);
        return Err(OpenError::corrupt(&file.path, ACTIVATION_OFFSET, reason));
    }
    let newest = files.back().map_or(0, |file| file.identity.sequence);
    if newest < marks.newest_file {
        let reason = "the file is missing, the marks say that it was begun";
        let path = format!("{directory}/{}", file_name(marks.newest_file));
        return Err(OpenError::corrupt(&path, 0, reason));
    }
    for (file, next) in files.iter().zip(files.iter().skip(1)) {
        check_sealed(file, next)?;
    }
    let mut end = match files.back() {
        None => End {
            last: marks.cut,
            write_offset: DATA_OFFSET,
            torn_bytes: 0,
            fault: None,
            replaced: false,
            unsynced_offset: DATA_OFFSET,
        },
        Some(newest) => check_newest(newest, marks.committed)?,
    };
    if end.last.index < marks.cut.index {
        end = End { last: marks.cut, torn_bytes: 0, replaced: true, ..end };
    }
    if marks.committed > end.last.index {
        let (file, fault) = match end.fault {
            Some((file, fault)) => (file, fault.to_string()),
            None => (format!("{directory}/{MARKS_FILE}"), "no file of entries is there".to_owned()),
        };
        let committed = marks.committed.0;
        let reason = format!("entries up to {committed} were durable: {fault}");
        return Err(OpenError::corrupt(&file, end.write_offset, reason));
    }
    Ok(end)
}

/// Wipe what lies behind the end, and make everything before it durable.
fn settle(files: &VecDeque<Arc<LogFile>>, end: &End) -> Result<(), DiskError> {
    if let Some(newest) = files.back() {
        if end.torn_bytes > 0 {
            newest.file.allocate_zeroed(end.write_offset, end.torn_bytes)?;
        }
        write_again(newest, end)?;
    }
    files.iter().try_for_each(|file| file.file.sync_data())
}

/// Write what was read once more, as far as nothing says that it was durable. When a sync failed
/// and only the process went, not the machine, the page cache still shows what the disk may not
/// have, and a sync alone would leave it so: the kernel takes those pages for clean.
fn write_again(newest: &LogFile, end: &End) -> Result<(), DiskError> {
    const PIECE_BYTES: u64 = 1 << 20;
    let block = newest.activation.encode(&newest.identity);
    newest.file.write_at(ACTIVATION_OFFSET, &block)?;
    let mut offset = end.unsynced_offset;
    while offset < end.write_offset {
        let piece = PIECE_BYTES.min(end.write_offset - offset);
        let mut bytes = vec![0; piece as usize];
        let got = newest.file.read_at(offset, &mut bytes)?;
        newest.file.write_at(offset, &bytes[..got])?;
        offset += piece;
    }
    Ok(())
}

/// A file that is followed by another is whole up to where that one begins.
fn check_sealed(file: &LogFile, next: &LogFile) -> Result<(), OpenError> {
    let mut scan = FrameScan::new(&*file.file, &file.identity, file.previous());
    while scan.previous().index < next.previous().index {
        match scan.next_frame()? {
            Ok(frame) => file.note(frame.header.id.index, frame.offset),
            Err(fault) => {
                let last = next.previous().index.0;
                let reason = format!("{fault}; entries up to {last} are expected");
                return Err(OpenError::corrupt(&file.path, scan.offset(), reason));
            }
        }
    }
    if scan.previous() != next.previous() {
        let reason = format!(
            "it follows entry {} of term {}, in {} that entry has term {}",
            next.previous().index.0,
            next.previous().term.0,
            file.path,
            scan.previous().term.0
        );
        return Err(OpenError::corrupt(&next.path, ACTIVATION_OFFSET, reason));
    }
    Ok(())
}

/// The newest file may end in an unfinished write.
fn check_newest(file: &LogFile, committed: EntryIndex) -> Result<End, OpenError> {
    let mut scan = FrameScan::new(&*file.file, &file.identity, file.previous());
    // Offsets of the entries that no mark and no later frame says were durable.
    let mut durable = committed;
    let mut unsynced = VecDeque::new();
    let fault = loop {
        match scan.next_frame()? {
            Ok(frame) => {
                file.note(frame.header.id.index, frame.offset);
                durable = durable.max(frame.header.durable);
                unsynced.push_back((frame.header.id.index, frame.offset));
                while unsynced.front().is_some_and(|(index, _)| *index <= durable) {
                    unsynced.pop_front();
                }
            }
            Err(fault) => break fault,
        }
    };
    let tail = scan.tail()?;
    if let Some(proof) = tail.proof {
        let reason = format!(
            "{fault}; entry {} at byte {} was written when entries up to {} were durable",
            proof.entry.index.0, proof.offset, proof.durable.0
        );
        return Err(OpenError::corrupt(&file.path, tail.offset, reason));
    }
    Ok(End {
        last: scan.previous(),
        write_offset: tail.offset,
        torn_bytes: tail.used_bytes,
        fault: Some((file.path.clone(), fault)),
        replaced: false,
        unsynced_offset: unsynced.front().map_or(tail.offset, |(_, offset)| *offset),
    })
}
