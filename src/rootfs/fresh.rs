//! A new file system that is made detached and attached when it is ready: filled by copy-up, or id-mapped.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

use super::mounts::{finish, found_or_made};
use super::tree::{MountAction, MountOp, Parameter};
use super::{configured, copy_up};
use crate::fault::{Action, During, Fault};

/// Makes the file system of `op`, detached.
///
/// # Errors
/// Those of [`configured::make`].
pub fn make(op: &MountOp) -> Result<OwnedFd, Fault> {
    let MountAction::Fresh { fstype, source, flags, parameters, .. } = &op.action else {
        return Err(Fault::from(Errno::INVAL));
    };
    configured::make(fstype, source, *flags, parameters.as_deref().unwrap_or_default(), None)
}

/// Mounts a new file system that mount(2) is not enough for; `tree` is one that the parent has id-mapped. Gives a
/// handle of the mount if that is to be made read-only later.
///
/// # Errors
/// The first system call that failed.
pub fn carry_out(
    root: BorrowedFd<'_>,
    op: &MountOp,
    tree: Option<BorrowedFd<'_>>,
) -> Result<Option<OwnedFd>, Fault> {
    let MountAction::Fresh { fstype, parameters, copy_up, .. } = &op.action else { return Ok(None) };
    let (directory, existed) = found_or_made(root, &op.target)?;
    let tree = match tree {
        None => make(op)?,
        Some(tree) => rustix::io::fcntl_dupfd_cloexec(tree, 3).during(Action::Source)?,
    };
    if existed && fstype.as_c_str() == c"tmpfs" {
        let given = parameters.as_deref().unwrap_or_default();
        fill(&directory, tree.as_fd(), given, *copy_up).during(Action::CopyUp)?;
    }
    finish(op, tree.as_fd(), directory.as_fd())?;
    Ok(op.readonly_later.then_some(tree))
}

/// What a tmpfs takes over from the directory below: its mode (M32), with copy-up all else, too (M31). What its
/// options give stays.
fn fill(
    directory: &OwnedFd,
    tree: BorrowedFd<'_>,
    options: &[Parameter],
    copy_up: bool,
) -> Result<(), Errno> {
    let given = |key| options.iter().any(|option| option.key.as_c_str() == key);
    let root = rustix::fs::openat(tree, c".", OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
    let keep = copy_up::Keep { mode: given(c"mode"), uid: given(c"uid"), gid: given(c"gid") };
    if copy_up {
        return copy_up::copy(directory.as_fd(), root, keep);
    }
    if !keep.mode {
        let mode = rustix::fs::fstat(directory)?.st_mode & 0o7777;
        if rustix::fs::fstat(&root)?.st_mode & 0o7777 != mode {
            rustix::fs::fchmod(&root, Mode::from_raw_mode(mode))?;
        }
    }
    Ok(())
}
