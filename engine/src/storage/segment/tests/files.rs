//! A segment as it lies on disk. `GOLDEN_WRITE=1` writes the files anew.

use std::path::{Path, PathBuf};

use arrow::array::{Int64Array, StringViewArray};
use glaredb_txn::codec::{Reader, Writer};

use super::{round_trip::every_type, *};
use crate::storage::segment::{ROW_ID_FIELD, SortOrder, TIMESTAMP_FIELD};

const ROWS: usize = 40;

fn path(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src/storage/segment/golden").join(name)
}

/// All types after a key of two columns.
fn rows() -> (Arc<TableSchema>, Vec<ArrayRef>, Vec<RowId>, Vec<Timestamp>) {
    let (columns, mut arrays) = every_type(ROWS, 42);
    let mut types: Vec<PgType> = vec![PgType::Int8, PgType::Varchar(Some(20))];
    types.extend(columns.into_iter().map(|column| column.pg_type));
    let texts = (0..ROWS).map(|n| Some(format!("key {n:02}")));
    arrays.insert(0, Arc::new(Int64Array::from_iter_values((0..ROWS).map(|n| n as i64 / 4))));
    arrays.insert(1, Arc::new(texts.collect::<StringViewArray>()));
    let ids = (0..ROWS as u64).map(|n| RowId(if n % 3 == 0 { 900 - n } else { n + 10 }));
    let times = (0..ROWS as u64).map(|n| Timestamp::from_millis(1_700_000_000_000 + n / 5));
    (table(columns_of(types), Some(vec![0, 1])), arrays, ids.collect(), times.collect())
}

/// Bytes that were written once are read for ever.
#[test]
fn golden_segment() {
    let (schema, arrays, ids, times) = rows();
    let (object, description) = (path("segment.parquet"), path("segment_meta.bin"));
    if std::env::var_os("GOLDEN_WRITE").is_some() {
        let memory = Memory::default();
        let options = SegmentOptions {
            row_ids: RowIdColumn::Stored { first: RowId(10) },
            timestamps: TimestampColumn::Stored,
            ..options(&schema)
        };
        let meta = write_as(&memory, options, &arrays, &ids, &times).expect("a segment");
        let mut out = Writer::new();
        meta.encode(&mut out);
        std::fs::write(&object, memory.body(&meta.name)).expect("written");
        std::fs::write(&description, out.as_slice()).expect("written");
    }
    let meta = std::fs::read(&description).expect("the golden file is there");
    let meta = Arc::new(SegmentMeta::decode(&mut Reader::new(&meta)).expect("a description"));
    assert_eq!(meta.sort_order, SortOrder::Key(vec![1, 2]));
    let memory = Memory::default();
    memory.set(&meta.name, std::fs::read(&object).expect("the golden file is there"));
    let segment = open(&store(&memory, 0), &meta, &schema);
    let found = block_on(segment.read(&schema, &everything(schema.live()), 0, None));
    let found = found.expect("rows");
    assert_eq!(found.batch, batch(&schema, &arrays));
    let found_ids = found.row_ids.expect("asked for");
    assert!(found_ids.values().iter().copied().eq(ids.iter().map(|id| id.0)));
    let found_times = found.timestamps.expect("asked for");
    assert!(found_times.values().iter().copied().eq(times.iter().map(|at| at.0)));
    // The same values have the same statistics, keys and filter now.
    let again = Memory::default();
    let options = SegmentOptions {
        row_ids: RowIdColumn::Stored { first: RowId(10) },
        timestamps: TimestampColumn::Stored,
        ..options(&schema)
    };
    let written = write_as(&again, options, &arrays, &ids, &times).expect("a segment");
    assert_eq!((&written.columns, &written.keys), (&meta.columns, &meta.keys));
    let key = [&meta.keys.0, &meta.keys.1];
    assert_eq!(block_on(segment.find(&key)).expect("rows"), [0..1, 39..40]);
}

/// What the footer says to other readers.
#[test]
fn the_footer_has_ids_order_and_statistics() {
    let (schema, arrays, ids, times) = rows();
    let memory = Memory::default();
    let options = SegmentOptions {
        row_ids: RowIdColumn::Stored { first: RowId(10) },
        timestamps: TimestampColumn::Stored,
        ..options(&schema)
    };
    let meta = write_as(&memory, options, &arrays, &ids, &times).expect("a segment");
    let segment = open(&store(&memory, 0), &meta, &schema);
    let metadata = segment.parquet_metadata();
    let fields = metadata.file_metadata().schema().get_fields();
    let found: Vec<u32> = fields.iter().map(|f| f.get_basic_info().id() as u32).collect();
    let columns = schema.columns().iter().map(|column| column.id);
    let expected: Vec<u32> = columns.chain([ROW_ID_FIELD, TIMESTAMP_FIELD]).collect();
    assert_eq!(found, expected);
    let group = metadata.row_group(0);
    let sorted = group.sorting_columns().expect("an order");
    let sorted: Vec<_> = sorted.iter().map(|c| (c.column_idx, c.descending)).collect();
    assert_eq!(sorted, [(0, false), (1, false)]);
    let (index, offsets) = (metadata.column_index(), metadata.offset_index());
    assert_eq!(index.map(Vec::len), Some(1));
    assert_eq!(offsets.map(|groups| groups[0].len()), Some(group.num_columns()));
    let statistics = group.column(0).statistics().expect("statistics");
    assert_eq!(statistics.min_bytes_opt(), Some(&0_i64.to_le_bytes()[..]));
    assert_eq!(statistics.max_bytes_opt(), Some(&9_i64.to_le_bytes()[..]));
    assert!(segment.memory_bytes() > 10_000);
}
