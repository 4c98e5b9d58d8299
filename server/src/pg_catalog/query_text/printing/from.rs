//! FROM.

use glaredb_engine::query::quoting::quote_identifier;

use super::{
    super::tree::{From, Join, JoinType, Query, TableKind},
    Printer, STEP, SUBSTEP,
};

impl<'q> Printer<'_, 'q> {
    pub(super) fn from(&mut self, from: &'q From, query: &'q Query) {
        match from {
            From::Table(table) => self.entry(*table, query),
            From::Join(join) => self.join(join, query),
        }
    }

    fn entry(&mut self, at: usize, query: &'q Query) {
        let Some(table) = query.tables.get(at) else { return };
        let name = self.namespace(0).and_then(|space| space.names.tables[at].clone());
        let name = name.unwrap_or_default();
        if table.lateral {
            self.out.push_str("LATERAL ");
        }
        let mut definitions = None;
        // A list of columns needs an alias in front of it.
        let listed = self.namespace(0).is_some_and(|space| space.names.columns[at].listed);
        let has_alias = table.alias.is_some();
        let shown = match &table.kind {
            TableKind::Relation { oid } => {
                let relation = self.around.relation_name(*oid);
                self.out.push_str(&relation);
                let own = crate::pg_catalog::relation_name(self.around.catalog, *oid);
                has_alias || listed || own.is_none_or(|(_, own)| own != name)
            }
            TableKind::Subquery(subquery) => {
                self.out.push('(');
                self.query(subquery, None, true);
                self.out.push(')');
                true
            }
            TableKind::Values(rows) => {
                self.out.push('(');
                self.values(rows);
                self.out.push(')');
                true
            }
            TableKind::Cte => {
                self.out.push_str(&quote_identifier(&table.name));
                has_alias || listed || table.name != name
            }
            TableKind::Function { calls, rows_from, ordinality, definitions: defined } => {
                if *rows_from {
                    self.out.push_str("ROWS FROM(");
                }
                self.list(calls, ", ", |this, call| this.call_in_from(call));
                if *rows_from {
                    self.out.push(')');
                }
                if *ordinality {
                    self.out.push_str(" WITH ORDINALITY");
                }
                definitions = (!defined.is_empty()).then_some(defined);
                true
            }
            TableKind::Join(_) => return,
        };
        if shown {
            self.out.push(' ');
            self.out.push_str(&quote_identifier(&name));
        }
        match definitions {
            None => self.column_aliases(at),
            Some(definitions) => {
                if !shown {
                    self.out.push_str(" AS ");
                }
                self.out.push('(');
                for (n, (name, ty)) in definitions.iter().enumerate() {
                    let separator = if n > 0 { ", " } else { "" };
                    let ty = self.around.type_name(*ty);
                    self.out.push_str(&format!("{separator}{} {ty}", quote_identifier(name)));
                }
                self.out.push(')');
            }
        }
        if let Some(sample) = &table.sample {
            self.out.push_str(&format!(" TABLESAMPLE {sample}"));
        }
    }

    fn column_aliases(&mut self, at: usize) {
        let columns = self.namespace(0).map(|space| space.names.columns[at].clone());
        if let Some(columns) = columns.filter(|columns| columns.listed && !columns.today.is_empty())
        {
            let names: Vec<String> = columns.today.into_iter().map(|(name, _)| name).collect();
            self.name_list(&names);
        }
    }

    fn join(&mut self, join: &'q Join, query: &'q Query) {
        let alias = query.tables.get(join.table).and_then(|table| table.alias.as_ref());
        let outer = !self.layout.pretty || alias.is_some();
        if outer {
            self.out.push('(');
        }
        self.from(&join.left, query);
        let has_condition = join.on.is_some() || join.merged > 0;
        let word = match join.ty {
            JoinType::Inner if has_condition => " JOIN ",
            JoinType::Inner => " CROSS JOIN ",
            JoinType::Left => " LEFT JOIN ",
            JoinType::Right => " RIGHT JOIN ",
            JoinType::Full => " FULL JOIN ",
        };
        self.keyword(word, STEP, STEP, SUBSTEP);
        let right_alias = match &join.right {
            From::Table(_) => true,
            From::Join(inner) => query.tables.get(inner.table).is_some_and(|t| t.alias.is_some()),
        };
        let inner = self.layout.pretty && !right_alias;
        if inner {
            self.out.push('(');
        }
        self.from(&join.right, query);
        if inner {
            self.out.push(')');
        }
        if join.merged > 0 {
            let using =
                self.namespace(0).map(|space| space.names.columns[join.table].using.clone());
            self.out.push_str(" USING ");
            self.name_list(&using.unwrap_or_default());
            if let Some(alias) = &join.using_alias {
                self.out.push_str(&format!(" AS {}", quote_identifier(alias)));
            }
        } else if let Some(on) = &join.on {
            self.out.push_str(" ON ");
            if !self.layout.pretty {
                self.out.push('(');
            }
            self.node(on, false);
            if !self.layout.pretty {
                self.out.push(')');
            }
        } else if join.ty != JoinType::Inner {
            self.out.push_str(" ON TRUE");
        }
        if outer {
            self.out.push(')');
        }
        if let Some(alias) = alias {
            // The name may be another one than what was written.
            let name = self.namespace(0).and_then(|space| space.names.tables[join.table].clone());
            let name = name.unwrap_or_else(|| alias.name.clone());
            self.out.push(' ');
            self.out.push_str(&quote_identifier(&name));
            self.column_aliases(join.table);
        }
    }
}
