//! The file tree: mounts in order, device nodes, hidden paths.

use std::ffi::CString;
use std::path::Path;

use oci_spec::runtime::{Linux, LinuxDevice, LinuxDeviceType, LinuxNamespaceType, Mount, Spec};

use super::cstring;
use super::mounts::Around;
use crate::cgroups::{CgroupPlan, Host, Layout};
use crate::error::Result;
use crate::rootfs::label::MountLabel;
use crate::rootfs::options::{self, MountOptions};
use crate::rootfs::paths::normalize;
use crate::rootfs::propagation_flags;
use crate::rootfs::tree::{CgroupMount, DeviceNode, HiddenPath, MountAction, MountOp, Opens, RootfsPlan};

/// What the file tree depends on besides the spec.
#[derive(Debug)]
pub struct Place<'a> {
    /// Absolute path of the bundle.
    pub bundle: &'a Path,
    /// `--no-pivot`.
    pub no_pivot: bool,
    /// The host's cgroup hierarchies.
    pub host: &'a Host,
    /// Where the container's cgroups are.
    pub cgroup: &'a CgroupPlan,
    /// The runtime may lack the right to mount or bind cgroups.
    pub rootless: bool,
    /// A mount of the runtime's own, after those of the configuration.
    pub extra: Option<Mount>,
    /// SELinux label of new file systems (`linux.mountLabel`), on a host that has SELinux.
    pub label: Option<MountLabel<'a>>,
    /// New file systems are made detached, for a container that runs.
    pub detached: bool,
}

/// Decides the file tree of a container.
///
/// # Errors
/// A path with a NUL byte, a mount inside /proc.
pub fn plan(spec: &Spec, place: &Place<'_>, warnings: &mut Vec<String>) -> Result<RootfsPlan> {
    let Some(root) = spec.root() else { return Ok(RootfsPlan::default()) };
    let linux = spec.linux().as_ref();
    let given =
        linux.and_then(|linux| linux.rootfs_propagation().as_deref()).filter(|value| !value.is_empty());
    let mounts = spec.mounts().as_deref().unwrap_or_default();
    let mut around = Around::new(spec, place, warnings);
    let own_dev = !mounts.iter().any(is_dev_bind);
    let path = place.bundle.join(root.path());
    let mut ops = mounts
        .iter()
        .chain(&place.extra)
        .enumerate()
        .map(|(index, mount)| mount_op(index, mount, &mut around))
        .collect::<Result<Vec<_>>>()?;
    super::order::sources_in_turn(&path, &mut ops)?;
    let plan = RootfsPlan {
        path: cstring(path.as_os_str().as_encoded_bytes())?,
        private: crate::spec::validate::has_namespace(spec, LinuxNamespaceType::Mount),
        propagation: building_propagation(given.and_then(propagation_flags)),
        root_propagation: given.and_then(propagation_flags),
        readonly: root.readonly() == Some(true),
        no_pivot: place.no_pivot,
        mounts: ops,
        devices: if own_dev { devices(linux)? } else { Vec::new() },
        dev_links: own_dev,
        masked: hidden(linux.and_then(|linux| linux.masked_paths().as_deref()))?,
        readonly_paths: hidden(linux.and_then(|linux| linux.readonly_paths().as_deref()))?,
        context: place.label.map(|label| cstring(label.data())).transpose()?,
    };
    Ok(plan)
}

/// Of the host's tree while the container's is built: what the host mounts arrives, nothing goes back, unless the
/// root is to be shared.
fn building_propagation(root: Option<u64>) -> u64 {
    root.filter(|flags| flags & libc::MS_SHARED != 0).unwrap_or(libc::MS_SLAVE | libc::MS_REC)
}

/// `/dev` given as a bind: nothing is made in it (M46).
fn is_dev_bind(mount: &Mount) -> bool {
    normalize(mount.destination()) == "dev" && parse(mount).is_bind()
}

fn parse(mount: &Mount) -> MountOptions {
    options::parse(mount.options().as_deref().unwrap_or_default().iter().map(String::as_str))
}

fn mount_op(index: usize, mount: &Mount, around: &mut Around<'_>) -> Result<MountOp> {
    let options = parse(mount);
    let id_map = super::id_map::of(mount, &options, around.spec);
    let target = around.target(index, mount)?;
    let fstype = mount.typ().as_deref().unwrap_or_default();
    let readonly_later = !options.is_bind()
        && fstype == "tmpfs"
        && options.flags & (libc::MS_RDONLY | libc::MS_REMOUNT) == libc::MS_RDONLY;
    let action = if options.flags & libc::MS_REMOUNT != 0 {
        remount(&options)?
    } else if options.is_bind() {
        bind(mount, around.place.bundle, &options, &target, id_map.is_some())?
    } else if fstype == "cgroup" || fstype == "cgroup2" {
        cgroup(&options, fstype, around)?
    } else {
        let detached = options.copy_up || id_map.is_some() || around.place.detached;
        around.fresh(index, mount, &options, readonly_later, detached)?
    };
    Ok(MountOp {
        target: cstring(target)?,
        action,
        propagation: options.propagation,
        recursive: options.recursive,
        readonly_later,
        id_map,
        label: around
            .place
            .label
            .filter(|_| fstype == "mqueue")
            .map(|label| cstring(label.label))
            .transpose()?,
    })
}

/// With `bind` the flags of one mount, else those of its file system.
fn remount(options: &MountOptions) -> Result<MountAction> {
    if options.is_bind() {
        let recursive = options.flags & libc::MS_REC != 0;
        return Ok(MountAction::Attributes { attributes: options.attributes(), recursive });
    }
    Ok(MountAction::Remount {
        flags: options.flags,
        cleared: options.cleared,
        data: super::mounts::data(&options.data)?,
    })
}

fn bind(
    mount: &Mount,
    bundle: &Path,
    options: &MountOptions,
    target: &str,
    id_mapped: bool,
) -> Result<MountAction> {
    let source = bundle.join(mount.source().clone().unwrap_or_default());
    Ok(MountAction::Bind {
        source: cstring(source.as_os_str().as_encoded_bytes())?,
        recursive: options.flags & libc::MS_REC != 0,
        attributes: options.attributes(),
        covers_proc: target == "proc",
        opens: if id_mapped || source.starts_with("/proc") { Opens::Parent } else { Opens::Init },
        links: options.links,
    })
}

/// A cgroup mount shows the container's own part: by its cgroup namespace, or else by a bind of its directory.
fn cgroup(options: &MountOptions, fstype: &str, around: &Around<'_>) -> Result<MountAction> {
    let Around { place, own_cgroup, .. } = around;
    let own = |controllers: &str| -> Result<Option<CString>> {
        let found = place.cgroup.directories.iter().find(|directory| directory.controllers == controllers);
        found.map(|directory| cstring(directory.path.as_os_str().as_encoded_bytes())).transpose()
    };
    let runtime = |mount: &Path, own: &Path| -> Result<Option<CString>> {
        // It stays in the runtime's cgroups where it may not have its own (U4).
        let below = mount.join(own.strip_prefix("/").unwrap_or(own));
        if place.cgroup.rootless { cstring(below.as_os_str().as_encoded_bytes()).map(Some) } else { Ok(None) }
    };
    let hierarchies = match &place.host.layout {
        Layout::V1 { hierarchies, .. } if fstype == "cgroup" => hierarchies,
        layout => {
            let mount = match layout {
                Layout::V1 { unified, .. } => unified.as_deref().unwrap_or(Path::new("/sys/fs/cgroup")),
                Layout::V2 { mount } => mount,
            };
            return Ok(MountAction::CgroupV2 {
                flags: options.flags,
                namespace: *own_cgroup,
                container: own("")?,
                runtime: runtime(mount, &place.host.own_v2)?,
                may_hide: place.rootless,
            });
        }
    };
    let mut mounts = Vec::with_capacity(hierarchies.len());
    let mut links = Vec::new();
    for hierarchy in hierarchies {
        let controllers = hierarchy.controllers.as_str();
        let (name, data) = match controllers.strip_prefix("name=") {
            Some(name) => (name, format!("none,name={name}")),
            None => (controllers, controllers.to_string()),
        };
        for alias in controllers.split(',').filter(|_| controllers.contains(',')) {
            links.push((cstring(alias)?, cstring(name)?));
        }
        mounts.push(CgroupMount {
            name: cstring(name)?,
            data: cstring(data)?,
            container: if *own_cgroup { None } else { own(controllers)? },
            runtime: runtime(&hierarchy.mount, &hierarchy.own)?,
        });
    }
    let data = super::label::data("mode=755", "tmpfs", place.label);
    Ok(MountAction::CgroupV1 {
        flags: options.flags,
        parameters: super::mounts::parameters("tmpfs", &data)?,
        data: cstring(data)?,
        hierarchies: mounts,
        links,
    })
}

/// The devices every container has (config-linux.md, "Default Devices"), as name, major and minor.
const DEFAULT_DEVICES: &[(&str, u32, u32)] =
    &[("null", 1, 3), ("zero", 1, 5), ("full", 1, 7), ("random", 1, 8), ("urandom", 1, 9), ("tty", 5, 0)];

fn devices(linux: Option<&Linux>) -> Result<Vec<DeviceNode>> {
    let given = linux.and_then(|linux| linux.devices().as_deref()).unwrap_or_default();
    let mut nodes = Vec::with_capacity(given.len() + DEFAULT_DEVICES.len());
    for (name, major, minor) in DEFAULT_DEVICES {
        let path = cstring(format!("dev/{name}"))?;
        let device = rustix::fs::makedev(*major, *minor);
        nodes.push(DeviceNode { path, mode: libc::S_IFCHR | 0o666, device, uid: 0, gid: 0, index: None });
    }
    for (index, device) in given.iter().enumerate() {
        let node = device_node(device, index)?;
        // An entry of the config replaces the default of the same path (D4).
        nodes.retain(|other| other.path != node.path);
        nodes.push(node);
    }
    Ok(nodes)
}

fn device_node(device: &LinuxDevice, index: usize) -> Result<DeviceNode> {
    let kind = match device.typ() {
        LinuxDeviceType::B => libc::S_IFBLK,
        LinuxDeviceType::P => libc::S_IFIFO,
        LinuxDeviceType::C | LinuxDeviceType::U | LinuxDeviceType::A => libc::S_IFCHR,
    };
    let number = |value: i64| u32::try_from(value).unwrap_or(0);
    Ok(DeviceNode {
        path: cstring(normalize(device.path()))?,
        mode: kind | (device.file_mode().unwrap_or(0o666) & 0o7777),
        device: if kind == libc::S_IFIFO {
            0
        } else {
            rustix::fs::makedev(number(device.major()), number(device.minor()))
        },
        uid: device.uid().unwrap_or(0),
        gid: device.gid().unwrap_or(0),
        index: Some(index),
    })
}

fn hidden(paths: Option<&[String]>) -> Result<Vec<HiddenPath>> {
    let mut result: Vec<HiddenPath> = Vec::new();
    for (index, path) in paths.unwrap_or_default().iter().enumerate() {
        let path = cstring(normalize(Path::new(path)))?;
        if !result.iter().any(|other| other.path == path) {
            result.push(HiddenPath { path, index });
        }
    }
    Ok(result)
}
