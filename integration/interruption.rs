//! Ctrl-C and kill(1) while a container is being made: one line, nothing left, no waiting.

use crate::support::*;
use nix::sys::signal::Signal::SIGINT;
use rustix::process::Signal;
use std::path::Path;

/// The runtime, ended by `signal` while a hook of `kind` hangs.
#[track_caller]
fn interrupted(kind: &str, verb: &str, options: &[&str], signal: Signal) -> Output {
    let mut t = Test::new();
    // Hooks inside the container see its tree: the mark is in the rootfs, which is at / for the last kind.
    let mark = t.rootfs.join("tmp/mark");
    let seen = if kind == "startContainer" { "/tmp/mark".to_string() } else { mark.display().to_string() };
    let script = format!("echo > {seen}; exec sleep 60");
    t.config.set(&format!("hooks.{kind}"), json!([{"path": "/bin/sh", "args": ["sh", "-c", script]}]));
    let poststop = format!("echo >> {}", t.path("poststop"));
    t.config.set("hooks.poststop", json!([{"path": "/bin/sh", "args": ["sh", "-c", poststop]}]));
    t.sh("sleep 60");
    let running = t.bundle_cmd(verb, options).spawn();
    host::wait_until("the hook runs", || mark.exists());
    running.kill(signal);
    let output = running.wait();
    t.assert_clean();
    assert!(Path::new(&t.path("poststop")).exists(), "poststop hooks are run");
    output
}

/// [E18] [S11] in a hook of the runtime.
#[test]
fn in_a_hook() {
    only_davit!();
    interrupted("createRuntime", "run", &[], Signal::INT).fails(1, "interrupted by SIGINT");
    interrupted("createRuntime", "run", &["--detach"], Signal::TERM).fails(1, "interrupted by SIGTERM");
    interrupted("prestart", "create", &[], Signal::HUP).fails(1, "interrupted by SIGHUP");
    interrupted("poststart", "run", &[], Signal::QUIT).fails(1, "interrupted by SIGQUIT");
}

/// [E18] [S11] in a hook that init runs: the parent waits for init.
#[test]
fn in_a_hook_inside() {
    only_davit!();
    interrupted("createContainer", "create", &[], Signal::INT).fails(1, "interrupted by SIGINT");
    interrupted("startContainer", "run", &[], Signal::TERM).fails(1, "interrupted by SIGTERM");
}

/// A signal that the caller ignores (nohup) ends nothing.
#[test]
fn what_is_ignored_does_not_interrupt() {
    only_davit!();
    let mut t = Test::new();
    let (mark, go) = (t.path("mark"), t.path("go"));
    let script = format!("echo > {mark}; until [ -e {go} ]; do sleep 0.05; done");
    t.config.set("hooks.createRuntime", json!([{"path": "/bin/sh", "args": ["sh", "-c", script]}]));
    t.sh("echo up");
    let running = t.bundle_cmd("run", &[]).shell("trap '' HUP; exec \"$@\"").spawn();
    host::wait_until("the hook runs", || Path::new(&mark).exists());
    running.kill(Signal::HUP);
    std::fs::write(&go, "").unwrap();
    assert_eq!(running.wait().ok(), "up");
}

/// Before anything is made a signal has its usual effect: here nobody writes the config.json that is read.
#[test]
fn while_config_json_is_read() {
    only_davit!();
    let t = Test::new();
    let path = t.bundle.join("config.json");
    rustix::fs::mknodat(rustix::fs::CWD, &path, rustix::fs::FileType::Fifo, rustix::fs::Mode::RWXU, 0)
        .unwrap();
    for verb in ["run", "create"] {
        let running = t.cmd(&[verb, "--bundle", t.bundle.to_str().unwrap(), &t.id]).spawn();
        let stat = format!("/proc/{}/syscall", running.pid());
        // openat (glibc) or open (musl) waits for a writer.
        let opening = || {
            std::fs::read_to_string(&stat)
                .is_ok_and(|text| text.starts_with("257 ") || text.starts_with("2 "))
        };
        if cfg!(target_arch = "x86_64") {
            host::wait_until("it opens the file", opening);
        }
        running.kill(Signal::INT);
        assert_eq!(running.wait().code, 130);
        assert!(!t.root.exists());
    }
}

/// [E18] [S11] [S41] Ctrl-C at 20 points of create and of run: the container is there, or nothing is.
#[test]
fn anywhere() {
    only_davit!();
    for verb in ["create", "run"] {
        let mut t = Test::docker();
        t.sh("true");
        let cmd = || t.bundle_cmd(verb, &[]);
        let (total, code) = trace::signal_at(cmd(), 0, SIGINT);
        assert_eq!(code, 0);
        t.verb(&["delete", "--force"]).ok();
        for n in 0..20 {
            let at = 1 + n * (total - 1) / 19;
            let (_, code) = trace::signal_at(cmd(), at, SIGINT);
            assert!(matches!(code, 0 | 1 | 130), "{verb} at call {at} of {total}: {code}");
            if verb == "create" && code == 0 {
                assert_eq!(t.status(), "created", "at call {at} of {total}");
                t.verb(&["delete"]).ok();
            }
            t.assert_clean();
        }
    }
}

/// [S33] A signal that asks nobody to end is the program's, also when it comes while a hook holds it up.
#[test]
fn others_wait_for_the_program() {
    only_davit!(); // runc's hooks come before it takes signals
    for kind in ["createRuntime", "createContainer"] {
        let mut t = Test::new();
        // As process 1 of a namespace it would be spared by the kernel.
        t.config.leave("pid");
        let (mark, go) = (t.path("mark"), t.path("go"));
        let script = format!("echo > {mark}; until [ -e {go} ]; do sleep 0.05; done");
        t.config.set(&format!("hooks.{kind}"), json!([{"path": "/bin/sh", "args": ["sh", "-c", script]}]));
        t.sh("exec sleep 60");
        let running = t.bundle_cmd("run", &[]).spawn();
        host::wait_until("the hook runs", || Path::new(&mark).exists());
        running.kill(Signal::USR1);
        running.kill(Signal::WINCH);
        std::fs::write(&go, "").unwrap();
        running.wait().code(138);
        t.assert_clean();
    }
}
