//! The foreground: passes signals on to init and reaps until it has ended.

use std::os::fd::{AsFd, OwnedFd};

use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use rustix::process::{Pid, WaitOptions, WaitStatus};

use crate::error::{Context, Result};
use crate::sys::clone::Child;
use crate::sys::process::pidfd_send_signal;
use crate::sys::signal::{block_all_to_fd, read_signal};

/// Signals that arrive from now on are kept for [`until_exit`]. To be called before init exists, so that none is lost.
///
/// # Errors
/// EMFILE.
pub fn catch_signals() -> Result<OwnedFd> {
    block_all_to_fd().context("catch signals")
}

/// Waits until init has ended; gives its exit code, or 128 + N when signal N killed it.
///
/// # Errors
/// Those of poll(2) and wait4(2).
pub fn until_exit(child: &Child, signals: &OwnedFd) -> Result<i32> {
    loop {
        let mut fds = [PollFd::new(&child.pidfd, PollFlags::IN), PollFd::new(signals, PollFlags::IN)];
        match poll(&mut fds, None) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(errno) => return Err(errno).context("wait for init"),
        }
        while let Some(signal) = read_signal(signals).context("read a signal")? {
            if is_forwarded(signal) {
                let _ = pidfd_send_signal(child.pidfd.as_fd(), signal);
            }
        }
        // As a subreaper we get the orphans of the container as well.
        if let Some(code) = reap_until(child.pid)? {
            return Ok(code);
        }
    }
}

/// Everything but what is about this process itself: its children, its terminal's size, its pipes (S33).
fn is_forwarded(signal: i32) -> bool {
    !matches!(signal, libc::SIGCHLD | libc::SIGURG | libc::SIGPIPE | libc::SIGWINCH)
}

/// Reaps all children that have ended; gives init's exit code if it was among them.
fn reap_until(init: i32) -> Result<Option<i32>> {
    let mut code = None;
    loop {
        match rustix::process::wait(WaitOptions::NOHANG) {
            Ok(Some((pid, status))) => {
                if Some(pid) == Pid::from_raw(init) {
                    code = Some(exit_code(status));
                }
            }
            Ok(None) | Err(Errno::CHILD) => return Ok(code),
            Err(Errno::INTR) => {}
            Err(errno) => return Err(errno).context("reap children"),
        }
    }
}

fn exit_code(status: WaitStatus) -> i32 {
    match (status.exit_status(), status.terminating_signal()) {
        (Some(code), _) => code,
        (None, Some(signal)) => 128 + signal,
        (None, None) => 255,
    }
}
