//! What is written is read again.

use arrow::{
    array::{AsArray, Int32Array, Int64Array, StringViewArray, UInt32Array},
    compute,
    datatypes::{DataType, Decimal64Type, Decimal128Type},
};

use super::*;
use crate::{
    storage::{
        codec::tests as generators,
        segment::{Decimals, ROW_GROUP_ROWS},
        testing::Seeded,
    },
    types::{
        NumericShape,
        text::{ColumnBuilder, FormatSettings},
    },
};

/// Values of every type that a column may have, from those that the codecs are tested with.
pub(super) fn every_type(rows: usize, seed: u64) -> (Vec<ColumnSchema>, Vec<ArrayRef>) {
    let mut types: Vec<PgType> = Vec::new();
    let mut columns: Vec<ArrayRef> = Vec::new();
    let mut add = |schema: Vec<ColumnSchema>, arrays: Vec<ArrayRef>| {
        types.extend(schema.into_iter().map(|column| column.pg_type));
        columns.extend(arrays);
    };
    add(generators::schema(), generators::columns(rows, seed));
    add(generators::arrays::schema(), generators::arrays::columns(rows));
    add(generators::records::schema(), generators::records::columns(rows));
    let numeric = |precision, scale| PgType::Numeric(Some(NumericShape { precision, scale }));
    let others: [(PgType, &[&str]); 9] = [
        (PgType::Timetz(None), &["12:30:00+02", "23:59:59.999999-11:30"]),
        (PgType::Varchar(Some(9)), &["", "värchar"]),
        (PgType::Char, &["x", ""]),
        (PgType::Name, &["a_name", "another"]),
        (numeric(9, 4), &["-99999.9999", "0.0001"]),
        (numeric(18, 0), &["999999999999999999", "-1"]),
        (numeric(19, 1), &["123456789012345678.9", "-0.1"]),
        (numeric(38, 38), &["0.00000000000000000000000000000000000001", "-0.5"]),
        (PgType::Array(Arc::new(PgType::Interval(None))), &["{1 mon 2 days,-03:04:05}", "{}"]),
    ];
    let settings = FormatSettings::default();
    for (pg_type, texts) in others {
        let mut builder = ColumnBuilder::new(&pg_type, rows).expect("a type");
        for row in 0..rows {
            match texts.get(row % 3) {
                Some(text) => builder.append(text, &settings).expect("a value"),
                None => builder.append_null(),
            }
        }
        columns.push(builder.finish());
        types.push(pg_type);
    }
    (columns_of(types), columns)
}

#[test]
fn every_type_comes_back() {
    for rows in [1, 3, 2_500] {
        let (columns, arrays) = every_type(rows, 7);
        let schema = table(columns, None);
        let memory = Memory::default();
        let meta = write(&memory, &schema, &arrays);
        let segment = open(&store(&memory, 1 << 30), &meta, &schema);
        let all: Vec<usize> = (0..arrays.len()).collect();
        let expected = batch(&schema, &arrays);
        let (groups, read) = (segment.row_groups(), everything(&all));
        assert_eq!(groups, 1);
        // Cold, then from the resident form.
        for _ in 0..2 {
            let found = block_on(segment.read(&schema, &read, 0, None)).expect("rows");
            for (n, column) in schema.columns().iter().enumerate() {
                let (found, expected) = (found.batch.column(n), expected.column(n));
                assert_eq!(found, expected, "{}", column.pg_type.sql_name());
                assert_eq!(found.data_type(), &column.pg_type.arrow_type());
            }
            let ids = found.row_ids.expect("asked for");
            assert!(ids.values().iter().copied().eq(1_000..1_000 + rows as u64));
            let at = Timestamp::from_millis(77).0;
            assert_eq!(found.timestamps.expect("asked for").values().to_vec(), vec![at; rows]);
        }
    }
}

/// `select n * 2, n / 3.0, text` of so many rows, as columns int8 (the key), numeric(15, 2), text.
fn numbers(rows: i64) -> (Arc<TableSchema>, Vec<ArrayRef>) {
    let money = PgType::Numeric(Some(NumericShape { precision: 15, scale: 2 }));
    let schema = table(columns_of([PgType::Int8, money, PgType::Text]), Some(vec![0]));
    let amounts = (0..rows).map(|n| (n % 11 > 0).then_some(i128::from(n * 100 / 3)));
    let amounts = amounts.collect::<arrow::array::Decimal128Array>();
    let texts = (0..rows).map(|n| match n % 5 {
        0 => None,
        1 => Some(format!("the text of row {n}, too long for its view")),
        _ => Some(format!("t{}", n % 100)),
    });
    let columns: Vec<ArrayRef> = vec![
        Arc::new(Int64Array::from_iter_values((0..rows).map(|n| n * 2))),
        Arc::new(amounts.with_precision_and_scale(15, 2).expect("a shape")),
        Arc::new(texts.collect::<StringViewArray>()),
    ];
    (schema, columns)
}

#[test]
fn several_row_groups_and_any_selection_come_back() {
    let rows = ROW_GROUP_ROWS as i64 * 2 + 5_000;
    let (schema, columns) = numbers(rows);
    let memory = Memory::default();
    let meta = write(&memory, &schema, &columns);
    // Nothing stays in memory: all comes from pages.
    let segment = open(&store(&memory, 0), &meta, &schema);
    assert_eq!(segment.row_groups(), 3);
    let mut random = Seeded(11);
    for round in 0..40 {
        let group = random.below(3) as usize;
        let in_group = segment.row_group_rows(group);
        let total = in_group.len() as u64;
        let mut ranges: Vec<Range<u32>> = Vec::new();
        let mut at = random.below(total);
        let step = if round % 2 == 0 { 20_000 } else { 50 };
        while at < total && ranges.len() < 40 {
            let len = (1 + random.below(step)).min(total - at);
            ranges.push(at as u32..(at + len) as u32);
            at += len + 1 + random.below(step);
        }
        let read = everything(&[2, 0, 1]);
        let found = block_on(segment.read(&schema, &read, group, Some(&ranges))).expect("rows");
        let numbers: Vec<u32> = ranges.into_iter().flatten().map(|n| n + in_group.start).collect();
        let places = UInt32Array::from(numbers.clone());
        for (n, column) in [2, 0, 1].into_iter().enumerate() {
            let expected = compute::take(&columns[column], &places, None).expect("rows");
            assert_eq!(found.batch.column(n), &expected, "round {round}");
        }
        let ids = found.row_ids.expect("asked for");
        assert!(ids.values().iter().copied().eq(numbers.iter().map(|n| 1_000 + u64::from(*n))));
    }
}

#[test]
fn rows_are_fetched_in_the_order_asked_for() {
    let (schema, columns) = numbers(ROW_GROUP_ROWS as i64 + 3_000);
    let memory = Memory::default();
    let meta = write(&memory, &schema, &columns);
    let mut random = Seeded(5);
    for budget_bytes in [0, 1 << 30] {
        let segment = open(&store(&memory, budget_bytes), &meta, &schema);
        for round in 0..12 {
            let count = [0, 1, 2, 300][round % 4];
            let rows: Vec<u32> =
                (0..count).map(|_| random.below(u64::from(meta.rows)) as u32).collect();
            let read = everything(&[0, 1, 2]);
            let found = block_on(segment.fetch(&schema, &read, &rows)).expect("rows");
            let places = UInt32Array::from(rows.clone());
            for (n, column) in columns.iter().enumerate() {
                let expected = compute::take(column, &places, None).expect("rows");
                assert_eq!(found.batch.column(n), &expected);
            }
            let ids = found.row_ids.expect("asked for");
            assert!(ids.values().iter().copied().eq(rows.iter().map(|n| 1_000 + u64::from(*n))));
            assert_eq!(found.timestamps.expect("asked for").len(), rows.len());
        }
        let error = block_on(segment.fetch(&schema, &everything(&[0]), &[0, meta.rows]));
        assert!(error.unwrap_err().to_string().contains("row 101304 of segment data/7/"));
    }
}

#[test]
fn narrow_decimals_come_narrow_or_wide() {
    let (schema, columns) = numbers(3_000);
    let memory = Memory::default();
    let meta = write(&memory, &schema, &columns);
    let segment = open(&store(&memory, 1 << 20), &meta, &schema);
    let narrow = Projection { columns: &[1], decimals: Decimals::Narrow, ..<_>::default() };
    let found = block_on(segment.read(&schema, &narrow, 0, None)).expect("rows");
    assert_eq!(found.batch.schema().field(0).data_type(), &DataType::Decimal64(15, 2));
    let narrow = found.batch.column(0).as_primitive::<Decimal64Type>();
    let wide = columns[1].as_primitive::<Decimal128Type>();
    let widened = narrow.iter().map(|value| value.map(i128::from));
    assert!(widened.eq(wide.iter()));
}

#[test]
fn row_ids_and_timestamps_are_stored_where_they_differ() {
    let (schema, columns) = numbers(2_000);
    let memory = Memory::default();
    let mut random = Seeded(3);
    // A half of the ids are inherited.
    let ids: Vec<RowId> = (0..2_000)
        .map(|n| RowId(if random.below(2) == 0 { 500 + n } else { random.below(1 << 40) }))
        .collect();
    let times: Vec<Timestamp> = (0..2_000).map(|_| Timestamp(random.below(9))).collect();
    let options = SegmentOptions {
        row_ids: RowIdColumn::Stored { first: RowId(500) },
        timestamps: TimestampColumn::Stored,
        ..options(&schema)
    };
    let meta = write_as(&memory, options, &columns, &ids, &times).expect("a segment");
    assert_eq!(meta.commits, (Timestamp(0), Timestamp(8)));
    let range = (*ids.iter().min().expect("ids"), *ids.iter().max().expect("ids"));
    assert_eq!(meta.row_ids, range);
    for budget_bytes in [0, 1 << 30] {
        let segment = open(&store(&memory, budget_bytes), &meta, &schema);
        let read = everything(&[]);
        for rows in [None, Some(&[3..9, 700..701][..])] {
            let found = block_on(segment.read(&schema, &read, 0, rows)).expect("rows");
            let rows: Vec<usize> = match rows {
                None => (0..2_000).collect(),
                Some(rows) => rows.iter().cloned().flatten().map(|row| row as usize).collect(),
            };
            let found_ids = found.row_ids.expect("asked for");
            assert!(found_ids.values().iter().copied().eq(rows.iter().map(|row| ids[*row].0)));
            let found_times = found.timestamps.expect("asked for");
            assert!(found_times.values().iter().copied().eq(rows.iter().map(|row| times[*row].0)));
            assert_eq!(found.batch.num_rows(), rows.len());
        }
    }
}

/// The columns and the key that a user calls by the names of ours.
#[test]
fn columns_may_have_the_names_of_hidden_ones() {
    let mut columns = columns_of([PgType::Int8, PgType::Text]);
    columns[1].name = "_row_id".to_owned();
    let schema = table(columns, None);
    let arrays: Vec<ArrayRef> = vec![
        Arc::new(Int64Array::from(vec![5, 4])),
        Arc::new(StringViewArray::from(vec!["a", "b"])),
    ];
    let memory = Memory::default();
    let options =
        SegmentOptions { row_ids: RowIdColumn::Stored { first: RowId(0) }, ..options(&schema) };
    let ids = [RowId(3), RowId(8)];
    let meta = write_as(&memory, options, &arrays, &ids, &[]).expect("a segment");
    let segment = open(&store(&memory, 0), &meta, &schema);
    let found = block_on(segment.read(&schema, &everything(&[1]), 0, None)).expect("rows");
    assert_eq!(found.batch.column(0), &arrays[1]);
    assert_eq!(found.row_ids.expect("asked for").values().to_vec(), [3, 8]);
}

#[test]
fn columns_come_and_go() {
    let before = table(columns_of([PgType::Int4, PgType::Text, PgType::Int4]), Some(vec![0]));
    let arrays: Vec<ArrayRef> = vec![
        Arc::new(Int32Array::from(vec![1, 2, 3])),
        Arc::new(StringViewArray::from(vec!["a", "b", "c"])),
        Arc::new(Int32Array::from(vec![7, 8, 9])),
    ];
    let memory = Memory::default();
    let meta = write(&memory, &before, &arrays);
    // The second column goes; one comes with a default, one without.
    let money = PgType::Numeric(Some(NumericShape { precision: 9, scale: 2 }));
    let mut columns = columns_of([PgType::Int4, PgType::Text, PgType::Int4, money, PgType::Jsonb]);
    columns[1].dropped = true;
    columns[3].missing = Some(Bytes::from_static(&[0, 0xb6, 0x10]));
    let after = table(columns, Some(vec![0]));
    let segment = open(&store(&memory, 1 << 20), &meta, &after);
    let all = everything(after.live());
    for rows in [None, Some(&[1..2][..])] {
        let found = block_on(segment.read(&after, &all, 0, rows)).expect("rows");
        let selected = |array: &ArrayRef| {
            rows.map_or(Arc::clone(array), |r| array.slice(r[0].start as usize, r[0].len()))
        };
        assert_eq!(found.batch.column(0), &selected(&arrays[0]));
        assert_eq!(found.batch.column(1), &selected(&arrays[2]));
        let missing = found.batch.column(2).as_primitive::<Decimal128Type>();
        assert!(missing.values().iter().all(|value| *value == 1_051), "{missing:?}");
        assert_eq!(found.batch.column(3).null_count(), found.batch.num_rows());
    }
    // Who still plans with the old columns reads them.
    let found = block_on(segment.read(&before, &everything(&[1]), 0, None)).expect("rows");
    assert_eq!(found.batch.column(0), &arrays[1]);
    // A table that never had such columns.
    let other = table(columns_of([PgType::Int4, PgType::Int8, PgType::Int4]), None);
    let error = block_on(store(&memory, 0).open(SegmentId(1), &meta, &other)).err();
    let error = error.expect("refused").to_string();
    assert!(error.contains("its columns are not those of the table at v3"), "{error}");
}

#[test]
fn rows_out_of_order_are_refused() {
    let schema = table(columns_of([PgType::Int8]), Some(vec![0]));
    let columns = |values: Vec<i64>| -> Vec<ArrayRef> { vec![Arc::new(Int64Array::from(values))] };
    let memory = Memory::default();
    // Versions of one row have the same key.
    write(&memory, &schema, &columns(vec![1, 2, 2, 3]));
    let written = write_as(&memory, options(&schema), &columns(vec![1, 3, 2]), &[], &[]);
    let error = written.expect_err("refused").to_string();
    assert!(error.contains("row 2 is out of the order of the key"), "{error}");
    let schema = table(columns_of([PgType::Int8]), None);
    let options =
        SegmentOptions { row_ids: RowIdColumn::Stored { first: RowId(0) }, ..options(&schema) };
    let ids = [RowId(4), RowId(3)];
    assert!(write_as(&memory, options.clone(), &columns(vec![9, 1]), &ids, &[]).is_err());
    // Neither are rows of other columns, too few row ids, and no rows at all.
    let writer = || {
        let object = memory.create(&name()).expect("an object");
        SegmentWriter::new(options.clone(), object).expect("a writer")
    };
    assert!(writer().write(&batch(&schema, &columns(vec![9, 1])), &ids[..1], &[]).is_err());
    assert!(write_as(&memory, options.clone(), &columns(vec![]), &[], &[]).is_err());
    let texts: ArrayRef = Arc::new(StringViewArray::from(vec!["a"]));
    let wrong = RecordBatch::try_from_iter([("c0", texts)]).expect("a batch");
    assert!(writer().write(&wrong, &ids[..1], &[]).is_err());
}

/// What is out of the budget goes, and what is read stays right.
#[test]
fn a_small_budget_holds() {
    let rows = ROW_GROUP_ROWS as i64 + 20_000;
    let (schema, columns) = numbers(rows);
    let memory = Memory::default();
    let meta = write(&memory, &schema, &columns);
    let store = store(&memory, 3 << 20);
    let segment = open(&store, &meta, &schema);
    for round in 0..3 {
        let read = Projection { columns: &[0, 1, 2], ..Projection::default() };
        let mut from = 0;
        for found in read_all(&segment, &schema, &read).expect("rows") {
            for (n, column) in columns.iter().enumerate() {
                let expected = column.slice(from, found.batch.num_rows());
                assert_eq!(found.batch.column(n), &expected, "round {round}");
            }
            from += found.batch.num_rows();
        }
        let metrics = store.resident.metrics();
        assert!(metrics.bytes <= metrics.budget_bytes && metrics.bytes > 0, "{metrics:?}");
    }
    assert!(store.resident.metrics().hits > 0);
    store.resident.forget(segment.id());
    assert_eq!(store.resident.metrics().bytes, 0);
}
