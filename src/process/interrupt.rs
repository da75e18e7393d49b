//! Who ends `create` or `run` before the container is there (Ctrl-C, kill(1)) leaves nothing behind: such signals are
//! blocked while things are made, and end the waits for init and for hooks.

use std::os::fd::{AsFd, OwnedFd};

use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;

use crate::error::{Context, Error, Kind, Result};
use crate::sys::signal::{
    block_all_to_fd, block_ending, ending_to_fd, is_ending, is_ignored, name, read_signal, unblock_all,
};

/// Signals that are blocked and read here; where none are blocked it is silent, and they end the process.
#[derive(Debug)]
pub struct Interrupt {
    fd: OwnedFd,
    /// Those that have come and ask nobody to end, each once, as the kernel keeps them.
    others: Vec<i32>,
}

impl Interrupt {
    /// Blocks what asks a program to end. Init and hooks start with nothing blocked.
    ///
    /// # Errors
    /// EMFILE.
    pub fn postpone() -> Result<Self> {
        block_ending().context("block signals")?;
        Self::open()
    }

    /// Blocks every signal: what does not end the making of the container is there for [`Interrupt::next_signal`] afterwards. To
    /// be called before init exists, so that none is lost.
    ///
    /// # Errors
    /// EMFILE.
    pub fn catch_all() -> Result<Self> {
        Ok(Self { fd: block_all_to_fd().context("catch signals")?, others: Vec::new() })
    }

    /// For those that ask a program to end, where somebody else has blocked them.
    ///
    /// # Errors
    /// EMFILE.
    pub fn open() -> Result<Self> {
        Ok(Self { fd: ending_to_fd().context("open a descriptor for signals")?, others: Vec::new() })
    }

    /// Waits until `fd` can be read.
    ///
    /// # Errors
    /// As [`Interrupt::check`], unless `fd` can be read.
    pub fn wait_for(&mut self, fd: impl AsFd) -> Result<()> {
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
        PollFd::new(&self.fd, PollFlags::IN)
    }

    /// Takes the signal that ends, if there is one: what is done after it, to clean up, takes another one to be ended.
    ///
    /// # Errors
    /// `interrupted by SIGINT`.
    pub fn check(&mut self) -> Result<()> {
        while let Some(signal) = read_signal(&self.fd).context("read a signal")? {
            match (is_ending(signal), is_ignored(signal)) {
                (true, false) => {
                    return Err(Error::new(Kind::System, format!("interrupted by {}", name(signal))));
                }
                // Under nohup(1), and in the background of a shell; what is blocked comes nevertheless.
                (true, true) => {}
                (false, _) if self.others.contains(&signal) => {}
                (false, _) => self.others.push(signal),
            }
        }
        Ok(())
    }

    /// The next signal that has come, if there is one.
    ///
    /// # Errors
    /// Those of read(2).
    pub fn next_signal(&mut self) -> Result<Option<i32>> {
        match self.others.pop() {
            Some(signal) => Ok(Some(signal)),
            None => read_signal(&self.fd).context("read a signal"),
        }
    }
}

/// Nothing is left to be unmade: from now on a signal has its usual effect.
pub fn resume() {
    unblock_all();
}
