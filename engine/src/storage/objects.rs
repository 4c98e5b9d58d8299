//! The object directory: where checkpoints are, and later segments, deletion objects, side files
//! and remaps. One contract, so that a directory on the local disk and a bucket of an object store
//! are the same to everything above.
//!
//! Objects are whole and immutable: written once, read any number of times, deleted once. A name
//! is never used twice, because a reader that holds a name must get the bytes it was told about
//! or `NotFound`, never other bytes.
//!
//! ```text
//! background threads (blocking)   create ─▶ write … write ─▶ finish      put, get, size, list, delete
//! runtime for queries (async)     read_ranges
//! ```

mod cache;
mod directory;
mod figures;
mod location;
mod remote;

#[cfg(feature = "testing")]
pub mod conformance;

use std::{fmt, ops::Range, sync::Arc};

use bytes::Bytes;
use futures::future::BoxFuture;

pub use cache::{BLOCK_BYTES, CacheOptions, CacheSize, CachedObjects};
pub use directory::{ObjectDirectory, Pace};
pub use figures::{
    CacheCounts, LATENCIES_US, ObjectFigures, ReadCounts, ReadFigures, RequestCounts, RequestKind,
};
pub(super) use location::choose;
pub use location::{StorageError, StorageLocation, StorageOptions};
pub use remote::{Limits, LocationError, RemoteLocation, RemoteObjects, RemoteStore, S3Options};

/// Name of an object: parts of letters, digits, `-`, `_` and `.`, joined by `/`, such as
/// `checkpoint/00000000000004d2-9f3c5e1700aa41b2/manifest`. No part is empty, `.` or `..`, so a
/// name can never point outside of its directory.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ObjectName(String);

/// A name is at most this long: what S3 allows, and any file system.
const NAME_BYTES_MAX: usize = 1024;

impl ObjectName {
    pub fn new(name: impl Into<String>) -> Result<Self, ObjectError> {
        let name = name.into();
        let part_is_valid = |part: &str| {
            !part.is_empty()
                && part.len() <= 200
                && !part.starts_with('.')
                && part
                    .bytes()
                    .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'))
        };
        if name.len() <= NAME_BYTES_MAX && name.split('/').all(part_is_valid) {
            Ok(Self(name))
        } else {
            Err(ObjectError::InvalidName(name))
        }
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ObjectName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for ObjectName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

/// An object that exists.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ObjectEntry {
    pub name: ObjectName,
    /// Bytes.
    pub size: u64,
}

#[derive(Clone, Debug, thiserror::Error)]
pub enum ObjectError {
    /// Determinate: there is no such object.
    #[error("object {0} does not exist")]
    NotFound(ObjectName),
    /// Determinate: nothing was written. Names are never reused, so this is a fault of the caller
    /// or the late success of an earlier attempt: read back to tell.
    #[error("object {0} exists already")]
    AlreadyExists(ObjectName),
    /// Determinate: nothing was written, there may be space again later.
    #[error("no space left for object {name}: {reason}")]
    Full { name: ObjectName, reason: String },
    /// Indeterminate for a write: the object may exist or not, and no one may rely on either.
    #[error("object {name}: {reason}")]
    Io { name: String, reason: String },
    #[error("{0:?} is not an object name")]
    InvalidName(String),
    /// Determinate: bytes were asked for that the object does not have. Who asked was told of
    /// another object, or this one is damaged.
    #[error("object {name} of {size} bytes has no bytes {start}..{end}")]
    OutOfRange { name: ObjectName, size: u64, start: u64, end: u64 },
}

/// Where objects are.
///
/// Obligations of an implementation, each checked by the conformance suite
/// (`objects::conformance`):
/// 1. `put` creates: a name that exists is refused with `AlreadyExists` and keeps its bytes. Of
///    several who create one name at the same time at most one gets Ok, and the object is its own.
/// 2. When `put` or `ObjectWrite::finish` returned Ok the whole object survives a crash. Before
///    that a crash leaves the whole object or none; no reader sees part of one.
/// 3. `get` gives exactly the bytes that were put, else `NotFound`; `size` is their number.
/// 4. `list` gives every object whose name starts with `prefix`, in order of name.
/// 5. `delete` of a name that does not exist is Ok. After it returned Ok the object does not come
///    back, except that a crash right after may bring it back whole.
/// 6. `create` takes bytes in any pieces and in bounded memory. The object has its name from
///    `finish` on; an `ObjectWrite` dropped without it leaves nothing under the name, which can be
///    created again. A name that exists is refused at the latest by `finish`.
/// 7. `read_ranges` gives exactly the bytes of each range, in the order of `ranges`, which may
///    overlap and be empty; else `NotFound`, or `OutOfRange` when an end is beyond the object's
///    (or before its start). Never fewer bytes.
/// 8. `read_up_to` gives the bytes of a range that the object has: fewer only where it ends before the
///    range does, but at least one; else `OutOfRange`.
///
/// Bytes that changed where they lie are the caller's to find: what it writes has checksums.
pub trait Objects: Send + Sync {
    /// Begins an object of any size. Blocks, as all but `read_ranges` do.
    fn create(&self, name: &ObjectName) -> Result<Box<dyn ObjectWrite + Send>, ObjectError>;

    fn put(&self, name: &ObjectName, body: &[u8]) -> Result<(), ObjectError> {
        let mut object = self.create(name)?;
        object.write(body)?;
        object.finish()
    }

    /// The whole object in memory: for those known to be small.
    fn get(&self, name: &ObjectName) -> Result<Bytes, ObjectError>;

    /// Bytes.
    fn size(&self, name: &ObjectName) -> Result<u64, ObjectError>;

    fn list(&self, prefix: &str) -> Result<Vec<ObjectEntry>, ObjectError>;

    fn delete(&self, name: &ObjectName) -> Result<(), ObjectError>;

    /// For the runtime that runs queries: waits without blocking where there is a network. Ranges
    /// are of bytes, the end not included. A future that is dropped gives its requests up.
    fn read_ranges(
        &self,
        name: &ObjectName,
        ranges: &[Range<u64>],
    ) -> BoxFuture<'_, Result<Vec<Bytes>, ObjectError>>;

    /// One range, of which the object may have only a part. Not an empty range.
    fn read_up_to(
        &self,
        name: &ObjectName,
        range: Range<u64>,
    ) -> BoxFuture<'_, Result<Bytes, ObjectError>> {
        let name = name.clone();
        Box::pin(async move {
            let read = match self.read_ranges(&name, std::slice::from_ref(&range)).await {
                Err(ObjectError::OutOfRange { size, .. }) if size > range.start => {
                    let rest = range.start..size;
                    self.read_ranges(&name, std::slice::from_ref(&rest)).await
                }
                read => read,
            };
            Ok(read?.into_iter().next().unwrap_or_default())
        })
    }

    /// Bytes between two ranges of a few rows up to which they are better read as one range, with
    /// what lies between: a request takes as long as reading that much.
    fn gap_bytes(&self) -> u64 {
        256 << 10
    }

    /// The store itself, for who reads what nobody reads again. `None`: this is it.
    fn uncached(&self) -> Option<Arc<dyn Objects>> {
        None
    }

    /// For a reader to which these ranges did not have the bytes that were written: reads them where
    /// they are kept for good, and has a cache forget what it gave. `None`: that is where they came
    /// from.
    fn read_again(
        &self,
        _name: &ObjectName,
        _ranges: &[Range<u64>],
    ) -> Option<BoxFuture<'_, Result<Vec<Bytes>, ObjectError>>> {
        None
    }

    /// What was asked of it since the start.
    fn figures(&self) -> ObjectFigures {
        ObjectFigures::default()
    }

    /// Brings to the disk what a cache wants to find there after a restart. The objects can still be
    /// read. Blocks.
    fn close(&self) {}

    /// How writing is to share the device with the log, from the next object on; for those that
    /// do not share it, nothing.
    fn set_pace(&self, _pace: Pace) {}
}

/// An object that is being written. Dropped without `finish` it leaves nothing. After an error of
/// `write` only dropping it is left to do.
pub trait ObjectWrite {
    /// Appends. Blocks.
    fn write(&mut self, bytes: &[u8]) -> Result<(), ObjectError>;

    /// Gives the object its name, durably. An error leaves the object whole or not there; which of
    /// the two is unknown with `ObjectError::Io`.
    fn finish(self: Box<Self>) -> Result<(), ObjectError>;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_cannot_leave_the_directory() {
        for good in ["a", "checkpoint/00ff-1/manifest", "a/b.c_d-e"] {
            assert_eq!(ObjectName::new(good).expect("valid").as_str(), good);
        }
        for bad in
            ["", "/", "/a", "a/", "a//b", ".", "..", "a/../b", "a/.hidden", "a b", "a\\b", "ä"]
        {
            assert!(ObjectName::new(bad).is_err(), "{bad:?}");
        }
        assert!(ObjectName::new("x/".repeat(600) + "x").is_err());
    }
}
