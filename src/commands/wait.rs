//! `wait ID`: the exit code of a container, for whoever did not make it (features.md W4).

use std::os::fd::AsFd;
use std::path::Path;

use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;

use super::output::print;
use crate::container::{Id, Lock, Process, Store};
use crate::error::{Context, Error, Kind, Result};
use crate::sys::process::pidfd_exit_status;

/// Waits until init has ended and prints its exit code, 128 + N when signal N ended it.
///
/// No process watches over the container: a pidfd tells the end, then either init is still there for its parent to ask
/// for, or the kernel has kept its status for the pidfd (Linux 6.15).
///
/// # Errors
/// `container does not exist`; it has ended before and its parent has been told; the kernel is too old and its parent
/// was quicker.
pub fn run(root: &Path, id: &str) -> Result<i32> {
    let container = Store::open(root).load(&Id::parse(id)?, Lock::None)?;
    let Some(init) = container.record.init().filter(|_| container.is_of_this_boot().unwrap_or(false)) else {
        return Err(crate::container::not_running());
    };
    let Some(pidfd) = init.pidfd_of_ended()? else {
        return Err(Error::new(Kind::NotRunning, "container not running: its exit code is gone")
            .hint("who made the container was told; others wait before it ends"));
    };
    let mut fds = [PollFd::new(&pidfd, PollFlags::IN)];
    while let Err(errno) = poll(&mut fds, None) {
        if errno != Errno::INTR {
            return Err(errno).context("wait for init");
        }
    }
    print(format!("{}\n", code(status(init, pidfd.as_fd())?)).as_bytes())?;
    Ok(0)
}

/// The status of an ended init, in the form of wait4(2).
fn status(init: Process, pidfd: std::os::fd::BorrowedFd<'_>) -> Result<i32> {
    if let Some(stat) = init.stat()? {
        return Ok(stat.exit_status);
    }
    let kept = pidfd_exit_status(pidfd).context("ask for init's exit status")?;
    kept.ok_or_else(|| {
        Error::new(Kind::System, "the container has ended, but its exit code is known to its parent only")
            .hint("Linux 6.15 and newer keep it for others")
    })
}

/// As shells give it.
fn code(status: i32) -> i32 {
    match (status & 0x7f, status >> 8 & 0xff) {
        (0, code) => code,
        (signal, _) => 128 + signal,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// [W4] The forms of wait4(2): an exit code, a signal, a signal with a core dump.
    #[test]
    fn codes() {
        for (status, wanted) in [(0, 0), (0x700, 7), (0xff00, 255), (9, 137), (0x8b, 139)] {
            assert_eq!(code(status), wanted, "{status:#x}");
        }
    }
}
