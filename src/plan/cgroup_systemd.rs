//! What systemd is asked for: the unit's name, its place in the tree, what makes it a unit (features.md C4, C5, H20);
//! its limits are in `cgroup_properties`.

use std::collections::HashMap;
use std::hash::BuildHasher;
use std::path::{Path, PathBuf};

use super::gvariant;
use crate::cgroups::systemd::{Manager, Property, Unit, Value};
use crate::cgroups::{CgroupPlan, Host, Layout, PlannedDir, ScopePlan};
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
    Ok((ScopePlan { unit, is_slice, subgroup: None, properties }, directories(&manager.cgroup, &path, host)))
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
