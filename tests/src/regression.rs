//! PostgreSQL's own regression scripts, statement by statement, on PostgreSQL 15 and on us.
//!
//! psql runs each script on both servers; a mark after each statement cuts what it prints into
//! answers. What an answer of ours counts as is said at [`Verdict`].

mod answers;
mod script;
mod session;
mod suite;

pub use self::{
    answers::{Judge, Verdict},
    script::{Chunk, chunks},
    session::{Side, run},
    suite::{Counts, FURTHER, Outcome, SCRIPTS, Suite},
};
