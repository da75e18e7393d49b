//! Writes below /proc, through a handle that is known to be procfs (R4).

use std::ffi::CStr;
use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::{CWD, Mode, OFlags, ResolveFlags, openat2};
use rustix::io::Errno;
use rustix::mount::{FsMountFlags, FsOpenFlags, MountAttrFlags, fsconfig_create, fsmount, fsopen};

const PROC_SUPER_MAGIC: i64 = 0x9fa0;
const PROC_ROOT_INODE: u64 = 1;

/// The root of a procfs.
#[derive(Debug)]
pub struct Proc {
    root: OwnedFd,
}

impl Proc {
    /// The host's /proc if it is the root of a procfs, else a private one.
    ///
    /// # Errors
    /// Those of open(2) and fsopen(2).
    pub fn open() -> Result<Self, Errno> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let root = rustix::fs::openat(CWD, c"/proc", flags, Mode::empty())?;
        let genuine = rustix::fs::fstatfs(&root)?.f_type == PROC_SUPER_MAGIC
            && rustix::fs::fstat(&root)?.st_ino == PROC_ROOT_INODE;
        if genuine { Ok(Self { root }) } else { Self::private() }
    }

    /// A procfs of our own that nothing is mounted over.
    fn private() -> Result<Self, Errno> {
        let context = fsopen(c"proc", FsOpenFlags::FSOPEN_CLOEXEC)?;
        fsconfig_create(context.as_fd())?;
        let root = fsmount(context.as_fd(), FsMountFlags::FSMOUNT_CLOEXEC, MountAttrFlags::empty())?;
        Ok(Self { root })
    }

    /// Opens a file below it. Neither a mount over a part of /proc nor a magic link is followed.
    ///
    /// # Errors
    /// ENOENT, EACCES, EXDEV (something is mounted over it).
    pub fn open_file(&self, path: &CStr, flags: OFlags) -> Result<OwnedFd, Errno> {
        let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS | ResolveFlags::NO_XDEV;
        let open = |root: &OwnedFd| openat2(root, path, flags | OFlags::CLOEXEC, Mode::empty(), resolve);
        match open(&self.root) {
            Err(Errno::XDEV) => open(&Self::private()?.root),
            other => other,
        }
    }

    /// Opens a namespace file of this process: a magic link, so that its end is checked instead of the way.
    ///
    /// # Errors
    /// EINVAL (no namespace is there), ENOENT.
    pub fn open_namespace(&self, path: &CStr) -> Result<OwnedFd, Errno> {
        const NSFS_MAGIC: i64 = 0x6e73_6673;
        let file = rustix::fs::openat(&self.root, path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?;
        if rustix::fs::fstatfs(&file)?.f_type == NSFS_MAGIC { Ok(file) } else { Err(Errno::INVAL) }
    }

    /// Opens a namespace file of a process, or of this one; only to be compared.
    ///
    /// # Errors
    /// As [`Proc::open_namespace`].
    pub fn open_namespace_of(&self, pid: Option<i32>, name: &str) -> Result<OwnedFd, Errno> {
        let of = pid.map_or_else(|| "self".to_string(), |pid| pid.to_string());
        let path = std::ffi::CString::new(format!("{of}/ns/{name}")).map_err(|_| Errno::INVAL)?;
        self.open_namespace(&path)
    }

    /// Opens the root directory of a process: a magic link as well.
    ///
    /// # Errors
    /// ENOENT (it has ended), EACCES.
    pub fn open_root_of(&self, pid: i32) -> Result<OwnedFd, Errno> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        rustix::fs::openat(&self.root, format!("{pid}/root"), flags, Mode::empty())
    }

    /// Writes `value` to a file by one call.
    ///
    /// # Errors
    /// As [`Proc::open_file`], and those of write(2).
    pub fn write(&self, path: &CStr, value: &[u8]) -> Result<(), Errno> {
        let file = self.open_file(path, OFlags::WRONLY)?;
        rustix::io::write(&file, value).map(|_| ())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// [T14] [Z7]
    #[test]
    fn only_procfs_and_no_magic_links() {
        let proc = Proc::open().unwrap();
        assert!(proc.open_file(c"self/status", OFlags::RDONLY).is_ok());
        assert_eq!(proc.open_file(c"self/root/etc", OFlags::PATH).unwrap_err(), Errno::LOOP);
        assert_eq!(proc.open_file(c"../etc", OFlags::PATH).unwrap_err(), Errno::XDEV);
    }
}
