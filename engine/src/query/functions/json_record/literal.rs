//! JSON as the text that the input function of another type reads.

use arrow::array::{Array, ArrayRef, AsArray};

use crate::{
    error::{SqlError, sqlstate},
    types::{
        PgType, RecordType,
        json::{self, Tree, Value},
        text::{FormatSettings, TextEncoder},
    },
};

/// A value that is kept where an object has no other.
#[derive(Clone, Copy)]
pub(super) struct Base<'a> {
    pub(super) column: &'a ArrayRef,
    pub(super) row: usize,
    pub(super) settings: &'a FormatSettings,
}

impl<'a> Base<'a> {
    /// A field of it, if it is a row and not NULL.
    fn field(self, place: usize) -> Option<Self> {
        let rows = self.column.as_struct_opt().filter(|rows| rows.is_valid(self.row))?;
        Some(Self { column: rows.columns().get(place)?, ..self })
    }

    fn text(self, ty: &PgType) -> Option<String> {
        if self.column.is_null(self.row) {
            return None;
        }
        let mut text = Vec::new();
        TextEncoder::new(self.column, ty, self.settings).write(self.row, &mut text);
        String::from_utf8(text).ok()
    }
}

/// The text of a value of a type; `None` for NULL. `key`: the name whose value it is, for errors.
/// `base`: the row that an object changes.
///
/// # Errors
/// 22P02, 22023 for what has not the form of the type: no array, no object.
pub(super) fn text(
    value: &Tree<'_>,
    ty: &PgType,
    key: Option<&str>,
    base: Option<Base<'_>>,
) -> Result<Option<String>, SqlError> {
    json::on_stack(|| match (ty, &value.value) {
        (_, Value::Null) => Ok(None),
        (PgType::Array(of), Value::Array(_)) => array(value, of, key).map(Some),
        (PgType::Array(_) | PgType::Record(_), Value::String(text)) => Ok(Some(text.to_string())),
        (PgType::Array(_), _) => Err(expected_array(&[], key)),
        (PgType::Record(of), _) => row(value, of, base).map(Some),
        (PgType::Json | PgType::Jsonb, _) => Ok(Some(value.text.to_owned())),
        (_, Value::String(text)) => Ok(Some(text.to_string())),
        _ => Ok(Some(value.text.to_owned())),
    })
}

/// `(1,"a b",)`, with the fields of `base` where the object has none.
fn row(value: &Tree<'_>, of: &RecordType, base: Option<Base<'_>>) -> Result<String, SqlError> {
    let what = match value.value {
        Value::Object(_) => None,
        Value::Array(_) => Some("an array"),
        _ => Some("a scalar"),
    };
    if let Some(what) = what {
        let message = format!("cannot call populate_composite on {what}");
        return Err(SqlError::new(sqlstate::INVALID_PARAMETER_VALUE, message));
    }
    let mut out = "(".to_owned();
    for (n, field) in of.fields.iter().enumerate() {
        if n > 0 {
            out.push(',');
        }
        let base = base.and_then(|base| base.field(n));
        let text = match super::named(value, &field.name) {
            Some(value) => text(value, &field.ty, Some(&field.name), base)?,
            None => base.and_then(|base| base.text(&field.ty)),
        };
        if let Some(text) = text {
            quoted(&text, &mut out);
        }
    }
    out.push(')');
    Ok(out)
}

fn quoted(text: &str, out: &mut String) {
    out.push('"');
    for c in text.chars() {
        if matches!(c, '"' | '\\') {
            out.push('\\');
        }
        out.push(c);
    }
    out.push('"');
}

/// An array as it is written, whose first element says how many dimensions there are.
struct Dimensions<'a> {
    count: usize,
    /// Lengths, as far as a first array has ended.
    lengths: Vec<Option<usize>>,
    of: &'a PgType,
    key: Option<&'a str>,
}

fn array(value: &Tree<'_>, of: &PgType, key: Option<&str>) -> Result<String, SqlError> {
    let count = depth(value);
    let mut dimensions = Dimensions { count, lengths: vec![None; count], of, key };
    let mut out = String::new();
    let mut place = Vec::new();
    dimensions.write(value, &mut place, &mut out)?;
    // Without elements there are no dimensions.
    Ok(if dimensions.lengths.contains(&Some(0)) { "{}".to_owned() } else { out })
}

/// Arrays in one another in front of the first element.
fn depth(value: &Tree<'_>) -> usize {
    let mut depth = 0;
    let mut here = Some(value);
    while let Some(Tree { value: Value::Array(items), .. }) = here {
        depth += 1;
        here = items.first();
    }
    depth
}

impl Dimensions<'_> {
    fn write(
        &mut self,
        value: &Tree<'_>,
        place: &mut Vec<usize>,
        out: &mut String,
    ) -> Result<(), SqlError> {
        let Value::Array(items) = &value.value else {
            return Err(expected_array(place, self.key));
        };
        let level = place.len();
        out.push('{');
        for (n, item) in items.iter().enumerate() {
            if n > 0 {
                out.push(',');
            }
            place.push(n);
            if level + 1 < self.count {
                json::on_stack(|| self.write(item, place, out))?;
            } else {
                match text(item, self.of, None, None)? {
                    Some(text) => quoted(&text, out),
                    None => out.push_str("NULL"),
                }
            }
            place.pop();
        }
        out.push('}');
        match self.lengths[level] {
            None => self.lengths[level] = Some(items.len()),
            Some(length) if length == items.len() => {}
            Some(_) => {
                let message = "malformed JSON array";
                let detail =
                    "Multidimensional arrays must have sub-arrays with matching dimensions.";
                let error = SqlError::new(sqlstate::INVALID_TEXT_REPRESENTATION, message);
                return Err(error.detail(detail));
            }
        }
        Ok(())
    }
}

fn expected_array(place: &[usize], key: Option<&str>) -> SqlError {
    let error = SqlError::new(sqlstate::INVALID_TEXT_REPRESENTATION, "expected JSON array");
    let place: String = place.iter().map(|n| format!("[{n}]")).collect();
    match (place.as_str(), key) {
        ("", None) => error,
        ("", Some(key)) => error.hint(format!("See the value of key \"{key}\".")),
        (place, None) => error.hint(format!("See the array element {place}.")),
        (place, Some(key)) => {
            error.hint(format!("See the array element {place} of key \"{key}\"."))
        }
    }
}
