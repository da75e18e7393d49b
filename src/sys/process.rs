//! Signals through pidfds, and what a helper process inherits.

use std::os::fd::{AsRawFd, BorrowedFd};
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::ptr;

use rustix::io::Errno;
use rustix::ioctl;

use super::signal::unblock_all;

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

/// `struct pidfd_info` of linux/pidfd.h in its first form, Linux 6.13: the ids are of no interest here.
#[repr(C)]
struct PidfdInfo {
    mask: u64,
    cgroup: u64,
    ids: [u32; 11],
    exit_code: i32,
}

/// How a process has ended that its parent has waited for already (PIDFD_GET_INFO with PIDFD_INFO_EXIT, Linux 6.15), in
/// the form of wait4(2). `None`: not yet, or this kernel does not keep it.
///
/// # Errors
/// Those of ioctl(2) but `ENOTTY`, `EINVAL` and `ESRCH`, by which older kernels say that.
pub fn pidfd_exit_status(pidfd: BorrowedFd<'_>) -> Result<Option<i32>, Errno> {
    const PIDFD_INFO_EXIT: u64 = 1 << 3;
    /// `PIDFD_GET_INFO` for the first form of the structure.
    const GET_INFO: ioctl::Opcode = ioctl::opcode::read_write::<PidfdInfo>(0xff, 11);
    let mut info = PidfdInfo { mask: PIDFD_INFO_EXIT, cgroup: 0, ids: [0; 11], exit_code: 0 };
    // SAFETY: the opcode is that of this structure, whose fields may hold anything.
    let asked = unsafe { ioctl::ioctl(pidfd, ioctl::Updater::<GET_INFO, PidfdInfo>::new(&mut info)) };
    match asked {
        Ok(()) => Ok((info.mask & PIDFD_INFO_EXIT != 0).then_some(info.exit_code)),
        Err(Errno::NOTTY | Errno::INVAL | Errno::SRCH) => Ok(None),
        Err(errno) => Err(errno),
    }
}

/// Lets `command` inherit no descriptor from `first` on: each gets close-on-exec in the new process, so that
/// a failure of execve still comes back to the parent.
pub fn close_on_exec_from(command: &mut Command, first: u32) {
    let mark = move || {
        // SAFETY: the call reads no memory and only sets a flag on descriptors.
        let result = unsafe {
            libc::syscall(libc::SYS_close_range, first, libc::c_uint::MAX, libc::CLOSE_RANGE_CLOEXEC)
        };
        if result != 0 {
            mark_one_by_one(first);
        }
        Ok(())
    };
    // SAFETY: between fork and exec only async-signal-safe system calls are made; nothing is allocated.
    unsafe { command.pre_exec(mark) };
}

/// Lets `command` start with no signal blocked: std hands on what is blocked here.
pub fn unblock_signals(command: &mut Command) {
    before_exec(command, || {
        unblock_all();
        Ok(())
    });
}

/// Runs `body` in the new process of `command`, after what was asked for before and just before execve. Its errno is
/// the error of `Command::spawn`.
pub fn before_exec(command: &mut Command, body: impl Fn() -> Result<(), Errno> + Send + Sync + 'static) {
    // SAFETY: Davit has one thread (in the unit tests, where it has more, bodies are system calls only), so the new
    // process finds no lock held, and may do what the old one could.
    unsafe { command.pre_exec(move || body().map_err(std::io::Error::from)) };
}

/// Before Linux 5.11, which has close_range(2) with the flag. More than 65,536 are not looked at.
fn mark_one_by_one(first: u32) {
    for fd in first..65_536 {
        let Ok(fd) = i32::try_from(fd) else { return };
        // SAFETY: the call reads no memory; a descriptor that is not open gives EBADF, which is as good.
        unsafe { libc::fcntl(fd, libc::F_SETFD, libc::FD_CLOEXEC) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::io::{FdFlags, fcntl_dupfd_cloexec, fcntl_getfd, fcntl_setfd};

    /// The way of old kernels, forced. From a high number on, to leave other tests' descriptors alone.
    #[test]
    fn descriptors_are_marked_one_by_one() {
        let file = std::fs::File::open("/dev/null").expect("open");
        let fd = fcntl_dupfd_cloexec(&file, 900).expect("dup");
        fcntl_setfd(&fd, FdFlags::empty()).expect("inheritable");
        mark_one_by_one(900);
        assert_eq!(fcntl_getfd(&fd).expect("flags"), FdFlags::CLOEXEC);
    }

    /// [S19] Signal 0 asks, a number that is no signal is refused by the kernel.
    #[test]
    fn any_number_is_passed_on() {
        let me = rustix::process::getpid();
        let fd = rustix::process::pidfd_open(me, rustix::process::PidfdFlags::empty()).expect("pidfd");
        assert_eq!(pidfd_send_signal(std::os::fd::AsFd::as_fd(&fd), 0), Ok(()));
        assert_eq!(pidfd_send_signal(std::os::fd::AsFd::as_fd(&fd), 65), Err(Errno::INVAL));
    }
}
