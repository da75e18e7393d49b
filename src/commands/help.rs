//! `help`, `--help`, `--version`, and the one way to stdout.

use std::os::fd::AsFd as _;

use rustix::io::Errno;

use crate::cli;
use crate::error::{Error, Result};

/// Prints a help text.
///
/// # Errors
/// stdout cannot be written.
pub fn run(text: &str) -> Result<i32> {
    print(text)?;
    Ok(0)
}

/// Prints the version.
///
/// # Errors
/// stdout cannot be written.
pub fn version() -> Result<i32> {
    print(&cli::version())?;
    Ok(0)
}

/// Writes a command's answer to stdout, as it is. A reader who has seen enough (`davit help | head -1`) is no fault.
///
/// # Errors
/// stdout cannot be written: closed, disk full.
pub fn print(text: &str) -> Result<()> {
    let stdout = std::io::stdout();
    let mut bytes = text.as_bytes();
    while !bytes.is_empty() {
        match rustix::io::write(stdout.as_fd(), bytes) {
            Ok(written) => bytes = &bytes[written..],
            Err(Errno::INTR) => {}
            Err(Errno::PIPE) => return Ok(()),
            Err(error) => return Err(Error::system("write to stdout", error)),
        }
    }
    Ok(())
}
