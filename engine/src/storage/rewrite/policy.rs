//! What to rewrite next.
//!
//! A *run* over a key is a segment whose range has it: what a lookup may have to ask. Merging makes of
//! many overlapping segments a few that do not overlap, of bounded size. Those are merged that are about
//! as dense over the keys: so levels arise by themselves, and a row is rewritten about once for each.

use std::sync::Arc;

use glaredb_txn::ids::{SegmentId, TableId};

use super::{RewriteOptions, output::EDIT_BYTES};
use crate::storage::{
    StorageError,
    budget::Budget,
    schema::TableSchema,
    segment::{SegmentMeta, SortOrder},
    table::{Table, TableSegment},
};

/// Inputs of a compaction at most.
const INPUTS_MAX: usize = 32;
/// Bytes that an edit says of a column of a segment at most, without how many different values it has:
/// two bounds of 64 bytes and some numbers.
const COLUMN_BYTES: usize = 160;
/// Runs from which on they are merged.
const RUNS_MANY: usize = 8;
/// Runs from which on compaction goes before flushing, and commits slow down.
pub(super) const RUNS_TOO_MANY: usize = 24;
/// Runs that there should never be more of: where the delay of commits is longest.
pub(super) const RUNS_MAX: usize = 32;
/// Segments that are merged differ by this factor in how dense they are, at most.
const ALIKE_FACTOR: u64 = 4;
/// Fewer that are alike are not worth a merge.
const ALIKE_MIN: usize = 4;
/// Small segments from which on they are joined.
const SMALL_MANY: usize = 8;
/// A segment with fewer rows than the largest by this factor is small.
const SMALL_FACTOR: u64 = 16;
/// Percent of a segment's rows that nobody sees any more, from which on it is written anew.
const DEAD_PERCENT: u64 = 25;
/// Percent of the budget in use from which on the table with the most rows in memory is flushed,
/// however few they are.
const FULL_PERCENT: u64 = 60;
/// Memory that is worth a flush then.
const WORTHWHILE_BYTES: u64 = 1 << 20;

/// How much is done.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Effort {
    /// What pays.
    Lazy,
    /// All that can be.
    Full,
}

/// A segment as the policy sees it.
#[derive(Clone, Debug)]
pub(super) struct Candidate {
    pub(super) source: SegmentId,
    pub(super) rows: u64,
    /// Rows that nobody sees any more.
    pub(super) dead: u64,
    pub(super) meta: Arc<SegmentMeta>,
}

impl Candidate {
    pub(super) fn all_of(table: &Table) -> Result<Vec<Self>, StorageError> {
        let segments = table.segments();
        let candidate = |segment: &Arc<TableSegment>| {
            Ok(Self {
                source: segment.segment(),
                rows: segment.rows().into(),
                dead: segment.deletions().settled(),
                meta: Arc::clone(segment.description()?),
            })
        };
        segments.iter().map(candidate).collect()
    }

    fn has(&self, key: &[u8]) -> bool {
        self.meta.in_key_range(key)
    }
}

/// How many segments one job reads at most: it writes about as many, and one record has to say of all of
/// them what readers need to know.
fn inputs_max(candidates: &[Candidate]) -> usize {
    let columns = candidates.iter().map(|c| c.meta.columns.len()).max().unwrap_or(0);
    (EDIT_BYTES / (columns * COLUMN_BYTES).max(1)).clamp(2, INPUTS_MAX)
}

/// What rows of a table are sorted by.
pub(super) fn order_of(schema: &TableSchema) -> SortOrder {
    let columns = schema.columns();
    schema.key().map_or(SortOrder::RowId, |key| {
        SortOrder::Key(key.iter().map(|ordinal| columns[*ordinal].id).collect())
    })
}

/// Most runs over any key: the segments that are these.
pub(super) fn deepest(candidates: &[Candidate]) -> Vec<&Candidate> {
    let mut firsts: Vec<&[u8]> = candidates.iter().map(|c| &*c.meta.keys.0).collect();
    let mut lasts: Vec<&[u8]> = candidates.iter().map(|c| &*c.meta.keys.1).collect();
    firsts.sort_unstable();
    lasts.sort_unstable();
    let over = |key: &[u8]| {
        let begun = firsts.partition_point(|first| *first <= key);
        begun - lasts.partition_point(|last| *last < key)
    };
    // Where the most overlap, one of them begins.
    let deepest = candidates.iter().map(|c| &*c.meta.keys.0).max_by_key(|key| over(key));
    deepest.map_or_else(Vec::new, |key| candidates.iter().filter(|c| c.has(key)).collect())
}

/// Segments of a table to be rewritten together, ascending. `order`: what they are to be sorted by.
pub(super) fn compaction(
    candidates: &[Candidate],
    order: &SortOrder,
    options: &RewriteOptions,
    effort: Effort,
) -> Option<Vec<SegmentId>> {
    let picked = sorted_otherwise(candidates, order);
    let picked = match effort {
        Effort::Lazy => picked
            .or_else(|| mostly_dead(candidates, DEAD_PERCENT))
            .or_else(|| overlapping(candidates, options))
            .or_else(|| small(candidates, options, SMALL_MANY)),
        // What is merged loses its dead rows too.
        Effort::Full => picked
            .or_else(|| entangled(candidates, options))
            .or_else(|| mostly_dead(candidates, 0))
            .or_else(|| small(candidates, options, 2)),
    }?;
    let mut inputs: Vec<SegmentId> = picked.into_iter().map(|c| c.source).collect();
    inputs.sort_unstable();
    Some(inputs)
}

fn sorted_otherwise<'a>(
    candidates: &'a [Candidate],
    order: &SortOrder,
) -> Option<Vec<&'a Candidate>> {
    candidates.iter().find(|c| c.meta.sort_order != *order).map(|c| vec![c])
}

/// `percent`: of its rows at least.
fn mostly_dead(candidates: &[Candidate], percent: u64) -> Option<Vec<&Candidate>> {
    let worth = candidates.iter().filter(|c| c.dead > 0 && c.dead * 100 >= c.rows * percent);
    // The share of dead rows, without fractions.
    worth.max_by_key(|c| c.dead * 1_000 / c.rows.max(1)).map(|c| vec![c])
}

/// The first of those that reach into one another, in the order of the keys, as many as fit a job. What
/// is written of them overlaps the others only where these begin: so the next job goes on from there, and
/// of segments that overlap a little each row is written about once.
fn entangled<'a>(
    candidates: &'a [Candidate],
    options: &RewriteOptions,
) -> Option<Vec<&'a Candidate>> {
    let mut sorted: Vec<&Candidate> = candidates.iter().collect();
    sorted.sort_by(|a, b| a.meta.keys.0.cmp(&b.meta.keys.0).then(a.source.cmp(&b.source)));
    let first = sorted.windows(2).position(|two| two[0].meta.keys.1 >= two[1].meta.keys.0)?;
    let mut last = &sorted[first].meta.keys.1;
    let mut rows = 0;
    let together = sorted[first..].iter().take_while(|candidate| {
        let reaches = candidate.meta.keys.0 <= *last;
        last = last.max(&candidate.meta.keys.1);
        rows += candidate.rows;
        reaches && rows <= options.job_rows_max
    });
    let count = together.count().clamp(2, inputs_max(candidates));
    Some(sorted[first..first + count].to_vec())
}

fn overlapping<'a>(
    candidates: &'a [Candidate],
    options: &RewriteOptions,
) -> Option<Vec<&'a Candidate>> {
    let over = deepest(candidates);
    let runs = over.len();
    if runs < RUNS_MANY {
        return None;
    }
    let over = by_density(candidates, over);
    // From each of them on: those that are about as dense, as many as fit a job.
    let alike = |from: usize| {
        let mut rows = 0;
        let same = over[from..].iter().take_while(|(density, candidate)| {
            rows += candidate.rows;
            *density <= over[from].0 * ALIKE_FACTOR && rows <= options.job_rows_max
        });
        from..from + same.count().min(inputs_max(candidates))
    };
    let most = (0..runs).rev().map(alike).max_by_key(ExactSizeIterator::len)?;
    let picked = if most.len() >= ALIKE_MIN {
        &over[most]
    } else if runs >= RUNS_TOO_MANY {
        // The widest first, which lie over the most others.
        let mut rows = 0;
        let fit = over.iter().take_while(|(_, candidate)| {
            rows += candidate.rows;
            rows <= options.job_rows_max
        });
        &over[..fit.count().clamp(2, inputs_max(candidates))]
    } else {
        return None;
    };
    Some(picked.iter().map(|(_, candidate)| *candidate).collect())
}

/// With the rows that each has for each segment that begins within its range, fewest first: what came
/// from memory lies over all others, what was merged often over few.
fn by_density<'a>(candidates: &[Candidate], over: Vec<&'a Candidate>) -> Vec<(u64, &'a Candidate)> {
    let mut firsts: Vec<&[u8]> = candidates.iter().map(|c| &*c.meta.keys.0).collect();
    firsts.sort_unstable();
    let density = |c: &'a Candidate| {
        let begun = firsts.partition_point(|first| *first <= &*c.meta.keys.1);
        let width = begun - firsts.partition_point(|first| *first < &*c.meta.keys.0);
        (c.rows / width.max(1) as u64, c)
    };
    let mut over: Vec<_> = over.into_iter().map(density).collect();
    over.sort_by_key(|(density, candidate)| (*density, candidate.source));
    over
}

/// Many small ones, though they do not overlap: rows that come in order of the key.
fn small<'a>(
    candidates: &'a [Candidate],
    options: &RewriteOptions,
    many: usize,
) -> Option<Vec<&'a Candidate>> {
    let small_rows = (u64::from(options.segment_rows_max) / SMALL_FACTOR).max(2);
    let small_bytes = options.segment_bytes_max / SMALL_FACTOR;
    let is_small = |c: &&Candidate| c.rows < small_rows && c.meta.bytes < small_bytes;
    let mut small: Vec<&Candidate> = candidates.iter().filter(is_small).collect();
    if small.len() < many {
        return None;
    }
    small.sort_by(|a, b| a.meta.keys.0.cmp(&b.meta.keys.0).then(a.source.cmp(&b.source)));
    small.truncate(inputs_max(candidates));
    Some(small)
}

/// Memory of a table's rows that a flush would give back.
pub(super) fn flushable_bytes(table: &Table) -> u64 {
    let chunks = table.chunk_list();
    let shared = chunks.iter().filter(|chunk| !chunk.is_private());
    shared.map(|chunk| chunk.memory_bytes() as u64).sum()
}

pub(super) fn sealed_bytes(table: &Table) -> u64 {
    let chunks = table.chunk_list();
    let sealed = chunks.iter().filter(|chunk| chunk.is_sealed() && !chunk.is_private());
    sealed.map(|chunk| chunk.memory_bytes() as u64).sum()
}

/// The table to be flushed next, the largest first.
pub(super) fn flush(
    tables: &[Arc<Table>],
    budget: &Budget,
    options: &RewriteOptions,
) -> Option<TableId> {
    let is_full =
        budget.table_bytes() + budget.tail_bytes() >= budget.limit_bytes() / 100 * FULL_PERCENT;
    let wanted = options.flush_bytes.min(budget.limit_bytes() / 8);
    let bytes = |table: &Table| match is_full {
        true => Some(flushable_bytes(table)).filter(|bytes| *bytes >= WORTHWHILE_BYTES),
        false => Some(sealed_bytes(table)).filter(|bytes| *bytes >= wanted),
    };
    let due = tables.iter().filter_map(|table| Some((bytes(table)?, table.id())));
    due.max().map(|(_, table)| table)
}

/// Segments of one of the tables to be rewritten: that with the most runs comes first.
pub(super) fn next_compaction(
    tables: &[(TableId, Vec<Candidate>, SortOrder)],
    options: &RewriteOptions,
) -> Option<(TableId, Vec<SegmentId>)> {
    let mut by_runs: Vec<_> = tables.iter().collect();
    by_runs.sort_by_key(|(table, candidates, _)| {
        (std::cmp::Reverse(deepest(candidates).len()), *table)
    });
    by_runs.into_iter().find_map(|(table, candidates, order)| {
        Some((*table, compaction(candidates, order, options, Effort::Lazy)?))
    })
}

#[cfg(test)]
mod tests;
