//! The table.

use std::{
    fs::File,
    os::unix::fs::FileExt,
    time::{Duration, Instant},
};

#[derive(Default)]
pub(crate) struct Report {
    rows: Vec<Row>,
    notes: Vec<String>,
}

struct Row {
    what: String,
    ours: String,
    peer: String,
    ratio: String,
    promised: String,
    kept: bool,
}

impl Report {
    /// A rate: more is better; `promised` is the least ratio ours/peer.
    pub(crate) fn rate(&mut self, what: &str, unit: &str, ours: f64, peer: f64, promised: f64) {
        let ratio = ours / peer;
        self.push(Row {
            what: what.into(),
            ours: format!("{ours:.0} {unit}"),
            peer: format!("{peer:.0} {unit}"),
            ratio: format!("{ratio:.2}"),
            promised: format!("≥ {promised}"),
            kept: ratio >= promised,
        });
    }

    /// A duration: less is better; `promised` is the most ours/peer.
    pub(crate) fn duration(&mut self, what: &str, ours: Duration, peer: Duration, promised: f64) {
        let ratio = ours.as_secs_f64() / peer.as_secs_f64();
        self.push(Row {
            what: what.into(),
            ours: format!("{:.3} s", ours.as_secs_f64()),
            peer: format!("{:.3} s", peer.as_secs_f64()),
            ratio: format!("{ratio:.2}"),
            promised: format!("≤ {promised}"),
            kept: ratio <= promised,
        });
    }

    /// A duration of ours alone, with the most it may be.
    pub(crate) fn bound(&mut self, what: &str, ours: Duration, most: Duration) {
        self.push(Row {
            what: what.into(),
            ours: format!("{:.3} s", ours.as_secs_f64()),
            peer: "—".into(),
            ratio: "—".into(),
            promised: format!("≤ {:.1} s", most.as_secs_f64()),
            kept: ours <= most,
        });
    }

    /// Memory of ours, with the most it may be, in bytes.
    pub(crate) fn memory(&mut self, what: &str, ours: u64, most: u64) {
        self.push(Row {
            what: what.into(),
            ours: format!("{} MiB", ours >> 20),
            peer: "—".into(),
            ratio: "—".into(),
            promised: format!("≤ {} MiB", most >> 20),
            kept: ours <= most,
        });
    }

    /// A number of ours, with the most it may be.
    pub(crate) fn count(&mut self, what: &str, ours: u64, most: u64) {
        self.push(Row {
            what: what.into(),
            ours: ours.to_string(),
            peer: "—".into(),
            ratio: "—".into(),
            promised: format!("≤ {most}"),
            kept: ours <= most,
        });
    }

    /// Something worth knowing beside the table.
    pub(crate) fn note(&mut self, what: &str, text: &str) {
        println!("{what}: {text}");
        self.notes.push(format!("{what}: {text}"));
    }

    fn push(&mut self, row: Row) {
        println!("{}: ours {}, peer {}, ratio {}", row.what, row.ours, row.peer, row.ratio);
        self.rows.push(row);
    }

    pub(crate) fn print(&self) {
        println!("\n| | GlareDB | peer | ratio | promised | kept |\n|---|---|---|---|---|---|");
        for row in &self.rows {
            let kept = if row.kept { "yes" } else { "**no**" };
            let Row { what, ours, peer, ratio, promised, .. } = row;
            println!("| {what} | {ours} | {peer} | {ratio} | {promised} | {kept} |");
        }
        println!();
        for note in &self.notes {
            println!("- {note}");
        }
    }
}

/// The middle value; panics on an empty list.
pub(crate) fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// Median and 99th percentile of fdatasync after one 8 KiB write into a preallocated file.
pub(crate) fn fdatasync_latency() -> String {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let file = File::create(folder.path().join("probe")).expect("a file");
    let block = [0_u8; 8192];
    for n in 0..500 {
        file.write_all_at(&block, n * 8192).expect("a write");
    }
    file.sync_all().expect("a sync");
    let mut times = Vec::new();
    for n in 0..500 {
        let begin = Instant::now();
        file.write_all_at(&block, n * 8192).expect("a write");
        rustix::fs::fdatasync(&file).expect("fdatasync");
        times.push(begin.elapsed().as_secs_f64() * 1e6);
    }
    times.sort_by(f64::total_cmp);
    format!("median {:.0} µs, p99 {:.0} µs", times[250], times[495])
}
