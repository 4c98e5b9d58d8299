//! Tables of a seed and changes of them.

use super::values::{KEY_TYPES, TYPES, Type, computed, odd, ordinary};
use crate::differential::Random;

struct Column {
    name: String,
    of: Type,
    not_null: bool,
    default: Option<String>,
}

/// Makes statements about `t`, and about `s`, whose rows do not change: `(k int primary key, i int,
/// n numeric(8,3), x text, d date)`.
pub(super) struct Generator {
    random: Random,
    columns: Vec<Column>,
    /// How many of the columns, from the first on, are the key.
    key: usize,
    /// The statement has a value that does not fit: of several, either side may name another one.
    has_odd: bool,
}

const SOURCE: &str = "drop table if exists s; create table s (k int primary key, i int, \
                      n numeric(8,3), x text, d date); insert into s values (0, 1, 1.005, 'a', \
                      '2020-01-01'), (1, 2, -2.5, 'b', null), (2, null, 99999.999, 'abcdef', \
                      'infinity'), (3, 40000, null, '', '1999-12-31'), (5, 7, 0.015, null, \
                      '2024-02-29'), (8, -1, 12345.678, 'Straße', '0001-01-01')";

impl Generator {
    pub(super) fn new(mut random: Random) -> Self {
        let key = match random.below(10) {
            0 => 0,
            1..=6 => 1,
            _ => 2,
        };
        let count = key + 2 + random.below(6);
        let mut columns: Vec<Column> = Vec::new();
        for at in 0..count {
            let of = if at < key { *random.pick(&KEY_TYPES) } else { *random.pick(&TYPES) };
            let not_null = at >= key && random.percent(15);
            let default = random.percent(35).then(|| ordinary(&mut random, of));
            columns.push(Column { name: format!("c{at}"), of, not_null, default });
        }
        Self { random, columns, key, has_odd: false }
    }

    pub(super) fn random(&mut self) -> &mut Random {
        &mut self.random
    }

    pub(super) fn tables(&mut self) -> Vec<String> {
        let mut parts: Vec<String> = Vec::new();
        for column in &self.columns {
            let mut part = format!("{} {}", column.name, column.of.name());
            if let Some(default) = &column.default {
                part.push_str(&format!(" default {default}"));
            }
            if column.not_null {
                part.push_str(" not null");
            }
            parts.push(part);
        }
        if self.key > 0 {
            let key: Vec<&str> = self.columns[..self.key].iter().map(|c| c.name.as_str()).collect();
            parts.push(format!("primary key ({})", key.join(", ")));
        }
        vec![
            SOURCE.to_owned(),
            "drop table if exists t".to_owned(),
            format!("create table t ({})", parts.join(", ")),
        ]
    }

    /// What shows everything.
    pub(super) fn whole_tables(&self) -> Vec<String> {
        vec!["select * from t".to_owned()]
    }

    /// Queries in the middle of a transaction.
    pub(super) fn reads(&mut self) -> Vec<String> {
        let condition = self.condition("t");
        vec![
            "select * from t".to_owned(),
            format!("select * from t where {condition}"),
            "select count(*), min(c0), max(c0) from t".to_owned(),
        ]
    }

    pub(super) fn statement(&mut self) -> String {
        self.has_odd = false;
        match self.random.below(100) {
            0..45 => self.insert(),
            45..75 => self.update(),
            75..97 => self.delete(),
            97 => "truncate t".to_owned(),
            _ => "delete from t".to_owned(),
        }
    }

    fn odd(&mut self, of: Type) -> String {
        self.has_odd = true;
        odd(&mut self.random, of)
    }

    /// A value for a column, without columns around it.
    fn constant(&mut self, column: usize) -> String {
        let of = self.columns[column].of;
        match self.random.below(100) {
            0..6 => "null".to_owned(),
            6..12 => "default".to_owned(),
            12..25 if !self.has_odd => self.odd(of),
            25..30 => {
                let literal = ordinary(&mut self.random, of);
                format!("cast({literal} as {})", of.name())
            }
            _ => ordinary(&mut self.random, of),
        }
    }

    /// Columns to insert into: all, or some of them in any order.
    fn targets(&mut self) -> Vec<usize> {
        let mut targets: Vec<usize> = (0..self.columns.len()).collect();
        if self.random.percent(40) {
            targets.retain(|column| *column < self.key || self.random.percent(60));
            if targets.len() > 1 && self.random.percent(50) {
                let at = self.random.below(targets.len());
                targets.rotate_left(at);
            }
        }
        if targets.is_empty() { vec![0] } else { targets }
    }

    fn insert(&mut self) -> String {
        if self.random.once_in(30) {
            return format!("insert into t default values{}", self.returning("t"));
        }
        let targets = self.targets();
        let names: Vec<&str> = targets.iter().map(|c| self.columns[*c].name.as_str()).collect();
        let all = targets.len() == self.columns.len() && targets.is_sorted();
        let list = if all && self.random.percent(50) {
            String::new()
        } else {
            format!(" ({})", names.join(", "))
        };
        let source = if self.random.percent(25) {
            self.selected(&targets)
        } else {
            let rows = 1 + self.random.below(4);
            let row = |this: &mut Self| {
                let values: Vec<String> = targets.iter().map(|c| this.constant(*c)).collect();
                format!("({})", values.join(", "))
            };
            let rows: Vec<String> = (0..rows).map(|_| row(self)).collect();
            format!("values {}", rows.join(", "))
        };
        let with = if self.random.once_in(15) { "with q as (select 1 as one) " } else { "" };
        format!("{with}insert into t{list} {source}{}", self.returning("t"))
    }

    /// A query that gives values for columns, from the other table or from this one.
    fn selected(&mut self, targets: &[usize]) -> String {
        let of_itself = self.random.percent(40);
        let mut values = Vec::new();
        for target in targets {
            values.push(if of_itself {
                self.expression(*target, "t", false)
            } else {
                self.source_value(*target)
            });
        }
        let from = if of_itself { "t" } else { "s" };
        let condition = if of_itself {
            self.condition("t")
        } else {
            (*self.random.pick(&[
                "s.k < 3",
                "s.i is not null",
                "true",
                "s.k in (1, 8)",
                "s.x > 'a'",
            ]))
            .to_owned()
        };
        format!("select {} from {from} where {condition}", values.join(", "))
    }

    /// A value for a column from the other table.
    fn source_value(&mut self, target: usize) -> String {
        let of = self.columns[target].of;
        let typed = [
            ("s.k", Type::Int4),
            ("s.i", Type::Int4),
            ("s.n", Type::Numeric),
            ("s.x", Type::Text),
            ("s.d", Type::Date),
        ];
        let fitting: Vec<&str> = typed
            .iter()
            .filter(|(_, t)| of.is_assignable_from(*t))
            .map(|(name, _)| *name)
            .collect();
        if fitting.is_empty() || self.random.percent(15) {
            let literal = ordinary(&mut self.random, of);
            return format!("cast({literal} as {})", of.name());
        }
        (*self.random.pick(&fitting)).to_owned()
    }

    /// A value for a column, from the columns of the row or from elsewhere.
    fn expression(&mut self, target: usize, table: &str, joined: bool) -> String {
        let of = self.columns[target].of;
        match self.random.below(100) {
            0..35 => {
                let literal = ordinary(&mut self.random, of);
                if matches!(of, Type::Json | Type::Jsonb | Type::IntArray | Type::TextArray) {
                    return format!("cast({literal} as {})", of.name());
                }
                literal
            }
            35..43 if !self.has_odd => self.odd(of),
            43..50 if joined => self.source_value(target),
            50..56 => {
                let key = &self.columns[target].name;
                let query = *self.random.pick(&["max(s.k)", "min(s.i)", "count(*)"]);
                if of.is_assignable_from(Type::Int8) {
                    format!("(select {query} from s where s.k >= 1)")
                } else {
                    format!("{table}.{key}")
                }
            }
            56..62 => "null".to_owned(),
            _ => {
                let fits = |column: &usize| of.is_assignable_from(self.columns[*column].of);
                let fitting: Vec<usize> = (0..self.columns.len()).filter(fits).collect();
                let from = *self.random.pick(&fitting);
                let Column { name, of, .. } = &self.columns[from];
                let (name, of) = (format!("{table}.{name}"), *of);
                if self.random.percent(50) { name } else { computed(&mut self.random, of, &name) }
            }
        }
    }

    /// Which rows: often by the key, some of them in ways that are planned apart.
    fn condition(&mut self, table: &str) -> String {
        let comparable = |column: &usize| self.columns[*column].of.is_comparable();
        let all: Vec<usize> = (0..self.columns.len()).filter(comparable).collect();
        let by_key = self.key > 0 && self.random.percent(60);
        let column = if by_key { 0 } else { *self.random.pick(&all) };
        let of = self.columns[column].of;
        let name = format!("{table}.{}", self.columns[column].name);
        let a = ordinary(&mut self.random, of);
        let b = ordinary(&mut self.random, of);
        let cast = |literal: &str| format!("cast({literal} as {})", of.name());
        let (a, b) = (cast(&a), cast(&b));
        let first = match self.random.below(12) {
            0..3 => format!("{name} = {a}"),
            3 => format!("{name} in ({a}, {b}, null)"),
            4 => format!("{name} in ({a}, {b})"),
            5 => format!("{name} between {a} and {b}"),
            6 => format!("{name} > {a}"),
            7 => format!("{name} <= {a} and {name} > {b}"),
            8 => format!("{name} is null"),
            9 => format!("{name} is distinct from {a}"),
            10 => "exists (select 1 from s where s.k < 2)".to_owned(),
            _ => "true".to_owned(),
        };
        if self.key == 2 && by_key && self.random.percent(60) {
            let of = self.columns[1].of;
            let value = ordinary(&mut self.random, of);
            let op = *self.random.pick(&["=", "=", ">", "<="]);
            return format!("{first} and {table}.c1 {op} cast({value} as {})", of.name());
        }
        if self.random.percent(20) {
            let other = &self.columns[self.random.below(self.columns.len())].name;
            return format!("{first} and {table}.{other} is not null");
        }
        first
    }

    fn update(&mut self) -> String {
        let joined = self.random.percent(20);
        let (target, table) = if self.random.percent(20) { ("t as u", "u") } else { ("t", "t") };
        // Rows whose keys are changed must not meet each other's old ones, which fail in PostgreSQL,
        // depending on their order.
        let free: Vec<usize> = (self.key..self.columns.len()).collect();
        let mut assigned = Vec::new();
        let mut sets = Vec::new();
        for _ in 0..=self.random.below(3) {
            let column = *self.random.pick(&free);
            if assigned.contains(&column) {
                continue;
            }
            assigned.push(column);
            let value = if self.random.percent(8) {
                "default".to_owned()
            } else {
                self.expression(column, table, joined)
            };
            sets.push(format!("{} = {value}", self.columns[column].name));
        }
        if sets.len() == 2
            && self.random.percent(20)
            && !sets.iter().any(|s| s.ends_with("default"))
        {
            let split: Vec<(&str, &str)> =
                sets.iter().filter_map(|s| s.split_once(" = ")).collect();
            let names: Vec<&str> = split.iter().map(|(name, _)| *name).collect();
            let values: Vec<&str> = split.iter().map(|(_, value)| *value).collect();
            sets = vec![format!("({}) = ({})", names.join(", "), values.join(", "))];
        }
        let mut condition = self.condition(table);
        let mut from = "";
        if joined {
            // At most one row of the other table for each.
            let ints = [Type::Int2, Type::Int4, Type::Int8];
            let join = self.columns.iter().find(|column| ints.contains(&column.of));
            let join = join.map_or("s.k = 2".to_owned(), |c| format!("s.k = {table}.{}", c.name));
            from = " from s";
            condition = format!("{join} and {condition}");
        } else if self.key == 1 && self.random.percent(25) {
            let (key, of) = (&self.columns[0].name, self.columns[0].of);
            let (old, new) = (ordinary(&mut self.random, of), ordinary(&mut self.random, of));
            sets.push(format!("{key} = {new}"));
            condition = format!("{table}.{key} = cast({old} as {})", of.name());
        }
        let returning = self.returning(table);
        format!("update {target} set {}{from} where {condition}{returning}", sets.join(", "))
    }

    fn delete(&mut self) -> String {
        let condition = self.condition("t");
        let (using, condition) = if self.random.percent(20) {
            let join = *self.random.pick(&["s.k = 1", "s.x is not null", "s.i = s.k + 1"]);
            (" using s", format!("{join} and {condition}"))
        } else {
            ("", condition)
        };
        format!("delete from t{using} where {condition}{}", self.returning("t"))
    }

    fn returning(&mut self, table: &str) -> String {
        match self.random.below(10) {
            0..3 => format!(" returning {table}.*"),
            3 => {
                let column = self.random.below(self.columns.len());
                let Column { name, of, .. } = &self.columns[column];
                let (name, of) = (format!("{table}.{name}"), *of);
                let computed = computed(&mut self.random, of, &name);
                format!(" returning {name} as a, {computed} as b, 1")
            }
            _ => String::new(),
        }
    }
}
