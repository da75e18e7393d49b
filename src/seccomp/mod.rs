//! Seccomp: the OCI profile (`linux.seccomp`) as one classic BPF program.
//!
//! ```text
//! LinuxSeccomp ──profile──▶ checked rules ──program──▶ verdict a number ──▶ ranges ──assembler──▶ balanced tree
//! ```
//!
//! The verdicts are those of runc with libseccomp (features B1 to B10):
//! * A rule with the default action is a no-op. A rule without conditions overrides those with some, wherever it
//!   stands; the first of several without conditions holds.
//! * Of several rules with conditions the first that holds wins, in libseccomp's order: by the first condition, later
//!   arguments first, then equalities, less-than, greater-than, each from narrow to wide, else as they stand. A rule swallows those that
//!   begin with its conditions and have more. The same conditions with another action are an error (libseccomp: EEXIST).
//! * On 32-bit ABIs, x32 included, the low 32 bits of argument and value are compared.
//! * An architecture that the profile does not list kills the thread; the native one always counts as listed. x32 calls
//!   without `SCMP_ARCH_X32` are of such an architecture.
//! * A number above the greatest one that the profile names (per architecture) gives ENOSYS, unless the default action
//!   is ALLOW, LOG or TRACE.
//! * socketcall(2) and ipc(2), where an architecture has them, follow the rules of the calls behind them as far as a
//!   filter can: a rule with conditions says nothing there if it is laxer than the default, and holds always if it is
//!   stricter. (libseccomp drops a condition on argument 0 and compares the others with the wrong arguments.)
//!
//! The tree costs log2(ranges) comparisons a call. That matters when the filter is loaded: the kernel then runs it
//! once for every number, to know the calls that it always allows.

mod arch;
mod assembler;
mod conditions;
mod disasm;
pub mod engines;
mod error;
mod execve;
mod explain;
mod interpreter;
#[cfg(feature = "libseccomp-oracle")]
pub mod oracle;
mod profile;
mod program;
mod tables;
#[cfg(test)]
mod tests;
pub mod words;

use oci_spec::runtime::{Arch, LinuxSeccomp, LinuxSeccompFilterFlag};
use seccompiler::sock_filter;

pub use arch::{NATIVE, may_meet};
pub use disasm::disassemble;
pub use error::CompileError;
pub use explain::{Answer, Condition, Explainer, Holds, Outcome, Reason, audit, name, names, number};
pub use program::MAX_INSTRUCTIONS;

/// A filter ready for [`crate::sys::seccomp::load`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Program {
    /// At most 4096 instructions.
    pub instructions: Vec<sock_filter>,
    /// `SECCOMP_FILTER_FLAG_*` for seccomp(2).
    pub flags: u32,
    /// Whether a rule has `SCMP_ACT_NOTIFY`: loading gives a notify fd for `listenerPath`.
    pub notify: bool,
    /// Names in the profile that no architecture has, for the debug log (features B6).
    pub unknown_names: Vec<String>,
}

/// Compiles a profile for the running architecture.
///
/// # Errors
/// A fault in the profile, or a program too large for the kernel.
pub fn compile(profile: &LinuxSeccomp) -> Result<Program, CompileError> {
    compile_for(profile, arch::NATIVE)
}

/// As [`compile`], for a kernel of another architecture.
///
/// # Errors
/// As [`compile`].
pub fn compile_for(profile: &LinuxSeccomp, native: Arch) -> Result<Program, CompileError> {
    let checked = profile::Profile::check(profile)?;
    let listed = profile.architectures().as_deref().unwrap_or_default();
    let instructions = program::build(&checked, profile.default_action(), listed, native)?;
    let flags = flags(profile.flags().as_deref(), checked.notify);
    Ok(Program { instructions, flags, notify: checked.notify, unknown_names: checked.unknown_names })
}

/// The flags for seccomp(2). Without a list it is SPEC_ALLOW as with runc, which every kernel since 4.17 has; this
/// runtime needs a newer one.
///
/// TSYNC adds nothing, also as with runc: the container's process has one thread when it loads the filter. The kernel
/// refuses WAIT_KILLABLE_RECV without a listener, where nothing is ever received.
fn flags(listed: Option<&[LinuxSeccompFilterFlag]>, notify: bool) -> u32 {
    use LinuxSeccompFilterFlag::*;
    let listener = if notify { NEW_LISTENER } else { 0 };
    let default = [SeccompFilterFlagSpecAllow];
    listed.unwrap_or(&default).iter().fold(listener, |flags, flag| {
        flags
            | match flag {
                SeccompFilterFlagLog => LOG,
                SeccompFilterFlagTsync => 0,
                SeccompFilterFlagSpecAllow => SPEC_ALLOW,
                SeccompFilterFlagWaitKillableRecv if notify => WAIT_KILLABLE_RECV,
                SeccompFilterFlagWaitKillableRecv => 0,
            }
    })
}

// linux/seccomp.h: SECCOMP_FILTER_FLAG_*
const LOG: u32 = 1 << 1;
/// Not to harden against speculation (Linux 4.17).
pub const SPEC_ALLOW: u32 = 1 << 2;
/// A listener for SCMP_ACT_NOTIFY (Linux 5.0).
pub const NEW_LISTENER: u32 = 1 << 3;
const WAIT_KILLABLE_RECV: u32 = 1 << 5;

/// The flags that a profile may have and that mean something to the kernel, by name.
pub const FLAGS: [(u32, &str); 3] = [
    (LOG, "SECCOMP_FILTER_FLAG_LOG"),
    (SPEC_ALLOW, "SECCOMP_FILTER_FLAG_SPEC_ALLOW"),
    (WAIT_KILLABLE_RECV, "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV"),
];
