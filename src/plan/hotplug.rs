//! Mounts for a container that runs (crun's `mounts add`; features.md X7, W11): planned as those of config.json are, but
//! only what the runtime can make outside of the container.

use std::path::Path;

use oci_spec::runtime::{LinuxNamespaceType, Spec};

use super::{Plan, label, rootfs};
use crate::cgroups::{CgroupPlan, Host, Layout};
use crate::error::{Error, Result};
use crate::rootfs::tree::{MountAction, MountOp, RootfsPlan};
use crate::spec::validate::has_namespace;

/// The mounts of `spec`, which is the container's but for them, as a plan with nothing else in it.
///
/// # Errors
/// A broken rule of the specification; a mount that can only be there from the start. Named by JSON path.
pub fn plan(spec: &Spec, bundle: &Path, selinux: fn() -> bool) -> Result<Plan> {
    crate::spec::validate::check(spec)?;
    let mut warnings = Vec::new();
    let host = Host { layout: Layout::V1 { hierarchies: Vec::new(), unified: None }, own_v2: "/".into() };
    let place = rootfs::Place {
        bundle,
        no_pivot: false,
        host: &host,
        cgroup: &CgroupPlan::default(),
        rootless: false,
        extra: None,
        label: label::of_mounts(spec, selinux, &mut warnings)?,
        detached: true,
    };
    let mounts = rootfs::plan(spec, &place, &mut warnings)?.mounts;
    let mapped = has_namespace(spec, LinuxNamespaceType::User);
    for (index, op) in mounts.iter().enumerate() {
        if let Some(why) = refused(op, mapped) {
            return Err(Error::config(&format!("mounts[{index}]"), why));
        }
    }
    Ok(Plan { rootfs: RootfsPlan { mounts, ..RootfsPlan::default() }, warnings, ..Plan::default() })
}

/// Why it can't be added.
fn refused(op: &MountOp, mapped: bool) -> Option<&'static str> {
    match &op.action {
        _ if op.id_map.is_some() => Some("id-mapped mounts can't be added to a running container"),
        MountAction::Bind { covers_proc: true, .. } => Some("/proc of a running container can't be covered"),
        MountAction::Bind { .. } => None,
        MountAction::Fresh { plain_target: true, .. } => {
            Some("procfs and sysfs show the namespaces of their maker: they can't be added")
        }
        MountAction::Fresh { fstype, .. } if fstype.as_c_str() == c"mqueue" => {
            Some("mqueue shows the namespace of its maker: it can't be added")
        }
        MountAction::Fresh { copy_up: true, .. } => {
            Some("tmpcopyup is for the start: a running container changes what would be copied")
        }
        MountAction::Fresh { .. } if mapped => {
            Some("a new file system would not belong to the container's user namespace: bind one")
        }
        MountAction::Fresh { .. } => None,
        MountAction::CgroupV1 { .. } | MountAction::CgroupV2 { .. } => Some("cgroups can't be added"),
        MountAction::Attributes { .. } | MountAction::Remount { .. } => {
            Some("mounts of a running container can't be changed: remove and add them")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn planned(mount: Value, user: bool) -> Result<Plan> {
        let mut namespaces = vec![json!({"type": "mount"})];
        let mut linux = json!({});
        if user {
            namespaces.push(json!({"type": "user"}));
            let map = json!([{"containerID": 0, "hostID": 1000, "size": 10}]);
            linux = json!({"uidMappings": map, "gidMappings": map});
        }
        linux["namespaces"] = namespaces.into();
        let spec = json!({"ociVersion": "1.0.2", "root": {"path": "/r"}, "linux": linux, "mounts": [mount],
            "process": {"user": {"uid": 0, "gid": 0}, "cwd": "/", "args": ["x"]}});
        plan(&serde_json::from_value(spec).unwrap(), Path::new("/b"), || false)
    }

    /// [X7] Binds, and file systems that belong to nobody's namespace.
    #[test]
    fn what_can_be_added() {
        let bind = json!({"destination": "/a", "source": "/s", "options": ["rbind", "ro"]});
        assert_eq!(planned(bind.clone(), false).unwrap().rootfs.mounts.len(), 1);
        assert_eq!(planned(bind, true).unwrap().rootfs.mounts.len(), 1);
        let tmpfs = json!({"destination": "/a", "type": "tmpfs", "options": ["size=1m"]});
        let plan = planned(tmpfs.clone(), false).unwrap();
        let MountAction::Fresh { parameters, .. } = &plan.rootfs.mounts[0].action else { panic!() };
        assert_eq!(parameters.as_ref().unwrap().len(), 1, "its data goes by fsconfig");
        assert!(planned(tmpfs, true).unwrap_err().to_string().contains("user namespace"));
        for (kind, options) in [
            ("proc", json!([])),
            ("sysfs", json!([])),
            ("mqueue", json!([])),
            ("cgroup", json!([])),
            ("tmpfs", json!(["tmpcopyup"])),
            ("none", json!(["remount", "ro"])),
        ] {
            let mount = json!({"destination": "/a", "type": kind, "options": options});
            let error = planned(mount, false).unwrap_err().to_string();
            assert!(error.starts_with("mounts[0]: "), "{kind}: {error}");
        }
    }
}
