//! A second thread of init, by clone(2) itself: it lives for the moment between a seccomp filter and execve(2), which ends it.

use std::convert::Infallible;

use rustix::io::Errno;

/// It sends and receives messages of at most 1 KiB.
const STACK: usize = 32 << 10;

/// Runs `beside` in a new thread that shares memory and descriptors with this one, but no seccomp filter that either loads from
/// then on, and goes on with `then`, after which both end; execve(2) ends the other thread. Comes back only if there is none: EAGAIN for a limit on
/// processes, ENOMEM.
///
/// Both have one and the same thread-local storage, `errno` included, and the allocator has no lock: as long as both run, only
/// one may allocate or have a system call of the C library fail.
pub fn split<T: Sync>(context: &T, beside: fn(&T) -> Infallible, then: impl FnOnce()) -> Errno {
    // SAFETY: a fresh private mapping at an address of the kernel's choice, never unmapped.
    let stack = unsafe {
        rustix::mm::mmap_anonymous(
            std::ptr::null_mut(),
            STACK,
            rustix::mm::ProtFlags::READ | rustix::mm::ProtFlags::WRITE,
            rustix::mm::MapFlags::PRIVATE,
        )
    };
    let stack = match stack {
        Ok(stack) => stack,
        Err(errno) => return errno,
    };
    // SAFETY: the four words are the mapping's last, and its end is aligned as a stack must be.
    let top = unsafe {
        let top = stack.byte_add(STACK).cast::<usize>().sub(4);
        top.write(std::ptr::from_ref(context) as usize);
        top.add(1).write(beside as usize);
        top.add(2).write(enter::<T> as *const () as usize);
        top
    };
    let flags = libc::CLONE_VM | libc::CLONE_FILES | libc::CLONE_SIGHAND | libc::CLONE_THREAD;
    // SAFETY: the thread has a stack of its own, prepared as `clone` wants it; what it refers to stays, as neither this
    // function nor its caller goes on once the thread is there.
    let result = unsafe { clone(flags, top) };
    if result >= 0 {
        then();
        super::clone::exit_now(1);
    }
    Errno::from_raw_os_error(i32::try_from(-result).unwrap_or(libc::EIO))
}

/// Where the thread begins.
extern "C" fn enter<T: Sync>(context: *const T, body: usize) -> ! {
    // SAFETY: `split` put both where `clone` takes them from.
    let (context, body) = unsafe { (&*context, std::mem::transmute::<usize, fn(&T) -> Infallible>(body)) };
    match body(context) {}
}

/// clone(2) for a thread whose stack begins with two arguments and the function to call with them: its id, or minus the errno.
///
/// # Safety
/// `top` is the aligned beginning of a stack with these three words and a fourth one; `flags` make a thread.
#[cfg(target_arch = "x86_64")]
unsafe fn clone(flags: libc::c_int, top: *mut usize) -> i64 {
    let result: i64;
    // SAFETY: as the caller vouches; the thread leaves by the function, which does not return, so this frame is this thread's alone.
    unsafe {
        std::arch::asm!(
            "syscall", "test rax, rax", "jnz 2f",
            "xor ebp, ebp", "pop rdi", "pop rsi", "pop rax", "add rsp, 8", "call rax", "ud2",
            "2:",
            inlateout("rax") libc::SYS_clone => result, in("rdi") i64::from(flags), in("rsi") top, in("rdx") 0,
            in("r10") 0, in("r8") 0, lateout("rcx") _, lateout("r11") _
        );
    }
    result
}

/// clone(2) for a thread whose stack begins with two arguments and the function to call with them: its id, or minus the errno.
///
/// # Safety
/// `top` is the aligned beginning of a stack with these three words and a fourth one; `flags` make a thread.
#[cfg(target_arch = "aarch64")]
unsafe fn clone(flags: libc::c_int, top: *mut usize) -> i64 {
    let result: i64;
    // SAFETY: as the caller vouches; the thread leaves by the function, which does not return, so this frame is this thread's alone.
    unsafe {
        std::arch::asm!(
            "svc 0", "cbnz x0, 2f",
            "mov x29, xzr", "ldp x0, x1, [sp], #16", "ldr x2, [sp], #16", "blr x2", "brk #1",
            "2:",
            in("x8") libc::SYS_clone, inlateout("x0") i64::from(flags) => result, in("x1") top, in("x2") 0, in("x3") 0,
            in("x4") 0
        );
    }
    result
}

/// Not written for this processor: ENOSYS.
///
/// # Safety
/// None.
#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
unsafe fn clone(_: libc::c_int, _: *mut usize) -> i64 {
    -i64::from(libc::ENOSYS)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::clone;
    use rustix::process::{WaitId, WaitIdOptions, waitid};
    use std::os::fd::AsFd;
    use std::sync::atomic::{AtomicU32, Ordering};

    fn count(word: &AtomicU32) -> Infallible {
        word.store(7, Ordering::Release);
        loop {
            let _ = rustix::thread::nanosleep(&rustix::thread::Timespec { tv_sec: 1, tv_nsec: 0 });
        }
    }

    /// In a child of its own: the thread would have the test's thread-local storage.
    #[test]
    fn the_thread_runs_and_ends_with_the_process() {
        let child = clone::clone3(0, None, false, || {
            let word = AtomicU32::new(0);
            split(&word, count, || {
                while word.load(Ordering::Acquire) != 7 {
                    std::hint::spin_loop();
                }
                clone::exit_now(47)
            });
            1
        });
        let child = child.unwrap();
        let status = waitid(WaitId::PidFd(child.pidfd.as_fd()), WaitIdOptions::EXITED);
        assert_eq!(status.unwrap().unwrap().exit_status(), Some(47));
    }
}
