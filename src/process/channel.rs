//! Parent ↔ init: one SOCK_SEQPACKET pair, one datagram a message.
//!
//! ```text
//! parent                                   init
//!   maps written, systemd's unit, saved
//!   ─────────────── Go ──────────────────▶ (waits as late as it can) v1: enters its cgroups
//!   ◀─────────── CgroupLost ────────────── one was removed before it was in
//!   ─────────────── Go ──────────────────▶
//!   ◀────────── NamespacesReady ────────── prestart, createRuntime hooks or network devices
//!   ─────────────── Go ──────────────────▶
//!   ◀────────────── Ready ──────────────── create: init waits on start.sock from here on
//!   ◀───────── Listener, descriptor ────── SCMP_ACT_NOTIFY: to the agent
//!   ─────────────── Go ──────────────────▶
//!   ◀────────────── Failed ─────────────── at any time, whole: step, item, action, errno, text
//!   ◀────────── end of file ────────────── execve has happened, or init is dead (its exit tells)
//! ```

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::io::Errno;
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, recv, send, socketpair};

use super::step::Position;
use super::unix_socket;
use crate::fault::{Action, Fault};

const GO: u8 = 1;
const NAMESPACES_READY: u8 = 2;
const READY: u8 = 3;
const FAILED: u8 = 4;
const LISTENER: u8 = 5;
const CGROUP_LOST: u8 = 6;
const HEADER: usize = 12;
/// Longest message: header and the text of a path.
const LONGEST: usize = 1024;

/// A failure as it crossed from init.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// Where.
    pub position: Position,
    /// What and why.
    pub fault: Fault,
    /// The file it was about, if only init knew it; else empty.
    pub text: String,
}

/// What init says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Message {
    /// A cgroup was gone when it wanted to enter; it waits for Go in all of them.
    CgroupLost,
    /// Its namespaces and mounts are there; it waits for Go.
    NamespacesReady,
    /// It waits for `start`.
    Ready,
    /// Its filter is loaded and the listener is the next message, for [`unix_socket::receive_fd`]; it waits for Go.
    Listener,
    /// It gave up.
    Failed(Failure),
    /// The other end is closed.
    End,
}

/// Makes the two ends, both close-on-exec.
///
/// # Errors
/// EMFILE.
pub fn pair() -> Result<(OwnedFd, OwnedFd), Errno> {
    socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)
}

/// Parent: init may go on.
///
/// # Errors
/// EPIPE: it is dead.
pub fn send_go(channel: impl AsFd) -> Result<(), Errno> {
    send(channel, &[GO], SendFlags::NOSIGNAL).map(drop)
}

/// Init: waits for Go.
///
/// # Errors
/// ECANCELED: the parent is gone.
pub fn wait_go(channel: impl AsFd) -> Result<(), Errno> {
    let mut byte = [0u8; 1];
    match receive(channel, &mut byte)? {
        1 => Ok(()),
        _ => Err(Errno::CANCELED),
    }
}

/// A process that waits for nothing: whether the parent is still there.
///
/// # Errors
/// ECANCELED: it is gone.
pub fn expect_peer(channel: impl AsFd) -> Result<(), Errno> {
    let mut byte = [0u8; 1];
    match recv(channel, &mut byte, RecvFlags::DONTWAIT | RecvFlags::PEEK) {
        Ok((0, _)) => Err(Errno::CANCELED),
        _ => Ok(()),
    }
}

fn receive(channel: impl AsFd, buffer: &mut [u8]) -> Result<usize, Errno> {
    rustix::io::retry_on_intr(|| recv(&channel, &mut *buffer, RecvFlags::empty())).map(|(length, _)| length)
}

/// Init: says that its namespaces are there, then waits for Go.
///
/// # Errors
/// The parent is gone.
pub fn namespaces_ready(channel: impl AsFd) -> Result<(), Errno> {
    ask(channel, NAMESPACES_READY)
}

/// Init: asks to be put into its cgroups, then waits for Go.
///
/// # Errors
/// The parent is gone.
pub fn cgroup_lost(channel: impl AsFd) -> Result<(), Errno> {
    ask(channel, CGROUP_LOST)
}

fn ask(channel: impl AsFd, what: u8) -> Result<(), Errno> {
    send(&channel, &[what], SendFlags::NOSIGNAL)?;
    wait_go(channel)
}

/// Init: says that it is ready to be started.
///
/// # Errors
/// The parent is gone.
pub fn send_ready(channel: impl AsFd) -> Result<(), Errno> {
    send(channel, &[READY], SendFlags::NOSIGNAL).map(drop)
}

/// Init: sends the listener, then waits for Go.
///
/// # Errors
/// The peer is gone, or has not passed it on.
pub fn send_listener(channel: impl AsFd, listener: BorrowedFd<'_>) -> Result<(), Errno> {
    send(&channel, &[LISTENER], SendFlags::NOSIGNAL)?;
    unix_socket::send_fd(&channel, &[LISTENER], listener)?;
    wait_go(channel)
}

/// Init: says that it gives up. No allocation; a lost message can't be helped.
pub fn send_failed(channel: impl AsFd, position: Position, fault: Fault, text: &[u8]) {
    let mut message = [0u8; LONGEST];
    message[0] = FAILED;
    message[1] = fault.action as u8;
    message[4..8].copy_from_slice(&fault.errno.raw_os_error().to_le_bytes());
    message[8..12].copy_from_slice(&position.to_word().to_le_bytes());
    let length = text.len().min(LONGEST - HEADER);
    message[HEADER..HEADER + length].copy_from_slice(&text[..length]);
    let _ = send(channel, &message[..HEADER + length], SendFlags::NOSIGNAL);
}

/// Parent, or `start`: waits for the next message.
///
/// # Errors
/// Those of recv(2); EPROTO for a message that nobody of ours sends.
pub fn next(channel: impl AsFd) -> Result<Message, Errno> {
    let mut buffer = [0u8; LONGEST];
    let length = match receive(&channel, &mut buffer) {
        // The other end is closed with a word of ours unread; what it said before is still there.
        Err(Errno::CONNRESET) => receive(&channel, &mut buffer)?,
        other => other?,
    };
    match buffer[0] {
        _ if length == 0 => Ok(Message::End),
        NAMESPACES_READY => Ok(Message::NamespacesReady),
        READY => Ok(Message::Ready),
        LISTENER => Ok(Message::Listener),
        CGROUP_LOST => Ok(Message::CgroupLost),
        FAILED if length >= HEADER => decode(&buffer[..length]).map(Message::Failed).ok_or(Errno::PROTO),
        _ => Err(Errno::PROTO),
    }
}

fn decode(message: &[u8]) -> Option<Failure> {
    let word = |at: usize| message.get(at..at + 4).and_then(|bytes| bytes.try_into().ok());
    let errno = Errno::from_raw_os_error(i32::from_le_bytes(word(4)?));
    let position = Position::from_word(u32::from_le_bytes(word(8)?));
    let fault = Fault { action: Action::from_number(*message.get(1)?)?, errno };
    Some(Failure { position, fault, text: String::from_utf8_lossy(message.get(HEADER..)?).into_owned() })
}

#[cfg(test)]
mod tests {
    use super::super::step::Step;
    use super::*;

    #[test]
    fn messages_cross_whole() {
        let (parent, child) = pair().unwrap();
        send_go(&parent).unwrap();
        wait_go(&child).unwrap();
        send_ready(&child).unwrap();
        assert_eq!(next(&parent).unwrap(), Message::Ready);
        let position = Position { step: Step::Mount, index: 6 };
        let fault = Fault { action: Action::Attach, errno: Errno::NOTDIR };
        send_failed(&child, position, fault, b"/bin/x");
        let failure = Failure { position, fault, text: "/bin/x".into() };
        assert_eq!(next(&parent).unwrap(), Message::Failed(failure));
        drop(child);
        assert_eq!(next(&parent).unwrap(), Message::End);
    }

    /// [B15]
    #[test]
    fn a_descriptor_crosses() {
        let (parent, child) = pair().unwrap();
        send_go(&parent).unwrap();
        send_listener(&child, parent.as_fd()).unwrap();
        assert_eq!(next(&parent).unwrap(), Message::Listener);
        let same = unix_socket::receive_fd(&parent).unwrap();
        drop(parent);
        send_ready(&child).unwrap();
        assert_eq!(next(&same).unwrap(), Message::Ready);
        send_ready(&child).unwrap();
        assert_eq!(unix_socket::receive_fd(&same).unwrap_err(), Errno::PROTO);
    }

    /// [Z12] A longer text is cut, not overrun.
    #[test]
    fn texts_are_bounded() {
        let (parent, child) = pair().unwrap();
        let position = Position { step: Step::Exec, index: 0 };
        send_failed(&child, position, Fault::from(Errno::NOENT), &[b'x'; 70_000]);
        let Message::Failed(failure) = next(&parent).unwrap() else { panic!() };
        assert_eq!(failure.text.len(), LONGEST - HEADER);
    }

    /// [S41]
    #[test]
    fn a_dead_parent_ends_the_wait() {
        let (parent, child) = pair().unwrap();
        assert_eq!(expect_peer(&child), Ok(()));
        drop(parent);
        assert_eq!(expect_peer(&child).unwrap_err(), Errno::CANCELED);
        assert_eq!(wait_go(&child).unwrap_err(), Errno::CANCELED);
    }
}
