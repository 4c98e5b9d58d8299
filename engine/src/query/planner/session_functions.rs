//! Functions of the session: who, where, when.

use std::sync::Arc;

use arrow::{
    array::{ArrayRef, AsArray, StringViewArray},
    datatypes::Int64Type,
};
use datafusion::{
    logical_expr::{ColumnarValue, Expr, ScalarUDF, Volatility, expr::ScalarFunction},
    scalar::ScalarValue,
};

use glaredb_catalog::TEMPORARY_SCHEMA;

use super::{
    Planner,
    bound::{Bound, undefined_function},
    coerce::CastContext,
};
use crate::{
    error::{SqlError, sqlstate},
    query::functions::{arithmetic::Operation, scalar, sleep},
    session::transaction_ids::TransactionIds,
    types::PgType,
};

/// What `version()` says. Tools read the number behind the first word.
pub const VERSION: &str = concat!("PostgreSQL 15.0 (GlareDB ", env!("CARGO_PKG_VERSION"), ")");

impl Planner<'_> {
    /// A function written without parentheses, such as `current_user`.
    pub(super) fn keyword_function(&mut self, name: &str) -> Result<Option<Bound>, SqlError> {
        match name {
            "current_date" | "current_time" | "current_timestamp" | "localtime"
            | "localtimestamp" | "current_user" | "session_user" | "user" | "current_role"
            | "current_catalog" | "current_schema" => self.session_function(name, &[]),
            _ => Ok(None),
        }
    }

    pub(super) fn session_function(
        &mut self,
        name: &str,
        args: &[Bound],
    ) -> Result<Option<Bound>, SqlError> {
        let as_name =
            |text: &str| Bound::literal(ScalarValue::Utf8View(Some(text.to_owned())), PgType::Name);
        let bound = match (name, args.len()) {
            ("now" | "transaction_timestamp" | "current_timestamp", 0) => self.now(),
            ("statement_timestamp", 0) => {
                self.reusable = false;
                self.instant(self.context.statement_start_us)
            }
            ("current_date", 0) => self.current(&PgType::Date)?,
            ("localtime", 0) => self.current(&PgType::Time(None))?,
            ("localtimestamp", 0) => self.current(&PgType::Timestamp(None))?,
            ("current_time", 0) => self.current(&PgType::Timetz(None))?,
            ("current_time" | "localtime" | "current_timestamp" | "localtimestamp", 1) => {
                let Some(ScalarValue::Int32(Some(digits))) = args[0].constant() else {
                    return Err(undefined_function(name, args));
                };
                let digits = Some(u8::try_from(*digits).unwrap_or(6).min(6));
                let ty = match name {
                    "current_time" => PgType::Timetz(digits),
                    "localtime" => PgType::Time(digits),
                    "localtimestamp" => PgType::Timestamp(digits),
                    _ => PgType::Timestamptz(digits),
                };
                self.current(&ty)?
            }
            ("current_user" | "user" | "current_role", 0) => {
                self.reusable = false;
                as_name(self.context.role)
            }
            ("session_user", 0) => as_name(self.context.session_role),
            ("current_database" | "current_catalog", 0) => as_name(self.context.database),
            ("current_schema", 0) => {
                self.reusable = false;
                let schema = self.schemas(false).into_iter().next();
                Bound::literal(ScalarValue::Utf8View(schema), PgType::Name)
            }
            ("current_schemas", 1) => {
                self.reusable = false;
                let implicit =
                    self.coerce(args[0].clone(), &PgType::Bool, CastContext::Implicit)?;
                let Some(ScalarValue::Boolean(Some(implicit))) = implicit.constant() else {
                    return Err(SqlError::not_supported(
                        "current_schemas with an argument that is no constant",
                    ));
                };
                let names = self.schemas(*implicit);
                let items = names.iter().map(|n| as_name(n)).collect();
                self.array_of(items, &PgType::Name)?
            }
            ("version", 0) => Bound::text(VERSION),
            ("pg_backend_pid", 0) => {
                self.reusable = false;
                Bound::int4(self.context.process_id)
            }
            ("current_setting", 1 | 2) if args[0].constant_text().is_some() => {
                return self.current_setting(args).map(Some);
            }
            ("txid_current" | "txid_current_if_assigned", 0) => {
                self.reusable = false;
                let number = (self.context.transaction_id)(name == "txid_current");
                Bound::literal(ScalarValue::Int64(number), PgType::Int8)
            }
            ("txid_status", 1) => {
                let number = self.coerce(args[0].clone(), &PgType::Int8, CastContext::Implicit)?;
                let status = transaction_status(self.context.transaction_ids);
                let call = ScalarFunction::new_udf(status, vec![number.expr]);
                Bound::new(Expr::ScalarFunction(call), PgType::Text)
            }
            ("random", 0) => {
                let udf = datafusion::functions::math::random();
                let call = ScalarFunction::new_udf(udf, vec![]);
                Bound::new(Expr::ScalarFunction(call), PgType::Float8)
            }
            ("gen_random_uuid", 0) => Bound::new(random_uuid(), PgType::Uuid),
            ("pg_sleep", 1) => self.sleep(args[0].clone())?,
            ("pg_sleep_for", 1) => {
                let interval = PgType::Interval(None);
                let wait = self.coerce(args[0].clone(), &interval, CastContext::Implicit)?;
                let seconds = self.call_builtin("date_part", vec![Bound::text("epoch"), wait])?;
                self.sleep(seconds)?
            }
            ("pg_sleep_until", 1) => {
                let instant = PgType::Timestamptz(None);
                let until = self.coerce(args[0].clone(), &instant, CastContext::Implicit)?;
                let now = self.call_builtin("clock_timestamp", Vec::new())?;
                let wait = self.arithmetic(until, Operation::Subtract, now)?;
                let seconds = self.call_builtin("date_part", vec![Bound::text("epoch"), wait])?;
                self.sleep(seconds)?
            }
            ("timezone", 2) => {
                return self.at_time_zone(args[0].clone(), args[1].clone()).map(Some);
            }
            ("age", 1) => {
                let today = self.current(&PgType::Date)?;
                let midnight = self.convert(today, &PgType::Timestamp(None), false)?;
                return self.call_builtin("age", vec![midnight, args[0].clone()]).map(Some);
            }
            _ => return Ok(None),
        };
        Ok(Some(bound))
    }

    fn sleep(&mut self, seconds: Bound) -> Result<Bound, SqlError> {
        self.reusable = false;
        let seconds = self.coerce(seconds, &PgType::Float8, CastContext::Implicit)?;
        let call = ScalarFunction::new_udf(sleep::pg_sleep(), vec![seconds.expr]);
        Ok(Bound::new(Expr::ScalarFunction(call), PgType::Void))
    }

    /// The schemas of the search path that exist.
    fn schemas(&self, implicit: bool) -> Vec<String> {
        let tables = self.context.tables;
        let listed = self.context.search_path;
        let left_out = ["pg_catalog", TEMPORARY_SCHEMA]
            .iter()
            .filter(|name| !implicit && !listed.iter().any(|listed| listed == **name))
            .count();
        self.context
            .effective_search_path()
            .skip(left_out)
            .filter_map(|schema| match schema {
                // The first of the path is where things are created: it is made when it is needed.
                TEMPORARY_SCHEMA => tables.temporary_schema().map(str::to_owned).or_else(|| {
                    let first = listed.first().is_some_and(|first| first == TEMPORARY_SCHEMA);
                    first.then(|| format!("{TEMPORARY_SCHEMA}_{}", self.context.process_id))
                }),
                "pg_catalog" => Some(schema.to_owned()),
                _ => tables.schema_exists(schema).then(|| schema.to_owned()),
            })
            .collect()
    }

    fn current_setting(&mut self, args: &[Bound]) -> Result<Bound, SqlError> {
        self.reusable = false;
        let Some(name) = args[0].constant_text().map(str::to_owned) else {
            return Err(undefined_function("current_setting", args));
        };
        let missing_ok = match args.get(1).map(|b| b.constant().cloned()) {
            None => false,
            Some(Some(ScalarValue::Boolean(Some(ok)))) => ok,
            Some(_) => return Err(undefined_function("current_setting", args)),
        };
        match (self.context.setting)(&name.to_lowercase()) {
            Some(value) => Ok(Bound::text(value)),
            None if missing_ok => Bound::null(PgType::Text),
            None => Err(SqlError::new(
                sqlstate::UNDEFINED_OBJECT,
                format!("unrecognized configuration parameter \"{name}\""),
            )),
        }
    }
}

fn transaction_status(ids: &Arc<TransactionIds>) -> Arc<ScalarUDF> {
    let ids = Arc::clone(ids);
    let returns = PgType::Text.arrow_type();
    let compute = scalar::strict(returns.clone(), move |args| {
        let numbers = args[0].as_primitive::<Int64Type>();
        let status = |number: Option<i64>| match number {
            Some(number) => ids.status(number),
            None => Ok(None),
        };
        let found = numbers.iter().map(status).collect::<Result<StringViewArray, _>>()?;
        Ok(Arc::new(found) as ArrayRef)
    });
    scalar::function("txid_status", "", returns, Volatility::Volatile, compute)
}

fn random_uuid() -> Expr {
    let returns = PgType::Uuid.arrow_type();
    let text = datafusion::functions::string::uuid();
    let data_type = returns.clone();
    let compute: scalar::Compute = std::sync::Arc::new(move |args, rows, _| {
        let texts = args[0].to_array(rows).map_err(scalar::internal)?;
        let texts = arrow::compute::cast(&texts, &arrow::datatypes::DataType::Utf8View)
            .map_err(scalar::internal)?;
        let mut out = crate::types::text::ColumnBuilder::new(&PgType::Uuid, rows)?;
        let settings = crate::types::text::FormatSettings::default();
        for value in arrow::array::AsArray::as_string_view(&texts) {
            match value {
                Some(value) => out.append(value, &settings)?,
                None => out.append_null(),
            }
        }
        debug_assert_eq!(out.data_type(), data_type);
        Ok(ColumnarValue::Array(out.finish()))
    });
    let udf = scalar::function("uuid", "random", returns, Volatility::Volatile, compute);
    let call = Expr::ScalarFunction(ScalarFunction::new_udf(text, vec![]));
    Expr::ScalarFunction(ScalarFunction::new_udf(udf, vec![call]))
}
