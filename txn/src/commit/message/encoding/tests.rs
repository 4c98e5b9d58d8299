use super::*;
use crate::{
    commit::message::{KeyGroup, KeyWrite, Mark},
    ids::{EntryIndex, LogId, Position},
};

fn id(number: u64) -> CommitId {
    CommitId { term: Term(3), start: 0x0102_0304_0506_0708, number }
}

fn position(index: u64, ordinal: u32) -> Position {
    Position::new(LogId(0), EntryIndex(index), ordinal)
}

fn write(table: u32, index: u32, key: &'static [u8], mark: Mark, base: Position) -> KeyWrite {
    let key = Bytes::from_static(key);
    KeyWrite { table: TableId(table), index: IndexId(index), key, mark, base }
}

fn commit() -> CommitRequest {
    CommitRequest {
        id: id(7),
        schema_versions: vec![(TableId(5), SchemaVersion(2)), (TableId(300), SchemaVersion(1))],
        writes: [
            write(5, 0, b"a", Mark::Added, position(1000, 2)),
            write(5, 0, b"b", Mark::Changed, position(1000, 2)),
            write(5, 1, b"c", Mark::Removed, position(1001, 0)),
        ]
        .into_iter()
        .collect(),
        key_sets: Vec::new(),
        unkeyed: vec![TableId(300)],
        assertions: vec![
            Assertion { table: TableId(300), scope: Scope::Table, base: position(9, 0) },
            Assertion {
                table: TableId(6),
                scope: Scope::Key {
                    index: IndexId(0),
                    key: Bytes::from_static(b"p"),
                    watch: Watch::Presence,
                },
                base: position(9, 1),
            },
            Assertion {
                table: TableId(6),
                scope: Scope::Key {
                    index: IndexId(2),
                    key: Bytes::from_static(b"q"),
                    watch: Watch::Any,
                },
                base: position(9, 1),
            },
        ],
        parts: 2,
        payload: Bytes::from_static(b"rows"),
    }
}

/// Two sets, the first one with two groups.
fn large_commit() -> CommitRequest {
    let group = |keys: &[&str]| KeyGroup::of(keys.iter().map(|key| key.as_bytes()));
    let set = |table, mark, groups: &[&[&str]]| KeySet {
        table: TableId(table),
        index: IndexId(0),
        mark,
        base: position(1000, 2),
        groups: groups.iter().filter_map(|keys| group(keys)).collect(),
    };
    let key_sets = vec![
        set(5, Mark::Added, &[&["a", "b", "c"], &["c", "x"]]),
        set(300, Mark::Removed, &[&["only"]]),
    ];
    CommitRequest { key_sets, ..commit() }
}

fn requests() -> Vec<Request> {
    vec![
        Request::Commit(commit()),
        Request::Commit(CommitRequest::default()),
        Request::Part(Part { id: id(8), sequence: 1, payload: Bytes::from_static(b"part") }),
        Request::Abort(id(9)),
        Request::Resolve(id(300)),
        Request::Commit(large_commit()),
    ]
}

fn answers() -> Vec<Answer> {
    let refusals = vec![
        Refusal::SchemaChanged {
            table: TableId(5),
            planned: SchemaVersion(1),
            current: Some(SchemaVersion(2)),
        },
        Refusal::SchemaChanged { table: TableId(5), planned: SchemaVersion(1), current: None },
        Refusal::TooOld,
        Refusal::OutOfMemory("m".into()),
        Refusal::DiskFull("d".into()),
        Refusal::IdAborted(id(1)),
        Refusal::IdUsed(id(2)),
        Refusal::IdForgotten(id(3)),
        Refusal::NoTimestamp("t".into()),
        Refusal::ShuttingDown,
        Refusal::Stopped("s".into()),
        Refusal::Malformed("f".into()),
        Refusal::Moved { table: TableId(5) },
        Refusal::TooLate("l".into()),
    ];
    let mut all = vec![
        Answer::Committed { position: position(1000, 2), timestamp: Timestamp::from_millis(9) },
        Answer::PartAccepted,
        Answer::Aborted,
        Answer::Conflict {
            table: TableId(5),
            key: Bytes::from_static(b"key"),
            at: position(1000, 1),
        },
        Answer::Unknown("power".into()),
    ];
    all.extend(refusals.into_iter().map(Answer::Refused));
    all.push(Answer::Met { table: TableId(5), at: position(1000, 1) });
    all
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn requests_and_answers_survive_the_way() {
    for request in requests() {
        assert_eq!(decode_request(&encode_request(&request)), Ok(request));
    }
    for answer in answers() {
        assert_eq!(decode_answer(&encode_answer(&answer)), Ok(answer));
    }
}

#[test]
fn the_bytes_of_requests_are_pinned() {
    let found: Vec<String> = requests().iter().map(|r| hex(&encode_request(r))).collect();
    let golden = include_str!("golden_requests.txt");
    assert_eq!(found.join("\n"), golden.trim_end(), "the format of requests changed");
}

#[test]
fn the_bytes_of_answers_are_pinned() {
    let found: Vec<String> = answers().iter().map(|a| hex(&encode_answer(a))).collect();
    let golden = include_str!("golden_answers.txt");
    assert_eq!(found.join("\n"), golden.trim_end(), "the format of answers changed");
}

#[test]
fn no_truncation_and_no_changed_byte_panics() {
    for request in requests() {
        let bytes = encode_request(&request);
        for len in 0..bytes.len() {
            assert!(decode_request(&bytes.slice(..len)).is_err(), "cut to {len}: {request:?}");
        }
        for at in 0..bytes.len() {
            for value in [0x00, 0x01, 0x7f, 0x80, 0xff] {
                let mut changed = bytes.to_vec();
                changed[at] = value;
                if let Ok(Request::Commit(commit)) = decode_request(&changed.into()) {
                    assert_eq!(commit.writes.iter().count(), commit.writes.len());
                }
            }
        }
    }
    for answer in answers() {
        let bytes = encode_answer(&answer);
        for len in 0..bytes.len() {
            assert!(decode_answer(&bytes.slice(..len)).is_err(), "cut to {len}: {answer:?}");
        }
    }
}

#[test]
fn a_written_key_costs_its_bytes_and_two_more() {
    let base = position(1_000_000, 3);
    let mut writes = KeyWrites::new();
    for number in 0_u64..1_000 {
        let key = Bytes::from(number.to_be_bytes().to_vec());
        let write =
            KeyWrite { table: TableId(70_000), index: IndexId(0), key, mark: Mark::Added, base };
        writes.push((&write).into());
    }
    assert!(writes.encoded_len() < 1_000 * (8 + 2) + 20, "{}", writes.encoded_len());
    assert_eq!(writes.iter().len(), 1_000);
    assert!(writes.iter().all(|write| write.base == base && write.table == TableId(70_000)));
}

#[test]
fn lists_that_were_decoded_go_on_where_they_ended() {
    let Ok(Request::Commit(mut decoded)) =
        decode_request(&encode_request(&Request::Commit(commit())))
    else {
        panic!("a commit was encoded")
    };
    let mut direct = commit();
    let more = write(5, 1, b"d", Mark::Added, position(1001, 0));
    decoded.writes.push((&more).into());
    direct.writes.push((&more).into());
    assert_eq!(decoded, direct);
}

#[test]
fn a_set_without_groups_or_with_groups_out_of_order_is_refused() {
    let sent = |groups: Vec<KeyGroup>| {
        let mut commit = large_commit();
        commit.key_sets[0].groups = groups;
        decode_request(&encode_request(&Request::Commit(commit)))
    };
    let groups = large_commit().key_sets[0].groups.clone();
    assert!(sent(groups.clone()).is_ok());
    assert!(sent(Vec::new()).is_err());
    assert!(sent(groups.iter().rev().cloned().collect()).is_err());
    let KeyGroup { first, last, filter } = groups[0].clone();
    assert!(sent(vec![KeyGroup { first: last, last: first, filter }]).is_err());
}

#[test]
fn a_set_has_its_keys_wherever_its_groups_meet() {
    let set = &large_commit().key_sets[0];
    for key in ["a", "b", "c", "x"] {
        assert!(set.may_contain(key.as_bytes()), "{key}");
    }
    for key in ["", "A", "y", "xx"] {
        assert!(!set.may_contain(key.as_bytes()), "{key}");
    }
    assert_eq!(set.fences(), (&b"a"[..], &b"x"[..]));
}
