//! What a file tree is made of: plain data, decided by the plan, carried out by the child.

use std::ffi::CString;

use super::options::Links;
use crate::sys::mount::Attributes;

/// The container's file tree.
#[derive(Debug, Default)]
pub struct RootfsPlan {
    /// Absolute path of the rootfs on the host.
    pub path: CString,
    /// A mount namespace is made: without one there is only a chroot (R4).
    pub private: bool,
    /// `MS_*` propagation of `/` while the tree is built.
    pub propagation: u64,
    /// Propagation of the new root after the change (`linux.rootfsPropagation` as given).
    pub root_propagation: Option<u64>,
    /// Make the root read-only at the end.
    pub readonly: bool,
    /// `--no-pivot`.
    pub no_pivot: bool,
    /// In the spec's order.
    pub mounts: Vec<MountOp>,
    /// Nodes below the root.
    pub devices: Vec<DeviceNode>,
    /// Make the default links below /dev (fd, stdin, ptmx …).
    pub dev_links: bool,
    /// Relative paths to cover.
    pub masked: Vec<HiddenPath>,
    /// Relative paths to make read-only.
    pub readonly_paths: Vec<HiddenPath>,
    /// `context="LABEL"`, mount data of what covers masked directories.
    pub context: Option<CString>,
}

/// One entry of `mounts`.
#[derive(Debug)]
pub struct MountOp {
    /// Relative to the rootfs.
    pub target: CString,
    /// What is mounted.
    pub action: MountAction,
    /// `MS_*` propagation changes after it.
    pub propagation: Vec<u64>,
    /// The `r*` options.
    pub recursive: Attributes,
    /// Make it read-only only when everything inside has been made (tmpfs with `ro`, M15).
    pub readonly_later: bool,
    /// Its ids are mapped: the parent makes it, detached, and init attaches it.
    pub id_map: Option<IdMap>,
    /// SELinux label of its root directory, where the type takes no `context=` (mqueue).
    pub label: Option<CString>,
}

impl MountOp {
    /// What it shows depends on the cgroup that init is in.
    pub fn shows_cgroups(&self) -> bool {
        matches!(self.action, MountAction::CgroupV1 { .. } | MountAction::CgroupV2 { .. })
    }
}

/// The mapping of an id-mapped mount (mount_setattr(2), "ID-mapped mounts").
#[derive(Debug, PartialEq, Eq)]
pub struct IdMap {
    /// `ridmap`: for the mounts below as well.
    pub recursive: bool,
    /// The user namespace that holds it.
    pub namespace: MapNamespace,
}

/// A user namespace whose maps are those of a mount.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MapNamespace {
    /// The one that the container joins.
    Joined,
    /// Made for this, with these lines `ON_DISK SHOWN SIZE` (user_namespaces(7)).
    Made {
        /// `uid_map`.
        uid: String,
        /// `gid_map`.
        gid: String,
    },
}

/// Who opens the source of a bind mount, and when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Opens {
    /// The parent: it is behind a link of procfs that leads into the runtime's own mount namespace
    /// (`/proc/PID/fd/N`), or is to be id-mapped.
    Parent,
    /// Init, with the runtime's rights as long as it has them.
    Init,
    /// Init when it is mounted, since it shows what was mounted before.
    InTurn,
}

/// How a mount is made.
#[derive(Debug)]
pub enum MountAction {
    /// mount(2) of a file system.
    Fresh {
        /// File system type.
        fstype: CString,
        /// First argument of mount(2).
        source: CString,
        /// `MS_*`.
        flags: u64,
        /// Fifth argument.
        data: Option<CString>,
        /// No symlink may lead to the target (proc, sysfs; M37).
        plain_target: bool,
        /// The host's tree to be bound where the kernel refuses a new one (EPERM in a user namespace; M37, M39).
        fallback: Option<CString>,
        /// The same data one by one, where it must go by fsconfig(2): there is more than mount(2) takes (M49), or
        /// the mount's handle is needed afterwards.
        parameters: Option<Vec<Parameter>>,
        /// Copy what the directory holds into it (tmpfs only).
        copy_up: bool,
    },
    /// A clone of a tree that exists.
    Bind {
        /// Absolute host path.
        source: CString,
        /// `rbind`.
        recursive: bool,
        /// For the mount itself.
        attributes: Attributes,
        /// The source must be a procfs, since it covers /proc.
        covers_proc: bool,
        /// Who opens the source, and when.
        opens: Opens,
        /// Whether symbolic links at the ends are followed.
        links: Links,
    },
    /// Every cgroup v1 hierarchy below a tmpfs.
    CgroupV1 {
        /// `MS_*` of each mount.
        flags: u64,
        /// Data of the tmpfs.
        data: CString,
        /// The same for fsconfig(2).
        parameters: Vec<Parameter>,
        /// One for each hierarchy.
        hierarchies: Vec<CgroupMount>,
        /// Links such as `cpu` → `cpu,cpuacct`.
        links: Vec<(CString, CString)>,
    },
    /// The cgroup v2 tree.
    CgroupV2 {
        /// `MS_*`.
        flags: u64,
        /// It has a cgroup namespace: a mount of its own, unless the kernel refuses that.
        namespace: bool,
        /// The container's own cgroup on the host, to be bound else.
        container: Option<CString>,
        /// Instead of it the runtime's own one, read-only, for a rootless container that was allowed none.
        runtime: Option<CString>,
        /// The runtime may have no right to either: then an empty directory hides the host's tree (M43).
        may_hide: bool,
    },
    /// Change the flags of a mount that is there (`remount` with `bind`).
    Attributes {
        /// What to set and clear.
        attributes: Attributes,
        /// And of all mounts below (`rbind`).
        recursive: bool,
    },
    /// Change a file system that is there.
    Remount {
        /// `MS_*`, with `MS_REMOUNT`.
        flags: u64,
        /// `MS_*` that the options clear by name.
        cleared: u64,
        /// Data for the file system.
        data: Option<CString>,
    },
}

/// One option of a file system for fsconfig(2).
#[derive(Debug, PartialEq, Eq)]
pub struct Parameter {
    /// Name.
    pub key: CString,
    /// None for a flag.
    pub value: Option<CString>,
}

/// One hierarchy of a cgroup v1 mount.
#[derive(Debug)]
pub struct CgroupMount {
    /// Name of its directory: `memory`, `cpu,cpuacct`, `systemd`.
    pub name: CString,
    /// Mount data: `memory` or `none,name=systemd`.
    pub data: CString,
    /// The container's own cgroup on the host, to be bound where it has no cgroup namespace.
    pub container: Option<CString>,
    /// The runtime's own one, for a rootless container that was allowed none.
    pub runtime: Option<CString>,
}

/// A device node or fifo.
#[derive(Debug, PartialEq, Eq)]
pub struct DeviceNode {
    /// Relative to the rootfs.
    pub path: CString,
    /// `S_IFCHR`, `S_IFBLK` or `S_IFIFO` with the permission bits.
    pub mode: u32,
    /// Device number as mknod(2) takes it.
    pub device: u64,
    /// Owner in the container.
    pub uid: u32,
    /// Group in the container.
    pub gid: u32,
    /// Index in `linux.devices`, None for a default device.
    pub index: Option<usize>,
}

/// An entry of `maskedPaths` or `readonlyPaths`.
#[derive(Debug)]
pub struct HiddenPath {
    /// Relative to the rootfs.
    pub path: CString,
    /// Index in its list.
    pub index: usize,
}
