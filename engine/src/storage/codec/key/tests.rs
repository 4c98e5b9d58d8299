use std::{cmp::Ordering, sync::Arc};

use arrow::{
    array::{
        ArrayRef, BinaryArray, BooleanArray, Date32Array, Decimal128Array, Decimal256Array,
        FixedSizeBinaryArray, Float32Array, Float64Array, Int16Array, Int32Array, Int64Array,
        IntervalMonthDayNanoArray, StringViewArray, Time64MicrosecondArray,
        TimestampMicrosecondArray, UInt32Array,
    },
    datatypes::{IntervalMonthDayNano, i256},
};

use super::{KEY_BYTES_MAX, KeyEncoder};
use crate::{
    storage::{StorageError, testing::Seeded},
    types::{NumericShape, PgType},
};

fn numeric(precision: u8, scale: i8) -> PgType {
    let (precision, scale) = (u16::from(precision), i16::from(scale));
    PgType::Numeric(Some(NumericShape { precision, scale }))
}

fn keys(pg_type: &PgType, column: ArrayRef) -> Vec<Vec<u8>> {
    let encoder = KeyEncoder::new(std::slice::from_ref(pg_type)).unwrap();
    encoder.encode_all(&[column]).unwrap().iter().map(<[u8]>::to_vec).collect()
}

fn text(values: &[&str]) -> ArrayRef {
    Arc::new(StringViewArray::from_iter_values(values))
}

fn decimals(values: &[i128], precision: u8, scale: i8) -> ArrayRef {
    let array = Decimal128Array::from_iter_values(values.iter().copied());
    Arc::new(array.with_precision_and_scale(precision, scale).unwrap())
}

fn ascending(keys: &[Vec<u8>]) {
    for pair in keys.windows(2) {
        assert!(pair[0] < pair[1], "{:02x?} is not below {:02x?}", pair[0], pair[1]);
    }
}

/// One line per value: type, value as shown, bytes. Changing any of them needs a new format version.
#[test]
fn golden_keys() {
    let day = IntervalMonthDayNano { months: 0, days: 1, nanoseconds: 1_500_000_000 };
    let uuid = FixedSizeBinaryArray::try_from_iter([[0x11_u8; 16]].iter()).unwrap();
    let columns: Vec<(PgType, ArrayRef)> = vec![
        (PgType::Bool, Arc::new(BooleanArray::from(vec![false, true]))),
        (PgType::Int2, Arc::new(Int16Array::from(vec![-1, 0, 258]))),
        (PgType::Int4, Arc::new(Int32Array::from(vec![i32::MIN, -1, 0, 1]))),
        (PgType::Int4, Arc::new(Int32Array::from(vec![None]))),
        (PgType::Int8, Arc::new(Int64Array::from(vec![-2, 7]))),
        (PgType::Float4, Arc::new(Float32Array::from(vec![-1.5, 0.0, f32::NAN]))),
        (PgType::Float8, Arc::new(Float64Array::from(vec![f64::NEG_INFINITY, -0.0, 2.5]))),
        (numeric(10, 2), decimals(&[-12345, 0, 100, 12345, 1], 10, 2)),
        (PgType::Numeric(None), text(&["-Infinity", "-0.5", "0.00"])),
        (PgType::Numeric(None), text(&["120", "0.000000001", "Infinity", "NaN"])),
        (PgType::Text, text(&["", "a", "grüße"])),
        (PgType::Bpchar(Some(5)), text(&["ab   "])),
        (PgType::Bytea, Arc::new(BinaryArray::from(vec![&b"a\0b"[..]]))),
        (PgType::Date, Arc::new(Date32Array::from(vec![0, 19_000]))),
        (PgType::Time(None), Arc::new(Time64MicrosecondArray::from(vec![3_600_000_001]))),
        (
            PgType::Timestamp(None),
            Arc::new(TimestampMicrosecondArray::from(vec![1_700_000_000_123_456])),
        ),
        (PgType::Interval(None), Arc::new(IntervalMonthDayNanoArray::from(vec![day]))),
        (PgType::Uuid, Arc::new(uuid)),
        (PgType::Oid, Arc::new(UInt32Array::from(vec![16_384]))),
    ];
    let mut golden = String::new();
    for (pg_type, column) in columns {
        let encoder = KeyEncoder::new(std::slice::from_ref(&pg_type)).unwrap();
        for key in keys(&pg_type, column) {
            let shown = encoder.decode(&key).unwrap().remove(0).unwrap_or("NULL".into());
            let hex: String = key.iter().map(|b| format!("{b:02x}")).collect();
            golden.push_str(&format!("{} | {shown} | {hex}\n", pg_type.sql_name()));
        }
    }
    crate::storage::testing::golden("storage/codec/key/golden.txt", &golden);
}

#[test]
fn equal_values_have_equal_keys_whatever_their_form() {
    let plain = PgType::Numeric(None);
    let same = keys(&plain, text(&["1", "1.0", "1.00", "01", "1.000000000"]));
    assert!(same.windows(2).all(|pair| pair[0] == pair[1]));
    assert_eq!(keys(&plain, text(&["-0.0"])), keys(&plain, text(&["0"])));
    assert_eq!(keys(&numeric(10, 2), decimals(&[150], 10, 2)), keys(&plain, text(&["1.5"])));
    assert_eq!(keys(&numeric(12, 4), decimals(&[15_000], 12, 4)), keys(&plain, text(&["1.5"])));
    let wide = Decimal256Array::from_iter_values([i256::from_i128(-150)]);
    let wide: ArrayRef = Arc::new(wide.with_precision_and_scale(60, 2).unwrap());
    assert_eq!(keys(&numeric(60, 2), wide), keys(&plain, text(&["-1.5"])));
    let large = i256::from_string(&"9".repeat(70)).unwrap();
    let wide = Decimal256Array::from_iter_values([large]);
    let wide: ArrayRef = Arc::new(wide.with_precision_and_scale(76, 5).unwrap());
    let shown = format!("{}.99999", "9".repeat(65));
    assert_eq!(keys(&numeric(76, 5), wide), keys(&plain, text(&[&shown])));

    let floats =
        keys(&PgType::Float8, Arc::new(Float64Array::from(vec![0.0, -0.0, f64::NAN, -f64::NAN])));
    assert_eq!(floats[0], floats[1]);
    assert_eq!(floats[2], floats[3]);
    let padded = keys(&PgType::Bpchar(Some(4)), text(&["ab", "ab  ", "ab "]));
    assert!(padded.windows(2).all(|pair| pair[0] == pair[1]));
    let interval = |months, days, nanoseconds| IntervalMonthDayNano { months, days, nanoseconds };
    let spans = vec![interval(1, 0, 0), interval(0, 30, 0), interval(0, 29, 86_400_000_000_000)];
    let spans = keys(&PgType::Interval(None), Arc::new(IntervalMonthDayNanoArray::from(spans)));
    assert!(spans.windows(2).all(|pair| pair[0] == pair[1]));
}

#[test]
fn keys_sort_as_their_values() {
    let integers = vec![i64::MIN, -300, -256, -1, 0, 1, 255, 256, i64::MAX];
    ascending(&keys(&PgType::Int8, Arc::new(Int64Array::from(integers.clone()))));
    let floats =
        vec![f64::NEG_INFINITY, -1e300, -1.0, -1e-300, 0.0, 1e-300, 1.0, f64::INFINITY, f64::NAN];
    ascending(&keys(&PgType::Float8, Arc::new(Float64Array::from(floats))));
    let numbers = [
        "-Infinity",
        "-100000",
        "-99.5",
        "-99.4",
        "-10",
        "-9.99",
        "-1",
        "-0.5",
        "-0.05",
        "0",
        "0.0000001",
        "0.05",
        "0.5",
        "0.51",
        "1",
        "1.01",
        "9.99",
        "10",
        "10.1",
        "99.4",
        "100",
        "101",
        "9999",
        "10000",
        "123456789012345678901234567890",
        "Infinity",
        "NaN",
    ];
    ascending(&keys(&PgType::Numeric(None), text(&numbers)));
    let long = format!("1{}", "0".repeat(140));
    let longer = format!("1{}", "0".repeat(200));
    let tiny = format!("0.{}1", "0".repeat(200));
    let minus = format!("-{longer}");
    let far = [minus.as_str(), "-1", "0", &tiny, "0.1", "1", &long, &longer];
    ascending(&keys(&PgType::Numeric(None), text(&far)));
    ascending(&keys(&PgType::Text, text(&["", "A", "Z", "a", "a ", "aa", "ab", "b", "é", "漢"])));
    let bytes: Vec<&[u8]> =
        vec![b"", b"\0", b"\0\0", b"\0\x01", b"\x01", b"a", b"a\0", b"a\0b", b"b"];
    ascending(&keys(&PgType::Bytea, Arc::new(BinaryArray::from(bytes))));
    ascending(&keys(
        &PgType::Bool,
        Arc::new(BooleanArray::from(vec![Some(false), Some(true), None])),
    ));
    let days = Date32Array::from(vec![i32::MIN, -1, 0, 1, i32::MAX]);
    ascending(&keys(&PgType::Date, Arc::new(days)));
    let spans = [(0, -1, 0), (0, 0, -1), (0, 0, 0), (0, 0, 1), (0, 1, 0), (1, 0, 0), (12, 0, 0)]
        .map(|(months, days, nanoseconds)| IntervalMonthDayNano { months, days, nanoseconds });
    ascending(&keys(
        &PgType::Interval(None),
        Arc::new(IntervalMonthDayNanoArray::from(spans.to_vec())),
    ));
}

#[test]
fn random_decimals_sort_as_their_values() {
    let mut random = Seeded(4);
    let values: Vec<i128> = (0..2000)
        .map(|_| {
            let digits = random.below(30) as u32;
            let value =
                i128::from(random.next()) * 10_i128.pow(digits / 3) % 10_i128.pow(digits + 1);
            if random.below(2) == 0 { value } else { -value }
        })
        .collect();
    let keys = keys(&numeric(38, 6), decimals(&values, 38, 6));
    for _ in 0..20_000 {
        let (a, b) = (random.below(2000) as usize, random.below(2000) as usize);
        assert_eq!(keys[a].cmp(&keys[b]), values[a].cmp(&values[b]), "{} {}", values[a], values[b]);
    }
}

#[test]
fn composite_keys_compare_column_by_column() {
    let encoder = KeyEncoder::new(&[PgType::Text, PgType::Int4]).unwrap();
    let rows = [("a", -1), ("a", 5), ("a\u{1}", 0), ("aa", i32::MIN), ("b", 0)];
    let names: ArrayRef = Arc::new(StringViewArray::from_iter_values(rows.iter().map(|r| r.0)));
    let numbers: ArrayRef = Arc::new(Int32Array::from_iter_values(rows.iter().map(|r| r.1)));
    let keys = encoder.encode_all(&[Arc::clone(&names), Arc::clone(&numbers)]).unwrap();
    for (a, b) in (0..4).zip(1..) {
        assert_eq!(keys.get(a).cmp(keys.get(b)), Ordering::Less);
    }
    assert_eq!(encoder.encode(&[names, numbers], 1).unwrap(), keys.get_bytes(1));
    let shown = encoder.decode(keys.get(1)).unwrap();
    assert_eq!(shown, [Some("a".to_owned()), Some("5".to_owned())]);
}

#[test]
fn values_come_back_as_text() {
    let show = |pg_type: PgType, column: ArrayRef| -> Vec<String> {
        let encoder = KeyEncoder::new(std::slice::from_ref(&pg_type)).unwrap();
        let keys = encoder.encode_all(&[column]).unwrap();
        keys.iter().map(|key| encoder.decode(key).unwrap().remove(0).unwrap()).collect()
    };
    let numbers = ["0", "-0.5", "100", "1234.5678", "0.001", "-99999.1", "NaN", "-Infinity"];
    assert_eq!(show(PgType::Numeric(None), text(&numbers)), numbers);
    assert_eq!(show(numeric(6, 2), decimals(&[0, 150, -5], 6, 2)), ["0.00", "1.50", "-0.05"]);
    let floats = Float64Array::from(vec![-1.25, 0.0, 1e10]);
    assert_eq!(show(PgType::Float8, Arc::new(floats)), ["-1.25", "0", "10000000000"]);
    let stamp = TimestampMicrosecondArray::from(vec![0, 1_500_000, -1]);
    assert_eq!(
        show(PgType::Timestamp(None), Arc::new(stamp)),
        ["1970-01-01 00:00:00", "1970-01-01 00:00:01.500", "1969-12-31 23:59:59.999999"]
    );
}

#[test]
fn what_no_key_can_have_is_refused() {
    assert!(matches!(KeyEncoder::new(&[PgType::Unknown]), Err(StorageError::NotAKeyType(_))));
    let encoder = KeyEncoder::new(&[PgType::Text]).unwrap();
    let long = "x".repeat(KEY_BYTES_MAX + 1);
    let error = encoder.encode_all(&[text(&[&long])]).unwrap_err();
    assert!(matches!(error, StorageError::KeyTooLarge { bytes_max: KEY_BYTES_MAX, .. }), "{error}");
    let wrong: ArrayRef = Arc::new(Int32Array::from(vec![1]));
    assert!(encoder.encode_all(&[wrong]).is_err());
    assert!(encoder.encode_all(&[]).is_err());
    let numbers = KeyEncoder::new(&[PgType::Numeric(None)]).unwrap();
    for no_number in ["", "-", "1x", "1.2.3", "+1", " 1"] {
        assert!(numbers.encode_all(&[text(&[no_number])]).is_err(), "{no_number:?}");
    }
}

#[test]
fn arbitrary_bytes_never_panic_the_decoder() {
    let types = [
        PgType::Bool,
        PgType::Int4,
        PgType::Float8,
        PgType::Numeric(None),
        numeric(10, 2),
        PgType::Text,
        PgType::Bytea,
        PgType::Date,
        PgType::Time(None),
        PgType::Timestamptz(None),
        PgType::Interval(None),
        PgType::Uuid,
    ];
    let mut random = Seeded(11);
    for round in 0..20_000 {
        let encoder = KeyEncoder::new(&types[round % types.len()..][..1]).unwrap();
        let len = random.below(24) as usize;
        let mut bytes: Vec<u8> = (0..len).map(|_| random.next() as u8).collect();
        if let Some(first) = bytes.first_mut() {
            *first %= 9;
        }
        let _ = encoder.decode(&bytes);
    }
}
