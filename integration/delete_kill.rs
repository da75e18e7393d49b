//! kill and delete, in every state.

use crate::support::*;

/// A running container that shows the signals it gets.
fn trapping() -> Test {
    let mut t = Test::new();
    t.sh("for s in TERM HUP USR1 USR2 INT WINCH; do trap \"echo $s >> /tmp/got\" $s; done; echo ready > /tmp/ready; \
          while :; do usleep 5000; done");
    t.detach();
    host::wait_until("ready", || t.rootfs.join("tmp/ready").exists());
    t
}

fn got(t: &Test) -> String {
    std::fs::read_to_string(t.rootfs.join("tmp/got")).unwrap_or_default()
}

/// [V16] the default signal is TERM; names with and without SIG, in any case; numbers.
#[test]
fn signals() {
    let t = trapping();
    t.verb(&["kill"]).ok();
    host::wait_until("TERM", || got(&t) == "TERM\n");
    for (word, name) in [
        ("SIGUSR1", "USR1"),
        ("usr2", "USR2"),
        ("sigHup", "HUP"),
        ("2", "INT"),
        ("28", "WINCH"),
        ("TERM", "TERM"),
    ] {
        std::fs::remove_file(t.rootfs.join("tmp/got")).unwrap();
        t.rt(&["kill", &t.id, word]).ok();
        host::wait_until(word, || got(&t) == format!("{name}\n"));
    }
    assert_eq!(t.status(), "running");
}

/// [V16] a signal that does not exist.
#[test]
fn unknown_signals() {
    let t = trapping();
    for word in ["BOGUS", "SIGBOGUS", "x9", "9x"] {
        let output = t.rt(&["kill", "--", &t.id, word]).code(1);
        output.says(&format!("unknown signal \"{word}\""));
        if davit_only() {
            output.fails(1, "unknown signal");
        }
    }
    assert_eq!(t.status(), "running");
}

/// [V16] real-time names.
#[test]
fn real_time_signals() {
    only_davit!(); // crun's, and runc's library has them by number alone
    let mut t = Test::new();
    t.sh("sleep 30");
    t.config.leave("pid");
    t.detach();
    t.rt(&["kill", &t.id, "RTMIN+2"]).ok();
    t.wait_status("stopped");
}

/// [S19] signal 0 only asks.
#[test]
fn signal_zero() {
    let t = trapping();
    t.rt(&["kill", &t.id, "0"]).code(0);
    assert_eq!(t.status(), "running");
}

/// [S16] a created container may be killed; a stopped one may not.
#[test]
fn kill_by_state() {
    let t = Test::new();
    t.create().ok();
    t.rt(&["kill", &t.id, "KILL"]).ok();
    t.wait_status("stopped");
    t.rt(&["kill", &t.id, "KILL"]).fails(1, "container not running");
    t.rt(&["kill", &t.id, "0"]).fails(1, "container not running");
}

/// [V17] kill --all: accepted in every form, and no error for a stopped container.
#[test]
fn kill_all() {
    for flag in ["--all", "-a", "-all", "--all=true"] {
        let mut t = Test::new();
        t.config.leave("pid");
        t.sh("sleep 31 & sleep 32 & wait");
        t.detach();
        host::wait_until("three processes", || cgroup::pids(&t.cgroup).len() == 3);
        t.rt(&["kill", flag, &t.id, "9"]).ok();
        host::wait_until("all gone", || cgroup::pids(&t.cgroup).is_empty());
        t.wait_status("stopped");
        t.rt(&["kill", flag, &t.id, "9"]).ok();
        t.rt(&["kill", &t.id, "9", flag]).ok();
    }
}

/// [S17] SIGKILL of a container that shares the pid namespace takes all of its processes.
#[test]
fn kill_with_shared_pid_namespace() {
    only_davit!(); // runc from 1.2 on
    let mut t = Test::new();
    t.config.leave("pid");
    t.sh("sleep 31 & (sleep 32 &) ; exec sleep 33");
    t.detach();
    host::wait_until("three processes", || cgroup::pids(&t.cgroup).len() == 3);
    t.rt(&["kill", &t.id, "KILL"]).ok();
    host::wait_until("all gone", || cgroup::pids(&t.cgroup).is_empty());
}

/// [S18] SIGKILL works on a paused container.
#[test]
fn kill_of_a_paused_one() {
    let t = trapping();
    t.verb(&["pause"]).ok();
    t.rt(&["kill", &t.id, "KILL"]).ok();
    t.wait_status("stopped");
    t.verb(&["delete"]).ok();
}

/// [S21] [S24] delete by state: created is killed, running and paused are refused, stopped goes.
#[test]
fn delete_by_state() {
    let t = Test::new();
    t.create().ok();
    t.verb(&["delete"]).ok();
    t.assert_clean_but_pid_file();
    let t = trapping();
    t.verb(&["delete"]).fails(1, "cannot delete container").says("that is not stopped: running");
    assert_eq!(t.status(), "running");
    t.verb(&["pause"]).ok();
    t.verb(&["delete"]).fails(1, "that is not stopped: paused");
    assert_eq!(t.status(), "paused");
    t.verb(&["resume"]).ok();
    t.rt(&["kill", &t.id, "KILL"]).ok();
    t.wait_status("stopped");
    t.verb(&["delete"]).ok();
    t.verb(&["delete"]).fails(1, "container does not exist");
}

/// [S23] [V15] delete --force in every state, silent, with every process gone.
#[test]
fn delete_force() {
    for state in ["created", "running", "paused", "stopped"] {
        let mut t = Test::new();
        t.sh("sleep 31 & sleep 32 & wait");
        t.create().ok();
        if state != "created" {
            t.verb(&["start"]).ok();
        }
        match state {
            "paused" => drop(t.verb(&["pause"]).ok()),
            "stopped" => {
                t.rt(&["kill", &t.id, "KILL"]).ok();
                t.wait_status("stopped");
            }
            _ => {}
        }
        assert_eq!(t.status(), state);
        assert_eq!(t.verb(&["delete", "-f"]).ok(), "");
        t.assert_clean_but_pid_file();
    }
}

/// [S23] [reliability R2] delete --force of a tree of processes that share the host's pid namespace, in cgroups of their own.
#[test]
fn delete_force_of_a_tree() {
    only_davit!(); // runc 1.1 is noisy about it
    let mut t = Test::new();
    t.config.leave("pid").leave("cgroup");
    t.config.remove("linux.readonlyPaths");
    t.sh("for i in 1 2 3 4 5; do (for j in 1 2 3 4; do sleep 60 & done; wait) & done; wait");
    t.detach();
    host::wait_until("26 processes", || cgroup::pids(&t.cgroup).len() == 26);
    // Cgroups below, as systemd in a container makes them, with a process in the deepest.
    let controller = if cgroup::unified() { "unified" } else { "pids" };
    let deep = cgroup::dir(&t.cgroup, controller).join("a/b");
    std::fs::create_dir_all(&deep).unwrap();
    let some = cgroup::pids(&t.cgroup)[5];
    std::fs::write(deep.join("cgroup.procs"), some.to_string()).unwrap();
    assert_eq!(t.verb(&["delete", "--force"]).ok(), "");
    t.assert_clean_but_pid_file();
}

/// [S25] [reliability R3] delete --force with a frozen cgroup below.
#[test]
fn delete_force_with_a_frozen_part() {
    only_davit!(); // runc hangs over it or leaves it (runc #2105)
    let mut t = Test::new();
    t.config.leave("pid");
    t.sh("sleep 60 & sleep 61 & wait");
    t.detach();
    host::wait_until("three processes", || cgroup::pids(&t.cgroup).len() == 3);
    let sub = cgroup::dir(&t.cgroup, "freezer").join("sub");
    std::fs::create_dir(&sub).unwrap();
    let pid = cgroup::pids(&t.cgroup)[1];
    std::fs::write(sub.join("cgroup.procs"), pid.to_string()).unwrap();
    let (file, value) = if cgroup::unified() { ("cgroup.freeze", "1") } else { ("freezer.state", "FROZEN") };
    std::fs::write(sub.join(file), value).unwrap();
    assert_eq!(t.verb(&["delete", "--force"]).ok(), "");
    t.assert_clean_but_pid_file();
}

/// [S24] delete removes nothing that the runtime did not make.
#[test]
fn delete_keeps_what_is_not_its_own() {
    let t = Test::new();
    t.file("data/kept", "kept");
    std::fs::write(t.dir.join("beside"), "").unwrap();
    t.create().ok();
    t.verb(&["delete", "--force"]).ok();
    assert!(t.rootfs.join("data/kept").exists() && t.bundle.join("config.json").exists());
    assert!(t.dir.join("beside").exists() && t.root.exists());
}

/// [S24] the cgroups that the container made below its own go too.
#[test]
fn delete_takes_sub_cgroups() {
    let mut t = Test::new();
    t.sh("exit 0");
    t.create().ok();
    for dir in cgroup::dirs(&t.cgroup) {
        std::fs::create_dir_all(dir.join("one/two")).unwrap();
    }
    t.verb(&["start"]).ok();
    t.wait_status("stopped");
    t.verb(&["delete"]).ok();
    t.assert_clean_but_pid_file();
}

/// [S22] a state directory with nothing in it is no container, and delete --force removes it.
#[test]
fn empty_state_directory() {
    only_davit!();
    let t = Test::new();
    std::fs::create_dir_all(t.root.join(&t.id)).unwrap();
    t.verb(&["state"]).fails(1, "does not exist");
    assert_eq!(t.verb(&["delete", "--force"]).ok(), "");
    assert!(!t.root.join(&t.id).exists());
}

/// [S24] an id is free after delete.
#[test]
fn id_is_free_again() {
    let t = Test::new();
    for _ in 0..3 {
        t.create().ok();
        assert_eq!(t.status(), "created");
        t.verb(&["delete"]).ok();
    }
}

/// [S21] delete waits for the end of a created init: nothing of it is there when the command returns.
#[test]
fn delete_waits() {
    for _ in 0..5 {
        let t = Test::new();
        t.create().ok();
        let pid = t.pid();
        t.verb(&["delete"]).ok();
        assert!(!host::alive(pid));
        assert!(cgroup::dirs(&t.cgroup).is_empty());
    }
}

/// [V16] SIGTERM ends a container that waits for `start`, although it is the init of a pid namespace.
#[test]
fn terminate_created() {
    let mut t = Test::new();
    t.sh("sleep 30");
    for hooks in [false, true] {
        if hooks {
            t.config.set("hooks.startContainer", json!([{"path": "/bin/true"}]));
        }
        t.create().ok();
        t.verb(&["kill"]).ok();
        t.wait_status("stopped");
        t.verb(&["delete"]).ok();
        t.assert_clean_but_pid_file();
    }
}

/// [V16] Nothing of that stays: the program's SIGTERM is as the kernel gives it.
#[test]
fn terminate_started() {
    let mut t = Test::new();
    t.sh("grep SigCgt /proc/1/status > /tmp/caught; exec sleep 30");
    t.create().ok();
    t.verb(&["start"]).ok();
    let caught = t.rootfs.join("tmp/caught");
    host::wait_until("caught", || std::fs::read_to_string(&caught).is_ok_and(|text| text.ends_with('\n')));
    let text = std::fs::read_to_string(&caught).unwrap();
    let mask = u64::from_str_radix(text.trim_start_matches("SigCgt:").trim(), 16).unwrap();
    assert_eq!(mask >> 14 & 1, 0, "{text}");
}
