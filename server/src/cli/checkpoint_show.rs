//! `glaredb checkpoint show`: what checkpoints hold, read offline.

use std::{io::Write, path::PathBuf, process::ExitCode};

use glaredb_engine::storage::{checkpoint::show, recovery::OBJECT_DIRECTORY};
use glaredb_txn::env::Env;

#[derive(clap::Args, Debug)]
pub(crate) struct ShowArguments {
    /// Data directory.
    #[arg(value_name = "DIR")]
    data_dir: PathBuf,
}

/// Exit code 0, 2 if a checkpoint is damaged, 1 if it cannot be read at all.
pub(crate) fn run(arguments: &ShowArguments) -> ExitCode {
    if !arguments.data_dir.is_dir() {
        eprintln!("{}: not a directory", arguments.data_dir.display());
        return ExitCode::FAILURE;
    }
    match show(&Env::real(&arguments.data_dir), OBJECT_DIRECTORY) {
        Ok(reports) => {
            let mut out = std::io::stdout().lock();
            let mut sound = true;
            for report in &reports {
                sound &= report.is_sound();
                // A reader that had enough is no failure.
                if write!(out, "{report}").is_err() {
                    break;
                }
            }
            if reports.is_empty() {
                let _ = writeln!(out, "no checkpoint in {}", arguments.data_dir.display());
            }
            if sound { ExitCode::SUCCESS } else { ExitCode::from(2) }
        }
        Err(error) => {
            eprintln!("{}: {error}", arguments.data_dir.display());
            ExitCode::FAILURE
        }
    }
}
