//! Descriptors: close ranges, the standard streams, adopting what the caller passed.

use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

use rustix::io::Errno;

use super::clone::last_errno;

const CLOSE_RANGE_CLOEXEC: libc::c_uint = 4;

/// Marks every descriptor from `first` on close-on-exec (close_range(2), Linux 5.11).
///
/// # Errors
/// EINVAL on an older kernel.
pub fn cloexec_from(first: RawFd) -> Result<(), Errno> {
    close_range(first, CLOSE_RANGE_CLOEXEC)
}

/// Closes every descriptor from `first` on (close_range(2), Linux 5.9). Only in a child that uses none of
/// them any more and never runs a destructor.
///
/// # Errors
/// ENOSYS on an older kernel.
pub fn close_from(first: RawFd) -> Result<(), Errno> {
    close_range(first, 0)
}

/// Closes every descriptor from `first` on but `fd`. Only as [`close_from`].
///
/// # Errors
/// ENOSYS on an older kernel.
pub fn close_all_but(fd: BorrowedFd<'_>, first: RawFd) -> Result<(), Errno> {
    let kept = fd.as_raw_fd();
    if kept > first {
        // SAFETY: as in `close_range`.
        let result = unsafe { libc::syscall(libc::SYS_close_range, first, kept - 1, 0) };
        if result < 0 {
            return Err(last_errno());
        }
    }
    close_from(first.max(kept + 1))
}

fn close_range(first: RawFd, flags: libc::c_uint) -> Result<(), Errno> {
    // SAFETY: takes integers. Closing is called only just before execve or a final wait, when no owner of a
    // descriptor is used or dropped again.
    let result = unsafe { libc::syscall(libc::SYS_close_range, first, libc::c_uint::MAX, flags) };
    if result < 0 { Err(last_errno()) } else { Ok(()) }
}

/// Closes a descriptor whose owner is the parent's: in a child, whose copy of the owner is never dropped.
pub fn close_in_child(fd: BorrowedFd<'_>) {
    // SAFETY: the child never uses or drops the value that owns this number.
    unsafe { libc::close(fd.as_raw_fd()) };
}

/// Makes `target` a copy of `fd`, without close-on-exec (dup2(2); nothing is closed when they are the same).
///
/// # Errors
/// EBADF, EMFILE.
pub fn dup_to(fd: BorrowedFd<'_>, target: RawFd) -> Result<(), Errno> {
    // SAFETY: dup2 replaces `target`, which is a standard stream or a preserved descriptor that nothing owns.
    let result = unsafe { libc::dup2(fd.as_raw_fd(), target) };
    if result < 0 { Err(last_errno()) } else { Ok(()) }
}

/// Puts a close-on-exec copy of `fd` at the number `target`, closing what was there.
///
/// # Errors
/// EBADF, EMFILE.
pub fn move_to(fd: BorrowedFd<'_>, target: RawFd) -> Result<(), Errno> {
    if fd.as_raw_fd() == target {
        return Ok(());
    }
    // SAFETY: as for `dup_to`; what was at `target` is not used again by the caller.
    let result = unsafe { libc::dup3(fd.as_raw_fd(), target, libc::O_CLOEXEC) };
    if result < 0 { Err(last_errno()) } else { Ok(()) }
}

/// Whether the caller passed this descriptor: it is open, and not one that we opened ourselves, which is
/// close-on-exec (so was no one that came through execve).
pub fn is_passed(fd: RawFd) -> bool {
    // SAFETY: F_GETFD only asks.
    let flags = unsafe { libc::fcntl(fd, libc::F_GETFD) };
    flags == 0
}

/// Borrows a descriptor that the caller of the program passed, if it is open.
pub fn borrow_inherited(fd: RawFd) -> Option<BorrowedFd<'static>> {
    // SAFETY: F_GETFD only asks.
    if unsafe { libc::fcntl(fd, libc::F_GETFD) } < 0 {
        return None;
    }
    // SAFETY: it is open, and nothing in Davit closes descriptors that it did not open itself.
    Some(unsafe { BorrowedFd::borrow_raw(fd) })
}

/// Opens /dev/null in every gap among descriptors 0, 1 and 2, so that no later open lands there.
///
/// # Errors
/// That of open(2).
pub fn fill_standard_streams() -> Result<(), Errno> {
    for fd in 0..3 {
        // SAFETY: F_GETFD only asks.
        if unsafe { libc::fcntl(fd, libc::F_GETFD) } >= 0 {
            continue;
        }
        // SAFETY: the path is a C string; the lowest free number, `fd` itself, is returned and kept open.
        if unsafe { libc::open(c"/dev/null".as_ptr(), libc::O_RDWR) } < 0 {
            return Err(last_errno());
        }
    }
    Ok(())
}

/// Takes over a descriptor number that was received from the kernel.
pub(super) fn own(fd: RawFd) -> Result<OwnedFd, Errno> {
    if fd < 0 {
        return Err(last_errno());
    }
    // SAFETY: the caller passes what a system call has just returned as a new descriptor.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}
