//! The wire by itself, on sessions that do what a test tells them.

mod cancel;
mod copy;
mod extended;
mod garbage;
mod random;
mod raw;
mod scripted;
mod simple;
mod startup;
