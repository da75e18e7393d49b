//! Who owns the container's cgroup (config-linux.md, "Cgroup ownership"; features.md C14).

use std::path::Path;

use oci_spec::runtime::{Mount, Spec};

use crate::cgroups::Layout;
use crate::namespaces::NamespacePlan;
use crate::rootfs::paths::normalize;

/// The uid on the host that the cgroup is given to: that of the container's user, if the container makes a cgroup
/// namespace on cgroup v2 and mounts its cgroup writable. `None`: it stays the runtime's.
pub fn of(spec: &Spec, namespaces: &NamespacePlan, layout: &Layout) -> Option<u32> {
    if !matches!(layout, Layout::V2 { .. }) || !namespaces.new_cgroup {
        return None;
    }
    if !spec.mounts().iter().flatten().any(is_writable_cgroup) {
        return None;
    }
    let uid = spec.process().as_ref()?.user().uid();
    let maps = namespaces.id_maps.as_ref().or(namespaces.expected_maps.as_ref());
    match maps {
        Some(maps) => host_id(&maps.uid, uid),
        // A joined user namespace whose mapping config.json does not tell.
        None if namespaces.join_user.is_some() => None,
        None => Some(uid),
    }
}

/// The three conditions are the specification's.
fn is_writable_cgroup(mount: &Mount) -> bool {
    mount.source().as_deref() == Some(Path::new("cgroup"))
        && normalize(mount.destination()) == "sys/fs/cgroup"
        && !mount.options().iter().flatten().any(|option| option == "ro")
}

/// The id outside by lines of `inside outside count`, as uid_map has them (user_namespaces(7)).
fn host_id(lines: &str, id: u32) -> Option<u32> {
    lines.lines().find_map(|line| {
        let mut numbers = line.split_ascii_whitespace().map(str::parse::<u32>);
        let (inside, outside, count) = (numbers.next()?.ok()?, numbers.next()?.ok()?, numbers.next()?.ok()?);
        let offset = id.checked_sub(inside).filter(|offset| *offset < count)?;
        outside.checked_add(offset)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::rootless::Caller;
    use serde_json::{Value, json};

    fn owner(namespaces: Value, options: Value, uid: u32, v2: bool) -> Option<u32> {
        let map = json!([{"containerID": 0, "hostID": 100_000, "size": 10}]);
        let spec: Spec = serde_json::from_value(json!({
            "process": {"user": {"uid": uid, "gid": 0}, "args": ["x"], "cwd": "/"},
            "mounts": [{"destination": "/sys/fs/cgroup/", "type": "cgroup", "source": "cgroup", "options": options}],
            "linux": {"namespaces": namespaces, "uidMappings": map, "gidMappings": map},
        }))
        .unwrap();
        let caller = Caller { privileged: true, ..Caller::default() };
        let namespaces = crate::plan::namespaces::plan(&spec, &caller).unwrap();
        let layout = match v2 {
            true => Layout::V2 { mount: "/sys/fs/cgroup".into() },
            false => Layout::V1 { hierarchies: vec![], unified: None },
        };
        of(&spec, &namespaces, &layout)
    }

    /// [C14] Each condition of the specification, and the user's id on the host.
    #[test]
    fn all_conditions_together() {
        let cgroup = json!([{"type": "cgroup"}]);
        let both = json!([{"type": "cgroup"}, {"type": "user"}]);
        let rw = || json!(["nosuid", "rw"]);
        assert_eq!(owner(both.clone(), rw(), 3, true), Some(100_003));
        assert_eq!(owner(both.clone(), rw(), 10, true), None, "not mapped");
        assert_eq!(owner(cgroup.clone(), rw(), 3, true), Some(3));
        assert_eq!(owner(both.clone(), rw(), 3, false), None, "cgroup v1");
        assert_eq!(owner(both, json!(["ro"]), 3, true), None, "read-only");
        assert_eq!(owner(json!([{"type": "user"}]), rw(), 3, true), None, "no cgroup namespace");
        assert_eq!(owner(json!([{"type": "cgroup", "path": "/proc/1/ns/cgroup"}]), rw(), 3, true), None);
    }

    /// [C14] A joined user namespace: by the mapping that config.json has for it.
    #[test]
    fn joined_user_namespace() {
        let joined = json!([{"type": "cgroup"}, {"type": "user", "path": "/proc/1/ns/user"}]);
        assert_eq!(owner(joined, json!([]), 1, true), Some(100_001));
    }

    #[test]
    fn ranges() {
        let lines = "0 1000 1\n1 100000 65536\n";
        assert_eq!(host_id(lines, 0), Some(1000));
        assert_eq!(host_id(lines, 5), Some(100_004));
        assert_eq!(host_id(lines, 65_537), None);
    }
}
