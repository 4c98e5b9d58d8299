//! Numbers of the store of objects, the cache before it, and what is decoded of segments.

use std::fmt::Write;

use glaredb_engine::storage::{
    objects::{CacheCounts, LATENCIES_US, ObjectFigures, RequestCounts},
    segment::ResidentMetrics,
};

use crate::metrics::{header, write_counter, write_counters, write_gauge, write_gauges};

pub(crate) fn write(objects: &ObjectFigures, resident: &ResidentMetrics, out: &mut String) {
    write_requests(&objects.requests, out);
    if let Some(cache) = &objects.cache {
        write_cache(cache, out);
    }
    for (name, help, value) in [
        ("hits", "Decoded parts of segments found in memory.", resident.hits),
        ("misses", "Decoded parts of segments looked for in vain.", resident.misses),
        ("evictions", "Decoded parts of segments that went to make room.", resident.evictions),
    ] {
        write_counter(&format!("glaredb_segment_parts_{name}_total"), help, value, out);
    }
    for (name, help, value) in [
        ("parts", "Decoded parts of segments in memory.", resident.parts),
        ("bytes", "Memory of decoded parts of segments.", resident.bytes),
        ("limit_bytes", "Limit of that memory.", resident.budget_bytes),
    ] {
        write_gauge(&format!("glaredb_segment_memory_{name}"), help, value as f64, out);
    }
}

fn write_requests(requests: &[RequestCounts], out: &mut String) {
    let bytes: Vec<(&str, u64)> = requests.iter().map(|r| (r.kind.name(), r.bytes)).collect();
    write_counters(
        "glaredb_object_request_bytes_total",
        "Bytes of objects sent and received, by kind of request.",
        "kind",
        &bytes,
        out,
    );
    let name = "glaredb_object_request_failures_total";
    header(name, "Requests to the store of objects without success.", "counter", out);
    for request in requests {
        for (reason, count) in &request.failures {
            let kind = request.kind.name();
            let _ = writeln!(out, "{name}{{kind=\"{kind}\",reason=\"{reason}\"}} {count}");
        }
    }
    let name = "glaredb_object_request_duration_seconds";
    let help = "Requests to the store of objects, attempts that failed included, by kind.";
    header(name, help, "histogram", out);
    for request in requests {
        let kind = request.kind.name();
        let mut count = 0;
        for (class, requests) in request.latencies.iter().enumerate() {
            count += requests;
            let bound = LATENCIES_US.get(class);
            let bound =
                bound.map_or_else(|| "+Inf".to_owned(), |us| (*us as f64 / 1e6).to_string());
            let _ = writeln!(out, "{name}_bucket{{kind=\"{kind}\",le=\"{bound}\"}} {count}");
        }
        let sum = request.latency_total.as_secs_f64();
        let _ = writeln!(out, "{name}_sum{{kind=\"{kind}\"}} {sum}");
        let _ = writeln!(out, "{name}_count{{kind=\"{kind}\"}} {count}");
    }
}

fn write_cache(cache: &CacheCounts, out: &mut String) {
    write_counters(
        "glaredb_cache_hits_total",
        "Blocks of objects found in the cache.",
        "place",
        &[("memory", cache.memory_hits), ("disk", cache.disk_hits)],
        out,
    );
    for (name, help, value) in [
        ("misses", "Blocks of objects that were fetched.", cache.misses),
        ("shared", "Blocks that another reader was fetching already.", cache.shared),
        ("hit_bytes", "Bytes of the blocks found.", cache.hit_bytes),
        ("fetched_bytes", "Bytes of the blocks fetched.", cache.fetched_bytes),
        ("damaged", "Reads that were damaged in the cache and made again.", cache.damaged),
        ("disk_errors", "Blocks that could not be read from the disk.", cache.disk_errors),
        ("disk_skipped", "Blocks that the disk was too slow for.", cache.disk_skipped),
        ("disk_written_bytes", "Bytes written to the disk.", cache.disk_written_bytes),
        ("disk_read_bytes", "Bytes read from the disk.", cache.disk_read_bytes),
    ] {
        write_counter(&format!("glaredb_cache_{name}_total"), help, value, out);
    }
    write_gauge("glaredb_cache_bytes", "Memory of cached blocks.", cache.memory_bytes as f64, out);
    let limits =
        [("memory", cache.memory_limit_bytes as f64), ("disk", cache.disk_limit_bytes as f64)];
    let help = "Limits of the cache of objects.";
    write_gauges("glaredb_cache_limit_bytes", help, "place", &limits, out);
}
