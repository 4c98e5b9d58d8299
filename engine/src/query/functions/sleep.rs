//! `pg_sleep`: waits on the runtime for queries, and not longer than somebody wants it.

use std::{sync::Arc, time::Duration};

use arrow::{
    array::{ArrayRef, AsArray, StringViewArray},
    datatypes::{DataType, Float64Type},
};
use datafusion::logical_expr::{ScalarUDF, Volatility};
use glaredb_txn::env::{Clock, SystemClock};

use super::{
    given_up,
    scalar::{function, strict},
};

/// How long a wait goes on before it is asked whether it is still wanted.
const STEP: Duration = Duration::from_millis(10);

/// `pg_sleep(seconds)`: void.
pub fn pg_sleep() -> Arc<ScalarUDF> {
    let returns = DataType::Utf8View;
    let compute = strict(returns.clone(), |args| {
        let seconds = args[0].as_primitive::<Float64Type>();
        for seconds in seconds.iter().flatten() {
            let wait = Duration::try_from_secs_f64(seconds.max(0.0)).unwrap_or(Duration::MAX);
            let start = SystemClock.monotonic();
            loop {
                given_up::check()?;
                let passed = SystemClock.monotonic().saturating_sub(start);
                let Some(left) = wait.checked_sub(passed).filter(|left| !left.is_zero()) else {
                    break;
                };
                SystemClock.sleep(left.min(STEP));
            }
        }
        let nothing = seconds.iter().map(|seconds| seconds.map(|_| ""));
        Ok(Arc::new(nothing.collect::<StringViewArray>()) as ArrayRef)
    });
    function("pg_sleep", "", returns, Volatility::Volatile, compute)
}
