//! The foreground: passes signals on to init and reaps until it has ended.

use std::os::fd::AsFd;

use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use rustix::process::{Pid, WaitOptions, WaitStatus};

use super::interrupt::Interrupt;
use super::notify::Notify;
use super::terminal::session::Session;
use crate::error::{Context, Result};
use crate::log::Log;
use crate::sys::clone::Child;
use crate::sys::process::pidfd_send_signal;
use crate::sys::signal::is_ending;

/// Waits until init has ended; gives its exit code, or 128 + N when signal N killed it.
///
/// # Errors
/// Those of poll(2) and wait4(2).
pub fn until_exit(
    child: &Child,
    signals: &mut Interrupt,
    mut notify: Option<Notify>,
    mut session: Option<Session>,
    log: &Log,
) -> Result<i32> {
    if let Some(session) = &mut session {
        session.begin()?;
    }
    // Those that came while it was made.
    pass_on(signals, child, session.as_mut())?;
    loop {
        let mut fds = vec![PollFd::new(&child.pidfd, PollFlags::IN), signals.poll_fd()];
        fds.extend(notify.as_ref().map(|notify| PollFd::from_borrowed_fd(notify.fd(), PollFlags::IN)));
        let patience = session.as_ref().and_then(|session| {
            session.add_to(&mut fds);
            session.patience()
        });
        match poll(&mut fds, patience.as_ref()) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(errno) => return Err(errno).context("wait for init"),
        }
        drop(fds);
        notify = notify.and_then(|notify| forward(notify, log));
        pass_on(signals, child, session.as_mut())?;
        if let Some(session) = &mut session {
            session.copy();
        }
        // As a subreaper we get the orphans of the container as well.
        if let Some(code) = reap_until(child.pid)? {
            if let Some(session) = session {
                session.finish(|| is_interrupted(signals));
            }
            return Ok(code);
        }
    }
}

/// Signals are init's, those about the terminal the session's.
fn pass_on(signals: &mut Interrupt, child: &Child, mut session: Option<&mut Session>) -> Result<()> {
    while let Some(signal) = signals.next_signal()? {
        match (signal, &mut session) {
            (libc::SIGWINCH, Some(session)) => session.resize(),
            (libc::SIGCONT, Some(session)) => session.resume(),
            _ => {}
        }
        if is_forwarded(signal) {
            let _ = pidfd_send_signal(child.pidfd.as_fd(), signal);
        }
    }
    Ok(())
}

/// Tells the service manager once, when the container is ready; the socket is closed then. We are its main process
/// and outlive the container, so there is nothing to wait for.
fn forward(notify: Notify, log: &Log) -> Option<Notify> {
    let own = rustix::process::getpid().as_raw_nonzero().get();
    match notify.is_ready() {
        Ok(false) => return Some(notify),
        Ok(true) => {
            if let Err(error) = notify.tell(own) {
                log.warn(error);
            }
        }
        Err(error) => log.warn(error),
    }
    None
}

/// Everything but what is about this process itself: its children, its terminal's size, its pipes (S33).
fn is_forwarded(signal: i32) -> bool {
    !matches!(signal, libc::SIGCHLD | libc::SIGURG | libc::SIGPIPE | libc::SIGWINCH)
}

/// Somebody wants us to end although not everything has been shown.
fn is_interrupted(signals: &mut Interrupt) -> bool {
    while let Ok(Some(signal)) = signals.next_signal() {
        if is_ending(signal) {
            return true;
        }
    }
    false
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
