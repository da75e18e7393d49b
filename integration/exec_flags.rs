//! `exec` by command line: each option, and what is as for init where none is given.

use crate::support::*;
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStrExt;

/// [V24] [S28] What no option says is as for the container's own program.
#[test]
fn all_is_as_for_init() {
    let mut t = Test::new();
    t.config
        .set("process.user", json!({ "uid": 7, "gid": 8, "additionalGids": [9], "umask": 0o027 }))
        .set("process.cwd", "/tmp")
        .set("process.oomScoreAdj", 123)
        .push("process.env", "FOO=of init")
        .push("process.rlimits", json!({ "type": "RLIMIT_CORE", "soft": 17 * 512, "hard": 17 * 512 }));
    let look = "id; pwd; umask; echo $FOO; cat /proc/self/oom_score_adj; ulimit -n; ulimit -c; \
                grep -E '^(Cap|NoNewPrivs|Seccomp:)' /proc/self/status; \
                for n in mnt pid net ipc uts cgroup user time; do readlink /proc/self/ns/$n; done; \
                cat /proc/self/cgroup; hostname";
    t.sh(&format!("({look}) >/dev/shm/now; mv /dev/shm/now /dev/shm/init; exec sleep 1000")).detach();
    host::wait_until("init's report", || t.exec(&[], "test -e /dev/shm/init").code == 0);
    let of_init = t.exec(&[], "cat /dev/shm/init").ok();
    assert_eq!(t.exec(&[], look).ok(), of_init);
    assert!(of_init.contains("uid=7 gid=8 groups=9\n/tmp\n0027\nof init\n123\n1024\n"), "{of_init}");
}

/// [V24] Everything after the ID belongs to the command, as it stands.
#[test]
fn the_command_is_passed_on_as_it_is() {
    let mut t = Test::new();
    t.sleeper();
    let echo = |command: &[&str]| t.exec_cmd(&[], command).output().ok();
    assert_eq!(echo(&["echo", "-t", "--user", "x", "--", "a b", "", "--help"]), "-t --user x -- a b  --help");
    assert_eq!(echo(&["sh", "-c", "echo $0 $1", "--cwd", "/x"]), "--cwd /x");
    let raw = std::ffi::OsStr::from_bytes(b"\xff\xfe");
    let output = t.exec_cmd(&[], &["sh", "-c", "echo -n \"$1\" | od -An -tx1", "sh"]).args([raw]).output();
    assert_eq!(output.ok().trim(), "ff fe");
    t.exec_cmd(&["--"], &["true"]).output().ok();
}

/// [V27] [V28]
#[test]
fn cwd_and_environment() {
    let mut t = Test::new();
    t.config.push("process.env", "KEPT=1").push("process.env", "OVER=2");
    t.sleeper();
    let options = ["--cwd", "/tmp", "-e", "OVER=3", "--env", "NEW=a=b", "--env=EMPTY=", "-e", "OVER=4"];
    let out = t.exec(&options, "pwd; echo $KEPT $OVER $NEW; env | grep EMPTY").ok();
    assert_eq!(out, "/tmp\n1 4 a=b\nEMPTY=");
    t.exec(&["--cwd", "tmp"], "true").fails(255, "--cwd: Cwd must be an absolute path");
    t.exec(&["--cwd", "/nothere"], "true").fails(255, "chdir to /nothere: no such file or directory");
    only_davit!();
    for entry in ["NOVALUE", "=x", ""] {
        let text = format!("--env {entry:?}: invalid environment variable");
        t.exec(&["-e", entry], "true").fails(255, &text);
    }
}

/// [P5] [V28] HOME by the user's entry in the container's /etc/passwd, unless it is given.
#[test]
fn home_is_the_users() {
    let mut t = Test::new();
    t.file("etc/passwd", "root:x:0:0::/root:/bin/sh\nu:x:1000:1000::/home/u:/bin/sh\n");
    t.sleeper();
    assert_eq!(t.exec(&[], "echo $HOME").ok(), "/root");
    assert_eq!(t.exec(&["-u", "1000"], "echo $HOME").ok(), "/home/u");
    assert_eq!(t.exec(&["-u", "5"], "echo $HOME").ok(), "/");
    assert_eq!(t.exec(&["-u", "1000", "-e", "HOME=/x"], "echo $HOME").ok(), "/x");
}

/// [V30] [V31] [Z13]
#[test]
fn user_and_groups() {
    let mut t = Test::new();
    t.config.set("process.user", json!({ "uid": 1, "gid": 2, "additionalGids": [3] }));
    t.sleeper();
    let id = |options: &[&str]| t.exec(options, "id").ok();
    assert_eq!(id(&[]), "uid=1 gid=2 groups=3");
    assert_eq!(id(&["-u", "1000"]), "uid=1000 gid=2 groups=3");
    assert_eq!(
        id(&["--user", "1000:2000", "-g", "7", "--additional-gids", "8"]),
        "uid=1000 gid=2000 groups=3,7,8"
    );
    assert_eq!(id(&["-u", "0:0"]), "uid=0 gid=0 groups=3");
    assert_eq!(id(&["-u", ""]), "uid=1 gid=2 groups=3");
    only_davit!();
    for user in [
        "1x",
        "x",
        "-1",
        "1:",
        ":1",
        "1:2:3",
        "0x1",
        " 1",
        "4294967295",
        "4294967296",
        "18446744073709551616",
    ] {
        t.exec(&["--user", user], "id").fails(255, &format!("--user {user:?}: invalid user"));
    }
    for group in ["-1", "x", "", "4294967295"] {
        t.exec(&["-g", group], "id").fails(255, &format!("--additional-gids {group:?}: invalid group"));
    }
}

/// [V38] [P12] [Z9] Added to the bounding, effective and permitted sets; never inheritable, ambient only where the
/// container's configuration makes it so.
#[test]
fn capabilities_are_added() {
    let sets = |t: &Test, options: &[&str]| {
        let status = t.exec(options, "cat /proc/self/status").ok();
        ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"]
            .map(|name| host::field(&status, name)[8..].to_string())
    };
    let mut t = Test::new();
    t.config.caps(&["CAP_KILL"]);
    t.sleeper();
    let (none, kill, both) = ("00000000", "00000020", "00002020");
    assert_eq!(sets(&t, &[]), [none, kill, kill, kill, none]);
    assert_eq!(sets(&t, &["--cap", "CAP_NET_RAW"]), [none, both, both, both, none]);
    assert_eq!(sets(&t, &["-c", "CAP_KILL", "-c", "CAP_NET_RAW"]), [none, both, both, both, none]);
    assert_eq!(sets(&t, &["-c", "CAP_NET_RAW", "-u", "1000"]), [none, none, none, both, none]);
    let mut t = Test::new();
    t.config.caps(&["CAP_KILL"]).set("process.capabilities.inheritable", json!(["CAP_KILL", "CAP_NET_RAW"]));
    t.config.set("process.capabilities.bounding", json!(["CAP_KILL", "CAP_NET_RAW"]));
    t.sleeper();
    let found = sets(&t, &["-c", "CAP_NET_RAW", "-u", "1000"]);
    assert_eq!(found[4], "00002000", "ambient, as it is inheritable: {found:?}");
    only_davit!();
    t.exec(&["-c", "net_raw"], "true").ok();
    t.exec(&["-c", "CAP_NET_RAV"], "true")
        .fails(255, "--cap \"CAP_NET_RAV\": unknown capability (hint: did you mean");
}

/// [V37]
#[test]
fn no_new_privileges() {
    let mut t = Test::new();
    t.config.set("process.noNewPrivileges", false);
    t.sleeper();
    let flag = |options: &[&str]| {
        host::field(&t.exec(options, "cat /proc/self/status").ok(), "NoNewPrivs").to_string()
    };
    assert_eq!(flag(&[]), "0");
    assert_eq!(flag(&["--no-new-privs"]), "1");
    let mut t = Test::new();
    t.sleeper();
    let flag = |options: &[&str]| {
        host::field(&t.exec(options, "cat /proc/self/status").ok(), "NoNewPrivs").to_string()
    };
    assert_eq!(flag(&[]), "1");
    assert_eq!(flag(&["--no-new-privs=false"]), "0");
}

/// [V34] [V33] [S39] The pid as the caller sees it, without a newline, once the program runs.
#[test]
fn detached_with_a_pid_file() {
    let mut t = Test::new();
    t.sleeper();
    let file = t.path("exec.pid");
    let args = ["--detach", "--pid-file", &file];
    t.exec_cmd(&args, &["sh", "-c", "echo $$ >/dev/shm/inner; exec sleep 500"]).output().ok();
    let pid: i32 = std::fs::read_to_string(&file).unwrap().parse().expect("digits only");
    let cmdline = || std::fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    host::wait_until("sleep", || cmdline().replace('\0', " ") == "sleep 500 ");
    // [S35] The caller is a subreaper.
    assert_eq!(host::stat_field(pid, 4), Some(std::process::id().to_string()));
    assert_ne!(t.exec(&[], "cat /dev/shm/inner").ok(), pid.to_string(), "another pid inside");
    t.exec(&["--pid-file", &file], "exit 3").code(3);
    let second = std::fs::read_to_string(&file).unwrap();
    assert_ne!(second, pid.to_string());
}

/// [V34] [S27] Never on failure: conmon takes a pid file for success.
#[test]
fn no_pid_file_on_failure() {
    let mut t = Test::new();
    t.sleeper();
    let file = t.path("exec.pid");
    for detach in ["--detach", "--detach=false"] {
        t.exec_cmd(&[detach, "--pid-file", &file], &["nothere"]).output().code(255);
        assert!(!std::path::Path::new(&file).exists());
    }
    let nowhere = t.path("no/such/directory");
    let output = t.exec_cmd(&["-d", "--pid-file", &nowhere], &["sleep", "777"]).output();
    output.fails(255, "no such file or directory");
    host::wait_until("the program's end", || !t.exec(&[], "ps").ok().contains("sleep 777"));
}

/// [V26] [F15]
#[test]
fn a_pidfd_is_sent() {
    only_davit!();
    let mut t = Test::new();
    t.sleeper();
    let path = t.path("pidfd.sock");
    let listener = std::os::unix::net::UnixListener::bind(&path).unwrap();
    let file = t.path("exec.pid");
    let options = ["-d", "--pid-file", &file, "--pidfd-socket", &path];
    t.exec_cmd(&options, &["sleep", "600"]).output().ok();
    let (text, fds) = socket::receive(&listener.accept().unwrap().0);
    assert_eq!((text.as_str(), fds.len()), ("setns", 1));
    let info = std::fs::read_to_string(format!("/proc/self/fdinfo/{}", fds[0].as_raw_fd())).unwrap();
    assert_eq!(host::field(&info, "Pid"), std::fs::read_to_string(&file).unwrap());
    let missing = t.path("missing.sock");
    t.exec(&["--pidfd-socket", &missing], "true").fails(255, "--pidfd-socket: connect to");
}
