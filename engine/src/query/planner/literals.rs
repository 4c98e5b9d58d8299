//! Constants in SQL.

use std::sync::Arc;

use datafusion::{
    common::ScalarValue,
    logical_expr::{Expr, expr::Placeholder},
    sql::sqlparser::ast::{self, Value},
};

use super::{
    Planner,
    bound::{Bound, base},
    coerce::CastContext,
    expressions::strip,
};
use crate::{
    error::{SqlError, sqlstate},
    query::functions::decimal::Decimal,
    types::{
        NumericShape, PgType,
        text::{FormatSettings, IntervalFields, array_elements, canonical_numeric, parse_interval},
    },
};

/// Parameters are numbered up to here, as in the protocol.
const PARAM_MAX: usize = 65_535;

/// A numeric literal as a decimal of its own precision and scale, if 38 digits hold it.
pub(super) fn decimal_literal(text: &str) -> Option<Bound> {
    let value = Decimal::parse(text)?;
    let scale = value.scale();
    let digits = value.to_string().bytes().filter(u8::is_ascii_digit).count();
    if scale > 38 || digits > 38 {
        return None;
    }
    let precision = digits.max(scale as usize).max(1) as u8;
    let digits = value.to_i256(38, scale)?.to_i128()?;
    let shape = NumericShape { precision: u16::from(precision), scale: scale as i16 };
    Some(Bound::literal(
        ScalarValue::Decimal128(Some(digits), precision, scale as i8),
        PgType::Numeric(Some(shape)),
    ))
}

/// An exact number constant with no more digits than it needs.
pub(super) fn narrow_constant(bound: Bound) -> Bound {
    let narrowed = match bound.constant() {
        Some(ScalarValue::Int16(Some(v))) => decimal_literal(&v.to_string()),
        Some(ScalarValue::Int32(Some(v))) => decimal_literal(&v.to_string()),
        Some(ScalarValue::Int64(Some(v))) => decimal_literal(&v.to_string()),
        Some(ScalarValue::Utf8View(Some(text))) if bound.ty == PgType::Numeric(None) => {
            decimal_literal(text)
        }
        _ => None,
    };
    narrowed.unwrap_or(bound)
}

impl Planner<'_> {
    pub(super) fn literal(&mut self, value: &Value) -> Result<Bound, SqlError> {
        let unknown = |text: &str| {
            Bound::literal(ScalarValue::Utf8View(Some(text.to_owned())), PgType::Unknown)
        };
        Ok(match value {
            Value::Number(text, _) => number(&text.replace('_', ""))?,
            Value::SingleQuotedString(text)
            | Value::EscapedStringLiteral(text)
            | Value::UnicodeStringLiteral(text)
            | Value::NationalStringLiteral(text) => {
                if text.contains('\0') {
                    return Err(SqlError::new(
                        sqlstate::CHARACTER_NOT_IN_REPERTOIRE,
                        "invalid byte sequence for encoding \"UTF8\": 0x00",
                    ));
                }
                unknown(text)
            }
            Value::DollarQuotedString(text) => unknown(&text.value),
            Value::Boolean(value) => {
                Bound::literal(ScalarValue::Boolean(Some(*value)), PgType::Bool)
            }
            Value::Null => Bound::literal(ScalarValue::Utf8View(None), PgType::Unknown),
            Value::Placeholder(name) => self.placeholder(name)?,
            Value::HexStringLiteral(_) | Value::SingleQuotedByteStringLiteral(_) => {
                return Err(SqlError::not_supported("type bit"));
            }
            other => {
                let message = format!("syntax error at or near \"{other}\"");
                return Err(SqlError::new(sqlstate::SYNTAX_ERROR, message));
            }
        })
    }

    fn placeholder(&mut self, name: &str) -> Result<Bound, SqlError> {
        let number = name.strip_prefix('$').and_then(|n| n.parse::<usize>().ok());
        let Some(number) = number.filter(|n| (1..=PARAM_MAX).contains(n)) else {
            let message = format!("there is no parameter {name}");
            return Err(SqlError::new(sqlstate::UNDEFINED_PARAMETER, message));
        };
        if !self.params_allowed {
            let message = format!("there is no parameter {name}");
            return Err(SqlError::new(sqlstate::UNDEFINED_PARAMETER, message));
        }
        if self.params.len() < number {
            self.params.resize(number, None);
        }
        let ty = self.params[number - 1].clone();
        Ok(param(&format!("${number}"), ty.unwrap_or(PgType::Unknown)))
    }

    /// Decides the type of an untyped parameter.
    pub(super) fn resolve_param(&mut self, id: &str, ty: &PgType) -> Result<Bound, SqlError> {
        let number = id[1..].parse::<usize>().unwrap_or(1);
        let slot = &mut self.params[number - 1];
        let ty = match (slot.as_ref(), ty) {
            (Some(decided), _) => decided.clone(),
            (None, PgType::Unknown) => PgType::Text,
            (None, ty) => base(ty),
        };
        *slot = Some(ty.clone());
        Ok(param(id, ty))
    }

    /// `DATE '1998-12-01'` and other typed strings.
    pub(super) fn typed_string(&mut self, typed: &ast::TypedString) -> Result<Bound, SqlError> {
        let ty = self.type_of(&typed.data_type)?;
        let literal = self.literal(&typed.value.value)?;
        let at = ast::Expr::Value(typed.value.clone());
        self.coerce(literal, &ty, CastContext::Explicit).map_err(|e| self.locate(e, &at))
    }

    /// `INTERVAL '90' DAY`, `INTERVAL '1-2' YEAR TO MONTH`, `INTERVAL '1.234' SECOND(2)`.
    pub(super) fn interval(&mut self, interval: &ast::Interval) -> Result<Bound, SqlError> {
        let at = interval.value.as_ref();
        let unexpected = |text: &dyn std::fmt::Display| {
            let message = format!("syntax error at or near \"{text}\"");
            SqlError::new(sqlstate::SYNTAX_ERROR, message)
        };
        let ast::Expr::Value(value) = at else { return Err(unexpected(&at)) };
        let literal = self.literal(&value.value)?;
        let Some(text) = literal.constant_text() else { return Err(unexpected(value)) };
        let fields = interval_fields(interval).map_err(|text| unexpected(&text))?;
        let style = self.context.format.interval_style;
        let parsed = parse_interval(text, style, fields).map_err(|e| self.locate(e, at))?;
        let ty = PgType::Interval(fields);
        let value = ScalarValue::IntervalMonthDayNano(Some(parsed));
        Ok(Bound::literal(value, ty))
    }

    /// The settings with what `now` means; what is read with them is no plan to keep.
    pub(super) fn format_with_now(&mut self) -> FormatSettings {
        self.reusable = false;
        FormatSettings {
            now_us: Some(self.context.transaction_start_us),
            ..self.context.format.clone()
        }
    }

    /// `now()`.
    pub(super) fn now(&mut self) -> Bound {
        if self.context.now_stays_open {
            return param(super::NOW, PgType::Timestamptz(None));
        }
        self.now_as_constant()
    }

    fn now_as_constant(&mut self) -> Bound {
        self.reusable = false;
        self.instant(self.context.transaction_start_us)
    }

    pub(super) fn instant(&self, us: i64) -> Bound {
        Bound::literal(
            ScalarValue::TimestampMicrosecond(Some(us), Some("UTC".into())),
            PgType::Timestamptz(None),
        )
    }

    /// `'{1,2}'` as an array: one dimension.
    pub(super) fn array_literal(
        &mut self,
        text: &str,
        of: &PgType,
        explicit: bool,
    ) -> Result<ScalarValue, SqlError> {
        let mut values = Vec::new();
        for element in array_elements(text)? {
            values.push(match element {
                Some(text) => self.constant_of(&text, of, explicit)?,
                None => super::bound::null_of(of)?,
            });
        }
        let list = ScalarValue::new_list(&values, &of.arrow_type(), true);
        Ok(ScalarValue::List(list))
    }

    /// The local date and time of the transaction, for `current_date` and kin.
    pub(super) fn current(&mut self, ty: &PgType) -> Result<Bound, SqlError> {
        let now = self.now();
        self.convert(now, ty, true)
    }
}

fn param(id: &str, ty: PgType) -> Bound {
    let field = (ty != PgType::Unknown).then(|| Arc::new(ty.plan_field(id, true)));
    Bound::new(Expr::Placeholder(Placeholder { id: id.to_owned(), field }), ty)
}

/// A number: int4, int8 or numeric, by its size.
/// A number with a minus before it, if that makes another type of it: -2147483648 is an integer.
pub(super) fn negative(expr: &ast::Expr) -> Option<Result<Bound, SqlError>> {
    // Two of them take each other away.
    let (value, sign) = match strip(expr) {
        ast::Expr::UnaryOp { op: ast::UnaryOperator::Minus, expr } => (strip(expr), ""),
        value => (value, "-"),
    };
    let ast::Expr::Value(value) = value else { return None };
    let Value::Number(text, _) = &value.value else { return None };
    let digits = text.replace('_', "");
    let least = [1_u64 << 31, 1 << 63].map(|least| digits.parse() == Ok(least));
    least.contains(&true).then(|| number(&format!("{sign}{digits}")))
}

fn number(text: &str) -> Result<Bound, SqlError> {
    if text.strip_prefix('-').unwrap_or(text).bytes().all(|b| b.is_ascii_digit()) {
        if let Ok(value) = text.parse::<i32>() {
            return Ok(Bound::int4(value));
        }
        if let Ok(value) = text.parse::<i64>() {
            return Ok(Bound::literal(ScalarValue::Int64(Some(value)), PgType::Int8));
        }
    }
    if let Some(literal) = decimal_literal(text) {
        return Ok(literal);
    }
    match canonical_numeric(text) {
        Ok(digits) => {
            Ok(Bound::literal(ScalarValue::Utf8View(Some(digits)), PgType::Numeric(None)))
        }
        Err(error) if error.sqlstate == sqlstate::NUMERIC_VALUE_OUT_OF_RANGE => Err(error),
        Err(_) => Err(SqlError::new(
            sqlstate::SYNTAX_ERROR,
            format!("trailing junk after numeric literal at or near \"{text}\""),
        )),
    }
}

/// The fields behind an interval's text; None for all. The error is the text that is not understood.
fn interval_fields(interval: &ast::Interval) -> Result<Option<IntervalFields>, String> {
    let lower = |field: &ast::DateTimeField| field.to_string().to_lowercase();
    let precision = interval.fractional_seconds_precision.or(interval.leading_precision);
    let precision = precision.map(|digits| digits.min(6) as u8);
    let Some(first) = interval.leading_field.as_ref().map(lower) else {
        return Ok(precision.map(IntervalFields::all));
    };
    let last = interval.last_field.as_ref().map_or_else(|| first.clone(), lower);
    IntervalFields::new(&first, &last, precision).map(Some).ok_or(last)
}
