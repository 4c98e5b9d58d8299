//! Where PostgreSQL keeps a part of a `jsonb` value, in bytes from its beginning: `.keyvalue()`
//! shows it as the id of an object.

use crate::types::jsonb::{Jsonb, View};

/// Place of `part`, which lies in `whole`; 0 for the whole and for what is not in it.
pub(super) fn of_part(whole: &[u8], part: &[u8]) -> i64 {
    let target = part.as_ptr() as usize;
    let start = whole.as_ptr() as usize;
    if target <= start || target >= start + whole.len() {
        return 0;
    }
    find(Jsonb::new(whole), target).unwrap_or(0) as i64
}

fn holds(value: Jsonb<'_>, target: usize) -> bool {
    let start = value.bytes().as_ptr() as usize;
    (start..start + value.bytes().len()).contains(&target)
}

/// Place of the part at an address in a container.
fn find(whole: Jsonb<'_>, target: usize) -> Option<usize> {
    let mut container = whole;
    let mut place = 0;
    loop {
        let (entries, names, values): (usize, usize, Vec<Jsonb<'_>>) = match container.view() {
            View::Array(items) => (items.len(), 0, items.iter().collect()),
            View::Object(fields) => {
                let names = fields.iter().map(|(name, _)| name.len()).sum();
                (fields.len() * 2, names, fields.iter().map(|(_, value)| value).collect())
            }
            _ => return None,
        };
        let mut at = place + 4 + 4 * entries + names;
        let mut inner = None;
        for value in values {
            let size = size(value, at);
            if holds(value, target) {
                inner = Some((value, aligned(at)));
                break;
            }
            at += size;
        }
        let (value, start) = inner?;
        if value.bytes().as_ptr() as usize == target {
            return Some(start);
        }
        (container, place) = (value, start);
    }
}

fn aligned(at: usize) -> usize {
    at.next_multiple_of(4)
}

/// Bytes that a value takes from `at` on, with the padding in front of it.
fn size(value: Jsonb<'_>, at: usize) -> usize {
    match value.view() {
        View::Null | View::Bool(_) => 0,
        View::String(text) => text.len(),
        View::Number(text) => aligned(at) - at + numeric_size(text),
        View::Array(items) => {
            let start = aligned(at);
            let mut end = start + 4 + 4 * items.len();
            items.iter().for_each(|item| end += size(item, end));
            end - at
        }
        View::Object(fields) => {
            let start = aligned(at);
            let names: usize = fields.iter().map(|(name, _)| name.len()).sum();
            let mut end = start + 4 + 8 * fields.len() + names;
            fields.iter().for_each(|(_, value)| end += size(value, end));
            end - at
        }
    }
}

/// A numeric: length, header and digits to the base of 10,000.
fn numeric_size(text: &str) -> usize {
    let text = text.trim_start_matches('-');
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let padded = format!(
        "{}{}{}{}",
        "0".repeat(whole.len().next_multiple_of(4) - whole.len()),
        whole,
        fraction,
        "0".repeat(fraction.len().next_multiple_of(4) - fraction.len())
    );
    let groups: Vec<&[u8]> = padded.as_bytes().chunks(4).collect();
    let zero = |group: &&&[u8]| group.iter().all(|digit| *digit == b'0');
    let leading = groups.iter().take_while(zero).count();
    let trailing = groups.iter().rev().take_while(zero).count();
    let digits = groups.len().saturating_sub(leading + trailing);
    let weight = whole.len().div_ceil(4) as i64 - 1 - leading as i64;
    let short = fraction.len() <= 63 && (-64..=63).contains(&weight);
    4 + if short { 2 } else { 4 } + 2 * digits
}
