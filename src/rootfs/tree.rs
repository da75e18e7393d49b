//! What a file tree is made of: plain data, decided by the plan, carried out by the child.

use std::ffi::CString;

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
        /// The source is behind a link of procfs that leads into the runtime's own mount namespace
        /// (`/proc/PID/fd/N`): the parent opens it.
        early: bool,
    },
    /// Every cgroup v1 hierarchy below a tmpfs.
    CgroupV1 {
        /// `MS_*` of each mount.
        flags: u64,
        /// One for each hierarchy.
        hierarchies: Vec<CgroupMount>,
        /// Links such as `cpu` → `cpu,cpuacct`.
        links: Vec<(CString, CString)>,
    },
    /// The cgroup v2 tree.
    CgroupV2 {
        /// `MS_*`.
        flags: u64,
        /// The container's own cgroup on the host, to be bound where it has no cgroup namespace.
        container: Option<CString>,
        /// Instead of it: the runtime's own one, for a rootless container that was allowed none; with a cgroup namespace the container's,
        /// where the tree can't be mounted.
        runtime: Option<CString>,
    },
    /// Change a mount that is there.
    Remount {
        /// `MS_*`, with `MS_REMOUNT`.
        flags: u64,
        /// Data for the file system.
        data: Option<CString>,
    },
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
