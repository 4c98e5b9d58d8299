//! Functions over arrays of one dimension.

pub mod assign;
pub mod search;
pub mod shape;

use std::sync::Arc;

use arrow::{
    array::{
        Array, ArrayRef, AsArray, Int32Builder, ListArray, ListBuilder, StringViewArray,
        StringViewBuilder,
    },
    buffer::{NullBuffer, OffsetBuffer, ScalarBuffer},
    compute::interleave,
    datatypes::{DataType, Int32Type},
};
use datafusion::logical_expr::ScalarUDF;

use super::{
    cast,
    scalar::{internal, over_arrays, over_arrays_charged, sees_nulls},
};
use crate::{
    error::SqlError,
    types::{PgType, text::FormatSettings},
};

/// Where an item of a result comes from: which source, which row of its values.
type Item = (usize, usize);

fn lists(array: &ArrayRef) -> Result<&ListArray, SqlError> {
    array.as_list_opt::<i32>().ok_or_else(|| internal(format!("{} is no list", array.data_type())))
}

/// An untyped NULL that an optimizer asks about has the type of the result, and is no text.
fn texts(array: &ArrayRef) -> Result<&StringViewArray, SqlError> {
    array.as_string_view_opt().ok_or_else(|| internal(format!("{} is no text", array.data_type())))
}

/// The places of a row's items among the values of its list; none for a null.
fn items(list: &ListArray, row: usize) -> std::ops::Range<usize> {
    if list.is_null(row) {
        return 0..0;
    }
    let offsets = list.value_offsets();
    offsets[row] as usize..offsets[row + 1] as usize
}

/// Lists of these items; `None` is a null.
fn collect(
    of: &DataType,
    sources: &[&dyn Array],
    rows: impl Iterator<Item = Option<Vec<Item>>>,
) -> Result<ArrayRef, SqlError> {
    let DataType::List(field) = of else { return Err(internal(format!("{of} is no list"))) };
    let (mut all, mut offsets, mut valid) = (Vec::new(), vec![0_i32], Vec::new());
    for row in rows {
        valid.push(row.is_some());
        all.extend(row.unwrap_or_default());
        offsets.push(i32::try_from(all.len()).map_err(internal)?);
    }
    let values = interleave(sources, &all).map_err(internal)?;
    let offsets = OffsetBuffer::new(ScalarBuffer::from(offsets));
    let list = ListArray::try_new(field.clone(), offsets, values, Some(NullBuffer::from(valid)));
    Ok(Arc::new(list.map_err(internal)?))
}

/// `a || b` of two arrays. A null one adds nothing; two are null.
#[must_use]
pub fn cat(of: &PgType) -> Arc<ScalarUDF> {
    let returns = of.arrow_type();
    let list_type = returns.clone();
    let compute = over_arrays(move |args| {
        let (a, b) = (lists(&args[0])?, lists(&args[1])?);
        let rows = (0..a.len()).map(|row| {
            let from = |source, list| items(list, row).map(move |item| (source, item));
            (a.is_valid(row) || b.is_valid(row)).then(|| from(0, a).chain(from(1, b)).collect())
        });
        collect(&list_type, &[a.values().as_ref(), b.values().as_ref()], rows)
    });
    sees_nulls("array_cat", "", returns, false, compute)
}

/// An array with one more element behind it, or before it. A null array counts as empty.
#[must_use]
pub fn extend(of: &PgType, before: bool) -> Arc<ScalarUDF> {
    let returns = of.arrow_type();
    let list_type = returns.clone();
    let compute = over_arrays(move |args| {
        let list = lists(&args[0])?;
        let rows = (0..list.len()).map(|row| {
            let mut all: Vec<Item> = items(list, row).map(|item| (0, item)).collect();
            all.insert(if before { 0 } else { all.len() }, (1, row));
            Some(all)
        });
        collect(&list_type, &[list.values().as_ref(), args[1].as_ref()], rows)
    });
    let name = if before { "array_prepend" } else { "array_append" };
    sees_nulls(name, "", returns, false, compute)
}

/// The elements of an `integer[]`, each as an array of itself and its number.
#[must_use]
pub fn expand() -> Arc<ScalarUDF> {
    let returns = PgType::Array(Arc::new(PgType::Array(Arc::new(PgType::Int4)))).arrow_type();
    let compute = over_arrays(move |args| {
        let list = lists(&args[0])?;
        let mut builder = ListBuilder::new(ListBuilder::new(Int32Builder::new()));
        for row in 0..list.len() {
            if list.is_null(row) {
                builder.append_null();
                continue;
            }
            let elements = list.value(row);
            for (element, number) in elements.as_primitive::<Int32Type>().iter().zip(1..) {
                builder.values().values().append_option(element);
                builder.values().values().append_value(number);
                builder.values().append(true);
            }
            builder.append(true);
        }
        Ok(Arc::new(builder.finish()) as ArrayRef)
    });
    sees_nulls("_pg_expandarray", "", returns, false, compute)
}

/// `string_to_array(text, delimiter, null)`: without a delimiter, characters; an empty delimiter
/// does not split; parts equal to the third argument are null.
#[must_use]
pub fn string_to_array() -> Arc<ScalarUDF> {
    let returns = PgType::Array(Arc::new(PgType::Text)).arrow_type();
    let list_type = returns.clone();
    let compute = over_arrays_charged(move |args, memory| {
        let mut charge = memory.charge();
        let columns = args.iter().map(texts).collect::<Result<Vec<_>, _>>()?;
        let value =
            |n: usize, row: usize| columns.get(n).filter(|c| c.is_valid(row)).map(|c| c.value(row));
        let builder = ListBuilder::new(StringViewBuilder::new());
        let mut builder = match &list_type {
            DataType::List(field) => builder.with_field(field.clone()),
            _ => builder,
        };
        for row in 0..args[0].len() {
            let Some(text) = value(0, row) else {
                builder.append_null();
                continue;
            };
            let null = value(2, row);
            // A view of 16 bytes for each part, of which there are no more than bytes.
            charge.add(text.len().saturating_mul(17))?;
            let mut push = |part: &str| {
                builder.values().append_option((null != Some(part)).then_some(part));
            };
            match value(1, row) {
                _ if text.is_empty() => {}
                None => text.char_indices().for_each(|(at, c)| push(&text[at..at + c.len_utf8()])),
                Some("") => push(text),
                Some(delimiter) => text.split(delimiter).for_each(push),
            }
            builder.append(true);
        }
        charge.attach(Arc::new(builder.finish()) as ArrayRef)
    });
    sees_nulls("string_to_array", "", returns, false, compute)
}

/// `array_to_string(array, delimiter, null)` over elements of a type: what they print, with a text
/// for nulls or without them. `None`: the elements have no text here.
#[must_use]
pub fn array_to_string(of: &PgType, settings: &FormatSettings) -> Option<Arc<ScalarUDF>> {
    let print = if cast::is_text(of) {
        None
    } else {
        Some(cast::cast(of, &PgType::Text, false, settings)?)
    };
    let boolean = *of == PgType::Bool;
    let compute = over_arrays_charged(move |args, memory| {
        let mut charge = memory.charge();
        let list = lists(&args[0])?;
        let values = shape::texts_of(print.as_ref(), list.values(), memory)?;
        let values = values.as_string_view();
        let columns: Vec<&StringViewArray> = args[1..].iter().map(|a| a.as_string_view()).collect();
        let mut out = StringViewBuilder::with_capacity(list.len());
        for row in 0..list.len() {
            if list.is_null(row) || columns[0].is_null(row) {
                out.append_null();
                continue;
            }
            let null = columns.get(1).filter(|c| c.is_valid(row)).map(|c| c.value(row));
            let parts = items(list, row).filter_map(|item| match values.is_valid(item) {
                // Casts write true and false, output functions t and f.
                true if boolean => Some(&values.value(item)[..1]),
                true => Some(values.value(item)),
                false => null,
            });
            let parts: Vec<&str> = parts.collect();
            let separator = columns[0].value(row);
            let bytes = parts.iter().map(|part| part.len() + separator.len()).sum();
            memory.check_value(bytes)?;
            charge.add(bytes)?;
            out.append_value(parts.join(separator));
        }
        charge.attach(Arc::new(out.finish()) as ArrayRef)
    });
    let variant = format!("{of:?} {settings:?}");
    Some(sees_nulls("array_to_string", variant, DataType::Utf8View, true, compute))
}
