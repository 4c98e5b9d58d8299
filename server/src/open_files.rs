//! How many files and sockets this process may have open, and how many of them clients may take.
//!
//! The node stops when its log cannot begin the next file. So clients, who also cost a descriptor
//! each before they have said who they are, never get the last ones.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Kept for the database: files of log, checkpoints and metastore, spilled queries, operators.
const OWN_FILES: u64 = 256;
/// Sockets beside those of sessions: of clients that are about to say what they want, want to cancel
/// something, or are to be told that there are too many.
const OPENING: usize = 64;

/// Raises the limit as far as it goes. How many sockets of clients may be open at a time, so that
/// `connections_max` of them can be sessions; fewer where the limit is low, and then that is logged.
pub(crate) fn client_sockets(connections_max: usize) -> usize {
    let files = raise_limit();
    let sockets = sockets_of(files, connections_max);
    if sockets < connections_max {
        tracing::warn!(
            open_files = files,
            connections_max,
            clients = sockets,
            "the limit of open files allows fewer clients than --max-connections; raise it with \
             `ulimit -n`, or LimitNOFILE of systemd"
        );
    }
    sockets
}

fn sockets_of(files: u64, connections_max: usize) -> usize {
    let own = OWN_FILES.min(files / 2);
    let left = usize::try_from(files - own).unwrap_or(usize::MAX);
    left.min(connections_max.saturating_add(OPENING))
}

/// The limit of open files, after it was raised as far as an ordinary process may.
fn raise_limit() -> u64 {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
    let now = match setrlimit(Resource::Nofile, raised) {
        Ok(()) => limit.maximum,
        Err(error) => {
            tracing::warn!(%error, "the limit of open files stays as it is");
            limit.current
        }
    };
    now.unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clients_leave_files_to_the_database() {
        assert_eq!(sockets_of(20_000, 1_000), 1_000 + OPENING);
        assert_eq!(sockets_of(1_024, 1_000), 1_024 - 256);
        assert_eq!(sockets_of(100, 1_000), 50);
        assert_eq!(sockets_of(u64::MAX, 10), 10 + OPENING);
    }
}
