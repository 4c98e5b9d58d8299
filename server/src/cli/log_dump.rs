//! `glaredb log dump`: what a log's files hold, read offline.

use std::{
    io::{self, BufWriter, Write},
    path::{Path, PathBuf},
    process::ExitCode,
};

use glaredb_engine::storage::recovery::LOG_DIRECTORY;
use glaredb_txn::{
    commit::record::{self, Record},
    env::{DiskError, LocalDisk},
    log::dump::{Dump, Item},
};

#[derive(clap::Args, Debug)]
pub(crate) struct DumpArguments {
    /// Data directory.
    #[arg(value_name = "DIR")]
    data_dir: PathBuf,
}

/// Why a dump ends early.
#[derive(Debug, thiserror::Error)]
enum DumpError {
    #[error(transparent)]
    Disk(#[from] DiskError),
    #[error("standard output: {0}")]
    Output(#[from] io::Error),
}

/// Exit code 0, 2 if the log is damaged, 1 if it cannot be read at all.
pub(crate) fn run(arguments: &DumpArguments) -> ExitCode {
    let mut out = BufWriter::new(io::stdout().lock());
    let dumped = dump(&arguments.data_dir, &mut out);
    match dumped.and_then(|damaged| Ok(out.flush().map(|()| damaged)?)) {
        Ok(false) => ExitCode::SUCCESS,
        Ok(true) => ExitCode::from(2),
        // The reader had enough: `glaredb log dump … | head`.
        Err(DumpError::Output(error)) if error.kind() == io::ErrorKind::BrokenPipe => {
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("{}: {error}", arguments.data_dir.display());
            ExitCode::FAILURE
        }
    }
}

/// Returns whether something is damaged beyond what a crash explains.
fn dump(data_dir: &Path, out: &mut dyn Write) -> Result<bool, DumpError> {
    let disk = LocalDisk::new(data_dir);
    let log = Dump::open(&disk, LOG_DIRECTORY)?;
    log.visit(&mut |item| write_item(&item, out))?;
    match log.check() {
        Ok(()) => Ok(false),
        Err(damage) => {
            writeln!(out, "DAMAGED: {damage}")?;
            Ok(true)
        }
    }
}

fn write_item(item: &Item, out: &mut dyn Write) -> Result<(), DumpError> {
    match item {
        Item::Marks { file, copies } => {
            for (number, copy) in copies.iter().enumerate() {
                match copy {
                    Ok(block) => writeln!(
                        out,
                        "{file} copy {number}: {} {} sequence {} {:?}",
                        block.database_id, block.log_id, block.sequence, block.marks
                    )?,
                    Err(error) => writeln!(out, "{file} copy {number}: {error}")?,
                }
            }
        }
        Item::File { file, bytes, identity, activation } => {
            write!(out, "{file}: {bytes} bytes, ")?;
            match identity {
                Ok(id) => {
                    write!(out, "{} {} sequence {}, ", id.database_id, id.log_id, id.sequence)?;
                }
                Err(error) => write!(out, "identity: {error}, ")?,
            }
            match activation {
                Ok(a) => writeln!(out, "from {} after {}", a.first, a.previous_term)?,
                Err(error) => writeln!(out, "not in use: {error}")?,
            }
        }
        Item::Frame { file, offset, id, durable, replaced_by, body } => {
            write!(out, "{file} {offset:>10} {} {} durable {durable}", id.index, id.term)?;
            if let Some(sequence) = replaced_by {
                write!(out, " replaced by file {sequence}")?;
            }
            writeln!(out, " {} bytes", body.len())?;
            write_records(body, out)?;
        }
        Item::End { file, fault, tail } => {
            write!(out, "{file} {:>10} end: {fault}", tail.offset)?;
            if tail.used_bytes > 0 {
                write!(out, ", {} bytes behind", tail.used_bytes)?;
            }
            if let Some(proof) = &tail.proof {
                write!(
                    out,
                    ", CORRUPT: entry {} at {} was written when {} was durable",
                    proof.entry.index, proof.offset, proof.durable
                )?;
            }
            writeln!(out)?;
        }
    }
    Ok(())
}

fn write_records(body: &bytes::Bytes, out: &mut dyn Write) -> Result<(), DumpError> {
    let records = match record::decode(body) {
        Ok(records) => records,
        Err(error) => return Ok(writeln!(out, "    no records: {error}")?),
    };
    for (ordinal, record) in records.iter().enumerate() {
        match record {
            Record::Commit { id, timestamp, parts, payload } => {
                write!(out, "    {ordinal} commit {id} at {timestamp} {} bytes", payload.len())?;
                if *parts > 0 {
                    write!(out, " and {parts} parts")?;
                }
                writeln!(out)?;
            }
            Record::Part { id, sequence, payload } => {
                writeln!(out, "    {ordinal} part {sequence} of {id} {} bytes", payload.len())?;
            }
            Record::Abort { id } => writeln!(out, "    {ordinal} abort {id}")?,
            Record::Control { timestamp, payload } => {
                writeln!(out, "    {ordinal} control at {timestamp} {} bytes", payload.len())?;
            }
        }
    }
    Ok(())
}
