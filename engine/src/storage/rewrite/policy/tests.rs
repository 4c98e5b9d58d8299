//! The policy against a model of merging: segments as keys alone.

use std::collections::BTreeMap;

use bytes::Bytes;
use glaredb_txn::ids::{RowId, SchemaVersion, Timestamp};

use super::*;
use crate::storage::{objects::ObjectName, segment::Extent, testing::Seeded};

/// Rows that one key of the model stands for.
const UNIT: u64 = 50_000;

#[derive(Default)]
struct Model {
    /// Ascending keys of each segment.
    segments: BTreeMap<SegmentId, Vec<u64>>,
    next: u64,
    flushed: u64,
    written: u64,
}

impl Model {
    fn add(&mut self, mut keys: Vec<u64>) {
        keys.sort_unstable();
        self.next += 1;
        self.segments.insert(SegmentId(self.next), keys);
    }

    fn candidates(&self) -> Vec<Candidate> {
        let segments = self.segments.iter();
        segments.map(|(source, keys)| candidate(*source, keys, SortOrder::RowId)).collect()
    }

    fn merge(&mut self, inputs: &[SegmentId], options: &RewriteOptions) {
        assert!(inputs.is_sorted() && !inputs.is_empty());
        let mut keys: Vec<u64> =
            inputs.iter().flat_map(|input| self.segments.remove(input).unwrap()).collect();
        assert!(keys.len() as u64 * UNIT <= options.job_rows_max);
        self.written += keys.len() as u64;
        keys.sort_unstable();
        let rows = (u64::from(options.segment_rows_max) / UNIT) as usize;
        keys.chunks(rows).for_each(|keys| self.add(keys.to_vec()));
    }

    /// Flushes, and merges whatever is worth it after each. The most runs there were.
    fn live(&mut self, flushes: u64, mut keys: impl FnMut(u64) -> Vec<u64>) -> usize {
        let options = RewriteOptions::default();
        let mut runs = 0;
        for flush in 0..flushes {
            let keys = keys(flush);
            self.flushed += keys.len() as u64;
            self.add(keys);
            for job in 0.. {
                assert!(job < 100, "it comes to no end");
                let candidates = self.candidates();
                let inputs = compaction(&candidates, &SortOrder::RowId, &options, Effort::Lazy);
                let Some(inputs) = inputs else { break };
                self.merge(&inputs, &options);
            }
            runs = runs.max(deepest(&self.candidates()).len());
        }
        runs
    }

    /// All that can be done.
    fn compact(&mut self, options: &RewriteOptions) {
        for job in 0.. {
            assert!(job < 200, "it comes to no end");
            let candidates = self.candidates();
            let inputs = compaction(&candidates, &SortOrder::RowId, options, Effort::Full);
            let Some(inputs) = inputs else { break };
            self.merge(&inputs, options);
        }
    }

    fn write_amplification(&self) -> f64 {
        (self.flushed + self.written) as f64 / self.flushed as f64
    }
}

fn candidate(source: SegmentId, keys: &[u64], sort_order: SortOrder) -> Candidate {
    let key = |key: Option<&u64>| {
        Bytes::copy_from_slice(&key.expect("no segment is empty").to_be_bytes())
    };
    let rows = keys.len() as u64 * UNIT;
    let meta = SegmentMeta {
        name: ObjectName::new(format!("data/1/{}", source.0)).unwrap(),
        bytes: rows * 100,
        table: TableId(1),
        schema_version: SchemaVersion(1),
        sort_order,
        rows: rows as u32,
        tail: Extent { offset: 0, len: rows * 100, crc: 0 },
        filters: None,
        commits: (Timestamp(1), Timestamp(1)),
        row_ids: (RowId(0), RowId(0)),
        keys: (key(keys.first()), key(keys.last())),
        columns: Vec::new(),
    };
    Candidate { source, rows, dead: 0, meta: Arc::new(meta) }
}

fn random(random: &mut Seeded, count: u64) -> Vec<u64> {
    (0..count).map(|_| random.next()).collect()
}

#[test]
fn runs_stay_few_and_rows_are_seldom_rewritten() {
    let mut seeded = Seeded(3);
    let mut model = Model::default();
    let runs = model.live(400, |_| random(&mut seeded, 10));
    let (amplification, segments) = (model.write_amplification(), model.segments.len());
    assert!(runs <= 16, "{runs} runs");
    assert!(amplification <= 8.0, "200 million rows in random order: {amplification}");
    assert!(segments <= 200, "{segments} segments");
}

#[test]
fn rows_in_order_of_the_key_are_hardly_rewritten() {
    let mut model = Model::default();
    let runs = model.live(400, |flush| (flush * 10..flush * 10 + 10).collect());
    assert_eq!((runs, model.written), (1, 0));
    // Small segments become larger ones.
    let mut model = Model::default();
    model.live(400, |flush| (flush * 2..flush * 2 + 2).collect());
    let (amplification, segments) = (model.write_amplification(), model.segments.len());
    assert!(amplification <= 3.0, "{amplification}");
    assert!(segments <= 80, "{segments} segments");
}

#[test]
fn all_that_can_be_is_done_when_it_is_asked_for() {
    let (options, mut seeded) = (RewriteOptions::default(), Seeded(5));
    let mut model = Model::default();
    for _ in 0..30 {
        model.add(random(&mut seeded, 20));
    }
    model.compact(&options);
    assert_eq!(deepest(&model.candidates()).len(), 1);
}

/// Each row of a table in the order of its key, whose segments reach into their neighbours a little (rows
/// of one load lie in one chunk with those of the next), is written about once.
#[test]
fn neighbours_that_overlap_are_merged_in_one_go() {
    let options = RewriteOptions::default();
    let mut model = Model::default();
    for n in 0..50 {
        let own = (n * 13..n * 13 + 13).map(|key| 2 * key);
        model.add(own.chain([2 * (n + 1) * 13 + 3]).collect());
    }
    let rows: usize = model.segments.values().map(Vec::len).sum();
    model.compact(&options);
    assert_eq!(deepest(&model.candidates()).len(), 1);
    assert!(model.written <= rows as u64 * 5 / 4, "{} of {rows}", model.written);
}

/// Rows in random order, more than a job takes.
#[test]
fn wide_segments_are_merged_a_few_times() {
    let (options, mut seeded) = (RewriteOptions::default(), Seeded(7));
    let mut model = Model::default();
    for _ in 0..60 {
        model.add(random(&mut seeded, 20));
    }
    model.compact(&options);
    assert_eq!(deepest(&model.candidates()).len(), 1);
    assert!(model.written <= 60 * 20 * 4, "{}", model.written);
}

#[test]
fn what_is_sorted_otherwise_or_mostly_dead_comes_first() {
    let options = RewriteOptions::default();
    let keyed = SortOrder::Key(vec![1]);
    let at = |n: u64, order: &SortOrder| candidate(SegmentId(n), &[n, n], order.clone());
    let mut candidates = vec![at(1, &keyed), at(2, &keyed), at(3, &keyed)];
    let pick = |candidates: &[Candidate], effort| {
        compaction(candidates, &keyed, &options, effort).unwrap_or_default()
    };
    assert_eq!(pick(&candidates, Effort::Lazy), []);
    candidates[0].dead = 20_000;
    assert_eq!(pick(&candidates, Effort::Lazy), [], "a fifth");
    (candidates[1].dead, candidates[2].dead) = (30_000, 90_000);
    assert_eq!(pick(&candidates, Effort::Lazy), [SegmentId(3)], "most of it");
    candidates[2].dead = 0;
    assert_eq!(pick(&candidates, Effort::Lazy), [SegmentId(2)]);
    candidates[1].dead = 0;
    assert_eq!(pick(&candidates, Effort::Full), [SegmentId(1)]);
    candidates.push(at(4, &SortOrder::RowId));
    assert_eq!(pick(&candidates, Effort::Lazy), [SegmentId(4)]);
}
