//! `--pidfd-socket`: the caller gets a pidfd of the container's process (F15).

use std::os::fd::{BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::net::SocketType;

use super::unix_socket;
use crate::error::{Context, Result};

/// What the message says of a container's init.
const INIT: &str = "standard";

/// A connection to the socket that the caller named.
#[derive(Debug)]
pub struct PidfdSocket {
    socket: OwnedFd,
    path: PathBuf,
}

impl PidfdSocket {
    /// Connects to the stream socket at `path`.
    ///
    /// # Errors
    /// Nobody listens there.
    pub fn connect(path: &Path) -> Result<Self> {
        let socket = unix_socket::connect(path, SocketType::STREAM)
            .with_context(|| format!("--pidfd-socket: connect to {}", path.display()))?;
        Ok(Self { socket, path: path.to_path_buf() })
    }

    /// Sends init's pidfd: one message, the text `standard`, with it as the only descriptor; then closes.
    ///
    /// # Errors
    /// The peer is gone.
    pub fn send(self, pidfd: BorrowedFd<'_>) -> Result<()> {
        unix_socket::send_fd(&self.socket, INIT.as_bytes(), pidfd)
            .with_context(|| format!("--pidfd-socket: send a pidfd to {}", self.path.display()))
    }
}
