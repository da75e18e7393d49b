//! `linux.resources` as cgroup v2 files (admin-guide/cgroup-v2.rst); features.md section 14, right column.

use oci_spec::runtime::{LinuxBlockIo, LinuxCpu, LinuxMemory, LinuxResources};

use super::cgroup::{CgroupPlan, Write};
use super::cgroup_v1::{pids_max, rdma_lines, throttles};
use super::resources::{swappiness, write};
use crate::error::{Error, Result};

/// Adds the writes, in their order; `unified` is the last and so wins (features.md Q23).
///
/// # Errors
/// A v1 field that v2 has nothing for (features.md Q24), and a `unified` key that is no file name.
pub(super) fn writes(resources: &LinuxResources, plan: &mut CgroupPlan) -> Result<()> {
    let writes = &mut plan.writes;
    if let Some(memory) = resources.memory() {
        add_memory(memory, writes)?;
    }
    if let Some(cpu) = resources.cpu() {
        add_cpu(cpu, writes)?;
    }
    if let Some(pids) = resources.pids() {
        add(writes, "pids.max", pids_max(pids.limit()), "linux.resources.pids.limit");
    }
    if let Some(block_io) = resources.block_io() {
        add_block_io(block_io, writes)?;
    }
    for (index, limit) in resources.hugepage_limits().iter().flatten().enumerate() {
        let path = format!("linux.resources.hugepageLimits[{index}]");
        let size = limit.page_size();
        writes.push(write(0, format!("hugetlb.{size}.max"), limit.limit(), path.clone()));
        let rsvd = write(0, format!("hugetlb.{size}.rsvd.max"), limit.limit(), path);
        writes.push(Write { ignore_missing: true, ..rsvd });
    }
    if let Some(network) = resources.network() {
        if network.class_id().is_some_and(|class| class != 0) {
            return no_equivalent("linux.resources.network.classID");
        }
        if network.priorities().as_ref().is_some_and(|list| !list.is_empty()) {
            return no_equivalent("linux.resources.network.priorities");
        }
    }
    writes.extend(rdma_lines(resources).into_iter().map(|(path, line)| write(0, "rdma.max", line, path)));
    add_unified(resources, writes)
}

fn add(writes: &mut Vec<Write>, file: &'static str, value: impl ToString, json_path: &'static str) {
    writes.push(write(0, file, value, json_path));
}

fn no_equivalent<T>(json_path: &str) -> Result<T> {
    Err(Error::config(json_path, "cgroup v2 has nothing like it"))
}

/// `max` for -1.
fn number(value: i64) -> String {
    if value < 0 { "max".into() } else { value.to_string() }
}

fn add_memory(memory: &LinuxMemory, writes: &mut Vec<Write>) -> Result<()> {
    if swappiness(memory).is_some() {
        return no_equivalent("linux.resources.memory.swappiness");
    }
    if memory.disable_oom_killer() == Some(true) {
        return no_equivalent("linux.resources.memory.disableOOMKiller");
    }
    let set = |number: Option<i64>| number.filter(|number| *number != 0);
    let limit = set(memory.limit());
    if let Some(swap) = swap_max(limit, set(memory.swap())) {
        let path = "linux.resources.memory.swap";
        // A kernel without swap accounting has no file; that limits swap to nothing, or to nothing in particular.
        let ignore_missing = swap <= 0;
        writes.push(Write { ignore_missing, ..write(0, "memory.swap.max", number(swap), path) });
    }
    if let Some(limit) = limit {
        add(writes, "memory.max", number(limit), "linux.resources.memory.limit");
    }
    if let Some(reservation) = set(memory.reservation()) {
        add(writes, "memory.low", number(reservation), "linux.resources.memory.reservation");
    }
    Ok(())
}

/// features.md Q3: config.json's swap is memory and swap together, v2's is swap alone. -1 is no limit, `None`
/// leaves it as it is.
pub(super) fn swap_max(limit: Option<i64>, swap: Option<i64>) -> Option<i64> {
    match (limit, swap) {
        (Some(-1), None) | (_, Some(-1)) => Some(-1),
        (Some(limit), Some(swap)) => Some(swap - limit),
        _ => None,
    }
}

/// cpu.shares (2–262144, 1024 is normal) as cpu.weight (1–10000, 100 is normal), by the formula that the runtimes
/// agreed on in 2025: both ends and both normal values meet (features.md Q8).
pub(super) fn weight(shares: u64) -> u64 {
    match shares {
        0..=2 => 1,
        3..262_144 => {
            let log = f64::from(u32::try_from(shares).unwrap_or(u32::MAX)).log2();
            let exponent = (log * log + 125.0 * log) / 612.0 - 7.0 / 34.0;
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "a whole number between 1 and 10000"
            )]
            let weight = 10_f64.powf(exponent).ceil().clamp(1.0, 10_000.0) as u64;
            weight
        }
        _ => 10_000,
    }
}

fn add_cpu(cpu: &LinuxCpu, writes: &mut Vec<Write>) -> Result<()> {
    for (path, set) in [
        ("linux.resources.cpu.realtimeRuntime", cpu.realtime_runtime().is_some_and(|n| n != 0)),
        ("linux.resources.cpu.realtimePeriod", cpu.realtime_period().is_some_and(|n| n != 0)),
    ] {
        if set {
            return no_equivalent(path);
        }
    }
    if let Some(idle) = cpu.idle() {
        let idle = write(0, "cpu.idle", idle, "linux.resources.cpu.idle");
        writes.push(Write { skip_if_new: idle.value == "0", ..idle });
    }
    if let Some(shares) = cpu.shares().filter(|shares| *shares != 0 && cpu.idle() != Some(1)) {
        let weight = write(0, "cpu.weight", weight(shares), "linux.resources.cpu.shares");
        writes.push(Write { skip_if_new: weight.value == "100", ..weight });
    }
    let quota = cpu.quota().filter(|quota| *quota != 0);
    let period = cpu.period().filter(|period| *period != 0);
    if let Some(burst) = cpu.burst() {
        let burst = write(0, "cpu.max.burst", burst, "linux.resources.cpu.burst");
        writes.push(Write { skip_if_new: burst.value == "0", retry_last: quota.is_some(), ..burst });
    }
    if quota.is_some() || period.is_some() {
        let path = if quota.is_some() { "linux.resources.cpu.quota" } else { "linux.resources.cpu.period" };
        let quota = quota.map_or_else(|| "max".into(), number);
        add(writes, "cpu.max", format!("{quota} {}", period.unwrap_or(100_000)), path);
    }
    if let Some(cpus) = cpu.cpus().as_deref().filter(|list| !list.is_empty()) {
        add(writes, "cpuset.cpus", cpus, "linux.resources.cpu.cpus");
    }
    if let Some(mems) = cpu.mems().as_deref().filter(|list| !list.is_empty()) {
        add(writes, "cpuset.mems", mems, "linux.resources.cpu.mems");
    }
    Ok(())
}

/// blkio's 10–1000 as io.weight's 1–10000.
pub(super) fn io_weight(weight: u16) -> u32 {
    1 + u32::from(weight.saturating_sub(10)) * 9999 / 990
}

fn add_block_io(block_io: &LinuxBlockIo, writes: &mut Vec<Write>) -> Result<()> {
    const PATH: &str = "linux.resources.blockIO";
    let set = |weight: Option<u16>| weight.filter(|weight| *weight != 0);
    if set(block_io.leaf_weight()).is_some() {
        return no_equivalent("linux.resources.blockIO.leafWeight");
    }
    if let Some(weight) = set(block_io.weight()) {
        let or_else = Some(("io.weight".into(), io_weight(weight).to_string()));
        writes.push(Write { or_else, ..write(0, "io.bfq.weight", weight, format!("{PATH}.weight")) });
    }
    for (index, device) in block_io.weight_device().iter().flatten().enumerate() {
        let path = format!("{PATH}.weightDevice[{index}]");
        if set(device.leaf_weight()).is_some() {
            return no_equivalent(&format!("{path}.leafWeight"));
        }
        if let Some(weight) = set(device.weight()) {
            let device = format!("{}:{}", device.major(), device.minor());
            let or_else = Some(("io.weight".into(), format!("{device} {}", io_weight(weight))));
            let line = format!("{device} {weight}");
            writes.push(Write { or_else, ..write(0, "io.bfq.weight", line, format!("{path}.weight")) });
        }
    }
    for (list, _, key, field) in throttles(block_io) {
        for (index, device) in list.iter().enumerate() {
            // v1's 0 is "no limit"; the kernel refuses it here.
            let rate = if device.rate() == 0 { "max".into() } else { device.rate().to_string() };
            let line = format!("{}:{} {key}={rate}", device.major(), device.minor());
            writes.push(write(0, "io.max", line, format!("{PATH}.{field}[{index}]")));
        }
    }
    Ok(())
}

fn add_unified(resources: &LinuxResources, writes: &mut Vec<Write>) -> Result<()> {
    let Some(unified) = resources.unified() else { return Ok(()) };
    let mut keys: Vec<_> = unified.iter().collect();
    keys.sort();
    for (key, value) in keys {
        let path = format!("linux.resources.unified.{key}");
        if key.contains('/') || key.is_empty() || key == "." || key == ".." {
            let text = format!("unified resource {key:?} must be a file name (no slashes)");
            return Err(Error::config("linux.resources.unified", text));
        }
        // Files such as io.max take one line a write; an empty value is written as it is.
        let lines = value.lines().chain(value.is_empty().then_some(""));
        writes.extend(lines.map(|line| Write { unified: true, ..write(0, key.clone(), line, path.clone()) }));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::cgroup::tests::{planned, v2};

    fn lines(json: &str) -> Vec<String> {
        let writes = planned(json, &v2("/")).unwrap().writes;
        writes.iter().map(|write| format!("{}={}", write.file, write.value)).collect()
    }

    /// [Q8] The values that runc's own test has, and both ends.
    #[test]
    fn shares_to_weight() {
        let table =
            [(0, 1), (1, 1), (2, 1), (3, 2), (512, 59), (1024, 100), (262_144, 10_000), (262_145, 10_000)];
        for (shares, expected) in table {
            assert_eq!(weight(shares), expected, "{shares}");
        }
        let all: Vec<_> = (2..=262_144).step_by(997).map(weight).collect();
        assert!(all.is_sorted());
    }

    /// [Q14] Beyond 16 bits on the way.
    #[test]
    fn block_io_weight() {
        assert_eq!([10, 16, 500, 1000].map(io_weight), [1, 61, 4950, 10_000]);
    }

    /// [Q3] Memory and swap together become swap alone.
    #[test]
    fn swap() {
        assert_eq!(swap_max(Some(10), Some(30)), Some(20));
        assert_eq!(swap_max(Some(10), Some(10)), Some(0));
        assert_eq!(swap_max(Some(10), Some(-1)), Some(-1));
        assert_eq!(swap_max(Some(-1), None), Some(-1));
        assert_eq!(swap_max(Some(10), None), None);
        assert_eq!(swap_max(None, Some(-1)), Some(-1));
    }

    /// [Q1]–[Q22] Each field and its file.
    #[test]
    fn files_and_values() {
        let table: [(&str, &[&str]); 15] = [
            (r#"{"memory":{"limit":-1}}"#, &["memory.swap.max=max", "memory.max=max"]),
            (r#"{"memory":{"limit":5,"swap":5}}"#, &["memory.swap.max=0", "memory.max=5"]),
            (r#"{"memory":{"limit":5,"swap":0}}"#, &["memory.max=5"]),
            (r#"{"memory":{"reservation":7}}"#, &["memory.low=7"]),
            (r#"{"cpu":{"quota":5000}}"#, &["cpu.max=5000 100000"]),
            (r#"{"cpu":{"quota":-1,"period":5000}}"#, &["cpu.max=max 5000"]),
            (r#"{"cpu":{"period":5000}}"#, &["cpu.max=max 5000"]),
            (r#"{"cpu":{"quota":9,"burst":5}}"#, &["cpu.max.burst=5", "cpu.max=9 100000"]),
            (r#"{"cpu":{"shares":1024,"idle":1}}"#, &["cpu.idle=1"]),
            (r#"{"cpu":{"cpus":"0-1","mems":"0"}}"#, &["cpuset.cpus=0-1", "cpuset.mems=0"]),
            (r#"{"pids":{"limit":-1}}"#, &["pids.max=max"]),
            (
                r#"{"blockIO":{"weight":16,"weightDevice":[{"major":8,"minor":16,"weight":30}],
                    "throttleWriteBpsDevice":[{"major":8,"minor":0,"rate":0}],
                    "throttleReadIOPSDevice":[{"major":8,"minor":0,"rate":3}]}}"#,
                &["io.bfq.weight=16", "io.bfq.weight=8:16 30", "io.max=8:0 wbps=max", "io.max=8:0 riops=3"],
            ),
            (
                r#"{"hugepageLimits":[{"pageSize":"1GB","limit":9}]}"#,
                &["hugetlb.1GB.max=9", "hugetlb.1GB.rsvd.max=9"],
            ),
            (r#"{"rdma":{"ib0":{"hcaObjects":2}}}"#, &["rdma.max=ib0 hca_object=2"]),
            (
                r#"{"memory":{"limit":5},"unified":{"memory.max":"6","io.max":"8:0 rbps=1\n8:16 rbps=2\n","a":""}}"#,
                &["memory.max=5", "a=", "io.max=8:0 rbps=1", "io.max=8:16 rbps=2", "memory.max=6"],
            ),
        ];
        for (json, expected) in table {
            assert_eq!(lines(json), expected, "{json}");
        }
    }

    /// [Q24] What v2 can't do is refused; [Q22] so is a key that is no file name.
    #[test]
    fn refused() {
        let table = [
            (
                r#"{"memory":{"swappiness":5}}"#,
                "linux.resources.memory.swappiness: cgroup v2 has nothing like it",
            ),
            (r#"{"memory":{"disableOOMKiller":true}}"#, "linux.resources.memory.disableOOMKiller: "),
            (r#"{"cpu":{"realtimeRuntime":5}}"#, "linux.resources.cpu.realtimeRuntime: "),
            (r#"{"cpu":{"realtimePeriod":5}}"#, "linux.resources.cpu.realtimePeriod: "),
            (r#"{"blockIO":{"leafWeight":50}}"#, "linux.resources.blockIO.leafWeight: "),
            (r#"{"network":{"classID":5}}"#, "linux.resources.network.classID: "),
            (
                r#"{"network":{"priorities":[{"name":"lo","priority":1}]}}"#,
                "linux.resources.network.priorities: ",
            ),
            (
                r#"{"unified":{"../memory.max":"1"}}"#,
                "linux.resources.unified: unified resource \"../memory.max\" must be a file name",
            ),
            (r#"{"unified":{"..":"1"}}"#, "linux.resources.unified: unified resource"),
        ];
        for (json, text) in table {
            let error = planned(json, &v2("/")).unwrap_err().to_string();
            assert!(error.starts_with(text), "{json}: {error}");
        }
    }

    /// [Q3] Only a swap limit that limits nothing may lack its file.
    #[test]
    fn missing_swap_accounting() {
        let ignored = |json: &str| planned(json, &v2("/")).unwrap().writes[0].ignore_missing;
        assert!(ignored(r#"{"memory":{"limit":5,"swap":5}}"#));
        assert!(ignored(r#"{"memory":{"limit":5,"swap":-1}}"#));
        assert!(!ignored(r#"{"memory":{"limit":5,"swap":6}}"#));
    }
}
