//! Sockets that a caller of the runtime listens on.

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};
use std::io::IoSliceMut;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};

/// Waits for one message with the descriptors that came along; panics when there is none within 5 seconds.
#[track_caller]
pub fn receive(socket: impl AsFd) -> (String, Vec<OwnedFd>) {
    let (text, fds) = receive_within(&socket, 5).expect("no message within 5 s");
    (text, fds)
}

/// As [`receive`], None after the seconds.
pub fn receive_within(socket: impl AsFd, seconds: i64) -> Option<(String, Vec<OwnedFd>)> {
    let limit = Timespec { tv_sec: seconds, tv_nsec: 0 };
    if poll(&mut [PollFd::new(&socket, PollFlags::IN)], Some(&limit)).unwrap() == 0 {
        return None;
    }
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(4))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    let mut buffer = [0u8; 4096];
    let got = recvmsg(&socket, &mut [IoSliceMut::new(&mut buffer)], &mut ancillary, RecvFlags::CMSG_CLOEXEC)
        .unwrap();
    let mut fds = vec![];
    for message in ancillary.drain() {
        if let RecvAncillaryMessage::ScmRights(list) = message {
            fds.extend(list);
        }
    }
    Some((String::from_utf8_lossy(&buffer[..got.bytes]).into_owned(), fds))
}
