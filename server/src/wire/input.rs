//! Bytes from a client, cut into messages.

use bytes::{Buf, Bytes, BytesMut};
use glaredb_engine::error::SqlError;
use tokio::io::{AsyncRead, AsyncReadExt};

use super::{
    frontend::{self, DecodeError, FREE_BODY_MAX, Frame},
    session::{MessageMemory, ReserveMemory},
};

/// Room made for one read at first.
const READ_SIZE: usize = 8 << 10;
/// Room made for one read from a client that sends a lot.
const LONG_READ_SIZE: usize = 128 << 10;

pub(crate) struct Input {
    buffer: BytesMut,
    /// Room for the next read: more as long as reads fill it.
    room: usize,
    /// `None` until there is a session: what comes before it is short.
    reserve: Option<ReserveMemory>,
    /// Of the long message that is being read.
    charge: Option<MessageMemory>,
    refused: Option<Refused>,
}

/// A message there is no memory for.
struct Refused {
    kind: u8,
    /// Bytes of it that are still to come.
    rest: usize,
    error: Box<SqlError>,
}

/// Why there is no next message.
#[derive(Debug)]
pub(crate) enum ReadError {
    Io(std::io::Error),
    Decode(DecodeError),
}

impl Input {
    /// The bytes read ahead of the first message.
    pub(crate) fn new(buffer: BytesMut) -> Self {
        Self { buffer, room: READ_SIZE, reserve: None, charge: None, refused: None }
    }

    /// Long messages are charged from now on.
    pub(crate) fn charged_to(self, reserve: ReserveMemory) -> Self {
        Self { reserve: Some(reserve), ..self }
    }

    /// The next message if it is here already.
    pub(crate) fn buffered(&mut self) -> Result<Option<Frame>, ReadError> {
        if let Some(refused) = &mut self.refused {
            let here = refused.rest.min(self.buffer.len());
            self.buffer.advance(here);
            refused.rest -= here;
            if refused.rest > 0 {
                return Ok(None);
            }
        }
        if let Some(Refused { kind, error, .. }) = self.refused.take() {
            let refused = Some(error);
            return Ok(Some(Frame { kind, body: Bytes::new(), _charge: None, refused }));
        }
        let frame = frontend::split_frame(&mut self.buffer).map_err(ReadError::Decode)?;
        Ok(frame.map(|frame| Frame { _charge: self.charge.take(), ..frame }))
    }

    /// Asks for the memory of a long message when its head has come.
    fn charge_long(&mut self) -> Result<(), ReadError> {
        if self.charge.is_some() || self.refused.is_some() {
            return Ok(());
        }
        let (Some(reserve), Some(length)) =
            (&self.reserve, frontend::first_length(&self.buffer).map_err(ReadError::Decode)?)
        else {
            return Ok(());
        };
        if length <= FREE_BODY_MAX {
            return Ok(());
        }
        let kind = self.buffer[0];
        match reserve(frontend::memory_needed(kind, length)) {
            Ok(memory) => {
                self.charge = Some(memory);
                // At once, as growing by and by takes up to twice as much.
                self.buffer.reserve(length.saturating_sub(self.buffer.len()));
            }
            Err(error) => {
                self.refused = Some(Refused { kind, rest: length, error: Box::new(error) });
            }
        }
        Ok(())
    }

    /// Type of the next message if it is here already as a whole.
    pub(crate) fn peek_kind(&self) -> Option<u8> {
        if self.refused.is_some() { None } else { frontend::peek_kind(&self.buffer) }
    }

    /// The next message; `None` at the end of the stream. Safe to drop half-way.
    pub(crate) async fn next(
        &mut self,
        stream: &mut (impl AsyncRead + Unpin),
    ) -> Result<Option<Frame>, ReadError> {
        loop {
            self.charge_long()?;
            if let Some(frame) = self.buffered()? {
                return Ok(Some(frame));
            }
            if self.buffer.is_empty() && self.buffer.capacity() > LONG_READ_SIZE {
                // A client that sent something long once does not hold that memory for ever.
                self.buffer = BytesMut::new();
            }
            // Grows with what has come, not with what the length promises.
            self.buffer.reserve(self.room);
            match stream.read_buf(&mut self.buffer).await {
                Ok(0) if self.buffer.is_empty() => return Ok(None),
                Ok(0) => return Err(ReadError::Io(std::io::ErrorKind::UnexpectedEof.into())),
                Ok(read) if read >= self.room => self.room = (2 * self.room).min(LONG_READ_SIZE),
                Ok(_) => self.room = READ_SIZE.max(self.room / 2),
                Err(error) => return Err(ReadError::Io(error)),
            }
        }
    }
}
