//! Where the database keeps its objects.

use super::{
    KeyState, LeadershipError, Metastore, MetastoreError, Outcome, Transaction,
    keys::{self, STORAGE},
};

/// The URL as remembered; `None`: the data directory has the objects.
pub fn storage_location(metastore: &dyn Metastore) -> Result<Option<String>, LeadershipError> {
    let Some(entry) = metastore.get(&STORAGE)? else { return Ok(None) };
    let url = keys::decode(&STORAGE, &entry.value, |r| Ok(r.str()?.to_owned()))?;
    Ok(Some(url))
}

/// Remembers the URL, once and for all: another one than is remembered is an error.
pub fn remember_storage_location(
    metastore: &dyn Metastore,
    url: &str,
) -> Result<(), LeadershipError> {
    let value = keys::encode(|w| {
        w.str(url);
    });
    let remember = Transaction::new().when(STORAGE, KeyState::Absent).put(STORAGE, value);
    match metastore.commit(&remember) {
        Ok(Outcome::Applied(_)) => return Ok(()),
        // Remembered before, or nobody knows: what is stored now counts.
        Ok(Outcome::Refused { .. }) | Err(MetastoreError::Indeterminate(_)) => {}
        Err(error) => return Err(error.into()),
    }
    match storage_location(metastore)? {
        Some(stored) if stored == url => Ok(()),
        stored => {
            let reason = format!("storage {url} was not remembered; {stored:?} is");
            Err(MetastoreError::Unavailable(reason).into())
        }
    }
}

#[cfg(test)]
mod tests {
    use glaredb_txn::env::Env;

    use super::*;
    use crate::metastore::EmbeddedMetastore;

    #[test]
    fn a_location_is_remembered_once() {
        let folder = tempfile::tempdir().expect("a folder");
        let env = Env::real(folder.path());
        {
            let metastore = EmbeddedMetastore::open(env.clone(), "metastore").expect("open");
            assert_eq!(storage_location(&metastore).expect("read"), None);
            remember_storage_location(&metastore, "s3://bucket/a").expect("remember");
            remember_storage_location(&metastore, "s3://bucket/a").expect("again");
            let error = remember_storage_location(&metastore, "s3://bucket/b");
            let error = error.expect_err("another").to_string();
            assert!(error.contains("s3://bucket/a") && error.contains("s3://bucket/b"), "{error}");
        }
        let metastore = EmbeddedMetastore::open(env, "metastore").expect("open again");
        let remembered = storage_location(&metastore).expect("read");
        assert_eq!(remembered.as_deref(), Some("s3://bucket/a"));
    }
}
