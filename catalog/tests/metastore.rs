//! The embedded metastore against the contract, and what stands on it.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use glaredb_catalog::{
    Allocator, Catalog, CatalogChange,
    descriptor::{Schema, builtin},
    metastore::{
        CheckpointPointer, EmbeddedMetastore, IdentityError, Leadership, LeadershipError,
        Metastore, MetastoreError, Outcome, Progress, TrailingWriter, Transaction,
        conformance::{self, Subject},
        faulty::FaultyMetastore,
        open_identity, read_catalog, read_checkpoint, write_checkpoint,
    },
};
use glaredb_txn::{
    env::{Clock, Env, SystemRandom},
    ids::{DatabaseId, EntryIndex, LogId, Position, Term, Timestamp},
};
use tempfile::TempDir;

#[derive(Default)]
struct ManualClock {
    ms: AtomicU64,
}

impl Clock for ManualClock {
    fn now_ms(&self) -> u64 {
        self.ms.load(Ordering::SeqCst)
    }

    fn monotonic(&self) -> Duration {
        Duration::from_millis(self.now_ms())
    }

    fn sleep(&self, duration: Duration) {
        self.ms.fetch_add(u64::try_from(duration.as_millis()).expect("short"), Ordering::SeqCst);
    }
}

/// A store in a directory of its own.
struct OnDisk {
    _directory: TempDir,
    env: Env,
}

impl OnDisk {
    fn new() -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let clock = Arc::new(ManualClock::default());
        let env = Env { clock, ..Env::real(directory.path()) };
        Self { _directory: directory, env }
    }

    fn store(&self) -> Arc<EmbeddedMetastore> {
        let store = EmbeddedMetastore::open(self.env.clone(), "metastore.redb");
        Arc::new(store.expect("it opens"))
    }
}

impl Subject for OnDisk {
    fn open(&mut self) -> Arc<dyn Metastore> {
        self.store()
    }

    fn pass(&mut self, time: Duration) {
        self.env.clock.sleep(time);
    }
}

fn at(index: u64) -> Position {
    Position::new(LogId(0), EntryIndex(index), 0)
}

fn lead(store: &Arc<dyn Metastore>) -> Leadership {
    Leadership::begin(store.clone(), &SystemRandom, Term(0)).expect("a term")
}

#[test]
fn embedded_keeps_the_contract() {
    conformance::run_all(OnDisk::new);
}

#[test]
fn leased_keys_do_not_survive_a_restart() {
    let disk = OnDisk::new();
    {
        let store = disk.store();
        let lease = store.grant_lease(Duration::from_secs(1000)).expect("a lease");
        let hold = Transaction::new().put("stays", "1").put_leased("goes", "1", lease.id());
        assert!(matches!(store.commit(&hold), Ok(Outcome::Applied(_))));
    }
    let store = disk.store();
    assert!(store.get(b"stays").expect("a read").is_some());
    assert!(store.get(b"goes").expect("a read").is_none());
}

#[test]
fn identity_is_made_once_and_a_foreign_one_refused() {
    let disk = OnDisk::new();
    let store = disk.store();
    let identity = open_identity(&*store, &SystemRandom, None).expect("a new identity");
    let id = identity.database_id;
    assert_eq!(open_identity(&*store, &SystemRandom, Some(id)), Ok(identity));
    assert_eq!(
        open_identity(&*store, &SystemRandom, Some(DatabaseId(7))),
        Err(IdentityError::Foreign { expected: DatabaseId(7), found: id })
    );
    let empty = OnDisk::new();
    let adopted = open_identity(&*empty.store(), &SystemRandom, Some(id));
    assert!(matches!(adopted, Err(IdentityError::Foreign { .. })), "{adopted:?}");

    // Format version 2, behind version byte and id.
    let mut newer = store.get(b"identity").expect("a read").expect("an identity").value.to_vec();
    newer[17] = 2;
    store.commit(&Transaction::new().put("identity", newer)).expect("a write");
    assert_eq!(
        open_identity(&*store, &SystemRandom, Some(id)),
        Err(IdentityError::Newer { database_id: id, found: 2 })
    );
}

#[test]
fn terms_grow_and_fence_who_came_before() {
    let disk = OnDisk::new();
    let store: Arc<dyn Metastore> = disk.store();
    let first = lead(&store);
    assert_eq!(first.term(), Term(1));
    first.commit(Transaction::new().put("a", "1")).expect("it leads");
    let second = Leadership::begin(store.clone(), &SystemRandom, Term(41)).expect("a term");
    assert_eq!(second.term(), Term(42));
    let fenced = LeadershipError::Fenced { own: Term(1), current: Term(42) };
    assert_eq!(first.commit(Transaction::new().put("a", "2")), Err(fenced));
    assert_eq!(store.get(b"a").expect("a read").expect("written").value, "1");
}

#[test]
fn a_lost_answer_does_not_cost_the_term() {
    let disk = OnDisk::new();
    let faulty = Arc::new(FaultyMetastore::new(disk.store()));
    let store: Arc<dyn Metastore> = faulty.clone();
    faulty.lose_answers(1);
    assert_eq!(lead(&store).term(), Term(1), "its own attempt is recognised");
    faulty.lose_requests(2);
    assert_eq!(lead(&store).term(), Term(2));
    faulty.be_unavailable(1);
    let refused = Leadership::begin(store.clone(), &SystemRandom, Term(0)).err();
    assert!(matches!(refused, Some(LeadershipError::Metastore(MetastoreError::Unavailable(_)))));
}

#[test]
fn the_checkpoint_pointer_never_goes_back() {
    let disk = OnDisk::new();
    let store: Arc<dyn Metastore> = disk.store();
    let leader = lead(&store);
    let pointer = |index: u64| CheckpointPointer {
        position: at(index),
        timestamp: Timestamp(index * 10),
        object: format!("checkpoint/{index}"),
    };
    assert_eq!(read_checkpoint(&*store, LogId(0)), Ok(None));
    assert_eq!(write_checkpoint(&leader, &pointer(5)), Ok(pointer(5)));
    assert_eq!(write_checkpoint(&leader, &pointer(3)), Ok(pointer(5)));
    assert_eq!(read_checkpoint(&*store, LogId(0)), Ok(Some(pointer(5))));
    assert_eq!(read_checkpoint(&*store, LogId(1)), Ok(None));
    let _next = lead(&store);
    assert!(matches!(write_checkpoint(&leader, &pointer(9)), Err(LeadershipError::Fenced { .. })));
}

fn schemas(ids: &Allocator, count: usize) -> CatalogChange {
    let mut change = CatalogChange::default();
    for _ in 0..count {
        let oid = ids.oid();
        change.create_schema(Schema { oid, name: format!("s{oid}"), owner: 10, comment: None });
    }
    change
}

#[test]
fn descriptors_trail_the_log_in_bounded_steps() {
    let disk = OnDisk::new();
    let faulty = Arc::new(FaultyMetastore::new(disk.store()));
    let store: Arc<dyn Metastore> = faulty.clone();
    let mut writer = TrailingWriter::open(lead(&store)).expect("a writer");
    assert_eq!(writer.step(), Ok(Progress::Idle));

    let bootstrap = builtin::bootstrap();
    let first = Catalog::empty().apply(&bootstrap).expect("it fits");
    let ids = Allocator::after(&first);
    let many = schemas(&ids, 500);
    let second = first.apply(&many).expect("it fits");
    let mut drop = CatalogChange::default();
    drop.drop_schema(many.upsert_schemas[7].oid);
    let third = second.apply(&drop).expect("it is there");
    writer.enqueue(at(1), &bootstrap, &first);
    writer.enqueue(at(2), &many, &second);
    writer.enqueue(at(3), &drop, &third);
    assert_eq!(writer.cut_limit(), Some(at(1)));

    let mut steps = 0;
    loop {
        // Every third step's answer is lost, every fifth never arrives: nothing is skipped.
        faulty.lose_answers(u32::from(steps % 3 == 1));
        faulty.lose_requests(u32::from(steps % 5 == 2));
        steps += 1;
        match writer.step() {
            Ok(Progress::Idle) => break,
            Ok(Progress::More) => {}
            Err(e) => assert!(e.to_string().contains("as told"), "{e}"),
        }
        assert!(steps < 1000, "it does not end");
    }
    assert!(steps > 8, "500 descriptors in {steps} transactions");
    assert_eq!(writer.cut_limit(), None);
    assert_eq!(read_catalog(&*store), Ok((at(3), third.clone())));

    // Replay after a restart: passed over. A stale leader: fenced.
    let mut next = TrailingWriter::open(lead(&store)).expect("a writer");
    assert_eq!(next.reached(), at(3));
    next.enqueue(at(2), &many, &second);
    assert_eq!(next.cut_limit(), None);
    writer.enqueue(at(4), &schemas(&ids, 1), &third);
    let fenced = LeadershipError::Fenced { own: Term(1), current: Term(2) };
    assert_eq!(writer.step(), Err(fenced.into()));
    assert_eq!(read_catalog(&*store), Ok((at(3), third)));
}

#[test]
fn a_start_brings_over_what_the_log_no_longer_has() {
    let disk = OnDisk::new();
    let store: Arc<dyn Metastore> = disk.store();
    let first = Catalog::empty().apply(&builtin::bootstrap()).expect("it fits");
    let ids = Allocator::after(&first);
    let old = schemas(&ids, 100);
    let second = first.apply(&old).expect("it fits");
    let mut writer = TrailingWriter::open(lead(&store)).expect("a writer");
    writer.reconcile(at(2), &second).expect("listed");
    while writer.step() == Ok(Progress::More) {}
    assert_eq!(read_catalog(&*store), Ok((at(2), second.clone())));

    let mut change = schemas(&ids, 3);
    old.upsert_schemas[..50].iter().for_each(|schema| change.drop_schema(schema.oid));
    let third = second.apply(&change).expect("it fits");
    let mut writer = TrailingWriter::open(lead(&store)).expect("a writer");
    writer.reconcile(at(9), &third).expect("listed");
    while writer.step() == Ok(Progress::More) {}
    assert_eq!(read_catalog(&*store), Ok((at(9), third.clone())));
    writer.reconcile(at(4), &second).expect("an older one");
    assert_eq!(writer.step(), Ok(Progress::Idle), "older never overwrites newer");
    assert_eq!(read_catalog(&*store), Ok((at(9), third)));
}
