//! A deterministic scheduler: one thread, one step at a time, the order drawn from a seed.

use std::{sync::Arc, time::Duration};

use super::{SimClock, random::Rng};
use crate::env::Clock;

/// What a task says after a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Did something; may do more.
    Progress,
    /// Had nothing to do: runs again when another task made progress, or time passed.
    Idle,
    /// Had nothing to do: runs again after so much time, or when another task made progress.
    Sleep(Duration),
    /// Will not run again.
    Done,
}

/// How a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Every task is done.
    Done,
    /// Some task is not done, and none can go on: a deadlock, or servers waiting for requests.
    Quiet,
    /// The number of steps allowed was used up.
    OutOfSteps,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Ready,
    Idle,
    Until(Duration),
    Done,
}

/// One step of a task, given the world all tasks share.
type Body<W> = Box<dyn FnMut(&mut W) -> Step>;

struct Task<W> {
    name: String,
    state: State,
    body: Body<W>,
}

/// Runs tasks over a shared world `W`. Equal seeds and equal tasks give equal runs.
pub struct Scheduler<W> {
    clock: Arc<SimClock>,
    rng: Rng,
    tasks: Vec<Task<W>>,
    steps: u64,
    /// Hash of the order in which tasks ran.
    trace: u64,
}

impl<W> Scheduler<W> {
    pub fn new(seed: u64, clock: Arc<SimClock>) -> Self {
        Self { clock, rng: Rng::new(seed), tasks: Vec::new(), steps: 0, trace: seed }
    }

    /// Add a task; also while others have already run.
    pub fn spawn(&mut self, name: &str, body: impl FnMut(&mut W) -> Step + 'static) {
        let (name, state) = (name.to_owned(), State::Ready);
        self.tasks.push(Task { name, state, body: Box::new(body) });
    }

    /// Drop all tasks: the process they stand for was killed.
    pub fn kill_all(&mut self) {
        self.tasks.clear();
    }

    /// Steps run so far.
    pub fn steps(&self) -> u64 {
        self.steps
    }

    /// Two runs with equal traces ran the same tasks in the same order.
    pub fn trace(&self) -> u64 {
        self.trace
    }

    /// Run one step of a task drawn at random; its name. When all who are left sleep, time jumps to
    /// the first who wakes. `None`: nobody can go on.
    pub fn step(&mut self, world: &mut W) -> Option<&str> {
        let at = self.draw()?;
        self.steps += 1;
        self.trace = Rng::new(self.trace ^ (at as u64 + 1)).next_u64();
        let step = (self.tasks[at].body)(world);
        if step == Step::Progress || step == Step::Done {
            for task in &mut self.tasks {
                if matches!(task.state, State::Idle | State::Until(_)) {
                    task.state = State::Ready;
                }
            }
        }
        self.tasks[at].state = match step {
            Step::Progress => State::Ready,
            Step::Idle => State::Idle,
            Step::Sleep(duration) => State::Until(self.clock.monotonic() + duration),
            Step::Done => State::Done,
        };
        Some(&self.tasks[at].name)
    }

    fn draw(&mut self) -> Option<usize> {
        loop {
            let now = self.clock.monotonic();
            let ready: Vec<usize> = (0..self.tasks.len())
                .filter(|at| match self.tasks[*at].state {
                    State::Ready => true,
                    State::Until(time) => time <= now,
                    State::Idle | State::Done => false,
                })
                .collect();
            if !ready.is_empty() {
                return Some(ready[self.rng.index(ready.len())]);
            }
            let wake = self.tasks.iter().filter_map(|task| match task.state {
                State::Until(time) => Some(time),
                _ => None,
            });
            self.clock.advance(wake.min()? - now);
            for task in &mut self.tasks {
                if task.state == State::Idle {
                    task.state = State::Ready;
                }
            }
        }
    }

    /// Run until all are done or nobody can go on, at most `steps_max` steps.
    pub fn run(&mut self, world: &mut W, steps_max: u64) -> Outcome {
        for _ in 0..steps_max {
            if self.step(world).is_none() {
                let done = self.tasks.iter().all(|task| task.state == State::Done);
                return if done { Outcome::Done } else { Outcome::Quiet };
            }
        }
        Outcome::OutOfSteps
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Three tasks pass a token around; one sleeps between turns.
    fn run(seed: u64) -> (Vec<u32>, u64, Outcome) {
        let clock = Arc::new(SimClock::new());
        let mut scheduler = Scheduler::new(seed, Arc::clone(&clock));
        for me in 0..3_u32 {
            let mut turns = 0;
            scheduler.spawn("player", move |log: &mut Vec<u32>| {
                if turns == 5 {
                    return Step::Done;
                }
                if log.last() == Some(&me) {
                    return if me == 2 {
                        Step::Sleep(Duration::from_millis(3))
                    } else {
                        Step::Idle
                    };
                }
                turns += 1;
                log.push(me);
                Step::Progress
            });
        }
        let mut log = Vec::new();
        let outcome = scheduler.run(&mut log, 1000);
        (log, scheduler.trace(), outcome)
    }

    #[test]
    fn equal_seeds_give_equal_runs_and_others_differ() {
        assert_eq!(run(7), run(7));
        let traces: std::collections::BTreeSet<u64> = (0..20).map(|seed| run(seed).1).collect();
        assert!(traces.len() > 10);
    }

    #[test]
    fn time_jumps_to_the_first_sleeper_and_deadlock_is_noticed() {
        let clock = Arc::new(SimClock::new());
        let mut scheduler = Scheduler::new(1, Arc::clone(&clock));
        let mut slept = false;
        scheduler.spawn("sleeper", move |_: &mut ()| {
            if slept {
                return Step::Done;
            }
            slept = true;
            Step::Sleep(Duration::from_secs(60))
        });
        assert_eq!(scheduler.run(&mut (), 10), Outcome::Done);
        assert_eq!(clock.monotonic(), Duration::from_secs(60));
        scheduler.spawn("stuck", |_| Step::Idle);
        assert_eq!(scheduler.run(&mut (), 10), Outcome::Quiet);
        scheduler.spawn("busy", |_| Step::Progress);
        assert_eq!(scheduler.run(&mut (), 10), Outcome::OutOfSteps);
    }
}
