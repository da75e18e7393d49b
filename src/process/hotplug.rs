//! Mounts in a container that runs: made outside of it, detached, then attached in its mount namespace.
//!
//! Only that namespace is entered, by this process, which no container sees: it stays in the host's pid namespace. Where
//! paths lead is the container's to change at any time, so that each is resolved beneath its root, by handle.

use std::ffi::CStr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{CWD, Mode, OFlags};
use rustix::io::Errno;
use rustix::mount::{UnmountFlags, unmount};

use super::channel::Failure;
use super::describe;
use super::step::{Position, Step};
use crate::container::{Container, not_running};
use crate::error::{Context, Error, Result};
use crate::fault::Fault;
use crate::plan::Plan;
use crate::rootfs::paths::{open_inside, split};
use crate::rootfs::tree::{MountAction, MountOp};
use crate::rootfs::{fresh, mounts};
use crate::sys::clone;
use crate::sys::process::pidfd_send_signal;

/// Adds all mounts of the plan, or none. This process is in the container's mount namespace afterwards.
///
/// # Errors
/// A source that is not there, a destination that can't be made, rights that are missing.
pub fn add(container: &Container, plan: &Plan) -> Result<()> {
    let failed = |index, fault| {
        let position = Position { step: Step::Mount, index };
        describe::failure(plan, &Failure { position, fault, text: String::new() })
    };
    let ops = &plan.rootfs.mounts;
    let trees = ops.iter().enumerate().map(|(index, op)| tree(op).map_err(|fault| failed(index, fault)));
    let trees = trees.collect::<Result<Vec<_>>>()?;
    let root = enter(container)?;
    for (index, (op, tree)) in ops.iter().zip(&trees).enumerate() {
        let mounted = mounts::carry_out(root.as_fd(), op, Some(tree.as_fd()))
            .and_then(|later| later.map_or(Ok(()), |mounted| mounts::make_readonly(mounted.as_fd())));
        if let Err(fault) = mounted {
            for op in ops.iter().take(index).rev() {
                let _ = detach(root.as_fd(), &op.target);
            }
            return Err(failed(index, fault));
        }
    }
    Ok(())
}

/// The mount, attached nowhere.
fn tree(op: &MountOp) -> Result<OwnedFd, Fault> {
    let MountAction::Bind { source, recursive, links, .. } = &op.action else { return fresh::make(op) };
    let tree = mounts::clone_source(source, *recursive, *links)?;
    // What the container mounts below it must not come to the host (M25).
    mounts::enslave(&tree)?;
    Ok(tree)
}

/// Takes mounts away, the last of `targets` first, each a clean path from the container's root.
///
/// # Errors
/// Something is not mounted there; those before it are gone.
pub fn remove(container: &Container, targets: &[std::ffi::CString]) -> Result<()> {
    let root = enter(container)?;
    for (index, target) in targets.iter().enumerate().rev() {
        detach(root.as_fd(), target).map_err(|errno| {
            let error = Error::system(
                format_args!("mounts[{index}] (/{}): unmount", target.to_string_lossy()),
                errno,
            );
            match errno {
                Errno::INVAL => error.hint("nothing is mounted there"),
                Errno::LOOP => error.hint("a symbolic link leads there: name the place itself"),
                _ => error,
            }
        })?;
    }
    Ok(())
}

/// Enters the mount namespace of the container; gives its root.
fn enter(container: &Container) -> Result<OwnedFd> {
    let pidfd = container.pidfd()?.ok_or_else(not_running)?;
    let path = format!("/proc/{}/root", container.record.init_process_pid);
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let root = rustix::fs::openat(CWD, &path, flags, Mode::empty());
    let root = root.with_context(|| format!("open the root of the container, {path}"))?;
    // Still the same process: the handle is of its root.
    pidfd_send_signal(pidfd.as_fd(), 0).context("the container's init")?;
    clone::setns(pidfd.as_fd(), libc::CLONE_NEWNS).context("enter the container's mount namespace")?;
    Ok(root)
}

/// No link is followed: the container could lead it to a mount that hides something.
fn detach(root: BorrowedFd<'_>, target: &CStr) -> Result<(), Errno> {
    let (directory, name) = split(target.to_bytes());
    let directory = std::ffi::CString::new(directory).map_err(|_| Errno::INVAL)?;
    let directory = open_inside(root, &directory, true, OFlags::PATH | OFlags::DIRECTORY)?;
    rustix::process::fchdir(&directory)?;
    unmount(name, UnmountFlags::DETACH | UnmountFlags::NOFOLLOW)
}
