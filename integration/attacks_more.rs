//! Hostile circumstances: callers with odd signal dispositions, few descriptors, an init that does not answer.

use std::time::{Duration, Instant};

use crate::support::*;

/// [R11] [S33] A caller that ignores SIGCHLD: init and hooks are reaped all the same.
#[test]
fn sigchld_ignored_by_the_caller() {
    let mut t = Test::docker();
    t.sh("exit 7");
    t.config.set("hooks", json!({ "createRuntime": [{ "path": "/bin/true" }] }));
    t.write();
    t.bundle_cmd("run", &[]).shell("trap '' CHLD; exec \"$@\"").output().code(7);
    t.assert_clean();
}

/// [S12] What init says last is heard although it ended before it read the runtime's word: every time.
#[test]
fn early_failures_have_their_reason() {
    only_davit!();
    let mut t = Test::new();
    t.config.mount("/nowhere", "bind", "/nonexistent/source", &["bind"]);
    t.write();
    for _ in 0..20 {
        t.run().fails(1, "open source /nonexistent/source: no such file or directory");
    }
}

/// [R8] [S11] Too few descriptors: one line, and nothing is left, wherever they run out.
#[test]
fn few_descriptors() {
    only_davit!();
    let mut t = Test::docker();
    t.config.remove("process.rlimits");
    t.sh("exit 0");
    t.write();
    let mut failed = 0;
    for limit in 4..24 {
        let script = format!("ulimit -n {limit} && exec \"$@\"");
        let output = t.bundle_cmd("run", &[]).shell(&script).output();
        assert!(output.code <= 1, "with {limit} descriptors: {output}");
        if output.code == 1 {
            failed += 1;
            assert_eq!(output.stderr.trim_end().lines().count(), 1, "with {limit} descriptors: {output}");
            output.says("too many open files");
        }
        let _ = std::fs::remove_file(&t.pid_file);
        t.assert_clean();
    }
    assert!(failed > 0, "the limit was never too low");
}

/// [R15] [M45] More bind mounts than descriptors, also where their sources are opened before the user namespace.
#[test]
fn more_binds_than_descriptors() {
    only_davit!();
    for user in [false, true] {
        let mut t = Test::new();
        if user {
            t.config.user_namespace();
        }
        t.config.remove("process.rlimits");
        let source = t.path("source");
        std::fs::create_dir(&source).unwrap();
        for number in 0..200 {
            // The user namespace's root may not make mount points in a rootfs of somebody else.
            std::fs::create_dir_all(t.rootfs.join(format!("m/{number}"))).unwrap();
            t.config.mount(&format!("/m/{number}"), "bind", &source, &["rbind", "ro"]);
        }
        t.sh("grep -c ' /m/' /proc/self/mountinfo");
        t.write();
        let output = t.bundle_cmd("run", &[]).shell("ulimit -n 64 && exec \"$@\"").output();
        assert_eq!(output.ok().trim(), "200", "user namespace: {user}");
    }
}

/// [R4] An init that a signal has stopped: `start` says so and does not wait for ever.
#[test]
fn start_of_a_stopped_init() {
    only_davit!();
    let mut t = Test::docker();
    t.sh("exec sleep 30");
    t.write();
    t.create().ok();
    let pid = t.pid();
    t.rt(&["kill", &t.id, "STOP"]).ok();
    host::wait_until("init is stopped", || host::process_state(pid) == Some('T'));
    let begin = Instant::now();
    t.verb(&["start"]).fails(1, &format!("container init (pid {pid}) does not answer: its state is T"));
    assert!(begin.elapsed() < Duration::from_secs(10));
    t.rt(&["kill", &t.id, "CONT"]).ok();
    host::wait_until("it goes on", || t.status() == "running");
}

/// [H7] [S5] Who asks while createRuntime hooks run is told `creating`, and afterwards `created`.
#[test]
fn creating_during_hooks() {
    only_davit!();
    let mut t = Test::docker();
    t.sh("exec sleep 30");
    let seen = t.path("seen");
    let ask = t.cmd(&["state", &t.id]).into_args();
    let ask: Vec<_> = ask.iter().map(|word| format!("'{}'", word.to_string_lossy())).collect();
    let script = format!("{} > {seen}", ask.join(" "));
    t.config.set(
        "hooks",
        json!({ "createRuntime": [{ "path": "/bin/sh", "args": ["sh", "-c", script], "timeout": 10 }] }),
    );
    t.write();
    t.create().ok();
    let state: Value = serde_json::from_str(&std::fs::read_to_string(&seen).unwrap()).unwrap();
    assert_eq!(state["status"], "creating");
    assert_eq!(t.status(), "created");
}
