//! Functions and operators over `jsonpath`.

mod execute;
mod moment;
mod numbers;
mod place;
mod template;

use std::sync::Arc;

use arrow::{
    array::{Array, ArrayRef, AsArray, BinaryBuilder, BooleanBuilder, ListBuilder},
    datatypes::DataType,
};
use bytes::Bytes;
use datafusion::logical_expr::{ScalarUDF, Volatility};

use self::execute::{Execution, Failure};
use super::{
    given_up,
    regular_expression::{self, Expression, Options, Syntax},
    scalar::{function, internal, strict_charged},
};
use crate::{
    error::{SqlError, sqlstate},
    types::{
        PgType, TimeZone, jsonb,
        jsonb::{Jsonb, View},
        jsonpath::{self, JsonPath, Path, RegexFlags, Step},
    },
};

/// What is asked.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Question {
    Exists,
    Match,
    /// All results, as a list.
    Query,
    /// All results, as a JSON array.
    QueryArray,
    QueryFirst,
}

impl Question {
    /// Of a function's name without `jsonb_path_` and `_tz`.
    #[must_use]
    pub fn of_name(name: &str) -> Option<Self> {
        Some(match name {
            "exists" => Self::Exists,
            "match" => Self::Match,
            "query" => Self::Query,
            "query_array" => Self::QueryArray,
            "query_first" => Self::QueryFirst,
            _ => return None,
        })
    }

    #[must_use]
    pub fn returns(self) -> PgType {
        match self {
            Self::Exists | Self::Match => PgType::Bool,
            Self::Query => PgType::Array(Arc::new(PgType::Jsonb)),
            Self::QueryArray | Self::QueryFirst => PgType::Jsonb,
        }
    }
}

/// The regular expression of `like_regex`.
///
/// # Errors
/// 2201B.
pub fn compile_regex(text: &str, flags: RegexFlags) -> Result<Arc<Expression>, SqlError> {
    let syntax = if flags.quote { Syntax::Literal } else { Syntax::Advanced };
    let options = Options {
        syntax,
        ignore_case: flags.ignore_case,
        within_lines: !flags.quote && !flags.dot_all,
        line_anchors: !flags.quote && flags.multi_line,
        ..Options::default()
    };
    regular_expression::compiled(text, options)
}

/// Refuses patterns of `like_regex` that are none.
///
/// # Errors
/// Those of [`compile_regex`].
pub fn check_patterns(path: &[Step]) -> Result<(), SqlError> {
    let each = |paths: &[&Path]| paths.iter().try_for_each(|path| check_patterns(path));
    crate::types::json::on_stack(|| {
        path.iter().try_for_each(|step| match step {
            Step::LikeRegex { value, pattern, flags } => {
                compile_regex(pattern, *flags)?;
                check_patterns(value)
            }
            Step::Filter(path)
            | Step::Plus(path)
            | Step::Minus(path)
            | Step::Not(path)
            | Step::IsUnknown(path)
            | Step::Exists(path) => check_patterns(path),
            Step::Binary(_, left, right) => each(&[left, right]),
            Step::Elements(elements) => elements.iter().try_for_each(|(from, to)| {
                check_patterns(from)?;
                to.as_ref().map_or(Ok(()), |to| check_patterns(to))
            }),
            _ => Ok(()),
        })
    })
}

enum Writer {
    Bool(BooleanBuilder),
    Json(BinaryBuilder),
    Lists(Box<ListBuilder<BinaryBuilder>>),
}

impl Writer {
    fn push_null(&mut self) {
        match self {
            Self::Bool(out) => out.append_null(),
            Self::Json(out) => out.append_null(),
            Self::Lists(out) => out.append_null(),
        }
    }

    fn push_bool(&mut self, value: Option<bool>) {
        if let Self::Bool(out) = self {
            out.append_option(value);
        }
    }

    fn finish(self) -> ArrayRef {
        match self {
            Self::Bool(mut out) => Arc::new(out.finish()),
            Self::Json(mut out) => Arc::new(out.finish()),
            Self::Lists(mut out) => Arc::new(out.finish()),
        }
    }
}

/// `jsonb_path_exists(target, path, vars, silent)` and its kin. With only two arguments there are no
/// variables, and errors are passed over, as operators do. `time_zone`: for the `_tz` forms.
#[must_use]
pub fn ask(question: Question, time_zone: Option<TimeZone>, operator: bool) -> Arc<ScalarUDF> {
    let returns = question.returns().arrow_type();
    let data_type = returns.clone();
    let compute = strict_charged(returns.clone(), move |args, memory| {
        let mut charge = memory.charge();
        let documents = args[0].as_binary::<i32>();
        let paths = args[1].as_string_view();
        let mut out = match (question, &data_type) {
            (Question::Exists | Question::Match, _) => Writer::Bool(BooleanBuilder::new()),
            (Question::Query, DataType::List(field)) => Writer::Lists(Box::new(
                ListBuilder::new(BinaryBuilder::new()).with_field(field.clone()),
            )),
            _ => Writer::Json(BinaryBuilder::new()),
        };
        // Paths are nearly always constants.
        let mut read: Option<(String, JsonPath)> = None;
        for row in 0..documents.len() {
            if args.iter().any(|arg| arg.is_null(row)) {
                out.push_null();
                continue;
            }
            given_up::check()?;
            let text = paths.value(row);
            if read.as_ref().is_none_or(|(before, _)| before != text) {
                read = Some((text.to_owned(), jsonpath::parse(text)?));
            }
            let Some((_, path)) = &read else { return Err(internal("a path that was not read")) };
            let vars = match operator {
                true => None,
                false => Some(Bytes::copy_from_slice(args[2].as_binary::<i32>().value(row))),
            };
            let silent = operator || args[3].as_boolean().value(row);
            let document = Bytes::copy_from_slice(documents.value(row));
            let mut execution = Execution::new(path, document, vars.as_ref(), time_zone)?;
            let bytes = answer(question, &mut execution, silent, &mut out)?;
            charge.add(bytes)?;
        }
        charge.attach(out.finish())
    });
    let name = format!("jsonb_path_{question:?}").to_lowercase();
    let variant = format!("{time_zone:?} {operator}");
    function(&name, variant, returns, Volatility::Immutable, compute)
}

/// The error, unless it is one that `silent` passes over.
fn failed(failure: Failure, silent: bool) -> Result<(), SqlError> {
    match failure {
        Failure::Soft(_) if silent => Ok(()),
        Failure::Soft(error) | Failure::Hard(error) => Err(error),
    }
}

/// Writes the answer for one document; the bytes it takes.
fn answer(
    question: Question,
    execution: &mut Execution<'_>,
    silent: bool,
    out: &mut Writer,
) -> Result<usize, SqlError> {
    if question == Question::Exists {
        match execution.exists() {
            Ok(found) => out.push_bool(Some(found)),
            Err(failure) => {
                failed(failure, silent)?;
                out.push_null();
            }
        }
        return Ok(1);
    }
    let mut found = Vec::new();
    // What was found before an error that is passed over counts.
    if let Err(failure) = execution.query(&mut found) {
        failed(failure, silent)?;
    }
    let found: Vec<Vec<u8>> = found.into_iter().map(execute::Item::into_jsonb).collect();
    let bytes = found.iter().map(|value| value.len() + 4).sum();
    match (question, out) {
        (Question::Match, out) => {
            let value = match found.as_slice() {
                [only] => Some(Jsonb::new(only).view()),
                _ => None,
            };
            if let Some(View::Bool(value)) = value {
                out.push_bool(Some(value));
                return Ok(1);
            }
            let silent = silent || matches!(value, Some(View::Null));
            if !silent {
                let message = "single boolean result is expected";
                return Err(SqlError::new(sqlstate::SINGLETON_SQL_JSON_ITEM_REQUIRED, message));
            }
            out.push_null();
        }
        (Question::Query, Writer::Lists(lists)) => {
            found.iter().for_each(|value| lists.values().append_value(value));
            lists.append(true);
        }
        (Question::QueryArray, Writer::Json(out)) => out.append_value(jsonb::array(&found)?),
        (Question::QueryFirst, Writer::Json(out)) => out.append_option(found.first()),
        (question, _) => return Err(internal(format!("the result of {question:?}"))),
    }
    Ok(bytes)
}
