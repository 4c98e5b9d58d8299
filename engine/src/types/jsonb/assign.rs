//! Assignment to a part of a `jsonb` value, which makes what the path goes through where it is not.

use super::{Jsonb, ObjectBuilder, View, array, null, parse_index};
use crate::{
    error::{SqlError, sqlstate},
    types::json::on_stack,
};

/// Most elements of an array that is filled up with nulls: more would be too large a value.
const FILLED_MAX: usize = 0x0fff_ffff / 5;

/// What `value[path…] = new` makes of a value. Objects and arrays that are missing on the way are
/// made: an array for a step that is a number, whose other elements are null.
///
/// # Errors
/// 22023 for a path through a scalar, for an element before the first; 22P02 for an element of an
/// array that is named by no number; 54000 and 54001 for a result that is too large or too deep.
pub fn set_part(value: Jsonb<'_>, path: &[&str], new: &[u8]) -> Result<Vec<u8>, SqlError> {
    set_at(value, path, 0, new)
}

fn invalid(message: impl Into<String>) -> SqlError {
    SqlError::new(sqlstate::INVALID_PARAMETER_VALUE, message)
}

fn set_at(value: Jsonb<'_>, path: &[&str], level: usize, new: &[u8]) -> Result<Vec<u8>, SqlError> {
    let Some(step) = path.get(level) else { return Ok(new.to_vec()) };
    on_stack(|| match value.view() {
        View::Object(object) => {
            let mut made = ObjectBuilder::default();
            let mut found = false;
            for (name, field) in object.iter() {
                if name == *step {
                    found = true;
                    made.push(name, set_at(field, path, level + 1, new)?);
                } else {
                    made.push(name, field.bytes());
                }
            }
            if !found {
                made.push(*step, chain(path, level + 1, new)?);
            }
            made.finish()
        }
        View::Array(items) => {
            let index = index(step, level, items.len())?;
            let mut made: Vec<Vec<u8>> = Vec::with_capacity(items.len() + 1);
            for (n, item) in items.iter().enumerate() {
                made.push(match n == index {
                    true => set_at(item, path, level + 1, new)?,
                    false => item.bytes().to_vec(),
                });
            }
            if index >= made.len() {
                fill(&mut made, index)?;
                made.push(chain(path, level + 1, new)?);
            }
            array(&made)
        }
        _ => {
            let detail = "The path assumes key is a composite object, but it is a scalar value.";
            Err(invalid("cannot replace existing key").detail(detail))
        }
    })
}

/// The place of an element, counted from 0.
fn index(step: &str, level: usize, length: usize) -> Result<usize, SqlError> {
    let Some(index) = parse_index(step) else {
        let message =
            format!("path element at position {} is not an integer: \"{step}\"", level + 1);
        return Err(SqlError::new(sqlstate::INVALID_TEXT_REPRESENTATION, message));
    };
    let place = if index < 0 { length as i64 + index } else { index };
    usize::try_from(place).map_err(|_| {
        invalid(format!("path element at position {} is out of range: {index}", level + 1))
    })
}

fn fill(items: &mut Vec<Vec<u8>>, length: usize) -> Result<(), SqlError> {
    if length > FILLED_MAX {
        let message =
            format!("number of jsonb array elements exceeds the maximum allowed ({FILLED_MAX})");
        return Err(SqlError::new(sqlstate::PROGRAM_LIMIT_EXCEEDED, message));
    }
    items.resize_with(length, null);
    Ok(())
}

/// The new value inside of what the rest of the path says.
fn chain(path: &[&str], level: usize, new: &[u8]) -> Result<Vec<u8>, SqlError> {
    let Some(step) = path.get(level) else { return Ok(new.to_vec()) };
    let inner = on_stack(|| chain(path, level + 1, new))?;
    match parse_index(step) {
        Some(index) => {
            let mut items = Vec::new();
            fill(&mut items, usize::try_from(index).unwrap_or(0))?;
            items.push(inner);
            array(&items)
        }
        None => {
            let mut object = ObjectBuilder::default();
            object.push(*step, inner);
            object.finish()
        }
    }
}
