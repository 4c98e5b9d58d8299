use std::{collections::BTreeMap, sync::Arc};

use arrow::{
    array::{ArrayRef, Int64Array, RecordBatch, StringArray},
    datatypes::{DataType, Field, Schema},
};
use bytes::Bytes;
use glaredb_txn::{
    codec::Writer,
    ids::{CommitId, EntryIndex, JobId, LogId, Position, RowId, SegmentId, Term, Timestamp},
};

use super::{
    envelope::{self, Kind},
    manifest::{ChunkReference, ObjectReference, Section, TableManifest},
    section::{ChunkFate, ChunkRows, decode_fates, encode_fates},
    *,
};
use crate::storage::{
    objects::ObjectName,
    remap::NewPlace,
    state::{BlockImage, OpenJob, SegmentImage},
};

const DATABASE: DatabaseId = DatabaseId(0x0123_4567_89ab_cdef_0011_2233_4455_6677);

fn name(text: &str) -> ObjectName {
    ObjectName::new(text).expect("valid")
}

fn manifest() -> Manifest {
    let at = Position::new(LogId(0), EntryIndex(1234), 5);
    let section = |object, offset, length| Section { object, offset, length };
    Manifest {
        number: 7,
        at,
        timestamp: Timestamp::from_millis(1_700_000_000_000),
        term: Term(3),
        replay_from: EntryIndex(1200),
        open_parts: vec![(
            CommitId { term: Term(2), start: 99, number: 100 },
            Position::new(LogId(0), EntryIndex(1200), 1),
        )],
        horizon: Timestamp::from_millis(1_699_999_999_000),
        next_segment: SegmentId(44),
        catalog: Bytes::from_static(b"catalog"),
        commit_ids: Bytes::from_static(b"ids"),
        objects: vec![
            ObjectReference { name: name("checkpoint/a-sealed-0"), size: 5000, crc: 0xdead_beef },
            ObjectReference { name: name("checkpoint/b-open-1"), size: 900, crc: 1 },
        ],
        tables: vec![TableManifest {
            table: TableId(12),
            next_row_id: RowId(100_000),
            state_hash: 0x1122_3344_5566_7788,
            rows_live: 70_000,
            chunks: vec![
                ChunkReference {
                    segment: SegmentId(40),
                    sealed: true,
                    rows_placed: 65_536,
                    rows_written: 65_000,
                    section: section(0, 64, 4000),
                },
                ChunkReference {
                    segment: SegmentId(43),
                    sealed: false,
                    rows_placed: 10,
                    rows_written: 10,
                    section: section(1, 64, 300),
                },
            ],
            segments: vec![SegmentImage {
                segment: SegmentId(12),
                rows: 900,
                fingerprint: 0x0102_0304_0506_0708,
                meta: Bytes::from_static(b"meta"),
                settled: [0, 5, 899].into_iter().collect(),
                recent: vec![(3, Timestamp(1 << 50)), (4, Timestamp(1 << 49))],
                bulk: Vec::new(),
            }],
            deletions: Some(section(1, 384, 20)),
        }],
        jobs: BTreeMap::from([(
            JobId(1 << 51),
            OpenJob {
                table: TableId(12),
                inputs: vec![SegmentId(12), SegmentId(40)],
                deletions: vec![(NewPlace { segment: 1, row: 70 }, Timestamp(1 << 52))],
                renewed: Timestamp::ZERO,
            },
        )]),
    }
}

/// What the version before this one wrote stays readable.
#[test]
fn a_manifest_without_segments_is_read() {
    let golden = Bytes::from_static(include_bytes!("golden/manifest-1.bin"));
    let mut expected = manifest();
    expected.jobs.clear();
    expected.tables[0].segments.clear();
    assert_eq!(Manifest::decode(&name("m"), DATABASE, &golden).expect("decodes"), expected);
}

/// The bytes of this test are the format: a change here needs a new format version.
#[test]
fn the_manifest_is_as_documented() {
    let object = manifest().encode(DATABASE);
    let golden: &[u8] = include_bytes!("golden/manifest.bin");
    assert!(object == golden, "{:02x?}", &object[..]);
    let read = Manifest::decode(&name("m"), DATABASE, &Bytes::from_static(golden));
    assert_eq!(read.expect("decodes"), manifest());
}

#[test]
fn a_damaged_manifest_is_refused_by_name() {
    let whole = manifest().encode(DATABASE);
    let decode = |bytes: Vec<u8>| Manifest::decode(&name("the/manifest"), DATABASE, &bytes.into());
    for length in 0..whole.len() {
        let error = decode(whole[..length].to_vec()).expect_err("cut off").to_string();
        assert!(error.contains("the/manifest"), "{error}");
    }
    for bit in 0..whole.len() * 8 {
        let mut flipped = whole.to_vec();
        flipped[bit / 8] ^= 1 << (bit % 8);
        decode(flipped).expect_err("a flipped bit");
    }
}

#[test]
fn a_newer_or_foreign_object_is_refused_by_name() {
    let seal = |w: Writer| envelope::finish(w).0;
    let mut newer = Writer::new();
    newer.raw(envelope::MAGIC).u32(3).u32(1).u128(DATABASE.0);
    let error = envelope::open(&name("o"), Kind::Manifest, DATABASE, &seal(newer));
    let error = error.expect_err("newer").to_string();
    assert_eq!(error, "object o has format version 3, this program knows 2");

    let foreign = seal(envelope::begin(Kind::Manifest, DatabaseId(5)));
    let error = envelope::open(&name("o"), Kind::Manifest, DATABASE, &foreign);
    assert!(matches!(error, Err(CheckpointError::Foreign { found: DatabaseId(5), .. })));

    let other_kind = seal(envelope::begin(Kind::Sections, DATABASE));
    let error = envelope::open(&name("o"), Kind::Manifest, DATABASE, &other_kind);
    assert!(matches!(error, Err(CheckpointError::Corrupt { .. })));
}

/// A valid CRC over a lie: the manifest is checked against itself.
#[test]
fn a_manifest_that_contradicts_itself_is_refused() {
    type Lie = fn(&mut Manifest);
    let lies: [Lie; 4] = [
        |m| m.tables[0].chunks[0].section.object = 2,
        |m| m.tables[0].chunks[0].section.length = 4937,
        |m| m.tables[0].deletions.as_mut().expect("some").offset = u64::MAX,
        |m| m.replay_from = EntryIndex(1235),
    ];
    for lie in lies {
        let mut manifest = manifest();
        lie(&mut manifest);
        let object = manifest.encode(DATABASE);
        let error = Manifest::decode(&name("m"), DATABASE, &object);
        assert!(matches!(error, Err(CheckpointError::Corrupt { .. })), "{error:?}");
    }
}

fn schema() -> Arc<Schema> {
    Arc::new(Schema::new(vec![
        Field::new("a", DataType::Int64, true),
        Field::new("b", DataType::Utf8, true),
    ]))
}

/// Rows `numbers` of a chunk: row n holds n and, unless n is a multiple of 3, its text.
fn block(numbers: &[u32]) -> BlockImage {
    let a: Int64Array = numbers.iter().map(|n| Some(i64::from(*n))).collect();
    let b: StringArray = numbers.iter().map(|n| (n % 3 != 0).then(|| n.to_string())).collect();
    let columns: Vec<ArrayRef> = vec![Arc::new(a), Arc::new(b)];
    BlockImage {
        batch: RecordBatch::try_new(schema(), columns).expect("fits"),
        rows: numbers.to_vec(),
        row_ids: numbers.iter().map(|n| RowId(1_000_000 - u64::from(*n) * 7)).collect(),
        begins: numbers.iter().map(|n| Timestamp(u64::from(n / 10) << 40)).collect(),
        deletions: Vec::new(),
    }
}

#[test]
fn rows_come_back_as_they_were() {
    let blocks = [block(&[0, 1, 2, 5, 6]), block(&[9, 10, 65_535])];
    let rows = ChunkRows::of(&blocks, &schema()).expect("joins");
    let mut w = Writer::new();
    rows.encode(&mut w).expect("encodes");
    let back = ChunkRows::decode(&w.into_bytes(), &schema()).expect("decodes");
    let back = back.into_block(None).expect("all rows");
    let expected = block(&[0, 1, 2, 5, 6, 9, 10, 65_535]);
    assert_eq!(back.batch, expected.batch);
    assert_eq!(back.rows, expected.rows);
    assert_eq!(back.row_ids, expected.row_ids);
    assert_eq!(back.begins, expected.begins);
}

#[test]
fn rows_that_are_gone_do_not_come_back() {
    let rows = ChunkRows::of(&[block(&[0, 1, 2, 5, 6])], &schema()).expect("one block");
    let deletions = vec![(2, Timestamp(77))];
    let fate = |present: &[u32]| ChunkFate {
        segment: SegmentId(1),
        present: Some(present.to_vec()),
        deletions: deletions.clone(),
    };
    let back = rows.into_block(Some(fate(&[1, 2, 6]))).expect("three rows");
    assert_eq!(back.batch, block(&[1, 2, 6]).batch);
    assert_eq!(back.row_ids, block(&[1, 2, 6]).row_ids);
    assert_eq!(back.deletions, deletions);

    let rows = ChunkRows::of(&[block(&[0, 1])], &schema()).expect("one block");
    rows.into_block(Some(fate(&[1, 4]))).expect_err("row 4 was never written");
}

#[test]
fn deletions_come_back_as_they_were() {
    let fates = vec![
        ChunkFate {
            segment: SegmentId(3),
            present: None,
            deletions: vec![(7, Timestamp(1 << 50)), (8, Timestamp((1 << 50) + 1))],
        },
        ChunkFate {
            segment: SegmentId(9),
            present: Some((0..100).chain(200..65_536).collect()),
            deletions: vec![],
        },
        ChunkFate { segment: SegmentId(11), present: Some(vec![]), deletions: vec![] },
    ];
    let mut w = Writer::new();
    encode_fates(&fates, &mut w);
    assert!(w.len() < 60, "{} bytes: runs are short", w.len());
    let bytes = w.into_vec();
    assert_eq!(decode_fates(&bytes).expect("decodes"), fates);
    for length in 0..bytes.len() {
        decode_fates(&bytes[..length]).expect_err("cut off");
    }
}

/// Damage inside a section never panics, whatever comes out (its object's CRC would have told).
#[test]
fn damaged_sections_do_not_panic() {
    let rows = ChunkRows::of(&[block(&[0, 1, 2, 5, 6])], &schema()).expect("one block");
    let mut w = Writer::new();
    rows.encode(&mut w).expect("encodes");
    let whole = w.into_vec();
    let columns = u64::from_le_bytes(whole[..8].try_into().expect("eight bytes")) as usize;
    for at in (0..8).chain(64 + columns..whole.len()) {
        for bit in 0..8 {
            let mut flipped = whole.clone();
            flipped[at] ^= 1 << bit;
            let _ = ChunkRows::decode(&flipped.into(), &schema());
        }
    }
    for length in 0..whole.len() {
        ChunkRows::decode(&Bytes::copy_from_slice(&whole[..length]), &schema())
            .expect_err("cut off");
    }
}

/// What an older build wrote stays readable.
#[test]
fn the_golden_section_is_read() {
    let golden = Bytes::from_static(include_bytes!("golden/rows.bin"));
    let back = ChunkRows::decode(&golden, &schema()).expect("decodes");
    assert_eq!(back.batch, block(&[0, 1, 2, 5, 6]).batch);
    assert_eq!(back.rows, [0, 1, 2, 5, 6]);
    let fates = decode_fates(include_bytes!("golden/deletions.bin")).expect("decodes");
    assert_eq!(fates, golden_fates());
}

fn golden_fates() -> Vec<ChunkFate> {
    let deletions = vec![(7, Timestamp(1 << 50))];
    vec![
        ChunkFate { segment: SegmentId(3), present: None, deletions },
        ChunkFate { segment: SegmentId(9), present: Some(vec![0, 1, 2, 8]), deletions: vec![] },
    ]
}

/// What is written today is what the golden files hold. `GOLDEN_WRITE=1` writes them anew, for a
/// new format version.
#[test]
fn golden_files_are_what_is_written() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/src/storage/checkpoint/golden");
    let anew = std::env::var_os("GOLDEN_WRITE").is_some();
    let write = |file: &str, bytes: &[u8]| {
        let path = format!("{folder}/{file}");
        if anew {
            std::fs::write(&path, bytes).expect("writable");
        }
        assert_eq!(std::fs::read(&path).expect("readable"), bytes, "{file}");
    };
    write("manifest.bin", &manifest().encode(DATABASE));
    let mut w = Writer::new();
    let rows = ChunkRows::of(&[block(&[0, 1, 2, 5, 6])], &schema()).expect("one block");
    rows.encode(&mut w).expect("encodes");
    write("rows.bin", w.as_slice());
    w.clear();
    encode_fates(&golden_fates(), &mut w);
    write("deletions.bin", w.as_slice());
}
