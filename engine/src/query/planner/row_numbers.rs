//! What row numbers decide: INTERSECT ALL, EXCEPT ALL, FETCH FIRST … WITH TIES, computed LIMITs.

use std::sync::Arc;

use datafusion::{
    common::{Column, JoinType, NullEquality},
    functions_window::rank::rank_udwf,
    logical_expr::{
        Expr, LogicalPlan, LogicalPlanBuilder, Operator, Projection, SortExpr, SubqueryAlias,
        Window, cast, lit,
    },
};

use super::{
    Planner,
    distinct_on::{row_number, window_call, with_windows},
    nulls::first_not_null,
    operators::binary,
    query::OutputColumn,
    select::filter,
};
use crate::{
    error::{SqlError, sqlstate},
    query::errors::sql_error,
};

fn column(name: &str) -> Expr {
    Expr::Column(Column::from_name(name))
}

fn project(plan: LogicalPlan, exprs: Vec<Expr>) -> Result<LogicalPlan, SqlError> {
    let projection = Projection::try_new(exprs, Arc::new(plan)).map_err(sql_error)?;
    Ok(LogicalPlan::Projection(projection))
}

/// The names of what numbers the rows of LIMIT and FETCH FIRST.
const NUMBER: &str = "__number";
const RANK: &str = "__rank";

/// Whether an operator numbers rows for a LIMIT or FETCH FIRST, and not for a query's own windows.
pub fn is_row_count_window(operator: &LogicalPlan) -> bool {
    let LogicalPlan::Window(window) = operator else { return false };
    let own = |name: &str| name.starts_with(NUMBER) || name.starts_with(RANK);
    window.window_expr.iter().all(|expr| matches!(expr, Expr::Alias(alias) if own(&alias.name)))
}

impl Planner<'_> {
    /// The columns, a key for each, and which of the rows with these keys each row is.
    fn numbered(
        &mut self,
        plan: LogicalPlan,
        columns: &[OutputColumn],
    ) -> Result<LogicalPlan, SqlError> {
        let mut exprs: Vec<Expr> = columns.iter().map(|c| column(&c.internal)).collect();
        for (index, c) in columns.iter().enumerate() {
            exprs.push(self.sort_key(&c.ty, column(&c.internal)).alias(format!("__key_{index}")));
        }
        let plan = project(plan, exprs)?;
        let keys = (0..columns.len()).map(|index| column(&format!("__key_{index}"))).collect();
        let (plan, numbers) = with_windows(plan, vec![row_number(keys, Vec::new())])?;
        let mut exprs: Vec<Expr> = columns.iter().map(|c| column(&c.internal)).collect();
        exprs.extend((0..columns.len()).map(|index| column(&format!("__key_{index}"))));
        exprs.extend(numbers.into_iter().map(|n| Expr::Column(n).alias("__number")));
        project(plan, exprs)
    }

    /// INTERSECT and EXCEPT by pairing the n-th row of some values with the n-th of the same on
    /// the other side. Without `all` only the first row counts.
    pub(super) fn matched_rows(
        &mut self,
        left: LogicalPlan,
        right: LogicalPlan,
        all: bool,
        intersect: bool,
        columns: &[OutputColumn],
    ) -> Result<LogicalPlan, SqlError> {
        let mut sides = Vec::with_capacity(2);
        for (plan, name) in [(left, "l"), (right, "r")] {
            let mut plan = self.numbered(plan, columns)?;
            if !all {
                plan = filter(plan, binary(column("__number"), Operator::Eq, lit(1_u64)))?;
            }
            let qualifier = self.unique_qualifier(name);
            let aliased =
                SubqueryAlias::try_new(Arc::new(plan), qualifier.clone()).map_err(sql_error)?;
            sides.push((LogicalPlan::SubqueryAlias(aliased), qualifier));
        }
        let names = (0..columns.len())
            .map(|index| format!("__key_{index}"))
            .chain(["__number".to_owned()])
            .collect::<Vec<_>>();
        let (Some((right, right_name)), Some((left, left_name))) = (sides.pop(), sides.pop())
        else {
            return Err(SqlError::internal("a set operation without two sides"));
        };
        let on = |qualifier: &datafusion::common::TableReference| {
            let column = |name: &String| Column::new(Some(qualifier.clone()), name);
            names.iter().map(column).collect::<Vec<_>>()
        };
        let kind = if intersect { JoinType::LeftSemi } else { JoinType::LeftAnti };
        let joined = LogicalPlanBuilder::new(left)
            .join_detailed(
                right,
                kind,
                (on(&left_name), on(&right_name)),
                None,
                NullEquality::NullEqualsNull,
            )
            .and_then(|builder| builder.build())
            .map_err(sql_error)?;
        let exprs = columns.iter().map(|c| {
            let from = Column::new(Some(left_name.clone()), &c.internal);
            Expr::Column(from).alias(&c.internal)
        });
        project(joined, exprs.collect())
    }

    /// `OFFSET skip LIMIT fetch` with numbers that are computed, and `FETCH FIRST … WITH TIES`.
    pub(super) fn rows_between(
        &mut self,
        plan: LogicalPlan,
        skip: Option<Expr>,
        fetch: Option<Expr>,
        ties: bool,
    ) -> Result<LogicalPlan, SqlError> {
        let (input, order) = match plan {
            LogicalPlan::Sort(sort) => (Arc::unwrap_or_clone(sort.input), sort.expr),
            _ if ties => {
                return Err(SqlError::new(
                    sqlstate::SYNTAX_ERROR,
                    "WITH TIES cannot be specified without ORDER BY clause",
                ));
            }
            other => (other, Vec::new()),
        };
        let names: Vec<Column> = input.schema().columns();
        let (number, rank) = (self.fresh_name(NUMBER), self.fresh_name(RANK));
        let mut windows = vec![row_number(Vec::new(), order.clone()).alias(&number)];
        if ties {
            windows.push(window_call(rank_udwf(), Vec::new(), order.clone()).alias(&rank));
        }
        let plan = Window::try_new(windows, Arc::new(input)).map_err(sql_error)?;
        let integer = |name: &str| cast(column(name), arrow::datatypes::DataType::Int64);
        let skip = match skip {
            Some(skip @ Expr::Literal(..)) => skip,
            Some(skip) => first_not_null(vec![skip, lit(0_i64)]),
            None => lit(0_i64),
        };
        let mut condition = binary(integer(&number), Operator::Gt, skip.clone());
        if let Some(fetch) = fetch {
            // Rows that start among those wanted, or share their place with the last of them.
            let last = if ties { &rank } else { &number };
            let from = binary(integer(last), Operator::Minus, skip);
            let mut within = binary(from, Operator::LtEq, fetch.clone());
            if ties {
                // The first row shares its place with none before it.
                let some = binary(fetch.clone(), Operator::Gt, lit(0_i64));
                within = binary(within, Operator::And, some);
            }
            if !matches!(fetch, Expr::Literal(..)) {
                within = binary(Expr::IsNull(Box::new(fetch)), Operator::Or, within);
            }
            condition = binary(condition, Operator::And, within);
        }
        let mut plan = filter(LogicalPlan::Window(plan), condition)?;
        if !order.is_empty() {
            let mut again = order;
            again.push(SortExpr::new(column(&number), true, false));
            plan = LogicalPlanBuilder::new(plan)
                .sort(again)
                .and_then(|builder| builder.build())
                .map_err(sql_error)?;
        }
        project(plan, names.into_iter().map(Expr::Column).collect())
    }
}
