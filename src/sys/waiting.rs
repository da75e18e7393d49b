//! The wait of a created container's init, in as little memory as can be: it is charged to the container.

use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};

use rustix::io::Errno;

use super::{alloc, fd};

/// Stack below the running frame that earlier, deeper calls may have touched.
const OLD_STACK: usize = 1 << 20;

/// Gives back the heap, the unused stack and the program's own pages, then waits for a connection on `listener`
/// (accept4(2)). Everything ever allocated is gone: only for a child that from here on touches none of it.
///
/// # Errors
/// Those of accept4(2).
pub fn accept_without_memory(listener: BorrowedFd<'_>) -> Result<OwnedFd, Errno> {
    unsafe extern "C" {
        static __executable_start: u8;
        static __init_array_start: u8;
    }
    let here = 0u8;
    let program = (&raw const __executable_start) as usize;
    let writable = (&raw const __init_array_start) as usize & !4095;
    let stack = (&raw const here as usize & !4095) - 4096;
    let (heap, heap_length) = alloc::touched();
    let ranges =
        [(heap, heap_length), (stack - OLD_STACK, OLD_STACK), (program, writable.saturating_sub(program))];
    // SAFETY: the heap is our own private mapping, which the caller does not read again. The stack's range ends a
    // page below this frame (the red zone has 128 bytes); what was never mapped gives an error, which is as good.
    // The linker puts code and constants between the two symbols, a private and clean mapping of the file: those
    // pages come back from the page cache one by one when they are needed. accept4 gets NULL addresses.
    let accepted = unsafe { drop_and_accept(&ranges, listener.as_raw_fd()) };
    match i32::try_from(accepted) {
        Ok(number) if number >= 0 => fd::own(number),
        Ok(error) => Err(Errno::from_raw_os_error(-error)),
        Err(_) => Err(Errno::INVAL),
    }
}

/// One function without calls: only the pages around it come back while it waits.
///
/// # Safety
/// Nothing in `ranges` is used again without being written first, but for pages of a file.
#[inline(never)]
unsafe fn drop_and_accept(ranges: &[(usize, usize); 3], listener: i32) -> isize {
    for (start, length) in ranges {
        // SAFETY: as the caller vouches.
        unsafe { call(libc::SYS_madvise, *start, *length, libc::MADV_DONTNEED.unsigned_abs() as usize, 0) };
    }
    loop {
        let flags = libc::SOCK_CLOEXEC.unsigned_abs() as usize;
        // SAFETY: NULL for the peer's address.
        let result = unsafe { call(libc::SYS_accept4, listener.unsigned_abs() as usize, 0, 0, flags) };
        if result != -(libc::EINTR as isize) && result != -(libc::ECONNABORTED as isize) {
            return result;
        }
    }
}

/// A system call without the C library: the result, or minus the errno.
#[cfg(target_arch = "x86_64")]
#[inline(always)]
unsafe fn call(number: libc::c_long, a: usize, b: usize, c: usize, d: usize) -> isize {
    let number = isize::try_from(number).unwrap_or(0);
    let result: isize;
    // SAFETY: the kernel's convention on x86-64: rcx and r11 are lost.
    unsafe {
        std::arch::asm!("syscall", inlateout("rax") number => result, in("rdi") a, in("rsi") b, in("rdx") c,
            in("r10") d, lateout("rcx") _, lateout("r11") _, options(nostack));
    }
    result
}

/// A system call without the C library: the result, or minus the errno.
#[cfg(target_arch = "aarch64")]
#[inline(always)]
unsafe fn call(number: libc::c_long, a: usize, b: usize, c: usize, d: usize) -> isize {
    let result: isize;
    // SAFETY: the kernel's convention on arm64.
    unsafe {
        std::arch::asm!("svc 0", in("x8") number, inlateout("x0") a => result, in("x1") b, in("x2") c, in("x3") d,
            options(nostack));
    }
    result
}

/// A system call by the C library: the result, or minus the errno.
#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
unsafe fn call(number: libc::c_long, a: usize, b: usize, c: usize, d: usize) -> isize {
    // SAFETY: as the caller vouches.
    let result = unsafe { libc::syscall(number, a, b, c, d) };
    if result < 0 { -(super::clone::last_errno().raw_os_error() as isize) } else { result as isize }
}
