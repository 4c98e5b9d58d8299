//! What a row must satisfy, and how a violation is told.

use arrow::array::{Array, ArrayRef, RecordBatch};

use crate::{
    error::{ObjectNames, SqlError, sqlstate},
    query::planner::ResolvedTable,
    types::text::{FormatSettings, write_text},
};

/// Most bytes of a value in the detail of an error, as in PostgreSQL.
const SHOWN_BYTES_MAX: usize = 64;

/// # Errors
/// 23502 for the first row that lacks a value.
pub(in crate::session) fn check_not_null(
    table: &ResolvedTable,
    columns: &[ArrayRef],
    format: &FormatSettings,
) -> Result<(), SqlError> {
    // The first row, and in it the first column, as PostgreSQL checks row by row.
    let mut first: Option<(usize, usize)> = None;
    for (index, (column, array)) in table.columns.iter().zip(columns).enumerate() {
        if !column.not_null || array.null_count() == 0 {
            continue;
        }
        let row = (0..array.len()).find(|row| array.is_null(*row));
        if let Some(row) = row
            && first.is_none_or(|(before, _)| row < before)
        {
            first = Some((row, index));
        }
    }
    let Some((row, index)) = first else { return Ok(()) };
    let column = &table.columns[index].name;
    let mut error = SqlError::new(
        sqlstate::NOT_NULL_VIOLATION,
        format!(
            "null value in column \"{column}\" of relation \"{}\" violates not-null constraint",
            table.name
        ),
    )
    .detail(format!("Failing row contains ({}).", show_row(table, columns, row, format)));
    *error.object = ObjectNames {
        schema: Some(table.schema.clone()),
        table: Some(table.name.clone()),
        column: Some(column.clone()),
        ..ObjectNames::default()
    };
    Err(error)
}

fn show_row(
    table: &ResolvedTable,
    columns: &[ArrayRef],
    row: usize,
    format: &FormatSettings,
) -> String {
    let values = table.columns.iter().zip(columns).map(|(column, array)| {
        if array.is_null(row) {
            return "null".to_owned();
        }
        let mut text = Vec::new();
        write_text(array, row, &column.pg_type, format, &mut text);
        let text = String::from_utf8_lossy(&text);
        if text.len() <= SHOWN_BYTES_MAX {
            return text.into_owned();
        }
        let mut end = SHOWN_BYTES_MAX;
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        format!("{}...", &text[..end])
    });
    values.collect::<Vec<_>>().join(", ")
}

/// `(a, b)=(1, 2)` of a row.
pub(in crate::session) fn show_key(
    table: &ResolvedTable,
    key: &[usize],
    rows: &RecordBatch,
    row: usize,
    format: &FormatSettings,
) -> String {
    let names: Vec<&str> = key.iter().map(|i| table.columns[*i].name.as_str()).collect();
    let values = key.iter().map(|i| {
        let mut text = Vec::new();
        write_text(rows.column(*i), row, &table.columns[*i].pg_type, format, &mut text);
        String::from_utf8_lossy(&text).into_owned()
    });
    format!("({})=({})", names.join(", "), values.collect::<Vec<_>>().join(", "))
}

/// 23505.
pub(super) fn duplicate_key(
    table: &ResolvedTable,
    key_name: &str,
    key: &[usize],
    rows: &RecordBatch,
    row: usize,
    format: &FormatSettings,
) -> SqlError {
    let mut error = SqlError::new(
        sqlstate::UNIQUE_VIOLATION,
        format!("duplicate key value violates unique constraint \"{key_name}\""),
    )
    .detail(format!("Key {} already exists.", show_key(table, key, rows, row, format)));
    *error.object = ObjectNames {
        schema: Some(table.schema.clone()),
        table: Some(table.name.clone()),
        constraint: Some(key_name.to_owned()),
        ..ObjectNames::default()
    };
    error
}
