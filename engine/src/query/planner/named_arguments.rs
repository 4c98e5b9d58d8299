//! Calls that name their arguments: `f(a, path => b)`.

use datafusion::{scalar::ScalarValue, sql::sqlparser::ast};

use super::{Planner, bound::Bound, scope::Env};
use crate::{
    error::{SqlError, sqlstate},
    types::PgType,
};

/// Names and defaults of a function's parameters, where calls name them.
fn parameters(function: &str) -> Option<&'static [(&'static str, Option<&'static str>)]> {
    Some(match function {
        "jsonb_path_exists"
        | "jsonb_path_exists_tz"
        | "jsonb_path_match"
        | "jsonb_path_match_tz"
        | "jsonb_path_query"
        | "jsonb_path_query_tz"
        | "jsonb_path_query_array"
        | "jsonb_path_query_array_tz"
        | "jsonb_path_query_first"
        | "jsonb_path_query_first_tz" => {
            &[("target", None), ("path", None), ("vars", Some("{}")), ("silent", Some("false"))]
        }
        "jsonb_set" => &[
            ("jsonb_in", None),
            ("path", None),
            ("replacement", None),
            ("create_if_missing", Some("true")),
        ],
        "jsonb_set_lax" => &[
            ("jsonb_in", None),
            ("path", None),
            ("replacement", None),
            ("create_if_missing", Some("true")),
            ("null_value_treatment", Some("use_json_null")),
        ],
        "jsonb_insert" => &[
            ("jsonb_in", None),
            ("path", None),
            ("replacement", None),
            ("insert_after", Some("false")),
        ],
        _ => return None,
    })
}

/// Whether calls of a function may name its arguments.
pub(super) fn has_names(function: &str) -> bool {
    function == "make_interval" || parameters(function).is_some()
}

impl Planner<'_> {
    /// Puts arguments that are named in their places. What is left out between them has its default.
    pub(super) fn named_arguments(
        &mut self,
        function: &str,
        bounds: &mut Vec<Bound>,
        named: &[(String, &ast::Expr)],
        env: &Env<'_>,
    ) -> Result<(), SqlError> {
        let Some(names) = parameters(function).filter(|_| !named.is_empty()) else {
            return Ok(());
        };
        let positional = bounds.len();
        let mut given: Vec<Option<Bound>> = bounds.drain(..).map(Some).collect();
        given.resize_with(positional.max(names.len()), || None);
        for (name, expr) in named {
            let place = names.iter().position(|(n, _)| n == name).filter(|n| *n >= positional);
            let Some(place) = place else {
                let message = format!("function {function}({name} => …) does not exist");
                return Err(SqlError::new(sqlstate::UNDEFINED_FUNCTION, message));
            };
            given[place] = Some(self.expr(expr, env)?);
        }
        let last = given.iter().rposition(Option::is_some).map_or(0, |last| last + 1);
        for (argument, (name, default)) in given.into_iter().take(last).zip(names) {
            bounds.push(match (argument, default) {
                (Some(argument), _) => argument,
                (None, Some(default)) => self.text_literal(default),
                (None, None) => {
                    let message = format!("function {function} needs the argument {name}");
                    return Err(SqlError::new(sqlstate::UNDEFINED_FUNCTION, message));
                }
            });
        }
        Ok(())
    }

    /// An untyped literal.
    fn text_literal(&self, text: &str) -> Bound {
        Bound::literal(ScalarValue::Utf8View(Some(text.to_owned())), PgType::Unknown)
    }

    /// `make_interval`, all of whose arguments may be left out.
    pub(super) fn make_interval(
        &mut self,
        mut bounds: Vec<Bound>,
        named: &[(String, &ast::Expr)],
        env: &Env<'_>,
    ) -> Result<Bound, SqlError> {
        const NAMES: [&str; 7] = ["years", "months", "weeks", "days", "hours", "mins", "secs"];
        let given = bounds.len();
        bounds.resize_with(given.max(NAMES.len()), || Bound::int4(0));
        for (name, expr) in named {
            let place = NAMES.iter().position(|n| n == name).filter(|place| *place >= given);
            let Some(place) = place else {
                let message = format!("function make_interval({name} => …) does not exist");
                return Err(SqlError::new(sqlstate::UNDEFINED_FUNCTION, message));
            };
            bounds[place] = self.expr(expr, env)?;
        }
        self.call_builtin("make_interval", bounds)
    }
}
