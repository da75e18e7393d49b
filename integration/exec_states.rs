//! `exec`: the states that allow it, its exit codes and texts, signals.

use crate::support::*;
use rustix::process::Signal;

/// [S26] [V24] A created container, whose init waits for `start`.
#[test]
fn created_is_allowed() {
    let mut t = Test::new();
    t.sh("exec sleep 1000").create().ok();
    assert_eq!(t.exec(&[], "hostname; readlink /proc/self/ns/mnt").ok().lines().next(), Some("plain"));
    assert_eq!(t.status(), "created");
    t.verb(&["start"]).ok();
    assert_eq!(t.exec(&[], "echo up").ok(), "up");
}

/// [S26] [E8] [E9]
#[test]
fn stopped_and_missing_are_refused() {
    let mut t = Test::new();
    t.exec(&[], "true").fails(255, "container does not exist");
    t.sleeper();
    t.verb(&["kill", "--all"]).ok();
    t.cmd(&["kill", &t.id, "KILL"]).output();
    t.wait_status("stopped");
    let output = t.exec(&[], "true");
    output.fails(255, "cannot exec in a stopped container");
}

/// [S26] [V41]
#[test]
fn paused_is_refused_or_waits() {
    let mut t = Test::new();
    t.sleeper();
    t.verb(&["pause"]).ok();
    t.exec(&[], "true").fails(255, "cannot exec in a paused container (use --ignore-paused to override)");
    let waiting = t.exec_cmd(&["--ignore-paused"], &["echo", "up"]).spawn();
    std::thread::sleep(std::time::Duration::from_millis(100));
    assert_eq!(waiting.stdout(), "");
    t.verb(&["resume"]).ok();
    assert_eq!(waiting.wait().ok(), "up");
    assert_eq!(t.exec(&["--ignore-paused"], "echo also").ok(), "also");
}

/// [V41] Who waits for a thaw can be interrupted.
#[test]
fn waiting_for_a_thaw_ends_by_a_signal() {
    only_davit!();
    let mut t = Test::new();
    t.sleeper();
    t.verb(&["pause"]).ok();
    let waiting = t.exec_cmd(&["--ignore-paused"], &["echo", "up"]).spawn();
    std::thread::sleep(std::time::Duration::from_millis(100));
    waiting.kill(Signal::TERM);
    assert_eq!(waiting.wait().code(143).stdout, "");
    t.verb(&["resume"]).ok();
}

/// [S27] The program's own code, 128+N, or 255.
#[test]
fn exit_codes() {
    let mut t = Test::new();
    t.sleeper();
    for (script, code) in
        [("true", 0), ("exit 1", 1), ("exit 254", 254), ("kill -TERM $$", 143), ("kill -9 $$", 137)]
    {
        let output = t.exec(&[], script).code(code);
        assert_eq!(output.stderr, "", "{output}");
    }
    t.exec_cmd(&["-d"], &["sh", "-c", "exit 7"]).output().ok();
    t.exec_cmd(&["-d"], &["nothere"]).output().code(255);
}

/// [S27] [E4] [E5] [E6] [E7] [E11] The texts by which callers tell 126 from 127.
#[test]
fn programs_that_cannot_be_executed() {
    let mut t = Test::new();
    t.file("plain", "#!/bin/sh\n");
    let bad = t.file("nointerpreter", "#!/nothere\n");
    std::fs::set_permissions(bad, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    t.sleeper();
    let fails = |program: &str, text: &str| {
        let output = t.exec_cmd(&[], &[program]).output();
        output.says("exec failed: unable to start container process: ");
        output.fails(255, text);
    };
    fails("nothere", "exec: \"nothere\": executable file not found in $PATH");
    fails("/nothere", "exec: \"/nothere\": stat /nothere: no such file or directory");
    fails("/plain", "exec: \"/plain\": permission denied");
    fails("/etc", "exec: \"/etc\": is a directory");
    fails("/bin/sh/x", "not a directory");
    only_davit!();
    fails(
        "/nointerpreter",
        "exec /nointerpreter: no such file or directory (hint: its interpreter is missing",
    );
    t.exec_cmd(&[], &[""]).output().fails(255, "process.args[0]: the program's name must not be empty");
}

/// [S27] [E2] [E3] One record in the log, one line on stderr.
#[test]
fn failures_are_logged_once() {
    only_davit!();
    let mut t = Test::new();
    t.sleeper();
    let log = t.path("log");
    let front = ["--log", &log, "--log-format", "json", "exec", &t.id, "nothere"];
    t.rt(&front).fails(255, "exec failed: ");
    let text = std::fs::read_to_string(&log).unwrap();
    let record: Value = serde_json::from_str(&text).expect("one JSON object");
    assert_eq!(record["level"], "error");
    assert!(
        record["msg"].as_str().unwrap().starts_with("exec failed: unable to start container process: exec: ")
    );
}

/// [S27] [G9] Also a wrong command line: any other code could be the program's.
#[test]
fn wrong_command_lines() {
    only_davit!();
    let mut t = Test::new();
    t.sleeper();
    let fails = |args: &[&str], text: &str| {
        let output = t.rt(&[&["exec"], args].concat());
        assert_eq!(output.code, 255, "{output}");
        output.says(text);
    };
    let file = t.path("process.json");
    fails(&["--nosuch", &t.id, "true"], "flag provided but not defined: -nosuch");
    fails(&[], "\"exec\" requires a minimum of 1 argument");
    fails(&[&t.id], "process args cannot be empty");
    fails(&["-p", &file, &t.id, "true"], "give one of both");
    fails(&["-p", &file, &t.id], "no such file or directory");
    fails(&["--preserve-fds", "x", &t.id, "true"], "invalid value \"x\" for flag -preserve-fds");
    fails(&["--preserve-fds", "1", &t.id, "true"], "file descriptor 3 is not open");
    fails(&["../x", "true"], "invalid container ID format");
}

/// [S33] [S27] Signals to the runtime go to the program; a stop and a window change do not end anything.
#[test]
fn signals_are_passed_on() {
    let mut t = Test::new();
    t.sleeper();
    let script = "trap 'echo got USR1' USR1; trap 'echo got TERM; exit 9' TERM; echo ready; while :; do sleep 0.1; done";
    let running = t.exec_cmd(&[], &["sh", "-c", script]).spawn();
    host::wait_until("ready", || running.stdout().contains("ready"));
    running.kill(Signal::USR1);
    host::wait_until("USR1", || running.stdout().contains("got USR1"));
    running.kill(Signal::WINCH);
    running.kill(Signal::TERM);
    assert!(running.wait().code(9).stdout.ends_with("got TERM\n"));
}

/// [S28] What the caller ignores or blocks is not handed on.
#[test]
fn signals_of_the_caller_do_not_leak_in() {
    let mut t = Test::new();
    t.sleeper();
    let cmd = t.exec_cmd(&[], &["cat", "/proc/self/status"]).shell("trap '' HUP INT USR2; exec \"$@\"");
    let status = cmd.output().ok();
    for name in ["SigIgn", "SigBlk"] {
        assert_eq!(host::field(&status, name), "0".repeat(16), "{name}");
    }
}

/// [S26] [S16] A pid that belongs to somebody else by now is not init.
#[test]
fn a_used_pid_is_not_joined() {
    only_davit!();
    let mut t = Test::new();
    t.sleeper();
    let file = t.root.join(&t.id).join("state.json");
    let whole = std::fs::read_to_string(&file).unwrap();
    let mut state: Value = serde_json::from_str(&whole).unwrap();
    state["init_process_start"] = json!(1);
    std::fs::write(&file, state.to_string()).unwrap();
    t.exec(&[], "true").fails(255, "cannot exec in a stopped container");
    std::fs::write(&file, whole).unwrap();
    t.exec(&[], "true").ok();
}
