//! Plans of statements whose literals were lifted out.
//!
//! A template is the plan of the statement with parameters for its literals. It may be used for
//! other literals only if nothing but their types went into it, so it is made with care: it must be
//! the plan that the statement gives as it stands, with the literals' values put in, and parameters
//! may stand only where the planner looks at types alone.

use std::collections::BTreeSet;

use datafusion::{
    common::tree_node::{Transformed, TreeNode},
    datasource::source_as_provider,
    logical_expr::{Cast, Expr, LogicalPlan},
    scalar::ScalarValue,
};

use super::literals::{Literal, Parts};
use crate::{
    query::{
        functions::scalar,
        parser,
        planner::depends_on_now,
        scan::{NOW_INDEX, StoredTable, param_index},
        statement::{Statement, StatementKind},
    },
    session::{
        api::ParamValue,
        context::ExecutionContext,
        prepare::{self, Plan, Prepared},
    },
    types::{
        PgType,
        text::{FormatSettings, parse_text},
    },
};

/// What may become of a query string.
pub(super) enum Candidate {
    /// It has no plan: it is known by its text.
    Plain(Prepared),
    /// See [`make`].
    Planned(Statement),
}

/// `None`: each such statement is parsed and planned by itself. Nothing but the text is looked at: what
/// a statement sees is fixed by its transaction, which SET TRANSACTION must come before.
pub(super) fn candidate(sql: &str, parts: &Parts) -> Option<Candidate> {
    let statement = single(sql)?;
    match &statement.kind {
        StatementKind::Begin(_)
        | StatementKind::Commit { chain: false }
        | StatementKind::Rollback { chain: false }
        | StatementKind::Savepoint(_)
        | StatementKind::Release(_)
        | StatementKind::RollbackTo(_)
            if parts.literals.is_empty() =>
        {
            Some(Candidate::Plain(Prepared::plain(Some(statement), &[], None)))
        }
        StatementKind::Query(_)
        | StatementKind::Insert(_)
        | StatementKind::Update(_)
        | StatementKind::Delete(_) => Some(Candidate::Planned(statement)),
        _ => None,
    }
}

/// The plan of a statement for any literals of the same types; `None` if there is none.
pub(super) fn make(
    context: &ExecutionContext,
    as_written: &Statement,
    parts: &Parts,
) -> Option<Prepared> {
    let with_params = single(&parts.with_params())?;
    let declared: Vec<Option<PgType>> = parts.literals.iter().map(declared).collect();
    let written = prepare::plan(context, as_written, &[]).ok()?;
    let plan = prepare::plan(context, &with_params, &declared).ok()?;
    if !written.is_alike(&plan) || !written.params().is_empty() {
        return None;
    }
    let values = params(&parts.literals, plan.params(), &context.settings.derived().format)?;
    let has_strings = parts.literals.iter().any(|literal| matches!(literal, Literal::String(_)));
    let mut used = BTreeSet::new();
    let same = are_same(written.logical(), plan.logical(), &values, has_strings, &mut used)?;
    let is_point = match &plan {
        Plan::Query(plan) => plan.point(context).is_some(),
        Plan::Dml(_, plan) => plan.point(context).is_some(),
    };
    let all_used = used.len() == values.len();
    (same && is_point && all_used)
        .then(|| Prepared::planned(context, with_params, &declared, plan).into_template())
}

fn single(sql: &str) -> Option<Statement> {
    let mut statements = parser::parse(sql).ok()?;
    statements.pop().filter(|_| statements.is_empty())
}

fn declared(literal: &Literal) -> Option<PgType> {
    match literal {
        Literal::Int4(_) => Some(PgType::Int4),
        Literal::Int8(_) => Some(PgType::Int8),
        Literal::String(_) => None,
    }
}

/// The literals as values of the parameters; `None` if one does not fit, or means something else
/// each time.
pub(super) fn params(
    literals: &[Literal],
    types: &[PgType],
    format: &FormatSettings,
) -> Option<Vec<ParamValue>> {
    if literals.len() != types.len() {
        return None;
    }
    let value = |(literal, pg_type): (&Literal, &PgType)| match (literal, pg_type) {
        (Literal::Int4(value), PgType::Int4) => Some(ScalarValue::Int32(Some(*value))),
        (Literal::Int8(value), PgType::Int8) => Some(ScalarValue::Int64(Some(*value))),
        (Literal::String(text), PgType::Text | PgType::Varchar(None)) => {
            Some(ScalarValue::Utf8View(Some(text.clone())))
        }
        (
            Literal::String(text),
            PgType::Bool
            | PgType::Int2
            | PgType::Int4
            | PgType::Int8
            | PgType::Float8
            | PgType::Date
            | PgType::Time(None)
            | PgType::Timestamp(None)
            | PgType::Timestamptz(None)
            | PgType::Interval(None)
            | PgType::Bytea
            | PgType::Uuid,
        ) if !depends_on_now(text) => parse_text(text, pg_type, format).ok(),
        _ => None,
    };
    literals.iter().zip(types).map(value).collect()
}

/// Whether `plan`, with `values` for its parameters, is `written`; `None` if a parameter stands
/// where more than its type may count. `used`: parameters that were met.
fn are_same(
    written: &LogicalPlan,
    plan: &LogicalPlan,
    values: &[ScalarValue],
    has_strings: bool,
    used: &mut BTreeSet<usize>,
) -> Option<bool> {
    let alike = match (written, plan) {
        (LogicalPlan::TableScan(a), LogicalPlan::TableScan(b)) => {
            // Strings beside char(n) lose their blanks.
            let provider = source_as_provider(&b.source).ok()?;
            let table = provider.downcast_ref::<StoredTable>()?;
            let mut columns = table.schema.columns().iter();
            if has_strings && columns.any(|c| matches!(c.pg_type, PgType::Bpchar(_))) {
                return None;
            }
            a.table_name == b.table_name && a.projection == b.projection && a.fetch == b.fetch
        }
        (LogicalPlan::SubqueryAlias(a), LogicalPlan::SubqueryAlias(b)) => a.alias == b.alias,
        (LogicalPlan::EmptyRelation(a), LogicalPlan::EmptyRelation(b)) => {
            a.produce_one_row == b.produce_one_row
        }
        (LogicalPlan::Sort(a), LogicalPlan::Sort(b)) => a.fetch == b.fetch,
        (LogicalPlan::Projection(_), LogicalPlan::Projection(_))
        | (LogicalPlan::Filter(_), LogicalPlan::Filter(_))
        | (LogicalPlan::Limit(_), LogicalPlan::Limit(_)) => true,
        _ => return None,
    };
    let (a, b) = (written.expressions(), plan.expressions());
    if !alike || a.len() != b.len() || written.inputs().len() != plan.inputs().len() {
        return Some(false);
    }
    for (written, expr) in a.iter().zip(b) {
        if !is_plain(&expr, used) || *written != put_in(expr, values)? {
            return Some(false);
        }
    }
    for (written, plan) in written.inputs().into_iter().zip(plan.inputs()) {
        if !are_same(written, plan, values, has_strings, used)? {
            return Some(false);
        }
    }
    Some(true)
}

/// Whether parameters stand only where the planner looks at their types: alone, compared, in
/// arithmetic, cast.
fn is_plain(expr: &Expr, used: &mut BTreeSet<usize>) -> bool {
    match expr {
        Expr::Placeholder(placeholder) => match param_index(placeholder) {
            Some(NOW_INDEX) => true,
            Some(index) => {
                used.insert(index);
                true
            }
            None => false,
        },
        Expr::Alias(alias) => is_plain(&alias.expr, used),
        Expr::BinaryExpr(binary) => is_plain(&binary.left, used) && is_plain(&binary.right, used),
        Expr::Cast(Cast { expr, .. }) => is_plain(expr, used),
        Expr::InList(list) => {
            is_plain(&list.expr, used) && list.list.iter().all(|item| is_plain(item, used))
        }
        Expr::ScalarFunction(call) if matches!(call.func.name(), "+" | "-" | "*" | "/" | "%") => {
            call.args.iter().all(|argument| is_plain(argument, used))
        }
        other => {
            let is_param = |e: &Expr| Ok(matches!(e, Expr::Placeholder(_)));
            !other.exists(is_param).unwrap_or(true)
        }
    }
}

/// `expr` with the parameters' values; what the planner computes of literals at once is computed:
/// casts to wider integers and functions.
fn put_in(expr: Expr, values: &[ScalarValue]) -> Option<Expr> {
    let put = |expr: Expr| {
        Ok(match &expr {
            Expr::Placeholder(placeholder) => {
                match param_index(placeholder).and_then(|index| values.get(index)) {
                    Some(value) => Transformed::yes(Expr::Literal(value.clone(), None)),
                    None => Transformed::no(expr),
                }
            }
            Expr::Cast(Cast { expr: inner, field }) => match inner.as_ref() {
                Expr::Literal(value, _) if value.data_type().is_signed_integer() => {
                    Transformed::yes(Expr::Literal(value.cast_to(field.data_type())?, None))
                }
                _ => Transformed::no(expr),
            },
            Expr::ScalarFunction(call)
                if call.args.iter().all(|argument| matches!(argument, Expr::Literal(..))) =>
            {
                Transformed::yes(scalar::call(&call.func, call.args.clone()))
            }
            _ => Transformed::no(expr),
        })
    };
    expr.transform_up(put).ok().map(|transformed| transformed.data)
}
