//! The root itself: made a mount of its own before, entered after.

use std::ffi::{CStr, CString};
use std::os::fd::{BorrowedFd, OwnedFd};

use rustix::fs::{CWD, Mode, OFlags};
use rustix::io::Errno;
use rustix::mount::{MoveMountFlags, UnmountFlags, move_mount, unmount};

use super::mounts::clone_tree;
use super::tree::RootfsPlan;
use crate::fault::{Action, During, Fault};
use crate::sys::mount::mount;

/// Cuts the mount tree off from the host's and makes the rootfs a mount of its own; gives its handle.
///
/// # Errors
/// Those of mount(2), open_tree(2) and move_mount(2).
pub fn prepare(plan: &RootfsPlan) -> Result<OwnedFd, Fault> {
    if !plan.private {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        return rustix::fs::openat(CWD, &plan.path, flags, Mode::empty()).during(Action::Source);
    }
    mount(None, c"/", None, plan.propagation, None).during(Action::Propagation)?;
    if plan.propagation & libc::MS_SHARED != 0 {
        make_parent_private(&plan.path)?;
    }
    let tree = clone_tree(&plan.path, true)?;
    move_mount(&tree, c"", CWD, &plan.path, MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH)
        .during(Action::Attach)?;
    Ok(tree)
}

/// pivot_root(2) refuses a root on a shared mount, and mounts made there would reach the host: the mount that
/// holds the rootfs is the nearest ancestor that accepts a change of propagation.
fn make_parent_private(path: &CStr) -> Result<(), Fault> {
    let mut path = path.to_bytes().to_vec();
    loop {
        let text = CString::new(path.clone()).unwrap_or_default();
        match mount(None, &text, None, libc::MS_PRIVATE, None) {
            Err(Errno::INVAL) if path.len() > 1 => {
                let slash = path.iter().rposition(|byte| *byte == b'/').unwrap_or(0);
                path.truncate(slash.max(1));
            }
            other => return other.during(Action::Propagation),
        }
    }
}

/// Makes `root` the root of the mount namespace (or of the process only, without one), cwd `/`.
///
/// # Errors
/// Those of pivot_root(2), umount2(2), mount(2), chroot(2).
pub fn enter(root: BorrowedFd<'_>, plan: &RootfsPlan) -> Result<(), Fault> {
    rustix::process::fchdir(root)?;
    if !plan.private {
        rustix::process::chroot(c".")?;
    } else if plan.no_pivot {
        move_root()?;
    } else {
        let shared = plan.propagation & libc::MS_SHARED != 0;
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let old = if shared { Some(rustix::fs::openat(CWD, c"/", flags, Mode::empty())?) } else { None };
        rustix::process::pivot_root(c".", c".").during(Action::Root)?;
        if let Some(old) = old {
            // Unmounting must not reach the host.
            rustix::process::fchdir(old)?;
            mount(None, c".", None, libc::MS_SLAVE | libc::MS_REC, None).during(Action::Propagation)?;
        }
        unmount(c".", UnmountFlags::DETACH).during(Action::Mount)?;
    }
    rustix::process::chdir(c"/")?;
    match plan.root_propagation {
        Some(flags) if plan.private => mount(None, c"/", None, flags, None).during(Action::Propagation),
        _ => Ok(()),
    }
}

/// `--no-pivot`: the old root stays below, so full procfs and sysfs mounts of the host are taken out of sight
/// first; otherwise the container could mount them again in full.
fn move_root() -> Result<(), Fault> {
    let inside = std::env::current_dir().unwrap_or_default();
    let myself = procfs::process::Process::myself().and_then(|me| me.mountinfo());
    for entry in myself.map_err(|_| Errno::IO)? {
        let hostile = matches!(entry.fs_type.as_str(), "proc" | "sysfs");
        if !hostile || entry.mount_point.starts_with(&inside) {
            continue;
        }
        let path = CString::new(entry.mount_point.as_os_str().as_encoded_bytes()).unwrap_or_default();
        let _ = mount(None, &path, None, libc::MS_PRIVATE, None);
        match unmount(&path, UnmountFlags::DETACH) {
            // It went with another one that it was mounted in.
            Ok(()) | Err(Errno::NOENT) => {}
            // A user namespace may not uncover what is below it (EINVAL): cover it.
            Err(_) => match mount(Some(c"tmpfs"), &path, Some(c"tmpfs"), 0, None) {
                Ok(()) | Err(Errno::NOENT) => {}
                other => other.during(Action::Mount)?,
            },
        }
    }
    mount(Some(c"."), c"/", None, libc::MS_MOVE, None).during(Action::Attach)?;
    rustix::process::chroot(c".").during(Action::Step)
}
