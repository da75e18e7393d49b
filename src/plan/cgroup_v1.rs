//! `linux.resources` as cgroup v1 files (cgroup-v1/*.rst); features.md section 14, left column.

use oci_spec::runtime::{LinuxBlockIo, LinuxCpu, LinuxMemory, LinuxResources, LinuxThrottleDevice};

use super::cgroup::{CgroupPlan, Write, missing_controller};
use super::resources::{swappiness, write};
use crate::error::{Error, Kind, Result};

/// Adds the writes, in their order.
///
/// # Errors
/// A limit whose controller is not there, and `unified`.
pub(super) fn writes(resources: &LinuxResources, plan: &mut CgroupPlan) -> Result<()> {
    if resources.unified().as_ref().is_some_and(|unified| !unified.is_empty()) {
        // The whole text is what callers match.
        return Err(Error::new(Kind::Config, "invalid configuration: cannot use unified on cgroup v1")
            .hint("linux.resources.unified names cgroup v2 files"));
    }
    let mut todo = Todo { plan };
    if let Some(memory) = resources.memory() {
        todo.memory(memory)?;
    }
    if let Some(cpu) = resources.cpu() {
        todo.cpu(cpu)?;
        todo.cpuset(cpu)?;
    }
    if let Some(pids) = resources.pids() {
        let value = pids_max(pids.limit());
        todo.add("pids", "pids.max", value, "linux.resources.pids.limit")?;
    }
    if let Some(block_io) = resources.block_io() {
        todo.block_io(block_io)?;
    }
    todo.huge_pages(resources)?;
    todo.network(resources)?;
    todo.rdma(resources)
}

/// `pids.max` (features.md Q20). With 0 the init itself could not be cloned into its cgroup: 1 is init alone.
pub(super) fn pids_max(limit: i64) -> String {
    match limit {
        ..0 => "max".into(),
        0 => "1".into(),
        limit => limit.to_string(),
    }
}

/// The lines of `rdma.max` (cgroup-v1/rdma.rst), in the order of the devices' names.
pub(super) fn rdma_lines(resources: &LinuxResources) -> Vec<(String, String)> {
    let Some(rdma) = resources.rdma() else { return Vec::new() };
    let mut lines: Vec<_> = rdma
        .iter()
        .map(|(device, limit)| {
            let mut line = device.clone();
            for (key, value) in [("hca_handle", limit.hca_handles()), ("hca_object", limit.hca_objects())] {
                if let Some(value) = value {
                    line.push_str(&format!(" {key}={value}"));
                }
            }
            (format!("linux.resources.rdma.{device}"), line)
        })
        .collect();
    lines.sort();
    lines
}

struct Todo<'p> {
    plan: &'p mut CgroupPlan,
}

impl Todo<'_> {
    /// Adds a write into the controller's hierarchy; returns it for exceptions.
    fn add(
        &mut self,
        controller: &str,
        file: impl Into<std::borrow::Cow<'static, str>>,
        value: impl ToString,
        json_path: impl Into<std::borrow::Cow<'static, str>>,
    ) -> Result<&mut Write> {
        let json_path = json_path.into();
        let directories = &self.plan.directories;
        let at = directories
            .iter()
            .position(|directory| directory.controllers.split(',').any(|found| found == controller))
            .ok_or_else(|| missing_controller(&json_path, controller))?;
        self.plan.writes.push(write(at, file, value, json_path));
        let last = self.plan.writes.len() - 1;
        Ok(&mut self.plan.writes[last])
    }

    fn memory(&mut self, memory: &LinuxMemory) -> Result<()> {
        const LIMIT: &str = "memory.limit_in_bytes";
        const SWAP: &str = "memory.memsw.limit_in_bytes";
        let set = |number: Option<i64>| number.filter(|number| *number != 0);
        let (limit, swap) = (set(memory.limit()), set(memory.swap()));
        // No limit of memory without a limit of swap means neither.
        let lifted = limit == Some(-1) && swap.is_none();
        if let Some(limit) = limit {
            let write = self.add("memory", LIMIT, limit, "linux.resources.memory.limit")?;
            write.skip_if_new = limit == -1;
            // The kernel wants memory+swap >= memory at every moment: growing an old cgroup takes swap first.
            write.retry_last = swap.is_some() || lifted;
        }
        if let Some(swap) = swap {
            let write = self.add("memory", SWAP, swap, "linux.resources.memory.swap")?;
            write.skip_if_new = swap == -1;
        } else if lifted {
            let write = self.add("memory", SWAP, -1, "linux.resources.memory.limit")?;
            (write.skip_if_new, write.ignore_missing) = (true, true);
        }
        if let Some(reservation) = set(memory.reservation()) {
            self.add(
                "memory",
                "memory.soft_limit_in_bytes",
                reservation,
                "linux.resources.memory.reservation",
            )?
            .skip_if_new = reservation == -1;
        }
        if memory.disable_oom_killer() == Some(true) {
            self.add("memory", "memory.oom_control", 1, "linux.resources.memory.disableOOMKiller")?;
        }
        if let Some(value) = swappiness(memory) {
            self.add("memory", "memory.swappiness", value, "linux.resources.memory.swappiness")?;
        }
        Ok(())
    }

    /// Period and burst depend on the quota, and the other way round: whichever the kernel refuses is tried again
    /// after the others.
    fn cpu(&mut self, cpu: &LinuxCpu) -> Result<()> {
        if let Some(shares) = cpu.shares().filter(|shares| *shares != 0) {
            self.add("cpu", "cpu.shares", shares, "linux.resources.cpu.shares")?.skip_if_new = shares == 1024;
        }
        let quota = cpu.quota().filter(|quota| *quota != 0);
        if let Some(period) = cpu.period().filter(|period| *period != 0) {
            let write = self.add("cpu", "cpu.cfs_period_us", period, "linux.resources.cpu.period")?;
            write.skip_if_new = period == 100_000;
            write.retry_last = quota.is_some();
        }
        if let Some(burst) = cpu.burst() {
            let write = self.add("cpu", "cpu.cfs_burst_us", burst, "linux.resources.cpu.burst")?;
            write.skip_if_new = burst == 0;
            write.retry_last = quota.is_some();
        }
        if let Some(quota) = quota {
            let value = quota.max(-1);
            self.add("cpu", "cpu.cfs_quota_us", value, "linux.resources.cpu.quota")?.skip_if_new =
                value == -1;
        }
        if let Some(period) = cpu.realtime_period().filter(|period| *period != 0) {
            self.add("cpu", "cpu.rt_period_us", period, "linux.resources.cpu.realtimePeriod")?.retry_last =
                cpu.realtime_runtime().is_some();
        }
        if let Some(runtime) = cpu.realtime_runtime().filter(|runtime| *runtime != 0) {
            self.add("cpu", "cpu.rt_runtime_us", runtime, "linux.resources.cpu.realtimeRuntime")?;
        }
        if let Some(idle) = cpu.idle() {
            self.add("cpu", "cpu.idle", idle, "linux.resources.cpu.idle")?.skip_if_new = idle == 0;
        }
        Ok(())
    }

    fn cpuset(&mut self, cpu: &LinuxCpu) -> Result<()> {
        if let Some(cpus) = cpu.cpus().as_deref().filter(|list| !list.is_empty()) {
            self.add("cpuset", "cpuset.cpus", cpus, "linux.resources.cpu.cpus")?;
        }
        if let Some(mems) = cpu.mems().as_deref().filter(|list| !list.is_empty()) {
            self.add("cpuset", "cpuset.mems", mems, "linux.resources.cpu.mems")?;
        }
        Ok(())
    }

    fn block_io(&mut self, block_io: &LinuxBlockIo) -> Result<()> {
        const PATH: &str = "linux.resources.blockIO";
        let set = |weight: Option<u16>| weight.filter(|weight| *weight != 0);
        if let Some(weight) = set(block_io.weight()) {
            self.add("blkio", "blkio.weight", weight, format!("{PATH}.weight"))?.or_else =
                Some(("blkio.bfq.weight".into(), weight.to_string()));
        }
        if let Some(weight) = set(block_io.leaf_weight()) {
            self.add("blkio", "blkio.leaf_weight", weight, format!("{PATH}.leafWeight"))?;
        }
        for (index, device) in block_io.weight_device().iter().flatten().enumerate() {
            let path = format!("{PATH}.weightDevice[{index}]");
            let line = |weight| format!("{}:{} {weight}", device.major(), device.minor());
            if let Some(weight) = set(device.weight()) {
                self.add("blkio", "blkio.weight_device", line(weight), format!("{path}.weight"))?.or_else =
                    Some(("blkio.bfq.weight_device".into(), line(weight)));
            }
            if let Some(weight) = set(device.leaf_weight()) {
                self.add("blkio", "blkio.leaf_weight_device", line(weight), format!("{path}.leafWeight"))?;
            }
        }
        for (list, file, _, field) in throttles(block_io) {
            for (index, device) in list.iter().enumerate() {
                let line = format!("{}:{} {}", device.major(), device.minor(), device.rate());
                self.add(
                    "blkio",
                    format!("blkio.throttle.{file}"),
                    line,
                    format!("{PATH}.{field}[{index}]"),
                )?;
            }
        }
        Ok(())
    }

    fn huge_pages(&mut self, resources: &LinuxResources) -> Result<()> {
        for (index, limit) in resources.hugepage_limits().iter().flatten().enumerate() {
            let path = format!("linux.resources.hugepageLimits[{index}]");
            let size = limit.page_size();
            let file = format!("hugetlb.{size}.limit_in_bytes");
            self.add("hugetlb", file, limit.limit(), path.clone())?;
            // Reservations are limited since kernel 5.7.
            let file = format!("hugetlb.{size}.rsvd.limit_in_bytes");
            self.add("hugetlb", file, limit.limit(), path)?.ignore_missing = true;
        }
        Ok(())
    }

    fn network(&mut self, resources: &LinuxResources) -> Result<()> {
        let Some(network) = resources.network() else { return Ok(()) };
        if let Some(class) = network.class_id().filter(|class| *class != 0) {
            self.add("net_cls", "net_cls.classid", class, "linux.resources.network.classID")?;
        }
        for (index, priority) in network.priorities().iter().flatten().enumerate() {
            let line = format!("{} {}", priority.name(), priority.priority());
            let path = format!("linux.resources.network.priorities[{index}]");
            self.add("net_prio", "net_prio.ifpriomap", line, path)?;
        }
        Ok(())
    }

    fn rdma(&mut self, resources: &LinuxResources) -> Result<()> {
        for (path, line) in rdma_lines(resources) {
            self.add("rdma", "rdma.max", line, path)?;
        }
        Ok(())
    }
}

/// The four lists of throttles: entries, v1 file, v2 key of `io.max`, field of config.json.
pub(super) fn throttles(
    block_io: &LinuxBlockIo,
) -> [(&[LinuxThrottleDevice], &'static str, &'static str, &'static str); 4] {
    [
        (slice(block_io.throttle_read_bps_device()), "read_bps_device", "rbps", "throttleReadBpsDevice"),
        (slice(block_io.throttle_write_bps_device()), "write_bps_device", "wbps", "throttleWriteBpsDevice"),
        (slice(block_io.throttle_read_iops_device()), "read_iops_device", "riops", "throttleReadIOPSDevice"),
        (
            slice(block_io.throttle_write_iops_device()),
            "write_iops_device",
            "wiops",
            "throttleWriteIOPSDevice",
        ),
    ]
}

fn slice(list: &Option<Vec<LinuxThrottleDevice>>) -> &[LinuxThrottleDevice] {
    list.as_deref().unwrap_or(&[])
}

#[cfg(test)]
mod tests {
    use crate::plan::cgroup::tests::{planned, v1};

    fn lines(json: &str) -> Vec<String> {
        let writes = planned(json, &v1("/")).unwrap().writes;
        writes.iter().map(|write| format!("{}={}", write.file, write.value)).collect()
    }

    /// [Q1]–[Q19] Each field and its file.
    #[test]
    fn files_and_values() {
        let table: [(&str, &[&str]); 16] = [
            (r#"{"memory":{"limit":-1}}"#, &["memory.limit_in_bytes=-1", "memory.memsw.limit_in_bytes=-1"]),
            (
                r#"{"memory":{"limit":5,"swap":-1}}"#,
                &["memory.limit_in_bytes=5", "memory.memsw.limit_in_bytes=-1"],
            ),
            (r#"{"memory":{"reservation":7}}"#, &["memory.soft_limit_in_bytes=7"]),
            (
                r#"{"memory":{"swappiness":0,"disableOOMKiller":true}}"#,
                &["memory.oom_control=1", "memory.swappiness=0"],
            ),
            (r#"{"cpu":{"quota":-7,"burst":5}}"#, &["cpu.cfs_burst_us=5", "cpu.cfs_quota_us=-1"]),
            (
                r#"{"cpu":{"realtimeRuntime":5,"realtimePeriod":9,"idle":1}}"#,
                &["cpu.rt_period_us=9", "cpu.rt_runtime_us=5", "cpu.idle=1"],
            ),
            (r#"{"cpu":{"cpus":"0-1","mems":"0"}}"#, &["cpuset.cpus=0-1", "cpuset.mems=0"]),
            (r#"{"cpu":{"cpus":"","mems":""}}"#, &[]),
            (r#"{"pids":{"limit":0}}"#, &["pids.max=1"]),
            (r#"{"pids":{"limit":-5}}"#, &["pids.max=max"]),
            (r#"{"blockIO":{"weight":300,"leafWeight":20}}"#, &["blkio.weight=300", "blkio.leaf_weight=20"]),
            (
                r#"{"blockIO":{"weightDevice":[{"major":8,"minor":16,"weight":30,"leafWeight":40}]}}"#,
                &["blkio.weight_device=8:16 30", "blkio.leaf_weight_device=8:16 40"],
            ),
            (
                r#"{"blockIO":{"throttleReadBpsDevice":[{"major":8,"minor":0,"rate":1}],
                    "throttleWriteIOPSDevice":[{"major":8,"minor":0,"rate":4},{"major":9,"minor":0,"rate":5}]}}"#,
                &[
                    "blkio.throttle.read_bps_device=8:0 1",
                    "blkio.throttle.write_iops_device=8:0 4",
                    "blkio.throttle.write_iops_device=9:0 5",
                ],
            ),
            (
                r#"{"hugepageLimits":[{"pageSize":"2MB","limit":9}]}"#,
                &["hugetlb.2MB.limit_in_bytes=9", "hugetlb.2MB.rsvd.limit_in_bytes=9"],
            ),
            (
                r#"{"network":{"classID":1048577,"priorities":[{"name":"lo","priority":3}]}}"#,
                &["net_cls.classid=1048577", "net_prio.ifpriomap=lo 3"],
            ),
            (
                r#"{"rdma":{"mlx5_1":{"hcaHandles":3},"ib0":{"hcaHandles":1,"hcaObjects":2}}}"#,
                &["rdma.max=ib0 hca_handle=1 hca_object=2", "rdma.max=mlx5_1 hca_handle=3"],
            ),
        ];
        for (json, expected) in table {
            assert_eq!(lines(json), expected, "{json}");
        }
    }

    /// [Q22] `unified` has no meaning on v1; [Q26] neither has a limit without its controller.
    #[test]
    fn refused() {
        let error = planned(r#"{"unified":{"memory.high":"1"}}"#, &v1("/")).unwrap_err();
        assert!(error.to_string().starts_with("invalid configuration: cannot use unified on cgroup v1"));
        let mut host = v1("/");
        let crate::cgroups::Layout::V1 { hierarchies, .. } = &mut host.layout else { panic!("v1") };
        hierarchies.retain(|hierarchy| hierarchy.controllers != "pids");
        assert_eq!(
            planned(r#"{"pids":{"limit":5}}"#, &host).unwrap_err().to_string(),
            "linux.resources.pids.limit: cgroup controller pids is not available on this host"
        );
        assert!(planned(r#"{"memory":{"limit":5}}"#, &host).is_ok());
    }

    /// [C17] [Q10] Values that bound each other are tried again after the others.
    #[test]
    fn order() {
        let json = r#"{"memory":{"limit":5,"swap":6},"cpu":{"period":5000,"quota":2000,"burst":1}}"#;
        let writes = planned(json, &v1("/")).unwrap().writes;
        let again: Vec<_> = writes.iter().filter(|w| w.retry_last).map(|w| w.file.as_ref()).collect();
        assert_eq!(again, ["memory.limit_in_bytes", "cpu.cfs_period_us", "cpu.cfs_burst_us"]);
    }
}
