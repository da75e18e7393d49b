//! Using an open file by path where a system call takes only paths: `/proc/self/fd/N`.

use std::ffi::CStr;
use std::os::fd::{AsRawFd, BorrowedFd};

/// The path of a descriptor, in a buffer of its own. The host's /proc, so only before the root changes.
#[derive(Debug)]
pub struct FdPath {
    buffer: [u8; 32],
}

impl FdPath {
    /// The path of `fd`.
    pub fn new(fd: BorrowedFd<'_>) -> Self {
        let mut buffer = [0; 32];
        let prefix = b"/proc/self/fd/";
        buffer[..prefix.len()].copy_from_slice(prefix);
        let mut digits = [0u8; 10];
        let mut at = digits.len();
        let mut number = fd.as_raw_fd().unsigned_abs();
        loop {
            at -= 1;
            digits[at] = b"0123456789"[(number % 10) as usize];
            number /= 10;
            if number == 0 {
                break;
            }
        }
        let text = &digits[at..];
        buffer[prefix.len()..prefix.len() + text.len()].copy_from_slice(text);
        Self { buffer }
    }

    /// The path as a C string.
    pub fn as_c_str(&self) -> &CStr {
        CStr::from_bytes_until_nul(&self.buffer).unwrap_or(c"")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_have_the_number() {
        let fd = crate::sys::fd::borrow_inherited(0).unwrap();
        assert_eq!(FdPath::new(fd).as_c_str(), c"/proc/self/fd/0");
    }
}
