//! `glaredb checkpoint show`: what checkpoints hold, read offline.

use std::{io::Write, path::PathBuf, process::ExitCode};

use glaredb_engine::storage::{
    checkpoint::{list, show},
    recovery::existing_objects,
};
use glaredb_txn::env::Env;

use super::storage::StorageArguments;

#[derive(clap::Args, Debug)]
pub(crate) struct ShowArguments {
    /// Data directory.
    #[arg(value_name = "DIR")]
    data_dir: PathBuf,
    #[command(flatten)]
    storage: StorageArguments,
}

/// Exit code 0, 2 if a checkpoint is damaged, 1 if it cannot be read at all.
pub(crate) fn run(arguments: ShowArguments) -> ExitCode {
    if !arguments.data_dir.is_dir() {
        eprintln!("{}: not a directory", arguments.data_dir.display());
        return ExitCode::FAILURE;
    }
    let env = Env::real(&arguments.data_dir);
    let opened =
        arguments.storage.options().map_err(|error| error.to_string()).and_then(|storage| {
            existing_objects(&env, &storage).map_err(|error| error.to_string())
        });
    let found = opened.and_then(|objects| {
        let found = show(&*objects).and_then(|reports| {
            // Without a manifest nobody knows what is in them.
            let strays = if reports.is_empty() { list(&*objects)? } else { Vec::new() };
            Ok((reports, strays))
        });
        found.map_err(|error| error.to_string())
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
