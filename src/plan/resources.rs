//! `linux.resources`: what is the same on every cgroup layout: checks, and the device rules.

use std::borrow::Cow;

use oci_spec::runtime::{LinuxBlockIo, LinuxDeviceCgroup, LinuxDeviceType, LinuxMemory, LinuxResources};

use crate::cgroups::{Access, DeviceRules, Entry, Rule, Type, Write};
use crate::error::{Error, Result};

/// The rules that every container has (features.md D7): nodes may be made, the standard devices and terminals used.
const ALWAYS: [(Type, Option<u32>, Option<u32>, Access); 12] = [
    (Type::Char, None, None, Access::MKNOD),
    (Type::Block, None, None, Access::MKNOD),
    // null, zero, full, random, urandom
    (Type::Char, Some(1), Some(3), Access::ALL),
    (Type::Char, Some(1), Some(5), Access::ALL),
    (Type::Char, Some(1), Some(7), Access::ALL),
    (Type::Char, Some(1), Some(8), Access::ALL),
    (Type::Char, Some(1), Some(9), Access::ALL),
    // tty, console
    (Type::Char, Some(5), Some(0), Access::ALL),
    (Type::Char, Some(5), Some(1), Access::ALL),
    // pts, ptmx
    (Type::Char, Some(136), None, Access::ALL),
    (Type::Char, Some(5), Some(2), Access::ALL),
    // net/tun
    (Type::Char, Some(10), Some(200), Access::ALL),
];

/// The reduced device rules: the user's list, then those that every container has.
///
/// # Errors
/// An entry that is no rule, by its JSON path.
pub(super) fn devices(resources: Option<&LinuxResources>) -> Result<DeviceRules> {
    let listed = resources.and_then(|resources| resources.devices().as_deref()).unwrap_or(&[]);
    let mut entries = Vec::with_capacity(listed.len() + ALWAYS.len());
    for (index, device) in listed.iter().enumerate() {
        entries.push(entry(index, device)?);
    }
    entries.extend(ALWAYS.map(|(kind, major, minor, access)| {
        Entry::Rule(Rule { allow: true, kind, major, minor, access, index: None })
    }));
    Ok(DeviceRules::reduce(&entries))
}

fn entry(index: usize, device: &LinuxDeviceCgroup) -> Result<Entry> {
    let fault = |field: &str, text: String| {
        Err(Error::config(&format!("linux.resources.devices[{index}].{field}"), text))
    };
    let text = device.access().as_deref().unwrap_or("");
    let Some(access) = Access::parse(text) else {
        return fault("access", format!("invalid device access {text:?}: want a combination of r, w and m"));
    };
    let number = |field: &str, number: Option<i64>| match number {
        None | Some(-1) => Ok(None),
        Some(number) => match u32::try_from(number) {
            Ok(number) => Ok(Some(number)),
            Err(_) => fault(field, format!("invalid device number {number}")).map(|_: Entry| None),
        },
    };
    let (major, minor) = (number("major", device.major())?, number("minor", device.minor())?);
    let kind = match device.typ().unwrap_or_default() {
        LinuxDeviceType::A => return Ok(Entry::Reset { allow: device.allow() }),
        LinuxDeviceType::B => Type::Block,
        LinuxDeviceType::C => Type::Char,
        other => return fault("type", format!("invalid device type {:?}: want a, b or c", other.as_str())),
    };
    Ok(Entry::Rule(Rule { allow: device.allow(), kind, major, minor, access, index: Some(index) }))
}

/// The rules that hold on every layout; what is left out by design is added to `warnings`.
///
/// # Errors
/// The first value that is out of range, by its JSON path.
pub(super) fn check(resources: &LinuxResources, warnings: &mut Vec<String>) -> Result<()> {
    if let Some(memory) = resources.memory() {
        check_memory(memory, warnings)?;
    }
    if let Some(cpu) = resources.cpu() {
        if let Some(shares) = cpu.shares().filter(|shares| *shares != 0) {
            let text = match shares {
                1 => "the minimum allowed cpu-shares is 2",
                2..=262_144 => "",
                _ => "the maximum allowed cpu-shares is 262144",
            };
            if !text.is_empty() {
                return Err(Error::config("linux.resources.cpu.shares", text));
            }
        }
        // The kernel refuses whichever is written last (sched-bwc.rst, "Burst feature").
        if let (Some(burst), Some(quota)) =
            (cpu.burst(), cpu.quota().and_then(|quota| u64::try_from(quota).ok()))
            && quota > 0
            && burst > quota
        {
            let text = format!("{burst} is more than the quota, {quota}");
            return Err(Error::config("linux.resources.cpu.burst", text));
        }
        if let Some(idle) = cpu.idle().filter(|idle| !(0..=1).contains(idle)) {
            return Err(Error::config("linux.resources.cpu.idle", format_args!("{idle} is neither 0 nor 1")));
        }
    }
    if let Some(block_io) = resources.block_io() {
        check_block_io(block_io)?;
    }
    for (index, limit) in resources.hugepage_limits().iter().flatten().enumerate() {
        let size = limit.page_size();
        let digits = size.trim_end_matches(|letter: char| !letter.is_ascii_digit());
        let unit = &size[digits.len()..];
        let number = !digits.is_empty()
            && !digits.starts_with('0')
            && digits.bytes().all(|byte| byte.is_ascii_digit());
        if !number || !["KB", "MB", "GB"].contains(&unit) {
            let path = format!("linux.resources.hugepageLimits[{index}].pageSize");
            return Err(Error::config(
                &path,
                format_args!("{size:?} is no size of huge pages such as 2MB or 1GB"),
            ));
        }
    }
    Ok(())
}

fn check_memory(memory: &LinuxMemory, warnings: &mut Vec<String>) -> Result<()> {
    let numbers = [("limit", memory.limit()), ("reservation", memory.reservation()), ("swap", memory.swap())];
    for (field, number) in numbers {
        if let Some(number) = number.filter(|number| *number < -1) {
            let path = format!("linux.resources.memory.{field}");
            return Err(Error::config(&path, format_args!("{number} is negative (-1 is no limit)")));
        }
    }
    let (limit, swap) = (memory.limit().unwrap_or(0), memory.swap().unwrap_or(0));
    let fault = |text| Err(Error::config("linux.resources.memory.swap", text));
    match (limit, swap) {
        (_, -1 | 0) => {}
        (0, _) => return fault("unable to set swap limit without memory limit"),
        (-1, _) => return fault("unable to set swap limit with unlimited memory"),
        (limit, swap) if swap < limit => return fault("memory+swap limit should be >= memory limit"),
        _ => {}
    }
    if let Some(value) = swappiness(memory).filter(|value| *value > 100) {
        let text = format!("invalid memory swappiness value: {value} (valid range is 0-100)");
        return Err(Error::config("linux.resources.memory.swappiness", text));
    }
    let kernel = memory.kernel();
    for (field, value) in [("kernel", kernel), ("kernelTCP", memory.kernel_tcp())] {
        if value.is_some() {
            warnings.push(format!(
                "linux.resources.memory.{field} is ignored: the kernel has no such limit any more"
            ));
        }
    }
    Ok(())
}

/// `None` where it is left alone; callers send -1 as an unsigned number.
pub(super) fn swappiness(memory: &LinuxMemory) -> Option<u64> {
    memory.swappiness().filter(|value| *value != u64::MAX)
}

fn check_block_io(block_io: &LinuxBlockIo) -> Result<()> {
    let check = |path: &str, weight: Option<u16>| match weight {
        None | Some(0 | 10..=1000) => Ok(()),
        Some(weight) => Err(Error::config(path, format_args!("weight {weight} is not between 10 and 1000"))),
    };
    check("linux.resources.blockIO.weight", block_io.weight())?;
    check("linux.resources.blockIO.leafWeight", block_io.leaf_weight())?;
    for (index, device) in block_io.weight_device().iter().flatten().enumerate() {
        let path = format!("linux.resources.blockIO.weightDevice[{index}]");
        check(&format!("{path}.weight"), device.weight())?;
        check(&format!("{path}.leafWeight"), device.leaf_weight())?;
    }
    Ok(())
}

/// A write with none of the exceptions.
pub(super) fn write(
    directory: usize,
    file: impl Into<Cow<'static, str>>,
    value: impl ToString,
    json_path: impl Into<Cow<'static, str>>,
) -> Write {
    let (file, json_path) = (file.into(), json_path.into());
    Write { directory, file, value: value.to_string(), json_path, ..Write::default() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::cgroup::tests::{planned, v1, v2};

    const DOCKER: &str = r#"{"devices": [{"allow": false, "access": "rwm"},
        {"allow": true, "type": "c", "major": 1, "minor": 5, "access": "rwm"},
        {"allow": true, "type": "c", "major": 1, "minor": 3, "access": "rwm"},
        {"allow": true, "type": "c", "major": 1, "minor": 9, "access": "rwm"},
        {"allow": true, "type": "c", "major": 1, "minor": 8, "access": "rwm"},
        {"allow": true, "type": "c", "major": 5, "minor": 0, "access": "rwm"},
        {"allow": true, "type": "c", "major": 5, "minor": 1, "access": "rwm"},
        {"allow": false, "type": "c", "major": 10, "minor": 229, "access": "rwm"}],
        "memory": {"limit": 536870912, "swap": 1073741824},
        "cpu": {"shares": 512, "quota": 150000, "period": 100000}, "pids": {"limit": 512}, "blockIO": {}}"#;

    fn texts(json: &str) -> Vec<String> {
        let rules = planned(json, &v1("/")).unwrap().devices.unwrap();
        let mut texts: Vec<_> = rules.rules.iter().map(ToString::to_string).collect();
        texts.sort();
        texts
    }

    const DEFAULTS: [&str; 12] = [
        "b *:* m",
        "c *:* m",
        "c 10:200 rwm",
        "c 136:* rwm",
        "c 1:3 rwm",
        "c 1:5 rwm",
        "c 1:7 rwm",
        "c 1:8 rwm",
        "c 1:9 rwm",
        "c 5:0 rwm",
        "c 5:1 rwm",
        "c 5:2 rwm",
    ];

    /// [D7] [D8] [D9] Docker's list adds nothing to the rules that are always there, nor does an empty one.
    #[test]
    fn docker_needs_twelve_device_rules() {
        assert_eq!(texts(DOCKER), DEFAULTS);
        assert_eq!(texts("{}"), DEFAULTS);
        assert_eq!(texts(r#"{"devices": []}"#), DEFAULTS);
    }

    /// [D6] `a` resets the list whatever its numbers; all devices allowed leaves nothing to write.
    #[test]
    fn privileged_containers_have_no_rules() {
        let json = r#"{"devices": [{"allow": false, "type": "c", "major": 1, "access": "r"},
            {"allow": true, "type": "a", "major": 3, "minor": 4, "access": "rwm"}]}"#;
        assert!(planned(json, &v2("/")).unwrap().devices.unwrap().allow_everything());
    }

    /// Every fault is told by its JSON path.
    #[test]
    fn faults() {
        let table = [
            (
                r#"{"devices":[{"allow":true,"type":"c"}]}"#,
                "linux.resources.devices[0].access: invalid device access",
            ),
            (
                r#"{"devices":[{"allow":true,"access":"x"}]}"#,
                "devices[0].access: invalid device access \"x\"",
            ),
            (
                r#"{"devices":[{"allow":true,"type":"p","access":"r"}]}"#,
                "devices[0].type: invalid device type \"p\"",
            ),
            (
                r#"{"devices":[{"allow":true,"type":"c","major":-2,"access":"r"}]}"#,
                "devices[0].major: invalid device",
            ),
            (r#"{"memory":{"limit":-2}}"#, "linux.resources.memory.limit: -2 is negative"),
            (r#"{"memory":{"swap":10}}"#, "memory.swap: unable to set swap limit without memory limit"),
            (
                r#"{"memory":{"limit":20,"swap":10}}"#,
                "memory.swap: memory+swap limit should be >= memory limit",
            ),
            (r#"{"memory":{"swappiness":101}}"#, "swappiness: invalid memory swappiness value: 101"),
            (r#"{"cpu":{"shares":1}}"#, "linux.resources.cpu.shares: the minimum allowed cpu-shares is 2"),
            (r#"{"cpu":{"shares":262145}}"#, "cpu.shares: the maximum allowed cpu-shares is 262144"),
            (
                r#"{"cpu":{"quota":5000,"burst":5001}}"#,
                "linux.resources.cpu.burst: 5001 is more than the quota, 5000",
            ),
            (r#"{"cpu":{"idle":2}}"#, "linux.resources.cpu.idle: 2 is neither 0 nor 1"),
            (
                r#"{"blockIO":{"weight":9}}"#,
                "linux.resources.blockIO.weight: weight 9 is not between 10 and 1000",
            ),
            (
                r#"{"blockIO":{"weightDevice":[{"major":8,"minor":0,"weight":1001}]}}"#,
                "blockIO.weightDevice[0].weight: weight 1001",
            ),
            // The specification's schema test linux-hugepage.json; sizes have no leading zero there.
            (
                r#"{"hugepageLimits":[{"pageSize":"64kB","limit":1234123}]}"#,
                "hugepageLimits[0].pageSize: \"64kB\"",
            ),
            (r#"{"hugepageLimits":[{"pageSize":"0MB","limit":1}]}"#, "hugepageLimits[0].pageSize: \"0MB\""),
            (
                r#"{"hugepageLimits":[{"pageSize":"2M","limit":1}]}"#,
                "hugepageLimits[0].pageSize: \"2M\" is no size",
            ),
            (
                r#"{"hugepageLimits":[{"pageSize":"../MB","limit":1}]}"#,
                "hugepageLimits[0].pageSize: \"../MB\"",
            ),
        ];
        for (json, text) in table {
            for host in [v1("/"), v2("/")] {
                let error = planned(json, &host).unwrap_err().to_string();
                assert!(error.contains(text), "{json}: {error}");
            }
        }
    }

    /// [Q4] [Q5] What is accepted and left out.
    #[test]
    fn accepted() {
        let json = r#"{"memory":{"kernel":1,"kernelTCP":2,"swappiness":18446744073709551615,"useHierarchy":true,
            "disableOOMKiller":false,"limit":0,"swap":0},"cpu":{"shares":0,"quota":0}}"#;
        for host in [v1("/"), v2("/")] {
            let plan = planned(json, &host).unwrap();
            assert_eq!(plan.writes, []);
            assert_eq!(plan.warnings.len(), 2);
        }
    }

    /// Docker's limits as writes, on both layouts.
    #[test]
    fn docker_limits() {
        let lines = |host| {
            let plan = planned(DOCKER, &host).unwrap();
            let line = |write: &Write| {
                let new = if write.skip_if_new { " (unless new)" } else { "" };
                format!(
                    "{}/{}={}{new}",
                    plan.directories[write.directory].controllers, write.file, write.value
                )
            };
            plan.writes.iter().map(line).collect::<Vec<_>>()
        };
        assert_eq!(
            lines(v1("/")),
            [
                "memory/memory.limit_in_bytes=536870912",
                "memory/memory.memsw.limit_in_bytes=1073741824",
                "cpu,cpuacct/cpu.shares=512",
                "cpu,cpuacct/cpu.cfs_period_us=100000 (unless new)",
                "cpu,cpuacct/cpu.cfs_quota_us=150000",
                "pids/pids.max=512",
            ]
        );
        assert_eq!(
            lines(v2("/")),
            [
                "/memory.swap.max=536870912",
                "/memory.max=536870912",
                "/cpu.weight=59",
                "/cpu.max=150000 100000",
                "/pids.max=512"
            ]
        );
    }
}
