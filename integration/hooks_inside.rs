//! Hooks in the container's namespaces: createContainer and startContainer.

use crate::support::*;
use rustix::process::Signal;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::{Duration, Instant};

fn hook(script: &str) -> Value {
    json!({"path": "/bin/sh", "args": ["sh", "-c", script]})
}

fn read(path: impl AsRef<Path>) -> String {
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.as_ref().display()))
}

fn json_of(path: impl AsRef<Path>) -> Value {
    let text = read(path);
    assert_eq!(text.lines().count(), 1, "one line: {text}");
    serde_json::from_str(&text).unwrap()
}

/// What `readlink` says of these namespaces of a process.
fn namespaces(pid: i32, kinds: &[&str]) -> Vec<String> {
    let link = |kind: &&str| std::fs::read_link(format!("/proc/{pid}/ns/{kind}")).unwrap();
    kinds.iter().map(|kind| link(kind).to_string_lossy().into_owned()).collect()
}

/// [H3] [H4] [H6] [H7] [H8] [H10] [H24] createContainer: a program of the host, in the container's namespaces, in the
/// rootfs with its mounts, before anything there is read-only; no environment; the state with the pid inside.
#[test]
fn create_container() {
    let mut t = Test::new();
    t.config.set("annotations", json!({ "com.example.key": "value" })).set("root.readonly", true);
    let dir = t.dir.display();
    let kinds = ["mnt", "net", "uts", "ipc", "pid"];
    let script = format!(
        "echo $0 > {dir}/name; cat > {dir}/state.json; pwd > {dir}/pwd; /usr/bin/env > {dir}/env; \
         for kind in {}; do readlink /proc/self/ns/$kind; done > {dir}/ns; \
         test -e proc/1/status && test -c dev/null && echo made > etc/made && umask > {dir}/umask",
        kinds.join(" ")
    );
    let first = json!({"path": "/bin/sh", "args": ["a name", "-c", script]});
    let with_env =
        json!({"path": "/bin/sh", "args": ["sh", "-c", format!("echo $A > {dir}/a")], "env": ["A=1=2"]});
    t.config.set("hooks.createContainer", json!([first, with_env]));
    t.sh("exec sleep 30");
    t.create().ok();
    assert_eq!(read(t.dir.join("name")), "a name\n");
    assert_eq!(read(t.dir.join("pwd")).trim_end(), t.rootfs.to_str().unwrap());
    assert_eq!(read(t.rootfs.join("etc/made")), "made\n", "before the root is read-only");
    assert_eq!(read(t.dir.join("a")), "1=2\n");
    let seen = read(t.dir.join("ns"));
    let seen: Vec<_> = seen.lines().collect();
    assert_eq!(seen, namespaces(t.pid(), &kinds));
    let own = namespaces(i32::try_from(std::process::id()).unwrap(), &kinds);
    assert!(seen.iter().zip(own).all(|(seen, own)| *seen != own));
    let state = json_of(t.dir.join("state.json"));
    assert_eq!(state["status"], "creating");
    assert_eq!(state["pid"], 1);
    assert_eq!(state["id"], t.id.as_str());
    assert_eq!(state["bundle"], t.bundle.to_str().unwrap());
    assert_eq!(state["annotations"]["com.example.key"], "value");
    assert!(state["ociVersion"].is_string());
    if davit_only() {
        let env = read(t.dir.join("env"));
        assert_eq!(
            env.trim_end(),
            format!("PWD={}", t.rootfs.display()),
            "the shell's own, nothing of the caller's"
        );
        assert_eq!(read(t.dir.join("umask")), "0022\n");
    }
    t.verb(&["start"]).ok();
}

/// [H1] [H10] [H11] all six kinds in one container, each at its time, in listed order.
#[test]
fn all_six_kinds() {
    only_davit!(); // runc 1.1 runs poststart hooks before the program
    let mut t = Test::new();
    let log = t.rootfs.join("tmp/order");
    for kind in ["prestart", "createRuntime", "createContainer", "poststart", "poststop"] {
        let note = |n: u32| hook(&format!("echo {kind}{n} >> {}", log.display()));
        t.config.set(&format!("hooks.{kind}"), json!([note(1), note(2)]));
    }
    let note = |n: u32| hook(&format!("echo startContainer{n} >> /tmp/order"));
    t.config.set("hooks.startContainer", json!([note(1), note(2)]));
    t.sh("echo program >> /tmp/order; exec sleep 30");
    t.create().ok();
    let created =
        "prestart1\nprestart2\ncreateRuntime1\ncreateRuntime2\ncreateContainer1\ncreateContainer2\n";
    assert_eq!(read(&log), created);
    t.verb(&["start"]).ok();
    host::wait_until("the program's line", || read(&log).contains("program"));
    let mut rest: Vec<_> = read(&log)[created.len()..].lines().map(str::to_string).collect();
    assert_eq!(rest[..2], ["startContainer1", "startContainer2"]);
    // These two and the program go on side by side.
    rest[2..].sort();
    assert_eq!(rest[2..], ["poststart1", "poststart2", "program"]);
    t.verb(&["delete", "--force"]).ok();
    assert!(read(&log).ends_with("poststop1\npoststop2\n"));
    t.assert_clean_but_pid_file();
}

/// [H6] [H7] [H8] [H11] [H24] startContainer: a program of the container, after start, before the program, with the
/// state `created`, which `state` says meanwhile, too.
#[test]
fn start_container() {
    let mut t = Test::new();
    t.config.set("annotations", json!({ "com.example.key": "value" }));
    let script = "cat > /tmp/state.json; readlink /proc/self/ns/mnt > /tmp/ns; cat /proc/1/comm > /tmp/comm; \
                  pwd > /tmp/pwd; touch /tmp/here; while ! test -e /tmp/go; do usleep 5000; done";
    t.config.set("hooks.startContainer", json!([hook(script)])).set("process.cwd", "/var");
    t.sh("test -e /tmp/state.json && touch /tmp/after; exec sleep 30");
    t.create().ok();
    let pid = t.pid();
    let mnt = namespaces(pid, &["mnt"]);
    assert!(!t.rootfs.join("tmp/here").exists(), "not before start");
    let start = t.cmd(&["start", &t.id]).spawn();
    host::wait_until("the hook runs", || t.rootfs.join("tmp/here").exists());
    if davit_only() {
        assert_eq!(t.status(), "created");
        assert!(read(t.rootfs.join("tmp/comm")).contains("init"));
    }
    t.file("tmp/go", "");
    start.wait().ok();
    host::wait_until("the program", || t.rootfs.join("tmp/after").exists());
    assert_eq!(t.status(), "running");
    let state = json_of(t.rootfs.join("tmp/state.json"));
    assert_eq!(state["status"], "created");
    assert_eq!(state["pid"], 1);
    assert_eq!(state["id"], t.id.as_str());
    assert_eq!(state["bundle"], t.bundle.to_str().unwrap());
    assert_eq!(state["annotations"]["com.example.key"], "value");
    assert_eq!(read(t.rootfs.join("tmp/ns")).trim_end(), mnt[0]);
    assert_eq!(read(t.rootfs.join("tmp/pwd")), "/var\n");
}

/// [H4] [H11] startContainer hooks have the program's identity: user, groups, capabilities, limits, umask, filter, and
/// its environment unless they give one; also where loading the filter takes a privilege.
#[test]
fn start_container_is_the_program_s_twin() {
    for no_new_privileges in [true, false] {
        let mut t = Test::new();
        t.config
            .set("process.noNewPrivileges", no_new_privileges)
            .set("process.user", json!({ "uid": 1000, "gid": 1001, "additionalGids": [7], "umask": 0o27 }))
            .set("process.env", json!(["PATH=/bin", "A=1"]))
            .set(
                "linux.seccomp",
                json!({ "defaultAction": "SCMP_ACT_ALLOW",
                        "syscalls": [{ "names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO" }] }),
            );
        let look = |name: &str| {
            format!(
                "grep -E '^(Uid|Gid|Groups|Cap|NoNewPrivs|Seccomp|Umask|Sig)' /proc/self/status > /tmp/{name}; \
                 env | grep -v -E '^(PWD|SHLVL|OLDPWD)=' | sort >> /tmp/{name}; \
                 ulimit -n >> /tmp/{name}; mkdir /tmp/dir 2>> /tmp/{name}"
            )
        };
        let own = json!({"path": "/bin/sh", "args": ["sh", "-c", "echo $A-$B > /tmp/own"], "env": ["PATH=/bin", "B=2"]});
        t.config.set("hooks.startContainer", json!([hook(&format!("{}; true", look("hook"))), own]));
        t.sh(&format!("{}; true", look("program")));
        t.run().ok();
        let (hook, program) = (read(t.rootfs.join("tmp/hook")), read(t.rootfs.join("tmp/program")));
        if davit_only() {
            assert_eq!(hook, program, "no_new_privs {no_new_privileges}");
            assert!(hook.contains("Seccomp:\t2") && hook.contains("not permitted"), "{hook}");
        }
        assert!(hook.contains("A=1\n") && hook.contains("Umask:\t0027"), "{hook}");
        assert_eq!(read(t.rootfs.join("tmp/own")), "-2\n");
        let owner = std::fs::metadata(t.rootfs.join("tmp/hook")).unwrap();
        assert_eq!((owner.uid(), owner.gid()), (1000, 1001));
    }
}

/// [H14] [H18] [S11] a failing createContainer hook: the error has its words, the container is gone, poststop hooks ran.
#[test]
fn failing_create_container() {
    for verb in ["create", "run"] {
        let mut t = Test::new();
        let poststop = hook(&format!("cat > {}/poststop.json", t.dir.display()));
        t.config.set("hooks.poststop", json!([poststop]));
        t.config.set("hooks.createContainer", json!([hook("true"), hook("echo out; echo err >&2; exit 3")]));
        t.sh("echo started");
        let output = t.bundle_cmd(verb, &[]).output();
        let output = output.fails(1, "error running createContainer hook #1: exit status 3, stdout: out");
        output.says("stderr: err");
        if davit_only() {
            assert_eq!(json_of(t.dir.join("poststop.json"))["status"], "stopped");
        }
        t.assert_clean();
    }
}

/// [H2] [H10] [H14] a path that is only in the container is not there for createContainer, and the error names it.
#[test]
fn create_container_path_is_the_host_s() {
    let mut t = Test::new();
    host::copy_program(t.rootfs.join("bin/busybox"), t.rootfs.join("bin/only-inside"));
    t.config.set("hooks.createContainer", json!([{ "path": "/bin/only-inside" }]));
    t.create().fails(1, "/bin/only-inside: no such file or directory");
    t.assert_clean();
    t.config.remove("hooks.createContainer");
    t.config.set("hooks.startContainer", json!([{ "path": "/bin/only-inside", "args": ["true"] }]));
    assert_eq!(t.out("echo up"), "up");
}

/// [H2] [H11] a path that is only on the host is not there for startContainer.
#[test]
fn start_container_path_is_the_container_s() {
    only_davit!(); // runc's start may return before the hook has failed
    let mut t = Test::new();
    let outside = t.dir.join("outside");
    host::copy_program(t.rootfs.join("bin/busybox"), &outside);
    t.config.set("hooks.startContainer", json!([{ "path": outside, "args": ["true"] }]));
    t.create().ok();
    t.verb(&["start"]).fails(1, "outside: no such file or directory");
    t.assert_clean_but_pid_file();
}

/// [H15] [H18] a failing startContainer hook: an error from start, the program never runs, the container is stopped
/// and, as the specification wants it, deleted, with its poststop hooks.
#[test]
fn failing_start_container() {
    only_davit!(); // runc's start may return before the hook has failed
    let mut t = Test::new();
    let poststop = hook(&format!("cat > {}/poststop.json", t.dir.display()));
    t.config.set("hooks.poststop", json!([poststop]));
    t.config.set("hooks.startContainer", json!([hook("true"), hook("echo out; echo err >&2; exit 3")]));
    t.sh("touch /tmp/started");
    t.create().ok();
    let text = "error running startContainer hook #1: exit status 3, stdout: out, stderr: err";
    t.verb(&["start"]).fails(1, text);
    t.verb(&["state"]).fails(1, "does not exist");
    assert_eq!(json_of(t.dir.join("poststop.json"))["status"], "stopped");
    assert!(!t.rootfs.join("tmp/started").exists());
    t.assert_clean_but_pid_file();
}

/// [H15] the same with run.
#[test]
fn failing_start_container_in_run() {
    only_davit!(); // runc exits with 255
    for options in [&[][..], &["--detach"][..]] {
        let mut t = Test::new();
        let poststop = hook(&format!("touch {}/poststop", t.dir.display()));
        t.config.set("hooks.poststop", json!([poststop]));
        t.config.set("hooks.startContainer", json!([{ "path": "/bin/false" }]));
        t.sh("touch /tmp/started");
        t.bundle_cmd("run", options).output().fails(1, "error running startContainer hook #0: exit status 1");
        assert!(!t.rootfs.join("tmp/started").exists());
        assert!(t.dir.join("poststop").exists());
        t.assert_clean();
    }
}

/// [H18] much output: the error keeps the beginning of both streams, and the hook is not blocked by it.
#[test]
fn much_output() {
    only_davit!();
    let mut t = Test::new();
    let script = "head -c 300000 /dev/zero | tr '\\0' x; head -c 300000 /dev/zero | tr '\\0' y >&2; exit 1";
    t.config.set("hooks.createContainer", json!([hook(script)]));
    let output = t.create().fails(1, "error running createContainer hook #0: exit status 1, stdout: xxx");
    output.says(", stderr: yyyy");
    t.assert_clean();
}

/// [H5] a hook that takes too long is killed with its children, in the container too, and nothing is left.
#[test]
fn slow_hooks() {
    only_davit!(); // runc's start may return before the hook has failed
    for own_pid_namespace in [true, false] {
        for kind in ["createContainer", "startContainer"] {
            let mut t = Test::new();
            if !own_pid_namespace {
                t.config.leave("pid");
            }
            let mut slow = hook("sleep 61 & (setsid sleep 62 &) ; sleep 63");
            slow["timeout"] = json!(1);
            t.config.set(&format!("hooks.{kind}"), json!([slow]));
            let begin = Instant::now();
            t.run()
                .fails(1, &format!("error running {kind} hook #0: hook ran past specified timeout of 1.0s"));
            assert!(begin.elapsed() < Duration::from_secs(10));
            t.assert_clean();
        }
    }
}

/// [H5] [H11] what a successful hook leaves in the background goes on.
#[test]
fn background_process_of_a_hook() {
    let mut t = Test::new();
    let mut daemon = hook("(sleep 64 > /dev/null 2>&1 < /dev/null &); exit 0");
    daemon["timeout"] = json!(10);
    t.config.set("hooks.startContainer", json!([daemon]));
    // The shell between may not have become sleep yet.
    let look = "i=0; until ps -o args | grep -q '^sleep 64' || [ $i = 500 ]; do usleep 10000; i=$((i+1)); done; \
                ps -o args | grep -c '^sleep 64'";
    assert_eq!(t.out(look), "1");
    t.assert_clean();
}

/// [H5] a hook that is in time has all of it.
#[test]
fn in_time() {
    let mut t = Test::new();
    let mut slow = hook("sleep 0.3; touch /tmp/done");
    slow["timeout"] = json!(10);
    t.config.set("hooks.startContainer", json!([slow]));
    assert_eq!(t.out("ls /tmp"), "done");
}

/// [H10] [N10] in a user namespace the hook runs as its root.
#[test]
fn create_container_in_a_user_namespace() {
    let mut t = Test::new();
    t.user_namespace();
    let script =
        "read inside outside count < /proc/self/uid_map; echo $(id -u) $inside $outside; cat; exit 3";
    t.config.set("hooks.createContainer", json!([hook(script)]));
    let output = t.create().fails(1, "stdout: 0 0 100000");
    output.says("\"pid\":1,");
    t.assert_clean();
}

/// [H7] [H10] [H11] in a pid namespace that is joined the hooks are told the pid that init has there.
#[test]
fn pid_in_a_joined_namespace() {
    let mut a = Test::new();
    a.sh("exec sleep 30");
    a.detach();
    let mut b = a.sibling();
    b.config.join("pid", &format!("/proc/{}/ns/pid", a.pid()));
    let create = hook(&format!("cat > {}/state.json", b.dir.display()));
    b.config.set("hooks.createContainer", json!([create]));
    b.config.set("hooks.startContainer", json!([hook("cat > /tmp/state.json")]));
    let own = b.out("echo $$");
    assert_ne!(own, "1");
    for path in [b.dir.join("state.json"), b.rootfs.join("tmp/state.json")] {
        assert_eq!(json_of(path)["pid"].to_string(), own);
    }
}

/// [H6] a hook that does not read its stdin is no fault, and SIGPIPE is as ever for hook and program.
#[test]
fn unread_state() {
    for own_pid_namespace in [true, false] {
        let mut t = Test::new();
        if !own_pid_namespace {
            t.config.leave("pid");
        }
        t.config.set("annotations", json!({ "com.example.large": "x".repeat(200_000) }));
        let dir = t.dir.display();
        let counts = format!(
            "wc -c > {dir}/count; sed -n 's/^SigIgn:.*\\(.\\)...$/\\1/p' /proc/self/status > {dir}/ignored"
        );
        t.config.set("hooks.createContainer", json!([{ "path": "/bin/true" }, hook(&counts)]));
        let counts =
            "wc -c > /tmp/count; sed -n 's/^SigIgn:.*\\(.\\)...$/\\1/p' /proc/self/status > /tmp/ignored";
        t.config.set("hooks.startContainer", json!([{ "path": "/bin/true" }, hook(counts)]));
        let ignored = t.out("sed -n 's/^SigIgn:.*\\(.\\)...$/\\1/p' /proc/self/status");
        assert_eq!(ignored, "0", "SIGPIPE is 1 of the fourth digit from the right");
        for place in [&t.dir, &t.rootfs.join("tmp")] {
            assert!(read(place.join("count")).trim().parse::<usize>().unwrap() > 200_000);
            assert_eq!(read(place.join("ignored")).trim(), ignored, "{}", place.display());
        }
        t.assert_clean();
    }
}

/// [H7] without a pid namespace it is the host's.
#[test]
fn pid_without_a_namespace() {
    let mut t = Test::new();
    t.config.leave("pid");
    let create = hook(&format!("cat > {}/state.json", t.dir.display()));
    t.config.set("hooks.createContainer", json!([create]));
    t.sh("exec sleep 30");
    t.create().ok();
    assert_eq!(json_of(t.dir.join("state.json"))["pid"], t.pid());
}

/// [Z16] hooks inside get stdio and nothing else, whatever is passed on to the program.
#[test]
fn no_descriptor_leaks() {
    only_davit!(); // runc 1.3's createContainer hooks find more
    let mut t = Test::new();
    let script = "for fd in $(seq 3 40); do test ! -e /proc/self/fd/$fd || exit 9; done";
    t.config.set("hooks.createContainer", json!([hook(script)]));
    t.config.set("hooks.startContainer", json!([hook(script)]));
    t.sh("test -e /proc/self/fd/3 && test -e /proc/self/fd/4 && echo passed");
    let run = t.bundle_cmd("run", &["--preserve-fds", "2"]);
    let out = run.shell("exec 3</dev/null 4</dev/null 7</dev/null; exec \"$@\"").output().ok();
    assert_eq!(out, "passed");
}

/// [S41] [E18] a runtime that is killed while a hook of init runs takes both with it, in any pid namespace.
#[test]
fn killed_runtime() {
    only_davit!();
    for own_pid_namespace in [true, false] {
        for kind in ["createContainer", "startContainer"] {
            let mut t = Test::new();
            if !own_pid_namespace {
                t.config.leave("pid");
            }
            let here = if kind == "createContainer" { "touch tmp/here" } else { "touch /tmp/here" };
            t.config.set(&format!("hooks.{kind}"), json!([hook(&format!("{here}; exec sleep 65"))]));
            t.sh("touch /tmp/started");
            let run = t.bundle_cmd("run", &["--detach"]).spawn();
            host::wait_until("the hook runs", || t.rootfs.join("tmp/here").exists());
            run.kill(Signal::KILL);
            run.wait().code(137);
            host::wait_until("init and the hook are dead", || {
                host::processes(&t.cgroup, &t.dir.join("none")).is_empty()
            });
            t.verb(&["delete", "--force"]).ok();
            assert!(!t.rootfs.join("tmp/started").exists());
            t.assert_clean();
        }
    }
}

/// [S7] [H11] a start that is killed while hooks run: init goes on, and can't be started twice.
#[test]
fn killed_start() {
    only_davit!();
    let mut t = Test::new();
    let script = "touch /tmp/here; while ! test -e /tmp/go; do usleep 5000; done";
    t.config.set("hooks.startContainer", json!([hook(script)]));
    t.sh("echo x >> /tmp/started; exec sleep 30");
    t.create().ok();
    let start = t.cmd(&["start", &t.id]).spawn();
    host::wait_until("the hook runs", || t.rootfs.join("tmp/here").exists());
    start.kill(Signal::KILL);
    start.wait().code(137);
    t.verb(&["start"]).fails(1, "cannot start a container that is being started already");
    t.file("tmp/go", "");
    t.wait_status("running");
    t.verb(&["start"]).fails(1, "already running");
    host::wait_until("the program", || t.rootfs.join("tmp/started").exists());
    assert_eq!(read(t.rootfs.join("tmp/started")), "x\n");
    t.verb(&["delete", "--force"]).ok();
    t.assert_clean_but_pid_file();
}
