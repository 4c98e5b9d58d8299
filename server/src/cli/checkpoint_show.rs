//! `glaredb checkpoint show`: what checkpoints hold, read offline.

use std::{io::Write, path::PathBuf, process::ExitCode};

use glaredb_engine::storage::{
    checkpoint::{list, show},
    recovery::OBJECT_DIRECTORY,
};
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
    let env = Env::real(&arguments.data_dir);
    let found = show(&env, OBJECT_DIRECTORY).and_then(|reports| {
        // Without a manifest nobody knows what is in them.
        let strays = if reports.is_empty() { list(&env, OBJECT_DIRECTORY)? } else { Vec::new() };
        Ok((reports, strays))
    });
    match found {
        Ok((reports, strays)) => {
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
            for stray in &strays {
                let _ = writeln!(
                    out,
                    "  {stray}: of a checkpoint that was not finished, or whose manifest is lost"
                );
            }
            if sound { ExitCode::SUCCESS } else { ExitCode::from(2) }
        }
        Err(error) => {
            eprintln!("{}: {error}", arguments.data_dir.display());
            ExitCode::FAILURE
        }
    }
}
