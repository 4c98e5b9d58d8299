//! Simulation of commit pipeline, log, checkpoint and recovery: sessions, the pipeline's steps,
//! crashes and disk faults in an order drawn from a seed, over a toy state, against a model.
//!
//! - [`toy`]: the state machine and its checkpoint.
//! - [`model`]: what clients know, and what must hold.
//! - [`node`]: one incarnation of the server: its steps, its end, its recovery.
//! - [`session`]: clients: transactions, large commits, lost answers.
//!
//! Everything follows from the seed: `run(seed, …)` twice is the same run twice.

pub mod model;
mod node;
mod session;
pub mod toy;

use std::{collections::BTreeMap, time::Duration};

pub use self::model::Violation;
use self::{
    model::{Asked, Model, ensure},
    node::{Machine, Node},
    session::Session,
};
use super::{Operation, Rng};
use crate::commit::{
    message::{Answer, Request},
    time::TimestampWindow,
};

/// A part that is broken on purpose, to prove that the simulation notices.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Broken {
    Nothing,
    /// The log says "durable" without syncing.
    SyncLies,
    /// The resolver finds nothing: every write comes with a base that never conflicts.
    ResolverBlind,
    /// The log is cut at the checkpoint, parts of large commits under way or not.
    CutsOpenParts,
    /// Sessions read what is applied, published or not.
    ReadsUnpublished,
    /// An id that is not applied is called aborted, without a marker in the log.
    NoAbortMarker,
}

/// How a run went.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Report {
    pub steps: u64,
    pub crashes: u64,
    pub committed: u64,
    pub conflicts: u64,
    /// By kind of refusal.
    pub refused: BTreeMap<String, u64>,
    pub aborted: u64,
    pub unknown: u64,
    pub checkpoints: u64,
    /// Hash of the run: equal for equal seeds.
    pub trace: u64,
}

const SESSIONS: usize = 6;
const STEPS: u64 = 2_500;

struct World {
    rng: Rng,
    machine: Machine,
    node: Node,
    sessions: Vec<Session>,
    model: Model,
    broken: Broken,
    report: Report,
}

/// One run.
pub fn run(seed: u64, broken: Broken) -> Result<Report, Violation> {
    let mut rng = Rng::new(seed);
    let machine = Machine::new(&mut rng, broken);
    let node = Node::recover(&machine, &mut rng)?;
    let mut world = World {
        sessions: (0..SESSIONS).map(Session::new).collect(),
        model: Model::default(),
        report: Report::default(),
        rng,
        machine,
        node,
        broken,
    };
    for _ in 0..STEPS {
        world.step()?;
    }
    world.settle()?;
    let (model, report) = (world.model, world.report);
    Ok(Report {
        committed: model.told_committed,
        conflicts: model.told_conflict,
        refused: model.told_refused,
        aborted: model.told_aborted,
        unknown: model.told_unknown,
        ..report
    })
}

impl World {
    fn step(&mut self) -> Result<(), Violation> {
        self.report.steps += 1;
        if self.machine.sim.disk.is_without_power()
            || (self.node.is_stopped() && self.rng.chance(1, 4))
        {
            return self.crash();
        }
        let draw = self.rng.below(1_000);
        self.report.trace = Rng::new(self.report.trace ^ draw ^ self.node.trace()).next_u64();
        match draw {
            0..450 => {
                let at = self.rng.index(self.sessions.len());
                self.step_session(at)?;
            }
            450..850 => self.node.step(&mut self.rng),
            850..900 => {
                self.machine.sim.clock.advance(Duration::from_millis(self.rng.below(5_000)))
            }
            900..930 => self.node.keep(),
            930..950 => {
                self.report.checkpoints += self.node.checkpoint(&self.machine, &mut self.rng)?
            }
            950..960 => {
                let ms = self.rng.below(400_000).cast_signed() - 200_000;
                self.machine.sim.clock.jump(ms);
            }
            960..968 => self.machine.window.set_away(self.rng.chance(1, 2)),
            968..978 => self.machine.toggle_capacity(&mut self.rng),
            978..981 => self.machine.sim.disk.cut_power_after(1 + self.rng.below(6)),
            981..983 => {
                let operation =
                    if self.rng.chance(1, 2) { Operation::Sync } else { Operation::Write };
                self.machine.sim.disk.fail_after(operation, "log", 1 + self.rng.below(3));
            }
            983..995 => self.resolve_someone()?,
            995..997 => self.crash()?,
            _ => {
                let state = self.node.state();
                self.model.check(&state)?;
            }
        }
        self.deliver()
    }

    fn step_session(&mut self, at: usize) -> Result<(), Violation> {
        let session = &mut self.sessions[at];
        session.step(&mut self.rng, &mut self.node, &mut self.model, self.broken)
    }

    /// Answers reach their sessions.
    fn deliver(&mut self) -> Result<(), Violation> {
        for (to, id, asked, answer) in self.node.take_answers() {
            self.sessions[to].answered(id, asked, &answer);
            let published = self.node.published().position;
            if let Answer::Committed { timestamp, .. } = answer {
                let bound = self.machine.window.upper_bound();
                ensure!(timestamp < bound, "{id} was stamped {timestamp}, granted was {bound}");
            }
            if self.model.knows(id) && !matches!(asked, Asked::Part) {
                let state = self.node.state();
                self.model.answered(id, (asked, &answer), published, &state)?;
            }
        }
        Ok(())
    }

    /// A client asks for a commit of a server that has crashed since, or of its own.
    fn resolve_someone(&mut self) -> Result<(), Violation> {
        let undecided = self.model.undecided();
        if undecided.is_empty() {
            return Ok(());
        }
        let id = undecided[self.rng.index(undecided.len())];
        let to = self.rng.index(self.sessions.len());
        self.node.submit(to, id, Asked::Probe, &Request::Resolve(id));
        self.deliver()
    }

    /// The process dies, perhaps with the whole machine; a new one recovers, perhaps not at once.
    fn crash(&mut self) -> Result<(), Violation> {
        self.report.crashes += 1;
        let power = self.machine.sim.disk.is_without_power() || self.rng.chance(2, 3);
        self.node.die();
        for session in &mut self.sessions {
            session.lost();
        }
        loop {
            if power || self.machine.sim.disk.is_without_power() {
                self.machine.sim.disk.crash();
            } else {
                self.machine.sim.disk.kill_process();
            }
            self.machine.make_room();
            let interrupted = self.rng.chance(1, 4);
            if interrupted {
                self.machine.sim.disk.cut_power_after(1 + self.rng.below(8));
            }
            match Node::recover(&self.machine, &mut self.rng) {
                Ok(node) if !self.machine.sim.disk.is_without_power() => {
                    self.node = node;
                    break;
                }
                Ok(mut node) => node.die(),
                Err(_) if self.machine.sim.disk.is_without_power() => {}
                Err(violation) => return Err(violation),
            }
        }
        let state = self.node.state();
        self.model.recovered(&state)
    }

    /// Every session gives up. Of large commits that have not committed nothing is left then: not in
    /// the state, and nothing that keeps the log from being cut.
    fn leave_nothing_open(&mut self) -> Result<(), Violation> {
        // First what was given up, then what its answers left.
        for _ in 0..3 {
            for session in self.sessions.iter_mut().filter(|session| !session.waits()) {
                session.quit(&self.node);
            }
            self.node.keep();
            self.node.drain();
            self.deliver()?;
        }
        let left = self.node.left_open();
        let stopped = self.node.is_stopped();
        ensure!(stopped || left == (false, 0, 0), "large commits are left open: {left:?}");
        Ok(())
    }

    /// Lets everything that is under way come to its end, crashes once more, and looks.
    fn settle(&mut self) -> Result<(), Violation> {
        self.machine.make_room();
        self.machine.window.set_away(false);
        if self.machine.sim.disk.is_without_power() || self.node.is_stopped() {
            self.crash()?;
        }
        for _ in 0..50 {
            self.node.keep();
            for at in 0..self.sessions.len() {
                self.step_session(at)?;
            }
            self.node.drain();
            self.deliver()?;
        }
        self.leave_nothing_open()?;
        let waiting = self.sessions.iter().filter(|session| session.waits()).count();
        let stopped = self.node.is_stopped();
        // A fault that was asked for earlier may still hit: then everyone got to know at once.
        ensure!(waiting == 0 || stopped, "{waiting} sessions were never answered");
        let state = self.node.state();
        self.model.check(&state)?;
        self.crash()
    }
}
