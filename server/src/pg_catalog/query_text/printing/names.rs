//! What entries of FROM and their columns are called in a printed query.
//!
//! Entries that a name is found twice for get a number behind it. Columns that USING merges must
//! have one name on both sides, whatever they are called today, and no other column of the join may
//! have it: entries whose columns must be called otherwise list their names behind their alias.

use std::collections::{HashMap, HashSet};

use super::{
    super::{
        Surroundings,
        tree::{From, Join, JoinColumn, Node, Query, Table, TableKind},
    },
    Namespace,
};

/// Longest name, in bytes.
const NAME_MAX: usize = 63;

/// Names of a query's entries and their columns.
#[derive(Default)]
pub(super) struct Names {
    /// `None`: a join without alias.
    pub(super) tables: Vec<Option<String>>,
    pub(super) columns: Vec<ColumnNames>,
    /// Merged columns that are found by their names alone, if there are such.
    merged: Option<Vec<String>>,
}

/// Names of the columns of an entry.
#[derive(Clone, Default)]
pub(super) struct ColumnNames {
    /// By column; `None`: dropped, or not chosen yet.
    pub(super) names: Vec<Option<String>>,
    /// Of the columns it has today, in order, and whether the query does not know them.
    pub(super) today: Vec<(String, bool)>,
    /// Whether `today` stands behind the alias.
    pub(super) listed: bool,
    /// Columns that joins around merge.
    around: Vec<String>,
    /// Columns that the join itself merges.
    pub(super) using: Vec<String>,
}

impl Names {
    pub(super) fn new(around: Surroundings<'_>, query: &Query, outer: &[Namespace<'_>]) -> Self {
        let mut names = Self {
            tables: table_names(around, query, outer),
            columns: vec![ColumnNames::default(); query.tables.len()],
            merged: query.from.iter().any(|from| has_computed_merge(query, from)).then(Vec::new),
        };
        for (table, columns) in query.tables.iter().zip(&mut names.columns) {
            columns.names = vec![None; table.columns.len()];
        }
        for from in &query.from {
            names.merge(query, from, &[]);
        }
        for (at, table) in query.tables.iter().enumerate() {
            match &table.kind {
                TableKind::Join(columns) => names.join(query, at, table, columns),
                _ => names.plain(at, table),
            }
        }
        names
    }

    fn is_free(&self, name: &str, of: usize) -> bool {
        let columns = &self.columns[of];
        !columns.names.iter().flatten().any(|taken| taken == name)
            && !columns.today.iter().any(|(taken, _)| taken == name)
            && !columns.around.iter().any(|taken| taken == name)
            && !self.merged.iter().flatten().any(|taken| taken == name)
    }

    fn unique(&self, name: &str, of: usize) -> String {
        if self.is_free(name, of) {
            return name.to_owned();
        }
        let mut number = 1;
        loop {
            let candidate = numbered(name, number);
            if self.is_free(&candidate, of) {
                return candidate;
            }
            number += 1;
        }
    }

    /// Chooses the names of merged columns from the outermost join inwards.
    fn merge(&mut self, query: &Query, from: &From, around: &[String]) {
        let From::Join(join) = from else { return };
        let entry = &query.tables[join.table];
        let TableKind::Join(columns) = &entry.kind else { return };
        if entry.alias.is_none() {
            // It has the names of its parts.
            for (at, column) in columns.iter().enumerate() {
                if let Some(name) = self.columns[join.table].names[at].clone() {
                    self.hand_down(column, &name);
                }
            }
        }
        let mut around = around.to_vec();
        for (at, column) in columns.iter().take(join.merged).enumerate() {
            let name = match self.columns[join.table].names[at].clone() {
                Some(name) => name,
                None => {
                    let given = entry.alias.as_ref().and_then(|alias| alias.columns.get(at));
                    let name = self.unique(given.unwrap_or(&entry.columns[at].name), join.table);
                    if let Some(merged) = &mut self.merged {
                        merged.push(name.clone());
                    }
                    self.columns[join.table].names[at] = Some(name.clone());
                    name
                }
            };
            self.columns[join.table].using.push(name.clone());
            around.push(name.clone());
            self.hand_down(column, &name);
        }
        for side in [&join.left, &join.right] {
            let table = entry_of(side);
            self.columns[table].around.clone_from(&around);
            self.merge(query, side, &around);
        }
    }

    fn hand_down(&mut self, column: &JoinColumn, name: &str) {
        for (table, at) in column.left.iter().chain(&column.right) {
            self.columns[*table].names[*at] = Some(name.to_owned());
        }
    }

    /// Chooses the names of an entry that is no join.
    fn plain(&mut self, at: usize, table: &Table) {
        let mut changed = false;
        let is_relation = matches!(table.kind, TableKind::Relation { .. });
        for (n, column) in table.columns.iter().enumerate() {
            let Some(now) = &column.now else {
                self.columns[at].names[n] = None;
                continue;
            };
            let name = match self.columns[at].names[n].clone() {
                Some(name) => name,
                None => {
                    let given = table.alias.as_ref().and_then(|alias| alias.columns.get(n));
                    let name = self.unique(given.unwrap_or(now), at);
                    self.columns[at].names[n] = Some(name.clone());
                    name
                }
            };
            changed |= name != *now;
            self.columns[at].today.push((name, n >= table.known));
        }
        let given = table.alias.as_ref().is_some_and(|alias| !alias.columns.is_empty());
        self.columns[at].listed = match &table.kind {
            TableKind::Function { .. } => true,
            _ => changed || given && !is_relation,
        };
    }

    /// Chooses the names of a join's columns, whose sides have theirs.
    fn join(&mut self, query: &Query, at: usize, table: &Table, columns: &[JoinColumn]) {
        let Some(join) = query.from.iter().find_map(|from| find_join(from, at)) else { return };
        let (left, right) = (entry_of(&join.left), entry_of(&join.right));
        let merged = self.columns[at].using.len();
        let mut changed = false;
        for (n, column) in columns.iter().enumerate().skip(merged) {
            let place = column.left.or(column.right);
            let real = place.and_then(|(table, at)| self.columns[table].names[at].clone());
            let Some(real) = real else {
                self.columns[at].names[n] = None;
                continue;
            };
            let Some(alias) = &table.alias else {
                self.columns[at].names[n] = Some(real);
                continue;
            };
            let name = match self.columns[at].names[n].clone() {
                Some(name) => name,
                None => {
                    let name = self.unique(alias.columns.get(n).unwrap_or(&real), at);
                    self.columns[at].names[n] = Some(name.clone());
                    name
                }
            };
            changed |= name != real;
        }
        for n in 0..merged {
            let name = self.columns[at].names[n].clone().unwrap_or_default();
            self.columns[at].today.push((name, false));
        }
        for (side, is_left) in [(left, true), (right, false)] {
            changed |= self.join_side(at, table, columns, merged, (side, is_left));
        }
        self.columns[at].listed = table.alias.is_some() && changed;
    }

    /// Adds the columns that one side has today; returns whether one had to be renamed.
    fn join_side(
        &mut self,
        at: usize,
        table: &Table,
        columns: &[JoinColumn],
        merged: usize,
        (side, is_left): (usize, bool),
    ) -> bool {
        let mut changed = false;
        let known = self.columns[side].names.iter().enumerate();
        let known: Vec<usize> = known.filter(|(_, name)| name.is_some()).map(|(n, _)| n).collect();
        let mut next = known.into_iter();
        for (name, is_new) in self.columns[side].today.clone() {
            if is_new {
                let shown = match table.alias {
                    Some(_) => self.unique(&name, at),
                    None => name.clone(),
                };
                changed |= shown != name;
                self.columns[at].today.push((shown, true));
                continue;
            }
            let Some(own) = next.next() else { continue };
            let is_own = |column: &JoinColumn| {
                let place = if is_left { column.left } else { column.right };
                place == Some((side, own))
            };
            match columns.iter().position(is_own) {
                Some(n) if n < merged => {}
                Some(n) => {
                    let name = self.columns[at].names[n].clone().unwrap_or_default();
                    self.columns[at].today.push((name, false));
                }
                None => {}
            }
        }
        changed
    }
}

/// Names of the entries, unlike each other and those of the queries around.
fn table_names(
    around: Surroundings<'_>,
    query: &Query,
    outer: &[Namespace<'_>],
) -> Vec<Option<String>> {
    let outer = outer.iter().flat_map(|namespace| namespace.names.tables.iter().flatten());
    let mut taken: HashSet<String> = outer.cloned().collect();
    let mut numbers: HashMap<String, usize> = HashMap::new();
    let mut names = Vec::with_capacity(query.tables.len());
    for table in &query.tables {
        let name = match (&table.alias, &table.kind) {
            (Some(alias), _) => alias.name.clone(),
            (None, TableKind::Join(_)) => {
                names.push(None);
                continue;
            }
            (None, TableKind::Relation { oid }) => {
                crate::pg_catalog::relation_name(around.catalog, *oid)
                    .map_or_else(|| table.name.clone(), |(_, name)| name)
            }
            (None, _) => table.name.clone(),
        };
        let mut chosen = name.clone();
        while taken.contains(&chosen) {
            let number = numbers.entry(name.clone()).or_default();
            *number += 1;
            chosen = numbered(&name, *number);
        }
        taken.insert(chosen.clone());
        names.push(Some(chosen));
    }
    names
}

/// A name with a number behind it, cut so that it stays a name.
fn numbered(name: &str, number: usize) -> String {
    let suffix = format!("_{number}");
    let mut end = name.len().min(NAME_MAX - suffix.len());
    while !name.is_char_boundary(end) {
        end -= 1;
    }
    format!("{}{suffix}", &name[..end])
}

fn entry_of(from: &From) -> usize {
    match from {
        From::Table(table) => *table,
        From::Join(join) => join.table,
    }
}

fn find_join(from: &From, table: usize) -> Option<&Join> {
    let From::Join(join) = from else { return None };
    if join.table == table {
        return Some(join);
    }
    find_join(&join.left, table).or_else(|| find_join(&join.right, table))
}

/// Whether a join without alias merges columns into something that is no column: it is found by its
/// name alone.
fn has_computed_merge(query: &Query, from: &From) -> bool {
    let From::Join(join) = from else { return false };
    let entry = &query.tables[join.table];
    let computed = |column: &JoinColumn| !matches!(column.node, Node::Column { .. });
    let here = match &entry.kind {
        TableKind::Join(columns) if entry.alias.is_none() => {
            columns.iter().take(join.merged).any(computed)
        }
        _ => false,
    };
    here || has_computed_merge(query, &join.left) || has_computed_merge(query, &join.right)
}
