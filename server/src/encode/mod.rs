//! Rows as DataRow messages.

use arrow::array::{Array, RecordBatch};
use glaredb_engine::{error::SqlError, session::api::FieldDescription};

use crate::wire::Format;

/// Encodes the rows of one result.
pub(crate) struct RowEncoder {
    columns: usize,
}

impl RowEncoder {
    pub(crate) fn new(
        fields: &[FieldDescription],
        format: impl Fn(usize) -> Format,
    ) -> Result<Self, SqlError> {
        if (0..fields.len()).any(|index| format(index) == Format::Binary) {
            return Err(SqlError::not_supported("the binary format"));
        }
        Ok(Self { columns: fields.len() })
    }

    /// Appends up to `rows` rows of `batch` from row `from` on to `out`, at least one, and no more
    /// once `out` holds `soft_limit` bytes. Returns how many.
    pub(crate) fn encode(
        &self,
        batch: &RecordBatch,
        from: usize,
        rows: usize,
        out: &mut Vec<u8>,
        soft_limit: usize,
    ) -> Result<usize, SqlError> {
        for row in from..from + rows {
            out.extend_from_slice(&[b'D', 0, 0, 0, 0]);
            let start = out.len() - 4;
            out.extend_from_slice(&(self.columns as u16).to_be_bytes());
            for column in batch.columns() {
                if column.is_null(row) {
                    out.extend_from_slice(&(-1i32).to_be_bytes());
                    continue;
                }
                let text = arrow::util::display::array_value_to_string(column, row)
                    .map_err(|error| SqlError::internal(error.to_string()))?;
                out.extend_from_slice(&(text.len() as i32).to_be_bytes());
                out.extend_from_slice(text.as_bytes());
            }
            let length = (out.len() - start) as u32;
            out[start..start + 4].copy_from_slice(&length.to_be_bytes());
            if out.len() >= soft_limit {
                return Ok(row + 1 - from);
            }
        }
        Ok(rows)
    }
}
