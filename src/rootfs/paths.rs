//! Paths inside the rootfs: lexical cleaning (plan) and resolution beneath its descriptor (child).

use std::ffi::{CStr, CString};
use std::os::fd::{BorrowedFd, OwnedFd};
use std::path::{Component, Path};

use rustix::fs::{Mode, OFlags, ResolveFlags, openat2};
use rustix::io::Errno;

/// A container path relative to its root, cleaned lexically: `/a/./b/../c` is `a/c`, the root is empty.
pub fn normalize(path: &Path) -> String {
    let mut parts: Vec<String> = Vec::new();
    for component in path.components() {
        match component {
            Component::Normal(part) => parts.push(part.to_string_lossy().into_owned()),
            Component::ParentDir => {
                parts.pop();
            }
            Component::RootDir | Component::CurDir | Component::Prefix(_) => {}
        }
    }
    parts.join("/")
}

/// How a path inside the rootfs may be followed.
const INSIDE: ResolveFlags = ResolveFlags::IN_ROOT.union(ResolveFlags::NO_MAGICLINKS);

/// Opens what is at `path` in the rootfs as a handle (`O_PATH`). Symlinks are followed as the container would
/// follow them; with `plain` no component may be one (Z4).
///
/// # Errors
/// ENOENT, ELOOP, ENOTDIR, EACCES.
pub fn open_inside(root: BorrowedFd<'_>, path: &CStr, plain: bool, flags: OFlags) -> Result<OwnedFd, Errno> {
    let resolve = if plain { INSIDE.union(ResolveFlags::NO_SYMLINKS) } else { INSIDE };
    let path = if path.is_empty() { c"." } else { path };
    retry(|| openat2(root, path, flags | OFlags::CLOEXEC, Mode::empty(), resolve))
}

/// openat2(2) gives EAGAIN whenever any rename on the host races with `..`; a bound keeps it from spinning.
fn retry<T>(mut call: impl FnMut() -> Result<T, Errno>) -> Result<T, Errno> {
    for _ in 0..1000 {
        match call() {
            Err(Errno::AGAIN | Errno::INTR) => std::thread::yield_now(),
            other => return other,
        }
    }
    call()
}

/// What to make where a path ends and nothing is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Missing {
    /// A directory, mode 0755.
    Directory,
    /// An empty file, mode 0644.
    File,
}

/// Opens `path` in the rootfs as a handle and makes what is missing of it, one component at a time beneath
/// the descriptor of the one before (R1).
///
/// # Errors
/// As [`open_inside`], and those of mkdirat(2): EROFS, EACCES, ENOSPC.
pub fn open_or_make(root: BorrowedFd<'_>, path: &CStr, missing: Missing) -> Result<OwnedFd, Errno> {
    match open_inside(root, path, false, OFlags::PATH) {
        Err(Errno::NOENT) => make(root, path.to_bytes(), missing),
        other => other,
    }
}

/// Most often only the last component is missing; else, or if that is a dangling link, it is a walk.
fn make(root: BorrowedFd<'_>, path: &[u8], missing: Missing) -> Result<OwnedFd, Errno> {
    let (parent, name) = split(path);
    let parent = match open_inside(root, &c_string(parent)?, false, OFlags::PATH | OFlags::DIRECTORY) {
        Err(Errno::NOENT) => return walk(root, path, missing),
        other => other?,
    };
    match make_one(&parent, &c_string(name)?, missing) {
        Err(Errno::LOOP) => walk(root, path, missing),
        other => other,
    }
}

/// The directory, and the last component.
pub fn split(path: &[u8]) -> (&[u8], &[u8]) {
    let slash = path.iter().rposition(|byte| *byte == b'/');
    (&path[..slash.unwrap_or(0)], &path[slash.map_or(0, |at| at + 1)..])
}

/// Makes the symbolic link `path` in the rootfs, to `target`, with what is missing of its directory. The same link may
/// be there already.
///
/// # Errors
/// EEXIST when something else is there; as [`open_or_make`].
pub fn make_link(root: BorrowedFd<'_>, path: &CStr, target: &CStr) -> Result<(), Errno> {
    let (parent, name) = split(path.to_bytes());
    let parent = open_or_make(root, &c_string(parent)?, Missing::Directory)?;
    let name = c_string(name)?;
    match rustix::fs::symlinkat(target, &parent, &name) {
        Err(Errno::EXIST) => match rustix::fs::readlinkat(&parent, &name, Vec::new()) {
            Ok(there) if there.as_c_str() == target => Ok(()),
            _ => Err(Errno::EXIST),
        },
        other => other,
    }
}

fn c_string(text: &[u8]) -> Result<CString, Errno> {
    CString::new(text).map_err(|_| Errno::INVAL)
}

/// Walks a path as the kernel would inside the root, and makes what is missing, behind dangling links too: each
/// step is from the handle of the one before, and `..` can't lead out.
fn walk(root: BorrowedFd<'_>, path: &[u8], missing: Missing) -> Result<OwnedFd, Errno> {
    let mut rest: Vec<Vec<u8>> = path.split(|byte| *byte == b'/').rev().map(<[u8]>::to_vec).collect();
    let mut above: Vec<OwnedFd> = vec![open_inside(root, c".", false, OFlags::PATH | OFlags::DIRECTORY)?];
    let mut links = 0;
    while let Some(name) = rest.pop() {
        match name.as_slice() {
            b"" | b"." => continue,
            b".." => {
                if above.len() > 1 {
                    above.pop();
                }
                continue;
            }
            _ => {}
        }
        let kind = if rest.iter().all(|part| part.is_empty()) { missing } else { Missing::Directory };
        let name = c_string(&name)?;
        let here = above.last().ok_or(Errno::NOENT)?;
        match make_one(here, &name, kind) {
            Ok(handle) => above.push(handle),
            Err(Errno::LOOP) if links < 40 => {
                links += 1;
                let target = rustix::fs::readlinkat(here, &name, Vec::new())?;
                if target.to_bytes().starts_with(b"/") {
                    above.truncate(1);
                }
                rest.extend(target.to_bytes().split(|byte| *byte == b'/').rev().map(<[u8]>::to_vec));
            }
            Err(errno) => return Err(errno),
        }
    }
    above.pop().ok_or(Errno::NOENT)
}

/// Makes `name` in the directory unless it is there, and opens it as a handle.
///
/// # Errors
/// ELOOP when it is a symlink, which is not followed.
pub(super) fn make_one(parent: &OwnedFd, name: &CStr, missing: Missing) -> Result<OwnedFd, Errno> {
    let nofollow = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let made = match missing {
        Missing::Directory => rustix::fs::mkdirat(parent, name, Mode::from_raw_mode(0o755)),
        Missing::File => {
            let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            rustix::fs::openat(parent, name, flags, Mode::from_raw_mode(0o644)).map(drop)
        }
    };
    match made {
        // Two containers may share a rootfs and make the same mount point at once (S38).
        Ok(()) | Err(Errno::EXIST) => {}
        Err(error) => return Err(error),
    }
    let handle = rustix::fs::openat(parent, name, nofollow, Mode::empty())?;
    if is_symlink(&handle)? { Err(Errno::LOOP) } else { Ok(handle) }
}

fn is_symlink(handle: &OwnedFd) -> Result<bool, Errno> {
    let stat = rustix::fs::fstat(handle)?;
    Ok(rustix::fs::FileType::from_raw_mode(stat.st_mode) == rustix::fs::FileType::Symlink)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::AsFd;

    #[test]
    fn normalizing_never_leaves_the_root() {
        assert_eq!(normalize(Path::new("/a/./b/../c//d")), "a/c/d");
        assert_eq!(normalize(Path::new("/../../etc")), "etc");
        assert_eq!(normalize(Path::new("rel/x")), "rel/x");
        assert_eq!(normalize(Path::new("/")), "");
    }

    fn scratch(name: &str) -> (std::path::PathBuf, OwnedFd) {
        let path = std::env::temp_dir().join(format!("davit-paths-{name}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&path);
        std::fs::create_dir_all(&path).unwrap();
        let root = rustix::fs::open(&path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty()).unwrap();
        (path, root)
    }

    /// [M3] [Z3]
    #[test]
    fn missing_components_are_made_inside() {
        let (path, root) = scratch("make");
        open_or_make(root.as_fd(), c"a/b/c", Missing::Directory).unwrap();
        open_or_make(root.as_fd(), c"a/file", Missing::File).unwrap();
        open_or_make(root.as_fd(), c"a/b/c", Missing::Directory).unwrap();
        assert!(path.join("a/b/c").is_dir() && path.join("a/file").is_file());
        std::fs::remove_dir_all(path).unwrap();
    }

    /// [X10]
    #[test]
    fn a_link_is_made_once() {
        let (path, root) = scratch("link");
        make_link(root.as_fd(), c"a/l", c"../x").unwrap();
        make_link(root.as_fd(), c"a/l", c"../x").unwrap();
        assert_eq!(std::fs::read_link(path.join("a/l")).unwrap(), Path::new("../x"));
        assert_eq!(make_link(root.as_fd(), c"a/l", c"y").unwrap_err(), Errno::EXIST);
        assert_eq!(make_link(root.as_fd(), c"a", c"y").unwrap_err(), Errno::EXIST);
        std::fs::remove_dir_all(path).unwrap();
    }

    /// [M2] [Z3] [Z4]
    #[test]
    fn symlinks_stay_inside() {
        let (path, root) = scratch("links");
        std::fs::create_dir(path.join("inner")).unwrap();
        std::os::unix::fs::symlink("/inner", path.join("absolute")).unwrap();
        std::os::unix::fs::symlink("../../../..", path.join("up")).unwrap();
        std::os::unix::fs::symlink("/nowhere", path.join("dangling")).unwrap();
        open_or_make(root.as_fd(), c"absolute/x", Missing::Directory).unwrap();
        open_or_make(root.as_fd(), c"up/y", Missing::Directory).unwrap();
        assert!(path.join("inner/x").is_dir() && path.join("y").is_dir());
        let plain = open_inside(root.as_fd(), c"absolute", true, OFlags::PATH);
        assert_eq!(plain.unwrap_err(), Errno::LOOP);
        std::os::unix::fs::symlink("loop", path.join("loop")).unwrap();
        assert_eq!(open_or_make(root.as_fd(), c"loop", Missing::Directory).unwrap_err(), Errno::LOOP);
        open_or_make(root.as_fd(), c"dangling/../z", Missing::Directory).unwrap();
        assert!(path.join("nowhere").is_dir() && path.join("z").is_dir());
        std::fs::remove_dir_all(path).unwrap();
    }
}
