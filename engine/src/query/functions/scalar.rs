//! The shape of every scalar function here: a name, a result type and a closure over columns.

use std::{
    hash::{Hash, Hasher},
    sync::Arc,
};

use arrow::{
    array::{Array, ArrayRef, UInt32Array, new_null_array},
    datatypes::DataType,
};
use datafusion::{
    common::{Result, ScalarValue, tree_node::TreeNode},
    logical_expr::{
        ColumnarValue, Expr, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
        expr::ScalarFunction,
    },
};

use super::{given_up, memory::Memory};
use crate::{error::SqlError, query::errors::external};

/// What computes a function: columns or constants in, a column or a constant out. What may be larger
/// than the arguments is charged to the memory.
pub type Compute = Arc<
    dyn Fn(&[ColumnarValue], usize, Memory<'_>) -> std::result::Result<ColumnarValue, SqlError>
        + Send
        + Sync,
>;

/// A scalar function whose arguments come in exactly the types it expects, because the planner
/// cast them.
#[derive(Clone)]
struct PlannedFunction {
    name: String,
    /// Tells functions of one name apart: the types and settings baked into `compute`.
    variant: String,
    returns: DataType,
    /// Whether it may raise an error for some argument.
    fallible: bool,
    /// NULL if any argument is.
    strict: bool,
    signature: Signature,
    compute: Compute,
}

impl std::fmt::Debug for PlannedFunction {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}({})", self.name, self.variant)
    }
}

impl PartialEq for PlannedFunction {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name && self.variant == other.variant && self.returns == other.returns
    }
}

impl Eq for PlannedFunction {}

impl Hash for PlannedFunction {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.name.hash(state);
        self.variant.hash(state);
    }
}

impl ScalarUDFImpl for PlannedFunction {
    fn name(&self) -> &str {
        &self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(self.returns.clone())
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        Ok(types.to_vec())
    }

    /// Lets the optimizer see which conditions refuse the rows that an outer join fills up.
    fn is_strict(&self) -> bool {
        self.strict
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        // DataFusion asks what a condition is without the rows of an outer join: over untyped NULLs.
        if self.strict && args.args.iter().any(|arg| arg.data_type() == DataType::Null) {
            return Ok(ColumnarValue::Scalar(ScalarValue::try_from(&self.returns)?));
        }
        let mut values = args.args;
        for value in &mut values {
            if value.data_type() == DataType::Null {
                *value = ColumnarValue::Scalar(ScalarValue::try_from(&self.returns)?);
            }
        }
        let compute =
            || (self.compute)(&values, args.number_rows, Memory::of(&args.config_options));
        given_up::for_session(&args.config_options, compute).map_err(external)
    }
}

/// Makes a function that is NULL if an argument is. Two functions with equal `name`, `variant` and
/// result type must compute the same.
pub fn function(
    name: &str,
    variant: impl Into<String>,
    returns: DataType,
    volatility: Volatility,
    compute: Compute,
) -> Arc<ScalarUDF> {
    planned(name, variant.into(), returns, volatility, (true, true), compute)
}

/// Makes an immutable function that has a result for every argument: [`can_fail`] is false, and it
/// may be computed for rows that do not need it.
pub fn infallible(
    name: &str,
    variant: impl Into<String>,
    returns: DataType,
    compute: Compute,
) -> Arc<ScalarUDF> {
    planned(name, variant.into(), returns, Volatility::Immutable, (false, true), compute)
}

/// The same, for a function whose result may be more than NULL though an argument is NULL.
/// It is immutable; `fallible` says what [`can_fail`] does.
pub fn sees_nulls(
    name: &str,
    variant: impl Into<String>,
    returns: DataType,
    fallible: bool,
    compute: Compute,
) -> Arc<ScalarUDF> {
    planned(name, variant.into(), returns, Volatility::Immutable, (fallible, false), compute)
}

/// Whether a function may raise an error for some argument. Functions of DataFusion and of system
/// tables do not.
#[must_use]
pub fn can_fail(udf: &ScalarUDF) -> bool {
    let inner = udf.inner().as_ref() as &dyn std::any::Any;
    inner.downcast_ref::<PlannedFunction>().is_some_and(|planned| planned.fallible)
}

/// The variant of a function of that name; `None` for another function.
#[must_use]
pub fn variant_of<'a>(udf: &'a ScalarUDF, name: &str) -> Option<&'a str> {
    let inner = udf.inner().as_ref() as &dyn std::any::Any;
    let planned = inner.downcast_ref::<PlannedFunction>()?;
    (planned.name == name).then_some(planned.variant.as_str())
}

fn planned(
    name: &str,
    variant: String,
    returns: DataType,
    volatility: Volatility,
    (fallible, strict): (bool, bool),
    compute: Compute,
) -> Arc<ScalarUDF> {
    // What DataFusion computes while it plans becomes a part of the plan and of its names.
    let volatility = if super::grows(name) { Volatility::Volatile } else { volatility };
    Arc::new(ScalarUDF::new_from_impl(PlannedFunction {
        name: name.to_owned(),
        variant,
        returns,
        fallible,
        strict,
        // `coerce_types` is not asked about functions without arguments.
        signature: Signature::one_of(
            vec![
                datafusion::logical_expr::TypeSignature::Nullary,
                datafusion::logical_expr::TypeSignature::UserDefined,
            ],
            volatility,
        ),
        compute,
    }))
}

/// Calls a function; constants are computed at once. What errs is left to execution, which may
/// never come to it.
pub fn call(udf: &Arc<ScalarUDF>, args: Vec<Expr>) -> Expr {
    if udf.signature().volatility == Volatility::Immutable && !args.is_empty() {
        // Of NULL they all are NULL, whatever the other arguments would raise.
        let null = |arg: &Expr| matches!(arg, Expr::Literal(value, _) if value.is_null());
        if args.iter().any(null)
            && !args.iter().any(aggregates)
            && let Some(returns) = strict_type(udf)
            && let Ok(value) = ScalarValue::try_from(returns)
        {
            return Expr::Literal(value, None);
        }
    }
    let is_little = !super::is_costly(udf.name());
    if is_little && udf.signature().volatility == Volatility::Immutable && !args.is_empty() {
        let literals: Option<Vec<ScalarValue>> = args
            .iter()
            .map(|arg| match arg {
                Expr::Literal(value, _) => Some(value.clone()),
                _ => None,
            })
            .collect();
        if let Some(value) = literals.and_then(|values| constant(udf, values)) {
            return Expr::Literal(value, None);
        }
    }
    Expr::ScalarFunction(ScalarFunction::new_udf(Arc::clone(udf), args))
}

/// Whether there is an aggregate in it. It must not vanish: a query with an aggregate has one row,
/// whatever is made of its result.
fn aggregates(expr: &Expr) -> bool {
    expr.exists(|part| Ok(matches!(part, Expr::AggregateFunction(_)))).unwrap_or(true)
}

/// The result type of a function of this module that is NULL if an argument is.
fn strict_type(udf: &ScalarUDF) -> Option<&DataType> {
    let inner = udf.inner().as_ref() as &dyn std::any::Any;
    let planned = inner.downcast_ref::<PlannedFunction>().filter(|planned| planned.strict)?;
    Some(&planned.returns)
}

fn constant(udf: &Arc<ScalarUDF>, values: Vec<ScalarValue>) -> Option<ScalarValue> {
    let inner = udf.inner().as_ref() as &dyn std::any::Any;
    let planned = inner.downcast_ref::<PlannedFunction>()?;
    let args: Vec<_> = values.into_iter().map(ColumnarValue::Scalar).collect();
    match (planned.compute)(&args, 1, Memory::of_planning()).ok()? {
        ColumnarValue::Scalar(value) => Some(value),
        ColumnarValue::Array(array) => ScalarValue::try_from_array(&array, 0).ok(),
    }
}

/// Longer constants are not copied for every row.
const COPIED_BYTES_MAX: usize = 256;

/// An argument as an array of `rows`.
fn to_array(arg: &ColumnarValue, rows: usize) -> std::result::Result<ArrayRef, SqlError> {
    match arg {
        ColumnarValue::Scalar(value @ ScalarValue::Utf8View(Some(text)))
            if rows > 1 && text.len() > COPIED_BYTES_MAX =>
        {
            let one = value.to_array().map_err(internal)?;
            let firsts = UInt32Array::from_value(0, rows);
            arrow::compute::take(&one, &firsts, None).map_err(internal)
        }
        arg => arg.to_array(rows).map_err(internal),
    }
}

/// One value for each of `rows`: a text is not copied, what is copied must fit into memory.
fn spread(
    one: &ArrayRef,
    rows: usize,
    bytes: usize,
    memory: Memory<'_>,
) -> std::result::Result<ColumnarValue, SqlError> {
    if rows == 1 {
        return Ok(ColumnarValue::Array(Arc::clone(one)));
    }
    let firsts = UInt32Array::from_value(0, rows);
    let copied = match one.data_type() {
        DataType::Utf8View => 0,
        _ => bytes.saturating_mul(rows),
    };
    let mut charge = memory.charge();
    charge.add(copied)?;
    let all = arrow::compute::take(one, &firsts, None).map_err(internal)?;
    charge.attach(all).map(ColumnarValue::Array)
}

/// The values of a function of one argument, made by [`function`].
///
/// # Errors
/// Those of the function.
pub fn evaluate(
    udf: &ScalarUDF,
    values: ArrayRef,
    memory: Memory<'_>,
) -> std::result::Result<ArrayRef, SqlError> {
    let rows = values.len();
    let inner = udf.inner().as_ref() as &dyn std::any::Any;
    let planned = inner
        .downcast_ref::<PlannedFunction>()
        .ok_or_else(|| internal(format!("{} is none of the built-in functions", udf.name())))?;
    let computed = (planned.compute)(&[ColumnarValue::Array(values)], rows, memory)?;
    computed.into_array(rows).map_err(internal)
}

/// Turns a function over arrays into one over columnar values: constants become arrays of one row
/// if all arguments are constant, else of all rows.
pub fn over_arrays(
    compute: impl Fn(&[ArrayRef]) -> std::result::Result<ArrayRef, SqlError> + Send + Sync + 'static,
) -> Compute {
    over_arrays_charged(move |args, _| compute(args))
}

/// Like [`over_arrays`], for functions that may make much of little.
pub fn over_arrays_charged(
    compute: impl Fn(&[ArrayRef], Memory<'_>) -> std::result::Result<ArrayRef, SqlError>
    + Send
    + Sync
    + 'static,
) -> Compute {
    Arc::new(move |args, rows, memory| {
        let constant = args.iter().all(|arg| matches!(arg, ColumnarValue::Scalar(_)));
        let (rows_wanted, rows) = (rows, if constant { 1 } else { rows });
        let arrays = args
            .iter()
            .map(|arg| to_array(arg, rows))
            .collect::<std::result::Result<Vec<_>, _>>()?;
        let result = compute(&arrays, memory)?;
        let bytes = result.get_array_memory_size();
        // As a constant, a list would lose its elements' metadata.
        let is_list = matches!(result.data_type(), DataType::List(_));
        if constant && (is_list || (rows_wanted > 1 && bytes > COPIED_BYTES_MAX)) {
            return spread(&result, rows_wanted, bytes, memory);
        }
        if constant {
            let value = ScalarValue::try_from_array(&result, 0).map_err(internal)?;
            return Ok(ColumnarValue::Scalar(value));
        }
        Ok(ColumnarValue::Array(result))
    })
}

/// Like [`over_arrays`], for functions that give NULL when any argument is a NULL constant, which
/// then need not be computed.
pub fn strict(
    returns: DataType,
    compute: impl Fn(&[ArrayRef]) -> std::result::Result<ArrayRef, SqlError> + Send + Sync + 'static,
) -> Compute {
    strict_charged(returns, move |args, _| compute(args))
}

/// Like [`strict`], for functions that may make much of little.
pub fn strict_charged(
    returns: DataType,
    compute: impl Fn(&[ArrayRef], Memory<'_>) -> std::result::Result<ArrayRef, SqlError>
    + Send
    + Sync
    + 'static,
) -> Compute {
    let inner = over_arrays_charged(compute);
    Arc::new(move |args, rows, memory| {
        let null = |arg: &ColumnarValue| matches!(arg, ColumnarValue::Scalar(v) if v.is_null());
        if args.iter().any(null) {
            let value = ScalarValue::try_from_array(&new_null_array(&returns, 1), 0);
            return Ok(ColumnarValue::Scalar(value.map_err(internal)?));
        }
        inner(args, rows, memory)
    })
}

/// An error that only a defect here can cause.
pub fn internal(error: impl std::fmt::Display) -> SqlError {
    SqlError::internal(error.to_string())
}
