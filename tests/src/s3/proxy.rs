//! Stands between a client and an S3 server, and misbehaves on demand.

use std::{
    io::{Read, Write},
    net::{Shutdown, TcpListener, TcpStream},
    sync::{
        Arc, Condvar, Mutex,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
};

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Behaviour {
    Pass,
    /// Connections end at once, also those that are open.
    Refuse,
    /// Requests are taken and go nowhere until the behaviour changes.
    Stall,
    /// Requests to write are executed, and their answers are not delivered: this many times, then
    /// all passes.
    CutAnswersToPut(u32),
}

/// Listens on a port of its own for as long as the process lives.
pub struct Proxy {
    pub port: u16,
    shared: Arc<Shared>,
}

struct Shared {
    behaviour: Mutex<Behaviour>,
    changed: Condvar,
    server: u16,
}

impl Proxy {
    /// In front of the server on a port of this machine.
    #[must_use]
    pub fn start(server: u16) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a port");
        let port = listener.local_addr().expect("it has one").port();
        let behaviour = Mutex::new(Behaviour::Pass);
        let shared = Arc::new(Shared { behaviour, changed: Condvar::new(), server });
        let accepting = Arc::clone(&shared);
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let shared = Arc::clone(&accepting);
                std::thread::spawn(move || shared.serve(client));
            }
        });
        Self { port, shared }
    }

    #[must_use]
    pub fn endpoint(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    pub fn behave(&self, behaviour: Behaviour) {
        *self.shared.behaviour.lock().expect("nobody panics with the lock") = behaviour;
        self.shared.changed.notify_all();
    }

    #[must_use]
    pub fn behaviour(&self) -> Behaviour {
        *self.shared.behaviour.lock().expect("nobody panics with the lock")
    }
}

impl Shared {
    /// One connection, both ways.
    fn serve(self: Arc<Self>, client: TcpStream) {
        if !self.may_pass() {
            return;
        }
        let Ok(server) = TcpStream::connect(("127.0.0.1", self.server)) else { return };
        let (Ok(mut from_client), Ok(mut to_server)) = (client.try_clone(), server.try_clone())
        else {
            return;
        };
        let putting = Arc::new(AtomicBool::new(false));
        let (shared, is_put) = (Arc::clone(&self), Arc::clone(&putting));
        let requests = std::thread::spawn(move || {
            let mut buffer = vec![0; 64 << 10];
            while let Ok(count @ 1..) = from_client.read(&mut buffer) {
                // Bodies of tests do not look like this.
                for (method, put) in [(&b"PUT /"[..], true), (b"GET /", false), (b"HEAD /", false)]
                {
                    if buffer[..count].starts_with(method) {
                        is_put.store(put, SeqCst);
                    }
                }
                if !shared.may_pass() || to_server.write_all(&buffer[..count]).is_err() {
                    break;
                }
            }
            let _ = to_server.shutdown(Shutdown::Both);
            let _ = from_client.shutdown(Shutdown::Both);
        });
        let (mut from_server, mut to_client) = (server, client);
        let mut buffer = vec![0; 64 << 10];
        while let Ok(count @ 1..) = from_server.read(&mut buffer) {
            if putting.load(SeqCst) && self.cuts() {
                break;
            }
            if !self.may_pass() || to_client.write_all(&buffer[..count]).is_err() {
                break;
            }
        }
        let _ = from_server.shutdown(Shutdown::Both);
        let _ = to_client.shutdown(Shutdown::Both);
        let _ = requests.join();
    }

    /// Blocks while it stalls; `false` if the connection is to end.
    fn may_pass(&self) -> bool {
        let mut behaviour = self.behaviour.lock().expect("nobody panics with the lock");
        while *behaviour == Behaviour::Stall {
            behaviour = self.changed.wait(behaviour).expect("nobody panics with the lock");
        }
        *behaviour != Behaviour::Refuse
    }

    /// Whether this answer to a PUT is cut.
    fn cuts(&self) -> bool {
        let mut behaviour = self.behaviour.lock().expect("nobody panics with the lock");
        let Behaviour::CutAnswersToPut(left) = *behaviour else { return false };
        *behaviour = match left.saturating_sub(1) {
            0 => Behaviour::Pass,
            left => Behaviour::CutAnswersToPut(left),
        };
        left > 0
    }
}
