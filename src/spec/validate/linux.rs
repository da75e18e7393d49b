//! Rules of the `linux` object (config-linux.md).

use oci_spec::runtime::{Linux, LinuxNamespaceType, Spec};

use super::{Faults, has_namespace};

pub(super) fn check(spec: &Spec, faults: &mut Faults) {
    let Some(linux) = spec.linux() else { return };
    namespaces(linux, faults);
    user_namespace(spec, linux, faults);
    time_offsets(spec, linux, faults);
    propagation(linux, faults);
    hidden_paths(spec, linux, faults);
    sysctl(spec, linux, faults);
    devices(linux, faults);
    super::net_devices::check(spec, linux, faults);
    super::resctrl::check(linux, faults);
    mount_label(linux, faults);
}

fn namespaces(linux: &Linux, faults: &mut Faults) {
    let list = linux.namespaces().as_deref().unwrap_or_default();
    for (index, namespace) in list.iter().enumerate() {
        let path = format!("linux.namespaces[{index}]");
        if list[..index].iter().any(|earlier| earlier.typ() == namespace.typ()) {
            let path = namespace.path().as_ref().map(|path| path.display().to_string()).unwrap_or_default();
            let text = format!(
                "malformed spec file: duplicated ns {{{:?} {path:?}}}",
                crate::namespaces::name(namespace.typ())
            );
            faults.add(format!("linux.namespaces[{index}]"), text);
        }
        if let Some(file) = super::join_path(namespace)
            && !file.is_absolute()
        {
            let kind = crate::namespaces::name(namespace.typ());
            let text = format!("{kind} namespace: {} is not an absolute path", file.display());
            faults.add(format!("{path}.path"), text);
        }
    }
}

fn user_namespace(spec: &Spec, linux: &Linux, faults: &mut Faults) {
    let entry = super::namespaces(spec).iter().find(|ns| ns.typ() == LinuxNamespaceType::User);
    let uids = linux.uid_mappings().as_deref().unwrap_or_default();
    let gids = linux.gid_mappings().as_deref().unwrap_or_default();
    match entry {
        None if !(uids.is_empty() && gids.is_empty()) => faults.add(
            "linux.uidMappings",
            "user namespace mappings specified, but user namespace isn't enabled in the config",
        ),
        Some(entry) if super::join_path(entry).is_none() && (uids.is_empty() || gids.is_empty()) => faults
            .add(
                "linux.uidMappings",
                "user namespaces enabled, but no namespace path to join nor mappings to apply specified",
            ),
        _ => {}
    }
    for (name, list) in [("uidMappings", uids), ("gidMappings", gids)] {
        if list.len() > 340 {
            faults.add(format!("linux.{name}"), format!("{} lines, the kernel takes 340", list.len()));
        }
        for (index, mapping) in list.iter().enumerate() {
            if mapping.size() == 0 {
                faults.add(format!("linux.{name}[{index}].size"), "must not be 0");
            }
        }
    }
}

fn time_offsets(spec: &Spec, linux: &Linux, faults: &mut Faults) {
    let Some(offsets) = linux.time_offsets().as_ref().filter(|offsets| !offsets.is_empty()) else { return };
    match super::namespaces(spec).iter().find(|ns| ns.typ() == LinuxNamespaceType::Time) {
        None => faults.add("linux.timeOffsets", "time namespace offsets specified, but time namespace isn't enabled in the config"),
        Some(entry) if super::join_path(entry).is_some() => faults.add(
            "linux.timeOffsets",
            "time namespace enabled, but both namespace path and time offsets specified - you may only provide one",
        ),
        Some(_) => {}
    }
    for (clock, offset) in offsets {
        if clock != "monotonic" && clock != "boottime" {
            faults.add(format!("linux.timeOffsets.{clock}"), "is not \"monotonic\" or \"boottime\"");
        }
        if offset.nanosecs().unwrap_or(0) > 999_999_999 {
            faults.add(format!("linux.timeOffsets.{clock}.nanosecs"), "is above 999999999");
        }
    }
}

fn propagation(linux: &Linux, faults: &mut Faults) {
    let Some(value) = linux.rootfs_propagation().as_deref() else { return };
    if crate::rootfs::propagation_flags(value).is_none() {
        faults.add("linux.rootfsPropagation", format!("rootfsPropagation={value} is not supported"));
    }
}

fn hidden_paths(spec: &Spec, linux: &Linux, faults: &mut Faults) {
    for (name, list) in [("maskedPaths", linux.masked_paths()), ("readonlyPaths", linux.readonly_paths())] {
        let list = list.as_deref().unwrap_or_default();
        if !list.is_empty() && !has_namespace(spec, LinuxNamespaceType::Mount) {
            let text = "unable to restrict sys entries without a private MNT namespace";
            faults.add(format!("linux.{name}"), text);
        }
        for (index, path) in list.iter().enumerate() {
            if !path.starts_with('/') || path.contains('\0') {
                faults.add(format!("linux.{name}[{index}]"), format!("{path:?} is not an absolute path"));
            }
        }
    }
}

/// Which namespace a kernel parameter belongs to (`a/b/c` form), if the container may own it.
fn sysctl_namespace(key: &str) -> Option<LinuxNamespaceType> {
    const IPC: &[&str] = &[
        "kernel/msgmax",
        "kernel/msgmnb",
        "kernel/msgmni",
        "kernel/sem",
        "kernel/shmall",
        "kernel/shmmax",
        "kernel/shmmni",
        "kernel/shm_rmid_forced",
    ];
    if key.starts_with("net/") {
        Some(LinuxNamespaceType::Network)
    } else if IPC.contains(&key) || key.starts_with("fs/mqueue/") {
        Some(LinuxNamespaceType::Ipc)
    } else if key == "kernel/domainname" {
        Some(LinuxNamespaceType::Uts)
    } else if key.starts_with("user/") {
        Some(LinuxNamespaceType::User)
    } else {
        None
    }
}

/// `a.b.c` and `a/b/c` name the same parameter; whichever separator comes first is the one that separates
/// (sysctl.d(5)), so that an interface name may hold a dot: `net/ipv4/conf/eth0.1/forwarding`.
pub(crate) fn sysctl_path(key: &str) -> String {
    match key.find(['.', '/']) {
        Some(at) if key.as_bytes()[at] == b'.' => key
            .chars()
            .map(|c| {
                if c == '.' {
                    '/'
                } else if c == '/' {
                    '.'
                } else {
                    c
                }
            })
            .collect(),
        _ => key.to_string(),
    }
}

fn sysctl(spec: &Spec, linux: &Linux, faults: &mut Faults) {
    let Some(parameters) = linux.sysctl() else { return };
    let mut keys: Vec<&String> = parameters.keys().collect();
    keys.sort();
    for key in keys {
        let path = format!("linux.sysctl[{key:?}]");
        let file = sysctl_path(key);
        if file.split('/').any(|part| part.is_empty() || part == "." || part == "..") || file.contains('\0') {
            faults.add(path, format!("sysctl {key:?} is not a name of a kernel parameter"));
            continue;
        }
        if file == "kernel/hostname" {
            let text =
                format!("sysctl {key:?} is not allowed as it conflicts with the OCI \"hostname\" field");
            faults.add(path, text);
            continue;
        }
        match sysctl_namespace(&file) {
            None => faults.add(path, format!("sysctl {key:?} is not in a separate kernel namespace")),
            Some(kind) if has_namespace(spec, kind) => {}
            Some(LinuxNamespaceType::Network) => {
                faults.add(path, format!("sysctl {key:?} not allowed in host network namespace"));
            }
            Some(_) => {
                faults.add(
                    path,
                    format!(
                        "sysctl {key:?} is not allowed in the hosts {} namespace",
                        sysctl_namespace(&file).map_or("", crate::namespaces::name)
                    ),
                );
            }
        }
    }
}

fn devices(linux: &Linux, faults: &mut Faults) {
    use oci_spec::runtime::LinuxDeviceType::{A, P};
    for (index, device) in linux.devices().as_deref().unwrap_or_default().iter().enumerate() {
        let path = format!("linux.devices[{index}]");
        if !device.path().is_absolute() {
            faults
                .add(format!("{path}.path"), format!("{} is not an absolute path", device.path().display()));
        }
        if device.typ() == A {
            faults.add(format!("{path}.type"), "\"a\" is for cgroup rules; a device is c, u, b or p");
        }
        for (name, number, most) in [("major", device.major(), 4095), ("minor", device.minor(), 1_048_575)] {
            if device.typ() != P && !(0..=most).contains(&number) {
                // mknod(2) would make the node of another device: it looks at the lower bits only.
                faults.add(format!("{path}.{name}"), format!("{number} is not 0 to {most}"));
            }
        }
    }
}

/// A label is put in quotes, as mount data.
fn mount_label(linux: &Linux, faults: &mut Faults) {
    if linux.mount_label().as_ref().is_some_and(|label| label.contains(['"', '\0'])) {
        faults.add("linux.mountLabel", "must not hold a quotation mark or a NUL byte");
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{faults_with, one_fault};
    use super::sysctl_path;
    use serde_json::json;

    fn linux(patch: serde_json::Value) -> serde_json::Value {
        json!({ "linux": patch })
    }

    /// [N3] [N5]
    #[test]
    fn namespaces_are_unique_and_absolute() {
        let twice = json!({"namespaces": [{"type": "mount"}, {"type": "pid"}, {"type": "pid"}]});
        one_fault(linux(twice), "malformed spec file: duplicated ns {\"pid\" \"\"}");
        one_fault(
            linux(json!({"namespaces": [{"type": "mount"}, {"type": "pid", "path": "x"}]})),
            "absolute",
        );
    }

    /// [N8] [N9] [N10]
    #[test]
    fn user_namespaces_need_mappings() {
        let namespaces = json!([{"type": "mount"}, {"type": "user"}]);
        one_fault(linux(json!({ "namespaces": namespaces })), "no namespace path to join nor mappings");
        let map = json!([{"containerID": 0, "hostID": 0, "size": 1}]);
        one_fault(linux(json!({"uidMappings": map, "gidMappings": map})), "isn't enabled in the config");
        let no_path = json!([{"type": "mount"}, {"type": "user", "path": ""}]);
        one_fault(linux(json!({ "namespaces": no_path })), "no namespace path to join nor mappings");
        let empty = json!([{"containerID": 0, "hostID": 0, "size": 0}]);
        one_fault(
            linux(json!({"namespaces": namespaces, "uidMappings": empty, "gidMappings": map})),
            "uidMappings[0].size",
        );
    }

    /// [N15]
    #[test]
    fn time_offsets_need_a_new_time_namespace() {
        let offsets = json!({"monotonic": {"secs": 5}});
        one_fault(linux(json!({ "timeOffsets": offsets })), "isn't enabled");
        let joined = json!([{"type": "mount"}, {"type": "time", "path": "/x"}]);
        one_fault(
            linux(json!({"namespaces": joined, "timeOffsets": offsets})),
            "both namespace path and time offsets",
        );
        let new = json!([{"type": "mount"}, {"type": "time", "path": ""}]);
        one_fault(linux(json!({"namespaces": new, "timeOffsets": {"x": {"secs": 1}}})), "timeOffsets.x");
        assert!(faults_with(linux(json!({"namespaces": new, "timeOffsets": offsets}))).is_empty());
    }

    /// [R9] [R10] [R12] [E16]
    #[test]
    fn propagation_and_hidden_paths() {
        one_fault(linux(json!({"rootfsPropagation": "bogus"})), "rootfsPropagation=bogus is not supported");
        one_fault(linux(json!({"maskedPaths": ["proc/kcore"]})), "maskedPaths[0]");
        let bare = json!({"linux": {"namespaces": [], "readonlyPaths": ["/proc/sys"]}, "mounts": []});
        one_fault(bare, "without a private MNT namespace");
    }

    /// [T11] [T12] [T13] [R16]
    #[test]
    fn sysctls_belong_to_a_namespace_of_the_container() {
        let key = |name: &str| linux(json!({"sysctl": {name: "1"}}));
        one_fault(key("vm.swappiness"), "sysctl \"vm.swappiness\" is not in a separate kernel namespace");
        one_fault(key("net.core.somaxconn"), "not allowed in host network namespace");
        one_fault(key("kernel.hostname"), "conflicts with the OCI \"hostname\" field");
        one_fault(key("kernel/shm_rmid_forced/../../kernel/core_pattern"), "not a name");
        one_fault(key("user.max_user_namespaces"), "hosts user namespace");
        assert!(faults_with(key("kernel.shm_rmid_forced")).is_empty());
        assert!(faults_with(key("fs.mqueue.msg_max")).is_empty());
        assert_eq!(sysctl_path("net.ipv4.ip_forward"), "net/ipv4/ip_forward");
        assert_eq!(sysctl_path("net/ipv4/conf/eth0.1/forwarding"), "net/ipv4/conf/eth0.1/forwarding");
        assert_eq!(sysctl_path("net.ipv4.conf.eth0/1.forwarding"), "net/ipv4/conf/eth0.1/forwarding");
    }

    /// [M44]
    #[test]
    fn labels_have_no_quotes() {
        one_fault(linux(json!({"mountLabel": "u:r:t:s0\",size=1"})), "linux.mountLabel: must not hold");
        assert!(faults_with(linux(json!({"mountLabel": "u:r:t:s0:c1,c2"}))).is_empty());
    }

    /// [D1]
    #[test]
    fn devices() {
        one_fault(
            linux(json!({"devices": [{"path": "x", "type": "c", "major": 1, "minor": 3}]})),
            "absolute",
        );
        one_fault(linux(json!({"devices": [{"path": "/x", "type": "a", "major": 1, "minor": 3}]})), "type");
        let numbers = |major: i64, minor: i64| {
            linux(json!({"devices": [{"path": "/x", "type": "c", "major": major, "minor": minor}]}))
        };
        one_fault(numbers(4097, 1), "linux.devices[0].major: 4097 is not 0 to 4095");
        one_fault(numbers(-1, 1), "linux.devices[0].major");
        one_fault(numbers(1, 1 << 20), "linux.devices[0].minor: 1048576 is not 0 to 1048575");
        assert!(faults_with(numbers(4095, 1_048_575)).is_empty());
    }
}
