//! Points where tests make the disk fail or pull the plug (feature `failpoints`).

use crate::env::DiskError;

/// Fail point `point`, acting on `path`. Its action `return` gives an input/output error,
/// `return(full)` a full disk; `panic` and callbacks work as the `fail` crate documents. Without the
/// feature this is nothing.
#[inline]
pub(super) fn point(point: &'static str, path: &str) -> Result<(), DiskError> {
    fail::fail_point!(point, |argument: Option<String>| Err(match argument.as_deref() {
        Some("full") => DiskError::NoSpace { path: path.to_owned() },
        _ => DiskError::Io {
            operation: "fail point",
            path: path.to_owned(),
            reason: format!("{point} was told to fail"),
        },
    }));
    let _ = (point, path);
    Ok(())
}

/// All fail points of the log, in the order in which a log's life meets them.
pub const POINTS: &[&str] = &[
    "log::marks::vote",
    "log::marks::committed",
    "log::marks::newest_file",
    "log::marks::first",
    "log::marks::second",
    "log::prepare::create",
    "log::prepare::allocate",
    "log::prepare::sync",
    "log::prepare::rename",
    "log::prepare::sync_dir",
    "log::rotate::seal",
    "log::rotate::activate",
    "log::rotate::sync",
    "log::append::write",
    "log::append::written",
    "log::sync::start",
    "log::sync::done",
    "log::truncate::seal",
    "log::truncate::remove",
    "log::cut::mark",
    "log::cut::remove",
    "log::cut::sync_dir",
];
