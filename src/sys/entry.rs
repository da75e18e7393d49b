//! The program's entry, called by the C library.
//!
//! Rust's own start-up reads /proc/self/maps, installs handlers for stack overflow and polls the standard streams:
//! some fifteen system calls that a process of milliseconds does not need. This file is a module of the binary
//! (`main.rs`), not of the library, whose tests have an entry of their own.
#![allow(unsafe_code)]

use std::ffi::{CStr, OsStr, OsString};
use std::os::unix::ffi::OsStrExt;

/// The C entry point.
///
/// # Safety
/// The C library passes `argc` C strings that live as long as the process.
#[unsafe(no_mangle)]
unsafe extern "C" fn main(argc: libc::c_int, argv: *const *const libc::c_char) -> libc::c_int {
    davit::sys::signal::set_own();
    davit::sys::exec::remember_arguments(argv);
    let count = usize::try_from(argc).unwrap_or(0);
    let mut args = Vec::with_capacity(count);
    for index in 0..count {
        // SAFETY: index < argc, so this is one of the strings.
        let text = unsafe { CStr::from_ptr(*argv.add(index)) };
        args.push(OsString::from(OsStr::from_bytes(text.to_bytes())));
    }
    crate::run(args)
}
