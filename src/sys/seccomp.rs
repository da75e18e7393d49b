//! seccomp(2), which neither rustix nor nix has.

use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use rustix::io::Errno;
use seccompiler::sock_filter;

use super::clone::last_errno;

/// Installs a filter for the calling thread, after which only what it allows is possible.
///
/// Gives the notify fd if `flags` has `SECCOMP_FILTER_FLAG_NEW_LISTENER` (it is close-on-exec). Makes one system call
/// and allocates nothing, so it may be used between clone and execve.
///
/// # Errors
/// EACCES without CAP_SYS_ADMIN and no_new_privs; EINVAL for a bad program or a flag that the kernel does not know;
/// ENOMEM if the filters of a process exceed 32768 instructions; EBUSY if there is a listener already; ESRCH if
/// `SECCOMP_FILTER_FLAG_TSYNC` is set and another thread cannot follow (seccomp(2)).
pub fn load(program: &[sock_filter], flags: u32) -> Result<Option<OwnedFd>, Errno> {
    let length = u16::try_from(program.len()).map_err(|_| Errno::INVAL)?;
    let filter = program.as_ptr().cast_mut().cast::<libc::sock_filter>();
    let program = libc::sock_fprog { len: length, filter };
    let operation = libc::SECCOMP_SET_MODE_FILTER;
    // SAFETY: `program` points to `len` instructions of the kernel's layout (seccompiler's sock_filter is repr(C) with
    // the fields of struct sock_filter), which the kernel only reads, and only during the call.
    let result = unsafe { libc::syscall(libc::SYS_seccomp, operation, flags, &raw const program) };
    match i32::try_from(result) {
        Ok(-1) => Err(last_errno()),
        // With TSYNC the kernel names the thread that could not follow.
        Ok(1..) if flags & TSYNC != 0 && flags & NEW_LISTENER == 0 => Err(Errno::SRCH),
        Ok(fd) if flags & NEW_LISTENER != 0 => {
            // SAFETY: the kernel has just opened this fd for us and nobody else knows it.
            Ok(Some(unsafe { OwnedFd::from_raw_fd(fd) }))
        }
        _ => Ok(None),
    }
}

/// Whether the kernel knows a `SECCOMP_RET_*` action (Linux 4.14).
pub fn action_available(action: u32) -> bool {
    // SAFETY: the kernel reads one u32 from the pointer, which is valid.
    unsafe { libc::syscall(libc::SYS_seccomp, libc::SECCOMP_GET_ACTION_AVAIL, 0, &raw const action) == 0 }
}

/// Whether the kernel knows all of some `SECCOMP_FILTER_FLAG_*`, by themselves. Installs nothing.
pub fn flags_available(flags: u32) -> bool {
    let operation = libc::SECCOMP_SET_MODE_FILTER;
    let nothing = std::ptr::null::<libc::sock_fprog>();
    // SAFETY: the kernel checks the flags first (EINVAL) and cannot read a program from a null pointer (EFAULT).
    let result = unsafe { libc::syscall(libc::SYS_seccomp, operation, flags, nothing) };
    result == -1 && last_errno() == Errno::FAULT
}

/// A call that waits for the listener's answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Asked {
    /// Which question; for [`let_through`].
    pub id: u64,
    /// `AUDIT_ARCH_*`.
    pub arch: u32,
    /// Its number.
    pub number: u32,
}

/// The next call that a filter asks about (seccomp_unotify(2), Linux 5.0); waits for one. None: its process was killed meanwhile.
///
/// # Errors
/// Those of ioctl(2).
pub fn next_asked(listener: BorrowedFd<'_>) -> Result<Option<Asked>, Errno> {
    // SAFETY: a struct of integers, which the kernel wants zeroed, and fills.
    let (result, asked) = unsafe {
        let mut asked: libc::seccomp_notif = std::mem::zeroed();
        (libc::ioctl(listener.as_raw_fd(), NOTIF_RECV, &raw mut asked), asked)
    };
    match result {
        0 => Ok(Some(Asked { id: asked.id, arch: asked.data.arch, number: asked.data.nr.cast_unsigned() })),
        _ => match last_errno() {
            Errno::NOENT | Errno::INTR => Ok(None),
            errno => Err(errno),
        },
    }
}

/// Has the kernel carry the call out (Linux 5.5). A process that was killed meanwhile needs no answer.
///
/// # Errors
/// Those of ioctl(2).
pub fn let_through(listener: BorrowedFd<'_>, asked: Asked) -> Result<(), Errno> {
    let answer = libc::seccomp_notif_resp { id: asked.id, val: 0, error: 0, flags: CONTINUE };
    // SAFETY: the kernel reads the struct.
    match unsafe { libc::ioctl(listener.as_raw_fd(), NOTIF_SEND, &raw const answer) } {
        0 => Ok(()),
        _ => match last_errno() {
            Errno::NOENT => Ok(()),
            errno => Err(errno),
        },
    }
}

/// `SECCOMP_IOCTL_NOTIF_RECV`, `SECCOMP_IOCTL_NOTIF_SEND`, `SECCOMP_USER_NOTIF_FLAG_CONTINUE` (linux/seccomp.h).
const NOTIF_RECV: libc::Ioctl = 0xc050_2100_u32 as libc::Ioctl;
const NOTIF_SEND: libc::Ioctl = 0xc018_2101_u32 as libc::Ioctl;
const CONTINUE: u32 = 1;
const TSYNC: u32 = 1;
const NEW_LISTENER: u32 = 1 << 3;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernel_tells_what_it_knows() {
        assert!(action_available(libc::SECCOMP_RET_ERRNO));
        assert!(!action_available(0x1234_0000));
        assert!(flags_available(1 << 2));
        assert!(!flags_available(1 << 30));
    }

    #[test]
    fn a_bad_program_is_refused() {
        assert_eq!(load(&[], 0).map(|_| ()), Err(Errno::INVAL));
        assert_eq!(
            load(&vec![sock_filter { code: 6, jt: 0, jf: 0, k: 0 }; 70_000], 0).map(|_| ()),
            Err(Errno::INVAL)
        );
    }
}
