//! Hooks in the runtime's namespaces: prestart, createRuntime, poststart, poststop.

use crate::support::*;
use serde_json::{Value, json};

/// A hook that notes its kind, and the state from its stdin beside it.
fn note(t: &Test, kind: &str) -> Value {
    let script = format!("echo {kind} >> {0}/order; cat > {0}/{kind}.json", t.dir.display());
    json!({"path": "/bin/sh", "args": ["sh", "-c", script]})
}

fn state(t: &Test, kind: &str) -> Value {
    let text = std::fs::read_to_string(t.dir.join(format!("{kind}.json"))).unwrap();
    assert_eq!(text.lines().count(), 1, "one line: {text}");
    serde_json::from_str(&text).unwrap()
}

/// [H1] [H3] [H6] [H7] [H8] [H9] [H12] [H13] [S15] in order, each with the state of its moment; poststart after the
/// program was executed and before start returns.
#[test]
fn order_and_state() {
    only_davit!(); // runc 1.1 runs poststart hooks before the program
    let mut t = Test::new();
    for kind in ["prestart", "createRuntime", "poststart", "poststop"] {
        let hook = note(&t, kind);
        t.config.set(&format!("hooks.{kind}"), json!([hook]));
    }
    t.sh("sleep 30");
    t.create().ok();
    let pid = t.pid();
    let order = || std::fs::read_to_string(t.dir.join("order")).unwrap();
    assert_eq!(order(), "prestart\ncreateRuntime\n");
    t.verb(&["start"]).ok();
    let comm = std::fs::read_to_string(format!("/proc/{pid}/comm")).unwrap();
    assert!(!comm.contains("init"), "start came back before execve: {comm}");
    assert_eq!(order(), "prestart\ncreateRuntime\npoststart\n");
    t.verb(&["delete", "--force"]).ok();
    assert!(order().ends_with("poststop\n"));
    for (kind, status) in [
        ("prestart", "creating"),
        ("createRuntime", "creating"),
        ("poststart", "running"),
        ("poststop", "stopped"),
    ] {
        let state = state(&t, kind);
        assert_eq!(state["status"], status, "{kind}");
        assert_eq!(state["id"], t.id.as_str());
        assert_eq!(state["bundle"], t.dir.join("bundle").to_str().unwrap());
        let seen = state["pid"].as_i64().unwrap_or(0);
        assert_eq!(seen, if kind == "poststop" { 0 } else { i64::from(pid) }, "{kind}");
    }
    t.assert_clean_but_pid_file();
}

/// [H13] [S41] poststop hooks of a create that was killed when others of its hooks had run: by the next create of its ID.
#[test]
fn poststop_after_a_killed_create() {
    only_davit!();
    let mut t = Test::new();
    let poststop = note(&t, "poststop");
    t.config.set("hooks.poststop", json!([poststop]));
    let killer = json!({"path": "/bin/sh", "args": ["sh", "-c", "kill -9 $PPID; sleep 30"]});
    t.config.set("hooks.createRuntime", json!([killer]));
    t.sh("sleep 30");
    t.create().code(137);
    assert!(!t.dir.join("order").exists());
    t.config.remove("hooks");
    t.create().ok();
    assert_eq!(std::fs::read_to_string(t.dir.join("order")).unwrap(), "poststop\n");
    assert_eq!(state(&t, "poststop")["status"], "stopped");
    assert_eq!(t.status(), "created");
    t.verb(&["delete"]).ok();
    t.assert_clean_but_pid_file();
}

/// [H14] [H18] [S11] a failing createRuntime hook: its output in the error, nothing left, poststop hooks run.
#[test]
fn failing_create_runtime() {
    let mut t = Test::new();
    let poststop = note(&t, "poststop");
    t.config.set("hooks.poststop", json!([poststop]));
    let fails = json!({"path": "/bin/sh", "args": ["sh", "-c", "echo out; echo err >&2; exit 3"]});
    t.config.set("hooks.createRuntime", json!([{"path": "/bin/true"}, fails]));
    let output = t.create().fails(1, "error running createRuntime hook #1: exit status 3");
    if davit_only() {
        output.says("stdout: out");
        output.says("stderr: err");
        assert!(t.dir.join("poststop.json").exists());
    }
    t.assert_clean();
}

/// [H5] a hook that takes too long is killed.
#[test]
fn slow_hook() {
    let mut t = Test::new();
    t.config
        .set("hooks.createRuntime", json!([{"path": "/bin/sleep", "args": ["sleep", "60"], "timeout": 1}]));
    t.create().fails(1, "hook ran past specified timeout of 1");
    t.assert_clean();
}

/// [H5] killed with its children, also those that went to a session of their own.
#[test]
fn slow_hook_with_children() {
    only_davit!(); // runc kills the hook only
    let mut t = Test::new();
    let pids = t.path("pids");
    let script = format!(
        "sleep 71 & echo $! >> {pids}; setsid sh -c 'echo $$ >> {pids}; exec sleep 72' & \
         (setsid sh -c 'echo $$ >> {pids}; sleep 73' &); sleep 74"
    );
    // A slow machine does not start them all in a second.
    let started = [1, 5, 25].into_iter().find_map(|timeout| {
        let hook = json!({"path": "/bin/sh", "args": ["sh", "-c", script], "timeout": timeout});
        t.config.set("hooks.createRuntime", json!([hook]));
        t.create().fails(1, &format!("hook ran past specified timeout of {timeout}.0s"));
        let started = std::fs::read_to_string(&pids).unwrap_or_default();
        let _ = std::fs::remove_file(&pids);
        (started.lines().count() == 3).then_some(started)
    });
    let pids = started.expect("three children");
    for pid in pids.lines() {
        let pid = pid.parse().unwrap();
        host::wait_until("the child is dead", || !host::alive(pid));
    }
    t.assert_clean();
}

/// [H5] [H9] what a successful hook leaves in the background goes on, with a time limit too.
#[test]
fn background_process_of_a_hook() {
    let mut t = Test::new();
    let file = t.path("background");
    let script = format!("sleep 75 > /dev/null 2>&1 < /dev/null & echo $! > {file}");
    t.config.set(
        "hooks.createRuntime",
        json!([{"path": "/bin/sh", "args": ["sh", "-c", script], "timeout": 10}]),
    );
    t.create().ok();
    let pid = std::fs::read_to_string(&file).unwrap().trim().parse().unwrap();
    assert!(host::alive(pid));
    host::kill(pid);
    host::wait_until("it is dead", || !host::alive(pid));
}

/// [S41] a createRuntime hook ends with the runtime: without that the container is nothing.
#[test]
fn killed_runtime() {
    only_davit!();
    let mut t = Test::new();
    let file = t.path("hook");
    let script = format!("echo $$ > {file}.new; mv {file}.new {file}; exec sleep 76");
    t.config.set("hooks.createRuntime", json!([{"path": "/bin/sh", "args": ["sh", "-c", script]}]));
    let create = t.bundle_cmd("create", &[]).spawn();
    host::wait_until("the hook runs", || std::path::Path::new(&file).exists());
    let pid = std::fs::read_to_string(&file).unwrap().trim().parse().unwrap();
    create.kill(rustix::process::Signal::KILL);
    create.wait().code(137);
    host::wait_until("it is dead", || !host::alive(pid));
    t.verb(&["delete", "--force"]).ok();
    t.assert_clean();
}

/// [H2] no search in PATH, for any kind: an error before anything is made.
#[test]
fn relative_path() {
    only_davit!(); // runc finds out when the hook's time comes
    for kind in ["prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop"] {
        let mut t = Test::new();
        t.config.set(&format!("hooks.{kind}"), json!([{"path": "true"}]));
        t.create().fails(1, &format!("hooks.{kind}[0].path: true is not an absolute path"));
        t.assert_clean();
    }
}

/// [H3] without args the program's path is its name; [H4] without env it has the runtime's, with it exactly that.
#[test]
fn args_and_env() {
    let mut t = Test::new();
    let dir = t.dir.display();
    let look = |name: &str| format!("tr '\\0' '\\n' < /proc/$$/environ > {dir}/{name}");
    let bare = t.dir.join("bare");
    host::make_program(|| std::fs::write(&bare, format!("#!/bin/sh\necho $0 $# > {dir}/args\n"))).unwrap();
    std::fs::set_permissions(&bare, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    t.config.set(
        "hooks.createRuntime",
        json!([
            {"path": "/bin/sh", "args": ["sh", "-c", look("inherited")]},
            {"path": "/bin/sh", "args": ["sh", "-c", look("given")], "env": ["PATH=/bin:/usr/bin", "A=1=2"]},
            {"path": bare},
        ]),
    );
    let path = std::env::var("PATH").unwrap();
    let create = t.bundle_cmd("create", &[]).only_env(&[("PATH", &path), ("OF_CALLER", "yes")]);
    create.output().ok();
    let read = |name: &str| std::fs::read_to_string(t.dir.join(name)).unwrap();
    assert!(read("inherited").contains("OF_CALLER=yes\n"));
    let given = read("given");
    let mut given: Vec<_> = given.lines().filter(|line| !line.starts_with("PWD=")).collect();
    given.sort_unstable();
    assert_eq!(given, ["A=1=2", "PATH=/bin:/usr/bin"]);
    assert_eq!(read("args"), format!("{} 0\n", bare.display()));
}

/// [H9] [H12] [H13] no signal is blocked in a hook, whatever the runtime holds back meanwhile.
#[test]
fn signals_of_a_hook() {
    only_davit!();
    let mut t = Test::new();
    for kind in ["prestart", "createRuntime", "createContainer", "poststart", "poststop"] {
        let script = format!("exec grep SigBlk /proc/self/status >> {}", t.path(kind));
        t.config.set(&format!("hooks.{kind}"), json!([{"path": "/bin/sh", "args": ["sh", "-c", script]}]));
    }
    t.sh("true");
    let none = "SigBlk:\t0000000000000000\n";
    let seen = |kind: &str| std::fs::read_to_string(t.path(kind)).unwrap();
    t.run().ok();
    t.detach();
    t.wait_status("stopped");
    t.verb(&["delete"]).ok();
    for kind in ["prestart", "createRuntime", "createContainer", "poststart", "poststop"] {
        assert_eq!(seen(kind), none.repeat(2), "{kind}");
    }
    t.assert_clean_but_pid_file();
}

/// [H6] a hook that does not read its stdin is no fault, one that does finds the end of it.
#[test]
fn unread_state() {
    let mut t = Test::new();
    t.config.set("annotations", json!({ "com.example.large": "x".repeat(200_000) }));
    let counts = format!("wc -c > {}", t.path("count"));
    let list = json!([{"path": "/bin/true"}, {"path": "/bin/sh", "args": ["sh", "-c", counts]}]);
    t.config.set("hooks.createRuntime", list);
    t.create().ok();
    let count: usize = std::fs::read_to_string(t.path("count")).unwrap().trim().parse().unwrap();
    assert!(count > 200_000, "{count}");
}

/// [H9] prestart and createRuntime run when the container's namespaces and mounts are there, and a network device
/// that they put into it is the program's.
#[test]
fn network_device_of_a_hook() {
    let mut t = Test::new();
    let tool = "/usr/sbin/ip";
    need!(std::path::Path::new(tool).exists(), "no ip(8)");
    let made =
        Cmd::new(&t.dir, [tool, "link", "add", "dvhk0", "type", "veth", "peer", "name", "dvhk1"]).output();
    need!(made.code == 0, "no veth devices in this kernel");
    let script = format!(
        "pid=$(sed 's/.*\"pid\":\\([0-9]*\\).*/\\1/'); {tool} link set dvhk1 netns $pid name eth7 && \
         test -e /proc/$pid/root{}/proc/1 && test \"$(readlink /proc/self/ns/net)\" != \
         \"$(readlink /proc/$pid/ns/net)\"",
        t.rootfs.display()
    );
    t.config.set("hooks.createRuntime", json!([{"path": "/bin/sh", "args": ["sh", "-c", script]}]));
    t.sh("ls /sys/class/net");
    let output = t.run();
    let _ = Cmd::new(&t.dir, [tool, "link", "del", "dvhk0"]).output();
    assert_eq!(output.ok(), "eth7\nlo");
}

/// [H22] [H23] [H24] [H25] every annotation is in `state` and on a hook's stdin, as it was given; none of these means
/// anything to the runtime, least of all `bundle`.
#[test]
fn annotations() {
    let mut t = Test::new();
    let given = json!({
        "bundle.example": "/elsewhere",
        "org.opencontainers.image.os": "plan9",
        "io.kubernetes.cri.container-type": "sandbox",
        "io.kubernetes.cri.sandbox-id": "x",
        "io.container.manager": "cri-o",
        "com.example.empty": "",
        "com.example.text": "\"quotes\", \"pid\":0, ünïcödé\n",
    });
    t.config.set("annotations", given.clone());
    let hook = note(&t, "createRuntime");
    t.config.set("hooks.createRuntime", json!([hook]));
    t.sh("sleep 30");
    t.create().ok();
    assert_eq!(t.state()["annotations"], given);
    assert_eq!(state(&t, "createRuntime")["annotations"], given);
    t.verb(&["delete", "--force"]).ok();
    t.config.set("annotations.bundle", "/elsewhere");
    t.create().ok();
    if davit_only() {
        assert_eq!(t.state()["bundle"], t.bundle.to_str().unwrap());
        assert_eq!(t.state()["annotations"]["bundle"], "/elsewhere", "passed through");
        assert_eq!(state(&t, "createRuntime")["bundle"], t.bundle.to_str().unwrap());
    }
}

/// [Z16] a hook of the runtime gets stdio and nothing else.
#[test]
fn no_descriptor_leaks() {
    let mut t = Test::new();
    let script = "for fd in $(seq 3 60); do test ! -e /proc/self/fd/$fd || exit 9; done";
    t.config.set("hooks.createRuntime", json!([{"path": "/bin/sh", "args": ["sh", "-c", script]}]));
    t.sh("true");
    let run = t.bundle_cmd("run", &["--preserve-fds", "2"]);
    run.shell("exec 3</dev/null 4</dev/null 7</dev/null; exec \"$@\"").output().ok();
}

/// [H16] a failing poststart hook: the container is killed and deleted.
#[test]
fn failing_poststart() {
    only_davit!(); // runc 1.1 leaves the container
    let mut t = Test::new();
    t.config.set("hooks.poststart", json!([{"path": "/bin/false"}]));
    t.sh("sleep 30");
    t.create().ok();
    t.verb(&["start"]).fails(1, "error running poststart hook #0");
    t.verb(&["state"]).fails(1, "does not exist");
    t.assert_clean_but_pid_file();
}

/// [H17] [E13] a failing poststop hook is a warning: the others run, delete succeeds.
#[test]
fn failing_poststop() {
    only_davit!(); // runc 1.1 gives the error
    let mut t = Test::new();
    let second = note(&t, "poststop");
    t.config.set("hooks.poststop", json!([{"path": "/bin/false"}, second]));
    t.create().ok();
    let output = t.verb(&["delete", "--force"]);
    assert_eq!(output.code, 0);
    output.says("level=warning");
    assert!(t.dir.join("poststop.json").exists());
    t.assert_clean_but_pid_file();
}

/// [S6] [S7] a created container has the socket on which its init waits; start takes it away.
#[test]
fn start_socket() {
    only_davit!();
    let mut t = Test::new();
    t.sh("sleep 30");
    t.create().ok();
    let socket = t.dir.join("state").join(&t.id).join("start.sock");
    assert!(socket.exists());
    t.verb(&["start"]).ok();
    assert!(!socket.exists());
}
