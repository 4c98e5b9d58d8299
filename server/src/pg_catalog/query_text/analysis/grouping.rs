//! GROUP BY with its sets.

use datafusion::sql::sqlparser::ast;
use glaredb_engine::query::parser::{DISTINCT_SETS, GROUPING_SETS, NO_COLUMNS, fold_identifier};

use super::{super::tree::GroupItem, Analysis};

impl Analysis<'_> {
    pub(super) fn group_by(&mut self, group_by: &ast::GroupByExpr) -> Option<()> {
        let ast::GroupByExpr::Expressions(exprs, modifiers) = group_by else { return None };
        if !modifiers.is_empty() {
            return None;
        }
        let mut items = Vec::with_capacity(exprs.len());
        for expr in exprs {
            match expr {
                ast::Expr::Identifier(mark) if mark.value == DISTINCT_SETS => {
                    self.level().query.group_distinct = true;
                }
                // `GROUP BY (a, b)` is `GROUP BY a, b`.
                ast::Expr::Tuple(fields) => {
                    for field in fields {
                        items.push(GroupItem::Plain(self.group_key(field)?));
                    }
                }
                other => items.push(self.group_item(other)?),
            }
        }
        // A list with one set of sets is those sets; keys that come again say nothing.
        let mut seen = Vec::new();
        items.retain(|item| match item {
            GroupItem::Plain(target) => {
                let new = !seen.contains(target);
                seen.push(*target);
                new
            }
            _ => true,
        });
        self.level().query.group_by = items;
        Some(())
    }

    fn group_item(&mut self, expr: &ast::Expr) -> Option<GroupItem> {
        Some(match expr {
            ast::Expr::Rollup(lists) => GroupItem::Rollup(self.group_lists(lists)?),
            ast::Expr::Cube(lists) => GroupItem::Cube(self.group_lists(lists)?),
            ast::Expr::GroupingSets(sets) => GroupItem::Sets(self.group_sets(sets)?),
            ast::Expr::Tuple(fields) => self.group_list(fields)?,
            ast::Expr::Identifier(ident) if ident.value == NO_COLUMNS => GroupItem::Empty,
            ast::Expr::Function(call) if self.is_nested_set(call).is_some() => {
                let ast::FunctionArguments::List(list) = &call.args else { return None };
                let mut elements = Vec::with_capacity(list.args.len());
                for arg in &list.args {
                    let ast::FunctionArg::Unnamed(ast::FunctionArgExpr::Expr(arg)) = arg else {
                        return None;
                    };
                    elements.push(self.group_item(arg)?);
                }
                match self.is_nested_set(call)? {
                    "rollup" => GroupItem::Rollup(elements),
                    "cube" => GroupItem::Cube(elements),
                    _ => GroupItem::Sets(elements),
                }
            }
            other => GroupItem::Plain(self.group_key(other)?),
        })
    }

    fn is_nested_set(&self, call: &ast::Function) -> Option<&'static str> {
        let name = call.name.0.last()?.as_ident()?;
        ["rollup", "cube", GROUPING_SETS].into_iter().find(|set| fold_identifier(name) == *set)
    }

    fn group_list(&mut self, fields: &[ast::Expr]) -> Option<GroupItem> {
        match fields {
            [] => Some(GroupItem::Empty),
            [one] => self.group_item(one),
            several => {
                let keys = several.iter().map(|field| self.group_key(field));
                Some(GroupItem::List(keys.collect::<Option<Vec<_>>>()?))
            }
        }
    }

    fn group_lists(&mut self, lists: &[Vec<ast::Expr>]) -> Option<Vec<GroupItem>> {
        lists.iter().map(|list| self.group_list(list)).collect()
    }

    fn group_sets(&mut self, sets: &[Vec<ast::Expr>]) -> Option<Vec<GroupItem>> {
        let mut all = Vec::with_capacity(sets.len());
        for set in sets {
            match self.group_list(set)? {
                // Sets within sets are sets beside them.
                GroupItem::Sets(inner) => all.extend(inner),
                other => all.push(other),
            }
        }
        Some(all)
    }

    /// A key: an output's number, a column of FROM, an output's name or an expression.
    fn group_key(&mut self, expr: &ast::Expr) -> Option<usize> {
        let is_column = match expr {
            ast::Expr::Identifier(ident) => self.has_bare_column(&fold_identifier(ident)),
            _ => false,
        };
        if !is_column && let Some(target) = self.output(expr) {
            return Some(target);
        }
        let node = self.expr(expr)?;
        Some(self.target(node))
    }

    /// Whether FROM of this query has a column of this name.
    fn has_bare_column(&mut self, name: &str) -> bool {
        let items = self.level().items.iter().filter(|item| item.bare);
        items.flat_map(|item| &item.columns).any(|column| column.name == name)
    }
}
