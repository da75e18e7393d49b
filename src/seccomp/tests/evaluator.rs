//! The meaning of a profile, written down a second time without programs, trees or tables of verdicts.

use oci_spec::runtime::{LinuxSeccompAction, LinuxSeccompArg, LinuxSeccompOperator, LinuxSyscall};
use proptest::prelude::*;

use super::super::arch::{Abi, name_id};
use super::*;

/// What should happen to a call on x86-64.
fn evaluate(profile: &LinuxSeccomp, call: &Call) -> u32 {
    let default = profile.default_action().as_u32(profile.default_errno_ret());
    let listed = |arch| {
        arch == Arch::ScmpArchX86_64 || profile.architectures().iter().flatten().any(|listed| *listed == arch)
    };
    let stub = !matches!(
        profile.default_action(),
        LinuxSeccompAction::ScmpActAllow | LinuxSeccompAction::ScmpActLog | LinuxSeccompAction::ScmpActTrace
    );
    let arch = match call.arch {
        AMD64 if call.nr & 0x4000_0000 != 0 => Arch::ScmpArchX32,
        AMD64 => Arch::ScmpArchX86_64,
        I386 => Arch::ScmpArchX86,
        _ => return 0,
    };
    let names = profile.syscalls().iter().flatten().flat_map(|rule| rule.names());
    let newest = names.filter_map(|name| number(arch, name)).max();
    if stub && listed(arch) && newest.is_some_and(|newest| call.nr > newest) {
        return ENOSYS;
    }
    let skipped = call.arch == AMD64 && call.nr == u32::MAX;
    let not_x32 = call.arch == AMD64 && call.nr >= 0x4000_0000 && !listed(Arch::ScmpArchX32);
    if not_x32 && !skipped || !listed(arch) && call.arch == I386 {
        return 0;
    }
    first_match(profile, arch, call).unwrap_or(default)
}

fn number(arch: Arch, name: &str) -> Option<u32> {
    let abi = Abi::of(arch);
    abi.slot(name_id(name.as_bytes(), 0)?).map(|slot| abi.number(slot))
}

/// The action of the rule that decides.
fn first_match(profile: &LinuxSeccomp, arch: Arch, call: &Call) -> Option<u32> {
    let default = profile.default_action().as_u32(profile.default_errno_ret());
    let width = if arch == Arch::ScmpArchX86_64 { u64::MAX } else { 0xFFFF_FFFF };
    let mut candidates: Vec<(u32, Vec<LinuxSeccompArg>)> = Vec::new();
    for rule in profile.syscalls().iter().flatten() {
        let action = rule.action().as_u32(rule.errno_ret());
        if action == default {
            continue;
        }
        for name in rule.names() {
            if number(arch, name) == Some(call.nr) {
                candidates.extend(alternatives(rule).into_iter().map(|conditions| (action, conditions)));
            }
            if let Some(condition) = behind_multiplexer(arch, name, call.nr, action, default) {
                let conditional = alternatives(rule).iter().all(|conditions| !conditions.is_empty());
                if !conditional || strictness(action) > strictness(default) {
                    candidates.push((action, vec![condition]));
                }
            }
        }
    }
    if let Some((action, _)) = candidates.iter().find(|candidate| candidate.1.is_empty()) {
        return Some(*action);
    }
    let listed = candidates.clone();
    candidates.sort_by_key(|(_, conditions)| {
        let rank = |arg: &LinuxSeccompArg| {
            use LinuxSeccompOperator::*;
            let datum = if arg.op() == ScmpCmpMaskedEq {
                arg.value() & arg.value_two().unwrap()
            } else {
                arg.value()
            };
            match arg.op() {
                ScmpCmpEq | ScmpCmpNe | ScmpCmpMaskedEq => (5 - arg.index(), 0, u64::MAX - datum),
                ScmpCmpLt | ScmpCmpLe => (5 - arg.index(), 1, datum),
                ScmpCmpGe | ScmpCmpGt => (5 - arg.index(), 2, u64::MAX - datum),
            }
        };
        // Which of the rules is the first that begins like this one so far.
        let first = |level: usize| {
            let like = |other: &[LinuxSeccompArg]| {
                other.len() > level && (0..=level).all(|at| same(&other[at], &conditions[at]))
            };
            listed.iter().position(|(_, other)| like(other))
        };
        (0..conditions.len()).map(|level| (rank(&conditions[level]), first(level))).collect::<Vec<_>>()
    });
    // A rule holds for all that those ask for which begin like it and go on.
    let begins = |short: &[LinuxSeccompArg], long: &[LinuxSeccompArg]| {
        short.len() < long.len() && short.iter().zip(long).all(|(a, b)| same(a, b))
    };
    let all = candidates.clone();
    candidates.retain(|candidate| !all.iter().any(|other| begins(&other.1, &candidate.1)));
    let holds = |arg: &LinuxSeccompArg| {
        let (argument, value) = (call.args[arg.index()] & width, arg.value() & width);
        match arg.op() {
            LinuxSeccompOperator::ScmpCmpEq => argument == value,
            LinuxSeccompOperator::ScmpCmpNe => argument != value,
            LinuxSeccompOperator::ScmpCmpLt => argument < value,
            LinuxSeccompOperator::ScmpCmpLe => argument <= value,
            LinuxSeccompOperator::ScmpCmpGt => argument > value,
            LinuxSeccompOperator::ScmpCmpGe => argument >= value,
            LinuxSeccompOperator::ScmpCmpMaskedEq => argument & value == arg.value_two().unwrap() & value,
        }
    };
    candidates.iter().find(|candidate| candidate.1.iter().all(holds)).map(|candidate| candidate.0)
}

/// Whether two conditions are one.
fn same(a: &LinuxSeccompArg, b: &LinuxSeccompArg) -> bool {
    let two = |arg: &LinuxSeccompArg| match arg.op() {
        LinuxSeccompOperator::ScmpCmpMaskedEq => arg.value_two().unwrap_or(0) & arg.value(),
        _ => 0,
    };
    (a.index(), a.op(), a.value(), two(a)) == (b.index(), b.op(), b.value(), two(b))
}

/// The condition lists of a rule: one, or one a condition if two concern one argument.
fn alternatives(rule: &LinuxSyscall) -> Vec<Vec<LinuxSeccompArg>> {
    let mut args = rule.args().clone().unwrap_or_default();
    let repeated = (0..6).any(|index| args.iter().filter(|arg| arg.index() == index).count() > 1);
    let says = |arg: &LinuxSeccompArg| arg.op() != LinuxSeccompOperator::ScmpCmpMaskedEq || arg.value() != 0;
    if repeated {
        return args.into_iter().map(|arg| Some(arg).filter(says).into_iter().collect()).collect();
    }
    args.retain(says);
    args.sort_by_key(LinuxSeccompArg::index);
    vec![args]
}

fn strictness(action: u32) -> usize {
    // seccomp(2): the order in which actions of several filters win, reversed.
    [0x7FFF, 0x7FFC, 0x7FF0, 0x7FC0, 0x0005, 0x0003, 0x0000, 0x8000]
        .iter()
        .position(|known| action >> 16 == *known)
        .unwrap()
}

/// "argument 0 is the call `name`" if `nr` is what multiplexes it.
fn behind_multiplexer(arch: Arch, name: &str, nr: u32, action: u32, default: u32) -> Option<LinuxSeccompArg> {
    let call = match (arch, nr, name) {
        (Arch::ScmpArchX86, 102, "socket") => 1,
        (Arch::ScmpArchX86, 102, "recv") => 10,
        (Arch::ScmpArchX86, 117, "shmat") => 21,
        _ => return None,
    };
    let json = if strictness(action) > strictness(default) {
        json!({ "index": 0, "op": "SCMP_CMP_MASKED_EQ", "value": 0xFFFF, "valueTwo": call })
    } else {
        json!({ "index": 0, "op": "SCMP_CMP_EQ", "value": call })
    };
    Some(serde_json::from_value(json).unwrap())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1500, ..ProptestConfig::default() })]

    /// [B2 B3 B4 B7 B8 B9 B10] The program does what the profile means.
    #[test]
    fn the_program_agrees(profile in profiles::profiles(profiles::Kind::Everything), calls in profiles::calls()) {
        let program = match compile(&profile) {
            Err(CompileError::Contradiction { .. }) => return Err(TestCaseError::reject("contradiction")),
            other => other.unwrap(),
        };
        let explainer = Explainer::new(&profile, Arch::ScmpArchX86_64).unwrap();
        for call in calls {
            let verdict = run(&program.instructions, &call, false).0;
            prop_assert_eq!(verdict, evaluate(&profile, &call), "{:x?}", call);
            explained(&explainer, &profile, &call, verdict)?;
        }
    }
}

/// `seccomp explain` tells the same verdict, and the rule that it names has that action and names the call.
fn explained(
    explainer: &Explainer,
    profile: &LinuxSeccomp,
    call: &Call,
    verdict: u32,
) -> Result<(), TestCaseError> {
    let arch = match call.arch {
        AMD64 if call.nr & 0x4000_0000 != 0 => Arch::ScmpArchX32,
        AMD64 => Arch::ScmpArchX86_64,
        I386 => Arch::ScmpArchX86,
        _ => Arch::ScmpArchAarch64,
    };
    let answer = explainer.answer(arch, call.nr, &call.args.map(Some));
    prop_assert_eq!(answer.decided(), Some(verdict), "{:x?} {:?}", call, answer);
    // What holds for all arguments holds for these.
    let any = explainer.answer(arch, call.nr, &[None; 6]);
    prop_assert!(any.decided().is_none_or(|decided| decided == verdict), "{call:x?} {any:?}");
    let last = answer.outcomes.last().unwrap();
    if let Reason::Rule(rule) | Reason::Behind { rule, .. } = last.reason {
        let rule = &profile.syscalls().as_ref().unwrap()[rule];
        prop_assert_eq!(rule.action().as_u32(rule.errno_ret()), verdict);
        let name = match last.reason {
            Reason::Behind { call, .. } => call,
            _ => name(arch, call.nr).unwrap(),
        };
        prop_assert!(rule.names().iter().any(|known| known == name), "{name} {rule:?}");
    }
    Ok(())
}

/// [B7] Every operator at every border of a 64-bit value, by itself and beside a second condition.
#[test]
fn operators_at_their_borders() {
    let values = [0, 1, 38, 0xFFFF_FFFF, 0x1_0000_0000, 0x1_0000_0026, u64::MAX - 1, u64::MAX];
    for operator in ["NE", "LT", "LE", "EQ", "GE", "GT", "MASKED_EQ"] {
        for value in values {
            for second in [false, true] {
                let mut args = vec![json!({
                    "index": 1, "value": value, "valueTwo": 0x26, "op": format!("SCMP_CMP_{operator}"),
                })];
                if second {
                    args.push(json!({ "index": 0, "value": 3, "op": "SCMP_CMP_GT" }));
                }
                let rule = json!({ "names": ["socket"], "action": "SCMP_ACT_ALLOW", "args": args });
                let profile = rule_profile(&rule);
                let program = compile(&profile).unwrap();
                for argument in values.into_iter().flat_map(|v| [v.wrapping_sub(1), v, v.wrapping_add(1)]) {
                    for (arch, nr) in [(AMD64, 41), (I386, 359)] {
                        for first in [3, 4] {
                            let call = Call { arch, nr, args: [first, argument, 0, 0, 0, 0] };
                            let got = run(&program.instructions, &call, false).0;
                            assert_eq!(got, evaluate(&profile, &call), "{operator} {value:x} {call:x?}");
                        }
                    }
                }
            }
        }
    }
}

fn rule_profile(rule: &Value) -> LinuxSeccomp {
    profile(json!({
        "defaultAction": "SCMP_ACT_ERRNO", "architectures": ["SCMP_ARCH_X86"], "syscalls": [rule],
    }))
}
