//! GROUPING SETS, ROLLUP and CUBE, also inside each other: which lists of expressions they mean.

use datafusion::sql::sqlparser::ast;

use super::calls::function_name;
use crate::{
    error::{SqlError, sqlstate},
    query::parser::{GROUPING_SETS, NO_COLUMNS},
};

/// How many sets one GROUP BY may make, as in PostgreSQL.
pub(super) const SETS_MAX: usize = 4_096;

/// The expressions of one grouping set.
type Set<'q> = Vec<&'q ast::Expr>;

/// The alternatives that an element of GROUP BY stands for, and whether it is one of the three.
pub(super) fn alternatives(expr: &ast::Expr) -> Result<(Vec<Set<'_>>, bool), SqlError> {
    Ok(match expr {
        ast::Expr::Rollup(lists) => {
            (rollup(&lists.iter().map(|list| list.iter().collect()).collect::<Vec<_>>()), true)
        }
        ast::Expr::Cube(lists) => {
            (cube(&lists.iter().map(|list| list.iter().collect()).collect::<Vec<_>>())?, true)
        }
        ast::Expr::GroupingSets(sets) => {
            let mut all = Vec::new();
            for set in sets {
                match set.as_slice() {
                    [only] => all.extend(nested(only)?),
                    several => all.push(several.iter().collect()),
                }
            }
            (all, true)
        }
        ast::Expr::Tuple(fields) => (vec![fields.iter().collect()], false),
        other => (vec![vec![other]], false),
    })
}

/// What stands inside GROUPING SETS: one set, or several.
fn nested(expr: &ast::Expr) -> Result<Vec<Set<'_>>, SqlError> {
    let call = match expr {
        ast::Expr::Tuple(fields) => return Ok(vec![fields.iter().collect()]),
        ast::Expr::Nested(inner) => return Ok(vec![vec![inner]]),
        ast::Expr::Identifier(ident) if ident.value == NO_COLUMNS => return Ok(vec![vec![]]),
        ast::Expr::Function(call) => call,
        other => return Ok(vec![vec![other]]),
    };
    let ast::FunctionArguments::List(list) = &call.args else { return Ok(vec![vec![expr]]) };
    let name = function_name(&call.name).unwrap_or_default();
    if !matches!(name.as_str(), "rollup" | "cube" | GROUPING_SETS) {
        return Ok(vec![vec![expr]]);
    }
    let mut elements = Vec::with_capacity(list.args.len());
    for arg in &list.args {
        match arg {
            ast::FunctionArg::Unnamed(ast::FunctionArgExpr::Expr(expr)) => elements.push(expr),
            other => return Err(SqlError::not_supported(format!("grouping by {other}"))),
        }
    }
    if name == GROUPING_SETS {
        let mut all = Vec::new();
        for element in elements {
            all.extend(nested(element)?);
        }
        return Ok(all);
    }
    let mut lists: Vec<Set<'_>> = Vec::with_capacity(elements.len());
    for element in elements {
        lists.push(match element {
            ast::Expr::Tuple(fields) => fields.iter().collect(),
            other => vec![other],
        });
    }
    if name == "rollup" { Ok(rollup(&lists)) } else { cube(&lists) }
}

/// Every beginning of the list, the longest first.
fn rollup<'q>(lists: &[Set<'q>]) -> Vec<Set<'q>> {
    (0..=lists.len()).rev().map(|n| lists[..n].iter().flatten().copied().collect()).collect()
}

/// Every part of the list.
fn cube<'q>(lists: &[Set<'q>]) -> Result<Vec<Set<'q>>, SqlError> {
    if lists.len() > 12 {
        let message = "CUBE is limited to 12 elements";
        return Err(SqlError::new(sqlstate::TOO_MANY_COLUMNS, message));
    }
    let part = |mask: usize| {
        let bit = |i: &usize| mask >> (lists.len() - 1 - i) & 1 == 1;
        (0..lists.len()).filter(bit).flat_map(|i| lists[i].iter().copied()).collect()
    };
    Ok((0..1_usize << lists.len()).rev().map(part).collect())
}
