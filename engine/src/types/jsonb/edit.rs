//! Operators over `jsonb` values: containment, concatenation, deletion and setting of parts.

use super::{Jsonb, ObjectBuilder, View, array};
use crate::{
    error::{SqlError, sqlstate},
    types::json::on_stack,
};

fn invalid(message: impl Into<String>) -> SqlError {
    SqlError::new(sqlstate::INVALID_PARAMETER_VALUE, message)
}

/// Whether two canonical numbers are equal: digits after the last that counts do not.
#[must_use]
pub fn same_number(a: &str, b: &str) -> bool {
    fn significant(text: &str) -> &str {
        match text.contains('.') {
            true => text.trim_end_matches('0').trim_end_matches('.'),
            false => text,
        }
    }
    significant(a) == significant(b)
}

fn same_scalar(a: Jsonb<'_>, b: Jsonb<'_>) -> bool {
    match (a.view(), b.view()) {
        (View::Null, View::Null) => true,
        (View::Bool(a), View::Bool(b)) => a == b,
        (View::Number(a), View::Number(b)) => same_number(a, b),
        (View::String(a), View::String(b)) => a == b,
        _ => false,
    }
}

/// `value @> part`.
#[must_use]
pub fn contains(value: Jsonb<'_>, part: Jsonb<'_>) -> bool {
    match (value.view(), part.view()) {
        // An array has the scalar that it contains in itself; only at the top.
        (View::Array(array), _) if part.is_scalar() => array.iter().any(|v| same_scalar(v, part)),
        _ => contains_alike(value, part),
    }
}

fn contains_alike(value: Jsonb<'_>, part: Jsonb<'_>) -> bool {
    match (value.view(), part.view()) {
        (View::Object(value), View::Object(part)) => on_stack(|| {
            part.len() <= value.len()
                && part.iter().all(|(name, part)| {
                    value.get(name).is_some_and(|value| contains_alike(value, part))
                })
        }),
        (View::Array(value), View::Array(part)) => on_stack(|| {
            part.iter().all(|part| value.iter().any(|value| contains_alike(value, part)))
        }),
        _ => same_scalar(value, part),
    }
}

/// `value ? name`: a field, or a string among the elements.
#[must_use]
pub fn exists(value: Jsonb<'_>, name: &str) -> bool {
    let is_name = |v: Jsonb<'_>| matches!(v.view(), View::String(text) if text == name);
    match value.view() {
        View::Object(object) => object.get(name).is_some(),
        View::Array(array) => array.iter().any(is_name),
        _ => is_name(value),
    }
}

/// `a || b`.
///
/// # Errors
/// 54000, 54001 for a result that is too large or too deep.
pub fn concat(a: Jsonb<'_>, b: Jsonb<'_>) -> Result<Vec<u8>, SqlError> {
    if let (View::Object(a), View::Object(b)) = (a.view(), b.view()) {
        let mut merged = ObjectBuilder::default();
        for (name, value) in a.iter().chain(b.iter()) {
            merged.push(name, value.bytes());
        }
        return merged.finish();
    }
    let mut items: Vec<&[u8]> = Vec::new();
    for side in [a, b] {
        match side.view() {
            View::Array(array) => items.extend(array.iter().map(Jsonb::bytes)),
            _ => items.push(side.bytes()),
        }
    }
    array(&items)
}

/// `value - names`: fields of these names, or strings among the elements.
///
/// # Errors
/// 22023 for a scalar.
pub fn delete_names(value: Jsonb<'_>, names: &[&str]) -> Result<Vec<u8>, SqlError> {
    match value.view() {
        View::Object(object) => {
            let mut kept = ObjectBuilder::default();
            for (name, value) in object.iter().filter(|(name, _)| !names.contains(name)) {
                kept.push(name, value.bytes());
            }
            kept.finish()
        }
        View::Array(items) => {
            let named =
                |v: &Jsonb<'_>| matches!(v.view(), View::String(text) if names.contains(&text));
            let kept: Vec<&[u8]> = items.iter().filter(|v| !named(v)).map(Jsonb::bytes).collect();
            array(&kept)
        }
        _ => Err(invalid("cannot delete from scalar")),
    }
}

/// `value - index`.
///
/// # Errors
/// 22023 for a scalar or an object.
pub fn delete_element(value: Jsonb<'_>, index: i64) -> Result<Vec<u8>, SqlError> {
    let items = match value.view() {
        View::Array(items) => items,
        View::Object(_) => return Err(invalid("cannot delete from object using integer index")),
        _ => return Err(invalid("cannot delete from scalar")),
    };
    let index = if index < 0 { items.len() as i64 + index } else { index };
    let others = items.iter().enumerate().filter(|(n, _)| *n as i64 != index);
    let kept: Vec<&[u8]> = others.map(|(_, item)| item.bytes()).collect();
    array(&kept)
}

/// What is done at the end of a path.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum PathEdit {
    Delete,
    Replace,
    /// Replace or add.
    Set,
    InsertBefore,
    InsertAfter,
}

impl PathEdit {
    fn adds(self) -> bool {
        matches!(self, Self::Set | Self::InsertBefore | Self::InsertAfter)
    }
}

/// Edits the part at a path. `None` in the path is a NULL.
///
/// # Errors
/// 22023 for a scalar and for the insertion of a name that is there, 22004 for NULL in the path,
/// 22P02 for an element of an array that is named by no number.
pub fn edit_path(
    value: Jsonb<'_>,
    path: &[Option<&str>],
    edit: PathEdit,
    new: &[u8],
) -> Result<Vec<u8>, SqlError> {
    if value.is_scalar() {
        let what = if edit == PathEdit::Delete { "delete path" } else { "set path" };
        return Err(invalid(format!("cannot {what} in scalar")));
    }
    // Nothing to be deleted or replaced, whatever the path says.
    let is_empty = match value.view() {
        View::Array(items) => items.iter().next().is_none(),
        View::Object(object) => object.iter().next().is_none(),
        _ => false,
    };
    let adds = !matches!(edit, PathEdit::Delete | PathEdit::Replace);
    if path.is_empty() || is_empty && !adds {
        return Ok(value.bytes().to_vec());
    }
    edit_at(value, path, 0, edit, new)
}

fn edit_at(
    value: Jsonb<'_>,
    path: &[Option<&str>],
    level: usize,
    edit: PathEdit,
    new: &[u8],
) -> Result<Vec<u8>, SqlError> {
    let Some(Some(step)) = path.get(level) else {
        let message = format!("path element at position {} is null", level + 1);
        return Err(SqlError::new(sqlstate::NULL_VALUE_NOT_ALLOWED, message));
    };
    let deeper = |value| on_stack(|| edit_at(value, path, level + 1, edit, new));
    let last = level + 1 == path.len();
    match value.view() {
        View::Object(object) => {
            let mut edited = ObjectBuilder::default();
            let mut found = false;
            for (name, value) in object.iter() {
                if name != *step {
                    edited.push(name, value.bytes());
                    continue;
                }
                found = true;
                match edit {
                    _ if !last => edited.push(name, deeper(value)?),
                    PathEdit::Delete => {}
                    PathEdit::InsertBefore | PathEdit::InsertAfter => {
                        let hint = "Try using the function jsonb_set to replace key value.";
                        return Err(invalid("cannot replace existing key").hint(hint));
                    }
                    PathEdit::Replace | PathEdit::Set => edited.push(name, new),
                }
            }
            if !found && last && edit.adds() {
                edited.push(*step, new);
            }
            edited.finish()
        }
        View::Array(items) => {
            let Some(index) = super::parse_index(step) else {
                let message =
                    format!("path element at position {} is not an integer: \"{step}\"", level + 1);
                return Err(SqlError::new(sqlstate::INVALID_TEXT_REPRESENTATION, message));
            };
            let length = items.len() as i64;
            let index = if index < 0 { length + index } else { index };
            let mut edited: Vec<Vec<u8>> = Vec::with_capacity(items.len() + 1);
            if index < 0 && last && edit.adds() {
                edited.push(new.to_vec());
            }
            for (n, item) in items.iter().enumerate() {
                let old = item.bytes().to_vec();
                match edit {
                    _ if n as i64 != index => edited.push(old),
                    _ if !last => edited.push(deeper(item)?),
                    PathEdit::Delete => {}
                    PathEdit::Replace | PathEdit::Set => edited.push(new.to_vec()),
                    PathEdit::InsertBefore => edited.extend([new.to_vec(), old]),
                    PathEdit::InsertAfter => edited.extend([old, new.to_vec()]),
                }
            }
            if index >= length && last && edit.adds() {
                edited.push(new.to_vec());
            }
            array(&edited)
        }
        _ => Ok(value.bytes().to_vec()),
    }
}

/// Without the fields that are null.
///
/// # Errors
/// None but those of building.
pub fn strip_nulls(value: Jsonb<'_>) -> Result<Vec<u8>, SqlError> {
    match value.view() {
        View::Object(object) => on_stack(|| {
            let mut kept = ObjectBuilder::default();
            for (name, value) in object.iter() {
                if !matches!(value.view(), View::Null) {
                    kept.push(name, strip_nulls(value)?);
                }
            }
            kept.finish()
        }),
        View::Array(items) => on_stack(|| {
            let kept: Result<Vec<_>, _> = items.iter().map(strip_nulls).collect();
            array(&kept?)
        }),
        _ => Ok(value.bytes().to_vec()),
    }
}
