//! clone3(2): one child, in new namespaces, in its cgroup, with a pidfd.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use rustix::io::Errno;
use rustix::process::{WaitId, WaitIdOptions, waitid};

/// `CLONE_NEWTIME`; clone3(2) and unshare(2) only, its bit means a signal in clone(2). Linux 5.6.
pub const CLONE_NEWTIME: u64 = 0x80;
/// Put the child into the cgroup of `clone_args.cgroup`. Linux 5.7, cgroup v2 only.
const CLONE_INTO_CGROUP: u64 = 0x2_0000_0000;
const CLONE_PIDFD: u64 = 0x1000;

/// The child as its parent sees it.
#[derive(Debug)]
pub struct Child {
    /// Its pid in the parent's pid namespace.
    pub pid: i32,
    /// Becomes readable when the child ends.
    pub pidfd: OwnedFd,
}

impl Child {
    /// Kills it and waits for its end; gives the signal that ended it.
    pub fn kill_and_reap(&self) -> Option<i32> {
        let _ = super::process::pidfd_send_signal(self.pidfd.as_fd(), libc::SIGKILL);
        self.reap()
    }

    /// Waits for its end; gives the signal that killed it.
    pub fn reap(&self) -> Option<i32> {
        let wait = || waitid(WaitId::PidFd(self.pidfd.as_fd()), WaitIdOptions::EXITED);
        rustix::io::retry_on_intr(wait).ok().flatten().and_then(|status| status.terminating_signal())
    }
}

/// Clones the process and runs `body` in the child, which ends with the exit code that it returns.
///
/// `namespaces` holds `CLONE_NEW*` flags; `cgroup` is a cgroup v2 directory to be born in; a `sibling` becomes a
/// child of this process's parent.
/// The caller must be single-threaded, as all of Davit is: the child goes on with a copy of this thread only.
///
/// # Errors
/// clone3(2): EPERM, ENOSPC (namespace limit), EBUSY or EACCES (cgroup), EAGAIN (pids limit) and so on.
pub fn clone3(
    namespaces: u64,
    cgroup: Option<BorrowedFd<'_>>,
    sibling: bool,
    body: impl FnOnce() -> i32,
) -> Result<Child, Errno> {
    let mut pidfd: libc::c_int = -1;
    // SAFETY: clone_args is a plain struct of integers, for which all-zero is valid and means "unset".
    let mut args: libc::clone_args = unsafe { std::mem::zeroed() };
    args.flags = namespaces | CLONE_PIDFD;
    if sibling {
        args.flags |= u64::from(libc::CLONE_PARENT.unsigned_abs());
    } else {
        args.exit_signal = u64::from(libc::SIGCHLD.unsigned_abs());
    }
    args.pidfd = &raw mut pidfd as u64;
    if let Some(directory) = cgroup {
        args.flags |= CLONE_INTO_CGROUP;
        args.cgroup = u64::from(directory.as_raw_fd().unsigned_abs());
    }
    // SAFETY: the struct outlives the call and its size is given; without CLONE_VM and a stack the child gets
    // a copy of this process, as with fork(2). There is no other thread whose locks it could inherit.
    let pid = unsafe { libc::syscall(libc::SYS_clone3, &raw mut args, size_of::<libc::clone_args>()) };
    match pid {
        -1 => Err(last_errno()),
        0 => exit_now(body()),
        _ => {
            // SAFETY: the kernel stored a new descriptor that nobody else owns.
            let pidfd = unsafe { OwnedFd::from_raw_fd(pidfd) };
            Ok(Child { pid: i32::try_from(pid).unwrap_or(i32::MAX), pidfd })
        }
    }
}

/// As [`clone3`] without namespaces, but the child runs on the caller's own memory, on a stack of its own, while the
/// caller stands still until it has ended (vfork(2)). Nothing is copied, which is what costs with clone.
///
/// Where this is not built for the processor the child gets a copy.
///
/// # Errors
/// As [`clone3`].
pub fn clone3_in_memory(cgroup: Option<BorrowedFd<'_>>, body: impl FnOnce() -> i32) -> Result<Child, Errno> {
    extern "C" fn entry<F: FnOnce() -> i32>(body: &mut Option<F>) -> ! {
        exit_now(body.take().map_or(1, |body| body()))
    }
    if !BORROWS_MEMORY {
        return clone3(0, cgroup, false, body);
    }
    let mut stack: Vec<std::mem::MaybeUninit<u128>> = Vec::with_capacity(CHILD_STACK / size_of::<u128>());
    let mut pidfd: libc::c_int = -1;
    // SAFETY: as in `clone3`.
    let mut args: libc::clone_args = unsafe { std::mem::zeroed() };
    let flags = libc::CLONE_VM | libc::CLONE_VFORK;
    args.flags = u64::from(flags.unsigned_abs()) | CLONE_PIDFD;
    args.exit_signal = u64::from(libc::SIGCHLD.unsigned_abs());
    args.pidfd = &raw mut pidfd as u64;
    args.stack = stack.as_mut_ptr() as u64;
    args.stack_size = CHILD_STACK as u64;
    if let Some(directory) = cgroup {
        args.flags |= CLONE_INTO_CGROUP;
        args.cgroup = u64::from(directory.as_raw_fd().unsigned_abs());
    }
    let mut body = Some(body);
    // SAFETY: the struct, the stack and `body` outlive the child, since the caller waits for its end; nothing else runs on
    // this memory meanwhile. The child never comes back from `entry`.
    let pid = unsafe { clone3_and_call(&raw mut args, entry, &mut body) };
    if pid < 0 {
        return Err(Errno::from_raw_os_error(i32::try_from(-pid).unwrap_or(libc::EIO)));
    }
    // SAFETY: the kernel stored a new descriptor that nobody else owns.
    let pidfd = unsafe { OwnedFd::from_raw_fd(pidfd) };
    Ok(Child { pid: i32::try_from(pid).unwrap_or(i32::MAX), pidfd })
}

/// Enough for what a child does between clone and execve, also in builds without optimisation; only what is used of it is
/// ever there.
const CHILD_STACK: usize = 512 << 10;

const BORROWS_MEMORY: bool = cfg!(any(target_arch = "x86_64", target_arch = "aarch64"));

/// clone3(2) whose child calls `entry` on its own stack; the pid, or minus the errno.
///
/// # Safety
/// `args` name a stack with 16-byte aligned ends; `entry` never returns.
#[cfg(target_arch = "x86_64")]
unsafe fn clone3_and_call<T>(
    args: *mut libc::clone_args,
    entry: extern "C" fn(&mut T) -> !,
    data: &mut T,
) -> isize {
    let mut result = isize::try_from(libc::SYS_clone3).unwrap_or(0);
    // SAFETY: in the parent only rax, rcx and r11 change, as with every system call. The child has the parent's registers
    // but for rax and its stack, and leaves by the call.
    unsafe {
        std::arch::asm!(
            "syscall",
            "test rax, rax",
            "jnz 2f",
            "xor ebp, ebp",
            "mov rdi, r12",
            "call r13",
            "ud2",
            "2:",
            inlateout("rax") result,
            in("rdi") args,
            in("rsi") size_of::<libc::clone_args>(),
            in("r12") std::ptr::from_mut(data),
            in("r13") entry as *const (),
            lateout("rcx") _,
            lateout("r11") _,
        );
    }
    result
}

/// clone3(2) whose child calls `entry` on its own stack; the pid, or minus the errno.
///
/// # Safety
/// `args` name a stack with 16-byte aligned ends; `entry` never returns.
#[cfg(target_arch = "aarch64")]
unsafe fn clone3_and_call<T>(
    args: *mut libc::clone_args,
    entry: extern "C" fn(&mut T) -> !,
    data: &mut T,
) -> isize {
    let result: isize;
    // SAFETY: in the parent only x0 changes. The child has the parent's registers but for x0 and its stack, and leaves by
    // the call.
    unsafe {
        std::arch::asm!(
            "svc 0",
            "cbnz x0, 2f",
            "mov x29, xzr",
            "mov x0, x20",
            "blr x21",
            "brk #1",
            "2:",
            in("x8") libc::SYS_clone3,
            inlateout("x0") args => result,
            in("x1") size_of::<libc::clone_args>(),
            in("x20") std::ptr::from_mut(data),
            in("x21") entry as *const (),
        );
    }
    result
}

/// Never called: see [`BORROWS_MEMORY`].
///
/// # Safety
/// None is needed.
#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
unsafe fn clone3_and_call<T>(_: *mut libc::clone_args, _: extern "C" fn(&mut T) -> !, _: &mut T) -> isize {
    -(libc::ENOSYS as isize)
}

/// Ends the process at once: no destructors, no atexit handlers (those belong to the parent).
///
/// Where a seccomp filter forbids even that, by a fault of the processor's, which no filter sees.
pub fn exit_now(code: i32) -> ! {
    // SAFETY: exit_group(2) has no preconditions, and an undefined instruction ends the process, an init of a pid
    // namespace too.
    unsafe {
        libc::syscall(libc::SYS_exit_group, code);
        #[cfg(target_arch = "x86_64")]
        std::arch::asm!("ud2", options(noreturn));
        #[cfg(target_arch = "aarch64")]
        std::arch::asm!("udf #0", options(noreturn));
        #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
        libc::abort()
    }
}

/// setns(2): enters the namespace behind `file`, which must be of type `kind` (one `CLONE_NEW*`, or 0).
///
/// # Errors
/// EINVAL (of another type), EPERM.
pub fn setns(file: BorrowedFd<'_>, kind: i32) -> Result<(), Errno> {
    // SAFETY: integers only.
    let result = unsafe { libc::setns(file.as_raw_fd(), kind) };
    if result < 0 { Err(last_errno()) } else { Ok(()) }
}

/// unshare(2) for namespaces.
///
/// # Errors
/// EPERM, EINVAL (not in this kernel), ENOSPC.
pub fn unshare(namespaces: u64) -> Result<(), Errno> {
    // SAFETY: takes an integer; flags of this crate are namespaces only, so no shared memory changes owner.
    let result = unsafe { libc::syscall(libc::SYS_unshare, namespaces) };
    if result < 0 { Err(last_errno()) } else { Ok(()) }
}

/// The errno of the libc call just made.
pub(super) fn last_errno() -> Errno {
    Errno::from_raw_os_error(std::io::Error::last_os_error().raw_os_error().unwrap_or(libc::EIO))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The child's writes are the caller's; its exit code and its end are seen, and the caller goes on as it was.
    #[test]
    fn a_child_may_run_on_the_callers_memory() {
        let mut seen = vec![1u8, 2, 3];
        let before = std::hint::black_box(7u64);
        let own = std::process::id();
        let child = clone3_in_memory(None, || {
            seen.push(4);
            // SAFETY: getpid(2) has no preconditions.
            i32::from(unsafe { libc::getpid() }.unsigned_abs() == own)
        });
        let child = child.expect("clone3");
        assert_eq!(child.reap(), None);
        assert_eq!(seen, if BORROWS_MEMORY { vec![1, 2, 3, 4] } else { vec![1, 2, 3] });
        assert_eq!((before, std::process::id()), (7, own));
    }
}
