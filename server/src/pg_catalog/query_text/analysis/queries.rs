//! Queries: WITH, set operations, VALUES, ORDER BY, LIMIT.

use datafusion::sql::sqlparser::ast::{self, SetExpr, SetOperator, SetQuantifier};
use glaredb_engine::query::parser::{WithClauses, columns_and_clauses, fold_identifier};

use super::{
    super::{
        tree::{Column, Cte, From, Node, Query, SetTree, Sort, Table, TableKind, Target, Ty},
        types::{self, INT8, UNKNOWN},
    },
    Analysis, CteColumns, Item, Level, Name,
    coercion::common_modifier,
};

impl Analysis<'_> {
    /// A query inside of those that are being analysed.
    pub(super) fn query(&mut self, query: &ast::Query) -> Option<Query> {
        // `(SELECT …)` is what stands inside, unless something is added to it.
        if let SetExpr::Query(inner) = query.body.as_ref()
            && query.with.is_none()
            && query.order_by.is_none()
            && query.limit_clause.is_none()
            && query.fetch.is_none()
        {
            return self.query(inner);
        }
        self.levels.push(Level::default());
        let done = self.query_in_level(query);
        let level = self.levels.pop()?;
        done.map(|()| level.query)
    }

    fn query_in_level(&mut self, query: &ast::Query) -> Option<()> {
        if !query.locks.is_empty() {
            return None;
        }
        if let Some(with) = &query.with {
            self.with(with)?;
        }
        let order_by: &[ast::OrderByExpr] = match &query.order_by {
            None => &[],
            Some(ast::OrderBy { kind: ast::OrderByKind::Expressions(items), .. }) => items,
            Some(_) => return None,
        };
        match query.body.as_ref() {
            SetExpr::Select(select) => self.select(select, order_by)?,
            SetExpr::Values(values) => {
                self.values(values)?;
                self.order_by_outputs(order_by)?;
            }
            SetExpr::Table(_) => self.table_command(query)?,
            SetExpr::Query(inner) => {
                // With a clause of its own around it: PostgreSQL keeps one level.
                self.query_in_level(inner)?;
                self.order_by_outputs(order_by)?;
            }
            SetExpr::SetOperation { .. } => {
                let tree = self.set_tree(&query.body)?;
                self.unify_leaves(&tree)?;
                self.level().query.set = Some(tree);
                self.order_by_outputs(order_by)?;
            }
            _ => return None,
        }
        self.limits(query)
    }

    fn table_command(&mut self, query: &ast::Query) -> Option<()> {
        let SetExpr::Table(table) = query.body.as_ref() else { return None };
        let ident = |s: &String| ast::ObjectNamePart::Identifier(ast::Ident::with_quote('"', s));
        let parts = table.schema_name.iter().chain(&table.table_name).map(ident).collect();
        let (from, items) = self.named_relation(&ast::ObjectName(parts), None)?;
        let level = self.level();
        level.query.from.push(from);
        level.items = items;
        let targets = self.star(None)?;
        self.level().query.targets = targets;
        Some(())
    }

    fn with(&mut self, with: &ast::With) -> Option<()> {
        self.level().query.recursive = with.recursive;
        for cte in &with.cte_tables {
            let name = fold_identifier(&cte.alias.name);
            let (columns, clauses) = columns_and_clauses(&cte.alias);
            let given: Vec<String> =
                columns.iter().map(|column| fold_identifier(&column.name)).collect();
            let clauses = match clauses {
                None => None,
                // Values of a mark are expressions of a type of their own.
                Some(clauses) => Some(
                    WithClauses::read(&clauses.value)
                        .filter(|c| c.cycle.as_ref().is_none_or(|cycle| cycle.values.is_none()))?,
                ),
            };
            let query = match with.recursive {
                true => self.recursive_item(&name, &given, &cte.query)?,
                false => {
                    let mut query = self.query(&cte.query)?;
                    self.texts(&mut query);
                    query
                }
            };
            let mut columns = output_columns(&query, &given);
            if let Some(clauses) = &clauses {
                columns.extend(added_columns(clauses));
            }
            let level = self.level();
            level.ctes.push(CteColumns { name: name.clone(), columns });
            level.query.ctes.push(Cte {
                name,
                columns: given,
                materialized: cte
                    .materialized
                    .as_ref()
                    .map(|m| matches!(m, ast::CteAsMaterialized::Materialized)),
                query,
                clauses,
            });
        }
        Some(())
    }

    /// An item of WITH RECURSIVE: it may read itself, with the columns of its first part.
    fn recursive_item(
        &mut self,
        name: &str,
        given: &[String],
        query: &ast::Query,
    ) -> Option<Query> {
        let mut first = query.body.as_ref();
        while let SetExpr::Query(inner) = first {
            first = inner.body.as_ref();
        }
        let SetExpr::SetOperation { left, .. } = first else {
            let mut query = self.query(query)?;
            self.texts(&mut query);
            return Some(query);
        };
        let alone = ast::Query {
            body: left.clone(),
            order_by: None,
            limit_clause: None,
            fetch: None,
            ..query.clone()
        };
        let mut first = self.query(&alone)?;
        self.texts(&mut first);
        let columns = output_columns(&first, given);
        self.level().ctes.push(CteColumns { name: name.to_owned(), columns });
        let done = self.query(query);
        self.level().ctes.pop();
        let mut query = done?;
        self.texts(&mut query);
        Some(query)
    }

    pub(super) fn cte(&self, name: &str) -> Option<&CteColumns> {
        let mut levels = self.levels.iter().rev();
        levels.find_map(|level| level.ctes.iter().rev().find(|cte| cte.name == name))
    }

    /// A set operation whose operands become subqueries of the range table.
    fn set_tree(&mut self, body: &SetExpr) -> Option<SetTree> {
        match body {
            SetExpr::SetOperation { op, set_quantifier, left, right } => {
                let name = match op {
                    SetOperator::Union => "UNION",
                    SetOperator::Intersect => "INTERSECT",
                    _ => "EXCEPT",
                };
                let all = matches!(set_quantifier, SetQuantifier::All);
                let left = Box::new(self.set_tree(left)?);
                let right = Box::new(self.set_tree(right)?);
                Some(SetTree::Operation { name, all, left, right })
            }
            SetExpr::Query(query)
                if query.with.is_none()
                    && query.order_by.is_none()
                    && query.limit_clause.is_none()
                    && query.fetch.is_none()
                    && matches!(
                        query.body.as_ref(),
                        SetExpr::SetOperation { .. } | SetExpr::Query(_)
                    ) =>
            {
                self.set_tree(&query.body)
            }
            other => {
                let query = match other {
                    SetExpr::Query(query) => self.query(query)?,
                    body => {
                        let alone = ast::Query {
                            with: None,
                            body: Box::new(body.clone()),
                            order_by: None,
                            limit_clause: None,
                            fetch: None,
                            locks: Vec::new(),
                            for_clause: None,
                            settings: None,
                            format_clause: None,
                            pipe_operators: Vec::new(),
                        };
                        self.query(&alone)?
                    }
                };
                let tables = &mut self.level().query.tables;
                let name = format!("*SELECT* {}", tables.len() + 1);
                tables.push(subquery_table(query, name, None));
                Some(SetTree::Leaf(tables.len() - 1))
            }
        }
    }

    /// Constants without a type take those of the other operands; the columns are those of the
    /// first one.
    fn unify_leaves(&mut self, tree: &SetTree) -> Option<()> {
        let tys = self.set_types(tree)?;
        let mut first = tree;
        while let SetTree::Operation { left, .. } = first {
            first = left;
        }
        let SetTree::Leaf(first) = first else { return None };
        let first = *first;
        let level = self.level();
        let names: Vec<String> =
            level.query.tables[first].columns.iter().map(|column| column.name.clone()).collect();
        for (column, (ty, name)) in tys.into_iter().zip(names).enumerate() {
            let node = Node::Column { up: 0, table: first, column, ty };
            level.query.targets.push(Target { node, name, hidden: false });
        }
        Some(())
    }

    fn set_types(&mut self, tree: &SetTree) -> Option<Vec<Ty>> {
        match tree {
            SetTree::Leaf(table) => {
                let columns = &self.level().query.tables[*table].columns;
                Some(columns.iter().map(|column| column.ty).collect())
            }
            SetTree::Operation { left, right, .. } => {
                let (l, r) = (self.set_types(left)?, self.set_types(right)?);
                if l.len() != r.len() {
                    return None;
                }
                let mut tys = Vec::with_capacity(l.len());
                for (column, (l, r)) in l.into_iter().zip(r).enumerate() {
                    let oid = types::common_type(&[l.oid, r.oid])?;
                    for (side, ty) in [(left, l), (right, r)] {
                        if let (SetTree::Leaf(table), UNKNOWN) = (side.as_ref(), ty.oid) {
                            self.retype(*table, column, oid);
                        }
                    }
                    let typmod = if l == r { l.typmod } else { -1 };
                    tys.push(Ty { oid, typmod });
                }
                Some(tys)
            }
        }
    }

    /// Gives an untyped constant in the select list of an operand a type.
    fn retype(&mut self, table: usize, column: usize, oid: u32) {
        let mut entry = self.level().query.tables[table].clone();
        if let TableKind::Subquery(query) = &mut entry.kind {
            let visible = query.targets.iter_mut().filter(|target| !target.hidden);
            if let Some(target) = visible.into_iter().nth(column) {
                target.node = self.implied(target.node.clone(), oid);
            }
        }
        entry.columns[column].ty = Ty::of(oid);
        self.level().query.tables[table] = entry;
    }

    fn values(&mut self, values: &ast::Values) -> Option<()> {
        let mut rows: Vec<Vec<Node>> = Vec::with_capacity(values.rows.len());
        for row in &values.rows {
            let nodes = row.content.iter().map(|expr| self.expr(expr));
            rows.push(nodes.collect::<Option<Vec<_>>>()?);
        }
        let width = rows.first().map_or(0, Vec::len);
        let mut columns = Vec::with_capacity(width);
        for at in 0..width {
            let nodes: Vec<Node> = rows.iter().map(|row| row[at].clone()).collect();
            let (nodes, ty) = self.unified(nodes)?;
            let typmod = common_modifier(&nodes);
            for (row, node) in rows.iter_mut().zip(nodes) {
                row[at] = node;
            }
            let name = format!("column{}", at + 1);
            columns.push(Column { now: Some(name.clone()), name, ty: Ty { oid: ty.oid, typmod } });
        }
        let level = self.level();
        let table = level.query.tables.len();
        let names = |columns: &[Column]| -> Vec<Name> {
            let name = |(at, c): (usize, &Column)| Name {
                name: c.name.clone(),
                place: (table, at),
                ty: c.ty,
            };
            columns.iter().enumerate().map(name).collect()
        };
        let found = names(&columns);
        level.query.from.push(From::Table(table));
        level.items.push(Item {
            name: Some("*VALUES*".to_owned()),
            schema: None,
            table,
            columns: found,
            bare: true,
        });
        level.query.tables.push(Table {
            kind: TableKind::Values(rows),
            alias: None,
            name: "*VALUES*".to_owned(),
            known: columns.len(),
            columns,
            lateral: false,
            sample: None,
        });
        let targets = self.star(None)?;
        self.level().query.targets = targets;
        Some(())
    }

    /// ORDER BY over outputs only.
    fn order_by_outputs(&mut self, items: &[ast::OrderByExpr]) -> Option<()> {
        for item in items {
            let target = self.output(&item.expr).or_else(|| {
                let node = self.expr(&item.expr)?;
                Some(self.target(node))
            })?;
            self.sort(item, target);
        }
        Some(())
    }

    /// The output that a number or name in ORDER BY means.
    pub(super) fn output(&mut self, expr: &ast::Expr) -> Option<usize> {
        let targets = &self.level().query.targets;
        match expr {
            ast::Expr::Nested(_) => None,
            ast::Expr::Value(value) => match &value.value {
                ast::Value::Number(text, _) => {
                    let number: usize = text.parse().ok()?;
                    let visible = targets.iter().enumerate().filter(|(_, t)| !t.hidden);
                    visible.map(|(at, _)| at).nth(number.checked_sub(1)?)
                }
                _ => None,
            },
            ast::Expr::Identifier(ident) => {
                let name = fold_identifier(ident);
                targets.iter().position(|target| !target.hidden && target.name == name)
            }
            _ => None,
        }
    }

    /// The place of an expression in the select list, where it is put if it is not there.
    pub(super) fn target(&mut self, node: Node) -> usize {
        let node = self.decided(node);
        let targets = &mut self.level().query.targets;
        if let Some(at) = targets.iter().position(|target| target.node == node) {
            return at;
        }
        targets.push(Target { node, name: String::new(), hidden: true });
        targets.len() - 1
    }

    /// Adds a key of ORDER BY.
    pub(super) fn sort(&mut self, item: &ast::OrderByExpr, target: usize) {
        let node = self.level().query.targets[target].node.clone();
        // An untyped constant that is sorted by is text.
        let node = self.decided(node);
        self.level().query.targets[target].node = node.clone();
        let sort = sort_key(item, node, target);
        self.level().query.order_by.push(sort);
    }

    fn limits(&mut self, query: &ast::Query) -> Option<()> {
        let (mut limit, mut offset) = (None, None);
        match &query.limit_clause {
            None => {}
            Some(ast::LimitClause::LimitOffset { limit: l, offset: o, .. }) => {
                limit = l.as_ref();
                offset = o.as_ref().map(|o| &o.value);
            }
            Some(_) => return None,
        }
        let one = ast::Expr::value(ast::Value::Number("1".to_owned(), false));
        if let Some(fetch) = &query.fetch {
            limit = Some(fetch.quantity.as_ref().unwrap_or(&one));
            self.level().query.with_ties = fetch.with_ties;
        }
        // They see nothing of FROM.
        let items = std::mem::take(&mut self.level().items);
        let mut count = |expr: Option<&ast::Expr>| match expr {
            None => Some(None),
            Some(expr) => {
                let node = self.expr(expr)?;
                Some(Some(self.cast(node, Ty::of(INT8), 'a')?))
            }
        };
        let (limit, offset) = (count(limit)?, count(offset)?);
        let level = self.level();
        level.items = items;
        if limit.is_some() {
            level.query.limit = limit;
        }
        if offset.is_some() {
            level.query.offset = offset;
        }
        Some(())
    }
}

pub(super) fn sort_key(item: &ast::OrderByExpr, node: Node, target: usize) -> Sort {
    let descending = item.options.asc == Some(false);
    Sort { node, target, descending, nulls_first: item.options.nulls_first }
}

/// Names and types of what a query gives, some of them renamed.
pub(super) fn output_columns(query: &Query, renamed: &[String]) -> Vec<(String, Ty)> {
    let visible = query.targets.iter().filter(|target| !target.hidden).enumerate();
    visible
        .map(|(at, target)| (renamed.get(at).unwrap_or(&target.name).clone(), target.node.ty()))
        .collect()
}

/// The columns that SEARCH and CYCLE add.
fn added_columns(clauses: &WithClauses) -> Vec<(String, Ty)> {
    const BOOL: u32 = 16;
    const RECORD_OID: u32 = 2249;
    const RECORD_ARRAY_OID: u32 = 2287;
    let mut columns = Vec::new();
    if let Some(search) = &clauses.search {
        let oid = if search.breadth_first { RECORD_OID } else { RECORD_ARRAY_OID };
        columns.push((search.sequence.clone(), Ty::of(oid)));
    }
    if let Some(cycle) = &clauses.cycle {
        columns.push((cycle.mark.clone(), Ty::of(BOOL)));
        columns.push((cycle.path.clone(), Ty::of(RECORD_ARRAY_OID)));
    }
    columns
}

/// An entry of the range table for a subquery.
pub(super) fn subquery_table(
    query: Query,
    name: String,
    alias: Option<super::super::tree::Alias>,
) -> Table {
    let columns = output_columns(&query, &[]).into_iter();
    let columns: Vec<Column> =
        columns.map(|(name, ty)| Column { now: Some(name.clone()), name, ty }).collect();
    Table {
        kind: TableKind::Subquery(Box::new(query)),
        alias,
        name,
        known: columns.len(),
        columns,
        lateral: false,
        sample: None,
    }
}
