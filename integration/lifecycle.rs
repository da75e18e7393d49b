//! create, start, run and the end of a container: order, states, exit codes, pid file.

use crate::support::*;
use rustix::process::Signal;
use std::os::unix::fs::PermissionsExt;

/// [V1] [V9] [S5] [S8] [S20] created before start, running after it, stopped at the end; the program waits for
/// `start`.
#[test]
fn created_running_stopped() {
    let mut t = Test::new();
    t.sh("echo started > /tmp/mark; sleep 30");
    t.create().ok();
    assert_eq!(t.status(), "created");
    std::thread::sleep(std::time::Duration::from_millis(30));
    assert!(!t.rootfs.join("tmp/mark").exists(), "the program ran before start");
    t.verb(&["start"]).ok();
    host::wait_until("the program runs", || t.rootfs.join("tmp/mark").exists());
    assert_eq!(t.status(), "running");
    t.rt(&["kill", &t.id, "KILL"]).ok();
    t.wait_status("stopped");
    t.verb(&["delete"]).ok();
    t.verb(&["state"]).fails(1, "does not exist");
    t.assert_clean_but_pid_file();
}

/// [V10] [E1] run gives the program's exit code.
#[test]
fn run_gives_the_exit_code() {
    for code in [0, 1, 42, 255] {
        let mut t = Test::new();
        t.sh(&format!("exit {code}"));
        let output = t.run().code(code);
        assert_eq!(output.stderr, "");
        t.assert_clean();
    }
}

/// [V10] [E1] run gives 128+N for a program that signal N ended.
#[test]
fn run_gives_the_signal() {
    let mut t = Test::new();
    // A pid 1 ignores signals that it has no handler for, so the init of the host's namespace is used.
    t.config.leave("pid");
    t.sh("kill -TERM $$; sleep 5");
    t.run().code(128 + 15);
}

/// [V10] stdout and stderr of the program are the caller's, each its own.
#[test]
fn output_goes_to_the_right_stream() {
    let mut t = Test::new();
    t.sh("echo one; echo two >&2");
    let output = t.run().code(0);
    assert_eq!((output.stdout.as_str(), output.stderr.as_str()), ("one\n", "two\n"));
}

/// [F7] stdin reaches the program, and so does its end.
#[test]
fn stdin_and_its_end() {
    let mut t = Test::new();
    std::fs::write(t.dir.join("in"), "hello\n").unwrap();
    t.args(&["/bin/cat"]);
    let file = t.dir.join("in");
    assert_eq!(t.bundle_cmd("run", &[]).stdin(&file).output().ok(), "hello");
    let piped = t.bundle_cmd("run", &[]).shell("echo piped | \"$@\" | /bin/cat").output();
    assert_eq!(piped.ok(), "piped");
}

/// [V11] run --detach returns while the program runs, and needs no delete of its own.
#[test]
fn run_detached() {
    let mut t = Test::new();
    t.sh("sleep 30");
    t.detach();
    assert_eq!(t.status(), "running");
    let pid: i32 = std::fs::read_to_string(&t.pid_file).unwrap().parse().unwrap();
    assert_eq!(t.pid(), pid);
}

/// [V12] run --keep leaves state and cgroup for the caller.
#[test]
fn run_keep() {
    only_davit!(); // runc has it from 1.2 on
    let mut t = Test::new();
    t.sh("exit 3");
    t.bundle_cmd("run", &["--keep"]).output().code(3);
    assert_eq!(t.status(), "stopped");
    assert!(!cgroup::dirs(&t.cgroup).is_empty(), "the cgroup stays");
    t.verb(&["delete"]).ok();
    t.assert_clean();
}

/// [V13] run takes --no-subreaper.
#[test]
fn run_no_subreaper() {
    let mut t = Test::new();
    t.sh("exit 5");
    t.bundle_cmd("run", &["--no-subreaper"]).output().code(5);
}

/// [V2] the bundle is the current directory by default, and may be relative; the state has it absolute.
#[test]
fn bundle_paths() {
    let mut t = Test::new();
    t.sh("sleep 30");
    t.write();
    t.cmd(&["create", &t.id]).cwd(&t.bundle).output().ok();
    assert_eq!(t.state()["bundle"], t.bundle.to_str().unwrap());
    t.verb(&["delete", "--force"]).ok();
    t.cmd(&["create", "-b", "./bundle", &t.id]).cwd(&t.dir).output().ok();
    assert_eq!(t.state()["bundle"], t.bundle.to_str().unwrap());
}

/// [S2] a change of config.json after create has no effect.
#[test]
fn config_is_kept_at_create() {
    let mut t = Test::new();
    t.sh("echo first > /tmp/mark");
    t.create().ok();
    t.sh("echo second > /tmp/mark");
    t.write();
    t.verb(&["start"]).ok();
    t.wait_status("stopped");
    assert_eq!(std::fs::read_to_string(t.rootfs.join("tmp/mark")).unwrap(), "first\n");
}

/// [S2] the verbs after create need neither bundle nor environment nor current directory.
#[test]
fn later_verbs_work_from_the_state_alone() {
    let mut t = Test::new();
    t.sh("sleep 30");
    t.create().ok();
    std::fs::remove_file(t.bundle.join("config.json")).unwrap();
    for verb in [vec!["start"], vec!["state"], vec!["kill"], vec!["delete", "--force"]] {
        let output = t.cmd(&verb).args([&t.id]).only_env(&[]).cwd(std::path::Path::new("/")).output().code(0);
        assert!(verb[0] != "state" || output.stdout.contains("running"), "{output}");
    }
    assert!(!t.root.join(&t.id).exists());
}

/// [S13] start twice is an error that does not touch the container.
#[test]
fn start_of_a_running_one() {
    let mut t = Test::new();
    t.sh("sleep 30");
    t.detach();
    t.verb(&["start"]).fails(1, "cannot start an already running container");
    assert_eq!(t.status(), "running");
}

/// [S13] start after the end.
#[test]
fn start_of_a_stopped_one() {
    let mut t = Test::new();
    t.sh("exit 0");
    t.detach();
    t.wait_status("stopped");
    t.verb(&["start"]).fails(1, "cannot start a container that has stopped");
    assert_eq!(t.status(), "stopped");
}

/// [S13] [S6] init died between create and start: stopped, and start says so without hanging.
#[test]
fn init_dies_before_start() {
    let t = Test::new();
    t.create().ok();
    host::kill(t.pid());
    t.wait_status("stopped");
    t.verb(&["start"]).fails(1, "cannot start a container that has stopped");
    t.verb(&["delete"]).ok();
}

/// [S14] [E14] a config without process is refused at create.
#[test]
fn no_process() {
    let mut t = Test::new();
    t.config.remove("process");
    t.create().fails(1, "process");
    t.assert_clean();
}

/// [S35] init is a child of the nearest subreaper once create has returned.
#[test]
fn init_is_reparented() {
    let t = Test::new();
    t.create().ok();
    assert_eq!(host::stat_field(t.pid(), 4).unwrap(), std::process::id().to_string());
}

/// [P26] init leads a session of its own.
#[test]
fn init_leads_a_session() {
    let mut t = Test::new();
    t.sh("sleep 30");
    t.detach();
    let pid = t.pid();
    assert_eq!(host::stat_field(pid, 5).unwrap(), pid.to_string(), "process group");
    assert_eq!(host::stat_field(pid, 6).unwrap(), pid.to_string(), "session");
}

/// [P27] [V64] the waiting init carries the runtime's name.
#[test]
fn waiting_init_is_recognisable() {
    let t = Test::new();
    t.create().ok();
    let comm = std::fs::read_to_string(format!("/proc/{}/comm", t.pid())).unwrap();
    assert!(comm.to_lowercase().contains("init"), "{comm}");
    if davit_only() {
        assert_eq!(comm, "davit:[init]\n");
        let line = std::fs::read(format!("/proc/{}/cmdline", t.pid())).unwrap();
        assert!(String::from_utf8_lossy(&line).contains("davit"), "cmdline");
    }
}

/// [S36] the state directory is 0711, below the root.
#[test]
fn state_directory_mode() {
    let t = Test::new();
    t.create().ok();
    let mode = std::fs::metadata(t.root.join(&t.id)).unwrap().permissions().mode();
    assert_eq!(mode & 0o7777, 0o711);
}

/// [S39] [V5] the pid file: digits only, 0644, init's pid in the runtime's pid namespace, no temporary file left.
#[test]
fn pid_file() {
    let t = Test::new();
    t.create().ok();
    let text = std::fs::read_to_string(&t.pid_file).unwrap();
    assert!(text.bytes().all(|b| b.is_ascii_digit()), "{text:?}");
    assert_eq!(text, t.pid().to_string());
    let mode = std::fs::metadata(&t.pid_file).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o644);
    assert!(!host::list(&t.dir).iter().any(|name| name.starts_with(".pid")));
}

/// [S39] a relative pid file is taken from the caller's directory, not from the bundle.
#[test]
fn relative_pid_file() {
    let t = Test::new();
    t.bundle_cmd("create", &["--pid-file", "mine"]).cwd(&t.dir).output().ok();
    assert_eq!(std::fs::read_to_string(t.dir.join("mine")).unwrap(), t.pid().to_string());
}

/// [S39] an old pid file is replaced, never truncated in place.
#[test]
fn pid_file_is_replaced() {
    let t = Test::new();
    std::fs::write(&t.pid_file, "999999999").unwrap();
    std::fs::hard_link(&t.pid_file, t.dir.join("old")).unwrap();
    t.create().ok();
    assert_eq!(std::fs::read_to_string(&t.pid_file).unwrap(), t.pid().to_string());
    if davit_only() {
        assert_eq!(std::fs::read_to_string(t.dir.join("old")).unwrap(), "999999999");
    }
}

/// [S39] [E18] a pid file that can't be written makes create fail, with nothing left.
#[test]
fn pid_file_that_cannot_be_written() {
    let mut t = Test::new();
    t.pid_file = t.dir.join("missing/pid");
    t.create().fails(1, "no such file or directory");
    t.assert_clean();
}

/// [S11] [S39] a failed create leaves no pid file and the id is free.
#[test]
fn failed_create_frees_the_id() {
    let mut t = Test::new();
    t.args(&["nothere"]);
    t.create().code(1);
    t.assert_clean();
    t.sh("sleep 30");
    t.create().ok();
}

/// [S1] ids of every allowed character.
#[test]
fn allowed_ids() {
    for id in ["a", "A9", "a_b", "a+b", "a.b", "a-b", "_x", "0"] {
        let mut t = Test::new();
        t.id = format!("{id}.{}", t.id);
        t.create().ok();
        assert_eq!(t.state()["id"], t.id);
    }
}

/// [S33] signals of the foreground runtime go to init.
#[test]
fn foreground_forwards_signals() {
    let mut t = Test::new();
    let script =
        "trap 'echo term; exit 7' TERM; trap 'echo usr1' USR1; echo ready; while :; do usleep 10000; done";
    let running = t.start_run(script);
    host::wait_until("ready", || running.stdout().contains("ready"));
    running.kill(Signal::USR1);
    host::wait_until("usr1", || running.stdout().contains("usr1"));
    running.kill(Signal::TERM);
    let output = running.wait().code(7);
    assert!(output.stdout.ends_with("term\n"), "{output}");
}

/// [S34] the foreground runtime ends with init, whatever orphans there are in a shared pid namespace.
#[test]
fn foreground_ends_with_init() {
    let mut t = Test::new();
    t.config.leave("pid");
    t.sh("(sleep 0.2 &) ; (true &); exit 9");
    t.run().code(9);
}

/// [S34] a program that outlives init in the container's cgroup does not survive `run`.
#[test]
fn orphans_do_not_survive_run() {
    let mut t = Test::new();
    t.config.leave("pid");
    t.sh("(sleep 60 &); echo up");
    assert_eq!(t.run().code(0).stdout, "up\n");
    t.assert_clean();
}

/// [S38] two containers on one root file system at once.
#[test]
fn shared_rootfs() {
    let mut a = Test::new();
    let mut b = a.sibling();
    b.config.set("root.path", a.rootfs.to_str().unwrap());
    a.sh("sleep 30");
    b.sh("sleep 30");
    a.detach();
    b.detach();
    assert_eq!((a.status(), b.status()), ("running".into(), "running".into()));
}

/// [C11] [V1] the waiting init is already in the container's cgroup.
#[test]
fn created_init_is_in_its_cgroup() {
    let t = Test::new();
    t.create().ok();
    assert_eq!(cgroup::pids(&t.cgroup), [t.pid()]);
    let text = std::fs::read_to_string(format!("/proc/{}/cgroup", t.pid())).unwrap();
    let elsewhere: Vec<_> = text.lines().filter(|line| !line.ends_with(&t.cgroup)).collect();
    assert!(elsewhere.is_empty(), "{elsewhere:?}");
}

/// [S31] the caller's CPU affinity does not reach init.
#[test]
fn affinity_is_reset() {
    only_davit!(); // runc has it from 1.2 on
    let mut t = Test::new();
    let all = host::status_line(1, "Cpus_allowed_list");
    t.sh("grep Cpus_allowed_list /proc/self/status");
    let output = t.bundle_cmd("run", &[]).wrap(["taskset", "-c", "0"]).output();
    assert_eq!(host::field(&output.ok(), "Cpus_allowed_list"), all);
}

/// [E17] [P22] every 1.x version is accepted, and an unknown property ignored.
#[test]
fn versions_and_unknown_properties() {
    for version in ["1.0.0", "1.0.2-dev", "1.3.0", "1.99.0"] {
        let mut t = Test::new();
        t.config.set("ociVersion", version).set("unknown", json!({"a": 1})).set("process.unknown", 2);
        t.config.set("linux.unknown", json!([]));
        assert_eq!(t.out("echo up"), "up");
    }
}

/// [H19] [E15] unknown hook kinds are ignored as unknown properties.
#[test]
fn unknown_hook_kind() {
    let mut t = Test::new();
    t.config.set("hooks", json!({ "someday": [{ "path": "/nothere" }] }));
    assert_eq!(t.out("echo up"), "up");
}

/// [V7] create takes --no-new-keyring: the caller's session keyring stays.
#[test]
fn no_new_keyring() {
    need!(std::path::Path::new("/proc/keys").exists(), "a kernel without /proc/keys");
    let mut t = Test::new();
    t.config.remove("linux.maskedPaths");
    t.sh("echo up; cat /proc/keys");
    let out = t.bundle_cmd("run", &["--no-new-keyring"]).output().ok();
    assert!(out.starts_with("up") && !out.contains(&format!("_ses.{}", t.id)), "{out}");
}

/// [P25] a new session keyring by default.
#[test]
fn session_keyring() {
    let mut t = Test::new();
    t.config.remove("linux.maskedPaths");
    need!(std::path::Path::new("/proc/keys").exists(), "a kernel without /proc/keys");
    let keys = t.out("cat /proc/keys");
    assert!(keys.contains(&format!("_ses.{}", t.id)), "{keys}");
}

/// Makes a session keyring with a key in it that only its possessor may see, and executes the rest of its arguments.
const WITH_A_KEY: &str = r#"
import ctypes, os, sys
call = ctypes.CDLL(None, use_errno=True).syscall
add_key, keyctl = 248, 250
def check(result):
    if result < 0: sys.exit("keys: " + os.strerror(ctypes.get_errno()))
    return result
check(call(keyctl, 1, b"callers"))
key = check(call(add_key, b"user", b"davit-secret", b"x", 1, -3))
check(call(keyctl, 5, key, 0x3f000000))
os.execvp(sys.argv[1], sys.argv[1:])
"#;

/// [Z15] a key that only the possessor of the caller's session keyring may see: the container sees it with
/// --no-new-keyring and not without.
#[test]
fn the_callers_keyring_is_its_own() {
    need!(std::path::Path::new("/proc/keys").exists(), "a kernel without /proc/keys");
    need!(cfg!(target_arch = "x86_64"), "the numbers of the system calls are those of x86-64");
    let python = std::process::Command::new("python3").arg("-V").output();
    need!(python.is_ok_and(|out| out.status.success()), "no python3");
    let mut t = Test::new();
    t.config.remove("linux.maskedPaths");
    t.sh("echo up; cat /proc/keys");
    let seen = |options: &[&str]| {
        let cmd = t.bundle_cmd("run", options).wrap(["python3", "-c", WITH_A_KEY]);
        let out = cmd.output().ok();
        assert!(out.starts_with("up"), "{out}");
        out.contains("davit-secret")
    };
    assert!(seen(&["--no-new-keyring"]));
    assert!(!seen(&[]));
}

/// [V8] [F12] --preserve-fds passes on the caller's descriptors, no others.
#[test]
fn preserve_fds() {
    let mut t = Test::new();
    t.sh("ls /proc/self/fd; cat <&3; cat <&4");
    let cmd = t.bundle_cmd("run", &["--preserve-fds", "2"]);
    let text = cmd.shell(
        "echo three >/dev/shm/$$; exec 3</dev/shm/$$ 4</dev/shm/$$ 5</dev/null; rm /dev/shm/$$; exec \"$@\"",
    );
    let out = text.output().ok();
    // ls holds one descriptor for the directory it reads.
    assert_eq!(out, "0\n1\n2\n3\n4\n5\nthree\nthree");
}

/// [F12] a preserved descriptor that is not open is an error that names it.
#[test]
fn preserve_fds_not_open() {
    let mut t = Test::new();
    t.sh("true");
    let output = t.bundle_cmd("run", &["--preserve-fds", "7"]).output().code(1);
    assert!(output.stderr.contains("fd"), "{output}");
    t.assert_clean();
}

/// [F17] stdio that the caller closed becomes /dev/null, never another file.
#[test]
fn closed_stdio() {
    only_davit!(); // runc 1.1 lets its own descriptors land there
    let mut t = Test::new();
    t.sh("readlink /proc/self/fd/0 > /tmp/fd0; readlink /proc/self/fd/2 >> /tmp/fd0");
    t.bundle_cmd("run", &["--detach"]).shell("exec \"$@\" <&- 2>&-").output().code(0);
    t.wait_status("stopped");
    assert_eq!(std::fs::read_to_string(t.rootfs.join("tmp/fd0")).unwrap(), "/dev/null\n/dev/null\n");
}

/// [V6] [R3] run --no-pivot.
#[test]
fn no_pivot() {
    let mut t = Test::new();
    t.sh("ls /; cat /proc/1/comm");
    let out = t.bundle_cmd("run", &["--no-pivot"]).output().ok();
    assert!(out.contains("bin\n") && !out.contains("home"), "{out}");
}
