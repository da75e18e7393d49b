//! SELinux labels of mounts (`linux.mountLabel`).

use std::ffi::CStr;
use std::os::fd::BorrowedFd;

use rustix::fs::XattrFlags;
use rustix::io::Errno;

use super::handle::FdPath;

/// linux/magic.h
const SELINUX_MAGIC: i64 = 0xf97c_ff8c;

/// Whether the host has SELinux, by selinuxfs where libselinux expects it: without it no file system knows `context=`.
pub fn enabled() -> bool {
    rustix::fs::statfs(c"/sys/fs/selinux").is_ok_and(|found| found.f_type == SELINUX_MAGIC)
}

/// The mount options that take a label (mount(8), "Context"), the default first.
pub const OPTIONS: [&str; 4] = ["context", "fscontext", "defcontext", "rootcontext"];

/// The label of new file systems, and the option that gives it to them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MountLabel<'a> {
    /// An SELinux context.
    pub label: &'a str,
    /// One of [`OPTIONS`].
    pub option: &'static str,
}

impl MountLabel<'_> {
    /// As mount data; in quotes, since a label may hold commas.
    pub fn data(&self) -> String {
        format!("{}=\"{}\"", self.option, self.label)
    }
}

/// Whether file systems of this type take one of [`OPTIONS`]. The others have labels of their own, by the policy.
pub fn takes_context(fstype: &str) -> bool {
    !matches!(fstype, "proc" | "sysfs" | "mqueue" | "cgroup" | "cgroup2")
}

/// Labels the file behind `handle`, while the host's /proc is there.
///
/// # Errors
/// Those of setxattr(2): EACCES by the policy, ENOTSUP.
pub fn set(handle: BorrowedFd<'_>, label: &CStr) -> Result<(), Errno> {
    let path = FdPath::new(handle);
    rustix::fs::setxattr(path.as_c_str(), c"security.selinux", label.to_bytes(), XattrFlags::empty())
}
