//! SELECT: FROM, WHERE, the select list, DISTINCT and ORDER BY.

use datafusion::sql::sqlparser::ast::{self, SelectItem};
use glaredb_engine::query::{
    parser::{NO_COLUMNS, fold_identifier},
    planner::column_name,
};

use super::{
    super::tree::{DistinctClause, Node, Target},
    Analysis, Item,
};

impl Analysis<'_> {
    pub(super) fn select(
        &mut self,
        select: &ast::Select,
        order_by: &[ast::OrderByExpr],
    ) -> Option<()> {
        self.sources(&select.from)?;
        let mut targets = Vec::new();
        for item in &select.projection {
            self.select_item(item, &mut targets)?;
        }
        self.level().query.targets = targets;
        if let Some(filter) = &select.selection {
            let filter = self.condition(filter)?;
            self.level().query.filter = Some(filter);
        }
        if let Some(having) = &select.having {
            let having = self.condition(having)?;
            self.level().query.having = Some(having);
        }
        let named = self.named_windows(&select.named_window)?;
        self.level().query.windows = named;
        for item in order_by {
            let target = match self.output(&item.expr) {
                Some(target) => target,
                None => {
                    let node = self.expr(&item.expr)?;
                    self.target(node)
                }
            };
            self.sort(item, target);
        }
        self.group_by(&select.group_by)?;
        let distinct = match &select.distinct {
            None | Some(ast::Distinct::All) => DistinctClause::No,
            Some(ast::Distinct::Distinct) => DistinctClause::All,
            Some(ast::Distinct::On(exprs)) => {
                let mut on = Vec::with_capacity(exprs.len());
                for expr in exprs {
                    let target = match self.output(expr) {
                        Some(target) => target,
                        None => {
                            let node = self.expr(expr)?;
                            self.target(node)
                        }
                    };
                    on.push(target);
                }
                // Those that are sorted by come first, in that order.
                let sorted = self.level().query.order_by.iter().map(|sort| sort.target);
                let mut keys: Vec<usize> = sorted.filter(|target| on.contains(target)).collect();
                keys.extend(
                    on.into_iter().filter(|target| !keys.contains(target)).collect::<Vec<_>>(),
                );
                DistinctClause::On(keys)
            }
        };
        self.level().query.distinct = distinct;
        Some(())
    }

    fn select_item(&mut self, item: &SelectItem, targets: &mut Vec<Target>) -> Option<()> {
        let (expr, name) = match item {
            SelectItem::UnnamedExpr(ast::Expr::Identifier(ident)) if ident.value == NO_COLUMNS => {
                return Some(());
            }
            SelectItem::UnnamedExpr(expr) => (expr, column_name(expr)),
            SelectItem::ExprWithAlias { expr, alias } => (expr, fold_identifier(alias)),
            SelectItem::Wildcard(_) => {
                targets.extend(self.star(None)?);
                return Some(());
            }
            SelectItem::QualifiedWildcard(
                ast::SelectItemQualifiedWildcardKind::ObjectName(name),
                _,
            ) => {
                targets.extend(self.star(Some(name))?);
                return Some(());
            }
            _ => return None,
        };
        let node = self.expr(expr)?;
        targets.push(Target { node, name, hidden: false });
        Some(())
    }

    /// What `*` or `t.*` stands for.
    pub(super) fn star(&mut self, of: Option<&ast::ObjectName>) -> Option<Vec<Target>> {
        let show = |item: &Item| -> Vec<Target> {
            let target = |column: &super::Name| {
                let (table, at) = column.place;
                let node = Node::Column { up: 0, table, column: at, ty: column.ty };
                Target { node, name: column.name.clone(), hidden: false }
            };
            item.columns.iter().map(target).collect()
        };
        match of {
            None => {
                Some(self.level().items.iter().filter(|item| item.bare).flat_map(show).collect())
            }
            Some(name) => {
                let parts: Vec<String> =
                    name.0.iter().filter_map(|part| part.as_ident()).map(fold_identifier).collect();
                let (schema, table) = match parts.as_slice() {
                    [table] => (None, table),
                    [schema, table] => (Some(schema.as_str()), table),
                    _ => return None,
                };
                let (up, item) = self.item(schema, table)?;
                let mut targets = show(item);
                for target in &mut targets {
                    if let Node::Column { up: levels, .. } = &mut target.node {
                        *levels = up;
                    }
                }
                Some(targets)
            }
        }
    }
}
