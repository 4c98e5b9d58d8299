//! DDL beside other sessions, snapshots from before it, kept plans, restarts.

use crate::harness::Server;

#[tokio::test(flavor = "multi_thread")]
async fn columns_that_come_and_go_survive_checkpoints_and_restarts() {
    let server = Server::start().await;
    let mut client = server.connect();
    client.ok("create table t (a int primary key, b text)").await;
    client.ok("insert into t select n, 'b' || n from generate_series(1, 2000) n").await;
    client.ok("checkpoint").await;
    client.ok("alter table t add column c int default 7").await;
    client.ok("insert into t select n, 'b' || n, n from generate_series(2001, 3000) n").await;
    client.ok("update t set c = 8 where a = 1").await;
    client.ok("checkpoint").await;
    client.ok("alter table t drop column b, add column d text default 'd'").await;
    client.ok("insert into t values (3001, 3001, 'new')").await;
    client.ok("delete from t where a = 2").await;
    client.ok("create view v as select a, c, d from t where a < 4").await;
    let all = "select count(*), sum(c), count(d), min(d), max(d) from t";
    let rows = client.ok(all).await;
    let sum = 8 + 7 * 1998 + (2001..=3001).sum::<i64>();
    assert_eq!(rows, [format!("3000|{sum}|3000|d|new"), "SELECT 1".to_owned()]);
    drop(client);
    // From a checkpoint and the log, and then from a checkpoint that has it all.
    let mut server = server.restart().await;
    for _ in 0..2 {
        let mut client = server.connect();
        assert_eq!(client.ok(all).await, rows);
        assert_eq!(client.ok("select * from v order by a").await, ["1|8|d", "3|7|d", "SELECT 2"]);
        assert_eq!(client.ok("select * from t where a = 1").await, ["1|8|d", "SELECT 1"]);
        client.ok("checkpoint").await;
        drop(client);
        server = server.restart().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_snapshot_from_before_sees_the_table_as_it_was() {
    let server = Server::start().await;
    let (mut old, mut new) = (server.connect(), server.connect());
    new.ok("create table t (a int primary key, b text)").await;
    new.ok("insert into t values (1, 'one')").await;
    new.ok("create view v as select b from t").await;
    old.ok("begin isolation level repeatable read").await;
    assert_eq!(old.ok("select * from t").await, ["1|one", "SELECT 1"]);
    new.ok("alter table t add column c int default 3").await;
    new.ok("alter table t drop column b cascade").await;
    new.ok("insert into t values (2, 2)").await;
    assert_eq!(new.ok("select * from t order by a").await, ["1|3", "2|2", "SELECT 2"]);
    assert_eq!(old.ok("select * from t").await, ["1|one", "SELECT 1"]);
    assert_eq!(old.ok("select * from t where a = 1").await, ["1|one", "SELECT 1"]);
    assert_eq!(old.ok("select * from v").await, ["one", "SELECT 1"]);
    old.ok("commit").await;
    assert_eq!(old.ok("select * from t where a = 1").await, ["1|3", "SELECT 1"]);
    assert_eq!(old.err("select * from v").await.sqlstate, "42P01");
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_planned_under_other_columns_are_refused() {
    let server = Server::start().await;
    let (mut a, mut b) = (server.connect(), server.connect());
    a.ok("create table t (a int primary key, b text)").await;
    a.ok("insert into t values (1, 'one')").await;
    // Who wrote rows, loses against who altered the table meanwhile.
    a.ok("begin").await;
    a.ok("insert into t values (2, 'two')").await;
    b.ok("alter table t add column c int").await;
    assert_eq!(a.err("commit").await.sqlstate, "40001");
    // Who looked at rows to alter the table, loses against who wrote some.
    a.ok("begin").await;
    a.ok("alter table t alter column b set not null").await;
    b.ok("insert into t values (3, null, 3)").await;
    assert_eq!(a.err("commit").await.sqlstate, "40001");
    // A default that is one for all needs no look: rows that came meanwhile have it.
    a.ok("begin").await;
    a.ok("alter table t add column d int default 4").await;
    b.ok("insert into t values (5, 'five', 5)").await;
    a.ok("commit").await;
    let rows = ["1|one|NULL|4", "3|NULL|3|4", "5|five|5|4", "SELECT 3"];
    assert_eq!(a.ok("select * from t order by a").await, rows);
}

#[tokio::test(flavor = "multi_thread")]
async fn views_and_what_they_read_meet_in_commits() {
    let server = Server::start().await;
    let (mut a, mut b) = (server.connect(), server.connect());
    a.ok("create table t (a int, b int)").await;
    // The view first: who drops what it reads has not seen it.
    a.ok("begin").await;
    a.ok("drop table t").await;
    b.ok("create view v as select a from t").await;
    assert_eq!(a.err("commit").await.sqlstate, "40001");
    assert_eq!(a.err("drop table t").await.sqlstate, "2BP01");
    // The other way round.
    a.ok("begin").await;
    a.ok("create view w as select b from t").await;
    b.ok("alter table t drop column b").await;
    assert_eq!(a.err("commit").await.sqlstate, "40001");
    // Two views of one table have nothing to do with each other.
    a.ok("begin").await;
    a.ok("create view w as select a from t").await;
    b.ok("create view x as select a from t").await;
    a.ok("commit").await;
    assert_eq!(a.ok("select * from v, w, x").await, ["SELECT 0"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn kept_plans_end_with_the_columns_they_knew() {
    let server = Server::start().await;
    let (mut a, mut b) = (server.connect(), server.connect());
    b.ok("create table t (a int primary key, b text)").await;
    b.ok("insert into t values (1, 'one'), (2, 'two')").await;
    b.ok("create view v as select b from t where a = 1").await;
    a.ok("prepare p as select b from t where a = $1").await;
    // Twice and more: plans of the simple protocol are kept from the second time on.
    for _ in 0..3 {
        assert_eq!(a.ok("select * from t where a = 1").await, ["1|one", "SELECT 1"]);
        assert_eq!(a.ok("select * from v").await, ["one", "SELECT 1"]);
        assert_eq!(a.ok("execute p(2)").await, ["two", "SELECT 1"]);
    }
    b.ok("alter table t add column c int default 3").await;
    assert_eq!(a.ok("select * from t where a = 1").await, ["1|one|3", "SELECT 1"]);
    assert_eq!(a.ok("execute p(2)").await, ["two", "SELECT 1"]);
    a.ok("insert into t values (4, 'four', 4)").await;
    a.ok("update t set b = 'changed' where a = 1").await;
    assert_eq!(a.ok("select * from v").await, ["changed", "SELECT 1"]);
    b.ok("create or replace view v as select b from t where a = 2").await;
    assert_eq!(a.ok("select * from v").await, ["two", "SELECT 1"]);
    b.ok("alter table t drop column b cascade").await;
    assert_eq!(a.ok("select * from t where a = 1").await, ["1|3", "SELECT 1"]);
    assert_eq!(a.err("execute p(2)").await.sqlstate, "42703");
    assert_eq!(a.err("select * from v").await.sqlstate, "42P01");
    a.ok("insert into t values (5, 5)").await;
    assert_eq!(a.ok("select * from t where a = 5").await, ["5|5", "SELECT 1"]);
}
