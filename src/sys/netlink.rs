//! Bringing up the loopback device of a fresh network namespace.

use rustix::io::Errno;

use super::clone::last_errno;
use super::fd::own;

/// From linux/sockios.h; libc's constant has another type on each C library.
const SIOCSIFFLAGS: libc::Ioctl = 0x8914;

/// Sets `lo` up (netdevice(7), SIOCSIFFLAGS).
///
/// # Errors
/// EPERM, ENODEV, or those of socket(2).
pub fn loopback_up() -> Result<(), Errno> {
    use std::os::fd::AsRawFd;
    // SAFETY: makes a socket; the result is taken over by `own`.
    let socket = own(unsafe { libc::socket(libc::AF_INET, libc::SOCK_DGRAM | libc::SOCK_CLOEXEC, 0) })?;
    // SAFETY: ifreq is plain data; all-zero is valid.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    request.ifr_name[0] = b'l'.cast_signed();
    request.ifr_name[1] = b'o'.cast_signed();
    request.ifr_ifru.ifru_flags = libc::c_short::try_from(libc::IFF_UP | libc::IFF_RUNNING).unwrap_or(1);
    // SAFETY: the request outlives the call and has the type that SIOCSIFFLAGS reads.
    let result = unsafe { libc::ioctl(socket.as_raw_fd(), SIOCSIFFLAGS, &raw const request) };
    if result < 0 { Err(last_errno()) } else { Ok(()) }
}
