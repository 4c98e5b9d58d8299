//! Results on their way to the client.

use std::sync::Arc;

use futures::StreamExt;
use glaredb_engine::{
    error::{SqlError, sqlstate},
    session::api::{FieldDescription, ParamValue, RowStream},
    types::{PgType, text::FormatSettings},
};
use tokio::io::{AsyncRead, AsyncWrite};

use super::{
    Format,
    connection::{Channel, Failure},
    frontend::Formats,
    output::FLUSH_AT,
};
use crate::encode::{Columns, RowEncoder};

/// The formats a Bind asked for, kept beyond the message.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) enum ResultFormats {
    #[default]
    AllText,
    AllBinary,
    Each(Vec<Format>),
}

impl ResultFormats {
    /// `columns`: how many the statement gives.
    ///
    /// # Errors
    /// 08P01 if there are neither none nor one nor as many codes.
    pub(crate) fn new(codes: &Formats<'_>, columns: usize) -> Result<Self, SqlError> {
        match codes.len() {
            0 => Ok(Self::AllText),
            1 if codes.get(0) == Format::Binary => Ok(Self::AllBinary),
            1 => Ok(Self::AllText),
            count if count == columns => Ok(Self::Each((0..count).map(|i| codes.get(i)).collect())),
            count => Err(SqlError::new(
                sqlstate::PROTOCOL_VIOLATION,
                format!("bind message has {count} result formats but query has {columns} columns"),
            )),
        }
    }

    pub(crate) fn get(&self, index: usize) -> Format {
        match self {
            Self::AllText => Format::Text,
            Self::AllBinary => Format::Binary,
            Self::Each(formats) => formats.get(index).copied().unwrap_or_default(),
        }
    }
}

/// A statement with its parameters, ready to run, running, or done.
pub(crate) struct Portal<P> {
    pub(crate) prepared: Arc<P>,
    pub(crate) formats: ResultFormats,
    /// How many savepoints the session had set when it was opened.
    pub(crate) savepoints: u64,
    pub(crate) state: PortalState,
}

pub(crate) enum PortalState {
    Bound(Vec<ParamValue>),
    /// Rows are left after a row limit.
    Suspended(Box<Rows>),
    /// All rows were sent; the tag of a SELECT can be had again, with no rows.
    RowsSent(String),
    /// Not to be run again.
    Done,
}

/// How far [`Rows::send`] came.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Sent {
    pub(crate) rows: u64,
    /// The row limit was met.
    pub(crate) suspended: bool,
}

/// A stream of batches being sent as DataRow messages.
pub(crate) struct Rows {
    encoder: RowEncoder,
    stream: RowStream,
    tag: String,
    /// The batch at hand and the first of its rows not yet sent.
    batch: Option<(Columns, usize)>,
}

impl Rows {
    pub(crate) fn new(
        fields: &[FieldDescription],
        formats: &ResultFormats,
        stream: RowStream,
        tag: String,
    ) -> Result<Self, SqlError> {
        let encoder = RowEncoder::new(fields, |index| formats.get(index))?;
        Ok(Self { encoder, stream, tag, batch: None })
    }

    /// Of the columns.
    pub(crate) fn types(&self) -> impl Iterator<Item = &PgType> {
        self.encoder.types()
    }

    pub(crate) fn into_tag(self) -> String {
        self.tag
    }

    /// Sends up to `limit` rows, all for 0. Buffered output is written out as it grows.
    pub(crate) async fn send<IO: AsyncRead + AsyncWrite + Unpin + Send>(
        &mut self,
        channel: &mut Channel<IO>,
        settings: &FormatSettings,
        limit: usize,
    ) -> Result<Sent, Failure> {
        let mut rows = 0;
        loop {
            channel.guard.check()?;
            let (batch, from) = match &mut self.batch {
                Some(batch) => batch,
                none => match channel.guard.run(self.stream.next()).await? {
                    None => return Ok(Sent { rows, suspended: false }),
                    Some(Err(error)) => return Err(error.into()),
                    Some(Ok(batch)) => none.insert((self.encoder.columns(&batch)?, 0)),
                },
            };
            let left = batch.rows() - *from;
            let wanted = match limit {
                0 => left,
                _ => left.min(limit - usize::try_from(rows).unwrap_or(limit)),
            };
            let out = &mut channel.output.buffer;
            let sent =
                self.encoder.encode(batch, *from..*from + wanted, settings, out, FLUSH_AT)?;
            *from += sent;
            rows += sent as u64;
            if *from == batch.rows() {
                self.batch = None;
            }
            if channel.output.buffer.len() >= FLUSH_AT {
                channel.flush_guarded().await?;
            }
            if limit != 0 && rows >= limit as u64 {
                return Ok(Sent { rows, suspended: true });
            }
        }
    }
}
