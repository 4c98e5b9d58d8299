//! Where a database's objects are, and that no other database's are taken for its own.
//!
//! ```text
//! data directory (the default):   DIR/objects/<object>
//! elsewhere:                      <location>/glaredb-identity            database id, format
//!                                 <location>/<database id>/<object>
//! ```
//!
//! A location has one database. The identity object is created at the first start, before anything
//! else; a start that finds another database's, or one of a newer format, or none where it once was,
//! is refused. The data directory remembers the location (in the metastore), so that a database is
//! not started without its objects.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use glaredb_txn::{
    env::{Env, LocalDisk},
    ids::DatabaseId,
};

use super::{
    ObjectDirectory, ObjectError, ObjectName, Objects,
    remote::{Limits, LocationError, RemoteLocation, S3Options},
};

const IDENTITY: &str = "glaredb-identity";
const FORMAT: u32 = 1;

/// As the command line says.
#[derive(Clone, Debug, Default)]
pub struct StorageOptions {
    /// `None`: where the objects were until now, the data directory at first.
    pub location: Option<StorageLocation>,
    pub s3: S3Options,
    pub limits: Limits,
}

/// Where objects are, if not in the data directory.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum StorageLocation {
    /// An absolute path.
    Directory(PathBuf),
    Remote(RemoteLocation),
}

/// Why a location is refused.
#[derive(Debug, thiserror::Error)]
pub enum StorageError {
    #[error(transparent)]
    Location(#[from] LocationError),
    #[error("storage: {0}")]
    Objects(#[from] ObjectError),
    #[error(
        "this data directory keeps its objects in {remembered}, not in {given}: start it with \
         --storage {remembered} or without --storage"
    )]
    Moved { remembered: String, given: String },
    #[error(
        "this data directory keeps its objects itself, not in {given}: start it without --storage"
    )]
    MovedFromDirectory { given: String },
    #[error(
        "{location} holds database {found:032x}, this data directory holds database \
         {expected:032x}: choose an empty prefix, or the data directory that belongs to it"
    )]
    Foreign { location: String, found: u128, expected: u128 },
    #[error("{location} has storage format {found}; this build reads up to {FORMAT}")]
    Newer { location: String, found: u32 },
    #[error("{location}: {IDENTITY} is not an identity of a database's storage: {reason}")]
    Malformed { location: String, reason: String },
    #[error(
        "{location} holds nothing of this database, though it was there at its first start: check \
         the endpoint, the bucket and the prefix"
    )]
    Missing { location: String },
}

impl StorageLocation {
    /// A path, `file:///PATH`, or the URL of a bucket.
    pub fn parse(text: &str) -> Result<Self, LocationError> {
        if let Some(remote) = RemoteLocation::parse(text) {
            return Ok(Self::Remote(remote?));
        }
        let not_one = || LocationError::NotALocation(text.to_owned());
        let path = match text.strip_prefix("file://") {
            Some(path) if path.starts_with('/') => path,
            Some(_) => return Err(not_one()),
            None if text.contains("://") || text.is_empty() => return Err(not_one()),
            None => text,
        };
        let path = std::path::absolute(path).map_err(|_| not_one())?;
        // It has a name and a folder that it is in.
        path.parent().and(path.file_name()).and_then(|name| name.to_str()).ok_or_else(not_one)?;
        Ok(Self::Directory(path))
    }

    /// The same for the same place.
    #[must_use]
    pub fn url(&self) -> String {
        match self {
            Self::Directory(path) => format!("file://{}", path.display()),
            Self::Remote(remote) => remote.url(),
        }
    }

    /// Objects of the folder `below`.
    fn objects(
        &self,
        env: &Env,
        below: &str,
        options: &StorageOptions,
    ) -> Result<Arc<dyn Objects>, StorageError> {
        match self {
            Self::Directory(path) => {
                let root = path.parent().unwrap_or(Path::new("/"));
                let folder = path.file_name().unwrap_or_default().to_string_lossy();
                let env = Env { disk: Arc::new(LocalDisk::new(root)), ..env.clone() };
                Ok(match below {
                    // What lies below may be others'.
                    "" => Arc::new(ObjectDirectory::open_read_only(&env, &folder)),
                    below => Arc::new(ObjectDirectory::open(&env, &format!("{folder}/{below}"))?),
                })
            }
            Self::Remote(remote) => {
                let random = Arc::clone(&env.random);
                Ok(Arc::new(remote.connect(below, &options.s3, options.limits, random)?))
            }
        }
    }

    /// Everything at the location, whosever it is. To look at.
    pub fn look(
        &self,
        env: &Env,
        options: &StorageOptions,
    ) -> Result<Arc<dyn Objects>, StorageError> {
        self.objects(env, "", options)
    }

    /// The objects of the database that is there, whichever it is, to look at. Errors: there is none, or
    /// one of a newer format.
    pub fn existing(
        &self,
        env: &Env,
        options: &StorageOptions,
    ) -> Result<Arc<dyn Objects>, StorageError> {
        let location = self.url();
        let found = self.look(env, options)?.get(&ObjectName::new(IDENTITY)?);
        let found = match found {
            Err(ObjectError::NotFound(_)) => return Err(StorageError::Missing { location }),
            found => found?,
        };
        match parse_identity(&found) {
            Ok((_, Some(id))) => {
                let below = format!("{id:032x}");
                match self {
                    Self::Directory(path) => {
                        let env = Env { disk: Arc::new(LocalDisk::new(path)), ..env.clone() };
                        Ok(Arc::new(ObjectDirectory::open_read_only(&env, &below)))
                    }
                    Self::Remote(_) => self.objects(env, &below, options),
                }
            }
            Ok((found, None)) => Err(StorageError::Newer { location, found }),
            Err(reason) => Err(StorageError::Malformed { location, reason }),
        }
    }

    /// The database's objects. At its first start the location becomes its own.
    pub(in crate::storage) fn open(
        &self,
        env: &Env,
        options: &StorageOptions,
        database: DatabaseId,
        first_start: bool,
    ) -> Result<Arc<dyn Objects>, StorageError> {
        let place = self.objects(env, "", options)?;
        claim(&*place, &self.url(), database, first_start)?;
        self.objects(env, &format!("{:032x}", database.0), options)
    }
}

/// Makes the identity object at the first start, compares it at every other.
fn claim(
    place: &dyn Objects,
    location: &str,
    database: DatabaseId,
    first_start: bool,
) -> Result<(), StorageError> {
    let name = ObjectName::new(IDENTITY)?;
    let text = format!("glaredb storage\nformat {FORMAT}\ndatabase {:032x}\n", database.0);
    let found = match place.get(&name) {
        Err(ObjectError::NotFound(_)) if first_start => {
            match place.put(&name, text.as_bytes()) {
                Ok(()) => return Ok(()),
                // Another one's first start came first.
                Err(ObjectError::AlreadyExists(_)) => place.get(&name)?,
                Err(error) => return Err(error.into()),
            }
        }
        Err(ObjectError::NotFound(_)) => {
            return Err(StorageError::Missing { location: location.to_owned() });
        }
        found => found?,
    };
    let (format, id) = parse_identity(&found)
        .map_err(|reason| StorageError::Malformed { location: location.to_owned(), reason })?;
    let location = location.to_owned();
    if format > FORMAT {
        Err(StorageError::Newer { location, found: format })
    } else if id != Some(database.0) {
        let found = id.unwrap_or_default();
        Err(StorageError::Foreign { location, found, expected: database.0 })
    } else {
        Ok(())
    }
}

/// Format, and the database in a format that is known.
fn parse_identity(bytes: &[u8]) -> Result<(u32, Option<u128>), String> {
    let text = std::str::from_utf8(bytes).map_err(|error| error.to_string())?;
    let mut lines = text.lines();
    if lines.next() != Some("glaredb storage") {
        return Err("its first line is another".to_owned());
    }
    let format = lines.next().and_then(|line| line.strip_prefix("format ")?.parse().ok());
    let format: u32 = format.ok_or("its second line is no format")?;
    if format > FORMAT {
        return Ok((format, None));
    }
    let id = lines.next().and_then(|line| line.strip_prefix("database "));
    let id = id.and_then(|id| u128::from_str_radix(id, 16).ok());
    Ok((format, Some(id.ok_or("its third line is no database id")?)))
}

/// The location that counts, of what the command line says and what the metastore remembers.
pub(in crate::storage) fn choose(
    given: Option<&StorageLocation>,
    remembered: Option<&str>,
    first_start: bool,
) -> Result<Option<StorageLocation>, StorageError> {
    match (given, remembered) {
        (Some(given), Some(remembered)) if given.url() != remembered => {
            let (remembered, given) = (remembered.to_owned(), given.url());
            Err(StorageError::Moved { remembered, given })
        }
        (Some(given), None) if !first_start => {
            Err(StorageError::MovedFromDirectory { given: given.url() })
        }
        (Some(given), _) => Ok(Some(given.clone())),
        (None, Some(remembered)) => Ok(Some(StorageLocation::parse(remembered)?)),
        (None, None) => Ok(None),
    }
}

#[cfg(all(test, feature = "testing"))]
mod tests;
