//! Where log lines go: standard error, for people or as JSON.

use std::io::IsTerminal;

use tracing_subscriber::{EnvFilter, fmt};

#[derive(Clone, Copy, PartialEq, Eq, Debug, clap::ValueEnum)]
pub enum LogFormat {
    Text,
    Json,
}

/// Starts logging. `GLAREDB_LOG` filters as in `RUST_LOG` of tracing, `info` without it.
pub fn init(format: LogFormat) {
    let filter = EnvFilter::try_from_env("GLAREDB_LOG").unwrap_or_else(|_| EnvFilter::new("info"));
    let lines = fmt().with_env_filter(filter).with_writer(std::io::stderr);
    // A second call is a test's; the first one's settings stay.
    let _ = match format {
        LogFormat::Text => {
            lines.with_ansi(std::io::stderr().is_terminal()).with_target(false).try_init()
        }
        LogFormat::Json => lines.json().flatten_event(true).try_init(),
    };
}
