use std::sync::atomic::Ordering::SeqCst;

use futures::executor::block_on;
use glaredb_txn::env::SystemRandom;
use object_store::{PutPayload, memory::InMemory, path::Path};

use super::*;
use crate::storage::objects::conformance;
use faulty::{Fault, Faulty};

mod faulty;

fn name(text: &str) -> ObjectName {
    ObjectName::new(text).expect("valid")
}

/// Little patience between attempts, enough time for all of them on a machine that is busy. The
/// store in memory takes parts in their order only.
const LIMITS: Limits = Limits {
    attempt: Duration::from_secs(10),
    request: Duration::from_secs(60),
    wait_first: Duration::from_millis(1),
    wait_max: Duration::from_millis(2),
    concurrency: 8,
    parts: 1,
};

fn objects(store: &Arc<Faulty>, limits: Limits) -> RemoteObjects {
    let store: Arc<dyn RemoteStore> = store.clone();
    RemoteObjects::new(store, "a/b", "s3://bucket/a/b", limits, Arc::new(SystemRandom))
        .expect("threads")
}

#[test]
fn conforms_on_a_store_in_memory() {
    let store: Arc<dyn RemoteStore> = Arc::new(InMemory::new());
    for folder in ["", "a", "a/b"] {
        let objects = RemoteObjects::new(
            Arc::clone(&store),
            folder,
            "memory",
            LIMITS,
            Arc::new(SystemRandom),
        );
        let objects = objects.expect("threads");
        conformance::contract(&objects);
        for entry in objects.list("").expect("list") {
            objects.delete(&entry.name).expect("delete");
        }
    }
}

/// Requests are refused, and answers lost after the request was executed, all the time.
#[test]
fn conforms_though_every_other_request_fails() {
    use Fault::{AnswerLost, None, Refused};
    for pattern in [vec![Refused, None], vec![AnswerLost, None], vec![AnswerLost, Refused, None]] {
        let store = Arc::new(Faulty::default());
        *store.pattern.lock() = pattern;
        conformance::contract(&objects(&store, LIMITS));
    }
}

#[test]
fn what_a_lost_answer_created_is_ours() {
    let store = Arc::new(Faulty::default());
    let objects = objects(&store, LIMITS);
    store.next.lock().push_back(Fault::AnswerLost);
    objects.put(&name("x"), b"ours").expect("it was executed");
    assert_eq!(&objects.get(&name("x")).expect("get")[..], b"ours");
    // One more writes the same bytes: it is not the one who created the object.
    let again = objects.put(&name("x"), b"ours");
    assert!(matches!(again, Err(ObjectError::AlreadyExists(_))), "{again:?}");
}

/// Somebody else's object appears while our attempts fail, of the same length, too.
#[test]
fn what_another_created_is_not_ours() {
    for theirs in ["theirs", "else"] {
        let store = Arc::new(Faulty::default());
        let objects = objects(&store, LIMITS);
        let (path, body) = (Path::from("a/b/x"), PutPayload::from_static(theirs.as_bytes()));
        block_on(store.memory.put(&path, body)).expect("put");
        store.next.lock().extend([Fault::Refused, Fault::None, Fault::None]);
        let refused = objects.put(&name("x"), b"ours");
        assert!(matches!(&refused, Err(ObjectError::AlreadyExists(n)) if *n == name("x")));
        assert_eq!(&objects.get(&name("x")).expect("get")[..], theirs.as_bytes());
    }
}

/// The first attempt is executed only when it was looked for in vain and the second one comes, which
/// finds the name taken.
#[test]
fn an_attempt_that_comes_late_is_ours() {
    let store = Arc::new(Faulty::default());
    let limits = Limits { attempt: Duration::from_millis(50), ..LIMITS };
    let objects = objects(&store, limits);
    store.next.lock().push_back(Fault::Late);
    objects.put(&name("x"), b"ours").expect("one of the two attempts created it");
    assert_eq!(&objects.get(&name("x")).expect("get")[..], b"ours");
}

/// Every operation ends with an error that says which object and which store, and what to check.
#[test]
fn a_store_that_is_away_is_named() {
    let limits = Limits {
        attempt: Duration::from_millis(20),
        request: Duration::from_millis(100),
        ..LIMITS
    };
    for fault in [Fault::Refused, Fault::Stalled] {
        let store = Arc::new(Faulty::default());
        let objects = objects(&store, limits);
        *store.always.lock() = Some(fault);
        let errors = [
            objects.get(&name("x")).map(drop),
            objects.size(&name("x")).map(drop),
            objects.put(&name("x"), b"body"),
            block_on(objects.read_ranges(&name("x"), &[0..1, 3..4])).map(drop),
            objects.create(&name("x")).and_then(|mut object| {
                object.write(&vec![1; 9 << 20])?;
                object.finish()
            }),
        ];
        for (operation, result) in errors.into_iter().enumerate() {
            let error = result.expect_err("the store is away").to_string();
            for part in ["object x: ", "s3://bucket/a/b", "check the endpoint"] {
                assert!(error.contains(part), "operation {operation}, {fault:?}: {error}");
            }
        }
        *store.always.lock() = None;
        let kept = block_on(store.memory.list(None).count());
        assert_eq!(kept, usize::from(fault == Fault::Stalled));
    }
}

#[test]
fn what_is_forbidden_is_not_tried_again() {
    let store = Arc::new(Faulty::default());
    let objects = objects(&store, LIMITS);
    *store.always.lock() = Some(Fault::Forbidden);
    let error = objects.put(&name("x"), b"body").expect_err("forbidden").to_string();
    assert!(error.contains("check the access key"), "{error}");
    assert_eq!(store.requests.load(SeqCst), 1);
}

/// A query that ends takes its requests with it.
#[test]
fn a_read_that_nobody_waits_for_ends() {
    let store = Arc::new(Faulty::default());
    let objects = objects(&store, Limits { concurrency: 1, ..LIMITS });
    objects.put(&name("x"), b"body").expect("put");
    store.next.lock().push_back(Fault::Stalled);
    let two = [0..1, 2..3];
    let mut read = objects.read_ranges(&name("x"), &two);
    let before = store.requests.load(SeqCst);
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    while store.requests.load(SeqCst) == before {
        assert!(read.as_mut().poll(&mut context).is_pending());
        std::thread::yield_now();
    }
    drop(read);
    // It held the only permit.
    assert_eq!(&objects.get(&name("x")).expect("get")[..], b"body");
}

/// Ranges that are near each other come with one request, those far apart with one each.
#[test]
fn near_ranges_are_fetched_together() {
    let store = Arc::new(Faulty::default());
    let objects = objects(&store, LIMITS);
    objects.put(&name("x"), &vec![1; 4 << 20]).expect("put");
    let before = store.requests.load(SeqCst);
    let (near, far) = (100..200, (3 << 20)..(3 << 20) + 10);
    let read = block_on(objects.read_ranges(&name("x"), &[0..10, far, near]));
    let lengths: Vec<usize> = read.expect("read").iter().map(Bytes::len).collect();
    assert_eq!(lengths, [10, 10, 100]);
    assert_eq!(store.requests.load(SeqCst) - before, 2);
}
