//! The leader with its threads, over a log in memory and the toy state.

use std::{
    sync::{
        Arc,
        mpsc::{Receiver, sync_channel},
    },
    time::Duration,
};

use bytes::Bytes;
use fail::FailScenario;
use glaredb_txn::{
    commit::{
        commit_ids::CommitIds,
        leader::{FAIL_POINTS, Leader, LeaderHandle, LeaderOptions, LeaderParts, Status},
        message::{
            Answer, CommitRequest, KeyWriteRef, KeyWrites, Mark, Part, Refusal, Request,
            decode_answer, encode_request,
        },
        recovery::{PIECE_BYTES, Replay},
        time::{FakeWindow, TimestampWindow},
    },
    env::Env,
    ids::{CommitId, IndexId, LogId, Position, Term},
    log::wal::{Wal, WalError},
    sim::{
        MemoryWal, SimClock,
        commit::toy::{
            MOVED_KEY, Op, ToyApply, ToyPlacement, ToyState, key_bytes, payload, table_of,
        },
    },
};
use parking_lot::Mutex;

const TIMEOUT: Duration = Duration::from_secs(20);

struct Node {
    leader: LeaderHandle,
    wal: Arc<MemoryWal>,
    window: FakeWindow,
    state: Arc<Mutex<ToyState>>,
    fatal: Mutex<Receiver<String>>,
}

fn start() -> Node {
    start_with(Env::real("."), Arc::new(MemoryWal::new()), FakeWindow::default())
}

/// Recovers from what the log holds, and starts.
fn start_with(env: Env, wal: Arc<MemoryWal>, window: FakeWindow) -> Node {
    let ids = Arc::new(CommitIds::new(LogId(0)));
    let state = Arc::new(Mutex::new(ToyState::default()));
    let mut apply = ToyApply { state: Arc::clone(&state), ids: Arc::clone(&ids) };
    Replay { wal: &*wal, ids: &ids, threads: &*env.threads, piece_bytes: PIECE_BYTES }
        .run(&mut apply, &mut |_| {})
        .expect("the log is in order");
    let (send, fatal) = sync_channel(1);
    let parts = LeaderParts {
        wal: Arc::clone(&wal) as Arc<dyn Wal>,
        placement: Box::new(ToyPlacement::of(&state.lock())),
        apply: Box::new(apply),
        window: Arc::new(window.clone()),
        ids,
        term: Term(1),
        on_fatal: Box::new(move |stopped| send.send(stopped.to_string()).expect("room for one")),
    };
    let leader = Leader::start(&env, parts, LeaderOptions::default()).expect("the leader starts");
    Node { leader, wal, window, state, fatal: Mutex::new(fatal) }
}

fn op(key: u32, value: u64, read: Option<u64>) -> Op {
    Op { table: 1, key, value: Some(value), read }
}

fn commit(id: CommitId, base: Position, ops: &[Op], parts: u32) -> Request {
    let mut writes = KeyWrites::new();
    for op in ops {
        let (table, index, key) = (table_of(op), IndexId::KEY, key_bytes(op));
        writes.push(KeyWriteRef { table, index, key: &key, mark: Mark::Changed, base });
    }
    let payload = payload(ops);
    Request::Commit(CommitRequest { id, writes, parts, payload, ..CommitRequest::default() })
}

impl Node {
    fn send(&self, request: &Request) -> Receiver<Answer> {
        let (send, answer) = sync_channel(2);
        let reply = move |bytes: Bytes| {
            send.send(decode_answer(&bytes).expect("an answer")).expect("room, and a receiver");
        };
        self.leader.submit(encode_request(request), Box::new(reply));
        answer
    }

    fn ask(&self, request: &Request) -> Answer {
        self.send(request).recv_timeout(TIMEOUT).expect("everyone is answered")
    }

    /// One key set to a value, on the newest snapshot.
    fn set(&self, key: u32, value: u64) -> Answer {
        let base = self.leader.snapshots().published();
        let read = self.state.lock().read(1, key, base.timestamp);
        self.ask(&commit(self.leader.new_commit_id(), base.position, &[op(key, value, read)], 0))
    }

    fn get(&self, key: u32) -> Option<u64> {
        let snapshot = self.leader.snapshots().published();
        self.state.lock().read(1, key, snapshot.timestamp)
    }

    fn stopped(&self) -> String {
        let reason = self.fatal.lock().recv_timeout(TIMEOUT).expect("the node stops");
        assert!(matches!(self.leader.status(), Status::Stopped(_)));
        reason
    }
}

fn is_committed(answer: &Answer) -> bool {
    matches!(answer, Answer::Committed { .. })
}

#[test]
fn concurrent_increments_lose_nothing() {
    let node = start();
    let env = Env::real(".");
    let (threads, each) = (8, 200);
    let (send, attempts) = sync_channel(threads);
    let node = Arc::new(node);
    for thread in 0..threads {
        let (node, send) = (Arc::clone(&node), send.clone());
        let body = move || {
            let mut conflicts = 0;
            for done in 0..each {
                let key = (thread + done) as u32 % 3;
                loop {
                    let guard = node.leader.snapshots().register();
                    let read = node.state.lock().read(1, key, guard.timestamp());
                    let ops = [op(key, read.unwrap_or(0) + 1, read)];
                    let base = guard.snapshot().position;
                    let id = node.leader.new_commit_id();
                    match node.ask(&commit(id, base, &ops, 0)) {
                        Answer::Committed { .. } => break,
                        Answer::Conflict { at, .. } => {
                            conflicts += 1;
                            let published = node.leader.snapshots().published().position;
                            assert!(at <= published, "a retry sees what it lost to");
                        }
                        other => panic!("{other:?}"),
                    }
                }
            }
            send.send(conflicts).expect("waited for");
        };
        env.threads.spawn("incrementer", Box::new(body)).expect("a thread");
    }
    let conflicts: usize =
        (0..threads).map(|_| attempts.recv_timeout(TIMEOUT).expect("it ends")).sum();
    let total: u64 = (0..3).filter_map(|key| node.get(key)).sum();
    assert_eq!(total, (threads * each) as u64);
    let metrics = node.leader.metrics();
    assert_eq!(metrics.commits, total);
    assert_eq!(metrics.conflicts, conflicts as u64);
    assert!(conflicts > 0 && metrics.batches < total, "they met, and shared syncs: {metrics:?}");
    node.leader.shutdown();

    let again = start_with(Env::real("."), Arc::clone(&node.wal), node.window.clone());
    assert_eq!((0..3).filter_map(|key| again.get(key)).sum::<u64>(), total);
}

#[test]
fn a_commit_in_parts_is_seen_whole_or_not_at_all() {
    let node = start();
    let base = node.leader.snapshots().published().position;
    let id = node.leader.new_commit_id();
    for key in 0..3 {
        let part = Part { id, sequence: key, payload: payload(&[op(key, 7, None)]) };
        assert_eq!(node.ask(&Request::Part(part)), Answer::PartAccepted);
    }
    assert!(node.leader.oldest_open_part().is_some());
    assert_eq!(node.get(0), None);
    let gap = Part { id, sequence: 4, payload: payload(&[]) };
    let refused = node.ask(&Request::Part(gap));
    assert!(matches!(refused, Answer::Refused(Refusal::Malformed(_))), "{refused:?}");
    let short = node.ask(&commit(id, base, &[op(9, 7, None)], 2));
    assert!(matches!(short, Answer::Refused(Refusal::Malformed(_))), "{short:?}");
    assert!(is_committed(&node.ask(&commit(id, base, &[op(9, 7, None)], 3))));
    assert_eq!((node.get(0), node.get(2), node.get(9)), (Some(7), Some(7), Some(7)));
    assert_eq!(node.leader.oldest_open_part(), None);
    let again = node.ask(&commit(id, base, &[op(9, 8, None)], 0));
    assert_eq!(again, Answer::Refused(Refusal::IdUsed(id)));
    assert!(is_committed(&node.ask(&Request::Resolve(id))));

    let left = node.leader.new_commit_id();
    let part = Part { id: left, sequence: 0, payload: payload(&[op(1, 9, Some(7))]) };
    assert_eq!(node.ask(&Request::Part(part)), Answer::PartAccepted);
    node.leader.shutdown();
    let again = start_with(Env::real("."), Arc::clone(&node.wal), node.window.clone());
    assert_eq!(again.ask(&Request::Resolve(left)), Answer::Aborted);
    assert_eq!(again.leader.oldest_open_part(), None, "aborted at the start");
    assert_eq!(again.get(1), Some(7));
    let late = again.ask(&commit(left, base, &[op(1, 9, Some(7))], 1));
    assert_eq!(late, Answer::Refused(Refusal::IdAborted(left)));
}

/// Who is told that rows were moved looks for them at once: what moved them is applied then.
#[test]
fn a_commit_hears_of_moved_rows_when_the_move_can_be_seen() {
    let node = start();
    for round in 0..50 {
        let moves = commit(node.leader.new_commit_id(), Position::ZERO, &[op(round, 1, None)], 0);
        let id = node.leader.new_commit_id();
        let names = match round % 2 {
            0 => commit(id, Position::ZERO, &[op(MOVED_KEY, 1, None)], 0),
            _ => {
                Request::Part(Part { id, sequence: 0, payload: payload(&[op(MOVED_KEY, 1, None)]) })
            }
        };
        let moved = node.send(&moves);
        let told = node.ask(&names);
        assert!(matches!(told, Answer::Refused(Refusal::Moved { .. })), "{told:?}");
        assert_eq!(node.get(round), Some(1), "round {round}");
        assert!(is_committed(&moved.recv_timeout(TIMEOUT).expect("everyone is answered")));
    }
}

#[test]
fn a_full_disk_refuses_and_recovers() {
    let node = start();
    assert!(is_committed(&node.set(1, 1)));
    // What was granted beforehand may still be used; then nothing more is there.
    node.wal.set_room(Some(9 << 20));
    let big = Bytes::from(vec![0; 512 << 10]);
    let mut refused = 0;
    let id = node.leader.new_commit_id();
    for sequence in 0..64 {
        let mut out = payload(&[]).to_vec();
        out.extend_from_slice(&big);
        match node.ask(&Request::Part(Part { id, sequence, payload: out.into() })) {
            Answer::PartAccepted => assert_eq!(refused, 0, "sequences go on after a refusal"),
            Answer::Refused(Refusal::DiskFull(_)) => refused += 1,
            Answer::Refused(Refusal::Malformed(_)) if refused > 0 => {}
            other => panic!("{other:?}"),
        }
    }
    assert!(refused > 0);
    let full = node.set(1, 2);
    assert!(matches!(full, Answer::Refused(Refusal::DiskFull(_))), "{full:?}");
    assert_eq!(node.get(1), Some(1), "reads go on");
    assert_eq!(node.ask(&Request::Abort(id)), Answer::Aborted, "ends are admitted");
    assert!(is_committed(&node.leader.control_wait(Bytes::from_static(b"checkpoint"))));
    node.wal.set_room(None);
    std::iter::repeat_with(|| node.set(1, 3)).take(1_000_000).find(is_committed).expect("space");
    assert_eq!(node.get(1), Some(3));
}

#[test]
fn open_large_commits_are_counted_until_they_end() {
    let clock = Arc::new(SimClock::new());
    let env = Env { clock: Arc::clone(&clock) as _, ..Env::real(".") };
    let node = start_with(env, Arc::new(MemoryWal::new()), FakeWindow::default());
    let open = || {
        let metrics = node.leader.metrics();
        (metrics.open_large, metrics.open_large_bytes > 0, metrics.open_large_oldest)
    };
    let nothing = (0, false, Duration::ZERO);
    assert_eq!(open(), nothing);
    let send = |id, sequence| {
        let part = Part { id, sequence, payload: payload(&[op(1, 7, None)]) };
        assert_eq!(node.ask(&Request::Part(part)), Answer::PartAccepted);
    };
    let base = node.leader.snapshots().published().position;
    let (first, second) = (node.leader.new_commit_id(), node.leader.new_commit_id());
    send(first, 0);
    clock.advance(Duration::from_secs(7));
    send(second, 0);
    send(first, 1);
    assert_eq!(open(), (2, true, Duration::from_secs(7)));
    // A conflict ends nothing by itself; the abort after it does.
    assert!(is_committed(&node.set(1, 1)));
    let late = node.ask(&commit(first, base, &[op(1, 7, None)], 2));
    assert!(matches!(late, Answer::Conflict { .. }), "{late:?}");
    assert_eq!(open().0, 2);
    assert_eq!(node.ask(&Request::Abort(first)), Answer::Aborted);
    assert_eq!(open(), (1, true, Duration::ZERO));
    assert_eq!(node.ask(&Request::Abort(second)), Answer::Aborted);
    assert_eq!(open(), nothing);
    let metrics = node.leader.metrics();
    assert_eq!((metrics.commits, metrics.aborts, metrics.conflicts), (1, 2, 1));
}

/// An abort that a full log refuses is made up for: nobody asks twice.
#[test]
fn an_abort_that_found_no_room_is_tried_again() {
    let clock = Arc::new(SimClock::new());
    let env = Env { clock: Arc::clone(&clock) as _, ..Env::real(".") };
    let node = start_with(env, Arc::new(MemoryWal::new()), FakeWindow::default());
    let id = node.leader.new_commit_id();
    let part = Part { id, sequence: 0, payload: payload(&[op(1, 7, None)]) };
    assert_eq!(node.ask(&Request::Part(part)), Answer::PartAccepted);
    // What was granted beforehand may still be used; then nothing more is there.
    node.wal.set_room(Some(9 << 20));
    let control = || node.leader.control_wait(Bytes::from(vec![0; 64 << 10]));
    let full = |answer: &Answer| matches!(answer, Answer::Refused(Refusal::DiskFull(_)));
    std::iter::repeat_with(control).take(1000).find(full).expect("the log is full");
    let abort = || node.ask(&Request::Abort(node.leader.new_commit_id()));
    std::iter::repeat_with(abort).take(100_000).find(full).expect("to the last byte");
    let refused = node.ask(&Request::Abort(id));
    assert!(full(&refused), "{refused:?}");
    assert_eq!(node.leader.metrics().open_large, 1);
    node.wal.set_room(None);
    let clock = Env::real(".").clock;
    let begin = clock.monotonic();
    while node.leader.metrics().open_large > 0 {
        assert!(clock.monotonic() - begin < TIMEOUT, "the keeper aborts it");
        std::thread::yield_now();
    }
    assert_eq!(node.ask(&Request::Resolve(id)), Answer::Aborted);
}

#[test]
fn a_log_that_fails_stops_the_node_and_everyone_is_told() {
    let node = start();
    assert!(is_committed(&node.set(1, 1)));
    node.wal.break_with(WalError::Indeterminate("input/output error".to_owned()));
    let unknown = node.set(1, 2);
    assert!(
        matches!(&unknown, Answer::Unknown(why) if why.contains("input/output")),
        "{unknown:?}"
    );
    assert!(node.stopped().contains("input/output"));
    assert_eq!(node.leader.metrics().commits, 1, "what nobody acknowledged does not count");
    let refused = node.set(1, 3);
    assert!(matches!(refused, Answer::Refused(Refusal::Stopped(_))), "{refused:?}");
    assert_eq!(node.get(1), Some(1), "reads go on");
    node.leader.shutdown();
}

#[test]
fn time_waits_for_its_window() {
    let clock = Arc::new(SimClock::new());
    let env = Env { clock: Arc::clone(&clock) as _, ..Env::real(".") };
    let node = start_with(env, Arc::new(MemoryWal::new()), FakeWindow::default());
    let time = |answer: Answer| match answer {
        Answer::Committed { timestamp, .. } => timestamp,
        other => panic!("{other:?}"),
    };
    let first = time(node.set(1, 1));
    clock.jump(-1_000_000);
    assert_eq!(time(node.set(1, 2)), first.next(), "a clock that goes back is ignored");
    clock.jump(1_000_000 + 3_600_000);
    let jumped = time(node.set(1, 3));
    assert_eq!(jumped.millis(), first.millis() + 3_600_000, "the keeper got a new window");
    assert!(node.window.upper_bound() > jumped);
    node.window.set_away(true);
    assert!(is_committed(&node.set(1, 4)), "the metastore may be away for a while");
    clock.advance(Duration::from_secs(200));
    let refused = node.set(1, 5);
    assert!(matches!(refused, Answer::Refused(Refusal::NoTimestamp(_))), "{refused:?}");
    node.window.set_away(false);
    assert_eq!(time(node.set(1, 5)).millis(), jumped.millis() + 200_000);
}

#[test]
fn a_metastore_that_failed_for_good_stops_the_node() {
    let clock = Arc::new(SimClock::new());
    let env = Env { clock: Arc::clone(&clock) as _, ..Env::real(".") };
    let node = start_with(env, Arc::new(MemoryWal::new()), FakeWindow::default());
    assert!(is_committed(&node.set(1, 1)));
    node.window.set_broken();
    assert!(is_committed(&node.set(1, 2)), "what is granted may be used up");
    clock.advance(Duration::from_secs(200));
    let refused = node.set(1, 3);
    assert!(matches!(refused, Answer::Refused(Refusal::Stopped(_))), "{refused:?}");
    let reason = node.stopped();
    assert!(reason.contains("no timestamps: the metastore failed: by the test"), "{reason}");
    assert_eq!(node.get(1), Some(2), "reads go on");
}

#[test]
fn a_shutdown_answers_everyone() {
    let node = start();
    let answers: Vec<_> = (0..100)
        .map(|key| {
            let base = node.leader.snapshots().published().position;
            node.send(&commit(node.leader.new_commit_id(), base, &[op(key, 1, None)], 0))
        })
        .collect();
    node.leader.shutdown();
    for answer in answers {
        assert!(is_committed(&answer.recv_timeout(TIMEOUT).expect("answered")));
    }
    assert_eq!(node.set(1, 2), Answer::Refused(Refusal::ShuttingDown));
    assert_eq!(node.leader.status(), Status::ShuttingDown);
    node.leader.shutdown();
}

#[test]
fn what_does_not_decode_is_refused() {
    let node = start();
    let (send, answer) = sync_channel(1);
    let reply = move |bytes| send.send(decode_answer(&bytes)).expect("room for one");
    node.leader.submit(Bytes::from_static(b"\x01\x09nonsense"), Box::new(reply));
    let answer = answer.recv_timeout(TIMEOUT).expect("answered");
    assert!(matches!(answer, Ok(Answer::Refused(Refusal::Malformed(_)))), "{answer:?}");
    assert!(is_committed(&node.set(1, 1)));
}

/// At every step of commit: a failure, and a panic of the thread that is there. Whoever waits is
/// told, nothing acknowledged is lost, and what was not is there whole or not at all.
#[test]
fn failures_at_every_step_stop_the_node_and_lose_nothing() {
    for point in FAIL_POINTS {
        for action in ["return(injected)", "panic(injected)"] {
            let scenario = FailScenario::setup();
            let node = start();
            assert!(is_committed(&node.set(1, 1)));
            fail::cfg(*point, action).expect("a valid action");
            let leader = node.leader.clone();
            let request = {
                let base = leader.snapshots().published().position;
                let ops = [op(1, 2, Some(1)), op(2, 2, None)];
                commit(leader.new_commit_id(), base, &ops, 0)
            };
            let attempt = std::panic::AssertUnwindSafe(|| node.ask(&request));
            let answer = std::panic::catch_unwind(attempt);
            fail::remove(*point);
            match &answer {
                // The caller's own thread panicked: nothing was placed.
                Err(_) => assert_eq!(*point, "commit::submit"),
                Ok(Answer::Unknown(_)) => {
                    node.stopped();
                }
                Ok(other) => panic!("{point} {action}: {other:?}"),
            }
            scenario.teardown();
            node.leader.shutdown();
            let again = start_with(Env::real("."), Arc::clone(&node.wal), node.window.clone());
            let seen = (again.get(1), again.get(2));
            let (absent, whole) = ((Some(1), None), (Some(2), Some(2)));
            assert!(seen == absent || seen == whole, "{point} {action}: {seen:?}");
            assert!(is_committed(&again.set(1, 9)), "{point} {action}");
        }
    }
}
