//! Who ends `create` or `run` before the container is there (Ctrl-C, kill(1)) leaves nothing behind: such signals are
//! blocked while things are made, and end the waits for init and for hooks.

use std::os::fd::{AsFd, OwnedFd};

use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;

use crate::error::{Context, Error, Kind, Result};
use crate::sys::signal::{block_ending, ending_to_fd, is_ignored, name, read_signal};

/// Blocks what asks a program to end. Init and hooks start with nothing blocked.
///
/// # Errors
/// None that is known.
pub fn postpone() -> Result<()> {
    block_ending().context("block signals")
}

/// The signals that were postponed; where none are blocked it is silent, and they end the process.
#[derive(Debug)]
pub struct Interrupt(OwnedFd);

impl Interrupt {
    /// # Errors
    /// EMFILE.
    pub fn open() -> Result<Self> {
        Ok(Self(ending_to_fd().context("open a descriptor for signals")?))
    }

    /// Waits until `fd` can be read.
    ///
    /// # Errors
    /// As [`Interrupt::check`], unless `fd` can be read.
    pub fn wait_for(&self, fd: impl AsFd) -> Result<()> {
        loop {
            let mut fds = [PollFd::new(&fd, PollFlags::IN), self.poll_fd()];
            match poll(&mut fds, None) {
                Ok(_) if !fds[0].revents().is_empty() => return Ok(()),
                Ok(_) => self.check()?,
                Err(Errno::INTR) => {}
                Err(errno) => return Err(Error::system("wait", errno)),
            }
        }
    }

    /// For poll(2) with others.
    pub fn poll_fd(&self) -> PollFd<'_> {
        PollFd::new(&self.0, PollFlags::IN)
    }

    /// Takes the signal, if there is one: what is done after it, to clean up, takes another one to be ended.
    ///
    /// # Errors
    /// `interrupted by SIGINT`.
    pub fn check(&self) -> Result<()> {
        while let Some(signal) = read_signal(&self.0).context("read a signal")? {
            // Under nohup(1), and in the background of a shell; what is blocked comes nevertheless.
            if !is_ignored(signal) {
                return Err(Error::new(Kind::System, format!("interrupted by {}", name(signal))));
            }
        }
        Ok(())
    }
}
