//! Carrying out one entry of `mounts`, in the child, before the root changes.

use std::ffi::CStr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{CWD, Mode, OFlags};
use rustix::io::Errno;
use rustix::mount::{MoveMountFlags, OpenTreeFlags, move_mount, open_tree};

use super::handle::FdPath;
use super::paths::{Missing, open_inside, open_or_make};
use super::tree::{CgroupMount, MountAction, MountOp};
use crate::fault::{Action, During, Fault};
use crate::sys::mount::{Attributes, mount, set_attributes};

const ATTR_RDONLY: u64 = 1;
const PROC_SUPER_MAGIC: i64 = 0x9fa0;

/// Mounts `op` below `root`. `tree` is the source of a bind mount that was opened beforehand.
///
/// # Errors
/// The first system call that failed.
pub fn carry_out(root: BorrowedFd<'_>, op: &MountOp, tree: Option<BorrowedFd<'_>>) -> Result<(), Fault> {
    let target = op.target.as_c_str();
    match &op.action {
        MountAction::Bind { source, recursive, attributes, covers_proc, .. } => {
            let opened = if tree.is_none() { Some(clone_tree(source, *recursive)?) } else { None };
            let Some(tree) = tree.or(opened.as_ref().map(AsFd::as_fd)) else { return Ok(()) };
            if *covers_proc && !is_procfs(tree)? {
                return Err(Fault { action: Action::NotProcfs, errno: Errno::INVAL });
            }
            return bind(root, op, tree, *attributes);
        }
        MountAction::Fresh { fstype, source, flags, data, plain_target } => {
            let (directory, existed) =
                if *plain_target { (plain(root, target)?, true) } else { found_or_made(root, target)? };
            let adopted = if existed { AdoptedMode::of(fstype, data.as_deref(), &directory)? } else { None };
            let data = adopted.as_ref().map_or(data.as_deref(), |mode| Some(mode.data()));
            mount_on(&directory, Some(source), Some(fstype), *flags, data)?;
        }
        MountAction::Remount { flags, data } => {
            let there = open_inside(root, target, false, OFlags::PATH).during(Action::Target)?;
            mount_on(&there, None, None, *flags, data.as_deref())?;
        }
        MountAction::CgroupV2 { flags, container, runtime } => {
            cgroup_v2(root, target, *flags, container.as_deref(), runtime.as_deref())?;
        }
        MountAction::CgroupV1 { flags, hierarchies, links } => {
            let base = cgroup_base(root, target, *flags)?;
            // Our own fresh tmpfs: names in it can be trusted, and as the working directory it saves a handle each.
            rustix::process::fchdir(&base).during(Action::Target)?;
            for hierarchy in hierarchies {
                cgroup_hierarchy(&base, hierarchy, *flags)?;
            }
            for (name, to) in links {
                rustix::fs::symlinkat(to, &base, name).during(Action::Target)?;
            }
            if flags & libc::MS_RDONLY != 0 {
                let readonly = Attributes { set: ATTR_RDONLY, ..Attributes::default() };
                set_attributes(base.as_fd(), c"", false, readonly, None).during(Action::Flags)?;
            }
        }
    }
    after(root, op)
}

/// A detached clone of what is at a host path (open_tree(2), Linux 5.2).
///
/// # Errors
/// ENOENT, EACCES, EINVAL (unbindable), EPERM.
pub fn clone_tree(source: &CStr, recursive: bool) -> Result<OwnedFd, Fault> {
    let mut flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
    if recursive {
        flags |= OpenTreeFlags::AT_RECURSIVE;
    }
    open_tree(CWD, source, flags).during(Action::Source)
}

fn is_procfs(tree: BorrowedFd<'_>) -> Result<bool, Fault> {
    Ok(rustix::fs::fstatfs(tree).during(Action::Source)?.f_type == PROC_SUPER_MAGIC)
}

fn bind(
    root: BorrowedFd<'_>,
    op: &MountOp,
    tree: BorrowedFd<'_>,
    attributes: Attributes,
) -> Result<(), Fault> {
    if attributes != Attributes::default() {
        set_attributes(tree, c"", false, attributes, None).during(Action::Flags)?;
    }
    if op.recursive != Attributes::default() {
        set_attributes(tree, c"", true, op.recursive, None).during(Action::Flags)?;
    }
    let target = match open_inside(root, &op.target, false, OFlags::PATH) {
        Err(Errno::NOENT) => {
            let stat = rustix::fs::fstat(tree).during(Action::Source)?;
            let kind = rustix::fs::FileType::from_raw_mode(stat.st_mode);
            let missing = if kind.is_dir() { Missing::Directory } else { Missing::File };
            open_or_make(root, &op.target, missing)
        }
        other => other,
    };
    let target = not_in_proc(&op.target, target.during(Action::Target)?)?;
    attach(tree, target.as_fd())?;
    for flags in &op.propagation {
        propagate(tree, *flags)?;
    }
    Ok(())
}

/// Puts a detached mount where the handle `target` points (move_mount(2), Linux 5.2).
///
/// # Errors
/// ENOTDIR when one is a directory and the other is not, EINVAL.
pub fn attach(tree: BorrowedFd<'_>, target: BorrowedFd<'_>) -> Result<(), Fault> {
    let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
    move_mount(tree, c"", target, c"", flags).during(Action::Attach)
}

fn propagate(mount: BorrowedFd<'_>, flags: u64) -> Result<(), Fault> {
    let change = Attributes { propagation: flags & !libc::MS_REC, ..Attributes::default() };
    set_attributes(mount, c"", flags & libc::MS_REC != 0, change, None).during(Action::Propagation)
}

/// What follows the mount itself: recursive attributes and propagation.
fn after(root: BorrowedFd<'_>, op: &MountOp) -> Result<(), Fault> {
    if op.propagation.is_empty() && op.recursive == Attributes::default() {
        return Ok(());
    }
    let mounted = open_inside(root, &op.target, false, OFlags::PATH).during(Action::Target)?;
    if op.recursive != Attributes::default() {
        set_attributes(mounted.as_fd(), c"", true, op.recursive, None).during(Action::Flags)?;
    }
    for flags in &op.propagation {
        propagate(mounted.as_fd(), *flags)?;
    }
    Ok(())
}

fn directory(root: BorrowedFd<'_>, target: &CStr) -> Result<OwnedFd, Fault> {
    let handle = open_or_make(root, target, Missing::Directory).during(Action::Target)?;
    not_in_proc(target, handle)
}

/// As [`directory`]; also whether it was there before, since only then its mode is somebody's wish (M32).
fn found_or_made(root: BorrowedFd<'_>, target: &CStr) -> Result<(OwnedFd, bool), Fault> {
    match open_inside(root, target, false, OFlags::PATH) {
        Err(Errno::NOENT) => Ok((directory(root, target)?, false)),
        other => Ok((not_in_proc(target, other.during(Action::Target)?)?, true)),
    }
}

/// The rule about mounts inside /proc holds for where the path leads, not only for how it is spelt: an image may
/// have links into /proc (R3).
fn not_in_proc(target: &CStr, handle: OwnedFd) -> Result<OwnedFd, Fault> {
    let by_name = target.to_bytes() == b"proc" || target.to_bytes().starts_with(b"proc/");
    if !by_name && is_procfs(handle.as_fd())? {
        return Err(Fault { action: Action::OverProc, errno: Errno::PERM });
    }
    Ok(handle)
}

/// The mount point of proc or sysfs: an ordinary directory, so that an image can't lead it elsewhere
/// (CVE-2019-19921, CVE-2023-27561).
fn plain(root: BorrowedFd<'_>, target: &CStr) -> Result<OwnedFd, Fault> {
    match open_inside(root, target, true, OFlags::PATH | OFlags::DIRECTORY) {
        Err(Errno::NOENT) => {
            directory(root, target)?;
            open_inside(root, target, true, OFlags::PATH | OFlags::DIRECTORY).during(Action::Plain)
        }
        Err(errno @ (Errno::LOOP | Errno::NOTDIR)) => Err(Fault { action: Action::Plain, errno }),
        other => other.during(Action::Target),
    }
}

fn mount_on(
    target: &OwnedFd,
    source: Option<&CStr>,
    fstype: Option<&CStr>,
    flags: u64,
    data: Option<&CStr>,
) -> Result<(), Fault> {
    mount(source, FdPath::new(target.as_fd()).as_c_str(), fstype, flags, data).during(Action::Mount)
}

/// A tmpfs over a directory takes that directory's mode unless the config gives one (M32).
struct AdoptedMode {
    text: [u8; 512],
}

impl AdoptedMode {
    fn of(fstype: &CStr, data: Option<&CStr>, directory: &OwnedFd) -> Result<Option<Self>, Fault> {
        let given = data.map(CStr::to_bytes).unwrap_or_default();
        if fstype != c"tmpfs" || given.windows(5).any(|part| part == b"mode=") {
            return Ok(None);
        }
        let mode = rustix::fs::fstat(directory).during(Action::Target)?.st_mode & 0o7777;
        let mut text = [0u8; 512];
        let octal = [9, 6, 3, 0].map(|shift| b"01234567"[(mode >> shift & 7) as usize]);
        // The user's data comes later and wins.
        for (to, from) in text[..511].iter_mut().zip(b"mode=".iter().chain(&octal).chain(b",").chain(given)) {
            *to = *from;
        }
        Ok(if given.len() < 500 { Some(Self { text }) } else { None })
    }

    fn data(&self) -> &CStr {
        CStr::from_bytes_until_nul(&self.text).unwrap_or(c"")
    }
}

fn cgroup_v2(
    root: BorrowedFd<'_>,
    target: &CStr,
    flags: u64,
    container: Option<&CStr>,
    runtime: Option<&CStr>,
) -> Result<(), Fault> {
    let directory = directory(root, target)?;
    if container.is_none() {
        match mount_on(&directory, Some(c"cgroup"), Some(c"cgroup2"), flags, None) {
            // In a user namespace that does not own the cgroup namespace's root, or when it is mounted already.
            Err(Fault { errno: Errno::PERM | Errno::BUSY, .. }) => {}
            other => return other,
        }
    }
    let tree = clone_cgroup(
        container.or(runtime).unwrap_or(CGROUPS),
        runtime.filter(|_| container.is_some()).or(Some(CGROUPS)),
    )?;
    let set = super::options::mount_attributes(flags);
    set_attributes(tree.as_fd(), c"", false, Attributes { set, ..Attributes::default() }, None)
        .during(Action::Flags)?;
    attach(tree.as_fd(), directory.as_fd())
}

const CGROUPS: &CStr = c"/sys/fs/cgroup";

/// The container's cgroup, or that of the runtime where it has none.
fn clone_cgroup(container: &CStr, runtime: Option<&CStr>) -> Result<OwnedFd, Fault> {
    match (clone_tree(container, false), runtime) {
        (Err(Fault { errno: Errno::NOENT, .. }), Some(runtime)) => clone_tree(runtime, false),
        (other, _) => other,
    }
}

/// The writable tmpfs that holds a directory for each hierarchy.
fn cgroup_base(root: BorrowedFd<'_>, target: &CStr, flags: u64) -> Result<OwnedFd, Fault> {
    let directory = directory(root, target)?;
    mount_on(&directory, Some(c"tmpfs"), Some(c"tmpfs"), flags & !libc::MS_RDONLY, Some(c"mode=755"))?;
    open_inside(root, target, false, OFlags::PATH | OFlags::DIRECTORY).during(Action::Target)
}

fn cgroup_hierarchy(base: &OwnedFd, hierarchy: &CgroupMount, flags: u64) -> Result<(), Fault> {
    rustix::fs::mkdirat(base, &hierarchy.name, Mode::from_raw_mode(0o755)).during(Action::Target)?;
    let nofollow = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let Some(container) = &hierarchy.container else {
        return mount(Some(c"cgroup"), &hierarchy.name, Some(c"cgroup"), flags, Some(&hierarchy.data))
            .during(Action::Mount);
    };
    let tree = clone_cgroup(container, hierarchy.runtime.as_deref())?;
    let set = super::options::mount_attributes(flags);
    set_attributes(tree.as_fd(), c"", false, Attributes { set, ..Attributes::default() }, None)
        .during(Action::Flags)?;
    let target = rustix::fs::openat(base, &hierarchy.name, nofollow, Mode::empty()).during(Action::Target)?;
    attach(tree.as_fd(), target.as_fd())
}

/// Makes a mount read-only that had to be writable while its contents were made.
///
/// # Errors
/// Those of openat2(2) and mount_setattr(2).
pub fn make_readonly(root: BorrowedFd<'_>, target: &CStr) -> Result<(), Fault> {
    let mounted = open_inside(root, target, false, OFlags::PATH).during(Action::Target)?;
    let readonly = Attributes { set: ATTR_RDONLY, ..Attributes::default() };
    set_attributes(mounted.as_fd(), c"", false, readonly, None).during(Action::Flags)
}
