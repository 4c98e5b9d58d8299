//! Whole small files.

use super::{Disk, DiskError};

/// All bytes of a file, which must not be longer than `bytes_max`.
pub fn read_file(disk: &dyn Disk, path: &str, bytes_max: u64) -> Result<Vec<u8>, DiskError> {
    let file = disk.open_read_only(path)?;
    let len = file.len()?;
    if len > bytes_max {
        return Err(DiskError::Io {
            operation: "reading",
            path: path.to_owned(),
            reason: format!("{len} bytes, at most {bytes_max} are expected"),
        });
    }
    let mut bytes = vec![0; usize::try_from(len).expect("bounded by bytes_max, which fits memory")];
    let read = file.read_at(0, &mut bytes)?;
    bytes.truncate(read);
    Ok(bytes)
}

/// Make `path` hold exactly `bytes`, durably and atomically: after a crash it is the old file or
/// the new one. Uses the name `path` + `.new` on the way.
pub fn replace_file(disk: &dyn Disk, path: &str, bytes: &[u8]) -> Result<(), DiskError> {
    let new = format!("{path}.new");
    match disk.remove(&new) {
        Ok(()) | Err(DiskError::NotFound { .. }) => {}
        Err(error) => return Err(error),
    }
    let file = disk.create(&new)?;
    file.write_at(0, bytes)?;
    file.sync_data()?;
    disk.rename(&new, path)?;
    disk.sync_dir(path.rsplit_once('/').map_or("", |(directory, _)| directory))
}
