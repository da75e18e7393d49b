//! What the parent mounts for init, detached: sources that only it can open, and id-mapped mounts.
//!
//! An id mapping takes CAP_SYS_ADMIN where the file system belongs, which init in a user namespace does not have.

use std::ffi::CString;
use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::{CWD, Mode, OFlags};
use rustix::io::Errno;

use super::{channel, describe, join};
use crate::error::{Context, Error, Result};
use crate::fault::Fault;
use crate::plan::Plan;
use crate::rootfs::tree::{IdMap, MapNamespace, MountAction, MountOp, Opens};
use crate::rootfs::{fresh, idmap, mounts};
use crate::sys::clone;
use crate::sys::fd;
use crate::sys::procfs::Proc;

/// Without privilege no mount can be id-mapped (M33).
///
/// # Errors
/// `mounts[N]: id-mapped mounts are not supported for rootless containers`.
pub fn refuse_rootless(plan: &Plan) -> Result<()> {
    match plan.rootfs.mounts.iter().position(|op| op.id_map.is_some()) {
        Some(index) if !rustix::process::geteuid().is_root() => {
            let text = "id-mapped mounts are not supported for rootless containers";
            Err(Error::config(&format!("mounts[{index}]"), text))
        }
        _ => Ok(()),
    }
}

/// The mounts that init finds made, by their index. Links of procfs lead into the runtime's mount namespace, where
/// init is not any more (M48).
///
/// # Errors
/// A source that can't be opened, a file system that can't be made or id-mapped, maps that the kernel refuses.
pub fn open(plan: &Plan, proc: &Proc) -> Result<Vec<(usize, OwnedFd)>> {
    let mut sources = Vec::new();
    let mut namespaces = Vec::new();
    for (index, op) in plan.rootfs.mounts.iter().enumerate() {
        let Some(tree) = tree(index, op, plan)? else { continue };
        if let Some(id_map) = &op.id_map {
            let at = match namespaces.iter().position(|(known, _)| *known == &id_map.namespace) {
                Some(at) => at,
                None => {
                    namespaces.push((&id_map.namespace, namespace(plan, proc, index, &id_map.namespace)?));
                    namespaces.len() - 1
                }
            };
            let namespace = namespaces[at].1.as_fd();
            idmap::apply(tree.as_fd(), namespace, id_map.recursive)
                .map_err(|errno| refused(index, op, id_map, &tree, errno))?;
        }
        sources.push((index, tree));
    }
    Ok(sources)
}

fn tree(index: usize, op: &MountOp, plan: &Plan) -> Result<Option<OwnedFd>> {
    match &op.action {
        MountAction::Bind { source, recursive, opens: Opens::Parent, links, .. } => {
            let tree = match mounts::clone_source(source, *recursive, *links) {
                Ok(tree) => tree,
                // An ordinary user has the right in its new user namespace only: init opens it there.
                Err(Fault { errno: Errno::PERM, .. })
                    if op.id_map.is_none() && plan.namespaces.in_user_namespace() =>
                {
                    return Ok(None);
                }
                Err(Fault { errno, .. }) => {
                    let source = source.to_string_lossy();
                    return Err(Error::system(format_args!("mounts[{index}].source: open {source}"), errno));
                }
            };
            if plan.rootfs.propagation & libc::MS_SHARED == 0 {
                // As it would be, had init opened it: mounts in the container must not reach the host (M25).
                mounts::enslave(&tree).with_context(|| format!("mounts[{index}].source: set propagation"))?;
            }
            Ok(Some(tree))
        }
        MountAction::Fresh { .. } if op.id_map.is_some() => {
            let tree = fresh::make(op).map_err(|Fault { errno, .. }| {
                let (target, text) = (op.target.to_string_lossy(), describe::mount_text(op));
                let error = Error::system(format_args!("mounts[{index}] (/{target}): {text}"), errno);
                match errno {
                    Errno::INVAL => error.hint("does the file system know all of these options?"),
                    Errno::NODEV => error.hint("the kernel has no file system of this type"),
                    _ => error,
                }
            })?;
            Ok(Some(tree))
        }
        _ => Ok(None),
    }
}

/// The user namespace of a mapping.
fn namespace(plan: &Plan, proc: &Proc, index: usize, wanted: &MapNamespace) -> Result<OwnedFd> {
    match (wanted, &plan.namespaces.join_user) {
        (MapNamespace::Made { uid, gid }, _) => make_namespace(proc, index, uid, gid),
        (MapNamespace::Joined, Some(join)) => join::open(join),
        (MapNamespace::Joined, None) => {
            Err(Error::config(&format!("mounts[{index}]"), "there is no user namespace to join"))
        }
    }
}

/// A user namespace with these maps and nobody in it: made by a child that lives until it is open.
fn make_namespace(proc: &Proc, index: usize, uid: &str, gid: &str) -> Result<OwnedFd> {
    let doing = || format!("mounts[{index}]: make a user namespace for its id mapping");
    let (parent_end, child_end) = channel::pair().with_context(doing)?;
    let new = u64::from(libc::CLONE_NEWUSER.unsigned_abs());
    let child = clone::clone3(new, None, false, || {
        fd::close_in_child(parent_end.as_fd());
        // Until the parent closes its end, or dies.
        let _ = rustix::io::read(&child_end, &mut [0u8; 1]);
        0
    })
    .with_context(doing)?;
    let write = |name: &str, map: &str| {
        let file = CString::new(format!("{}/{name}_map", child.pid)).unwrap_or_default();
        proc.write(&file, map.as_bytes()).map_err(|errno| {
            let path = format!("mounts[{index}].{name}Mappings: write /proc/{}/{name}_map", child.pid);
            let error = Error::system(path, errno);
            if errno == Errno::INVAL { error.hint("do two of its ranges overlap?") } else { error }
        })
    };
    let made = write("uid", uid).and_then(|()| write("gid", gid)).and_then(|()| {
        let path = format!("/proc/{}/ns/user", child.pid);
        let flags = OFlags::RDONLY | OFlags::CLOEXEC;
        rustix::fs::openat(CWD, path, flags, Mode::empty()).with_context(doing)
    });
    child.kill_and_reap();
    made
}

fn refused(index: usize, op: &MountOp, id_map: &IdMap, tree: &OwnedFd, errno: Errno) -> Error {
    let target = op.target.to_string_lossy();
    let error = Error::system(format_args!("mounts[{index}] (/{target}): id-map the mount"), errno);
    match errno {
        Errno::INVAL => {
            let magic = rustix::fs::fstatfs(tree).map(|found| found.f_type).unwrap_or_default();
            let kind = match (&op.action, idmap::type_name(magic)) {
                (MountAction::Fresh { fstype, .. }, _) => format!("{:?}", fstype.to_string_lossy()),
                (_, Some(name)) => format!("{name:?}"),
                (_, None) => format!("with the number {magic:#x}"),
            };
            let below = if id_map.recursive { " (or one that is mounted below it)" } else { "" };
            error.hint(format!(
                "the file system {kind}{below} does not support id-mapped mounts on this kernel"
            ))
        }
        Errno::PERM => error
            .hint("the source may be id-mapped already, or its file system belong to another user namespace"),
        Errno::NOSYS => error.hint("id-mapped mounts take Linux 5.12"),
        _ => error,
    }
}
