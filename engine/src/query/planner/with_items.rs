//! Which items of a WITH refer to which, and where a recursive one may refer to itself.

use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{
    self, Cte, JoinOperator, Query, SetExpr, SetOperator, SetQuantifier, TableFactor, Visit,
    Visitor,
};

use super::{Planner, aggregates::is_aggregate};
use crate::{
    error::{SqlError, sqlstate},
    query::parser::fold_identifier,
};

/// Where a reference stands within a recursive query.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    /// Where the query may refer to itself.
    Allowed,
    StartTerm,
    Subquery,
    OuterJoin,
    Intersect,
    Except,
}

impl Place {
    /// What a reference there must not be within.
    fn description(self) -> &'static str {
        match self {
            Self::Allowed => "itself",
            Self::StartTerm => "its non-recursive term",
            Self::Subquery => "a subquery",
            Self::OuterJoin => "an outer join",
            Self::Intersect => "INTERSECT",
            Self::Except => "EXCEPT",
        }
    }

    /// This place inside another that allows no more than it does.
    fn within(self, narrower: Self) -> Self {
        if self == Self::Allowed { narrower } else { self }
    }
}

/// Walks a query in PostgreSQL's order, looking for names of relations that no WITH inside means.
struct References<'r> {
    found: &'r mut dyn FnMut(&ast::Ident, Place) -> Result<(), SqlError>,
    /// Names of WITH items inside, by WITH.
    hidden: Vec<Vec<String>>,
}

impl References<'_> {
    fn query(&mut self, query: &Query, place: Place) -> Result<(), SqlError> {
        stacker::maybe_grow(128 * 1024, 4 * 1024 * 1024, || {
            let Some(with) = &query.with else { return self.query_body(query, place) };
            let name = |cte: &Cte| fold_identifier(&cte.alias.name);
            let seen =
                if with.recursive { with.cte_tables.iter().map(name).collect() } else { vec![] };
            self.hidden.push(seen);
            for cte in &with.cte_tables {
                self.query(&cte.query, place)?;
                if !with.recursive {
                    self.hidden.last_mut().expect("pushed above").push(name(cte));
                }
            }
            let walked = self.query_body(query, place);
            self.hidden.pop();
            walked
        })
    }

    fn query_body(&mut self, query: &Query, place: Place) -> Result<(), SqlError> {
        self.body(&query.body, place)?;
        self.expressions(&query.order_by, place)?;
        self.expressions(&query.limit_clause, place)?;
        self.expressions(&query.fetch, place)
    }

    fn body(&mut self, body: &SetExpr, place: Place) -> Result<(), SqlError> {
        match body {
            SetExpr::Select(select) => self.select(select, place),
            SetExpr::Query(query) => self.query(query, place),
            SetExpr::SetOperation { op, set_quantifier, left, right } => {
                let all = *set_quantifier == SetQuantifier::All;
                let (l, r) = match op {
                    SetOperator::Intersect if all => (Place::Intersect, Place::Intersect),
                    SetOperator::Except if all => (Place::Except, Place::Except),
                    SetOperator::Except => (Place::Allowed, Place::Except),
                    _ => (Place::Allowed, Place::Allowed),
                };
                stacker::maybe_grow(128 * 1024, 4 * 1024 * 1024, || {
                    self.body(left, place.within(l))?;
                    self.body(right, place.within(r))
                })
            }
            SetExpr::Table(table) => match (&table.schema_name, &table.table_name) {
                (None, Some(name)) => self.relation(&ast::Ident::with_quote('"', name), place),
                _ => Ok(()),
            },
            other => self.expressions(other, place),
        }
    }

    fn select(&mut self, select: &ast::Select, place: Place) -> Result<(), SqlError> {
        self.expressions(&select.distinct, place)?;
        self.expressions(&select.projection, place)?;
        for item in &select.from {
            self.joined(item, item.joins.len(), place)?;
        }
        self.expressions(&select.selection, place)?;
        self.expressions(&select.group_by, place)?;
        self.expressions(&select.having, place)?;
        self.expressions(&select.named_window, place)
    }

    /// The first joins of an item of FROM: those on the left stand within the last.
    fn joined(
        &mut self,
        item: &ast::TableWithJoins,
        joins: usize,
        place: Place,
    ) -> Result<(), SqlError> {
        let Some(last) = joins.checked_sub(1) else {
            return self.factor(&item.relation, place);
        };
        let join = &item.joins[last];
        let (left, right) = match &join.join_operator {
            JoinOperator::Left(_) | JoinOperator::LeftOuter(_) => {
                (Place::Allowed, Place::OuterJoin)
            }
            JoinOperator::Right(_) | JoinOperator::RightOuter(_) => {
                (Place::OuterJoin, Place::Allowed)
            }
            JoinOperator::FullOuter(_) => (Place::OuterJoin, Place::OuterJoin),
            _ => (Place::Allowed, Place::Allowed),
        };
        stacker::maybe_grow(128 * 1024, 4 * 1024 * 1024, || {
            self.joined(item, last, place.within(left))?;
            self.factor(&join.relation, place.within(right))?;
            self.expressions(&join.join_operator, place)
        })
    }

    fn factor(&mut self, factor: &TableFactor, place: Place) -> Result<(), SqlError> {
        match factor {
            TableFactor::Table { name, args: None, .. } => match name.0.as_slice() {
                [ast::ObjectNamePart::Identifier(ident)] => self.relation(ident, place),
                _ => Ok(()),
            },
            TableFactor::Derived { subquery, .. } => self.query(subquery, place),
            TableFactor::NestedJoin { table_with_joins, .. } => {
                self.joined(table_with_joins, table_with_joins.joins.len(), place)
            }
            other => self.expressions(other, place),
        }
    }

    fn relation(&mut self, ident: &ast::Ident, place: Place) -> Result<(), SqlError> {
        let name = fold_identifier(ident);
        if self.hidden.iter().flatten().any(|hidden| *hidden == name) {
            return Ok(());
        }
        (self.found)(ident, place)
    }

    /// Queries in expressions; they are subqueries wherever they stand.
    fn expressions(&mut self, part: &impl Visit, place: Place) -> Result<(), SqlError> {
        struct Subqueries<'s, 'r> {
            references: &'s mut References<'r>,
            place: Place,
            depth: usize,
        }
        impl Visitor for Subqueries<'_, '_> {
            type Break = SqlError;

            fn pre_visit_query(&mut self, query: &Query) -> ControlFlow<SqlError> {
                self.depth += 1;
                if self.depth > 1 {
                    return ControlFlow::Continue(());
                }
                match self.references.query(query, self.place) {
                    Ok(()) => ControlFlow::Continue(()),
                    Err(error) => ControlFlow::Break(error),
                }
            }

            fn post_visit_query(&mut self, _: &Query) -> ControlFlow<SqlError> {
                self.depth -= 1;
                ControlFlow::Continue(())
            }
        }
        let place = if place == Place::StartTerm { place } else { Place::Subquery };
        match part.visit(&mut Subqueries { references: self, place, depth: 0 }) {
            ControlFlow::Break(error) => Err(error),
            ControlFlow::Continue(()) => Ok(()),
        }
    }
}

/// An item of a WITH.
#[derive(Clone, Copy)]
pub(super) struct WithItem<'q> {
    pub(super) cte: &'q Cte,
    pub(super) recursive: bool,
}

/// A query without the parentheses around it.
pub(super) fn unwrapped(query: &Query) -> &Query {
    match query.body.as_ref() {
        SetExpr::Query(inner)
            if query.with.is_none()
                && query.order_by.is_none()
                && query.limit_clause.is_none()
                && query.fetch.is_none()
                && query.locks.is_empty() =>
        {
            unwrapped(inner)
        }
        _ => query,
    }
}

impl Planner<'_> {
    /// The items of a WITH in an order in which each follows those that it refers to.
    ///
    /// # Errors
    /// 42P19 for a reference of a query to itself where there may be none; 0A000 for queries that
    /// refer to each other.
    pub(super) fn with_items<'q>(
        &self,
        with: &'q ast::With,
    ) -> Result<Vec<WithItem<'q>>, SqlError> {
        let plain = |cte| WithItem { cte, recursive: false };
        if !with.recursive {
            return Ok(with.cte_tables.iter().map(plain).collect());
        }
        let names: Vec<String> =
            with.cte_tables.iter().map(|cte| fold_identifier(&cte.alias.name)).collect();
        let mut items = Vec::with_capacity(names.len());
        for (index, cte) in with.cte_tables.iter().enumerate() {
            let mut wanted: Vec<usize> = Vec::new();
            let mut found = |ident: &ast::Ident, _| {
                let name = fold_identifier(ident);
                wanted.extend(names.iter().position(|n| *n == name));
                Ok(())
            };
            References { found: &mut found, hidden: Vec::new() }
                .query(&cte.query, Place::Allowed)?;
            let recursive = wanted.contains(&index);
            wanted.retain(|i| *i != index);
            items.push((index, WithItem { cte, recursive }, wanted));
        }
        let mut ordered: Vec<WithItem<'q>> = Vec::with_capacity(items.len());
        let mut done: Vec<usize> = Vec::with_capacity(items.len());
        while !items.is_empty() {
            let ready =
                items.iter().position(|(_, _, wanted)| wanted.iter().all(|i| done.contains(i)));
            let Some(ready) = ready else {
                let error = SqlError::new(
                    sqlstate::FEATURE_NOT_SUPPORTED,
                    "mutual recursion between WITH items is not implemented",
                );
                return Err(self.at(error, &items[0].1.cte.alias.name));
            };
            let (index, item, _) = items.remove(ready);
            done.push(index);
            ordered.push(item);
        }
        // As they are written: the first mistake in the text is the one to show.
        for cte in &with.cte_tables {
            if ordered.iter().any(|item| std::ptr::eq(item.cte, cte) && item.recursive) {
                self.check_recursion(cte)?;
            }
        }
        Ok(ordered)
    }

    /// Whether a query that refers to itself does so as it may.
    fn check_recursion(&self, cte: &Cte) -> Result<(), SqlError> {
        let name = fold_identifier(&cte.alias.name);
        let wrong = |message: String| {
            let error = SqlError::new(sqlstate::INVALID_RECURSION, message);
            Err(self.at(error, &cte.alias.name))
        };
        let query = unwrapped(&cte.query);
        let (left, right) = match query.body.as_ref() {
            SetExpr::SetOperation { op: SetOperator::Union, left, right, .. } => (left, right),
            SetExpr::Insert(_) | SetExpr::Update(_) | SetExpr::Delete(_) | SetExpr::Merge(_) => {
                return wrong(format!(
                    "recursive query \"{name}\" must not contain data-modifying statements"
                ));
            }
            _ => {
                return wrong(format!(
                    "recursive query \"{name}\" does not have the form non-recursive-term UNION \
                     [ALL] recursive-term"
                ));
            }
        };
        let mut references = 0;
        let mut found = |ident: &ast::Ident, place: Place| {
            if fold_identifier(ident) != name {
                return Ok(());
            }
            references += 1;
            let message = match place {
                Place::Allowed if references == 1 => return Ok(()),
                Place::Allowed => format!(
                    "recursive reference to query \"{name}\" must not appear more than once"
                ),
                place => format!(
                    "recursive reference to query \"{name}\" must not appear within {}",
                    place.description()
                ),
            };
            Err(self.at(SqlError::new(sqlstate::INVALID_RECURSION, message), ident))
        };
        let inside = query.with.iter().flat_map(|with| &with.cte_tables);
        let hidden: Vec<String> = inside.map(|cte| fold_identifier(&cte.alias.name)).collect();
        let mut walk = References { found: &mut found, hidden: vec![hidden] };
        walk.body(left, Place::StartTerm)?;
        walk.body(right, Place::Allowed)?;
        walk.hidden.clear();
        for cte in query.with.iter().flat_map(|with| &with.cte_tables) {
            walk.query(&cte.query, Place::Subquery)?;
        }
        self.check_recursive_clauses(query)
    }

    /// ORDER BY and what follows it, of a UNION that refers to itself.
    fn check_recursive_clauses(&self, query: &Query) -> Result<(), SqlError> {
        let refused = |clause: &str| {
            SqlError::new(
                sqlstate::FEATURE_NOT_SUPPORTED,
                format!("{clause} in a recursive query is not implemented"),
            )
        };
        if let Some(order_by) = &query.order_by {
            let error = refused("ORDER BY");
            return Err(match &order_by.kind {
                ast::OrderByKind::Expressions(items) if !items.is_empty() => {
                    self.locate(error, &items[0].expr)
                }
                _ => error,
            });
        }
        if let Some(ast::LimitClause::LimitOffset { offset: Some(offset), .. }) =
            &query.limit_clause
        {
            return Err(self.locate(refused("OFFSET"), &offset.value));
        }
        if let Some(ast::LimitClause::LimitOffset { limit: Some(limit), .. }) = &query.limit_clause
        {
            return Err(self.locate(refused("LIMIT"), limit));
        }
        if query.limit_clause.is_some() || query.fetch.is_some() {
            return Err(refused("LIMIT"));
        }
        if !query.locks.is_empty() {
            return Err(refused("FOR UPDATE/SHARE"));
        }
        Ok(())
    }

    /// Refuses aggregates where FROM reads the rows of the step before.
    pub(super) fn check_recursive_aggregates(
        &self,
        select: &ast::Select,
        order_by: &[ast::OrderByExpr],
    ) -> Result<(), SqlError> {
        struct Aggregates(usize);
        impl Visitor for Aggregates {
            type Break = ast::Expr;

            fn pre_visit_query(&mut self, _: &Query) -> ControlFlow<ast::Expr> {
                self.0 += 1;
                ControlFlow::Continue(())
            }

            fn post_visit_query(&mut self, _: &Query) -> ControlFlow<ast::Expr> {
                self.0 -= 1;
                ControlFlow::Continue(())
            }

            fn pre_visit_expr(&mut self, expr: &ast::Expr) -> ControlFlow<ast::Expr> {
                match expr {
                    ast::Expr::Function(function)
                        if self.0 == 0
                            && function.over.is_none()
                            && super::calls::function_name(&function.name)
                                .is_ok_and(|name| is_aggregate(&name)) =>
                    {
                        ControlFlow::Break(expr.clone())
                    }
                    _ => ControlFlow::Continue(()),
                }
            }
        }
        if !self.ctes.iter().any(|cte| cte.work_table) {
            return Ok(());
        }
        let reads = |factor: &TableFactor| self.reads_work_table(factor);
        if !select.from.iter().any(|item| {
            reads(&item.relation) || item.joins.iter().any(|join| reads(&join.relation))
        }) {
            return Ok(());
        }
        let mut search = Aggregates(0);
        let found = select.projection.visit(&mut search).break_value();
        let found = found.or_else(|| select.having.visit(&mut search).break_value());
        let in_keys = |item: &ast::OrderByExpr| item.expr.visit(&mut search).break_value();
        let Some(aggregate) = found.or_else(|| order_by.iter().find_map(in_keys)) else {
            return Ok(());
        };
        let error = SqlError::new(
            sqlstate::INVALID_RECURSION,
            "aggregate functions are not allowed in a recursive query's recursive term",
        );
        Err(self.locate(error, &aggregate))
    }

    fn reads_work_table(&self, factor: &TableFactor) -> bool {
        match factor {
            TableFactor::Table { name, args: None, .. } => match name.0.as_slice() {
                [ast::ObjectNamePart::Identifier(ident)] => {
                    let name = fold_identifier(ident);
                    let found = self.ctes.iter().rev().find(|cte| cte.name == name);
                    found.is_some_and(|cte| cte.work_table)
                }
                _ => false,
            },
            TableFactor::NestedJoin { table_with_joins, .. } => {
                self.reads_work_table(&table_with_joins.relation)
                    || table_with_joins.joins.iter().any(|j| self.reads_work_table(&j.relation))
            }
            _ => false,
        }
    }
}
