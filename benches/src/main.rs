//! Measures GlareDB beside PostgreSQL 15 and DuckDB: same machine, same run, in turn, medians.
//!
//! ```text
//! glaredb-benches --glaredb PATH [--only NAME,…] [--rounds N] [--seconds N] [--filled DIR]
//!                 [--tpch-scale N] [--tpcb-scale N] [--memory 4GiB] [--no-peer]
//!                 [--stream-limit SECONDS]
//! ```
//! Every measurement prints as it ends; the table at the end is markdown, with the ratio that the
//! project promises and the latency of a bare fdatasync beside it.

mod analytics;
mod beside;
mod catalog;
mod commit_latency;
mod copying;
mod lifecycle;
mod recovery;
mod remote;
mod report;
mod rows_out;
mod segments;
mod small_statements;
mod statements;

use std::{path::PathBuf, time::Duration};

use clap::Parser;
use report::Report;

/// What to measure, and for how long.
#[derive(Parser)]
struct Arguments {
    /// The release binary.
    #[arg(long)]
    glaredb: PathBuf,
    /// Only these: insert, tpcb, simple-update, select, keys, rows-out, analytics-p99, tpch, copy, start,
    /// recovery, checkpoint, catalog; of tables in segments: segment-keys, uuids, update-all,
    /// segment-tpch, select-only-compacted (of segment-keys what only reads), jobs-beside, copy-segments,
    /// stream-beside, s3-tpch.
    #[arg(long, value_delimiter = ',')]
    only: Vec<String>,
    /// Rounds of each pgbench measurement, the two servers in turn.
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// Seconds of each pgbench run.
    #[arg(long, default_value_t = 10)]
    seconds: u32,
    /// A data directory with 1 GiB of TPC-B log for the measurement of recovery: filled and kept if it
    /// is not there, left as it is if it is.
    #[arg(long)]
    filled: Option<PathBuf>,
    /// Scale factor of TPC-H.
    #[arg(long, default_value = "1")]
    tpch_scale: String,
    /// Scale factor of pgbench's tables that lie in segments.
    #[arg(long, default_value_t = 50)]
    tpcb_scale: u32,
    /// Memory of both engines where TPC-H lies in segments.
    #[arg(long, default_value = "4GiB")]
    memory: String,
    /// Without DuckDB where TPC-H lies in segments: for more data than there is space for twice.
    #[arg(long)]
    no_peer: bool,
    /// Seconds after which a stream of TPC-H beside TPC-B counts as that long.
    #[arg(long, default_value_t = 600)]
    stream_limit: u64,
}

impl Arguments {
    fn wants(&self, name: &str) -> bool {
        self.only.is_empty() || self.only.iter().any(|only| only == name)
    }
}

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() {
    let arguments = Arguments::parse();
    assert!(arguments.glaredb.exists(), "{} is not built", arguments.glaredb.display());
    glaredb_tests::server::set_binary(arguments.glaredb.clone());

    let mut report = Report::default();
    report.note("fdatasync of one 8 KiB write", &report::fdatasync_latency());
    let Arguments { rounds, seconds, tpcb_scale: scale, .. } = arguments;
    let load = small_statements::Load { rounds, seconds, scale };
    if ["insert", "tpcb", "simple-update", "select", "keys"]
        .iter()
        .any(|name| arguments.wants(name))
    {
        let wanted = |name: &str| arguments.wants(name);
        small_statements::measure(&load, &wanted, &mut report);
    }
    if arguments.wants("rows-out") {
        rows_out::measure(&mut report);
    }
    if arguments.wants("analytics-p99") {
        commit_latency::beside_analytics(&load, &mut report);
    }
    if ["tpch", "copy", "checkpoint"].iter().any(|name| arguments.wants(name)) {
        let wanted = |name: &str| arguments.wants(name);
        analytics::measure(&arguments.tpch_scale, &wanted, &mut report).await;
    }
    if arguments.wants("start") {
        lifecycle::empty_start(&mut report);
    }
    if arguments.wants("recovery") {
        recovery::measure(arguments.filled.as_deref(), arguments.rounds, &mut report);
    }
    if arguments.wants("catalog") {
        catalog::measure(arguments.rounds, &mut report);
    }
    in_segments(&arguments, &load, &mut report).await;
    report.print();
}

/// Of tables that lie in segments.
async fn in_segments(arguments: &Arguments, load: &small_statements::Load, report: &mut Report) {
    let (scale, memory) = (&arguments.tpch_scale, &arguments.memory);
    if arguments.wants("segment-keys") {
        segments::keys(load, true, report);
    } else if arguments.wants("select-only-compacted") {
        segments::keys(load, false, report);
    }
    if arguments.wants("uuids") {
        segments::uuids(load, report);
    }
    if arguments.wants("update-all") {
        segments::update_all(report);
    }
    if arguments.wants("jobs-beside") {
        beside::jobs(load, report);
    }
    if arguments.wants("copy-segments") {
        copying::lineitem(load.rounds, scale, memory, report);
    }
    if arguments.wants("segment-tpch") {
        segments::tpch(scale, memory, !arguments.no_peer, report).await;
    }
    if arguments.wants("stream-beside") {
        let limit = Duration::from_secs(arguments.stream_limit);
        beside::stream(load, scale, limit, report).await;
    }
    if arguments.wants("s3-tpch") {
        remote::tpch(scale, memory, report).await;
    }
}
