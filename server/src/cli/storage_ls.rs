//! `glaredb storage ls`: which objects there are.

use std::{io::Write, path::Path, process::ExitCode};

use glaredb_engine::storage::{
    objects::{ObjectEntry, StorageLocation},
    recovery::existing_objects,
};
use glaredb_txn::env::Env;

use super::storage::StorageArguments;

#[derive(clap::Args, Debug)]
pub(crate) struct ListArguments {
    /// Data directory that no server is using, or the URL of a location of objects.
    #[arg(value_name = "DIR|URL")]
    place: String,
    #[command(flatten)]
    storage: StorageArguments,
}

/// Exit code 0, 1 if the place cannot be read.
pub(crate) fn run(arguments: ListArguments) -> ExitCode {
    let place = arguments.place.clone();
    match list(arguments) {
        Ok(entries) => {
            print(&entries);
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("{place}: {error}");
            ExitCode::FAILURE
        }
    }
}

fn list(arguments: ListArguments) -> Result<Vec<ObjectEntry>, String> {
    let place = arguments.place;
    let storage = arguments.storage.options().map_err(|error| error.to_string())?;
    let objects = if place.contains("://") {
        if let Some(location) = storage.location {
            return Err(format!(
                "it is a location itself: --storage {} is one too many",
                location.url()
            ));
        }
        let location = StorageLocation::parse(&place).map_err(|error| error.to_string())?;
        // Its disk is not looked at.
        location.look(&Env::real("."), &storage).map_err(|error| error.to_string())?
    } else if Path::new(&place).is_dir() {
        existing_objects(&Env::real(&place), &storage).map_err(|error| error.to_string())?
    } else {
        return Err("not a directory".to_owned());
    };
    objects.list("").map_err(|error| error.to_string())
}

/// What an object is for, by its name.
fn kind(name: &str) -> &'static str {
    let last = name.rsplit('/').next().unwrap_or(name);
    if name == "glaredb-identity" {
        "identity"
    } else if !name.split('/').any(|part| part == "checkpoint") {
        "unknown"
    } else if last.ends_with("-manifest") {
        "manifest"
    } else if last.contains("-sealed-") {
        "sealed chunks"
    } else if last.contains("-open-") {
        "open chunks"
    } else {
        "unknown"
    }
}

fn print(entries: &[ObjectEntry]) {
    let mut out = std::io::stdout().lock();
    for entry in entries {
        // A reader that had enough is no failure.
        if writeln!(out, "{:>14}  {:<13}  {}", entry.size, kind(entry.name.as_str()), entry.name)
            .is_err()
        {
            return;
        }
    }
    let bytes: u64 = entries.iter().map(|entry| entry.size).sum();
    let _ = writeln!(out, "{:>14}  in {} objects", bytes, entries.len());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_go_by_names() {
        for (name, expected) in [
            ("glaredb-identity", "identity"),
            ("checkpoint/0a-1-manifest", "manifest"),
            ("00ff/checkpoint/0a-1-sealed-2", "sealed chunks"),
            ("checkpoint/0a-1-open-0", "open chunks"),
            ("checkpoint/x", "unknown"),
            ("data/x-manifest", "unknown"),
        ] {
            assert_eq!(kind(name), expected, "{name}");
        }
    }
}
