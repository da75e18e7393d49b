//! `linux.netDevices`: network devices of the host move into the container's network namespace.
//!
//! A move takes a device's addresses and its state "up" away, so they are read before and set again inside. The
//! kernel renames in the same call; its event about the move tells the index that the device has got.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

use rustix::fs::{CWD, Mode, OFlags};
use rustix::io::Errno;

use super::rtnetlink::{self as rt, Message, Request, Socket, attributes, u32_at};
use crate::error::{Context, Error, Kind, Result};
use crate::sys::clone::setns;

/// IFLA_IFNAME, IFLA_NET_NS_FD, IFLA_NEW_IFINDEX of linux/if_link.h.
const IFNAME: u16 = 3;
const NET_NS_FD: u16 = 28;
const NEW_IFINDEX: u16 = 49;
/// Sizes of `ifinfomsg` and `ifaddrmsg`.
const LINK_FIXED: usize = 16;
const ADDRESS_FIXED: usize = 8;
/// Of linux/if_addr.h.
const IFA_LABEL: u16 = 3;
const IFA_FLAGS: u16 = 8;
const IFA_F_PERMANENT: u32 = 0x80;
/// Flags that an address is given; all others are the kernel's findings: NODAD, HOMEADDRESS, MANAGETEMPADDR,
/// NOPREFIXROUTE, MCAUTOJOIN.
const KEPT_FLAGS: u32 = 0x02 | 0x10 | 0x100 | 0x200 | 0x400;
/// IFA_ADDRESS, LOCAL, LABEL, BROADCAST, CACHEINFO, RT_PRIORITY, PROTO.
const KEPT_ATTRIBUTES: [u16; 7] = [1, 2, IFA_LABEL, 4, 6, 9, 11];
const AF_INET6: u8 = 10;
const RT_SCOPE_UNIVERSE: u8 = 0;
const IFF_UP: u32 = 1;
const IFF_LOOPBACK: u32 = 8;
/// IFNAMSIZ less its NUL.
const LONGEST_NAME: usize = 15;

/// A device to move.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NetDevice {
    /// Its name on the host.
    pub name: String,
    /// Its name in the container; one `%d` stands for the lowest number that is free. None: it keeps its name.
    pub new_name: Option<String>,
}

impl NetDevice {
    /// Where config.json asks for it.
    pub fn path(&self) -> String {
        format!("linux.netDevices[{:?}]", self.name)
    }
}

/// A link as the kernel describes it.
#[derive(Debug)]
struct Link {
    index: u32,
    name: String,
    flags: u32,
}

/// An address to be set again.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Address {
    family: u8,
    prefix: u8,
    flags: u32,
    attributes: Vec<(u16, Vec<u8>)>,
}

/// Moves all devices into the network namespace `target`, with new name and old addresses, and sets them up. That
/// every one can be moved is looked at before the first one is.
///
/// The caller is in `target` for a moment, so it must have one thread.
///
/// # Errors
/// The device that failed, by its JSON path. Those moved before stay where they are.
pub fn move_all(devices: &[NetDevice], target: BorrowedFd<'_>) -> Result<()> {
    let mut here = Socket::open(0).context("open a netlink socket")?;
    let mut there =
        socket_in(target).context("open a netlink socket in the container's network namespace")?;
    let mut links = Vec::with_capacity(devices.len());
    for device in devices {
        links.push(check(device, &mut here, &mut there).with_context(|| device.path())?);
    }
    for (index, (device, link)) in devices.iter().zip(&links).enumerate() {
        move_one(device, link, &mut here, &mut there, target).map_err(|error| {
            let error = error.context(device.path());
            match index {
                0 => error,
                _ => error.hint("devices moved before stay in the container's network namespace: when that ends, the \
                                 kernel gives physical ones back to the initial one and destroys virtual ones"),
            }
        })?;
    }
    Ok(())
}

/// A socket made inside the namespace works there for ever.
fn socket_in(target: BorrowedFd<'_>) -> Result<Socket, Errno> {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC;
    let own = rustix::fs::openat(CWD, c"/proc/thread-self/ns/net", flags, Mode::empty())?;
    setns(target, libc::CLONE_NEWNET)?;
    let socket = Socket::open(0);
    setns(own.as_fd(), libc::CLONE_NEWNET)?;
    socket
}

/// The device is there, can be moved, and its name is free in the container.
fn check(device: &NetDevice, here: &mut Socket, there: &mut Socket) -> Result<Link> {
    let link = find(here, &device.name).context("find network device")?;
    if link.flags & IFF_LOOPBACK != 0 {
        return Err(Error::new(Kind::Config, "the loopback device of a namespace cannot be moved"));
    }
    let wanted = device.new_name.as_ref().unwrap_or(&link.name);
    if wanted.contains('%') {
        return Ok(link);
    }
    match find(there, wanted) {
        Err(Errno::NODEV) => Ok(link),
        Ok(_) => {
            let text = format!("the container's network namespace has a device {wanted:?} already");
            Err(Error::new(Kind::Config, text))
        }
        Err(errno) => Err(Error::system(format_args!("look for {wanted:?} in the container"), errno)),
    }
}

fn move_one(
    device: &NetDevice,
    link: &Link,
    here: &mut Socket,
    there: &mut Socket,
    target: BorrowedFd<'_>,
) -> Result<()> {
    let addresses = addresses(here, link.index).context("read its addresses")?;
    let index = change_namespace(device, link.index, target).context("move it into the container")?;
    let moved = by_index(there, index).context("find it in the container")?;
    for address in &addresses {
        let request = address.request(index, &link.name, &moved.name);
        request.and_then(|request| there.talk(request, &mut |_| ())).context("set its address again")?;
    }
    let up = Request::new(rt::NEWLINK, 0, &link_fixed(index, IFF_UP));
    there.talk(up, &mut |_| ()).context("set it up")
}

/// `ifinfomsg`: family, type, index, flags and their mask.
fn link_fixed(index: u32, flags: u32) -> [u8; LINK_FIXED] {
    let mut fixed = [0; LINK_FIXED];
    fixed[4..8].copy_from_slice(&index.to_ne_bytes());
    fixed[8..12].copy_from_slice(&flags.to_ne_bytes());
    fixed[12..].copy_from_slice(&flags.to_ne_bytes());
    fixed
}

fn find(socket: &mut Socket, name: &str) -> Result<Link, Errno> {
    ask(socket, Request::new(rt::GETLINK, 0, &link_fixed(0, 0)).attribute(IFNAME, &rt::name(name))?)
}

fn by_index(socket: &mut Socket, index: u32) -> Result<Link, Errno> {
    ask(socket, Request::new(rt::GETLINK, 0, &link_fixed(index, 0)))
}

fn ask(socket: &mut Socket, request: Request) -> Result<Link, Errno> {
    let mut found = None;
    socket.talk(request, &mut |message| found = found.take().or_else(|| link(&message)))?;
    found.ok_or(Errno::NODEV)
}

fn link(message: &Message<'_>) -> Option<Link> {
    if message.kind != rt::NEWLINK {
        return None;
    }
    let (_, name) = attributes(message.body, LINK_FIXED).find(|(kind, _)| *kind == IFNAME)?;
    Some(Link { index: u32_at(message.body, 4)?, flags: u32_at(message.body, 8)?, name: rt::text(name) })
}

/// Gives the device's index in its new namespace, from the event "gone to another namespace, as number N", which
/// the kernel sends before it answers the request.
fn change_namespace(device: &NetDevice, index: u32, target: BorrowedFd<'_>) -> Result<u32, Errno> {
    let mut request = Request::new(rt::NEWLINK, 0, &link_fixed(index, 0))
        .attribute(NET_NS_FD, &target.as_raw_fd().to_ne_bytes())?;
    if let Some(name) = &device.new_name {
        request = request.attribute(IFNAME, &rt::name(name))?;
    }
    let mut moved = None;
    let mut hear = |message: Message<'_>| moved = moved.or_else(|| new_index(&message, index));
    Socket::open(rt::LINK_EVENTS)?.talk(request, &mut hear)?;
    moved.ok_or(Errno::NODEV)
}

fn new_index(message: &Message<'_>, old: u32) -> Option<u32> {
    if message.kind != rt::DELLINK || u32_at(message.body, 4)? != old {
        return None;
    }
    let (_, value) = attributes(message.body, LINK_FIXED).find(|(kind, _)| *kind == NEW_IFINDEX)?;
    u32_at(value, 0)
}

/// The device's permanent addresses of global scope, of every family, in the order in which they must be set.
fn addresses(socket: &mut Socket, index: u32) -> Result<Vec<Address>, Errno> {
    for _ in 0..8 {
        let mut found = Vec::new();
        let mut hear = |message: Message<'_>| found.extend(address(&message, index));
        match socket.talk(Request::new(rt::GETADDR, rt::DUMP, &[0; ADDRESS_FIXED]), &mut hear) {
            Err(Errno::INTR) => {}
            Err(errno) => return Err(errno),
            Ok(()) => {
                // Of equal ones the kernel lists the IPv6 address last set first; the first of IPv4 is the primary.
                let (mut v6, mut all): (Vec<_>, Vec<_>) =
                    found.into_iter().partition(|address| address.family == AF_INET6);
                v6.reverse();
                all.append(&mut v6);
                return Ok(all);
            }
        }
    }
    Err(Errno::AGAIN)
}

fn address(message: &Message<'_>, index: u32) -> Option<Address> {
    let &[family, prefix, short_flags, scope, ..] = message.body else { return None };
    if message.kind != rt::NEWADDR || u32_at(message.body, 4)? != index || scope != RT_SCOPE_UNIVERSE {
        return None;
    }
    let mut flags = u32::from(short_flags);
    let mut kept = Vec::new();
    for (kind, value) in attributes(message.body, ADDRESS_FIXED) {
        if kind == IFA_FLAGS {
            flags = u32_at(value, 0)?;
        } else if KEPT_ATTRIBUTES.contains(&kind) {
            kept.push((kind, value.to_vec()));
        }
    }
    (flags & IFA_F_PERMANENT != 0).then_some(Address {
        family,
        prefix,
        flags: flags & KEPT_FLAGS,
        attributes: kept,
    })
}

impl Address {
    /// RTM_NEWADDR for the device that was `old` and is now `new` with that index.
    fn request(&self, index: u32, old: &str, new: &str) -> Result<Request, Errno> {
        let mut fixed = [self.family, self.prefix, 0, RT_SCOPE_UNIVERSE, 0, 0, 0, 0];
        fixed[4..].copy_from_slice(&index.to_ne_bytes());
        let mut request =
            Request::new(rt::NEWADDR, rt::REPLACE, &fixed).attribute(IFA_FLAGS, &self.flags.to_ne_bytes())?;
        for (kind, value) in &self.attributes {
            request = match *kind {
                IFA_LABEL => match label(&rt::text(value), old, new) {
                    Some(label) => request.attribute(IFA_LABEL, &rt::name(&label))?,
                    None => request,
                },
                kind => request.attribute(kind, value)?,
            };
        }
        Ok(request)
    }
}

/// An IPv4 address is labelled with the device's name, or with that and a suffix (`eth0:1`), which go with the
/// name. None where that is too long: then it is the name.
fn label(label: &str, old: &str, new: &str) -> Option<String> {
    let renamed = match label.strip_prefix(old) {
        Some(rest) if rest.is_empty() || rest.starts_with(':') => format!("{new}{rest}"),
        _ => label.to_string(),
    };
    (renamed.len() <= LONGEST_NAME).then_some(renamed)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(kind: u16, fixed: &[u8], list: &[(u16, &[u8])]) -> Vec<u8> {
        let mut request = Request::new(kind, 0, fixed);
        for (kind, value) in list {
            request = request.attribute(*kind, value).unwrap();
        }
        rt::testing::bytes(request)
    }

    fn with<T>(bytes: &[u8], read: impl Fn(&Message<'_>) -> T) -> T {
        read(&rt::testing::message(bytes))
    }

    fn v4(scope: u8, flags: u32) -> Vec<u8> {
        let fixed = [2, 24, 0x80, scope, 7, 0, 0, 0];
        let flags = flags.to_ne_bytes();
        let list: [(u16, &[u8]); 6] = [
            (1, &[10, 0, 0, 2]),
            (2, &[10, 0, 0, 1]),
            (4, &[10, 0, 0, 255]),
            (IFA_LABEL, b"eth9:1\0"),
            (IFA_FLAGS, &flags),
            (10, &[0; 4]),
        ];
        message(rt::NEWADDR, &fixed, &list)
    }

    /// [T10] Permanent and global ones, of this device, with what belongs to them.
    #[test]
    fn which_addresses_are_kept() {
        let permanent = IFA_F_PERMANENT | 0x200 | 0x01;
        let kept = with(&v4(0, permanent), |message| address(message, 7)).unwrap();
        assert_eq!((kept.family, kept.prefix, kept.flags), (2, 24, 0x200));
        let kinds: Vec<_> = kept.attributes.iter().map(|(kind, _)| *kind).collect();
        assert_eq!(kinds, [1, 2, 4, IFA_LABEL]);
        assert_eq!(with(&v4(0, permanent), |message| address(message, 8)), None);
        assert_eq!(with(&v4(253, permanent), |message| address(message, 7)), None);
        // The long flags count, not the short ones.
        assert_eq!(with(&v4(0, 0x01), |message| address(message, 7)), None);
        assert_eq!(with(&message(rt::NEWADDR, &[2, 24], &[]), |message| address(message, 7)), None);
    }

    /// [T10] The same address for another device.
    #[test]
    fn an_address_is_set_again() {
        let kept = with(&v4(0, IFA_F_PERMANENT | 0x400), |message| address(message, 7)).unwrap();
        let bytes = rt::testing::bytes(kept.request(300, "eth9", "net0").unwrap());
        let sent = rt::testing::message(&bytes);
        assert_eq!(
            (sent.kind, &sent.body[..4], u32_at(sent.body, 4)),
            (rt::NEWADDR, &[2, 24, 0, 0][..], Some(300))
        );
        let sent: Vec<_> = attributes(sent.body, ADDRESS_FIXED).collect();
        assert_eq!(sent[0], (IFA_FLAGS, &0x400u32.to_ne_bytes()[..]));
        assert!(sent.contains(&(IFA_LABEL, b"net0:1\0")) && sent.contains(&(4, &[10, 0, 0, 255])));
    }

    /// [T10]
    #[test]
    fn labels_go_with_the_name() {
        assert_eq!(label("eth0", "eth0", "net0").as_deref(), Some("net0"));
        assert_eq!(label("eth0:12", "eth0", "net0").as_deref(), Some("net0:12"));
        assert_eq!(label("eth01", "eth0", "net0").as_deref(), Some("eth01"));
        assert_eq!(label("e:backup", "e", "a-long-name"), None);
    }

    /// [T10] Only the event about that device, and only that about a move.
    #[test]
    fn the_event_names_the_new_index() {
        let event = |index, list: &[(u16, &[u8])]| message(rt::DELLINK, &link_fixed(index, 0), list);
        let new = 42u32.to_ne_bytes();
        assert_eq!(with(&event(7, &[(IFNAME, b"e\0"), (NEW_IFINDEX, &new)]), |m| new_index(m, 7)), Some(42));
        assert_eq!(with(&event(8, &[(NEW_IFINDEX, &new)]), |m| new_index(m, 7)), None);
        assert_eq!(with(&event(7, &[(IFNAME, b"e\0")]), |m| new_index(m, 7)), None);
    }

    /// [T10]
    #[test]
    fn links_are_found_by_name_and_index() {
        let mut socket = Socket::open(0).unwrap();
        let lo = find(&mut socket, "lo").unwrap();
        assert_eq!((lo.index, lo.name.as_str(), lo.flags & IFF_LOOPBACK), (1, "lo", IFF_LOOPBACK));
        assert_eq!(by_index(&mut socket, 1).unwrap().name, "lo");
        assert_eq!(find(&mut socket, "no-such-dev").unwrap_err(), Errno::NODEV);
        // 127.0.0.1 has host scope.
        assert!(addresses(&mut socket, 1).unwrap().iter().all(|address| address.family != 0));
    }
}
