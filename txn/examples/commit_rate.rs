//! Measures the commit pipeline alone: TPC-B-sized commits over a log whose sync is free and a state
//! that does nothing.
//!
//! ```sh
//! cargo run --release -p glaredb-txn --features testing --example commit_rate
//! ```

use std::sync::{Arc, mpsc::sync_channel};

use bytes::Bytes;
use glaredb_txn::{
    commit::{
        commit_ids::CommitIds,
        leader::{Leader, LeaderHandle, LeaderOptions, LeaderParts},
        message::{
            Answer, CommitRequest, KeyWriteRef, KeyWrites, Mark, Part, Refusal, Request,
            decode_answer, encode_request,
        },
        pipeline::{Pipeline, PipelineParts},
        record::Record,
        state_machine::{Apply, ApplyError, Placement},
        time::FakeWindow,
    },
    env::Env,
    ids::{CommitId, IndexId, LogId, Position, SchemaVersion, TableId, Term, Timestamp},
    log::wal::Wal,
    sim::{MemoryWal, Rng},
};

const PAYLOAD_BYTES: usize = 200;
const ACCOUNTS: u64 = 1_000_000;

/// Passes the payload on.
struct Idle;

impl Placement for Idle {
    fn place(&mut self, request: &CommitRequest, _: Timestamp) -> Result<Bytes, Refusal> {
        Ok(request.payload.clone())
    }
    fn place_part(&mut self, part: &Part) -> Result<Bytes, Refusal> {
        Ok(part.payload.clone())
    }
    fn forget_parts(&mut self, _: CommitId) {}
    fn place_control(&mut self, request: &[u8], _: Timestamp) -> Result<Bytes, Refusal> {
        Ok(Bytes::copy_from_slice(request))
    }
}

impl Apply for Idle {
    fn apply(&mut self, _: Position, _: &Record) -> Result<(), ApplyError> {
        Ok(())
    }
}

/// Four keys written: account, teller, branch, and one more; history adds a row without a key.
fn request(id: CommitId, base: Position, rng: &mut Rng, payload: &Bytes) -> Bytes {
    let mut writes = KeyWrites::new();
    let keys = [rng.below(ACCOUNTS), rng.below(100_000), rng.below(10_000), rng.below(ACCOUNTS)];
    for (table, key) in (1..).zip(keys) {
        let (table, index, mark) = (TableId(table), IndexId::KEY, Mark::Changed);
        let key = &key.to_be_bytes();
        writes.push(KeyWriteRef { table, index, key, mark, base });
    }
    encode_request(&Request::Commit(CommitRequest {
        id,
        schema_versions: (1..=5).map(|table| (TableId(table), SchemaVersion(1))).collect(),
        writes,
        unkeyed: vec![TableId(5)],
        payload: payload.clone(),
        ..CommitRequest::default()
    }))
}

fn parts(ids: Arc<CommitIds>) -> PipelineParts {
    PipelineParts {
        wal: Arc::new(MemoryWal::counting()) as Arc<dyn Wal>,
        placement: Box::new(Idle),
        window: Arc::new(FakeWindow::default()),
        ids,
        term: Term(1),
        on_fatal: Box::new(|stopped| panic!("{stopped}")),
    }
}

/// Time of `submit` on one thread: decoding, the critical section, and the log thread's steps apart.
fn measure_submit(env: &Env) {
    let ids = Arc::new(CommitIds::new(LogId(0)));
    let pipeline =
        Pipeline::start(env, parts(ids), LeaderOptions::default()).expect("the pipeline starts");
    let payload = Bytes::from(vec![7; PAYLOAD_BYTES]);
    let mut rng = Rng::new(1);
    let (rounds, batch) = (5_000, 64);
    let (mut submitting, mut rest) = (std::time::Duration::ZERO, std::time::Duration::ZERO);
    for round in 0..rounds {
        let base = pipeline.snapshots().published().position;
        let requests: Vec<Bytes> = (0..batch)
            .map(|n| {
                let number = round * batch + n + 1;
                let id = CommitId { term: Term(1), start: 7, number };
                request(id, base, &mut rng, &payload)
            })
            .collect();
        let started = env.clock.monotonic();
        for request in requests {
            pipeline.submit(request, Box::new(drop));
        }
        let submitted = env.clock.monotonic();
        let taken = pipeline.take_batch().expect("something was submitted");
        let appended = pipeline.append(taken).expect("the log is in memory");
        let durable = pipeline.sync(appended).expect("the log is in memory");
        let applied = pipeline.apply(durable, &mut Idle, usize::MAX).expect("nothing is done");
        pipeline.publish(applied).expect("it is applied");
        submitting += submitted - started;
        rest += env.clock.monotonic() - submitted;
    }
    let commits = u32::try_from(rounds * batch).expect("few");
    println!(
        "submit {:?} a commit (decode, resolve, stamp, place); log, apply and answers {:?}; {:?}",
        submitting / commits,
        rest / commits,
        pipeline.metrics(),
    );
}

/// Each thread commits, waits for the answer, and commits again.
fn client(leader: &LeaderHandle, seed: u64, commits: u64) -> (u64, u64) {
    let payload = Bytes::from(vec![7; PAYLOAD_BYTES]);
    let mut rng = Rng::new(seed);
    let (mut committed, mut conflicts) = (0, 0);
    let (send, answers) = sync_channel(1);
    for _ in 0..commits {
        let base = leader.snapshots().published().position;
        let request = request(leader.new_commit_id(), base, &mut rng, &payload);
        let send = send.clone();
        let reply = move |bytes| send.send(bytes).expect("the client waits");
        leader.submit(request, Box::new(reply));
        match decode_answer(&answers.recv().expect("everyone is answered")) {
            Ok(Answer::Committed { .. }) => committed += 1,
            Ok(Answer::Conflict { .. }) => conflicts += 1,
            other => panic!("{other:?}"),
        }
    }
    (committed, conflicts)
}

fn measure_threads(env: &Env, threads: u64) {
    let PipelineParts { wal, placement, window, ids, term, on_fatal } =
        parts(Arc::new(CommitIds::new(LogId(0))));
    let parts = LeaderParts { wal, placement, apply: Box::new(Idle), window, ids, term, on_fatal };
    let leader = Leader::start(env, parts, LeaderOptions::default()).expect("the leader starts");
    let commits = 400_000 / threads;
    let (send, results) = sync_channel(threads as usize);
    let started = env.clock.monotonic();
    let clients: Vec<_> = (0..threads)
        .map(|seed| {
            let (leader, send) = (leader.clone(), send.clone());
            let body = move || send.send(client(&leader, seed, commits)).expect("waited for");
            env.threads.spawn("client", Box::new(body)).expect("a thread")
        })
        .collect();
    for client in clients {
        client.join().expect("a client ends well");
    }
    let elapsed = env.clock.monotonic() - started;
    let (mut committed, mut conflicts) = (0, 0);
    for (more_committed, more_conflicts) in results.try_iter() {
        committed += more_committed;
        conflicts += more_conflicts;
    }
    let rate = committed as f64 / elapsed.as_secs_f64();
    let metrics = leader.metrics();
    println!(
        "{threads} threads: {rate:.0} commits/s, {conflicts} conflicts, {:.1} commits a batch",
        committed as f64 / metrics.batches as f64
    );
    leader.shutdown();
}

fn main() {
    let env = Env::real(".");
    measure_submit(&env);
    for threads in [1, 8, 64] {
        measure_threads(&env, threads);
    }
}
