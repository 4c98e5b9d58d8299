//! Any value as JSON, and JSON put together of values.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BinaryBuilder, StringViewBuilder};
use datafusion::logical_expr::ScalarUDF;

use super::{
    memory::Memory,
    scalar::{Compute, internal, over_arrays_charged, sees_nulls},
};
use crate::{
    error::{SqlError, sqlstate},
    types::{
        PgType,
        json::quote,
        jsonb::{self, Jsonb},
        text::{DateFormat, DateStyle, FormatSettings, TextEncoder},
    },
};

/// Which of the two types a function makes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    Json,
    Jsonb,
}

impl Kind {
    #[must_use]
    pub fn pg_type(self) -> PgType {
        match self {
            Self::Json => PgType::Json,
            Self::Jsonb => PgType::Jsonb,
        }
    }
}

/// How values of a type look in JSON.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Look {
    /// The text is JSON already.
    Raw,
    Bool,
    /// As it is unless it is no number: NaN and the infinities are strings.
    Number,
    Timestamp,
    Timestamptz,
    Array,
    Record,
    String,
}

fn look(of: &PgType) -> Look {
    match of {
        PgType::Json | PgType::Jsonb => Look::Raw,
        PgType::Bool => Look::Bool,
        PgType::Int2
        | PgType::Int4
        | PgType::Int8
        | PgType::Float4
        | PgType::Float8
        | PgType::Numeric(_) => Look::Number,
        PgType::Timestamp(_) => Look::Timestamp,
        PgType::Timestamptz(_) => Look::Timestamptz,
        PgType::Array(_) => Look::Array,
        PgType::Record(_) => Look::Record,
        _ => Look::String,
    }
}

/// How values inside of JSON are written: dates as ISO 8601 whatever the session's style is.
fn inside(settings: &FormatSettings) -> FormatSettings {
    let date_style = DateStyle { format: DateFormat::Iso, order: settings.date_style.order };
    FormatSettings { date_style, ..settings.clone() }
}

/// Writes values of one column as JSON.
struct Encoder<'a> {
    array: &'a ArrayRef,
    of: &'a PgType,
    settings: &'a FormatSettings,
    text: TextEncoder<'a>,
    look: Look,
    /// Of a record, each with its name.
    fields: Vec<(&'a str, Encoder<'a>)>,
}

impl<'a> Encoder<'a> {
    fn new(array: &'a ArrayRef, of: &'a PgType, settings: &'a FormatSettings) -> Self {
        let text = TextEncoder::new(array, of, settings);
        let fields = match (of, array.as_struct_opt()) {
            (PgType::Record(record), Some(rows)) => {
                let columns = rows.columns().iter().zip(&record.fields);
                let named = columns.map(|(column, field)| {
                    (field.name.as_str(), Self::new(column, &field.ty, settings))
                });
                named.collect()
            }
            _ => Vec::new(),
        };
        Self { array, of, settings, text, look: look(of), fields }
    }

    /// `separator`: between the elements of an array, or the fields of a record.
    fn write(&self, row: usize, separator: &str, out: &mut Vec<u8>) {
        if self.array.is_null(row) {
            out.extend_from_slice(b"null");
            return;
        }
        match self.look {
            Look::Raw => self.text.write(row, out),
            Look::Bool => {
                let value = self.array.as_boolean().value(row);
                out.extend_from_slice(if value { b"true" } else { b"false" });
            }
            Look::Number => {
                let start = out.len();
                self.text.write(row, out);
                let number = out.last().is_some_and(u8::is_ascii_digit);
                if !number {
                    out.insert(start, b'"');
                    out.push(b'"');
                }
            }
            Look::Array => self.array(row, separator, out),
            Look::Record => self.record(row, separator, out),
            Look::Timestamp | Look::Timestamptz | Look::String => quote(&self.plain(row), out),
        }
    }

    fn array(&self, row: usize, separator: &str, out: &mut Vec<u8>) {
        let (PgType::Array(of), Some(list)) = (self.of, self.array.as_list_opt::<i32>()) else {
            return out.extend_from_slice(b"null");
        };
        let values = list.value(row);
        let items = Encoder::new(&values, of, self.settings);
        out.push(b'[');
        for n in 0..values.len() {
            if n > 0 {
                out.extend_from_slice(separator.as_bytes());
            }
            items.write(n, ",", out);
        }
        out.push(b']');
    }

    /// `{"a":1,"b":2}`.
    fn record(&self, row: usize, separator: &str, out: &mut Vec<u8>) {
        out.push(b'{');
        for (n, (name, field)) in self.fields.iter().enumerate() {
            if n > 0 {
                out.extend_from_slice(separator.as_bytes());
            }
            quote(name, out);
            out.push(b':');
            field.write(row, ",", out);
        }
        out.push(b'}');
    }

    /// The text of a value, without quotes.
    fn plain(&self, row: usize) -> String {
        let mut text = Vec::new();
        self.text.write(row, &mut text);
        let text = String::from_utf8(text).unwrap_or_default();
        match self.look {
            Look::Timestamp => text.replacen(' ', "T", 1),
            Look::Timestamptz => zoned(&text.replacen(' ', "T", 1)),
            Look::Bool if text == "t" => "true".to_owned(),
            Look::Bool => "false".to_owned(),
            _ => text,
        }
    }
}

/// With the minutes of the zone's offset, which JSON always has.
fn zoned(text: &str) -> String {
    let (moment, era) = match text.strip_suffix(" BC") {
        Some(moment) => (moment, " BC"),
        None => (text, ""),
    };
    let offset = moment.rfind(['+', '-']).map_or("", |at| &moment[at..]);
    let minutes = if offset.len() == 3 { ":00" } else { "" };
    format!("{moment}{minutes}{era}")
}

/// Collects results of either type.
enum Output {
    Json(StringViewBuilder),
    Jsonb(BinaryBuilder),
}

impl Output {
    fn new(kind: Kind) -> Self {
        match kind {
            Kind::Json => Self::Json(StringViewBuilder::new()),
            Kind::Jsonb => Self::Jsonb(BinaryBuilder::new()),
        }
    }

    fn push_null(&mut self) {
        match self {
            Self::Json(out) => out.append_null(),
            Self::Jsonb(out) => out.append_null(),
        }
    }

    fn push(&mut self, text: &[u8]) -> Result<(), SqlError> {
        let text = std::str::from_utf8(text).map_err(internal)?;
        match self {
            Self::Json(out) => out.append_value(text),
            Self::Jsonb(out) => out.append_value(jsonb::from_json(text)?),
        }
        Ok(())
    }

    fn finish(self) -> ArrayRef {
        match self {
            Self::Json(mut out) => Arc::new(out.finish()),
            Self::Jsonb(mut out) => Arc::new(out.finish()),
        }
    }
}

/// A function that writes JSON text for each row; `false` for NULL.
fn by_rows(
    kind: Kind,
    write: impl Fn(&[ArrayRef], usize, &mut Vec<u8>) -> Result<bool, SqlError> + Send + Sync + 'static,
) -> Compute {
    over_arrays_charged(move |args, memory: Memory<'_>| {
        let mut charge = memory.charge();
        let mut out = Output::new(kind);
        let mut text = Vec::new();
        for row in 0..args.first().map_or(1, |a| a.len()) {
            text.clear();
            if write(args, row, &mut text)? {
                charge.add(text.len() + 16)?;
                out.push(&text)?;
            } else {
                out.push_null();
            }
        }
        charge.attach(out.finish())
    })
}

/// `to_json(value)`, `to_jsonb(value)` and `row_to_json(row)`. `null`: NULL becomes null, as inside of
/// aggregates. `pretty`: elements of an array and fields of a row on lines of their own.
#[must_use]
pub fn to_json(
    kind: Kind,
    of: &PgType,
    null: bool,
    pretty: bool,
    settings: &FormatSettings,
) -> Arc<ScalarUDF> {
    let variant = format!("{kind:?} {of:?} {null} {pretty} {settings:?}");
    let (of, settings) = (of.clone(), inside(settings));
    let separator = if pretty { ",\n " } else { "," };
    let compute = by_rows(kind, move |args, row, out| {
        if args[0].is_null(row) && !null {
            return Ok(false);
        }
        Encoder::new(&args[0], &of, &settings).write(row, separator, out);
        Ok(true)
    });
    sees_nulls("to_json", variant, kind.pg_type().arrow_type(), true, compute)
}

/// `json_build_array` and `jsonb_build_array` over values of these types.
#[must_use]
pub fn build_array(kind: Kind, types: &[PgType], settings: &FormatSettings) -> Arc<ScalarUDF> {
    let variant = format!("{kind:?} {types:?} {settings:?}");
    let (types, settings) = (types.to_vec(), inside(settings));
    let compute = by_rows(kind, move |args, row, out| {
        out.push(b'[');
        for (n, (array, of)) in args.iter().zip(&types).enumerate() {
            if n > 0 {
                out.extend_from_slice(b", ");
            }
            Encoder::new(array, of, &settings).write(row, ",", out);
        }
        out.push(b']');
        Ok(true)
    });
    sees_nulls("json_build_array", variant, kind.pg_type().arrow_type(), true, compute)
}

/// `json_build_object` and `jsonb_build_object`: names and values in turn, of these types.
#[must_use]
pub fn build_object(kind: Kind, types: &[PgType], settings: &FormatSettings) -> Arc<ScalarUDF> {
    let variant = format!("{kind:?} {types:?} {settings:?}");
    let (types, settings) = (types.to_vec(), inside(settings));
    let compute = by_rows(kind, move |args, row, out| {
        out.push(b'{');
        for n in (0..args.len()).step_by(2) {
            if n > 0 {
                out.extend_from_slice(b", ");
            }
            if args[n].is_null(row) {
                return Err(null_name(kind, n));
            }
            quote(&Encoder::new(&args[n], &types[n], &settings).plain(row), out);
            out.extend_from_slice(b" : ");
            Encoder::new(&args[n + 1], &types[n + 1], &settings).write(row, ",", out);
        }
        out.push(b'}');
        Ok(true)
    });
    sees_nulls("json_build_object", variant, kind.pg_type().arrow_type(), true, compute)
}

/// `json_build_array` and `json_build_object` over the elements of an array; NULL of no array.
#[must_use]
pub fn build_of_array(
    kind: Kind,
    array: &PgType,
    object: bool,
    settings: &FormatSettings,
) -> Arc<ScalarUDF> {
    let variant = format!("{kind:?} {array:?} {object} {settings:?}");
    let (array, settings) = (array.clone(), inside(settings));
    let compute = by_rows(kind, move |args, row, out| {
        let (PgType::Array(of), Some(list)) = (&array, args[0].as_list_opt::<i32>()) else {
            return Err(internal(format!("{} is no list", args[0].data_type())));
        };
        if list.is_null(row) {
            return Ok(false);
        }
        let values = list.value(row);
        let items = Encoder::new(&values, of, &settings);
        if object && !values.len().is_multiple_of(2) {
            let name = if kind == Kind::Jsonb { "jsonb_build_object" } else { "json_build_object" };
            return Err(odd_arguments(name));
        }
        out.push(if object { b'{' } else { b'[' });
        for n in 0..values.len() {
            let is_name = object && n % 2 == 0;
            match n {
                0 => {}
                n if object && n % 2 == 1 => out.extend_from_slice(b" : "),
                _ => out.extend_from_slice(b", "),
            }
            if is_name && values.is_null(n) {
                return Err(null_name(kind, n));
            } else if is_name {
                quote(&items.plain(n), out);
            } else {
                items.write(n, ",", out);
            }
        }
        out.push(if object { b'}' } else { b']' });
        Ok(true)
    });
    sees_nulls("json_build_of_array", variant, kind.pg_type().arrow_type(), true, compute)
}

/// What is said of names and values that do not come in pairs.
#[must_use]
pub fn odd_arguments(function: &str) -> SqlError {
    let hint =
        format!("The arguments of {function}() must consist of alternating keys and values.");
    let message = "argument list must have even number of elements";
    SqlError::new(sqlstate::INVALID_PARAMETER_VALUE, message).hint(hint)
}

/// What is said of a name that is NULL, as argument `n` from 0.
fn null_name(kind: Kind, n: usize) -> SqlError {
    let invalid = |message| SqlError::new(sqlstate::INVALID_PARAMETER_VALUE, message);
    match kind {
        Kind::Json => invalid(format!("argument {} cannot be null", n + 1))
            .hint("Object keys should be text."),
        Kind::Jsonb => invalid(format!("argument {}: key must not be null", n + 1)),
    }
}

/// A name and a value of an object, as `json_object_agg` gathers them.
#[must_use]
pub fn pair(kind: Kind, types: &[PgType; 2], settings: &FormatSettings) -> Arc<ScalarUDF> {
    let variant = format!("{kind:?} {types:?} {settings:?}");
    let (types, settings) = (types.clone(), inside(settings));
    let compute = by_rows(kind, move |args, row, out| {
        if args[0].is_null(row) {
            let message = "field name must not be null";
            return Err(SqlError::new(sqlstate::INVALID_PARAMETER_VALUE, message));
        }
        // The braces of a jsonb are there to make a value of it.
        let (open, close): (&[u8], &[u8]) = match kind {
            Kind::Json => (b"", b""),
            Kind::Jsonb => (b"{", b"}"),
        };
        out.extend_from_slice(open);
        quote(&Encoder::new(&args[0], &types[0], &settings).plain(row), out);
        out.extend_from_slice(b" : ");
        Encoder::new(&args[1], &types[1], &settings).write(row, ",", out);
        out.extend_from_slice(close);
        Ok(true)
    });
    sees_nulls("json_pair", variant, kind.pg_type().arrow_type(), true, compute)
}

/// What stands around and between gathered texts.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Gathered {
    Array,
    /// Elements that are arrays or rows begin a line.
    ArrayOfLines,
    Object,
}

/// The JSON of gathered parts: a list of texts to `json`, a list of values to `jsonb`. Nothing
/// gathered is NULL.
#[must_use]
pub fn gathered(kind: Kind, how: Gathered) -> Arc<ScalarUDF> {
    let returns = kind.pg_type().arrow_type();
    let compute = over_arrays_charged(move |args, memory| {
        let mut charge = memory.charge();
        let list = args[0]
            .as_list_opt::<i32>()
            .ok_or_else(|| internal(format!("{} is no list", args[0].data_type())))?;
        let (mut json, mut binary) = (StringViewBuilder::new(), BinaryBuilder::new());
        for row in 0..list.len() {
            if list.is_null(row) {
                json.append_null();
                binary.append_null();
                continue;
            }
            let items = list.value(row);
            match kind {
                Kind::Json => {
                    let text = joined(&items, how);
                    memory.check_value(text.len())?;
                    charge.add(text.len())?;
                    json.append_value(text);
                    binary.append_null();
                }
                Kind::Jsonb => {
                    let value = combined(&items, how)?;
                    charge.add(value.len())?;
                    binary.append_value(value);
                }
            }
        }
        let result: ArrayRef = match kind {
            Kind::Json => Arc::new(json.finish()),
            Kind::Jsonb => Arc::new(binary.finish()),
        };
        charge.attach(result)
    });
    sees_nulls("json_gathered", format!("{kind:?} {how:?}"), returns, true, compute)
}

fn joined(items: &ArrayRef, how: Gathered) -> String {
    let (open, separator, close) = match how {
        Gathered::Array => ("[", ", ", "]"),
        Gathered::ArrayOfLines => ("[", ", \n ", "]"),
        Gathered::Object => ("{ ", ", ", " }"),
    };
    let mut joined = open.to_owned();
    for (n, text) in items.as_string_view().iter().flatten().enumerate() {
        match n {
            0 => {}
            // NULLs begin no line.
            _ if text == "null" => joined.push_str(", "),
            _ => joined.push_str(separator),
        }
        joined.push_str(text);
    }
    joined.push_str(close);
    joined
}

fn combined(items: &ArrayRef, how: Gathered) -> Result<Vec<u8>, SqlError> {
    let values = items.as_binary::<i32>().iter().flatten();
    if how != Gathered::Object {
        return jsonb::array(&values.collect::<Vec<_>>());
    }
    let mut object = jsonb::ObjectBuilder::default();
    for value in values {
        if let jsonb::View::Object(pair) = Jsonb::new(value).view() {
            pair.iter().for_each(|(name, value)| object.push(name, value.bytes()));
        }
    }
    object.finish()
}
