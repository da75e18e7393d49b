//! Decides where a container's cgroups are and what is written to them.

use std::path::{Component, Path, PathBuf};

use oci_spec::runtime::LinuxResources;

use super::{cgroup_properties, cgroup_systemd, cgroup_v1, cgroup_v2, resources};
use crate::cgroups::systemd::Manager;
pub use crate::cgroups::{CgroupPlan, PlannedDir, Write};
use crate::cgroups::{Host, Layout};
use crate::error::{Error, Result};

/// How the runtime was called, as far as cgroups are concerned.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// `--systemd-cgroup`: who makes the cgroups.
    pub systemd: Option<Manager>,
    /// The runtime is not root, or `--rootless=true`: cgroups that may not be made are gone without if nothing
    /// needs them (features.md C15).
    pub rootless: bool,
    /// The runtime itself runs in a user namespace: the kernel lets it set no device rules (features.md D13).
    pub user_namespace: bool,
}

/// Makes the plan. `id` names the cgroup where config.json has no `linux.cgroupsPath`.
///
/// # Errors
/// A value that is wrong or can't be expressed on this host, by its JSON path.
pub fn plan(
    resources: Option<&LinuxResources>,
    cgroups_path: Option<&Path>,
    id: &str,
    host: &Host,
    options: Options,
) -> Result<CgroupPlan> {
    let explicit = cgroups_path.filter(|path| !path.as_os_str().is_empty());
    let (scope, directories) = match &options.systemd {
        Some(manager) => {
            let (scope, directories) = cgroup_systemd::place(explicit, id, host, manager)?;
            (Some(scope), directories)
        }
        None => (None, directories(&Place::new(explicit.unwrap_or_else(|| Path::new(id)))?, host)),
    };
    let mut plan = CgroupPlan {
        directories,
        scope,
        rootless: options.rootless,
        explicit_path: explicit.is_some(),
        ..CgroupPlan::default()
    };
    if !options.user_namespace && !options.rootless {
        plan.devices = Some(resources::devices(resources)?);
    }
    if let Some(resources) = resources {
        resources::check(resources, &mut plan.warnings)?;
        match &host.layout {
            Layout::V1 { .. } => cgroup_v1::writes(resources, &mut plan)?,
            Layout::V2 { .. } => cgroup_v2::writes(resources, &mut plan)?,
        }
    }
    if let Some(scope) = &mut plan.scope {
        scope.properties.extend(plan.devices.iter().flat_map(cgroup_properties::devices));
        scope.properties.extend(resources.iter().flat_map(|one| cgroup_properties::limits(one, host)));
    }
    if let (Layout::V1 { hierarchies, .. }, Some(rules)) = (&host.layout, &plan.devices) {
        rules.check_v1()?;
        if !hierarchies.iter().any(|hierarchy| hierarchy.controllers.split(',').any(|name| name == "devices"))
        {
            return Err(missing_controller("linux.resources.devices", "devices"));
        }
    }
    Ok(plan)
}

/// features.md Q26: a limit without its controller.
pub(super) fn missing_controller(json_path: &str, controller: &str) -> Error {
    Error::config(json_path, format_args!("cgroup controller {controller} is not available on this host"))
}

/// `cgroupsPath` with `.` and `..` resolved, so that it can't leave the directory that it is put below.
struct Place {
    absolute: bool,
    below: PathBuf,
}

impl Place {
    fn new(wanted: &Path) -> Result<Self> {
        let mut below = PathBuf::new();
        for component in wanted.components() {
            match component {
                Component::Normal(name) => below.push(name),
                Component::ParentDir => _ = below.pop(),
                Component::RootDir | Component::CurDir | Component::Prefix(_) => {}
            }
        }
        if below.as_os_str().is_empty() {
            let text = format!("{} is the root of the cgroup tree", wanted.display());
            return Err(Error::config("linux.cgroupsPath", text));
        }
        Ok(Self { absolute: wanted.is_absolute(), below })
    }

    /// `own` is where a relative path starts, from the hierarchy's root.
    fn at(&self, controllers: &str, mount: &Path, own: &Path) -> PlannedDir {
        let own = own.strip_prefix("/").unwrap_or(own);
        let room = own.as_os_str().len() + self.below.as_os_str().len() + 2;
        let mut path = PathBuf::with_capacity(mount.as_os_str().len() + room);
        path.push(mount);
        if !self.absolute {
            // Processes outside of our cgroup namespace's root are shown with `..`; that can't be followed.
            path.extend(own.components().filter(|part| matches!(part, Component::Normal(_))));
        }
        path.push(&self.below);
        PlannedDir { controllers: controllers.into(), path, mount_len: mount.as_os_str().len() }
    }
}

/// features.md C1, C2, C13: absolute paths are below the mount point. Relative ones are below the runtime's own
/// cgroup on v1; on v2 below the parent of it, since a cgroup with processes can't pass controllers on.
fn directories(place: &Place, host: &Host) -> Vec<PlannedDir> {
    match &host.layout {
        Layout::V1 { hierarchies, unified } => hierarchies
            .iter()
            .map(|hierarchy| place.at(&hierarchy.controllers, &hierarchy.mount, &hierarchy.own))
            .chain(unified.iter().map(|mount| place.at("", mount, &host.own_v2)))
            .collect(),
        Layout::V2 { mount } => {
            vec![place.at("", mount, host.own_v2.parent().unwrap_or(&host.own_v2))]
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::cgroups::Hierarchy;

    pub(in crate::plan) fn v1(own: &str) -> Host {
        let hierarchy = |name: &str| Hierarchy {
            controllers: name.into(),
            mount: Path::new("/sys/fs/cgroup").join(name.trim_start_matches("name=")),
            own: own.into(),
        };
        let names = [
            "name=systemd",
            "pids",
            "blkio",
            "freezer",
            "devices",
            "memory",
            "cpuset",
            "cpu,cpuacct",
            "hugetlb",
            "rdma",
            "net_cls,net_prio",
        ];
        let hierarchies = names.map(hierarchy).to_vec();
        Host {
            layout: Layout::V1 { hierarchies, unified: Some("/sys/fs/cgroup/unified".into()) },
            own_v2: own.into(),
        }
    }

    pub(in crate::plan) fn v2(own: &str) -> Host {
        Host { layout: Layout::V2 { mount: "/sys/fs/cgroup".into() }, own_v2: own.into() }
    }

    pub(in crate::plan) fn planned(json: &str, host: &Host) -> Result<CgroupPlan> {
        let resources: LinuxResources = serde_json::from_str(json).unwrap();
        plan(Some(&resources), Some(Path::new("/docker/c1")), "c1", host, Options::default())
    }

    fn path(cgroups_path: Option<&str>, host: &Host) -> String {
        let plan = plan(None, cgroups_path.map(Path::new), "c1", host, Options::default()).unwrap();
        plan.directories[0].path.to_str().unwrap().to_owned()
    }

    /// [C1] An absolute path is below the mount point and can't leave it.
    #[test]
    fn absolute_paths() {
        for host in [v1("/own"), v2("/own")] {
            let mount = if matches!(host.layout, Layout::V2 { .. }) { "" } else { "/systemd" };
            assert_eq!(path(Some("/a/b"), &host), format!("/sys/fs/cgroup{mount}/a/b"));
            assert_eq!(path(Some("/../../a/../b/./c"), &host), format!("/sys/fs/cgroup{mount}/b/c"));
        }
    }

    /// [C2] Relative: v1 below the runtime's own cgroup, v2 below the parent of it.
    #[test]
    fn relative_paths() {
        assert_eq!(path(Some("a/b"), &v1("/x/own")), "/sys/fs/cgroup/systemd/x/own/a/b");
        assert_eq!(path(Some("../../a"), &v1("/x/own")), "/sys/fs/cgroup/systemd/x/own/a");
        assert_eq!(path(Some("a"), &v2("/x/own")), "/sys/fs/cgroup/x/a");
        assert_eq!(path(Some("a"), &v2("/")), "/sys/fs/cgroup/a");
        assert_eq!(path(Some("a"), &v2("/../other/own")), "/sys/fs/cgroup/other/a");
    }

    /// [C3] Absent or empty: the container's id, as a relative path.
    #[test]
    fn absent_path() {
        assert_eq!(path(None, &v1("/own")), "/sys/fs/cgroup/systemd/own/c1");
        assert_eq!(path(Some(""), &v2("/own")), "/sys/fs/cgroup/c1");
    }

    #[test]
    fn the_root_is_refused() {
        let error =
            plan(None, Some(Path::new("/a/..")), "c1", &v2("/"), Options::default()).unwrap_err().to_string();
        assert_eq!(error, "linux.cgroupsPath: /a/.. is the root of the cgroup tree");
    }

    /// [C13] Hybrid: all v1 hierarchies, and the cgroup2 tree last.
    #[test]
    fn hybrid_hosts_join_both() {
        let plan = plan(None, None, "c1", &v1("/"), Options::default()).unwrap();
        assert_eq!(plan.directories.len(), 12);
        assert_eq!(plan.directories[11].controllers, "");
        assert_eq!(plan.directories[11].path, Path::new("/sys/fs/cgroup/unified/c1"));
        let record = plan.record();
        assert!(record.directories.iter().all(|directory| directory.made));
    }

    /// [D13] No device rules in a user namespace.
    #[test]
    fn options() {
        let inside = Options { user_namespace: true, ..Options::default() };
        assert_eq!(plan(None, None, "c1", &v2("/"), inside).unwrap().devices, None);
    }
}
