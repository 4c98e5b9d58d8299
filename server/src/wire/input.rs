//! Bytes from a client, cut into messages.

use bytes::BytesMut;
use tokio::io::{AsyncRead, AsyncReadExt};

use super::frontend::{self, DecodeError, Frame};

/// Room made for one read at first.
const READ_SIZE: usize = 8 << 10;
/// Room made for one read from a client that sends a lot.
const LONG_READ_SIZE: usize = 128 << 10;

#[derive(Debug)]
pub(crate) struct Input {
    buffer: BytesMut,
    /// Room for the next read: more as long as reads fill it.
    room: usize,
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
        Self { buffer, room: READ_SIZE }
    }

    /// The next message if it is here already.
    pub(crate) fn buffered(&mut self) -> Result<Option<Frame>, ReadError> {
        frontend::split_frame(&mut self.buffer).map_err(ReadError::Decode)
    }

    /// Type of the next message if it is here already as a whole.
    pub(crate) fn peek_kind(&self) -> Option<u8> {
        frontend::peek_kind(&self.buffer)
    }

    /// The next message; `None` at the end of the stream. Safe to drop half-way.
    pub(crate) async fn next(
        &mut self,
        stream: &mut (impl AsyncRead + Unpin),
    ) -> Result<Option<Frame>, ReadError> {
        loop {
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
