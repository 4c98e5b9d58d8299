//! Rows by their keys.

use arrow::array::{AsArray, Int32Array, Int64Array, StringViewArray};

use super::*;
use crate::{
    storage::{
        codec::key::EncodedKeys,
        segment::{Answer, Held, ROW_GROUP_ROWS},
        testing::Seeded,
    },
    types::NumericShape,
};

fn keys_of(schema: &TableSchema, columns: &[ArrayRef]) -> EncodedKeys {
    let key = schema.key().expect("a key").iter().map(|n| Arc::clone(&columns[*n]));
    schema.key_encoder().expect("a key").encode_all(&key.collect::<Vec<_>>()).expect("keys")
}

/// Even numbers as the key, and a text.
fn even(rows: i64) -> (Arc<TableSchema>, Vec<ArrayRef>) {
    let schema = table(columns_of([PgType::Int8, PgType::Text]), Some(vec![0]));
    let texts = (0..rows).map(|n| Some(format!("the text of {n}")));
    let columns: Vec<ArrayRef> = vec![
        Arc::new(Int64Array::from_iter_values((0..rows).map(|n| n * 2))),
        Arc::new(texts.collect::<StringViewArray>()),
    ];
    (schema, columns)
}

fn encoded(schema: &TableSchema, numbers: impl IntoIterator<Item = i64>) -> Vec<Vec<u8>> {
    let column: ArrayRef = Arc::new(Int64Array::from_iter_values(numbers));
    let encoder = schema.key_encoder().expect("a key");
    encoder.encode_all(&[column]).expect("keys").iter().map(<[u8]>::to_vec).collect()
}

/// Queries run on several threads.
fn for_any_thread<F: Future + Send>(future: F) -> F {
    future
}

#[test]
fn every_key_is_found_and_no_other() {
    let rows = ROW_GROUP_ROWS as i64 * 2 + 1_500;
    let (schema, columns) = even(rows);
    let memory = Memory::default();
    let meta = write(&memory, &schema, &columns);
    for budget_bytes in [0, 1 << 30] {
        let segment = open(&store(&memory, budget_bytes), &meta, &schema);
        // Every row of the last row group and around where the others begin and end.
        let edges = [0, 1_023, 1_024, 98_303, 98_304, 98_305, 196_607, 196_608];
        let numbers: Vec<i64> = edges.into_iter().chain(196_608..rows).collect();
        let keys = encoded(&schema, numbers.iter().map(|n| n * 2));
        let found = block_on(segment.find(&keys)).expect("rows");
        let expected: Vec<Range<u32>> = numbers.iter().map(|n| *n as u32..*n as u32 + 1).collect();
        assert_eq!(found, expected);
        let absent = encoded(&schema, numbers.iter().map(|n| n * 2 + 1).chain([-2, i64::MAX]));
        let found = block_on(segment.find(&absent)).expect("no rows");
        assert!(found.iter().all(|rows| rows.is_empty()));
    }
}

#[test]
fn a_cold_key_costs_three_requests_and_a_warm_one_none() {
    let (schema, columns) = even(ROW_GROUP_ROWS as i64 * 3);
    let memory = Memory::default();
    let meta = write(&memory, &schema, &columns);
    let store = store(&memory, 1 << 30);
    memory.requests();
    let segment = open(&store, &meta, &schema);
    let read = everything(&[1, 0]);
    let lookup = |number: i64| {
        let key = encoded(&schema, [number]);
        block_on(for_any_thread(segment.lookup(&schema, &read, &key))).expect("a row")
    };
    let (rows, found) = lookup(150_000 * 2);
    assert_eq!(rows, [150_000..150_001]);
    assert_eq!(found.batch.column(0).as_string_view().value(0), "the text of 150000");
    assert_eq!(found.row_ids.expect("asked for").value(0), 151_000);
    assert_eq!(memory.requests(), 3, "footer and index, filter, pages");
    // A neighbour needs pages only, and then all of the columns are in memory.
    assert_eq!(lookup(150_003 * 2).0, [150_003..150_004]);
    assert_eq!(memory.requests(), 1);
    for n in [100_000, 120_000, 196_607] {
        assert_eq!(lookup(n * 2).0, [n as u32..n as u32 + 1]);
    }
    assert_eq!(memory.requests(), 0);
    // An absent key ends at the filter; one out of range before it.
    assert!(lookup(150_000 * 2 + 1).0[0].is_empty());
    assert!(lookup(-1).0[0].is_empty());
    assert_eq!(memory.requests(), 0);
    let bytes = memory.0.bytes.load(Ordering::Relaxed);
    assert!(bytes < 1_500_000, "{bytes} bytes were read");
}

#[test]
fn answers_from_memory_say_what_they_need() {
    let (schema, columns) = even(5_000);
    let memory = Memory::default();
    let meta = write(&memory, &schema, &columns);
    // What is warmed is held, although there is no budget for it.
    let segment = open(&store(&memory, 0), &meta, &schema);
    let key = encoded(&schema, [4_000]);
    let mut held = Held::default();
    let Answer::Cold(needs) = segment.find_now(&key, Seek::default(), &held).expect("an answer")
    else {
        panic!("the filter is not in memory");
    };
    block_on(segment.warm(needs, &mut held)).expect("warm");
    assert_eq!(segment.may_contain(&key[0], &held), Answer::Here(true));
    let Answer::Cold(needs) = segment.find_now(&key, Seek::default(), &held).expect("an answer")
    else {
        panic!("the key is not in memory");
    };
    block_on(segment.warm(needs, &mut held)).expect("warm");
    let found = segment.find_now(&key, Seek::default(), &held).expect("an answer");
    assert_eq!(found, Answer::Here(vec![2_000..2_001]));
    let read = Projection { columns: &[1], ..Projection::default() };
    let Answer::Cold(needs) = segment.fetch_now(&schema, &read, &[2_000], &held).expect("one")
    else {
        panic!("the text is not in memory");
    };
    block_on(segment.warm(needs, &mut held)).expect("warm");
    let answer = segment.fetch_now(&schema, &read, &[2_000], &held).expect("one");
    let Answer::Here(rows) = answer else { panic!("it was warmed") };
    assert_eq!(rows.batch.column(0).as_string_view().value(0), "the text of 2000");
}

/// Keys of several columns, of which the first does not tell anything, with versions of rows.
#[test]
fn long_keys_with_versions_are_found() {
    let money = PgType::Numeric(Some(NumericShape { precision: 12, scale: 3 }));
    let types = [PgType::Text, PgType::Int4, money];
    let schema = table(columns_of(types), Some(vec![1, 0, 2]));
    let mut random = Seeded(9);
    let mut rows: Vec<(i32, String, i128)> = (0..30_000)
        .map(|_| {
            let text = format!("{}{}", "x".repeat(70), random.below(5_000));
            (7, text, i128::from(random.below(4)) - 2)
        })
        .collect();
    rows.sort();
    // A key with so many versions that several fences show it.
    let popular = rows[10_000].clone();
    rows.splice(10_000..10_000, std::iter::repeat_n(popular, 3_000));
    let amounts = rows.iter().map(|row| row.2).collect::<arrow::array::Decimal128Array>();
    let columns: Vec<ArrayRef> = vec![
        Arc::new(rows.iter().map(|row| Some(row.1.as_str())).collect::<StringViewArray>()),
        Arc::new(Int32Array::from_iter_values(rows.iter().map(|row| row.0))),
        Arc::new(amounts.with_precision_and_scale(12, 3).expect("a shape")),
    ];
    let memory = Memory::default();
    let meta = write(&memory, &schema, &columns);
    let keys = keys_of(&schema, &columns);
    for budget_bytes in [0, 1 << 30] {
        let segment = open(&store(&memory, budget_bytes), &meta, &schema);
        let numbers = (0..60).map(|_| random.below(rows.len() as u64) as usize);
        let numbers: Vec<usize> = numbers.chain([0, 10_000, 12_999, rows.len() - 1]).collect();
        let wanted: Vec<&[u8]> = numbers.iter().map(|n| keys.get(*n)).collect();
        let found = block_on(segment.find(&wanted)).expect("rows");
        for (key, found) in wanted.iter().zip(found) {
            let all = || keys.iter().enumerate().filter(|(_, other)| other == key).map(|(n, _)| n);
            let (first, last) = (all().next().expect("it is there"), all().last().expect("one"));
            assert_eq!(found, first as u32..last as u32 + 1);
        }
        for number in numbers {
            let between = segment.rows_between(Some(keys.get(number)), Some(keys.get(number)));
            assert!(between.contains(&(number as u32)));
        }
        let after = [keys.get(keys.len() - 1), &[1]].concat();
        assert!(segment.rows_between(Some(&after), None).len() <= 1_024);
        assert_eq!(segment.rows_between(None, None), 0..meta.rows);
    }
}

#[test]
fn row_ids_are_keys_where_there_is_no_other() {
    let schema = table(columns_of([PgType::Int4]), None);
    let column: ArrayRef = Arc::new(Int32Array::from_iter_values(0..5_000));
    let memory = Memory::default();
    let inherited = write(&memory, &schema, &[Arc::clone(&column)]);
    let key = |id: u64| id.to_be_bytes();
    let segment = open(&store(&memory, 0), &inherited, &schema);
    let keys = [key(1_000), key(5_999), key(999), key(6_000), key(3_456)];
    let found = block_on(segment.find(&keys)).expect("rows");
    assert_eq!(found, [0..1, 4_999..5_000, 0..0, 0..0, 2_456..2_457]);
    assert_eq!((inherited.filters, memory.requests()), (None, 1));
    // With gaps they are stored, and searched.
    let ids: Vec<RowId> = (0..5_000).map(|n| RowId(n * 3 + 10)).collect();
    let options =
        SegmentOptions { row_ids: RowIdColumn::Stored { first: RowId(10) }, ..options(&schema) };
    let stored = write_as(&memory, options, &[column], &ids, &[]).expect("a segment");
    for budget_bytes in [0, 1 << 20] {
        let segment = open(&store(&memory, budget_bytes), &stored, &schema);
        let keys = [key(10), key(10 + 4_999 * 3), key(11), key(9), key(10 + 1_024 * 3)];
        let found = block_on(segment.find(&keys)).expect("rows");
        assert_eq!(found, [0..1, 4_999..5_000, 0..0, 0..0, 1_024..1_025]);
    }
}
