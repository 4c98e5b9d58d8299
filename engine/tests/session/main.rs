//! Statements through sessions, on a real database.

#[cfg(feature = "testing")]
mod cold_reads;
mod commits;
mod ddl;
mod harness;
mod key_ranges;
mod moved_rows;
mod plan_cache;
mod plans;
#[cfg(feature = "testing")]
mod segments;
#[cfg(feature = "testing")]
mod staging;
#[cfg(feature = "testing")]
mod statement_mix;
#[cfg(feature = "testing")]
mod storage_verify;

use glaredb_engine::session::TransactionStatus;
use harness::Server;

#[tokio::test(flavor = "multi_thread")]
async fn rows_survive_a_restart() {
    let server = Server::start().await;
    let mut client = server.connect();
    assert_eq!(
        client
            .ok("create table t (a int primary key, b text not null default 'x', c numeric(5,2))")
            .await,
        ["CREATE TABLE"]
    );
    assert_eq!(
        client.ok("insert into t values (1, 'one', 1.5), (2, default, null)").await,
        ["INSERT 0 2"]
    );
    assert_eq!(client.ok("insert into t (a) select 3").await, ["INSERT 0 1"]);
    let rows = ["1|one|1.50", "2|x|NULL", "3|x|NULL", "SELECT 3"];
    assert_eq!(client.ok("select * from t order by a").await, rows);
    assert_eq!(
        client.ok("update t set c = a + 0.25 where a > 1 returning a, c").await,
        ["2|2.25", "3|3.25", "UPDATE 2"]
    );
    assert_eq!(client.ok("delete from t where a = 1").await, ["DELETE 1"]);
    drop(client);
    let server = server.restart().await;
    let mut client = server.connect();
    assert_eq!(
        client.ok("select a, b, c from t order by a").await,
        ["2|x|2.25", "3|x|3.25", "SELECT 2"]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_transaction_reads_what_it_wrote() {
    let server = Server::start().await;
    let (mut a, mut b) = (server.connect(), server.connect());
    a.ok("create table t (a int primary key, b int)").await;
    a.ok("insert into t values (1, 10), (2, 20)").await;
    a.ok("begin").await;
    a.ok("insert into t values (3, 30)").await;
    a.ok("update t set b = b + 1").await;
    a.ok("delete from t where a = 2").await;
    assert_eq!(a.ok("select * from t order by a").await, ["1|11", "3|31", "SELECT 2"]);
    assert_eq!(a.ok("select b from t where a = 3").await, ["31", "SELECT 1"]);
    assert_eq!(a.ok("select b from t where a = 2").await, ["SELECT 0"]);
    assert_eq!(b.ok("select * from t order by a").await, ["1|10", "2|20", "SELECT 2"]);
    a.ok("update t set a = a + 10 where a = 3").await;
    a.ok("insert into t values (2, 22)").await;
    assert_eq!(a.ok("commit").await, ["COMMIT"]);
    assert_eq!(b.ok("select * from t order by a").await, ["1|11", "2|22", "13|31", "SELECT 3"]);
    b.ok("begin").await;
    b.ok("delete from t").await;
    assert_eq!(b.ok("select count(*) from t").await, ["0", "SELECT 1"]);
    assert_eq!(b.ok("rollback").await, ["ROLLBACK"]);
    assert_eq!(b.ok("select count(*) from t").await, ["3", "SELECT 1"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn constraints_are_told_as_postgres_does() {
    let server = Server::start().await;
    let mut client = server.connect();
    client.ok("create table t (a int, b text, c varchar(3), primary key (a, b))").await;
    client.ok("insert into t values (1, 'x', 'abc')").await;
    let error = client.err("insert into t values (1, 'x', 'd')").await;
    assert_eq!(error.sqlstate, "23505");
    assert_eq!(error.message, "duplicate key value violates unique constraint \"t_pkey\"");
    assert_eq!(error.detail.as_deref(), Some("Key (a, b)=(1, x) already exists."));
    let error = client.err("insert into t values (2, 'y', 'a'), (2, 'y', 'b')").await;
    assert_eq!(error.detail.as_deref(), Some("Key (a, b)=(2, y) already exists."));
    let error = client.err("insert into t (a, c) values (5, 'q')").await;
    assert_eq!(error.sqlstate, "23502");
    assert_eq!(
        error.message,
        "null value in column \"b\" of relation \"t\" violates not-null constraint"
    );
    assert_eq!(error.detail.as_deref(), Some("Failing row contains (5, null, q)."));
    let error = client.err("insert into t values (3, 'z', 'abcd')").await;
    assert_eq!(error.message, "value too long for type character varying(3)");
    assert_eq!(client.ok("select count(*) from t").await, ["1", "SELECT 1"]);
    // A key moves onto one that the same statement frees.
    client.ok("insert into t values (2, 'x', null)").await;
    assert_eq!(client.ok("update t set a = 3 - a").await, ["UPDATE 2"]);
    assert_eq!(client.ok("select a, c from t order by a").await, ["1|NULL", "2|abc", "SELECT 2"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_first_committer_wins() {
    let server = Server::start().await;
    let (mut a, mut b) = (server.connect(), server.connect());
    a.ok("create table t (a int primary key, b int)").await;
    a.ok("insert into t values (1, 0)").await;
    a.ok("begin isolation level repeatable read").await;
    assert_eq!(a.ok("select b from t").await, ["0", "SELECT 1"]);
    b.ok("update t set b = 1").await;
    assert_eq!(a.ok("select b from t").await, ["0", "SELECT 1"]);
    a.ok("update t set b = 2").await;
    assert_eq!(a.err("commit").await.sqlstate, "40001");
    assert_eq!(a.session.status(), TransactionStatus::Idle);
    assert_eq!(a.ok("select b from t").await, ["1", "SELECT 1"]);
    // READ COMMITTED sees each statement's own snapshot.
    a.ok("begin").await;
    a.ok("select b from t").await;
    b.ok("update t set b = 5").await;
    assert_eq!(a.ok("select b from t").await, ["5", "SELECT 1"]);
    a.ok("update t set b = b + 1").await;
    assert_eq!(a.ok("commit").await, ["COMMIT"]);
    // Two inserts of one key.
    a.ok("begin").await;
    a.ok("insert into t values (7, 7)").await;
    b.ok("insert into t values (7, 8)").await;
    assert_eq!(a.err("commit").await.sqlstate, "40001");
    assert_eq!(b.ok("select * from t order by a").await, ["1|6", "7|8", "SELECT 2"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn concurrent_increments_are_retried() {
    let server = Server::start().await;
    let mut client = server.connect();
    client.ok("create table t (a int primary key, b int)").await;
    client.ok("insert into t values (1, 0)").await;
    let tasks: Vec<_> = (0..4)
        .map(|_| {
            let mut client = server.connect();
            tokio::spawn(async move {
                let mut done = 0;
                while done < 20 {
                    match client.run("update t set b = b + 1 where a = 1").await {
                        Ok(_) => done += 1,
                        Err(error) => assert_eq!(error.sqlstate, "40001"),
                    }
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.expect("no assertion fails");
    }
    assert_eq!(client.ok("select b from t").await, ["80", "SELECT 1"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_block_only_rolls_back() {
    let server = Server::start().await;
    let mut client = server.connect();
    client.ok("create table t (a int primary key)").await;
    client.ok("begin").await;
    client.ok("insert into t values (1)").await;
    client.err("select 1/0").await;
    assert_eq!(client.session.status(), TransactionStatus::Failed);
    assert_eq!(client.err("select 1").await.sqlstate, "25P02");
    assert_eq!(client.ok("commit").await, ["ROLLBACK"]);
    assert_eq!(client.ok("select count(*) from t").await, ["0", "SELECT 1"]);
    // Several statements of one string are one transaction.
    client.err("insert into t values (1); insert into t values (1)").await;
    assert_eq!(client.ok("select count(*) from t").await, ["0", "SELECT 1"]);
    client.ok("insert into t values (1); insert into t values (2)").await;
    assert_eq!(client.ok("select count(*) from t").await, ["2", "SELECT 1"]);
    client.ok("commit").await;
    let notices = client.session.take_notices();
    assert_eq!(notices[0].sqlstate, "25P01");
    client.ok("begin read only").await;
    let error = client.err("insert into t values (9)").await;
    assert_eq!(error.sqlstate, "25006");
    assert_eq!(error.message, "cannot execute INSERT in a read-only transaction");
    client.ok("rollback").await;
    client.ok("begin isolation level serializable").await;
    client.ok("select 1").await;
    assert_eq!(client.err("insert into t values (9)").await.sqlstate, "0A000");
    client.ok("rollback").await;
    for (sql, state) in
        [("savepoint s", "25P01"), ("vacuum nowhere", "42P01"), ("set nonsense = 1", "42704")]
    {
        assert_eq!(client.err(sql).await.sqlstate, state, "{sql}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn ddl_is_transactional() {
    let server = Server::start().await;
    let (mut a, mut b) = (server.connect(), server.connect());
    a.ok("begin").await;
    a.ok("create schema s").await;
    a.ok("create table s.t (a int primary key)").await;
    a.ok("insert into s.t values (1)").await;
    assert_eq!(a.ok("select * from s.t").await, ["1", "SELECT 1"]);
    assert_eq!(b.err("select * from s.t").await.sqlstate, "42P01");
    a.ok("rollback").await;
    assert_eq!(a.err("select * from s.t").await.sqlstate, "42P01");
    a.ok("begin; create schema s; create table s.t (a int primary key); insert into s.t values (1); commit").await;
    assert_eq!(b.ok("select * from s.t").await, ["1", "SELECT 1"]);
    assert_eq!(b.err("create table s.t (a int)").await.sqlstate, "42P07");
    assert_eq!(b.ok("create table if not exists s.t (a int)").await, ["CREATE TABLE"]);
    assert_eq!(b.session.take_notices()[0].message, "relation \"t\" already exists, skipping");
    let error = b.err("drop schema s").await;
    assert_eq!(error.sqlstate, "2BP01");
    assert_eq!(error.detail.as_deref(), Some("table s.t depends on schema s"));
    a.ok("begin; truncate s.t").await;
    assert_eq!(a.ok("select count(*) from s.t").await, ["0", "SELECT 1"]);
    assert_eq!(b.ok("select count(*) from s.t").await, ["1", "SELECT 1"]);
    a.ok("insert into s.t values (2); commit").await;
    assert_eq!(b.ok("select * from s.t").await, ["2", "SELECT 1"]);
    assert_eq!(b.ok("drop schema s cascade").await, ["DROP SCHEMA"]);
    assert_eq!(b.session.take_notices()[0].message, "drop cascades to table s.t");
    assert_eq!(a.err("select * from s.t").await.sqlstate, "42P01");
    a.ok("begin; create table d (a int primary key); insert into d values (1); truncate d").await;
    a.ok("insert into d values (1); commit").await;
    assert_eq!(b.ok("select * from d").await, ["1", "SELECT 1"]);
    a.ok("begin; insert into d values (2); drop table d; commit").await;
    a.ok("begin; create table d (a int); insert into d values (2); drop table d; commit").await;
    assert_eq!(b.err("select * from d").await.sqlstate, "42P01");
    assert_eq!(a.ok("create table c as select 1 as x, 'y' as y").await, ["SELECT 1"]);
    assert_eq!(a.ok("select * from c").await, ["1|y", "SELECT 1"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_pgbench_initialises_with() {
    let server = Server::start().await;
    let mut client = server.connect();
    client.ok("drop table if exists pgbench_accounts, pgbench_branches, pgbench_history, pgbench_tellers").await;
    client.ok("create table pgbench_history(tid int,bid int,aid    int,delta int,mtime timestamp,filler char(22))").await;
    client.ok("create table pgbench_accounts(aid    int not null,bid int,abalance int,filler char(84)) with (fillfactor=100)").await;
    client.ok("begin").await;
    client.ok("truncate table pgbench_accounts, pgbench_history").await;
    let mut data = String::new();
    for aid in 1..=20_000 {
        data.push_str(&format!("{aid}\t1\t0\t\n"));
    }
    let copied = client
        .copy_in("copy pgbench_accounts from stdin with (freeze on)", data.as_bytes(), 8000)
        .await;
    assert_eq!(copied.as_deref(), Ok("COPY 20000"));
    client.ok("commit").await;
    client.ok("vacuum analyze pgbench_accounts").await;
    client.ok("alter table pgbench_accounts add primary key (aid)").await;
    let error = client.err("alter table pgbench_accounts add primary key (aid)").await;
    assert_eq!(error.sqlstate, "42P16");
    client.ok("BEGIN").await;
    client.ok("UPDATE pgbench_accounts SET abalance = abalance + 5 WHERE aid = 777").await;
    assert_eq!(
        client.ok("SELECT abalance FROM pgbench_accounts WHERE aid = 777").await,
        ["5", "SELECT 1"]
    );
    client.ok("INSERT INTO pgbench_history (tid, bid, aid, delta, mtime) VALUES (1, 1, 777, 5, CURRENT_TIMESTAMP)").await;
    client.ok("END").await;
    assert_eq!(
        client.ok("select sum(abalance), count(*) from pgbench_accounts").await,
        ["5|20000", "SELECT 1"]
    );
    client.ok("insert into pgbench_history select aid, 1, 1, 1, null from pgbench_accounts").await;
    let error = client.err("alter table pgbench_history add primary key (bid)").await;
    assert_eq!(error.detail.as_deref(), Some("Key (bid)=(1) is duplicated."));
    let facts = server.engine().facts(glaredb_txn::ids::TableId(u32::MAX));
    assert!(facts.is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn copy_reads_and_writes_text_and_csv() {
    let server = Server::start().await;
    let mut client = server.connect();
    client.ok("create table t (a int, b text default 'd', c date)").await;
    let data = b"1\ta\\tb\t2024-01-02\n2\t\\N\t\\N\n3\t\tinfinity";
    for piece in [1, 7, 1000] {
        assert_eq!(client.copy_in("copy t from stdin", data, piece).await.as_deref(), Ok("COPY 3"));
    }
    assert_eq!(client.ok("select count(*), count(b) from t").await, ["9|6", "SELECT 1"]);
    client.ok("truncate t").await;
    let csv = b"a,c\r\n5,\"2024-02-29\"\r\n6,\r\n";
    let sql = "copy t (a, c) from stdin with (format csv, header match)";
    assert_eq!(client.copy_in(sql, csv, 3).await.as_deref(), Ok("COPY 2"));
    assert_eq!(
        client.copy_out("copy t to stdout").await.as_deref(),
        Ok("5\td\t2024-02-29\n6\td\t\\N\n")
    );
    assert_eq!(
        client
            .copy_out("copy (select a, 'x,\"y' from t where a = 5) to stdout csv")
            .await
            .as_deref(),
        Ok("5,\"x,\"\"y\"\n")
    );
    let error = client.copy_in("copy t from stdin", b"1\tx\t2024-01-01\nz\ty\t\\N\n", 5).await;
    let error = error.expect_err("no integer");
    assert_eq!(error.message, "invalid input syntax for type integer: \"z\"");
    assert_eq!(error.object.context.as_deref(), Some("COPY t, line 2, column a: \"z\""));
    let error = client.copy_in("copy t from stdin", b"1\n", 5).await.expect_err("too few");
    assert_eq!(error.message, "missing data for column \"b\"");
    assert_eq!(error.object.context.as_deref(), Some("COPY t, line 1: \"1\""));
    assert_eq!(client.ok("select count(*) from t").await, ["2", "SELECT 1"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn dml_reads_other_tables() {
    let server = Server::start().await;
    let mut client = server.connect();
    client.ok("create table t (a int primary key, b int); create table u (a int, c int)").await;
    client.ok("insert into t select x, x * 10 from generate_series(1, 5) as g(x)").await;
    client.ok("insert into u values (1, 100), (3, 300)").await;
    assert_eq!(
        client
            .ok("update t set b = u.c from u where t.a = u.a returning t.a, t.b, u.c")
            .await
            .len(),
        3
    );
    assert_eq!(
        client.ok("delete from t using u where t.a = u.a and u.c = 300").await,
        ["DELETE 1"]
    );
    assert_eq!(
        client.ok("delete from t where b < (select max(c) from u) and a in (select a from t where a > 4)").await,
        ["DELETE 1"]
    );
    assert_eq!(client.ok("delete from t where false").await, ["DELETE 0"]);
    assert_eq!(
        client.ok("select * from t order by a").await,
        ["1|100", "2|20", "4|40", "SELECT 3"]
    );
    assert_eq!(client.ok("insert into t select a + 100, b from t").await, ["INSERT 0 3"]);
    assert_eq!(client.ok("select count(*) from t").await, ["6", "SELECT 1"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn large_tables_are_scanned_in_parallel() {
    let server = Server::start().await;
    let mut client = server.connect();
    client.ok("create table t (a int primary key, b text, c int)").await;
    client
        .ok("insert into t select x, 'row ' || x, x % 10 from generate_series(1, 200000) as g(x)")
        .await;
    assert_eq!(
        client.ok("select count(*), sum(a) from t").await,
        ["200000|20000100000", "SELECT 1"]
    );
    client.ok("analyze t").await;
    client.ok("delete from t where c = 3").await;
    assert_eq!(client.ok("select count(*) from t where c < 5").await, ["80000", "SELECT 1"]);
    assert_eq!(client.ok("select b from t where a = 199999").await, ["row 199999", "SELECT 1"]);
    assert_eq!(client.ok("select b from t where a = 3").await, ["SELECT 0"]);
    assert_eq!(
        client.ok("select a from t where b like 'row 1999_9' order by a limit 2").await,
        ["199909", "199919", "SELECT 2"]
    );
    assert_eq!(
        client.ok("select count(*) from t x join t y on x.a = y.a + 1 where y.c = 9").await,
        ["20000", "SELECT 1"]
    );
    let plan = client.ok("explain select b from t where a = 5").await;
    assert!(plan.iter().any(|line| line.contains("by key")), "{plan:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn copied_rows_come_back_after_a_restart() {
    let server = Server::start().await;
    let mut client = server.connect();
    client.ok("create table t (a int, b varchar(10), c numeric(10,2), d timestamptz)").await;
    let mut data = String::new();
    for row in 0..30_000 {
        data.push_str(&format!("{row}\tname {row}\t{row}.5\t2024-01-01 00:00:00+00\n"));
    }
    let copied = client.copy_in("copy t from stdin", data.as_bytes(), 65_536).await;
    assert_eq!(copied.as_deref(), Ok("COPY 30000"));
    let expected = data.replace(".5\t", ".50\t");
    assert!(client.copy_out("copy t to stdout").await.as_deref() == Ok(&expected));
    client.ok("alter table t add primary key (a)").await;
    let error = client.copy_in("copy t from stdin", b"7\tx\t1\t\\N\n", 100).await;
    let error = error.expect_err("taken");
    assert_eq!(error.detail.as_deref(), Some("Key (a)=(7) already exists."));
    let error = client.copy_in("copy t from stdin", b"\\N\tx\t1\t\\N\n", 100).await;
    assert_eq!(error.expect_err("no key").sqlstate, "23502");
    client.ok("begin").await;
    client.copy_in("copy t from stdin", b"-1\tx\t1\t\\N\n", 100).await.expect("a new key");
    let own = client.copy_out("copy t (a, b) to stdout csv").await.expect("rows");
    assert!(own.ends_with("29999,name 29999\n-1,x\n"), "{}", &own[own.len() - 50..]);
    client.ok("rollback").await;
    drop(client);
    let server = server.restart().await;
    let mut client = server.connect();
    assert!(client.copy_out("copy t to stdout").await.as_deref() == Ok(&expected));
    let error = client.copy_in("copy t from stdin", b"7\tx\t1\t\\N\n", 100).await;
    assert_eq!(error.expect_err("taken").sqlstate, "23505");
    client.ok("truncate t").await;
    assert_eq!(client.copy_out("copy t to stdout").await.as_deref(), Ok(""));
    client.ok("drop table t").await;
    assert_eq!(client.copy_out("copy t to stdout").await.expect_err("gone").sqlstate, "42P01");
}
