//! Signals through pidfds, with any number, 0 included.

use std::os::fd::{AsRawFd, BorrowedFd};
use std::ptr;

use rustix::io::Errno;

/// pidfd_send_signal(2), Linux 5.1: unlike rustix's it takes every number, as `kill ID 0` needs it.
///
/// # Errors
/// `ESRCH` when the process has ended, `EINVAL` when the number is no signal, `EPERM`.
pub fn pidfd_send_signal(pidfd: BorrowedFd<'_>, signal: i32) -> Result<(), Errno> {
    // SAFETY: the call reads no memory: siginfo is NULL, and the fd is open as long as it is borrowed.
    let result = unsafe {
        libc::syscall(
            libc::SYS_pidfd_send_signal,
            pidfd.as_raw_fd(),
            signal,
            ptr::null::<libc::siginfo_t>(),
            0_u32,
        )
    };
    if result == 0 {
        return Ok(());
    }
    Err(Errno::from_io_error(&std::io::Error::last_os_error()).unwrap_or(Errno::IO))
}
