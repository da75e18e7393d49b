//! The numbers of cgroup v1 (admin-guide/cgroup-v1).

use std::path::Path;

use super::read::{self, device, keyed, list, malformed, number};
use super::{BlockIoEntry, HugeTlb, MemoryEntry, Stats};
use crate::cgroups::Cgroup;
use crate::error::{Context, Result};

/// Nanoseconds in a tick of `USER_HZ`, which is 100 wherever Linux runs.
const TICK: u64 = 10_000_000;

pub(super) fn add(cgroup: &Cgroup, stats: &mut Stats) -> Result<()> {
    if let Some(directory) = cgroup.v1("cpu") {
        throttling(directory, stats)?;
    }
    if let Some(directory) = cgroup.v1("cpuacct") {
        usage(directory, stats)?;
    }
    if let Some(directory) = cgroup.v1("cpuset") {
        cpuset(directory, stats)?;
    }
    if let Some(directory) = cgroup.v1("memory") {
        memory(directory, stats)?;
    }
    if let Some(directory) = cgroup.v1("pids") {
        stats.pids.current = number(directory, "pids.current")?;
        stats.pids.limit =
            Some(number(directory, "pids.max")?).filter(|limit| *limit != u64::MAX).unwrap_or(0);
    }
    if let Some(directory) = cgroup.v1("blkio") {
        block_io(directory, stats)?;
    }
    if let Some(directory) = cgroup.v1("hugetlb") {
        huge_pages(directory, stats)?;
    }
    Ok(())
}

fn throttling(directory: &Path, stats: &mut Stats) -> Result<()> {
    let found = keyed(directory, "cpu.stat")?;
    let get = |key: &str| found.get(key).copied().unwrap_or(0);
    stats.cpu.throttling.periods = get("nr_periods");
    stats.cpu.throttling.throttled_periods = get("nr_throttled");
    stats.cpu.throttling.throttled_time = get("throttled_time");
    Ok(())
}

fn usage(directory: &Path, stats: &mut Stats) -> Result<()> {
    let usage = &mut stats.cpu.usage;
    usage.total = number(directory, "cpuacct.usage")?;
    let ticks = keyed(directory, "cpuacct.stat")?;
    let time = |key: &str| ticks.get(key).copied().unwrap_or(0).saturating_mul(TICK);
    usage.user = time("user");
    usage.kernel = time("system");
    for field in read::text(directory, "cpuacct.usage_percpu")?.unwrap_or_default().split_whitespace() {
        let time = field.parse().map_err(|_| malformed(directory, "cpuacct.usage_percpu", field))?;
        usage.percpu.push(time);
    }
    // A header, then a line for each processor: number, user, system.
    for line in read::text(directory, "cpuacct.usage_all")?.unwrap_or_default().lines().skip(1) {
        let mut times = line.split_whitespace().skip(1).map(|field| field.parse().ok());
        let (Some(Some(user)), Some(Some(kernel))) = (times.next(), times.next()) else {
            return Err(malformed(directory, "cpuacct.usage_all", line));
        };
        usage.percpu_user.push(user);
        usage.percpu_kernel.push(kernel);
    }
    Ok(())
}

fn cpuset(directory: &Path, stats: &mut Stats) -> Result<()> {
    let set = &mut stats.cpuset;
    set.cpus = list(directory, "cpuset.cpus")?;
    set.mems = list(directory, "cpuset.mems")?;
    let numbers = [
        (&mut set.cpu_exclusive, "cpuset.cpu_exclusive"),
        (&mut set.mem_hardwall, "cpuset.mem_hardwall"),
        (&mut set.mem_exclusive, "cpuset.mem_exclusive"),
        (&mut set.memory_migrate, "cpuset.memory_migrate"),
        (&mut set.memory_spread_page, "cpuset.memory_spread_page"),
        (&mut set.memory_spread_slab, "cpuset.memory_spread_slab"),
        (&mut set.memory_pressure, "cpuset.memory_pressure"),
        (&mut set.sched_load_balance, "cpuset.sched_load_balance"),
    ];
    for (number, name) in numbers {
        *number = read::number(directory, name)?;
    }
    if let Some(text) = read::text(directory, "cpuset.sched_relax_domain_level")? {
        let level = text.trim().parse();
        set.sched_relax_domain_level =
            level.map_err(|_| malformed(directory, "cpuset.sched_relax_domain_level", &text))?;
    }
    Ok(())
}

fn memory(directory: &Path, stats: &mut Stats) -> Result<()> {
    let entry = |name: &str| -> Result<MemoryEntry> {
        Ok(MemoryEntry {
            limit: number(directory, &format!("{name}.limit_in_bytes"))?,
            usage: number(directory, &format!("{name}.usage_in_bytes"))?,
            max: number(directory, &format!("{name}.max_usage_in_bytes"))?,
            failcnt: number(directory, &format!("{name}.failcnt"))?,
        })
    };
    let memory = &mut stats.memory;
    memory.raw = keyed(directory, "memory.stat")?;
    memory.cache = memory.raw.get("cache").copied().unwrap_or(0);
    memory.usage = entry("memory")?;
    memory.swap = entry("memory.memsw")?;
    memory.kernel = entry("memory.kmem")?;
    memory.kernel_tcp = entry("memory.kmem.tcp")?;
    Ok(())
}

/// BFQ's counters where it schedules, those of the old CFQ, else what throttling counts for every scheduler.
fn block_io(directory: &Path, stats: &mut Stats) -> Result<()> {
    for prefix in ["blkio.bfq", "blkio"] {
        let entries = |name: &str| entries(directory, &format!("{prefix}.{name}"));
        let serviced = entries("io_serviced_recursive")?;
        if serviced.is_empty() {
            continue;
        }
        let block_io = &mut stats.blkio;
        block_io.io_serviced_recursive = serviced;
        block_io.io_service_bytes_recursive = entries("io_service_bytes_recursive")?;
        block_io.io_queued_recursive = entries("io_queued_recursive")?;
        block_io.io_service_time_recursive = entries("io_service_time_recursive")?;
        block_io.io_wait_time_recursive = entries("io_wait_time_recursive")?;
        block_io.io_merged_recursive = entries("io_merged_recursive")?;
        block_io.io_time_recursive = entries("time_recursive")?;
        block_io.sectors_recursive = entries("sectors_recursive")?;
        return Ok(());
    }
    stats.blkio.io_service_bytes_recursive = entries(directory, "blkio.throttle.io_service_bytes_recursive")?;
    stats.blkio.io_serviced_recursive = entries(directory, "blkio.throttle.io_serviced_recursive")?;
    Ok(())
}

/// `8:0 Read 4096` or `8:0 4096`; the sum of all devices (`Total 4096`) is left out.
fn entries(directory: &Path, name: &str) -> Result<Vec<BlockIoEntry>> {
    let text = read::text(directory, name)?.unwrap_or_default();
    let lines = text.lines().filter(|line| !line.starts_with("Total"));
    lines.map(|line| entry(line).ok_or_else(|| malformed(directory, name, line))).collect()
}

fn entry(line: &str) -> Option<BlockIoEntry> {
    let mut fields = line.split_whitespace();
    let (major, minor) = device(fields.next()?)?;
    let (op, value) = match (fields.next()?, fields.next()) {
        (op, Some(value)) => (op, value),
        (value, None) => ("", value),
    };
    Some(BlockIoEntry { major, minor, op: op.into(), value: value.parse().ok()? })
}

/// The sizes for which the controller has files: `hugetlb.2MB.usage_in_bytes` is 2MB.
pub(super) fn huge_page_sizes(directory: &Path, ending: &str) -> Result<Vec<String>> {
    let mut sizes = Vec::new();
    let files = match std::fs::read_dir(directory) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(sizes),
        other => other.with_context(|| format!("list {}", directory.display()))?,
    };
    for file in files {
        let name = file.with_context(|| format!("list {}", directory.display()))?.file_name();
        let size = name.to_str().and_then(|name| name.strip_prefix("hugetlb.")?.strip_suffix(ending));
        if let Some(size) = size.filter(|size| !size.contains('.')) {
            sizes.push(size.to_owned());
        }
    }
    Ok(sizes)
}

fn huge_pages(directory: &Path, stats: &mut Stats) -> Result<()> {
    for size in huge_page_sizes(directory, ".usage_in_bytes")? {
        let reserved = format!("hugetlb.{size}.rsvd");
        let there = read::text(directory, &format!("{reserved}.usage_in_bytes"))?.is_some();
        let prefix = if there { reserved } else { format!("hugetlb.{size}") };
        let entry = HugeTlb {
            usage: number(directory, &format!("{prefix}.usage_in_bytes"))?,
            max: number(directory, &format!("{prefix}.max_usage_in_bytes"))?,
            failcnt: number(directory, &format!("{prefix}.failcnt"))?,
        };
        stats.hugetlb.insert(size, entry);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// [C22]
    #[test]
    fn lines_with_and_without_an_operation() {
        let read = BlockIoEntry { major: 8, minor: 16, op: "Read".into(), value: 9 };
        assert_eq!(entry("8:16 Read 9"), Some(read.clone()));
        assert_eq!(entry("8:16 9"), Some(BlockIoEntry { op: String::new(), ..read }));
        assert_eq!(entry("8:16"), None);
        assert_eq!(entry("x Read 9"), None);
    }
}
