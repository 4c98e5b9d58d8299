//! What statements are planned as.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    task::Poll,
};

use super::harness::Server;

/// A correlated aggregate is joined; rows without one fail the comparison, so that the join can be
/// an inner one, whose smaller side is built and whose keys thin out the aggregated rows.
#[tokio::test(flavor = "multi_thread")]
async fn comparisons_that_refuse_null_make_inner_joins() {
    let server = Server::start().await;
    let mut client = server.connect();
    client.ok("create table part (p int primary key, brand text)").await;
    client.ok("create table line (l int primary key, p int not null, q numeric(15,2))").await;
    client.ok("insert into part select x, 'brand ' || x from generate_series(1, 100) x").await;
    client
        .ok("insert into line select x, 1 + x % 110, x % 7 from generate_series(1, 5000) x")
        .await;
    client.ok("analyze").await;
    let correlated = "select count(*), sum(q) from line, part where part.p = line.p \
                      and brand = 'brand 23' and q < \
                      (select 0.9 * avg(q) from line i where i.p = part.p)";
    let plan = client.ok(&format!("explain {correlated}")).await;
    let joins: Vec<_> = plan.iter().filter(|line| line.contains("HashJoinExec")).collect();
    let is_inner = |join: &&String| join.contains("=Inner") || join.contains("=LeftSemi");
    assert!(joins.len() == 2 && joins.iter().all(is_inner), "{plan:?}");
    let thinned = plan.iter().filter(|line| line.contains("[p, q], dynamic=")).count();
    assert_eq!(thinned, 2, "{plan:?}");
    let by_hand = "select count(*), sum(q) from line where p = 23 and q < \
                   (select 0.9 * avg(q) from line where p = 23)";
    assert_eq!(client.ok(correlated).await, client.ok(by_hand).await);

    // A filled up row may pass here: the outer join stays.
    let outer = "from line left join part on part.p = line.p";
    for (condition, kind, rows) in [
        ("part.p + 1 > 0", "Inner", 4550),
        ("abs(part.p - 1) * 2.5 > 0.5", "Inner", 4505),
        ("part.p + 1 > 0 or part.p is null", "outer", 5000),
        ("coalesce(part.p + 1, 5) > 0", "outer", 5000),
        ("(part.p + 1 > 0) is not true", "outer", 450),
    ] {
        let sql = format!("select count(*) {outer} where {condition}");
        let plan = client.ok(&format!("explain {sql}")).await;
        let join = plan.iter().find(|line| line.contains("HashJoinExec")).expect("a join");
        assert_eq!(join.contains("=Inner"), kind == "Inner", "{condition}: {join}");
        assert_eq!(client.ok(&sql).await[0], rows.to_string(), "{condition}");
    }
}

/// However much a query reads, and however little passes, it gives others their turn: on a runtime of one
/// thread everything else goes on beside it, and it can be ended.
#[tokio::test]
async fn a_scan_waits_now_and_then() {
    let server = Server::start().await;
    let mut client = server.connect();
    client.ok("create table t (a int)").await;
    client.ok("insert into t select x from generate_series(1, 1500000) x").await;
    for sql in [
        "select a from t where a % 7 = 100",
        "select a % 10, count(*), sum(a) from t group by 1",
        "select count(*) from t where a % 7 = 100",
    ] {
        let turns = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&turns);
        let other = tokio::spawn(async move {
            // Not tokio's `yield_now`, which lets everything go before that can.
            std::future::poll_fn(|context| {
                counter.fetch_add(1, Relaxed);
                context.waker().wake_by_ref();
                Poll::<()>::Pending
            })
            .await;
        });
        tokio::task::yield_now().await;
        // 184 slices, 16 at a time.
        let before = turns.load(Relaxed);
        client.ok(sql).await;
        let turns = turns.load(Relaxed) - before;
        other.abort();
        assert!(turns > 6, "{sql}: {turns} turns");
    }
}
