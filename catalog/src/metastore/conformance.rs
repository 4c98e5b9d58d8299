//! The suite every implementation of [`Metastore`] passes: one function per obligation of the
//! contract. Panics where one is not kept.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;

use super::{
    Event, KEY_BYTES_MAX, KeyState, Metastore, MetastoreError, Outcome, Revision,
    TRANSACTION_BYTES_MAX, TRANSACTION_OPERATIONS_MAX, Transaction, Watch,
};

/// What the suite needs of an implementation.
pub trait Subject {
    /// The store on this subject's data: empty the first time, afterwards as a restart of the
    /// process would find it. The suite holds no earlier one when it asks again.
    fn open(&mut self) -> Arc<dyn Metastore>;

    /// Let time pass.
    fn pass(&mut self, time: Duration);
}

/// Runs all of it; `new` makes an empty subject.
pub fn run_all<S: Subject>(mut new: impl FnMut() -> S) {
    reads_see_what_was_answered(&mut new());
    transactions_are_atomic(&mut new());
    revisions_grow(&mut new());
    bounds_are_kept(&mut new());
    watches_miss_nothing(&mut new());
    leases_end(&mut new());
    answered_is_durable(&mut new());
}

fn applied(outcome: Result<Outcome, MetastoreError>) -> Revision {
    match outcome {
        Ok(Outcome::Applied(revision)) => revision,
        other => panic!("expected the transaction to be applied, got {other:?}"),
    }
}

fn put(store: &dyn Metastore, key: &'static str, value: &'static str) -> Revision {
    applied(store.commit(&Transaction::new().put(key, value)))
}

fn value(store: &dyn Metastore, key: &str) -> Option<Bytes> {
    store.get(key.as_bytes()).expect("a read").map(|entry| entry.value)
}

/// Obligation 1.
pub fn reads_see_what_was_answered(subject: &mut impl Subject) {
    let store = subject.open();
    assert_eq!(value(&*store, "a"), None);
    put(&*store, "a/1", "one");
    put(&*store, "a/2", "two");
    put(&*store, "b", "three");
    let last = put(&*store, "a/2", "two again");
    assert_eq!(value(&*store, "a/2").as_deref(), Some(&b"two again"[..]));
    let listing = store.list(b"a/").expect("a list");
    let found: Vec<_> = listing.entries.iter().map(|(key, e)| (&key[..], &e.value[..])).collect();
    assert_eq!(found, [(&b"a/1"[..], &b"one"[..]), (b"a/2", b"two again")]);
    assert_eq!(listing.revision, last);
    assert_eq!(store.list(b"c").expect("a list").entries, []);
    applied(store.commit(&Transaction::new().delete("a/1")));
    assert_eq!(value(&*store, "a/1"), None);
    assert_eq!(store.list(b"a").expect("a list").entries.len(), 1);
}

/// Obligation 2, but for durability.
pub fn transactions_are_atomic(subject: &mut impl Subject) {
    let store = subject.open();
    let first = put(&*store, "a", "one");
    let refused = |transaction: &Transaction, condition| {
        let before = store.list(b"").expect("a list");
        let outcome = store.commit(transaction).expect("an answer");
        assert_eq!(outcome, Outcome::Refused { condition });
        assert_eq!(store.list(b"").expect("a list"), before, "a refusal left a trace");
    };
    let both = || Transaction::new().put("a", "two").put("b", "two");
    refused(&both().when("a", KeyState::Absent), 0);
    refused(&both().when("b", KeyState::ModifiedAt(first)), 0);
    refused(
        &both().when("a", KeyState::ModifiedAt(first)).when("b", KeyState::CreatedAt(first)),
        1,
    );
    applied(
        store.commit(&both().when("a", KeyState::ModifiedAt(first)).when("b", KeyState::Absent)),
    );
    assert_eq!(value(&*store, "a").as_deref(), Some(&b"two"[..]));
    assert_eq!(value(&*store, "b").as_deref(), Some(&b"two"[..]));
    refused(&both().when("a", KeyState::ModifiedAt(first)), 0);
    applied(store.commit(&Transaction::new().when("a", KeyState::CreatedAt(first)).delete("a")));
    refused(&both().when("a", KeyState::CreatedAt(first)), 0);
    put(&*store, "a", "anew");
    refused(&both().when("a", KeyState::CreatedAt(first)), 0);
}

/// Obligation 3.
pub fn revisions_grow(subject: &mut impl Subject) {
    let store = subject.open();
    let first = put(&*store, "a", "one");
    let second = put(&*store, "a", "two");
    assert!(second > first);
    let entry = store.get(b"a").expect("a read").expect("written");
    assert_eq!((entry.created, entry.modified), (first, second));

    let checked = store.commit(&Transaction::new().when("a", KeyState::CreatedAt(first)));
    assert_eq!(applied(checked), second, "a check writes nothing");
    let nothing = store.commit(&Transaction::new().delete("absent"));
    assert_eq!(applied(nothing), second, "deleting what is not there writes nothing");
    assert_eq!(store.list(b"").expect("a list").revision, second);

    drop(store);
    let store = subject.open();
    assert_eq!(store.list(b"").expect("a list").revision, second);
    applied(store.commit(&Transaction::new().delete("a")));
    let third = put(&*store, "a", "three");
    assert!(third > second);
    let entry = store.get(b"a").expect("a read").expect("written");
    assert_eq!((entry.created, entry.modified), (third, third));
}

/// Obligation 4.
pub fn bounds_are_kept(subject: &mut impl Subject) {
    let store = subject.open();
    let many = |count: usize| {
        (0..count).fold(Transaction::new(), |t, n| t.put(format!("key {n}"), "value"))
    };
    let large = |bytes: usize| Transaction::new().put("k", vec![0_u8; bytes]);
    let too_much = [
        many(TRANSACTION_OPERATIONS_MAX + 1),
        large(TRANSACTION_BYTES_MAX),
        Transaction::new().put("", "value"),
        Transaction::new().put(vec![b'k'; KEY_BYTES_MAX + 1], "value"),
        Transaction::new().put("twice", "1").delete("twice"),
    ];
    for transaction in too_much {
        match store.commit(&transaction) {
            Err(MetastoreError::Invalid(_)) => {}
            other => panic!("expected an invalid transaction, got {other:?}"),
        }
        assert_eq!(store.list(b"").expect("a list").entries, []);
    }
    applied(store.commit(&many(TRANSACTION_OPERATIONS_MAX)));
    applied(store.commit(&large(TRANSACTION_BYTES_MAX - 1)));
    applied(store.commit(&Transaction::new().put(vec![b'k'; KEY_BYTES_MAX], "value")));
}

fn events(watch: &mut dyn Watch) -> Vec<(String, Option<String>)> {
    let text = |bytes: &Bytes| String::from_utf8_lossy(bytes).into_owned();
    let polled: Vec<Event> = watch.poll().expect("events");
    assert!(polled.is_sorted_by_key(|event| event.revision), "events out of order: {polled:?}");
    polled.iter().map(|event| (text(&event.key), event.value.as_ref().map(text))).collect()
}

/// Obligation 5.
pub fn watches_miss_nothing(subject: &mut impl Subject) {
    let store = subject.open();
    let start = put(&*store, "w/a", "before");
    let mut watch = store.watch(b"w/", start).expect("a watch");
    assert_eq!(events(&mut *watch), []);
    let middle = put(&*store, "w/a", "1");
    put(&*store, "other", "1");
    applied(store.commit(&Transaction::new().put("w/b", "2").delete("w/a")));
    let some = |key: &str, value: &str| (key.to_owned(), Some(value.to_owned()));
    let mut seen = events(&mut *watch);
    // Events of one revision come in any order.
    seen[1..].sort();
    assert_eq!(seen, [some("w/a", "1"), ("w/a".to_owned(), None), some("w/b", "2")]);
    assert_eq!(events(&mut *watch), [], "an event came twice");

    let mut late = store.watch(b"w/", middle).expect("a watch");
    assert_eq!(events(&mut *late).len(), 2);

    // Far behind: everything, or told that it is not everything.
    let mut slow = store.watch(b"w/", middle).expect("a watch");
    let (transactions, keys) = (60, 100);
    for n in 0..transactions {
        let write = |t: Transaction, key| t.put(format!("w/{key}"), n.to_string());
        applied(store.commit(&(0..keys).fold(Transaction::new(), write)));
    }
    match slow.poll() {
        Ok(all) => assert_eq!(all.len(), 2 + transactions * keys),
        Err(MetastoreError::Compacted { asked, oldest }) => assert!(asked < oldest),
        Err(other) => panic!("{other}"),
    }
    let listing = store.list(b"w/").expect("a list");
    let mut anew = store.watch(b"w/", listing.revision).expect("a watch from a list");
    put(&*store, "w/z", "last");
    assert_eq!(events(&mut *anew), [some("w/z", "last")]);
}

/// Obligation 6.
pub fn leases_end(subject: &mut impl Subject) {
    let store = subject.open();
    let second = Duration::from_secs(1);
    let lease = store.grant_lease(10 * second).expect("a lease");
    let start = put(&*store, "free", "stays");
    applied(store.commit(&Transaction::new().put_leased("held", "goes", lease.id())));
    assert_eq!(store.get(b"held").expect("a read").expect("held").lease, Some(lease.id()));
    subject.pass(8 * second);
    assert!(lease.keep_alive().expect("in time") >= 10 * second);
    subject.pass(8 * second);
    assert!(value(&*store, "held").is_some(), "gone before its time");
    let mut watch = store.watch(b"held", start).expect("a watch");
    subject.pass(20 * second);
    assert_eq!(value(&*store, "held"), None);
    assert_eq!(events(&mut *watch).last(), Some(&("held".to_owned(), None)));
    let ended = MetastoreError::LeaseEnded(lease.id());
    assert_eq!(lease.keep_alive(), Err(ended.clone()));
    let late = Transaction::new().put_leased("held", "late", lease.id());
    assert_eq!(store.commit(&late), Err(ended));
    assert_eq!(value(&*store, "held"), None);

    // A write without the lease frees the key from it; revoking takes only what is still held.
    let lease = store.grant_lease(10 * second).expect("a lease");
    let hold = Transaction::new().put_leased("x", "1", lease.id()).put_leased("y", "1", lease.id());
    applied(store.commit(&hold));
    put(&*store, "x", "free now");
    lease.revoke().expect("revoked");
    assert_eq!(value(&*store, "x").as_deref(), Some(&b"free now"[..]));
    assert_eq!(value(&*store, "y"), None);
    assert_eq!(value(&*store, "free").as_deref(), Some(&b"stays"[..]));
}

/// Obligation 2: what was answered is there after a restart.
pub fn answered_is_durable(subject: &mut impl Subject) {
    for round in 0..10_u32 {
        let store = subject.open();
        for n in 0..round {
            let written =
                value(&*store, &format!("round {n}")).expect("written in an earlier round");
            assert_eq!(written, n.to_le_bytes()[..]);
        }
        let key = format!("round {round}");
        applied(store.commit(&Transaction::new().put(key, round.to_le_bytes().to_vec())));
    }
}
