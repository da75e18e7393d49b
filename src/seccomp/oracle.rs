//! libseccomp's program for a profile, made as runc makes it (libcontainer/seccomp: InitSeccomp, patchbpf), to compare
//! ours with. Built only with the feature `libseccomp-oracle`.

use std::io::{Read, Seek};

use libseccomp::error::SeccompError;
use libseccomp::{ScmpAction, ScmpArch, ScmpArgCompare, ScmpCompareOp, ScmpFilterContext, ScmpSyscall};
use oci_spec::runtime::{Arch, LinuxSeccomp, LinuxSeccompAction, LinuxSeccompArg, LinuxSeccompOperator};
use seccompiler::sock_filter;

use super::NATIVE;
use super::arch::Abi;

/// libseccomp's name of an architecture; none for those that 2.5 does not know.
pub fn architecture(arch: Arch) -> Option<ScmpArch> {
    use Arch::*;
    Some(match arch {
        ScmpArchNative => ScmpArch::Native,
        ScmpArchX86 => ScmpArch::X86,
        ScmpArchX86_64 => ScmpArch::X8664,
        ScmpArchX32 => ScmpArch::X32,
        ScmpArchArm => ScmpArch::Arm,
        ScmpArchAarch64 => ScmpArch::Aarch64,
        ScmpArchMips => ScmpArch::Mips,
        ScmpArchMips64 => ScmpArch::Mips64,
        ScmpArchMips64n32 => ScmpArch::Mips64N32,
        ScmpArchMipsel => ScmpArch::Mipsel,
        ScmpArchMipsel64 => ScmpArch::Mipsel64,
        ScmpArchMipsel64n32 => ScmpArch::Mipsel64N32,
        ScmpArchPpc => ScmpArch::Ppc,
        ScmpArchPpc64 => ScmpArch::Ppc64,
        ScmpArchPpc64le => ScmpArch::Ppc64Le,
        ScmpArchS390 => ScmpArch::S390,
        ScmpArchS390x => ScmpArch::S390X,
        ScmpArchParisc => ScmpArch::Parisc,
        ScmpArchParisc64 => ScmpArch::Parisc64,
        ScmpArchRiscv64 => ScmpArch::Riscv64,
        ScmpArchLoongarch64 | ScmpArchM68k | ScmpArchSh | ScmpArchSheb => return None,
    })
}

/// A call's number by libseccomp's tables; none if it does not know the name, or not there.
pub fn number(arch: Arch, name: &str) -> Option<u32> {
    let number = ScmpSyscall::from_name_by_arch(name, architecture(arch)?).ok()?;
    // Negative ones are libseccomp's own, for calls that only other architectures have.
    u32::try_from(number.as_raw_syscall()).ok()
}

/// Whether libseccomp knows the name on any architecture.
pub fn knows(name: &str) -> bool {
    ScmpSyscall::from_name(name).is_ok()
}

/// What libseccomp makes of a profile for a kernel of `native`, without runc's rule for newer calls; with `tree` as
/// runc has it for more than 32 rules.
///
/// # Errors
/// What libseccomp refuses.
pub fn filter(profile: &LinuxSeccomp, native: Arch, tree: bool) -> Result<Vec<sock_filter>, SeccompError> {
    let default = action(profile.default_action(), profile.default_errno_ret());
    let mut filter = ScmpFilterContext::new(default)?;
    if tree {
        filter.set_ctl_optimize(2)?;
    }
    if native != NATIVE {
        // In this order: architectures of both byte orders can't be in one filter.
        filter.remove_arch(ScmpArch::Native)?;
        filter.add_arch(architecture(native).unwrap_or(ScmpArch::Native))?;
    }
    for listed in profile.architectures().iter().flatten() {
        filter.add_arch(architecture(*listed).unwrap_or(ScmpArch::Native))?;
    }
    for rule in profile.syscalls().iter().flatten() {
        let action = action(rule.action(), rule.errno_ret());
        if action == default {
            continue;
        }
        for name in rule.names() {
            let Ok(call) = ScmpSyscall::from_name(name) else { continue };
            let args = rule.args().as_deref().unwrap_or_default();
            let repeated =
                args.iter().any(|arg| args.iter().filter(|other| other.index() == arg.index()).count() > 1);
            let all: Vec<_> = args.iter().map(comparison).collect();
            match (all.is_empty(), repeated) {
                (true, _) => drop(filter.add_rule(action, call)?),
                (_, true) => {
                    for one in all {
                        filter.add_rule_conditional(action, call, &[one])?;
                    }
                }
                (_, false) => drop(filter.add_rule_conditional(action, call, &all)?),
            }
        }
    }
    exported(&filter, Abi::of(native).big_endian)
}

fn action(action: LinuxSeccompAction, errno: Option<u32>) -> ScmpAction {
    use LinuxSeccompAction::*;
    let data = || errno.unwrap_or(1);
    match action {
        ScmpActKill | ScmpActKillThread => ScmpAction::KillThread,
        ScmpActKillProcess => ScmpAction::KillProcess,
        ScmpActTrap => ScmpAction::Trap,
        ScmpActErrno => ScmpAction::Errno(i32::try_from(data()).unwrap_or(i32::MAX)),
        ScmpActNotify => ScmpAction::Notify,
        ScmpActTrace => ScmpAction::Trace(u16::try_from(data()).unwrap_or(u16::MAX)),
        ScmpActLog => ScmpAction::Log,
        ScmpActAllow => ScmpAction::Allow,
    }
}

fn comparison(arg: &LinuxSeccompArg) -> ScmpArgCompare {
    use LinuxSeccompOperator::*;
    let (operator, datum) = match arg.op() {
        ScmpCmpNe => (ScmpCompareOp::NotEqual, arg.value()),
        ScmpCmpLt => (ScmpCompareOp::Less, arg.value()),
        ScmpCmpLe => (ScmpCompareOp::LessOrEqual, arg.value()),
        ScmpCmpEq => (ScmpCompareOp::Equal, arg.value()),
        ScmpCmpGe => (ScmpCompareOp::GreaterEqual, arg.value()),
        ScmpCmpGt => (ScmpCompareOp::Greater, arg.value()),
        ScmpCmpMaskedEq => (ScmpCompareOp::MaskedEqual(arg.value()), arg.value_two().unwrap_or(0)),
    };
    ScmpArgCompare::new(u32::try_from(arg.index()).unwrap_or(u32::MAX), operator, datum)
}

/// The program, which libseccomp writes in the byte order of its architecture.
fn exported(filter: &ScmpFilterContext, big_endian: bool) -> Result<Vec<sock_filter>, SeccompError> {
    let mut bytes = Vec::new();
    let file = rustix::fs::memfd_create("filter", rustix::fs::MemfdFlags::CLOEXEC).map(std::fs::File::from);
    if let Ok(mut file) = file {
        filter.export_bpf(&file)?;
        if file.rewind().and_then(|()| file.read_to_end(&mut bytes)).is_err() {
            bytes.clear();
        }
    }
    let instruction = |b: &[u8]| {
        let (code, k) = ([b[0], b[1]], [b[4], b[5], b[6], b[7]]);
        let (code, k) = match big_endian {
            true => (u16::from_be_bytes(code), u32::from_be_bytes(k)),
            false => (u16::from_le_bytes(code), u32::from_le_bytes(k)),
        };
        sock_filter { code, jt: b[2], jf: b[3], k }
    };
    Ok(bytes.chunks_exact(8).map(instruction).collect())
}
