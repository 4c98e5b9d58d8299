//! SQL to DataFusion logical plans with PostgreSQL's meaning.
//!
//! ```text
//! text ── parser ──▶ Statement ── planner ──▶ Planned (LogicalPlan, parameter types, result fields)
//! ```
//!
//! The planner is a binder of its own over sqlparser's syntax tree: it resolves names against a
//! [`planner::TableResolver`], gives every expression a [`PgType`](crate::types::PgType), inserts
//! the casts PostgreSQL would, and emits DataFusion expressions whose evaluation errs and rounds as
//! PostgreSQL does. What it does not know it refuses with 0A000; nothing is ignored.

pub mod append;
pub mod errors;
pub mod few_rows_sort;
pub mod functions;
pub mod optimizer;
pub(crate) mod option_extension;
pub mod parser;
pub mod planner;
pub mod quoting;
pub mod returned_rows;
pub mod scan;
pub mod series_rows;
mod shared_rows;
pub mod statement;
pub mod turns;
pub mod type_names;

#[cfg(test)]
mod tests;
