//! File systems made by fsopen(2) and fsconfig(2) (Linux 5.2) instead of mount(2): their data has no limit of a page,
//! and the mount has a handle of its own, so that nothing about it needs to be looked up by path again (R2).

use std::ffi::CStr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{CWD, Mode, OFlags};
use rustix::io::Errno;
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, fsconfig_create, fsconfig_set_fd, fsconfig_set_flag,
    fsconfig_set_string, fsmount, fsopen,
};

use super::options::{attributes, superblock_flags};
use super::tree::Parameter;
use crate::fault::{Action, During, Fault};

/// The longest string that fsconfig(2) takes.
pub const LONGEST_VALUE: usize = 255;

/// Makes a detached mount. `flags` are `MS_*`; `mode` is the octal text of a directory's mode, where the tmpfs is to
/// have that.
///
/// # Errors
/// ENODEV (no such file system), EINVAL (unknown option), those of the file system.
pub fn make(
    fstype: &CStr,
    source: &CStr,
    flags: u64,
    parameters: &[Parameter],
    mode: Option<&CStr>,
) -> Result<OwnedFd, Fault> {
    let context = fsopen(fstype, FsOpenFlags::FSOPEN_CLOEXEC).during(Action::Mount)?;
    let made = fill(context.as_fd(), source, flags, parameters, mode).and_then(|()| {
        let attributes = u32::try_from(attributes(flags).set).map_err(|_| Errno::INVAL)?;
        let attributes = MountAttrFlags::from_bits_retain(attributes);
        fsmount(context.as_fd(), FsMountFlags::FSMOUNT_CLOEXEC, attributes)
    });
    made.during(Action::Mount)
}

fn fill(
    context: BorrowedFd<'_>,
    source: &CStr,
    flags: u64,
    parameters: &[Parameter],
    mode: Option<&CStr>,
) -> Result<(), Errno> {
    fsconfig_set_string(context, c"source", source)?;
    for name in superblock_flags(flags) {
        fsconfig_set_flag(context, name)?;
    }
    if let Some(mode) = mode {
        fsconfig_set_string(context, c"mode", mode)?;
    }
    for Parameter { key, value } in parameters {
        match value {
            None => fsconfig_set_flag(context, key)?,
            Some(path) if path.count_bytes() > LONGEST_VALUE => {
                // Layers of an overlay can be handed over open, too (Linux 6.13).
                let layer = rustix::fs::openat(CWD, path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty())?;
                fsconfig_set_fd(context, key, layer.as_fd())?;
            }
            Some(value) => fsconfig_set_string(context, key, value)?,
        }
    }
    fsconfig_create(context)
}
