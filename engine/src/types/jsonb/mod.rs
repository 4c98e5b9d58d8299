//! `jsonb` in memory and in storage: a layout in which a field is found without reading the rest, and
//! whose parts are values themselves. Format: `docs/formats/jsonb.md`.
//!
//! Bytes come from [`build`] only, and what carries them has checksums: reading never fails. Of
//! damaged bytes it makes other values, without a panic and within [`DEPTH_MAX`] levels.

mod assign;
mod build;
mod edit;
mod write;

use super::json::DEPTH_MAX;

pub use self::{
    assign::set_part,
    build::{ObjectBuilder, array, bool_value, from_json, from_tree, null, number, string},
    edit::{
        PathEdit, concat, contains, delete_element, delete_names, edit_path, exists, same_number,
        strip_nulls,
    },
    write::{write, write_pretty},
};

/// First bytes of values.
mod tag {
    pub(super) const NULL: u8 = 0;
    pub(super) const FALSE: u8 = 1;
    pub(super) const TRUE: u8 = 2;
    pub(super) const NUMBER: u8 = 3;
    pub(super) const STRING: u8 = 4;
    pub(super) const ARRAY: u8 = 5;
    pub(super) const OBJECT: u8 = 6;
}

/// Bytes before the ends of a container: tag, depth, count.
const HEADER_BYTES: usize = 7;

/// A `jsonb` value or a part of one.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Jsonb<'a>(&'a [u8]);

/// What a value is.
#[derive(Clone, Copy, Debug)]
pub enum View<'a> {
    Null,
    Bool(bool),
    /// Canonical text of a numeric, without NaN and infinities.
    Number(&'a str),
    String(&'a str),
    Array(Array<'a>),
    Object(Object<'a>),
}

/// Elements, each found by its number.
#[derive(Clone, Copy, Debug)]
pub struct Array<'a> {
    ends: &'a [u8],
    values: &'a [u8],
}

/// Fields, ordered by the length of their names, then by their bytes.
#[derive(Clone, Copy, Debug)]
pub struct Object<'a> {
    name_ends: &'a [u8],
    value_ends: &'a [u8],
    names: &'a [u8],
    values: &'a [u8],
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap_or_default()
}

/// End `n` of a table of ends.
fn end(ends: &[u8], n: usize) -> usize {
    match ends.get(n * 4..n * 4 + 4) {
        Some([a, b, c, d]) => u32::from_le_bytes([*a, *b, *c, *d]) as usize,
        _ => 0,
    }
}

fn part<'a>(ends: &[u8], bytes: &'a [u8], n: usize) -> &'a [u8] {
    let start = if n == 0 { 0 } else { end(ends, n - 1) };
    bytes.get(start..end(ends, n)).unwrap_or_default()
}

impl<'a> Jsonb<'a> {
    #[must_use]
    pub fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    #[must_use]
    pub fn bytes(self) -> &'a [u8] {
        self.0
    }

    #[must_use]
    pub fn view(self) -> View<'a> {
        let Some((tag, content)) = self.0.split_first() else { return View::Null };
        match *tag {
            tag::FALSE => View::Bool(false),
            tag::TRUE => View::Bool(true),
            tag::NUMBER => View::Number(text(content)),
            tag::STRING => View::String(text(content)),
            tag::ARRAY | tag::OBJECT => self.container().unwrap_or(View::Null),
            _ => View::Null,
        }
    }

    fn container(self) -> Option<View<'a>> {
        let count = u32::from_le_bytes(self.0.get(3..HEADER_BYTES)?.try_into().ok()?) as usize;
        let rest = self.0.get(HEADER_BYTES..)?;
        let (ends, rest) = rest.split_at_checked(count.checked_mul(4)?)?;
        if self.0[0] == tag::ARRAY {
            return Some(View::Array(Array { ends, values: rest }));
        }
        let (value_ends, rest) = rest.split_at_checked(count * 4)?;
        let names_length = if count == 0 { 0 } else { end(ends, count - 1) };
        let (names, values) = rest.split_at_checked(names_length)?;
        Some(View::Object(Object { name_ends: ends, value_ends, names, values }))
    }

    /// Levels of arrays and objects in one another, 0 for a scalar.
    fn depth(self) -> usize {
        match self.0 {
            [tag::ARRAY | tag::OBJECT, low, high, ..] => {
                usize::from(u16::from_le_bytes([*low, *high])).min(DEPTH_MAX)
            }
            _ => 0,
        }
    }

    /// A field of an object.
    #[must_use]
    pub fn field(self, name: &str) -> Option<Self> {
        match self.view() {
            View::Object(object) => object.get(name),
            _ => None,
        }
    }

    /// An element of an array, counted from 0, or from the end with -1.
    #[must_use]
    pub fn element(self, index: i64) -> Option<Self> {
        let View::Array(array) = self.view() else { return None };
        let length = array.len() as i64;
        let index = if index < 0 { length + index } else { index };
        (0..length).contains(&index).then(|| array.get(index as usize))
    }

    /// A field by its name or an element by its number.
    #[must_use]
    pub fn step(self, name: &str) -> Option<Self> {
        match self.view() {
            View::Object(object) => object.get(name),
            View::Array(_) => self.element(parse_index(name)?),
            _ => None,
        }
    }

    #[must_use]
    pub fn is_scalar(self) -> bool {
        !matches!(self.0.first(), Some(&(tag::ARRAY | tag::OBJECT)))
    }

    /// As `jsonb_typeof` calls it.
    #[must_use]
    pub fn type_name(self) -> &'static str {
        match self.view() {
            View::Null => "null",
            View::Bool(_) => "boolean",
            View::Number(_) => "number",
            View::String(_) => "string",
            View::Array(_) => "array",
            View::Object(_) => "object",
        }
    }
}

/// The number of an element in a path.
#[must_use]
pub fn parse_index(text: &str) -> Option<i64> {
    text.trim_start().parse::<i32>().ok().map(i64::from)
}

impl<'a> Array<'a> {
    #[must_use]
    pub fn len(self) -> usize {
        self.ends.len() / 4
    }

    #[must_use]
    pub fn is_empty(self) -> bool {
        self.ends.is_empty()
    }

    /// Element `n`, counted from 0; null beyond the end.
    #[must_use]
    pub fn get(self, n: usize) -> Jsonb<'a> {
        Jsonb(part(self.ends, self.values, n))
    }

    pub fn iter(self) -> impl ExactSizeIterator<Item = Jsonb<'a>> {
        (0..self.len()).map(move |n| self.get(n))
    }
}

/// The order of names in an object.
pub(crate) fn compare_names(a: &[u8], b: &[u8]) -> std::cmp::Ordering {
    a.len().cmp(&b.len()).then_with(|| a.cmp(b))
}

impl<'a> Object<'a> {
    #[must_use]
    pub fn len(self) -> usize {
        self.name_ends.len() / 4
    }

    #[must_use]
    pub fn is_empty(self) -> bool {
        self.name_ends.is_empty()
    }

    fn name_bytes(self, n: usize) -> &'a [u8] {
        part(self.name_ends, self.names, n)
    }

    fn value(self, n: usize) -> Jsonb<'a> {
        Jsonb(part(self.value_ends, self.values, n))
    }

    #[must_use]
    pub fn get(self, name: &str) -> Option<Jsonb<'a>> {
        let (mut low, mut high) = (0, self.len());
        while low < high {
            let middle = low + (high - low) / 2;
            match compare_names(self.name_bytes(middle), name.as_bytes()) {
                std::cmp::Ordering::Less => low = middle + 1,
                std::cmp::Ordering::Greater => high = middle,
                std::cmp::Ordering::Equal => return Some(self.value(middle)),
            }
        }
        None
    }

    pub fn iter(self) -> impl ExactSizeIterator<Item = (&'a str, Jsonb<'a>)> {
        (0..self.len()).map(move |n| (text(self.name_bytes(n)), self.value(n)))
    }
}

#[cfg(test)]
mod tests;
