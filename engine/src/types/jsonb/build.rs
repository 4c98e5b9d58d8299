//! Making `jsonb` values.

use std::borrow::Cow;

use super::{Jsonb, compare_names, tag};
use crate::{
    error::{SqlError, sqlstate},
    types::{
        json::{self, DEPTH_MAX, Tree, Value, on_stack, too_deep},
        text::canonical_numeric,
    },
};

/// Longest value, as in PostgreSQL.
const BYTES_MAX: usize = 0x0fff_ffff;

#[must_use]
pub fn null() -> Vec<u8> {
    vec![tag::NULL]
}

#[must_use]
pub fn bool_value(value: bool) -> Vec<u8> {
    vec![if value { tag::TRUE } else { tag::FALSE }]
}

/// From the canonical text of a numeric that is finite.
#[must_use]
pub fn number(canonical: &str) -> Vec<u8> {
    scalar(tag::NUMBER, canonical)
}

#[must_use]
pub fn string(text: &str) -> Vec<u8> {
    scalar(tag::STRING, text)
}

fn scalar(tag: u8, text: &str) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len() + 1);
    out.push(tag);
    out.extend_from_slice(text.as_bytes());
    out
}

fn too_large(what: &str) -> SqlError {
    let message = format!("total size of jsonb {what} exceeds the maximum of {BYTES_MAX} bytes");
    SqlError::new(sqlstate::PROGRAM_LIMIT_EXCEEDED, message)
}

/// Tag, depth and count of a container over these.
fn header<'a>(
    tag: u8,
    values: impl ExactSizeIterator<Item = &'a [u8]>,
    out: &mut Vec<u8>,
) -> Result<(), SqlError> {
    let count = values.len() as u32;
    let depth = values.map(|value| Jsonb::new(value).depth()).max().unwrap_or(0) + 1;
    if depth > DEPTH_MAX {
        return Err(too_deep());
    }
    out.push(tag);
    out.extend_from_slice(&(depth as u16).to_le_bytes());
    out.extend_from_slice(&count.to_le_bytes());
    Ok(())
}

fn push_ends<'a>(
    parts: impl Iterator<Item = &'a [u8]>,
    what: &str,
    out: &mut Vec<u8>,
) -> Result<(), SqlError> {
    let mut end = 0;
    for part in parts {
        end += part.len();
        if end > BYTES_MAX {
            return Err(too_large(what));
        }
        out.extend_from_slice(&(end as u32).to_le_bytes());
    }
    Ok(())
}

/// # Errors
/// 54000 for too many bytes, 54001 for too many levels.
pub fn array<V: AsRef<[u8]>>(items: &[V]) -> Result<Vec<u8>, SqlError> {
    let parts = || items.iter().map(AsRef::as_ref);
    let mut out = Vec::new();
    header(tag::ARRAY, parts(), &mut out)?;
    push_ends(parts(), "array elements", &mut out)?;
    parts().for_each(|item| out.extend_from_slice(item));
    Ok(out)
}

/// Fields of an object, in any order; of several of one name the last one stays.
#[derive(Default)]
pub struct ObjectBuilder<'a> {
    fields: Vec<(Cow<'a, str>, Cow<'a, [u8]>)>,
}

impl<'a> ObjectBuilder<'a> {
    pub fn push(&mut self, name: impl Into<Cow<'a, str>>, value: impl Into<Cow<'a, [u8]>>) {
        self.fields.push((name.into(), value.into()));
    }

    /// # Errors
    /// 54000 for too many bytes, 54001 for too many levels.
    pub fn finish(mut self) -> Result<Vec<u8>, SqlError> {
        let compare = |a: &str, b: &str| compare_names(a.as_bytes(), b.as_bytes());
        // Stable: the last one of a name is the last one written.
        self.fields.sort_by(|(a, _), (b, _)| compare(a, b));
        let mut kept: Vec<(Cow<'a, str>, Cow<'a, [u8]>)> = Vec::with_capacity(self.fields.len());
        for field in self.fields {
            match kept.last_mut() {
                Some(last) if last.0 == field.0 => *last = field,
                _ => kept.push(field),
            }
        }
        let names = || kept.iter().map(|(name, _)| name.as_bytes());
        let values = || kept.iter().map(|(_, value)| value.as_ref());
        let mut out = Vec::new();
        header(tag::OBJECT, values(), &mut out)?;
        push_ends(names(), "object elements", &mut out)?;
        push_ends(values(), "object elements", &mut out)?;
        names().for_each(|name| out.extend_from_slice(name));
        values().for_each(|value| out.extend_from_slice(value));
        Ok(out)
    }
}

/// Reads JSON text.
///
/// # Errors
/// Those of [`json::parse`]; 22003 for a number beyond numeric's range; 54000 for too many bytes.
pub fn from_json(text: &str) -> Result<Vec<u8>, SqlError> {
    from_tree(&json::parse(text)?)
}

/// # Errors
/// 22003, 54000 as [`from_json`].
pub fn from_tree(tree: &Tree<'_>) -> Result<Vec<u8>, SqlError> {
    Ok(match &tree.value {
        Value::Null => null(),
        Value::Bool(value) => bool_value(*value),
        Value::Number(text) => number(&canonical_numeric(text)?),
        Value::String(text) => string(text),
        Value::Array(items) => on_stack(|| {
            let mut bytes = 0;
            let mut encoded = Vec::with_capacity(items.len());
            for item in items {
                encoded.push(bounded(from_tree(item)?, &mut bytes)?);
            }
            array(&encoded)
        })?,
        Value::Object(fields) => on_stack(|| {
            let mut bytes = 0;
            let mut object = ObjectBuilder::default();
            for (name, value) in fields {
                object.push(name.as_ref(), bounded(from_tree(value)?, &mut bytes)?);
            }
            object.finish()
        })?,
    })
}

/// Few bytes of text may say long numbers: stops while they are read.
fn bounded(value: Vec<u8>, bytes: &mut usize) -> Result<Vec<u8>, SqlError> {
    *bytes += value.len();
    if *bytes > BYTES_MAX { Err(too_large("array elements")) } else { Ok(value) }
}
