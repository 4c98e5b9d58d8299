//! Rows as values: made of fields, and asked for them.

use std::sync::Arc;

use arrow::{
    array::{Array, ArrayRef, AsArray, BooleanArray, ListArray, StructArray, new_null_array},
    buffer::OffsetBuffer,
    datatypes::DataType,
};
use datafusion::logical_expr::{Expr, ScalarUDF};

use super::scalar::{infallible, internal, over_arrays, sees_nulls, strict};
use crate::types::{PgType, RecordType};

const ROW: &str = "row";

/// A row of fields of these types; never NULL itself.
#[must_use]
pub fn row(of: &RecordType) -> Arc<ScalarUDF> {
    let fields = of.arrow_fields();
    let returns = DataType::Struct(fields.clone());
    let compute = over_arrays(move |args| {
        let rows = args.first().map_or(1, |column| column.len());
        let columns = args.iter().zip(&fields).map(|(column, field)| {
            // The optimizer asks what comes of NULLs that have no type.
            match column.data_type() == field.data_type() {
                true => Ok(Arc::clone(column)),
                false if column.null_count() == rows => Ok(new_null_array(field.data_type(), rows)),
                false => arrow::compute::cast(column, field.data_type()).map_err(internal),
            }
        });
        let columns: Vec<ArrayRef> = columns.collect::<Result<_, _>>()?;
        let built = StructArray::try_new(fields.clone(), columns, None).map_err(internal)?;
        Ok(Arc::new(built) as ArrayRef)
    });
    let variant = format!("{returns}");
    sees_nulls(ROW, variant, returns, false, compute)
}

/// The fields that [`row`] makes a row of; `None` for other expressions.
#[must_use]
pub fn fields_of_row(expr: &Expr) -> Option<&[Expr]> {
    match expr {
        Expr::ScalarFunction(call) if call.func.name() == ROW => Some(&call.args),
        _ => None,
    }
}

/// Lists of rows, given for each field a list of its values; the lists of a row are of one length.
#[must_use]
pub fn rows_of_lists(of: &RecordType) -> Arc<ScalarUDF> {
    let fields = of.arrow_fields();
    let returns = PgType::Array(Arc::new(PgType::Record(Arc::new(of.clone())))).arrow_type();
    let returned = returns.clone();
    let compute = strict(returns.clone(), move |args| {
        let DataType::List(item) = &returned else {
            return Err(internal(format!("{returned} is no list")));
        };
        let mut columns = Vec::with_capacity(args.len());
        let mut lengths: Option<Vec<usize>> = None;
        for list in args {
            let list = list
                .as_list_opt::<i32>()
                .ok_or_else(|| internal(format!("{} is no list", list.data_type())))?;
            let offsets = list.value_offsets();
            let of_rows: Vec<usize> = offsets.windows(2).map(|w| (w[1] - w[0]) as usize).collect();
            if lengths.as_ref().is_some_and(|known| *known != of_rows) {
                return Err(internal("lists of several lengths"));
            }
            lengths = Some(of_rows);
            let (first, end) = (offsets[0] as usize, offsets[list.len()] as usize);
            columns.push(list.values().slice(first, end - first));
        }
        let rows = StructArray::try_new(fields.clone(), columns, None).map_err(internal)?;
        let offsets = OffsetBuffer::from_lengths(lengths.unwrap_or_default());
        let nulls = args.first().and_then(|list| list.nulls().cloned());
        let lists = ListArray::try_new(item.clone(), offsets, Arc::new(rows), nulls);
        Ok(Arc::new(lists.map_err(internal)?) as ArrayRef)
    });
    let variant = format!("{returns}");
    infallible("rows_of_lists", variant, returns, compute)
}

/// `row IS NULL`: the row or all of its fields are; `row IS NOT NULL`: no field is. A row with some
/// fields is neither.
#[must_use]
pub fn nullness(of: &RecordType, all_null: bool) -> Arc<ScalarUDF> {
    let compute = over_arrays(move |args| {
        let rows = args[0].len();
        let Some(of_rows) = args[0].as_struct_opt() else {
            return Ok(Arc::new(BooleanArray::from(vec![all_null; rows])) as ArrayRef);
        };
        let answer = (0..rows).map(|row| {
            let is_null = of_rows.is_null(row);
            let mut columns = of_rows.columns().iter();
            match all_null {
                true => is_null || columns.all(|column| column.is_null(row)),
                false => !is_null && columns.all(|column| !column.is_null(row)),
            }
        });
        Ok(Arc::new(answer.map(Some).collect::<BooleanArray>()) as ArrayRef)
    });
    let variant = format!("{} {all_null}", DataType::Struct(of.arrow_fields()));
    let name = if all_null { "row_is_null" } else { "row_is_not_null" };
    sees_nulls(name, variant, DataType::Boolean, false, compute)
}
