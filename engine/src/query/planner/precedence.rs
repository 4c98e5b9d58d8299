//! `a IS DISTINCT FROM b AND c` is `(a IS DISTINCT FROM b) AND c`. sqlparser takes everything that
//! follows as the right side, so that such a chain of AND and OR is put together anew.

use datafusion::sql::sqlparser::ast::{BinaryOperator, Expr, UnaryOperator};

/// An operand of a chain, and what joins it to those before it.
struct Operand {
    joined_by: BinaryOperator,
    expr: Expr,
}

fn is_connective(expr: &Expr) -> bool {
    matches!(expr, Expr::BinaryOp { op: BinaryOperator::And | BinaryOperator::Or, .. })
}

/// Whether a chain ends with an IS DISTINCT FROM that took what follows it. It is on the right of
/// everything, because it takes everything on its right.
fn is_misread(expr: &Expr) -> bool {
    let mut expr = expr;
    loop {
        expr = match expr {
            Expr::BinaryOp { right, .. } if is_connective(expr) => right,
            Expr::UnaryOp { op: UnaryOperator::Not, expr } => expr,
            Expr::IsDistinctFrom(_, right) | Expr::IsNotDistinctFrom(_, right) => {
                return is_connective(right);
            }
            _ => return false,
        };
    }
}

/// The expression as PostgreSQL reads it, if that is another one.
#[must_use]
pub fn reassociated(expr: &Expr) -> Option<Expr> {
    if !is_misread(expr) {
        return None;
    }
    let mut operands = Vec::new();
    // The first one is joined to nothing.
    flatten(expr, &BinaryOperator::And, &mut operands);
    let (mut any, mut all): (Option<Expr>, Option<Expr>) = (None, None);
    let join = |left: Option<Expr>, op: BinaryOperator, right: Expr| match left {
        None => right,
        Some(left) => Expr::BinaryOp { left: Box::new(left), op, right: Box::new(right) },
    };
    for Operand { joined_by, expr } in operands {
        if joined_by == BinaryOperator::Or {
            any = all.take().map(|all| join(any.take(), BinaryOperator::Or, all));
        }
        all = Some(join(all.take(), BinaryOperator::And, expr));
    }
    all.map(|all| join(any, BinaryOperator::Or, all))
}

/// Operands in the order they are written.
fn flatten(expr: &Expr, joined_by: &BinaryOperator, operands: &mut Vec<Operand>) {
    let start = operands.len();
    // Changes the first operand of a part.
    let mut change = |part: &Expr, change: &dyn Fn(Box<Expr>) -> Expr| {
        flatten(part, joined_by, operands);
        if let Some(first) = operands.get_mut(start) {
            let null = Expr::value(datafusion::sql::sqlparser::ast::Value::Null);
            first.expr = change(Box::new(std::mem::replace(&mut first.expr, null)));
        }
    };
    match expr {
        Expr::BinaryOp { left, op, right } if is_connective(expr) => {
            flatten(left, joined_by, operands);
            flatten(right, op, operands);
        }
        Expr::UnaryOp { op: UnaryOperator::Not, expr: inner } if is_misread(inner) => {
            change(inner, &|expr| Expr::UnaryOp { op: UnaryOperator::Not, expr });
        }
        Expr::IsDistinctFrom(left, right) if is_connective(right) => {
            change(right, &|right| Expr::IsDistinctFrom(left.clone(), right));
        }
        Expr::IsNotDistinctFrom(left, right) if is_connective(right) => {
            change(right, &|right| Expr::IsNotDistinctFrom(left.clone(), right));
        }
        other => operands.push(Operand { joined_by: joined_by.clone(), expr: other.clone() }),
    }
}
