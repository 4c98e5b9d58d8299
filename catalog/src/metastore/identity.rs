//! Which database this is, in which format.

use glaredb_txn::{env::Random, ids::DatabaseId};

use super::{
    KeyState, Metastore, MetastoreError, Outcome, Transaction,
    keys::{self, ValueError},
};

/// Version of everything on disk taken together: raised when a build writes what an older one must
/// not touch.
pub const FORMAT_VERSION: u32 = 1;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Identity {
    pub database_id: DatabaseId,
    pub format_version: u32,
}

#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum IdentityError {
    #[error(transparent)]
    Metastore(#[from] MetastoreError),
    #[error(transparent)]
    Value(#[from] ValueError),
    #[error(
        "database {database_id} has format version {found}, this build reads up to {FORMAT_VERSION}"
    )]
    Newer { database_id: DatabaseId, found: u32 },
    #[error("the metastore belongs to database {found}, not to {expected}")]
    Foreign { expected: DatabaseId, found: DatabaseId },
}

/// The identity in the metastore; an empty one gets a new, random identity.
///
/// `expected`: what files beside the metastore say they belong to, if there are any. A store of
/// another database and one of a newer format are refused.
pub fn open_identity(
    metastore: &dyn Metastore,
    random: &dyn Random,
    expected: Option<DatabaseId>,
) -> Result<Identity, IdentityError> {
    let identity = match read(metastore)? {
        Some(identity) => identity,
        None => create(metastore, random, expected)?,
    };
    let Identity { database_id, format_version } = identity;
    if format_version > FORMAT_VERSION {
        return Err(IdentityError::Newer { database_id, found: format_version });
    }
    match expected {
        Some(expected) if expected != database_id => {
            Err(IdentityError::Foreign { expected, found: database_id })
        }
        _ => Ok(identity),
    }
}

fn read(metastore: &dyn Metastore) -> Result<Option<Identity>, IdentityError> {
    let Some(entry) = metastore.get(&keys::IDENTITY)? else { return Ok(None) };
    let identity = keys::decode(&keys::IDENTITY, &entry.value, |r| {
        Ok(Identity { database_id: DatabaseId(r.u128()?), format_version: r.u32()? })
    })?;
    Ok(Some(identity))
}

fn create(
    metastore: &dyn Metastore,
    random: &dyn Random,
    expected: Option<DatabaseId>,
) -> Result<Identity, IdentityError> {
    // Files that are already there must not be adopted by a new, empty metastore.
    let database_id = DatabaseId(random.next_u128());
    if let Some(expected) = expected {
        return Err(IdentityError::Foreign { expected, found: database_id });
    }
    let value = keys::encode(|w| {
        w.u128(database_id.0).u32(FORMAT_VERSION);
    });
    let create =
        Transaction::new().when(keys::IDENTITY, KeyState::Absent).put(keys::IDENTITY, value);
    match metastore.commit(&create) {
        Ok(Outcome::Applied(_)) => Ok(Identity { database_id, format_version: FORMAT_VERSION }),
        // Another process was first, or nobody knows: what is stored now counts.
        Ok(Outcome::Refused { .. }) | Err(MetastoreError::Indeterminate(_)) => read(metastore)?
            .ok_or_else(|| {
                MetastoreError::Unavailable("the identity could not be stored".into()).into()
            }),
        Err(e) => Err(e.into()),
    }
}
