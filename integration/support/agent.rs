//! A seccomp agent: it gets the listener of a container's filter, and answers the calls that the filter asks about.

use super::socket::receive;
use super::{Test, Value};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::time::Duration;

/// What is said to a call.
pub enum Answer {
    /// The kernel carries it out.
    Continue,
    /// It fails.
    Errno(i32),
    /// It has this result.
    Value(i64),
    /// Its result is a descriptor of this file in the process.
    Open(std::fs::File),
}

/// A call that waits for an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Call {
    id: u64,
    pub pid: u32,
    pub nr: i32,
    pub arch: u32,
    pub args: [u64; 6],
}

/// Who listens for containers.
pub struct Agent {
    pub path: String,
    socket: UnixListener,
}

impl Agent {
    /// At `agent.sock` in the test's directory.
    pub fn new(t: &Test) -> Self {
        Self::at(t.path("agent.sock"))
    }

    pub fn at(path: String) -> Self {
        let socket = UnixListener::bind(&path).unwrap();
        Self::with(path, socket)
    }

    /// At a socket that is there.
    pub fn with(path: String, socket: UnixListener) -> Self {
        socket.set_nonblocking(true).unwrap();
        Self { path, socket }
    }

    /// The next connection; None if there is none within the time.
    pub fn connection(&self, within: Duration) -> Option<UnixStream> {
        let limit = Timespec {
            tv_sec: i64::try_from(within.as_secs()).unwrap(),
            tv_nsec: within.subsec_nanos().into(),
        };
        poll(&mut [PollFd::new(&self.socket, PollFlags::IN)], Some(&limit)).unwrap();
        let (stream, _) = self.socket.accept().ok()?;
        stream.set_nonblocking(false).unwrap();
        Some(stream)
    }

    /// The next container: one connection with one state and one descriptor, then closed.
    #[track_caller]
    pub fn accept(&self) -> Session {
        let stream = self.connection(Duration::from_secs(10)).expect("no connection within 10 s");
        let (text, mut fds) = receive(&stream);
        assert_eq!(fds.len(), 1, "one descriptor: {text}");
        let (rest, more) = receive(&stream);
        assert!(rest.is_empty() && more.is_empty(), "more than one state: {rest}");
        let state = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"));
        Session { state, listener: fds.remove(0) }
    }
}

/// One container's listener.
pub struct Session {
    /// The container process state.
    pub state: Value,
    listener: OwnedFd,
}

impl Session {
    /// Answers every call until nobody has the filter any more; panics after 10 seconds without a call.
    #[track_caller]
    pub fn serve(&self, mut answer: impl FnMut(&Call) -> Answer) {
        let limit = Timespec { tv_sec: 10, tv_nsec: 0 };
        loop {
            let mut fds = [PollFd::new(&self.listener, PollFlags::IN)];
            assert_ne!(poll(&mut fds, Some(&limit)).unwrap(), 0, "no call and no end within 10 s");
            if !fds[0].revents().contains(PollFlags::IN) {
                return;
            }
            if let Some(call) = kernel::next(&self.listener) {
                match answer(&call) {
                    Answer::Continue => kernel::answer(&self.listener, call.id, 0, 0, kernel::CONTINUE),
                    Answer::Errno(errno) => kernel::answer(&self.listener, call.id, 0, -errno, 0),
                    Answer::Value(value) => kernel::answer(&self.listener, call.id, value, 0, 0),
                    Answer::Open(file) => kernel::give(&self.listener, call.id, file.as_raw_fd()),
                }
            }
        }
    }
}

/// ioctl(2) on the listener (seccomp_unotify(2)). A process that was killed meanwhile has no answer to get.
#[allow(unsafe_code)]
mod kernel {
    use super::Call;
    use std::os::fd::{AsRawFd, OwnedFd};

    pub const CONTINUE: u32 = 1;
    /// The descriptor's number is the call's result (Linux 5.14).
    const ADDFD_SEND: u32 = 2;

    pub fn next(listener: &OwnedFd) -> Option<Call> {
        // SAFETY: a struct of integers, which the kernel wants zeroed and fills.
        let (result, got) = unsafe {
            let mut got: libc::seccomp_notif = std::mem::zeroed();
            (libc::ioctl(listener.as_raw_fd(), 0xc050_2100, &raw mut got), got)
        };
        let data = got.data;
        (result == 0).then_some(Call {
            id: got.id,
            pid: got.pid,
            nr: data.nr,
            arch: data.arch,
            args: data.args,
        })
    }

    pub fn answer(listener: &OwnedFd, id: u64, val: i64, error: i32, flags: u32) {
        let response = libc::seccomp_notif_resp { id, val, error, flags };
        // SAFETY: the kernel reads the struct.
        unsafe { libc::ioctl(listener.as_raw_fd(), 0xc018_2101, &raw const response) };
    }

    pub fn give(listener: &OwnedFd, id: u64, file: i32) {
        let srcfd = u32::try_from(file).unwrap();
        let addfd = libc::seccomp_notif_addfd { id, flags: ADDFD_SEND, srcfd, newfd: 0, newfd_flags: 0 };
        // SAFETY: the kernel reads the struct.
        unsafe { libc::ioctl(listener.as_raw_fd(), 0x4018_2103, &raw const addfd) };
    }
}
