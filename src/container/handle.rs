//! An open container: its record, its directory, and the questions that verbs ask of it.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, Dir, FileType, FlockOperation, Mode, OFlags};
use rustix::io::Errno;

use super::record::{TEMP_FILE, read_all, write_new};
use super::status::{Facts, derive};
use super::{
    CONFIG_FILE, EARLY_SOCKET, Phase, Process, ProcessStat, Record, START_SOCKET, STATE_FILE, Status, boot_id,
};
use crate::cgroups::Cgroup;
use crate::error::{Context, Error, Kind, Result};
use crate::sys::process::pidfd_send_signal;

/// A container's record with its directory. A lock that was taken ends when this is dropped.
///
/// A child made by clone shares the directory's open file and with it the lock. So `create` calls
/// [`Container::unlock`] at its end instead of relying on the drop, and its child closes its copy before it
/// waits for `start`: the lock of a killed `create` would live on with the waiting init.
#[derive(Debug)]
pub struct Container {
    /// What state.json says.
    pub record: Record,
    dir: OwnedFd,
    path: PathBuf,
}

impl Container {
    pub(super) fn new(record: Record, dir: OwnedFd, path: PathBuf) -> Self {
        Self { record, dir, path }
    }

    /// The container's directory.
    pub fn dir(&self) -> BorrowedFd<'_> {
        self.dir.as_fd()
    }

    /// The container's directory by name.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The container's cgroups.
    pub fn cgroup(&self) -> Cgroup {
        Cgroup::from_record(&self.record.cgroup)
    }

    /// Writes the record: temp file and rename.
    ///
    /// # Errors
    /// It cannot be written; the old record stays.
    pub fn save(&self) -> Result<()> {
        self.record.save(&self.dir)
    }

    /// The content of a file that [`Container::keep`] made.
    ///
    /// # Errors
    /// There is none.
    pub fn kept(&self, name: &str) -> Result<Vec<u8>, Errno> {
        let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        read_all(rustix::fs::openat(&self.dir, name, flags, Mode::empty())?)
    }

    /// Keeps something beside the record, whole or not at all, whoever else does the same.
    ///
    /// # Errors
    /// It can't be written; nothing is left of it then.
    pub fn keep(&self, name: &str, content: &[u8]) -> Result<(), Errno> {
        let own = rustix::process::getpid().as_raw_nonzero();
        let temporary = format!(".{name}.{own}");
        let kept = write_new(&self.dir, &temporary, content)
            .and_then(|()| rustix::fs::renameat(&self.dir, &temporary, &self.dir, name));
        if kept.is_err() {
            let _ = rustix::fs::unlinkat(&self.dir, &temporary, AtFlags::empty());
        }
        kept
    }

    /// Gives the lock back, also for a child that shares the directory's open file.
    ///
    /// # Errors
    /// flock(2) failed.
    pub fn unlock(&self) -> Result<()> {
        rustix::fs::flock(&self.dir, FlockOperation::Unlock).context("unlock the container")
    }

    /// The container's status now.
    ///
    /// # Errors
    /// `/proc` or the cgroup cannot be read.
    pub fn status(&self) -> Result<Status> {
        let phase = self.record.phase;
        let facts = Facts { phase, init: if phase == Phase::Creating { None } else { self.init_stat()? } };
        let frozen = || self.cgroup().is_frozen();
        derive(&facts, frozen, || self.has(START_SOCKET), || self.is_abandoned())
    }

    /// Whether `create` has not come to its end, be it still at work or dead. Afterwards the socket has its proper name.
    ///
    /// # Errors
    /// The directory cannot be read.
    pub fn is_unfinished(&self) -> Result<bool> {
        Ok(self.record.phase == Phase::Creating || self.has(EARLY_SOCKET)?)
    }

    /// Whether nobody will finish it. The maker first: a dead one changes no name any more.
    pub(super) fn is_abandoned(&self) -> Result<bool> {
        Ok(self.alive(self.record.runtime)?.is_none() && self.is_unfinished()?)
    }

    /// Init's pid for callers: 0 once it has ended.
    pub fn pid(&self, status: Status) -> i32 {
        if status == Status::Stopped { 0 } else { self.record.init_process_pid }
    }

    /// Init's stat line while it lives.
    ///
    /// # Errors
    /// `/proc` cannot be read.
    pub fn init_stat(&self) -> Result<Option<ProcessStat>> {
        self.alive(self.record.init().unwrap_or_default())
    }

    /// A pidfd of init; `None` once it has ended. It is never that of another process.
    ///
    /// # Errors
    /// `/proc` cannot be read, or `pidfd_open` failed.
    pub fn pidfd(&self) -> Result<Option<OwnedFd>> {
        match self.record.init().unwrap_or_default().pidfd()? {
            Some(fd) if self.is_of_this_boot()? => Ok(Some(fd)),
            _ => Ok(None),
        }
    }

    /// The status, with a pidfd of the init that it is about. It was opened before the start time was compared, so it is
    /// never that of another process.
    ///
    /// # Errors
    /// As [`Container::status`] and [`Container::pidfd`].
    pub fn status_and_pidfd(&self) -> Result<(Status, Option<OwnedFd>)> {
        let pidfd = self.record.init().unwrap_or_default().open()?;
        Ok((self.status()?, pidfd))
    }

    /// Sends `signal` to init; `false` if it has ended. Signal 0 only asks.
    ///
    /// # Errors
    /// The signal cannot be sent: `no such process` when init ends in this moment (but for SIGKILL,
    /// which then has got what it wants), `invalid argument` for a number that is no signal.
    pub fn kill_init(&self, signal: i32) -> Result<bool> {
        let Some(pidfd) = self.pidfd()? else { return Ok(false) };
        self.signal(pidfd.as_fd(), signal)?;
        Ok(true)
    }

    /// Sends `signal` through init's `pidfd`.
    pub(super) fn signal(&self, pidfd: BorrowedFd<'_>, signal: i32) -> Result<()> {
        match pidfd_send_signal(pidfd, signal) {
            Ok(()) => Ok(()),
            Err(Errno::SRCH) if signal == libc::SIGKILL => Ok(()),
            Err(errno) => {
                let pid = self.record.init_process_pid;
                Err(Error::system(format_args!("send signal {signal} to init (pid {pid})"), errno))
            }
        }
    }

    /// Removes the directory with all that is in it.
    ///
    /// # Errors
    /// Something cannot be removed; the message names it.
    pub fn remove_dir(self) -> Result<()> {
        remove_dir(self.dir.as_fd(), &self.path)
    }

    /// Whether its directory has a file of this name.
    fn has(&self, name: &str) -> Result<bool> {
        match rustix::fs::accessat(&self.dir, name, rustix::fs::Access::EXISTS, AtFlags::empty()) {
            Ok(()) => Ok(true),
            Err(Errno::NOENT) => Ok(false),
            Err(errno) => Err(Error::system(format_args!("look for {name}"), errno)),
        }
    }

    /// The stat line of a process of the record while it lives.
    pub(super) fn alive(&self, process: Process) -> Result<Option<ProcessStat>> {
        match process.alive()? {
            // Only now is the boot worth three system calls: after a reboot hardly any pid fits.
            Some(stat) if self.is_of_this_boot()? => Ok(Some(stat)),
            _ => Ok(None),
        }
    }

    /// Whether the record's pids are of this boot: in another one they are nobody's.
    ///
    /// # Errors
    /// `/proc` cannot be read.
    pub fn is_of_this_boot(&self) -> Result<bool> {
        Ok(boot_id()? == self.record.boot_id)
    }
}

/// The files that a container's directory normally has, the record last: as long as the directory holds
/// anything that matters, it can be loaded.
const FILES: [&str; 3] = [START_SOCKET, CONFIG_FILE, STATE_FILE];

/// Empties and removes the container's directory `path`, open as `dir`. What is gone already is no error.
pub(super) fn remove_dir(dir: BorrowedFd<'_>, path: &Path) -> Result<()> {
    for name in FILES {
        unlink(dir, name, AtFlags::empty()).with_context(|| format!("remove {}/{name}", path.display()))?;
    }
    match rustix::fs::rmdir(path) {
        Ok(()) | Err(Errno::NOENT) => return Ok(()),
        Err(Errno::NOTEMPTY | Errno::EXIST) => {}
        Err(errno) => return Err(Error::system(format_args!("remove {}", path.display()), errno)),
    }
    // What exec keeps, a temp file of a killed davit, or something foreign; an exec may keep something just now.
    for _ in 0..RACES {
        unlink(dir, TEMP_FILE, AtFlags::empty()).with_context(|| format!("empty {}", path.display()))?;
        empty(dir).with_context(|| format!("empty {}", path.display()))?;
        match rustix::fs::rmdir(path) {
            Ok(()) | Err(Errno::NOENT) => return Ok(()),
            Err(Errno::NOTEMPTY | Errno::EXIST) => {}
            Err(errno) => return Err(Error::system(format_args!("remove {}", path.display()), errno)),
        }
    }
    Err(Error::system(format_args!("remove {}", path.display()), Errno::NOTEMPTY))
}

/// How often a directory is emptied that somebody puts something into.
const RACES: usize = 10;

fn unlink(dir: BorrowedFd<'_>, name: &str, flags: AtFlags) -> Result<(), Errno> {
    match rustix::fs::unlinkat(dir, name, flags) {
        Ok(()) | Err(Errno::NOENT) => Ok(()),
        Err(errno) => Err(errno),
    }
}

/// Removes everything in `dir`, without following a link.
fn empty(dir: BorrowedFd<'_>) -> Result<(), Errno> {
    let mut names = Vec::new();
    for entry in Dir::read_from(dir)? {
        let entry = entry?;
        if !matches!(entry.file_name().to_bytes(), b"." | b"..") {
            names.push((entry.file_name().to_owned(), entry.file_type()));
        }
    }
    for (name, kind) in names {
        let result = if kind == FileType::Directory {
            let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            empty(rustix::fs::openat(dir, &name, flags, Mode::empty())?.as_fd())?;
            rustix::fs::unlinkat(dir, &name, AtFlags::REMOVEDIR)
        } else {
            rustix::fs::unlinkat(dir, &name, AtFlags::empty())
        };
        match result {
            Ok(()) | Err(Errno::NOENT) => {}
            Err(errno) => return Err(errno),
        }
    }
    Ok(())
}

/// `container not running`, as callers match it.
pub fn not_running() -> Error {
    Error::new(Kind::NotRunning, "container not running")
}
