//! What the user may have meant by a name that means nothing here.
//!
//! The rules are PostgreSQL's (`parse_relation.c`): a column is near if its name is at most 3 edits
//! away and at most half of what was written; a table's alias that differs counts as edits, too.
//! The nearest one or two are offered, three are not.

use datafusion::sql::sqlparser::ast;

use super::{
    Planner, resolver,
    scope::{Env, ScopeTable},
};
use crate::{
    error::{SqlError, sqlstate},
    query::statement::RelationName,
};

const DISTANCE_MAX: usize = 3;

/// Tables around an expression, innermost query first.
fn tables<'e>(env: &Env<'e>) -> impl Iterator<Item = &'e ScopeTable> {
    let mut env = Some(*env);
    std::iter::from_fn(move || {
        let here = env?;
        env = here.outer.copied();
        Some(here.scope.tables.iter())
    })
    .flatten()
}

/// Adds the hint to an error about a column that does not exist.
pub(super) fn with_similar_column(
    error: SqlError,
    table: Option<&str>,
    name: &str,
    env: &Env<'_>,
) -> SqlError {
    let mut best = DISTANCE_MAX + 1;
    let mut found: Vec<(&str, &str)> = Vec::new();
    for entry in tables(env) {
        let penalty = table.map_or(0, |table| distance(table, &entry.alias));
        if penalty > best {
            continue;
        }
        for column in entry.columns.iter().filter(|c| !c.hidden) {
            let edits = distance(&column.name, name);
            if edits > name.len() / 2 {
                continue;
            }
            let edits = edits + penalty;
            if edits < best {
                best = edits;
                found = vec![(&entry.alias, &column.name)];
            } else if edits == best {
                match found.len() {
                    // Three are as near: only a nearer one would tell something.
                    2 => (found, best) = (Vec::new(), best.saturating_sub(1)),
                    0 if best > DISTANCE_MAX => {}
                    _ => found.push((&entry.alias, &column.name)),
                }
            }
        }
    }
    let quoted = |(table, column): &(&str, &str)| format!("column \"{table}.{column}\"");
    let quoted: Vec<String> = found.iter().map(quoted).collect();
    if quoted.is_empty() {
        return error;
    }
    error.hint(format!("Perhaps you meant to reference the {}.", quoted.join(" or the ")))
}

impl Planner<'_> {
    /// The error about a table that FROM does not have, or has by another name.
    pub(super) fn missing_table(
        &self,
        schema: Option<&str>,
        table: &str,
        ident: &ast::Ident,
        env: &Env<'_>,
    ) -> SqlError {
        let name = RelationName {
            schema: schema.map(str::to_owned),
            name: table.to_owned(),
            position: None,
        };
        let meant = resolver::resolve(self.context, &name).ok().and_then(|relation| {
            tables(env).find(|entry| {
                entry.alias != table && entry.columns.iter().any(|c| c.origin.0 == relation.oid)
            })
        });
        let error = match meant {
            None => {
                let message = format!("missing FROM-clause entry for table \"{table}\"");
                SqlError::new(sqlstate::UNDEFINED_TABLE, message)
            }
            Some(entry) => {
                let message =
                    format!("invalid reference to FROM-clause entry for table \"{table}\"");
                SqlError::new(sqlstate::UNDEFINED_TABLE, message).hint(format!(
                    "Perhaps you meant to reference the table alias \"{}\".",
                    entry.alias
                ))
            }
        };
        self.at(error, ident)
    }
}

/// Levenshtein's distance, in characters.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, y) in b.iter().enumerate() {
            let replaced = diagonal + usize::from(x != *y);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::distance;

    #[test]
    fn distances_count_edits() {
        for (a, b, edits) in
            [("name", "nam", 1), ("", "abc", 3), ("abc", "abc", 0), ("kitten", "sitting", 3)]
        {
            assert_eq!((distance(a, b), distance(b, a)), (edits, edits), "{a} {b}");
        }
    }
}
