//! FROM: relations, subqueries, functions and joins.

use datafusion::sql::sqlparser::ast::{self, JoinConstraint, JoinOperator, TableFactor};
use glaredb_catalog::descriptor::{self, ViewRelation};
use glaredb_engine::query::{
    parser::{JOIN_ALIAS, fold_identifier},
    type_names,
};

use super::{
    super::{
        tree::{
            Alias, Column, Conversion, From, Join, JoinColumn, JoinType, Node, Table, TableKind, Ty,
        },
        ty_of, types,
    },
    Analysis, Item, Name,
    coercion::common_modifier,
    queries::subquery_table,
};
use crate::pg_catalog::definitions;

/// A part of FROM with the names it brings.
type Part = (From, Vec<Item>);

impl Analysis<'_> {
    pub(super) fn sources(&mut self, list: &[ast::TableWithJoins]) -> Option<()> {
        let mut seen: Vec<Item> = Vec::new();
        for entry in list {
            let (from, items) = self.joined(entry, &seen)?;
            seen.extend(items);
            self.level().query.from.push(from);
        }
        self.level().items = seen;
        Some(())
    }

    /// `before`: what LATERAL may refer to.
    fn joined(&mut self, entry: &ast::TableWithJoins, before: &[Item]) -> Option<Part> {
        let mut part = self.factor(&entry.relation, before)?;
        for join in &entry.joins {
            part = self.join(part, join, before)?;
        }
        Some(part)
    }

    fn factor(&mut self, factor: &TableFactor, before: &[Item]) -> Option<Part> {
        match factor {
            TableFactor::Table { name, alias, args: None, sample, .. } => {
                let (from, items) = self.named_relation(name, alias.as_ref())?;
                if let (Some(sample), From::Table(table)) = (sample, &from) {
                    let text = self.sample(sample)?;
                    self.level().query.tables[*table].sample = Some(text);
                }
                Some((from, items))
            }
            TableFactor::Derived { lateral, subquery, alias, sample: None } => {
                self.subquery(subquery, alias.as_ref()?, *lateral, before)
            }
            TableFactor::NestedJoin { table_with_joins, alias } => {
                let (from, items) = self.joined(table_with_joins, before)?;
                match alias {
                    None => Some((from, items)),
                    Some(alias) => self.aliased_join(from, alias),
                }
            }
            TableFactor::Table { args: Some(_), .. }
            | TableFactor::Function { .. }
            | TableFactor::UNNEST { .. } => self.function_in_from(factor, before),
            _ => None,
        }
    }

    fn sample(&mut self, sample: &ast::TableSampleKind) -> Option<String> {
        let (ast::TableSampleKind::BeforeTableAlias(sample)
        | ast::TableSampleKind::AfterTableAlias(sample)) = sample;
        let method = sample.name.as_ref()?.to_string().to_lowercase();
        let quantity = self.expr(&sample.quantity.as_ref()?.value)?;
        let quantity = self.implied(quantity, 700);
        let shown = super::super::printing::expression(
            self.around,
            &quantity,
            super::super::Layout::expression(true),
        );
        Some(format!("{method} ({shown})"))
    }

    /// Adds an entry to the range table, under its alias or name.
    fn entry(&mut self, table: Table, schema: Option<String>) -> Option<Part> {
        let at = self.level().query.tables.len();
        let given = table.alias.as_ref().map(|alias| alias.columns.clone()).unwrap_or_default();
        let known = &table.columns[..table.known];
        let columns = known.iter().enumerate().map(|(n, column)| Name {
            name: given.get(n).unwrap_or(&column.name).clone(),
            place: (at, n),
            ty: column.ty,
        });
        let name = table.alias.as_ref().map_or(&table.name, |alias| &alias.name).clone();
        let item = Item {
            name: Some(name),
            schema: schema.filter(|_| table.alias.is_none()),
            table: at,
            columns: columns.collect(),
            bare: true,
        };
        self.level().query.tables.push(table);
        Some((From::Table(at), vec![item]))
    }

    pub(super) fn named_relation(
        &mut self,
        name: &ast::ObjectName,
        alias: Option<&ast::TableAlias>,
    ) -> Option<Part> {
        let parts: Vec<String> =
            name.0.iter().filter_map(|part| part.as_ident()).map(fold_identifier).collect();
        let (schema, name) = match parts.as_slice() {
            [name] => (None, name),
            [schema, name] | [_, schema, name] => (Some(schema.as_str()), name),
            _ => return None,
        };
        let alias = alias.map(alias_of);
        if schema.is_none()
            && let Some(cte) = self.cte(name)
        {
            let columns = cte.columns.clone().into_iter();
            let columns: Vec<Column> =
                columns.map(|(name, ty)| Column { now: Some(name.clone()), name, ty }).collect();
            let table = Table {
                kind: TableKind::Cte,
                alias,
                name: name.clone(),
                known: columns.len(),
                columns,
                lateral: false,
                sample: None,
            };
            return self.entry(table, None);
        }
        let (oid, columns, known) = self.relation(schema, name)?;
        let schema = schema.map(str::to_owned).or_else(|| {
            let (now, _) = crate::pg_catalog::relation_name(self.around.catalog, oid)?;
            // Unless that is what another relation was called by, and has been moved since.
            let is_other = |other: &ViewRelation| {
                other.name == *name && other.schema.as_deref() == Some(&now) && other.oid != oid
            };
            (!self.relations.iter().any(is_other)).then_some(now)
        });
        let table = Table {
            kind: TableKind::Relation { oid },
            alias,
            name: name.clone(),
            columns,
            known,
            lateral: false,
            sample: None,
        };
        self.entry(table, schema)
    }

    /// The relation that a name meant when the view was made: its OID, the columns it had then with
    /// their names of today, those that came since, and how many there were.
    fn relation(&self, schema: Option<&str>, name: &str) -> Option<(u32, Vec<Column>, usize)> {
        let known = self
            .relations
            .iter()
            .find(|known| known.name == name && known.schema.as_deref() == schema);
        if let Some(known) = known {
            let table = self.around.catalog.table_by_oid(known.oid)?;
            return Some(columns_then_and_now(table, known));
        }
        let definition = definitions::find(schema.unwrap_or("pg_catalog"), name)?;
        let column = |column: &definitions::ColumnDefinition| Column {
            name: column.name.to_owned(),
            now: Some(column.name.to_owned()),
            ty: Ty { oid: column.type_oid, typmod: column.typmod },
        };
        let columns: Vec<Column> = definition.columns.iter().map(column).collect();
        let known = columns.len();
        Some((definition.oid, columns, known))
    }

    fn subquery(
        &mut self,
        query: &ast::Query,
        alias: &ast::TableAlias,
        lateral: bool,
        before: &[Item],
    ) -> Option<Part> {
        self.level().items = if lateral { before.to_vec() } else { Vec::new() };
        let mut query = self.query(query)?;
        self.level().items = Vec::new();
        self.texts(&mut query);
        let alias = alias_of(alias);
        let mut table = subquery_table(query, alias.name.clone(), Some(alias));
        table.lateral = lateral;
        self.entry(table, None)
    }

    fn function_in_from(&mut self, factor: &TableFactor, before: &[Item]) -> Option<Part> {
        let (call, alias, ordinality, lateral) = match factor {
            TableFactor::Table { name, args: Some(args), alias, with_ordinality, .. } => {
                (call_of(name.clone(), args.args.clone()), alias, *with_ordinality, false)
            }
            TableFactor::Function { lateral, name, args, with_ordinality, alias } => {
                (call_of(name.clone(), args.clone()), alias, *with_ordinality, *lateral)
            }
            TableFactor::UNNEST { alias, array_exprs, with_ordinality, .. } => {
                let arg = |expr: &ast::Expr| {
                    ast::FunctionArg::Unnamed(ast::FunctionArgExpr::Expr(expr.clone()))
                };
                let name = ast::ObjectName::from(vec![ast::Ident::new("unnest")]);
                (
                    call_of(name, array_exprs.iter().map(arg).collect()),
                    alias,
                    *with_ordinality,
                    false,
                )
            }
            _ => return None,
        };
        self.level().items = before.to_vec();
        let node = self.expr(&ast::Expr::Function(call.clone()));
        self.level().items = Vec::new();
        let node = node?;
        let name = fold_identifier(call.name.0.last()?.as_ident()?);
        let mut alias_of_call = alias.as_ref().map(alias_of);
        let mut definitions = Vec::new();
        if let Some(alias) = alias {
            for column in &alias.columns {
                if let Some(ty) = &column.data_type {
                    let ty = ty_of(&type_names::pg_type(ty).ok()?);
                    definitions.push((fold_identifier(&column.name), ty));
                }
            }
        }
        if !definitions.is_empty()
            && let Some(alias) = &mut alias_of_call
        {
            alias.columns = Vec::new();
        }
        let mut columns = self.function_columns(&node, &name, alias_of_call.as_ref(), &definitions);
        if ordinality {
            columns.push(("ordinality".to_owned(), Ty::of(types::INT8)));
        }
        let columns: Vec<Column> = columns
            .into_iter()
            .map(|(name, ty)| Column { now: Some(name.clone()), name, ty })
            .collect();
        let lateral = lateral || super::expressions::has_columns(&node);
        let table = Table {
            kind: TableKind::Function {
                calls: vec![node],
                rows_from: false,
                ordinality,
                definitions,
            },
            alias: alias_of_call,
            name,
            known: columns.len(),
            columns,
            lateral,
            sample: None,
        };
        self.entry(table, None)
    }

    /// The columns of what a function in FROM gives.
    fn function_columns(
        &self,
        node: &Node,
        name: &str,
        alias: Option<&Alias>,
        definitions: &[(String, Ty)],
    ) -> Vec<(String, Ty)> {
        if !definitions.is_empty() {
            return definitions.to_vec();
        }
        if let Node::Call(call) = node {
            let actual: Vec<u32> = call.args.iter().map(|arg| arg.ty().oid).collect();
            let chosen = types::function(&call.name, &actual, call.variadic);
            if let Some(chosen) = chosen.filter(|chosen| chosen.signature.columns.len() > 1) {
                let columns = chosen.signature.columns.iter();
                return columns.map(|(name, ty)| ((*name).to_owned(), Ty::of(*ty))).collect();
            }
            if let Some(chosen) = types::function(&call.name, &actual, call.variadic)
                && let [(column, _)] = chosen.signature.columns.as_slice()
                && alias.is_none()
            {
                return vec![((*column).to_owned(), call.ty)];
            }
        }
        // One value: a column with the name of the whole.
        let name = alias.map_or(name, |alias| &alias.name);
        vec![(name.to_owned(), node.ty())]
    }

    fn join(&mut self, left: Part, join: &ast::Join, before: &[Item]) -> Option<Part> {
        use JoinOperator as J;
        let (ty, constraint) = match &join.join_operator {
            J::Join(c) | J::Inner(c) | J::CrossJoin(c) => (JoinType::Inner, c),
            J::Left(c) | J::LeftOuter(c) => (JoinType::Left, c),
            J::Right(c) | J::RightOuter(c) => (JoinType::Right, c),
            J::FullOuter(c) => (JoinType::Full, c),
            _ => return None,
        };
        let mut seen = before.to_vec();
        seen.extend(left.1.iter().cloned());
        let right = self.factor(&join.relation, &seen)?;
        let mut using_alias = None;
        let names: Vec<String> = match constraint {
            JoinConstraint::Using(names) => {
                let mut columns = Vec::new();
                for name in names {
                    let name = fold_identifier(name.0.last()?.as_ident()?);
                    match name.strip_prefix(JOIN_ALIAS) {
                        Some(alias) => using_alias = Some(alias.to_owned()),
                        None => columns.push(name),
                    }
                }
                columns
            }
            JoinConstraint::Natural => {
                let has = |name: &String| bare(&right.1).any(|column| column.name == *name);
                bare(&left.1).map(|column| column.name.clone()).filter(has).collect()
            }
            _ => Vec::new(),
        };
        let on = match constraint {
            JoinConstraint::On(on) => {
                let mut items = left.1.clone();
                items.extend(right.1.iter().cloned());
                self.level().items = items;
                let on = self.condition(on);
                self.level().items = Vec::new();
                Some(on?)
            }
            _ => None,
        };
        self.joined_parts(left, right, ty, &names, using_alias, on)
    }

    /// The entry of a join. `names`: the columns that are merged.
    fn joined_parts(
        &mut self,
        left: Part,
        right: Part,
        ty: JoinType,
        names: &[String],
        using_alias: Option<String>,
        on: Option<Node>,
    ) -> Option<Part> {
        let at = self.level().query.tables.len();
        let (mut columns, mut found) = (Vec::new(), Vec::new());
        let find = |part: &Part, name: &String| {
            let (n, found) = bare(&part.1).enumerate().find(|(_, c)| c.name == *name)?;
            Some((found.clone(), place_in(&part.0, n, found)))
        };
        for name in names {
            let ((l, in_left), (r, in_right)) = (find(&left, name)?, find(&right, name)?);
            let (node, place) = self.merged(ty, &l, &r, (at, columns.len()))?;
            let ty = node.ty();
            found.push(Name { name: name.clone(), place, ty });
            columns.push(JoinColumn { left: Some(in_left), right: Some(in_right), node });
        }
        for (side, is_left) in [(&left, true), (&right, false)] {
            let rest = bare(&side.1).enumerate();
            for (n, column) in rest.filter(|(_, column)| !names.contains(&column.name)) {
                let (table, place) = column.place;
                let node = Node::Column { up: 0, table, column: place, ty: column.ty };
                let own = Some(place_in(&side.0, n, column));
                let (l, r) = if is_left { (own, None) } else { (None, own) };
                columns.push(JoinColumn { left: l, right: r, node });
                found.push(column.clone());
            }
        }
        let shown = found.iter().zip(&columns).map(|(name, column)| Column {
            name: name.name.clone(),
            now: Some(name.name.clone()),
            ty: column.node.ty(),
        });
        let shown: Vec<Column> = shown.collect();
        // The sides keep their names, but only the join's columns are found without one.
        let hidden = |mut item: Item| {
            item.bare = false;
            item
        };
        let mut items: Vec<Item> = left.1.into_iter().chain(right.1).map(hidden).collect();
        if let Some(alias) = &using_alias {
            items.push(Item {
                name: Some(alias.clone()),
                schema: None,
                table: at,
                columns: found[..names.len()].to_vec(),
                bare: false,
            });
        }
        items.push(Item { name: None, schema: None, table: at, columns: found, bare: true });
        self.level().query.tables.push(Table {
            kind: TableKind::Join(columns),
            alias: None,
            name: "unnamed_join".to_owned(),
            known: shown.len(),
            columns: shown,
            lateral: false,
            sample: None,
        });
        let (merged, table) = (names.len(), at);
        let join = Join { table, ty, left: left.0, right: right.0, merged, using_alias, on };
        Some((From::Join(Box::new(join)), items))
    }

    /// What a merged column is, and what references to it become.
    fn merged(
        &self,
        ty: JoinType,
        left: &Name,
        right: &Name,
        own: (usize, usize),
    ) -> Option<(Node, (usize, usize))> {
        let node = |name: &Name| {
            let (table, column) = name.place;
            Node::Column { up: 0, table, column, ty: name.ty }
        };
        let oid = types::common_type(&[left.ty.oid, right.ty.oid])?;
        let typmod = common_modifier(&[node(left), node(right)]);
        let typmod = if left.ty.oid == right.ty.oid { typmod } else { -1 };
        let cast = |name: &Name| {
            let of = node(name);
            match of.ty().oid == oid && of.ty().typmod == typmod {
                true => of,
                false => Node::Cast {
                    arg: Box::new(of),
                    ty: Ty { oid, typmod },
                    implicit: true,
                    by: Conversion::Relabel,
                },
            }
        };
        let (l, r) = (cast(left), cast(right));
        let is_column = |node: &Node| matches!(node, Node::Column { .. });
        Some(match ty {
            JoinType::Full => (Node::Coalesce { args: vec![l, r], ty: Ty { oid, typmod } }, own),
            // The side that is there even where the other one is not.
            JoinType::Right if is_column(&r) => (r, right.place),
            JoinType::Right => (r, own),
            JoinType::Inner if !is_column(&l) && is_column(&r) => (r, right.place),
            _ if is_column(&l) => (l, left.place),
            _ => (l, own),
        })
    }

    /// `(… JOIN …) AS alias`: under the alias, and nothing of it under another name.
    fn aliased_join(&mut self, from: From, alias: &ast::TableAlias) -> Option<Part> {
        let alias = alias_of(alias);
        let From::Join(join) = &from else {
            return None;
        };
        let at = join.table;
        let entry = &mut self.level().query.tables[at];
        let columns = entry.columns.iter().enumerate().map(|(n, column)| Name {
            name: alias.columns.get(n).unwrap_or(&column.name).clone(),
            place: (at, n),
            ty: column.ty,
        });
        let columns: Vec<Name> = columns.collect();
        entry.alias = Some(alias.clone());
        let item = Item { name: Some(alias.name), schema: None, table: at, columns, bare: true };
        Some((from, vec![item]))
    }
}

/// The columns that are found without a relation's name.
fn bare(items: &[Item]) -> impl Iterator<Item = &Name> {
    items.iter().filter(|item| item.bare).flat_map(|item| &item.columns)
}

/// Where a side of a join has its `n`th column: a join in there has it itself.
fn place_in(side: &From, n: usize, column: &Name) -> (usize, usize) {
    match side {
        From::Table(_) => column.place,
        From::Join(join) => (join.table, n),
    }
}

fn alias_of(alias: &ast::TableAlias) -> Alias {
    Alias {
        name: fold_identifier(&alias.name),
        columns: alias.columns.iter().map(|column| fold_identifier(&column.name)).collect(),
    }
}

fn call_of(name: ast::ObjectName, args: Vec<ast::FunctionArg>) -> ast::Function {
    ast::Function {
        name,
        uses_odbc_syntax: false,
        parameters: ast::FunctionArguments::None,
        args: ast::FunctionArguments::List(ast::FunctionArgumentList {
            duplicate_treatment: None,
            args,
            clauses: Vec::new(),
        }),
        filter: None,
        null_treatment: None,
        over: None,
        within_group: Vec::new(),
    }
}

fn columns_then_and_now(
    table: &descriptor::Table,
    known: &descriptor::ViewRelation,
) -> (u32, Vec<Column>, usize) {
    let mut columns = Vec::with_capacity(table.columns.len());
    for then in &known.columns {
        let now = table.column_by_id(then.id);
        let ty =
            now.map_or(Ty::of(types::UNKNOWN), |now| Ty { oid: now.type_oid, typmod: now.typmod });
        columns.push(Column { name: then.name.clone(), now: now.map(|now| now.name.clone()), ty });
    }
    let count = columns.len();
    for new in &table.columns {
        if !known.columns.iter().any(|then| then.id == new.id) {
            let ty = Ty { oid: new.type_oid, typmod: new.typmod };
            columns.push(Column { name: new.name.clone(), now: Some(new.name.clone()), ty });
        }
    }
    (table.oid, columns, count)
}
