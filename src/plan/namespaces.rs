//! Which namespaces are made, which are joined, and what is written about them.

use std::fmt::Write as _;

use oci_spec::runtime::{Linux, LinuxIdMapping, LinuxNamespaceType, Spec};

use super::rootless::Caller;
use crate::error::Result;
use crate::namespaces::net_devices::NetDevice;
use crate::namespaces::{IdMaps, Join, NamespacePlan, flag};
use crate::spec::validate::join_path;
use crate::sys::clone::CLONE_NEWTIME;

/// Decides what happens to every namespace of the spec.
///
/// # Errors
/// A path with a NUL byte.
pub fn plan(spec: &Spec, caller: &Caller) -> Result<NamespacePlan> {
    let mut plan = NamespacePlan {
        runtime_confined: caller.confined,
        runtime_is_root: caller.privileged && !caller.confined,
        ..NamespacePlan::default()
    };
    let Some(linux) = spec.linux() else { return Ok(plan) };
    for (index, namespace) in linux.namespaces().iter().flatten().enumerate() {
        let kind = namespace.typ();
        match join_path(namespace) {
            Some(path) => {
                let path = super::cstring(path.as_os_str().as_encoded_bytes())?;
                if kind == LinuxNamespaceType::User && has_maps(linux) {
                    plan.expected_maps = Some(id_maps(linux));
                }
                join_by_path(&mut plan, Join { kind, path, index });
            }
            None => make(&mut plan, kind, linux, caller),
        }
    }
    // The mount namespace last: the paths of the others are the host's (N6).
    plan.join.sort_by_key(|join| join.kind == LinuxNamespaceType::Mount);
    Ok(plan)
}

fn join_by_path(plan: &mut NamespacePlan, join: Join) {
    match join.kind {
        LinuxNamespaceType::Pid => plan.join_pid = Some(join),
        LinuxNamespaceType::User => plan.join_user = Some(join),
        _ => plan.join.push(join),
    }
}

fn make(plan: &mut NamespacePlan, kind: LinuxNamespaceType, linux: &Linux, caller: &Caller) {
    match kind {
        LinuxNamespaceType::Cgroup => plan.new_cgroup = true,
        LinuxNamespaceType::Time => match time_offsets(linux) {
            None => plan.clone_flags |= CLONE_NEWTIME,
            offsets => plan.time_offsets = offsets,
        },
        LinuxNamespaceType::User => {
            plan.clone_flags |= flag(kind);
            let mut maps = id_maps(linux);
            caller.decide(&mut maps);
            plan.id_maps = Some(maps);
        }
        _ => plan.clone_flags |= flag(kind),
    }
}

fn has_maps(linux: &Linux) -> bool {
    let some = |list: &Option<Vec<LinuxIdMapping>>| list.as_ref().is_some_and(|list| !list.is_empty());
    some(linux.uid_mappings()) || some(linux.gid_mappings())
}

fn id_maps(linux: &Linux) -> IdMaps {
    IdMaps {
        uid: map_lines(linux.uid_mappings().as_deref().unwrap_or_default()),
        gid: map_lines(linux.gid_mappings().as_deref().unwrap_or_default()),
        ..IdMaps::default()
    }
}

/// Lines of `uid_map` or `gid_map`.
pub(super) fn map_lines(mappings: &[LinuxIdMapping]) -> String {
    let mut lines = String::new();
    for mapping in mappings {
        let _ = writeln!(lines, "{} {} {}", mapping.container_id(), mapping.host_id(), mapping.size());
    }
    lines
}

/// Lines of `/proc/self/timens_offsets` (time_namespaces(7)), or None without an offset.
fn time_offsets(linux: &Linux) -> Option<String> {
    let offsets = linux.time_offsets().as_ref().filter(|offsets| !offsets.is_empty())?;
    let mut lines = String::new();
    for clock in ["monotonic", "boottime"] {
        if let Some(offset) = offsets.get(clock) {
            let (secs, nanosecs) = (offset.secs().unwrap_or(0), offset.nanosecs().unwrap_or(0));
            let _ = writeln!(lines, "{clock} {secs} {nanosecs}");
        }
    }
    Some(lines)
}

/// The network devices that move, by their names, since config.json has them without an order.
pub fn net_devices(spec: &Spec) -> Vec<NetDevice> {
    let given = spec.linux().as_ref().and_then(|linux| linux.net_devices().as_ref());
    let mut list: Vec<_> = given
        .into_iter()
        .flatten()
        .map(|(name, device)| NetDevice {
            name: name.clone(),
            new_name: device.name().clone().filter(|name| !name.is_empty()),
        })
        .collect();
    list.sort_by(|a, b| a.name.cmp(&b.name));
    list
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan_of(linux: serde_json::Value) -> NamespacePlan {
        plan(&serde_json::from_value(serde_json::json!({ "linux": linux })).unwrap(), &Caller::ROOT).unwrap()
    }

    /// [N1] [N4] [N14]
    #[test]
    fn every_type_is_made() {
        let types = ["mount", "pid", "network", "ipc", "uts", "user", "cgroup", "time"];
        let list: Vec<_> = types.iter().map(|name| serde_json::json!({ "type": name })).collect();
        let map = serde_json::json!([{"containerID": 0, "hostID": 1000, "size": 2}]);
        let plan = plan_of(serde_json::json!({"namespaces": list, "uidMappings": map, "gidMappings": map}));
        let all = libc::CLONE_NEWNS
            | libc::CLONE_NEWPID
            | libc::CLONE_NEWNET
            | libc::CLONE_NEWIPC
            | libc::CLONE_NEWUTS
            | libc::CLONE_NEWUSER;
        assert_eq!(plan.clone_flags, u64::from(all.unsigned_abs()) | CLONE_NEWTIME);
        assert!(plan.new_cgroup && plan.in_user_namespace());
        assert_eq!(plan.id_maps.unwrap().uid, "0 1000 2\n");
        assert_eq!(plan_of(serde_json::json!({})).clone_flags, 0);
    }

    /// [N5] [N6] [N7]
    #[test]
    fn joins_put_the_mount_namespace_last_and_pid_and_user_apart() {
        let list = serde_json::json!([{"type": "mount", "path": "/m"}, {"type": "pid", "path": "/p"},
            {"type": "network", "path": "/n"}, {"type": "user", "path": "/u"}]);
        let plan = plan_of(serde_json::json!({ "namespaces": list }));
        let order: Vec<_> = plan.join.iter().map(|join| join.path.to_str().unwrap()).collect();
        assert_eq!(order, ["/n", "/m"]);
        assert_eq!(plan.join_pid.unwrap().index, 1);
        assert_eq!(plan.join_user.unwrap().path.to_str().unwrap(), "/u");
    }

    /// [N15]
    #[test]
    fn time_offsets_are_lines() {
        let linux = serde_json::json!({"namespaces": [{"type": "time"}],
            "timeOffsets": {"boottime": {"secs": 86400, "nanosecs": 5}, "monotonic": {"secs": -3}}});
        let plan = plan_of(linux);
        assert_eq!(plan.clone_flags, 0);
        assert_eq!(plan.time_offsets.unwrap(), "monotonic -3 0\nboottime 86400 5\n");
    }

    /// [T10]
    #[test]
    fn net_devices_have_an_order() {
        let linux =
            serde_json::json!({"netDevices": {"eth9": {"name": "net%d"}, "eth1": {"name": ""}, "eth2": {}}});
        let spec = serde_json::from_value(serde_json::json!({ "linux": linux })).unwrap();
        let list: Vec<_> =
            net_devices(&spec).into_iter().map(|device| (device.name, device.new_name)).collect();
        let names = ["eth1", "eth2", "eth9"].map(String::from);
        let new_names = [None, None, Some("net%d".to_string())];
        assert_eq!(list, names.into_iter().zip(new_names).collect::<Vec<_>>());
    }
}
