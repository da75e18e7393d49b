//! Control groups, made by the runtime itself or by systemd: v1, hybrid (v1 limits with a cgroup2 tree beside them) and v2.
//!
//! `plan::cgroup` decides ([`CgroupPlan`]), [`Cgroup::create`] carries it out, [`Record`] is what the state keeps.
//! Cgroup file systems have no symbolic links and only their owner can make directories in them, so absolute paths
//! are safe here, and they are the cheapest: one `mkdir`, one `open`, `write` and `close` a file, one `rmdir`.

mod again;
mod cpuset;
mod create;
mod delegate;
mod device_program;
mod devices;
mod devices_update;
mod file;
mod freeze;
mod join;
mod kill;
mod layout;
mod limit;
mod oom;
mod ownership;
mod present;
mod processes;
mod record;
mod remove;
mod restore;
mod scope;
mod stats;
mod steps;
pub mod systemd;
mod tasks;
#[cfg(test)]
mod tests;
mod threaded;
mod update;
mod update_unit;

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::CWD;
use rustix::io::Errno;

pub use create::RACES;
pub use devices::{Access, DeviceRules, Entry, Rule, Type};
pub use join::{Place, SubCgroups};
pub use layout::{Hierarchy, Host, Layout};
pub use oom::OomWatch;
pub use present::Present;
pub use record::{Directory, Driver, Record};
pub use stats::{Pressure, Psi, Stats};
pub use steps::{CgroupPlan, PlannedDir, ScopePlan, Write};
pub use tasks::Tasks;

use crate::error::{Error, Kind, Result};

/// A container's cgroups: one in each hierarchy, or none at all for a rootless container without rights.
#[derive(Debug, Default)]
pub struct Cgroup {
    record: Record,
    /// v2 only: the new directory, for `CLONE_INTO_CGROUP`.
    fd: Option<OwnedFd>,
    /// Hybrid only: the same of the cgroup2 tree.
    hybrid: Option<OwnedFd>,
    /// Parents that were made on the way, outermost first; none for a cgroup from the state.
    parents: Vec<PathBuf>,
    /// What systemd would not take.
    warnings: Vec<String>,
}

impl Cgroup {
    /// The cgroups that the state names. Opens nothing.
    pub fn from_record(record: &Record) -> Self {
        Self { record: record.clone(), ..Self::default() }
    }

    /// What the state is to keep.
    pub fn record(&self) -> Record {
        self.record.clone()
    }

    /// True for a rootless container that runs without cgroups.
    pub fn is_none(&self) -> bool {
        self.record.directories.is_empty()
    }

    /// The cgroup2 directory for clone3(2)'s `CLONE_INTO_CGROUP`: the child is born in it. It enters those of v1 by
    /// [`Tasks`].
    pub fn clone_into_fd(&self) -> Option<BorrowedFd<'_>> {
        self.fd.as_ref().or(self.hybrid.as_ref()).map(AsFd::as_fd)
    }

    /// Opens the v2 directory of a recorded container for [`Self::clone_into_fd`]. Does nothing on v1.
    ///
    /// # Errors
    /// The cgroup is gone.
    pub fn open(&mut self) -> Result<()> {
        if let ([Directory { path, .. }], true) = (&self.record.directories[..], self.is_v2()) {
            self.fd = Some(open_directory(path).map_err(|errno| cant_open(path, errno))?);
        }
        Ok(())
    }

    /// Moves another process into every hierarchy: slow, see [`Tasks`]. Back to back, since after a pause only the
    /// first move waits.
    ///
    /// # Errors
    /// Names the `cgroup.procs` that refused the process. On v2, `device or resource busy` means that the cgroup
    /// has sub-cgroups with controllers, `operation not supported` that it is threaded.
    pub fn attach(&self, pid: i32) -> Result<()> {
        self.record.directories.iter().try_for_each(|directory| directory.attach(pid))
    }

    /// True if the kernel's OOM killer has killed a process of the container (`memory.events`, v1
    /// `memory.oom_control`). False if that can't be told.
    pub fn oom_killed(&self) -> bool {
        self.oom_kills() > 0
    }

    /// The directory and name of the file that counts kills for lack of memory.
    fn oom_file(&self) -> Option<(&Path, &'static str)> {
        match self.v1("memory") {
            Some(directory) => Some((directory, "memory.oom_control")),
            None => self.unified().map(|directory| (directory, "memory.events")),
        }
    }

    /// The cgroup2 directory, on v2 and hybrid hosts.
    pub fn unified(&self) -> Option<&Path> {
        self.record.directories.iter().find(|d| d.controllers.is_empty()).map(|d| d.path.as_path())
    }

    /// The directory in the hierarchy of a v1 controller.
    pub fn v1(&self, controller: &str) -> Option<&Path> {
        self.record.directories.iter().find(|d| d.has(controller)).map(|d| d.path.as_path())
    }

    fn is_v2(&self) -> bool {
        matches!(&self.record.directories[..], [only] if only.controllers.is_empty())
    }

    /// The directory whose `cgroup.procs` lists the container.
    fn main(&self) -> Option<&Path> {
        self.unified().or_else(|| self.record.directories.first().map(|d| d.path.as_path()))
    }
}

impl Directory {
    /// Moves a process into it.
    fn attach(&self, pid: i32) -> Result<()> {
        let mut text = [0; 12];
        let path = file::join(&self.path, "cgroup.procs");
        file::write_at(CWD, &path, decimal(pid, &mut text)).map_err(|errno| {
            let error = Error::system(format_args!("write {pid} to {}", path.display()), errno);
            // On v2 errnos have other reasons.
            if self.controllers.is_empty() { error } else { tasks::explained(error, errno) }
        })
    }
}

fn open_directory(path: &Path) -> Result<OwnedFd, Errno> {
    use rustix::fs::{Mode, OFlags};
    rustix::fs::open(path, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
}

/// With the errno, which [`Cgroup::with`] looks at.
fn cant_open(path: &Path, errno: Errno) -> Error {
    Error::system(format_args!("open cgroup {}", path.display()), errno)
}

fn no_cgroup(doing: &str) -> Error {
    Error::new(Kind::System, format!("{doing}: the container has no cgroup"))
}

/// The number's text without a heap allocation: the parent may be short of memory when it moves the child.
fn decimal(number: i32, buffer: &mut [u8; 12]) -> &[u8] {
    use std::io::Write;
    let mut rest = &mut buffer[..];
    let room = rest.len();
    // Eleven bytes at most, so it always fits.
    let left = if write!(rest, "{number}").is_ok() { rest.len() } else { room };
    &buffer[..room - left]
}
