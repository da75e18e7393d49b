//! mount_setattr(2), which neither nix nor rustix has.

use std::ffi::CStr;
use std::os::fd::{AsRawFd, BorrowedFd};

use rustix::io::Errno;

use super::clone::last_errno;

/// What mount_setattr(2) is to change.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Attributes {
    /// `MOUNT_ATTR_*` to set.
    pub set: u64,
    /// `MOUNT_ATTR_*` to clear.
    pub clear: u64,
    /// One of `MS_SHARED`, `MS_SLAVE`, `MS_PRIVATE`, `MS_UNBINDABLE`, or 0 to leave it.
    pub propagation: u64,
}

/// Changes a mount, or with `recursive` all below it (Linux 5.12). With an empty `path` the mount is `fd`.
///
/// # Errors
/// EINVAL (unknown attribute), EPERM (locked flags in a user namespace), ENOSYS.
pub fn set_attributes(
    fd: BorrowedFd<'_>,
    path: &CStr,
    recursive: bool,
    attributes: Attributes,
    user_namespace: Option<BorrowedFd<'_>>,
) -> Result<(), Errno> {
    let mut flags = libc::AT_EMPTY_PATH | libc::AT_SYMLINK_NOFOLLOW;
    if recursive {
        flags |= libc::AT_RECURSIVE;
    }
    let args = libc::mount_attr {
        attr_set: attributes.set,
        attr_clr: attributes.clear,
        propagation: attributes.propagation,
        userns_fd: user_namespace.map_or(0, |fd| u64::from(fd.as_raw_fd().unsigned_abs())),
    };
    // SAFETY: the kernel reads `args`, whose size is passed, and a C string.
    let result = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            fd.as_raw_fd(),
            path.as_ptr(),
            flags,
            &raw const args,
            size_of::<libc::mount_attr>(),
        )
    };
    if result < 0 { Err(last_errno()) } else { Ok(()) }
}

/// mount(2) with every argument as the kernel takes it.
///
/// # Errors
/// Those of mount(2).
pub fn mount(
    source: Option<&CStr>,
    target: &CStr,
    fstype: Option<&CStr>,
    flags: u64,
    data: Option<&CStr>,
) -> Result<(), Errno> {
    let pointer = |text: Option<&CStr>| text.map_or(std::ptr::null(), CStr::as_ptr);
    // SAFETY: every pointer is NULL or a C string that outlives the call.
    let result = unsafe {
        libc::mount(pointer(source), target.as_ptr(), pointer(fstype), flags, pointer(data).cast())
    };
    if result < 0 { Err(last_errno()) } else { Ok(()) }
}
