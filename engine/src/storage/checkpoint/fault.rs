//! Points where tests cut a checkpoint short (feature `failpoints`).

use super::CheckpointError;

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
