//! The runtime's own file, kept out of the reach of containers (CVE-2019-5736).
//!
//! A process in a container that can see the runtime there (a waiting init, one in a shared pid namespace) can open
//! `/proc/PID/exe` and, once nobody runs that file any more, write to it. So what can be seen is not the host's
//! file: this command line runs anew from a detached read-only mount of it, or from a sealed copy in memory.

use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::{CWD, MemfdFlags, Mode, OFlags, SealFlags, StatVfsMountFlags};
use rustix::io::Errno;
use rustix::mount::{OpenTreeFlags, open_tree};

use crate::error::{Context, Error, Kind, Result, errno_text};
use crate::plan::Plan;
use crate::sys::exec::execute_again;
use crate::sys::mount::{Attributes, set_attributes};

const OWN: &std::ffi::CStr = c"/proc/self/exe";
const MEMORY_NAME: &str = "davit";

/// Makes sure that this process runs from a file that nobody can write through `/proc/PID/exe`; comes back only if it
/// does, else the command line starts anew.
///
/// # Errors
/// Neither a mount nor a copy could be made or executed.
pub fn run_from_clone() -> Result<()> {
    if is_clone().context("look at the own binary")? {
        return Ok(());
    }
    let errno = match read_only_mount() {
        Ok(mount) => execute_again(mount.as_fd()),
        Err(errno) => errno,
    };
    // Without the right to mount: rootless, or a kernel older than 5.12.
    let copy = sealed_copy().map_err(|error| {
        error.hint(format!("a read-only mount of it failed too: {}", errno_text(&errno.into())))
    })?;
    Err(Error::system("run the sealed copy of the own binary", execute_again(copy.as_fd())))
}

/// Refuses a container whose program turned out to be the runtime's own file: `/proc/self/exe`, by whatever way
/// (`#!`, links, a file that was swapped). Looked at after execve, so nothing can come in between: init is alone in
/// its pid namespace, and as long as we run that file nobody can write to it.
///
/// # Errors
/// It is; the caller kills init.
pub fn refuse_as_program(plan: &Plan, pid: i32) -> Result<()> {
    if plan.shows_runtime() {
        // Then init ran from the clone.
        return Ok(());
    }
    let Ok(program) = rustix::fs::stat(format!("/proc/{pid}/exe")) else { return Ok(()) };
    let own = rustix::fs::stat(OWN).context("look at the own binary")?;
    if (program.st_dev, program.st_ino) != (own.st_dev, own.st_ino) {
        return Ok(());
    }
    let name = plan.process.args.as_slice().first().map(|name| name.to_string_lossy()).unwrap_or_default();
    Err(Error::new(
        Kind::System,
        format!("exec: {name:?}: permission denied: it is the runtime's own binary"),
    ))
}

fn is_clone() -> Result<bool, Errno> {
    if rustix::fs::statvfs(OWN)?.f_flag.contains(StatVfsMountFlags::RDONLY) {
        return Ok(true);
    }
    let link = rustix::fs::readlink(OWN, Vec::new())?;
    Ok(link.to_bytes().starts_with(b"/memfd:davit"))
}

fn read_only_mount() -> Result<OwnedFd, Errno> {
    let mount = open_tree(CWD, OWN, OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC)?;
    let read_only = Attributes { set: 1, ..Attributes::default() };
    set_attributes(mount.as_fd(), c"", false, read_only, None)?;
    Ok(mount)
}

fn sealed_copy() -> Result<OwnedFd> {
    let doing = "copy the own binary to memory";
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    let copy = match rustix::fs::memfd_create(MEMORY_NAME, flags | MemfdFlags::EXEC) {
        // Before Linux 6.3 every memfd is executable.
        Err(Errno::INVAL) => rustix::fs::memfd_create(MEMORY_NAME, flags),
        other => other,
    };
    let copy = copy.context(doing)?;
    let own = rustix::fs::open(OWN, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()).context(doing)?;
    while rustix::fs::sendfile(&copy, &own, None, 1 << 24).context(doing)? > 0 {}
    let seals = SealFlags::SEAL | SealFlags::SHRINK | SealFlags::GROW | SealFlags::WRITE;
    rustix::fs::fcntl_add_seals(&copy, seals).context("seal the copy of the own binary")?;
    Ok(copy)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    /// [Z1] The fall-back, forced: nobody can write the copy, not even who has it open.
    #[test]
    fn the_copy_is_sealed() {
        let copy = sealed_copy().unwrap();
        let size = rustix::fs::fstat(&copy).unwrap().st_size;
        assert_eq!(size, rustix::fs::stat(OWN).unwrap().st_size);
        let error = std::fs::File::from(copy).write(b"x").unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::EPERM));
    }
}
