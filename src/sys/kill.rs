//! kill(2) with any signal number, real-time ones included, which rustix and nix name only in part.

use rustix::io::Errno;

/// Sends `signal` to the process `pid`.
///
/// # Errors
/// The kernel's errno; EINVAL for a pid below 1, which kill(2) would take as "a group" or "everybody".
pub fn kill(pid: i32, signal: i32) -> Result<(), Errno> {
    if pid < 1 {
        return Err(Errno::INVAL);
    }
    // SAFETY: kill(2) takes two integers and touches no memory of ours.
    if unsafe { libc::kill(pid, signal) } == 0 {
        return Ok(());
    }
    Err(Errno::from_io_error(&std::io::Error::last_os_error()).unwrap_or(Errno::IO))
}
