//! `help`, `--help`, `--version`.

use super::output::print;
use crate::cli;
use crate::error::Result;

/// Prints a help text.
///
/// # Errors
/// stdout cannot be written.
pub fn run(text: &str) -> Result<i32> {
    print(text.as_bytes())?;
    Ok(0)
}

/// Prints the version.
///
/// # Errors
/// stdout cannot be written.
pub fn version() -> Result<i32> {
    print(cli::version().as_bytes())?;
    Ok(0)
}
