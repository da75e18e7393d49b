//! Landlock's three system calls, which neither rustix nor libc has (landlock(7)). None of them allocates.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use rustix::io::Errno;

use super::clone::last_errno;

/// What a ruleset forbids unless a rule allows it: `struct landlock_ruleset_attr` of ABI 6. All zero is none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Handled {
    /// `LANDLOCK_ACCESS_FS_*`.
    pub files: u64,
    /// `LANDLOCK_ACCESS_NET_*`; ABI 4 and newer.
    pub ports: u64,
    /// `LANDLOCK_SCOPE_*`; ABI 6 and newer.
    pub scoped: u64,
}

#[repr(C, packed)]
struct PathBeneath {
    access: u64,
    parent: i32,
}

#[repr(C)]
struct NetPort {
    access: u64,
    port: u64,
}

const CREATE_RULESET_VERSION: u32 = 1;
const RULE_PATH_BENEATH: u32 = 1;
const RULE_NET_PORT: u32 = 2;

/// The ABI that the kernel has; 0: it has no Landlock, or it was not made active at boot.
pub fn abi() -> u32 {
    let nothing = std::ptr::null::<Handled>();
    // SAFETY: with this flag the kernel reads nothing; it wants a null pointer and a size of 0.
    let result =
        unsafe { libc::syscall(libc::SYS_landlock_create_ruleset, nothing, 0_usize, CREATE_RULESET_VERSION) };
    u32::try_from(result).unwrap_or(0)
}

/// Makes a ruleset; the descriptor is close-on-exec.
///
/// # Errors
/// EINVAL for rights that the kernel does not know, ENOMSG for none at all, EOPNOTSUPP, ENOSYS.
pub fn create(handled: &Handled) -> Result<OwnedFd, Errno> {
    // Older kernels take a longer structure if what they do not know is zero.
    let size = size_of::<Handled>();
    // SAFETY: the kernel reads `size` bytes of the structure, which is whole and lives through the call.
    let result =
        unsafe { libc::syscall(libc::SYS_landlock_create_ruleset, std::ptr::from_ref(handled), size, 0_u32) };
    let fd = i32::try_from(result).ok().filter(|fd| *fd >= 0).ok_or_else(last_errno)?;
    // SAFETY: the kernel has just opened this descriptor for us and nobody else knows it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Allows `access` (`LANDLOCK_ACCESS_FS_*`) for a file, or for all that is beneath a directory.
///
/// # Errors
/// EINVAL for rights that the ruleset does not handle or that a file can't have, EBADF.
pub fn allow_path(ruleset: BorrowedFd<'_>, path: BorrowedFd<'_>, access: u64) -> Result<(), Errno> {
    let rule = PathBeneath { access, parent: path.as_raw_fd() };
    // SAFETY: the rule is of the type that the constant names and lives through the call.
    unsafe { add(ruleset, RULE_PATH_BENEATH, (&raw const rule).cast()) }
}

/// Allows `access` (`LANDLOCK_ACCESS_NET_*`) for a TCP port.
///
/// # Errors
/// EINVAL for rights that the ruleset does not handle, EAFNOSUPPORT without TCP in the kernel.
pub fn allow_port(ruleset: BorrowedFd<'_>, port: u16, access: u64) -> Result<(), Errno> {
    let rule = NetPort { access, port: u64::from(port) };
    // SAFETY: the rule is of the type that the constant names and lives through the call.
    unsafe { add(ruleset, RULE_NET_PORT, (&raw const rule).cast()) }
}

/// # Safety
/// `rule` points to what `kind` names, for the whole call.
unsafe fn add(ruleset: BorrowedFd<'_>, kind: u32, rule: *const libc::c_void) -> Result<(), Errno> {
    // SAFETY: the kernel only reads the rule, whose type the caller vouches for.
    let result =
        unsafe { libc::syscall(libc::SYS_landlock_add_rule, ruleset.as_raw_fd(), kind, rule, 0_u32) };
    if result == 0 { Ok(()) } else { Err(last_errno()) }
}

/// Restricts the calling thread and what it starts, for ever.
///
/// # Errors
/// EPERM without no_new_privs and CAP_SYS_ADMIN; E2BIG for the seventeenth ruleset.
pub fn restrict_self(ruleset: impl AsFd) -> Result<(), Errno> {
    // SAFETY: no memory is involved.
    let result =
        unsafe { libc::syscall(libc::SYS_landlock_restrict_self, ruleset.as_fd().as_raw_fd(), 0_u32) };
    if result == 0 { Ok(()) } else { Err(last_errno()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernel_tells_what_it_has() {
        assert_eq!(size_of::<Handled>(), 24);
        let handled = Handled { files: 1, ..Handled::default() };
        if abi() == 0 {
            assert!(create(&handled).is_err());
            return;
        }
        let ruleset = create(&handled).unwrap();
        let root = std::fs::File::open("/").unwrap();
        allow_path(ruleset.as_fd(), root.as_fd(), 1).unwrap();
        assert_eq!(allow_path(ruleset.as_fd(), root.as_fd(), 2), Err(Errno::INVAL));
        assert_eq!(create(&Handled { files: 1 << 63, ..Handled::default() }).map(|_| ()), Err(Errno::INVAL));
    }
}
