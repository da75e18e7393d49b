//! Capabilities, keyring and working directory of the calling process.

use std::ffi::CStr;

use rustix::io::Errno;

use super::clone::last_errno;

const KEYCTL_JOIN_SESSION_KEYRING: libc::c_long = 1;
const KEYCTL_SETPERM: libc::c_long = 5;
/// What the kernel gives a new session keyring, and for its owner the right to search it, which joining takes.
const JOINABLE: libc::c_ulong = 0x3f1b_0000;

/// Replaces the session keyring by the one of this name, which is made if there is none (keyctl(2)).
///
/// # Errors
/// EDQUOT, ENOSYS (kernel without keys).
pub fn join_session_keyring(name: &CStr) -> Result<(), Errno> {
    // SAFETY: the kernel reads a C string.
    let key = unsafe { libc::syscall(libc::SYS_keyctl, KEYCTL_JOIN_SESSION_KEYRING, name.as_ptr()) };
    if key < 0 {
        return Err(last_errno());
    }
    // One that is there already may be somebody else's by now: then it is as it is.
    // SAFETY: integers only.
    unsafe { libc::syscall(libc::SYS_keyctl, KEYCTL_SETPERM, key, JOINABLE) };
    Ok(())
}

/// Whether the working directory is below the root: the kernel puts `(unreachable)` before it otherwise
/// (getcwd(2); CVE-2024-21626).
pub fn cwd_is_reachable() -> bool {
    let mut buffer = [0u8; 4096];
    // SAFETY: the buffer and its size.
    let length = unsafe { libc::syscall(libc::SYS_getcwd, buffer.as_mut_ptr(), buffer.len()) };
    length > 0 && buffer[0] == b'/'
}

/// Drops one capability from the bounding set (capabilities(7)).
///
/// # Errors
/// EINVAL beyond the kernel's last capability, EPERM.
pub fn drop_bounding(capability: u8) -> Result<(), Errno> {
    // SAFETY: integers only.
    let result = unsafe { libc::prctl(libc::PR_CAPBSET_DROP, libc::c_ulong::from(capability), 0, 0, 0) };
    if result < 0 { Err(last_errno()) } else { Ok(()) }
}

/// Raises one capability in the ambient set (Linux 4.3).
///
/// # Errors
/// EPERM when it is not both permitted and inheritable.
pub fn raise_ambient(capability: u8) -> Result<(), Errno> {
    // SAFETY: integers only.
    let result = unsafe {
        libc::prctl(libc::PR_CAP_AMBIENT, libc::PR_CAP_AMBIENT_RAISE, libc::c_ulong::from(capability), 0, 0)
    };
    if result < 0 { Err(last_errno()) } else { Ok(()) }
}

#[repr(C)]
struct CapHeader {
    version: u32,
    pid: i32,
}

#[repr(C)]
#[derive(Clone, Copy, Default)]
struct CapData {
    effective: u32,
    permitted: u32,
    inheritable: u32,
}

const CAPABILITY_VERSION_3: u32 = 0x2008_0522;

/// Sets effective, permitted and inheritable of this thread by one capset(2).
///
/// # Errors
/// EPERM when a capability is not permitted now.
pub fn capset(effective: u64, permitted: u64, inheritable: u64) -> Result<(), Errno> {
    let half = |value: u64, shift: u32| u32::try_from(value >> shift & 0xffff_ffff).unwrap_or(0);
    let data = [0, 32].map(|shift| CapData {
        effective: half(effective, shift),
        permitted: half(permitted, shift),
        inheritable: half(inheritable, shift),
    });
    let mut header = CapHeader { version: CAPABILITY_VERSION_3, pid: 0 };
    // SAFETY: version 3 takes two data structs; both outlive the call.
    let result = unsafe { libc::syscall(libc::SYS_capset, &raw mut header, data.as_ptr()) };
    if result < 0 { Err(last_errno()) } else { Ok(()) }
}

/// The permitted set of this thread (capget(2)).
///
/// # Errors
/// None in practice.
pub fn permitted_capabilities() -> Result<u64, Errno> {
    let mut data = [CapData::default(); 2];
    let mut header = CapHeader { version: CAPABILITY_VERSION_3, pid: 0 };
    // SAFETY: as above, written by the kernel.
    let result = unsafe { libc::syscall(libc::SYS_capget, &raw mut header, data.as_mut_ptr()) };
    if result < 0 {
        Err(last_errno())
    } else {
        Ok(u64::from(data[0].permitted) | u64::from(data[1].permitted) << 32)
    }
}
