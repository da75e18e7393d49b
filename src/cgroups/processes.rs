//! Which processes are in a container's cgroup, and waiting until none is.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

use super::{Cgroup, file};
use crate::error::{Context, Error, Result};

impl Cgroup {
    /// The processes of the container in this pid namespace, those of sub-cgroups included. Empty once the cgroup
    /// is gone.
    ///
    /// # Errors
    /// `cgroup.procs` can't be read.
    pub fn pids(&self) -> Result<Vec<i32>> {
        self.main().map_or_else(|| Ok(Vec::new()), list)
    }

    /// Waits until no process is left; false if `timeout` has passed before.
    ///
    /// # Errors
    /// The cgroup's files can't be read.
    pub fn wait_empty(&self, timeout: Duration) -> Result<bool> {
        let deadline = Instant::now() + timeout;
        if let Some(directory) = self.unified() {
            return wait_event(directory, "populated", 0, deadline);
        }
        let mut pause = Duration::from_millis(1);
        loop {
            if self.pids()?.is_empty() {
                return Ok(true);
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(false);
            }
            std::thread::sleep(pause.min(left));
            pause = (pause * 2).min(Duration::from_millis(50));
        }
    }
}

/// Waits until `key` in `cgroup.events` has the value; false if the deadline comes first. A cgroup that is gone has
/// neither processes nor anything to wait for: true.
pub(super) fn wait_event(directory: &Path, key: &str, value: u64, deadline: Instant) -> Result<bool> {
    let path = file::join(directory, "cgroup.events");
    let failed = |errno| Error::system(format_args!("read {}", path.display()), errno);
    let fd = match rustix::fs::open(&path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()) {
        Err(Errno::NOENT | Errno::NODEV) => return Ok(true),
        other => other.map_err(failed)?,
    };
    let mut buffer = [0; 256];
    let mut step = Duration::from_micros(50);
    loop {
        let read = match rustix::io::pread(&fd, &mut buffer[..], 0) {
            Err(Errno::NODEV) => return Ok(true),
            Err(Errno::INTR) => continue,
            other => other.map_err(failed)?,
        };
        if file::keyed(&buffer[..read], key) == Some(value) {
            return Ok(true);
        }
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Ok(false);
        }
        // The kernel signals a change since the last read (cgroup-v2.rst, "cgroup.events"), but no more often than
        // every 10 ms: so look by ourselves at first.
        let mut fds = [PollFd::new(&fd, PollFlags::PRI)];
        let wait = Timespec::try_from(step.min(left)).unwrap_or(Timespec { tv_sec: 0, tv_nsec: 1_000_000 });
        step = (step * 2).min(Duration::from_millis(200));
        match poll(&mut fds, Some(&wait)) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(errno) => return Err(Error::system(format_args!("poll {}", path.display()), errno)),
        }
    }
}

/// The processes of a cgroup and all below it.
pub(super) fn list(directory: &Path) -> Result<Vec<i32>> {
    let mut pids = Vec::new();
    for cgroup in tree(directory)? {
        let path = file::join(&cgroup, "cgroup.procs");
        match file::read_raw(&path) {
            Ok(content) => pids.extend(parse(&content)),
            // Threaded: the processes are listed in the domain above it, with others.
            Err(Errno::OPNOTSUPP) => pids.extend(leaders(&cgroup)),
            // Gone meanwhile.
            Err(Errno::NOENT | Errno::NODEV) => {}
            Err(errno) => return Err(Error::system(format_args!("read {}", path.display()), errno)),
        }
    }
    Ok(pids)
}

/// The processes whose first thread is in a threaded cgroup.
fn leaders(cgroup: &Path) -> Vec<i32> {
    let threads = file::read_raw(&file::join(cgroup, "cgroup.threads")).unwrap_or_default();
    let is_leader = |tid: &i32| {
        let status = std::fs::read_to_string(format!("/proc/{tid}/status")).unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix("Tgid:"));
        line.and_then(|value| value.trim().parse::<i32>().ok()) == Some(*tid)
    };
    parse(&threads).filter(is_leader).collect()
}

fn parse(content: &[u8]) -> impl Iterator<Item = i32> {
    content.split(|byte| *byte == b'\n').filter_map(|line| std::str::from_utf8(line).ok()?.parse().ok())
}

/// A cgroup and all below it, each before its children.
pub(super) fn tree(directory: &Path) -> Result<Vec<PathBuf>> {
    let mut found = vec![directory.to_path_buf()];
    let mut at = 0;
    while at < found.len() {
        match std::fs::read_dir(&found[at]) {
            Ok(entries) => {
                for entry in entries {
                    let Ok(entry) = entry else { break };
                    if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                        found.push(entry.path());
                    }
                }
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => return Err(error).with_context(|| format!("list cgroup {}", found[at].display())),
        }
        at += 1;
    }
    Ok(found)
}
