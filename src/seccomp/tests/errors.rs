//! Faults in a profile, flags, and single rules of behaviour.

use super::*;

fn message(profile: &LinuxSeccomp) -> String {
    compile(profile).unwrap_err().to_string()
}

fn allow(extra: &Value) -> Value {
    let mut rule = json!({ "names": ["read"], "action": "SCMP_ACT_ALLOW" });
    rule.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
    rule
}

/// [B3 B6 B7 B14 B15 B16] One line each, starting with the place in config.json.
#[test]
fn faults_are_named_by_their_json_path() {
    let with = |extra: Value| message(&rule("SCMP_ACT_ERRNO", &allow(&extra)));
    assert_eq!(
        with(json!({ "args": [{ "index": 7, "value": 0, "op": "SCMP_CMP_EQ" }] })),
        "linux.seccomp.syscalls[0].args[0].index: 7 is not 0 to 5"
    );
    assert_eq!(
        with(json!({ "errnoRet": 5 })),
        "linux.seccomp.syscalls[0].errnoRet: only for SCMP_ACT_ERRNO and SCMP_ACT_TRACE, not for SCMP_ACT_ALLOW"
    );
    assert_eq!(
        with(json!({ "action": "SCMP_ACT_ERRNO", "errnoRet": 4096 })),
        "linux.seccomp.syscalls[0].errnoRet: 4096 is not 0 to 4095"
    );
    assert_eq!(
        with(json!({ "action": "SCMP_ACT_TRACE", "errnoRet": 65536 })),
        "linux.seccomp.syscalls[0].errnoRet: 65536 is not 0 to 65535"
    );
    assert_eq!(with(json!({ "names": [] })), "linux.seccomp.syscalls[0].names: at least one name is needed");
    assert_eq!(
        with(json!({ "names": ["read", ""] })),
        "linux.seccomp.syscalls[0].names[1]: empty string is not a valid syscall"
    );
    assert_eq!(
        with(json!({ "action": "SCMP_ACT_NOTIFY" })),
        "linux.seccomp.listenerPath: seccomp listenerPath is not set, and linux.seccomp.syscalls[0] has SCMP_ACT_NOTIFY"
    );
    assert_eq!(
        message(&profile(json!({ "defaultAction": "SCMP_ACT_ALLOW", "defaultErrnoRet": 1 }))),
        "linux.seccomp.defaultErrnoRet: only for SCMP_ACT_ERRNO and SCMP_ACT_TRACE, not for SCMP_ACT_ALLOW"
    );
    assert_eq!(
        message(&profile(json!({ "defaultAction": "SCMP_ACT_NOTIFY", "listenerPath": "/s" }))),
        "linux.seccomp.defaultAction: SCMP_ACT_NOTIFY cannot be used as default action"
    );
    assert_eq!(
        message(&profile(json!({ "defaultAction": "SCMP_ACT_ERRNO", "listenerMetadata": "x" }))),
        "linux.seccomp.listenerMetadata: set without linux.seccomp.listenerPath"
    );
    assert_eq!(
        message(&profile(json!({
            "defaultAction": "SCMP_ACT_ERRNO",
            "listenerPath": "/s",
            "syscalls": [{ "names": ["read", "write"], "action": "SCMP_ACT_NOTIFY" }],
        }))),
        "linux.seccomp.syscalls[0].names[1]: SCMP_ACT_NOTIFY cannot be used for the write syscall"
    );
}

/// [B2 B4 B5] What oci-spec's types do not know never gets here.
#[test]
fn unknown_words_do_not_parse() {
    for bad in [
        json!({ "defaultAction": "SCMP_ACT_MAYBE" }),
        json!({ "defaultAction": "SCMP_ACT_ALLOW", "architectures": ["SCMP_ARCH_VAX"] }),
        json!({ "defaultAction": "SCMP_ACT_ALLOW", "flags": ["SECCOMP_FILTER_FLAG_X"] }),
        json!({ "syscalls": [] }),
    ] {
        assert!(serde_json::from_value::<LinuxSeccomp>(bad.clone()).is_err(), "{bad}");
    }
}

/// [B9] The same condition with two actions has no meaning.
#[test]
fn contradictions_are_refused() {
    let args = json!([{ "index": 0, "value": 1, "op": "SCMP_CMP_EQ" }]);
    let two = |action: &str| {
        profile(json!({ "defaultAction": "SCMP_ACT_ERRNO", "syscalls": [
            { "names": ["socket"], "action": "SCMP_ACT_ALLOW", "args": args },
            { "names": ["socket"], "action": action, "args": args },
        ]}))
    };
    assert_eq!(
        message(&two("SCMP_ACT_KILL")),
        "linux.seccomp.syscalls[1]: contradicts linux.seccomp.syscalls[0]: same system call and condition, other action"
    );
    assert_eq!(verdict(&compile(&two("SCMP_ACT_ALLOW")).unwrap(), AMD64, 41, &[1]), ALLOW);
}

/// The kernel takes 4096 instructions.
#[test]
fn a_program_too_large_is_refused() {
    let with = |rules: u64| {
        let rule = |n: u64| {
            let arg = |index: u8| json!({ "index": index, "value": n * 7, "op": "SCMP_CMP_EQ" });
            json!({ "names": ["socket"], "action": "SCMP_ACT_ALLOW", "args": [arg(0), arg(1)] })
        };
        profile(
            json!({ "defaultAction": "SCMP_ACT_ERRNO", "syscalls": (0..rules).map(rule).collect::<Vec<_>>() }),
        )
    };
    let program = compile(&with(500)).unwrap();
    assert!((3500..4096).contains(&program.instructions.len()), "{}", program.instructions.len());
    // Far jumps reach both ends of the chain.
    assert_eq!(verdict(&program, AMD64, 41, &[0, 0]), ALLOW);
    assert_eq!(verdict(&program, AMD64, 41, &[499 * 7, 499 * 7]), ALLOW);
    assert_eq!(verdict(&program, AMD64, 41, &[7, 14]), EPERM);
    assert_eq!(verdict(&program, AMD64, 42, &[]), ENOSYS);
    let text = message(&with(2000));
    assert!(text.starts_with("linux.seccomp: the program has "), "{text}");
    assert!(text.ends_with(" instructions, more than the kernel's 4096"), "{text}");
}

/// [B9] Conditions that libseccomp ranks alike are tried in the profile's order.
#[test]
fn equal_ranks_keep_their_order() {
    let arg =
        |op: &str, value: u64, two: u64| json!({ "index": 0, "value": value, "valueTwo": two, "op": op });
    let masks = [arg("SCMP_CMP_MASKED_EQ", 5, 1), arg("SCMP_CMP_MASKED_EQ", 9, 1)];
    for pair in [masks, [arg("SCMP_CMP_LE", 3, 0), arg("SCMP_CMP_LT", 3, 0)]] {
        for (one, two) in [(&pair[0], &pair[1]), (&pair[1], &pair[0])] {
            let rule =
                |action: &str, arg: &Value| json!({ "names": ["ptrace"], "action": action, "args": [arg] });
            let rules = [rule("SCMP_ACT_TRAP", one), rule("SCMP_ACT_LOG", two)];
            let program =
                compile(&profile(json!({ "defaultAction": "SCMP_ACT_ALLOW", "syscalls": rules }))).unwrap();
            assert_eq!(verdict(&program, AMD64, 101, &[1]), libc::SECCOMP_RET_TRAP, "{one} {two}");
        }
    }
}

/// [B1] A default action alone makes a program, which holds for the architectures that are listed.
#[test]
fn a_default_action_is_a_profile() {
    let program = compile(&profile(json!({ "defaultAction": "SCMP_ACT_ALLOW" }))).unwrap();
    assert_eq!(verdict(&program, AMD64, 39, &[]), ALLOW);
    assert_eq!(verdict(&program, I386, 20, &[]), libc::SECCOMP_RET_KILL_THREAD);
}

/// [B5] An absent list is not an empty one; WAIT_KILLABLE_RECV needs somebody who waits.
#[test]
fn flags_become_bits() {
    let flags = |flags: Value, action: &str| {
        let rule = json!({ "names": ["read"], "action": action });
        let program = compile(&profile(json!({
            "defaultAction": "SCMP_ACT_ERRNO", "flags": flags, "listenerPath": "/s", "syscalls": [rule],
        })));
        program.unwrap().flags
    };
    assert_eq!(flags(Value::Null, "SCMP_ACT_ALLOW"), 4);
    assert_eq!(flags(json!([]), "SCMP_ACT_ALLOW"), 0);
    assert_eq!(flags(json!([]), "SCMP_ACT_NOTIFY"), 8);
    let all = json!([
        "SECCOMP_FILTER_FLAG_TSYNC",
        "SECCOMP_FILTER_FLAG_LOG",
        "SECCOMP_FILTER_FLAG_SPEC_ALLOW",
        "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV",
    ]);
    assert_eq!(flags(all.clone(), "SCMP_ACT_ALLOW"), 2 | 4);
    assert_eq!(flags(all, "SCMP_ACT_NOTIFY"), 2 | 4 | 8 | 32);
}

/// [B6] A name that no architecture has is left out and told.
#[test]
fn unknown_names_are_skipped() {
    let program =
        compile(&rule("SCMP_ACT_ERRNO", &allow(&json!({ "names": ["nonsense", "read", "write"] })))).unwrap();
    assert_eq!(program.unknown_names, ["nonsense"]);
    assert_eq!(verdict(&program, AMD64, 0, &[]), ALLOW);
    assert_eq!(verdict(&program, AMD64, 1, &[]), ALLOW);
}

/// [B8] NOTIFY rules and rules that repeat the default stand side by side.
#[test]
fn a_rule_with_the_default_action_is_no_rule() {
    let program = compile(&profile(json!({
        "defaultAction": "SCMP_ACT_ALLOW",
        "listenerPath": "/s",
        "syscalls": [
            { "names": ["mkdir"], "action": "SCMP_ACT_ALLOW" },
            { "names": ["mkdir"], "action": "SCMP_ACT_NOTIFY" },
        ],
    })))
    .unwrap();
    assert!(program.notify);
    assert_eq!(verdict(&program, AMD64, 83, &[]), libc::SECCOMP_RET_USER_NOTIF);
    assert_eq!(verdict(&program, AMD64, 82, &[]), ALLOW);
}

/// [B10] Newer calls give ENOSYS for every default but ALLOW, LOG and TRACE; s390's setup(2) too.
#[test]
fn newer_calls_are_not_implemented() {
    for (default, expected) in [
        ("SCMP_ACT_ERRNO", ENOSYS),
        ("SCMP_ACT_KILL", ENOSYS),
        ("SCMP_ACT_TRAP", ENOSYS),
        ("SCMP_ACT_LOG", libc::SECCOMP_RET_LOG),
        ("SCMP_ACT_TRACE", libc::SECCOMP_RET_TRACE | 1),
    ] {
        let named = json!({ "names": ["openat2"], "action": "SCMP_ACT_ALLOW" });
        let program = compile(&rule(default, &named)).unwrap();
        assert_eq!(verdict(&program, AMD64, 437, &[]), ALLOW);
        assert_eq!(verdict(&program, AMD64, 438, &[]), expected, "{default}");
        assert_ne!(verdict(&program, AMD64, 436, &[]), ENOSYS);
    }
    let s390 = compile_for(&docker(), Arch::ScmpArchS390x).unwrap();
    assert_eq!(verdict(&s390, Arch::ScmpArchS390x as u32, 0, &[]), ENOSYS);
}

/// [B4] Arguments lie the other way round on big-endian machines.
#[test]
fn big_endian_arguments() {
    let args = json!([{ "index": 1, "value": 0x1_0000_0002_u64, "op": "SCMP_CMP_EQ" }]);
    let ptrace = json!({ "names": ["ptrace"], "action": "SCMP_ACT_ALLOW", "args": args });
    let program = compile_for(&rule("SCMP_ACT_ERRNO", &ptrace), Arch::ScmpArchS390x).unwrap();
    for (argument, expected) in [(0x1_0000_0002, ALLOW), (0x2_0000_0001, EPERM)] {
        let call = Call { arch: Arch::ScmpArchS390x as u32, nr: 26, args: [0, argument, 0, 0, 0, 0] };
        assert_eq!(run(&program.instructions, &call, true).0, expected);
    }
}
