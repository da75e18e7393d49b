//! Namespaces: which are made and joined, id maps, time offsets, network devices.

pub mod net_devices;
mod rtnetlink;

use std::ffi::CString;

use oci_spec::runtime::LinuxNamespaceType;

use crate::sys::clone::CLONE_NEWTIME;

/// A namespace to enter by path.
#[derive(Debug)]
pub struct Join {
    /// Its type.
    pub kind: LinuxNamespaceType,
    /// Its file: `/proc/PID/ns/X` or a bind mount of one.
    pub path: CString,
    /// Index in `linux.namespaces`.
    pub index: usize,
}

/// The namespaces of a container.
#[derive(Debug, Default)]
pub struct NamespacePlan {
    /// `CLONE_NEW*` flags of namespaces made together with init.
    pub clone_flags: u64,
    /// A cgroup namespace is unshared once init is in its cgroup, so that it sees that as `/` (N14).
    pub new_cgroup: bool,
    /// Lines for `timens_offsets`; the namespace is then unshared by init and entered by execve.
    pub time_offsets: Option<String>,
    /// Joined by init, in this order.
    pub join: Vec<Join>,
    /// Joined by the parent around clone3, since only children enter it.
    pub join_pid: Option<Join>,
    /// Joined first; the others are then made inside it.
    pub join_user: Option<Join>,
    /// Contents of `uid_map` and `gid_map` of a new user namespace.
    pub id_maps: Option<IdMaps>,
    /// The runtime itself is in a user namespace other than the initial one.
    pub runtime_confined: bool,
    /// The runtime is root of the machine.
    pub runtime_is_root: bool,
    /// What the maps of a user namespace that is joined must be, where the spec gives mappings as well.
    pub expected_maps: Option<IdMaps>,
}

/// Contents of the map files (user_namespaces(7)): lines `CONTAINER HOST SIZE`.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct IdMaps {
    /// For `/proc/PID/uid_map`.
    pub uid: String,
    /// For `/proc/PID/gid_map`.
    pub gid: String,
    /// The caller may not write `uid_map` by itself: newuidmap(1) does.
    pub uid_helper: bool,
    /// The same for `gid_map` and newgidmap(1).
    pub gid_helper: bool,
    /// The kernel lets `gid_map` be written only once setgroups(2) is denied.
    pub deny_setgroups: bool,
}

impl NamespacePlan {
    /// Whether init is in a user namespace other than the runtime's.
    pub fn in_user_namespace(&self) -> bool {
        self.id_maps.is_some() || self.join_user.is_some()
    }

    /// Whether the initial user namespace is out of reach: no device nodes, no lower OOM score.
    pub fn confined(&self) -> bool {
        self.runtime_confined || self.in_user_namespace()
    }

    /// Whether a process between the runtime and init must join namespaces: before a user namespace is entered or made, where
    /// the runtime's rights still hold, and in a way that can't be taken back (N6, N12).
    pub fn joins_before_user_namespace(&self) -> bool {
        self.join_user.is_some() || (self.id_maps.is_some() && !self.join.is_empty())
    }

    /// `CLONE_NEW*` of every namespace that is not just the runtime's.
    pub fn all(&self) -> u64 {
        let joined = self.join.iter().chain(&self.join_pid).chain(&self.join_user);
        let mut flags = joined.fold(self.clone_flags, |flags, join| flags | flag(join.kind));
        if self.new_cgroup {
            flags |= flag(LinuxNamespaceType::Cgroup);
        }
        if self.time_offsets.is_some() {
            flags |= flag(LinuxNamespaceType::Time);
        }
        flags
    }

    /// Whether a namespace of this type is made new.
    pub fn makes(&self, flag: i32) -> bool {
        self.clone_flags & u64::from(flag.unsigned_abs()) != 0
    }
}

/// The name of a namespace type in config.json.
pub fn name(kind: LinuxNamespaceType) -> &'static str {
    match kind {
        LinuxNamespaceType::Mount => "mount",
        LinuxNamespaceType::Cgroup => "cgroup",
        LinuxNamespaceType::Uts => "uts",
        LinuxNamespaceType::Ipc => "ipc",
        LinuxNamespaceType::User => "user",
        LinuxNamespaceType::Pid => "pid",
        LinuxNamespaceType::Network => "network",
        LinuxNamespaceType::Time => "time",
    }
}

/// The name of its file in /proc/PID/ns.
pub fn file_name(kind: LinuxNamespaceType) -> &'static str {
    match kind {
        LinuxNamespaceType::Mount => "mnt",
        LinuxNamespaceType::Network => "net",
        other => name(other),
    }
}

/// The `CLONE_NEW*` flag of a namespace type.
pub fn flag(kind: LinuxNamespaceType) -> u64 {
    let flag = match kind {
        LinuxNamespaceType::Mount => libc::CLONE_NEWNS,
        LinuxNamespaceType::Cgroup => libc::CLONE_NEWCGROUP,
        LinuxNamespaceType::Uts => libc::CLONE_NEWUTS,
        LinuxNamespaceType::Ipc => libc::CLONE_NEWIPC,
        LinuxNamespaceType::User => libc::CLONE_NEWUSER,
        LinuxNamespaceType::Pid => libc::CLONE_NEWPID,
        LinuxNamespaceType::Network => libc::CLONE_NEWNET,
        LinuxNamespaceType::Time => return CLONE_NEWTIME,
    };
    u64::from(flag.unsigned_abs())
}
