//! Rights that can't be had, and labels of modules that are not there.

use crate::errors::refuses;
use crate::support::*;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

const CAP_SYS_RESOURCE: u32 = 24;

/// The messages of the warnings in a log of JSON records.
fn warnings(path: &str) -> Vec<String> {
    let text = std::fs::read_to_string(path).unwrap();
    let records = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let records = records.filter(|record| record["level"] == "warning");
    records.map(|record| record["msg"].as_str().unwrap().to_string()).collect()
}

/// [P11] [E13] what the runtime itself lacks is a warning, and the rest is granted.
#[test]
fn capability_that_the_runtime_lacks() {
    only_davit!(); // runc 1.1 fails
    let mut t = Test::new();
    t.config.caps(&["CAP_KILL", "CAP_SYS_TIME"]);
    t.sh("cat /proc/self/status").write();
    let (log, bundle) = (t.path("log"), t.bundle.to_str().unwrap());
    let cmd = t.cmd(&["--log", &log, "--log-format", "json", "run", "--bundle", bundle, &t.id]);
    let status = cmd.wrap(["setpriv", "--bounding-set", "-sys_time"]).output().ok();
    for name in ["CapBnd", "CapPrm", "CapEff"] {
        assert_eq!(host::field(&status, name), "0000000000000020", "{name}");
    }
    let told = warnings(&log);
    assert!(told.iter().any(|text| text.contains("permitted: can't grant CAP_SYS_TIME")), "{told:?}");
}

/// [P11] [E13] sets that contradict each other: granted so far as can be, each with a warning.
#[test]
fn sets_that_contradict_each_other() {
    only_davit!();
    let mut t = Test::new();
    t.config.set("process.user", json!({ "uid": 1000, "gid": 1000 })).set(
        "process.capabilities",
        json!({
            "bounding": ["CAP_CHOWN", "CAP_KILL"], "permitted": ["CAP_CHOWN", "CAP_KILL"],
            "effective": ["CAP_CHOWN", "CAP_FOWNER"], "inheritable": ["CAP_CHOWN", "CAP_NET_RAW"],
            "ambient": ["CAP_CHOWN", "CAP_KILL"]
        }),
    );
    t.sh("cat /proc/self/status").write();
    let (log, bundle) = (t.path("log"), t.bundle.to_str().unwrap());
    let output = t.rt(&["--log", &log, "--log-format", "json", "run", "--bundle", bundle, &t.id]);
    let status = output.ok();
    for (name, set) in [("CapBnd", "21"), ("CapInh", "01"), ("CapAmb", "01"), ("CapEff", "01")] {
        assert_eq!(host::field(&status, name), format!("{set:0>16}"), "{name}");
    }
    let told = warnings(&log);
    for text in [
        "effective: can't grant CAP_FOWNER",
        "inheritable: can't grant CAP_NET_RAW",
        "can't raise ambient capability CAP_KILL: ",
    ] {
        assert!(told.iter().any(|line| line.contains(text)), "{text}: {told:?}");
    }
}

/// [P13] all sixteen limits by name, each with values of its own.
#[test]
fn every_rlimit() {
    let names = [
        ("CPU", "Max cpu time"),
        ("FSIZE", "Max file size"),
        ("DATA", "Max data size"),
        ("STACK", "Max stack size"),
        ("CORE", "Max core file size"),
        ("RSS", "Max resident set"),
        ("NPROC", "Max processes"),
        ("NOFILE", "Max open files"),
        ("MEMLOCK", "Max locked memory"),
        ("AS", "Max address space"),
        ("LOCKS", "Max file locks"),
        ("SIGPENDING", "Max pending signals"),
        ("MSGQUEUE", "Max msgqueue size"),
        ("NICE", "Max nice priority"),
        ("RTPRIO", "Max realtime priority"),
        ("RTTIME", "Max realtime timeout"),
    ];
    // Hard limits of 0 by default, which only CAP_SYS_RESOURCE raises.
    let raise = u64::from(host::capable(CAP_SYS_RESOURCE));
    let value = |number: u64, name: &str| match name {
        "NICE" | "RTPRIO" => raise * number,
        "AS" | "DATA" | "STACK" | "FSIZE" => (1 << 30) + number * 4096,
        _ => 100 + number,
    };
    let mut t = Test::new();
    let list = (0..).zip(names).map(|(number, (name, _))| {
        let soft = value(number, name);
        json!({ "type": format!("RLIMIT_{name}"), "soft": soft, "hard": soft + soft.min(1) })
    });
    t.config.set("process.rlimits", list.collect::<Vec<_>>());
    let seen = t.out("cat /proc/self/limits");
    for (number, (name, title)) in (0..).zip(names) {
        let line = seen.lines().find_map(|line| line.strip_prefix(title)).expect(title);
        let words: Vec<_> = line.split_whitespace().take(2).collect();
        let soft = value(number, name);
        assert_eq!(words, [soft.to_string(), (soft + soft.min(1)).to_string()], "{name}");
    }
}

/// [P4] a working directory that is a file, or that nobody of the container may enter.
#[test]
fn cwd_that_cannot_be_entered() {
    let mut t = Test::new();
    t.file("plain", "");
    t.config.set("process.cwd", "/plain");
    t.sh("true");
    t.run().fails(1, "not a directory").says("/plain");
    t.assert_clean();
    only_davit!(); // runc's own process keeps the right to enter any directory
    let mut t = Test::new();
    std::fs::create_dir(t.rootfs.join("closed")).unwrap();
    std::os::unix::fs::chown(t.rootfs.join("closed"), Some(5), Some(5)).unwrap();
    std::fs::set_permissions(t.rootfs.join("closed"), PermissionsExt::from_mode(0o700)).unwrap();
    t.config.set("process.cwd", "/closed").set("process.user", json!({ "uid": 1000, "gid": 1000 }));
    t.sh("true");
    let cmd = t.bundle_cmd("run", &[]).wrap(["setpriv", "--bounding-set", "-dac_override,-dac_read_search"]);
    cmd.output().fails(1, "process.cwd: chdir to /closed: permission denied");
    t.assert_clean();
}

/// [P8] groups where setgroups(2) is denied, as in a user namespace without a map of groups of the host's giving.
#[test]
fn additional_groups_without_the_right() {
    only_davit!();
    let mut t = Test::new();
    t.config.set("process.user.additionalGids", json!([5]));
    t.sh("true");
    let cmd = t.bundle_cmd("run", &[]).wrap(["setpriv", "--bounding-set", "-setgid"]);
    cmd.output().fails(1, "process.user.additionalGids: ").says("cannot set any additional groups");
    t.assert_clean();
}

/// [P16] a profile where AppArmor is off is an error, `unconfined` is what the process is anyway.
#[test]
fn apparmor_is_off() {
    let enabled = std::fs::read("/sys/module/apparmor/parameters/enabled");
    need!(!enabled.is_ok_and(|text| text.starts_with(b"Y")), "AppArmor is on");
    only_davit!(); // runc from 1.0 on has other words
    refuses(
        |c| c.set("process.apparmorProfile", "docker-default"),
        &["process.apparmorProfile", "apparmor: config provided but apparmor not supported"],
    );
    let mut t = Test::new();
    for harmless in ["unconfined", ""] {
        t.config.set("process.apparmorProfile", harmless);
        assert_eq!(t.out("echo up"), "up");
    }
}

/// [P17] a label where SELinux is off.
#[test]
fn selinux_is_off() {
    need!(!Path::new("/sys/fs/selinux/enforce").exists(), "SELinux is on");
    refuses(
        |c| c.set("process.selinuxLabel", "system_u:system_r:container_t:s0"),
        &["selinux label is specified in config, but selinux is disabled or not supported"],
    );
    let mut t = Test::new();
    t.config.set("process.selinuxLabel", "");
    assert_eq!(t.out("echo up"), "up");
}
