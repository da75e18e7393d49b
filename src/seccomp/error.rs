//! What can be wrong with a profile.

use oci_spec::runtime::LinuxSeccompAction;

/// A fault in `linux.seccomp`. Its text starts with the JSON path.
#[derive(thiserror::Error, Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs)] // the texts say it
#[non_exhaustive]
pub enum CompileError {
    #[error("linux.seccomp.defaultAction: SCMP_ACT_NOTIFY cannot be used as default action")]
    NotifyByDefault,
    #[error(
        "linux.seccomp.syscalls[{rule}].names[{name}]: SCMP_ACT_NOTIFY cannot be used for the write syscall"
    )]
    NotifyWrite { rule: usize, name: usize },
    #[error(
        "linux.seccomp.listenerPath: seccomp listenerPath is not set, and linux.seccomp.syscalls[{rule}] has SCMP_ACT_NOTIFY"
    )]
    NoListener { rule: usize },
    #[error("linux.seccomp.listenerMetadata: set without linux.seccomp.listenerPath")]
    MetadataWithoutListener,
    #[error("linux.seccomp.syscalls[{rule}].names: at least one name is needed")]
    NoNames { rule: usize },
    #[error("linux.seccomp.syscalls[{rule}].names[{name}]: empty string is not a valid syscall")]
    EmptyName { rule: usize, name: usize },
    #[error("linux.seccomp.syscalls[{rule}].args[{arg}].index: {index} is not 0 to 5")]
    ArgumentIndex { rule: usize, arg: usize, index: usize },
    #[error("{path}: only for SCMP_ACT_ERRNO and SCMP_ACT_TRACE, not for {action}")]
    ErrnoWithoutUse { path: String, action: LinuxSeccompAction },
    #[error("{path}: {value} is not 0 to {max}")]
    ErrnoRange { path: String, value: u32, max: u32 },
    #[error(
        "linux.seccomp.syscalls[{rule}]: contradicts linux.seccomp.syscalls[{other}]: same system call and condition, other action"
    )]
    Contradiction { rule: usize, other: usize },
    #[error("linux.seccomp: the program has {length} instructions, more than the kernel's {max}")]
    TooLong { length: usize, max: usize },
}
