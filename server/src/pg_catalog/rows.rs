//! Rows of system tables: built cell by cell, or read from PostgreSQL's own initial data.

use std::{borrow::Cow, sync::Arc};

use arrow::array::{RecordBatch, RecordBatchOptions};
use datafusion::error::{DataFusionError, Result};
use glaredb_engine::types::PgType;

use super::{column_builder::ColumnBuilder, definitions::Definition};

/// A value of a system column.
#[derive(Clone, PartialEq, Debug)]
pub(super) enum Cell<'a> {
    Null,
    Bool(bool),
    /// For int2, int4 and int8 columns.
    Int(i64),
    Oid(u32),
    Float4(f32),
    /// For text, name, `"char"` and what else is carried as text.
    Text(Cow<'a, str>),
    /// Microseconds since 1970-01-01 UTC.
    Timestamptz(i64),
    /// An interval.
    Seconds(i64),
    Ints(Vec<i64>),
    Oids(Vec<u32>),
    Texts(Vec<String>),
}

impl From<bool> for Cell<'_> {
    fn from(value: bool) -> Self {
        Self::Bool(value)
    }
}

impl<'a> From<&'a str> for Cell<'a> {
    fn from(value: &'a str) -> Self {
        Self::Text(Cow::Borrowed(value))
    }
}

impl From<String> for Cell<'_> {
    fn from(value: String) -> Self {
        Self::Text(Cow::Owned(value))
    }
}

impl From<u32> for Cell<'_> {
    fn from(value: u32) -> Self {
        Self::Oid(value)
    }
}

impl<T: Into<Self>> From<Option<T>> for Cell<'_> {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::Null, Into::into)
    }
}

/// Shorthand for the integer columns.
pub(super) fn int(value: impl Into<i64>) -> Cell<'static> {
    Cell::Int(value.into())
}

/// The rows of one table, in the making: the columns that are wanted.
pub(super) struct Rows {
    definition: &'static Definition,
    /// By place in the table; `None` for those nobody wants.
    columns: Vec<Option<ColumnBuilder>>,
    /// Places of the wanted ones, in their order.
    wanted: Vec<usize>,
    count: usize,
    /// The column of the first value that is not of its type.
    wrong: Option<&'static str>,
}

impl Rows {
    /// `wanted`: places of columns; `None` for all.
    pub(super) fn new(definition: &'static Definition, wanted: Option<&[usize]>) -> Self {
        let wanted =
            wanted.map_or_else(|| (0..definition.columns.len()).collect(), <[usize]>::to_vec);
        let mut columns: Vec<_> = definition.columns.iter().map(|_| None).collect();
        for place in &wanted {
            let (column, field) = (&definition.columns[*place], definition.arrow.field(*place));
            columns[*place] = Some(ColumnBuilder::new(&column.pg_type, field));
        }
        Self { definition, columns, wanted, count: 0, wrong: None }
    }

    /// Whether a column's values are looked at, for those that cost something.
    pub(super) fn wants(&self, column: &str) -> bool {
        self.wanted.iter().any(|place| self.definition.columns[*place].name == column)
    }

    /// A row by column names; what is not named is null.
    pub(super) fn push<const N: usize>(&mut self, cells: [(&'static str, Cell<'_>); N]) {
        let all = &self.definition.columns;
        // They are named in their order, some left out.
        let (mut next, mut named) = (0, 0);
        for (name, cell) in cells {
            if named == self.wanted.len() {
                break;
            }
            let ahead = all[next..].iter().position(|c| c.name == name).map(|at| next + at);
            let position = ahead.or_else(|| all.iter().position(|c| c.name == name));
            let position = position.unwrap_or_else(|| {
                panic!("{} has no column {name}", self.definition.name);
            });
            next = position + 1;
            if let Some(column) = &mut self.columns[position] {
                named += 1;
                if !column.append(cell) {
                    self.wrong.get_or_insert(name);
                }
            }
        }
        self.count += 1;
        if named < self.wanted.len() {
            for column in self.columns.iter_mut().flatten() {
                column.fill(self.count);
            }
        }
    }

    /// PostgreSQL's own rows, in the text form of COPY, columns in order.
    pub(super) fn push_data(&mut self, data: &str) {
        for line in data.lines() {
            self.count += 1;
            for (n, field) in line.split('\t').enumerate() {
                if let Some(column) = &mut self.columns[n] {
                    let described = &self.definition.columns[n];
                    if !column.append(parse(field, &described.pg_type)) {
                        self.wrong.get_or_insert(described.name);
                    }
                }
            }
        }
    }

    pub(super) fn into_batch(mut self) -> Result<RecordBatch> {
        if let Some(name) = self.wrong {
            let table = self.definition.name;
            return Err(DataFusionError::Internal(format!("a wrong value for {table}.{name}")));
        }
        let schema = Arc::new(self.definition.arrow.project(&self.wanted)?);
        let built = self.wanted.iter().filter_map(|place| self.columns[*place].take());
        let arrays = built.map(ColumnBuilder::finish).collect();
        let options = RecordBatchOptions::new().with_row_count(Some(self.count));
        Ok(RecordBatch::try_new_with_options(schema, arrays, &options)?)
    }
}

/// The cell a field of COPY's text form means; what does not parse is a null.
fn parse<'a>(field: &'a str, pg_type: &PgType) -> Cell<'a> {
    if field == "\\N" {
        return Cell::Null;
    }
    let words = || field.trim_matches(['{', '}']).split([' ', ',']).filter(|word| !word.is_empty());
    let cell = match pg_type {
        PgType::Bool => Some(Cell::Bool(field == "t")),
        PgType::Int2 | PgType::Int4 | PgType::Int8 => field.parse().ok().map(Cell::Int),
        PgType::Float4 => field.parse().ok().map(Cell::Float4),
        PgType::Int2vector => {
            words().map(|w| w.parse().ok()).collect::<Option<_>>().map(Cell::Ints)
        }
        PgType::Oidvector => words().map(|w| w.parse().ok()).collect::<Option<_>>().map(Cell::Oids),
        PgType::Array(of) => match **of {
            PgType::Int2 => words().map(|w| w.parse().ok()).collect::<Option<_>>().map(Cell::Ints),
            PgType::Oid => words().map(|w| w.parse().ok()).collect::<Option<_>>().map(Cell::Oids),
            _ => Some(Cell::Texts(words().map(str::to_owned).collect())),
        },
        t if t.arrow_type() == PgType::Oid.arrow_type() => field.parse().ok().map(Cell::Oid),
        _ if field.contains('\\') => Some(field.replace("\\\\", "\\").into()),
        _ => Some(field.into()),
    };
    cell.unwrap_or(Cell::Null)
}
