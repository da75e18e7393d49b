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
