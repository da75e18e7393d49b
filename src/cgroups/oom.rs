//! Word from the kernel that it has killed a process for lack of memory.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::time::Duration;

use rustix::event::{EventfdFlags, eventfd};
use rustix::fs::inotify;
use rustix::fs::{CWD, Mode, OFlags};
use rustix::io::Errno;

use super::{Cgroup, file};
use crate::error::{Context, Error, Kind, Result};

/// A descriptor that becomes readable when the container may have run out of memory.
///
/// v2: inotify on `memory.events`, which the kernel signals at each change (cgroup-v2.rst). v1: an eventfd that is
/// registered by `cgroup.event_control` for `memory.oom_control` (admin-guide/cgroup-v1/memory.rst, 9).
#[derive(Debug)]
pub struct OomWatch {
    fd: OwnedFd,
    seen: u64,
    /// v1: the word comes when memory has run out, the kill is counted a little later.
    early: bool,
}

/// For how long, and how often, a kill is waited for that was announced.
const PAUSE: Duration = Duration::from_millis(2);
const PAUSES: usize = 100;

impl Cgroup {
    /// Begins to watch; `None` where the container has no memory controller.
    ///
    /// # Errors
    /// The kernel refuses, named by its file.
    pub fn watch_oom(&self) -> Result<Option<OomWatch>> {
        let Some((directory, name)) = self.oom_file() else { return Ok(None) };
        let path = file::join(directory, name);
        let seen = self.oom_kills();
        let early = self.v1("memory").is_some();
        let watched = if early { watch_v1(directory, &path) } else { watch_v2(&path) };
        match watched {
            Ok(fd) => Ok(Some(OomWatch { fd, seen, early })),
            Err(Errno::NOENT) => Ok(None),
            Err(errno) => Err(Error::system(format_args!("watch {}", path.display()), errno)),
        }
    }
}

fn watch_v2(path: &Path) -> Result<OwnedFd, Errno> {
    let fd = inotify::init(inotify::CreateFlags::CLOEXEC | inotify::CreateFlags::NONBLOCK)?;
    inotify::add_watch(&fd, path, inotify::WatchFlags::MODIFY)?;
    Ok(fd)
}

fn watch_v1(directory: &Path, path: &Path) -> Result<OwnedFd, Errno> {
    use std::os::fd::AsRawFd;
    let fd = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
    let control = rustix::fs::open(path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?;
    let registration = format!("{} {}", fd.as_raw_fd(), control.as_raw_fd());
    file::write_at(CWD, &file::join(directory, "cgroup.event_control"), registration.as_bytes())?;
    Ok(fd)
}

impl AsFd for OomWatch {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl OomWatch {
    /// Takes the word and tells how many more processes the kernel has killed since the last call. The word also
    /// comes for other events of memory and when the cgroup is removed.
    ///
    /// # Errors
    /// The descriptor can't be read.
    pub fn kills(&mut self, cgroup: &Cgroup) -> Result<u64> {
        let mut buffer = [0; 4096];
        let told = match rustix::io::read(&self.fd, &mut buffer) {
            Ok(0) => return Err(Error::new(Kind::System, "read memory events: end of file")),
            Ok(_) => true,
            Err(Errno::AGAIN | Errno::INTR) => false,
            Err(errno) => return Err(errno).context("read memory events"),
        };
        let mut now = cgroup.oom_kills();
        let mut pauses = if told && self.early { PAUSES } else { 0 };
        while now <= self.seen && pauses > 0 {
            std::thread::sleep(PAUSE);
            now = cgroup.oom_kills();
            pauses -= 1;
        }
        let more = now.saturating_sub(self.seen);
        self.seen = self.seen.max(now);
        Ok(more)
    }
}
