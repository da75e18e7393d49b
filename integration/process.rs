//! Who the program is: ids, groups, capabilities, limits, environment, directory, host name, sysctls.

use crate::support::*;
use std::os::unix::fs::{MetadataExt, PermissionsExt};

const CAP_SYS_RESOURCE: u32 = 24;
const STATUS: &str = "cat /proc/self/status";

/// [P7] [P8] uid, gid and exactly the additional groups.
#[test]
fn ids_and_groups() {
    let mut t = Test::new();
    t.config.set("process.user", json!({ "uid": 1000, "gid": 1001, "additionalGids": [5, 10, 77] }));
    let status = t.out(STATUS);
    assert_eq!(host::field(&status, "Uid"), "1000\t1000\t1000\t1000");
    assert_eq!(host::field(&status, "Gid"), "1001\t1001\t1001\t1001");
    assert_eq!(host::field(&status, "Groups"), "5 10 77");
}

/// [P8] [Z9] the caller's supplementary groups do not leak in.
#[test]
fn callers_groups_are_dropped() {
    let mut t = Test::new();
    t.sh("id -G");
    t.config.set("process.user", json!({ "uid": 1000, "gid": 1000 }));
    let output = t.bundle_cmd("run", &[]).wrap(["setpriv", "--groups", "4,6,24"]).output();
    assert_eq!(output.ok(), "1000");
}

/// [P9] the umask is 0022, or what the configuration says.
#[test]
fn umask() {
    let mut t = Test::new();
    t.sh("umask");
    assert_eq!(t.bundle_cmd("run", &[]).shell("umask 0077; exec \"$@\"").output().ok(), "0022");
    t.config.set("process.user.umask", 0o027);
    assert_eq!(t.run().ok(), "0027");
    t.config.set("process.user.umask", 0);
    assert_eq!(t.run().ok(), "0000");
}

/// [P11] the five capability sets, each as given, for root.
#[test]
fn capability_sets() {
    let mut t = Test::new();
    t.config.set(
        "process.capabilities",
        json!({
            "bounding": ["CAP_CHOWN", "CAP_KILL", "CAP_NET_RAW", "CAP_SETUID"],
            "permitted": ["CAP_CHOWN", "CAP_KILL", "CAP_NET_RAW"],
            "effective": ["CAP_CHOWN", "CAP_KILL"],
            "inheritable": ["CAP_CHOWN", "CAP_NET_RAW"],
            "ambient": ["CAP_CHOWN"]
        }),
    );
    // uid 0 regains what the bounding set allows on exec, so the sets are seen as given by another uid.
    t.config.set("process.user", json!({ "uid": 1000, "gid": 1000 }));
    let status = t.out(STATUS);
    let set = |name| u64::from_str_radix(&host::field(&status, name), 16).unwrap();
    assert_eq!(set("CapBnd"), 1 | 1 << 5 | 1 << 13 | 1 << 7);
    assert_eq!(set("CapInh"), 1 | 1 << 13);
    assert_eq!(set("CapAmb"), 1);
    assert_eq!(set("CapPrm"), 1);
    assert_eq!(set("CapEff"), 1);
}

/// [P11] [P12] [Z9] Docker's set for root: bounding, permitted and effective; inheritable and ambient stay empty.
#[test]
fn docker_capabilities() {
    let mut t = Test::docker();
    let status = t.out(STATUS);
    for name in ["CapBnd", "CapPrm", "CapEff"] {
        assert_eq!(host::field(&status, name), "00000000a80425fb", "{name}");
    }
    for name in ["CapInh", "CapAmb"] {
        assert_eq!(host::field(&status, name), "0000000000000000", "{name}");
    }
}

/// [P11] without the capabilities object there are none.
#[test]
fn no_capabilities() {
    let mut t = Test::new();
    t.config.remove("process.capabilities");
    let status = t.out(STATUS);
    for name in ["CapBnd", "CapPrm", "CapEff", "CapInh", "CapAmb"] {
        assert_eq!(host::field(&status, name), "0000000000000000", "{name}");
    }
}

/// [P11] for another uid the sets that need no ambient are lost at exec, as the kernel's rules say.
#[test]
fn capabilities_of_a_user() {
    let mut t = Test::docker();
    t.config.set("process.user", json!({ "uid": 1000, "gid": 1000 }));
    let status = t.out(STATUS);
    assert_eq!(host::field(&status, "CapBnd"), "00000000a80425fb");
    assert_eq!(host::field(&status, "CapEff"), "0000000000000000");
}

/// [P15] no_new_privs as configured.
#[test]
fn no_new_privs() {
    for (value, shown) in [(true, "1"), (false, "0")] {
        let mut t = Test::new();
        t.config.set("process.noNewPrivileges", value);
        assert_eq!(host::field(&t.out(STATUS), "NoNewPrivs"), shown);
    }
}

/// [P13] rlimits, raised and lowered, soft and hard, for a user without privileges too.
#[test]
fn rlimits() {
    let mut t = Test::new();
    t.config.set("process.user", json!({ "uid": 1000, "gid": 1000 }));
    t.config.set(
        "process.rlimits",
        json!([
            { "type": "RLIMIT_NOFILE", "soft": 123, "hard": 456 },
            { "type": "RLIMIT_CORE", "soft": 0, "hard": 0 },
            { "type": "RLIMIT_NPROC", "soft": 500, "hard": 600 },
            { "type": "RLIMIT_MEMLOCK", "soft": 999_424, "hard": 1_048_576 },
            { "type": "RLIMIT_FSIZE", "soft": 1_000_000, "hard": 2_000_000 },
            { "type": "RLIMIT_STACK", "soft": 4_194_304, "hard": 16_777_216 },
            { "type": "RLIMIT_DATA", "soft": 1_073_741_824, "hard": 18_446_744_073_709_551_615u64 }
        ]),
    );
    let limits = t.out("cat /proc/self/limits");
    let row = |name: &str| {
        let line = limits.lines().find(|line| line.starts_with(name)).unwrap();
        line[name.len()..].split_whitespace().take(2).map(str::to_string).collect::<Vec<_>>()
    };
    assert_eq!(row("Max open files"), ["123", "456"]);
    assert_eq!(row("Max core file size"), ["0", "0"]);
    assert_eq!(row("Max processes"), ["500", "600"]);
    assert_eq!(row("Max locked memory"), ["999424", "1048576"]);
    assert_eq!(row("Max file size"), ["1000000", "2000000"]);
    assert_eq!(row("Max stack size"), ["4194304", "16777216"]);
    assert_eq!(row("Max data size"), ["1073741824", "unlimited"]);
}

/// [P14] limits that are not configured are the caller's.
#[test]
fn callers_rlimits_stay() {
    only_davit!(); // Go raises the soft limit of open files
    let mut t = Test::new();
    t.config.remove("process.rlimits");
    t.sh("grep 'Max open files' /proc/self/limits");
    let output = t.bundle_cmd("run", &[]).shell("ulimit -Sn 333; ulimit -Hn 444; exec \"$@\"").output().ok();
    let words: Vec<&str> = output.split_whitespace().collect();
    assert_eq!(words[3..5], ["333", "444"], "{output}");
}

/// [P13] a limit raised above the caller's hard limit.
#[test]
fn rlimit_above_the_callers() {
    need!(host::capable(CAP_SYS_RESOURCE), "raising a hard limit needs CAP_SYS_RESOURCE");
    let mut t = Test::new();
    t.config.set("process.rlimits", json!([{ "type": "RLIMIT_NOFILE", "soft": 900, "hard": 1000 }]));
    t.sh("grep 'Max open files' /proc/self/limits");
    let output = t.bundle_cmd("run", &[]).shell("ulimit -n 100; exec \"$@\"").output().ok();
    assert!(output.contains(" 900 ") && output.contains(" 1000 "), "{output}");
}

/// [P18] oom_score_adj is set when given, and left alone when not.
#[test]
fn oom_score_adj() {
    let mut t = Test::new();
    t.config.set("process.oomScoreAdj", 321);
    assert_eq!(t.out("cat /proc/self/oom_score_adj"), "321");
    if host::capable(CAP_SYS_RESOURCE) {
        t.config.set("process.oomScoreAdj", -500);
        assert_eq!(t.run().ok(), "-500");
    } else {
        skip("a negative oom_score_adj needs CAP_SYS_RESOURCE");
    }
    t.config.set("process.oomScoreAdj", 0);
    let script = "echo 55 > /proc/self/oom_score_adj; exec \"$@\"";
    assert_eq!(t.bundle_cmd("run", &[]).shell(script).output().ok(), "0");
    t.config.remove("process.oomScoreAdj");
    assert_eq!(t.bundle_cmd("run", &[]).shell(script).output().ok(), "55");
}

/// [P4] the working directory, made with 0755 when it is absent.
#[test]
fn cwd() {
    let mut t = Test::new();
    t.config.set("process.cwd", "/tmp");
    assert_eq!(t.out("pwd"), "/tmp");
    t.config.set("process.cwd", "/made/on/the/way");
    t.config.set("process.user", json!({ "uid": 1000, "gid": 1000 }));
    assert_eq!(t.run().ok(), "/made/on/the/way");
    let meta = std::fs::metadata(t.rootfs.join("made/on/the")).unwrap();
    assert_eq!((meta.permissions().mode() & 0o7777, meta.uid()), (0o755, 0));
}

/// [P4] a directory that only root may enter is reached before the user is changed.
#[test]
fn cwd_that_only_root_may_enter() {
    let mut t = Test::new();
    std::fs::create_dir(t.rootfs.join("closed")).unwrap();
    std::fs::set_permissions(t.rootfs.join("closed"), PermissionsExt::from_mode(0o700)).unwrap();
    t.config.set("process.cwd", "/closed").set("process.user", json!({ "uid": 1000, "gid": 1000 }));
    t.args(&["/bin/readlink", "/proc/self/cwd"]);
    assert_eq!(t.run().ok(), "/closed");
}

/// [P5] the environment in its order, the last of two wins, nothing of the caller's.
#[test]
fn environment() {
    let mut t = Test::new();
    t.config.set("process.env", json!(["PATH=/bin", "A=1", "B=two words", "EMPTY=", "E=a=b", "HOME=/h"]));
    t.args(&["/bin/env"]);
    let output = t.bundle_cmd("run", &[]).env("SECRET", "leaked").output().ok();
    assert_eq!(output, "PATH=/bin\nA=1\nB=two words\nEMPTY=\nE=a=b\nHOME=/h");
}

/// [P5] of two entries with one name the last is what the program sees.
#[test]
fn environment_duplicates() {
    let mut t = Test::new();
    t.config.set("process.env", json!(["PATH=/bin", "A=first", "HOME=/", "A=second"]));
    assert_eq!(t.out("echo $A"), "second");
}

/// [P5] HOME comes from the container's /etc/passwd by uid, else it is `/`.
#[test]
fn home() {
    let mut t = Test::new();
    t.file("etc/passwd", "root:x:0:0:root:/root-home:/bin/sh\nuser:x:1000:1000::/home/user:/bin/sh\n");
    t.sh("echo $HOME");
    for (uid, home) in [(0, "/root-home"), (1000, "/home/user"), (7, "/")] {
        t.config.set("process.user", json!({ "uid": uid, "gid": uid }));
        assert_eq!(t.run().ok(), home);
    }
    t.config.push("process.env", "HOME=/set");
    assert_eq!(t.run().ok(), "/set");
}

/// [P5] [security R1] an /etc/passwd that is a symlink, a fifo, garbage or without end does no harm.
#[test]
fn hostile_passwd() {
    only_davit!(); // runc hangs on the fifo
    let mut t = Test::new();
    t.sh("echo $HOME");
    for make in
        ["ln -sf /proc/1/environ", "ln -sf /dev/zero", "mkfifo", "dd if=/dev/urandom count=8 status=none of="]
    {
        let path = t.rootfs.join("etc/passwd");
        let _ = std::fs::remove_file(&path);
        let space = if make.ends_with('=') { "" } else { " " };
        Cmd::new(&t.dir, ["/bin/sh", "-c", &format!("{make}{space}{}", path.display())]).output().code(0);
        assert_eq!(t.run().ok(), "/");
    }
}

/// [P6] args[0] by PATH of process.env, argv[0] as given.
#[test]
fn program_lookup() {
    let mut t = Test::new();
    let script = t.file("first/tool", "#!/bin/sh\necho first\n");
    let later = t.file("second/tool", "#!/bin/sh\necho second\n");
    let plain = t.file("zero/tool", "not executable");
    std::fs::set_permissions(&plain, PermissionsExt::from_mode(0o644)).unwrap();
    for path in [&script, &later] {
        std::fs::set_permissions(path, PermissionsExt::from_mode(0o755)).unwrap();
    }
    t.config.set("process.env", json!(["PATH=/nothere:/zero:/first:/second:/bin"]));
    t.args(&["tool"]);
    assert_eq!(t.run().ok(), "first");
    t.args(&["sh", "-c", "tr '\\0' ' ' < /proc/self/cmdline"]);
    assert!(t.run().ok().starts_with("tr"), "argv");
    t.args(&["cat", "/proc/self/cmdline"]);
    assert_eq!(t.run().ok(), "cat\0/proc/self/cmdline\0");
}

/// [P6] a relative path with a slash is taken from the working directory.
#[test]
fn program_relative_to_cwd() {
    let mut t = Test::new();
    t.config.set("process.cwd", "/bin");
    t.args(&["./echo", "here"]);
    assert_eq!(t.run().ok(), "here");
}

/// [P10] stdio belongs to the user, so that it may be opened again.
#[test]
fn stdio_belongs_to_the_user() {
    let mut t = Test::new();
    t.config.set("process.user", json!({ "uid": 1000, "gid": 1000 }));
    t.sh("echo again > /dev/stderr");
    let script = "\"$@\" 2>&1 >/dev/null | /bin/cat";
    assert_eq!(t.bundle_cmd("run", &[]).shell(script).output().ok(), "again");
}

/// [P10] the host's /dev/null keeps its owner and mode.
#[test]
fn host_dev_null_keeps_its_owner() {
    let mut t = Test::new();
    t.config.set("process.user", json!({ "uid": 1000, "gid": 1000 }));
    t.sh("true");
    let seen = || {
        let meta = std::fs::metadata("/dev/null").unwrap();
        (meta.uid(), meta.gid(), meta.mode())
    };
    let before = seen();
    t.bundle_cmd("run", &["--detach"]).shell("exec \"$@\" </dev/null >/dev/null 2>&1").output().code(0);
    t.wait_status("stopped");
    assert_eq!(seen(), before);
}

/// [P23] the host name.
#[test]
fn hostname() {
    let mut t = Test::new();
    t.config.set("hostname", "harbour");
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap();
    assert_eq!(t.out("hostname; cat /proc/sys/kernel/hostname"), "harbour\nharbour");
    assert_eq!(std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap(), host);
}

/// [P24] the domain name.
#[test]
fn domainname() {
    only_davit!(); // runc from 1.1.8 on
    let mut t = Test::new();
    t.config.set("domainname", "sea.example");
    assert_eq!(t.out("cat /proc/sys/kernel/domainname"), "sea.example");
}

/// [T11] [T13] [T14] sysctls of the container's own namespaces, in both spellings; the host's stay.
#[test]
fn sysctls() {
    let mut t = Test::new();
    let host = std::fs::read_to_string("/proc/sys/kernel/msgmax").unwrap();
    t.config.set("linux.sysctl", json!({}));
    let sysctl = t.config.0["linux"]["sysctl"].as_object_mut().unwrap();
    sysctl.insert("net.ipv4.ip_forward".into(), json!("1"));
    sysctl.insert("net/ipv4/conf/lo/forwarding".into(), json!("1"));
    sysctl.insert("kernel.msgmax".into(), json!("12345"));
    sysctl.insert("fs.mqueue.msg_max".into(), json!("17"));
    let out = t.out(
        "cd /proc/sys; cat net/ipv4/ip_forward net/ipv4/conf/lo/forwarding kernel/msgmax fs/mqueue/msg_max",
    );
    assert_eq!(out, "1\n1\n12345\n17");
    assert_eq!(std::fs::read_to_string("/proc/sys/kernel/msgmax").unwrap(), host);
}

/// [T11] of the uts namespace the domain name, of a user namespace user.*, of a network namespace that is joined net.*.
#[test]
fn sysctls_of_each_namespace() {
    only_davit!(); // runc refuses user.*
    let mut t = Test::new();
    t.config.set("linux.sysctl", json!({ "kernel.domainname": "sea.example" }));
    assert_eq!(t.out("cat /proc/sys/kernel/domainname"), "sea.example");
    let mut a = Test::new();
    a.user_namespace();
    let host_file = "/proc/sys/user/max_ipc_namespaces";
    a.config.set("linux.sysctl", json!({ "user.max_ipc_namespaces": "77", "kernel.msgmax": "4321" }));
    let before = std::fs::read_to_string(host_file).unwrap();
    a.sh("cat /proc/sys/user/max_ipc_namespaces /proc/sys/kernel/msgmax; sleep 30");
    let running = a.bundle_cmd("run", &[]).spawn();
    host::wait_until("both values", || running.stdout().lines().count() == 2);
    assert_eq!(running.stdout(), "77\n4321\n");
    assert_eq!(std::fs::read_to_string(host_file).unwrap(), before);
    let mut b = Test::new();
    b.config.join("network", &format!("/proc/{}/ns/net", a.pid()));
    // Those of net.core are in no other user namespace before Linux 6.4.
    b.config.set("linux.sysctl", json!({ "net.ipv4.ip_default_ttl": "77" }));
    assert_eq!(b.out("cat /proc/sys/net/ipv4/ip_default_ttl"), "77");
    a.rt(&["kill", &a.id, "KILL"]).ok();
    running.wait().code(137);
}

/// [T11] [T12] the exact words.
#[test]
fn sysctls_that_are_refused() {
    only_davit!();
    for (key, leave, text) in [
        ("vm.swappiness", "time", "sysctl \"vm.swappiness\" is not in a separate kernel namespace"),
        (
            "net.ipv4.ip_forward",
            "network",
            "sysctl \"net.ipv4.ip_forward\" not allowed in host network namespace",
        ),
        ("kernel.msgmax", "ipc", "sysctl \"kernel.msgmax\" is not allowed in the hosts ipc namespace"),
        ("user.max_ipc_namespaces", "user", "is not allowed in the hosts user namespace"),
        ("kernel.domainname", "uts", "is not allowed in the hosts uts namespace"),
        (
            "kernel.hostname",
            "time",
            "linux.sysctl[\"kernel.hostname\"]: sysctl \"kernel.hostname\" is not allowed as it conflicts with the OCI \"hostname\" field",
        ),
        ("kernel/hostname", "time", "is not allowed as it conflicts with the OCI \"hostname\" field"),
    ] {
        let mut t = Test::new();
        t.config.leave(leave);
        if leave == "uts" {
            t.config.remove("hostname");
        }
        t.config.set("linux.sysctl", json!({ key: "1" }));
        t.sh("true");
        t.run().fails(1, text);
        t.assert_clean();
    }
}

/// [T11] [T12] sysctls of the host are refused, by name, and not written.
#[test]
fn sysctls_of_the_host() {
    let before = std::fs::read_to_string("/proc/sys/vm/swappiness").unwrap();
    for (key, leave) in [
        ("vm.swappiness", None),
        ("kernel.core_pattern", None),
        ("kernel.hostname", None),
        ("net.ipv4.ip_forward", Some("network")),
        ("kernel.msgmax", Some("ipc")),
        ("fs.mqueue.msg_max", Some("ipc")),
        ("kernel.shm_rmid_forced/../../vm/swappiness", None),
    ] {
        let mut t = Test::new();
        if let Some(kind) = leave {
            t.config.leave(kind);
        }
        t.config.set("linux.sysctl", json!({ key: "1" }));
        t.sh("true");
        let output = t.run().code(1);
        output.says(key);
        t.assert_clean();
    }
    assert_eq!(std::fs::read_to_string("/proc/sys/vm/swappiness").unwrap(), before);
}

/// [security R22] the caller's ignored and blocked signals do not reach the program.
#[test]
fn signals_are_reset() {
    only_davit!(); // runc 1.1 leaves SIGPIPE and others
    let mut t = Test::new();
    t.sh("exec grep Sig /proc/self/status");
    let script = "trap '' CHLD PIPE TERM USR1; exec \"$@\"";
    let output = t.bundle_cmd("run", &[]).shell(script).output().ok();
    // 32 and 33 are glibc's own: its posix_spawn, by which the harness starts the runtime, ignores them in the
    // child, and no libc lets a program change that.
    let own = 1 << 31 | 1 << 32;
    for name in ["SigBlk", "SigIgn", "SigCgt"] {
        let set = u64::from_str_radix(&host::field(&output, name), 16).unwrap();
        assert_eq!(set & !own, 0, "{name}: {set:x}");
    }
}
