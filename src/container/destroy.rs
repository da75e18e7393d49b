//! Taking a container down: its processes, its cgroups, its directory. `delete` and rollbacks use it.

use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;

use super::{Container, Phase};
use crate::error::{Error, Kind, Result};

/// How long init and the rest may take to die.
const DEADLINE: Duration = Duration::from_secs(10);
/// How long a killed init takes when nothing holds it: only then is the freezer worth a look.
const PROMPT: Duration = Duration::from_millis(20);

impl Container {
    /// Kills what lives, removes the cgroups, the resctrl group and then the directory.
    ///
    /// Every step may be repeated: after an error or a kill in the middle a second call goes on.
    ///
    /// # Errors
    /// `container init still running` after 10 s, processes that do not die, or something that cannot be
    /// removed. The directory is then still there.
    pub fn destroy(self) -> Result<()> {
        self.kill_everything()?;
        self.cgroup().remove()?;
        if let Some(group) = &self.record.resctrl {
            group.remove()?;
        }
        self.remove_dir()
    }

    /// Sends SIGKILL to init and to what does not die with it, and waits until all have ended.
    fn kill_everything(&self) -> Result<()> {
        let init = self.pidfd()?;
        if let Some(pidfd) = &init {
            self.signal(pidfd.as_fd(), libc::SIGKILL)?;
        }
        // With an own pid namespace the kernel kills the others when init dies. A process of an unfinished
        // create may not be known by its pid yet.
        if !self.record.own_pid_namespace || self.record.phase == Phase::Creating {
            self.kill_cgroup()?;
        }
        let Some(pidfd) = init else { return Ok(()) };
        if wait_exit(pidfd.as_fd(), PROMPT)? {
            return Ok(());
        }
        // cgroup2's freezer lets them die (cgroup-v2.rst, "cgroup.freeze"), v1's does not.
        self.cgroup().thaw_v1();
        if wait_exit(pidfd.as_fd(), DEADLINE)? {
            return Ok(());
        }
        Err(Error::new(Kind::State, "container init still running"))
    }

    fn kill_cgroup(&self) -> Result<()> {
        let cgroup = self.cgroup();
        if cgroup.is_none() {
            return Ok(());
        }
        cgroup.kill_all(libc::SIGKILL)?;
        if cgroup.wait_empty(DEADLINE)? {
            return Ok(());
        }
        let pids: Vec<String> = cgroup.pids()?.iter().map(i32::to_string).collect();
        let message = format!("container processes still running after SIGKILL: {}", pids.join(", "));
        Err(Error::new(Kind::State, message))
    }
}

/// Waits until the process of `pidfd` has ended; `false` when the time is over.
fn wait_exit(pidfd: std::os::fd::BorrowedFd<'_>, deadline: Duration) -> Result<bool> {
    let end = Instant::now() + deadline;
    loop {
        let rest = end.saturating_duration_since(Instant::now());
        let rest = Timespec::try_from(rest).unwrap_or(Timespec { tv_sec: 1, tv_nsec: 0 });
        match poll(&mut [PollFd::new(&pidfd, PollFlags::IN)], Some(&rest)) {
            Ok(0) => return Ok(false),
            Ok(_) => return Ok(true),
            Err(Errno::INTR) => {}
            Err(errno) => return Err(Error::system("wait for init's end", errno)),
        }
    }
}
