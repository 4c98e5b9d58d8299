//! `jsonb` in the order of PostgreSQL's B-tree class: Object > Array > Boolean > Number > String >
//! Null, containers by their number of elements first; at the top, a scalar counts as an array of one
//! element that sorts before other arrays of one.

use super::{numeric, push_escaped};
use crate::{
    storage::StorageError,
    types::jsonb::{Jsonb, View},
};

const NULL: u8 = 0x00;
const STRING: u8 = 0x01;
const NUMBER: u8 = 0x02;
const BOOL: u8 = 0x03;
const ARRAY: u8 = 0x10;
const OBJECT: u8 = 0x11;

/// First bytes at the top, where objects have theirs.
const TOP_EMPTY_ARRAY: u8 = 0x01;
const TOP_SCALAR: u8 = 0x02;
const TOP_ARRAY: u8 = 0x03;

pub(super) fn push(bytes: &[u8], out: &mut Vec<u8>) -> Result<(), StorageError> {
    let value = Jsonb::new(bytes);
    match value.view() {
        View::Object(_) => {}
        View::Array(array) if array.is_empty() => out.push(TOP_EMPTY_ARRAY),
        View::Array(_) => out.push(TOP_ARRAY),
        _ => out.push(TOP_SCALAR),
    }
    push_value(value, out)
}

fn push_value(value: Jsonb<'_>, out: &mut Vec<u8>) -> Result<(), StorageError> {
    match value.view() {
        View::Null => out.push(NULL),
        View::String(text) => {
            out.push(STRING);
            push_escaped(text.as_bytes(), out);
        }
        View::Number(text) => {
            out.push(NUMBER);
            numeric::encode_text(text, out)?;
        }
        View::Bool(value) => out.extend_from_slice(&[BOOL, u8::from(value)]),
        View::Array(array) => {
            out.push(ARRAY);
            out.extend_from_slice(&(array.len() as u32).to_be_bytes());
            let push_all = || array.iter().try_for_each(|item| push_value(item, out));
            return crate::types::json::on_stack(push_all);
        }
        View::Object(object) => {
            out.push(OBJECT);
            out.extend_from_slice(&(object.len() as u32).to_be_bytes());
            let push_all = || {
                object.iter().try_for_each(|(name, value)| {
                    push_escaped(name.as_bytes(), out);
                    push_value(value, out)
                })
            };
            return crate::types::json::on_stack(push_all);
        }
    }
    Ok(())
}
