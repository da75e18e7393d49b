//! Rules of `linux.netDevices` (config-linux.md, "Network Devices").

use std::collections::BTreeMap;

use oci_spec::runtime::{Linux, LinuxNamespaceType, Spec};

use super::{Faults, has_namespace};

pub(super) fn check(spec: &Spec, linux: &Linux, faults: &mut Faults) {
    let Some(devices) = linux.net_devices().as_ref().filter(|devices| !devices.is_empty()) else { return };
    if !has_namespace(spec, LinuxNamespaceType::Network) {
        faults.add("linux.netDevices", "unable to move network devices without a NET namespace");
    }
    let mut wanted = BTreeMap::new();
    // In an order, so that the same config always has the same faults.
    for (name, device) in devices.iter().collect::<BTreeMap<_, _>>() {
        let path = format!("linux.netDevices[{name:?}]");
        if !is_name(name) {
            faults.add(&path, format!("invalid network device name {name:?}"));
        }
        let new_name = device.name().as_ref().filter(|name| !name.is_empty());
        let path = if new_name.is_some() { format!("{path}.name") } else { path };
        if let Some(new_name) = new_name
            && !(is_name(new_name) && is_template(new_name).is_some())
        {
            faults.add(path, format!("invalid network device name {new_name:?}"));
            continue;
        }
        let target = new_name.unwrap_or(name);
        if is_template(target) == Some(true) && new_name.is_some() {
            continue;
        }
        if let Some(other) = wanted.insert(target, name) {
            faults.add(path, format!("{target:?} is the name of {other:?} in the container already"));
        }
    }
}

/// What the kernel takes for a name (net/core/dev.c, `dev_valid_name`).
fn is_name(name: &str) -> bool {
    // The kernel's isspace() counts the byte 0xa0, as in Latin-1.
    let bad = |byte: u8| matches!(byte, 0 | b'/' | b':' | b' ' | 9..=13 | 0xa0);
    !name.is_empty() && name.len() < 16 && name != "." && name != ".." && !name.bytes().any(bad)
}

/// Whether the name has the one `%d` for which the kernel puts a number; None for any other `%`.
fn is_template(name: &str) -> Option<bool> {
    match name.split_once('%') {
        None => Some(false),
        Some((_, rest)) => (rest.starts_with('d') && !rest.contains('%')).then_some(true),
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{faults_with, one_fault};
    use super::{is_name, is_template};
    use serde_json::{Value, json};

    fn devices(devices: Value) -> Value {
        let namespaces = json!([{"type": "mount"}, {"type": "network"}]);
        json!({"linux": {"namespaces": namespaces, "netDevices": devices}})
    }

    /// [T10]
    #[test]
    fn a_network_namespace_is_needed() {
        let text = "linux.netDevices: unable to move network devices without a NET namespace";
        one_fault(json!({"linux": {"netDevices": {"eth9": {}}}}), text);
        assert!(faults_with(json!({"linux": {"netDevices": {}}})).is_empty());
        assert!(faults_with(devices(json!({"eth9": {}, "eth1": {"name": "net0"}}))).is_empty());
    }

    /// [T10]
    #[test]
    fn names_are_the_kernels() {
        for bad in ["", ".", "..", "a/b", "a:1", "a b", "a\tb", "a\0", "sixteen-bytes-xx", "\u{a0}"] {
            assert!(!is_name(bad), "{bad:?}");
        }
        for good in ["eth0", "fifteen-bytes-x", "...", "a%b", "\u{fc}"] {
            assert!(is_name(good), "{good:?}");
        }
        one_fault(devices(json!({"a/b": {}})), "linux.netDevices[\"a/b\"]: invalid network device name");
        one_fault(devices(json!({"eth9": {"name": "a:b"}})), "linux.netDevices[\"eth9\"].name: invalid");
    }

    /// [T10]
    #[test]
    fn templates_have_one_number() {
        assert_eq!(is_template("eth0"), Some(false));
        assert_eq!(is_template("eth%d"), Some(true));
        for bad in ["eth%", "eth%s", "%d%d", "%%d"] {
            assert_eq!(is_template(bad), None, "{bad}");
        }
        one_fault(devices(json!({"eth9": {"name": "eth%s"}})), "invalid network device name");
        assert!(faults_with(devices(json!({"a": {"name": "e%d"}, "b": {"name": "e%d"}}))).is_empty());
    }

    /// [T10]
    #[test]
    fn no_name_twice() {
        one_fault(devices(json!({"a": {"name": "x"}, "b": {"name": "x"}})), "linux.netDevices[\"b\"].name");
        one_fault(
            devices(json!({"a": {"name": "b"}, "b": {}})),
            "linux.netDevices[\"b\"]: \"b\" is the name of",
        );
        assert!(faults_with(devices(json!({"a": {"name": "b"}, "b": {"name": "a"}}))).is_empty());
    }
}
