//! A seccomp agent of our own, in a process of its own: it lets every call through and notes which there were.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, SocketAddrUnix, SocketFlags, SocketType, accept_with, bind, listen, socket_with,
};
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::{Pid, Signal};

use super::unix_socket;
use crate::error::{Context, Error, Kind, Result};
use crate::sys::clone::{self, Child};
use crate::sys::{seccomp, signal};

/// `AUDIT_ARCH_*` and number of a system call.
pub type Call = (u32, u32);

/// The process that notes.
#[derive(Debug)]
pub struct Recorder {
    path: PathBuf,
    child: Child,
    notes: File,
}

impl Recorder {
    /// Listens in the abstract namespace, for a connection of this process only.
    ///
    /// # Errors
    /// Those of socket(2), pipe(2) and clone3(2).
    pub fn start() -> Result<Self> {
        let own = rustix::process::getpid();
        let name = format!("davit-seccomp-record-{}", own.as_raw_nonzero());
        let socket = listener(&name).context("make a socket for the recorder")?;
        let (notes, into) = pipe_with(PipeFlags::CLOEXEC).context("make a pipe to the recorder")?;
        let child = clone::clone3(0, None, false, || match work(own, &socket, File::from(into)) {
            Ok(()) => 0,
            Err(_) => 1,
        });
        let child = child.context("start the recorder")?;
        Ok(Self { path: PathBuf::from(format!("@{name}")), child, notes: File::from(notes) })
    }

    /// Where it listens.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What it has noted, once nobody has the filter any more.
    ///
    /// # Errors
    /// It has ended before that.
    pub fn finish(mut self) -> Result<BTreeSet<Call>> {
        let mut bytes = Vec::new();
        self.notes
            .read_to_end(&mut bytes)
            .map_err(|error| Error::new(Kind::System, format!("read the notes: {error}")))?;
        self.child.reap();
        let (words, _) = bytes.as_chunks::<8>();
        let call = |&[a, b, c, d, e, f, g, h]: &[u8; 8]| {
            (u32::from_ne_bytes([a, b, c, d]), u32::from_ne_bytes([e, f, g, h]))
        };
        match words.split_last() {
            Some((&[0, 0, 0, 0, 0, 0, 0, 0], calls)) => Ok(calls.iter().map(call).collect()),
            _ => Err(Error::new(Kind::System, "the recorder has ended before the container")),
        }
    }

    /// For a container that did not come to be.
    pub fn give_up(self) {
        self.child.kill_and_reap();
    }
}

fn listener(name: &str) -> Result<OwnedFd, Errno> {
    let socket = socket_with(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
    bind(&socket, &SocketAddrUnix::new_abstract_name(name.as_bytes())?)?;
    listen(&socket, 4)?;
    Ok(socket)
}

/// The process: it ends with the last process that has the filter, or with the runtime.
fn work(runtime: Pid, socket: &OwnedFd, mut notes: File) -> Result<(), Errno> {
    rustix::process::set_parent_process_death_signal(Some(Signal::KILL))?;
    if rustix::process::getppid() != Some(runtime) {
        // It has died before that.
        return Err(Errno::SRCH);
    }
    // Ctrl-C is for the container, which would have nobody to ask then.
    let _signals = signal::block_all_to_fd()?;
    let listener = loop {
        let connection = accept_with(socket, SocketFlags::CLOEXEC)?;
        if rustix::net::sockopt::socket_peercred(&connection)?.pid == runtime {
            break unix_socket::receive_fd(&connection)?;
        }
    };
    let mut calls = BTreeSet::new();
    loop {
        let mut fds = [PollFd::new(&listener, PollFlags::IN)];
        rustix::io::retry_on_intr(|| poll(&mut fds, None))?;
        if !fds[0].revents().contains(PollFlags::IN) {
            break;
        }
        if let Some(asked) = seccomp::next_asked(listener.as_fd())? {
            calls.insert((asked.arch, asked.number));
            seccomp::let_through(listener.as_fd(), asked)?;
        }
    }
    let words = calls.iter().flat_map(|(arch, number)| [arch.to_ne_bytes(), number.to_ne_bytes()]);
    let bytes: Vec<u8> = words.flatten().chain([0; 8]).collect();
    notes.write_all(&bytes).map_err(|_| Errno::PIPE)
}
