//! The commit pipeline: from a session's request to a published snapshot.
//!
//! A session plans on a snapshot, gathers its changes privately and sends them as one request. The
//! leader puts all requests into one order, decides who wins, and makes them durable together:
//!
//! ```text
//! time →            t0          t1           t2            t3           t4
//! session A   submit a ─────────────────────────────────────────▶ Committed(11/0)
//! session B        submit b ────────────────────────────────────▶ Committed(11/1)
//! session C               submit c (conflicts with a) ──────────▶ Conflict(at 11/0)
//! session D                            submit d ─────────────────────── … ──▶ Committed(12/0)
//!
//! critical section  a b   c ✗            d
//! open batch        [a b]                [d]
//! log thread                [append a b; sync ────][append d; sync ────]
//! apply thread                                     [apply a b; publish]
//! log               …10 │ 11: a b          (tail)  │ 11 durable       │ 12: d
//! published         10                                              11/1
//! ```
//!
//! From t1 to t4, a and b are in the *tail*: stamped and placed, so c conflicts with a; but not
//! durable, so no snapshot shows them, and c is not told before t4, or its retry would meet a again.
//!
//! What holds:
//! 1. **One order.** Positions and timestamps grow together; `resolve, stamp, place` of one request
//!    happen under one lock, in the order of the log. (`pipeline`)
//! 2. **First updater wins.** A commit is placed only if nothing that it wrote or asserts changed
//!    after the snapshot it was read on, the tail included. (`resolver`)
//! 3. **Nothing shows before it is durable and applied**, and then all up to it does: a snapshot is
//!    a position. An answer comes after publication, so whoever got one sees the commit in every
//!    later snapshot. (`snapshots`)
//! 4. **State follows from the log.** What is applied is what was logged, decoded again; the
//!    placement decides, `Apply` does not. Recovery is the same `Apply` on the same records.
//!    (`state_machine`, `recovery`)
//! 5. **A refusal is final and leaves nothing.** Space in the log is made sure of before anything is
//!    stamped; a refused request is in no entry, ever.
//! 6. **Everyone is answered once.** If the log or the state fails, the node stops and those who wait
//!    are told that nobody knows; an id says later what became of it, and asking makes an unknown
//!    id impossible first. (`commit_ids`)
//! 7. **Time stays in its window**, whatever the clock does. (`time`)
//!
//! Reading order: `message`, `record`, `state_machine`, then `resolver`, `commit_ids`, `time`,
//! `snapshots`, then `pipeline` (step functions) and `leader` (the threads that drive them). The
//! simulation that holds all this to account is `sim::commit`, under `txn/tests/commit_sim.rs`.

pub mod commit_ids;
pub mod leader;
pub mod message;
pub mod pipeline;
pub mod record;
pub mod recovery;
pub mod resolver;
pub mod snapshots;
pub mod state_machine;
pub mod time;
