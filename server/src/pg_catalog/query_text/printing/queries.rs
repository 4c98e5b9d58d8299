//! Queries and their clauses.

use glaredb_engine::query::{parser::WithClauses, quoting::quote_identifier};

use super::{
    super::tree::{DistinctClause, From, GroupItem, Node, Query, SetTree, Sort, TableKind, Target},
    Names, Namespace, Printer, STEP, SUBSTEP,
};

impl<'q> Printer<'_, 'q> {
    /// A query. `names`: of its results, where they are not those of its select list; `named`:
    /// whether the results' names matter.
    pub(super) fn query(&mut self, query: &'q Query, names: Option<&[&str]>, named: bool) {
        let indent = self.indent;
        let own = Names::new(self.around, query, &self.namespaces);
        self.namespaces.push(Namespace { query, names: own });
        self.with(query);
        match &query.set {
            Some(tree) => self.set_tree(tree, query, names, named),
            None => self.select(query, names, named),
        }
        if !query.order_by.is_empty() {
            self.keyword(" ORDER BY ", STEP, STEP, 1);
            self.order_by(&query.order_by, query.set.is_some());
        }
        if let Some(offset) = &query.offset {
            self.keyword(" OFFSET ", STEP, STEP, 0);
            self.node(offset, false);
        }
        if let Some(limit) = &query.limit {
            match query.with_ties {
                true => {
                    self.keyword(" FETCH FIRST ", STEP, STEP, 0);
                    self.out.push('(');
                    self.node(limit, false);
                    self.out.push_str(") ROWS WITH TIES");
                }
                false => {
                    self.keyword(" LIMIT ", STEP, STEP, 0);
                    match limit {
                        Node::Const { value: None, .. } => self.out.push_str("ALL"),
                        other => self.node(other, false),
                    }
                }
            }
        }
        self.namespaces.pop();
        self.indent = indent;
    }

    /// SEARCH and CYCLE behind a query of WITH.
    fn with_clauses(&mut self, clauses: &WithClauses) {
        let listed = |names: &[String]| {
            let quoted: Vec<_> = names.iter().map(|name| quote_identifier(name)).collect();
            quoted.join(", ")
        };
        if let Some(search) = &clauses.search {
            let order = if search.breadth_first { "BREADTH" } else { "DEPTH" };
            let (by, set) = (listed(&search.columns), quote_identifier(&search.sequence));
            self.out.push_str(&format!(" SEARCH {order} FIRST BY {by} SET {set}"));
        }
        if let Some(cycle) = &clauses.cycle {
            let (columns, mark) = (listed(&cycle.columns), quote_identifier(&cycle.mark));
            let path = quote_identifier(&cycle.path);
            self.out.push_str(&format!(" CYCLE {columns} SET {mark} USING {path}"));
        }
    }

    fn with(&mut self, query: &'q Query) {
        if query.ctes.is_empty() {
            return;
        }
        if self.layout.indent {
            self.indent += STEP;
            self.out.push(' ');
        }
        let mut separator = if query.recursive { "WITH RECURSIVE " } else { "WITH " };
        for cte in &query.ctes {
            self.out.push_str(separator);
            self.out.push_str(&quote_identifier(&cte.name));
            if !cte.columns.is_empty() {
                self.name_list(&cte.columns);
            }
            self.out.push_str(match cte.materialized {
                None => " AS (",
                Some(true) => " AS MATERIALIZED (",
                Some(false) => " AS NOT MATERIALIZED (",
            });
            if self.layout.indent {
                self.keyword("", 0, 0, 0);
            }
            self.query(&cte.query, None, true);
            if self.layout.indent {
                self.keyword("", 0, 0, 0);
            }
            self.out.push(')');
            if let Some(clauses) = &cte.clauses {
                self.with_clauses(clauses);
            }
            separator = ", ";
        }
        match self.layout.indent {
            true => self.keyword("", STEP, 0, 0),
            false => self.out.push(' '),
        }
    }

    /// `(a, b)`.
    pub(super) fn name_list(&mut self, names: &[String]) {
        self.out.push('(');
        for (at, name) in names.iter().enumerate() {
            if at > 0 {
                self.out.push_str(", ");
            }
            self.out.push_str(&quote_identifier(name));
        }
        self.out.push(')');
    }

    fn set_tree(
        &mut self,
        tree: &'q SetTree,
        query: &'q Query,
        names: Option<&[&str]>,
        named: bool,
    ) {
        match tree {
            SetTree::Leaf(table) => {
                let TableKind::Subquery(operand) = &query.tables[*table].kind else { return };
                let parentheses = !operand.ctes.is_empty()
                    || !operand.order_by.is_empty()
                    || operand.limit.is_some()
                    || operand.offset.is_some();
                if parentheses {
                    self.out.push('(');
                }
                self.query(operand, names, named);
                if parentheses {
                    self.out.push(')');
                }
            }
            SetTree::Operation { name, all, left, right } => {
                let nests = match left.as_ref() {
                    SetTree::Operation { name: inner, all: inner_all, .. } => {
                        (inner, inner_all) != (name, all)
                    }
                    SetTree::Leaf(_) => false,
                };
                if nests {
                    self.out.push('(');
                    if self.layout.indent {
                        self.indent += STEP;
                        self.keyword("", 0, 0, 0);
                    }
                }
                self.set_tree(left, query, names, named);
                match (nests, self.layout.indent) {
                    (true, _) => self.keyword(") ", STEP, 0, 0),
                    (false, true) => self.keyword("", 0, 0, 0),
                    (false, false) => self.out.push(' '),
                }
                self.out.push_str(name);
                self.out.push_str(if *all { " ALL " } else { " " });
                let nests = matches!(right.as_ref(), SetTree::Operation { .. });
                let indent = self.indent;
                if nests {
                    self.out.push('(');
                    self.indent += STEP;
                }
                self.keyword("", 0, 0, 0);
                // The names are those of the left side.
                self.set_tree(right, query, names, false);
                self.indent = indent;
                if nests {
                    self.keyword(")", 0, 0, 0);
                }
            }
        }
    }

    fn select(&mut self, query: &'q Query, names: Option<&[&str]>, named: bool) {
        if self.layout.indent {
            self.indent += STEP;
            self.out.push(' ');
        }
        if let Some(rows) = plain_values(query, names) {
            self.values(rows);
            return;
        }
        self.out.push_str("SELECT");
        match &query.distinct {
            DistinctClause::No => {}
            DistinctClause::All => self.out.push_str(" DISTINCT"),
            DistinctClause::On(keys) => {
                self.out.push_str(" DISTINCT ON (");
                self.list(keys, ", ", |this, key| this.sort_target(*key, false));
                self.out.push(')');
            }
        }
        self.targets(&query.targets, names, named);
        self.sources(query);
        if let Some(filter) = &query.filter {
            self.keyword(" WHERE ", STEP, STEP, 1);
            self.node(filter, false);
        }
        if !query.group_by.is_empty() {
            self.keyword(" GROUP BY ", STEP, STEP, 1);
            if query.group_distinct {
                self.out.push_str("DISTINCT ");
            }
            self.list(&query.group_by, ", ", |this, item| this.group_item(item, true));
        }
        if let Some(having) = &query.having {
            self.keyword(" HAVING ", STEP, STEP, 0);
            self.node(having, false);
        }
        if !query.windows.is_empty() {
            self.keyword(" WINDOW ", STEP, STEP, 1);
            self.list(&query.windows, ", ", |this, (name, spec)| {
                this.out.push_str(&quote_identifier(name));
                this.out.push_str(" AS ");
                this.window(spec);
            });
        }
    }

    fn targets(&mut self, targets: &'q [Target], names: Option<&[&str]>, named: bool) {
        let mut was_long = false;
        let visible = targets.iter().filter(|target| !target.hidden);
        for (at, target) in visible.enumerate() {
            self.out.push_str(if at == 0 { " " } else { ", " });
            let mut shown = None;
            let mut text = self.apart(|this| match &target.node {
                Node::Column { .. } => {
                    shown = Some(this.column(&target.node));
                }
                node => {
                    this.top_node(node);
                    if !named {
                        shown = Some("?column?".to_owned());
                    }
                }
            });
            let name =
                names.and_then(|names| names.get(at)).map_or(target.name.as_str(), |name| *name);
            if shown.as_deref() != Some(name) {
                text.push_str(&format!(" AS {}", quote_identifier(name)));
            }
            if self.layout.indent && self.layout.wrap.is_some() {
                was_long = self.wrapped(&text, at > 0, was_long);
            }
            self.out.push_str(&text);
        }
    }

    /// Begins a line for the next item of a list, if there is need to. Returns whether the item has
    /// several lines itself.
    fn wrapped(&mut self, text: &str, is_next: bool, was_long: bool) -> bool {
        let begins_line = text.starts_with('\n');
        if begins_line {
            self.out.truncate(self.out.trim_end_matches(' ').len());
        } else {
            let line = self.out.rsplit('\n').next().unwrap_or_default().len();
            let wrap = self.layout.wrap.unwrap_or(usize::MAX);
            if is_next && (line + text.len() > wrap || was_long) {
                self.keyword("", STEP, STEP, SUBSTEP);
            }
        }
        text[usize::from(begins_line)..].contains('\n')
    }

    fn sources(&mut self, query: &'q Query) {
        for (at, from) in query.from.iter().enumerate() {
            if at == 0 {
                self.keyword(" FROM ", STEP, STEP, 2);
                self.from(from, query);
                continue;
            }
            self.out.push_str(", ");
            let text = self.apart(|this| this.from(from, query));
            if self.layout.indent
                && let Some(wrap) = self.layout.wrap
            {
                let line = self.out.rsplit('\n').next().unwrap_or_default().len();
                if text.starts_with('\n') {
                    self.out.truncate(self.out.trim_end_matches(' ').len());
                } else if line + text.len() > wrap {
                    self.keyword("", STEP, STEP, SUBSTEP);
                }
            }
            self.out.push_str(&text);
        }
    }

    fn group_item(&mut self, item: &'q GroupItem, outermost: bool) {
        let sets = |this: &mut Self, word: &str, items: &'q [GroupItem], outermost: bool| {
            this.out.push_str(word);
            this.list(items, ", ", |this, item| this.group_item(item, outermost));
            this.out.push(')');
        };
        match item {
            GroupItem::Plain(key) if outermost => self.sort_target(*key, false),
            GroupItem::Plain(key) => {
                self.out.push('(');
                self.sort_target(*key, false);
                self.out.push(')');
            }
            GroupItem::Empty => self.out.push_str("()"),
            GroupItem::List(keys) => {
                self.out.push('(');
                self.list(keys, ", ", |this, key| this.sort_target(*key, false));
                self.out.push(')');
            }
            GroupItem::Rollup(items) => sets(self, "ROLLUP(", items, true),
            GroupItem::Cube(items) => sets(self, "CUBE(", items, true),
            GroupItem::Sets(items) => sets(self, "GROUPING SETS (", items, false),
        }
    }

    /// A key of a query's own ORDER BY, GROUP BY or DISTINCT ON.
    fn sort_target(&mut self, target: usize, as_number: bool) {
        if as_number {
            self.out.push_str(&(target + 1).to_string());
            return;
        }
        let node = self.namespace(0).and_then(|space| Some(&space.query.targets.get(target)?.node));
        if let Some(node) = node {
            self.sort_node(node);
        }
    }

    /// A key that must not be taken as a number or a call.
    pub(super) fn sort_node(&mut self, node: &'q Node) {
        match node {
            Node::Const { value, ty } => self.constant(value.as_deref(), *ty, Some(true)),
            Node::Column { .. } => self.node(node, true),
            _ => {
                let is_call = matches!(node, Node::Call(_))
                    || matches!(
                        node,
                        Node::Cast { by: super::super::tree::Conversion::Function, .. }
                    );
                let parentheses = self.layout.pretty || is_call;
                if parentheses {
                    self.out.push('(');
                }
                self.node(node, true);
                if parentheses {
                    self.out.push(')');
                }
            }
        }
    }

    fn order_by(&mut self, keys: &'q [Sort], as_numbers: bool) {
        self.list(keys, ", ", |this, key| {
            this.sort_target(key.target, as_numbers);
            this.direction(key);
        });
    }

    pub(super) fn direction(&mut self, key: &Sort) {
        if key.descending {
            self.out.push_str(" DESC");
        }
        match (key.descending, key.nulls_first) {
            (false, Some(true)) => self.out.push_str(" NULLS FIRST"),
            (true, Some(false)) => self.out.push_str(" NULLS LAST"),
            _ => {}
        }
    }

    pub(super) fn values(&mut self, rows: &'q [Vec<Node>]) {
        self.out.push_str("VALUES ");
        self.list(rows, ", ", |this, row| {
            this.out.push('(');
            this.list(row, ",", |this, node| match node {
                Node::WholeRow { .. } => this.top_node(node),
                node => this.node(node, false),
            });
            this.out.push(')');
        });
    }
}

/// The rows of a query that is nothing but VALUES.
fn plain_values<'q>(query: &'q Query, names: Option<&[&str]>) -> Option<&'q [Vec<Node>]> {
    let [From::Table(table)] = query.from.as_slice() else { return None };
    let entry = query.tables.get(*table)?;
    let TableKind::Values(rows) = &entry.kind else { return None };
    let is_plain = query.tables.len() == 1
        && query.targets.iter().filter(|target| !target.hidden).count() == entry.columns.len();
    let same = |(at, target): (usize, &Target)| {
        let name = names.and_then(|names| names.get(at)).map_or(target.name.as_str(), |name| *name);
        entry.columns.get(at).is_some_and(|column| column.name == name)
            && matches!(target.node, Node::Column { up: 0, column, .. } if column == at)
    };
    (is_plain && query.targets.iter().enumerate().all(same)).then_some(rows)
}
