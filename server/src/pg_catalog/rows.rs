//! Rows of system tables: built cell by cell, or read from PostgreSQL's own initial data.

use std::sync::Arc;

use arrow::{
    array::{
        ArrayRef, BooleanBuilder, Float32Builder, Int16Builder, Int32Builder, Int64Builder,
        IntervalMonthDayNanoBuilder, ListBuilder, RecordBatch, RecordBatchOptions,
        StringViewBuilder, TimestampMicrosecondBuilder, UInt32Builder, new_null_array,
    },
    datatypes::{FieldRef, IntervalMonthDayNano},
};
use datafusion::error::{DataFusionError, Result};
use glaredb_engine::types::PgType;

use super::definitions::Definition;

/// A value of a system column.
#[derive(Clone, PartialEq, Debug)]
pub(super) enum Cell {
    Null,
    Bool(bool),
    /// For int2, int4 and int8 columns.
    Int(i64),
    Oid(u32),
    Float4(f32),
    /// For text, name, `"char"` and what else is carried as text.
    Text(String),
    /// Microseconds since 1970-01-01 UTC.
    Timestamptz(i64),
    /// An interval.
    Seconds(i64),
    Ints(Vec<i64>),
    Oids(Vec<u32>),
    Texts(Vec<String>),
}

impl From<bool> for Cell {
    fn from(value: bool) -> Self {
        Self::Bool(value)
    }
}

impl From<&str> for Cell {
    fn from(value: &str) -> Self {
        Self::Text(value.to_owned())
    }
}

impl From<String> for Cell {
    fn from(value: String) -> Self {
        Self::Text(value)
    }
}

impl From<u32> for Cell {
    fn from(value: u32) -> Self {
        Self::Oid(value)
    }
}

impl<T: Into<Self>> From<Option<T>> for Cell {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::Null, Into::into)
    }
}

/// Shorthand for the integer columns.
pub(super) fn int(value: impl Into<i64>) -> Cell {
    Cell::Int(value.into())
}

/// The rows of one table, in the making: the columns that are wanted.
pub(super) struct Rows {
    definition: &'static Definition,
    /// By place in the table; `None` for those nobody wants.
    columns: Vec<Option<Vec<Cell>>>,
    /// Places of the wanted ones, in their order.
    wanted: Vec<usize>,
    count: usize,
}

impl Rows {
    /// `wanted`: places of columns; `None` for all.
    pub(super) fn new(definition: &'static Definition, wanted: Option<&[usize]>) -> Self {
        let wanted =
            wanted.map_or_else(|| (0..definition.columns.len()).collect(), <[usize]>::to_vec);
        let mut columns = vec![None; definition.columns.len()];
        for place in &wanted {
            columns[*place] = Some(Vec::new());
        }
        Self { definition, columns, wanted, count: 0 }
    }

    /// Whether a column's values are looked at, for those that cost something.
    pub(super) fn wants(&self, column: &str) -> bool {
        self.wanted.iter().any(|place| self.definition.columns[*place].name == column)
    }

    /// A row by column names; what is not named is null.
    pub(super) fn push<const N: usize>(&mut self, cells: [(&'static str, Cell); N]) {
        for column in self.columns.iter_mut().flatten() {
            column.push(Cell::Null);
        }
        self.count += 1;
        // They are named in their order, some left out.
        let mut next = 0;
        for (name, cell) in cells {
            let all = &self.definition.columns;
            let ahead = all[next..].iter().position(|c| c.name == name).map(|at| next + at);
            let position = ahead.or_else(|| all.iter().position(|c| c.name == name));
            let position = position.unwrap_or_else(|| {
                panic!("{} has no column {name}", self.definition.name);
            });
            next = position + 1;
            if let Some(column) = &mut self.columns[position] {
                *column.last_mut().expect("pushed above") = cell;
            }
        }
    }

    /// PostgreSQL's own rows, in the text form of COPY, columns in order.
    pub(super) fn push_data(&mut self, data: &str) {
        for line in data.lines() {
            self.count += 1;
            for (n, field) in line.split('\t').enumerate() {
                if let Some(column) = &mut self.columns[n] {
                    column.push(parse(field, &self.definition.columns[n].pg_type));
                }
            }
        }
    }

    pub(super) fn into_batch(self) -> Result<RecordBatch> {
        let schema = Arc::new(self.definition.arrow.project(&self.wanted)?);
        let arrays = self
            .wanted
            .iter()
            .zip(schema.fields())
            .map(|(place, field)| {
                let column = &self.definition.columns[*place];
                let cells = self.columns[*place].as_deref().unwrap_or_default();
                array(cells, &column.pg_type, field).ok_or_else(|| {
                    let (table, name) = (self.definition.name, column.name);
                    DataFusionError::Internal(format!("a wrong value for {table}.{name}"))
                })
            })
            .collect::<Result<Vec<_>>>()?;
        let options = RecordBatchOptions::new().with_row_count(Some(self.count));
        Ok(RecordBatch::try_new_with_options(schema, arrays, &options)?)
    }
}

/// The cell a field of COPY's text form means; what does not parse is a null.
fn parse(field: &str, pg_type: &PgType) -> Cell {
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
        _ => Some(Cell::Text(field.replace("\\\\", "\\"))),
    };
    cell.unwrap_or(Cell::Null)
}

macro_rules! build {
    ($builder:expr, $cells:expr, $pattern:pat => $value:expr) => {{
        let mut builder = $builder;
        for cell in $cells {
            match cell {
                Cell::Null => builder.append_null(),
                $pattern => builder.append_value($value),
                _ => return None,
            }
        }
        Arc::new(builder.finish()) as ArrayRef
    }};
}

/// The column's array; `None` if a cell is not of its type.
fn array(cells: &[Cell], pg_type: &PgType, field: &FieldRef) -> Option<ArrayRef> {
    use arrow::datatypes::DataType;
    if cells.iter().all(|cell| *cell == Cell::Null) {
        return Some(new_null_array(field.data_type(), cells.len()));
    }
    Some(match pg_type {
        PgType::Bool => build!(BooleanBuilder::new(), cells, Cell::Bool(v) => *v),
        PgType::Int2 => {
            build!(Int16Builder::new(), cells, Cell::Int(v) => i16::try_from(*v).ok()?)
        }
        PgType::Int4 => {
            build!(Int32Builder::new(), cells, Cell::Int(v) => i32::try_from(*v).ok()?)
        }
        PgType::Int8 => build!(Int64Builder::new(), cells, Cell::Int(v) => *v),
        PgType::Float4 => build!(Float32Builder::new(), cells, Cell::Float4(v) => *v),
        PgType::Timestamptz(_) => {
            let builder = TimestampMicrosecondBuilder::new().with_timezone("UTC");
            build!(builder, cells, Cell::Timestamptz(v) => *v)
        }
        PgType::Interval(_) => {
            let interval = |seconds: i64| IntervalMonthDayNano::new(0, 0, seconds * 1_000_000_000);
            build!(IntervalMonthDayNanoBuilder::new(), cells, Cell::Seconds(v) => interval(*v))
        }
        PgType::Array(_) | PgType::Int2vector | PgType::Oidvector => list(cells, field)?,
        _ => match field.data_type() {
            DataType::UInt32 => build!(UInt32Builder::new(), cells, Cell::Oid(v) => *v),
            DataType::Utf8View => build!(StringViewBuilder::new(), cells, Cell::Text(v) => v),
            _ => return None,
        },
    })
}

fn list(cells: &[Cell], field: &FieldRef) -> Option<ArrayRef> {
    use arrow::datatypes::DataType;
    let DataType::List(item) = field.data_type() else { return None };
    macro_rules! lists {
        ($builder:expr, $pattern:pat => $values:expr, $value:ident => $converted:expr) => {{
            let mut builder = ListBuilder::new($builder).with_field(item.clone());
            for cell in cells {
                match cell {
                    Cell::Null => builder.append_null(),
                    $pattern => {
                        for $value in $values {
                            builder.values().append_value($converted);
                        }
                        builder.append(true);
                    }
                    _ => return None,
                }
            }
            Arc::new(builder.finish()) as ArrayRef
        }};
    }
    Some(match item.data_type() {
        DataType::Int16 => {
            lists!(Int16Builder::new(), Cell::Ints(v) => v, n => i16::try_from(*n).ok()?)
        }
        DataType::UInt32 => lists!(UInt32Builder::new(), Cell::Oids(v) => v, n => *n),
        DataType::Utf8View => lists!(StringViewBuilder::new(), Cell::Texts(v) => v, t => t),
        _ => return None,
    })
}
