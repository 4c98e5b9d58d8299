//! How `--memory-limit` is divided, and how large the caches are.
//!
//! ```text
//! 32 %  delta: rows in memory chunks, key indexes, write sets
//!  8 %  the job of flush or compaction that runs: rows of its inputs, the row group it writes
//! 30 %  queries
//! 30 %  objects: what is decoded of segments (columns, filters, footers), and before a store that is
//!       reached over a network a third of it for blocks as they lie there (--cache-memory)
//! ```
//!
//! Each part keeps to its own limit, so the sum does. Beside it there is what is not data: the program,
//! stacks, buffers of connections, what the allocator holds back.

use std::path::Path;

use glaredb_engine::storage::objects::CacheSize;

const DELTA_PERCENT: u64 = 32;
const JOBS_PERCENT: u64 = 8;
const QUERIES_PERCENT: u64 = 30;
const CACHE_PERCENT: u64 = 10;
/// What is decoded of segments is left this much at least.
const SEGMENTS_PERCENT_MIN: u64 = 5;

/// Of the machine's memory, without `--memory-limit`.
const LIMIT_PERCENT: u64 = 60;

/// The disk cache before a store that is reached over a network, without `--cache-disk`; and no more
/// than this part of what is free on the file system.
const CACHE_DISK_BYTES: u64 = 16 << 30;
const CACHE_DISK_FREE_PARTS: u64 = 4;

/// Parts of a limit, in bytes. They are all of it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct MemorySplit {
    pub limit: u64,
    pub delta: u64,
    pub jobs: u64,
    pub queries: u64,
    /// With a store that has no cache the cache's part is for this, too.
    pub segments: u64,
    pub cache: CacheSize,
}

/// Why a limit cannot be divided.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "--cache-memory of {cache} bytes is too much for a --memory-limit of {limit} bytes, which leaves \
     {most} bytes for it"
)]
pub struct CacheTooLarge {
    cache: u64,
    limit: u64,
    most: u64,
}

impl MemorySplit {
    /// `cache`: if it was asked for.
    pub fn new(limit: u64, cache: Option<u64>) -> Result<Self, CacheTooLarge> {
        let part = |percent: u64| limit / 100 * percent;
        let (delta, queries) = (part(DELTA_PERCENT), part(QUERIES_PERCENT));
        let jobs = part(JOBS_PERCENT);
        let rest = limit - delta - jobs - queries;
        let most = rest - part(SEGMENTS_PERCENT_MIN);
        let cache = match cache {
            Some(cache) if cache > most => return Err(CacheTooLarge { cache, limit, most }),
            Some(bytes) => CacheSize { bytes, only_remote: false },
            None => CacheSize { bytes: part(CACHE_PERCENT), only_remote: true },
        };
        Ok(Self { limit, delta, jobs, queries, segments: rest - cache.bytes, cache })
    }
}

/// The limit that nobody gave.
pub(crate) fn default_limit() -> u64 {
    machine_memory() / 100 * LIMIT_PERCENT
}

/// Memory of the machine, or what its control group allows; 4 GiB if neither is known.
fn machine_memory() -> u64 {
    let total = std::fs::read_to_string("/proc/meminfo").ok().and_then(|text| {
        let line = text.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
        line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()
    });
    let group = std::fs::read_to_string("/sys/fs/cgroup/memory.max")
        .ok()
        .and_then(|text| text.trim().parse::<u64>().ok());
    let total = total.map_or(4 << 30, |kib| kib << 10);
    group.map_or(total, |group| group.min(total))
}

/// The disk cache in a data directory. `asked`: if it was asked for.
pub(crate) fn disk_cache(asked: Option<u64>, data_dir: &Path) -> CacheSize {
    if let Some(bytes) = asked {
        return CacheSize { bytes, only_remote: false };
    }
    // The directory may not be there yet.
    let existing = data_dir.ancestors().find(|path| path.exists()).unwrap_or(Path::new("."));
    let free = rustix::fs::statvfs(existing).map(|found| found.f_bavail * found.f_frsize);
    let most = free.map_or(0, |free| free / CACHE_DISK_FREE_PARTS);
    CacheSize { bytes: CACHE_DISK_BYTES.min(most), only_remote: true }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_parts_are_all_of_the_limit() {
        for limit in [64 << 20, (1 << 30) + 77, 50 << 30] {
            for cache in [None, Some(0), Some(limit / 8), Some(limit / 100 * 25)] {
                let split = MemorySplit::new(limit, cache).expect("it fits");
                let MemorySplit { delta, jobs, queries, segments, .. } = split;
                let sum = delta + jobs + queries + segments + split.cache.bytes;
                assert_eq!(sum, limit, "{split:?}");
                assert!(split.segments >= limit / 100 * SEGMENTS_PERCENT_MIN, "{split:?}");
                assert_eq!(split.cache.only_remote, cache.is_none());
                assert!(cache.is_none_or(|cache| split.cache.bytes == cache));
            }
        }
        let error = MemorySplit::new(1 << 30, Some(1 << 29)).expect_err("half of it");
        assert!(error.to_string().contains("536870912 bytes is too much"), "{error}");
    }

    #[test]
    fn a_disk_cache_leaves_most_of_what_is_free() {
        let folder = tempfile::tempdir().expect("a folder");
        let free = rustix::fs::statvfs(folder.path()).expect("a file system");
        let free = free.f_bavail * free.f_frsize;
        let size = disk_cache(None, &folder.path().join("not/there/yet"));
        assert!(size.only_remote && size.bytes <= CACHE_DISK_BYTES);
        // Others write at the same time.
        assert!(size.bytes <= free / 2, "{} of {free}", size.bytes);
        assert_eq!(disk_cache(Some(0), folder.path()), CacheSize { bytes: 0, only_remote: false });
    }
}
