//! Rows as DataRow messages: Arrow columns to PostgreSQL's text and binary formats.
//!
//! What to do with a column is decided once per batch ([`FieldEncoder`]); a value then costs a
//! jump, not a look at its type.

#[cfg(test)]
mod tests;

use std::ops::Range;

use arrow::{
    array::{ArrayRef, RecordBatch},
    datatypes::DataType,
};
use glaredb_engine::{
    error::{SqlError, sqlstate},
    session::api::FieldDescription,
    types::{
        PgType,
        binary::{FieldEncoder, as_stored},
        text::FormatSettings,
    },
};

use crate::wire::Format;

/// Longest DataRow: what a client's length field holds.
const ROW_BYTES_MAX: usize = i32::MAX as usize;

/// Encodes the rows of one result.
#[derive(Debug)]
pub(crate) struct RowEncoder {
    columns: Vec<ColumnType>,
}

#[derive(Debug)]
struct ColumnType {
    pg_type: PgType,
    format: Format,
    /// Arrow type of `pg_type`.
    stored: DataType,
}

/// A batch whose columns lie in memory as their types say.
#[derive(Debug)]
pub(crate) struct Columns {
    arrays: Vec<ArrayRef>,
    rows: usize,
}

impl Columns {
    pub(crate) fn rows(&self) -> usize {
        self.rows
    }
}

impl RowEncoder {
    /// # Errors
    /// 54000 for more columns than a row can say.
    pub(crate) fn new(
        fields: &[FieldDescription],
        format: impl Fn(usize) -> Format,
    ) -> Result<Self, SqlError> {
        if i16::try_from(fields.len()).is_err() {
            return Err(SqlError::new(
                sqlstate::PROGRAM_LIMIT_EXCEEDED,
                format!("a row of {} columns cannot be sent", fields.len()),
            ));
        }
        let columns = fields
            .iter()
            .enumerate()
            .map(|(index, field)| ColumnType {
                pg_type: field.pg_type.clone(),
                format: format(index),
                stored: field.pg_type.arrow_type(),
            })
            .collect();
        Ok(Self { columns })
    }

    /// Of the columns.
    pub(crate) fn types(&self) -> impl Iterator<Item = &PgType> {
        self.columns.iter().map(|column| &column.pg_type)
    }

    /// Takes a batch of the result.
    ///
    /// # Errors
    /// XX000 if it has other columns than were described.
    pub(crate) fn columns(&self, batch: &RecordBatch) -> Result<Columns, SqlError> {
        if batch.num_columns() != self.columns.len() {
            return Err(SqlError::internal(format!(
                "a batch of {} columns in a result of {}",
                batch.num_columns(),
                self.columns.len()
            )));
        }
        let arrays = batch
            .columns()
            .iter()
            .zip(&self.columns)
            .map(|(array, c)| as_stored(array, &c.pg_type, &c.stored, c.format))
            .collect::<Result<_, _>>()?;
        Ok(Columns { arrays, rows: batch.num_rows() })
    }

    /// Appends rows to `out`, at least one, and no more once `out` holds `soft_limit` bytes. Returns
    /// how many. After an error `out` ends with a whole row.
    pub(crate) fn encode(
        &self,
        columns: &Columns,
        rows: Range<usize>,
        settings: &FormatSettings,
        out: &mut Vec<u8>,
        soft_limit: usize,
    ) -> Result<usize, SqlError> {
        let resolved = columns
            .arrays
            .iter()
            .zip(&self.columns)
            .map(|(array, c)| FieldEncoder::new(array, &c.pg_type, c.format, settings))
            .collect::<Result<Vec<_>, _>>()?;
        let (first, count) = (rows.start, rows.len());
        for row in rows {
            let start = out.len();
            if let Err(error) = data_row(&resolved, row, out) {
                out.truncate(start);
                return Err(error);
            }
            if out.len() >= soft_limit {
                return Ok(row + 1 - first);
            }
        }
        Ok(count)
    }
}

fn data_row(columns: &[FieldEncoder<'_>], row: usize, out: &mut Vec<u8>) -> Result<(), SqlError> {
    let [high, low] = u16::try_from(columns.len()).unwrap_or(u16::MAX).to_be_bytes();
    out.extend_from_slice(&[b'D', 0, 0, 0, 0, high, low]);
    let start = out.len() - 6;
    for column in columns {
        column.write(row, out)?;
    }
    let length = out.len() - start;
    if length > ROW_BYTES_MAX {
        return Err(SqlError::new(
            sqlstate::PROGRAM_LIMIT_EXCEEDED,
            format!("a row of {length} bytes cannot be sent"),
        ));
    }
    out[start..start + 4].copy_from_slice(&(length as u32).to_be_bytes());
    Ok(())
}
