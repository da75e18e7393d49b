//! `davit seccomp record`: a profile of what a container used, under which it runs again.

use crate::support::*;

/// Records a run of the container; what was written.
#[track_caller]
fn record(t: &Test, code: i32) -> (String, Value) {
    let file = t.path("profile.json");
    let output = t.bundle_cmd("seccomp", &[]).into_args();
    // seccomp --bundle B ID: the verb's second word comes after the first.
    let at = output.iter().position(|word| word == "seccomp").unwrap() + 1;
    let mut words = output;
    words.splice(at..at, ["record".into(), "-o".into(), file.clone().into()]);
    let output = Cmd::new(&t.dir, words).output().code(code);
    assert!(output.stderr.is_empty(), "{output}");
    let text = std::fs::read_to_string(&file).unwrap();
    (output.stdout, serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}")))
}

fn names(profile: &Value) -> Vec<&str> {
    let names: Vec<&str> = profile["syscalls"][0]["names"]
        .as_array()
        .unwrap()
        .iter()
        .map(|name| name.as_str().unwrap())
        .collect();
    assert!(names.is_sorted(), "{names:?}");
    names
}

/// [issue 5] what is recorded is enough, and no more than was used.
#[test]
fn the_container_runs_under_its_record() {
    only_davit!();
    let mut t = Test::docker();
    t.sh("mkdir /tmp/a; echo x >/tmp/a/f; cat /tmp/a/f | tr x y; rm -r /tmp/a; sleep 0.01; exit 3");
    let (stdout, profile) = record(&t, 3);
    assert_eq!(stdout, "y\n");
    t.assert_clean();
    let used = names(&profile);
    assert!(
        ["mkdir", "execve", "exit_group", "rt_sigreturn"].iter().all(|name| used.contains(name)),
        "{used:?}"
    );
    assert!(
        !["mount", "ptrace", "socket", "reboot", "unshare"].iter().any(|name| used.contains(name)),
        "{used:?}"
    );
    assert_eq!(profile["architectures"], json!(["SCMP_ARCH_X86_64"]));
    t.config.set("linux.seccomp", profile);
    for no_new_privileges in [true, false] {
        t.config.set("process.noNewPrivileges", no_new_privileges);
        let output = t.run().code(3);
        assert_eq!((output.stdout.as_str(), output.stderr.as_str()), ("y\n", ""));
    }
    // What was not used is refused now.
    t.sh("mkdir /tmp/a && rm -r /tmp/a && ln -s x /tmp/l || echo refused");
    assert_eq!(t.run().stdout, "refused\n");
    assert!(std::fs::symlink_metadata(t.rootfs.join("tmp/l")).is_err());
}

/// [issue 5] a program of one call has the least profile; calls of another architecture add that.
#[test]
fn records_are_small() {
    only_davit!();
    let mut t = Test::new();
    need!(t.probe() && probe::write_exit(&t.rootfs.join("exit")), probe::WHY);
    t.args(&["/exit"]);
    let (_, profile) = record(&t, 42);
    assert_eq!(names(&profile), ["execve", "exit", "exit_group", "restart_syscall", "rt_sigreturn"]);
    t.config.set("linux.seccomp", profile);
    assert_eq!(t.run().code(42).stderr, "");
    // getpid, the way of i386. The profile that is there is not in force while another one is recorded.
    t.args(&["/probe", &(probe::I386 + 20).to_string()]);
    let (stdout, profile) = record(&t, 0);
    assert_eq!(stdout, "1\n");
    assert_eq!(profile["architectures"], json!(["SCMP_ARCH_X86_64", "SCMP_ARCH_X86"]));
    assert!(names(&profile).contains(&"getpid") && names(&profile).contains(&"sigreturn"));
    t.config.set("linux.seccomp", profile);
    assert_eq!(t.run().ok(), "1");
}

/// [issue 5] without -o the profile comes on stdout; without an id one is made; a call without a name is told.
#[test]
fn record_to_stdout() {
    only_davit!();
    let mut t = Test::new();
    need!(t.probe(), probe::WHY);
    t.args(&["/probe", "9999"]);
    t.write();
    let output = t.cmd(&["seccomp", "record", "--bundle", t.bundle.to_str().unwrap()]).output().code(0);
    output.says("system call 9999 of architecture 0xc000003e has no name: it is not in the profile");
    let (first, rest) = output.stdout.split_once('\n').unwrap();
    assert_eq!(first, "-38");
    let profile: Value = serde_json::from_str(rest).unwrap();
    assert!(names(&profile).contains(&"write"));
}

/// [issue 5] wrong input makes nothing; a container that can't start leaves nothing, no recorder either; Ctrl-C ends both.
#[test]
fn records_that_fail() {
    only_davit!();
    let mut t = Test::new();
    t.sh("sleep 100");
    t.write();
    let bundle = t.bundle.to_str().unwrap().to_string();
    let record = |more: &[&str]| {
        let cmd = t.cmd(&["seccomp", "record", "--bundle", &bundle]);
        cmd.args(more).args([&t.id]).output()
    };
    record(&["-o", "/nowhere/x"]).fails(1, "--output /nowhere/x: its directory does not exist");
    record(&["-o", &bundle]).fails(1, "it is a directory");
    record(&["--bundle", "/nowhere"]).fails(1, "no such file");
    std::fs::remove_file(t.rootfs.join("bin/sh")).unwrap();
    record(&[]).fails(1, "exec: \"/bin/sh\": stat /bin/sh: no such file or directory");
    t.assert_clean();
    std::os::unix::fs::symlink("busybox", t.rootfs.join("bin/sh")).unwrap();
    t.sh("exec sleep 100");
    t.write();
    let file = t.path("p.json");
    let running = t.cmd(&["seccomp", "record", "--bundle", &bundle, "-o", &file]).args([&t.id]).spawn();
    t.wait_program();
    running.kill(rustix::process::Signal::KILL);
    running.wait().code(137);
    // The recorder went with the runtime: the container's next call is ENOSYS. It is there to be deleted.
    t.verb(&["delete", "--force"]).ok();
    t.assert_clean();
}

/// [issue 5] startContainer hooks run as they would without a filter; that their calls are not in the profile is told.
#[test]
fn hooks_are_not_recorded() {
    only_davit!();
    let mut t = Test::new();
    t.config.set(
        "hooks.startContainer",
        json!([{ "path": "/bin/sh", "args": ["sh", "-c", "mkdir /tmp/hooked"] }]),
    );
    t.sh("ls /tmp").write();
    let bundle = t.bundle.to_str().unwrap();
    let output =
        t.cmd(&["seccomp", "record", "--bundle", bundle, "-o", &t.path("p.json"), &t.id]).output().code(0);
    assert_eq!(output.stdout, "hooked\n", "{output}");
    output.says("hooks.startContainer: what they call is not recorded");
    let profile: Value = serde_json::from_str(&std::fs::read_to_string(t.path("p.json")).unwrap()).unwrap();
    assert!(!names(&profile).contains(&"mkdir"), "{profile}");
    t.assert_clean();
}

/// [issue 5] [B12] a process of `exec` has the bundle's own profile meanwhile, and is not recorded.
#[test]
fn exec_while_recording() {
    only_davit!();
    let mut t = Test::new();
    t.config.set(
        "linux.seccomp",
        json!({ "defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{ "names": ["mkdir"], "action": "SCMP_ACT_ERRNO" }] }),
    );
    t.sh("mkdir /tmp/a && exec sleep 100").write();
    let bundle = t.bundle.to_str().unwrap().to_string();
    let running = t.cmd(&["seccomp", "record", "--bundle", &bundle, "-o", &t.path("p.json"), &t.id]).spawn();
    host::wait_until("mkdir", || t.rootfs.join("tmp/a").exists());
    let output = t.exec_cmd(&[], &["sh", "-c", "mkdir /tmp/b || ln -s x /tmp/l"]).output().code(0);
    output.says("Operation not permitted");
    t.cmd(&["kill", &t.id, "KILL"]).output().ok();
    running.wait().code(137);
    let profile: Value = serde_json::from_str(&std::fs::read_to_string(t.path("p.json")).unwrap()).unwrap();
    let used = names(&profile);
    assert!(used.contains(&"mkdir") && !used.contains(&"symlink"), "{used:?}");
    t.assert_clean();
}
