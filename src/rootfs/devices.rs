//! Device nodes and the links beside them, through a handle of their directory (R6).

use std::ffi::CStr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{AtFlags, FileType, Gid, Mode, OFlags, Uid};
use rustix::io::Errno;

use super::mounts::{attach, clone_tree};
use super::paths::{Missing, open_or_make};
use super::tree::DeviceNode;
use crate::fault::{Action, During, Fault};

/// The links of config-linux.md ("/dev symbolic links") as name and what it points to.
const LINKS: &[(&CStr, &CStr)] = &[
    (c"fd", c"/proc/self/fd"),
    (c"stdin", c"/proc/self/fd/0"),
    (c"stdout", c"/proc/self/fd/1"),
    (c"stderr", c"/proc/self/fd/2"),
    (c"core", c"/proc/kcore"),
    (c"ptmx", c"pts/ptmx"),
];

/// The container's /dev, opened once.
#[derive(Debug)]
pub struct DevDirectory {
    directory: OwnedFd,
}

impl DevDirectory {
    /// Opens /dev below the root, or makes it.
    ///
    /// # Errors
    /// Those of openat2(2) and mkdirat(2).
    pub fn open(root: BorrowedFd<'_>) -> Result<Self, Fault> {
        let directory = open_or_make(root, c"dev", Missing::Directory).during(Action::Target)?;
        Ok(Self { directory })
    }

    /// Makes one node. The umask must be 0.
    ///
    /// # Errors
    /// Something else is there already; those of mknodat(2).
    pub fn make(&self, root: BorrowedFd<'_>, node: &DeviceNode, bind: bool) -> Result<(), Fault> {
        let path = node.path.to_bytes_with_nul();
        if let Some(name) = path.strip_prefix(b"dev/").filter(|name| !name.contains(&b'/')) {
            let name = CStr::from_bytes_until_nul(name).unwrap_or(c"");
            return make_in(self.directory.as_fd(), name, node, bind);
        }
        let slash = path.iter().rposition(|byte| *byte == b'/');
        let name = CStr::from_bytes_until_nul(&path[slash.map_or(0, |at| at + 1)..]).unwrap_or(c"");
        let mut parent = [0u8; 4096];
        let length = slash.unwrap_or(0);
        parent.get_mut(..length).ok_or(Errno::NAMETOOLONG)?.copy_from_slice(&path[..length]);
        let parent = CStr::from_bytes_until_nul(&parent).unwrap_or(c"");
        let directory = open_or_make(root, parent, Missing::Directory).during(Action::Target)?;
        make_in(directory.as_fd(), name, node, bind)
    }

    /// Makes the default links; one that is there already stays (R6).
    ///
    /// # Errors
    /// Those of symlinkat(2) but EEXIST.
    pub fn link(&self) -> Result<(), Fault> {
        for (name, to) in LINKS {
            match rustix::fs::symlinkat(*to, &self.directory, *name) {
                Ok(()) | Err(Errno::EXIST) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }
}

fn make_in(directory: BorrowedFd<'_>, name: &CStr, node: &DeviceNode, bind: bool) -> Result<(), Fault> {
    let mode = Mode::from_raw_mode(node.mode & 0o7777);
    let made = if bind && !is_fifo(node) {
        Err(Errno::PERM)
    } else {
        rustix::fs::mknodat(directory, name, FileType::from_raw_mode(node.mode), mode, node.device)
    };
    match made {
        Ok(()) => own(directory, name, node),
        Err(Errno::EXIST) => open_node(directory, name, node).map(drop),
        // No right to make nodes: take the host's (R7).
        Err(Errno::PERM) => bind_host_node(directory, name, node),
        Err(error) => Err(error.into()),
    }
}

fn is_fifo(node: &DeviceNode) -> bool {
    node.mode & libc::S_IFMT == libc::S_IFIFO
}

/// By a handle that is known to be the node: the name may stand for something else by now (R6).
fn own(directory: BorrowedFd<'_>, name: &CStr, node: &DeviceNode) -> Result<(), Fault> {
    if node.uid == 0 && node.gid == 0 {
        return Ok(());
    }
    let handle = open_node(directory, name, node)?;
    let (uid, gid) = (Uid::from_raw(node.uid), Gid::from_raw(node.gid));
    rustix::fs::chownat(handle, c"", Some(uid), Some(gid), AtFlags::EMPTY_PATH).during(Action::Owner)
}

/// Opens what is there only if it is the very same device (D2).
fn open_node(directory: BorrowedFd<'_>, name: &CStr, node: &DeviceNode) -> Result<OwnedFd, Fault> {
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let handle = rustix::fs::openat(directory, name, flags, Mode::empty()).during(Action::Target)?;
    if is_device(&handle, node)? {
        Ok(handle)
    } else {
        Err(Fault { action: Action::Occupied, errno: Errno::EXIST })
    }
}

fn is_device(handle: &OwnedFd, node: &DeviceNode) -> Result<bool, Errno> {
    let stat = rustix::fs::fstat(handle)?;
    Ok(stat.st_mode & libc::S_IFMT == node.mode & libc::S_IFMT
        && (is_fifo(node) || stat.st_rdev == node.device))
}

/// Binds the host's node of the same path over an empty file.
fn bind_host_node(directory: BorrowedFd<'_>, name: &CStr, node: &DeviceNode) -> Result<(), Fault> {
    let mut host = [0u8; 4096];
    let path = node.path.to_bytes();
    host[0] = b'/';
    host.get_mut(1..=path.len()).ok_or(Errno::NAMETOOLONG)?.copy_from_slice(path);
    let tree = clone_tree(CStr::from_bytes_until_nul(&host).unwrap_or(c""), false)?;
    if !is_device(&tree, node)? {
        return Err(Fault { action: Action::Source, errno: Errno::NODEV });
    }
    attach(tree.as_fd(), place_for(directory, name, node)?.as_fd())
}

/// An empty file to bind a node over: a new one, one that an earlier container left, or the node itself. Nothing is
/// opened that could block or act.
fn place_for(directory: BorrowedFd<'_>, name: &CStr, node: &DeviceNode) -> Result<OwnedFd, Fault> {
    let flags = OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::WRONLY | OFlags::CLOEXEC;
    match rustix::fs::openat(directory, name, flags, Mode::from_raw_mode(0o644)) {
        Err(Errno::EXIST) => {}
        other => return other.during(Action::Target),
    }
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let there = rustix::fs::openat(directory, name, flags, Mode::empty()).during(Action::Target)?;
    let stat = rustix::fs::fstat(&there).during(Action::Target)?;
    let empty_file = FileType::from_raw_mode(stat.st_mode).is_file() && stat.st_size == 0;
    if empty_file || is_device(&there, node)? {
        Ok(there)
    } else {
        Err(Fault { action: Action::Occupied, errno: Errno::EXIST })
    }
}
