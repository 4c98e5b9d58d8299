//! Threads that give way to all others of the machine.
//!
//! Weight alone does not do it. Linux lets whoever has a core keep it until the end of its time slice,
//! or until the next tick of the clock, and a thread of little weight, too: eight sessions that wait for
//! one another's row locks wait for as many slices. Since Linux 6.12 a thread may have a slice of its
//! own length, and whoever wakes up with a shorter one takes the core at once. So a long slice is what
//! gives way: the thread is put off whenever another one has something to do.

#![allow(unsafe_code)] // `sched_setattr` has no wrapper.

use std::{io, mem::size_of};

/// The longest that Linux grants, in nanoseconds.
const SLICE_NS: u64 = 100_000_000;

/// Gives the calling thread less weight than the process was started with, by so much niceness, and the
/// longest time slice. Where Linux is older than 6.12 the second has no effect.
///
/// # Errors
/// What the operating system refuses.
pub(crate) fn give_way(niceness: i32) -> io::Result<()> {
    let nice = rustix::process::nice(niceness)?;
    // SAFETY: it takes no pointer.
    let policy = unsafe { libc::sched_getscheduler(0) };
    // Whoever chose another policy for the process knows why.
    if policy != libc::SCHED_OTHER {
        return Ok(());
    }
    let size = u32::try_from(size_of::<libc::sched_attr>()).expect("some dozens of bytes");
    let attributes = libc::sched_attr {
        size,
        sched_policy: libc::SCHED_OTHER.unsigned_abs(),
        sched_flags: 0,
        sched_nice: nice,
        sched_priority: 0,
        sched_runtime: SLICE_NS,
        sched_deadline: 0,
        sched_period: 0,
    };
    // SAFETY: the attributes live during the call, and their size is in them.
    let done =
        unsafe { libc::syscall(libc::SYS_sched_setattr, 0, std::ptr::from_ref(&attributes), 0) };
    if done == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_gives_way() {
        let found = std::thread::spawn(|| {
            let before = rustix::process::getpriority_process(None).expect("a niceness");
            give_way(3).expect("less is always granted");
            let after = rustix::process::getpriority_process(None).expect("a niceness");
            let mut attributes: libc::sched_attr = unsafe { std::mem::zeroed() };
            let size = u32::try_from(size_of::<libc::sched_attr>()).expect("some dozens of bytes");
            // SAFETY: the attributes take so many bytes.
            let done = unsafe {
                let to = std::ptr::from_mut(&mut attributes);
                libc::syscall(libc::SYS_sched_getattr, 0, to, size, 0)
            };
            assert_eq!(done, 0);
            (before, after, attributes.sched_runtime)
        });
        let (before, after, slice) = found.join().expect("it ends");
        assert_eq!(after, (before + 3).min(19));
        // Older ones do not say.
        assert!(slice == SLICE_NS || slice == 0, "{slice}");
    }
}
