//! `json_to_record`, `json_populate_record` and their kin: fields of objects as values of other types.

mod literal;

use std::sync::Arc;

use arrow::{
    array::{Array, ArrayRef, AsArray, ListArray, StructArray, UInt32Array, make_array},
    buffer::{NullBuffer, OffsetBuffer, ScalarBuffer},
    datatypes::DataType,
};
use datafusion::logical_expr::ScalarUDF;

use super::{
    json::Kind,
    scalar::{internal, over_arrays_charged, sees_nulls},
};
use crate::{
    error::{SqlError, sqlstate},
    types::{
        PgType, RecordType,
        json::{self, Tree, Value},
        jsonb::{self, Jsonb},
        text::{ColumnBuilder, FormatSettings},
    },
};

/// A column of a function that makes rows of objects.
#[derive(Clone, Debug)]
pub struct Field {
    /// The function, for errors: `json_to_record`.
    pub function: String,
    /// A row of each object of an array, instead of one row of an object.
    pub set: bool,
    pub name: String,
    pub ty: PgType,
}

/// Lists of the values that a field has in documents, one for each row.
#[must_use]
pub fn column(kind: Kind, field: &Field, settings: &FormatSettings) -> Arc<ScalarUDF> {
    let returns = PgType::Array(Arc::new(field.ty.clone())).arrow_type();
    let list_type = returns.clone();
    let variant = format!("{kind:?} {field:?} {settings:?}");
    let (field, settings) = (field.clone(), settings.clone());
    let compute = over_arrays_charged(move |args, memory| {
        let mut charge = memory.charge();
        let mut values = ColumnBuilder::new(&field.ty, args[0].len())?;
        let (mut ends, mut valid) = (vec![0_i32], Vec::with_capacity(args[0].len()));
        for row in 0..args[0].len() {
            let is_null = args[0].is_null(row);
            // Of NULL there is one row of NULLs, and an empty set.
            if is_null && !field.set {
                values.append_null();
            }
            if !is_null {
                let text = document(kind, &args[0], row)?;
                charge.add(text.len())?;
                append(&json::parse(&text)?, &field, &settings, &mut values)?;
            }
            valid.push(true);
            ends.push(i32::try_from(values.len()).map_err(internal)?);
        }
        let DataType::List(item) = &list_type else {
            return Err(internal(format!("{list_type} is no list")));
        };
        let offsets = OffsetBuffer::new(ScalarBuffer::from(ends));
        let nulls = Some(NullBuffer::from(valid));
        let list = ListArray::try_new(item.clone(), offsets, values.finish(), nulls);
        charge.attach(Arc::new(list.map_err(internal)?) as ArrayRef)
    });
    sees_nulls("json_record_column", variant, returns, true, compute)
}

fn document(kind: Kind, array: &ArrayRef, row: usize) -> Result<String, SqlError> {
    Ok(match kind {
        Kind::Json => array.as_string_view().value(row).to_owned(),
        Kind::Jsonb => {
            let mut text = Vec::new();
            jsonb::write(Jsonb::new(array.as_binary::<i32>().value(row)), &mut text);
            String::from_utf8(text).map_err(internal)?
        }
    })
}

fn invalid(message: String) -> SqlError {
    SqlError::new(sqlstate::INVALID_PARAMETER_VALUE, message)
}

fn append(
    document: &Tree<'_>,
    field: &Field,
    settings: &FormatSettings,
    values: &mut ColumnBuilder,
) -> Result<(), SqlError> {
    objects(document, &field.function, field.set, &mut |object| {
        append_field(object, field, settings, values)
    })
}

/// The objects that a function makes rows of.
fn objects(
    document: &Tree<'_>,
    function: &str,
    set: bool,
    each: &mut dyn FnMut(&Tree<'_>) -> Result<(), SqlError>,
) -> Result<(), SqlError> {
    let jsonb = function.starts_with("jsonb");
    match (&document.value, set) {
        (Value::Array(objects), true) => objects.iter().try_for_each(|object| {
            if !matches!(object.value, Value::Object(_)) {
                let message = format!("argument of {function} must be an array of objects");
                return Err(invalid(message));
            }
            each(object)
        }),
        (Value::Object(_), false) => each(document),
        (_, true) if jsonb => Err(invalid(format!("cannot call {function} on a non-array"))),
        (Value::Object(_), true) => Err(invalid(format!("cannot call {function} on an object"))),
        (Value::Array(_), false) => {
            Err(invalid("cannot call populate_composite on an array".to_owned()))
        }
        (_, false) => Err(invalid("cannot call populate_composite on a scalar".to_owned())),
        _ => Err(invalid(format!("cannot call {function} on a scalar"))),
    }
}

fn append_field(
    object: &Tree<'_>,
    field: &Field,
    settings: &FormatSettings,
    values: &mut ColumnBuilder,
) -> Result<(), SqlError> {
    let text = match named(object, &field.name) {
        Some(value) => literal::text(value, &field.ty, Some(&field.name), None)?,
        None => None,
    };
    match text {
        Some(text) => values.append(&text, settings),
        None => {
            values.append_null();
            Ok(())
        }
    }
}

/// The value of a name in an object: the last one counts.
fn named<'t, 'd>(object: &'t Tree<'d>, wanted: &str) -> Option<&'t Tree<'d>> {
    let Value::Object(fields) = &object.value else { return None };
    fields.iter().rev().find(|(name, _)| *name == wanted).map(|(_, value)| value)
}

/// What makes rows of a type of objects.
#[derive(Clone, Debug)]
pub struct Populate {
    /// The function, for errors: `json_populate_record`.
    pub function: String,
    /// A list of rows, one for each object of an array, instead of one row.
    pub set: bool,
    pub of: RecordType,
}

/// Rows of a type, given rows to begin with and documents: fields that an object has not are those of the
/// row.
#[must_use]
pub fn populate(kind: Kind, populate: &Populate, settings: &FormatSettings) -> Arc<ScalarUDF> {
    let of = PgType::Record(Arc::new(populate.of.clone()));
    let returns = match populate.set {
        true => PgType::Array(Arc::new(of)).arrow_type(),
        false => of.arrow_type(),
    };
    let returned = returns.clone();
    let variant = format!("{kind:?} {populate:?} {settings:?}");
    let (populate, settings) = (populate.clone(), settings.clone());
    let compute = over_arrays_charged(move |args, memory| {
        let mut charge = memory.charge();
        let (bases, documents) = (&args[0], &args[1]);
        let mut rows = Rows::new(&populate.of)?;
        let mut ends = vec![0_i32];
        for row in 0..documents.len() {
            if documents.is_null(row) {
                if !populate.set {
                    rows.push_base(row);
                }
            } else {
                let text = document(kind, documents, row)?;
                charge.add(text.len())?;
                let tree = json::parse(&text)?;
                objects(&tree, &populate.function, populate.set, &mut |object| {
                    rows.push_object(row, object, &populate.of, bases, &settings)
                })?;
            }
            ends.push(i32::try_from(rows.bases.len()).map_err(internal)?);
        }
        let rows = rows.finish(bases)?;
        let DataType::List(item) = &returned else { return charge.attach(rows) };
        let offsets = OffsetBuffer::new(ScalarBuffer::from(ends));
        let list = ListArray::try_new(item.clone(), offsets, rows, None).map_err(internal)?;
        charge.attach(Arc::new(list) as ArrayRef)
    });
    sees_nulls("json_populate", variant, returns, true, compute)
}

/// Rows on their way: for each the row it begins with, and its fields where the object has them.
struct Rows {
    bases: Vec<u32>,
    /// Rows that are of an object; others are those they begin with.
    made: Vec<bool>,
    fields: Vec<(ColumnBuilder, Vec<bool>)>,
}

impl Rows {
    fn new(of: &RecordType) -> Result<Self, SqlError> {
        let fields = of.fields.iter().map(|f| Ok((ColumnBuilder::new(&f.ty, 0)?, Vec::new())));
        let fields = fields.collect::<Result<_, SqlError>>()?;
        Ok(Self { bases: Vec::new(), made: Vec::new(), fields })
    }

    fn push_base(&mut self, base: usize) {
        self.bases.push(base as u32);
        self.made.push(false);
        for (values, given) in &mut self.fields {
            values.append_null();
            given.push(false);
        }
    }

    fn push_object(
        &mut self,
        base: usize,
        object: &Tree<'_>,
        of: &RecordType,
        bases: &ArrayRef,
        settings: &FormatSettings,
    ) -> Result<(), SqlError> {
        let kept = bases.as_struct_opt().filter(|rows| rows.is_valid(base));
        self.bases.push(base as u32);
        self.made.push(true);
        for (n, ((values, given), field)) in self.fields.iter_mut().zip(&of.fields).enumerate() {
            let value = named(object, &field.name);
            let column = kept.and_then(|rows| rows.columns().get(n));
            let kept = column.map(|column| literal::Base { column, row: base, settings });
            let text = match value {
                Some(value) => literal::text(value, &field.ty, Some(&field.name), kept)?,
                None => None,
            };
            match text {
                Some(text) => values.append(&text, settings)?,
                None => values.append_null(),
            }
            given.push(value.is_some());
        }
        Ok(())
    }

    /// `bases`: a column of rows of the type.
    fn finish(mut self, bases: &ArrayRef) -> Result<ArrayRef, SqlError> {
        let DataType::Struct(fields) = bases.data_type() else {
            return Err(internal(format!("{} is no row", bases.data_type())));
        };
        let places = UInt32Array::from(self.bases);
        let bases = arrow::compute::take(bases, &places, None).map_err(internal)?;
        let bases = bases.as_struct();
        let mut columns = Vec::with_capacity(fields.len());
        for ((values, given), base) in self.fields.iter_mut().zip(bases.columns()) {
            let made = values.finish();
            let nulls = NullBuffer::union(bases.nulls(), base.nulls());
            let base = base.to_data().into_builder().nulls(nulls).build().map_err(internal)?;
            let base = make_array(base);
            let from = given.iter().enumerate().map(|(row, given)| (usize::from(!given), row));
            let from: Vec<_> = from.collect();
            columns.push(
                arrow::compute::interleave(&[made.as_ref(), base.as_ref()], &from)
                    .map_err(internal)?,
            );
        }
        let valid = self.made.iter().enumerate().map(|(row, made)| *made || bases.is_valid(row));
        let nulls = NullBuffer::from(valid.collect::<Vec<_>>());
        let rows = StructArray::try_new(fields.clone(), columns, Some(nulls)).map_err(internal)?;
        Ok(Arc::new(rows))
    }
}
