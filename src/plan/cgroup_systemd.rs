//! What systemd is asked for: the unit's name, its place in the tree, its properties (features.md C4, C5, H20).

use std::collections::HashMap;
use std::hash::BuildHasher;
use std::path::{Path, PathBuf};

use oci_spec::runtime::LinuxResources;

use super::gvariant;
use crate::cgroups::systemd::{Manager, Property, Unit, Value};
use crate::cgroups::{CgroupPlan, DeviceRules, Host, Layout, PlannedDir, ScopePlan};
use crate::error::{Error, Kind, Result};

/// The unit and its cgroups, for a `linux.cgroupsPath` of the form `slice:prefix:name`. Without one it is that of runc,
/// `:runc:ID`.
///
/// # Errors
/// A path of another form, and names that systemd has no unit for.
pub fn place(
    cgroups_path: Option<&Path>,
    id: &str,
    host: &Host,
    manager: &Manager,
) -> Result<(ScopePlan, Vec<PlannedDir>)> {
    let given =
        cgroups_path.map(|path| path.to_string_lossy()).unwrap_or_else(|| format!(":runc:{id}").into());
    let parts: Vec<_> = given.split(':').collect();
    let [slice, prefix, name] = parts[..] else {
        let text = format!(
            "expected cgroupsPath to be of format \"slice:prefix:name\" for systemd cgroups, got {given:?} instead"
        );
        return Err(Error::new(Kind::Config, text));
    };
    let slice = match (slice, manager.user) {
        ("", true) => "user.slice",
        ("", false) => "system.slice",
        (slice, _) => slice,
    };
    let wrong = |text: String| Error::config("linux.cgroupsPath", text);
    let is_slice = name.ends_with(".slice");
    let unit = match (is_slice, prefix) {
        (true, _) => name.to_string(),
        (false, "") => format!("{name}.scope"),
        (false, prefix) => format!("{prefix}-{name}.scope"),
    };
    if name.is_empty() || !is_unit_name(&unit) {
        return Err(wrong(format!("{unit:?} can't be the name of a systemd unit")));
    }
    let parent = expand_slice(slice).ok_or_else(|| wrong(format!("invalid slice name: {slice}")))?;
    // A slice's own name says where it is.
    let path = match is_slice {
        true => expand_slice(&unit).ok_or_else(|| wrong(format!("invalid slice name: {unit}")))?,
        false => parent.join(&unit),
    };
    let mut properties = vec![Property::new("Description", format!("container {id}").as_str().into())];
    if is_slice {
        properties.push(Property::new("Wants", Value::texts(&[slice])));
    } else {
        properties.push(Property::new("Slice", slice.into()));
        properties.push(Property::new("Delegate", Value::Bool(true)));
    }
    let io = if matches!(host.layout, Layout::V2 { .. }) { "IOAccounting" } else { "BlockIOAccounting" };
    // Always: it makes systemd use the controllers, which are joined at the start or not at all.
    for accounting in ["MemoryAccounting", "CPUAccounting", io, "TasksAccounting"] {
        properties.push(Property::limit(accounting, Value::Bool(true)));
    }
    properties.push(Property::new("DefaultDependencies", Value::Bool(false)));
    let unit = Unit { name: unit, bus: manager.bus.clone() };
    Ok((ScopePlan { unit, is_slice, properties }, directories(&manager.cgroup, &path, host)))
}

fn directories(manager: &Path, path: &Path, host: &Host) -> Vec<PlannedDir> {
    let below = manager.strip_prefix("/").unwrap_or(manager).join(path);
    let at = |controllers: &str, mount: &Path| PlannedDir {
        controllers: controllers.into(),
        path: mount.join(&below),
        mount_len: mount.as_os_str().len(),
    };
    match &host.layout {
        Layout::V1 { hierarchies, unified } => hierarchies
            .iter()
            .map(|hierarchy| at(&hierarchy.controllers, &hierarchy.mount))
            .chain(unified.iter().map(|mount| at("", mount)))
            .collect(),
        Layout::V2 { mount } => vec![at("", mount)],
    }
}

/// systemd.unit(5): letters, digits and `:-_.\@`, 255 at most.
fn is_unit_name(name: &str) -> bool {
    name.len() < 256 && name.chars().all(|c| c.is_ascii_alphanumeric() || ":-_.\\@".contains(c))
}

/// `a-b.slice` is below `a.slice` (systemd.slice(5)); `-.slice` is the root. `None`: no slice has this name.
fn expand_slice(slice: &str) -> Option<PathBuf> {
    let stem = slice.strip_suffix(".slice").filter(|_| is_unit_name(slice))?;
    let mut path = PathBuf::new();
    if stem == "-" {
        return Some(path);
    }
    let mut name = String::new();
    for part in stem.split('-') {
        if part.is_empty() {
            return None;
        }
        name.push_str(part);
        path.push(format!("{name}.slice"));
        name.push('-');
    }
    Some(path)
}

/// Adds what the annotations `org.systemd.property.NAME` say, in the order of their names.
///
/// # Errors
/// A name that no property has, or a value that is none.
pub fn annotations<S: BuildHasher>(
    given: Option<&HashMap<String, String, S>>,
    plan: &mut CgroupPlan,
) -> Result<()> {
    const PREFIX: &str = "org.systemd.property.";
    let Some(scope) = &mut plan.scope else { return Ok(()) };
    let mut found: Vec<_> = given
        .into_iter()
        .flatten()
        .filter_map(|(key, value)| Some((key.strip_prefix(PREFIX)?, value)))
        .collect();
    found.sort();
    for (name, text) in found {
        let wrong = |why: String| Error::config(&format!("annotations[\"{PREFIX}{name}\"]"), why);
        let starts = name.starts_with(|c: char| c.is_ascii_uppercase());
        if name.len() < 3 || !starts || !name.chars().all(|c| c.is_ascii_alphabetic()) {
            return Err(wrong("a property's name is three letters at least, the first a capital".into()));
        }
        let value = gvariant::parse(text).map_err(|why| wrong(format!("{text:?}: {why}")))?;
        let stem = name.strip_suffix("Sec").filter(|stem| stem.ends_with(|c: char| c.is_ascii_lowercase()));
        scope.properties.push(match stem {
            Some(stem) => {
                let micros =
                    micros(&value).ok_or_else(|| wrong(format!("{text:?} is no number of seconds")))?;
                Property::new(&format!("{stem}USec"), Value::U64(micros))
            }
            None => Property::new(name, value),
        });
    }
    Ok(())
}

/// Seconds as systemd has them on its bus.
fn micros(seconds: &Value) -> Option<u64> {
    let whole = match seconds {
        Value::Byte(number) => u64::from(*number),
        Value::I16(number) => u64::try_from(*number).ok()?,
        Value::U16(number) => u64::from(*number),
        Value::I32(number) => u64::try_from(*number).ok()?,
        Value::U32(number) => u64::from(*number),
        Value::I64(number) => u64::try_from(*number).ok()?,
        Value::U64(number) => *number,
        Value::Double(number) => {
            let micros = std::time::Duration::try_from_secs_f64(*number).ok()?.as_micros();
            return u64::try_from(micros).ok();
        }
        _ => return None,
    };
    whole.checked_mul(1_000_000)
}

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
    let name = |rule: &crate::cgroups::Rule| {
        let kind = if rule.kind == crate::cgroups::Type::Char { "char" } else { "block" };
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

/// The properties of what `update` writes: merged with what was there, so that both say the same (features.md C16).
pub fn changed(plan: &CgroupPlan) -> Vec<Property> {
    let mut list = List { properties: Vec::new(), v2: true };
    for write in &plan.writes {
        let name = match &*write.file {
            "memory.limit_in_bytes" => "MemoryLimit",
            "cpu.shares" => "CPUShares",
            "blkio.weight" => "BlockIOWeight",
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
    use crate::plan::cgroup::tests::{v1, v2};

    fn manager(user: bool) -> Manager {
        let cgroup = if user { "/user.slice/user-1.slice/user@1.service" } else { "/" };
        Manager { user, bus: Vec::new(), cgroup: cgroup.into() }
    }

    fn placed(path: &str, user: bool) -> (ScopePlan, Vec<PlannedDir>) {
        place(Some(Path::new(path)), "c1", &v2("/"), &manager(user)).unwrap()
    }

    fn value<'p>(properties: &'p [Property], name: &str) -> Option<&'p Value> {
        properties.iter().rfind(|property| property.name == name).map(|property| &property.value)
    }

    /// [C4] Names and places.
    #[test]
    fn units_and_paths() {
        let table = [
            ("a-b.slice:cri:c", false, "cri-c.scope", "a.slice/a-b.slice/cri-c.scope"),
            ("a.slice::c", false, "c.scope", "a.slice/c.scope"),
            (":cri:c", false, "cri-c.scope", "system.slice/cri-c.scope"),
            ("-.slice:cri:c", false, "cri-c.scope", "cri-c.scope"),
            (":x:a-b.slice", false, "a-b.slice", "a.slice/a-b.slice"),
            (":cri:c", true, "cri-c.scope", "user.slice/user-1.slice/user@1.service/user.slice/cri-c.scope"),
        ];
        for (path, user, unit, below) in table {
            let (scope, directories) = placed(path, user);
            assert_eq!(scope.unit.name, unit);
            assert_eq!(directories[0].path, Path::new("/sys/fs/cgroup").join(below));
        }
        let (scope, directories) = place(None, "c1", &v1("/own"), &manager(false)).unwrap();
        assert_eq!(scope.unit.name, "runc-c1.scope");
        assert_eq!(directories.len(), 12);
        assert_eq!(directories[0].path, Path::new("/sys/fs/cgroup/systemd/system.slice/runc-c1.scope"));
    }

    /// [C4]
    #[test]
    fn what_is_no_unit() {
        let error = |path: &str| {
            place(Some(Path::new(path)), "c", &v2("/"), &manager(false)).map(|_| ()).unwrap_err().to_string()
        };
        assert_eq!(
            error("/docker/c1"),
            "expected cgroupsPath to be of format \"slice:prefix:name\" for systemd cgroups, got \"/docker/c1\" \
             instead"
        );
        for slice in ["a--b.slice", "-a.slice", "a", "../x.slice", "a/b.slice", ".slice"] {
            let text = format!("linux.cgroupsPath: invalid slice name: {slice}");
            assert_eq!(error(&format!("{slice}:p:n")), text);
        }
        for path in [":p:", ":p:a/b", ":p:..\\/", ":p:é"] {
            assert!(error(path).contains("can't be the name of a systemd unit"), "{path}");
        }
    }

    /// [C5]
    #[test]
    fn properties() {
        let (scope, _) = placed("a.slice:p:n", false);
        let is = |name: &str| value(&scope.properties, name).cloned();
        assert_eq!(is("Description"), Some("container c1".into()));
        assert_eq!((is("Slice"), is("Delegate")), (Some("a.slice".into()), Some(Value::Bool(true))));
        assert_eq!(is("DefaultDependencies"), Some(Value::Bool(false)));
        for name in ["MemoryAccounting", "CPUAccounting", "IOAccounting", "TasksAccounting"] {
            assert_eq!(is(name), Some(Value::Bool(true)), "{name}");
        }
        let (scope, _) = placed("a.slice:p:n.slice", false);
        assert_eq!(value(&scope.properties, "Wants"), Some(&Value::texts(&["a.slice"])));
        assert_eq!(value(&scope.properties, "Delegate"), None);
    }

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

    /// [H20]
    #[test]
    fn annotated_properties() {
        let add = |name: &str, text: &str| {
            let mut plan = CgroupPlan { scope: Some(placed(":p:n", false).0), ..CgroupPlan::default() };
            let given = HashMap::from([(format!("org.systemd.property.{name}"), text.to_string())]);
            annotations(Some(&given), &mut plan).map(|()| plan.scope.unwrap().properties.pop().unwrap())
        };
        let property = |name: &str, value| Property::new(name, value);
        assert_eq!(add("TimeoutStopSec", "5").unwrap(), property("TimeoutStopUSec", Value::U64(5_000_000)));
        assert_eq!(add("TimeoutStopSec", "0.5").unwrap(), property("TimeoutStopUSec", Value::U64(500_000)));
        assert_eq!(add("TimeoutStopUSec", "uint64 5").unwrap(), property("TimeoutStopUSec", Value::U64(5)));
        assert_eq!(add("CPUQuotaPerSec", "true").unwrap_err().to_string(), {
            "annotations[\"org.systemd.property.CPUQuotaPerSec\"]: \"true\" is no number of seconds"
        });
        assert_eq!(add("After", "['crio.service']").unwrap().value, Value::texts(&["crio.service"]));
        for name in ["ab", "after", "A1b", "After ", ""] {
            assert!(add(name, "true").unwrap_err().to_string().contains("three letters"), "{name}");
        }
        let error = add("After", "crio").unwrap_err().to_string();
        assert!(error.starts_with("annotations[\"org.systemd.property.After\"]: \"crio\": "), "{error}");
        // Without the systemd driver they mean nothing.
        let mut plan = CgroupPlan::default();
        let given = HashMap::from([("org.systemd.property.x".to_string(), "?".to_string())]);
        annotations(Some(&given), &mut plan).unwrap();
    }
}
