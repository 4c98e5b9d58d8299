//! A disk that forgets.
//!
//! Each file has its content as its writers see it and, apart from it, what would survive a power
//! cut: the state at the last sync, and the writes since. When the power goes, each sector written
//! since then ends up as it was after any number of those writes, drawn at random; each name
//! created, renamed or removed since the last sync of its directory does or does not.

mod faults;
mod inode;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use parking_lot::Mutex;

pub use self::faults::Operation;
use self::{faults::Faults, inode::Inode};
use super::random::Rng;
use crate::env::{Disk, DiskError, DiskFile};

/// Writes tear at multiples of this many bytes.
pub const SECTOR_BYTES: usize = 512;

/// The simulated disk. Clones of the `Arc` share it; it survives crashes.
pub struct SimDisk {
    state: Arc<Mutex<State>>,
}

type SharedInode = Arc<Mutex<Inode>>;

struct State {
    rng: Rng,
    names: BTreeMap<String, SharedInode>,
    durable_names: BTreeMap<String, SharedInode>,
    /// Not yet synced, in order.
    name_changes: Vec<NameChange>,
    directories: BTreeSet<String>,
    capacity_bytes: Option<u64>,
    faults: Faults,
    /// Grows with every crash: files opened before are dead.
    boots: u64,
}

enum NameChange {
    Add { path: String, inode: SharedInode },
    Remove { path: String, inode: SharedInode },
    Rename { from: String, to: String, inode: SharedInode },
}

fn parent(path: &str) -> &str {
    path.rsplit_once('/').map_or("", |(directory, _)| directory)
}

impl NameChange {
    /// The directory whose sync makes it durable. Renames stay within one directory.
    fn directory(&self) -> &str {
        match self {
            Self::Add { path, .. } | Self::Remove { path, .. } => parent(path),
            Self::Rename { to, .. } => parent(to),
        }
    }

    fn apply(&self, names: &mut BTreeMap<String, SharedInode>) {
        let remove = |names: &mut BTreeMap<String, SharedInode>, path: &str, inode| {
            if names.get(path).is_some_and(|found| Arc::ptr_eq(found, inode)) {
                names.remove(path);
            }
        };
        match self {
            Self::Add { path, inode } => {
                names.insert(path.clone(), Arc::clone(inode));
            }
            Self::Remove { path, inode } => remove(names, path, inode),
            Self::Rename { from, to, inode } => {
                remove(names, from, inode);
                names.insert(to.clone(), Arc::clone(inode));
            }
        }
    }
}

impl SimDisk {
    pub fn new(seed: u64) -> Self {
        let state = State {
            rng: Rng::new(seed),
            names: BTreeMap::new(),
            durable_names: BTreeMap::new(),
            name_changes: Vec::new(),
            directories: BTreeSet::new(),
            capacity_bytes: None,
            faults: Faults::default(),
            boots: 0,
        };
        Self { state: Arc::new(Mutex::new(state)) }
    }

    /// Pull the plug and switch on again: what was not synced is lost, or not, at random. Files
    /// opened before fail from now on. Pending faults are forgotten.
    pub fn crash(&self) {
        let state = &mut *self.state.lock();
        state.boots += 1;
        state.faults = Faults::default();
        // Some crashes lose a suffix of the changes of names, some any subset.
        let in_order = state.rng.chance(1, 2);
        let kept = state.rng.index(state.name_changes.len() + 1);
        for (at, change) in std::mem::take(&mut state.name_changes).into_iter().enumerate() {
            let survives = if in_order { at < kept } else { state.rng.chance(1, 2) };
            if survives {
                change.apply(&mut state.durable_names);
            }
        }
        state.names = state.durable_names.clone();
        let manner = inode::LossManner::draw(&mut state.rng);
        for inode in state.names.values() {
            inode.lock().lose_unsynced(&mut state.rng, manner);
        }
    }

    /// Kill the process, not the machine: what was written stays, files opened before fail.
    pub fn kill_process(&self) {
        let state = &mut *self.state.lock();
        state.boots += 1;
        state.faults = Faults::default();
    }

    /// Bytes of space; `None` is without limit. Below what is used, everything new is refused.
    pub fn set_capacity(&self, bytes: Option<u64>) {
        self.state.lock().capacity_bytes = bytes;
    }

    /// Bytes in use.
    pub fn used_bytes(&self) -> u64 {
        self.state.lock().used_bytes()
    }

    /// Let the power go at the `count`-th operation from now that changes the disk (1 is the next
    /// one): it and all later ones fail until [`SimDisk::crash`]. A write under way may have arrived
    /// in part.
    pub fn cut_power_after(&self, count: u64) {
        self.state.lock().faults.cut_power_after(count);
    }

    /// Has the power gone, by [`SimDisk::cut_power_after`]?
    pub fn is_without_power(&self) -> bool {
        self.state.lock().faults.is_without_power()
    }

    /// Operations so far that changed the disk.
    pub fn operations(&self) -> u64 {
        self.state.lock().faults.operations()
    }

    /// Let the `count`-th operation of this kind from now (1 is the next) on a path that contains
    /// `path_part` fail with an input/output error. Of a failed write or sync, any part may arrive.
    pub fn fail_after(&self, operation: Operation, path_part: &str, count: u64) {
        self.state.lock().faults.fail_after(operation, path_part, count);
    }

    /// Change bytes of a file as if the medium had decayed: `change` sees what is durable, and what
    /// it makes of it is durable.
    pub fn damage(&self, path: &str, change: impl FnOnce(&mut Vec<u8>)) {
        let state = self.state.lock();
        let inode = state.names.get(path).expect("the file to be damaged exists");
        inode.lock().damage(change);
    }

    /// What the file holds for those who read it now.
    pub fn content(&self, path: &str) -> Option<Vec<u8>> {
        let state = self.state.lock();
        Some(state.names.get(path)?.lock().content().to_vec())
    }
}

impl State {
    /// A file without a name takes no space, even if it is open.
    fn used_bytes(&self) -> u64 {
        self.names.values().map(|inode| inode.lock().allocated_bytes()).sum()
    }

    /// Count an operation; may fail it.
    fn begin(&mut self, operation: Operation, path: &str) -> Result<(), DiskError> {
        self.faults.begin(operation, path)
    }

    fn find(&self, operation: &'static str, path: &str) -> Result<SharedInode, DiskError> {
        if path.is_empty() || path.split('/').any(|name| matches!(name, "" | "." | "..")) {
            let reason = "not a path below the disk's root".to_owned();
            return Err(DiskError::Io { operation, path: path.to_owned(), reason });
        }
        let found = self.names.get(path).cloned();
        found.ok_or_else(|| DiskError::NotFound { path: path.to_owned() })
    }

    fn check_directory(&self, directory: &str) -> Result<(), DiskError> {
        if directory.is_empty() || self.directories.contains(directory) {
            return Ok(());
        }
        Err(DiskError::NotFound { path: directory.to_owned() })
    }
}

impl SimDisk {
    fn file(&self, state: &State, path: &str, inode: SharedInode, writable: bool) -> SimFile {
        let (disk, path, boot) = (Arc::clone(&self.state), path.to_owned(), state.boots);
        SimFile { disk, path, inode, writable, boot }
    }

    fn open_with(&self, path: &str, writable: bool) -> Result<Arc<dyn DiskFile>, DiskError> {
        let state = &mut *self.state.lock();
        state.begin(Operation::Open, path)?;
        let inode = state.find("opening", path)?;
        Ok(Arc::new(self.file(state, path, inode, writable)))
    }
}

impl Disk for SimDisk {
    fn create(&self, path: &str) -> Result<Arc<dyn DiskFile>, DiskError> {
        let state = &mut *self.state.lock();
        state.begin(Operation::Create, path)?;
        match state.find("creation", path) {
            Err(DiskError::NotFound { .. }) => {}
            Ok(_) => return Err(DiskError::AlreadyExists { path: path.to_owned() }),
            Err(error) => return Err(error),
        }
        state.check_directory(parent(path))?;
        let inode = Arc::new(Mutex::new(Inode::default()));
        let change = NameChange::Add { path: path.to_owned(), inode: Arc::clone(&inode) };
        change.apply(&mut state.names);
        state.name_changes.push(change);
        Ok(Arc::new(self.file(state, path, inode, true)))
    }

    fn open(&self, path: &str) -> Result<Arc<dyn DiskFile>, DiskError> {
        self.open_with(path, true)
    }

    fn open_read_only(&self, path: &str) -> Result<Arc<dyn DiskFile>, DiskError> {
        self.open_with(path, false)
    }

    fn remove(&self, path: &str) -> Result<(), DiskError> {
        let state = &mut *self.state.lock();
        state.begin(Operation::Remove, path)?;
        let inode = state.find("removal", path)?;
        let change = NameChange::Remove { path: path.to_owned(), inode };
        change.apply(&mut state.names);
        state.name_changes.push(change);
        Ok(())
    }

    fn rename(&self, from: &str, to: &str) -> Result<(), DiskError> {
        let state = &mut *self.state.lock();
        state.begin(Operation::Rename, from)?;
        let inode = state.find("renaming", from)?;
        assert_eq!(parent(from), parent(to), "renames across directories are not simulated");
        let change = NameChange::Rename { from: from.to_owned(), to: to.to_owned(), inode };
        change.apply(&mut state.names);
        state.name_changes.push(change);
        Ok(())
    }

    fn list(&self, directory: &str) -> Result<Vec<String>, DiskError> {
        let state = &mut *self.state.lock();
        state.begin(Operation::Open, directory)?;
        state.check_directory(directory)?;
        let files = state.names.keys();
        let names: BTreeSet<String> = files
            .chain(&state.directories)
            .filter(|path| parent(path) == directory)
            .map(|path| path.rsplit('/').next().unwrap_or(path).to_owned())
            .collect();
        Ok(names.into_iter().collect())
    }

    fn create_dir_all(&self, directory: &str) -> Result<(), DiskError> {
        let state = &mut *self.state.lock();
        state.begin(Operation::Create, directory)?;
        let mut path = String::new();
        for name in directory.split('/').filter(|name| !name.is_empty()) {
            if !path.is_empty() {
                path.push('/');
            }
            path.push_str(name);
            state.directories.insert(path.clone());
        }
        Ok(())
    }

    fn sync_dir(&self, directory: &str) -> Result<(), DiskError> {
        let state = &mut *self.state.lock();
        state.begin(Operation::SyncDir, directory)?;
        state.check_directory(directory)?;
        for change in std::mem::take(&mut state.name_changes) {
            if change.directory() == directory {
                change.apply(&mut state.durable_names);
            } else {
                state.name_changes.push(change);
            }
        }
        Ok(())
    }

    fn exists(&self, path: &str) -> Result<bool, DiskError> {
        let state = &mut *self.state.lock();
        state.begin(Operation::Open, path)?;
        Ok(state.names.contains_key(path) || state.directories.contains(path))
    }
}

struct SimFile {
    disk: Arc<Mutex<State>>,
    path: String,
    inode: SharedInode,
    writable: bool,
    boot: u64,
}

impl SimFile {
    fn fail(&self, operation: &'static str, reason: &str) -> DiskError {
        DiskError::Io { operation, path: self.path.clone(), reason: reason.to_owned() }
    }

    fn check(&self, state: &State, operation: &'static str) -> Result<(), DiskError> {
        if self.boot != state.boots {
            return Err(self.fail(operation, "the process that opened the file is dead"));
        }
        Ok(())
    }

    fn change(
        &self,
        operation: &'static str,
        offset: u64,
        len: u64,
        write: impl FnOnce(&mut Inode),
    ) -> Result<(), DiskError> {
        let state = &mut *self.disk.lock();
        self.check(state, operation)?;
        if !self.writable {
            return Err(self.fail(operation, "the file is open for reading only"));
        }
        let begun = state.begin(Operation::Write, &self.path);
        if begun.is_err() && !state.faults.just_failed() {
            return begun;
        }
        let inode = self.inode.lock();
        let growth = inode.growth(offset + len);
        drop(inode);
        let used = state.used_bytes();
        if growth > 0 && state.capacity_bytes.is_some_and(|capacity| used + growth > capacity) {
            begun?;
            return Err(DiskError::NoSpace { path: self.path.clone() });
        }
        // A write that fails may have arrived all the same, or in part: the crash decides.
        write(&mut self.inode.lock());
        begun
    }
}

impl DiskFile for SimFile {
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<usize, DiskError> {
        let state = &mut *self.disk.lock();
        self.check(state, "reading")?;
        state.begin(Operation::Read, &self.path)?;
        Ok(self.inode.lock().read(offset, buffer))
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> Result<(), DiskError> {
        self.change("writing", offset, bytes.len() as u64, |inode| inode.write(offset, bytes))
    }

    fn allocate_zeroed(&self, offset: u64, len: u64) -> Result<(), DiskError> {
        let zeros = vec![0; usize::try_from(len).expect("a simulated file fits memory")];
        self.change("allocation", offset, len, |inode| inode.write(offset, &zeros))
    }

    fn sync_data(&self) -> Result<(), DiskError> {
        let state = &mut *self.disk.lock();
        self.check(state, "syncing")?;
        let begun = state.begin(Operation::Sync, &self.path);
        match begun {
            Ok(()) => self.inode.lock().sync(),
            // The kernel gives up on those pages: part of them arrived, a later sync will not
            // try again, and readers still see them.
            Err(_) if state.faults.just_failed() => {
                let manner = inode::LossManner::draw(&mut state.rng);
                self.inode.lock().fail_sync(&mut state.rng, manner);
            }
            Err(_) => {}
        }
        begun
    }

    fn len(&self) -> Result<u64, DiskError> {
        let state = &mut *self.disk.lock();
        self.check(state, "opening")?;
        state.begin(Operation::Read, &self.path)?;
        Ok(self.inode.lock().content().len() as u64)
    }

    fn set_len(&self, len: u64) -> Result<(), DiskError> {
        self.change("truncation", 0, 0, |inode| inode.set_len(len))
    }
}
