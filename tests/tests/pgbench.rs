//! pgbench, unmodified: initialisation and its three scripts in all three protocols.

use glaredb_tests::{client, server::Server};

/// The four sums that TPC-B keeps equal: accounts, branches, tellers, history.
fn sums(server: &Server) -> Vec<String> {
    [
        "select coalesce(sum(abalance), 0) from pgbench_accounts",
        "select coalesce(sum(bbalance), 0) from pgbench_branches",
        "select coalesce(sum(tbalance), 0) from pgbench_tellers",
        "select coalesce(sum(delta), 0) from pgbench_history",
    ]
    .iter()
    .map(|sql| server.psql(sql).expect("the sum").trim().to_owned())
    .collect()
}

#[test]
fn initialises_and_runs_its_scripts_in_every_protocol() {
    let server = Server::start();
    client::pgbench(server.port, &["-i", "-s", "1"]).expect("pgbench -i");
    assert_eq!(server.psql("select count(*) from pgbench_accounts").as_deref(), Ok("100000\n"));

    let mut transactions = 0;
    for protocol in ["simple", "extended", "prepared"] {
        for script in ["tpcb-like", "simple-update", "select-only"] {
            // -n: no TRUNCATE of the history, or the sums could not be compared.
            let report = client::pgbench(
                server.port,
                &["-n", "-M", protocol, "-b", script, "-c", "4", "-t", "100", "--max-tries=1000"],
            )
            .unwrap_or_else(|e| panic!("{script} over {protocol}: {e}"));
            assert!(
                report.contains("number of transactions actually processed: 400/400"),
                "{script} over {protocol}:\n{report}"
            );
            transactions += 400;
        }
    }
    assert_eq!(transactions, 9 * 400);
    let all = sums(&server);
    // simple-update leaves branches and tellers alone.
    assert_eq!(all[0], all[3], "accounts and history differ");
    assert_eq!(all[1], all[2], "branches and tellers differ");
    let history: u64 = server
        .psql("select count(*) from pgbench_history")
        .expect("a count")
        .trim()
        .parse()
        .expect("a number");
    // tpcb-like and simple-update write one row of history each.
    assert_eq!(history, 2 * 3 * 400);

    let server = server.kill_and_restart();
    assert_eq!(sums(&server), all, "after kill -9");
}
