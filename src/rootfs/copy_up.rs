//! `tmpcopyup`: what a directory holds, copied into the tmpfs that will cover it.
//!
//! Everything goes by descriptors and names without a slash, and no symlink is followed, so that nobody who changes
//! the directory meanwhile can lead the copy elsewhere. What is copied to is detached: only this process sees it.
//! Memory is bounded by the depth of the tree and the number of its hard links, space by the size of the tmpfs.

use std::collections::BTreeMap;
use std::ffi::{CStr, CString};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{
    AtFlags, Dir, FileType, Gid, Mode, OFlags, Stat, Timespec, Timestamps, Uid, XattrFlags, chownat, fstat,
    openat, statat,
};
use rustix::io::Errno;

/// Each level holds two descriptors.
const MAX_DEPTH: usize = 256;
/// XATTR_LIST_MAX and XATTR_SIZE_MAX (limits.h).
const XATTR_MAX: usize = 65536;

/// What the tmpfs was given by its options: not taken over from the directory.
#[derive(Clone, Copy, Debug, Default)]
pub struct Keep {
    /// `mode=`
    pub mode: bool,
    /// `uid=`
    pub uid: bool,
    /// `gid=`
    pub gid: bool,
}

/// Copies what is in `from` (a handle of a directory) to `to`, an empty directory: types, modes, owners, times,
/// extended attributes, hard links; and the same of the directory itself, but for what is to keep.
///
/// # Errors
/// ENOSPC (the tmpfs is full), ELOOP (deeper than 256 directories), EPERM (device nodes in a user namespace), EACCES.
pub fn copy(from: BorrowedFd<'_>, to: OwnedFd, keep: Keep) -> Result<(), Errno> {
    let root = to.try_clone().map_err(|_| Errno::MFILE)?;
    let mut copier = Copier { levels: Vec::new(), links: BTreeMap::new(), path: Vec::new(), keep, root };
    copier.descend(openat(from, c".", DIRECTORY, Mode::empty())?, to)?;
    while let Some(level) = copier.levels.last_mut() {
        match level.entries.read() {
            Some(entry) => match entry?.file_name() {
                name if name == c"." || name == c".." => {}
                name => copier.entry(name)?,
            },
            None => copier.ascend()?,
        }
    }
    Ok(())
}

const DIRECTORY: OFlags =
    OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// A directory that is being copied.
struct Level {
    entries: Dir,
    stat: Stat,
    to: OwnedFd,
    /// Length of the path of what is above it.
    above: usize,
}

struct Copier {
    levels: Vec<Level>,
    /// Files with several names, by device and inode: the first name's path below `root`.
    links: BTreeMap<(u64, u64), CString>,
    /// Path of the last level below `root`, each part with a slash after it.
    path: Vec<u8>,
    keep: Keep,
    root: OwnedFd,
}

impl Copier {
    fn descend(&mut self, from: OwnedFd, to: OwnedFd) -> Result<(), Errno> {
        if self.levels.len() >= MAX_DEPTH {
            return Err(Errno::LOOP);
        }
        let stat = fstat(&from)?;
        self.levels.push(Level { entries: Dir::new(from)?, stat, to, above: 0 });
        Ok(())
    }

    /// A directory gets its attributes when it is full: writing changes its times, a default ACL the modes in it.
    fn ascend(&mut self) -> Result<(), Errno> {
        let Some(level) = self.levels.pop() else { return Ok(()) };
        self.path.truncate(level.above);
        let keep = if self.levels.is_empty() { self.keep } else { Keep::default() };
        adopt(level.entries.fd()?, level.to.as_fd(), &level.stat, keep)
    }

    fn entry(&mut self, name: &CStr) -> Result<(), Errno> {
        let Some(level) = self.levels.last() else { return Ok(()) };
        let from = level.entries.fd()?;
        let stat = match statat(from, name, AtFlags::SYMLINK_NOFOLLOW) {
            Err(Errno::NOENT) => return Ok(()),
            stat => stat?,
        };
        let kind = FileType::from_raw_mode(stat.st_mode);
        if kind.is_dir() {
            let inner = openat(from, name, DIRECTORY, Mode::empty())?;
            rustix::fs::mkdirat(&level.to, name, Mode::RWXU)?;
            let to = openat(&level.to, name, DIRECTORY, Mode::empty())?;
            self.descend(inner, to)?;
            self.enter_path(name);
            return Ok(());
        }
        let many = stat.st_nlink > 1;
        let same = (stat.st_dev, stat.st_ino);
        if many && let Some(first) = self.links.get(&same) {
            return rustix::fs::linkat(&self.root, first, &level.to, name, AtFlags::empty());
        }
        match kind {
            FileType::RegularFile => regular(from, level.to.as_fd(), name)?,
            FileType::Symlink => symlink(from, level.to.as_fd(), name, &stat)?,
            _ => special(level.to.as_fd(), name, &stat)?,
        }
        if many {
            let path = [self.path.as_slice(), name.to_bytes()].concat();
            // A longer path could not be used: the file is then copied for each of its names.
            if path.len() < 4096
                && let Ok(path) = CString::new(path)
            {
                self.links.insert(same, path);
            }
        }
        Ok(())
    }

    fn enter_path(&mut self, name: &CStr) {
        if let Some(level) = self.levels.last_mut() {
            level.above = self.path.len();
        }
        self.path.extend_from_slice(name.to_bytes());
        self.path.push(b'/');
    }
}

fn regular(from: BorrowedFd<'_>, to: BorrowedFd<'_>, name: &CStr) -> Result<(), Errno> {
    let nofollow = OFlags::NOFOLLOW | OFlags::CLOEXEC;
    // Not to wait for a fifo that has just taken the file's place.
    let input = openat(from, name, OFlags::RDONLY | OFlags::NONBLOCK | nofollow, Mode::empty())?;
    let stat = fstat(&input)?;
    if !FileType::from_raw_mode(stat.st_mode).is_file() {
        return Err(Errno::AGAIN);
    }
    let create = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | nofollow;
    let output = openat(to, name, create, Mode::RUSR | Mode::WUSR)?;
    content(input.as_fd(), output.as_fd())?;
    adopt(input.as_fd(), output.as_fd(), &stat, Keep::default())
}

fn content(input: BorrowedFd<'_>, output: BorrowedFd<'_>) -> Result<(), Errno> {
    loop {
        match rustix::io::retry_on_intr(|| rustix::fs::sendfile(output, input, None, 1 << 30)) {
            Ok(0) => return Ok(()),
            Ok(_) => {}
            // A file system whose files can't be spliced.
            Err(Errno::INVAL) => return by_hand(input, output),
            Err(errno) => return Err(errno),
        }
    }
}

fn by_hand(input: BorrowedFd<'_>, output: BorrowedFd<'_>) -> Result<(), Errno> {
    let mut buffer = [0u8; 16384];
    loop {
        let length = rustix::io::retry_on_intr(|| rustix::io::read(input, &mut buffer))?;
        let mut rest = &buffer[..length];
        if rest.is_empty() {
            return Ok(());
        }
        while !rest.is_empty() {
            let written = rustix::io::retry_on_intr(|| rustix::io::write(output, rest))?;
            rest = &rest[written..];
        }
    }
}

fn symlink(from: BorrowedFd<'_>, to: BorrowedFd<'_>, name: &CStr, stat: &Stat) -> Result<(), Errno> {
    let target = rustix::fs::readlinkat(from, name, Vec::new())?;
    rustix::fs::symlinkat(&target, to, name)?;
    owner_and_times(to, name, stat)
}

/// Fifo, socket, device node.
fn special(to: BorrowedFd<'_>, name: &CStr, stat: &Stat) -> Result<(), Errno> {
    let (kind, mode) = (FileType::from_raw_mode(stat.st_mode), Mode::from_raw_mode(stat.st_mode));
    rustix::fs::mknodat(to, name, kind, mode, stat.st_rdev)?;
    owner_and_times(to, name, stat)
}

fn owner_and_times(to: BorrowedFd<'_>, name: &CStr, stat: &Stat) -> Result<(), Errno> {
    let (uid, gid) = (Uid::from_raw(stat.st_uid), Gid::from_raw(stat.st_gid));
    mapped_only(chownat(to, name, Some(uid), Some(gid), AtFlags::SYMLINK_NOFOLLOW))?;
    rustix::fs::utimensat(to, name, &times(stat), AtFlags::SYMLINK_NOFOLLOW)
}

/// Owner, mode, extended attributes, times: in this order, as each undoes something of the later ones.
fn adopt(from: BorrowedFd<'_>, to: BorrowedFd<'_>, stat: &Stat, keep: Keep) -> Result<(), Errno> {
    let uid = if keep.uid { None } else { Some(Uid::from_raw(stat.st_uid)) };
    let gid = if keep.gid { None } else { Some(Gid::from_raw(stat.st_gid)) };
    mapped_only(rustix::fs::fchown(to, uid, gid))?;
    if !keep.mode {
        rustix::fs::fchmod(to, Mode::from_raw_mode(stat.st_mode))?;
    }
    extended_attributes(from, to)?;
    rustix::fs::futimens(to, &times(stat))
}

/// An owner that has no id in the container's user namespace can't be given: the file is its root's then.
fn mapped_only(changed: Result<(), Errno>) -> Result<(), Errno> {
    if changed == Err(Errno::INVAL) { Ok(()) } else { changed }
}

fn times(stat: &Stat) -> Timestamps {
    let time = |seconds, nanoseconds: u64| Timespec {
        tv_sec: seconds,
        tv_nsec: i64::try_from(nanoseconds).unwrap_or(0),
    };
    Timestamps {
        last_access: time(stat.st_atime, stat.st_atime_nsec),
        last_modification: time(stat.st_mtime, stat.st_mtime_nsec),
    }
}

/// All that a tmpfs can hold, but for the SELinux label: that is for the policy and `mountLabel`.
fn extended_attributes(from: BorrowedFd<'_>, to: BorrowedFd<'_>) -> Result<(), Errno> {
    match rustix::fs::flistxattr_query(from) {
        Ok(0) | Err(Errno::NOTSUP) => return Ok(()),
        other => other?,
    };
    let mut names = vec![0u8; XATTR_MAX];
    let length = rustix::fs::flistxattr(from, names.as_mut_slice())?;
    let mut value = vec![0u8; XATTR_MAX];
    for name in names[..length].split_inclusive(|byte| *byte == 0) {
        let Ok(name) = CStr::from_bytes_with_nul(name) else { continue };
        if name == c"security.selinux" {
            continue;
        }
        let length = match rustix::fs::fgetxattr(from, name, value.as_mut_slice()) {
            // Gone meanwhile, or with an id that has none in this user namespace.
            Err(Errno::NODATA | Errno::OVERFLOW) => continue,
            length => length?,
        };
        match rustix::fs::fsetxattr(to, name, &value[..length], XattrFlags::empty()) {
            // Not for a tmpfs of this kernel; an access list with ids that have none in this user namespace.
            Ok(()) | Err(Errno::NOTSUP | Errno::INVAL) => {}
            Err(errno) => return Err(errno),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::{MetadataExt, PermissionsExt};
    use std::path::PathBuf;

    fn scratch(name: &str) -> (PathBuf, PathBuf, OwnedFd, OwnedFd) {
        let path = std::env::temp_dir().join(format!("davit-copy-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        let (from, to) = (path.join("from"), path.join("to"));
        fs::create_dir_all(&from).unwrap();
        fs::create_dir(&to).unwrap();
        let open = |path: &PathBuf| rustix::fs::open(path, DIRECTORY, Mode::empty()).unwrap();
        let (from_fd, to_fd) = (open(&from), open(&to));
        (from, to, from_fd, to_fd)
    }

    /// [M31]
    #[test]
    fn types_modes_times_and_links() {
        let (from, to, from_fd, to_fd) = scratch("tree");
        fs::create_dir_all(from.join("a/b")).unwrap();
        fs::write(from.join("a/b/file"), "text").unwrap();
        fs::set_permissions(from.join("a/b/file"), PermissionsExt::from_mode(0o4711)).unwrap();
        fs::hard_link(from.join("a/b/file"), from.join("twin")).unwrap();
        std::os::unix::fs::symlink("/etc/passwd", from.join("a/link")).unwrap();
        rustix::fs::mkfifoat(&from_fd, c"pipe", Mode::RUSR).unwrap();
        let old = Timespec { tv_sec: 1_000_000, tv_nsec: 5 };
        let times = Timestamps { last_access: old, last_modification: old };
        rustix::fs::utimensat(&from_fd, c"a/b", &times, AtFlags::empty()).unwrap();
        fs::set_permissions(from.join("a"), PermissionsExt::from_mode(0o500)).unwrap();
        copy(from_fd.as_fd(), to_fd, Keep::default()).unwrap();
        let file = fs::metadata(to.join("a/b/file")).unwrap();
        assert_eq!(
            (fs::read_to_string(to.join("a/b/file")).unwrap().as_str(), file.mode()),
            ("text", 0o104711)
        );
        assert_eq!(fs::metadata(to.join("twin")).unwrap().ino(), file.ino());
        assert_eq!(fs::read_link(to.join("a/link")).unwrap(), PathBuf::from("/etc/passwd"));
        assert_eq!(fs::metadata(to.join("pipe")).unwrap().mode(), 0o010400);
        assert_eq!(fs::metadata(to.join("a/b")).unwrap().mtime(), 1_000_000);
        assert_eq!(fs::metadata(to.join("a")).unwrap().mode(), 0o040500);
        fs::remove_dir_all(from.parent().unwrap()).unwrap();
    }

    /// [M31] What is given stays; what is too deep is refused.
    #[test]
    fn the_directory_itself_and_the_depth() {
        let (from, to, from_fd, to_fd) = scratch("deep");
        fs::set_permissions(&from, PermissionsExt::from_mode(0o711)).unwrap();
        fs::set_permissions(&to, PermissionsExt::from_mode(0o750)).unwrap();
        copy(from_fd.as_fd(), to_fd.try_clone().unwrap(), Keep { mode: true, ..Keep::default() }).unwrap();
        assert_eq!(fs::metadata(&to).unwrap().mode(), 0o040750);
        copy(from_fd.as_fd(), to_fd.try_clone().unwrap(), Keep::default()).unwrap();
        assert_eq!(fs::metadata(&to).unwrap().mode(), 0o040711);
        fs::create_dir_all(from.join(["d"; MAX_DEPTH].join("/"))).unwrap();
        assert_eq!(copy(from_fd.as_fd(), to_fd, Keep::default()), Err(Errno::LOOP));
        fs::remove_dir_all(from.parent().unwrap()).unwrap();
    }
}
