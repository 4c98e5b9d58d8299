//! Numbers for `docs/measurements.md`: rows of lineitem, written, read and looked up.
//!
//! `GLAREDB_LINEITEM=lineitem.parquet` (of `tpchgen-cli parquet`), and run with `--run-ignored all`.

use std::time::Duration;

use arrow::{array::RecordBatch, compute};
use glaredb_txn::env::{Clock, SystemClock};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

use super::*;
use crate::{
    storage::{
        segment::{Decimals, KeyFilter, key_hash},
        testing::Seeded,
    },
    types::NumericShape,
};

fn timed<T>(work: impl FnOnce() -> T) -> (Duration, T) {
    let begin = SystemClock.monotonic();
    let done = work();
    (SystemClock.monotonic().saturating_sub(begin), done)
}

fn lineitem() -> Arc<TableSchema> {
    let money = || PgType::Numeric(Some(NumericShape { precision: 15, scale: 2 }));
    let types = [
        PgType::Int8,
        PgType::Int8,
        PgType::Int8,
        PgType::Int4,
        money(),
        money(),
        money(),
        money(),
        PgType::Bpchar(Some(1)),
        PgType::Bpchar(Some(1)),
        PgType::Date,
        PgType::Date,
        PgType::Date,
        PgType::Bpchar(Some(25)),
        PgType::Bpchar(Some(10)),
        PgType::Varchar(Some(44)),
    ];
    table(columns_of(types), Some(vec![0, 3]))
}

fn rows(schema: &TableSchema) -> Vec<RecordBatch> {
    let path = std::env::var("GLAREDB_LINEITEM").expect("GLAREDB_LINEITEM is set");
    let file = std::fs::File::open(path).expect("a file");
    let reader = ParquetRecordBatchReaderBuilder::try_new(file).expect("Parquet");
    let batches = reader.with_batch_size(8_192).build().expect("Parquet");
    let convert = |batch: RecordBatch| {
        let columns = batch.columns().iter().zip(schema.columns());
        let columns = columns.map(|(column, of)| compute::cast(column, &of.pg_type.arrow_type()));
        let columns: Vec<ArrayRef> = columns.collect::<Result<_, _>>().expect("a cast");
        super::batch(schema, &columns)
    };
    batches.map(|found| convert(found.expect("a batch"))).collect()
}

#[test]
#[ignore = "measures: needs GLAREDB_LINEITEM"]
fn measure_lineitem() {
    let schema = lineitem();
    let batches = rows(&schema);
    let memory = Memory::default();
    let (took, meta) = timed(|| {
        let options = options(&schema);
        let object = memory.create(&options.name).expect("an object");
        let mut writer = SegmentWriter::new(options, object).expect("a writer");
        batches.iter().for_each(|batch| writer.write(batch, &[], &[]).expect("rows"));
        Arc::new(writer.finish().expect("a segment"))
    });
    println!("{} rows written in {took:?}: {} bytes", meta.rows, meta.bytes);
    println!("tail {} bytes, filters {:?}", meta.tail.len, meta.filters.map(|f| f.len));
    if let Some(path) = std::env::var_os("GLAREDB_SEGMENT_OUT") {
        std::fs::write(path, memory.body(&meta.name)).expect("written");
    }
    let store = store(&memory, 1 << 30);
    let (took, segment) = timed(|| open(&store, &meta, &schema));
    println!("opened in {took:?}, {} bytes in memory", segment.memory_bytes());
    let all: Vec<usize> = (0..16).collect();
    let read = Projection { columns: &all, decimals: Decimals::Narrow, ..<_>::default() };
    for what in ["cold", "resident"] {
        let (took, _) = timed(|| read_all(&segment, &schema, &read).expect("rows"));
        println!("{what} scan of all columns in {took:?}");
    }
    println!("{:?}", store.resident.metrics());
    let keys: Vec<Vec<u8>> = {
        let encoder = schema.key_encoder().expect("a key");
        let key = |batch: &RecordBatch| [0, 3].map(|n| Arc::clone(batch.column(n)));
        let keys = batches.iter().map(|batch| encoder.encode_all(&key(batch)).expect("keys"));
        keys.flat_map(|keys| keys.iter().map(<[u8]>::to_vec).collect::<Vec<_>>()).collect()
    };
    let mut random = Seeded(1);
    let mut some = || keys[random.below(keys.len() as u64) as usize].clone();
    let (took, ()) = timed(|| {
        for _ in 0..2_000 {
            let found = block_on(segment.lookup(&schema, &read, &[some()])).expect("a row");
            assert_eq!(found.1.batch.num_rows(), 1);
        }
    });
    println!("resident lookup of 16 columns: {:?}", took / 2_000);
    let (took, ()) = timed(|| {
        for _ in 0..2_000 {
            assert!(!block_on(segment.find(&[some()])).expect("a row")[0].is_empty());
        }
    });
    println!("resident find: {:?}", took / 2_000);
    let empty = super::store(&memory, 0);
    let cold = open(&empty, &meta, &schema);
    let before = memory.0.bytes.swap(0, Ordering::Relaxed);
    let (took, ()) = timed(|| {
        for _ in 0..200 {
            block_on(cold.lookup(&schema, &read, &[some()])).expect("a row");
        }
    });
    let bytes = memory.0.bytes.swap(before, Ordering::Relaxed) / 200;
    println!("cold lookup of 16 columns: {:?}, {bytes} bytes", took / 200);
    let hashes: Vec<u64> = keys.iter().map(|key| key_hash(key)).collect();
    let parts: Vec<Vec<u64>> = hashes.chunks(98_304).map(<[u64]>::to_vec).collect();
    let (took, _) = timed(|| parts.into_iter().map(KeyFilter::build).collect::<Vec<_>>());
    println!("filters of a million keys: {:?}", took.mul_f64(1e6 / hashes.len() as f64));
}
