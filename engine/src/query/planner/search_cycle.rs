//! SEARCH and CYCLE of WITH RECURSIVE.
//!
//! Both follow how a row was reached, in columns behind those of the query, which both of its terms get:
//!
//! | column | first term | each step |
//! |---|---|---|
//! | SEARCH DEPTH FIRST | `ARRAY[ROW(columns)]` | `sequence \|\| ROW(columns)` |
//! | SEARCH BREADTH FIRST | `ROW(0, columns)` | `ROW(depth + 1, columns)` |
//! | CYCLE: the mark | its default | its value if the row is on the path already |
//! | CYCLE: the path | `ARRAY[ROW(columns)]` | `path \|\| ROW(columns)` |
//!
//! Rows whose mark has its value get no further step. The step sees these columns by name, but `*` does
//! not show them there.

use std::sync::Arc;

use arrow::datatypes::DataType;
use datafusion::{
    common::Column,
    logical_expr::{Expr, LogicalPlan, ScalarUDF, Volatility},
    sql::sqlparser::ast::{self, SetExpr, TableFactor},
};

use super::{
    Planner,
    arrays::equality_needed,
    bound::Bound,
    query::{OutputColumn, QueryPlan},
    scope::{Env, Scope},
    with_items::WithItem,
};
use crate::{
    error::{SqlError, sqlstate},
    query::{
        functions::scalar,
        parser::{Cycle, WithClauses, columns_and_clauses, fold_identifier, parse_expression},
        quoting::quote_identifier,
    },
    types::PgType,
};

/// What follows a query of WITH, and where that stands.
pub(super) struct Followed {
    clauses: WithClauses,
    at: ast::Ident,
}

impl Followed {
    /// Names of the columns that are added.
    fn names(&self) -> impl Iterator<Item = &String> {
        let search = self.clauses.search.iter().map(|search| &search.sequence);
        search.chain(self.clauses.cycle.iter().flat_map(|cycle| [&cycle.mark, &cycle.path]))
    }

    /// The expressions of these columns in the first term.
    fn begin(&self) -> Vec<String> {
        let mut exprs = Vec::new();
        if let Some(search) = &self.clauses.search {
            let columns = listed(&search.columns);
            exprs.push(match search.breadth_first {
                true => format!("ROW(0::bigint, {columns})"),
                false => format!("ARRAY[ROW({columns})]"),
            });
        }
        if let Some(cycle) = &self.clauses.cycle {
            let (value, default) = mark_values(cycle);
            exprs.push(format!("CASE WHEN false THEN {value} ELSE {default} END"));
            exprs.push(format!("ARRAY[ROW({})]", listed(&cycle.columns)));
        }
        exprs
    }

    /// The same in a step, over the columns of the step and those added of the row it came from.
    fn step(&self) -> Vec<String> {
        let mut exprs = Vec::new();
        if let Some(search) = &self.clauses.search {
            let (columns, sequence) = (listed(&search.columns), quote_identifier(&search.sequence));
            exprs.push(match search.breadth_first {
                true => format!("ROW((({sequence}).f1) + 1, {columns})"),
                false => format!("{sequence} || ARRAY[ROW({columns})]"),
            });
        }
        if let Some(cycle) = &self.clauses.cycle {
            let (value, default) = mark_values(cycle);
            let (columns, path) = (listed(&cycle.columns), quote_identifier(&cycle.path));
            exprs.push(format!(
                "CASE WHEN ROW({columns}) = ANY ({path}) THEN {value} ELSE {default} END"
            ));
            exprs.push(format!("{path} || ARRAY[ROW({columns})]"));
        }
        exprs
    }
}

fn listed(columns: &[String]) -> String {
    let quoted: Vec<_> = columns.iter().map(|name| quote_identifier(name)).collect();
    quoted.join(", ")
}

fn mark_values(cycle: &Cycle) -> (&str, &str) {
    cycle.values.as_ref().map_or(("true", "false"), |(value, default)| (value, default))
}

impl Planner<'_> {
    /// The clauses that follow an item of WITH.
    pub(super) fn clauses_of(&self, item: WithItem<'_>) -> Result<Option<Followed>, SqlError> {
        let (_, Some(at)) = columns_and_clauses(&item.cte.alias) else { return Ok(None) };
        let Some(clauses) = WithClauses::read(&at.value) else {
            let error = SqlError::new(sqlstate::SYNTAX_ERROR, "syntax error in SEARCH or CYCLE");
            return Err(self.at(error, at));
        };
        if !item.recursive {
            let error = SqlError::new(sqlstate::SYNTAX_ERROR, "WITH query is not recursive");
            return Err(self.at(error, &item.cte.alias.name));
        }
        Ok(Some(Followed { clauses, at: at.clone() }))
    }

    /// Refuses clauses that do not fit the query: its columns are `own`.
    pub(super) fn check_followed(
        &self,
        followed: &Followed,
        own: &[OutputColumn],
        left: &SetExpr,
        right: &SetExpr,
    ) -> Result<(), SqlError> {
        for (side, term) in [("left", left), ("right", right)] {
            if matches!(term_of(term), SetExpr::SetOperation { .. }) {
                let message = format!(
                    "with a SEARCH or CYCLE clause, the {side} side of the UNION must be a SELECT"
                );
                return Err(SqlError::new(sqlstate::SYNTAX_ERROR, message));
            }
        }
        let wrong =
            |sqlstate, message| Err(self.at(SqlError::new(sqlstate, message), &followed.at));
        let has = |name: &String| own.iter().any(|column| column.name == *name);
        let fit = |what: &str, columns: &[String]| {
            for (index, name) in columns.iter().enumerate() {
                if !has(name) {
                    let message = format!("{what} column \"{name}\" not in WITH query column list");
                    return wrong(sqlstate::SYNTAX_ERROR, message);
                }
                if columns[..index].contains(name) {
                    let message = format!("{what} column \"{name}\" specified more than once");
                    return wrong(sqlstate::DUPLICATE_COLUMN, message);
                }
            }
            Ok(())
        };
        let is_free = |what: &str, name: &String| match has(name) {
            false => Ok(()),
            true => {
                let message =
                    format!("{what} name \"{name}\" already used in WITH query column list");
                wrong(sqlstate::SYNTAX_ERROR, message)
            }
        };
        let differ = |a: (&str, &String), b: (&str, &String)| match a.1 == b.1 {
            false => Ok(()),
            true => {
                let message = format!("{} name and {} name are the same", a.0, b.0);
                wrong(sqlstate::SYNTAX_ERROR, message)
            }
        };
        let WithClauses { search, cycle } = &followed.clauses;
        const SEQUENCE: &str = "search sequence column";
        const MARK: &str = "cycle mark column";
        const PATH: &str = "cycle path column";
        if let Some(search) = search {
            fit("search", &search.columns)?;
            is_free(SEQUENCE, &search.sequence)?;
        }
        let Some(cycle) = cycle else { return Ok(()) };
        fit("cycle", &cycle.columns)?;
        is_free(MARK, &cycle.mark)?;
        is_free(PATH, &cycle.path)?;
        differ((MARK, &cycle.mark), (PATH, &cycle.path))?;
        if let Some(search) = search {
            differ((SEQUENCE, &search.sequence), (MARK, &cycle.mark))?;
            differ((SEQUENCE, &search.sequence), (PATH, &cycle.path))?;
        }
        Ok(())
    }

    /// Refuses values of a cycle's mark that are of no one type, or of one without equality.
    fn check_mark(&mut self, followed: &Followed) -> Result<(), SqlError> {
        let Some(cycle) = &followed.clauses.cycle else { return Ok(()) };
        let (value, default) = mark_values(cycle);
        let scope = Scope::default();
        let env = Env::new(&scope, None, "CYCLE");
        let mut types = Vec::with_capacity(2);
        for text in [value, default] {
            types.push(self.expr(&parse_expression(text)?, &env)?.ty);
        }
        let ty = self.common_type(&types, "CYCLE").map_err(|e| self.at(e, &followed.at))?;
        equality_needed(&ty)
    }

    /// The rows of the first term with what is added to them.
    pub(super) fn begin_following(
        &mut self,
        start: LogicalPlan,
        own: &[OutputColumn],
        followed: &Followed,
    ) -> Result<QueryPlan, SqlError> {
        self.check_mark(followed)?;
        let (plan, columns) =
            self.with_followed(start, own, own.len(), followed, &followed.begin())?;
        // A step may be planned with a mark that may be NULL, where the first term has a constant that
        // is not; DataFusion takes the first term's word for both.
        let items = columns.into_iter().map(|column| {
            let shown = Expr::Column(Column::from_name(&column.internal));
            let expr = match column.ty {
                PgType::Bool => scalar::call(&nullable_flag(), vec![shown]),
                _ => shown,
            };
            (column.name, Bound::new(expr, column.ty), column.origin, column.keeps_modifier)
        });
        let items = items.collect();
        self.project_output(plan, items)
    }

    /// The step of a recursion, with what was added to the row that each row came from: behind the
    /// columns of the step, and without rows whose cycle is closed.
    pub(super) fn followed_step(
        &mut self,
        name: &str,
        step: &SetExpr,
        followed: &Followed,
        outer: Option<&Env<'_>>,
    ) -> Result<QueryPlan, SqlError> {
        let mut step = step.clone();
        let from = select_of(name, &mut step).and_then(|select| {
            let mut factors = select.from.iter().flat_map(|item| {
                std::iter::once(&item.relation).chain(item.joins.iter().map(|j| &j.relation))
            });
            let from = factors.find_map(|factor| reference_to(name, factor))?;
            Some((select, from))
        });
        let Some((select, from)) = from else {
            let message = format!(
                "with a SEARCH or CYCLE clause, the recursive reference to WITH query \"{name}\" \
                 must be at the top level of its right-hand SELECT"
            );
            return Err(SqlError::new(sqlstate::FEATURE_NOT_SUPPORTED, message));
        };
        let of = |name: &String| {
            ast::Expr::CompoundIdentifier(vec![from.clone(), ast::Ident::with_quote('"', name)])
        };
        for name in followed.names() {
            select.projection.push(ast::SelectItem::ExprWithAlias {
                expr: of(name),
                alias: ast::Ident::with_quote('"', name),
            });
        }
        if let Some(cycle) = &followed.clauses.cycle {
            let goes_on = ast::Expr::BinaryOp {
                left: Box::new(of(&cycle.mark)),
                op: ast::BinaryOperator::NotEq,
                right: Box::new(parse_expression(mark_values(cycle).0)?),
            };
            select.selection = Some(match select.selection.take() {
                None => goes_on,
                Some(condition) => ast::Expr::BinaryOp {
                    left: Box::new(ast::Expr::Nested(Box::new(condition))),
                    op: ast::BinaryOperator::And,
                    right: Box::new(goes_on),
                },
            });
        }
        self.set_expr(&step, outer)
    }

    /// The step with what is added to its own rows. `columns`: of the query, the first of which are
    /// called as `own` are.
    pub(super) fn follow(
        &mut self,
        step: QueryPlan,
        columns: &[OutputColumn],
        own: &[OutputColumn],
        followed: &Followed,
    ) -> Result<QueryPlan, SqlError> {
        let types: Vec<PgType> = columns.iter().map(|c| c.ty.clone()).collect();
        let plan = self.cast_output(step, columns, &types)?;
        let mut named = columns.to_vec();
        let names = own.iter().map(|column| &column.name).chain(followed.names());
        for (column, name) in named.iter_mut().zip(names) {
            column.name.clone_from(name);
        }
        self.with_followed(plan, &named, own.len(), followed, &followed.step())
    }

    /// The first columns of a plan and expressions over all of them, under the names that are added.
    fn with_followed(
        &mut self,
        plan: LogicalPlan,
        columns: &[OutputColumn],
        own: usize,
        followed: &Followed,
        exprs: &[String],
    ) -> Result<QueryPlan, SqlError> {
        let (plan, entry) = self.named_query(plan, columns, "followed")?;
        let shown = entry.columns.iter().take(own).map(|column| {
            let bound = Bound::new(Expr::Column(column.column.clone()), column.ty.clone());
            (column.name.clone(), bound, column.origin, column.keeps_modifier)
        });
        let mut items: Vec<_> = shown.collect();
        let scope = Scope::of(entry);
        let env = Env::new(&scope, None, "SELECT");
        for (name, expr) in followed.names().zip(exprs) {
            let mut bound = self.expr(&parse_expression(expr)?, &env)?;
            if bound.ty == PgType::Unknown {
                bound.ty = PgType::Text;
            }
            items.push((name.clone(), bound, (0, 0), false));
        }
        self.project_output(plan, items)
    }
}

/// A flag as it is, of which the optimizer knows nothing.
fn nullable_flag() -> Arc<ScalarUDF> {
    let compute: scalar::Compute = Arc::new(|args, _, _| Ok(args[0].clone()));
    scalar::function("nullable_flag", "", DataType::Boolean, Volatility::Volatile, compute)
}

/// A term of a UNION without the parentheses around it.
fn term_of(term: &SetExpr) -> &SetExpr {
    match term {
        SetExpr::Query(query) if query.with.is_none() => term_of(&query.body),
        other => other,
    }
}

/// The SELECT that a term is, unless the name means something else in it.
fn select_of<'t>(name: &str, term: &'t mut SetExpr) -> Option<&'t mut ast::Select> {
    match term {
        SetExpr::Select(select) => Some(select),
        SetExpr::Query(query) => {
            let mut inside = query.with.iter().flat_map(|with| &with.cte_tables);
            match inside.any(|cte| fold_identifier(&cte.alias.name) == name) {
                true => None,
                false => select_of(name, &mut query.body),
            }
        }
        _ => None,
    }
}

/// What a relation of FROM is called by if it is the query of that name.
fn reference_to(name: &str, factor: &TableFactor) -> Option<ast::Ident> {
    match factor {
        TableFactor::Table { name: found, alias, args: None, .. } => match found.0.as_slice() {
            [ast::ObjectNamePart::Identifier(ident)] if fold_identifier(ident) == name => {
                Some(alias.as_ref().map_or_else(|| ident.clone(), |alias| alias.name.clone()))
            }
            _ => None,
        },
        TableFactor::NestedJoin { table_with_joins: inner, alias: None } => {
            let joined = inner.joins.iter().map(|join| &join.relation);
            std::iter::once(&inner.relation)
                .chain(joined)
                .find_map(|factor| reference_to(name, factor))
        }
        _ => None,
    }
}
