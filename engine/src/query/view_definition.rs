//! A view's query as people read it (`pg_get_viewdef`), laid out as PostgreSQL does: every column
//! with the relation it is of, `*` written out, and references where names may change.

use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{
    self, Expr, Ident, ObjectName, ObjectNamePart, SelectItem, SetExpr, TableFactor, VisitMut,
    VisitorMut,
};
use glaredb_catalog::descriptor::Reference;

use super::{
    parser::fold_identifier,
    planner::{QueryNames, StarColumn},
    quoting::quote_identifier,
    statement::{Statement, StatementKind},
    type_names,
};

/// The definition of a view. `names`: what the query's names stand for; `columns`: of the view.
/// Empty for what is no query.
#[must_use]
pub fn view_definition(statement: &Statement, names: &QueryNames, columns: &[String]) -> String {
    let StatementKind::Query(query) = &statement.kind else { return String::new() };
    let mut query = query.as_ref().clone();
    let _ = query.visit(&mut Names { names });
    let mut text = String::new();
    write_query(&query, Some(columns), &mut text);
    text.push(';');
    text
}

struct Names<'a> {
    names: &'a QueryNames,
}

/// A name that is printed as it is.
fn raw(text: String) -> Ident {
    Ident {
        value: text,
        quote_style: None,
        span: datafusion::sql::sqlparser::tokenizer::Span::empty(),
    }
}

impl Names<'_> {
    /// `alias.column`, with the parts that may be renamed as references.
    fn column(&self, qualifier: &str, (oid, number): (u32, i16)) -> Expr {
        let relation = self.names.relations.iter().find(|(_, _, table)| table.oid == oid);
        let is_own_name = relation.is_some_and(|(_, _, table)| table.name == qualifier);
        let qualifier = match is_own_name {
            true => Reference::Name(oid).to_text(),
            false => quote_identifier(qualifier).into_owned(),
        };
        let id = u32::try_from(number).unwrap_or_default();
        let column = Reference::Column(oid, id).to_text();
        Expr::CompoundIdentifier(vec![raw(qualifier), raw(column)])
    }

    fn star(&self, star: &StarColumn) -> SelectItem {
        match star.column {
            Some(column) => {
                let expr = self.column(&star.qualifier, column);
                labelled(expr, column, &star.name)
            }
            None => {
                let mut parts = Vec::new();
                if !star.qualifier.is_empty() {
                    parts.push(raw(quote_identifier(&star.qualifier).into_owned()));
                }
                parts.push(raw(quote_identifier(&star.name).into_owned()));
                SelectItem::UnnamedExpr(Expr::CompoundIdentifier(parts))
            }
        }
    }
}

/// A column with its label, where it needs one.
fn labelled(expr: Expr, (oid, number): (u32, i16), name: &str) -> SelectItem {
    let id = u32::try_from(number).unwrap_or_default();
    let label = Reference::Label(oid, id, name).to_text();
    // Right behind the column's name.
    match expr {
        Expr::CompoundIdentifier(mut parts) => {
            if let Some(last) = parts.last_mut() {
                last.value.push_str(&label);
            }
            SelectItem::UnnamedExpr(Expr::CompoundIdentifier(parts))
        }
        other => SelectItem::UnnamedExpr(other),
    }
}

impl VisitorMut for Names<'_> {
    type Break = ();

    fn pre_visit_select(&mut self, select: &mut ast::Select) -> ControlFlow<()> {
        let mut items = Vec::with_capacity(select.projection.len());
        for item in std::mem::take(&mut select.projection) {
            let place = match &item {
                SelectItem::Wildcard(options) => Some(options.wildcard_token.0.span.start),
                SelectItem::QualifiedWildcard(
                    ast::SelectItemQualifiedWildcardKind::ObjectName(name),
                    _,
                ) => name.0.iter().find_map(|part| part.as_ident()).map(|i| i.span.start),
                SelectItem::UnnamedExpr(expr) => {
                    let (ident, name) = match expr {
                        Expr::Identifier(ident) => (Some(ident), fold_identifier(ident)),
                        Expr::CompoundIdentifier(parts) => {
                            (parts.first(), parts.last().map(fold_identifier).unwrap_or_default())
                        }
                        _ => (None, String::new()),
                    };
                    let found = ident.and_then(|i| self.names.column_places.get(&i.span.start));
                    if let Some((qualifier, column)) = found {
                        items.push(labelled(self.column(qualifier, *column), *column, &name));
                        continue;
                    }
                    None
                }
                _ => None,
            };
            match place.and_then(|place| self.names.stars.get(&place)) {
                Some(columns) => items.extend(columns.iter().map(|column| self.star(column))),
                None => items.push(item),
            }
        }
        select.projection = items;
        ControlFlow::Continue(())
    }

    fn pre_visit_table_factor(&mut self, factor: &mut TableFactor) -> ControlFlow<()> {
        if let TableFactor::Table { name, alias, .. } = factor
            && let Some(written) = alias
            && written.columns.is_empty()
            && let Some(last) = name.0.last().and_then(|part| part.as_ident())
            && fold_identifier(last) == fold_identifier(&written.name)
        {
            *alias = None;
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_relation(&mut self, name: &mut ObjectName) -> ControlFlow<()> {
        let first = name.0.iter().find_map(|part| part.as_ident());
        let place = first.map(|ident| ident.span.start);
        if let Some(oid) = place.and_then(|place| self.names.relation_places.get(&place)) {
            let relation = Reference::Relation(*oid).to_text();
            name.0 = vec![ObjectNamePart::Identifier(raw(relation))];
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
        let ident = match expr {
            Expr::Identifier(ident) => Some(&*ident),
            Expr::CompoundIdentifier(parts) => parts.first(),
            _ => None,
        };
        let found = ident.and_then(|ident| self.names.column_places.get(&ident.span.start));
        if let Some((qualifier, column)) = found {
            *expr = self.column(qualifier, *column);
        }
        ControlFlow::Continue(())
    }
}

/// `names`: of the results, where they are the view's.
fn write_query(query: &ast::Query, names: Option<&[String]>, text: &mut String) {
    if let Some(with) = &query.with {
        text.push_str(&format!(" {with}\n"));
    }
    write_body(&query.body, names, text);
    if let Some(order_by) = &query.order_by {
        text.push_str(&format!("\n  {order_by}"));
    }
    if let Some(limit) = &query.limit_clause {
        text.push_str(&format!("\n {}", limit.to_string().trim_start()));
    }
    if let Some(fetch) = &query.fetch {
        text.push_str(&format!("\n {fetch}"));
    }
}

fn write_body(body: &SetExpr, names: Option<&[String]>, text: &mut String) {
    match body {
        SetExpr::Select(select) => write_select(select, names, text),
        SetExpr::SetOperation { op, set_quantifier, left, right } => {
            write_body(left, names, text);
            let quantifier = match set_quantifier {
                ast::SetQuantifier::None => String::new(),
                other => format!(" {other}"),
            };
            text.push_str(&format!("\n{op}{quantifier}\n"));
            write_body(right, None, text);
        }
        SetExpr::Query(query) => {
            text.push('(');
            write_query(query, names, text);
            text.push(')');
        }
        other => text.push_str(&format!(" {other}")),
    }
}

fn write_select(select: &ast::Select, names: Option<&[String]>, text: &mut String) {
    text.push_str(" SELECT ");
    if let Some(distinct) = &select.distinct {
        text.push_str(&format!("{distinct} "));
    }
    let item = |(index, item): (usize, &SelectItem)| match names.and_then(|names| names.get(index))
    {
        Some(name) => write_item(item, name),
        None => match item {
            SelectItem::UnnamedExpr(expr) => expression(expr),
            SelectItem::ExprWithAlias { expr, alias } => format!("{} AS {alias}", expression(expr)),
            other => other.to_string(),
        },
    };
    let items = select.projection.iter().enumerate().map(item);
    for (index, item) in items.enumerate() {
        // A CASE begins a line of its own.
        let own_line = item.starts_with('\n');
        match index {
            0 if own_line => text.truncate(text.trim_end().len()),
            0 => {}
            _ if own_line => text.push(','),
            _ => text.push_str(",\n    "),
        }
        text.push_str(&item);
    }
    let from = |item: &ast::TableWithJoins| {
        let mut text = relation(&item.relation);
        for join in &item.joins {
            // The relation's own text stands somewhere in the join's.
            let (short, long) = (join.relation.to_string(), relation(&join.relation));
            let join = join.to_string().replacen(&short, &long, 1);
            text.push_str(&format!("\n     {}", join.trim_start()));
        }
        text
    };
    let from: Vec<String> = select.from.iter().map(from).collect();
    if !from.is_empty() {
        text.push_str(&format!("\n   FROM {}", from.join(",\n    ")));
    }
    if let Some(condition) = &select.selection {
        text.push_str(&format!("\n  WHERE {}", expression(condition)));
    }
    let is_grouped = match &select.group_by {
        ast::GroupByExpr::All(_) => true,
        ast::GroupByExpr::Expressions(list, more) => !list.is_empty() || !more.is_empty(),
    };
    if is_grouped {
        text.push_str(&format!("\n  {}", select.group_by));
    }
    if let Some(having) = &select.having {
        text.push_str(&format!("\n HAVING {}", expression(having)));
    }
    if !select.named_window.is_empty() {
        let windows: Vec<String> = select.named_window.iter().map(ToString::to_string).collect();
        text.push_str(&format!("\n  WINDOW {}", windows.join(", ")));
    }
}

/// A query within another: further to the right.
fn nested(query: &ast::Query) -> String {
    let mut text = String::new();
    write_query(query, None, &mut text);
    format!("({})", text.replace('\n', "\n        "))
}

fn relation(factor: &TableFactor) -> String {
    let TableFactor::Derived { lateral, subquery, alias, sample: None } = factor else {
        return factor.to_string();
    };
    let mut text = if *lateral { "LATERAL ".to_owned() } else { String::new() };
    text.push_str(&nested(subquery));
    if let Some(alias) = alias {
        text.push_str(&format!(" {}", alias.name));
        if !alias.columns.is_empty() {
            let columns: Vec<String> = alias.columns.iter().map(ToString::to_string).collect();
            text.push_str(&format!("({})", columns.join(", ")));
        }
    }
    text
}

/// An expression, with the queries in it laid out.
fn expression(expr: &Expr) -> String {
    match expr {
        Expr::Exists { subquery, negated } => {
            let exists = format!("(EXISTS {})", nested(subquery));
            if *negated { format!("NOT {exists}") } else { exists }
        }
        Expr::InSubquery { expr, subquery, negated } => {
            let test = format!("({} IN {})", expression(expr), nested(subquery));
            if *negated { format!("NOT {test}") } else { test }
        }
        Expr::Subquery(query) => nested(query),
        Expr::Nested(inner) => match inner.as_ref() {
            // They bring parentheses of their own.
            Expr::Exists { negated: false, .. }
            | Expr::InSubquery { negated: false, .. }
            | Expr::Nested(_) => expression(inner),
            other => format!("({})", expression(other)),
        },
        Expr::BinaryOp { left, op, right } => {
            format!("{} {op} {}", expression(left), expression(right))
        }
        Expr::UnaryOp { op: ast::UnaryOperator::Not, expr } => format!("NOT {}", expression(expr)),
        Expr::IsNull(expr) => format!("{} IS NULL", expression(expr)),
        Expr::IsNotNull(expr) => format!("{} IS NOT NULL", expression(expr)),
        Expr::Cast { kind: ast::CastKind::DoubleColon, expr: inner, data_type, .. } => {
            match type_names::pg_type(data_type) {
                Ok(to) => format!("{}::{}", expression(inner), to.sql_name()),
                Err(_) => expr.to_string(),
            }
        }
        Expr::Case { operand, conditions, else_result, .. } => {
            let mut text = "\n        CASE".to_owned();
            if let Some(operand) = operand {
                text.push_str(&format!(" {}", expression(operand)));
            }
            for when in conditions {
                let (condition, result) = (expression(&when.condition), expression(&when.result));
                text.push_str(&format!("\n            WHEN {condition} THEN {result}"));
            }
            if let Some(result) = else_result {
                text.push_str(&format!("\n            ELSE {}", expression(result)));
            }
            text.push_str("\n        END");
            text
        }
        other => other.to_string(),
    }
}

/// A result under the view's name for it.
fn write_item(item: &SelectItem, name: &str) -> String {
    let quoted = quote_identifier(name);
    match item {
        SelectItem::UnnamedExpr(expr) | SelectItem::ExprWithAlias { expr, .. } => {
            let shown = expression(expr);
            let Expr::CompoundIdentifier(parts) = expr else {
                return format!("{shown} AS {quoted}");
            };
            let Some(last) = parts.last() else { return shown };
            let mut references = last.value.split(glaredb_catalog::descriptor::MARK);
            // What the label is of, if it has one.
            let column = references.find_map(|part| part.strip_prefix('c')).map(str::to_owned);
            let Some(column) = column else { return format!("{shown} AS {quoted}") };
            let place = column.split_once('.');
            let place = place.and_then(|(oid, id)| Some((oid.parse().ok()?, id.parse().ok()?)));
            let Some((oid, id)) = place else { return format!("{shown} AS {quoted}") };
            let before: Vec<String> =
                parts[..parts.len() - 1].iter().map(ToString::to_string).collect();
            let column = Reference::Column(oid, id).to_text();
            let label = Reference::Label(oid, id, name).to_text();
            format!("{}.{column}{label}", before.join("."))
        }
        other => other.to_string(),
    }
}
