//! A standard stream that is read or written without waiting.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{CWD, FileType, Mode, OFlags};
use rustix::io::Errno;
use rustix::termios::isatty;

use crate::rootfs::handle::FdPath;
use crate::sys::fd;

/// A stream of the runtime's own.
#[derive(Debug)]
pub struct Stream {
    fd: Handle,
}

#[derive(Debug)]
enum Handle {
    /// An open file of our own: it does not block, of which the caller, who has the stream's too, notices nothing.
    Own(OwnedFd),
    Shared(BorrowedFd<'static>),
}

impl Stream {
    /// The stream of this number, to be read or written; None if it is closed.
    pub fn open(number: i32, access: OFlags) -> Option<Self> {
        let stream = fd::borrow_inherited(number)?;
        let kind = rustix::fs::fstat(stream).map(|stat| FileType::from_raw_mode(stat.st_mode));
        let flags = access | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
        let own = match isatty(stream) || kind.is_ok_and(|kind| kind.is_fifo()) {
            // Not where the terminal or pipe belongs to somebody else.
            true => rustix::fs::openat(CWD, FdPath::new(stream).as_c_str(), flags, Mode::empty()).ok(),
            false => None,
        };
        Some(Self { fd: own.map_or(Handle::Shared(stream), Handle::Own) })
    }

    /// read(2).
    ///
    /// # Errors
    /// EAGAIN: nothing is there.
    pub fn read(&self, buffer: &mut [u8]) -> Result<usize, Errno> {
        self.ready(PollFlags::IN)?;
        rustix::io::read(self, buffer)
    }

    /// write(2).
    ///
    /// # Errors
    /// EAGAIN: it takes nothing now.
    pub fn write(&self, bytes: &[u8]) -> Result<usize, Errno> {
        self.ready(PollFlags::OUT)?;
        rustix::io::write(self, bytes)
    }

    fn ready(&self, flags: PollFlags) -> Result<(), Errno> {
        if let Handle::Own(_) = self.fd {
            return Ok(());
        }
        let count = poll(&mut [PollFd::new(self, flags)], Some(&Timespec { tv_sec: 0, tv_nsec: 0 }))?;
        if count > 0 { Ok(()) } else { Err(Errno::AGAIN) }
    }
}

impl AsFd for Stream {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match &self.fd {
            Handle::Own(fd) => fd.as_fd(),
            Handle::Shared(fd) => *fd,
        }
    }
}
