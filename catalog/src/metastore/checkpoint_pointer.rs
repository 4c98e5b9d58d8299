//! The pointer to the newest checkpoint.

use glaredb_txn::ids::{LogId, Position, Timestamp};

use super::{
    Metastore, MetastoreError, Transaction,
    keys::{self, ValueError},
    leadership::{FencedOutcome, Leadership, LeadershipError},
};

const ATTEMPTS_MAX: usize = 8;

/// Where recovery begins.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CheckpointPointer {
    /// The state is as of this position.
    pub position: Position,
    /// Timestamp of the newest commit in it.
    pub timestamp: Timestamp,
    /// Name of the checkpoint's manifest, relative to the root of objects.
    pub object: String,
}

/// The pointer as stored; `None` before the first checkpoint.
pub fn read_checkpoint(
    metastore: &dyn Metastore,
    log: LogId,
) -> Result<Option<CheckpointPointer>, LeadershipError> {
    let key = keys::checkpoint(log);
    let Some(entry) = metastore.get(&key)? else { return Ok(None) };
    Ok(Some(decode(&key, &entry.value)?))
}

/// Point at a newer checkpoint. Returns the pointer that holds now: an older one than the stored
/// changes nothing. After an indeterminate error, [`read_checkpoint`] tells.
pub fn write_checkpoint(
    leadership: &Leadership,
    pointer: &CheckpointPointer,
) -> Result<CheckpointPointer, LeadershipError> {
    let key = keys::checkpoint(pointer.position.log);
    for _ in 0..ATTEMPTS_MAX {
        let entry = leadership.metastore().get(&key)?;
        if let Some(entry) = &entry {
            let stored = decode(&key, &entry.value)?;
            if stored.position >= pointer.position {
                return Ok(stored);
            }
        }
        let write = Transaction::new()
            .when_unchanged(key.clone(), entry.as_ref())
            .put(key.clone(), encode(pointer));
        if let FencedOutcome::Applied(_) = leadership.commit(write)? {
            return Ok(pointer.clone());
        }
    }
    let reason = format!("the pointer changed {ATTEMPTS_MAX} times while it was written");
    Err(MetastoreError::Unavailable(reason).into())
}

fn encode(pointer: &CheckpointPointer) -> bytes::Bytes {
    keys::encode(|w| {
        keys::write_position(w, pointer.position);
        w.u64(pointer.timestamp.0).str(&pointer.object);
    })
}

fn decode(key: &[u8], value: &[u8]) -> Result<CheckpointPointer, ValueError> {
    keys::decode(key, value, |r| {
        Ok(CheckpointPointer {
            position: keys::read_position(r)?,
            timestamp: Timestamp(r.u64()?),
            object: r.str()?.to_owned(),
        })
    })
}
