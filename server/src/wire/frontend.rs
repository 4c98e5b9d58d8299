//! What clients send, decoded in place.
//!
//! pgwire's frontend decoders allocate a `String` per name, replace invalid UTF-8 silently and panic
//! on a body shorter than its counts say, so the bodies are read here: borrowed from the frame,
//! bounds-checked to its end, never beyond.

use std::str;

use bytes::{Buf, Bytes, BytesMut};
use glaredb_engine::{
    error::{SqlError, sqlstate},
    types::encoding::{Encoding, invalid_utf8},
};

use super::{Format, session::MessageMemory};

/// Longest body of a message that may carry a statement, parameters or COPY data: 256 MiB.
pub(crate) const LARGE_BODY_MAX: usize = 256 << 20;
/// Longest body of any other message, as PostgreSQL has it.
pub(crate) const SMALL_BODY_MAX: usize = 10_000;

/// Messages with longer bodies are charged to the memory of queries before they are read.
pub(crate) const FREE_BODY_MAX: usize = 1 << 20;

/// One message: type byte and body, without the length.
#[derive(Debug)]
pub(crate) struct Frame {
    pub(crate) kind: u8,
    pub(crate) body: Bytes,
    /// What a long message is charged, for as long as it is served.
    pub(crate) _charge: Option<MessageMemory>,
    /// There was no memory for it: its body was thrown away.
    pub(crate) refused: Option<Box<SqlError>>,
}

/// What serving a message of that type takes, in bytes: a statement is kept as text, tokens, syntax
/// tree and plan.
pub(crate) fn memory_needed(kind: u8, length: usize) -> usize {
    let times = if matches!(kind, b'Q' | b'P') { 10 } else { 2 };
    length.saturating_mul(times)
}

/// Why a message cannot be read.
#[derive(Debug)]
pub(crate) enum DecodeError {
    /// The stream of messages is not to be trusted any more: answer and close.
    Protocol(SqlError),
    /// The message was read to its end, but its text is not UTF-8, its formats do not fit or there
    /// was no memory for it: the statement fails, the connection lives.
    Statement(SqlError),
}

fn violation(message: impl Into<String>) -> DecodeError {
    DecodeError::Protocol(SqlError::new(sqlstate::PROTOCOL_VIOLATION, message))
}

/// Longest body a message of this type may have; `None` for a type that does not exist.
fn body_max(kind: u8) -> Option<usize> {
    match kind {
        b'Q' | b'P' | b'B' | b'd' | b'F' => Some(LARGE_BODY_MAX),
        b'D' | b'E' | b'C' | b'H' | b'S' | b'X' | b'c' | b'f' | b'p' => Some(SMALL_BODY_MAX),
        _ => None,
    }
}

/// Length of the whole first message in `buffer`, once its header is there; checked against the
/// limits, so that nobody waits for (or makes room for) what is never going to be a message.
pub(crate) fn first_length(buffer: &[u8]) -> Result<Option<usize>, DecodeError> {
    let Some(&kind) = buffer.first() else { return Ok(None) };
    let Some(max) = body_max(kind) else {
        return Err(violation(format!("invalid frontend message type {kind}")));
    };
    let Some(header) = buffer.get(1..5) else { return Ok(None) };
    let length = i32::from_be_bytes(header.try_into().expect("four bytes"));
    match usize::try_from(length) {
        Ok(length) if length >= 4 && length - 4 <= max => Ok(Some(length + 1)),
        _ => Err(violation(format!(
            "invalid length {length} of a message of type \"{}\", the limit is {}",
            char::from(kind),
            max + 4
        ))),
    }
}

/// Takes the first whole message out of `buffer`. `None`: more bytes are needed.
pub(crate) fn split_frame(buffer: &mut BytesMut) -> Result<Option<Frame>, DecodeError> {
    match first_length(buffer)? {
        Some(length) if buffer.len() >= length => {
            let mut frame = buffer.split_to(length);
            let kind = frame[0];
            frame.advance(5);
            Ok(Some(Frame { kind, body: frame.freeze(), _charge: None, refused: None }))
        }
        _ => Ok(None),
    }
}

/// Type of the first message in `buffer` if it is there as a whole.
pub(crate) fn peek_kind(buffer: &[u8]) -> Option<u8> {
    match first_length(buffer) {
        Ok(Some(length)) if buffer.len() >= length => buffer.first().copied(),
        _ => None,
    }
}

/// What a Describe or Close names.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Target {
    Statement,
    Portal,
}

/// A message of a started session.
#[derive(Debug)]
pub(crate) enum Message<'a> {
    Query { sql: &'a str },
    Parse { name: &'a str, sql: &'a str, parameter_types: ParameterTypes<'a> },
    Bind(Bind<'a>),
    Describe { target: Target, name: &'a str },
    Execute { portal: &'a str, row_limit: usize },
    Close { target: Target, name: &'a str },
    Flush,
    Sync,
    Terminate,
    CopyData(&'a [u8]),
    CopyDone,
    CopyFail { reason: &'a str },
    FunctionCall,
}

/// Type OIDs of a Parse, 0 for "find out".
#[derive(Clone, Copy, Debug)]
pub(crate) struct ParameterTypes<'a>(&'a [u8]);

impl ParameterTypes<'_> {
    pub(crate) fn iter(&self) -> impl Iterator<Item = u32> {
        self.0.chunks_exact(4).map(|b| u32::from_be_bytes([b[0], b[1], b[2], b[3]]))
    }
}

/// Format codes of a Bind: none (all text), one for all, or one each.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Formats<'a>(&'a [u8]);

impl Formats<'_> {
    pub(crate) fn len(&self) -> usize {
        self.0.len() / 2
    }

    /// The format of value `index`. The codes are known to be 0 or 1.
    pub(crate) fn get(&self, index: usize) -> Format {
        let code = match self.len() {
            0 => 0,
            1 => self.0[1],
            _ => self.0.get(index * 2 + 1).copied().unwrap_or(0),
        };
        if code == 1 { Format::Binary } else { Format::Text }
    }
}

#[derive(Debug)]
pub(crate) struct Bind<'a> {
    pub(crate) portal: &'a str,
    pub(crate) statement: &'a str,
    pub(crate) parameter_formats: Formats<'a>,
    pub(crate) parameter_count: usize,
    parameters: &'a [u8],
    pub(crate) result_formats: Formats<'a>,
}

impl<'a> Bind<'a> {
    /// The parameters in order, `None` for NULL. They were checked when the message was decoded.
    pub(crate) fn parameters(&self) -> impl Iterator<Item = Option<&'a [u8]>> + use<'a> {
        let mut body = Body { rest: self.parameters };
        let count = self.parameter_count;
        (0..count).map_while(move |_| body.value().ok())
    }
}

impl Frame {
    /// Reads the body.
    ///
    /// # Errors
    /// A body that is shorter or longer than its type says, a count or code out of range, or text
    /// that is not UTF-8; 53200 if there was no memory for it.
    /// The same with its strings in UTF-8. Values of parameters stay as they are: their formats say
    /// what is text.
    ///
    /// # Errors
    /// 22P05.
    pub(crate) fn in_utf8(&self, encoding: Encoding) -> Result<Self, SqlError> {
        let (before, strings) = match self.kind {
            b'Q' | b'E' | b'f' => (0, 1),
            b'P' | b'B' => (0, 2),
            b'D' | b'C' => (1, 1),
            _ => (0, 0),
        };
        let (head, mut rest) = self.body.split_at(self.body.len().min(before));
        let mut body = head.to_vec();
        for _ in 0..strings {
            // One without an end is for the decoder to refuse.
            let Some(end) = rest.iter().position(|&byte| byte == 0) else { break };
            body.extend_from_slice(&encoding.decode(&rest[..end])?);
            body.push(0);
            rest = &rest[end + 1..];
        }
        body.extend_from_slice(rest);
        let (kind, refused) = (self.kind, self.refused.clone());
        Ok(Self { kind, body: body.into(), _charge: None, refused })
    }

    pub(crate) fn decode(&self) -> Result<Message<'_>, DecodeError> {
        if let Some(refused) = &self.refused {
            return Err(DecodeError::Statement(SqlError::clone(refused)));
        }
        let mut body = Body { rest: &self.body };
        let message = match self.kind {
            b'Q' => Message::Query { sql: body.text()? },
            b'P' => {
                let (name, sql) = (body.text()?, body.text()?);
                let count = usize::from(body.u16()?);
                Message::Parse { name, sql, parameter_types: ParameterTypes(body.take(count * 4)?) }
            }
            b'B' => Message::Bind(body.bind()?),
            b'D' => Message::Describe { target: body.target()?, name: body.text()? },
            b'C' => Message::Close { target: body.target()?, name: body.text()? },
            b'E' => {
                let portal = body.text()?;
                // Zero and, as in PostgreSQL, anything below it mean "all rows".
                let row_limit = usize::try_from(body.i32()?).unwrap_or(0);
                Message::Execute { portal, row_limit }
            }
            b'H' => Message::Flush,
            b'S' => Message::Sync,
            b'X' => Message::Terminate,
            b'd' => Message::CopyData(body.take(body.rest.len())?),
            b'c' => Message::CopyDone,
            b'f' => Message::CopyFail { reason: body.text()? },
            b'F' => {
                body.take(body.rest.len())?;
                Message::FunctionCall
            }
            b'p' => return Err(violation("a password message was not asked for")),
            kind => return Err(violation(format!("invalid frontend message type {kind}"))),
        };
        if !body.rest.is_empty() {
            return Err(violation(format!(
                "message of type \"{}\" has {} bytes too many",
                char::from(self.kind),
                body.rest.len()
            )));
        }
        Ok(message)
    }
}

/// Reads a body from its front.
struct Body<'a> {
    rest: &'a [u8],
}

impl<'a> Body<'a> {
    fn take(&mut self, count: usize) -> Result<&'a [u8], DecodeError> {
        if count > self.rest.len() {
            return Err(violation(format!(
                "insufficient data left in message: {count} bytes needed, {} there",
                self.rest.len()
            )));
        }
        let (taken, rest) = self.rest.split_at(count);
        self.rest = rest;
        Ok(taken)
    }

    fn u16(&mut self) -> Result<u16, DecodeError> {
        Ok(u16::from_be_bytes(self.take(2)?.try_into().expect("two bytes")))
    }

    fn i32(&mut self) -> Result<i32, DecodeError> {
        Ok(i32::from_be_bytes(self.take(4)?.try_into().expect("four bytes")))
    }

    /// A zero-terminated string.
    fn text(&mut self) -> Result<&'a str, DecodeError> {
        let Some(end) = self.rest.iter().position(|&b| b == 0) else {
            return Err(violation("string in message has no end"));
        };
        let bytes = self.take(end)?;
        self.take(1)?;
        let wrong = |error: str::Utf8Error| invalid_utf8(&bytes[error.valid_up_to()..]);
        str::from_utf8(bytes).map_err(|error| DecodeError::Statement(wrong(error)))
    }

    fn target(&mut self) -> Result<Target, DecodeError> {
        match self.take(1)?[0] {
            b'S' => Ok(Target::Statement),
            b'P' => Ok(Target::Portal),
            other => {
                Err(violation(format!("invalid kind {other} of a thing to describe or close")))
            }
        }
    }

    fn formats(&mut self) -> Result<Formats<'a>, DecodeError> {
        let count = usize::from(self.u16()?);
        let codes = self.take(count * 2)?;
        match codes.chunks_exact(2).find(|code| !matches!(code, [0, 0 | 1])) {
            None => Ok(Formats(codes)),
            Some(code) => Err(DecodeError::Statement(SqlError::new(
                sqlstate::INVALID_PARAMETER_VALUE,
                format!("unsupported format code: {}", i16::from_be_bytes([code[0], code[1]])),
            ))),
        }
    }

    fn value(&mut self) -> Result<Option<&'a [u8]>, DecodeError> {
        match self.i32()? {
            -1 => Ok(None),
            length => match usize::try_from(length) {
                Ok(length) => self.take(length).map(Some),
                Err(_) => Err(violation(format!("invalid length {length} of a parameter"))),
            },
        }
    }

    fn bind(&mut self) -> Result<Bind<'a>, DecodeError> {
        let (portal, statement) = (self.text()?, self.text()?);
        let parameter_formats = self.formats()?;
        let parameter_count = usize::from(self.u16()?);
        let start = self.rest;
        for _ in 0..parameter_count {
            self.value()?;
        }
        let parameters = &start[..start.len() - self.rest.len()];
        if parameter_formats.len() > 1 && parameter_formats.len() != parameter_count {
            return Err(DecodeError::Statement(SqlError::new(
                sqlstate::PROTOCOL_VIOLATION,
                format!(
                    "bind message has {} parameter formats but {parameter_count} parameters",
                    parameter_formats.len()
                ),
            )));
        }
        let result_formats = self.formats()?;
        Ok(Bind {
            portal,
            statement,
            parameter_formats,
            parameter_count,
            parameters,
            result_formats,
        })
    }
}
