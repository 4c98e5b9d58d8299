//! What the server sends, gathered in one buffer per connection.
//!
//! Nothing is written to the socket before Sync, the end of a simple query, a Flush, or more than
//! [`FLUSH_AT`] gathered bytes: one system call per round trip is what makes small statements fast.

use bytes::{BufMut, BytesMut};
use glaredb_engine::{
    error::SqlError,
    session::api::{FieldDescription, Notice, TransactionStatus},
    types::encoding::Encoding,
};
use pgwire::messages::{Message, data::ParameterDescription};
use tokio::io::{AsyncWrite, AsyncWriteExt};

use super::Format;

/// Rows are written out when this many bytes have gathered.
pub(crate) const FLUSH_AT: usize = 64 << 10;
/// An idle connection keeps no larger buffer than this.
const KEEP_CAPACITY: usize = 16 << 10;

/// How bad an error is for the connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Severity {
    Error,
    /// The connection ends after it.
    Fatal,
}

#[derive(Default, Debug)]
pub(crate) struct Output {
    pub(crate) buffer: Vec<u8>,
    /// How much of `buffer` is written out already.
    written: usize,
    /// Of what is not values: those are encoded already.
    pub(crate) encoding: Encoding,
}

impl Output {
    /// A message without a body.
    fn bare(&mut self, kind: u8) {
        self.buffer.put_slice(&[kind, 0, 0, 0, 4]);
    }

    pub(crate) fn parse_complete(&mut self) {
        self.bare(b'1');
    }

    pub(crate) fn bind_complete(&mut self) {
        self.bare(b'2');
    }

    pub(crate) fn close_complete(&mut self) {
        self.bare(b'3');
    }

    pub(crate) fn no_data(&mut self) {
        self.bare(b'n');
    }

    pub(crate) fn portal_suspended(&mut self) {
        self.bare(b's');
    }

    pub(crate) fn empty_query(&mut self) {
        self.bare(b'I');
    }

    pub(crate) fn copy_done(&mut self) {
        self.bare(b'c');
    }

    pub(crate) fn ready_for_query(&mut self, status: TransactionStatus) {
        let status = match status {
            TransactionStatus::Idle => b'I',
            TransactionStatus::InBlock => b'T',
            TransactionStatus::Failed => b'E',
        };
        self.buffer.put_slice(&[b'Z', 0, 0, 0, 5, status]);
    }

    /// `{n}` in `tag` becomes `rows`.
    pub(crate) fn command_complete(&mut self, tag: &str, rows: u64) {
        let start = self.begin(b'C');
        match tag.split_once("{n}") {
            Some((before, after)) => {
                self.buffer.put_slice(before.as_bytes());
                self.decimal(rows);
                self.buffer.put_slice(after.as_bytes());
            }
            None => self.buffer.put_slice(tag.as_bytes()),
        }
        self.buffer.put_u8(0);
        self.end(start);
    }

    fn decimal(&mut self, mut value: u64) {
        let mut digits = [0; 20];
        let mut at = digits.len();
        loop {
            at -= 1;
            digits[at] = b'0' + (value % 10) as u8;
            value /= 10;
            if value == 0 {
                break;
            }
        }
        self.buffer.put_slice(&digits[at..]);
    }

    /// Starts a message whose length [`Output::end`] fills in.
    fn begin(&mut self, kind: u8) -> usize {
        self.buffer.put_slice(&[kind, 0, 0, 0, 0]);
        self.buffer.len() - 4
    }

    fn end(&mut self, start: usize) {
        let length = u32::try_from(self.buffer.len() - start).unwrap_or(u32::MAX);
        self.buffer[start..start + 4].copy_from_slice(&length.to_be_bytes());
    }

    /// A message type of pgwire's.
    pub(crate) fn message(&mut self, message: &impl Message) {
        let mut encoded = BytesMut::new();
        // The only error is a length above what libpq accepts: better not to send it at all.
        if message.encode(&mut encoded).is_ok() {
            self.buffer.put_slice(&encoded);
        }
    }

    pub(crate) fn parameter_status(&mut self, name: &str, value: &str) {
        let start = self.begin(b'S');
        self.text(name);
        self.text(value);
        self.end(start);
    }

    /// A zero-terminated string; a zero inside would end it early, so there is none.
    fn text(&mut self, text: &str) {
        for part in text.split('\0') {
            self.buffer.put_slice(&self.encoding.encode_lossy(part));
        }
        self.buffer.put_u8(0);
    }

    pub(crate) fn parameter_description(&mut self, types: impl Iterator<Item = u32>) {
        self.message(&ParameterDescription::new(types.collect()));
    }

    pub(crate) fn row_description(
        &mut self,
        fields: &[FieldDescription],
        format: impl Fn(usize) -> Format,
    ) {
        let start = self.begin(b'T');
        self.buffer.put_u16(u16::try_from(fields.len()).unwrap_or(u16::MAX));
        for (index, field) in fields.iter().enumerate() {
            self.text(&field.name);
            self.buffer.put_u32(field.table_oid);
            self.buffer.put_i16(field.column_number);
            self.buffer.put_u32(field.pg_type.oid());
            self.buffer.put_i16(field.pg_type.typlen());
            self.buffer.put_i32(field.typmod());
            self.buffer.put_u16(u16::from(format(index) == Format::Binary));
        }
        self.end(start);
    }

    /// CopyInResponse or CopyOutResponse; `kind` is `G` or `H`.
    pub(crate) fn copy_response(&mut self, kind: u8, columns: usize, binary: bool) {
        let start = self.begin(kind);
        self.buffer.put_u8(u8::from(binary));
        self.buffer.put_u16(u16::try_from(columns).unwrap_or(u16::MAX));
        for _ in 0..columns {
            self.buffer.put_u16(u16::from(binary));
        }
        self.end(start);
    }

    pub(crate) fn copy_data(&mut self, data: &[u8]) {
        let start = self.begin(b'd');
        self.buffer.put_slice(data);
        self.end(start);
    }

    pub(crate) fn error(&mut self, severity: Severity, error: &SqlError) {
        let severity = match severity {
            Severity::Error => "ERROR",
            Severity::Fatal => "FATAL",
        };
        let mut fields = notice_fields(severity, error.sqlstate, &error.message);
        let mut optional = |code: u8, value: Option<String>| {
            if let Some(value) = value {
                fields.push((code, without_zeros(value)));
            }
        };
        optional(b'D', error.detail.clone());
        optional(b'H', error.hint.clone());
        optional(b'P', error.position.map(|position| position.to_string()));
        optional(b'W', error.object.context.clone());
        optional(b's', error.object.schema.clone());
        optional(b't', error.object.table.clone());
        optional(b'c', error.object.column.clone());
        optional(b'n', error.object.constraint.clone());
        self.fields(b'E', &fields);
    }

    /// ErrorResponse or NoticeResponse.
    fn fields(&mut self, kind: u8, fields: &[(u8, String)]) {
        let start = self.begin(kind);
        for (code, value) in fields {
            self.buffer.put_u8(*code);
            self.text(value);
        }
        self.buffer.put_u8(0);
        self.end(start);
    }

    pub(crate) fn notice(&mut self, notice: &Notice) {
        let mut fields = notice_fields(notice.severity, notice.sqlstate, &notice.message);
        for (code, value) in [(b'D', &notice.detail), (b'H', &notice.hint)] {
            fields.extend(value.clone().map(|value| (code, without_zeros(value))));
        }
        self.fields(b'N', &fields);
    }

    /// Writes everything out. Safe to drop half-way: what was written is gone from the buffer, the
    /// rest is still there.
    pub(crate) async fn flush(
        &mut self,
        stream: &mut (impl AsyncWrite + Unpin),
    ) -> std::io::Result<()> {
        while self.written < self.buffer.len() {
            match stream.write(&self.buffer[self.written..]).await? {
                0 => return Err(std::io::ErrorKind::WriteZero.into()),
                count => self.written += count,
            }
        }
        self.buffer.clear();
        self.written = 0;
        stream.flush().await
    }

    /// Gives back the memory of a large answer.
    pub(crate) fn shrink(&mut self) {
        if self.buffer.is_empty() && self.buffer.capacity() > KEEP_CAPACITY {
            self.buffer = Vec::new();
        }
    }
}

fn notice_fields(severity: &str, sqlstate: &str, message: &str) -> Vec<(u8, String)> {
    vec![
        (b'S', severity.to_owned()),
        (b'V', severity.to_owned()),
        (b'C', sqlstate.to_owned()),
        (b'M', without_zeros(message.to_owned())),
    ]
}

fn without_zeros(text: String) -> String {
    if text.contains('\0') { text.replace('\0', "\u{fffd}") } else { text }
}
