//! The first packets of a connection: encryption requests, cancel requests, the startup packet.

use bytes::{Buf, BytesMut};
use glaredb_engine::error::{SqlError, sqlstate};
use pgwire::messages::{
    DecodeContext, Message, ProtocolVersion,
    cancel::CancelRequest,
    startup::{GssEncRequest, NegotiateProtocolVersion, SslRequest, Startup},
};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use super::session::StartupParameters;

/// Longest first packet, as PostgreSQL has it.
const PACKET_MAX: usize = 10_000;
/// Newest minor version of protocol 3 spoken here.
const NEWEST_MINOR: u16 = 2;

/// What a new connection is for.
pub(crate) enum Opening {
    /// A session; bytes read beyond the startup packet come with it.
    Session(StartupRequest, BytesMut),
    /// To cancel what another connection runs.
    Cancel { pid: i32, secret: Vec<u8> },
    /// Nothing: the client left.
    Closed,
}

#[derive(Debug)]
pub(crate) struct StartupRequest {
    pub(crate) parameters: StartupParameters,
    /// Sent first if the client asked for more than is spoken here.
    pub(crate) negotiate: Option<NegotiateProtocolVersion>,
    /// Bytes of the secret for cancel requests: four until protocol 3.2 made it longer.
    pub(crate) secret_length: usize,
}

#[derive(Debug)]
pub(crate) enum OpeningError {
    Io(std::io::Error),
    /// To be told to the client as FATAL.
    Refused(SqlError),
}

impl From<std::io::Error> for OpeningError {
    fn from(error: std::io::Error) -> Self {
        Self::Io(error)
    }
}

fn violation(message: impl Into<String>) -> OpeningError {
    OpeningError::Refused(SqlError::new(sqlstate::PROTOCOL_VIOLATION, message))
}

/// Reads until it is known what the connection is for. Encryption is declined (`N`).
pub(crate) async fn open(
    stream: &mut (impl AsyncRead + AsyncWrite + Unpin),
) -> Result<Opening, OpeningError> {
    let mut buffer = BytesMut::with_capacity(1024);
    // One request each for SSL and GSS, then the startup packet; more is not a client.
    for _ in 0..3 {
        let Some(mut packet) = read_packet(stream, &mut buffer).await? else {
            return Ok(Opening::Closed);
        };
        if SslRequest::is_ssl_request_packet(&packet)
            || GssEncRequest::is_gss_enc_request_packet(&packet)
        {
            if !buffer.is_empty() {
                // Bytes sent before the answer would later pass for encrypted ones.
                return Err(violation("received unencrypted data after an encryption request"));
            }
            stream.write_all(b"N").await?;
            stream.flush().await?;
            continue;
        }
        if CancelRequest::is_cancel_request_packet(&packet) {
            let context = DecodeContext::new(ProtocolVersion::PROTOCOL3_2);
            return match CancelRequest::decode(&mut packet, &context) {
                Ok(Some(request)) => Ok(Opening::Cancel {
                    pid: request.pid,
                    secret: request.secret_key.to_bytes().to_vec(),
                }),
                _ => Err(violation("invalid cancel request")),
            };
        }
        return startup_request(packet).map(|request| Opening::Session(request, buffer));
    }
    Err(violation("more than one request for the same encryption"))
}

/// The first packet in `buffer`, with its length; `None` if the client left before it began.
async fn read_packet(
    stream: &mut (impl AsyncRead + Unpin),
    buffer: &mut BytesMut,
) -> Result<Option<BytesMut>, OpeningError> {
    loop {
        if let Some(header) = buffer.get(..4) {
            let length =
                usize::try_from(u32::from_be_bytes(header.try_into().expect("four bytes")))
                    .unwrap_or(usize::MAX);
            if !(8..=PACKET_MAX).contains(&length) {
                return Err(violation(format!("invalid length of startup packet: {length}")));
            }
            if buffer.len() >= length {
                return Ok(Some(buffer.split_to(length)));
            }
        }
        buffer.reserve(1024);
        if stream.read_buf(buffer).await? == 0 {
            return if buffer.is_empty() {
                Ok(None)
            } else {
                Err(OpeningError::Io(std::io::ErrorKind::UnexpectedEof.into()))
            };
        }
    }
}

fn startup_request(mut packet: BytesMut) -> Result<StartupRequest, OpeningError> {
    let (major, minor) = ((&packet[4..6]).get_u16(), (&packet[6..8]).get_u16());
    if major != 3 {
        return Err(OpeningError::Refused(SqlError::new(
            sqlstate::FEATURE_NOT_SUPPORTED,
            format!(
                "unsupported frontend protocol {major}.{minor}: server supports 3.0 to 3.{NEWEST_MINOR}"
            ),
        )));
    }
    if packet.len() < 9 || packet[packet.len() - 1] != 0 {
        return Err(violation("invalid startup packet layout: expected terminator as last byte"));
    }
    // The packet is cut out whole, so pgwire cannot read past it.
    let startup = match Startup::decode(&mut packet, &DecodeContext::default()) {
        Ok(Some(startup)) if packet.is_empty() => startup,
        _ => return Err(violation("invalid startup packet layout")),
    };
    let unknown: Vec<String> =
        startup.parameters.keys().filter(|name| name.starts_with("_pq_.")).cloned().collect();
    let negotiate = (minor > NEWEST_MINOR || !unknown.is_empty()).then(|| {
        NegotiateProtocolVersion::new((3 << 16) | i32::from(minor.min(NEWEST_MINOR)), unknown)
    });
    Ok(StartupRequest {
        parameters: parameters(startup)?,
        negotiate,
        secret_length: if minor >= 2 { 32 } else { 4 },
    })
}

fn parameters(startup: Startup) -> Result<StartupParameters, OpeningError> {
    let mut result = StartupParameters::default();
    let mut options = None;
    for (name, value) in startup.parameters {
        match name.as_str() {
            "user" => result.user = value,
            "database" => result.database = value,
            "options" => options = Some(value),
            "replication" if matches!(value.as_str(), "false" | "off" | "no" | "0") => {}
            "replication" => {
                return Err(OpeningError::Refused(SqlError::not_supported("replication")));
            }
            _ if name.starts_with("_pq_.") => {}
            _ => result.settings.push((name, value)),
        }
    }
    if result.user.is_empty() {
        return Err(OpeningError::Refused(SqlError::new(
            sqlstate::INVALID_AUTHORIZATION,
            "no PostgreSQL user name specified in startup packet",
        )));
    }
    if result.database.is_empty() {
        result.database.clone_from(&result.user);
    }
    if let Some(options) = options {
        // In front: a parameter of its own wins over the same one in `options`.
        let mut settings = command_line_settings(&options)?;
        settings.append(&mut result.settings);
        result.settings = settings;
    }
    Ok(result)
}

/// `-c name=value`, `-cname=value` and `--name=value`, separated by blanks; a backslash takes the
/// next character as it is.
fn command_line_settings(options: &str) -> Result<Vec<(String, String)>, OpeningError> {
    let mut words: Vec<String> = Vec::new();
    let mut word: Option<String> = None;
    let mut characters = options.chars();
    while let Some(character) = characters.next() {
        match character {
            c if c.is_ascii_whitespace() => words.extend(word.take()),
            '\\' => word.get_or_insert_default().extend(characters.next()),
            c => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);

    let mut settings = Vec::new();
    let mut words = words.into_iter();
    while let Some(word) = words.next() {
        let assignment = if word == "-c" {
            words.next()
        } else {
            word.strip_prefix("--").or_else(|| word.strip_prefix("-c")).map(str::to_owned)
        };
        match assignment.as_deref().and_then(|a| a.split_once('=')) {
            Some((name, value)) => settings.push((name.replace('-', "_"), value.to_owned())),
            None => {
                return Err(OpeningError::Refused(SqlError::new(
                    sqlstate::SYNTAX_ERROR,
                    format!("invalid command-line argument for server process: {word}"),
                )));
            }
        }
    }
    Ok(settings)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_settings() {
        let settings = command_line_settings(r"-c geqo=off  --work-mem=4MB -cTimeZone=a\ b\\c")
            .expect("valid");
        let expected = [("geqo", "off"), ("work_mem", "4MB"), ("TimeZone", r"a b\c")]
            .map(|(name, value)| (name.to_owned(), value.to_owned()));
        assert_eq!(settings, expected);
        assert!(command_line_settings("-x").is_err());
        assert!(command_line_settings("-c").is_err());
    }
}
