//! Connecting to a socket that a caller named, and what goes over it.

use std::io::{IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::{CWD, Mode, OFlags};
use rustix::io::Errno;
use rustix::net::sockopt::{Timeout, set_socket_timeout};
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, SocketAddrUnix, SocketFlags, SocketType, connect as connect_to, recvmsg,
    sendmsg, socket_with,
};

/// What fits into `sun_path` with its final NUL (unix(7)).
const LONGEST: usize = 107;
/// For connecting and for each message: a peer that does not read must not keep us for ever.
const PATIENCE: Duration = Duration::from_secs(10);

/// Where the socket is that a caller has named from within `directory`; `@name` is in none.
pub fn place(directory: &Path, name: &Path) -> PathBuf {
    match name.as_os_str().as_encoded_bytes() {
        [b'@', ..] => name.to_path_buf(),
        _ => directory.join(name),
    }
}

/// Connects to the AF_UNIX socket at `path`, of any length (F3); `@name` is one in the abstract namespace.
///
/// # Errors
/// Those of connect(2); EAGAIN when the peer does not accept for ten seconds.
pub fn connect(path: &Path, kind: SocketType) -> Result<OwnedFd, Errno> {
    let socket = socket_with(AddressFamily::UNIX, kind, SocketFlags::CLOEXEC, None)?;
    set_socket_timeout(&socket, Timeout::Send, Some(PATIENCE))?;
    let bytes = path.as_os_str().as_bytes();
    if let Some(name) = bytes.strip_prefix(b"@") {
        connect_to(&socket, &SocketAddrUnix::new_abstract_name(name)?)?;
    } else if bytes.len() <= LONGEST {
        connect_to(&socket, &SocketAddrUnix::new(path)?)?;
    } else {
        let file = rustix::fs::openat(CWD, path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty())?;
        connect_to(&socket, &SocketAddrUnix::new(format!("/proc/self/fd/{}", file.as_raw_fd()))?)?;
    }
    Ok(socket)
}

/// Sends one message: `text`, which must not be empty, and `fd` as the only descriptor; gives how much of the text was sent,
/// where the socket is a stream. No allocation.
///
/// # Errors
/// EPIPE, ECONNRESET: the peer is gone; EAGAIN: it did not read for ten seconds.
pub fn send_fd(socket: impl AsFd, text: &[u8], fd: BorrowedFd<'_>) -> Result<usize, Errno> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    let fds = [fd];
    ancillary.push(SendAncillaryMessage::ScmRights(&fds));
    sendmsg(socket, &[IoSlice::new(text)], &mut ancillary, SendFlags::NOSIGNAL)
}

/// Receives what [`send_fd`] sent; the text is not looked at.
///
/// # Errors
/// EPROTO: no descriptor came.
pub fn receive_fd(socket: impl AsFd) -> Result<OwnedFd, Errno> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    let mut text = [0u8; 64];
    let mut into = [IoSliceMut::new(&mut text)];
    rustix::io::retry_on_intr(|| recvmsg(&socket, &mut into, &mut ancillary, RecvFlags::CMSG_CLOEXEC))?;
    let fds = ancillary.drain().filter_map(|message| match message {
        RecvAncillaryMessage::ScmRights(fds) => Some(fds),
        _ => None,
    });
    fds.flatten().next().ok_or(Errno::PROTO)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::linux::net::SocketAddrExt;
    use std::os::unix::net::{SocketAddr, UnixListener};

    /// [F3] Short, long and abstract names.
    #[test]
    fn names_of_every_kind() {
        let base = std::env::temp_dir().join(format!("davit-unix-socket-{}", std::process::id()));
        let deep = base.join("d".repeat(200));
        std::fs::create_dir_all(&deep).unwrap();
        let _listener = UnixListener::bind(base.join("s")).unwrap();
        std::fs::rename(base.join("s"), deep.join("s")).unwrap();
        connect(&deep.join("s"), SocketType::STREAM).unwrap();
        std::os::unix::fs::symlink(deep.join("s"), base.join("link")).unwrap();
        connect(&base.join("link"), SocketType::STREAM).unwrap();
        assert_eq!(connect(&deep.join("t"), SocketType::STREAM).unwrap_err(), Errno::NOENT);
        assert_eq!(connect(&deep.join("s"), SocketType::DGRAM).unwrap_err(), Errno::PROTOTYPE);
        std::fs::remove_dir_all(&base).unwrap();

        let name = format!("davit-unix-socket-{}", std::process::id());
        let address = SocketAddr::from_abstract_name(&name).unwrap();
        let _listener = UnixListener::bind_addr(&address).unwrap();
        connect(Path::new(&format!("@{name}")), SocketType::STREAM).unwrap();
    }
}
