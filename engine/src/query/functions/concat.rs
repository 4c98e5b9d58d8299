//! `||`, `concat` and `concat_ws` over text.

use std::sync::Arc;

use arrow::{
    array::{Array, ArrayRef, AsArray, StringViewArray, StringViewBuilder},
    datatypes::DataType,
};
use datafusion::logical_expr::ScalarUDF;

use super::{
    given_up,
    memory::Memory,
    scalar::{infallible, over_arrays_charged, sees_nulls, strict_charged},
};
use crate::error::SqlError;

/// `text || text`; NULL if any is NULL.
pub fn operator() -> Arc<ScalarUDF> {
    let compute = strict_charged(DataType::Utf8View, |args, memory| {
        let columns: Vec<_> = args.iter().map(|a| a.as_string_view()).collect();
        join(&columns, memory, |parts, row| {
            if parts.iter().any(|part| part.is_null(row)) {
                return None;
            }
            Some(0..parts.len())
        })
    });
    infallible("textcat", "", DataType::Utf8View, compute)
}

/// `concat(text, …)`; NULLs are left out.
pub fn concat() -> Arc<ScalarUDF> {
    let compute = over_arrays_charged(|args, memory| {
        let columns: Vec<_> = args.iter().map(|a| a.as_string_view()).collect();
        join(&columns, memory, |parts, _| Some(0..parts.len()))
    });
    sees_nulls("concat", "", DataType::Utf8View, false, compute)
}

/// The parts of a row one after the other, without NULLs. `parts`: which of them; `None` for NULL.
fn join(
    columns: &[&StringViewArray],
    memory: Memory<'_>,
    parts: impl Fn(&[&StringViewArray], usize) -> Option<std::ops::Range<usize>>,
) -> Result<ArrayRef, SqlError> {
    let rows = columns.first().map_or(1, |column| column.len());
    let mut charge = memory.charge();
    let mut out = StringViewBuilder::with_capacity(rows);
    let mut text = String::new();
    for row in 0..rows {
        given_up::check()?;
        let Some(parts) = parts(columns, row) else {
            out.append_null();
            continue;
        };
        let parts = columns[parts].iter().filter(|part| part.is_valid(row));
        let bytes = parts.clone().map(|part| part.value(row).len()).sum();
        memory.check_value(bytes)?;
        charge.add(bytes)?;
        text.clear();
        parts.for_each(|part| text.push_str(part.value(row)));
        out.append_value(&text);
    }
    charge.attach(Arc::new(out.finish()))
}

/// `concat_ws(separator, text, …)`: NULL without a separator; NULLs are left out, with theirs.
pub fn concat_ws() -> Arc<ScalarUDF> {
    let compute = over_arrays_charged(|args, memory| {
        let columns: Vec<_> = args.iter().map(|a| a.as_string_view()).collect();
        let Some((separators, columns)) = columns.split_first() else {
            return Err(SqlError::internal("concat_ws without a separator"));
        };
        let mut charge = memory.charge();
        let mut out = StringViewBuilder::with_capacity(separators.len());
        let mut text = String::new();
        for row in 0..separators.len() {
            given_up::check()?;
            if separators.is_null(row) {
                out.append_null();
                continue;
            }
            let separator = separators.value(row);
            let parts = columns.iter().filter(|part| part.is_valid(row));
            let bytes: usize =
                parts.clone().map(|part| part.value(row).len() + separator.len()).sum();
            memory.check_value(bytes)?;
            charge.add(bytes)?;
            text.clear();
            for (index, part) in parts.enumerate() {
                if index > 0 {
                    text.push_str(separator);
                }
                text.push_str(part.value(row));
            }
            out.append_value(&text);
        }
        charge.attach(Arc::new(out.finish()))
    });
    sees_nulls("concat_ws", "", DataType::Utf8View, false, compute)
}
