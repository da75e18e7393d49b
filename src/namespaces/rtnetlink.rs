//! A small rtnetlink client (rtnetlink(7)): requests built and answers read bounds-checked, one at a time.

use std::os::fd::OwnedFd;
use std::time::Duration;

use rustix::io::Errno;
use rustix::net::netlink::SocketAddrNetlink;
use rustix::net::sockopt::{Timeout, set_socket_timeout};
use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, bind, recv, send, socket_with,
};

/// RTM_NEWLINK, RTM_DELLINK, RTM_GETLINK, RTM_NEWADDR, RTM_GETADDR of linux/rtnetlink.h.
pub const NEWLINK: u16 = 16;
/// As above.
pub const DELLINK: u16 = 17;
/// As above.
pub const GETLINK: u16 = 18;
/// As above.
pub const NEWADDR: u16 = 20;
/// As above.
pub const GETADDR: u16 = 22;

/// NLM_F_DUMP: every object of the kind.
pub const DUMP: u16 = 0x300;
/// NLM_F_CREATE | NLM_F_REPLACE.
pub const REPLACE: u16 = 0x500;

/// The multicast group of links, as the bit that bind(2) takes.
pub const LINK_EVENTS: u32 = 1;

const REQUEST: u16 = 1;
const ACK: u16 = 4;
/// The objects changed while they were listed.
const INTERRUPTED: u16 = 0x10;
const ERROR: u16 = 2;
const DONE: u16 = 3;
const HEADER: usize = 16;
const ATTRIBUTE_HEADER: usize = 4;
/// Bits of an attribute's type that are flags (NLA_F_NESTED, NLA_F_NET_BYTEORDER).
const TYPE_MASK: u16 = 0x3fff;
/// The kernel makes no datagram above 32 KiB for these requests.
const LONGEST: usize = 64 * 1024;
/// The kernel answers at once; only a lost answer takes longer.
const PATIENCE: Duration = Duration::from_secs(10);

/// A request under construction: nlmsghdr, the kind's fixed part, attributes.
#[derive(Debug)]
pub struct Request {
    bytes: Vec<u8>,
}

impl Request {
    /// With the fixed part of the kind (`ifinfomsg`, `ifaddrmsg`), whose size is a multiple of 4.
    pub fn new(kind: u16, flags: u16, fixed: &[u8]) -> Self {
        let mut bytes = vec![0; 4];
        bytes.extend(kind.to_ne_bytes());
        bytes.extend((flags | REQUEST | ACK).to_ne_bytes());
        bytes.extend([0; 8]);
        bytes.extend(fixed);
        Self { bytes }
    }

    /// Appends an attribute.
    ///
    /// # Errors
    /// EMSGSIZE: the value is longer than an attribute can be.
    pub fn attribute(mut self, kind: u16, value: &[u8]) -> Result<Self, Errno> {
        let length = u16::try_from(ATTRIBUTE_HEADER + value.len()).map_err(|_| Errno::MSGSIZE)?;
        self.bytes.extend(length.to_ne_bytes());
        self.bytes.extend(kind.to_ne_bytes());
        self.bytes.extend(value);
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
        Ok(self)
    }

    fn finish(mut self, sequence: u32) -> Result<Vec<u8>, Errno> {
        let length = u32::try_from(self.bytes.len()).map_err(|_| Errno::MSGSIZE)?;
        self.bytes[..4].copy_from_slice(&length.to_ne_bytes());
        self.bytes[8..12].copy_from_slice(&sequence.to_ne_bytes());
        Ok(self.bytes)
    }
}

/// One message of a datagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Message<'a> {
    /// `NEWLINK` and so on.
    pub kind: u16,
    flags: u16,
    sequence: u32,
    /// The fixed part and the attributes.
    pub body: &'a [u8],
}

/// The next message of a datagram, and the rest; None at the end or at what is no message.
fn split(datagram: &[u8]) -> Option<(Message<'_>, &[u8])> {
    let length = usize::try_from(u32_at(datagram, 0)?).ok()?;
    let body = datagram.get(HEADER..length)?;
    let message = Message {
        kind: u16_at(datagram, 4)?,
        flags: u16_at(datagram, 6)?,
        sequence: u32_at(datagram, 8)?,
        body,
    };
    Some((message, datagram.get(length.next_multiple_of(4)..).unwrap_or_default()))
}

/// The attributes after a fixed part of `fixed` bytes: type and value.
pub fn attributes(body: &[u8], fixed: usize) -> impl Iterator<Item = (u16, &[u8])> {
    let mut rest = body.get(fixed..).unwrap_or_default();
    std::iter::from_fn(move || {
        let length = usize::from(u16_at(rest, 0)?);
        let kind = u16_at(rest, 2)? & TYPE_MASK;
        let value = rest.get(ATTRIBUTE_HEADER..length)?;
        rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some((kind, value))
    })
}

/// Four bytes in the host's order.
pub fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(*bytes.get(at..)?.first_chunk()?))
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_ne_bytes(*bytes.get(at..)?.first_chunk()?))
}

/// The text of an attribute, without the NUL that ends it.
pub fn text(value: &[u8]) -> String {
    let end = value.iter().position(|byte| *byte == 0).unwrap_or(value.len());
    String::from_utf8_lossy(&value[..end]).into_owned()
}

/// A name as the kernel wants it, with its NUL.
pub fn name(text: &str) -> Vec<u8> {
    [text.as_bytes(), &[0]].concat()
}

/// A NETLINK_ROUTE socket: it belongs to the network namespace in which it was made, wherever its owner goes.
#[derive(Debug)]
pub struct Socket {
    fd: OwnedFd,
    sequence: u32,
}

impl Socket {
    /// In the present network namespace; hears the multicast groups, too.
    ///
    /// # Errors
    /// Those of socket(2) and bind(2).
    pub fn open(groups: u32) -> Result<Self, Errno> {
        let fd = socket_with(AddressFamily::NETLINK, SocketType::RAW, SocketFlags::CLOEXEC, None)?;
        bind(&fd, &SocketAddrNetlink::new(0, groups))?;
        set_socket_timeout(&fd, Timeout::Recv, Some(PATIENCE))?;
        Ok(Self { fd, sequence: 0 })
    }

    /// Sends a request and gives every message that comes until the kernel's last word on it to `hear`:
    /// answers, and events of the groups.
    ///
    /// # Errors
    /// The kernel's answer; EINTR when what a dump lists changed meanwhile.
    pub fn talk(&mut self, request: Request, hear: &mut dyn FnMut(Message<'_>)) -> Result<(), Errno> {
        self.sequence += 1;
        let bytes = request.finish(self.sequence)?;
        send(&self.fd, &bytes, SendFlags::empty())?;
        let mut buffer = vec![0; LONGEST];
        loop {
            let (length, whole) = match recv(&self.fd, buffer.as_mut_slice(), RecvFlags::TRUNC) {
                // Events were lost, the answer was not.
                Err(Errno::INTR | Errno::NOBUFS) => continue,
                other => other?,
            };
            if whole > length {
                return Err(Errno::MSGSIZE);
            }
            if let Some(end) = digest(&buffer[..length], self.sequence, hear) {
                return end;
            }
        }
    }
}

/// Hands on a datagram's messages; gives the end of the conversation, if it is in here.
fn digest(datagram: &[u8], sequence: u32, hear: &mut dyn FnMut(Message<'_>)) -> Option<Result<(), Errno>> {
    let mut rest = datagram;
    while let Some((message, next)) = split(rest) {
        rest = next;
        let own = message.sequence == sequence;
        match message.kind {
            _ if own && message.flags & INTERRUPTED != 0 => return Some(Err(Errno::INTR)),
            ERROR | DONE if own => return Some(verdict(message.body)),
            _ => hear(message),
        }
    }
    None
}

/// 0 or a negative errno; a DONE without one is fine.
fn verdict(body: &[u8]) -> Result<(), Errno> {
    match body.first_chunk().map_or(0, |bytes| i32::from_ne_bytes(*bytes)) {
        0 => Ok(()),
        code => Err(Errno::from_raw_os_error(code.saturating_abs())),
    }
}

/// Messages for tests.
#[cfg(test)]
pub(super) mod testing {
    use super::{Message, Request, split};

    pub fn bytes(request: Request) -> Vec<u8> {
        request.finish(1).unwrap()
    }

    pub fn message(bytes: &[u8]) -> Message<'_> {
        split(bytes).unwrap().0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// [T10] Lengths, padding and order of what is sent.
    #[test]
    fn a_request_is_laid_out_as_the_kernel_wants_it() {
        let request = Request::new(NEWLINK, REPLACE, &[7; 16]).attribute(3, b"ab\0").unwrap();
        let bytes = request.attribute(28, &5u32.to_ne_bytes()).unwrap().finish(9).unwrap();
        let (message, rest) = split(&bytes).unwrap();
        assert_eq!((bytes.len(), rest), (16 + 16 + 8 + 8, &[][..]));
        assert_eq!((message.kind, message.flags, message.sequence), (NEWLINK, 0x505, 9));
        assert_eq!(message.body[..16], [7; 16]);
        let found: Vec<_> = attributes(message.body, 16).collect();
        assert_eq!(found, [(3, &b"ab\0"[..]), (28, &5u32.to_ne_bytes()[..])]);
        assert!(Request::new(NEWLINK, 0, &[]).attribute(1, &[0; 65_532]).is_err());
    }

    /// [T10] Answers to others, events and several messages in one datagram.
    #[test]
    fn a_conversation_ends_with_its_own_answer() {
        let part = |kind: u16, sequence: u32, body: &[u8]| {
            let mut bytes = Request::new(kind, 0, body).finish(sequence).unwrap();
            bytes[6..8].fill(0);
            bytes
        };
        let event = part(DELLINK, 0, &[1; 16]);
        let foreign = part(ERROR, 8, &(-1i32).to_ne_bytes());
        let failed = part(ERROR, 9, &(-17i32).to_ne_bytes());
        let done = part(DONE, 9, &0i32.to_ne_bytes());
        let mut heard = Vec::new();
        let mut hear = |message: Message<'_>| heard.push(message.kind);
        assert_eq!(digest(&[event.clone(), foreign].concat(), 9, &mut hear), None);
        assert_eq!(digest(&[event.clone(), failed].concat(), 9, &mut hear), Some(Err(Errno::EXIST)));
        assert_eq!(digest(&done, 9, &mut hear), Some(Ok(())));
        assert_eq!(digest(&part(DONE, 9, &[]), 9, &mut hear), Some(Ok(())));
        let mut interrupted = part(NEWADDR, 9, &[]);
        interrupted[6..8].copy_from_slice(&INTERRUPTED.to_ne_bytes());
        assert_eq!(digest(&interrupted, 9, &mut hear), Some(Err(Errno::INTR)));
        assert_eq!(heard, [DELLINK, ERROR, DELLINK]);
    }

    proptest! {
        /// [T10] Whatever comes is read without a panic and without an endless loop.
        #[test]
        fn any_datagram_is_survived(bytes in proptest::collection::vec(any::<u8>(), 0..200), at in 0usize..40) {
            let mut bytes = bytes;
            if let Some(length) = bytes.first_chunk_mut::<4>() {
                *length = u32::try_from(at).unwrap().to_ne_bytes();
            }
            let mut count = 0;
            let _ = digest(&bytes, 1, &mut |message| count += 1 + attributes(message.body, 8).count());
            prop_assert!(count <= bytes.len());
        }
    }

    /// [T10] The loopback device of this namespace, by the kernel itself.
    #[test]
    fn the_kernel_answers() {
        let mut socket = Socket::open(0).unwrap();
        let mut seen = Vec::new();
        let request = Request::new(GETLINK, 0, &[0; 16]).attribute(3, &name("lo")).unwrap();
        socket.talk(request, &mut |message| seen.push((message.kind, u32_at(message.body, 4)))).unwrap();
        assert_eq!(seen, [(NEWLINK, Some(1))]);
        let request = Request::new(GETLINK, 0, &[0; 16]).attribute(3, &name("no-such-dev")).unwrap();
        assert_eq!(socket.talk(request, &mut |_| ()), Err(Errno::NODEV));
        let mut count = 0;
        socket.talk(Request::new(GETADDR, DUMP, &[0; 8]), &mut |_| count += 1).unwrap();
        assert!(count > 0);
    }
}
