//! A client that speaks bytes.

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

/// One message of the server.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Reply {
    pub(crate) kind: char,
    pub(crate) body: Vec<u8>,
}

impl std::fmt::Debug for Reply {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}{:?}", self.kind, String::from_utf8_lossy(&self.body))
    }
}

impl Reply {
    /// A field of an ErrorResponse or NoticeResponse.
    pub(crate) fn field(&self, code: char) -> Option<String> {
        self.body.split(|byte| *byte == 0).find_map(|field| {
            let (first, rest) = field.split_first()?;
            (char::from(*first) == code).then(|| String::from_utf8_lossy(rest).into_owned())
        })
    }

    pub(crate) fn sqlstate(&self) -> String {
        self.field('C').unwrap_or_default()
    }
}

/// The kinds of some replies, in order.
pub(crate) fn kinds(replies: &[Reply]) -> String {
    replies.iter().map(|reply| reply.kind).collect()
}

pub(crate) struct Raw {
    pub(crate) stream: TcpStream,
    /// Of the BackendKeyData.
    pub(crate) pid: i32,
    pub(crate) secret: Vec<u8>,
}

pub(crate) fn message(kind: char, body: &[u8]) -> Vec<u8> {
    let mut bytes = vec![kind as u8];
    bytes.extend_from_slice(&(body.len() as u32 + 4).to_be_bytes());
    bytes.extend_from_slice(body);
    bytes
}

pub(crate) fn query(sql: &str) -> Vec<u8> {
    message('Q', format!("{sql}\0").as_bytes())
}

pub(crate) fn parse(name: &str, sql: &str, types: &[u32]) -> Vec<u8> {
    let mut body = format!("{name}\0{sql}\0").into_bytes();
    body.extend_from_slice(&(types.len() as u16).to_be_bytes());
    for oid in types {
        body.extend_from_slice(&oid.to_be_bytes());
    }
    message('P', &body)
}

/// All parameters as text, all results in `format`.
pub(crate) fn bind(portal: &str, statement: &str, parameters: &[&str], format: u16) -> Vec<u8> {
    let mut body = format!("{portal}\0{statement}\0").into_bytes();
    body.extend_from_slice(&0u16.to_be_bytes());
    body.extend_from_slice(&(parameters.len() as u16).to_be_bytes());
    for parameter in parameters {
        body.extend_from_slice(&(parameter.len() as u32).to_be_bytes());
        body.extend_from_slice(parameter.as_bytes());
    }
    body.extend_from_slice(&1u16.to_be_bytes());
    body.extend_from_slice(&format.to_be_bytes());
    message('B', &body)
}

pub(crate) fn describe(kind: char, name: &str) -> Vec<u8> {
    message('D', format!("{kind}{name}\0").as_bytes())
}

pub(crate) fn execute(portal: &str, limit: i32) -> Vec<u8> {
    let mut body = format!("{portal}\0").into_bytes();
    body.extend_from_slice(&limit.to_be_bytes());
    message('E', &body)
}

pub(crate) fn close(kind: char, name: &str) -> Vec<u8> {
    message('C', format!("{kind}{name}\0").as_bytes())
}

pub(crate) fn sync() -> Vec<u8> {
    message('S', &[])
}

pub(crate) fn flush() -> Vec<u8> {
    message('H', &[])
}

pub(crate) fn startup(minor: u16, parameters: &[(&str, &str)]) -> Vec<u8> {
    let mut body = vec![0, 3];
    body.extend_from_slice(&minor.to_be_bytes());
    for (name, value) in parameters {
        body.extend_from_slice(format!("{name}\0{value}\0").as_bytes());
    }
    body.push(0);
    packet(&body)
}

/// A message without a type.
pub(crate) fn packet(body: &[u8]) -> Vec<u8> {
    let mut bytes = (body.len() as u32 + 4).to_be_bytes().to_vec();
    bytes.extend_from_slice(body);
    bytes
}

impl Raw {
    /// Only the connection.
    pub(crate) async fn open(port: u16) -> Self {
        let stream = TcpStream::connect(("127.0.0.1", port)).await.expect("somebody listens");
        stream.set_nodelay(true).expect("a socket");
        Self { stream, pid: 0, secret: Vec::new() }
    }

    /// A session.
    pub(crate) async fn start(port: u16) -> Self {
        let mut raw = Self::open(port).await;
        raw.send(&startup(0, &[("user", "postgres")])).await;
        let greeting = raw.until_ready().await;
        let key = greeting.iter().find(|reply| reply.kind == 'K').expect("a key");
        raw.pid = i32::from_be_bytes(key.body[..4].try_into().expect("four bytes"));
        raw.secret = key.body[4..].to_vec();
        raw
    }

    pub(crate) async fn send(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).await.expect("the server reads");
    }

    /// The next message; `None` at the end.
    pub(crate) async fn reply(&mut self) -> Option<Reply> {
        let mut head = [0; 5];
        if self.stream.read_exact(&mut head).await.is_err() {
            return None;
        }
        let length = u32::from_be_bytes(head[1..].try_into().expect("four bytes"));
        let mut body = vec![0; length as usize - 4];
        self.stream.read_exact(&mut body).await.expect("a whole message");
        Some(Reply { kind: char::from(head[0]), body })
    }

    /// Replies up to and with ReadyForQuery.
    pub(crate) async fn until_ready(&mut self) -> Vec<Reply> {
        self.until('Z').await
    }

    /// Replies up to and with one of this kind.
    pub(crate) async fn until(&mut self, kind: char) -> Vec<Reply> {
        let mut replies = Vec::new();
        loop {
            let reply = self
                .reply()
                .await
                .unwrap_or_else(|| panic!("the connection ended after {replies:?}"));
            let last = reply.kind == kind;
            replies.push(reply);
            if last {
                return replies;
            }
        }
    }

    /// All replies until the server closes.
    pub(crate) async fn until_closed(&mut self) -> Vec<Reply> {
        let mut replies = Vec::new();
        while let Some(reply) = self.reply().await {
            replies.push(reply);
        }
        replies
    }

    pub(crate) async fn query(&mut self, sql: &str) -> Vec<Reply> {
        self.send(&query(sql)).await;
        self.until_ready().await
    }

    /// Cancels what this session runs, over another connection.
    pub(crate) async fn cancel(port: u16, pid: i32, secret: &[u8]) {
        let mut raw = Self::open(port).await;
        let mut body = 80_877_102u32.to_be_bytes().to_vec();
        body.extend_from_slice(&pid.to_be_bytes());
        body.extend_from_slice(secret);
        raw.send(&packet(&body)).await;
        assert_eq!(raw.until_closed().await, []);
    }
}
