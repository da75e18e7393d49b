//! Reads and writes of cgroup files: each one open, one read or write, one close.

use std::fmt;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, Mode, OFlags};
use rustix::io::Errno;

use crate::error::{Context, Result};

/// Opens `path` for writing and writes `value` by one call, as cgroup files want it.
pub(super) fn write_at(directory: impl AsFd, path: &Path, value: &[u8]) -> Result<(), Errno> {
    let fd = rustix::fs::openat(directory, path, OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty())?;
    rustix::io::retry_on_intr(|| rustix::io::write(&fd, value)).map(|_| ())
}

/// Opens `path` once and writes each line by a call of its own; tells the line that failed.
pub(super) fn write_each<'l>(path: &Path, lines: &'l [String]) -> Result<(), (&'l str, Errno)> {
    let first = lines.first().map_or("", String::as_str);
    let fd = rustix::fs::open(path, OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty())
        .map_err(|errno| (first, errno))?;
    for line in lines {
        rustix::io::retry_on_intr(|| rustix::io::write(&fd, line.as_bytes()))
            .map_err(|errno| (line.as_str(), errno))?;
    }
    Ok(())
}

/// As [`write_at`], for an absolute path, with an error that tells what was written where.
pub(super) fn write(path: &Path, value: &str) -> Result<()> {
    write_at(CWD, path, value.as_bytes()).with_context(|| Writing { value, path })
}

/// `write VALUE to PATH`, as every failed write is told.
pub(super) struct Writing<'a> {
    pub(super) value: &'a str,
    pub(super) path: &'a Path,
}

impl fmt::Display for Writing<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "write {} to {}", self.value, self.path.display())
    }
}

/// The whole of a file of any length, such as `cgroup.procs`.
pub(super) fn read(path: &Path) -> Result<Vec<u8>> {
    read_raw(path).with_context(|| format!("read {}", path.display()))
}

/// As [`read`], with the errno for callers that go on after some.
pub(super) fn read_raw(path: &Path) -> Result<Vec<u8>, Errno> {
    let fd = rustix::fs::open(path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?;
    let mut content = Vec::with_capacity(4096);
    loop {
        content.reserve(1024);
        let read = rustix::io::retry_on_intr(|| {
            rustix::io::read(&fd, rustix::buffer::spare_capacity(&mut content))
        })?;
        if read == 0 {
            return Ok(content);
        }
    }
}

/// The start of a file that holds one value or a few lines, read by one call.
pub(super) fn read_short<'b>(path: &Path, buffer: &'b mut [u8]) -> Result<&'b [u8], Errno> {
    let fd = rustix::fs::open(path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?;
    let read = rustix::io::retry_on_intr(|| rustix::io::read(&fd, &mut *buffer))?;
    Ok(&buffer[..read])
}

/// The number after `key ` in a flat-keyed file (cgroup-v2.rst: `memory.events`, `cgroup.events`).
pub(super) fn keyed(content: &[u8], key: &str) -> Option<u64> {
    std::str::from_utf8(content)
        .ok()?
        .lines()
        .find_map(|line| line.split_once(' ').filter(|(found, _)| *found == key))
        .and_then(|(_, value)| value.trim().parse().ok())
}

/// `directory/name`, built once with the room it needs.
pub(super) fn join(directory: &Path, name: &str) -> PathBuf {
    let mut path = PathBuf::with_capacity(directory.as_os_str().len() + 1 + name.len());
    path.push(directory);
    path.push(name);
    path
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_found_by_its_whole_name() {
        let events = b"oom 3\noom_kill 1\noom_group_kill 0\n";
        assert_eq!(keyed(events, "oom_kill"), Some(1));
        assert_eq!(keyed(events, "oom_k"), None);
    }

    #[test]
    fn a_failed_write_tells_value_and_file() {
        let error = write(Path::new("/proc/no-such-file"), "12").unwrap_err();
        assert_eq!(error.to_string(), "write 12 to /proc/no-such-file: no such file or directory");
    }
}
