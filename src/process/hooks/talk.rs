//! The pipes of a running hook: the state goes in, its words come out, its end is waited for.

use std::io::{ErrorKind, Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, ChildStdin, ExitStatus};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags};

use crate::error::{Context, Error, Kind, Result};
use crate::process::interrupt::Interrupt;

/// The three pipes of a hook, none of which blocks.
pub(super) struct Talk<'s> {
    stdin: Option<ChildStdin>,
    rest: &'s [u8],
    outputs: [Output; 2],
}

/// One output stream: what came so far, up to the limit.
struct Output {
    pipe: Option<std::fs::File>,
    text: Vec<u8>,
    limit: usize,
}

impl<'s> Talk<'s> {
    pub(super) fn new(child: &mut Child, state_json: &'s [u8], limit: usize) -> Self {
        let output =
            |fd: Option<OwnedFd>| Output { pipe: fd.map(std::fs::File::from), text: Vec::new(), limit };
        Self {
            stdin: child.stdin.take(),
            rest: state_json,
            outputs: [
                output(child.stdout.take().map(OwnedFd::from)),
                output(child.stderr.take().map(OwnedFd::from)),
            ],
        }
    }

    /// Feeds and drains the pipes until the hook has ended; `false` when the time is over before.
    pub(super) fn until_exit(&mut self, child: &Child, timeout: Option<Duration>) -> Result<bool> {
        let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
        let pid = pid.ok_or_else(|| Error::new(Kind::System, "hook has no pid"))?;
        // Not reaped yet, so the pid is the hook's.
        let pidfd = rustix::process::pidfd_open(pid, PidfdFlags::empty()).context("pidfd_open the hook")?;
        self.set_nonblocking().context("prepare the hook's pipes")?;
        // A time beyond what the clock can tell is none.
        let end = timeout.and_then(|timeout| Instant::now().checked_add(timeout));
        let mut interrupt = Interrupt::open()?;
        loop {
            self.feed()?;
            let wait = end.map(|end| end.saturating_duration_since(Instant::now()));
            let exited = self.wait(pidfd.as_fd(), &interrupt, wait).context("wait for the hook")?;
            self.outputs.iter_mut().try_for_each(Output::drain)?;
            if exited {
                return Ok(true);
            }
            interrupt.check()?;
            if wait.is_some_and(|wait| wait.is_zero()) {
                return Ok(false);
            }
        }
    }

    fn set_nonblocking(&self) -> Result<(), Errno> {
        let pipes = self.outputs.iter().filter_map(|output| output.pipe.as_ref()).map(AsFd::as_fd);
        for fd in pipes.chain(self.stdin.as_ref().map(AsFd::as_fd)) {
            rustix::io::ioctl_fionbio(fd, true)?;
        }
        Ok(())
    }

    /// Waits until a pipe is ready, a signal came, the time is over or the hook has ended (`true`).
    fn wait(
        &self,
        pidfd: BorrowedFd<'_>,
        interrupt: &Interrupt,
        time: Option<Duration>,
    ) -> Result<bool, Errno> {
        let mut fds = vec![PollFd::from_borrowed_fd(pidfd, PollFlags::IN), interrupt.poll_fd()];
        if let Some(stdin) = &self.stdin {
            fds.push(PollFd::new(stdin, PollFlags::OUT));
        }
        for pipe in self.outputs.iter().filter_map(|output| output.pipe.as_ref()) {
            fds.push(PollFd::new(pipe, PollFlags::IN));
        }
        // A time that does not fit is as good as none: it is asked again.
        let time = time.map(|time| {
            Timespec::try_from(time).unwrap_or(Timespec { tv_sec: i64::from(i32::MAX), tv_nsec: 0 })
        });
        match poll(&mut fds, time.as_ref()) {
            Ok(_) => Ok(fds.first().is_some_and(|fd| !fd.revents().is_empty())),
            Err(Errno::INTR) => Ok(false),
            Err(errno) => Err(errno),
        }
    }

    /// Writes what the pipe takes; closes it at the end, or when the hook does not read.
    fn feed(&mut self) -> Result<()> {
        while let Some(stdin) = &mut self.stdin {
            match stdin.write(self.rest) {
                Ok(written) => self.rest = self.rest.get(written..).unwrap_or_default(),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                // The state was not wanted: no fault.
                Err(error) if error.kind() == ErrorKind::BrokenPipe => self.rest = &[],
                Err(error) => return Err(Error::system("write the state to the hook", error)),
            }
            if self.rest.is_empty() {
                self.stdin = None;
            }
        }
        Ok(())
    }

    /// How it ended and what it said, in runc's words.
    pub(super) fn failure(&self, status: ExitStatus) -> String {
        let how = match (status.code(), status.signal()) {
            (Some(code), _) => format!("exit status {code}"),
            (None, Some(signal)) => format!("signal: {}", signal_text(signal)),
            (None, None) => status.to_string(),
        };
        let [stdout, stderr] = &self.outputs;
        format!("{how}, stdout: {}, stderr: {}", stdout.shown(), stderr.shown())
    }
}

impl Output {
    /// Takes what is there, so that the hook never blocks; keeps the beginning.
    fn drain(&mut self) -> Result<()> {
        let mut buffer = [0; 4096];
        // A background process that writes without end must not keep us from seeing the hook's end.
        for _ in 0..64 {
            let Some(pipe) = &mut self.pipe else { break };
            match pipe.read(&mut buffer) {
                Ok(0) => self.pipe = None,
                Ok(length) => {
                    let length = length.min(self.limit.saturating_sub(self.text.len()));
                    self.text.extend_from_slice(buffer.get(..length).unwrap_or_default());
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) => return Err(Error::system("read the hook's output", error)),
            }
        }
        Ok(())
    }

    fn shown(&self) -> String {
        String::from_utf8_lossy(&self.text).trim_end().replace('\n', "; ")
    }
}

/// The signal in Go's words, as runc prints it.
fn signal_text(signal: i32) -> String {
    match signal {
        libc::SIGKILL => "killed".into(),
        libc::SIGTERM => "terminated".into(),
        libc::SIGSEGV => "segmentation fault".into(),
        libc::SIGABRT => "aborted".into(),
        libc::SIGSYS => "bad system call".into(),
        libc::SIGHUP => "hangup".into(),
        libc::SIGINT => "interrupt".into(),
        libc::SIGQUIT => "quit".into(),
        libc::SIGILL => "illegal instruction".into(),
        libc::SIGBUS => "bus error".into(),
        libc::SIGFPE => "floating point exception".into(),
        libc::SIGPIPE => "broken pipe".into(),
        other => format!("signal {other}"),
    }
}
