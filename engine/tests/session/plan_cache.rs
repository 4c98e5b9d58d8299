//! Plans that are found again mean what the statement means, and writers of one row take turns.

use crate::harness::Server;

/// Literals of every class, alike ones among them.
const LITERALS: [&str; 32] = [
    "0",
    "1",
    "2",
    "3",
    "1",
    "2",
    "3",
    "4",
    "007",
    "-1",
    "- 2",
    "2147483647",
    "2147483648",
    "-2147483648",
    "9223372036854775807",
    "9223372036854775808",
    "1.5",
    "1e1",
    ".5",
    "'1'",
    "'abc'",
    "'a'",
    "'a '",
    "'it''s'",
    "'äöü'",
    "' 2 '",
    "''",
    "'now'",
    "'2020-01-31'",
    "'31.01.2020'",
    "null",
    "true",
];

const STATEMENTS: [&str; 52] = [
    "select * from t where id = ?",
    "select * from t where id = ?",
    "select n + ? as m, s from t where id = ?",
    "select n / ?, n % ? from t where id = ?",
    "select ?, id from t where id = ?",
    "select s from t where id = ? and n > ?",
    "select s from t where ? = id and s = ?",
    "select s || ? from t where id = ?",
    "select s from t where id = ? limit ?",
    "select s from t where id = ? limit 1",
    "select n, id from t where id = ? order by ?",
    "select id from t where id = ? and d = ?",
    "select id from t where id = ? and f < ?",
    "select id from t where id = ? and id = ?",
    "select id from t where id = ? or n = ?",
    "select id from t where id in (?, ?)",
    "select id, n from t where id in (?, ?, ?) order by id",
    "select n from t where id between ? and ? order by id",
    "select id, s from t where id > ? and n < ? order by id desc limit 2",
    "select note from two where a = ? and b > ? order by b",
    "select note from two where a = ? and b in (?, ?) order by a, b",
    "select x.id from t as x where x.id = ?",
    "select id from T where ID=?;",
    "select note from two where a = ? and b = ?",
    "select note from two where b = ? and a = ? and note is not null",
    "select x * ?, k + ? from w where id = ?",
    "select c from w where id = ? and c = ?",
    "select v from w where id = ? and v = ?",
    "select x from w where id = ? and x = ?",
    "select round(x, ?) from w where id = ?",
    "select date ?, interval ? from t where id = ?",
    "update t set n = n + ? where id = ?",
    "update t set n = n - ?, s = s || ? where id = ?",
    "update t set s = ?, n = ? where id = ? returning *",
    "update t set d = ?, f = ? where id = ?",
    "update w set v = ? where id = ?",
    "update w set c = ?, x = ?, k = ? where id = ?",
    "update two set note = ? where a = ? and b = ?",
    "update t set n = n + ? where id in (?, ?)",
    "update t set n = n + 1 where id >= ? and id < ?",
    "delete from t where id = ?",
    "delete from t where id in (?, ?)",
    "delete from two where a = ? and b = ?",
    "insert into t values (?, ?, ?, ?, ?)",
    "insert into t (id, n, s) values (?, ?, ?)",
    "insert into t (id, n) values (?, ? * ?) returning n",
    "insert into two values (?, ?, ?)",
    "insert into w (id, v, c, x, k) values (?, ?, ?, ?, ?)",
    "insert into w (id) values (?)",
    "begin",
    "commit",
    "rollback",
];

/// What plans rest on.
const CHANGES: [&str; 9] = [
    "set search_path to other, public",
    "set search_path to public",
    "set search_path to public",
    "set datestyle to 'ISO, DMY'",
    "set datestyle to 'ISO, MDY'",
    "set timezone to 'Europe/Berlin'",
    "set timezone to 'UTC'",
    "drop table t; create table t (id bigint primary key, n numeric(6,2), s varchar(3), d date, f real)",
    "drop table t; create table t (id int primary key, n bigint, s text, d date, f float8)",
];

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

    fn statement(&mut self) -> String {
        if self.below(150) == 0 {
            return self.one_of(&CHANGES).to_owned();
        }
        let mut sql = String::new();
        // Most literals are small numbers, so that rows are met.
        for piece in self.one_of(&STATEMENTS).split_inclusive('?') {
            match piece.strip_suffix('?') {
                Some(text) => {
                    let known = if self.below(2) == 0 { 8 } else { LITERALS.len() };
                    sql.push_str(text);
                    sql.push_str(self.one_of(&LITERALS[..known]));
                }
                None => sql.push_str(piece),
            }
        }
        sql
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plan_found_again_gives_what_the_statement_gives() {
    let (cached, plain) = (Server::start().await, Server::start().await);
    let (mut a, mut b) = (cached.connect(), plain.connect());
    b.ok("set plan_cache_mode to force_custom_plan").await;
    for sql in [
        "create schema other",
        "create table other.t (id int primary key, n text, s text, d text, f text)",
        "create table t (id int primary key, n bigint, s text, d date, f float8)",
        "create table two (a bigint, b text, note text, primary key (a, b))",
        "create table w (id int primary key, v varchar(5), c char(4), x numeric(8,2), k smallint)",
        "insert into other.t values (1, 'one', 'other', null, null)",
        "insert into two values (1, 'a', 'first'), (1, 'a ', 'second'), (2, '', 'third')",
    ] {
        a.ok(sql).await;
        b.ok(sql).await;
    }
    let mut numbers = Numbers(20_261_122);
    for step in 0..3000 {
        let sql = numbers.statement();
        let (found, made) = (a.run(&sql).await, b.run(&sql).await);
        assert_eq!(format!("{found:?}"), format!("{made:?}"), "step {step}: {sql}");
    }
    for table in ["t", "two", "w", "other.t"] {
        a.run("rollback").await.ok();
        b.run("rollback").await.ok();
        let sql = format!("select * from {table} order by 1, 2");
        assert_eq!(a.ok(&sql).await, b.ok(&sql).await, "{table}");
    }
    let counters = cached.engine().plan_cache();
    assert!(counters.hits() > 200, "only {} of {} hit", counters.hits(), counters.misses());
    assert_eq!(plain.engine().plan_cache().hits(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_statement_that_comes_again_is_not_planned_again() {
    let server = Server::start().await;
    let mut client = server.connect();
    client.ok("create table t (id int primary key, n bigint, s text)").await;
    client.ok("create table h (id int, at timestamptz default now())").await;
    let statements = [
        "insert into h values (?, current_timestamp)",
        "insert into h values (?)",
        "insert into t values (?, ?, 'text of ?')",
        "select n, s from t where id = ?",
        "select n from t where id in (?, 7, ?)",
        "select n from t where id between ? and 9 order by id desc limit 3",
        "update t set n = n + -? where id = ?",
        "delete from t where id = ?",
        "begin",
        "commit;",
    ];
    for (round, hits) in [(1, 0), (2, 10), (3, 20)] {
        for sql in statements {
            client.ok(&sql.replace('?', &round.to_string())).await;
        }
        assert_eq!(server.engine().plan_cache().hits(), hits);
    }
    let times = client.ok("select count(distinct at) > 1 from h where id > 1").await;
    assert_eq!(times, ["t", "SELECT 1"], "each has the time of its own transaction");
    client.ok("create table u (id int)").await;
    client.ok("select n, s from t where id = 4").await;
    assert_eq!(server.engine().plan_cache().hits(), 20, "the catalog is another");
    let plan = client.ok("explain select n from t where id = 4").await;
    assert_eq!(plan[0], "Point Lookup on t, by key");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_changes_a_row_that_another_changes_waits_for_it() {
    let server = Server::start().await;
    let (mut a, mut b) = (server.connect(), server.connect());
    a.ok("create table t (id int primary key, n int)").await;
    a.ok("insert into t values (1, 0)").await;
    let mut lost = 0;
    for _ in 0..20 {
        a.ok("begin").await;
        a.ok("update t set n = n + 1 where id = 1").await;
        b.ok("begin").await;
        let (second, _) =
            tokio::join!(b.run("update t set n = n + 1 where id = 1"), a.ok("commit"));
        assert_eq!(second.expect("the statement itself cannot lose"), ["UPDATE 1"]);
        // Only one that waited for longer than it is worth may lose.
        lost += usize::from(b.run("commit").await.is_err());
    }
    assert!(lost < 10, "{lost} of 20 did not wait");
    assert_eq!(a.ok("select n from t").await, [(40 - lost).to_string(), "SELECT 1".to_owned()]);
}
