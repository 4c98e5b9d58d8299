//! COPY … TO.

use std::pin::Pin;

use arrow::array::{ArrayRef, RecordBatch};
use futures::{Stream, StreamExt};

use super::{
    binary_input::SIGNATURE,
    chosen,
    options::{CopyFormat, CopyHeader, Options},
    progress::Running,
};
use crate::{
    error::SqlError,
    query::planner::ResolvedTable,
    session::{
        api::{CopyChunk, RowStream},
        context::ExecutionContext,
    },
    types::{
        PgType,
        binary::{FieldEncoder, Format, as_stored},
        encoding::Encoding,
        text::{FormatSettings, TextEncoder},
    },
};

/// Bytes of rows that go to the client in one piece.
const CHUNK_BYTES: usize = 256 << 10;

/// The columns that are copied.
pub(super) struct Copied<'a> {
    pub names: Vec<String>,
    pub types: Vec<PgType>,
    /// Whose columns they are; `None` for those of a query.
    pub table: Option<&'a ResolvedTable>,
}

pub(super) struct Writer {
    copy_format: CopyFormat,
    delimiter: u8,
    null: Vec<u8>,
    quote: u8,
    escape: u8,
    header: bool,
    force_quote: Vec<bool>,
    names: Vec<String>,
    types: Vec<PgType>,
    format: FormatSettings,
    encoding: Encoding,
}

type Chunks = Pin<Box<dyn Stream<Item = Result<CopyChunk, SqlError>> + Send>>;

impl Writer {
    pub(super) fn new(
        context: &ExecutionContext,
        options: &Options,
        copied: Copied<'_>,
    ) -> Result<Self, SqlError> {
        let Copied { names, types, table } = copied;
        Ok(Self {
            copy_format: options.format,
            delimiter: options.delimiter,
            null: options.null.clone().into_bytes(),
            quote: options.quote,
            escape: options.escape,
            header: options.header != CopyHeader::No,
            force_quote: chosen("FORCE_QUOTE", &options.force_quote, &names, table)?,
            names,
            types,
            format: context.format(),
            encoding: options.encoding.unwrap_or(context.settings.derived().format.encoding),
        })
    }

    pub(super) fn columns(&self) -> usize {
        self.names.len()
    }

    pub(super) fn is_binary(&self) -> bool {
        self.copy_format == CopyFormat::Binary
    }

    /// `running`: told what is written.
    pub(super) fn into_stream(self, rows: RowStream, running: Running) -> Chunks {
        let chunks = match self.is_binary() {
            true => self.into_binary_stream(rows),
            false => self.into_text_stream(rows),
        };
        let counted = move |chunk: &Result<CopyChunk, SqlError>| {
            if let Ok(chunk) = chunk {
                running.add_bytes(chunk.bytes.len());
                running.add_rows(chunk.rows);
            }
        };
        Box::pin(chunks.inspect(counted))
    }

    fn into_text_stream(self, rows: RowStream) -> Chunks {
        let head = self.header.then(|| self.head());
        let chunks =
            rows.flat_map(move |batch| pieces(batch.and_then(|batch| self.text_chunks(&batch))));
        Box::pin(futures::stream::iter(head).chain(chunks))
    }

    /// Clients expect the header in one message with the first row, or with the trailer.
    fn into_binary_stream(self, rows: RowStream) -> Chunks {
        let head = [&SIGNATURE[..], &[0; 8]].concat();
        // A last item stands for the trailer.
        let rows = rows.map(Some).chain(futures::stream::iter([None]));
        let chunks = rows.scan(head, move |head, batch| {
            let mut start = Pieces { bytes: std::mem::take(head), ..Pieces::default() };
            let chunks = match batch {
                Some(batch) => batch.and_then(|batch| self.binary_chunks(&batch, start, head)),
                None => {
                    start.bytes.extend_from_slice(&[0xff, 0xff]);
                    start.ends.push(start.bytes.len() as u32);
                    let mut chunks = start.finish();
                    chunks.iter_mut().for_each(|chunk| chunk.rows = 0);
                    Ok(chunks)
                }
            };
            futures::future::ready(Some(pieces(chunks)))
        });
        Box::pin(chunks.flatten())
    }

    fn head(&self) -> Result<CopyChunk, SqlError> {
        let mut bytes = Vec::new();
        for (index, name) in self.names.iter().enumerate() {
            if index > 0 {
                bytes.push(self.delimiter);
            }
            self.value(name.as_bytes(), false, &mut bytes);
        }
        bytes.push(b'\n');
        let bytes = self.encoding.encode(&bytes)?.into_owned();
        Ok(CopyChunk { rows: 0, ends: vec![bytes.len() as u32], bytes: bytes.into() })
    }

    /// `start`: what stands before the first row; in `left`, if there is none.
    fn binary_chunks(
        &self,
        batch: &RecordBatch,
        mut start: Pieces,
        left: &mut Vec<u8>,
    ) -> Result<Vec<CopyChunk>, SqlError> {
        if batch.num_rows() == 0 {
            *left = std::mem::take(&mut start.bytes);
            return Ok(Vec::new());
        }
        let mut pieces = start;
        let columns = batch.columns().iter().zip(&self.types);
        let arrays: Vec<ArrayRef> = columns
            .map(|(array, to)| as_stored(array, to, &to.arrow_type(), Format::Binary))
            .collect::<Result<_, _>>()?;
        let encoders: Vec<FieldEncoder<'_>> = arrays
            .iter()
            .zip(&self.types)
            .map(|(array, to)| FieldEncoder::new(array, to, Format::Binary, &self.format))
            .collect::<Result<_, _>>()?;
        let count = (encoders.len() as u16).to_be_bytes();
        for row in 0..batch.num_rows() {
            pieces.bytes.extend_from_slice(&count);
            for encoder in &encoders {
                encoder.write(row, &mut pieces.bytes)?;
            }
            pieces.row_ends();
        }
        Ok(pieces.finish())
    }

    fn text_chunks(&self, batch: &RecordBatch) -> Result<Vec<CopyChunk>, SqlError> {
        let encoders: Vec<TextEncoder<'_>> = batch
            .columns()
            .iter()
            .zip(&self.types)
            .map(|(array, pg_type)| TextEncoder::new(array, pg_type, &self.format))
            .collect();
        let mut pieces = Pieces::default();
        let mut text = Vec::new();
        for row in 0..batch.num_rows() {
            let start = pieces.bytes.len();
            for (column, encoder) in encoders.iter().enumerate() {
                if column > 0 {
                    pieces.bytes.push(self.delimiter);
                }
                if encoder.is_null(row) {
                    pieces.bytes.extend_from_slice(&self.null);
                    continue;
                }
                text.clear();
                encoder.write(row, &mut text);
                self.value(&text, self.force_quote[column], &mut pieces.bytes);
            }
            if !self.encoding.is_utf8() {
                let line = self.encoding.encode(&pieces.bytes[start..])?.into_owned();
                pieces.bytes.truncate(start);
                pieces.bytes.extend_from_slice(&line);
            }
            pieces.bytes.push(b'\n');
            pieces.row_ends();
        }
        Ok(pieces.finish())
    }

    fn value(&self, text: &[u8], force_quote: bool, out: &mut Vec<u8>) {
        if self.copy_format != CopyFormat::Csv {
            return self.escaped(text, out);
        }
        let special = |byte: &u8| {
            *byte == self.delimiter || *byte == self.quote || matches!(byte, b'\n' | b'\r')
        };
        // A value that reads as NULL, or as the end of data where it stands alone, is quoted.
        let alone = self.names.len() == 1 && text == b"\\.";
        if !(force_quote || alone || text == self.null || text.iter().any(special)) {
            out.extend_from_slice(text);
            return;
        }
        out.push(self.quote);
        for byte in text {
            if *byte == self.quote || *byte == self.escape {
                out.push(self.escape);
            }
            out.push(*byte);
        }
        out.push(self.quote);
    }

    fn escaped(&self, text: &[u8], out: &mut Vec<u8>) {
        for byte in text {
            let letter = match byte {
                8 => b'b',
                12 => b'f',
                b'\n' => b'n',
                b'\r' => b'r',
                b'\t' => b't',
                11 => b'v',
                b'\\' => b'\\',
                byte if *byte == self.delimiter => *byte,
                byte => {
                    out.push(*byte);
                    continue;
                }
            };
            out.extend_from_slice(&[b'\\', letter]);
        }
    }
}

/// Rows on their way into chunks.
#[derive(Default)]
struct Pieces {
    bytes: Vec<u8>,
    ends: Vec<u32>,
    chunks: Vec<CopyChunk>,
}

impl Pieces {
    fn row_ends(&mut self) {
        self.ends.push(self.bytes.len() as u32);
        if self.bytes.len() >= CHUNK_BYTES {
            self.cut();
        }
    }

    fn cut(&mut self) {
        let bytes = std::mem::replace(&mut self.bytes, Vec::with_capacity(CHUNK_BYTES));
        let ends = std::mem::take(&mut self.ends);
        self.chunks.push(CopyChunk { rows: ends.len() as u64, bytes: bytes.into(), ends });
    }

    fn finish(mut self) -> Vec<CopyChunk> {
        if !self.ends.is_empty() {
            self.cut();
        }
        self.chunks
    }
}

fn pieces(
    chunks: Result<Vec<CopyChunk>, SqlError>,
) -> impl Stream<Item = Result<CopyChunk, SqlError>> + Send {
    futures::stream::iter(match chunks {
        Ok(chunks) => chunks.into_iter().map(Ok).collect(),
        Err(error) => vec![Err(error)],
    })
}
