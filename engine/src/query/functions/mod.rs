//! Functions: PostgreSQL's built-in ones, and those that system tables bring along.

pub mod aggregate;
pub mod arithmetic;
pub mod builtin;
pub mod cast;
pub mod datetime;
pub mod decimal;
pub mod numeric;
pub mod pattern;
pub mod scalar;
pub mod series;
pub mod to_char;

use std::{collections::HashMap, sync::Arc};

use arrow::datatypes::DataType;
use datafusion::logical_expr::ScalarUDF;

use crate::types::{NumericShape, PgType};

/// The functions statements may call. Built once, shared by all sessions.
#[derive(Default, Debug)]
pub struct Functions {
    extra: HashMap<String, Vec<ExtraFunction>>,
}

/// A scalar function in `pg_catalog` that comes from outside this module.
#[derive(Clone, Debug)]
pub struct ExtraFunction {
    /// Lower case, without schema.
    pub name: &'static str,
    /// Arguments arrive in these types' Arrow form.
    pub arguments: Vec<PgType>,
    pub returns: PgType,
    pub udf: Arc<ScalarUDF>,
}

impl Functions {
    /// The built-in functions and these.
    #[must_use]
    pub fn new(extra: impl IntoIterator<Item = ExtraFunction>) -> Self {
        let mut functions = Self::default();
        for function in extra {
            functions.extra.entry(function.name.to_owned()).or_default().push(function);
        }
        functions
    }

    /// The added functions of this name.
    #[must_use]
    pub fn extra(&self, name: &str) -> &[ExtraFunction] {
        self.extra.get(name).map_or(&[], Vec::as_slice)
    }
}

/// The Arrow type of decimals of a shape.
#[must_use]
pub fn shape_type(shape: NumericShape) -> DataType {
    PgType::Numeric(Some(shape)).arrow_type()
}
