mod sets;

use bytes::Bytes;

use super::*;
use crate::{commit::message::KeyWrite, ids::EntryIndex};

const T: TableId = TableId(1);
const U: TableId = TableId(2);

fn at(index: u64) -> Position {
    Position::new(LogId(0), EntryIndex(index), 0)
}

fn resolver() -> Resolver {
    Resolver::new(at(0), 1 << 20, 7)
}

fn record(resolver: &mut Resolver, request: &CommitRequest, position: Position) {
    resolver.advance(position);
    resolver.record(request, position);
}

fn write(table: TableId, key: &str, mark: Mark, base: u64) -> KeyWrite {
    let key = Bytes::copy_from_slice(key.as_bytes());
    KeyWrite { table, index: IndexId::KEY, key, mark, base: at(base) }
}

fn request(writes: impl IntoIterator<Item = KeyWrite>) -> CommitRequest {
    CommitRequest { writes: writes.into_iter().collect(), ..CommitRequest::default() }
}

fn changed(key: &str, base: u64) -> CommitRequest {
    request([write(T, key, Mark::Changed, base)])
}

fn asserts(table: TableId, scope: Scope, base: u64) -> CommitRequest {
    let assertions = vec![Assertion { table, scope, base: at(base) }];
    CommitRequest { assertions, ..CommitRequest::default() }
}

fn key_scope(key: &str, watch: Watch) -> Scope {
    Scope::Key { index: IndexId::KEY, key: Bytes::copy_from_slice(key.as_bytes()), watch }
}

fn conflict(table: TableId, index: u64) -> Result<(), Verdict> {
    Err(Verdict::Conflict { table, key: Bytes::new(), at: at(index) })
}

impl Resolver {
    /// What `check` says, without the key.
    fn verdict(&self, request: &CommitRequest) -> Result<(), Verdict> {
        self.check(request).map_err(|verdict| match verdict {
            Verdict::Conflict { table, at, .. } => {
                Verdict::Conflict { table, key: Bytes::new(), at }
            }
            other => other,
        })
    }

    fn conflicting_key(&self, request: &CommitRequest) -> Option<Bytes> {
        match self.check(request) {
            Err(Verdict::Conflict { key, .. }) => Some(key),
            _ => None,
        }
    }
}

#[test]
fn a_conflict_names_the_newest_key_and_none_for_whole_tables() {
    let mut resolver = resolver();
    record(&mut resolver, &changed("k", 0), at(1));
    record(&mut resolver, &changed("m", 1), at(2));
    let both = request([write(T, "m", Mark::Removed, 0), write(T, "k", Mark::Added, 0)]);
    assert_eq!(resolver.conflicting_key(&both), Some(Bytes::from_static(b"m")));
    let asserted = asserts(T, key_scope("k", Watch::Any), 0);
    assert_eq!(resolver.conflicting_key(&asserted), Some(Bytes::from_static(b"k")));
    assert_eq!(resolver.conflicting_key(&asserts(T, Scope::Table, 0)), Some(Bytes::new()));
}

#[test]
fn the_first_updater_wins() {
    let mut resolver = resolver();
    record(&mut resolver, &changed("k", 0), at(1));
    record(&mut resolver, &changed("m", 1), at(2));
    assert_eq!(resolver.verdict(&changed("k", 0)), conflict(T, 1));
    assert_eq!(resolver.verdict(&changed("k", 1)), Ok(()));
    assert_eq!(resolver.verdict(&changed("x", 0)), Ok(()));
    let both = request([write(T, "k", Mark::Added, 0), write(T, "m", Mark::Removed, 0)]);
    assert_eq!(resolver.verdict(&both), conflict(T, 2), "the newest one is named");
    let elsewhere = request([write(U, "k", Mark::Changed, 0)]);
    assert_eq!(resolver.verdict(&elsewhere), Ok(()), "a key belongs to its table");
    let other_index = KeyWrite { index: IndexId(1), ..write(T, "k", Mark::Changed, 0) };
    assert_eq!(resolver.verdict(&request([other_index])), Ok(()), "and to its index");
}

#[test]
fn ordinals_of_one_entry_are_told_apart() {
    let mut resolver = resolver();
    let second = Position { ordinal: 1, ..at(1) };
    record(&mut resolver, &changed("k", 0), at(1));
    record(&mut resolver, &changed("m", 0), second);
    let m = |base| request([KeyWrite { base, ..write(T, "m", Mark::Changed, 0) }]);
    assert_eq!(
        resolver.verdict(&m(at(1))),
        Err(Verdict::Conflict { table: T, key: Bytes::new(), at: second })
    );
    assert_eq!(resolver.verdict(&m(second)), Ok(()));
}

#[test]
fn foreign_keys_look_at_presence_only() {
    let mut resolver = resolver();
    record(&mut resolver, &changed("p", 0), at(1));
    assert_eq!(resolver.verdict(&asserts(T, key_scope("p", Watch::Presence), 0)), Ok(()));
    assert_eq!(resolver.verdict(&asserts(T, key_scope("p", Watch::Any), 0)), conflict(T, 1));
    record(&mut resolver, &request([write(T, "p", Mark::Removed, 1)]), at(2));
    record(&mut resolver, &request([write(T, "q", Mark::Added, 1)]), at(3));
    record(&mut resolver, &changed("p", 2), at(4));
    assert_eq!(
        resolver.verdict(&asserts(T, key_scope("p", Watch::Presence), 1)),
        conflict(T, 2),
        "a later change in place does not hide that the key went"
    );
    assert_eq!(resolver.verdict(&asserts(T, key_scope("q", Watch::Presence), 2)), conflict(T, 3));
    assert_eq!(resolver.verdict(&asserts(T, key_scope("q", Watch::Presence), 3)), Ok(()));
}

#[test]
fn a_table_assertion_sees_every_write_also_those_without_keys() {
    let mut resolver = resolver();
    assert_eq!(resolver.verdict(&asserts(T, Scope::Table, 0)), Ok(()));
    record(&mut resolver, &changed("k", 0), at(1));
    assert_eq!(resolver.verdict(&asserts(T, Scope::Table, 0)), conflict(T, 1));
    assert_eq!(resolver.verdict(&asserts(U, Scope::Table, 0)), Ok(()));
    let unkeyed = CommitRequest { unkeyed: vec![U], ..CommitRequest::default() };
    record(&mut resolver, &unkeyed, at(2));
    assert_eq!(resolver.verdict(&asserts(U, Scope::Table, 1)), conflict(U, 2));
    assert_eq!(resolver.verdict(&asserts(U, Scope::Table, 2)), Ok(()));
}

#[test]
fn writers_without_care_never_conflict_themselves() {
    let mut resolver = resolver();
    record(&mut resolver, &changed("k", 0), at(1));
    let blind = || request([KeyWrite { base: NEVER_CONFLICTS, ..write(T, "k", Mark::Changed, 0) }]);
    assert_eq!(resolver.verdict(&blind()), Ok(()));
    record(&mut resolver, &blind(), at(2));
    assert_eq!(resolver.verdict(&changed("k", 1)), conflict(T, 2), "others conflict with them");
}

#[test]
fn impossible_bases_are_refused() {
    let mut resolver = resolver();
    record(&mut resolver, &changed("k", 0), at(5));
    resolver.advance(at(6));
    assert_eq!(resolver.verdict(&changed("k", 6)), Ok(()), "an abort record was placed there");
    let future = resolver.verdict(&changed("k", 7));
    assert_eq!(future, Err(Verdict::ImpossibleBase(at(7))));
    let base = Position { log: LogId(1), ..at(1) };
    let foreign = request([KeyWrite { base, ..write(T, "k", Mark::Changed, 0) }]);
    assert_eq!(resolver.verdict(&foreign), Err(Verdict::ImpossibleBase(base)));
    let base = Position { index: EntryIndex(u64::MAX), ..at(1) };
    let absurd = request([KeyWrite { base, ..write(T, "k", Mark::Changed, 0) }]);
    assert_eq!(resolver.verdict(&absurd), Err(Verdict::ImpossibleBase(base)));
}

#[test]
fn memory_is_bounded_and_what_is_forgotten_is_too_old() {
    let mut resolver = Resolver::new(at(0), 64 << 10, 7);
    let quiet = request([write(U, "quiet", Mark::Changed, 0)]);
    record(&mut resolver, &quiet, at(1));
    let count = 20_000;
    for index in 2..=count {
        record(
            &mut resolver,
            &changed(&format!("key {index} of a length beyond inline"), 0),
            at(index),
        );
        assert!(resolver.bytes() <= 64 << 10, "{}", resolver.bytes());
    }
    assert!(resolver.keys() > 100);
    let floor = resolver.floor();
    assert!(floor > at(count / 2) && floor < at(count));
    assert_eq!(resolver.verdict(&changed("new", 1)), Err(Verdict::TooOld));
    assert_eq!(resolver.verdict(&changed("new", floor.index.0)), Ok(()));
    let newest = format!("key {count} of a length beyond inline");
    assert_eq!(resolver.verdict(&changed(&newest, 1)), conflict(T, count), "still remembered");
    let same_table = request([write(U, "other", Mark::Changed, 1)]);
    assert_eq!(resolver.verdict(&same_table), Ok(()), "the table was not written since");
    assert_eq!(
        resolver.verdict(&asserts(T, Scope::Table, 1)),
        conflict(T, count),
        "exact for ever"
    );
}

#[test]
fn a_hot_key_is_remembered_as_long_as_it_is_hot() {
    let mut resolver = Resolver::new(at(0), 64 << 10, 7);
    for index in 1..=50_000 {
        let key = if index % 2 == 0 { "hot".to_owned() } else { format!("{index}") };
        record(&mut resolver, &changed(&key, 0), at(index));
    }
    assert_eq!(resolver.verdict(&changed("hot", 49_999)), conflict(T, 50_000));
    assert!(resolver.bytes() <= 64 << 10);
    // What is counted is what is there: the books do not drift.
    let (keys, order) = (resolver.keys(), resolver.order.len());
    let counted = keys * (ENTRY_BYTES - ORDER_BYTES) + order * ORDER_BYTES;
    assert_eq!(resolver.bytes(), counted);
}

#[test]
fn tables_are_bounded_too() {
    let mut resolver = resolver();
    let count = u32::try_from(TABLES_MAX).unwrap() + 10;
    for table in 1..=count {
        let request = CommitRequest { unkeyed: vec![TableId(table)], ..CommitRequest::default() };
        record(&mut resolver, &request, at(u64::from(table)));
        assert!(resolver.tables.len() <= TABLES_MAX);
    }
    let newest = TableId(count);
    let newest_at = u64::from(count);
    assert_eq!(resolver.verdict(&asserts(newest, Scope::Table, 5)), conflict(newest, newest_at));
    assert_eq!(resolver.verdict(&asserts(TableId(9), Scope::Table, 5)), Err(Verdict::TooOld));
    assert_eq!(resolver.verdict(&asserts(TableId(9), Scope::Table, newest_at - 5)), Ok(()));
}
