//! Points where tests cut a checkpoint short (feature `failpoints`).

use super::CheckpointError;

/// All fail points of checkpoints, in the order in which one meets them.
pub const FAIL_POINTS: &[&str] = &[
    "checkpoint::object::before",
    "checkpoint::object::after",
    "checkpoint::manifest::before",
    "checkpoint::manifest::after",
    "checkpoint::pointer::before",
    "checkpoint::pointer::after",
    "checkpoint::cut::before",
    "checkpoint::cut::after",
    "checkpoint::sweep",
];

/// Fails if a test configured `point` to `return`; panics if to `panic`, which is what a test that
/// pulls the plug catches.
pub(super) fn fault(point: &str) -> Result<(), CheckpointError> {
    fail::fail_point!(point, |argument: Option<String>| {
        let reason = argument.unwrap_or_else(|| "injected".to_owned());
        Err(CheckpointError::Invalid(format!("{point}: {reason}")))
    });
    // Without the feature the macro is nothing.
    let _ = point;
    Ok(())
}
