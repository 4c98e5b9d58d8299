//! Whatever happened to an object, it is an error that names it, and nothing else.

use arrow::array::{Int64Array, StringViewArray};
use glaredb_txn::codec::{Reader, Writer, checksum};

use super::{round_trip::every_type, *};
use crate::storage::{objects::CachedObjects, segment::Extent, testing::Seeded};

/// Two columns and a key: few bytes, but all that a segment may have.
fn small() -> (Arc<TableSchema>, Memory, Arc<SegmentMeta>) {
    let schema = table(columns_of([PgType::Int8, PgType::Text]), Some(vec![0]));
    let columns: Vec<ArrayRef> = vec![
        Arc::new(Int64Array::from_iter_values((0..300).map(|n| n * n))),
        Arc::new((0..300).map(|n| Some(format!("t{}", n % 4))).collect::<StringViewArray>()),
    ];
    let memory = Memory::default();
    let options = SegmentOptions {
        row_ids: RowIdColumn::Stored { first: RowId(0) },
        timestamps: TimestampColumn::Stored,
        ..options(&schema)
    };
    let ids: Vec<RowId> = (0..300).map(|n| RowId(n ^ 3)).collect();
    let times: Vec<Timestamp> = (0..300).map(|n| Timestamp(n / 7)).collect();
    let meta = write_as(&memory, options, &columns, &ids, &times).expect("a segment");
    (schema, memory, meta)
}

/// Everything that can be read of a segment.
fn read_everything(
    memory: &Memory,
    meta: &Arc<SegmentMeta>,
    schema: &TableSchema,
) -> Result<(), StorageError> {
    read_everything_in(&store(memory, 1 << 20), meta, schema)
}

fn read_everything_in(
    store: &SegmentStore,
    meta: &Arc<SegmentMeta>,
    schema: &TableSchema,
) -> Result<(), StorageError> {
    let segment = block_on(store.open(SegmentId(1), meta, schema))?;
    let columns: Vec<usize> = schema.live().to_vec();
    read_all(&segment, schema, &everything(&columns))?;
    if schema.key().is_some() {
        block_on(segment.find(&[&meta.keys.0, &meta.keys.1]))?;
    }
    Ok(())
}

/// A cache has other bytes than the store, wherever they are.
#[test]
fn what_is_damaged_in_the_cache_is_read_again() {
    let (schema, memory, meta) = small();
    let whole = memory.body(&meta.name);
    for at in (4..whole.len()).step_by(97) {
        let mut damaged = whole.to_vec();
        damaged[at] ^= 4;
        memory.set(&meta.name, damaged);
        let cached = CachedObjects::open(Arc::new(memory.clone()), 1 << 24, 0, "none".into());
        let cached = Arc::new(cached.expect("threads"));
        block_on(cached.read_ranges(&meta.name, &[0..meta.bytes])).expect("read");
        memory.set(&meta.name, whole.clone());
        let store = SegmentStore { objects: cached.clone(), ..store(&memory, 0) };
        read_everything_in(&store, &meta, &schema).expect("the store has it as it was");
        assert_eq!(cached.figures().cache.expect("a cache").damaged, 1, "byte {at}");
    }
}

#[test]
fn every_changed_byte_is_noticed() {
    let (schema, memory, meta) = small();
    let whole = memory.body(&meta.name).to_vec();
    read_everything(&memory, &meta, &schema).expect("it is whole");
    let mut random = Seeded(1);
    // Parquet's magic at the front is the only thing that nobody reads.
    for at in 4..whole.len() {
        let mut damaged = whole.clone();
        damaged[at] ^= 1 << random.below(8);
        memory.set(&meta.name, damaged);
        let error = read_everything(&memory, &meta, &schema).expect_err("byte was changed");
        let StorageError::CorruptObject { name, reason } = error else { panic!("{error}") };
        assert_eq!(name, meta.name.as_str());
        assert!(reason.contains("CRC32C"), "byte {at}: {reason}");
    }
}

#[test]
fn every_missing_end_is_noticed() {
    let (schema, memory, meta) = small();
    let whole = memory.body(&meta.name);
    for len in (0..whole.len()).step_by(7) {
        memory.set(&meta.name, whole.slice(..len));
        let error = read_everything(&memory, &meta, &schema).expect_err("bytes are missing");
        assert!(error.to_string().contains(meta.name.as_str()), "{error}");
    }
    memory.delete(&meta.name).expect("deleted");
    let error = read_everything(&memory, &meta, &schema).expect_err("it is gone");
    let gone = format!("object {0}: object {0} does not exist", meta.name);
    assert_eq!(error.to_string(), gone);
}

#[test]
fn foreign_and_newer_segments_are_refused_by_name() {
    let (schema, memory, meta) = small();
    let open = |store: &SegmentStore, meta: &Arc<SegmentMeta>| {
        let opened = block_on(store.open(SegmentId(1), meta, &schema)).err();
        opened.expect("refused").to_string()
    };
    let foreign = SegmentStore { database: DatabaseId(0xabc), ..store(&memory, 0) };
    let error = open(&foreign, &meta);
    let database = "it is of database 000000000000000000000000000005e6, not \
                    00000000000000000000000000000abc";
    assert_eq!(error, format!("object {}: {database}", meta.name));
    let other = Arc::new(SegmentMeta { table: TableId(8), ..meta.as_ref().clone() });
    assert!(open(&store(&memory, 0), &other).contains("it is of table table7, not table8"));
    // A footer of version 2, in place.
    let body = memory.body(&meta.name).to_vec();
    let key = b"glaredb.format_version";
    let at = body.windows(key.len()).position(|bytes| bytes == key).expect("a version");
    let digit = at + key.len() + 2;
    let mut newer = body.clone();
    assert_eq!(newer[digit], b'1');
    newer[digit] = b'2';
    let tail = Extent { crc: checksum(&newer[meta.tail.offset as usize..]), ..meta.tail };
    memory.set(&meta.name, newer);
    let meta = Arc::new(SegmentMeta { tail, ..meta.as_ref().clone() });
    let newer = "format version 2; this server reads 1";
    assert_eq!(open(&store(&memory, 0), &meta), format!("object {}: {newer}", meta.name));
}

#[test]
fn damaged_descriptions_never_panic() {
    let (columns, arrays) = every_type(300, 3);
    let schema = table(columns, Some(vec![3, 9]));
    let order: ArrayRef = Arc::new(Int64Array::from_iter_values(0..300));
    let mut arrays = arrays;
    arrays[3] = order;
    let memory = Memory::default();
    let meta = write(&memory, &schema, &arrays);
    let mut out = Writer::new();
    meta.encode(&mut out);
    let whole = out.into_vec();
    let decoded = SegmentMeta::decode(&mut Reader::new(&whole)).expect("a description");
    assert_eq!(&decoded, meta.as_ref());
    let mut random = Seeded(4);
    for len in (0..whole.len()).step_by(37) {
        assert!(SegmentMeta::decode(&mut Reader::new(&whole[..len])).is_err());
    }
    for _ in 0..2_000 {
        let mut damaged = whole.clone();
        let at = random.below(whole.len() as u64) as usize;
        damaged[at] ^= 1 << random.below(8);
        let Ok(meta) = SegmentMeta::decode(&mut Reader::new(&damaged)) else { continue };
        for (column, statistics) in schema.columns().iter().zip(&meta.columns) {
            let bounds = statistics.bounds.iter().flat_map(|bounds| [&bounds.min, &bounds.max]);
            bounds.for_each(|bound| drop(bound.to_array(&column.pg_type)));
            let _ = statistics.distinct.distinct();
        }
    }
}
