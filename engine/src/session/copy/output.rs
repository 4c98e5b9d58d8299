//! COPY … TO STDOUT.

use std::pin::Pin;

use arrow::array::RecordBatch;
use futures::{Stream, StreamExt};

use super::chosen;
use crate::{
    error::SqlError,
    query::statement::{Copy, CopyFormat, CopyHeader},
    session::api::{CopyChunk, RowStream},
    types::{
        PgType,
        text::{FormatSettings, TextEncoder},
    },
};

/// Bytes of rows that go to the client in one piece.
const CHUNK_BYTES: usize = 256 << 10;

pub(super) struct Writer {
    csv: bool,
    delimiter: u8,
    null: Vec<u8>,
    quote: u8,
    escape: u8,
    header: bool,
    force_quote: Vec<bool>,
    names: Vec<String>,
    types: Vec<PgType>,
    format: FormatSettings,
}

type Chunks = Pin<Box<dyn Stream<Item = Result<CopyChunk, SqlError>> + Send>>;

impl Writer {
    pub(super) fn new(
        copy: &Copy,
        names: Vec<String>,
        types: Vec<PgType>,
        format: FormatSettings,
    ) -> Result<Self, SqlError> {
        Ok(Self {
            csv: copy.format == CopyFormat::Csv,
            delimiter: copy.delimiter,
            null: copy.null.clone().into_bytes(),
            quote: copy.quote,
            escape: copy.escape,
            header: copy.header != CopyHeader::No,
            force_quote: chosen("FORCE_QUOTE", &copy.force_quote, &names)?,
            names,
            types,
            format,
        })
    }

    pub(super) fn into_stream(self, rows: RowStream) -> Chunks {
        let head = self.header.then(|| Ok(self.head()));
        let chunks = rows.flat_map(move |batch| {
            futures::stream::iter(match batch {
                Ok(batch) => self.chunks(&batch).into_iter().map(Ok).collect(),
                Err(error) => vec![Err(error)],
            })
        });
        Box::pin(futures::stream::iter(head).chain(chunks))
    }

    fn head(&self) -> CopyChunk {
        let mut bytes = Vec::new();
        for (index, name) in self.names.iter().enumerate() {
            if index > 0 {
                bytes.push(self.delimiter);
            }
            self.value(name.as_bytes(), false, &mut bytes);
        }
        bytes.push(b'\n');
        CopyChunk { rows: 0, ends: vec![bytes.len() as u32], bytes: bytes.into() }
    }

    fn chunks(&self, batch: &RecordBatch) -> Vec<CopyChunk> {
        let encoders: Vec<TextEncoder<'_>> = batch
            .columns()
            .iter()
            .zip(&self.types)
            .map(|(array, pg_type)| TextEncoder::new(array, pg_type, &self.format))
            .collect();
        let mut chunks = Vec::new();
        let (mut bytes, mut ends) = (Vec::with_capacity(CHUNK_BYTES), Vec::new());
        let mut text = Vec::new();
        for row in 0..batch.num_rows() {
            for (column, encoder) in encoders.iter().enumerate() {
                if column > 0 {
                    bytes.push(self.delimiter);
                }
                if encoder.is_null(row) {
                    bytes.extend_from_slice(&self.null);
                    continue;
                }
                text.clear();
                encoder.write(row, &mut text);
                self.value(&text, self.force_quote[column], &mut bytes);
            }
            bytes.push(b'\n');
            ends.push(bytes.len() as u32);
            if bytes.len() >= CHUNK_BYTES {
                chunks.push(chunk(&mut bytes, &mut ends));
            }
        }
        if !ends.is_empty() {
            chunks.push(chunk(&mut bytes, &mut ends));
        }
        chunks
    }

    fn value(&self, text: &[u8], force_quote: bool, out: &mut Vec<u8>) {
        if !self.csv {
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

fn chunk(bytes: &mut Vec<u8>, ends: &mut Vec<u32>) -> CopyChunk {
    let bytes = std::mem::replace(bytes, Vec::with_capacity(CHUNK_BYTES));
    let ends = std::mem::take(ends);
    CopyChunk { rows: ends.len() as u64, bytes: bytes.into(), ends }
}
