//! Seccomp: what a program gets for a call, under Docker's profile and under small ones.

use crate::support::*;

/// System call numbers on x86_64.
mod nr {
    pub const GETPID: u32 = 39;
    pub const SOCKET: u32 = 41;
    pub const PERSONALITY: u32 = 135;
    pub const MOUNT: u32 = 165;
    pub const REBOOT: u32 = 169;
    pub const INIT_MODULE: u32 = 175;
    pub const ADD_KEY: u32 = 248;
    pub const KEYCTL: u32 = 250;
    pub const UNSHARE: u32 = 272;
    pub const BPF: u32 = 321;
    pub const USERFAULTFD: u32 = 323;
    pub const CLONE3: u32 = 435;
    /// Beyond what any kernel or profile knows.
    pub const NEWER: u32 = 600;
    /// The bit of an x32 call.
    pub const X32: u32 = 0x4000_0000;
}

const EPERM: i64 = -1;
const ENOSYS: i64 = -38;

/// What the probe's call gives in this container.
#[track_caller]
fn call(t: &mut Test, number: u32, args: &[u64]) -> i64 {
    let mut words = vec!["/probe".to_string(), number.to_string()];
    words.extend(args.iter().map(u64::to_string));
    t.args(&words.iter().map(String::as_str).collect::<Vec<_>>());
    let out = t.run().ok();
    out.parse().unwrap_or_else(|error| panic!("{error}: {out:?}"))
}

/// A container with this profile and the probe in it.
fn with_profile(profile: Value) -> Option<Test> {
    let mut t = Test::new();
    t.config.set("linux.seccomp", profile);
    t.probe().then_some(t)
}

macro_rules! probed {
    ($test:expr) => {
        match $test {
            Some(test) => test,
            None => return skip(probe::WHY),
        }
    };
}

fn docker() -> Option<Test> {
    let t = Test::docker();
    t.probe().then_some(t)
}

fn deny(names: &[&str], action: &str) -> Value {
    json!({ "defaultAction": "SCMP_ACT_ALLOW", "architectures": ["SCMP_ARCH_X86_64"],
            "syscalls": [{ "names": names, "action": action }] })
}

/// [B1] [B2] [B3] Docker's profile: allowed, denied with EPERM, denied by a kernel that has no key for it.
#[test]
fn docker_profile() {
    let mut t = probed!(docker());
    assert_eq!(call(&mut t, nr::GETPID, &[]), 1);
    for number in [
        nr::MOUNT,
        nr::REBOOT,
        nr::INIT_MODULE,
        nr::ADD_KEY,
        nr::KEYCTL,
        nr::UNSHARE,
        nr::BPF,
        nr::USERFAULTFD,
    ] {
        assert_eq!(call(&mut t, number, &[0]), EPERM, "call {number}");
    }
}

/// [B3] clone3 gives ENOSYS by its own errnoRet, so that a libc falls back to clone.
#[test]
fn clone3_is_enosys() {
    let mut t = probed!(docker());
    assert_eq!(call(&mut t, nr::CLONE3, &[]), ENOSYS);
}

/// [B10] a call newer than the profile gives ENOSYS, not EPERM.
#[test]
fn newer_calls_are_enosys() {
    let mut t = probed!(docker());
    assert_eq!(call(&mut t, nr::NEWER, &[]), ENOSYS);
}

/// [B7] conditions on arguments: personality 0, 8, 0x20000 … are allowed, others are not; AF_VSOCK is denied.
#[test]
fn docker_arguments() {
    let mut t = probed!(docker());
    for (value, allowed) in
        [(0, true), (8, true), (0x2_0000, true), (0xffff_ffff, true), (4, false), (0x40_0000, false)]
    {
        let got = call(&mut t, nr::PERSONALITY, &[value]);
        assert_eq!(got >= 0, allowed, "personality({value:#x}) = {got}");
    }
    let (unix, stream, vsock, alg) = (1, 1, 40, 38);
    assert!(call(&mut t, nr::SOCKET, &[unix, stream, 0]) >= 0);
    assert_eq!(call(&mut t, nr::SOCKET, &[vsock, stream, 0]), EPERM);
    assert_eq!(call(&mut t, nr::SOCKET, &[alg, 5, 0]), EPERM);
}

/// [B4] the x32 way to a call is judged as its own architecture, never let through.
#[test]
fn x32_is_no_way_around() {
    let mut t = probed!(docker());
    let got = call(&mut t, nr::X32 | nr::MOUNT, &[0]);
    assert!([EPERM, ENOSYS].contains(&got), "{got}");
}

/// [B2] ERRNO with a number of its own, by rule and by default.
#[test]
fn errno() {
    let mut t = probed!(with_profile(json!({
        "defaultAction": "SCMP_ACT_ALLOW", "architectures": ["SCMP_ARCH_X86_64"],
        "syscalls": [{ "names": ["getpid", "uname"], "action": "SCMP_ACT_ERRNO", "errnoRet": 77 },
                     { "names": ["getppid"], "action": "SCMP_ACT_ERRNO" },
                     { "names": ["gettid"], "action": "SCMP_ACT_ERRNO", "errnoRet": 0 }]
    })));
    assert_eq!(call(&mut t, nr::GETPID, &[]), -77);
    assert_eq!(call(&mut t, 63, &[]), -77);
    assert_eq!(call(&mut t, 110, &[]), EPERM);
    assert_eq!(call(&mut t, 186, &[]), 0);
}

/// [B2] the killing actions end the process by SIGSYS.
#[test]
fn kill() {
    for action in ["SCMP_ACT_KILL", "SCMP_ACT_KILL_THREAD", "SCMP_ACT_KILL_PROCESS", "SCMP_ACT_TRAP"] {
        let mut t = probed!(with_profile(deny(&["sysinfo"], action)));
        t.args(&["/probe", "99"]);
        t.run().code(128 + 31);
    }
}

/// [B2] LOG lets the call through.
#[test]
fn log() {
    let mut t = probed!(with_profile(deny(&["getpid"], "SCMP_ACT_LOG")));
    assert_eq!(call(&mut t, nr::GETPID, &[]), 1);
}

/// [B7] every comparison, with 64-bit values.
#[test]
fn comparisons() {
    let big = 0x1_0000_0005u64;
    for (op, value, two, hits, misses) in [
        ("SCMP_CMP_EQ", big, 0, vec![big], vec![5, big + 1, 0]),
        ("SCMP_CMP_NE", big, 0, vec![5, 0, big + 1], vec![big]),
        ("SCMP_CMP_LT", big, 0, vec![5, big - 1, 0xffff_ffff], vec![big, big + 1, 0x2_0000_0000]),
        ("SCMP_CMP_LE", big, 0, vec![big, 5], vec![big + 1, 0x2_0000_0000]),
        ("SCMP_CMP_GT", big, 0, vec![big + 1, 0x2_0000_0000], vec![big, 0xffff_ffff]),
        ("SCMP_CMP_GE", big, 0, vec![big, 0x2_0000_0000], vec![big - 1, 0xffff_ffff]),
        (
            "SCMP_CMP_MASKED_EQ",
            0xf0_0000_00f0,
            0x10_0000_0020u64,
            vec![0x10_0000_0020, 0x11_0000_002f],
            vec![0x20, 0x10_0000_0000],
        ),
    ] {
        let mut t = probed!(with_profile(json!({
            "defaultAction": "SCMP_ACT_ALLOW", "architectures": ["SCMP_ARCH_X86_64"],
            "syscalls": [{ "names": ["getpid"], "action": "SCMP_ACT_ERRNO", "errnoRet": 99,
                           "args": [{ "index": 0, "op": op, "value": value, "valueTwo": two }] }]
        })));
        for (args, expected) in hits.iter().map(|v| (v, -99)).chain(misses.iter().map(|v| (v, 1))) {
            assert_eq!(call(&mut t, nr::GETPID, &[*args]), expected, "{op} {value:#x} of {args:#x}");
        }
    }
}

/// [B7] several conditions must all hold; two on one argument become alternatives.
#[test]
fn several_conditions() {
    let condition = |index, value| json!({ "index": index, "op": "SCMP_CMP_EQ", "value": value });
    let profile = |args: Value| {
        json!({ "defaultAction": "SCMP_ACT_ALLOW", "architectures": ["SCMP_ARCH_X86_64"],
                "syscalls": [{ "names": ["getpid"], "action": "SCMP_ACT_ERRNO", "errnoRet": 99, "args": args }] })
    };
    let mut t = probed!(with_profile(profile(json!([condition(0, 1), condition(5, 2)]))));
    assert_eq!(call(&mut t, nr::GETPID, &[1, 0, 0, 0, 0, 2]), -99);
    assert_eq!(call(&mut t, nr::GETPID, &[1, 0, 0, 0, 0, 3]), 1);
    assert_eq!(call(&mut t, nr::GETPID, &[0, 0, 0, 0, 0, 2]), 1);
    let mut t = probed!(with_profile(profile(json!([condition(0, 1), condition(0, 2)]))));
    for (value, expected) in [(1, -99), (2, -99), (3, 1)] {
        assert_eq!(call(&mut t, nr::GETPID, &[value]), expected);
    }
}

/// [B11] with no_new_privs the filter comes after the user change: a profile that denies setuid is no hindrance.
#[test]
fn order_with_no_new_privs() {
    let mut t = probed!(with_profile(deny(
        &["setuid", "setgid", "setgroups", "setresuid", "setresgid", "capset", "prctl"],
        "SCMP_ACT_ERRNO"
    )));
    t.config.set("process.user", json!({ "uid": 1000, "gid": 1000 })).set("process.noNewPrivileges", true);
    assert_eq!(call(&mut t, 102, &[]), 1000);
}

/// [B11] with no_new_privs off, for a user without privileges.
#[test]
fn without_no_new_privs() {
    let mut t = probed!(docker());
    t.config.set("process.user", json!({ "uid": 1000, "gid": 1000 })).set("process.noNewPrivileges", false);
    assert_eq!(call(&mut t, nr::MOUNT, &[0]), EPERM);
    t.sh("grep -E 'Seccomp:|NoNewPrivs' /proc/self/status");
    let out = t.run().ok();
    assert_eq!((host::field(&out, "Seccomp"), host::field(&out, "NoNewPrivs")), ("2".into(), "0".into()));
}

/// [B1] no filter without a profile, nor with an empty one.
#[test]
fn no_profile() {
    let mut t = Test::new();
    assert_eq!(t.out("grep Seccomp: /proc/self/status | cut -f2"), "0");
}

/// [B6] names that this machine does not know are skipped.
#[test]
fn unknown_names_are_skipped() {
    let mut t =
        probed!(with_profile(deny(&["no_such_call", "getpid", "arm_fadvise64_64"], "SCMP_ACT_ERRNO")));
    assert_eq!(call(&mut t, nr::GETPID, &[]), EPERM);
}

/// [B8] a rule with the default action changes nothing.
#[test]
fn rule_with_default_action() {
    let mut t = probed!(with_profile(deny(&["getpid"], "SCMP_ACT_ALLOW")));
    assert_eq!(call(&mut t, nr::GETPID, &[]), 1);
}

/// [B5] flags: none by an empty list, known ones, and an unknown one that is refused.
#[test]
fn flags() {
    only_davit!(); // runc from 1.1.6 on
    for flags in [json!([]), json!(["SECCOMP_FILTER_FLAG_LOG"]), json!(["SECCOMP_FILTER_FLAG_SPEC_ALLOW"])] {
        let mut profile = deny(&["getpid"], "SCMP_ACT_ERRNO");
        profile["flags"] = flags;
        let mut t = probed!(with_profile(profile));
        assert_eq!(call(&mut t, nr::GETPID, &[]), EPERM);
    }
    let mut profile = deny(&["getpid"], "SCMP_ACT_ERRNO");
    profile["flags"] = json!(["SECCOMP_FILTER_FLAG_BOGUS"]);
    let t = probed!(with_profile(profile));
    let output = t.run().code(1);
    output.says("SECCOMP_FILTER_FLAG_BOGUS");
    t.assert_clean();
}

/// [B2] [B4] [B6] [B7] [security R18] what a profile may not say fails closed.
#[test]
fn fails_closed() {
    only_davit!(); // runc 1.1 takes an empty list of names and an index of 7
    let rule = |rule: Value| json!({ "defaultAction": "SCMP_ACT_ALLOW", "syscalls": [rule] });
    let argument =
        |arg: Value| rule(json!({ "names": ["getpid"], "action": "SCMP_ACT_ERRNO", "args": [arg] }));
    for profile in [
        json!({ "defaultAction": "SCMP_ACT_BOGUS" }),
        json!({ "defaultAction": "SCMP_ACT_ALLOW", "architectures": ["SCMP_ARCH_BOGUS"] }),
        json!({ "defaultAction": "SCMP_ACT_NOTIFY" }),
        rule(json!({ "names": ["getpid"], "action": "SCMP_ACT_BOGUS" })),
        rule(json!({ "names": [], "action": "SCMP_ACT_ERRNO" })),
        argument(json!({ "index": 7, "op": "SCMP_CMP_EQ", "value": 1 })),
        argument(json!({ "index": 0, "op": "SCMP_CMP_BOGUS", "value": 1 })),
        rule(json!({ "names": ["getpid"], "action": "SCMP_ACT_NOTIFY" })),
        json!({ "defaultAction": "SCMP_ACT_ALLOW", "listenerMetadata": "x" }),
        json!({ "defaultAction": "SCMP_ACT_KILL", "defaultErrnoRet": 1 }),
    ] {
        let mut t = Test::new();
        t.config.set("linux.seccomp", profile.clone());
        t.sh("true");
        let output = t.run();
        assert_eq!(output.code, 1, "{profile}: {output}");
        output.fails(1, "seccomp");
        t.assert_clean();
    }
}

/// [B1] An object without a default action and without rules is no filter, as with runc; one that allows everything by default is
/// one, which holds for the architectures that it lists.
#[test]
fn empty_object_is_no_filter() {
    let mut t = Test::new();
    t.config.set("linux.seccomp", json!({}));
    assert_eq!(host::field(&t.out("cat /proc/self/status"), "Seccomp"), "0");
    t.config.set("linux.seccomp", json!({ "defaultAction": "SCMP_ACT_ALLOW" }));
    assert_eq!(host::field(&t.out("cat /proc/self/status"), "Seccomp"), "2");
    need!(t.probe(), probe::WHY);
    t.args(&["/probe", &(probe::I386 + 20).to_string()]);
    t.run().code(128 + 31);
}

/// [B13] as many rules as there are calls, each with a verdict of its own, and one call with as many conditions: the program stays
/// within the kernel's bounds and shallow, it loads, and each verdict is right.
#[test]
fn large_profile() {
    only_davit!(); // the shape is told by `disasm`
    let docker = Config::docker().0;
    let rules = docker["linux"]["seccomp"]["syscalls"].as_array().unwrap();
    let names: Vec<&str> = rules
        .iter()
        .flat_map(|rule| rule["names"].as_array().unwrap())
        .map(|name| name.as_str().unwrap())
        .filter(|name| !["execve", "write", "exit_group", "personality"].contains(name))
        .collect();
    assert!(names.len() > 300, "{}", names.len());
    let errno = |place: usize| 200 + place;
    let mut rules: Vec<Value> = names
        .iter()
        .enumerate()
        .map(|(place, name)| json!({ "names": [name], "action": "SCMP_ACT_ERRNO", "errnoRet": errno(place) }))
        .collect();
    rules.extend((0..300).map(|place| {
        json!({ "names": ["personality"], "action": "SCMP_ACT_ERRNO", "errnoRet": 1000 + place,
                "args": [{ "index": 0, "op": "SCMP_CMP_EQ", "value": 5_000_000_000u64 + 7 * place }] })
    }));
    let mut t = probed!(with_profile(json!({
        "defaultAction": "SCMP_ACT_ALLOW",
        "architectures": ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32"], "syscalls": rules
    })));
    t.write();
    let program = t.cmd(&["seccomp", "disasm", t.bundle.to_str().unwrap()]).output().ok();
    let numbers: Vec<usize> =
        program.lines().next().unwrap().split(' ').filter_map(|word| word.parse().ok()).collect();
    assert!(numbers[0] < 4096 && numbers[1] < 32, "{numbers:?}");
    for (name, number) in
        [("read", 0), ("getpid", nr::GETPID), ("umask", 95), ("clone3", nr::CLONE3), ("mseal", 462)]
    {
        let place = names.iter().position(|known| *known == name);
        let wanted = -i64::try_from(errno(place.unwrap_or_else(|| panic!("{name}")))).unwrap();
        assert_eq!(call(&mut t, number, &[]), wanted, "{name}");
    }
    for place in [0, 1, 150, 299] {
        let argument = 5_000_000_000 + 7 * place;
        assert_eq!(call(&mut t, nr::PERSONALITY, &[argument]), -1000 - i64::try_from(place).unwrap());
        assert!(call(&mut t, nr::PERSONALITY, &[argument + 1]) >= 0, "{argument}");
    }
}
