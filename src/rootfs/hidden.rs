//! `maskedPaths` and `readonlyPaths`.

use std::ffi::CStr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{CWD, FileType, Mode, OFlags};
use rustix::io::Errno;
use rustix::mount::{OpenTreeFlags, open_tree};

use super::handle::FdPath;
use super::mounts::attach;
use super::paths::open_inside;
use crate::fault::{Action, During, Fault};
use crate::sys::mount::mount;

/// What masks are made of: the host's null device, verified, and one empty directory for all.
#[derive(Debug)]
pub struct Masks<'a> {
    null: OwnedFd,
    empty: Option<OwnedFd>,
    context: Option<&'a CStr>,
}

impl<'a> Masks<'a> {
    /// Opens the host's /dev/null and checks that it is the null device (CVE-2025-31133). With `context` as mount
    /// data of the directory.
    ///
    /// # Errors
    /// It is not; those of open(2).
    pub fn new(context: Option<&'a CStr>) -> Result<Self, Fault> {
        let null = rustix::fs::openat(CWD, c"/dev/null", OFlags::PATH | OFlags::CLOEXEC, Mode::empty())?;
        let stat = rustix::fs::fstat(&null)?;
        let character = FileType::from_raw_mode(stat.st_mode).is_char_device();
        if !character || stat.st_rdev != rustix::fs::makedev(1, 3) {
            return Err(Fault { action: Action::NotNull, errno: Errno::NODEV });
        }
        Ok(Self { null, empty: None, context })
    }

    /// Covers `path`: a file with the null device, a directory with an empty read-only one. What is not there
    /// or can't be reached is skipped.
    ///
    /// # Errors
    /// Those of openat2(2) but ENOENT and EACCES, and of mount(2).
    pub fn cover(&mut self, root: BorrowedFd<'_>, path: &CStr) -> Result<(), Fault> {
        let target = match open_existing(root, path) {
            // What the container's root can't reach needs no mask.
            Err(Fault { errno: Errno::ACCESS, .. }) => None,
            other => other?,
        };
        let Some(target) = target else { return Ok(()) };
        let source = FdPath::new(self.null.as_fd());
        let on = FdPath::new(target.as_fd());
        match mount(Some(source.as_c_str()), on.as_c_str(), None, libc::MS_BIND, None) {
            Err(Errno::NOTDIR) => self.cover_directory(root, path, &target, &on),
            other => other.during(Action::Mount),
        }
    }

    fn cover_directory(
        &mut self,
        root: BorrowedFd<'_>,
        path: &CStr,
        target: &OwnedFd,
        on: &FdPath,
    ) -> Result<(), Fault> {
        if let Some(empty) = &self.empty {
            let flags = OpenTreeFlags::OPEN_TREE_CLONE
                | OpenTreeFlags::OPEN_TREE_CLOEXEC
                | OpenTreeFlags::AT_EMPTY_PATH;
            let tree = open_tree(empty, c"", flags).during(Action::Source)?;
            return attach(tree.as_fd(), target.as_fd());
        }
        let tmpfs = |data| mount(Some(c"tmpfs"), on.as_c_str(), Some(c"tmpfs"), libc::MS_RDONLY, data);
        let small = [c"nr_blocks=1,nr_inodes=1", c"nr_blocks=1,nr_inodes=2"];
        if self.context.is_some() || !small.into_iter().any(|data| tmpfs(Some(data)).is_ok()) {
            tmpfs(self.context).during(Action::Mount)?;
        }
        self.empty = Some(open_inside(root, path, false, OFlags::PATH).during(Action::Target)?);
        Ok(())
    }
}

fn open_existing(root: BorrowedFd<'_>, path: &CStr) -> Result<Option<OwnedFd>, Fault> {
    match open_inside(root, path, false, OFlags::PATH) {
        Ok(handle) => Ok(Some(handle)),
        Err(Errno::NOENT | Errno::NOTDIR) => Ok(None),
        Err(errno) => Err(Fault { action: Action::Target, errno }),
    }
}

/// Makes `path` read-only by a bind of itself that keeps its other flags. Mounts below come along as they are, as
/// with runc. What is not there is skipped.
///
/// # Errors
/// Those of openat2(2) but ENOENT, open_tree(2), mount_setattr(2), move_mount(2).
pub fn make_readonly(root: BorrowedFd<'_>, path: &CStr) -> Result<(), Fault> {
    let Some(target) = open_existing(root, path)? else { return Ok(()) };
    let flags = OpenTreeFlags::OPEN_TREE_CLONE
        | OpenTreeFlags::OPEN_TREE_CLOEXEC
        | OpenTreeFlags::AT_RECURSIVE
        | OpenTreeFlags::AT_EMPTY_PATH;
    let tree = open_tree(&target, c"", flags).during(Action::Source)?;
    super::mounts::make_readonly(tree.as_fd())?;
    attach(tree.as_fd(), target.as_fd())
}
