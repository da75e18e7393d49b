//! libseccomp's verdicts, used as runc uses it, for random profiles and calls on every architecture that it knows.
//! docs/seccomp.md lists where the two differ, and why.

use std::cell::Cell;

use libseccomp::ScmpVersion;
use libseccomp::error::SeccompError;
use oci_spec::runtime::LinuxSeccompAction;
use proptest::prelude::*;
use proptest::test_runner::{TestCaseError, TestRunner};

use super::super::arch::Abi;
use super::super::{oracle, words};
use super::*;

/// The greatest number the profile names, as runc's findLastSyscalls.
fn last(profile: &LinuxSeccomp, arch: Arch) -> Option<u32> {
    let names = profile.syscalls().iter().flatten().flat_map(|rule| rule.names());
    names.filter_map(|name| oracle::number(arch, name)).max()
}

/// runc's verdict: its ENOSYS stub, then libseccomp's program.
fn decider(profile: &LinuxSeccomp, native: Arch) -> Result<impl Fn(&Call) -> u32 + use<>, SeccompError> {
    use LinuxSeccompAction::*;
    let program = oracle::filter(profile, native, false)?;
    let stub = !matches!(profile.default_action(), ScmpActAllow | ScmpActLog | ScmpActTrace);
    let listed = profile.architectures().iter().flatten().copied();
    let lasts: Vec<_> = std::iter::once(native)
        .chain(listed)
        .filter_map(|arch| Some((arch, Abi::of(arch).audit(), last(profile, arch)?)))
        .collect();
    let big_endian = Abi::of(native).big_endian;
    Ok(move |call: &Call| {
        let x32 = call.arch == AMD64 && call.nr & 0x4000_0000 != 0;
        let mine =
            lasts.iter().find(|(arch, audit, _)| *audit == call.arch && (*arch == Arch::ScmpArchX32) == x32);
        match mine {
            Some((_, _, last)) if stub && call.nr > *last => ENOSYS,
            // s390's setup(2) stands for numbers that its instruction can't hold.
            Some((Arch::ScmpArchS390 | Arch::ScmpArchS390x, _, _)) if stub && call.nr == 0 => ENOSYS,
            _ => run(&program, call, big_endian).0,
        }
    })
}

fn recent() -> bool {
    libseccomp::check_version(ScmpVersion::from((2, 6, 1))).unwrap()
}

/// A profile without the names that libseccomp is too old for.
fn known_to_both(mut profile: LinuxSeccomp) -> LinuxSeccomp {
    let mut rules = profile.syscalls().clone().unwrap_or_default();
    for rule in &mut rules {
        let names = rule.names().iter().filter(|name| oracle::knows(name)).cloned().collect();
        rule.set_names(names);
    }
    rules.retain(|rule| !rule.names().is_empty());
    profile.set_syscalls(Some(rules));
    profile
}

/// Docker's profile, every number with all arguments around its conditions. To write the table that the everyday test
/// uses, set DAVIT_WRITE_VERDICTS and have libseccomp 2.6.1: an older one lacks names.
#[test]
fn docker_table() {
    if recent() {
        let decide = decider(&docker(), Arch::ScmpArchX86_64).unwrap();
        let theirs =
            docker::table(|arch, nr, argument| decide(&Call { arch, nr, args: [argument, 0, 0, 0, 0, 0] }));
        let file = concat!(env!("CARGO_MANIFEST_DIR"), "/src/seccomp/testdata/docker-verdicts.txt");
        if std::env::var_os("DAVIT_WRITE_VERDICTS").is_some() {
            std::fs::write(file, &theirs).unwrap();
        }
        assert_eq!(theirs, std::fs::read_to_string(file).unwrap());
    }
    let profile = known_to_both(docker());
    let decide = decider(&profile, Arch::ScmpArchX86_64).unwrap();
    let ours = compile(&profile).unwrap();
    let mut calls = 0;
    for arch in docker::ARCHES {
        for nr in docker::numbers() {
            // Debian's libseccomp is too old for some calls, on x32 for more than on x86-64.
            let abi = match (arch, nr & 0x4000_0000) {
                (AMD64, 0) => Arch::ScmpArchX86_64,
                (AMD64, _) => Arch::ScmpArchX32,
                _ => Arch::ScmpArchX86,
            };
            if name(abi, nr).is_some_and(|name| oracle::number(abi, name).is_none()) {
                continue;
            }
            for argument in docker::FIRST_ARGUMENTS {
                let call = Call { arch, nr, args: [argument, 0, 0, 0, 0, 0] };
                assert_eq!(run(&ours.instructions, &call, false).0, decide(&call), "{call:x?}");
                calls += 1;
            }
        }
    }
    println!("Docker's profile: {calls} calls, no difference");
}

/// [B4] Every number that libseccomp has is ours; and what it has not is newer than it.
#[test]
fn numbers_are_those_of_libseccomp() {
    let mut equal = 0;
    for arch in words::ARCHITECTURES.into_iter().filter(|arch| oracle::architecture(*arch).is_some()) {
        for id in 0..super::super::tables::COUNT {
            let name = super::super::arch::text(id);
            let abi = Abi::of(arch);
            let ours = abi.slot(id).map(|slot| abi.number(slot));
            match (ours, oracle::number(arch, name)) {
                (Some(ours), Some(theirs)) if ours == theirs => equal += 1,
                (None, None) => {}
                (ours, theirs) => assert!(
                    differs(arch, name, ours, theirs),
                    "{arch} {name}: {ours:?}, libseccomp {theirs:?}"
                ),
            }
        }
    }
    println!("{equal} numbers are equal");
    assert!(equal > 6500, "{equal}");
}

/// Differences of the number tables that are known, and whose fault they are.
fn differs(_arch: Arch, _name: &str, ours: Option<u32>, theirs: Option<u32>) -> bool {
    ours.is_some() && theirs.is_none()
}

/// [B9] Of two rules that begin alike the one that asks for less holds, wherever it stands; a mask of no bits asks for
/// nothing.
#[test]
fn a_wider_rule_swallows() {
    let arg = |index: u32, value: u64| json!({ "index": index, "value": value, "op": "SCMP_CMP_EQ" });
    let none = json!({ "index": 3, "value": 0, "valueTwo": 0, "op": "SCMP_CMP_MASKED_EQ" });
    let rules = [
        json!({ "names": ["ptrace"], "action": "SCMP_ACT_ALLOW", "args": [arg(0, 1)] }),
        json!({ "names": ["ptrace"], "action": "SCMP_ACT_ERRNO", "args": [arg(0, 1), arg(1, 2)] }),
        json!({ "names": ["ptrace"], "action": "SCMP_ACT_TRAP", "args": [arg(1, 2)] }),
        json!({ "names": ["prctl"], "action": "SCMP_ACT_ALLOW", "args": [none] }),
        json!({ "names": ["prctl"], "action": "SCMP_ACT_TRAP" }),
    ];
    let orders: [&[usize]; 5] = [&[0, 1], &[1, 0], &[0, 1, 2], &[2, 1, 0], &[3, 4]];
    let mut taken = 0;
    for order in orders {
        let rules: Vec<_> = order.iter().map(|at| rules[*at].clone()).collect();
        let profile = profile(json!({ "defaultAction": "SCMP_ACT_KILL_PROCESS", "syscalls": rules }));
        let ours = compile(&profile).unwrap();
        // libseccomp refuses some orders (EEXIST), and runc such profiles.
        let Ok(decide) = decider(&profile, Arch::ScmpArchX86_64) else {
            println!("libseccomp refuses {order:?}");
            continue;
        };
        taken += 1;
        for at in 0..24 {
            let args = [at % 3, at / 3 % 4, 0, 0, 0, 0];
            let call = Call { arch: AMD64, nr: if at < 12 { 101 } else { 157 }, args };
            assert_eq!(run(&ours.instructions, &call, false).0, decide(&call), "{order:?} {call:x?}");
        }
    }
    assert!(taken > 1, "{taken}");
}

/// [B9] Any two rules with one condition each on the same argument of 32 bits are tried in libseccomp's order.
#[test]
fn two_rules_are_tried_in_order() {
    const CONDITIONS: [(&str, u64, u64); 10] = [
        ("EQ", 1, 0),
        ("NE", 0, 0),
        ("NE", 1, 0),
        ("MASKED_EQ", 5, 1),
        ("MASKED_EQ", 3, 0),
        ("MASKED_EQ", 8, 0),
        ("LT", 3, 0),
        ("LE", 3, 0),
        ("GT", 5, 0),
        ("GE", 5, 0),
    ];
    let rule = |(op, value, two): (&str, u64, u64), action: &str| {
        let arg = json!({ "index": 0, "value": value, "valueTwo": two, "op": format!("SCMP_CMP_{op}") });
        json!({ "names": ["ptrace"], "action": action, "args": [arg] })
    };
    for (one, two) in CONDITIONS.iter().flat_map(|one| CONDITIONS.iter().map(move |two| (one, two))) {
        let rules = [rule(*one, "SCMP_ACT_TRAP"), rule(*two, "SCMP_ACT_LOG")];
        let profile = profile(json!({ "defaultAction": "SCMP_ACT_KILL_PROCESS", "syscalls": rules }));
        let ours = compile_for(&profile, Arch::ScmpArchX86);
        let Ok(decide) = decider(&profile, Arch::ScmpArchX86) else {
            assert!(ours.is_err(), "{one:?} {two:?}");
            continue;
        };
        for argument in 0..16 {
            let call = Call { arch: I386, nr: 26, args: [argument, 0, 0, 0, 0, 0] };
            let verdict = run(&ours.as_ref().unwrap().instructions, &call, false).0;
            assert_eq!(verdict, decide(&call), "{one:?} {two:?} {argument}");
        }
    }
}

/// How many calls each architecture gets: `DAVIT_ORACLE_CALLS`, a million in all by `make test-seccomp`.
fn cases() -> u32 {
    let all = std::env::var("DAVIT_ORACLE_CALLS").ok().and_then(|text| text.parse().ok());
    (all.unwrap_or(200_000_u32) / 19).div_ceil(64)
}

/// [B2] [B4] [B7] Random profiles with one rule a name, random calls around their numbers and values.
#[test]
fn random_profiles_on_every_architecture() {
    let (mut total, mut arches) = (0, 0);
    for native in words::ARCHITECTURES.into_iter().filter(|arch| oracle::architecture(*arch).is_some()) {
        let counted = Cell::new(0);
        let config =
            ProptestConfig { cases: cases(), failure_persistence: None, ..ProptestConfig::default() };
        let numbers: Vec<u32> =
            profiles::WHOLE.iter().filter_map(|name| oracle::number(native, name)).collect();
        let audit = Abi::of(native).audit();
        let strategy = (profiles::of_one_machine(native), profiles::calls_near(audit, numbers));
        let outcome = TestRunner::new(config).run(&strategy, |(profile, calls)| {
            let ours = compile_for(&profile, native).unwrap();
            let decide = decider(&profile, native).map_err(|error| TestCaseError::fail(error.to_string()))?;
            for call in calls {
                let verdict = run(&ours.instructions, &call, Abi::of(native).big_endian).0;
                prop_assert_eq!(verdict, decide(&call), "{} {:x?}", native, call);
                counted.set(counted.get() + 1);
            }
            Ok(())
        });
        outcome.unwrap_or_else(|error| panic!("{native}: {error}"));
        total += counted.get();
        arches += 1;
    }
    println!("{total} random calls on {arches} architectures, no difference");
    assert_eq!(arches, 19);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, ..ProptestConfig::default() })]

    /// The same with the three ABIs of one x86-64 kernel side by side.
    #[test]
    fn random_profiles(profile in profiles::profiles(profiles::Kind::OneAction), calls in profiles::calls()) {
        let ours = match compile(&profile) {
            Ok(ours) => ours,
            Err(error) => panic!("{error}"),
        };
        let decide = decider(&profile, Arch::ScmpArchX86_64).unwrap();
        for call in calls {
            prop_assert_eq!(run(&ours.instructions, &call, false).0, decide(&call), "{:x?}", call);
        }
    }
}
