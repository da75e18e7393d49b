//! How a process enters its v1 cgroups: it writes 0 to `tasks`.
//!
//! A move of another process, or of all threads (`cgroup.procs`), first stops every fork of the machine, and after a pause
//! that takes an RCU grace period, 4 to 12 ms. A thread that moves itself alone stops nobody (`cgroup_procs_write_start` in
//! kernel/cgroup/cgroup.c, Linux 5.5): 0.02 ms a hierarchy. The file was opened by the runtime, and the kernel asks for the
//! rights of who opened it, so that it works from within a user namespace.

use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

use super::steps::CgroupPlan;
use super::{Cgroup, cant_open, file};
use crate::error::{Error, Result};

/// The v1 cgroups that a process with one thread is to enter, each open.
#[derive(Debug, Default)]
pub struct Tasks {
    files: Vec<(PathBuf, OwnedFd)>,
}

impl Tasks {
    /// Opens one more.
    ///
    /// # Errors
    /// Those of open(2): ENOENT if the cgroup is gone.
    pub(super) fn add(&mut self, directory: &Path) -> Result<(), Errno> {
        let path = file::join(directory, "tasks");
        let fd = rustix::fs::open(&path, OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty())?;
        self.files.push((path, fd));
        Ok(())
    }

    /// Moves the calling process; `at` hears the number of each cgroup before. Allocates nothing.
    ///
    /// # Errors
    /// ENODEV: that cgroup was removed meanwhile. Others as in cgroups(7): ENOSPC, EINVAL, ESRCH.
    pub fn enter(&self, mut at: impl FnMut(usize)) -> Result<(), Errno> {
        self.files.iter().enumerate().try_for_each(|(index, (_, file))| {
            at(index);
            rustix::io::retry_on_intr(|| rustix::io::write(file, b"0")).map(drop)
        })
    }

    /// What to tell of [`Self::enter`].
    pub fn refused(&self, index: usize, errno: Errno) -> Error {
        let path = self.files.get(index).map(|(path, _)| path.display().to_string());
        let doing = format_args!("enter the cgroup: write 0 to {}", path.unwrap_or_default());
        explained(Error::system(doing, errno), errno)
    }
}

/// With what can be done about a cgroup that does not take a process.
pub(super) fn explained(error: Error, errno: Errno) -> Error {
    match errno {
        Errno::NOSPC => error.hint("its cpuset.cpus or cpuset.mems is empty"),
        Errno::INVAL => error.hint(
            "a real-time process, as the runtime's caller may be, needs linux.resources.cpu.realtimeRuntime and parents \
             that have as much",
        ),
        Errno::NODEV => error.hint("somebody has removed it meanwhile"),
        _ => error,
    }
}

impl Cgroup {
    /// Opens what init needs to enter its cgroups: on hybrid hosts the cgroup2 directory as well, for
    /// [`Self::clone_into_fd`]. None where systemd moves it, and on v2.
    ///
    /// # Errors
    /// A cgroup is gone and can't be made again, or may not be entered.
    pub fn open_tasks(&mut self, plan: &CgroupPlan) -> Result<Tasks> {
        let mut tasks = Tasks::default();
        if plan.scope.is_some() || self.is_v2() {
            return Ok(tasks);
        }
        for at in 0..self.record.directories.len() {
            if self.record.directories[at].controllers.is_empty() {
                self.open_hybrid(plan, at)?;
                continue;
            }
            self.with(plan, at, |directory| {
                tasks.add(&directory.path).map_err(|errno| cant_open(&directory.path, errno))
            })?;
        }
        Ok(tasks)
    }
}
