//! PostgreSQL's functions and operators as `pg_proc` and `pg_operator` list them here.

use std::{collections::HashMap, sync::LazyLock};

pub(super) const FUNCTIONS: &str = include_str!("data/pg_proc.tsv");
pub(super) const OPERATORS: &str = include_str!("data/pg_operator.tsv");

/// A line of `pg_proc`.
#[derive(Debug)]
pub(super) struct Function {
    pub(super) oid: u32,
    pub(super) name: &'static str,
    pub(super) returns_set: bool,
    pub(super) returns: u32,
    /// Input arguments.
    pub(super) arguments: Vec<u32>,
    /// Types, modes and names of all arguments, where the line has them.
    pub(super) all_arguments: Vec<u32>,
    pub(super) modes: Vec<char>,
    pub(super) names: Vec<&'static str>,
}

/// A line of `pg_operator`.
#[derive(Debug)]
pub(super) struct Operator {
    pub(super) oid: u32,
    pub(super) name: &'static str,
    /// 0 for a prefix operator.
    pub(super) left: u32,
    pub(super) right: u32,
}

/// Things with OIDs, found by those and by name.
pub(super) struct Listed<T> {
    all: Vec<T>,
    by_oid: HashMap<u32, usize>,
    by_name: HashMap<&'static str, Vec<usize>>,
}

impl<T> Listed<T> {
    fn new(all: Vec<T>, key: impl Fn(&T) -> (u32, &'static str)) -> Self {
        let mut by_oid = HashMap::new();
        let mut by_name: HashMap<_, Vec<usize>> = HashMap::new();
        for (at, one) in all.iter().enumerate() {
            let (oid, name) = key(one);
            by_oid.insert(oid, at);
            by_name.entry(name).or_default().push(at);
        }
        Self { all, by_oid, by_name }
    }

    pub(super) fn all(&self) -> &[T] {
        &self.all
    }

    pub(super) fn with_oid(&self, oid: u32) -> Option<&T> {
        self.by_oid.get(&oid).map(|at| &self.all[*at])
    }

    pub(super) fn named(&self, name: &str) -> impl Iterator<Item = &T> {
        self.by_name.get(name).into_iter().flatten().map(|at| &self.all[*at])
    }
}

pub(super) static FUNCTION_LIST: LazyLock<Listed<Function>> = LazyLock::new(|| {
    Listed::new(FUNCTIONS.lines().filter_map(function).collect(), |f| (f.oid, f.name))
});

pub(super) static OPERATOR_LIST: LazyLock<Listed<Operator>> = LazyLock::new(|| {
    Listed::new(OPERATORS.lines().filter_map(operator).collect(), |o| (o.oid, o.name))
});

fn function(line: &'static str) -> Option<Function> {
    /// Places of columns in `pg_proc`.
    const RETURNS_SET: usize = 13;
    const RETURNS: usize = 18;
    const ARGUMENTS: usize = 19;
    let fields: Vec<&'static str> = line.split('\t').collect();
    let items = |at: usize| {
        let list = fields.get(at).copied().filter(|list| *list != "\\N").unwrap_or_default();
        list.trim_matches(['{', '}']).split([' ', ',']).filter(|item| !item.is_empty())
    };
    let oids = |at: usize| items(at).filter_map(|oid| oid.parse().ok()).collect();
    Some(Function {
        oid: fields.first()?.parse().ok()?,
        name: fields.get(1)?,
        returns_set: *fields.get(RETURNS_SET)? == "t",
        returns: fields.get(RETURNS)?.parse().ok()?,
        arguments: oids(ARGUMENTS),
        all_arguments: oids(ARGUMENTS + 1),
        modes: items(ARGUMENTS + 2).filter_map(|mode| mode.chars().next()).collect(),
        names: items(ARGUMENTS + 3).map(|name| if name == "\"\"" { "" } else { name }).collect(),
    })
}

fn operator(line: &'static str) -> Option<Operator> {
    /// Places of columns in `pg_operator`.
    const LEFT: usize = 7;
    let fields: Vec<&'static str> = line.split('\t').collect();
    Some(Operator {
        oid: fields.first()?.parse().ok()?,
        name: fields.get(1)?,
        left: fields.get(LEFT)?.parse().ok()?,
        right: fields.get(LEFT + 1)?.parse().ok()?,
    })
}
