//! execve(2) with arguments that were made ready beforehand.

use std::ffi::{CStr, CString};

use rustix::io::Errno;

use super::clone::last_errno;

/// A NULL-terminated array of C strings, as execve(2) takes it.
#[derive(Debug, Default)]
pub struct CStringArray {
    strings: Vec<CString>,
    pointers: Vec<*const libc::c_char>,
}

impl CStringArray {
    /// Takes the strings and builds the pointer array.
    pub fn new(strings: Vec<CString>) -> Self {
        let pointers = strings.iter().map(|s| s.as_ptr()).chain([std::ptr::null()]).collect();
        Self { strings, pointers }
    }

    /// The strings.
    pub fn as_slice(&self) -> &[CString] {
        &self.strings
    }
}

/// execve(2): returns only on failure.
pub fn execve(path: &CStr, args: &CStringArray, env: &CStringArray) -> Errno {
    // SAFETY: both arrays end with NULL and point to strings that live in the same struct, whose heap
    // buffers do not move; the kernel only reads them.
    unsafe { libc::execve(path.as_ptr(), args.pointers.as_ptr(), env.pointers.as_ptr()) };
    last_errno()
}

/// execveat(2) of an open file, with this process's own arguments and environment: returns only on failure.
pub fn execve_fd(fd: std::os::fd::BorrowedFd<'_>, args: &CStringArray, env: &CStringArray) -> Errno {
    use std::os::fd::AsRawFd;
    // SAFETY: as for execve; the empty path with AT_EMPTY_PATH names the descriptor itself.
    unsafe {
        libc::syscall(
            libc::SYS_execveat,
            fd.as_raw_fd(),
            c"".as_ptr(),
            args.pointers.as_ptr(),
            env.pointers.as_ptr(),
            libc::AT_EMPTY_PATH,
        )
    };
    last_errno()
}
