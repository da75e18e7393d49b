//! Gives a cgroup to the container's user (config-linux.md, "Cgroup ownership").

use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;

use rustix::fs::{AtFlags, Uid, chownat};
use rustix::io::Errno;

use super::{Cgroup, file};
use crate::error::{Error, Result};

/// The kernel's list of files that are safe to delegate (Linux 4.15).
const LIST: &str = "/sys/kernel/cgroup/delegate";
/// Where there is no such list (config-linux.md names these).
const FALLBACK: &[u8] = b"cgroup.procs\ncgroup.subtree_control\ncgroup.threads\n";

impl Cgroup {
    /// Changes the owner of the v2 directory and of the listed files that it has; no other file, so that no limit can
    /// be changed from inside. Nothing on v1, where that would not be safe.
    ///
    /// # Errors
    /// The path that could not be given away.
    pub(super) fn give(&self, uid: Option<u32>) -> Result<()> {
        match (uid, &self.fd, &self.record.directories[..]) {
            (Some(uid), Some(directory), [recorded]) => give(directory.as_fd(), &recorded.path, uid),
            _ => Ok(()),
        }
    }
}

/// Gives one directory, which has this path, and its files.
///
/// # Errors
/// The path that could not be given away.
pub(super) fn give(directory: BorrowedFd<'_>, path: &Path, uid: u32) -> Result<()> {
    let listed = file::read_raw(Path::new(LIST));
    let listed = String::from_utf8_lossy(listed.as_deref().unwrap_or(FALLBACK)).into_owned();
    let names = listed.lines().filter(|name| !name.is_empty() && !name.contains('/'));
    for name in std::iter::once(".").chain(names) {
        match chownat(directory, name, Some(Uid::from_raw(uid)), None, AtFlags::SYMLINK_NOFOLLOW) {
            // Files of controllers that the cgroup does not have.
            Ok(()) | Err(Errno::NOENT) => {}
            Err(errno) => {
                let path = file::join(path, name);
                return Err(Error::system(format_args!("give {} to uid {uid}", path.display()), errno));
            }
        }
    }
    Ok(())
}
