//! What a container uses, as the kernel counts it: the numbers of `events` in runc's JSON, and more for `stats`.
//!
//! The shape is runc's `types.Stats` to the letter (callers decode it into Go structs): a number that is zero is
//! left out where runc leaves it out. A file that is missing (a controller that is not enabled, an older kernel)
//! leaves its numbers at zero.

mod psi;
mod read;
mod v1;
mod v2;

use std::collections::BTreeMap;

use serde::Serialize;

pub use psi::{Pressure, Psi};

use super::Cgroup;
use crate::error::Result;

/// `data` of an event of type `stats`.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Stats {
    /// Processor time.
    pub cpu: Cpu,
    /// Where it may run.
    pub cpuset: CpuSet,
    /// Memory, in bytes.
    pub memory: Memory,
    /// Processes and threads.
    pub pids: Pids,
    /// Block devices.
    pub blkio: BlockIo,
    /// Huge pages by size: `2MB`.
    pub hugetlb: BTreeMap<String, HugeTlb>,
    /// Filled by nobody: the numbers are in resctrl.
    pub intel_rdt: Empty,
    /// runc has only those that it made itself, which no configuration can ask for.
    pub network_interfaces: Option<Empty>,
}

/// `{}`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Empty {}

/// Processor time, in nanoseconds.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Cpu {
    /// What was used.
    pub usage: CpuUsage,
    /// What the quota held back.
    pub throttling: Throttling,
    /// Time spent waiting for a processor.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub psi: Option<Psi>,
}

/// Nanoseconds on a processor.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[allow(missing_docs)]
pub struct CpuUsage {
    #[serde(skip_serializing_if = "zero")]
    pub total: u64,
    /// v1: one a processor.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub percpu: Vec<u64>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub percpu_kernel: Vec<u64>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub percpu_user: Vec<u64>,
    pub kernel: u64,
    pub user: u64,
}

/// What the quota did.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Throttling {
    /// Periods in which the container ran.
    #[serde(skip_serializing_if = "zero")]
    pub periods: u64,
    /// Those in which it was held back.
    #[serde(skip_serializing_if = "zero")]
    pub throttled_periods: u64,
    /// For how long, in nanoseconds.
    #[serde(skip_serializing_if = "zero")]
    pub throttled_time: u64,
}

/// cpuset(7).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[allow(missing_docs)]
pub struct CpuSet {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub cpus: Vec<u16>,
    pub cpu_exclusive: u64,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub mems: Vec<u16>,
    pub mem_hardwall: u64,
    pub mem_exclusive: u64,
    pub memory_migrate: u64,
    pub memory_spread_page: u64,
    pub memory_spread_slab: u64,
    pub memory_pressure: u64,
    pub sched_load_balance: u64,
    pub sched_relax_domain_level: i64,
}

/// Memory, in bytes.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Memory {
    /// Page cache.
    #[serde(skip_serializing_if = "zero")]
    pub cache: u64,
    /// Memory.
    pub usage: MemoryEntry,
    /// Memory and swap together, on v2 too.
    pub swap: MemoryEntry,
    /// v1: the kernel's part.
    pub kernel: MemoryEntry,
    /// v1: buffers of TCP.
    #[serde(rename = "kernelTCP")]
    pub kernel_tcp: MemoryEntry,
    /// Every line of `memory.stat`.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub raw: BTreeMap<String, u64>,
    /// Time spent waiting for memory.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub psi: Option<Psi>,
}

/// One kind of memory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct MemoryEntry {
    /// 2^64-1 (v2) or nearly 2^63 (v1) without a limit.
    pub limit: u64,
    /// Now.
    #[serde(skip_serializing_if = "zero")]
    pub usage: u64,
    /// The most so far.
    #[serde(skip_serializing_if = "zero")]
    pub max: u64,
    /// How often the limit was reached.
    pub failcnt: u64,
}

/// Processes and threads.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Pids {
    /// Now.
    #[serde(skip_serializing_if = "zero")]
    pub current: u64,
    /// 0 without a limit.
    #[serde(skip_serializing_if = "zero")]
    pub limit: u64,
}

/// Block devices.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[allow(missing_docs)]
#[serde(rename_all = "camelCase")]
pub struct BlockIo {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub io_service_bytes_recursive: Vec<BlockIoEntry>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub io_serviced_recursive: Vec<BlockIoEntry>,
    /// Spelt as runc spells it.
    #[serde(rename = "ioQueueRecursive", skip_serializing_if = "Vec::is_empty")]
    pub io_queued_recursive: Vec<BlockIoEntry>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub io_service_time_recursive: Vec<BlockIoEntry>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub io_wait_time_recursive: Vec<BlockIoEntry>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub io_merged_recursive: Vec<BlockIoEntry>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub io_time_recursive: Vec<BlockIoEntry>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub sectors_recursive: Vec<BlockIoEntry>,
    /// Time spent waiting for devices.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub psi: Option<Psi>,
}

impl BlockIo {
    /// Bytes read and written, over all devices.
    pub fn bytes(&self) -> (u64, u64) {
        let sum = |op: &str| {
            let entries = self.io_service_bytes_recursive.iter();
            entries.filter(|entry| entry.op == op).map(|entry| entry.value).sum()
        };
        (sum("Read"), sum("Write"))
    }
}

/// One number of one device.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct BlockIoEntry {
    /// The device's number.
    #[serde(skip_serializing_if = "zero")]
    pub major: u64,
    /// The device's number.
    #[serde(skip_serializing_if = "zero")]
    pub minor: u64,
    /// `Read`, `Write`, and on v1 `Sync`, `Async`, `Discard`, `Total`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub op: String,
    /// Bytes, requests, nanoseconds or sectors.
    #[serde(skip_serializing_if = "zero")]
    pub value: u64,
}

/// Huge pages of one size, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct HugeTlb {
    /// Now.
    #[serde(skip_serializing_if = "zero")]
    pub usage: u64,
    /// The most so far (v1).
    #[serde(skip_serializing_if = "zero")]
    pub max: u64,
    /// How often the limit was reached.
    pub failcnt: u64,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde's signature")]
fn zero(number: &u64) -> bool {
    *number == 0
}

impl Cgroup {
    /// What the container uses now.
    ///
    /// # Errors
    /// A file can't be read for another reason than being absent, or has something that is no number; named.
    pub fn stats(&self) -> Result<Stats> {
        let mut stats = Stats::default();
        if let Some(directory) = self.unified() {
            // On a hybrid host the controllers are v1's, but pressure is counted here.
            psi::add(directory, &mut stats)?;
            if self.is_v2() {
                v2::add(directory, &mut stats)?;
                return Ok(stats);
            }
        }
        v1::add(self, &mut stats)?;
        Ok(stats)
    }

    /// How many processes of the container the kernel has killed for lack of memory; 0 if that can't be told.
    pub fn oom_kills(&self) -> u64 {
        let Some((directory, name)) = self.oom_file() else { return 0 };
        let mut buffer = [0; 1024];
        let content = super::file::read_short(&super::file::join(directory, name), &mut buffer);
        content.ok().and_then(|content| super::file::keyed(content, "oom_kill")).unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// [C22] runc's shape: zero is left out here and written there.
    #[test]
    fn nothing_used_is_runcs_nothing() {
        let text = serde_json::to_string(&Stats::default()).unwrap();
        let expected = concat!(
            r#"{"cpu":{"usage":{"kernel":0,"user":0},"throttling":{}},"#,
            r#""cpuset":{"cpu_exclusive":0,"mem_hardwall":0,"mem_exclusive":0,"memory_migrate":0,"#,
            r#""memory_spread_page":0,"memory_spread_slab":0,"memory_pressure":0,"sched_load_balance":0,"#,
            r#""sched_relax_domain_level":0},"#,
            r#""memory":{"usage":{"limit":0,"failcnt":0},"swap":{"limit":0,"failcnt":0},"#,
            r#""kernel":{"limit":0,"failcnt":0},"kernelTCP":{"limit":0,"failcnt":0}},"#,
            r#""pids":{},"blkio":{},"hugetlb":{},"intel_rdt":{},"network_interfaces":null}"#
        );
        assert_eq!(text, expected);
    }

    /// [C22] The key that runc spells without a d.
    #[test]
    fn the_queue_is_spelt_as_callers_read_it() {
        let entry = BlockIoEntry { major: 8, minor: 1, op: "Read".into(), value: 5 };
        let block_io = BlockIo { io_queued_recursive: vec![entry], ..BlockIo::default() };
        let text = serde_json::to_string(&block_io).unwrap();
        assert_eq!(text, r#"{"ioQueueRecursive":[{"major":8,"minor":1,"op":"Read","value":5}]}"#);
    }
}
