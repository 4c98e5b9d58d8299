//! Rows of a COPY in binary format: a header, tuples of fields behind their lengths, a trailer.

use arrow::array::ArrayRef;
use datafusion::scalar::ScalarValue;

use super::input::{BATCH_BYTES, BATCH_ROWS};
use crate::{
    error::{SqlError, sqlstate},
    types::{
        PgType,
        binary::read_value,
        text::{FormatSettings, fit},
    },
};

pub(super) const SIGNATURE: &[u8; 11] = b"PGCOPY\n\xff\r\n\0";
/// Of the flags, the one for OIDs of rows, which PostgreSQL has no more.
const WITH_OIDS: u32 = 1 << 16;

/// Tuples to columns.
pub(super) struct BinaryReader {
    table: String,
    names: Vec<String>,
    types: Vec<PgType>,
    format: FormatSettings,
    /// What the data so far leaves open.
    open: Vec<u8>,
    /// Bytes of `open` without which nothing more can be read.
    needed: usize,
    place: Place,
    columns: Vec<Vec<ScalarValue>>,
    /// Bytes of the fields in `columns`.
    bytes: usize,
    /// Of the tuple in hand, from 1; 0 in the header.
    line: u64,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Place {
    Header,
    /// So many bytes of the header's extension are still to be skipped.
    Extension(usize),
    Tuples,
    Ended,
}

/// How reading goes on.
enum Step {
    /// Something was read, up to here.
    To(usize),
    /// More bytes are needed, so many in all.
    Needs(usize),
}

impl BinaryReader {
    pub(super) fn new(
        table: &str,
        names: Vec<String>,
        types: Vec<PgType>,
        format: FormatSettings,
    ) -> Self {
        let columns = types.iter().map(|_| Vec::new()).collect();
        let (open, place) = (Vec::new(), Place::Header);
        let table = table.to_owned();
        Self { table, names, types, format, open, needed: 0, place, columns, bytes: 0, line: 0 }
    }

    /// Reads as much as there is, or up to a full batch: whether it is full.
    pub(super) fn read(&mut self, input: &mut &[u8]) -> Result<bool, SqlError> {
        self.open.extend_from_slice(input);
        *input = &[];
        if self.open.len() < self.needed {
            return Ok(false);
        }
        let open = std::mem::take(&mut self.open);
        let (used, full) = self.read_open(&open)?;
        self.open = open;
        self.open.drain(..used);
        Ok(full)
    }

    fn read_open(&mut self, open: &[u8]) -> Result<(usize, bool), SqlError> {
        let mut used = 0;
        loop {
            let rest = &open[used..];
            let step = match self.place {
                Place::Header => self.header(rest)?,
                Place::Extension(length) => {
                    let skipped = length.min(rest.len());
                    self.place = match length - skipped {
                        0 => Place::Tuples,
                        left => Place::Extension(left),
                    };
                    match self.place {
                        Place::Tuples => Step::To(skipped),
                        _ => return Ok((open.len(), false)),
                    }
                }
                Place::Tuples => self.tuple(rest)?,
                Place::Ended if rest.is_empty() => Step::Needs(1),
                Place::Ended => return Err(self.bad("received copy data after EOF marker")),
            };
            match step {
                Step::To(length) => used += length,
                Step::Needs(length) => {
                    self.needed = length;
                    return Ok((used, false));
                }
            }
            if self.rows() >= BATCH_ROWS || self.bytes >= BATCH_BYTES {
                self.needed = 0;
                return Ok((used, true));
            }
        }
    }

    fn header(&mut self, rest: &[u8]) -> Result<Step, SqlError> {
        let known = rest.len().min(SIGNATURE.len());
        if rest[..known] != SIGNATURE[..known] {
            return Err(self.bad("COPY file signature not recognized"));
        }
        let Some((flags, after)) = rest.get(SIGNATURE.len()..).and_then(<[u8]>::split_first_chunk)
        else {
            return Ok(Step::Needs(SIGNATURE.len() + 8));
        };
        let flags = u32::from_be_bytes(*flags);
        if flags & WITH_OIDS != 0 {
            return Err(self.bad("invalid COPY file header (WITH OIDS)"));
        }
        if (flags & !WITH_OIDS) >> 16 != 0 {
            return Err(self.bad("unrecognized critical flags in COPY file header"));
        }
        let Some((length, _)) = after.split_first_chunk() else {
            return Ok(Step::Needs(SIGNATURE.len() + 8));
        };
        let length = usize::try_from(i32::from_be_bytes(*length))
            .map_err(|_| self.bad("invalid COPY file header (missing length)"))?;
        self.place = if length == 0 { Place::Tuples } else { Place::Extension(length) };
        Ok(Step::To(SIGNATURE.len() + 8))
    }

    fn tuple(&mut self, bytes: &[u8]) -> Result<Step, SqlError> {
        let Some((count, _)) = bytes.split_first_chunk() else { return Ok(Step::Needs(2)) };
        let count = i16::from_be_bytes(*count);
        if count == -1 {
            self.place = Place::Ended;
            return Ok(Step::To(2));
        }
        self.line += 1;
        let expected = self.types.len();
        if usize::try_from(count) != Ok(expected) {
            let message = format!("row field count is {count}, expected {expected}");
            return Err(self.bad(message));
        }
        // Only a tuple that is there as a whole is taken.
        let mut at = 2;
        for column in 0..expected {
            let Some((length, _)) = bytes[at..].split_first_chunk() else {
                self.line -= 1;
                return Ok(Step::Needs(at + 4));
            };
            let length = i32::from_be_bytes(*length);
            at += 4;
            if length == -1 {
                continue;
            }
            let length = usize::try_from(length)
                .map_err(|_| self.in_column(column, bad_format("invalid field size")))?;
            at += length;
            if at > bytes.len() {
                self.line -= 1;
                return Ok(Step::Needs(at));
            }
        }
        self.take(&bytes[2..at])?;
        Ok(Step::To(at))
    }

    /// Takes the fields of a whole tuple.
    fn take(&mut self, mut fields: &[u8]) -> Result<(), SqlError> {
        for column in 0..self.types.len() {
            let Some((length, after)) = fields.split_first_chunk() else {
                return Err(self.bad("unexpected EOF in COPY data"));
            };
            let length = i32::from_be_bytes(*length);
            let length = usize::try_from(length).ok();
            let (field, after) = after.split_at(length.unwrap_or(0));
            fields = after;
            self.bytes += field.len() + size_of::<ScalarValue>();
            let pg_type = &self.types[column];
            let value = match length {
                None => ScalarValue::try_new_null(&pg_type.arrow_type())
                    .map_err(|error| SqlError::internal(error.to_string())),
                Some(_) => value(pg_type, field, &self.format),
            };
            let value = value.map_err(|error| self.in_column(column, error))?;
            self.columns[column].push(value);
        }
        Ok(())
    }

    pub(super) fn rows(&self) -> usize {
        self.columns.first().map_or(0, Vec::len)
    }

    /// The columns of what was read since the last call.
    pub(super) fn finish(&mut self) -> Result<Vec<ArrayRef>, SqlError> {
        self.bytes = 0;
        let columns = self.columns.iter_mut().zip(&self.types);
        columns
            .map(|(values, pg_type)| {
                let array = ScalarValue::iter_to_array(std::mem::take(values))
                    .map_err(|error| SqlError::internal(error.to_string()))?;
                arrow::compute::cast(&array, &pg_type.arrow_type())
                    .map_err(|error| SqlError::internal(error.to_string()))
            })
            .collect()
    }

    /// After the last byte. A trailer is not asked for.
    pub(super) fn end(&mut self) -> Result<(), SqlError> {
        let left = self.open.len();
        match self.place {
            Place::Header if left < SIGNATURE.len() => {
                Err(self.bad("COPY file signature not recognized"))
            }
            Place::Header if left < SIGNATURE.len() + 4 => {
                Err(self.bad("invalid COPY file header (missing flags)"))
            }
            Place::Header => Err(self.bad("invalid COPY file header (missing length)")),
            Place::Extension(_) => Err(self.bad("invalid COPY file header (wrong length)")),
            Place::Tuples if left >= 2 => {
                self.line += 1;
                let column = self.open_column();
                Err(self.in_column(column, bad_format("unexpected EOF in COPY data")))
            }
            Place::Tuples | Place::Ended => Ok(()),
        }
    }

    /// The column in which the data ends.
    fn open_column(&self) -> usize {
        let mut at = 2;
        for column in 0..self.types.len() {
            let Some((length, _)) = self.open.get(at..).and_then(<[u8]>::split_first_chunk) else {
                return column;
            };
            at += 4 + usize::try_from(i32::from_be_bytes(*length)).unwrap_or(0);
            if at > self.open.len() {
                return column;
            }
        }
        0
    }

    fn bad(&self, message: impl Into<String>) -> SqlError {
        bad_format(message).context(self.context())
    }

    fn in_column(&self, column: usize, error: SqlError) -> SqlError {
        error.context(format!("{}, column {}", self.context(), self.names[column]))
    }

    /// Where it happened, as errors say.
    fn context(&self) -> String {
        match self.line {
            0 => format!("COPY {}", self.table),
            line => format!("COPY {}, line {line}", self.table),
        }
    }

    pub(super) fn next_line(&self) -> u64 {
        self.line + 1
    }
}

fn bad_format(message: impl Into<String>) -> SqlError {
    SqlError::new(sqlstate::BAD_COPY_FILE_FORMAT, message)
}

/// A value as its column takes it: no longer than its type says.
fn value(
    pg_type: &PgType,
    bytes: &[u8],
    settings: &FormatSettings,
) -> Result<ScalarValue, SqlError> {
    let value = read_value(pg_type, bytes, settings)?;
    match value {
        ScalarValue::Utf8View(Some(text)) => {
            let text = fit(&text, pg_type, false)?.to_owned();
            Ok(ScalarValue::Utf8View(Some(text)))
        }
        value => Ok(value),
    }
}
