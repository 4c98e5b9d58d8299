//! Ports for servers under test.

use std::{fs::File, net::TcpListener, ops::Range, sync::Mutex};

/// Below what Linux gives to outgoing connections (32768 and up): a port that nobody listens on
/// cannot become the client end of somebody's connection before it is used.
const PORTS: Range<u16> = 12_000..32_000;

/// The claims of this process; they end with it.
static CLAIMS: Mutex<Vec<File>> = Mutex::new(Vec::new());

/// A port nobody listens on, and that no other test takes while this process lives: each is claimed
/// by a lock on a file in the temporary folder.
#[must_use]
pub fn free_port() -> u16 {
    let folder = std::env::temp_dir().join("glaredb-test-ports");
    std::fs::create_dir_all(&folder).expect("the temporary folder can be written");
    let start = std::process::id() as usize * 7;
    let count = PORTS.len();
    for step in 0..count {
        let port = PORTS.start + ((start + step) % count) as u16;
        let mut options = File::options();
        options.create(true).truncate(false).write(true);
        let claim = options.open(folder.join(port.to_string())).expect("a file for the claim");
        if claim.try_lock().is_err() {
            continue;
        }
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            CLAIMS.lock().expect("nobody panics with the lock").push(claim);
            return port;
        }
    }
    panic!("every port from {} to {} is in use", PORTS.start, PORTS.end)
}
