//! Whether anybody still wants what is being computed.
//!
//! A task can be ended where it waits, and a function computes a batch without. So the loops of
//! functions ask between two rows, and at times within one, whether the statement was given up
//! meanwhile (cancelled, timed out, its client lost), and break off then: what they raise is seen by
//! nobody.
//!
//! A session counts the statements that it gave up; whoever computes for it remembers the count
//! that he began at, and is not wanted any more once it differs. The loops lie deep below arrow's
//! and DataFusion's signatures, so they find it by their thread.

use std::{
    cell::RefCell,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

use datafusion::config::ConfigOptions;

use crate::{
    error::{SqlError, sqlstate},
    query::option_extension::option_extension,
};

/// How many statements a session has given up; stands among the extensions of the options that
/// functions are called with. A clone counts for the same session.
#[derive(Clone, Default, Debug)]
pub struct GivenUp(Arc<AtomicU64>);

impl GivenUp {
    /// Whatever is computed for the session is not wanted any more.
    pub fn give_up(&self) {
        self.0.fetch_add(1, Relaxed);
    }
}

option_extension!(GivenUp, "glaredb_given_up");

/// What a thread computes for: the session's count, and what it was at the begin.
#[derive(Clone)]
struct Wanted {
    given_up: GivenUp,
    at_begin: u64,
}

thread_local! {
    static WANTED: RefCell<Option<Wanted>> = const { RefCell::new(None) };
}

/// Puts back what the thread computed for before, also after a panic.
struct Before(Option<Wanted>);

impl Drop for Before {
    fn drop(&mut self) {
        WANTED.set(self.0.take());
    }
}

/// Runs `compute`, in which [`check`] knows the session that these options belong to.
pub(super) fn for_session<T>(options: &ConfigOptions, compute: impl FnOnce() -> T) -> T {
    let Some(given_up) = options.extensions.get::<GivenUp>() else { return compute() };
    let at_begin = given_up.0.load(Relaxed);
    let wanted = Wanted { given_up: given_up.clone(), at_begin };
    let _before = Before(WANTED.replace(Some(wanted)));
    compute()
}

/// To be called between two rows, and where one takes long by itself. A few nanoseconds.
///
/// # Errors
/// 57014 if nobody wants the result any more.
pub fn check() -> std::result::Result<(), SqlError> {
    let given_up = WANTED.with_borrow(|wanted| {
        let wanted = wanted.as_ref();
        wanted.is_some_and(|wanted| wanted.given_up.0.load(Relaxed) != wanted.at_begin)
    });
    if given_up {
        return Err(SqlError::new(sqlstate::QUERY_CANCELED, "the statement was given up"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::{sync::mpsc, time::Duration};

    use arrow::array::{ArrayRef, StringViewArray, UInt32Array};
    use arrow::compute::take;
    use arrow::datatypes::{DataType, Field};
    use datafusion::logical_expr::{ColumnarValue, ScalarFunctionArgs, ScalarUDF};

    use super::*;
    use crate::query::functions::{builtin, numeric, pattern};
    use crate::types::TimeZone;

    const ROWS: usize = 8192;

    /// Calls the function over a batch that would take it minutes, gives up all the time, and
    /// waits for it.
    fn interrupted(udf: &Arc<ScalarUDF>, columns: Vec<ArrayRef>) {
        let given_up = GivenUp::default();
        let mut options = ConfigOptions::default();
        options.extensions.insert(given_up.clone());
        let arg_fields = columns
            .iter()
            .map(|column| Arc::new(Field::new("c", column.data_type().clone(), true)))
            .collect();
        let args = ScalarFunctionArgs {
            args: columns.into_iter().map(ColumnarValue::Array).collect(),
            arg_fields,
            number_rows: ROWS,
            return_field: Arc::new(Field::new("r", DataType::Null, true)),
            config_options: Arc::new(options),
        };
        let name = udf.name().to_owned();
        let udf = Arc::clone(udf);
        let (send, ended) = mpsc::channel();
        let computing = std::thread::Builder::new().spawn(move || {
            let failed = udf.inner().invoke_with_args(args).err().map(|error| error.to_string());
            // The test has given up itself.
            let _ = send.send(failed);
        });
        computing.expect("a thread");
        let mut tries = 0;
        let failed = loop {
            given_up.give_up();
            match ended.recv_timeout(Duration::from_millis(5)) {
                Ok(failed) => break failed,
                Err(_) => tries += 1,
            }
            assert!(tries < 6_000, "{name} goes on for half a minute");
        };
        let failed = failed.unwrap_or_default();
        assert!(failed.contains("the statement was given up"), "{name}: {failed:?}");
        assert!(check().is_ok(), "other threads compute for others");
    }

    fn column(text: &str) -> ArrayRef {
        // The text itself is there once.
        let one = StringViewArray::from_iter_values([text]);
        take(&one, &UInt32Array::from_value(0, ROWS), None).expect("the first row")
    }

    #[test]
    fn functions_end_when_they_are_given_up() {
        let long = column(&"ab".repeat(20_000));
        let (pattern, dot) = (column("[ab]+[^ab]"), column("."));
        let count = builtin::lookup("regexp_count");
        let count = count.iter().find(|f| f.arguments.len() == 2).expect("of two arguments");
        interrupted(&count.udf(TimeZone::UTC), vec![Arc::clone(&long), dot]);
        interrupted(&pattern::regex_match(false), vec![Arc::clone(&long), pattern]);
        // By nothing: there is no memory for results here.
        let replaced = vec![long, column("(a|b)"), column(""), column("g")];
        let replace = builtin::lookup("regexp_replace");
        let flags = |f: &&&builtin::Builtin| f.arguments == [builtin::Type::Text; 4];
        let replace = replace.iter().find(flags).expect("with flags");
        interrupted(&replace.udf(TimeZone::UTC), replaced);
        let digits = column(&"7".repeat(4_000));
        let times = numeric::binary_function("*").expect("multiplication");
        interrupted(&times, vec![Arc::clone(&digits), digits]);
        let power = builtin::lookup("power");
        let power = power.iter().find(|f| f.returns == builtin::Type::Numeric).expect("numeric");
        let (base, exponent) = (column(&"7".repeat(300)), column("400"));
        interrupted(&power.udf(TimeZone::UTC), vec![base, exponent]);
    }
}
