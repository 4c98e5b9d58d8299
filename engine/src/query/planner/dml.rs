//! INSERT, UPDATE and DELETE as queries whose rows say what to do; see [`PlannedDml`].

use std::sync::Arc;

use datafusion::{
    common::{Column, JoinType},
    functions_aggregate::first_last::first_value_udaf,
    logical_expr::{Aggregate, Expr, LogicalPlan, Projection},
    sql::sqlparser::ast::{self, SetExpr, TableFactor},
};

use super::{
    LOCATOR_COLUMNS, PlannedDml, Planner, ResolvedKind, ResolvedTable,
    bound::{Bound, type_name},
    coerce::CastContext,
    from::{Relation, join_plans},
    parts::Target,
    query::{OutputColumn, unique_name},
    resolver,
    scope::{Env, Scope, ScopeColumn, ScopeTable},
    select::filter,
    updatability::{DmlVerb, not_updatable},
};
use crate::{
    error::{SqlError, sqlstate},
    query::{errors::sql_error, parser::fold_identifier},
    session::api::FieldDescription,
    types::PgType,
};

/// Columns of a DML plan under construction: named expressions, in order.
#[derive(Default)]
struct Columns {
    exprs: Vec<Expr>,
}

impl Columns {
    /// Appends expressions under internal names; their place.
    fn push(&mut self, exprs: Vec<Expr>) -> std::ops::Range<usize> {
        let start = self.exprs.len();
        for expr in exprs {
            let name = format!("__{}", self.exprs.len());
            self.exprs.push(expr.alias(name));
        }
        start..self.exprs.len()
    }

    fn plan(self, input: LogicalPlan) -> Result<LogicalPlan, SqlError> {
        let projection = Projection::try_new(self.exprs, Arc::new(input)).map_err(sql_error)?;
        Ok(LogicalPlan::Projection(projection))
    }
}

/// The clause of a column default, which knows neither columns nor subqueries.
pub(super) const DEFAULT_CLAUSE: &str = "DEFAULT expressions";

impl Planner<'_> {
    fn target(&mut self, name: &ast::ObjectName, verb: DmlVerb) -> Result<ResolvedTable, SqlError> {
        let name = self.name_of(name)?;
        let table = resolver::resolve(self.context, &name)?;
        if table.is_system {
            let message = format!("permission denied: \"{}\" is a system catalog", table.name);
            return Err(SqlError::new(sqlstate::INSUFFICIENT_PRIVILEGE, message));
        }
        if let Some(query) = table.view_query() {
            return Err(not_updatable(&table.name, query, verb));
        }
        match table.kind {
            ResolvedKind::Table | ResolvedKind::View => Ok(table),
            ResolvedKind::MaterializedView { .. } => {
                let message = format!("cannot change materialized view \"{}\"", table.name);
                Err(SqlError::new(sqlstate::WRONG_OBJECT_TYPE, message))
            }
            ResolvedKind::CompositeType => Err(super::resolver::no_relation(&table)),
        }
    }

    /// The items of a WITH in front of the statement, which all of it sees.
    pub(super) fn with_of_dml(&mut self, with: Option<&ast::With>) -> Result<(), SqlError> {
        self.changes_at = Some(0);
        let planned = with.map_or(Ok(()), |with| self.with_clause(with, None));
        self.changes_at = None;
        planned
    }

    pub(super) fn insert(&mut self, insert: &ast::Insert) -> Result<PlannedDml, SqlError> {
        refuse_insert_clauses(insert)?;
        let ast::TableObject::TableName(name) = &insert.table else {
            return Err(SqlError::not_supported("INSERT into something else than a table"));
        };
        let table = self.target(name, DmlVerb::Insert)?;
        let targets = self.insert_targets(insert, &table)?;
        let alias = insert.table_alias.as_ref().map(|a| fold_identifier(&a.alias));
        let (plan, values) = match &insert.source {
            None => {
                let plan = datafusion::logical_expr::LogicalPlanBuilder::empty(true).build();
                (plan.map_err(sql_error)?, Vec::new())
            }
            Some(query) => match values_of(query) {
                Some(values) => self.insert_values(&table, &targets, &insert.columns, values)?,
                None => self.insert_query(&table, &targets, &insert.columns, query)?,
            },
        };
        // Every column of the table: what was given, else its default.
        let mut row = Vec::with_capacity(table.columns.len());
        let mut given: Vec<Option<Expr>> = vec![None; table.columns.len()];
        for (target, value) in targets.iter().zip(values) {
            given[target.column] = Some(if target.is_whole() {
                value
            } else {
                let old = given[target.column].take();
                self.with_part_of_new_row(&table, target, old, value)?
            });
        }
        for (index, value) in given.into_iter().enumerate() {
            row.push(match value {
                Some(value) => value,
                None => self.default_of(&table, index)?.expr,
            });
        }
        let mut columns = Columns::default();
        let new_row = columns.push(row);
        let plan = columns.plan(plan)?;
        self.finish_dml(
            table,
            alias,
            plan,
            0..0,
            0..0,
            new_row,
            Vec::new(),
            insert.returning.as_deref(),
            Scope::default(),
        )
    }

    pub(super) fn default_of(
        &mut self,
        table: &ResolvedTable,
        index: usize,
    ) -> Result<Bound, SqlError> {
        let column = &table.columns[index];
        match &column.default {
            None => Bound::null(column.pg_type.clone()),
            Some(text) => self.default_value(&column.name, &column.pg_type, text),
        }
    }

    /// A column default, cast to its column's type.
    pub(super) fn default_value(
        &mut self,
        name: &str,
        ty: &PgType,
        text: &str,
    ) -> Result<Bound, SqlError> {
        let expr = crate::query::parser::parse_expression(text)?;
        // Positions in the default's text mean nothing in the statement's.
        let statement = self.statement.take();
        let scope = Scope::default();
        let env = Env::new(&scope, None, DEFAULT_CLAUSE);
        let bound = self.expr(&expr, &env).and_then(|bound| self.assign(bound, name, ty, true));
        self.statement = statement;
        bound.map_err(|mut error| {
            error.position = None;
            if error.sqlstate == sqlstate::UNDEFINED_COLUMN {
                return SqlError::new(
                    sqlstate::FEATURE_NOT_SUPPORTED,
                    "cannot use column reference in DEFAULT expression",
                );
            }
            error
        })
    }

    /// Casts by assignment to a column.
    pub(super) fn assign(
        &mut self,
        bound: Bound,
        name: &str,
        ty: &PgType,
        default: bool,
    ) -> Result<Bound, SqlError> {
        let from = type_name(&bound.ty);
        self.coerce(bound, ty, CastContext::Assignment).map_err(|error| {
            if error.sqlstate != sqlstate::CANNOT_COERCE {
                return error;
            }
            let what = if default { "default expression" } else { "expression" };
            SqlError::new(
                sqlstate::DATATYPE_MISMATCH,
                format!(
                    "column \"{name}\" is of type {} but {what} is of type {from}",
                    type_name(ty)
                ),
            )
            .hint("You will need to rewrite or cast the expression.")
        })
    }

    /// `INSERT … VALUES`: each value goes straight to its column's type.
    fn insert_values(
        &mut self,
        table: &ResolvedTable,
        targets: &[Target],
        named: &[ast::ObjectName],
        values: &ast::Values,
    ) -> Result<(LogicalPlan, Vec<Expr>), SqlError> {
        let scope = Scope::default();
        let env = Env::new(&scope, None, "VALUES");
        let width = values.rows.first().map_or(0, |row| row.content.len());
        self.check_values(width, targets, named, &values.rows)?;
        let mut rows = Vec::with_capacity(values.rows.len());
        for row in &values.rows {
            let mut exprs = Vec::with_capacity(width);
            for (expr, target) in row.content.iter().zip(targets) {
                let bound = if is_default(expr) {
                    self.default_of_target(table, target)?
                } else {
                    let bound = self.expr(expr, &env)?;
                    self.assign_to(table, target, bound).map_err(|e| self.locate(e, expr))?
                };
                exprs.push(bound.expr);
            }
            rows.push(exprs);
        }
        if rows.len() == 1 {
            // One row needs no list of rows.
            let plan = datafusion::logical_expr::LogicalPlanBuilder::empty(true).build();
            return Ok((plan.map_err(sql_error)?, rows.pop().unwrap_or_default()));
        }
        let mut columns: Vec<OutputColumn> = Vec::with_capacity(width);
        for target in &targets[..width] {
            let column = &table.columns[target.column];
            columns.push(OutputColumn {
                internal: unique_name(&columns, &column.name),
                name: column.name.clone(),
                ty: target.takes(&column.pg_type),
                origin: (0, 0),
                keeps_modifier: true,
            });
        }
        let (plan, columns) = self.values_plan(rows, columns)?;
        let exprs = columns.iter().map(|c| Expr::Column(Column::from_name(&c.internal)));
        Ok((plan, exprs.collect()))
    }

    /// Columns that are named must all get a value.
    fn check_named(&self, width: usize, named: &[ast::ObjectName]) -> Result<(), SqlError> {
        let Some(first) = named.get(width) else { return Ok(()) };
        let message = "INSERT has more target columns than expressions";
        Err(self.at_name(SqlError::new(sqlstate::SYNTAX_ERROR, message), first))
    }

    fn check_values(
        &self,
        width: usize,
        targets: &[Target],
        named: &[ast::ObjectName],
        rows: &[ast::Parens<Vec<ast::Expr>>],
    ) -> Result<(), SqlError> {
        let syntax = |message: &str| SqlError::new(sqlstate::SYNTAX_ERROR, message);
        if let Some(row) = rows.iter().find(|row| row.content.len() != width) {
            let error = syntax("VALUES lists must all be the same length");
            return Err(match row.content.first() {
                Some(expr) => self.locate(error, expr),
                None => error,
            });
        }
        if width > targets.len() {
            let error = syntax("INSERT has more expressions than target columns");
            return Err(self.locate(error, &rows[0].content[targets.len()]));
        }
        self.check_named(width, named)
    }

    fn insert_query(
        &mut self,
        table: &ResolvedTable,
        targets: &[Target],
        named: &[ast::ObjectName],
        query: &ast::Query,
    ) -> Result<(LogicalPlan, Vec<Expr>), SqlError> {
        if matches!(*query.body, ast::SetExpr::Select(_)) {
            let taken = |target: &Target| {
                super::bound::base(&target.takes(&table.columns[target.column].pg_type))
            };
            self.parameter_types = targets.iter().map(taken).collect();
        }
        let (plan, columns) = self.query(query, None)?;
        if columns.len() > targets.len() {
            let message = "INSERT has more expressions than target columns";
            return Err(SqlError::new(sqlstate::SYNTAX_ERROR, message));
        }
        self.check_named(columns.len(), named)?;
        let mut exprs = Vec::with_capacity(columns.len());
        for (column, target) in columns.iter().zip(targets) {
            let expr = Expr::Column(Column::from_name(&column.internal));
            let bound = Bound::new(expr, column.ty.clone());
            exprs.push(self.assign_to(table, target, bound)?.expr);
        }
        Ok((plan, exprs))
    }

    /// The table of UPDATE or DELETE, with its locator.
    fn dml_scan(
        &mut self,
        factor: &TableFactor,
        verb: DmlVerb,
    ) -> Result<(ResolvedTable, Relation, Option<String>), SqlError> {
        let TableFactor::Table { name, alias, args: None, sample: None, version: None, .. } =
            factor
        else {
            return Err(SqlError::not_supported(format!("UPDATE or DELETE of {factor}")));
        };
        let table = self.target(name, verb)?;
        let source = self.context.tables.dml_source(&table)?;
        let relation = self.scan(&table, source, alias.as_ref(), LOCATOR_COLUMNS.len())?;
        let alias = alias.as_ref().map(|a| fold_identifier(&a.name));
        Ok((table, relation, alias))
    }

    pub(super) fn update(&mut self, update: &ast::Update) -> Result<PlannedDml, SqlError> {
        let ast::Update {
            update_token: _,
            optimizer_hints: _,
            table,
            assignments,
            from,
            selection,
            returning,
            output,
            or,
            order_by,
            limit,
        } = update;
        if output.is_some() || or.is_some() || !order_by.is_empty() || limit.is_some() {
            return Err(SqlError::new(sqlstate::SYNTAX_ERROR, "syntax error in UPDATE"));
        }
        if !table.joins.is_empty() {
            return Err(SqlError::new(sqlstate::SYNTAX_ERROR, "syntax error at or near \"JOIN\""));
        }
        let from = match from {
            None => &[][..],
            Some(ast::UpdateTableFromKind::AfterSet(items)) => items.as_slice(),
            Some(ast::UpdateTableFromKind::BeforeSet(_)) => {
                return Err(SqlError::new(
                    sqlstate::SYNTAX_ERROR,
                    "syntax error at or near \"FROM\"",
                ));
            }
        };
        let (table, relation, alias) = self.dml_scan(&table.relation, DmlVerb::Update)?;
        let target = relation.1.tables[0].clone();
        let (plan, scope) = self.dml_source(relation, from)?;
        let env = Env::new(&scope, None, "WHERE");
        let plan = self.dml_filter(plan, selection.as_ref(), &env)?;
        let env = env.clause("UPDATE");
        let mut new: Vec<Expr> =
            table_columns(&target).map(|c| Expr::Column(c.column.clone())).collect();
        let (mut assigned, mut parts) = (Vec::new(), Vec::new());
        for assignment in assignments {
            for (to, bound) in self.assignment(assignment, &table, &env)? {
                let index = to.column;
                if assigned.contains(&index) && (to.is_whole() || !parts.contains(&index)) {
                    let message = format!(
                        "multiple assignments to same column \"{}\"",
                        table.columns[index].name
                    );
                    return Err(SqlError::new(sqlstate::SYNTAX_ERROR, message));
                }
                assigned.push(index);
                new[index] = if to.is_whole() {
                    bound.expr
                } else {
                    parts.push(index);
                    self.with_part(&table.columns[index], &to, new[index].clone(), bound, &env)?
                };
            }
        }
        assigned.sort_unstable();
        assigned.dedup();
        let mut columns = Columns::default();
        let locator = columns.push(locator(&target));
        let old_key = columns.push(key(&table, &target));
        let new_row = columns.push(new);
        // RETURNING may refer to the tables of FROM.
        let (rest, others) = other_tables(&scope, columns.exprs.len());
        columns.exprs.extend(rest);
        let plan = columns.plan(plan)?;
        let plan = if from.is_empty() { plan } else { first_per_locator(plan, &locator)? };
        self.finish_dml(
            table,
            alias,
            plan,
            locator,
            old_key,
            new_row,
            assigned,
            returning.as_deref(),
            others,
        )
    }

    pub(super) fn delete(&mut self, delete: &ast::Delete) -> Result<PlannedDml, SqlError> {
        let ast::Delete {
            delete_token: _,
            optimizer_hints: _,
            tables,
            from,
            using,
            selection,
            returning,
            output,
            order_by,
            limit,
        } = delete;
        let ast::FromTable::WithFromKeyword(from) = from else {
            return Err(SqlError::new(sqlstate::SYNTAX_ERROR, "syntax error: DELETE without FROM"));
        };
        let single = matches!(from.as_slice(), [item] if item.joins.is_empty());
        if !tables.is_empty()
            || output.is_some()
            || !order_by.is_empty()
            || limit.is_some()
            || !single
        {
            return Err(SqlError::new(sqlstate::SYNTAX_ERROR, "syntax error in DELETE"));
        }
        let (table, relation, alias) = self.dml_scan(&from[0].relation, DmlVerb::Delete)?;
        let target = relation.1.tables[0].clone();
        let using = using.as_deref().unwrap_or(&[]);
        let (plan, scope) = self.dml_source(relation, using)?;
        let env = Env::new(&scope, None, "WHERE");
        let plan = self.dml_filter(plan, selection.as_ref(), &env)?;
        let mut columns = Columns::default();
        let locator = columns.push(locator(&target));
        let old_key = columns.push(key(&table, &target));
        // RETURNING shows the old row, which is carried only for it.
        let old = match returning {
            None => columns.exprs.len()..columns.exprs.len(),
            Some(_) => columns
                .push(table_columns(&target).map(|c| Expr::Column(c.column.clone())).collect()),
        };
        let (rest, others) = other_tables(&scope, columns.exprs.len());
        columns.exprs.extend(rest);
        let plan = columns.plan(plan)?;
        let plan = if using.is_empty() { plan } else { first_per_locator(plan, &locator)? };
        let mut planned = self.finish_dml(
            table,
            alias,
            plan,
            locator,
            old_key,
            old,
            Vec::new(),
            returning.as_deref(),
            others,
        )?;
        planned.new_row = 0..0;
        Ok(planned)
    }

    /// The target joined with FROM or USING.
    fn dml_source(
        &mut self,
        target: Relation,
        from: &[ast::TableWithJoins],
    ) -> Result<Relation, SqlError> {
        if from.is_empty() {
            return Ok(target);
        }
        let (plan, scope) = self.source(from, None)?;
        let clash = scope.tables.iter().find(|t| t.alias == target.1.tables[0].alias);
        if let Some(table) = clash {
            let message = format!("table name \"{}\" specified more than once", table.alias);
            return Err(SqlError::new(sqlstate::DUPLICATE_ALIAS, message));
        }
        let plan = join_plans(target.0, plan, JoinType::Inner, None)?;
        Ok((plan, target.1.join(scope)))
    }

    fn dml_filter(
        &mut self,
        plan: LogicalPlan,
        condition: Option<&ast::Expr>,
        env: &Env<'_>,
    ) -> Result<LogicalPlan, SqlError> {
        let Some(expr) = condition else {
            return Ok(plan);
        };
        let bound = self.expr(expr, env)?;
        let condition = self.condition(bound, "WHERE").map_err(|e| self.locate(e, expr))?;
        filter(plan, condition)
    }

    /// Adds RETURNING, whose expressions see the row at `row` of the plan and the columns of
    /// `others`, and puts the plan's columns in order.
    #[allow(clippy::too_many_arguments)] // What a plan of DML is made of.
    fn finish_dml(
        &mut self,
        table: ResolvedTable,
        alias: Option<String>,
        plan: LogicalPlan,
        locator: std::ops::Range<usize>,
        old_key: std::ops::Range<usize>,
        row: std::ops::Range<usize>,
        assigned: Vec<usize>,
        returning: Option<&[ast::SelectItem]>,
        others: Scope,
    ) -> Result<PlannedDml, SqlError> {
        let width = row.end;
        let plan_columns = plan.schema().columns();
        let mut exprs: Vec<Expr> =
            plan_columns[..width].iter().map(|c| Expr::Column(c.clone())).collect();
        let mut fields = None;
        let returning = match returning {
            None if plan_columns.len() == width => width..width,
            None => width..width,
            Some(items) => {
                let columns = table.columns.iter().zip(row.clone()).map(|(c, index)| ScopeColumn {
                    name: c.name.clone(),
                    ty: c.pg_type.clone(),
                    column: plan_columns[index].clone(),
                    origin: (table.oid, c.number),
                    keeps_modifier: true,
                    merged: false,
                    hidden: false,
                });
                let entry = ScopeTable {
                    schema: alias.is_none().then(|| table.schema.clone()),
                    alias: alias.unwrap_or_else(|| table.name.clone()),
                    columns: columns.collect(),
                    row_type: table.row_type.clone(),
                    present: None,
                };
                let scope = Scope::of(entry).join(others);
                let (returned, described) = self.returning(items, &scope)?;
                for (index, expr) in returned.into_iter().enumerate() {
                    exprs.push(expr.alias(format!("__returning_{index}")));
                }
                fields = Some(described);
                width..exprs.len()
            }
        };
        let plan = if exprs.len() == width && plan_columns.len() == width {
            plan
        } else {
            let projection = Projection::try_new(exprs, Arc::new(plan)).map_err(sql_error)?;
            LogicalPlan::Projection(projection)
        };
        Ok(PlannedDml {
            table,
            plan,
            locator,
            old_key,
            new_row: row,
            assigned,
            returning,
            fields,
            params: Vec::new(),
            reusable: true,
            changes: Vec::new(),
        })
    }

    fn returning(
        &mut self,
        items: &[ast::SelectItem],
        scope: &Scope,
    ) -> Result<(Vec<Expr>, Arc<[FieldDescription]>), SqlError> {
        let env = Env::new(scope, None, "RETURNING");
        let outputs = self.plain_items(items, &env)?;
        let mut exprs = Vec::with_capacity(outputs.len());
        let mut fields = Vec::with_capacity(outputs.len());
        for (name, bound, origin, keeps_modifier) in outputs {
            let bound = if bound.ty == PgType::Unknown {
                self.coerce(bound, &PgType::Text, CastContext::Implicit)?
            } else {
                bound
            };
            fields.push(FieldDescription {
                name,
                pg_type: bound.ty,
                table_oid: origin.0,
                column_number: origin.1,
                shows_modifier: keeps_modifier,
            });
            exprs.push(bound.expr);
        }
        Ok((exprs, fields.into()))
    }
}

pub(super) fn is_default(expr: &ast::Expr) -> bool {
    matches!(
        expr,
        ast::Expr::Identifier(ident)
            if ident.quote_style.is_none() && ident.value.eq_ignore_ascii_case("default")
    )
}

/// The rows of a plain VALUES.
fn values_of(query: &ast::Query) -> Option<&ast::Values> {
    let plain = query.with.is_none()
        && query.order_by.is_none()
        && query.limit_clause.is_none()
        && query.fetch.is_none()
        && query.locks.is_empty();
    match query.body.as_ref() {
        SetExpr::Values(values) if plain => Some(values),
        _ => None,
    }
}

fn refuse_insert_clauses(insert: &ast::Insert) -> Result<(), SqlError> {
    match &insert.on {
        None => {}
        Some(ast::OnInsert::OnConflict(_)) => {
            return Err(SqlError::not_supported("INSERT … ON CONFLICT"));
        }
        Some(_) => {
            return Err(SqlError::new(sqlstate::SYNTAX_ERROR, "syntax error at or near \"ON\""));
        }
    }
    let foreign = insert.or.is_some()
        || insert.ignore
        || insert.overwrite
        || !insert.assignments.is_empty()
        || insert.partitioned.is_some()
        || !insert.after_columns.is_empty()
        || insert.has_table_keyword
        || insert.output.is_some()
        || insert.replace_into
        || insert.priority.is_some()
        || insert.insert_alias.is_some()
        || insert.settings.is_some()
        || insert.format_clause.is_some()
        || insert.multi_table_insert_type.is_some();
    if foreign || !insert.into {
        return Err(SqlError::new(sqlstate::SYNTAX_ERROR, "syntax error in INSERT"));
    }
    Ok(())
}

fn table_columns(target: &ScopeTable) -> impl Iterator<Item = &ScopeColumn> {
    target.columns.iter().filter(|c| !c.hidden)
}

fn locator(target: &ScopeTable) -> Vec<Expr> {
    let hidden = target.columns.iter().filter(|c| c.hidden);
    hidden.map(|c| Expr::Column(c.column.clone())).collect()
}

fn key(table: &ResolvedTable, target: &ScopeTable) -> Vec<Expr> {
    let columns: Vec<_> = table_columns(target).collect();
    table.primary_key.iter().map(|i| Expr::Column(columns[*i].column.clone())).collect()
}

/// The columns of FROM or USING, carried along for RETURNING, and their scope above.
fn other_tables(scope: &Scope, from: usize) -> (Vec<Expr>, Scope) {
    let mut exprs = Vec::new();
    let mut others = Scope::default();
    for table in scope.tables.iter().skip(1) {
        let mut table = table.clone();
        for column in &mut table.columns {
            let name = format!("__{}", from + exprs.len());
            exprs.push(Expr::Column(column.column.clone()).alias(&name));
            column.column = Column::from_name(name);
        }
        if let Some(present) = &mut table.present {
            let name = format!("__{}", from + exprs.len());
            exprs.push(Expr::Column(present.clone()).alias(&name));
            *present = Column::from_name(name);
        }
        others.tables.push(table);
    }
    (exprs, others)
}

/// One row of the plan for each locator: a row that joins several is changed once.
fn first_per_locator(
    plan: LogicalPlan,
    locator: &std::ops::Range<usize>,
) -> Result<LogicalPlan, SqlError> {
    let columns = plan.schema().columns();
    let column = |index: usize| Expr::Column(columns[index].clone());
    let groups: Vec<_> = locator.clone().map(column).collect();
    let rest: Vec<_> = (0..columns.len()).filter(|i| !locator.contains(i)).collect();
    let firsts = rest
        .iter()
        .map(|i| first_value_udaf().call(vec![column(*i)]).alias(format!("__first_{i}")))
        .collect();
    let aggregate = Aggregate::try_new(Arc::new(plan), groups, firsts).map_err(sql_error)?;
    let exprs = (0..columns.len())
        .map(|i| {
            let from = if locator.contains(&i) {
                column(i)
            } else {
                Expr::Column(Column::from_name(format!("__first_{i}")))
            };
            from.alias(&columns[i].name)
        })
        .collect();
    let plan = Arc::new(LogicalPlan::Aggregate(aggregate));
    Ok(LogicalPlan::Projection(Projection::try_new(exprs, plan).map_err(sql_error)?))
}
