//! Queries of subqueries, and the tables they are about.

use crate::differential::Random;

/// Columns in scope, the innermost query's last.
type Scopes = Vec<Vec<String>>;

/// Makes nested queries.
pub(super) struct Generator {
    random: Random,
    aliases: usize,
}

impl Generator {
    /// Continues the numbers that made the tables.
    #[must_use]
    pub(super) fn new(random: Random) -> Self {
        Self { random, aliases: 0 }
    }

    fn alias(&mut self) -> String {
        self.aliases += 1;
        format!("q{}", self.aliases)
    }

    fn column(&mut self, scopes: &Scopes) -> Option<String> {
        let level = if self.random.percent(65) {
            scopes.len().checked_sub(1)?
        } else {
            self.random.below(scopes.len().max(1))
        };
        let columns = scopes.get(level)?;
        if columns.is_empty() {
            return None;
        }
        Some(columns[self.random.below(columns.len())].clone())
    }

    fn int(&mut self, scopes: &Scopes, depth: usize) -> String {
        let leaf = depth == 0 || self.random.percent(45);
        if leaf {
            if self.random.percent(82)
                && let Some(column) = self.column(scopes)
            {
                return column;
            }
            return (*self.random.pick(&["0", "1", "2", "3", "-1", "null::int"])).to_owned();
        }
        match self.random.below(9) {
            0 => format!("({} + {})", self.int(scopes, depth - 1), self.int(scopes, depth - 1)),
            1 => format!(
                "coalesce({}, {})",
                self.int(scopes, depth - 1),
                self.int(scopes, depth - 1)
            ),
            2 => format!(
                "case when {} then {} else {} end",
                self.bool(scopes, depth - 1),
                self.int(scopes, depth - 1),
                self.int(scopes, depth - 1)
            ),
            3 => {
                format!("nullif({}, {})", self.int(scopes, depth - 1), self.int(scopes, depth - 1))
            }
            4 => format!("cardinality(array({}))", self.query(1, scopes, depth - 1)),
            _ => self.value(scopes, depth - 1),
        }
    }

    /// A subquery of one row at most.
    fn value(&mut self, scopes: &Scopes, depth: usize) -> String {
        if self.random.percent(35) {
            let query = self.query(1, scopes, depth);
            return format!("(select * from ({query}) {} order by 1 limit 1)", self.alias());
        }
        let (from, scopes) = self.from(scopes, depth);
        let filter = self.filter(&scopes, depth);
        let item = self.aggregate(&scopes, depth);
        let having = if self.random.percent(12) {
            format!(" having {} > {}", self.aggregate(&scopes, 0), self.random.below(3))
        } else {
            String::new()
        };
        format!("(select {item} from {from}{filter}{having})")
    }

    fn aggregate(&mut self, scopes: &Scopes, depth: usize) -> String {
        // Over a column of the query's own: else it would be an aggregate of the query around.
        let own = scopes.last().expect("a scope");
        let column = own[self.random.below(own.len())].clone();
        match self.random.below(8) {
            0 | 1 => "count(*)::int".to_owned(),
            // An aggregate of this query within one inside of it.
            7 => {
                let alias = self.alias();
                let call = self.random.pick(&["max", "count", "sum"]);
                let other = own[self.random.below(own.len())].clone();
                format!(
                    "(select {call}({column})::int + count(*)::int from s2 {alias} \
                     where {alias}.a < min({other}))"
                )
            }
            2 => format!("count({column})::int"),
            3 => format!("max({column})"),
            4 => format!("min({column})"),
            5 => format!("sum({column})::int"),
            _ => format!("coalesce(max({column}), 0) + {}", {
                let mut outer = scopes.clone();
                outer.last_mut().expect("a scope").clear();
                self.int(&outer, depth.min(1))
            }),
        }
    }

    fn bool(&mut self, scopes: &Scopes, depth: usize) -> String {
        let op = *self.random.pick(&["=", "=", "=", "<>", "<", "<=", ">", ">="]);
        if depth == 0 || self.random.percent(30) {
            let (l, r) = (self.int(scopes, 0), self.int(scopes, 0));
            return match self.random.below(6) {
                0 => format!("{l} is {}null", *self.random.pick(&["", "not "])),
                _ => format!("{l} {op} {r}"),
            };
        }
        let depth = depth - 1;
        match self.random.below(17) {
            0 => format!("({} and {})", self.bool(scopes, depth), self.bool(scopes, depth)),
            1 => format!("({} or {})", self.bool(scopes, depth), self.bool(scopes, depth)),
            2 => format!("(not {})", self.bool(scopes, depth)),
            3 => {
                let what = *self.random.pick(&["null", "not null", "true", "not true", "unknown"]);
                format!("({}) is {what}", self.bool(scopes, depth))
            }
            4 => format!("{} {op} {}", self.int(scopes, depth), self.value(scopes, depth)),
            5..=7 => {
                let not = *self.random.pick(&["", "not "]);
                format!("{not}exists ({})", self.query(1, scopes, depth))
            }
            8..=10 => {
                let not = *self.random.pick(&["", "not "]);
                let left = self.int(scopes, depth.min(1));
                format!("({left} {not}in ({}))", self.query(1, scopes, depth))
            }
            11 => {
                let not = *self.random.pick(&["", "not "]);
                let (a, b) = (self.int(scopes, 0), self.int(scopes, 0));
                format!("(({a}, {b}) {not}in ({}))", self.query(2, scopes, depth))
            }
            12 => {
                let quantifier = *self.random.pick(&["any", "all", "some"]);
                let left = self.int(scopes, 0);
                format!("({left} {op} {quantifier} ({}))", self.query(1, scopes, depth))
            }
            13 => {
                let quantifier = *self.random.pick(&["any", "all"]);
                let (a, b) = (self.int(scopes, 0), self.int(scopes, 0));
                format!("(({a}, {b}) {op} {quantifier} ({}))", self.query(2, scopes, depth))
            }
            14 => {
                let (a, b) = (self.int(scopes, 0), self.int(scopes, 0));
                let (query, alias) = (self.query(2, scopes, depth), self.alias());
                format!("(({a}, {b}) {op} (select * from ({query}) {alias} order by 1, 2 limit 1))")
            }
            15 => format!("({} and random() >= 0)", self.bool(scopes, depth)),
            _ => format!("coalesce({}, {})", self.bool(scopes, depth), self.bool(scopes, 0)),
        }
    }

    fn filter(&mut self, scopes: &Scopes, depth: usize) -> String {
        if self.random.percent(25) {
            return String::new();
        }
        let mut text = format!(" where {}", self.bool(scopes, depth));
        if self.random.percent(40) {
            text.push_str(&format!(" and {}", self.bool(scopes, depth)));
        }
        text
    }

    /// One entry of FROM, and its columns.
    fn relation(&mut self, scopes: &Scopes, depth: usize) -> (String, Vec<String>) {
        let alias = self.alias();
        if depth > 0 && self.random.percent(15) {
            let query = self.query(2, scopes, depth - 1);
            let columns = vec![format!("{alias}.x"), format!("{alias}.y")];
            return (format!("({query}) {alias}(x, y)"), columns);
        }
        if depth > 0 && self.random.percent(8) {
            let rows: Vec<_> = (0..1 + self.random.below(2))
                .map(|_| format!("({}, {})", self.int(scopes, depth - 1), self.int(scopes, 0)))
                .collect();
            let columns = vec![format!("{alias}.x"), format!("{alias}.y")];
            return (format!("(values {}) {alias}(x, y)", rows.join(", ")), columns);
        }
        let table = self.random.pick(&["s1", "s1", "s2", "s2", "s2", "s3"]);
        let columns = ["id", "a", "b"].iter().map(|c| format!("{alias}.{c}")).collect();
        (format!("{table} {alias}"), columns)
    }

    /// FROM, and the scopes within.
    fn from(&mut self, outer: &Scopes, depth: usize) -> (String, Scopes) {
        let (mut text, columns) = self.relation(outer, depth);
        let mut scopes = outer.clone();
        scopes.push(columns);
        let more = if depth == 0 { self.random.below(4) / 3 } else { self.random.below(5) / 2 };
        for _ in 0..more.min(2) {
            if depth > 0 && self.random.percent(25) {
                let alias = self.alias();
                if self.random.percent(15) {
                    let stop = self.int(&scopes, 0);
                    text = format!("{text} cross join generate_series(1, {stop}) {alias}(x)");
                    scopes.last_mut().expect("a scope").push(format!("{alias}.x"));
                    continue;
                }
                let query = self.query(2, &scopes, depth - 1);
                let join = *self.random.pick(&["cross join", "left join"]);
                let on = if join == "cross join" { "" } else { " on true" };
                text = format!("{text} {join} lateral ({query}) {alias}(x, y){on}");
                let columns = [format!("{alias}.x"), format!("{alias}.y")];
                scopes.last_mut().expect("a scope").extend(columns);
                continue;
            }
            let (right, columns) = self.relation(outer, depth);
            let before = scopes.clone();
            scopes.last_mut().expect("a scope").extend(columns.clone());
            let join =
                *self.random.pick(&["join", "join", "left join", "right join", "full join", ","]);
            text = match join {
                "," => format!("{text} cross join {right}"),
                // PostgreSQL wants these mergeable: an equality of both sides.
                "full join" => {
                    let own = before.last().expect("a scope");
                    let left = own[self.random.below(own.len())].clone();
                    let other = columns[self.random.below(columns.len())].clone();
                    format!("{text} full join {right} on {left} = {other}")
                }
                "left join" | "right join" => {
                    let on = self.bool(&scopes, 0);
                    let mut side = outer.clone();
                    side.push(columns);
                    let side = if self.random.percent(30) { &scopes } else { &side };
                    let more = self.bool(side, depth);
                    format!("{text} {join} {right} on {on} and {more}")
                }
                _ => format!("{text} {join} {right} on {}", self.bool(&scopes, depth)),
            };
        }
        (text, scopes)
    }

    fn query(&mut self, width: usize, outer: &Scopes, depth: usize) -> String {
        if depth > 0 && self.random.percent(10) {
            let op = *self.random.pick(&["union", "union all", "intersect", "except"]);
            let left = self.plain(width, outer, depth - 1);
            let right = self.plain(width, outer, depth - 1);
            return format!("{left} {op} {right}");
        }
        if depth > 0 && self.random.percent(6) {
            return self.recursive(width, outer, depth - 1);
        }
        if depth > 0 && self.random.percent(6) {
            return self.with(width, outer, depth - 1);
        }
        let text = self.plain(width, outer, depth);
        if self.random.percent(6) {
            let (alias, keys) = (self.alias(), (1..=width).map(|n| n.to_string()));
            let keys = keys.collect::<Vec<_>>().join(", ");
            return format!("select distinct on (1) * from ({text}) {alias} order by {keys}");
        }
        if self.random.percent(6) {
            // All of them, which only the run tells.
            let alias = self.alias();
            return format!("select * from ({text}) {alias} limit (select 1000)");
        }
        if self.random.percent(12) {
            let keys = (1..=width).map(|n| n.to_string()).collect::<Vec<_>>().join(", ");
            let offset = if self.random.percent(30) { " offset 1" } else { "" };
            let direction = *self.random.pick(&["", " desc"]);
            let keys = keys.replace(", ", &format!("{direction}, ")) + direction;
            return format!(
                "select * from ({text}) {} order by {keys} limit {}{offset}",
                self.alias(),
                self.random.below(4)
            );
        }
        text
    }

    /// A recursion of few steps.
    fn recursive(&mut self, width: usize, outer: &Scopes, depth: usize) -> String {
        let (name, step) = (self.alias(), self.alias());
        let start = self.int(outer, depth.min(1));
        let mut inside = outer.clone();
        inside.push(vec![format!("{step}.n")]);
        let more = self.bool(&inside, depth.min(1));
        let union = *self.random.pick(&["union", "union all"]);
        let items = ["n", "n * 2"][..width].join(", ");
        format!(
            "with recursive {name}(n) as (select {start} {union} select {step}.n + 1 from {name} \
             {step} where {step}.n < 4 and {more}) select {items} from {name}"
        )
    }

    /// A query read twice.
    fn with(&mut self, width: usize, outer: &Scopes, depth: usize) -> String {
        let (name, left, right) = (self.alias(), self.alias(), self.alias());
        let query = self.query(2, outer, depth);
        let items = [format!("{left}.x"), format!("{right}.y")][..width].join(", ");
        format!(
            "with {name}(x, y) as ({query}) select {items} from {name} {left} left join {name} \
             {right} on {left}.x = {right}.y"
        )
    }

    fn plain(&mut self, width: usize, outer: &Scopes, depth: usize) -> String {
        let (from, scopes) = self.from(outer, depth);
        let filter = self.filter(&scopes, depth);
        match self.random.below(11) {
            // Windows whose values do not depend on the order of ties.
            10 => {
                let own = scopes.last().expect("a scope").clone();
                let mut column = || own[self.random.below(own.len())].clone();
                let (a, b, c) = (column(), column(), column());
                let call = self.random.pick(&["sum", "count", "max"]);
                let mut items = vec![format!("({call}({a}) over (partition by {b}))::int")];
                for _ in 1..width {
                    items.push(format!("(rank() over (order by {c}))::int"));
                }
                format!("select {} from {from}{filter}", items.join(", "))
            }
            // Grouped: the select list is over the group's column and aggregates.
            0 | 1 => {
                let own = scopes.last().expect("a scope").clone();
                let key = own[self.random.below(own.len())].clone();
                let mut above = outer.clone();
                above.push(vec![key.clone()]);
                let mut items = Vec::new();
                for index in 0..width {
                    items.push(if index == 0 && self.random.percent(60) {
                        self.int(&above, depth.min(1))
                    } else {
                        let own = scopes.last().expect("a scope");
                        let column = own[self.random.below(own.len())].clone();
                        format!("{}({column})::int", *self.random.pick(&["max", "count", "sum"]))
                    });
                }
                let sets = match self.random.below(8) {
                    0 => format!("rollup({key})"),
                    1 => format!("grouping sets (({key}), ({key}))"),
                    _ => key.clone(),
                };
                let having = if self.random.percent(30) {
                    format!(" having {}", self.bool(&above, depth))
                } else {
                    String::new()
                };
                format!("select {} from {from}{filter} group by {sets}{having}", items.join(", "))
            }
            2 => {
                let item = self.aggregate(&scopes, depth);
                let mut items = vec![item];
                for _ in 1..width {
                    items.push(self.aggregate(&scopes, 0));
                }
                format!("select {} from {from}{filter}", items.join(", "))
            }
            kind => {
                let distinct = if kind == 3 { "distinct " } else { "" };
                let items: Vec<_> = (0..width).map(|_| self.int(&scopes, depth.min(1))).collect();
                format!("select {distinct}{} from {from}{filter}", items.join(", "))
            }
        }
    }

    /// The next query, of two columns.
    pub(super) fn statement(&mut self) -> String {
        self.aliases = 0;
        self.query(2, &Vec::new(), 2)
    }
}

/// What makes the tables the queries are about.
pub(super) fn tables(random: &mut Random) -> Vec<String> {
    let mut statements = Vec::new();
    for (table, rows) in [("s1", 9), ("s2", 7), ("s3", 0)] {
        // No column is NOT NULL: DataFusion mistakes what DISTINCT over a CASE of such may be, which
        // is no matter of subqueries.
        statements.push(format!("drop table if exists {table}"));
        statements.push(format!("create table {table}(id int, a int, b int)"));
        for id in 0..rows {
            let mut value = || match random.below(5) {
                0 => "null".to_owned(),
                n => n.to_string(),
            };
            let (a, b) = (value(), value());
            statements.push(format!("insert into {table} values ({id}, {a}, {b})"));
        }
    }
    statements
}
