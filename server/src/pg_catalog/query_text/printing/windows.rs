//! Windows.

use glaredb_engine::query::quoting::quote_identifier;

use super::{
    super::tree::{Bound, Frame, Over, WindowSpec},
    Printer,
};

impl<'q> Printer<'_, 'q> {
    pub(super) fn over(&mut self, over: &'q Over) {
        self.out.push_str(" OVER ");
        match over {
            Over::Named(name) => self.out.push_str(&quote_identifier(name)),
            Over::Inline(spec) => self.window(spec),
        }
    }

    pub(super) fn window(&mut self, spec: &'q WindowSpec) {
        self.out.push('(');
        let mut separator = "";
        if let Some(base) = &spec.base {
            self.out.push_str(&quote_identifier(base));
            separator = " ";
        }
        if !spec.partition_by.is_empty() {
            self.out.push_str(separator);
            self.out.push_str("PARTITION BY ");
            self.list(&spec.partition_by, ", ", |this, node| this.sort_node(node));
            separator = " ";
        }
        if !spec.order_by.is_empty() {
            self.out.push_str(separator);
            self.out.push_str("ORDER BY ");
            self.list(&spec.order_by, ", ", |this, key| {
                this.sort_node(&key.node);
                this.direction(key);
            });
            separator = " ";
        }
        if let Some(frame) = &spec.frame {
            self.out.push_str(separator);
            self.frame(frame);
        }
        self.out.push(')');
    }

    fn frame(&mut self, frame: &'q Frame) {
        self.out.push_str(frame.units);
        self.out.push(' ');
        match &frame.end {
            None => self.bound(&frame.start),
            Some(end) => {
                self.out.push_str("BETWEEN ");
                self.bound(&frame.start);
                self.out.push_str(" AND ");
                self.bound(end);
            }
        }
        if let Some(exclude) = frame.exclude {
            self.out.push(' ');
            self.out.push_str(&exclude.to_uppercase());
        }
    }

    fn bound(&mut self, bound: &'q Bound) {
        let (offset, word) = match bound {
            Bound::CurrentRow => {
                self.out.push_str("CURRENT ROW");
                return;
            }
            Bound::Preceding(offset) => (offset, " PRECEDING"),
            Bound::Following(offset) => (offset, " FOLLOWING"),
        };
        match offset {
            None => self.out.push_str("UNBOUNDED"),
            Some(offset) => self.node(offset, false),
        }
        self.out.push_str(word);
    }
}
