//! The options of `update`: numbers, and sizes with units.

use std::path::PathBuf;
use std::str::FromStr;

use super::entry::{Opt, OptionSpec, text};
use super::parse::{Given, usage};
use crate::error::Result;

/// Its options; an entry of the table.
pub(super) const OPTIONS: &[OptionSpec] = &[
    text(Opt::Resources, "resources", "FILE", "linux.resources as JSON; - is stdin").short("r"),
    text(Opt::BlkioWeight, "blkio-weight", "N", "weight for block devices, 10 to 1000"),
    text(Opt::CpuPeriod, "cpu-period", "USEC", "period of the processor quota, in microseconds"),
    text(Opt::CpuQuota, "cpu-quota", "USEC", "processor time in each period, in microseconds; -1: no limit"),
    text(Opt::CpuBurst, "cpu-burst", "USEC", "unused quota that may be saved up, in microseconds; 0: none"),
    text(Opt::CpuShare, "cpu-share", "N", "share of the processors, 2 to 262144; 1024 is normal"),
    text(
        Opt::CpuRtPeriod,
        "cpu-rt-period",
        "USEC",
        "period of real-time scheduling, in microseconds (cgroup v1)",
    ),
    text(
        Opt::CpuRtRuntime,
        "cpu-rt-runtime",
        "USEC",
        "real-time budget in each, in microseconds (cgroup v1)",
    ),
    text(Opt::CpuIdle, "cpu-idle", "0|1", "1: runs only where nobody else wants to"),
    text(Opt::CpusetCpus, "cpuset-cpus", "LIST", "the CPUs to use, as 0-2,7"),
    text(Opt::CpusetMems, "cpuset-mems", "LIST", "the memory nodes (NUMA) to use, as 0-1"),
    text(Opt::KernelMemory, "kernel-memory", "BYTES", "obsolete, ignored").hidden(),
    text(Opt::KernelMemoryTcp, "kernel-memory-tcp", "BYTES", "obsolete, ignored").hidden(),
    text(Opt::Memory, "memory", "BYTES", "limit of memory, in bytes or as 512m, 2g; -1: no limit"),
    text(
        Opt::MemoryReservation,
        "memory-reservation",
        "BYTES",
        "memory that is kept for it when others want it, in bytes or as 512m",
    ),
    text(
        Opt::MemorySwap,
        "memory-swap",
        "BYTES",
        "limit of memory and swap together, in bytes or as 2g; -1: no limit",
    ),
    text(Opt::PidsLimit, "pids-limit", "N", "limit of processes and threads together; -1: no limit"),
    text(Opt::L3CacheSchema, "l3-cache-schema", "SCHEMA", "lines for resctrl, as L3:0=f0"),
    text(Opt::MemBwSchema, "mem-bw-schema", "SCHEMA", "a line for resctrl, as MB:0=20"),
];

/// `update`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UpdateArgs {
    /// The container's id, not validated yet.
    pub id: String,
    /// `--resources`; `-` is stdin. The limits below are not looked at then.
    pub resources: Option<PathBuf>,
    /// What the other options say.
    pub limits: Limits,
    /// `--l3-cache-schema`.
    pub l3_cache_schema: Option<String>,
    /// `--mem-bw-schema`.
    pub mem_bw_schema: Option<String>,
}

/// The limits; `None` where the option is absent or empty. Times are microseconds, memory is bytes, -1 is no limit.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct Limits {
    pub blkio_weight: Option<u16>,
    pub cpu_period: Option<u64>,
    pub cpu_quota: Option<i64>,
    pub cpu_burst: Option<u64>,
    pub cpu_share: Option<u64>,
    pub cpu_rt_period: Option<u64>,
    pub cpu_rt_runtime: Option<i64>,
    pub cpu_idle: Option<i64>,
    pub cpuset_cpus: Option<String>,
    pub cpuset_mems: Option<String>,
    pub memory: Option<i64>,
    pub memory_reservation: Option<i64>,
    pub memory_swap: Option<i64>,
    pub kernel_memory: Option<i64>,
    pub kernel_memory_tcp: Option<i64>,
    pub pids_limit: Option<i64>,
}

/// Reads the options.
///
/// # Errors
/// A value that is no number or size, or not UTF-8, by its option.
pub(super) fn args(id: String, given: &mut Given) -> Result<UpdateArgs> {
    let resources = given.path(Opt::Resources);
    let limits = Limits {
        blkio_weight: given.parsed(Opt::BlkioWeight, number)?,
        cpu_period: given.parsed(Opt::CpuPeriod, number)?,
        cpu_quota: given.parsed(Opt::CpuQuota, number)?,
        cpu_burst: given.parsed(Opt::CpuBurst, number)?,
        cpu_share: given.parsed(Opt::CpuShare, number)?,
        cpu_rt_period: given.parsed(Opt::CpuRtPeriod, number)?,
        cpu_rt_runtime: given.parsed(Opt::CpuRtRuntime, number)?,
        cpu_idle: given.parsed(Opt::CpuIdle, number)?,
        cpuset_cpus: given.unicode(Opt::CpusetCpus)?,
        cpuset_mems: given.unicode(Opt::CpusetMems)?,
        memory: given.parsed(Opt::Memory, size)?,
        memory_reservation: given.parsed(Opt::MemoryReservation, size)?,
        memory_swap: given.parsed(Opt::MemorySwap, size)?,
        kernel_memory: given.parsed(Opt::KernelMemory, size)?,
        kernel_memory_tcp: given.parsed(Opt::KernelMemoryTcp, size)?,
        pids_limit: given.parsed(Opt::PidsLimit, number)?,
    };
    Ok(UpdateArgs {
        id,
        resources,
        limits,
        l3_cache_schema: given.unicode(Opt::L3CacheSchema)?,
        mem_bw_schema: given.unicode(Opt::MemBwSchema)?,
    })
}

fn number<T: FromStr>(name: &str, text: &str) -> Result<T>
where
    T::Err: std::fmt::Display,
{
    text.parse().map_err(|error| usage(format!("invalid value for {name}: {text:?}: {error}")))
}

fn size(name: &str, text: &str) -> Result<i64> {
    bytes(text).ok_or_else(|| {
        usage(format!("invalid value for {name}: invalid size: '{text}'"))
            .hint("want bytes, or a number with k, m, g, t or p, or -1")
    })
}

/// A size as Docker's units package reads it: `-1`, `512`, `10m`, `1.5 GiB`; units count by 1024.
fn bytes(text: &str) -> Option<i64> {
    if text == "-1" {
        return Some(-1);
    }
    let end = text.find(|letter: char| !letter.is_ascii_digit() && letter != '.').unwrap_or(text.len());
    let (digits, unit) = text.split_at(end);
    let unit = unit.strip_prefix(' ').unwrap_or(unit).to_ascii_lowercase();
    let shift = match unit.as_str() {
        "" | "b" => 0,
        other => {
            let letter = other.strip_suffix("ib").or(other.strip_suffix('b')).unwrap_or(other);
            10 * match letter {
                "k" => 1,
                "m" => 2,
                "g" => 3,
                "t" => 4,
                "p" => 5,
                _ => return None,
            }
        }
    };
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    // More digits than a byte can tell apart.
    let fraction = &fraction[..fraction.len().min(15)];
    let tens = 10_u128.checked_pow(u32::try_from(fraction.len()).ok()?)?;
    let all: u128 = format!("{whole}{fraction}").parse().ok()?;
    i64::try_from((all.checked_mul(1_u128 << shift)?) / tens).ok()
}

#[cfg(test)]
mod tests {
    use super::bytes;

    /// [V55] The units of docker's package.
    #[test]
    fn sizes() {
        for (text, expected) in [
            ("-1", -1),
            ("0", 0),
            ("512", 512),
            ("10m", 10 << 20),
            ("1g", 1 << 30),
            ("1.5g", 3 << 29),
            ("2 KiB", 2048),
            ("3Tb", 3 << 40),
            ("7B", 7),
            ("0.5k", 512),
        ] {
            assert_eq!(bytes(text), Some(expected), "{text}");
        }
        for text in ["", "-2", "m", "1x", "1..5g", "g1", "1mm", "9999999p", ".", "1 \u{e9}"] {
            assert_eq!(bytes(text), None, "{text}");
        }
    }
}
