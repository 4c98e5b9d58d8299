//! How the system's scheduler weighs the threads of a node.
//!
//! A commit passes through several threads, each of which computes for microseconds and sleeps
//! again; a query computes for as long as it may. Weight alone does not keep the two apart: Linux
//! (EEVDF, since 6.6) lets a thread that has had less than its share run for a whole time slice,
//! about a tick of 4 ms, before it looks at a thread that woke meanwhile. One that asks for a shorter
//! slice has an earlier deadline, and takes over at once (since 6.12). Both are needed:
//! `docs/measurements.md` has what each does.
#![allow(
    unsafe_code,
    reason = "two system calls without a safe wrapper; the structure they fill is plain numbers of the size they are told"
)]

use std::io;

/// What a thread asks for that computes for microseconds at a time: the least that Linux grants.
const SHORT_SLICE_NS: u64 = 100_000;
/// 1/68 of the usual weight.
const LEAST_WEIGHT: i32 = 19;

/// `struct sched_attr`, as of its first version, which every kernel knows.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
struct SchedAttr {
    size: u32,
    policy: u32,
    flags: u64,
    nice: i32,
    priority: u32,
    runtime: u64,
    deadline: u64,
    period: u64,
}

const SIZE: u32 = size_of::<SchedAttr>() as u32;

/// The calling thread wakes often and computes little: it is to run at once when it wakes. A system
/// that does not know of it, or forbids it, changes nothing.
pub fn wake_promptly() {
    if let Err(error) = set_slice(SHORT_SLICE_NS) {
        tracing::debug!(%error, "threads of commits have the usual time slice");
    }
}

/// The calling thread computes queries: it takes what those that commit leave. A thread of usual
/// priority does the work as well.
pub fn give_way() {
    if let Err(error) = rustix::process::setpriority_process(None, LEAST_WEIGHT) {
        tracing::warn!(%error, "queries run at the usual priority");
    }
}

fn set_slice(nanoseconds: u64) -> io::Result<()> {
    let mut attributes = attributes()?;
    // Of another policy (real time, batch) somebody chose it, who knows better.
    if attributes.policy != libc::SCHED_OTHER as u32 {
        return Ok(());
    }
    attributes.runtime = nanoseconds;
    attributes.flags = 0;
    // SAFETY: the kernel reads `size` bytes of the structure, which lives until it returns.
    answer(unsafe { libc::syscall(libc::SYS_sched_setattr, 0, &raw const attributes, 0) })
}

/// Of the calling thread.
fn attributes() -> io::Result<SchedAttr> {
    let mut found = SchedAttr { size: SIZE, ..SchedAttr::default() };
    // SAFETY: the kernel writes at most the `SIZE` bytes it is told of; any bytes are valid there.
    answer(unsafe { libc::syscall(libc::SYS_sched_getattr, 0, &raw mut found, SIZE, 0) })?;
    Ok(found)
}

fn answer(result: libc::c_long) -> io::Result<()> {
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slice_is_kept_beside_what_was_set_before() {
        std::thread::scope(|scope| {
            scope.spawn(|| {
                rustix::process::setpriority_process(None, 3).expect("own weight may be lowered");
                wake_promptly();
                let now = attributes().expect("own attributes may be read");
                assert_eq!((now.size, now.policy, now.nice), (SIZE, 0, 3));
                // Kernels before 6.12 know no slices of their own and say 0.
                assert!([0, SHORT_SLICE_NS].contains(&now.runtime), "{now:?}");
                give_way();
                assert_eq!(attributes().expect("own attributes may be read").nice, LEAST_WEIGHT);
            });
        });
    }
}
