//! Numbers of the server itself, counted without locks.

use std::{
    fmt::Write,
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use tokio::time::Instant;

/// Only grows.
#[derive(Default, Debug)]
pub struct Counter(AtomicU64);

impl Counter {
    pub fn increment(&self) {
        self.add(1);
    }

    pub fn add(&self, count: u64) {
        self.0.fetch_add(count, Ordering::Relaxed);
    }

    #[must_use]
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Upper bounds of the buckets of a [`Histogram`], in microseconds; one more bucket is above them.
const BOUNDS_US: [u64; 18] = [
    50,
    100,
    250,
    500,
    1_000,
    2_500,
    5_000,
    10_000,
    25_000,
    50_000,
    100_000,
    250_000,
    500_000,
    1_000_000,
    2_500_000,
    10_000_000,
    60_000_000,
    600_000_000,
];

/// How long something took.
#[derive(Default, Debug)]
pub struct Histogram {
    buckets: [AtomicU64; BOUNDS_US.len() + 1],
    sum_us: AtomicU64,
}

impl Histogram {
    pub fn record(&self, took: Duration) {
        let us = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        let bucket = BOUNDS_US.partition_point(|bound| *bound < us);
        self.buckets[bucket].fetch_add(1, Ordering::Relaxed);
        self.sum_us.fetch_add(us, Ordering::Relaxed);
    }

    /// Appends the lines of a Prometheus histogram in seconds.
    pub fn write(&self, name: &str, help: &str, out: &mut String) {
        header(name, help, "histogram", out);
        let mut count = 0;
        for (index, bucket) in self.buckets.iter().enumerate() {
            count += bucket.load(Ordering::Relaxed);
            let bound = BOUNDS_US
                .get(index)
                .map_or_else(|| "+Inf".to_owned(), |us| seconds(*us).to_string());
            let _ = writeln!(out, "{name}_bucket{{le=\"{bound}\"}} {count}");
        }
        let sum = seconds(self.sum_us.load(Ordering::Relaxed));
        let _ = writeln!(out, "{name}_sum {sum}\n{name}_count {count}");
    }
}

fn seconds(us: u64) -> f64 {
    us as f64 / 1e6
}

/// Begins a metric.
pub(crate) fn header(name: &str, help: &str, kind: &str, out: &mut String) {
    let _ = writeln!(out, "# HELP {name} {help}\n# TYPE {name} {kind}");
}

/// Appends one counter.
pub fn write_counter(name: &str, help: &str, value: impl std::fmt::Display, out: &mut String) {
    header(name, help, "counter", out);
    let _ = writeln!(out, "{name} {value}");
}

/// Appends one counter of several values, which a label tells apart.
pub fn write_counters(
    name: &str,
    help: &str,
    label: &str,
    values: &[(&str, u64)],
    out: &mut String,
) {
    header(name, help, "counter", out);
    for (of, value) in values {
        let _ = writeln!(out, "{name}{{{label}=\"{of}\"}} {value}");
    }
}

/// Appends one gauge.
pub fn write_gauge(name: &str, help: &str, value: f64, out: &mut String) {
    header(name, help, "gauge", out);
    let _ = writeln!(out, "{name} {value}");
}

/// Appends one gauge of several values, which a label tells apart.
pub fn write_gauges(name: &str, help: &str, label: &str, values: &[(&str, f64)], out: &mut String) {
    header(name, help, "gauge", out);
    for (of, value) in values {
        let _ = writeln!(out, "{name}{{{label}=\"{of}\"}} {value}");
    }
}

/// What the wire counts.
#[derive(Default, Debug)]
pub struct Metrics {
    pub connections_opened: Counter,
    pub connections_refused: Counter,
    pub statements: Histogram,
    pub errors: Counter,
    /// Of these, 40001.
    pub serialization_failures: Counter,
    pub rows_sent: Counter,
}

impl Metrics {
    /// When a statement starts.
    #[must_use]
    pub(crate) fn clock(&self) -> Instant {
        Instant::now()
    }

    pub(crate) fn statement_done(&self, started: Instant) {
        self.statements.record(started.elapsed());
    }

    /// Appends all of it as Prometheus text.
    pub fn write(&self, out: &mut String) {
        write_counter(
            "glaredb_connections_opened_total",
            "Sessions started.",
            self.connections_opened.get(),
            out,
        );
        write_counter(
            "glaredb_connections_refused_total",
            "Connections refused before they became sessions.",
            self.connections_refused.get(),
            out,
        );
        write_counter(
            "glaredb_statement_errors_total",
            "Statements that ended with an error.",
            self.errors.get(),
            out,
        );
        write_counter(
            "glaredb_serialization_failures_total",
            "Statements that ended with 40001, told to their clients.",
            self.serialization_failures.get(),
            out,
        );
        write_counter(
            "glaredb_rows_sent_total",
            "Rows sent to clients.",
            self.rows_sent.get(),
            out,
        );
        self.statements.write(
            "glaredb_statement_duration_seconds",
            "Time from the start of a statement to its last row, of statements that succeeded.",
            out,
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_histogram_counts_up_to_each_bound() {
        let histogram = Histogram::default();
        for us in [1, 50, 51, 3_000_000_000] {
            histogram.record(Duration::from_micros(us));
        }
        let mut text = String::new();
        histogram.write("x", "help", &mut text);
        assert!(text.contains("x_bucket{le=\"0.00005\"} 2\n"), "{text}");
        assert!(text.contains("x_bucket{le=\"0.0001\"} 3\n"), "{text}");
        assert!(text.contains("x_bucket{le=\"600\"} 3\n"), "{text}");
        assert!(text.contains("x_bucket{le=\"+Inf\"} 4\n"), "{text}");
        assert!(text.contains("x_count 4\n"), "{text}");
    }
}
