//! Columns of `json_to_record` and its kin: fields of objects as values of other types.

use std::sync::Arc;

use arrow::{
    array::{Array, ArrayRef, AsArray, ListArray},
    buffer::{NullBuffer, OffsetBuffer, ScalarBuffer},
    datatypes::DataType,
};
use datafusion::logical_expr::ScalarUDF;

use super::{
    json::Kind,
    scalar::{internal, over_arrays_charged, sees_nulls},
};
use crate::{
    error::{SqlError, sqlstate},
    types::{
        PgType,
        json::{self, Tree, Value},
        jsonb::{self, Jsonb},
        text::{ColumnBuilder, FormatSettings},
    },
};

/// A column of a function that makes rows of objects.
#[derive(Clone, Debug)]
pub struct Field {
    /// The function, for errors: `json_to_record`.
    pub function: String,
    /// A row of each object of an array, instead of one row of an object.
    pub set: bool,
    pub name: String,
    pub ty: PgType,
}

/// Lists of the values that a field has in documents, one for each row.
#[must_use]
pub fn column(kind: Kind, field: &Field, settings: &FormatSettings) -> Arc<ScalarUDF> {
    let returns = PgType::Array(Arc::new(field.ty.clone())).arrow_type();
    let list_type = returns.clone();
    let variant = format!("{kind:?} {field:?} {settings:?}");
    let (field, settings) = (field.clone(), settings.clone());
    let compute = over_arrays_charged(move |args, memory| {
        let mut charge = memory.charge();
        let mut values = ColumnBuilder::new(&field.ty, args[0].len())?;
        let (mut ends, mut valid) = (vec![0_i32], Vec::with_capacity(args[0].len()));
        for row in 0..args[0].len() {
            let is_null = args[0].is_null(row);
            // Of NULL there is one row of NULLs, and an empty set.
            if is_null && !field.set {
                values.append_null();
            }
            if !is_null {
                let text = document(kind, &args[0], row)?;
                charge.add(text.len())?;
                append(&json::parse(&text)?, &field, &settings, &mut values)?;
            }
            valid.push(true);
            ends.push(i32::try_from(values.len()).map_err(internal)?);
        }
        let DataType::List(item) = &list_type else {
            return Err(internal(format!("{list_type} is no list")));
        };
        let offsets = OffsetBuffer::new(ScalarBuffer::from(ends));
        let nulls = Some(NullBuffer::from(valid));
        let list = ListArray::try_new(item.clone(), offsets, values.finish(), nulls);
        charge.attach(Arc::new(list.map_err(internal)?) as ArrayRef)
    });
    sees_nulls("json_record_column", variant, returns, true, compute)
}

fn document(kind: Kind, array: &ArrayRef, row: usize) -> Result<String, SqlError> {
    Ok(match kind {
        Kind::Json => array.as_string_view().value(row).to_owned(),
        Kind::Jsonb => {
            let mut text = Vec::new();
            jsonb::write(Jsonb::new(array.as_binary::<i32>().value(row)), &mut text);
            String::from_utf8(text).map_err(internal)?
        }
    })
}

fn invalid(message: String) -> SqlError {
    SqlError::new(sqlstate::INVALID_PARAMETER_VALUE, message)
}

fn append(
    document: &Tree<'_>,
    field: &Field,
    settings: &FormatSettings,
    values: &mut ColumnBuilder,
) -> Result<(), SqlError> {
    let function = &field.function;
    let jsonb = function.starts_with("jsonb");
    match (&document.value, field.set) {
        (Value::Array(objects), true) => objects.iter().try_for_each(|object| {
            if !matches!(object.value, Value::Object(_)) {
                let message = format!("argument of {function} must be an array of objects");
                return Err(invalid(message));
            }
            append_field(object, field, settings, values)
        }),
        (Value::Object(_), false) => append_field(document, field, settings, values),
        (_, true) if jsonb => Err(invalid(format!("cannot call {function} on a non-array"))),
        (Value::Object(_), true) => Err(invalid(format!("cannot call {function} on an object"))),
        (Value::Array(_), false) => {
            Err(invalid("cannot call populate_composite on an array".to_owned()))
        }
        (_, false) => Err(invalid("cannot call populate_composite on a scalar".to_owned())),
        _ => Err(invalid(format!("cannot call {function} on a scalar"))),
    }
}

fn append_field(
    object: &Tree<'_>,
    field: &Field,
    settings: &FormatSettings,
    values: &mut ColumnBuilder,
) -> Result<(), SqlError> {
    let Value::Object(fields) = &object.value else { return Ok(()) };
    // The last one of a name counts.
    let found = fields.iter().rev().find(|(name, _)| *name == field.name).map(|(_, value)| value);
    match found {
        None => values.append_null(),
        Some(value) if matches!(value.value, Value::Null) => values.append_null(),
        Some(value) => match (&field.ty, &value.value) {
            (PgType::Array(of), Value::Array(items)) => {
                let mut text = String::new();
                literal(items, of, &mut text);
                values.append(&text, settings)?;
            }
            (PgType::Array(_), Value::String(text)) => values.append(text, settings)?,
            (PgType::Array(_), _) => {
                let message = "expected JSON array";
                return Err(SqlError::new(sqlstate::INVALID_TEXT_REPRESENTATION, message)
                    .hint(format!("See the value of key \"{}\".", field.name)));
            }
            (ty, _) => values.append(text_of(value, ty), settings)?,
        },
    }
    Ok(())
}

/// What the input function of a type reads.
fn text_of<'t>(value: &'t Tree<'_>, ty: &PgType) -> &'t str {
    match &value.value {
        Value::String(text) if !matches!(ty, PgType::Json | PgType::Jsonb) => text,
        _ => value.text,
    }
}

/// The text of an array of a type.
fn literal(items: &[Tree<'_>], of: &PgType, out: &mut String) {
    out.push('{');
    for (n, item) in items.iter().enumerate() {
        if n > 0 {
            out.push(',');
        }
        match &item.value {
            Value::Null => out.push_str("NULL"),
            Value::Array(items) if !matches!(of, PgType::Json | PgType::Jsonb) => {
                json::on_stack(|| literal(items, of, out));
            }
            _ => {
                out.push('"');
                for c in text_of(item, of).chars() {
                    if matches!(c, '"' | '\\') {
                        out.push('\\');
                    }
                    out.push(c);
                }
                out.push('"');
            }
        }
    }
    out.push('}');
}
