//! Readiness (sd_notify(3)): the container tells a socket of ours, we tell the service manager (F14).
//!
//! `create` makes the directory that is mounted into the container; the socket in it is made by who reads it: `start`
//! or `run`. Of what the container says only `READY=1` is passed on: the rest is about processes and descriptors
//! that the manager must not take from a container.

use std::ffi::OsString;
use std::io::IoSlice;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{AtFlags, Mode};
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage, SendFlags, SocketAddrUnix,
    SocketFlags, SocketType, bind, recv, send, sendmsg, socket_with,
};
use rustix::pipe::{PipeFlags, pipe_with};

use super::unix_socket;
use crate::error::{Context, Error, Kind, Result};
use crate::plan::activation::NOTIFY_SOCKET;

/// The directory below the container's own that is mounted into the container.
pub const DIRECTORY: &str = "notify";
/// The longest datagram that systemd takes itself (`NOTIFY_BUFFER_MAX`).
const LONGEST: usize = 4096;
/// How many messages are read before others get their turn.
const AT_ONCE: usize = 64;
/// How long the manager may take to say that it has read everything; runc's choice.
const BARRIER: Timespec = Timespec { tv_sec: 30, tv_nsec: 0 };

/// `$NOTIFY_SOCKET`, if it asks for anything.
pub fn wanted() -> Option<OsString> {
    std::env::var_os("NOTIFY_SOCKET").filter(|path| !path.is_empty())
}

/// Makes the directory in the container's own: everyone may look into it, for the container's users are others.
///
/// # Errors
/// Those of mkdirat(2).
pub fn make_directory(container: BorrowedFd<'_>) -> Result<()> {
    let doing = "make the directory of the notify socket";
    let mode = Mode::from_raw_mode(0o755);
    rustix::fs::mkdirat(container, DIRECTORY, mode).context(doing)?;
    // Whatever the caller's umask is.
    rustix::fs::chmodat(container, DIRECTORY, mode, AtFlags::empty()).context(doing)
}

/// The service manager's end.
#[derive(Debug)]
pub struct Manager {
    socket: OwnedFd,
}

impl Manager {
    /// Connects to `$NOTIFY_SOCKET`, if there is one.
    ///
    /// # Errors
    /// Nobody is there.
    pub fn connect() -> Result<Option<Self>> {
        let Some(path) = wanted().map(PathBuf::from) else { return Ok(None) };
        let socket = unix_socket::connect(&path, SocketType::DGRAM)
            .with_context(|| format!("NOTIFY_SOCKET: connect to {}", path.display()))?;
        Ok(Some(Self { socket }))
    }

    fn say(&self, text: &str) -> Result<()> {
        send(&self.socket, text.as_bytes(), SendFlags::NOSIGNAL)
            .with_context(|| format!("NOTIFY_SOCKET: send {}", text.trim_end()))?;
        Ok(())
    }

    /// sd_notify_barrier(3): gives the end of a pipe that hangs up when everything said so far was read.
    fn barrier(&self) -> Result<OwnedFd> {
        let doing = "NOTIFY_SOCKET: send BARRIER=1";
        let (ours, theirs) = pipe_with(PipeFlags::CLOEXEC).context(doing)?;
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut ancillary = SendAncillaryBuffer::new(&mut space);
        let fds = [theirs.as_fd()];
        ancillary.push(SendAncillaryMessage::ScmRights(&fds));
        sendmsg(&self.socket, &[IoSlice::new(b"BARRIER=1")], &mut ancillary, SendFlags::NOSIGNAL)
            .context(doing)?;
        Ok(ours)
    }
}

/// The container's end, and the manager's.
#[derive(Debug)]
pub struct Notify {
    socket: OwnedFd,
    manager: Manager,
}

impl Notify {
    /// Makes the socket that the container will write to; None when it was created without one.
    ///
    /// # Errors
    /// Those of bind(2).
    pub fn new(container: BorrowedFd<'_>, manager: Manager) -> Result<Option<Self>> {
        let kind = SocketType::DGRAM;
        let socket = socket_with(AddressFamily::UNIX, kind, SocketFlags::CLOEXEC, None)
            .context("make the notify socket")?;
        let name = format!("{DIRECTORY}/{NOTIFY_SOCKET}");
        let address = format!("/proc/self/fd/{}/{name}", container.as_raw_fd());
        let address = SocketAddrUnix::new(address).context("name the notify socket")?;
        let bound = match bind(&socket, &address) {
            Err(Errno::ADDRINUSE) => {
                // Left by a `start` that was killed before it started anything.
                rustix::fs::unlinkat(container, &name, AtFlags::empty())
                    .context("remove the old notify socket")?;
                bind(&socket, &address)
            }
            other => other,
        };
        match bound {
            Ok(()) => {}
            Err(Errno::NOENT) => return Ok(None),
            Err(errno) => return Err(errno).context("bind the notify socket"),
        }
        rustix::fs::chmodat(container, &name, Mode::from_raw_mode(0o777), AtFlags::empty())
            .context("let everyone write to the notify socket")?;
        Ok(Some(Self { socket, manager }))
    }

    /// To be polled for input.
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }

    /// Reads what the container has said so far; true once it is ready. Never waits.
    ///
    /// # Errors
    /// Those of recv(2).
    pub fn is_ready(&self) -> Result<bool> {
        let mut buffer = [0u8; LONGEST];
        // Who sends without end must not keep us from all else: the rest is read when the socket is polled again.
        for _ in 0..AT_ONCE {
            // Descriptors that came along are closed by the kernel, since there is no room for them.
            match recv(&self.socket, &mut buffer[..], RecvFlags::DONTWAIT) {
                Ok((length, _)) if says_ready(&buffer[..length]) => return Ok(true),
                Ok(_) | Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => return Ok(false),
                Err(errno) => return Err(errno).context("read the notify socket"),
            }
        }
        Ok(false)
    }

    /// Tells the manager, with the pid that it shall watch from now on. Gives what [`Said::wait`] waits for.
    ///
    /// # Errors
    /// The manager is gone.
    pub fn tell(&self, pid: i32) -> Result<Said> {
        self.manager.say("READY=1\n")?;
        self.manager.say(&format!("MAINPID={pid}\n"))?;
        Ok(Said { barrier: self.manager.barrier()? })
    }

    /// Waits until the container is ready or its init, `pidfd`, has ended, and tells the manager.
    ///
    /// # Errors
    /// The manager is gone, or does not answer.
    pub fn wait(self, pidfd: BorrowedFd<'_>, pid: i32) -> Result<()> {
        loop {
            let mut fds =
                [PollFd::new(&self.socket, PollFlags::IN), PollFd::from_borrowed_fd(pidfd, PollFlags::IN)];
            match poll(&mut fds, None) {
                Ok(_) | Err(Errno::INTR) => {}
                Err(errno) => return Err(errno).context("wait for the container to be ready"),
            }
            let ended = !fds[1].revents().is_empty();
            if self.is_ready()? {
                return self.tell(pid)?.wait();
            }
            if ended {
                return Ok(());
            }
        }
    }
}

/// All has been said; the manager may not have read it yet.
#[derive(Debug)]
pub struct Said {
    barrier: OwnedFd,
}

impl Said {
    /// Waits for that: once we are gone, the manager could not tell any more whose messages they were.
    ///
    /// # Errors
    /// No answer within 30 seconds.
    pub fn wait(self) -> Result<()> {
        loop {
            match poll(&mut [PollFd::new(&self.barrier, PollFlags::IN)], Some(&BARRIER)) {
                Ok(0) => {
                    let text = "NOTIFY_SOCKET: no answer to BARRIER=1 within 30 s";
                    return Err(Error::new(Kind::System, text));
                }
                Ok(_) => return Ok(()),
                Err(Errno::INTR) => {}
                Err(errno) => return Err(errno).context("NOTIFY_SOCKET: wait for the barrier"),
            }
        }
    }
}

/// One assignment a line (sd_notify(3)).
fn says_ready(message: &[u8]) -> bool {
    message.split(|byte| *byte == b'\n').any(|line| line == b"READY=1")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// [F14] Who sends without end leaves others their turn.
    #[test]
    fn a_flood_is_read_in_parts() {
        use std::sync::atomic::{AtomicBool, Ordering};
        let pair = || {
            let flags = SocketFlags::CLOEXEC;
            rustix::net::socketpair(AddressFamily::UNIX, SocketType::DGRAM, flags, None).unwrap()
        };
        let ((container, socket), (manager, _peer)) = (pair(), pair());
        let notify = Notify { socket, manager: Manager { socket: manager } };
        let enough = AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while !enough.load(Ordering::Relaxed) {
                    let _ = send(&container, b"STATUS=x", SendFlags::DONTWAIT);
                }
                let _ = send(&container, b"READY=1", SendFlags::empty());
            });
            for _ in 0..100 {
                assert!(!notify.is_ready().unwrap());
            }
            enough.store(true, Ordering::Relaxed);
            while !notify.is_ready().unwrap() {
                std::thread::yield_now();
            }
        });
    }

    /// [F14] A line of its own, wherever it stands.
    #[test]
    fn ready_is_a_line() {
        for yes in ["READY=1", "READY=1\n", "STATUS=up\nREADY=1", "READY=1\nMAINPID=1\n"] {
            assert!(says_ready(yes.as_bytes()), "{yes:?}");
        }
        for no in ["", "\n", "READY=0", "READY=11", "STATUS=READY=1", "XREADY=1", "READY=1 "] {
            assert!(!says_ready(no.as_bytes()), "{no:?}");
        }
    }
}
