//! Statements planned and executed over tables in memory, with what PostgreSQL 15 answers.

mod cases;
mod dml;
#[allow(dead_code)]
mod fixture;
mod tpch;
