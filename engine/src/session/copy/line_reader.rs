//! Rows of a COPY in text and csv format: lines to columns.

use arrow::array::ArrayRef;

use super::{
    chosen,
    input::{BATCH_BYTES, BATCH_ROWS},
    lines::{Dialect, Field, LineEnd, Scan},
    options::{CopyHeader, Options},
};
use crate::{
    error::{SqlError, sqlstate},
    query::planner::ResolvedTable,
    types::{
        encoding::invalid_utf8,
        text::{ColumnBuilder, FormatSettings},
    },
};

/// Most bytes of a line or value in the context of an error.
const SHOWN_BYTES_MAX: usize = 100;

/// Lines to columns.
pub(super) struct LineReader {
    dialect: Dialect,
    format: FormatSettings,
    table: String,
    names: Vec<String>,
    builders: Vec<ColumnBuilder>,
    force_not_null: Vec<bool>,
    force_null: Vec<bool>,
    header: CopyHeader,
    /// Of the line in hand, from 1.
    line: u64,
    /// How the first line ended.
    line_end: Option<LineEnd>,
    /// The end-of-data mark was seen; what follows is ignored.
    ended: bool,
    /// The line that the data so far leaves open.
    open: Vec<u8>,
    /// Bytes of `open` that were searched for its end.
    searched: usize,
    scan: Scan,
}

impl LineReader {
    /// `ordinals` of the copied columns.
    pub(super) fn new(
        options: &Options,
        table: &ResolvedTable,
        ordinals: &[usize],
        format: FormatSettings,
    ) -> Result<Self, SqlError> {
        let names: Vec<String> = ordinals.iter().map(|i| table.columns[*i].name.clone()).collect();
        let builders = ordinals
            .iter()
            .map(|i| ColumnBuilder::new(&table.columns[*i].pg_type, BATCH_ROWS))
            .collect::<Result<_, _>>()?;
        let chosen = |option, columns| chosen(option, columns, &names, Some(table));
        Ok(Self {
            dialect: Dialect::new(options),
            format,
            table: table.name.clone(),
            force_not_null: chosen("FORCE_NOT_NULL", &options.force_not_null)?,
            force_null: chosen("FORCE_NULL", &options.force_null)?,
            names,
            builders,
            header: options.header,
            line: 0,
            line_end: None,
            ended: false,
            open: Vec::new(),
            searched: 0,
            scan: Scan::default(),
        })
    }

    /// Reads as many whole lines as there are, or up to a full batch: whether it is full.
    pub(super) fn read(&mut self, input: &mut &[u8]) -> Result<bool, SqlError> {
        if self.ended {
            *input = &[];
            return Ok(false);
        }
        // Only the line that a message cuts is copied.
        if self.open.is_empty() {
            let (used, full) = self.lines(input)?;
            *input = &input[used..];
            if !full {
                self.open.extend_from_slice(input);
                *input = &[];
            }
            return Ok(full);
        }
        self.open.extend_from_slice(input);
        *input = &[];
        let open = std::mem::take(&mut self.open);
        let read = self.lines(&open);
        self.open = open;
        let (used, full) = read?;
        self.open.drain(..used);
        Ok(full)
    }

    /// Reads whole lines; the number of bytes they take, and whether they fill a batch.
    fn lines(&mut self, bytes: &[u8]) -> Result<(usize, bool), SqlError> {
        let mut start = 0;
        let mut from = self.searched;
        let mut scan = self.scan;
        while let Some((end, next)) = self.dialect.line_end(bytes, from, &mut scan) {
            self.line(&bytes[start..end], true)?;
            (start, from) = (next, next);
            if self.ended {
                return Ok((bytes.len(), false));
            }
            if self.is_full() {
                (self.searched, self.scan) = (0, Scan::default());
                return Ok((start, true));
            }
        }
        (self.searched, self.scan) = (bytes.len() - start, scan);
        Ok((start, false))
    }

    /// After the last byte.
    pub(super) fn end(&mut self) -> Result<(), SqlError> {
        if self.open.is_empty() || self.ended {
            return Ok(());
        }
        let open = std::mem::take(&mut self.open);
        if self.scan.quoted {
            let error =
                SqlError::new(sqlstate::BAD_COPY_FILE_FORMAT, "unterminated CSV quoted field");
            let text = String::from_utf8_lossy(&open);
            return Err(error.context(self.line_context(self.line + 1, &text)));
        }
        self.line(&open, false)
    }

    /// The columns of what was read since the last call.
    pub(super) fn finish(&mut self) -> Vec<ArrayRef> {
        self.builders.iter_mut().map(ColumnBuilder::finish).collect()
    }

    pub(super) fn next_line(&self) -> u64 {
        self.line + 1
    }

    pub(super) fn rows(&self) -> usize {
        self.builders.first().map_or(0, ColumnBuilder::len)
    }

    fn is_full(&self) -> bool {
        let rows = self.rows();
        rows >= BATCH_ROWS
            || (rows.is_multiple_of(256)
                && self.builders.iter().map(ColumnBuilder::memory_bytes).sum::<usize>()
                    >= BATCH_BYTES)
    }

    /// One line without its newline, if it ended with one.
    fn line(&mut self, bytes: &[u8], newline: bool) -> Result<(), SqlError> {
        self.line += 1;
        let stripped = self.dialect.without_carriage_return(bytes, newline, &mut self.line_end);
        let located =
            |error: SqlError| error.context(format!("COPY {}, line {}", self.table, self.line));
        let bytes = stripped.map_err(located)?;
        let bytes = match self.dialect.before_end_mark(bytes) {
            None => bytes,
            Some(before) => {
                self.ended = true;
                if before.is_empty() {
                    return Ok(());
                }
                before
            }
        };
        if memchr::memchr(0, bytes).is_some() {
            return Err(located(invalid_utf8(&[0])));
        }
        let line = std::str::from_utf8(bytes).map_err(|error| {
            let context = format!("COPY {}, line {}", self.table, self.line);
            invalid_utf8(&bytes[error.valid_up_to()..]).context(context)
        })?;
        let mut fields = Vec::with_capacity(self.builders.len());
        self.dialect
            .fields(line, &mut fields)
            .map_err(|error| error.context(self.line_context(self.line, line)))?;
        if self.line == 1 && self.header != CopyHeader::No {
            return match self.header {
                CopyHeader::Match => self.check_header(&fields, line),
                _ => Ok(()),
            };
        }
        let (count, expected) = (fields.len(), self.builders.len());
        if count > expected {
            return Err(self.wrong_count(count, line));
        }
        for (column, field) in fields.into_iter().enumerate() {
            self.append(column, field)?;
        }
        if count < expected {
            return Err(self.wrong_count(count, line));
        }
        Ok(())
    }

    fn append(&mut self, column: usize, field: Field<'_>) -> Result<(), SqlError> {
        let builder = &mut self.builders[column];
        let field = match &field {
            Some(text) if self.force_null[column] && self.dialect.is_null_text(text) => None,
            Some(text) => Some(text.as_ref()),
            None if self.force_not_null[column] => Some(""),
            None => None,
        };
        match field {
            None => builder.append_null(),
            Some(text) => {
                if let Err(error) = builder.append(text, &self.format) {
                    let name = &self.names[column];
                    return Err(error.context(format!(
                        "COPY {}, line {}, column {name}: \"{}\"",
                        self.table,
                        self.line,
                        shortened(text)
                    )));
                }
            }
        }
        Ok(())
    }

    fn check_header(&self, fields: &[Field<'_>], line: &str) -> Result<(), SqlError> {
        let wrong = |message: String| {
            let context = self.line_context(1, line);
            Err(SqlError::new(sqlstate::BAD_COPY_FILE_FORMAT, message).context(context))
        };
        if fields.len() != self.names.len() {
            return wrong(format!(
                "wrong number of fields in header line: got {}, expected {}",
                fields.len(),
                self.names.len()
            ));
        }
        for (index, (field, name)) in fields.iter().zip(&self.names).enumerate() {
            let number = index + 1;
            match field {
                Some(field) if field == name => {}
                Some(field) => {
                    return wrong(format!(
                        "column name mismatch in header line field {number}: got \"{field}\", \
                         expected \"{name}\""
                    ));
                }
                None => {
                    return wrong(format!(
                        "column name mismatch in header line field {number}: got null value \
                         (\"{}\"), expected \"{name}\"",
                        self.dialect.null_text()
                    ));
                }
            }
        }
        Ok(())
    }

    fn wrong_count(&self, count: usize, line: &str) -> SqlError {
        let message = match self.names.get(count) {
            Some(name) => format!("missing data for column \"{name}\""),
            None => "extra data after last expected column".to_owned(),
        };
        SqlError::new(sqlstate::BAD_COPY_FILE_FORMAT, message)
            .context(self.line_context(self.line, line))
    }

    fn line_context(&self, number: u64, line: &str) -> String {
        format!("COPY {}, line {number}: \"{}\"", self.table, shortened(line))
    }
}

fn shortened(text: &str) -> String {
    if text.len() <= SHOWN_BYTES_MAX {
        return text.to_owned();
    }
    let mut end = SHOWN_BYTES_MAX;
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    format!("{}...", &text[..end])
}
