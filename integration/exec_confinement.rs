//! `exec`: the process is confined as init is, and in the same namespaces.

use crate::support::*;

/// What `/proc/self/ns` of a process says, by `cat`-like script.
const NAMESPACES: &str = "for n in mnt pid net ipc uts cgroup user time; do readlink /proc/self/ns/$n; done";

/// A container that has left its own answer to `script` in /dev/shm, and the answer of `exec`.
#[track_caller]
fn both(t: &mut Test, script: &str) -> (String, String) {
    t.sh(&format!("({script}) >/dev/shm/x 2>&1; mv /dev/shm/x /dev/shm/init; exec sleep 1000")).detach();
    host::wait_until("init's answer", || t.exec(&[], "test -e /dev/shm/init").code == 0);
    (t.exec(&[], "cat /dev/shm/init").ok(), t.exec(&[], script).ok())
}

/// [S28] Every type of namespace, made new.
#[test]
fn all_namespaces() {
    let mut t = Test::new();
    t.config.namespace("cgroup").user_namespace();
    let (init, exec) = both(&mut t, &format!("{NAMESPACES}; id; cat /proc/self/uid_map"));
    assert_eq!(exec, init);
    assert!(exec.contains("uid=0 gid=0"), "{exec}");
    assert_ne!(exec.lines().nth(6), std::fs::read_link("/proc/self/ns/user").unwrap().to_str());
}

/// [N16] A time namespace, which takes a process that shares its memory with nobody.
#[test]
fn time_namespace() {
    need!(std::path::Path::new("/proc/self/timens_offsets").exists(), "no time namespaces");
    let mut t = Test::new();
    t.config.namespace("time").set("linux.timeOffsets", json!({ "boottime": { "secs": 1_000_000 } }));
    let (init, exec) = both(&mut t, "readlink /proc/self/ns/time; cat /proc/self/timens_offsets");
    assert_eq!(exec, init);
    let up = |text: String| text.split('.').next().unwrap().parse::<u64>().unwrap();
    assert!(up(t.exec(&[], "cat /proc/uptime").ok()) >= 1_000_000);
    let mut t = Test::new();
    t.config.namespace("time");
    let (init, exec) = both(&mut t, "readlink /proc/self/ns/time");
    assert_eq!(exec, init);
}

/// [S28] Namespaces that init has joined by path, one of them the host's own.
#[test]
fn joined_namespaces() {
    let mut first = Test::new();
    first.sleeper();
    let mut t = Test::new();
    t.config.join("network", &format!("/proc/{}/ns/net", first.pid())).join("ipc", "/proc/self/ns/ipc");
    t.config.join("pid", &format!("/proc/{}/ns/pid", first.pid()));
    t.config.unmount("/dev/mqueue");
    let (init, exec) = both(&mut t, NAMESPACES);
    assert_eq!(exec, init);
    assert!(exec.contains(std::fs::read_link("/proc/self/ns/ipc").unwrap().to_str().unwrap()), "{exec}");
}

/// [S28] Without a pid namespace, and without a mount namespace: then the root is where init's is.
#[test]
fn few_namespaces() {
    only_davit!();
    let mut t = Test::new();
    t.config.leave("pid");
    let (init, exec) = both(&mut t, NAMESPACES);
    assert_eq!(exec, init);
    let mut t = Test::new();
    t.config
        .set("mounts", json!([]))
        .leave("mount")
        .remove("linux.maskedPaths")
        .remove("linux.readonlyPaths");
    t.file("tmp/inside", "yes\n");
    t.sleeper();
    assert_eq!(t.exec(&[], "cat /tmp/inside; ls /").ok().lines().next(), Some("yes"));
    assert!(!t.exec(&[], "ls /").ok().contains("lib"), "the host's root");
}

/// [U1] [S28] A user namespace where root is not mapped.
#[test]
fn user_namespace_without_root() {
    let mut t = Test::new();
    let map = json!([{ "containerID": 1000, "hostID": 101_000, "size": 10 }]);
    t.config.namespace("user").set("linux.uidMappings", map.clone()).set("linux.gidMappings", map);
    t.config.set("process.user", json!({ "uid": 1000, "gid": 1001 })).unmount("/dev/pts").unmount("/sys");
    std::os::unix::fs::chown(&t.rootfs, Some(101_000), Some(101_000)).unwrap();
    t.sleeper();
    assert_eq!(t.exec(&[], "id -u; id -g").ok(), "1000\n1001");
    assert_eq!(t.exec(&["-u", "1002"], "id -u").ok(), "1002");
    only_davit!();
    t.exec(&["-u", "0"], "id -u").fails(255, "unmapped");
}

/// [B12] [B4] The same filter, also for calls newer than the profile.
#[test]
fn seccomp() {
    for no_new_privileges in [true, false] {
        let mut t = Test::new();
        need!(t.probe(), probe::WHY);
        t.config.set("process.noNewPrivileges", no_new_privileges).set(
            "linux.seccomp",
            json!({
                "defaultAction": "SCMP_ACT_ERRNO", "defaultErrnoRet": 99,
                "syscalls": [
                    { "names": ["write", "exit", "exit_group", "execve", "brk", "mmap", "arch_prctl", "read", "close",
                                "rt_sigaction", "rt_sigprocmask", "nanosleep", "clock_nanosleep", "set_tid_address",
                                "getuid", "setuid", "prctl", "getpid", "capset", "mprotect", "newfstatat", "readlink",
                                "set_robust_list", "prlimit64", "getrandom", "rseq", "uname", "access"],
                      "action": "SCMP_ACT_ALLOW" },
                    { "names": ["getppid"], "action": "SCMP_ACT_ERRNO", "errnoRet": 7 }
                ]
            }),
        );
        t.args(&["/bin/sleep", "1000"]).detach();
        let probe = |call: &str| t.exec_cmd(&[], &["/probe", call]).output().ok();
        assert_eq!(probe("110"), "-7");
        assert_eq!(probe("162"), "-99");
        assert_eq!(probe("1000"), "-38", "ENOSYS for what is newer");
    }
}

/// [P25] [S28] The container's session keyring; with `--no-new-keyring` the caller's.
#[test]
fn session_keyring() {
    need!(std::path::Path::new("/proc/keys").exists(), "no keys in this kernel");
    let mut t = Test::new();
    t.config.set("linux.maskedPaths", json!([])).set("linux.readonlyPaths", json!([]));
    let name = format!("_ses.{}", t.id);
    let script = format!("grep -F {name} /proc/keys | cut -d' ' -f1");
    let (init, exec) = both(&mut t, &script);
    assert!(!init.is_empty() && init.lines().count() == 1, "{init}");
    assert_eq!(exec, init, "the same key");
    let mut t = Test::new();
    t.config.set("linux.maskedPaths", json!([]));
    t.sh("exec sleep 1000");
    t.bundle_cmd("run", &["--detach", "--no-new-keyring"]).output().ok();
    assert_eq!(t.exec(&[], &format!("grep -c -F _ses.{} /proc/keys; true", t.id)).ok(), "0");
}

/// [P19] [P20] [L1] [S28] Scheduler, I/O priority, personality: init's, or the process file's.
#[test]
fn scheduling() {
    only_davit!();
    let mut t = Test::new();
    t.config
        .set("process.scheduler", json!({ "policy": "SCHED_BATCH", "nice": 5 }))
        .set("process.ioPriority", json!({ "class": "IOPRIO_CLASS_IDLE", "priority": 7 }))
        .set("linux.personality", json!({ "domain": "LINUX32" }));
    t.sleeper();
    let pid_file = t.path("exec.pid");
    let seen = |options: &[&str], command: &[&str]| {
        let all = [&["-d", "--pid-file", &pid_file], options].concat();
        t.exec_cmd(&all, command).output().ok();
        let pid: i32 = std::fs::read_to_string(&pid_file).unwrap().parse().unwrap();
        let stat = |number| host::stat_field(pid, number).unwrap();
        let personality = std::fs::read_to_string(format!("/proc/{pid}/personality")).unwrap();
        (stat(19), stat(41), personality.trim().to_string())
    };
    let as_init = ("5".to_string(), "3".to_string(), "00000008".to_string());
    assert_eq!(seen(&[], &["sleep", "500"]), as_init);
    let file = t.path("process.json");
    let process = json!({ "cwd": "/", "user": { "uid": 0, "gid": 0 }, "args": ["/bin/sleep", "500"],
                          "scheduler": { "policy": "SCHED_OTHER", "nice": 9 } });
    std::fs::write(&file, process.to_string()).unwrap();
    assert_eq!(seen(&["-p", &file], &[]), ("9".into(), "0".into(), "00000008".into()));
}

/// [S30] [P21] The affinity of `exec`: as given, else all CPUs, whatever the caller's is.
#[test]
fn affinity() {
    only_davit!();
    let allowed = |t: &Test, wrap: &[&str]| {
        let cmd = t.exec_cmd(&[], &["grep", "Cpus_allowed_list", "/proc/self/status"]);
        cmd.wrap(wrap.iter().copied()).output().ok()
    };
    let mut t = Test::new();
    t.sleeper();
    let all = allowed(&t, &["env"]);
    assert_eq!(allowed(&t, &["taskset", "1"]), all, "the caller's does not leak in");
    let mut t = Test::new();
    t.config.set("process.execCPUAffinity", json!({ "final": "0" }));
    t.sleeper();
    assert!(allowed(&t, &["env"]).ends_with("\t0"));
    let mut t = Test::new();
    t.config.set("process.execCPUAffinity", json!({ "initial": "0" }));
    t.sleeper();
    // Entering a cpuset may set it anew: always on v2, and before Linux 6.2 on v1.
    let kept = allowed(&t, &["env"]).ends_with("\t0");
    assert!(kept || cgroup::unified() || host::linux() < (6, 2), "initial stays without final");
    let mut t = Test::new();
    t.config.set("process.execCPUAffinity", json!({ "final": "8000" }));
    t.sleeper();
    t.exec(&[], "true").fails(255, "process.execCPUAffinity.final: invalid argument");
}

/// [P16] [P17] [V35] [V36] A label or profile that the host can't honour.
#[test]
fn labels_that_the_host_has_no_use_for() {
    only_davit!();
    let mut t = Test::new();
    t.sleeper();
    if !std::path::Path::new("/sys/fs/selinux/enforce").exists() {
        t.exec(&["--process-label", "a:b:c:s0"], "true").fails(255, "selinux label is specified");
    }
    if !std::path::Path::new("/sys/kernel/security/apparmor").exists() {
        t.exec(&["--apparmor", "nosuch"], "true").fails(255, "apparmor");
        t.exec(&["--apparmor", "unconfined"], "true").ok();
    }
}
