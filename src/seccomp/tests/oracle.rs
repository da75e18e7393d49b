//! libseccomp's verdicts, used as runc uses it (libcontainer/seccomp: InitSeccomp, patchbpf).

use std::io::{Read, Seek};

use libseccomp::{
    ScmpAction, ScmpArch, ScmpArgCompare, ScmpCompareOp, ScmpFilterContext, ScmpSyscall, ScmpVersion,
};
use oci_spec::runtime::{LinuxSeccompAction, LinuxSeccompArg, LinuxSeccompOperator};
use proptest::prelude::*;
use seccompiler::sock_filter;

use super::*;

fn action(action: LinuxSeccompAction, errno: Option<u32>) -> ScmpAction {
    use LinuxSeccompAction::*;
    match action {
        ScmpActKill | ScmpActKillThread => ScmpAction::KillThread,
        ScmpActKillProcess => ScmpAction::KillProcess,
        ScmpActTrap => ScmpAction::Trap,
        ScmpActErrno => ScmpAction::Errno(errno.unwrap_or(1).try_into().unwrap()),
        ScmpActNotify => ScmpAction::Notify,
        ScmpActTrace => ScmpAction::Trace(errno.unwrap_or(1).try_into().unwrap()),
        ScmpActLog => ScmpAction::Log,
        ScmpActAllow => ScmpAction::Allow,
    }
}

fn arch(arch: Arch) -> ScmpArch {
    match arch {
        Arch::ScmpArchX86_64 => ScmpArch::X8664,
        Arch::ScmpArchX86 => ScmpArch::X86,
        Arch::ScmpArchX32 => ScmpArch::X32,
        other => panic!("{other}"),
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
    ScmpArgCompare::new(arg.index().try_into().unwrap(), operator, datum)
}

/// What libseccomp makes of a profile, without runc's rule for newer calls.
fn filter(profile: &LinuxSeccomp) -> Result<Vec<sock_filter>, libseccomp::error::SeccompError> {
    let default = action(profile.default_action(), profile.default_errno_ret());
    let mut filter = ScmpFilterContext::new(default)?;
    for listed in profile.architectures().iter().flatten() {
        filter.add_arch(arch(*listed))?;
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
    let mut file: std::fs::File =
        rustix::fs::memfd_create("filter", rustix::fs::MemfdFlags::CLOEXEC).unwrap().into();
    filter.export_bpf(&file)?;
    let mut bytes = Vec::new();
    file.rewind().unwrap();
    file.read_to_end(&mut bytes).unwrap();
    let word = |b: &[u8]| u16::from_ne_bytes([b[0], b[1]]);
    let instruction = |b: &[u8]| sock_filter {
        code: word(b),
        jt: b[2],
        jf: b[3],
        k: u32::from_ne_bytes([b[4], b[5], b[6], b[7]]),
    };
    Ok(bytes.chunks(8).map(instruction).collect())
}

/// The greatest number the profile names, as runc's findLastSyscalls, which takes a profile of call 0 alone for none.
fn last(profile: &LinuxSeccomp, arch: ScmpArch) -> Option<u32> {
    let names = profile.syscalls().iter().flatten().flat_map(|rule| rule.names());
    let number =
        |name: &String| ScmpSyscall::from_name_by_arch(name, arch).ok().map(|call| call.as_raw_syscall());
    names.filter_map(number).filter_map(|nr| u32::try_from(nr).ok()).max()
}

/// runc's verdict: its ENOSYS stub, then libseccomp's program.
fn decider(profile: &LinuxSeccomp) -> Result<impl Fn(&Call) -> u32 + use<>, libseccomp::error::SeccompError> {
    use LinuxSeccompAction::*;
    let program = filter(profile)?;
    let stub = !matches!(profile.default_action(), ScmpActAllow | ScmpActLog | ScmpActTrace);
    let listed = |arch| profile.architectures().iter().flatten().any(|listed| *listed == arch);
    let lasts = [
        last(profile, ScmpArch::X8664),
        last(profile, ScmpArch::X86).filter(|_| listed(Arch::ScmpArchX86)),
        last(profile, ScmpArch::X32).filter(|_| listed(Arch::ScmpArchX32)),
    ];
    Ok(move |call: &Call| {
        let last = match call.arch {
            AMD64 if call.nr & 0x4000_0000 == 0 => lasts[0],
            I386 => lasts[1],
            AMD64 => lasts[2],
            _ => None,
        };
        match last {
            Some(last) if stub && call.nr > last => ENOSYS,
            _ => run(&program, call, false).0,
        }
    })
}

fn recent() -> bool {
    libseccomp::check_version(ScmpVersion::from((2, 6, 1))).unwrap()
}

/// Compares with the library here. To write the table that the everyday test uses, set DAVIT_WRITE_VERDICTS and have
/// libseccomp 2.6.1: an older one lacks names.
#[test]
fn docker_table() {
    let decide = decider(&docker()).unwrap();
    let theirs =
        docker::table(|arch, nr, argument| decide(&Call { arch, nr, args: [argument, 0, 0, 0, 0, 0] }));
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/src/seccomp/testdata/docker-verdicts.txt");
    if recent() {
        if std::env::var_os("DAVIT_WRITE_VERDICTS").is_some() {
            std::fs::write(file, &theirs).unwrap();
        }
        assert_eq!(theirs, std::fs::read_to_string(file).unwrap());
    }
    let ours = compile(&docker()).unwrap();
    for arch in docker::ARCHES {
        for nr in docker::numbers() {
            if !recent() && (440..=600).contains(&(nr & !0x4000_0000)) {
                continue;
            }
            for argument in docker::FIRST_ARGUMENTS {
                let call = Call { arch, nr, args: [argument, 0, 0, 0, 0, 0] };
                assert_eq!(run(&ours.instructions, &call, false).0, decide(&call), "{call:x?}");
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, ..ProptestConfig::default() })]

    /// Random profiles, as far as the two must agree: one action besides the default (libseccomp refuses or reorders
    /// some others) and calls that every architecture here has directly.
    #[test]
    fn random_profiles(profile in profiles::profiles(profiles::Kind::OneAction), calls in profiles::calls()) {
        let ours = match compile(&profile) {
            Ok(ours) => ours,
            Err(error) => panic!("{error}"),
        };
        let decide = decider(&profile).unwrap();
        for call in calls {
            prop_assert_eq!(run(&ours.instructions, &call, false).0, decide(&call), "{:x?}", call);
        }
    }
}
