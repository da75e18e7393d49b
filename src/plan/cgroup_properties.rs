//! Limits and device rules as properties of a systemd unit (systemd.resource-control(5), features.md C5, C16, D11).

use oci_spec::runtime::LinuxResources;

use crate::cgroups::systemd::{Property, Value};
use crate::cgroups::{CgroupPlan, DeviceRules, Host, Layout, Present, Rule, Type};

/// The device rules as far as systemd can say them (features.md D11): what may be used by any rule. What is denied
/// within that, the own program or the kernel's list denies, which stays in force beside systemd's.
pub fn devices(rules: &DeviceRules) -> Vec<Property> {
    let pairs = |list: Vec<(String, String)>| {
        let pair =
            |(path, access): (String, String)| Value::Struct(vec![Value::Text(path), Value::Text(access)]);
        Value::Array("(ss)".into(), list.into_iter().map(pair).collect())
    };
    if rules.default_allow {
        return vec![
            Property::new("DevicePolicy", "auto".into()),
            Property::new("DeviceAllow", pairs(Vec::new())),
        ];
    }
    let name = |rule: &Rule| {
        let kind = if rule.kind == Type::Char { "char" } else { "block" };
        match (rule.major, rule.minor) {
            (Some(major), Some(minor)) => format!("/dev/{kind}/{major}:{minor}"),
            (Some(major), None) => format!("{kind}-{major}"),
            // systemd has no pattern for a minor of every major.
            (None, _) => format!("{kind}-*"),
        }
    };
    let allowed = rules.rules.iter().filter(|rule| rule.allow);
    let allowed = allowed.map(|rule| (name(rule), rule.access.to_string())).collect();
    vec![Property::new("DevicePolicy", "strict".into()), Property::new("DeviceAllow", pairs(allowed))]
}

/// The limits as systemd names them, so that it keeps them when it writes a cgroup anew. `unified` is the last, as it is
/// with the files.
pub fn limits(resources: &LinuxResources, host: &Host) -> Vec<Property> {
    let mut list = List { properties: Vec::new(), v2: matches!(host.layout, Layout::V2 { .. }) };
    list.memory(resources);
    list.cpu(resources);
    if let Some(pids) = resources.pids() {
        // 0 is no value for systemd; the file gets it.
        list.add("TasksMax", u64::try_from(pids.limit()).map_or(u64::MAX, |limit| limit.max(1)));
    }
    if let Some(weight) =
        resources.block_io().as_ref().and_then(|io| io.weight()).filter(|weight| *weight != 0)
    {
        match list.v2 {
            true => list.add("IOWeight", super::cgroup_v2::io_weight(weight).into()),
            false => list.add("BlockIOWeight", weight.into()),
        }
    }
    let mut unified: Vec<_> = resources.unified().iter().flatten().collect();
    unified.sort();
    unified.into_iter().for_each(|(key, value)| list.unified(key, value.trim()));
    list.properties
}

/// The properties of what `update` writes: merged with what is there, so that both say the same (features.md C16).
pub fn changed(plan: &CgroupPlan, present: &Present) -> Vec<Property> {
    let mut list = List { properties: Vec::new(), v2: true };
    let v1 =
        |file: &str| plan.writes.iter().find(|write| write.file == file).map(|write| write.value.as_str());
    let (quota, period) = (v1("cpu.cfs_quota_us"), v1("cpu.cfs_period_us"));
    if quota.is_some() || period.is_some() {
        let quota = quota.map_or(present.quota, |text| text.parse().ok());
        list.quota(quota, period.map_or(present.period, |text| text.parse().ok()));
    }
    for write in &plan.writes {
        let name = match &*write.file {
            "memory.limit_in_bytes" => "MemoryLimit",
            "cpu.shares" => "CPUShares",
            "blkio.weight" => "BlockIOWeight",
            "io.bfq.weight" => match &write.or_else {
                Some((_, weight)) => {
                    list.unified("io.weight", weight);
                    continue;
                }
                None => continue,
            },
            file => {
                list.unified(file, &write.value);
                continue;
            }
        };
        let number = if write.value == "-1" { Some(u64::MAX) } else { write.value.parse().ok() };
        if let Some(number) = number {
            list.add(name, number);
        }
    }
    if let Some(rules) = &plan.devices {
        // An empty list first, or the new one would be added to the old.
        list.properties.push(Property::new("DeviceAllow", Value::Array("(ss)".into(), Vec::new())));
        list.properties.extend(devices(rules));
    }
    list.properties
}

struct List {
    properties: Vec<Property>,
    v2: bool,
}

impl List {
    fn add(&mut self, name: &str, number: u64) {
        self.properties.push(Property::limit(name, Value::U64(number)));
    }

    fn memory(&mut self, resources: &LinuxResources) {
        let Some(memory) = resources.memory() else { return };
        let set = |number: Option<i64>| number.filter(|number| *number != 0);
        let number = |number: i64| u64::try_from(number).unwrap_or(u64::MAX);
        if let Some(limit) = set(memory.limit()) {
            self.add(if self.v2 { "MemoryMax" } else { "MemoryLimit" }, number(limit));
        }
        if !self.v2 {
            return;
        }
        if let Some(low) = set(memory.reservation()) {
            self.add("MemoryLow", number(low));
        }
        if let Some(swap) = super::cgroup_v2::swap_max(set(memory.limit()), set(memory.swap())) {
            self.add("MemorySwapMax", number(swap));
        }
    }

    fn cpu(&mut self, resources: &LinuxResources) {
        let Some(cpu) = resources.cpu() else { return };
        let shares = cpu.shares().filter(|shares| *shares != 0);
        match (self.v2, cpu.idle(), shares) {
            // systemd 252 and later: weight 0 is idle.
            (true, Some(1), _) => self.add("CPUWeight", 0),
            (true, _, Some(shares)) => self.add("CPUWeight", super::cgroup_v2::weight(shares)),
            (false, _, Some(shares)) => self.add("CPUShares", shares),
            _ => {}
        }
        let period = cpu.period().filter(|period| *period != 0);
        self.quota(cpu.quota().filter(|quota| *quota != 0), period);
        if self.v2 {
            self.set("AllowedCPUs", cpu.cpus().as_deref());
            self.set("AllowedMemoryNodes", cpu.mems().as_deref());
        }
    }

    fn quota(&mut self, quota: Option<i64>, period: Option<u64>) {
        if let Some(period) = period {
            self.add("CPUQuotaPeriodUSec", period);
        }
        if quota.is_some() || period.is_some() {
            self.add("CPUQuotaPerSecUSec", per_second(quota.unwrap_or(-1), period.unwrap_or(100_000)));
        }
    }

    fn set(&mut self, name: &str, text: Option<&str>) {
        // Nothing is no change (features.md C20).
        if let Some(mask) = text.filter(|text| !text.is_empty()).and_then(mask) {
            self.properties.push(Property::limit(name, Value::bytes(&mask)));
        }
    }

    /// A value that can't be understood has no property; the file answers for it.
    fn unified(&mut self, key: &str, value: &str) {
        let name = match key {
            "cpu.max" => {
                let mut parts = value.split_ascii_whitespace();
                let quota =
                    parts.next().and_then(|quota| if quota == "max" { Some(-1) } else { quota.parse().ok() });
                if let Some(quota) = quota {
                    self.quota(Some(quota), parts.next().and_then(|period| period.parse().ok()));
                }
                return;
            }
            "cpu.idle" if value == "1" => return self.add("CPUWeight", 0),
            "cpuset.cpus" => return self.set("AllowedCPUs", Some(value)),
            "cpuset.mems" => return self.set("AllowedMemoryNodes", Some(value)),
            "cpu.weight" => "CPUWeight",
            "memory.min" => "MemoryMin",
            "memory.low" => "MemoryLow",
            "memory.high" => "MemoryHigh",
            "memory.max" => "MemoryMax",
            "memory.swap.max" => "MemorySwapMax",
            "memory.zswap.max" => "MemoryZSwapMax",
            "pids.max" => "TasksMax",
            "io.weight" => "IOWeight",
            _ => return,
        };
        let number = if value == "max" { Some(u64::MAX) } else { value.parse().ok() };
        if let Some(number) = number {
            self.add(name, if name == "TasksMax" { number.max(1) } else { number });
        }
    }
}

/// features.md Q9: microseconds of CPU a second, rounded up to 10 ms, systemd's own grain.
fn per_second(quota: i64, period: u64) -> u64 {
    let Some(quota) = u64::try_from(quota).ok().filter(|quota| *quota > 0) else { return u64::MAX };
    let exact = (u128::from(quota) * 1_000_000).div_ceil(u128::from(period.max(1)));
    u64::try_from(exact.next_multiple_of(10_000)).unwrap_or(u64::MAX)
}

/// `0-2,9` as bytes, bit 0 of the first is number 0. `None`: not a list, or beyond what a kernel can have.
fn mask(text: &str) -> Option<Vec<u8>> {
    const MOST: usize = 65_536;
    let mut mask = Vec::new();
    for range in text.split(',').filter(|range| !range.is_empty()) {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        let (first, last): (usize, usize) = (first.trim().parse().ok()?, last.trim().parse().ok()?);
        if first > last || last >= MOST {
            return None;
        }
        mask.resize(mask.len().max(last / 8 + 1), 0);
        (first..=last).for_each(|number| mask[number / 8] |= 1 << (number % 8));
    }
    Some(mask)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cgroups::Write;
    use crate::plan::cgroup::tests::{v1, v2};

    fn limited(json: &str, host: &Host) -> Vec<(String, Value)> {
        let list = limits(&serde_json::from_str(json).unwrap(), host);
        list.into_iter().map(|property| (property.name, property.value)).collect()
    }

    /// [C5] [Q9] [Q20] [Q22] [C20]
    #[test]
    fn limits_as_properties() {
        let number = |name: &str, number| (name.to_string(), Value::U64(number));
        let json = r#"{"memory":{"limit":100,"swap":150,"reservation":50},"pids":{"limit":0},
            "cpu":{"shares":1024,"quota":5000,"period":100000,"cpus":"0-2,9","mems":""},"blockIO":{"weight":1000}}"#;
        let expected = [
            number("MemoryMax", 100),
            number("MemoryLow", 50),
            number("MemorySwapMax", 50),
            number("CPUWeight", 100),
            number("CPUQuotaPeriodUSec", 100_000),
            number("CPUQuotaPerSecUSec", 50_000),
            ("AllowedCPUs".to_string(), Value::bytes(&[7, 2])),
            number("TasksMax", 1),
            number("IOWeight", 10_000),
        ];
        assert_eq!(limited(json, &v2("/")), expected);
        let expected = [
            number("MemoryLimit", 100),
            number("CPUShares", 1024),
            number("CPUQuotaPeriodUSec", 100_000),
            number("CPUQuotaPerSecUSec", 50_000),
            number("TasksMax", 1),
            number("BlockIOWeight", 1000),
        ];
        assert_eq!(limited(json, &v1("/")), expected);
        let json = r#"{"memory":{"limit":-1},"pids":{"limit":-1},"cpu":{"quota":-1,"idle":1},
            "unified":{"memory.high":"7","cpu.max":"max 5000","pids.max":"max","memory.min":"x","io.max":"1"}}"#;
        let expected = [
            number("MemoryMax", u64::MAX),
            number("MemorySwapMax", u64::MAX),
            number("CPUWeight", 0),
            number("CPUQuotaPerSecUSec", u64::MAX),
            number("TasksMax", u64::MAX),
            number("CPUQuotaPeriodUSec", 5000),
            number("CPUQuotaPerSecUSec", u64::MAX),
            number("MemoryHigh", 7),
            number("TasksMax", u64::MAX),
        ];
        assert_eq!(limited(json, &v2("/")), expected);
    }

    /// [C16] [D11] What update writes, as properties; what has none is left to the files.
    #[test]
    fn changes_as_properties() {
        let write = |file: &'static str, value: &str| Write {
            file: file.into(),
            value: value.into(),
            ..Write::default()
        };
        let mut plan = CgroupPlan {
            writes: vec![
                write("memory.limit_in_bytes", "-1"),
                write("cpu.max", "5000 10000"),
                Write { or_else: Some(("io.weight".into(), "300".into())), ..write("io.bfq.weight", "40") },
                Write {
                    or_else: Some(("io.weight".into(), "8:0 7".into())),
                    ..write("io.bfq.weight", "8:0 7")
                },
                write("memory.oom.group", "1"),
            ],
            ..CgroupPlan::default()
        };
        let names = |plan: &CgroupPlan| {
            let all = changed(plan, &Present::default()).into_iter();
            all.map(|property| (property.name, property.value)).collect::<Vec<_>>()
        };
        let number = |name: &str, number| (name.to_string(), Value::U64(number));
        let limits = [
            number("MemoryLimit", u64::MAX),
            number("CPUQuotaPeriodUSec", 10_000),
            number("CPUQuotaPerSecUSec", 500_000),
            number("IOWeight", 300),
        ];
        assert_eq!(names(&plan), limits);
        // v1 has a file for each, of which one may stay as it is.
        let present = Present { quota: Some(7000), period: Some(20_000), ..Present::default() };
        for (file, value, expected) in [
            ("cpu.cfs_quota_us", "10000", [20_000, 500_000]),
            ("cpu.cfs_quota_us", "-1", [20_000, u64::MAX]),
            ("cpu.cfs_period_us", "10000", [10_000, 700_000]),
        ] {
            let one = CgroupPlan { writes: vec![write(file, value)], ..CgroupPlan::default() };
            let values: Vec<_> = changed(&one, &present).into_iter().map(|property| property.value).collect();
            assert_eq!(values, expected.map(Value::U64), "{file} {value}");
        }
        plan.devices = Some(DeviceRules::default());
        let all: Vec<_> = names(&plan).into_iter().map(|(name, _)| name).collect();
        assert_eq!(all[4..], ["DeviceAllow", "DevicePolicy", "DeviceAllow"]);
    }

    /// [Q9] Rounded up to whole 10 ms.
    #[test]
    fn quota_per_second() {
        for (quota, period, expected) in [
            (50_000, 100_000, 500_000),
            (33_333, 100_000, 340_000),
            (1, 1_000_000, 10_000),
            (0, 1, u64::MAX),
            (i64::MAX, 1, u64::MAX),
        ] {
            assert_eq!(per_second(quota, period), expected, "{quota}/{period}");
        }
    }

    #[test]
    fn masks() {
        assert_eq!(mask("0,8-9"), Some(vec![1, 3]));
        assert_eq!(mask("15"), Some(vec![0, 128]));
        for text in ["x", "3-1", "0-99999999", "1:2"] {
            assert_eq!(mask(text), None, "{text}");
        }
    }
}
