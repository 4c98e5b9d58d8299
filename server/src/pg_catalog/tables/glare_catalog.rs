//! Views of schema `glare_catalog`: what PostgreSQL has not. `docs/glare-catalog.md` describes them.

use glaredb_engine::storage::rewrite::{JobKind, JobReport};

use super::Source;
use crate::pg_catalog::rows::{Cell, Rows};

pub(super) fn fill(source: &Source, name: &str, rows: &mut Rows) {
    match name {
        "segments" => segments(source, rows),
        "cache" => cache(source, rows),
        "requests" => requests(source, rows),
        "flushes" => jobs(source, JobKind::Flush, rows),
        "compactions" => jobs(source, JobKind::Compaction, rows),
        _ => {}
    }
}

fn int8(value: u64) -> Cell<'static> {
    Cell::Int(i64::try_from(value).unwrap_or(i64::MAX))
}

fn moment(ms: u64) -> Cell<'static> {
    Cell::Timestamptz(i64::try_from(ms.saturating_mul(1000)).unwrap_or(i64::MAX))
}

fn segments(source: &Source, rows: &mut Rows) {
    for (schema, table) in source.tables() {
        for segment in source.figures.segments(table.storage) {
            let (min, max) = segment.keys.unzip();
            rows.push([
                ("table_oid", table.oid.into()),
                ("schema_name", schema.into()),
                ("table_name", table.name.as_str().into()),
                ("segment", int8(segment.segment)),
                ("object", segment.object.into()),
                ("rows", int8(segment.rows)),
                ("deleted_rows", int8(segment.deleted_rows)),
                ("bytes", int8(segment.bytes)),
                ("sort_order", segment.sort_order.into()),
                ("min_key", min.into()),
                ("max_key", max.into()),
                ("oldest_commit", moment(segment.commits_ms.0)),
                ("newest_commit", moment(segment.commits_ms.1)),
                ("footer_in_memory", segment.footer_in_memory.into()),
            ]);
        }
    }
}

/// Decoded parts of segments, then blocks of objects where there is a cache for them.
fn cache(source: &Source, rows: &mut Rows) {
    let (objects, resident) = source.figures.objects();
    let mut push = |place: &'static str, hits, misses, used: Option<u64>, limit| {
        rows.push([
            ("place", place.into()),
            ("hits", int8(hits)),
            ("misses", int8(misses)),
            ("used_bytes", used.map_or(Cell::Null, int8)),
            ("limit_bytes", int8(limit)),
        ]);
    };
    push("segments", resident.hits, resident.misses, Some(resident.bytes), resident.budget_bytes);
    let Some(cache) = objects.cache else { return };
    let beyond_memory = cache.disk_hits + cache.misses;
    let (used, limit) = (Some(cache.memory_bytes), cache.memory_limit_bytes);
    push("memory", cache.memory_hits, beyond_memory, used, limit);
    if cache.disk_limit_bytes > 0 {
        push("disk", cache.disk_hits, cache.misses, None, cache.disk_limit_bytes);
    }
}

fn requests(source: &Source, rows: &mut Rows) {
    for request in source.figures.objects().0.requests {
        let total_ms = u64::try_from(request.latency_total.as_millis()).unwrap_or(u64::MAX);
        rows.push([
            ("kind", request.kind.name().into()),
            ("requests", int8(request.count)),
            ("failures", int8(request.failures.iter().map(|(_, count)| count).sum())),
            ("bytes", int8(request.bytes)),
            ("total_ms", int8(total_ms)),
        ]);
    }
}

fn jobs(source: &Source, kind: JobKind, rows: &mut Rows) {
    let reports = source.figures.jobs();
    for report in reports.iter().filter(|report: &&JobReport| report.kind == kind) {
        // The table may be gone.
        let table = source.tables().find(|(_, table)| table.storage == report.table);
        let (schema, table) = table.unzip();
        rows.push([
            ("job", format!("{:016x}", report.job.0).into()),
            ("table_oid", table.map(|table| table.oid).into()),
            ("schema_name", schema.into()),
            ("table_name", table.map(|table| table.name.as_str()).into()),
            ("began", moment(report.began_ms)),
            ("duration_ms", int8(u64::try_from(report.duration.as_millis()).unwrap_or(u64::MAX))),
            ("inputs", int8(report.inputs as u64)),
            ("outputs", int8(report.outputs as u64)),
            ("rows_read", int8(report.rows_read)),
            ("rows_written", int8(report.rows_written)),
            ("bytes_read", int8(report.bytes_read)),
            ("bytes_written", int8(report.bytes_written)),
            ("error", report.error.as_deref().into()),
        ]);
    }
}
