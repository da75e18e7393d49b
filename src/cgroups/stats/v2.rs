//! The numbers of cgroup v2 (cgroup-v2.rst), brought to v1's units: nanoseconds, swap with memory.

use std::path::Path;

use super::read::{self, device, keyed, list, malformed, number};
use super::{BlockIoEntry, HugeTlb, MemoryEntry, Stats};
use crate::error::Result;

pub(super) fn add(directory: &Path, stats: &mut Stats) -> Result<()> {
    cpu(directory, stats)?;
    memory(directory, stats)?;
    stats.pids.current = number(directory, "pids.current")?;
    // Without a limit runc says 0.
    stats.pids.limit = Some(number(directory, "pids.max")?).filter(|limit| *limit != u64::MAX).unwrap_or(0);
    block_io(directory, stats)?;
    stats.cpuset.cpus = list(directory, "cpuset.cpus.effective")?;
    stats.cpuset.mems = list(directory, "cpuset.mems.effective")?;
    huge_pages(directory, stats)
}

fn cpu(directory: &Path, stats: &mut Stats) -> Result<()> {
    let found = keyed(directory, "cpu.stat")?;
    let get = |key: &str| found.get(key).copied().unwrap_or(0);
    let nanoseconds = |key: &str| get(key).saturating_mul(1000);
    stats.cpu.usage.total = nanoseconds("usage_usec");
    stats.cpu.usage.user = nanoseconds("user_usec");
    stats.cpu.usage.kernel = nanoseconds("system_usec");
    stats.cpu.throttling.periods = get("nr_periods");
    stats.cpu.throttling.throttled_periods = get("nr_throttled");
    stats.cpu.throttling.throttled_time = nanoseconds("throttled_usec");
    Ok(())
}

fn memory(directory: &Path, stats: &mut Stats) -> Result<()> {
    let memory = &mut stats.memory;
    memory.raw = keyed(directory, "memory.stat")?;
    memory.cache = memory.raw.get("file").copied().unwrap_or(0);
    memory.usage = MemoryEntry {
        limit: number(directory, "memory.max")?,
        usage: number(directory, "memory.current")?,
        max: number(directory, "memory.peak")?,
        failcnt: keyed(directory, "memory.events")?.get("max").copied().unwrap_or(0),
    };
    let limit = number(directory, "memory.swap.max")?;
    memory.swap = MemoryEntry {
        limit: if limit == u64::MAX { limit } else { limit.saturating_add(memory.usage.limit) },
        usage: number(directory, "memory.swap.current")?.saturating_add(memory.usage.usage),
        // The two peaks need not have been at the same time.
        max: 0,
        failcnt: keyed(directory, "memory.swap.events")?.get("max").copied().unwrap_or(0),
    };
    Ok(())
}

fn block_io(directory: &Path, stats: &mut Stats) -> Result<()> {
    for line in read::text(directory, "io.stat")?.unwrap_or_default().lines() {
        // A device without any request so far has its number alone.
        let (name, rest) = line.split_once(' ').unwrap_or((line, ""));
        let (major, minor) = device(name).ok_or_else(|| malformed(directory, "io.stat", line))?;
        for field in rest.split_whitespace() {
            let Some((key, value)) = field.split_once('=') else { continue };
            let block_io = &mut stats.blkio;
            let (entries, op) = match key {
                "rbytes" => (&mut block_io.io_service_bytes_recursive, "Read"),
                "wbytes" => (&mut block_io.io_service_bytes_recursive, "Write"),
                "rios" => (&mut block_io.io_serviced_recursive, "Read"),
                "wios" => (&mut block_io.io_serviced_recursive, "Write"),
                _ => continue,
            };
            let value = value.parse().map_err(|_| malformed(directory, "io.stat", line))?;
            entries.push(BlockIoEntry { major, minor, op: op.into(), value });
        }
    }
    Ok(())
}

fn huge_pages(directory: &Path, stats: &mut Stats) -> Result<()> {
    for size in super::v1::huge_page_sizes(directory, ".current")? {
        // Reservations are what the limit that runc writes last holds for.
        let reserved = format!("hugetlb.{size}.rsvd.current");
        let current = if read::text(directory, &reserved)?.is_some() {
            reserved
        } else {
            format!("hugetlb.{size}.current")
        };
        let entry = HugeTlb {
            usage: number(directory, &current)?,
            max: 0,
            failcnt: keyed(directory, &format!("hugetlb.{size}.events"))?.get("max").copied().unwrap_or(0),
        };
        stats.hugetlb.insert(size, entry);
    }
    Ok(())
}
