//! FROM: tables, subqueries, functions and joins.

use std::sync::Arc;

use datafusion::{
    common::{Column, JoinType, NullEquality},
    logical_expr::{
        Expr, LogicalPlan, LogicalPlanBuilder, Operator, Projection, SubqueryAlias,
        logical_plan::{Join, JoinConstraint, TableScanBuilder},
    },
    sql::sqlparser::ast::{self, JoinOperator, TableFactor},
};

use super::{
    Planner, ResolvedKind, ResolvedTable,
    bound::Bound,
    lateral::depends_on,
    operators::binary,
    query::OutputColumn,
    resolver::{self, FUNCTIONS_SCHEMA},
    scope::{Env, MergedColumn, Scope, ScopeColumn, ScopeTable},
    select::star_items,
    table_lists::unnest_beside,
};
use crate::{
    error::{SqlError, sqlstate},
    query::{
        errors::sql_error,
        parser::{JOIN_ALIAS, fold_identifier, relation_name},
        series_rows,
        statement::RelationName,
    },
    types::PgType,
};

/// A part of FROM: its plan and the names it brings.
pub(super) type Relation = (LogicalPlan, Scope);

/// How two relations are joined.
#[derive(Clone, Copy)]
struct Joined {
    join_type: JoinType,
    /// Whether the right one refers to columns of the left one.
    lateral: bool,
}

impl Planner<'_> {
    /// Plans `FROM a, b, …`. Without any, one row without columns.
    pub(super) fn source(
        &mut self,
        items: &[ast::TableWithJoins],
        outer: Option<&Env<'_>>,
    ) -> Result<Relation, SqlError> {
        let mut result: Option<Relation> = None;
        for item in items {
            result = Some(match result {
                None => self.table_with_joins(item, None, outer)?,
                Some(left) => self.beside(left, item, outer)?,
            });
        }
        match result {
            Some(relation) => Ok(relation),
            None => {
                Ok((LogicalPlanBuilder::empty(true).build().map_err(sql_error)?, Scope::default()))
            }
        }
    }

    pub(super) fn check_aliases(&self, left: &Scope, right: &Scope) -> Result<(), SqlError> {
        for table in &right.tables {
            let clash = left.tables.iter().any(|t| {
                t.alias == table.alias
                    && (t.schema == table.schema || t.schema.is_none() || table.schema.is_none())
            });
            if clash && !table.alias.is_empty() {
                let message = format!("table name \"{}\" specified more than once", table.alias);
                return Err(SqlError::new(sqlstate::DUPLICATE_ALIAS, message));
            }
        }
        Ok(())
    }

    pub(super) fn table_with_joins(
        &mut self,
        item: &ast::TableWithJoins,
        left: Option<Relation>,
        outer: Option<&Env<'_>>,
    ) -> Result<Relation, SqlError> {
        let mut relation = match left {
            Some(left) => left,
            None => self.relation(&item.relation, outer)?,
        };
        for join in &item.joins {
            relation = self.join(relation, join, outer)?;
        }
        Ok(relation)
    }

    /// One entry of FROM, by itself.
    pub(super) fn relation(
        &mut self,
        factor: &TableFactor,
        outer: Option<&Env<'_>>,
    ) -> Result<Relation, SqlError> {
        match factor {
            TableFactor::Table {
                name,
                alias,
                args: None,
                with_hints,
                version: None,
                with_ordinality: false,
                partitions,
                json_path: None,
                sample: None,
                index_hints,
            } if with_hints.is_empty() && partitions.is_empty() && index_hints.is_empty() => {
                self.table(name, alias.as_ref())
            }
            TableFactor::Table { name, alias, args: None, sample: Some(sample), .. } => {
                self.sample(name, alias.as_ref(), sample)
            }
            TableFactor::Derived { lateral: _, subquery, alias, sample: None } => {
                self.derived(subquery, alias.as_ref(), outer)
            }
            TableFactor::Derived { sample: Some(_), .. } => Err(SqlError::new(
                sqlstate::SYNTAX_ERROR,
                "syntax error at or near \"TABLESAMPLE\"",
            )),
            TableFactor::NestedJoin { table_with_joins, alias: None } => {
                self.table_with_joins(table_with_joins, None, outer)
            }
            TableFactor::NestedJoin { table_with_joins, alias: Some(alias) } => {
                let (plan, scope) = self.table_with_joins(table_with_joins, None, outer)?;
                // Under its alias, and nothing of it under another name.
                self.queries += 1;
                let shown = self.project_output(plan, star_items(&scope));
                self.queries -= 1;
                let (plan, columns) = shown?;
                self.aliased(plan, &columns, alias)
            }
            TableFactor::Table { args: Some(_), .. }
            | TableFactor::Function { .. }
            | TableFactor::UNNEST { .. }
            | TableFactor::TableFunction { .. } => {
                let one_row = LogicalPlanBuilder::empty(true).build().map_err(sql_error)?;
                self.table_function((one_row, Scope::default()), factor, outer)
            }
            other => Err(SqlError::not_supported(format!("{other} in FROM"))),
        }
    }

    pub(super) fn name_of(&self, name: &ast::ObjectName) -> Result<RelationName, SqlError> {
        let mut parts = Vec::new();
        let mut position = None;
        for part in &name.0 {
            match part {
                ast::ObjectNamePart::Identifier(ident) => {
                    if position.is_none() {
                        position = self.statement.and_then(|s| s.position(ident.span.start));
                    }
                    parts.push(fold_identifier(ident));
                }
                ast::ObjectNamePart::Function(_) => {
                    return Err(SqlError::not_supported(format!("name {name}")));
                }
            }
        }
        relation_name(parts, position)
    }

    pub(super) fn table(
        &mut self,
        written: &ast::ObjectName,
        alias: Option<&ast::TableAlias>,
    ) -> Result<Relation, SqlError> {
        let name = self.name_of(written)?;
        if name.schema.is_none()
            && let Some(relation) = self.cte(&name.name, alias)?
        {
            return Ok(relation);
        }
        let table =
            resolver::resolve(self.context, &name).map_err(|e| self.hidden_item(e, &name))?;
        if table.kind == ResolvedKind::CompositeType {
            return Err(self.at_name(resolver::no_relation(&table), written));
        }
        self.note_relation(written, &table);
        if let Some(query) = table.view_query() {
            return self.view(&table, query, alias);
        }
        if let ResolvedKind::MaterializedView { populated: false } = table.kind {
            let message = format!("materialized view \"{}\" has not been populated", table.name);
            return Err(SqlError::new(sqlstate::OBJECT_NOT_IN_PREREQUISITE_STATE, message)
                .hint("Use the REFRESH MATERIALIZED VIEW command."));
        }
        self.scan(&table, Arc::clone(&table.source), alias, 0)
    }

    /// The error of an unknown relation, which may be a WITH item not to be seen from here.
    fn hidden_item(&self, error: SqlError, name: &RelationName) -> SqlError {
        let known = self.with_names.iter().flatten().any(|item| *item == name.name);
        if !known || name.schema.is_some() || error.sqlstate != sqlstate::UNDEFINED_TABLE {
            return error;
        }
        error
            .detail(format!(
                "There is a WITH item named \"{}\", but it cannot be referenced from this part of \
                 the query.",
                name.name
            ))
            .hint("Use WITH RECURSIVE, or re-order the WITH items to remove forward references.")
    }

    /// A scan of a table's source, whose first `hidden` columns are not the table's.
    pub(super) fn scan(
        &mut self,
        table: &ResolvedTable,
        source: Arc<dyn datafusion::logical_expr::TableSource>,
        alias: Option<&ast::TableAlias>,
        hidden: usize,
    ) -> Result<Relation, SqlError> {
        let alias_name = alias.map_or_else(|| table.name.clone(), |a| fold_identifier(&a.name));
        let qualifier = self.unique_qualifier(&alias_name);
        let schema = source.schema();
        let mut columns = Vec::with_capacity(table.columns.len() + hidden);
        let mut renamed = Vec::new();
        for (index, field) in schema.fields().iter().enumerate() {
            let (ty, origin, name, unknown) = match index.checked_sub(hidden) {
                Some(i) => {
                    let column = table.columns.get(i).ok_or_else(|| {
                        SqlError::internal(format!("{table:?} has more fields than columns"))
                    })?;
                    let origin = (table.oid, column.number);
                    (column.pg_type.clone(), origin, column.name.clone(), column.hidden)
                }
                None => {
                    let ty = PgType::of_field(field);
                    (ty, (0, 0), field.name().clone(), false)
                }
            };
            let unique = self.fresh_name(field.name());
            let column = Expr::Column(Column::new(Some(qualifier.clone()), field.name()));
            renamed.push(if unique == *field.name() {
                column
            } else {
                column.alias_qualified(Some(qualifier.clone()), unique.clone())
            });
            columns.push(ScopeColumn {
                name,
                ty,
                column: Column::new(Some(qualifier.clone()), unique),
                origin,
                keeps_modifier: true,
                merged: false,
                hidden: index < hidden || unknown,
            });
        }
        // A system table that is a plan of its own: one that is always empty.
        let plan = match source.get_logical_plan() {
            Some(plan) => SubqueryAlias::try_new(Arc::new(plan.into_owned()), qualifier)
                .map(LogicalPlan::SubqueryAlias),
            None => TableScanBuilder::new(qualifier, Arc::clone(&source))
                .build()
                .map(LogicalPlan::TableScan),
        };
        let mut plan = plan.map_err(sql_error)?;
        if renamed.iter().any(|expr| matches!(expr, Expr::Alias(_))) {
            let projection = Projection::try_new(renamed, Arc::new(plan)).map_err(sql_error)?;
            plan = LogicalPlan::Projection(projection);
        }
        let mut entry = ScopeTable {
            schema: alias.is_none().then(|| table.schema.clone()),
            alias: alias_name,
            columns,
            row_type: table.row_type.clone(),
            present: None,
        };
        self.rename_columns(&mut entry, alias)?;
        Ok((plan, Scope::of(entry)))
    }

    /// Applies `AS alias (a, b, …)`.
    pub(super) fn rename_columns(
        &self,
        entry: &mut ScopeTable,
        alias: Option<&ast::TableAlias>,
    ) -> Result<(), SqlError> {
        let Some(alias) = alias else {
            return Ok(());
        };
        if alias.at.is_some() || alias.columns.iter().any(|c| c.data_type.is_some()) {
            return Err(SqlError::not_supported("column definitions in an alias"));
        }
        let visible = entry.columns.iter().filter(|c| !c.hidden).count();
        if alias.columns.len() > visible {
            let message = format!(
                "table \"{}\" has {visible} columns available but {} columns specified",
                entry.alias,
                alias.columns.len()
            );
            return Err(SqlError::new(sqlstate::INVALID_COLUMN_REFERENCE, message));
        }
        for (column, name) in entry.columns.iter_mut().filter(|c| !c.hidden).zip(&alias.columns) {
            column.name = fold_identifier(&name.name);
        }
        Ok(())
    }

    /// `(SELECT …) AS alias`.
    fn derived(
        &mut self,
        query: &ast::Query,
        alias: Option<&ast::TableAlias>,
        outer: Option<&Env<'_>>,
    ) -> Result<Relation, SqlError> {
        let Some(alias) = alias else {
            return Err(SqlError::new(
                sqlstate::SYNTAX_ERROR,
                "subquery in FROM must have an alias",
            )
            .hint("For example, FROM (SELECT ...) [AS] foo."));
        };
        let (plan, columns) = self.query(query, outer)?;
        let (plan, columns) = self.decided(plan, columns)?;
        self.aliased(plan, &columns, alias)
    }

    /// A query's result under a name.
    pub(super) fn aliased(
        &mut self,
        plan: LogicalPlan,
        columns: &[OutputColumn],
        alias: &ast::TableAlias,
    ) -> Result<Relation, SqlError> {
        let name = fold_identifier(&alias.name);
        let (plan, mut entry) = self.named_query(plan, columns, &name)?;
        self.rename_columns(&mut entry, Some(alias))?;
        let (plan, order) = self.row_order(plan)?;
        Ok((plan, Scope { order, ..Scope::of(entry) }))
    }

    pub(super) fn named_query(
        &mut self,
        plan: LogicalPlan,
        columns: &[OutputColumn],
        name: &str,
    ) -> Result<(LogicalPlan, ScopeTable), SqlError> {
        let qualifier = self.unique_qualifier(name);
        let columns = columns.iter().map(|c| ScopeColumn {
            name: c.name.clone(),
            ty: c.ty.clone(),
            column: Column::new(Some(qualifier.clone()), &c.internal),
            origin: c.origin,
            keeps_modifier: c.keeps_modifier,
            merged: false,
            hidden: false,
        });
        let entry = ScopeTable::unnamed_rows(name, columns.collect());
        let plan = SubqueryAlias::try_new(Arc::new(plan), qualifier).map_err(sql_error)?;
        Ok((LogicalPlan::SubqueryAlias(plan), entry))
    }

    pub(super) fn join(
        &mut self,
        left: Relation,
        join: &ast::Join,
        outer: Option<&Env<'_>>,
    ) -> Result<Relation, SqlError> {
        use JoinOperator as J;
        if join.global {
            return Err(SqlError::new(
                sqlstate::SYNTAX_ERROR,
                "syntax error at or near \"GLOBAL\"",
            ));
        }
        let (join_type, constraint) = match &join.join_operator {
            J::Join(c) | J::Inner(c) => (JoinType::Inner, c),
            J::Left(c) | J::LeftOuter(c) => (JoinType::Left, c),
            J::Right(c) | J::RightOuter(c) => (JoinType::Right, c),
            J::FullOuter(c) => (JoinType::Full, c),
            J::CrossJoin(c) => (JoinType::Inner, c),
            other => return Err(SqlError::not_supported(format!("{other:?}"))),
        };
        if depends_on(&join.relation, &left.1) {
            let on = match constraint {
                ast::JoinConstraint::None => None,
                ast::JoinConstraint::On(on) => Some(on),
                ast::JoinConstraint::Using(_) | ast::JoinConstraint::Natural => {
                    let right = self.lateral_right(&left, &join.relation, join_type, outer)?;
                    let lateral = Joined { join_type, lateral: true };
                    return self.join_by_names(left, right, lateral, constraint);
                }
            };
            return self.lateral(left, &join.relation, join_type, on, outer);
        }
        let mut right = self.relation(&join.relation, outer)?;
        self.check_aliases(&left.1, &right.1)?;
        let mut left = left;
        if matches!(join_type, JoinType::Left | JoinType::Full) {
            right = self.with_presence(right)?;
        }
        if matches!(join_type, JoinType::Right | JoinType::Full) {
            left = self.with_presence(left)?;
        }
        self.join_relations(left, right, join_type, constraint, &join.join_operator, outer)
    }

    fn join_relations(
        &mut self,
        left: Relation,
        right: Relation,
        join_type: JoinType,
        constraint: &ast::JoinConstraint,
        operator: &JoinOperator,
        outer: Option<&Env<'_>>,
    ) -> Result<Relation, SqlError> {
        let cross_join = matches!(operator, JoinOperator::CrossJoin(_));
        match constraint {
            ast::JoinConstraint::None if cross_join => cross(left, right),
            ast::JoinConstraint::None => {
                Err(SqlError::new(sqlstate::SYNTAX_ERROR, "syntax error: JOIN without ON or USING"))
            }
            ast::JoinConstraint::On(on) => {
                let scope = left.1.join(right.1);
                let env = Env::new(&scope, outer, "JOIN conditions");
                let on = self.expr(on, &env)?;
                let on = self.condition(on, "JOIN/ON")?;
                let plan = join_plans(left.0, right.0, join_type, Some(on))?;
                Ok((plan, scope))
            }
            ast::JoinConstraint::Using(_) | ast::JoinConstraint::Natural => {
                self.join_by_names(left, right, Joined { join_type, lateral: false }, constraint)
            }
        }
    }

    /// USING and NATURAL.
    fn join_by_names(
        &mut self,
        left: Relation,
        right: Relation,
        joined: Joined,
        constraint: &ast::JoinConstraint,
    ) -> Result<Relation, SqlError> {
        match constraint {
            ast::JoinConstraint::Using(names) => {
                let mut columns = Vec::new();
                let mut alias = None;
                for name in names {
                    let name = self.name_of(name)?.name;
                    match name.strip_prefix(JOIN_ALIAS) {
                        Some(name) => alias = Some(name.to_owned()),
                        None => columns.push(name),
                    }
                }
                let (plan, mut scope) = self.join_using(left, right, joined, &columns)?;
                if let Some(alias) = alias {
                    self.name_merged(&mut scope, alias, columns.len())?;
                }
                Ok((plan, scope))
            }
            _ => {
                let names = visible_names(&right.1);
                let columns: Vec<_> =
                    visible_names(&left.1).into_iter().filter(|n| names.contains(n)).collect();
                if columns.is_empty() && !joined.lateral {
                    return cross(left, right);
                }
                self.join_using(left, right, joined, &columns)
            }
        }
    }

    fn join_using(
        &mut self,
        left: Relation,
        right: Relation,
        Joined { join_type, lateral }: Joined,
        names: &[String],
    ) -> Result<Relation, SqlError> {
        let (left_plan, mut left) = left;
        let (right_plan, mut right) = right;
        let mut condition: Option<Expr> = None;
        let mut merged = Vec::new();
        for name in names {
            let left_column = using_column(&mut left, name, "left")?;
            let right_column = using_column(&mut right, name, "right")?;
            let (l, origin) = (left_column.bound.clone(), left_column.origin);
            let (r, right_origin) = (right_column.bound.clone(), right_column.origin);
            self.note_used(origin);
            self.note_used(right_origin);
            let equal = self.compare(l.clone(), Operator::Eq, r.clone())?.expr;
            condition = Some(match condition {
                None => equal,
                Some(before) => binary(before, Operator::And, equal),
            });
            merged.push(match join_type {
                JoinType::Right => right_column,
                JoinType::Full => MergedColumn {
                    bound: self.call_builtin("coalesce", vec![l, r])?,
                    origin: (0, 0),
                    ..left_column
                },
                _ => left_column,
            });
        }
        let plan = match lateral {
            true => self.lateral_join(left_plan, right_plan, join_type, condition)?,
            false => join_plans(left_plan, right_plan, join_type, condition)?,
        };
        let mut scope = left.join(right);
        merged.append(&mut scope.merged);
        scope.merged = merged;
        Ok((plan, scope))
    }

    /// Gives the columns that USING merged, which are the first, a name of their own.
    fn name_merged(&self, scope: &mut Scope, alias: String, count: usize) -> Result<(), SqlError> {
        let mut columns = Vec::with_capacity(count);
        for merged in &scope.merged[..count] {
            let Expr::Column(column) = &merged.bound.expr else {
                return Err(SqlError::not_supported("alias of the columns of a full join"));
            };
            columns.push(ScopeColumn {
                name: merged.name.clone(),
                ty: merged.bound.ty.clone(),
                column: column.clone(),
                origin: merged.origin,
                keeps_modifier: merged.keeps_modifier,
                merged: true,
                hidden: false,
            });
        }
        let entry = Scope::of(ScopeTable::unnamed_rows(&alias, columns));
        self.check_aliases(scope, &entry)?;
        scope.tables.extend(entry.tables);
        Ok(())
    }

    /// `generate_series(…)`, `unnest(…)` and other functions in FROM, over the rows of `left`.
    pub(super) fn table_function(
        &mut self,
        left: Relation,
        factor: &TableFactor,
        outer: Option<&Env<'_>>,
    ) -> Result<Relation, SqlError> {
        let (name, args, alias, ordinality) = function_parts(factor)?;
        if args.is_empty()
            && !ordinality
            && self.context.tables.table(FUNCTIONS_SCHEMA, &name)?.is_some()
        {
            let quoted = |part: &str| ast::Ident::with_quote('"', part);
            let parts = vec![quoted(FUNCTIONS_SCHEMA), quoted(&name)];
            let right = self.table(&ast::ObjectName::from(parts), alias)?;
            self.check_aliases(&left.1, &right.1)?;
            return cross(left, right);
        }
        let env = Env::new(&left.1, outer, "functions in FROM");
        let mut bounds = Vec::new();
        for arg in &args {
            bounds.push(self.expr(arg, &env)?);
        }
        let alias_name = alias.map_or_else(|| name.clone(), |a| fold_identifier(&a.name));
        let qualifier = self.unique_qualifier(&alias_name);
        let unique = self.fresh_name(&name);
        let column = Column::new(Some(qualifier.clone()), &unique);
        let mut ordinal = None;
        let series = match name.as_str() {
            "generate_series" if !ordinality => self.integer_series(&bounds)?,
            _ => None,
        };
        // DataFusion looks for references to outer queries in its own operators only.
        let series = series.filter(|(bounds, _)| !bounds.iter().any(Expr::contains_outer));
        if let Some((bounds, ty)) = series {
            let field = ty.field(&unique, false);
            let plan = series_rows::beside(left.0, bounds, &qualifier, field);
            let plan = plan.map_err(sql_error)?;
            return self.function_relation((plan, left.1), alias, &name, ty, column, ordinal);
        }
        if let Some((lists, alias)) = self.json_record_lists(&name, &bounds, alias)? {
            return self.lists_relation(left, lists, &alias_name, alias.as_ref(), ordinality);
        }
        if let Some(lists) = self.table_lists(&name, &bounds)? {
            return self.lists_relation(left, lists, &alias_name, alias, ordinality);
        }
        let defined = match self.column_definitions(alias)? {
            Some((of, alias)) => {
                let rows = self.json_populate(&name, &bounds, Some(of))?;
                rows.map(|rows| (rows, alias))
            }
            None => None,
        };
        if let Some((rows, alias)) = defined {
            return self.rows_relation(left, rows, &column, Some(&alias), &name, ordinality);
        }
        let rows = match self.json_populate(&name, &bounds, None)? {
            None if name == "unnest" && bounds.len() == 1 => bounds.first().cloned(),
            rows => rows,
        };
        if let Some(rows) = rows.filter(|rows| rows.ty.record_or_element().is_some()) {
            return self.rows_relation(left, rows, &column, alias, &name, ordinality);
        }
        let (plan, ty) = match self.set_returning(&name, bounds.clone())? {
            Some(list) => {
                let PgType::Array(of) = list.ty.clone() else {
                    return Err(SqlError::internal(format!("{name} gives no array")));
                };
                if ordinality {
                    let unique = self.fresh_name("ordinality");
                    ordinal = Some(Column::new(Some(qualifier.clone()), unique));
                }
                let lists = vec![(list.expr, column.clone())];
                let plan = unnest_beside(left.0, lists, ordinal.as_ref())?;
                (plan, of.as_ref().clone())
            }
            None if ordinality => return Err(SqlError::not_supported("WITH ORDINALITY here")),
            None => {
                let value = self.call_builtin(&name, bounds)?;
                let mut exprs: Vec<_> =
                    left.0.schema().columns().into_iter().map(Expr::Column).collect();
                exprs.push(value.expr.alias_qualified(Some(qualifier.clone()), &unique));
                let plan = LogicalPlanBuilder::new(left.0).project(exprs);
                (plan.and_then(|b| b.build()).map_err(sql_error)?, value.ty)
            }
        };
        self.function_relation((plan, left.1), alias, &name, ty, column, ordinal)
    }

    /// `plan`, which has the columns of a function beside those of its left side, with their names.
    fn function_relation(
        &mut self,
        (plan, left): Relation,
        alias: Option<&ast::TableAlias>,
        name: &str,
        ty: PgType,
        column: Column,
        ordinal: Option<Column>,
    ) -> Result<Relation, SqlError> {
        let alias_name = alias.map_or_else(|| name.to_owned(), |a| fold_identifier(&a.name));
        // A function of one column takes the table's alias for the column, too.
        let column_name = if alias.is_some() { alias_name.to_owned() } else { name.to_owned() };
        let mut columns = vec![ScopeColumn {
            name: column_name,
            ty,
            column,
            origin: (0, 0),
            keeps_modifier: true,
            merged: false,
            hidden: false,
        }];
        if let Some(column) = ordinal {
            columns.push(ScopeColumn {
                name: "ordinality".to_owned(),
                ty: PgType::Int8,
                column,
                origin: (0, 0),
                keeps_modifier: true,
                merged: false,
                hidden: false,
            });
        }
        let mut entry = ScopeTable::unnamed_rows(&alias_name, columns);
        self.rename_columns(&mut entry, alias)?;
        let right = Scope::of(entry);
        self.check_aliases(&left, &right)?;
        Ok((plan, left.join(right)))
    }
}

pub(super) type FunctionParts<'f> = (String, Vec<ast::Expr>, Option<&'f ast::TableAlias>, bool);

pub(super) fn function_parts(factor: &TableFactor) -> Result<FunctionParts<'_>, SqlError> {
    let unsupported = |what: &str| Err(SqlError::not_supported(what));
    let (name, args, alias, ordinality) = match factor {
        TableFactor::Table { name, args: Some(args), alias, with_ordinality, .. } => {
            if args.settings.is_some() {
                return unsupported("SETTINGS of a table function");
            }
            (name, &args.args, alias, *with_ordinality)
        }
        TableFactor::Function { name, args, alias, with_ordinality, .. } => {
            (name, args, alias, *with_ordinality)
        }
        TableFactor::UNNEST { alias, array_exprs, with_offset, with_ordinality, .. } => {
            if *with_offset {
                return unsupported("unnest WITH OFFSET");
            }
            let args = array_exprs.clone();
            return Ok(("unnest".to_owned(), args, alias.as_ref(), *with_ordinality));
        }
        other => return unsupported(&format!("{other} in FROM")),
    };
    let mut exprs = Vec::new();
    for arg in args {
        match arg {
            ast::FunctionArg::Unnamed(ast::FunctionArgExpr::Expr(expr)) => exprs.push(expr.clone()),
            other => return unsupported(&format!("argument {other}")),
        }
    }
    let name = super::calls::function_name(name)?;
    Ok((name, exprs, alias.as_ref(), ordinality))
}

fn visible_names(scope: &Scope) -> Vec<String> {
    let merged = scope.merged.iter().map(|m| m.name.clone());
    let plain = scope.columns().filter(|c| !c.merged && !c.hidden).map(|c| c.name.clone());
    merged.chain(plain).collect()
}

fn using_column(scope: &mut Scope, name: &str, side: &str) -> Result<MergedColumn, SqlError> {
    let ambiguous = || {
        let message =
            format!("common column name \"{name}\" appears more than once in {side} table");
        SqlError::new(sqlstate::AMBIGUOUS_COLUMN, message)
    };
    if let Some(index) = scope.merged.iter().position(|m| m.name == name) {
        return Ok(scope.merged.remove(index));
    }
    let mut found = None;
    for table in &mut scope.tables {
        for column in table.columns.iter_mut().filter(|c| c.name == name && !c.merged) {
            if found.is_some() {
                return Err(ambiguous());
            }
            column.merged = true;
            found = Some(MergedColumn {
                name: name.to_owned(),
                bound: Bound::new(Expr::Column(column.column.clone()), column.ty.clone()),
                origin: column.origin,
                keeps_modifier: column.keeps_modifier,
            });
        }
    }
    found.ok_or_else(|| {
        let message =
            format!("column \"{name}\" specified in USING clause does not exist in {side} table");
        SqlError::new(sqlstate::UNDEFINED_COLUMN, message)
    })
}

pub(super) fn cross(left: Relation, right: Relation) -> Result<Relation, SqlError> {
    let plan = join_plans(left.0, right.0, JoinType::Inner, None)?;
    Ok((plan, left.1.join(right.1)))
}

/// A join; equalities among the condition become keys.
pub(super) fn join_plans(
    left: LogicalPlan,
    right: LogicalPlan,
    join_type: JoinType,
    on: Option<Expr>,
) -> Result<LogicalPlan, SqlError> {
    let keys = on.as_ref().map_or_else(Vec::new, |_| Vec::<(Expr, Expr)>::new());
    let join = Join::try_new(
        Arc::new(left),
        Arc::new(right),
        keys,
        on,
        join_type,
        JoinConstraint::On,
        NullEquality::NullEqualsNothing,
        false,
    )
    .map_err(sql_error)?;
    Ok(LogicalPlan::Join(join))
}
