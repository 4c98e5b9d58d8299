//! `glaredb storage verify`: are all objects what they should be?

use std::{io::Write, path::Path, process::ExitCode, sync::Arc};

use glaredb_engine::storage::{
    objects::{Objects, StorageLocation},
    recovery::existing_objects,
    verify::{Known, Told, Verified, verify},
};
use glaredb_txn::env::Env;

use super::storage::StorageArguments;
use crate::lock_file::LockFile;

#[derive(clap::Args, Debug)]
pub(crate) struct VerifyArguments {
    /// Data directory that no server is using, or the URL of a location of objects.
    #[arg(value_name = "DIR|URL")]
    place: String,
    #[command(flatten)]
    storage: StorageArguments,
}

/// What is looked at, and what keeps servers away from it.
struct Place {
    objects: Arc<dyn Objects>,
    known: Known,
    lock: Option<LockFile>,
}

/// Exit code 0; 1 if something is wrong, or the place cannot be read.
pub(crate) fn run(arguments: VerifyArguments) -> ExitCode {
    let place = arguments.place.clone();
    let opened = open(arguments);
    let verified = opened.and_then(|opened| {
        let verified = verify(&opened.objects, &opened.known, &mut tell);
        if let Some(lock) = opened.lock {
            lock.remove();
        }
        verified.map_err(|error| error.to_string())
    });
    match verified {
        Ok(verified) => {
            finish(&verified);
            if verified.findings == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
        }
        Err(error) => {
            eprintln!("{place}: {error}");
            ExitCode::FAILURE
        }
    }
}

fn open(arguments: VerifyArguments) -> Result<Place, String> {
    let place = arguments.place;
    let storage = arguments.storage.options().map_err(|error| error.to_string())?;
    if place.contains("://") {
        if let Some(location) = storage.location {
            let url = location.url();
            return Err(format!("it is a location itself: --storage {url} is one too many"));
        }
        let location = StorageLocation::parse(&place).map_err(|error| error.to_string())?;
        // Its disk is not looked at.
        let objects = location.existing(&Env::real("."), &storage);
        let objects = objects.map_err(|error| error.to_string())?;
        return Ok(Place { objects, known: Known::default(), lock: None });
    }
    if !Path::new(&place).is_dir() {
        return Err("not a directory".to_owned());
    }
    let lock = LockFile::acquire(Path::new(&place)).map_err(|error| error.to_string())?;
    let env = Env::real(&place);
    let objects = existing_objects(&env, &storage).map_err(|error| error.to_string())?;
    let known = Known::read(&env).map_err(|error| error.to_string())?;
    Ok(Place { objects, known, lock: Some(lock) })
}

fn tell(told: Told<'_>) {
    // A reader that had enough is no failure.
    let _ = match told {
        Told::Progress { object, done, of } => {
            writeln!(std::io::stderr(), "{done} of {of}: {object}")
        }
        Told::Finding { object, problem } => {
            writeln!(std::io::stdout(), "{object}: {problem}")
        }
        Told::Orphan { object, bytes } => {
            writeln!(std::io::stdout(), "{object}: orphan of {bytes} bytes, which nothing names")
        }
    };
}

fn finish(verified: &Verified) {
    let Verified { checkpoints, segments, rows, findings, orphans } = verified;
    eprintln!(
        "{checkpoints} checkpoints, {segments} segments of {rows} rows: {findings} problems, {orphans} orphans"
    );
}
