//! Rows by several keys and by ranges of them, beside the same statements without that.

use super::harness::{Client, Server};

/// A generator of its own, the same on every machine.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, bound: usize) -> usize {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % bound
    }

    fn one_of<'a>(&mut self, from: &[&'a str]) -> &'a str {
        from[self.below(from.len())]
    }
}

/// A table: its name, the columns of its key with values for them, and another column.
struct Table {
    name: &'static str,
    create: &'static str,
    key: &'static [(&'static str, &'static str, &'static [&'static str])],
}

const INTS: &[&str] = &[
    "0",
    "1",
    "2",
    "3",
    "5",
    "8",
    "13",
    "21",
    "34",
    "-1",
    "null",
    "32767",
    "32768",
    "2147483647",
    "3000000000",
    "-9223372036854775807",
];
const DATES: &[&str] =
    &["'2020-01-01'", "'2020-01-03'", "'2020-01-31'", "'infinity'", "'-infinity'", "null"];
const TEXTS: &[&str] = &["''", "'a'", "'a '", "'ab'", "'b'", "'äöü'", "'a long one'", "null"];

const TABLES: &[Table] = &[
    Table {
        name: "one",
        create: "create table one (note text, id int primary key, n int)",
        key: &[("id", "int", INTS)],
    },
    Table {
        name: "two",
        create: "create table two (a bigint, b text, note text, n int, primary key (a, b))",
        key: &[("a", "bigint", INTS), ("b", "text", TEXTS)],
    },
    Table {
        name: "three",
        create: "create table three (u int, note text, k smallint, d date, n int, \
                 primary key (k, d, u))",
        key: &[("k", "smallint", INTS), ("d", "date", DATES), ("u", "int", INTS)],
    },
    Table {
        name: "exact",
        create: "create table exact (x numeric(6,2) primary key, note text, n int)",
        key: &[(
            "x",
            "numeric",
            &["0", "1", "1.00", "1.5", "-2.25", "100", "99999", "null", "2.005"],
        )],
    },
    Table {
        name: "padded",
        create: "create table padded (c char(3) primary key, note text, n int)",
        key: &[("c", "text", TEXTS)],
    },
    Table {
        name: "float",
        create: "create table float (f float8 primary key, note text, n int)",
        key: &[(
            "f",
            "float8",
            &["0", "-0.0", "1.5", "'nan'", "'infinity'", "-1", "1e300", "null"],
        )],
    },
];

/// A condition with `?` for values, and what they are.
struct Statement {
    sql: String,
    values: Vec<(String, &'static str)>,
    ordered: bool,
}

impl Numbers {
    fn value(&mut self, of: &(&'static str, &'static str, &'static [&'static str])) -> String {
        self.one_of(of.2).to_owned()
    }

    /// `column op ?` and kin over a prefix of the key.
    fn condition(&mut self, table: &Table, values: &mut Vec<(String, &'static str)>) -> String {
        let mut parts = Vec::new();
        for column in table.key {
            let (name, ty, _) = column;
            let mut push = |this: &mut Self| values.push((this.value(column), ty));
            let shape = self.below(14);
            let part = match shape {
                0..4 => {
                    push(self);
                    format!("{name} = ?")
                }
                4 => {
                    (0..3).for_each(|_| push(self));
                    format!("{name} in (?, ?, ?)")
                }
                5 => {
                    (0..2).for_each(|_| push(self));
                    format!("({name} = ? or ? = {name})")
                }
                6 => {
                    (0..2).for_each(|_| push(self));
                    format!("{name} between ? and ?")
                }
                7 => {
                    (0..2).for_each(|_| push(self));
                    format!("{name} > ? and ? >= {name}")
                }
                8 => {
                    push(self);
                    format!("{name} < ?")
                }
                9 => {
                    push(self);
                    format!("? <= {name}")
                }
                10 => {
                    let list: Vec<String> = (0..3).map(|_| self.value(column)).collect();
                    // A constant that does not fit its type is an error once there is a row to look at.
                    let ty = if column.2 == INTS { "bigint" } else { ty };
                    format!("{name} = any (array[{}]::{ty}[])", list.join(", "))
                }
                11 => {
                    (0..2).for_each(|_| push(self));
                    format!("({name} = ? and n > 3 or {name} > ?)")
                }
                12 => {
                    (0..2).for_each(|_| push(self));
                    format!("{name} >= ? and {name} > ?")
                }
                _ => break,
            };
            parts.push(part);
            if self.below(4) == 0 {
                break;
            }
        }
        if self.below(3) == 0 {
            parts.push(self.one_of(&["n % 2 = 0", "note > 'note 3'", "n is not null"]).to_owned());
        }
        if parts.is_empty() { "true".to_owned() } else { parts.join(" and ") }
    }

    fn statement(&mut self) -> Statement {
        let table = &TABLES[self.below(TABLES.len())];
        let mut values = Vec::new();
        let condition = self.condition(table, &mut values);
        let name = table.name;
        let key: Vec<&str> = table.key.iter().map(|column| column.0).collect();
        let mut ordered = false;
        let sql = match self.below(10) {
            0..6 => {
                let columns = self.one_of(&["*", "n, note", "n * 2 as m", "upper(note), n"]);
                let mut sql = format!("select {columns} from {name} where {condition}");
                if self.below(3) > 0 {
                    ordered = true;
                    let way = self.one_of(&["", " desc"]);
                    let by: Vec<String> =
                        key.iter().map(|column| format!("{column}{way}")).collect();
                    let first = if self.below(5) == 0 { "n desc nulls last, " } else { "" };
                    sql.push_str(&format!(" order by {first}{}", by.join(", ")));
                    sql.push_str(self.one_of(&[
                        "",
                        " limit 1",
                        " limit 3",
                        " limit 5 offset 2",
                        " limit 40",
                    ]));
                }
                sql
            }
            6 => format!(
                "select s.n from (select * from {name} where {condition}) as s where s.n > 2"
            ),
            7 => format!(
                "update {name} set n = n + 1, note = note || '.' where {condition} returning n"
            ),
            8 => format!("update {name} set n = -n where {condition}"),
            _ => {
                format!("delete from {name} where {condition} and n % 3 = 0 returning *")
            }
        };
        Statement { sql, values, ordered }
    }

    fn insertion(&mut self) -> String {
        let table = &TABLES[self.below(TABLES.len())];
        let names: Vec<&str> = table.key.iter().map(|column| column.0).collect();
        let values: Vec<String> = table.key.iter().map(|column| self.value(column)).collect();
        let (name, names, values) = (table.name, names.join(", "), values.join(", "));
        let n = self.below(20);
        format!("insert into {name} ({names}, note, n) values ({values}, 'note {n}', {n})")
    }
}

impl Statement {
    fn with_literals(&self) -> String {
        let mut values = self.values.iter();
        let value = |piece: &str| match piece.strip_suffix('?') {
            Some(text) => format!("{text}{}", values.next().expect("a value for each").0),
            None => piece.to_owned(),
        };
        self.sql.split_inclusive('?').map(value).collect()
    }

    /// PREPARE and EXECUTE. Parameters have the column's type, or another that compares with it.
    fn prepared(&self, number: usize, numbers: &mut Numbers) -> [String; 2] {
        let mut place = 0;
        let pieces = self.sql.split_inclusive('?').map(|piece| match piece.strip_suffix('?') {
            Some(text) => {
                place += 1;
                format!("{text}${place}")
            }
            None => piece.to_owned(),
        });
        let text: String = pieces.collect();
        let types: Vec<&str> = self
            .values
            .iter()
            .map(|(_, ty)| match (*ty, numbers.below(6)) {
                ("int" | "smallint" | "bigint", 0..3) => "bigint",
                ("int" | "smallint" | "bigint", 3) => "numeric",
                (ty, _) => ty,
            })
            .collect();
        let types =
            if types.is_empty() { String::new() } else { format!("({})", types.join(", ")) };
        let values: Vec<&str> = self.values.iter().map(|(value, _)| value.as_str()).collect();
        let values =
            if values.is_empty() { String::new() } else { format!("({})", values.join(", ")) };
        [format!("prepare p{number}{types} as {text}"), format!("execute p{number}{values}")]
    }
}

/// What a statement gives: its lines, in order if that is given, or its SQLSTATE.
async fn outcome(client: &mut Client, sql: &str, ordered: bool) -> Result<Vec<String>, String> {
    match client.run(sql).await {
        Ok(mut lines) => {
            if !ordered {
                lines.sort();
            }
            Ok(lines)
        }
        Err(error) => Err(error.sqlstate.to_string()),
    }
}

fn count(server: &Server, of: &[&str]) -> u64 {
    let paths = server.engine().paths().read();
    paths.iter().filter(|(path, _)| of.contains(path)).map(|(_, count)| count).sum()
}

/// Two servers are given the same statements; on one of them keys are not used. Others commit
/// between the statements of a block, which sees none of it at REPEATABLE READ.
#[tokio::test(flavor = "multi_thread")]
async fn keys_and_ranges_give_what_a_scan_gives() {
    let (keyed, scanned) = (Server::start().await, Server::start().await);
    let mut sides = Vec::new();
    for (server, setting) in [(&keyed, "on"), (&scanned, "off")] {
        let (mut main, mut other) = (server.connect(), server.connect());
        for client in [&mut main, &mut other] {
            client.ok(&format!("set enable_indexscan to {setting}")).await;
        }
        sides.push((main, other));
    }
    let [(mut a, mut a_other), (mut b, mut b_other)] =
        <[_; 2]>::try_from(sides).unwrap_or_else(|_| unreachable!("there are two"));
    for table in TABLES {
        a.ok(table.create).await;
        b.ok(table.create).await;
    }
    let mut numbers = Numbers(20_261_123);
    let mut in_block = false;
    for step in 0..2500 {
        if numbers.below(12) == 0 {
            let sql = match in_block {
                true => numbers.one_of(&["commit", "rollback", "commit"]),
                false => numbers.one_of(&["begin", "begin isolation level repeatable read"]),
            };
            in_block = !in_block;
            let (by_key, by_scan) =
                (outcome(&mut a, sql, true).await, outcome(&mut b, sql, true).await);
            assert_eq!(by_key, by_scan, "step {step}: {sql}");
        }
        if step < 250 || numbers.below(3) == 0 {
            // By another session now and then: what the block sees stays what it was.
            let sql = numbers.insertion();
            let (x, y) = match numbers.below(3) {
                0 => (&mut a_other, &mut b_other),
                _ => (&mut a, &mut b),
            };
            assert_eq!(
                outcome(x, &sql, true).await,
                outcome(y, &sql, true).await,
                "step {step}: {sql}"
            );
        }
        let statement = numbers.statement();
        let statements = match numbers.below(2) {
            0 => vec![statement.with_literals()],
            _ => statement.prepared(step, &mut numbers).to_vec(),
        };
        for sql in statements {
            let by_key = outcome(&mut a, &sql, statement.ordered).await;
            let by_scan = outcome(&mut b, &sql, statement.ordered).await;
            assert_eq!(
                by_key, by_scan,
                "step {step}: {sql}\n{}\n{:?}",
                statement.sql, statement.values
            );
        }
    }
    for table in TABLES {
        let sql = format!("select * from {} order by 1, 2, 3", table.name);
        a.run("rollback").await.ok();
        b.run("rollback").await.ok();
        assert_eq!(a.ok(&sql).await, b.ok(&sql).await, "{sql}");
    }
    let ranges = count(&keyed, &["key_range"]);
    assert!(ranges > 300, "only {ranges} by ranges, of {:?}", keyed.engine().paths().read());
    assert_eq!(count(&scanned, &["key", "key_range"]), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_range_is_read_by_key_only_as_long_as_it_is_short() {
    let server = Server::start().await;
    let mut client = server.connect();
    client.ok("create table t (k int primary key, n int)").await;
    client.ok("insert into t select i, i % 10 from generate_series(1, 20000) as g (i)").await;
    for (sql, rows, path) in [
        ("select * from t where k between 11 and 20", 10, "key_range"),
        ("select * from t where k in (1, 5, 5, 30000)", 2, "key_range"),
        ("select * from t where k > 100", 19_900, "planned"),
        ("select * from t where k > 100 limit 7", 7, "key_range"),
        ("select k from t order by k desc limit 3", 3, "key_range"),
        ("select k from t order by k limit 5 offset 5", 5, "key_range"),
        ("select k from t where k < 1000 and n = 3 order by k limit 20", 20, "key_range"),
        ("select * from t where k = 5 and n = 5", 1, "key"),
        ("select * from t where k = null", 0, "key"),
        ("select * from t where k = 3000000000", 0, "key"),
        ("select * from t where n = 3 limit 2", 2, "planned"),
        ("select * from t where k > 5 and k < 5", 0, "key_range"),
    ] {
        let before = count(&server, &[path]);
        let output = client.ok(sql).await;
        assert_eq!(output.len() - 1, rows, "{sql}");
        assert_eq!(
            count(&server, &[path]) - before,
            1,
            "{sql}: {:?}",
            server.engine().paths().read()
        );
    }
    let before = count(&server, &["key_range"]);
    assert_eq!(client.ok("update t set n = 0 where k in (1, 2, 3)").await, ["UPDATE 3"]);
    assert_eq!(client.ok("delete from t where k >= 19990").await, ["DELETE 11"]);
    client.ok("prepare p as select k from t where k > $1 order by k limit $2").await;
    assert_eq!(client.ok("execute p(19980, 2)").await, ["19981", "19982", "SELECT 2"]);
    assert_eq!(client.ok("execute p(19987, null)").await, ["19988", "19989", "SELECT 2"]);
    assert_eq!(count(&server, &["key_range"]) - before, 4);
    assert_eq!(client.err("execute p(1, -1)").await.sqlstate.to_string(), "2201W");
    client.ok("prepare q (int[]) as select k from t where k = any ($1) order by k desc").await;
    assert_eq!(client.ok("execute q('{7,NULL,9,7,-1}')").await, ["9", "7", "SELECT 2"]);
    client.ok("set enable_indexscan to off").await;
    let before = count(&server, &["planned"]);
    assert_eq!(client.ok("execute q('{7}')").await, ["7", "SELECT 1"]);
    assert_eq!(count(&server, &["planned"]) - before, 1, "a setting makes another plan");
}

#[tokio::test(flavor = "multi_thread")]
async fn explain_names_the_way_and_its_condition() {
    let server = Server::start().await;
    let mut client = server.connect();
    client.ok("create table t (a int, b text, n int, primary key (a, b))").await;
    client
        .ok("insert into t select i % 100, 'b' || i, i from generate_series(1, 5000) as g (i)")
        .await;
    for (sql, lines) in [
        (
            "select * from t where a = 1 and b = 'b1'",
            &["Point Lookup on t, by key", "  Key Cond: (a = 1 AND b = 'b1')"][..],
        ),
        (
            "select n from t where a = 1 and b >= 'b5' and n > 7 order by b desc limit 3",
            &[
                "Key Range Scan Backward on t, by key",
                "  Key Cond: (a = 1 AND b >= 'b5')",
                "  Filter: t.n > 7",
                "  Limit: 3",
            ],
        ),
        (
            "delete from t where a in (1, 2)",
            &[
                "Delete on t",
                "  ->  Key Range Scan on t, by key",
                "        Key Cond: (a IN (1, 2))",
            ],
        ),
    ] {
        let mut output = client.ok(&format!("explain {sql}")).await;
        output.pop();
        assert_eq!(output, lines, "{sql}");
    }
    client.ok("create table k (k int primary key)").await;
    client.ok("insert into k select generate_series(1, 5000)").await;
    client.ok("prepare r (int) as select k from k where k between $1 and $1 + 2").await;
    let computed = client.ok("explain execute r(7)").await;
    assert!(computed[0].contains("by key"), "{computed:?}");
    assert_eq!(client.ok("execute r(7)").await, ["7", "8", "9", "SELECT 3"]);
    let long = client.ok("explain select * from t where a >= 0").await;
    assert!(!long.iter().any(|line| line.contains("by key")), "{long:?}");
    let joined =
        client.ok("explain select count(*) from t, t as u where t.a = 5 and u.n = t.n").await;
    assert!(joined.iter().any(|line| line.contains("by key")), "{joined:?}");
}
