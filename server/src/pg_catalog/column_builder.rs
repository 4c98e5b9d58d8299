//! The values of one column of a system table, appended one by one.

use std::sync::Arc;

use arrow::{
    array::{
        ArrayBuilder, ArrayRef, BooleanBuilder, Float32Builder, Int16Builder, Int32Builder,
        Int64Builder, IntervalMonthDayNanoBuilder, ListBuilder, StringViewBuilder,
        TimestampMicrosecondBuilder, UInt32Builder, new_null_array,
    },
    datatypes::{DataType, Field, IntervalMonthDayNano},
};
use glaredb_engine::types::PgType;

use super::rows::Cell;

/// One variant for each way in which a [`Cell`] is stored.
pub(super) enum ColumnBuilder {
    Bools(BooleanBuilder),
    Int2s(Int16Builder),
    Int4s(Int32Builder),
    Int8s(Int64Builder),
    Oids(UInt32Builder),
    Float4s(Float32Builder),
    Texts(StringViewBuilder),
    Timestamps(TimestampMicrosecondBuilder),
    Intervals(IntervalMonthDayNanoBuilder),
    Int2Lists(ListBuilder<Int16Builder>),
    OidLists(ListBuilder<UInt32Builder>),
    TextLists(ListBuilder<StringViewBuilder>),
    /// Of a type that no cell is of: always null.
    Nulls(DataType, usize),
}

/// Does the same with the builder of any variant.
macro_rules! each {
    ($self:expr, $builder:ident => $do:expr, $ty:pat, $nulls:pat => $else:expr) => {
        match $self {
            ColumnBuilder::Bools($builder) => $do,
            ColumnBuilder::Int2s($builder) => $do,
            ColumnBuilder::Int4s($builder) => $do,
            ColumnBuilder::Int8s($builder) => $do,
            ColumnBuilder::Oids($builder) => $do,
            ColumnBuilder::Float4s($builder) => $do,
            ColumnBuilder::Texts($builder) => $do,
            ColumnBuilder::Timestamps($builder) => $do,
            ColumnBuilder::Intervals($builder) => $do,
            ColumnBuilder::Int2Lists($builder) => $do,
            ColumnBuilder::OidLists($builder) => $do,
            ColumnBuilder::TextLists($builder) => $do,
            ColumnBuilder::Nulls($ty, $nulls) => $else,
        }
    };
}

impl ColumnBuilder {
    pub(super) fn new(pg_type: &PgType, field: &Field) -> Self {
        match pg_type {
            PgType::Bool => Self::Bools(BooleanBuilder::new()),
            PgType::Int2 => Self::Int2s(Int16Builder::new()),
            PgType::Int4 => Self::Int4s(Int32Builder::new()),
            PgType::Int8 => Self::Int8s(Int64Builder::new()),
            PgType::Float4 => Self::Float4s(Float32Builder::new()),
            PgType::Timestamptz(_) => {
                Self::Timestamps(TimestampMicrosecondBuilder::new().with_timezone("UTC"))
            }
            PgType::Interval(_) => Self::Intervals(IntervalMonthDayNanoBuilder::new()),
            _ => Self::by_arrow(field.data_type()),
        }
    }

    fn by_arrow(ty: &DataType) -> Self {
        match ty {
            DataType::UInt32 => Self::Oids(UInt32Builder::new()),
            DataType::Utf8View => Self::Texts(StringViewBuilder::new()),
            DataType::List(item) => match item.data_type() {
                DataType::Int16 => {
                    Self::Int2Lists(ListBuilder::new(Int16Builder::new()).with_field(item.clone()))
                }
                DataType::UInt32 => {
                    Self::OidLists(ListBuilder::new(UInt32Builder::new()).with_field(item.clone()))
                }
                DataType::Utf8View => {
                    let builder = ListBuilder::new(StringViewBuilder::new());
                    Self::TextLists(builder.with_field(item.clone()))
                }
                _ => Self::Nulls(ty.clone(), 0),
            },
            _ => Self::Nulls(ty.clone(), 0),
        }
    }

    /// Whether the value is of the column's type; a null stands for one that is not.
    pub(super) fn append(&mut self, cell: Cell<'_>) -> bool {
        match (&mut *self, cell) {
            (_, Cell::Null) => {
                self.append_null();
                return true;
            }
            (Self::Bools(builder), Cell::Bool(value)) => builder.append_value(value),
            (Self::Int2s(builder), Cell::Int(value)) => {
                let value = i16::try_from(value).ok();
                builder.append_option(value);
                return value.is_some();
            }
            (Self::Int4s(builder), Cell::Int(value)) => {
                let value = i32::try_from(value).ok();
                builder.append_option(value);
                return value.is_some();
            }
            (Self::Int8s(builder), Cell::Int(value)) => builder.append_value(value),
            (Self::Oids(builder), Cell::Oid(value)) => builder.append_value(value),
            (Self::Float4s(builder), Cell::Float4(value)) => builder.append_value(value),
            (Self::Texts(builder), Cell::Text(value)) => builder.append_value(value),
            (Self::Timestamps(builder), Cell::Timestamptz(value)) => builder.append_value(value),
            (Self::Intervals(builder), Cell::Seconds(value)) => {
                builder.append_value(IntervalMonthDayNano::new(0, 0, value * 1_000_000_000));
            }
            (Self::Int2Lists(builder), Cell::Ints(values)) => {
                let values: Option<Vec<_>> =
                    values.into_iter().map(|value| i16::try_from(value).ok().map(Some)).collect();
                let fits = values.is_some();
                builder.append_option(values);
                return fits;
            }
            (Self::OidLists(builder), Cell::Oids(values)) => {
                builder.append_value(values.into_iter().map(Some));
            }
            (Self::TextLists(builder), Cell::Texts(values)) => {
                builder.append_value(values.into_iter().map(Some));
            }
            _ => {
                self.append_null();
                return false;
            }
        }
        true
    }

    fn append_null(&mut self) {
        each!(self, builder => builder.append_null(), _, nulls => *nulls += 1);
    }

    /// Appends a null if there are less than so many values.
    pub(super) fn fill(&mut self, count: usize) {
        let values = each!(self, builder => builder.len(), _, nulls => *nulls);
        if values < count {
            self.append_null();
        }
    }

    pub(super) fn finish(self) -> ArrayRef {
        each!(self, mut_builder => {
            let mut builder = mut_builder;
            Arc::new(builder.finish())
        }, ty, nulls => new_null_array(&ty, nulls))
    }
}
