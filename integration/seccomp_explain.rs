//! `davit seccomp explain` and `disasm`: what they tell is what the kernel does.

use crate::support::*;

fn seccomp(t: &Test, words: &[&str]) -> Output {
    t.cmd(&["seccomp"]).args(words).output()
}

/// What the probe's call gives in the container, and what `explain` says of it: the errno, none if it is allowed.
fn both(t: &mut Test, name: &str, number: u32, args: &[u64]) -> (i64, Option<i64>) {
    let mut words = vec!["/probe".to_string(), number.to_string()];
    words.extend(args.iter().map(u64::to_string));
    t.args(&words.iter().map(String::as_str).collect::<Vec<_>>());
    let got = t.run().ok().parse().unwrap();
    let args: Vec<String> = args.iter().map(|arg| format!("{arg:#x}")).collect();
    let mut words = vec!["explain", "--arch", "x86_64", "--format", "json", t.bundle.to_str().unwrap(), name];
    words.extend(args.iter().map(String::as_str));
    let said: Value = serde_json::from_str(&seccomp(t, &words).ok()).unwrap();
    assert_eq!(
        (said[0]["number"].as_u64(), said[0]["architecture"].as_str()),
        (Some(number.into()), Some("x86_64"))
    );
    let verdict = &said[0]["verdict"];
    let errno = verdict["errno"].as_i64();
    assert_eq!(
        verdict["action"],
        if errno.is_some() { "SCMP_ACT_ERRNO" } else { "SCMP_ACT_ALLOW" },
        "{said}"
    );
    (got, errno)
}

/// [B1] [B3] [B7] [B10] The verdict told is the verdict got, under Docker's profile.
#[test]
fn explained_as_it_happens() {
    only_davit!();
    let mut t = Test::docker();
    need!(t.probe(), probe::WHY);
    for (name, number, args, allowed) in [
        ("getpid", 39, vec![], true),
        ("mount", 165, vec![0], false),
        ("clone3", 435, vec![], false),
        ("personality", 135, vec![0xffff_ffff], true),
        ("personality", 135, vec![4], false),
        ("socket", 41, vec![1, 1, 0], true),
        ("socket", 41, vec![40, 1, 0], false),
        ("600", 600, vec![], false),
    ] {
        let (got, errno) = both(&mut t, name, number, &args);
        assert_eq!(errno.is_none(), allowed, "{name} {args:?}");
        match errno {
            Some(errno) => assert_eq!(got, -errno, "{name} {args:?}"),
            None => assert!(got >= 0, "{name} {args:?}: {got}"),
        }
    }
}

const PROFILE: &str = r#"{
  "defaultAction": "SCMP_ACT_ERRNO",
  "architectures": ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86"],
  "syscalls": [
    { "names": ["read", "write", "nonsense"], "action": "SCMP_ACT_ALLOW" },
    { "names": ["socket"], "action": "SCMP_ACT_ALLOW",
      "args": [{ "index": 0, "value": 40, "op": "SCMP_CMP_LT" }] }
  ]
}
"#;

/// The texts for people: the rule with its line, what was tried, what is newer.
#[test]
fn texts() {
    only_davit!();
    let t = Test::new();
    let file = t.dir.join("profile.json");
    std::fs::write(&file, PROFILE).unwrap();
    let file = file.to_str().unwrap();
    let explain =
        |words: &[&str]| seccomp(&t, &[&["explain", "--arch", "x86_64", file], words].concat()).ok();
    assert_eq!(explain(&["read"]), "x86_64: read (0): ALLOW\n    syscalls[0] (line 5): ALLOW");
    assert_eq!(
        explain(&["socket", "40"]),
        "x86_64: socket (41): ERRNO EPERM (1)\n    syscalls[1] (line 6): ALLOW if arg0 < 40: it does not hold\n    \
         defaultAction (line 2): ERRNO EPERM (1), as none of these holds"
    );
    assert_eq!(
        explain(&["socket"]),
        "x86_64: socket (41): depends on its arguments\n    syscalls[1] (line 6): ALLOW if arg0 < 40\n    \
         defaultAction (line 2): ERRNO EPERM (1) otherwise"
    );
    let newer = explain(&["clone3"]);
    assert!(
        newer.contains("ERRNO ENOSYS (38) (newer than socket (41), the newest that the profile knows"),
        "{newer}"
    );
    let summary = explain(&[]);
    for part in [
        "what no rule names: ERRNO EPERM (1), by defaultAction (line 2)\n",
        "ignored: nonsense\n",
        "\nx86_64\n  ALLOW:\n    read write\n  ALLOW if arg0 < 40, else ERRNO EPERM (1):\n    socket\n",
        "    every call newer than socket (41)",
    ] {
        assert!(summary.contains(part), "{part}\n{summary}");
    }
    let both = seccomp(&t, &["explain", file, "read"]).ok();
    assert!(both.contains("x86_64: read (0)") && both.contains("\nx86: read (3): ALLOW\n"), "{both}");
    // An architecture that is not listed, and a machine of another kind.
    let x32 = seccomp(&t, &["explain", "--arch", "x32", file, "read"]).ok();
    assert!(
        x32.contains("x32: read (0x40000000): KILL_THREAD\n") && x32.contains("x32 is not among"),
        "{x32}"
    );
    // As the kernel's log and this text have it.
    assert_eq!(seccomp(&t, &["explain", "--arch", "x32", file, "0x40000000"]).ok(), x32);
    let arm = seccomp(&t, &["explain", "--arch", "arm64", file, "read"]).ok();
    assert!(arm.starts_with("aarch64: read (63): ALLOW\n"), "{arm}");
    let program = seccomp(&t, &["disasm", "--arch", "x86_64", file]).ok();
    assert!(
        program.starts_with("; ") && program.contains("; socket\n") && program.contains("ret  ALLOW"),
        "{program}"
    );
    t.assert_clean();
}

/// A profile of Docker or Podman is read as they read it; one on stdin, too.
#[test]
fn profiles_of_engines() {
    only_davit!();
    let t = Test::new();
    let file = t.dir.join("engine.json");
    let text = r#"{"defaultAction": "SCMP_ACT_ERRNO", "defaultErrno": "ENOSYS",
  "archMap": [{"architecture": "SCMP_ARCH_X86_64", "subArchitectures": ["SCMP_ARCH_X86"]}],
  "syscalls": [{"names": ["mount"], "action": "SCMP_ACT_ERRNO", "errno": "EPERM", "excludes": {"caps": ["CAP_SYS_ADMIN"]}},
    {"names": ["mount"], "action": "SCMP_ACT_ALLOW", "includes": {"caps": ["CAP_SYS_ADMIN"]}}]}"#;
    std::fs::write(&file, text).unwrap();
    let path = file.to_str().unwrap();
    let explain = |words: &[&str]| {
        seccomp(&t, &[&["explain", "--arch", "x86_64"], words, &[path, "mount"]].concat()).ok()
    };
    assert_eq!(
        explain(&[]),
        "x86_64: mount (165): ERRNO EPERM (1)\n    syscalls[0] (line 3): ERRNO EPERM (1)"
    );
    assert_eq!(
        explain(&["--caps", "sys_admin"]),
        "x86_64: mount (165): ALLOW\n    syscalls[1] (line 4): ALLOW"
    );
    let stdin = t.cmd(&["seccomp", "explain", "--arch", "x86_64", "-", "mount"]).stdin(&file).output().ok();
    assert_eq!(stdin, explain(&[]));
    t.assert_clean();
}

/// One line each.
#[test]
fn faults() {
    only_davit!();
    let t = Test::new();
    t.write();
    let file = t.dir.join("profile.json");
    let at = |text: &str, words: &[&str]| {
        std::fs::write(&file, text).unwrap();
        seccomp(&t, &[&["explain", file.to_str().unwrap()], words].concat())
    };
    at(PROFILE, &["reed"])
        .fails(1, "\"reed\" is no system call that davit knows (hint: did you mean \"read\"?)");
    at(PROFILE, &["set_tls"]).fails(1, "has no system call \"set_tls\" (hint: known on arm");
    at(PROFILE, &["read", "1k"]).fails(1, "invalid value \"1k\" for argument 0 of the system call");
    at(PROFILE, &["--arch", "vax"]).fails(1, "invalid value \"vax\" for flag -arch (hint: one of x86_64 ");
    at(PROFILE, &["--caps", "all"]).fails(1, "has no rules that depend on capabilities");
    at("{}", &[]).fails(1, "no seccomp profile is in it");
    at("[1]", &[]).fails(1, "must be a JSON object");
    at("{\"a\": 1}", &[]).fails(1, "has no defaultAction");
    at("{", &[]).fails(1, "EOF while parsing");
    at(&PROFILE.replace("SCMP_CMP_LT", "SCMP_CMP_X"), &[])
        .fails(1, "line 7 column 43: syscalls[1].args[0].op: string SCMP_CMP_X is not a valid operator");
    at(&PROFILE.replace("\"index\": 0", "\"index\": 6"), &[])
        .fails(1, "profile.json: syscalls[1].args[0].index: 6 is not 0 to 5");
    seccomp(&t, &["explain", t.bundle.to_str().unwrap()]).fails(1, "no seccomp profile is in it");
    seccomp(&t, &["disasm", "/nothere"]).fails(1, "read /nothere: no such file or directory");
    seccomp(&t, &["explain", t.dir.to_str().unwrap()]).fails(1, "config.json not found in");
    seccomp(&t, &["explian", "x"]).fails(3, "did you mean \"explain\"?");
    t.assert_clean();
}
