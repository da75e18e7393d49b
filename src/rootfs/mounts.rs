//! Carrying out one entry of `mounts`, in the child, before the root changes.

use std::ffi::{CStr, CString};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{CWD, Mode, OFlags};
use rustix::io::Errno;
use rustix::mount::{MoveMountFlags, OpenTreeFlags, move_mount, open_tree};

use super::handle::FdPath;
use super::options::Links;
use super::paths::{Missing, make_link, open_inside, open_or_make};
use super::tree::{CgroupMount, MountAction, MountOp, Parameter};
use super::{configured, locked};
use crate::fault::{Action, During, Fault};
use crate::sys::mount::{Attributes, mount, set_attributes};

const ATTR_RDONLY: u64 = 1;
const PROC_SUPER_MAGIC: i64 = 0x9fa0;
const SYSFS_MAGIC: i64 = 0x6265_6572;

/// Mounts `op` below `root`. `tree` is the source of a bind mount that was opened beforehand. Gives a handle of the
/// mount if that is to be made read-only later.
///
/// # Errors
/// The first system call that failed.
pub fn carry_out(
    root: BorrowedFd<'_>,
    op: &MountOp,
    tree: Option<BorrowedFd<'_>>,
) -> Result<Option<OwnedFd>, Fault> {
    let target = op.target.as_c_str();
    match &op.action {
        MountAction::Bind { source, recursive, attributes, covers_proc, links, .. } => {
            let opened = if tree.is_none() { Some(clone_source(source, *recursive, *links)?) } else { None };
            let Some(tree) = tree.or(opened.as_ref().map(AsFd::as_fd)) else { return Ok(None) };
            if links.copy && is_symlink(tree)? {
                return copy_link(root, op, tree).map(|()| None);
            }
            if *covers_proc && !is_procfs(tree)? {
                return Err(Fault { action: Action::NotProcfs, errno: Errno::INVAL });
            }
            bind(root, op, tree, *attributes, *links)?;
            return Ok(None);
        }
        MountAction::Fresh { copy_up, .. } if *copy_up || tree.is_some() => {
            return super::fresh::carry_out(root, op, tree);
        }
        MountAction::Fresh { .. } => return fresh(root, op),
        MountAction::Remount { flags, cleared, data } => {
            let there = open_inside(root, target, false, OFlags::PATH).during(Action::Target)?;
            locked::remount(&there, *flags, *cleared, data.as_deref())?;
        }
        MountAction::Attributes { attributes, recursive } => {
            let there = open_inside(root, target, false, OFlags::PATH).during(Action::Target)?;
            locked::change(there.as_fd(), *attributes, *recursive)?;
        }
        MountAction::CgroupV2 { .. } => cgroup_v2(root, op)?,
        MountAction::CgroupV1 { flags, data, parameters, hierarchies, links } => {
            let base = cgroup_base(root, target, *flags, data, parameters)?;
            // Our own fresh tmpfs: names in it can be trusted, and as the working directory it saves a handle each.
            rustix::process::fchdir(&base).during(Action::Target)?;
            for hierarchy in hierarchies {
                cgroup_hierarchy(&base, hierarchy, *flags)?;
            }
            for (name, to) in links {
                rustix::fs::symlinkat(to, &base, name).during(Action::Target)?;
            }
            if flags & libc::MS_RDONLY != 0 {
                make_readonly(base.as_fd())?;
            }
        }
    }
    after(root, op)?;
    Ok(None)
}

/// A new file system.
fn fresh(root: BorrowedFd<'_>, op: &MountOp) -> Result<Option<OwnedFd>, Fault> {
    let MountAction::Fresh { fstype, source, flags, data, plain_target, fallback, parameters, .. } =
        &op.action
    else {
        return Ok(None);
    };
    let (directory, existed) =
        if *plain_target { (plain(root, &op.target)?, true) } else { found_or_made(root, &op.target)? };
    let adopted = if existed { AdoptedMode::of(fstype, data.as_deref(), &directory)? } else { None };
    let made = match parameters {
        None => {
            let data = adopted.as_ref().map_or(data.as_deref(), |mode| Some(mode.data()));
            mount_on(&directory, Some(source), Some(fstype), *flags, data).map(|()| None)
        }
        Some(parameters) => {
            let mode = adopted.as_ref().map(AdoptedMode::value);
            configured::make(fstype, source, *flags, parameters, mode.as_deref()).map(Some)
        }
    };
    let mounted = match (made, fallback) {
        (Err(Fault { errno: Errno::PERM, .. }), Some(tree)) => Some(restricted_clone(tree, *flags)?),
        (made, _) => made?,
    };
    let Some(mounted) = mounted else {
        after(root, op)?;
        return Ok(None);
    };
    finish(op, mounted.as_fd(), directory.as_fd())?;
    Ok(op.readonly_later.then_some(mounted))
}

/// The host's tree instead of a new file system, with all below, as little writable as that was to be.
fn restricted_clone(path: &CStr, flags: u64) -> Result<OwnedFd, Fault> {
    let tree = clone_tree(path, true)?;
    let set = super::options::mount_attributes(flags);
    locked::change(tree.as_fd(), Attributes { set, ..Attributes::default() }, true)?;
    Ok(tree)
}

/// Puts a detached mount into its place with all that its options ask for.
pub(super) fn finish(op: &MountOp, mounted: BorrowedFd<'_>, target: BorrowedFd<'_>) -> Result<(), Fault> {
    if op.recursive != Attributes::default() {
        locked::change(mounted, op.recursive, true)?;
    }
    if let Some(label) = &op.label {
        super::label::set(mounted, label).during(Action::Label)?;
    }
    attach(mounted, target)?;
    for flags in &op.propagation {
        propagate(mounted, *flags)?;
    }
    Ok(())
}

/// A detached clone of what is at a host path (open_tree(2), Linux 5.2).
///
/// # Errors
/// ENOENT, EACCES, EINVAL (unbindable), EPERM.
pub fn clone_tree(source: &CStr, recursive: bool) -> Result<OwnedFd, Fault> {
    clone_source(source, recursive, Links::default())
}

/// The same for a source that may be a symbolic link to be taken as it is.
///
/// # Errors
/// As [`clone_tree`].
pub fn clone_source(source: &CStr, recursive: bool, links: Links) -> Result<OwnedFd, Fault> {
    let mut flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
    if recursive {
        flags |= OpenTreeFlags::AT_RECURSIVE;
    }
    if !links.follows_source() {
        flags |= OpenTreeFlags::AT_SYMLINK_NOFOLLOW;
    }
    open_tree(CWD, source, flags).during(Action::Source)
}

fn is_symlink(tree: BorrowedFd<'_>) -> Result<bool, Fault> {
    let stat = rustix::fs::fstat(tree).during(Action::Source)?;
    Ok(rustix::fs::FileType::from_raw_mode(stat.st_mode).is_symlink())
}

/// `copy-symlink`: the link itself, not what it leads to. One that is there already must be the same.
fn copy_link(root: BorrowedFd<'_>, op: &MountOp, link: BorrowedFd<'_>) -> Result<(), Fault> {
    let target = rustix::fs::readlinkat(link, c"", Vec::new()).during(Action::Source)?;
    match make_link(root, &op.target, &target) {
        Err(errno @ Errno::EXIST) => Err(Fault { action: Action::Occupied, errno }),
        other => other.during(Action::Target),
    }
}

fn is_procfs(tree: BorrowedFd<'_>) -> Result<bool, Fault> {
    Ok(file_system(tree)? == PROC_SUPER_MAGIC)
}

fn file_system(handle: BorrowedFd<'_>) -> Result<i64, Fault> {
    Ok(rustix::fs::fstatfs(handle).during(Action::Source)?.f_type)
}

fn bind(
    root: BorrowedFd<'_>,
    op: &MountOp,
    tree: BorrowedFd<'_>,
    attributes: Attributes,
    links: Links,
) -> Result<(), Fault> {
    if attributes != Attributes::default() {
        locked::change(tree, attributes, false)?;
    }
    let itself = if links.destination { OFlags::NOFOLLOW } else { OFlags::empty() };
    let target = match open_inside(root, &op.target, false, OFlags::PATH | itself) {
        Err(Errno::NOENT) => {
            let stat = rustix::fs::fstat(tree).during(Action::Source)?;
            let kind = rustix::fs::FileType::from_raw_mode(stat.st_mode);
            let missing = if kind.is_dir() { Missing::Directory } else { Missing::File };
            open_or_make(root, &op.target, missing)
        }
        other => other,
    };
    let target = not_in_proc(&op.target, target.during(Action::Target)?)?;
    finish(op, tree, target.as_fd())
}

/// Puts a detached mount where the handle `target` points (move_mount(2), Linux 5.2).
///
/// # Errors
/// ENOTDIR when one is a directory and the other is not, EINVAL.
pub fn attach(tree: BorrowedFd<'_>, target: BorrowedFd<'_>) -> Result<(), Fault> {
    let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
    move_mount(tree, c"", target, c"", flags).during(Action::Attach)
}

/// Makes a detached tree receive mounts only, and pass none on.
///
/// # Errors
/// Those of mount_setattr(2).
pub fn enslave(tree: &OwnedFd) -> Result<(), Errno> {
    let slave = Attributes { propagation: libc::MS_SLAVE, ..Attributes::default() };
    set_attributes(tree.as_fd(), c"", true, slave, None)
}

fn propagate(mount: BorrowedFd<'_>, flags: u64) -> Result<(), Fault> {
    let change = Attributes { propagation: flags & !libc::MS_REC, ..Attributes::default() };
    set_attributes(mount, c"", flags & libc::MS_REC != 0, change, None).during(Action::Propagation)
}

/// What follows the mount itself: recursive attributes and propagation.
fn after(root: BorrowedFd<'_>, op: &MountOp) -> Result<(), Fault> {
    if op.propagation.is_empty() && op.recursive == Attributes::default() && op.label.is_none() {
        return Ok(());
    }
    let mounted = open_inside(root, &op.target, false, OFlags::PATH).during(Action::Target)?;
    if let Some(label) = &op.label {
        super::label::set(mounted.as_fd(), label).during(Action::Label)?;
    }
    if op.recursive != Attributes::default() {
        locked::change(mounted.as_fd(), op.recursive, true)?;
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
pub(super) fn found_or_made(root: BorrowedFd<'_>, target: &CStr) -> Result<(OwnedFd, bool), Fault> {
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

    /// The mode alone, octal.
    fn value(&self) -> CString {
        CString::new(&self.text[5..9]).unwrap_or_default()
    }

    fn data(&self) -> &CStr {
        CStr::from_bytes_until_nul(&self.text).unwrap_or(c"")
    }
}

fn cgroup_v2(root: BorrowedFd<'_>, op: &MountOp) -> Result<(), Fault> {
    let MountAction::CgroupV2 { flags, namespace, container, runtime, may_hide } = &op.action else {
        return Ok(());
    };
    let directory = directory(root, &op.target)?;
    if *namespace {
        match mount_on(&directory, Some(c"cgroup"), Some(c"cgroup2"), *flags, None) {
            // In a user namespace that does not own the cgroup namespace, or when it is mounted already.
            Err(Fault { errno: Errno::PERM | Errno::BUSY, .. }) => {}
            other => return other,
        }
    }
    let container = container.as_deref().unwrap_or(CGROUPS);
    let tree = match clone_cgroup(container, runtime.as_deref()) {
        Err(Fault { errno: Errno::NOENT | Errno::ACCESS | Errno::PERM, .. }) if *may_hide => {
            let mode = Some(c"mode=555,nr_inodes=2,nr_blocks=1");
            return mount_on(&directory, Some(c"none"), Some(c"tmpfs"), *flags | libc::MS_RDONLY, mode);
        }
        other => other?,
    };
    let set = super::options::mount_attributes(*flags);
    locked::change(tree.as_fd(), Attributes { set, ..Attributes::default() }, false)?;
    attach(tree.as_fd(), directory.as_fd())
}

const CGROUPS: &CStr = c"/sys/fs/cgroup";

/// The container's cgroup; where it has none that of the runtime, which is not the container's to change (Z10).
fn clone_cgroup(container: &CStr, runtime: Option<&CStr>) -> Result<OwnedFd, Fault> {
    match (clone_tree(container, false), runtime) {
        (Err(Fault { errno: Errno::NOENT, .. }), Some(runtime)) => {
            let tree = clone_tree(runtime, false)?;
            let readonly = Attributes { set: ATTR_RDONLY, ..Attributes::default() };
            locked::change(tree.as_fd(), readonly, false)?;
            Ok(tree)
        }
        (other, _) => other,
    }
}

/// The writable tmpfs that holds a directory for each hierarchy.
fn cgroup_base(
    root: BorrowedFd<'_>,
    target: &CStr,
    flags: u64,
    data: &CStr,
    parameters: &[Parameter],
) -> Result<OwnedFd, Fault> {
    let directory = open_or_make(root, target, Missing::Directory).during(Action::Target)?;
    let flags = flags & !libc::MS_RDONLY;
    // In sysfs nobody can exchange the directory, so that it may be looked up once more.
    if file_system(directory.as_fd())? == SYSFS_MAGIC {
        mount_on(&directory, Some(c"tmpfs"), Some(c"tmpfs"), flags, Some(data))?;
        return open_inside(root, target, false, OFlags::PATH | OFlags::DIRECTORY).during(Action::Target);
    }
    let directory = not_in_proc(target, directory)?;
    let base = configured::make(c"tmpfs", c"tmpfs", flags, parameters, None)?;
    attach(base.as_fd(), directory.as_fd())?;
    Ok(base)
}

fn cgroup_hierarchy(base: &OwnedFd, hierarchy: &CgroupMount, flags: u64) -> Result<(), Fault> {
    let mode = Mode::from_raw_mode(0o755);
    let nofollow = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let Some(container) = &hierarchy.container else {
        rustix::fs::mkdirat(base, &hierarchy.name, mode).during(Action::Target)?;
        return mount(Some(c"cgroup"), &hierarchy.name, Some(c"cgroup"), flags, Some(&hierarchy.data))
            .during(Action::Mount);
    };
    let tree = match clone_cgroup(container, hierarchy.runtime.as_deref()) {
        // A hierarchy that is not mounted on the host was gone without (Q26).
        Err(Fault { errno: Errno::NOENT, .. }) => return Ok(()),
        other => other?,
    };
    let set = super::options::mount_attributes(flags);
    set_attributes(tree.as_fd(), c"", false, Attributes { set, ..Attributes::default() }, None)
        .during(Action::Flags)?;
    rustix::fs::mkdirat(base, &hierarchy.name, mode).during(Action::Target)?;
    let target = rustix::fs::openat(base, &hierarchy.name, nofollow, Mode::empty()).during(Action::Target)?;
    attach(tree.as_fd(), target.as_fd())
}

/// Makes a mount read-only, keeping its other flags.
///
/// # Errors
/// Those of mount_setattr(2).
pub fn make_readonly(mounted: BorrowedFd<'_>) -> Result<(), Fault> {
    let readonly = Attributes { set: ATTR_RDONLY, ..Attributes::default() };
    set_attributes(mounted, c"", false, readonly, None).during(Action::Flags)
}
