//! TPC-H with its tables in S3: what the queries ask of the store, cold and warm.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use glaredb_tests::{
    s3::{self, BUCKET, S3Kind, S3Server},
    server::{Options, Server},
    tpch,
};

use crate::{
    copying::segments,
    report::Report,
    statements::{compact, load_tpch, psql},
};

/// What was asked of the store.
#[derive(Clone, Copy, Default, Debug)]
struct Asked {
    requests: u64,
    bytes: u64,
}

/// What one run of a query took.
#[derive(Clone, Copy, Default, Debug)]
struct Run {
    taken: Duration,
    asked: Asked,
}

/// Requests and bytes of every query on a SeaweedFS of this machine: by a new process with empty caches,
/// and asked once more.
pub(crate) async fn tpch(scale: &str, memory: &str, report: &mut Report) {
    let store = S3Server::start(S3Kind::Weed);
    let storage = format!("s3://{BUCKET}/tpch");
    let options = |storage: Option<&str>| {
        let mut options: Options = s3::options(&store.endpoint(), storage);
        options.arguments.push(format!("--memory-limit={memory}"));
        options
    };
    let mut server = Server::start_with(options(Some(&storage)));
    load_tpch(server.port, scale, None).await;
    compact(server.port);
    psql(server.port, "checkpoint");
    report.note(&format!("TPC-H SF{scale} in S3"), &segments(&server));
    let mut runs: BTreeMap<u32, [Run; 2]> = BTreeMap::new();
    for (number, query) in tpch::queries() {
        server.kill();
        // Blocks of objects that the last process kept on disk.
        let cache = server.data_dir().join("cache");
        if cache.exists() {
            std::fs::remove_dir_all(&cache).expect("a folder of ours");
        }
        server = server.start_again(options(None));
        let session = server.connect().await;
        let mut both = [Run::default(); 2];
        for run in &mut both {
            let (before, begin) = (asked(&server), Instant::now());
            tpch::ask(&session, &query).await.unwrap_or_else(|e| panic!("Q{number}: {e:?}"));
            let (taken, after) = (begin.elapsed(), asked(&server));
            let (requests, bytes) = (after.requests - before.requests, after.bytes - before.bytes);
            *run = Run { taken, asked: Asked { requests, bytes } };
        }
        runs.insert(number, both);
    }
    let mut lines = Vec::new();
    for (number, [cold, warm]) in &runs {
        lines.push(format!("Q{number} cold {}, warm {}", text(cold), text(warm)));
    }
    let total = |n: usize| {
        runs.values().fold(Run::default(), |sum, both| Run {
            taken: sum.taken + both[n].taken,
            asked: Asked {
                requests: sum.asked.requests + both[n].asked.requests,
                bytes: sum.asked.bytes + both[n].asked.bytes,
            },
        })
    };
    lines.push(format!("all cold {}, warm {}", text(&total(0)), text(&total(1))));
    report.note(&format!("TPC-H SF{scale} in S3, {memory}"), &lines.join("; "));
    let what = format!("requests of the 22 queries of TPC-H SF{scale} in S3, warm");
    report.count(&what, total(1).asked.requests, 0);
}

fn text(run: &Run) -> String {
    let Run { taken, asked } = run;
    let mb = asked.bytes as f64 / 1e6;
    format!("{:.2} s {} requests {mb:.1} MB", taken.as_secs_f64(), asked.requests)
}

/// All reads since the start.
fn asked(server: &Server) -> Asked {
    let sql = "select sum(requests), sum(bytes) from glare_catalog.requests \
               where kind in ('get', 'head')";
    let text = server.psql(sql).unwrap_or_else(|e| panic!("{sql}: {e}"));
    let (requests, bytes) = text.trim().split_once('|').expect("two columns");
    let number = |text: &str| text.parse().unwrap_or_else(|_| panic!("{text} is no number"));
    Asked { requests: number(requests), bytes: number(bytes) }
}
