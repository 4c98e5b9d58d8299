use super::*;

fn id(start: u64, number: u64) -> CommitId {
    CommitId { term: Term(3), start, number }
}

const NOW: Timestamp = Timestamp::from_millis(1_790_000_000_000);

fn commit(id: CommitId, ahead: u64, parts: u32, payload: &'static [u8]) -> Record {
    let timestamp = Timestamp(NOW.0 + ahead);
    Record::Commit { id, timestamp, parts, payload: Bytes::from_static(payload) }
}

fn records() -> Vec<Record> {
    let a = 0x0102_0304_0506_0708;
    let b = 0x1112_1314_1516_1718;
    vec![
        commit(id(a, 1_000), 0, 0, b"first"),
        commit(id(a, 1_002), 1, 0, b"second"),
        commit(id(a, 1_001), 2, 0, b""),
        Record::Part { id: id(b, 5), sequence: 0, payload: Bytes::from_static(b"part") },
        Record::Part { id: id(b, 5), sequence: 300, payload: Bytes::from_static(b"part") },
        Record::Control {
            timestamp: Timestamp(NOW.0 + 1_000),
            payload: Bytes::from_static(b"horizon"),
        },
        commit(id(b, 5), 2_000_000, 301, b"whole"),
        Record::Abort { id: id(b, 4) },
        Record::Abort { id: id(a, u64::MAX) },
        Record::Abort { id: id(a, 0) },
    ]
}

#[test]
fn records_survive_the_way() {
    assert_eq!(decode(&encode(&records())), Ok(records()));
    assert_eq!(decode(&encode(&[])), Ok(vec![]));
    let mut backwards = records();
    backwards.reverse();
    assert_eq!(decode(&encode(&backwards)), Ok(backwards));
}

#[test]
fn the_bytes_of_an_entry_body_are_pinned() {
    let found: String = encode(&records()).iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(found, include_str!("golden.txt").trim_end(), "the format of records changed");
}

#[test]
fn a_one_row_commit_spends_tens_of_bytes() {
    let alone = encode(&[commit(id(u64::MAX, 1_000_000), 0, 0, b"one row")]);
    assert!(alone.len() - 7 <= 24, "{} bytes beside the payload", alone.len() - 7);

    let batch: Vec<Record> =
        (0..100).map(|i| commit(id(u64::MAX, 1_000_000 + i), i * 300, 0, b"one row")).collect();
    let each = (encode(&batch).len() - alone.len()) / 99 - 7;
    assert!(each <= 6, "{each} bytes beside the payload");
}

#[test]
fn no_truncation_and_no_changed_byte_panics() {
    let whole = encode(&records());
    let all = records();
    for len in 0..whole.len() {
        match decode(&whole.slice(..len)) {
            Ok(prefix) => assert_eq!(prefix, all[..prefix.len()], "a cut at a record's end"),
            Err(error) => assert!(error.offset <= len),
        }
    }
    for at in 0..whole.len() {
        for value in 0..=255 {
            let mut changed = whole.to_vec();
            changed[at] = value;
            let _ = decode(&changed.into());
        }
    }
}

#[test]
fn overhead_stays_below_what_is_reserved_for_it() {
    let widest = CommitId { term: Term::MAX, start: u64::MAX, number: u64::MAX };
    let payload = Bytes::from(vec![7; RECORD_PAYLOAD_BYTES_MAX]);
    let mut body = BodyBuilder::new();
    assert!(body.fits(payload.len()));
    body.push(&Record::Commit {
        id: widest,
        timestamp: Timestamp(u64::MAX),
        parts: u32::MAX,
        payload: payload.clone(),
    });
    assert!(body.len() <= payload.len() + 1 + RECORD_OVERHEAD_BYTES_MAX);
    assert!(!body.fits(0));
}
