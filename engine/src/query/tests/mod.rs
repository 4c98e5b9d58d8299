//! Statements planned and executed over tables in memory, with what PostgreSQL 15 answers.

mod cases;
mod dml;
mod fixture;
mod tpch;
