//! Paths inside the rootfs: lexical cleaning (plan) and resolution beneath its descriptor (child).

use std::ffi::CStr;
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

fn make(root: BorrowedFd<'_>, path: &[u8], missing: Missing) -> Result<OwnedFd, Errno> {
    let mut prefix = Prefix::new(path)?;
    // Most often only the last component is missing.
    let mut end = prefix.parent_end();
    let mut parent = loop {
        match prefix.with(end, |prefix| open_inside(root, prefix, false, OFlags::PATH | OFlags::DIRECTORY)) {
            Ok(parent) => break parent,
            Err(Errno::NOENT) if end > 0 => end = prefix.before(end),
            Err(error) => return Err(error),
        }
    };
    while end < path.len() {
        let start = prefix.after_slash(end);
        let next = prefix.component_end(start);
        let last = next == path.len();
        let kind = if last { missing } else { Missing::Directory };
        parent = prefix.component(start, next, |name| make_one(&parent, name, kind))?;
        end = next;
    }
    Ok(parent)
}

fn make_one(parent: &OwnedFd, name: &CStr, missing: Missing) -> Result<OwnedFd, Errno> {
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

/// Cuts C strings out of a path without allocating.
struct Prefix {
    bytes: [u8; 4097],
    length: usize,
}

impl Prefix {
    fn new(path: &[u8]) -> Result<Self, Errno> {
        let mut bytes = [0; 4097];
        let length = path.len();
        bytes.get_mut(..length).filter(|_| length < 4096).ok_or(Errno::NAMETOOLONG)?.copy_from_slice(path);
        Ok(Self { bytes, length })
    }

    /// Where the parent of the whole path ends; 0 when that is the root.
    fn parent_end(&self) -> usize {
        self.before(self.length)
    }

    fn before(&self, end: usize) -> usize {
        self.bytes[..end].iter().rposition(|byte| *byte == b'/').unwrap_or(0)
    }

    fn after_slash(&self, at: usize) -> usize {
        if self.bytes[at] == b'/' { at + 1 } else { at }
    }

    fn component_end(&self, start: usize) -> usize {
        self.bytes[start..self.length]
            .iter()
            .position(|byte| *byte == b'/')
            .map_or(self.length, |at| start + at)
    }

    fn with<T>(&mut self, end: usize, body: impl FnOnce(&CStr) -> Result<T, Errno>) -> Result<T, Errno> {
        self.component(0, end, body)
    }

    fn component<T>(
        &mut self,
        start: usize,
        end: usize,
        body: impl FnOnce(&CStr) -> Result<T, Errno>,
    ) -> Result<T, Errno> {
        let kept = std::mem::replace(&mut self.bytes[end], 0);
        let text = CStr::from_bytes_until_nul(&self.bytes[start..=end]).map_err(|_| Errno::INVAL);
        let result = text.and_then(body);
        self.bytes[end] = kept;
        result
    }
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
        assert_eq!(open_or_make(root.as_fd(), c"dangling", Missing::Directory).unwrap_err(), Errno::LOOP);
        std::fs::remove_dir_all(path).unwrap();
    }
}
