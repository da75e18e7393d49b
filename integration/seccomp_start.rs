//! How a container starts under a filter: nothing of the runtime's is needed but execve. Whole profiles of others, crun's
//! annotations, and what is no profile.

use crate::support::*;

const EXIT: &str = "/exit";

/// A container that does nothing but end, by exit_group(42), under a profile of two calls.
fn minimal(default: &str, names: &[&str]) -> Option<Test> {
    let mut t = Test::new();
    t.config.set(
        "linux.seccomp",
        json!({ "defaultAction": default, "architectures": ["SCMP_ARCH_X86_64"],
                "syscalls": [{ "names": names, "action": "SCMP_ACT_ALLOW" }] }),
    );
    t.args(&[EXIT]);
    probe::write_exit(&t.rootfs.join("exit")).then_some(t)
}

macro_rules! minimal {
    ($default:expr, $names:expr) => {
        match minimal($default, $names) {
            Some(test) => test,
            None => return skip(probe::WHY),
        }
    };
}

/// [W9] [B11] a profile of execve and the program's own call starts, whatever happens to all others, for root and for a user,
/// with no_new_privs and without, by `run` and by `create` and `start`.
#[test]
fn minimal_profiles_start() {
    only_davit!(); // other runtimes make calls of their own under the filter
    for default in ["SCMP_ACT_ERRNO", "SCMP_ACT_KILL_PROCESS", "SCMP_ACT_KILL_THREAD", "SCMP_ACT_TRAP"] {
        for (user, no_new_privileges) in [(0, true), (0, false), (1000, true), (1000, false)] {
            let mut t = minimal!(default, &["execve", "exit_group"]);
            t.config.set("process.user", json!({ "uid": user, "gid": user }));
            t.config.set("process.noNewPrivileges", no_new_privileges);
            assert_eq!(t.run().code(42).stderr, "");
            t.create().ok();
            t.verb(&["start"]).ok();
            t.wait_status("stopped");
            t.verb(&["delete"]).ok();
            std::fs::remove_file(&t.pid_file).unwrap();
        }
    }
}

/// [W9] the same in a user namespace, and with ambient capabilities.
#[test]
fn minimal_profile_with_rights() {
    only_davit!();
    let mut t = minimal!("SCMP_ACT_KILL_PROCESS", &["execve", "exit_group"]);
    t.config.set("process.noNewPrivileges", false).set("process.user", json!({ "uid": 1000, "gid": 1000 }));
    let caps = json!(["CAP_KILL", "CAP_NET_BIND_SERVICE"]);
    for set in ["bounding", "permitted", "effective", "inheritable", "ambient"] {
        t.config.set(&format!("process.capabilities.{set}"), caps.clone());
    }
    assert_eq!(t.run().code(42).stderr, "");
    t.user_namespace();
    assert_eq!(t.run().code(42).stderr, "");
}

/// [B11] [P11] loading a filter without no_new_privs takes CAP_SYS_ADMIN, of which nothing is left: the program's sets are those
/// that it has without a filter.
#[test]
fn rights_are_the_same_with_a_filter() {
    const CAPS: &str = "grep -E '^Cap|Seccomp:' /proc/self/status";
    for (user, sets) in [
        (0, json!({ "bounding": ["CAP_KILL"], "permitted": ["CAP_KILL"], "effective": ["CAP_KILL"] })),
        (0, json!({ "bounding": [], "permitted": [], "effective": [] })),
        (0, json!({ "bounding": ["CAP_KILL", "CAP_SYS_ADMIN"], "permitted": ["CAP_KILL"], "effective": [] })),
        (1000, json!({ "bounding": ["CAP_KILL"], "permitted": ["CAP_KILL"], "effective": ["CAP_KILL"] })),
        (
            1000,
            json!({ "bounding": ["CAP_KILL"], "permitted": ["CAP_KILL"], "effective": ["CAP_KILL"],
                    "inheritable": ["CAP_KILL"], "ambient": ["CAP_KILL"] }),
        ),
        (
            1000,
            json!({ "bounding": ["CAP_SYS_ADMIN"], "permitted": [], "effective": [], "inheritable": ["CAP_SYS_ADMIN"] }),
        ),
    ] {
        for no_new_privileges in [true, false] {
            let mut t = Test::new();
            t.config.set("process.user", json!({ "uid": user, "gid": user }));
            t.config
                .set("process.noNewPrivileges", no_new_privileges)
                .set("process.capabilities", sets.clone());
            let plain = t.out(CAPS);
            t.config.set(
                "linux.seccomp",
                json!({ "defaultAction": "SCMP_ACT_ALLOW",
                        "syscalls": [{ "names": ["reboot"], "action": "SCMP_ACT_ERRNO" }] }),
            );
            let filtered = t.out(CAPS);
            assert_eq!(host::field(&filtered, "Seccomp"), "2");
            assert_eq!(
                filtered.replace("Seccomp:\t2", "Seccomp:\t0"),
                plain,
                "{user} {sets} {no_new_privileges}"
            );
        }
    }
}

/// [W9] without execve nothing can start, which is told before anything is made.
#[test]
fn execve_is_needed() {
    only_davit!();
    for default in ["SCMP_ACT_ERRNO", "SCMP_ACT_KILL_PROCESS"] {
        let t = minimal!(default, &["exit_group", "execveat"]);
        for output in [t.run(), t.create()] {
            output.fails(
                1,
                "linux.seccomp: the profile forbids execve, by which the container's program is started",
            );
            t.assert_clean();
        }
    }
    let mut t = Test::new();
    t.config.set(
        "linux.seccomp",
        json!({ "defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{ "names": ["execve"], "action": "SCMP_ACT_KILL" }] }),
    );
    t.run().fails(1, "forbids execve");
    t.assert_clean();
}

/// [W9] [E4] a failed execve is told, and ends init, though the filter forbids both to tell and to end.
#[test]
fn failed_execve_under_a_minimal_profile() {
    only_davit!();
    for default in ["SCMP_ACT_ERRNO", "SCMP_ACT_KILL_PROCESS", "SCMP_ACT_TRAP"] {
        let t = minimal!(default, &["execve"]);
        std::fs::write(t.rootfs.join("exit"), "no program").unwrap();
        let output = t.run();
        output.fails(1, "exec /exit: exec format error");
        t.assert_clean();
        // Once somebody has reaped it, it can't be told from a program that ended at once.
        let told = (0..20).any(|_| {
            t.create().ok();
            let output = t.verb(&["start"]);
            t.wait_status("stopped");
            t.verb(&["delete"]).ok();
            std::fs::remove_file(&t.pid_file).unwrap();
            output.code == 1
        });
        assert!(told, "{default}");
    }
}

/// [B2] [B4] Podman's profile, as its engine would write it for Docker's capabilities.
#[test]
fn podman_profile() {
    const FILE: &str = "/usr/share/containers/seccomp.json";
    let Ok(text) = std::fs::read_to_string(FILE) else {
        return skip("no /usr/share/containers/seccomp.json (package golang-github-containers-common)");
    };
    let engine: Value = serde_json::from_str(&text).unwrap();
    let mut t = Test::docker();
    let held: Vec<Value> = t.config.0["process"]["capabilities"]["bounding"].as_array().unwrap().clone();
    let holds = |list: &Value| list.as_array().is_some_and(|caps| caps.iter().any(|cap| held.contains(cap)));
    let wanted = |rule: &&Value| {
        let (includes, excludes) = (&rule["includes"], &rule["excludes"]);
        let here = |arches: &Value| arches.as_array().is_some_and(|list| list.contains(&json!("amd64")));
        (includes["caps"].is_null() || holds(&includes["caps"]))
            && (includes["arches"].is_null() || here(&includes["arches"]))
            && !holds(&excludes["caps"])
            && !here(&excludes["arches"])
    };
    let plain = |rule: &Value| {
        let mut rule = rule.clone();
        for key in ["includes", "excludes", "comment", "errno"] {
            rule.as_object_mut().unwrap().remove(key);
        }
        for key in ["args", "errnoRet"] {
            if rule[key].is_null() || rule[key] == json!([]) {
                rule.as_object_mut().unwrap().remove(key);
            }
        }
        rule
    };
    let rules: Vec<Value> = engine["syscalls"].as_array().unwrap().iter().filter(wanted).map(plain).collect();
    assert!(rules.len() > 2, "{rules:?}");
    t.config.set(
        "linux.seccomp",
        json!({ "defaultAction": engine["defaultAction"], "defaultErrnoRet": engine["defaultErrnoRet"],
                "architectures": ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32"], "syscalls": rules }),
    );
    need!(t.probe(), probe::WHY);
    t.sh("/probe 39; /probe 165 0; /probe 304 0; /probe 600; /probe 1099511627796");
    let default = -engine["defaultErrnoRet"].as_i64().unwrap_or(1);
    let lines = t.run().ok();
    let results: Vec<i64> = lines.lines().skip(1).map(|line| line.parse().unwrap()).collect();
    // mount is allowed, open_by_handle_at is not; a call newer than the profile; getpid of i386.
    assert_eq!(results[..2], [-14, -1], "{lines}");
    assert!([default, -38].contains(&results[2]), "{lines}");
    assert!(results[3] > 0, "{lines}");
}

/// [B2] [B6] profiles as systemd makes them: everything but a list (SystemCallFilter=~@mount), and nothing but a list
/// (@system-service) with an error number of their own.
#[test]
fn profiles_like_systemd() {
    let mut t = Test::new();
    need!(t.probe(), probe::WHY);
    t.config.set(
        "linux.seccomp",
        json!({ "defaultAction": "SCMP_ACT_ALLOW", "architectures": ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32"],
                "syscalls": [{ "names": ["chroot", "fsconfig", "fsmount", "fsopen", "fspick", "mount", "mount_setattr",
                               "move_mount", "open_tree", "pivot_root", "umount", "umount2"],
                               "action": "SCMP_ACT_ERRNO", "errnoRet": 1 }] }),
    );
    // mount by both ways; reboot is not in it, and fails for its arguments.
    assert_eq!(t.out("/probe 165 0; /probe 1099511627797 0; /probe 169 0"), "-1\n-1\n-1");
    t.config.set(
        "linux.seccomp",
        json!({ "defaultAction": "SCMP_ACT_ERRNO", "defaultErrnoRet": 99, "architectures": ["SCMP_ARCH_X86_64"],
                "syscalls": [{ "names": ["execve", "write", "exit_group", "pkey_free"], "action": "SCMP_ACT_ALLOW" }] }),
    );
    // Below the newest that the list names; above; by a way that is not listed: the thread is killed.
    for (number, wanted) in [("39", "-99"), ("451", "-38")] {
        t.args(&["/probe", number]);
        assert_eq!(t.run().ok(), wanted);
    }
    t.args(&["/probe", "1099511627796"]);
    t.run().code(128 + 31);
}

/// [B4] calls of 32-bit programs have their own numbers, and arguments of 32 bits.
#[test]
fn calls_of_i386() {
    let mut t = Test::new();
    need!(t.probe(), probe::WHY);
    let compat = |number: u64| (probe::I386 + number).to_string();
    t.config.set(
        "linux.seccomp",
        json!({ "defaultAction": "SCMP_ACT_ALLOW", "architectures": ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86"],
                "syscalls": [
                    { "names": ["getpid"], "action": "SCMP_ACT_ERRNO", "errnoRet": 77 },
                    { "names": ["waitpid"], "action": "SCMP_ACT_ERRNO", "errnoRet": 78 },
                    { "names": ["dup"], "action": "SCMP_ACT_ERRNO", "errnoRet": 79,
                      "args": [{ "index": 0, "op": "SCMP_CMP_EQ", "value": 0x1_0000_0063u64 }] },
                    { "names": ["socket"], "action": "SCMP_ACT_ERRNO", "errnoRet": 80 }] }),
    );
    // getpid is 39 and 20, 39 is mkdir there; waitpid is only there, as 7; dup is 32 and 41; socket is 41 and 359, and
    // behind socketcall 102.
    for (words, wanted) in [
        (vec!["39".to_string()], -77),
        (vec![compat(20)], -77),
        (vec![compat(39), "0".into()], -14),
        (vec![compat(7)], -78),
        (vec!["7".into()], 0),
        (vec!["32".into(), "4294967395".into()], -79),
        (vec!["32".into(), "99".into()], -9),
        (vec![compat(41), "99".into()], -79),
        (vec![compat(41), "98".into()], -9),
        (vec!["41".into(), "1".into(), "1".into()], -80),
        (vec![compat(359), "1".into(), "1".into()], -80),
        (vec![compat(102), "1".into()], -80),
    ] {
        let mut args = vec!["/probe"];
        args.extend(words.iter().map(String::as_str));
        t.args(&args);
        assert_eq!(t.run().ok(), wanted.to_string(), "{words:?}");
    }
}

/// [B2] TRACE without a tracer is ENOSYS.
#[test]
fn trace() {
    let mut t = Test::new();
    need!(t.probe(), probe::WHY);
    t.config.set(
        "linux.seccomp",
        json!({ "defaultAction": "SCMP_ACT_ALLOW",
                "syscalls": [{ "names": ["getpid"], "action": "SCMP_ACT_TRACE", "errnoRet": 5 }] }),
    );
    t.args(&["/probe", "39"]);
    assert_eq!(t.run().ok(), "-38");
}

/// [X22] [X23] crun's plugins are refused by name, and unknown names become errors where that is asked for.
#[test]
fn annotations_of_crun() {
    only_davit!();
    let mut t = Test::new();
    let set = |t: &mut Test, name: &str, value: &str| {
        t.config.set("annotations", json!({ name: value }));
    };
    t.sh("true");
    set(&mut t, "run.oci.seccomp.plugins", "/x.so");
    t.run().fails(1, "annotations[\"run.oci.seccomp.plugins\"]: plugins are not loaded into the runtime");
    t.assert_clean();
    t.config.set(
        "linux.seccomp",
        json!({ "defaultAction": "SCMP_ACT_ALLOW",
                "syscalls": [{ "names": ["getpid"], "action": "SCMP_ACT_ERRNO" },
                             { "names": ["reboot", "frobnicate"], "action": "SCMP_ACT_ERRNO" }] }),
    );
    set(&mut t, "run.oci.seccomp_fail_unknown_syscall", "1");
    t.run().fails(1, "linux.seccomp.syscalls[1].names[1]: unknown system call \"frobnicate\"");
    t.assert_clean();
    set(&mut t, "run.oci.seccomp_fail_unknown_syscall", "0");
    t.run().ok();
}

/// [B6] a name that no machine has is passed over, and told to who debugs.
#[test]
fn unknown_names_are_told() {
    only_davit!();
    let mut t = Test::new();
    t.config.set(
        "linux.seccomp",
        json!({ "defaultAction": "SCMP_ACT_ALLOW",
                "syscalls": [{ "names": ["frobnicate"], "action": "SCMP_ACT_ERRNO" }] }),
    );
    t.sh("true");
    t.write();
    let output = t.cmd(&["--debug", "run", "--bundle", t.bundle.to_str().unwrap()]).args([&t.id]).output();
    output.says("linux.seccomp: unknown system call \"frobnicate\" is passed over");
    output.code(0);
}

/// [X24] a ready-made program holds instead of the profile; what is none is refused.
#[test]
fn ready_made_program() {
    only_davit!();
    let mut t = Test::new();
    need!(t.probe(), probe::WHY);
    // ld [0]; jeq 39, getpid: ret ERRNO 66; else ret ALLOW.
    let instructions =
        [(0x20u16, 0u8, 0u8, 0u32), (0x15, 0, 1, 39), (0x06, 0, 0, 0x0005_0042), (0x06, 0, 0, 0x7fff_0000)];
    let bytes: Vec<u8> = instructions
        .iter()
        .flat_map(|(code, jt, jf, k)| [&code.to_ne_bytes()[..], &[*jt, *jf], &k.to_ne_bytes()].concat())
        .collect();
    let annotate = |t: &mut Test, text: &str| {
        t.config.set("annotations", json!({ "run.oci.seccomp_bpf_data": text }));
    };
    annotate(&mut t, &base64(&bytes));
    for profile in [json!({}), json!({ "defaultAction": "SCMP_ACT_KILL" })] {
        t.config.set("linux.seccomp", profile);
        t.args(&["/probe", "39"]);
        assert_eq!(t.run().ok(), "-66");
    }
    let refuse = [6u16.to_ne_bytes().to_vec(), vec![0, 0], 0x0005_0001u32.to_ne_bytes().to_vec()].concat();
    let notify = [6u16.to_ne_bytes().to_vec(), vec![0, 0], 0x7fc0_0000u32.to_ne_bytes().to_vec()].concat();
    for (text, wanted) in [
        (
            "%%%".to_string(),
            "annotations[\"run.oci.seccomp_bpf_data\"]: invalid seccomp BPF data: not base64",
        ),
        (base64(&bytes[1..]), "31 bytes are not 1 to 4096 instructions"),
        (String::new(), "0 bytes are not 1 to 4096"),
        (base64(&refuse), "linux.seccomp: the profile forbids execve"),
        (base64(&notify), "it asks an agent, and there is no linux.seccomp.listenerPath"),
        // An instruction that the kernel does not know: refused when it is loaded.
        (base64(&[0xff; 8]), "linux.seccomp: load the filter: invalid argument"),
    ] {
        annotate(&mut t, &text);
        t.run().fails(1, wanted);
        t.assert_clean();
    }
}

fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for chunk in bytes.chunks(3) {
        let mut three = [0; 3];
        three[..chunk.len()].copy_from_slice(chunk);
        let bits = three.iter().fold(0u32, |bits, byte| bits << 8 | u32::from(*byte));
        for place in 0..4 {
            let digit = usize::try_from(bits >> (18 - 6 * place) & 63).unwrap();
            text.push(if place <= chunk.len() { char::from(DIGITS[digit]) } else { '=' });
        }
    }
    text
}

/// [B2] [B3] [B4] [B5] [B7] [B9] [security R18] what a profile may not say: one line, with its place, and nothing is left.
#[test]
fn bad_profiles_are_refused() {
    only_davit!();
    let base = "linux.seccomp";
    let rule = |rule: Value| json!({ "defaultAction": "SCMP_ACT_ALLOW", "syscalls": [rule] });
    let arg = |arg: Value| rule(json!({ "names": ["getpid"], "action": "SCMP_ACT_ERRNO", "args": [arg] }));
    let many: Vec<Value> =
        (0..2000).map(|n| json!({ "names": ["getpid"], "action": "SCMP_ACT_ERRNO", "errnoRet": 1,
                                  "args": [{ "index": 0, "op": "SCMP_CMP_MASKED_EQ", "value": 1u64 << 40 | 7, "valueTwo": 1u64 << (n % 30) | n },
                                           { "index": 1, "op": "SCMP_CMP_EQ", "value": n << 33 | n }] })).collect();
    for (profile, text) in [
        (
            json!({ "defaultAction": "SCMP_ACT_BOGUS" }),
            "defaultAction: string SCMP_ACT_BOGUS is not a valid action for seccomp",
        ),
        (
            json!({ "syscalls": [{ "names": ["getpid"], "action": "SCMP_ACT_KILL" }] }),
            "defaultAction: missing field",
        ),
        (
            json!({ "defaultAction": "SCMP_ACT_ALLOW", "architectures": ["SCMP_ARCH_X86_64", "SCMP_ARCH_BOGUS"] }),
            "architectures[1]",
        ),
        (
            json!({ "defaultAction": "SCMP_ACT_ALLOW", "flags": ["SECCOMP_FILTER_FLAG_BOGUS"] }),
            "flags[0]: seccomp flag SECCOMP_FILTER_FLAG_BOGUS is not known to davit",
        ),
        (json!({ "defaultAction": "SCMP_ACT_KILL", "defaultErrnoRet": 1 }), "defaultErrnoRet"),
        (
            json!({ "defaultAction": "SCMP_ACT_ERRNO", "defaultErrnoRet": 4096 }),
            "defaultErrnoRet: 4096 is not 0 to 4095",
        ),
        (rule(json!({ "names": ["getpid"], "action": "SCMP_ACT_BOGUS" })), "syscalls[0].action"),
        (rule(json!({ "names": [], "action": "SCMP_ACT_ERRNO" })), "syscalls[0].names"),
        (rule(json!({ "names": ["getpid", ""], "action": "SCMP_ACT_ERRNO" })), "syscalls[0].names[1]"),
        (
            rule(json!({ "names": ["getpid"], "action": "SCMP_ACT_KILL", "errnoRet": 1 })),
            "syscalls[0].errnoRet",
        ),
        (
            rule(json!({ "names": ["getpid"], "action": "SCMP_ACT_TRACE", "errnoRet": 70000 })),
            "syscalls[0].errnoRet",
        ),
        (arg(json!({ "index": 6, "op": "SCMP_CMP_EQ", "value": 1 })), "syscalls[0].args[0].index"),
        (
            arg(json!({ "index": 0, "op": "SCMP_CMP_BOGUS", "value": 1 })),
            "syscalls[0].args[0].op: string SCMP_CMP_BOGUS is not a valid operator for seccomp",
        ),
        (arg(json!({ "index": 0, "op": "SCMP_CMP_EQ", "value": -1 })), "syscalls[0].args[0].value"),
        (arg(json!({ "index": 0, "op": "SCMP_CMP_EQ", "value": "1" })), "syscalls[0].args[0].value"),
        (arg(json!({ "index": 0, "op": "SCMP_CMP_EQ" })), "syscalls[0].args[0]"),
        (
            json!({ "defaultAction": "SCMP_ACT_ALLOW", "syscalls": [
                { "names": ["getpid"], "action": "SCMP_ACT_ERRNO", "args": [{ "index": 0, "op": "SCMP_CMP_EQ", "value": 1 }] },
                { "names": ["getpid"], "action": "SCMP_ACT_KILL", "args": [{ "index": 0, "op": "SCMP_CMP_EQ", "value": 1 }] }] }),
            "syscalls[1]",
        ),
        (json!({ "defaultAction": "SCMP_ACT_ALLOW", "syscalls": many }), ""),
    ] {
        let mut t = Test::new();
        t.config.set(base, profile.clone());
        t.sh("true");
        let shown: String = profile.to_string().chars().take(300).collect();
        let output = t.run();
        assert_eq!(output.code, 1, "{shown}: {output}");
        let wanted = if text.is_empty() {
            "instructions, more than the kernel's 4096".into()
        } else {
            format!("{base}.{text}")
        };
        output.fails(1, &wanted);
        t.assert_clean();
    }
}

/// [W9] [B11] [B12] the same for processes of `exec`: the filter holds, nothing else is needed, and a failed execve is told.
#[test]
fn minimal_profile_of_exec() {
    only_davit!();
    for (default, no_new_privileges) in
        [("SCMP_ACT_KILL_PROCESS", false), ("SCMP_ACT_ERRNO", true), ("SCMP_ACT_ERRNO", false)]
    {
        let mut t = minimal!(default, &["execve", "exit_group", "pause"]);
        t.config.set("process.noNewPrivileges", no_new_privileges);
        probe::write_pause(&t.rootfs.join("exit"));
        probe::write_exit(&t.rootfs.join("other"));
        std::fs::write(t.rootfs.join("broken"), "no program").unwrap();
        std::fs::set_permissions(
            t.rootfs.join("broken"),
            std::os::unix::fs::PermissionsExt::from_mode(0o755),
        )
        .unwrap();
        t.detach();
        let exec = |program: &str| t.cmd(&["exec"]).args([&t.id]).args([program]).output();
        assert_eq!(exec("/other").code(42).stderr, "");
        exec("/broken").fails(255, "exec /broken: exec format error");
        assert_eq!(t.status(), "running");
        t.verb(&["delete", "--force"]).ok();
        std::fs::remove_file(&t.pid_file).unwrap();
    }
}
