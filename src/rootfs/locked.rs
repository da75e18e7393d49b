//! Changing the flags of mounts that a user namespace got from outside: some of theirs are locked
//! (mount_namespaces(7), "Restrictions on mount namespaces"; M30).

use std::ffi::CStr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::StatVfsMountFlags as Shown;
use rustix::io::Errno;

use super::handle::FdPath;
use super::options::{ATTR_ATIME, ATTR_NODIRATIME, MS_NOSYMFOLLOW, mount_attributes};
use crate::fault::{Action, During, Fault};
use crate::sys::mount::{Attributes, mount, set_attributes};

/// Sets and clears attributes of a mount; what is not named stays, locked or not.
///
/// # Errors
/// [`Action::LockedFlags`] and [`Action::LockedAccessTime`] where that is why the kernel refused; those of
/// mount_setattr(2).
pub fn change(mount: BorrowedFd<'_>, attributes: Attributes, recursive: bool) -> Result<(), Fault> {
    match set_attributes(mount, c"", recursive, attributes, None) {
        Err(Errno::PERM) => Err(reason(mount, attributes, recursive)),
        other => other.during(Action::Flags),
    }
}

fn reason(mount: BorrowedFd<'_>, attributes: Attributes, recursive: bool) -> Fault {
    let there = mount_attributes(shown_flags(mount).unwrap_or(0));
    // A mount below may be the one with the locked flag.
    let flags = attributes.clear & !ATTR_ATIME & if recursive { u64::MAX } else { there };
    // The kernel locks nodiratime with the mode.
    let access_time = (attributes.clear & ATTR_ATIME) | (attributes.set & ATTR_NODIRATIME);
    let action = match (flags, access_time) {
        (0, 0) => Action::Flags,
        (0, _) => Action::LockedAccessTime,
        _ => Action::LockedFlags,
    };
    Fault { action, errno: Errno::PERM }
}

/// Remounts a file system. Where the kernel refuses that, the flags that are there are kept, unless they were to be
/// cleared.
///
/// # Errors
/// As [`change`]; those of mount(2).
pub fn remount(there: &OwnedFd, flags: u64, cleared: u64, data: Option<&CStr>) -> Result<(), Fault> {
    let on = FdPath::new(there.as_fd());
    let remount = |flags| mount(None, on.as_c_str(), None, flags, data);
    match remount(flags) {
        Err(Errno::PERM) => {}
        other => return other.during(Action::Mount),
    }
    let shown = shown_flags(there.as_fd()).during(Action::Mount)?;
    if shown & cleared != 0 {
        return Err(Fault { action: Action::LockedFlags, errno: Errno::PERM });
    }
    let access_time = libc::MS_NOATIME | libc::MS_RELATIME | libc::MS_STRICTATIME;
    let kept = if flags & access_time == 0 { shown } else { shown & !access_time };
    remount(flags | kept).during(Action::Mount)
}

/// The `MS_*` flags of a mount as statfs(2) shows them.
fn shown_flags(mount: BorrowedFd<'_>) -> Result<u64, Errno> {
    let shown = rustix::fs::fstatvfs(mount)?.f_flag;
    let pairs = [
        (Shown::RDONLY, libc::MS_RDONLY),
        (Shown::NOSUID, libc::MS_NOSUID),
        (Shown::NODEV, libc::MS_NODEV),
        (Shown::NOEXEC, libc::MS_NOEXEC),
        (Shown::NOATIME, libc::MS_NOATIME),
        (Shown::NODIRATIME, libc::MS_NODIRATIME),
        (Shown::RELATIME, libc::MS_RELATIME),
        // ST_NOSYMFOLLOW (Linux 5.10).
        (Shown::from_bits_retain(8192), MS_NOSYMFOLLOW),
    ];
    Ok(pairs.iter().filter(|(bit, _)| shown.contains(*bit)).map(|(_, flag)| flag).sum())
}
