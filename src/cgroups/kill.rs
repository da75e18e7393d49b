//! Signals for every process of a container.

use std::path::Path;

use rustix::fs::CWD;
use rustix::io::Errno;

use super::{Cgroup, file, no_cgroup, processes};
use crate::error::{Error, Result};

/// Rounds of SIGKILL where no freezer holds forks back.
const ROUNDS: usize = 100;

impl Cgroup {
    /// Sends the signal to every process, those of sub-cgroups included, and does not wait for them to end.
    /// SIGKILL goes by `cgroup.kill` (kernel 5.14), which no fork escapes; else the container is frozen while the
    /// signals are sent, so that none is missed. A container that was paused stays paused, but for SIGKILL.
    ///
    /// # Errors
    /// No cgroup, or a process can't be signalled.
    pub fn kill_all(&self, signal: i32) -> Result<()> {
        let Some(directory) = self.main() else { return Err(no_cgroup("kill")) };
        if signal == libc::SIGKILL {
            if self.unified().is_some() {
                let path = file::join(directory, "cgroup.kill");
                match file::write_at(CWD, &path, b"1") {
                    Ok(()) => {
                        self.thaw_v1();
                        return Ok(());
                    }
                    // Gone or an older kernel (ENOENT), or threaded: signal one by one what is there.
                    Err(Errno::NOENT | Errno::NODEV | Errno::OPNOTSUPP) => {}
                    Err(errno) => {
                        return Err(Error::system(file::Writing { value: "1", path: &path }, errno));
                    }
                }
            }
            return self.kill_each(directory);
        }
        if self.is_frozen()? {
            return signal_each(directory, signal).map(|_| ());
        }
        // Without a freezer a process that is forked meanwhile is missed; nothing better exists then.
        let frozen = self.freeze().is_ok();
        let result = signal_each(directory, signal);
        if frozen {
            self.thaw()?;
        }
        result.map(|_| ())
    }

    /// SIGKILL without `cgroup.kill`; leaves nothing frozen, since a process that v1's freezer holds can't die.
    fn kill_each(&self, directory: &Path) -> Result<()> {
        let frozen = self.freeze().is_ok();
        let mut result = signal_each(directory, libc::SIGKILL);
        self.thaw_below(directory);
        let mut rounds = if frozen { 0 } else { ROUNDS };
        while rounds > 0 && matches!(result, Ok(found) if found > 0) {
            std::thread::sleep(std::time::Duration::from_millis(1));
            result = signal_each(directory, libc::SIGKILL);
            rounds -= 1;
        }
        result.map(|_| ())
    }

    /// Thaws the container and what it has frozen itself below.
    fn thaw_below(&self, main: &Path) {
        if self.unified().is_some() {
            thaw_tree(main, "cgroup.freeze", b"0");
        }
        self.thaw_v1();
    }

    /// Thaws all of v1's freezer: a process that it holds does not even take a SIGKILL, whoever froze it.
    pub fn thaw_v1(&self) {
        if let Some(directory) = self.v1("freezer") {
            thaw_tree(directory, "freezer.state", b"THAWED");
        }
    }
}

fn thaw_tree(directory: &Path, name: &str, value: &[u8]) {
    for cgroup in processes::tree(directory).unwrap_or_default() {
        // A cgroup that is gone by now needs no thawing.
        let _ = file::write_at(CWD, &file::join(&cgroup, name), value);
    }
}

/// Signals every process of the cgroup and below; returns how many there were.
fn signal_each(directory: &Path, signal: i32) -> Result<usize> {
    let pids = processes::list(directory)?;
    // Pid 0 is a process of a pid namespace that is not below ours.
    for pid in pids.iter().copied().filter(|pid| *pid > 0) {
        match crate::sys::kill::kill(pid, signal) {
            Ok(()) | Err(Errno::SRCH) => {}
            Err(errno) => {
                return Err(Error::system(format_args!("send signal {signal} to process {pid}"), errno));
            }
        }
    }
    Ok(pids.len())
}
