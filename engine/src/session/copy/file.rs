//! Files of the server: COPY … FROM 'file' and COPY … TO 'file'.

use std::{
    fs::Metadata,
    io::{self, ErrorKind},
    os::unix::fs::FileTypeExt,
    path::Path,
};

use futures::{Stream, StreamExt};
use tokio::{
    fs::{File, OpenOptions},
    io::{AsyncReadExt, AsyncWriteExt},
};

use super::input::CopySource;
use crate::{
    error::{SqlError, sqlstate},
    session::api::CopyChunk,
};

/// Bytes read at once.
const PIECE_BYTES: usize = 256 << 10;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Use {
    Read,
    Write,
}

/// Copies the rows of a file into the write set. Their number.
pub(super) async fn read(path: &str, mut source: CopySource) -> Result<u64, SqlError> {
    check_absolute(path, "from")?;
    let mut file = open(path, Use::Read).await?;
    let failed = |error| transfer_error("could not read from COPY file", path, &error);
    source.running.reads(&file.metadata().await.map_err(failed)?);
    let mut piece = vec![0; PIECE_BYTES];
    loop {
        let length = file.read(&mut piece).await.map_err(failed)?;
        if length == 0 {
            return source.end().await;
        }
        source.take_bytes(&piece[..length]).await?;
    }
}

/// Opens a file that rows are to be written to; what was in it is gone.
pub(super) async fn create(path: &str) -> Result<File, SqlError> {
    check_absolute(path, "to")?;
    open(path, Use::Write).await
}

/// Writes rows to the file. Their number.
pub(super) async fn write(
    mut file: File,
    path: &str,
    mut chunks: impl Stream<Item = Result<CopyChunk, SqlError>> + Unpin,
) -> Result<u64, SqlError> {
    let failed = |error| transfer_error("could not write to COPY file", path, &error);
    let mut rows = 0;
    while let Some(chunk) = chunks.next().await {
        let chunk = chunk?;
        file.write_all(&chunk.bytes).await.map_err(failed)?;
        rows += chunk.rows;
    }
    // What the last write gave to another thread may fail there.
    file.flush().await.map_err(failed)?;
    Ok(rows)
}

/// There is no directory of ours that a relative path could begin at.
fn check_absolute(path: &str, direction: &str) -> Result<(), SqlError> {
    if Path::new(path).is_absolute() {
        return Ok(());
    }
    let message = format!("relative path not allowed for COPY {direction} file");
    Err(SqlError::new(sqlstate::INVALID_NAME, message).detail(format!("The path is \"{path}\".")))
}

async fn open(path: &str, to: Use) -> Result<File, SqlError> {
    match tokio::fs::metadata(path).await {
        Ok(metadata) => check_kind(path, &metadata, to)?,
        Err(error) if to == Use::Write && error.kind() == ErrorKind::NotFound => {}
        Err(error) => return Err(open_error(path, to, &error)),
    }
    let mut options = OpenOptions::new();
    match to {
        Use::Read => options.read(true),
        Use::Write => options.write(true).create(true).truncate(true).mode(0o644),
    };
    let file = options.open(path).await.map_err(|error| open_error(path, to, &error))?;
    Ok(file)
}

/// A pipe or a terminal could be waited for without end, in a thread that nothing can stop.
fn check_kind(path: &str, metadata: &Metadata, to: Use) -> Result<(), SqlError> {
    let kind = metadata.file_type();
    if kind.is_dir() && to == Use::Read {
        let message = format!("\"{path}\" is a directory");
        return Err(SqlError::new(sqlstate::WRONG_OBJECT_TYPE, message));
    }
    // Opening a directory to write to it fails by itself.
    if kind.is_dir() || kind.is_file() || to == Use::Write && kind.is_char_device() {
        return Ok(());
    }
    Err(SqlError::not_supported(format!("COPY with \"{path}\", which is no regular file,")))
}

fn open_error(path: &str, to: Use, error: &io::Error) -> SqlError {
    let (purpose, direction, verb) = match to {
        Use::Read => ("reading", "FROM", "read"),
        Use::Write => ("writing", "TO", "write"),
    };
    let message = format!("could not open file \"{path}\" for {purpose}: {}", reason(error));
    let opened = SqlError::new(code(error), message);
    if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::PermissionDenied) {
        return opened.hint(format!(
            "COPY {direction} instructs the PostgreSQL server process to {verb} a file. You may \
             want a client-side facility such as psql's \\copy."
        ));
    }
    opened
}

fn transfer_error(what: &str, path: &str, error: &io::Error) -> SqlError {
    SqlError::new(code(error), format!("{what}: {}", reason(error)))
        .detail(format!("The file is \"{path}\"."))
}

/// The system's words for it, as other programs show them.
fn reason(error: &io::Error) -> String {
    let text = error.to_string();
    match text.find(" (os error") {
        Some(end) => text[..end].to_owned(),
        None => text,
    }
}

fn code(error: &io::Error) -> &'static str {
    match error.kind() {
        ErrorKind::NotFound => sqlstate::UNDEFINED_FILE,
        ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem => {
            sqlstate::INSUFFICIENT_PRIVILEGE
        }
        ErrorKind::NotADirectory | ErrorKind::IsADirectory => sqlstate::WRONG_OBJECT_TYPE,
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => sqlstate::DISK_FULL,
        _ => sqlstate::IO_ERROR,
    }
}
