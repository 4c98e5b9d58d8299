//! Operators: which one a name means, and what it makes of its operands.

use datafusion::sql::sqlparser::ast;

use super::{
    super::{
        tree::{Node, Ty},
        types,
    },
    Analysis,
};

impl Analysis<'_> {
    pub(super) fn operator(&self, name: &str, left: Node, right: Node) -> Option<Node> {
        let name = if name == "!=" { "<>" } else { name };
        let Some(chosen) = types::binary_operator(name, left.ty().oid, right.ty().oid) else {
            // Rows compare as records do.
            let is_row = |node: &Node| {
                matches!(node, Node::WholeRow { .. } | Node::Row { .. })
                    || self.around.catalog.table_with_inner_oid(node.ty().oid).is_some()
            };
            let compares = matches!(name, "=" | "<>" | "<" | "<=" | ">" | ">=");
            let rows = compares && is_row(&left) && is_row(&right);
            let ty = Ty::of(types::BOOL);
            return rows.then(|| Node::Op { name: name.to_owned(), args: vec![left, right], ty });
        };
        let ty = Ty::of(chosen.result);
        let args = vec![self.implied(left, chosen.args[0]), self.implied(right, chosen.args[1])];
        Some(Node::Op { name: name.to_owned(), args, ty })
    }

    pub(super) fn prefix(&self, name: &str, operand: Node) -> Option<Node> {
        let chosen = types::prefix_operator(name, operand.ty().oid)?;
        let args = vec![self.implied(operand, chosen.args[0])];
        Some(Node::Op { name: name.to_owned(), args, ty: Ty::of(chosen.result) })
    }

    /// Rows field by field: equality as conditions, order as one comparison.
    pub(super) fn compare_rows(
        &mut self,
        name: &str,
        left: &[ast::Expr],
        right: &[ast::Expr],
    ) -> Option<Node> {
        let (left, right) = (self.exprs(left)?, self.exprs(right)?);
        if left.len() != right.len() {
            return None;
        }
        let pairs = left.into_iter().zip(right).map(|(l, r)| self.operator(name, l, r));
        let mut tests = pairs.collect::<Option<Vec<_>>>()?;
        if tests.len() == 1 {
            return tests.pop();
        }
        match name {
            "=" => Some(Node::And(tests)),
            "<>" => Some(Node::Or(tests)),
            _ => {
                let (mut left, mut right) = (Vec::new(), Vec::new());
                for test in tests {
                    let Node::Op { mut args, .. } = test else { return None };
                    right.push(args.pop()?);
                    left.push(args.pop()?);
                }
                Some(Node::CompareRows { name: name.to_owned(), left, right })
            }
        }
    }
}
