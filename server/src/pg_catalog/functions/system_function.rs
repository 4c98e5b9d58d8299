//! A scalar function as a closure over one row's arguments and the statement's context.

use std::{
    hash::{Hash, Hasher},
    sync::Arc,
};

use arrow::{
    array::{
        Array, ArrayRef, AsArray, BooleanBuilder, Int32Builder, Int64Builder, ListBuilder,
        StringViewBuilder, TimestampMicrosecondBuilder, UInt32Builder, cast::as_string_array,
    },
    datatypes::{DataType, Int16Type, Int32Type, Int64Type, UInt32Type},
};
use datafusion::{
    error::{DataFusionError, Result},
    logical_expr::{
        ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
    },
    scalar::ScalarValue,
};
use glaredb_engine::{
    error::SqlError, query::functions::ExtraFunction, session::StatementContext, types::PgType,
};

/// A result.
#[derive(Clone, PartialEq, Debug)]
pub(super) enum Value {
    Null,
    Bool(bool),
    Int(i64),
    Oid(u32),
    Text(String),
    Texts(Vec<String>),
    Ints(Vec<i32>),
    /// Microseconds since 1970-01-01 UTC.
    Timestamptz(i64),
}

impl From<bool> for Value {
    fn from(value: bool) -> Self {
        Self::Bool(value)
    }
}

impl From<&str> for Value {
    fn from(value: &str) -> Self {
        Self::Text(value.to_owned())
    }
}

impl From<String> for Value {
    fn from(value: String) -> Self {
        Self::Text(value)
    }
}

impl<T: Into<Self>> From<Option<T>> for Value {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::Null, Into::into)
    }
}

/// One row's arguments.
pub(super) struct Call<'a> {
    pub(super) context: &'a StatementContext,
    arrays: &'a [ArrayRef],
    row: usize,
}

impl Call<'_> {
    fn is_null(&self, n: usize) -> bool {
        self.arrays[n].is_null(self.row)
    }

    /// Argument `n` if there is one and it is not null.
    fn given(&self, n: usize) -> bool {
        n < self.arrays.len() && !self.is_null(n)
    }

    pub(super) fn oid(&self, n: usize) -> Option<u32> {
        self.given(n).then(|| self.arrays[n].as_primitive::<UInt32Type>().value(self.row))
    }

    pub(super) fn int(&self, n: usize) -> Option<i64> {
        if !self.given(n) {
            return None;
        }
        let array = &self.arrays[n];
        match array.data_type() {
            DataType::Int16 => Some(array.as_primitive::<Int16Type>().value(self.row).into()),
            DataType::Int32 => Some(array.as_primitive::<Int32Type>().value(self.row).into()),
            DataType::Int64 => Some(array.as_primitive::<Int64Type>().value(self.row)),
            _ => None,
        }
    }

    pub(super) fn bool(&self, n: usize) -> Option<bool> {
        let given = self.given(n).then(|| self.arrays[n].as_boolean_opt()).flatten();
        given.map(|flags| flags.value(self.row))
    }

    pub(super) fn text(&self, n: usize) -> Option<&str> {
        if !self.given(n) {
            return None;
        }
        let array = &self.arrays[n];
        match array.data_type() {
            DataType::Utf8View => Some(array.as_string_view().value(self.row)),
            DataType::Utf8 => Some(as_string_array(array).value(self.row)),
            _ => None,
        }
    }
}

type Body = Arc<dyn Fn(&Call<'_>) -> Result<Value, SqlError> + Send + Sync>;

/// The functions gathered so far.
#[derive(Default)]
pub(super) struct Functions(Vec<ExtraFunction>);

impl Functions {
    /// A function that is null when any argument is.
    pub(super) fn strict<V: Into<Value>>(
        &mut self,
        name: &'static str,
        arguments: &[PgType],
        returns: PgType,
        body: impl Fn(&Call<'_>) -> V + Send + Sync + 'static,
    ) {
        self.add(name, arguments, returns, true, Arc::new(move |call| Ok(body(call).into())));
    }

    /// A strict function that may err.
    pub(super) fn fallible(
        &mut self,
        name: &'static str,
        arguments: &[PgType],
        returns: PgType,
        body: impl Fn(&Call<'_>) -> Result<Value, SqlError> + Send + Sync + 'static,
    ) {
        self.add(name, arguments, returns, true, Arc::new(body));
    }

    /// A function that sees nulls.
    pub(super) fn sees_nulls<V: Into<Value>>(
        &mut self,
        name: &'static str,
        arguments: &[PgType],
        returns: PgType,
        body: impl Fn(&Call<'_>) -> V + Send + Sync + 'static,
    ) {
        self.add(name, arguments, returns, false, Arc::new(move |call| Ok(body(call).into())));
    }

    fn add(
        &mut self,
        name: &'static str,
        arguments: &[PgType],
        returns: PgType,
        strict: bool,
        body: Body,
    ) {
        self.add_as(name, arguments, returns, strict, Volatility::Stable, body);
    }

    /// A function that gives something else each time, or does something.
    pub(super) fn volatile(
        &mut self,
        name: &'static str,
        arguments: &[PgType],
        returns: PgType,
        body: impl Fn(&Call<'_>) -> Value + Send + Sync + 'static,
    ) {
        let body = Arc::new(move |call: &Call<'_>| Ok(body(call)));
        self.add_as(name, arguments, returns, true, Volatility::Volatile, body);
    }

    /// A function that does something, sees nulls and may err.
    pub(super) fn acting(
        &mut self,
        name: &'static str,
        arguments: &[PgType],
        returns: PgType,
        body: impl Fn(&Call<'_>) -> Result<Value, SqlError> + Send + Sync + 'static,
    ) {
        self.add_as(name, arguments, returns, false, Volatility::Volatile, Arc::new(body));
    }

    fn add_as(
        &mut self,
        name: &'static str,
        arguments: &[PgType],
        returns: PgType,
        strict: bool,
        volatility: Volatility,
        body: Body,
    ) {
        let arguments = arguments.to_vec();
        let function = SystemFunction {
            name,
            variant: arguments.iter().map(PgType::sql_name).collect::<Vec<_>>().join(", "),
            signature: match arguments.len() {
                0 => Signature::nullary(volatility),
                count => Signature::any(count, volatility),
            },
            returns: returns.clone(),
            strict,
            body,
        };
        let udf = Arc::new(ScalarUDF::new_from_impl(function));
        self.0.push(ExtraFunction { name, arguments, returns, udf });
    }

    pub(super) fn into_vec(self) -> Vec<ExtraFunction> {
        self.0
    }
}

struct SystemFunction {
    name: &'static str,
    /// Names of the argument types: tells functions of one name apart.
    variant: String,
    signature: Signature,
    returns: PgType,
    strict: bool,
    body: Body,
}

impl std::fmt::Debug for SystemFunction {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}({})", self.name, self.variant)
    }
}

impl PartialEq for SystemFunction {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name && self.variant == other.variant
    }
}

impl Eq for SystemFunction {}

impl Hash for SystemFunction {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.name.hash(state);
        self.variant.hash(state);
    }
}

impl ScalarUDFImpl for SystemFunction {
    fn name(&self) -> &str {
        self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(self.returns.arrow_type())
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let context = StatementContext::of(&args.config_options)?;
        let scalar = args.args.iter().all(|arg| matches!(arg, ColumnarValue::Scalar(_)));
        let rows = if scalar { 1 } else { args.number_rows };
        let arrays = ColumnarValue::values_to_arrays(&args.args)?;
        let mut values = Vec::with_capacity(rows);
        for row in 0..rows {
            let call = Call { context, arrays: &arrays, row };
            if self.strict && (0..arrays.len()).any(|n| call.is_null(n)) {
                values.push(Value::Null);
            } else {
                let value = (self.body)(&call);
                values.push(value.map_err(|e| DataFusionError::External(Box::new(e)))?);
            }
        }
        let array = to_array(&values, &self.returns).ok_or_else(|| {
            DataFusionError::Internal(format!("{self:?} gave another type than it says"))
        })?;
        if scalar {
            return Ok(ColumnarValue::Scalar(ScalarValue::try_from_array(&array, 0)?));
        }
        Ok(ColumnarValue::Array(array))
    }
}

macro_rules! build {
    ($builder:expr, $values:expr, $pattern:pat => $value:expr) => {{
        let mut builder = $builder;
        for value in $values {
            match value {
                Value::Null => builder.append_null(),
                $pattern => builder.append_value($value),
                _ => return None,
            }
        }
        Arc::new(builder.finish()) as ArrayRef
    }};
}

/// `None` if a value is not of the type.
fn to_array(values: &[Value], returns: &PgType) -> Option<ArrayRef> {
    Some(match returns.arrow_type() {
        DataType::Boolean => build!(BooleanBuilder::new(), values, Value::Bool(v) => *v),
        DataType::Int32 => {
            build!(Int32Builder::new(), values, Value::Int(v) => i32::try_from(*v).ok()?)
        }
        DataType::Int64 => build!(Int64Builder::new(), values, Value::Int(v) => *v),
        DataType::UInt32 => build!(UInt32Builder::new(), values, Value::Oid(v) => *v),
        DataType::Utf8View => build!(StringViewBuilder::new(), values, Value::Text(v) => v),
        DataType::Timestamp(..) => {
            let mut builder = TimestampMicrosecondBuilder::new();
            for value in values {
                match value {
                    Value::Null => builder.append_null(),
                    Value::Timestamptz(us) => builder.append_value(*us),
                    _ => return None,
                }
            }
            Arc::new(builder.finish().with_data_type(returns.arrow_type()))
        }
        DataType::List(item) if *item.data_type() == DataType::Int32 => {
            let mut builder = ListBuilder::new(Int32Builder::new()).with_field(item);
            for value in values {
                match value {
                    Value::Null => builder.append_null(),
                    Value::Ints(numbers) => {
                        builder.values().append_slice(numbers);
                        builder.append(true);
                    }
                    _ => return None,
                }
            }
            Arc::new(builder.finish())
        }
        DataType::List(item) => {
            let mut builder = ListBuilder::new(StringViewBuilder::new()).with_field(item);
            for value in values {
                match value {
                    Value::Null => builder.append_null(),
                    Value::Texts(texts) => {
                        texts.iter().for_each(|text| builder.values().append_value(text));
                        builder.append(true);
                    }
                    _ => return None,
                }
            }
            Arc::new(builder.finish())
        }
        _ => return None,
    })
}
