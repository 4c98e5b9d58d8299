//! Expressions.

use glaredb_engine::query::quoting::quote_identifier;

use super::{
    super::{
        tree::{Call, Conversion, Node, SublinkKind, Subscript, Syntax, Table, TableKind, Ty},
        types::{BOOL, INT4, NUMERIC, UNKNOWN},
    },
    Printer, SUBSTEP,
};

impl<'q> Printer<'_, 'q> {
    /// A node where nothing stands around it, so that a whole row must not look like many columns.
    pub(super) fn top_node(&mut self, node: &'q Node) {
        self.node(node, true);
        if let Node::WholeRow { ty, .. } = node {
            let ty = self.around.type_name(*ty);
            self.out.push_str(&format!("::{ty}"));
        }
    }

    /// `casts`: also shows those that PostgreSQL put in itself.
    pub(super) fn node(&mut self, node: &'q Node, casts: bool) {
        match node {
            Node::Column { .. } => {
                self.column(node);
            }
            Node::WholeRow { up, table, .. } => {
                let name = self.namespace(*up).and_then(|space| space.names.tables[*table].clone());
                self.out.push_str(&quote_identifier(&name.unwrap_or_default()));
                self.out.push_str(".*");
            }
            Node::Const { value, ty } => self.constant(value.as_deref(), *ty, Some(false)),
            Node::Call(call) => self.call(call, node),
            Node::Cast { arg, implicit: true, .. } if !casts => self.operand(arg, false, node),
            Node::Cast { arg, ty, .. } => self.cast(arg, *ty, node),
            Node::Op { name, args, .. } => self.wrapped_in(|this| match args.as_slice() {
                [operand] => {
                    this.out.push_str(&format!("{name} "));
                    this.operand(operand, true, node);
                }
                [left, right] => {
                    this.operand(left, true, node);
                    this.out.push_str(&format!(" {name} "));
                    this.operand(right, true, node);
                }
                _ => {}
            }),
            Node::Quantified { name, any, left, right } => self.wrapped_in(|this| {
                this.operand(left, true, node);
                this.out.push_str(&format!(" {name} {} (", if *any { "ANY" } else { "ALL" }));
                this.operand(right, true, node);
                // A bare subquery would be one of many rows.
                if let Node::Sublink { kind: SublinkKind::Scalar, ty, .. } = right.as_ref() {
                    let ty = this.around.type_name(*ty);
                    this.out.push_str(&format!("::{ty}"));
                }
                this.out.push(')');
            }),
            Node::And(all) => self.wrapped_in(|this| {
                this.list(all, " AND ", |this, one| this.operand(one, false, node));
            }),
            Node::Or(any) => self.wrapped_in(|this| {
                this.list(any, " OR ", |this, one| this.operand(one, false, node));
            }),
            Node::Not(arg) => self.wrapped_in(|this| {
                this.out.push_str("NOT ");
                this.operand(arg, false, node);
            }),
            Node::Distinct { left, right } => self.wrapped_in(|this| {
                this.operand(left, true, node);
                this.out.push_str(" IS DISTINCT FROM ");
                this.operand(right, true, node);
            }),
            Node::IsNull { arg, not } => self.wrapped_in(|this| {
                this.operand(arg, true, node);
                this.out.push_str(if *not { " IS NOT NULL" } else { " IS NULL" });
            }),
            Node::Truth { arg, test } => self.wrapped_in(|this| {
                this.operand(arg, false, node);
                this.out.push_str(&format!(" {test}"));
            }),
            Node::NullIf { args, .. } => self.function_like("NULLIF", args),
            Node::Coalesce { args, .. } => self.function_like("COALESCE", args),
            Node::Extreme { greatest, args, .. } => {
                self.function_like(if *greatest { "GREATEST" } else { "LEAST" }, args);
            }
            Node::Grouping(args) => self.function_like("GROUPING", args),
            Node::Case { operand, whens, otherwise, .. } => {
                self.case(operand.as_deref(), whens, otherwise);
            }
            Node::Array { items, ty } => {
                self.out.push_str("ARRAY[");
                self.list(items, ", ", |this, item| this.node(item, true));
                self.out.push(']');
                if items.is_empty() {
                    let ty = self.around.type_name(*ty);
                    self.out.push_str(&format!("::{ty}"));
                }
            }
            Node::Row { fields, ty } => {
                self.out.push_str("ROW(");
                self.list(fields, ", ", |this, field| this.top_node(field));
                self.out.push(')');
                if let Some(ty) = ty {
                    let ty = self.around.type_name(*ty);
                    self.out.push_str(&format!("::{ty}"));
                }
            }
            Node::CompareRows { name, left, right } => {
                self.out.push_str("(ROW(");
                self.list(left, ", ", |this, field| this.node(field, true));
                self.out.push_str(&format!(") {name} ROW("));
                self.list(right, ", ", |this, field| this.node(field, true));
                self.out.push_str("))");
            }
            Node::Sublink { kind, test, name, query, .. } => {
                self.out.push_str(if *kind == SublinkKind::Array { "ARRAY(" } else { "(" });
                match test.as_slice() {
                    [] => {}
                    [one] => self.node(one, true),
                    several => {
                        self.out.push('(');
                        self.list(several, ", ", |this, one| this.node(one, true));
                        self.out.push(')');
                    }
                }
                let word = match kind {
                    SublinkKind::Exists => Some("EXISTS ".to_owned()),
                    SublinkKind::Any if name == "=" => Some(" IN ".to_owned()),
                    SublinkKind::Any => Some(format!(" {name} ANY ")),
                    SublinkKind::All => Some(format!(" {name} ALL ")),
                    SublinkKind::Row => Some(format!(" {name} ")),
                    SublinkKind::Scalar | SublinkKind::Array => None,
                };
                if let Some(word) = &word {
                    self.out.push_str(word);
                    self.out.push('(');
                }
                self.query(query, None, false);
                self.out.push_str(if word.is_some() { "))" } else { ")" });
            }
            Node::Keyword { text, .. } => self.out.push_str(text),
            Node::Collate { arg, collation } => self.wrapped_in(|this| {
                this.operand(arg, true, node);
                this.out.push_str(&format!(" COLLATE {}", quote_identifier(collation)));
            }),
            Node::Subscripted { arg, subscripts, .. } => self.subscripted(arg, subscripts),
            Node::Field { arg, name, .. } => {
                let bare = matches!(arg.as_ref(), Node::Field { .. } | Node::Subscripted { .. });
                if !bare {
                    self.out.push('(');
                }
                self.node(arg, true);
                if !bare {
                    self.out.push(')');
                }
                self.out.push_str(&format!(".{}", quote_identifier(name)));
            }
        }
    }

    /// In parentheses, unless those that are needed are put around operands.
    fn wrapped_in(&mut self, print: impl FnOnce(&mut Self)) {
        if self.layout.pretty {
            return print(self);
        }
        self.out.push('(');
        print(self);
        self.out.push(')');
    }

    /// A part of `parent`, in parentheses where it would not stay together without.
    fn operand(&mut self, node: &'q Node, casts: bool, parent: &Node) {
        let parentheses = self.layout.pretty && !is_simple(node, parent);
        if parentheses {
            self.out.push('(');
        }
        self.node(node, casts);
        if parentheses {
            self.out.push(')');
        }
    }

    fn function_like(&mut self, name: &str, args: &'q [Node]) {
        self.out.push_str(name);
        self.out.push('(');
        self.list(args, ", ", |this, arg| this.node(arg, true));
        self.out.push(')');
    }

    /// Writes a column and returns its name.
    pub(super) fn column(&mut self, node: &Node) -> String {
        let Node::Column { up, table, column, .. } = node else { return String::new() };
        let (mut up, mut table, mut column) = (*up, *table, *column);
        // A column of a join without alias is one of its parts', if it is no more than that.
        while let Some(Table { kind: TableKind::Join(columns), alias: None, .. }) =
            self.table(up, table)
            && let Some(Node::Column { up: more, table: t, column: c, .. }) =
                columns.get(column).map(|column| &column.node)
        {
            (up, table, column) = (up + more, *t, *c);
        }
        let Some(space) = self.namespace(up) else { return String::new() };
        let relation = space.names.tables[table].clone();
        let name = space.names.columns[table].names.get(column).cloned().flatten();
        let name = name.unwrap_or_else(|| "?dropped?column?".to_owned());
        if let Some(relation) = relation {
            self.out.push_str(&format!("{}.", quote_identifier(&relation)));
        }
        self.out.push_str(&quote_identifier(&name));
        name
    }

    /// A constant. `labelled`: with its type, always (`true`) or where it would be read as another
    /// one (`false`); `None`: without.
    pub(super) fn constant(&mut self, value: Option<&str>, ty: Ty, labelled: Option<bool>) {
        let mut label = !matches!(ty.oid, BOOL | UNKNOWN);
        match value {
            None => {
                self.out.push_str("NULL");
                if ty.oid == UNKNOWN {
                    return;
                }
                label = true;
            }
            Some(value) => match ty.oid {
                BOOL => self.out.push_str(if value == "t" { "true" } else { "false" }),
                INT4 if !value.starts_with('-') => {
                    label = false;
                    self.out.push_str(value);
                }
                NUMERIC if looks_like_float(value) => {
                    label = ty.typmod >= 0;
                    self.out.push_str(value);
                }
                _ => self.out.push_str(&format!("'{}'", value.replace('\'', "''"))),
            },
        }
        if labelled == Some(true) || (label && labelled.is_some()) {
            let ty = self.around.type_name(ty);
            self.out.push_str(&format!("::{ty}"));
        }
    }

    fn cast(&mut self, arg: &'q Node, ty: Ty, node: &'q Node) {
        match arg {
            Node::Const { value, ty: of } if of.oid == ty.oid && of.typmod == -1 => {
                self.constant(value.as_deref(), *of, None);
            }
            _ => {
                if !self.layout.pretty {
                    self.out.push('(');
                }
                self.operand(arg, false, node);
                if !self.layout.pretty {
                    self.out.push(')');
                }
            }
        }
        let ty = self.around.type_name(ty);
        self.out.push_str(&format!("::{ty}"));
    }

    fn case(&mut self, operand: Option<&'q Node>, whens: &'q [(Node, Node)], otherwise: &'q Node) {
        self.keyword("CASE", 0, SUBSTEP, 0);
        if let Some(operand) = operand {
            self.out.push(' ');
            self.node(operand, true);
        }
        let space = if self.layout.indent { "" } else { " " };
        for (condition, result) in whens {
            self.out.push_str(space);
            self.keyword("WHEN ", 0, 0, 0);
            self.node(condition, false);
            self.out.push_str(" THEN ");
            self.node(result, true);
        }
        self.out.push_str(space);
        self.keyword("ELSE ", 0, 0, 0);
        self.node(otherwise, true);
        self.out.push_str(space);
        self.keyword("END", SUBSTEP, 0, 0);
    }

    fn subscripted(&mut self, arg: &'q Node, subscripts: &'q [Subscript]) {
        let bare = matches!(arg, Node::Column { .. } | Node::Field { .. });
        if !bare {
            self.out.push('(');
        }
        self.node(arg, true);
        if !bare {
            self.out.push(')');
        }
        for subscript in subscripts {
            self.out.push('[');
            if subscript.slice {
                if let Some(lower) = &subscript.lower {
                    self.node(lower, false);
                }
                self.out.push(':');
            }
            if let Some(upper) = &subscript.upper {
                self.node(upper, false);
            }
            self.out.push(']');
        }
    }

    /// A function in FROM: what is none by its looks is cast to its type.
    pub(super) fn call_in_from(&mut self, node: &'q Node) {
        let is_call = match node {
            Node::Call(call) => !matches!(
                call.syntax,
                Some(Syntax::AtTimeZone | Syntax::Overlaps | Syntax::IsNormalized)
            ),
            Node::Coalesce { .. }
            | Node::Extreme { .. }
            | Node::NullIf { .. }
            | Node::Keyword { .. } => true,
            _ => false,
        };
        if is_call {
            return self.node(node, true);
        }
        self.out.push_str("CAST(");
        match node {
            Node::Cast { arg, .. } => self.node(arg, false),
            other => self.node(other, false),
        }
        let ty = self.around.type_name(node.ty());
        self.out.push_str(&format!(" AS {ty})"));
    }

    fn call(&mut self, call: &'q Call, node: &'q Node) {
        if let Some(syntax) = call.syntax
            && self.special(syntax, call, node)
        {
            return;
        }
        self.out.push_str(&quote_identifier(&call.name));
        self.out.push('(');
        if call.distinct {
            self.out.push_str("DISTINCT ");
        }
        if call.star {
            self.out.push('*');
        }
        let first = call.args.len() - call.names.len();
        for (at, arg) in call.args.iter().enumerate() {
            if at > 0 {
                self.out.push_str(", ");
            }
            if let Some(name) = at.checked_sub(first).and_then(|at| call.names.get(at)) {
                self.out.push_str(&format!("{} => ", quote_identifier(name)));
            }
            if call.variadic && at + 1 == call.args.len() {
                self.out.push_str("VARIADIC ");
            }
            self.node(arg, true);
        }
        if call.within_group {
            self.out.push_str(") WITHIN GROUP (");
        } else if !call.order_by.is_empty() {
            self.out.push(' ');
        }
        if !call.order_by.is_empty() {
            self.out.push_str("ORDER BY ");
            self.list(&call.order_by, ", ", |this, key| {
                this.sort_node(&key.node);
                this.direction(key);
            });
        }
        self.out.push(')');
        if let Some(filter) = &call.filter {
            self.out.push_str(" FILTER (WHERE ");
            self.node(filter, false);
            self.out.push(')');
        }
        if let Some(over) = &call.over {
            self.over(over);
        }
    }

    /// Calls with a grammar of their own; false: it is printed like any other.
    fn special(&mut self, syntax: Syntax, call: &'q Call, node: &'q Node) -> bool {
        let args = call.args.as_slice();
        let plain = |this: &mut Self, arg: &'q Node| this.node(arg, false);
        match (syntax, args) {
            (Syntax::AtTimeZone, [zone, value]) => {
                self.out.push('(');
                self.operand(value, false, node);
                self.out.push_str(" AT TIME ZONE ");
                self.operand(zone, false, node);
                self.out.push(')');
            }
            (Syntax::Extract, [Node::Const { value: Some(field), .. }, value]) => {
                self.out.push_str(&format!("EXTRACT({field} FROM "));
                plain(self, value);
                self.out.push(')');
            }
            (Syntax::Overlaps, [a, b, c, d]) => {
                self.out.push_str("((");
                plain(self, a);
                self.out.push_str(", ");
                plain(self, b);
                self.out.push_str(") OVERLAPS (");
                plain(self, c);
                self.out.push_str(", ");
                plain(self, d);
                self.out.push_str("))");
            }
            (Syntax::IsNormalized, [value, form @ ..]) => {
                self.out.push('(');
                self.operand(value, false, node);
                self.out.push_str(" IS");
                if let [Node::Const { value: Some(form), .. }] = form {
                    self.out.push_str(&format!(" {form}"));
                }
                self.out.push_str(" NORMALIZED)");
            }
            (Syntax::Overlay, [value, what, from, length @ ..]) => {
                self.out.push_str("OVERLAY(");
                plain(self, value);
                self.out.push_str(" PLACING ");
                plain(self, what);
                self.out.push_str(" FROM ");
                plain(self, from);
                if let [length] = length {
                    self.out.push_str(" FOR ");
                    plain(self, length);
                }
                self.out.push(')');
            }
            (Syntax::Position, [whole, part]) => {
                self.out.push_str("POSITION((");
                plain(self, part);
                self.out.push_str(") IN (");
                plain(self, whole);
                self.out.push_str("))");
            }
            (Syntax::Substring, [value, from, length @ ..]) => {
                self.out.push_str("SUBSTRING(");
                plain(self, value);
                self.out.push_str(" FROM ");
                plain(self, from);
                if let [length] = length {
                    self.out.push_str(" FOR ");
                    plain(self, length);
                }
                self.out.push(')');
            }
            (Syntax::TrimBoth | Syntax::TrimLeading | Syntax::TrimTrailing, [value, what @ ..]) => {
                self.out.push_str(match syntax {
                    Syntax::TrimBoth => "TRIM(BOTH",
                    Syntax::TrimLeading => "TRIM(LEADING",
                    _ => "TRIM(TRAILING",
                });
                if let [what] = what {
                    self.out.push(' ');
                    plain(self, what);
                }
                self.out.push_str(" FROM ");
                plain(self, value);
                self.out.push(')');
            }
            _ => return false,
        }
        true
    }
}

fn looks_like_float(value: &str) -> bool {
    value.starts_with(|c: char| c.is_ascii_digit()) && value.contains(['e', 'E', '.'])
}

/// Whether a node stays together without parentheses as a part of another.
fn is_simple(node: &Node, parent: &Node) -> bool {
    // What has parentheses or commas of its own around its parts.
    let encloses = match parent {
        Node::Call(call) => call.syntax.is_none(),
        Node::Cast { by: Conversion::Function, .. } => false,
        Node::Subscripted { .. }
        | Node::Array { .. }
        | Node::Row { .. }
        | Node::Coalesce { .. }
        | Node::Extreme { .. }
        | Node::NullIf { .. }
        | Node::Grouping(_)
        | Node::Case { .. } => true,
        _ => false,
    };
    let connective = |node: &Node| matches!(node, Node::And(_) | Node::Or(_) | Node::Not(_));
    match node {
        Node::Column { .. }
        | Node::WholeRow { .. }
        | Node::Const { .. }
        | Node::Subscripted { .. }
        | Node::Array { .. }
        | Node::Row { .. }
        | Node::Coalesce { .. }
        | Node::Extreme { .. }
        | Node::Keyword { .. }
        | Node::NullIf { .. }
        | Node::Grouping(_)
        | Node::Call(_)
        | Node::Case { .. }
        | Node::Cast { by: Conversion::Function, .. } => true,
        Node::Field { .. } => !matches!(parent, Node::Field { .. }),
        Node::Cast { arg, by: Conversion::Relabel, .. } => is_simple(arg, node),
        Node::Op { name, args, .. } => match parent {
            Node::Op { name: outer, args: others, .. } if args.len() == 2 && others.len() == 2 => {
                let rank = |name: &str| match name {
                    "+" | "-" => Some(0),
                    "*" | "/" | "%" => Some(1),
                    _ => None,
                };
                match (rank(name), rank(outer)) {
                    (Some(inner), Some(outer)) if inner != outer => inner > outer,
                    // (a - b) - c, but not a - (b - c).
                    (Some(_), Some(_)) => {
                        others.first().is_some_and(|first| std::ptr::eq(first, node))
                    }
                    _ => false,
                }
            }
            _ => encloses || connective(parent),
        },
        Node::Sublink { .. } | Node::IsNull { .. } | Node::Truth { .. } | Node::Distinct { .. } => {
            encloses || connective(parent)
        }
        Node::And(_) | Node::Not(_) => encloses || matches!(parent, Node::And(_) | Node::Or(_)),
        Node::Or(_) => encloses || matches!(parent, Node::Or(_)),
        Node::Quantified { .. } | Node::CompareRows { .. } | Node::Collate { .. } => false,
    }
}
