//! Windows: WINDOW and OVER.

use datafusion::sql::sqlparser::ast::{self, WindowFrameBound, WindowFrameUnits};
use glaredb_engine::query::parser::{EXCLUSIONS, fold_identifier};

use super::{
    super::{
        tree::{Bound, Frame, Over, WindowSpec},
        types,
    },
    Analysis,
    queries::sort_key,
};

impl Analysis<'_> {
    pub(super) fn named_windows(
        &mut self,
        windows: &[ast::NamedWindowDefinition],
    ) -> Option<Vec<(String, WindowSpec)>> {
        let mut named = Vec::with_capacity(windows.len());
        for ast::NamedWindowDefinition(name, window) in windows {
            let ast::NamedWindowExpr::WindowSpec(spec) = window else { return None };
            named.push((fold_identifier(name), self.window(spec)?));
        }
        Some(named)
    }

    pub(super) fn over(&mut self, over: &ast::WindowType) -> Option<Over> {
        Some(match over {
            ast::WindowType::NamedWindow(name) => Over::Named(fold_identifier(name)),
            ast::WindowType::WindowSpec(spec) => Over::Inline(Box::new(self.window(spec)?)),
        })
    }

    fn window(&mut self, spec: &ast::WindowSpec) -> Option<WindowSpec> {
        let mut exclude = None;
        let mut partition_by = Vec::with_capacity(spec.partition_by.len());
        for expr in &spec.partition_by {
            if let ast::Expr::Identifier(mark) = expr
                && let Some((_, mark)) = EXCLUSIONS.iter().find(|(_, m)| *m == mark.value)
            {
                exclude = Some(*mark);
                continue;
            }
            let node = self.expr(expr)?;
            partition_by.push(self.decided(node));
        }
        let mut order_by = Vec::with_capacity(spec.order_by.len());
        for item in &spec.order_by {
            let node = self.expr(&item.expr)?;
            order_by.push(sort_key(item, self.decided(node), 0));
        }
        let frame = match &spec.window_frame {
            None => None,
            Some(frame) => {
                let key = order_by.first().map_or(types::UNKNOWN, |key| key.node.ty().oid);
                Some(Frame {
                    units: match frame.units {
                        WindowFrameUnits::Rows => "ROWS",
                        WindowFrameUnits::Range => "RANGE",
                        WindowFrameUnits::Groups => "GROUPS",
                    },
                    start: self.frame_bound(&frame.start_bound, frame.units, key)?,
                    end: match &frame.end_bound {
                        None => None,
                        Some(end) => Some(self.frame_bound(end, frame.units, key)?),
                    },
                    exclude,
                })
            }
        };
        let base = spec.window_name.as_ref().map(fold_identifier);
        Some(WindowSpec { base, partition_by, order_by, frame })
    }

    /// `key`: the type that rows are ordered by.
    fn frame_bound(
        &mut self,
        bound: &WindowFrameBound,
        units: WindowFrameUnits,
        key: u32,
    ) -> Option<Bound> {
        let mut offset = |expr: &Option<Box<ast::Expr>>| match expr {
            None => Some(None),
            Some(expr) => {
                let node = self.expr(expr)?;
                let node = match units {
                    WindowFrameUnits::Range if node.ty().oid == types::UNKNOWN => {
                        let moment = matches!(types::category(key), 'D' | 'T');
                        self.implied(node, if moment { types::INTERVAL } else { key })
                    }
                    WindowFrameUnits::Range => node,
                    _ => self.implied(node, types::INT8),
                };
                Some(Some(Box::new(node)))
            }
        };
        Some(match bound {
            WindowFrameBound::CurrentRow => Bound::CurrentRow,
            WindowFrameBound::Preceding(expr) => Bound::Preceding(offset(expr)?),
            WindowFrameBound::Following(expr) => Bound::Following(offset(expr)?),
        })
    }
}
