//! Many rows out through `SELECT *`: until a client that only counts them has the last one.
//!
//! The client speaks the wire protocol itself, the same for both servers, and decodes nothing, so
//! that what is measured is the server and the socket.

use std::{
    io::{Read, Write},
    net::TcpStream,
    time::{Duration, Instant},
};

use glaredb_tests::{client, peer::Postgres, server::Server};

use crate::{
    report::{Report, median},
    small_statements::POSTGRES_SETTINGS,
};

const ROWS: u64 = 100_000;
const ROUNDS: usize = 9;

/// Columns of the kinds that are written differently.
const TABLE: &str = "create table wide (id int primary key, n bigint, price numeric(12,2), \
                     share double precision, flag boolean, name text, note varchar(40), day date, \
                     at timestamp, atz timestamptz, u uuid)";
const ROWS_IN: &str = "insert into wide select i, i::bigint * 1000003, (i % 100000) / 100.0, i / 7.0, \
                       i % 3 = 0, 'name ' || i, case when i % 5 > 0 then 'a note about it' end, \
                       date '2020-01-01' + i % 2000, \
                       timestamp '2020-01-01 00:00:00' + i * interval '1 minute', \
                       timestamptz '2020-01-01 00:00:00+00' + i * interval '1 second', \
                       md5(i::text)::uuid from generate_series(1, 100000) as g (i)";
const NARROW: &str = "create table narrow (id int primary key, n int)";
const NARROW_IN: &str = "insert into narrow select i, i from generate_series(1, 100000) as g (i)";

pub(crate) fn measure(report: &mut Report) {
    let ours = Server::start();
    let peer = Postgres::start(&POSTGRES_SETTINGS);
    let ports = [ours.port, peer.port];
    for port in ports {
        for sql in [TABLE, ROWS_IN, NARROW, NARROW_IN, "analyze"] {
            client::psql(port, "postgres", &["-q", "-v", "ON_ERROR_STOP=1", "-c", sql])
                .unwrap_or_else(|e| panic!("{sql}: {e}"));
        }
    }
    for table in ["wide", "narrow"] {
        let mut times = [Vec::new(), Vec::new()];
        let mut bytes = [0, 0];
        let mut clients = ports.map(Client::connect);
        // The first round warms up both.
        for round in 0..=ROUNDS {
            for ((times, client), bytes) in times.iter_mut().zip(&mut clients).zip(&mut bytes) {
                let begin = Instant::now();
                *bytes = client.count(&format!("select * from {table}"), ROWS);
                if round > 0 {
                    times.push(begin.elapsed().as_secs_f64());
                }
            }
        }
        let [ours, peer] = times.map(median);
        let what = format!("100,000 rows of {table} out, SELECT *, simple");
        let (ours, peer) = (Duration::from_secs_f64(ours), Duration::from_secs_f64(peer));
        report.duration(&what, ours, peer, 1.0);
        report.note(&format!("bytes of {table}, ours and PostgreSQL's"), &format!("{bytes:?}"));
    }
}

struct Client {
    socket: TcpStream,
    buffer: Vec<u8>,
}

impl Client {
    fn connect(port: u16) -> Self {
        let mut socket = TcpStream::connect(("127.0.0.1", port)).expect("it listens");
        let mut startup = vec![0, 3, 0, 0];
        for word in ["user", "postgres", "database", "postgres"] {
            startup.extend_from_slice(word.as_bytes());
            startup.push(0);
        }
        startup.push(0);
        let length = u32::try_from(startup.len() + 4).expect("a short message");
        socket.write_all(&length.to_be_bytes()).expect("it reads");
        socket.write_all(&startup).expect("it reads");
        let mut client = Self { socket, buffer: vec![0; 64 << 10] };
        client.until_ready();
        client
    }

    /// Runs a query that gives so many rows; the bytes of the answer.
    fn count(&mut self, sql: &str, rows: u64) -> usize {
        let length = u32::try_from(sql.len() + 5).expect("a short message");
        let mut message = vec![b'Q'];
        message.extend_from_slice(&length.to_be_bytes());
        message.extend_from_slice(sql.as_bytes());
        message.push(0);
        self.socket.write_all(&message).expect("it reads");
        let (counted, bytes) = self.until_ready();
        assert_eq!(counted, rows, "{sql}");
        bytes
    }

    /// Reads messages to ReadyForQuery: DataRows, and bytes of all.
    fn until_ready(&mut self) -> (u64, usize) {
        let (mut rows, mut bytes) = (0, 0);
        // Of a message that is not there as a whole: its header, and what is still to come.
        let mut header: Vec<u8> = Vec::with_capacity(5);
        let mut body = 0;
        loop {
            let read = self.socket.read(&mut self.buffer).expect("an answer");
            assert!(read > 0, "the server closed the connection");
            bytes += read;
            let mut at = 0;
            while at < read {
                if body > 0 {
                    let here = body.min(read - at);
                    body -= here;
                    at += here;
                } else {
                    let here = (5 - header.len()).min(read - at);
                    header.extend_from_slice(&self.buffer[at..at + here]);
                    at += here;
                    if header.len() < 5 {
                        continue;
                    }
                    let length = [header[1], header[2], header[3], header[4]];
                    body = u32::from_be_bytes(length) as usize - 4;
                    assert_ne!(header[0], b'E', "the server answers with an error");
                    rows += u64::from(header[0] == b'D');
                }
                if body == 0 && header.len() == 5 {
                    if header[0] == b'Z' {
                        return (rows, bytes);
                    }
                    header.clear();
                }
            }
        }
    }
}
