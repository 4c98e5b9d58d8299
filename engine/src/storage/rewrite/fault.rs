//! Points where tests cut a job short (feature `failpoints`).

use super::RewriteError;

/// All fail points of jobs, in the order in which one meets them.
pub const FAIL_POINTS: &[&str] = &[
    "rewrite::seal",
    "rewrite::begin::before",
    "rewrite::begin::after",
    "rewrite::object::before",
    "rewrite::object::after",
    "rewrite::deletions::before",
    "rewrite::edit::before",
    "rewrite::edit::after",
    "rewrite::end::before",
    "rewrite::end::after",
    "rewrite::remove",
    "rewrite::sweep::list",
    "rewrite::sweep::delete",
];

/// Fails if a test configured `point` to `return`; panics if to `panic`, which is what a test that
/// pulls the plug catches.
pub(in crate::storage) fn fault(point: &str) -> Result<(), RewriteError> {
    fail::fail_point!(point, |argument: Option<String>| {
        let reason = argument.unwrap_or_else(|| "injected".to_owned());
        Err(crate::storage::StorageError::Invalid(format!("{point}: {reason}")).into())
    });
    // Without the feature the macro is nothing.
    let _ = point;
    Ok(())
}
