//! `--pidfd-socket`, `run.oci.pidfd_receiver`: the caller gets a pidfd of the container's process (F15).

use std::os::fd::{BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::net::SocketType;

use super::unix_socket;
use crate::error::{Context, Result};

/// What the message says of a container's init.
const INIT: &str = "standard";
const JOINED: &str = "setns";
/// The option that asks for it.
pub const OPTION: &str = "--pidfd-socket";

/// A connection to the socket that the caller named.
#[derive(Debug)]
pub struct PidfdSocket {
    socket: OwnedFd,
    /// Who asks for it, and where: for errors.
    asked: String,
    path: PathBuf,
    message: &'static str,
}

impl PidfdSocket {
    /// Connects to the stream socket at `path`. `asked` is the option or the annotation that names it.
    ///
    /// # Errors
    /// Nobody listens there.
    pub fn connect(path: &Path, asked: &str) -> Result<Self> {
        let socket = unix_socket::connect(path, SocketType::STREAM)
            .with_context(|| format!("{asked}: connect to {}", path.display()))?;
        Ok(Self { socket, asked: asked.into(), path: path.to_path_buf(), message: INIT })
    }

    /// The same for a process that joins.
    ///
    /// # Errors
    /// As [`PidfdSocket::connect`].
    pub fn connect_for_exec(path: &Path) -> Result<Self> {
        Ok(Self { message: JOINED, ..Self::connect(path, OPTION)? })
    }

    /// Sends init's pidfd: one message, the text `standard`, with it as the only descriptor; then closes.
    ///
    /// # Errors
    /// The peer is gone.
    pub fn send(self, pidfd: BorrowedFd<'_>) -> Result<()> {
        unix_socket::send_fd(&self.socket, self.message.as_bytes(), pidfd)
            .with_context(|| format!("{}: send a pidfd to {}", self.asked, self.path.display()))?;
        Ok(())
    }
}
