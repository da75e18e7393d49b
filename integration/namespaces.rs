//! Namespaces: made, shared, joined by path; time offsets.

use crate::support::*;
use std::os::unix::fs::MetadataExt;

const KINDS: [(&str, &str); 6] = [
    ("pid", "pid"),
    ("network", "net"),
    ("mount", "mnt"),
    ("ipc", "ipc"),
    ("uts", "uts"),
    ("cgroup", "cgroup"),
];

fn ns(pid: i32, file: &str) -> u64 {
    let path = format!("/proc/{pid}/ns/{file}");
    std::fs::metadata(&path).unwrap_or_else(|error| panic!("{path}: {error}")).ino()
}

/// [N1] each type in the configuration is a new one.
#[test]
fn each_is_new() {
    let mut t = Test::new();
    t.config.namespace("cgroup");
    t.sh("sleep 30");
    t.detach();
    let (pid, me) = (t.pid(), std::process::id().cast_signed());
    for (_, file) in KINDS {
        assert_ne!(ns(pid, file), ns(me, file), "{file}");
    }
    assert_eq!(ns(pid, "user"), ns(me, "user"));
}

/// [N4] [N17] a type that is absent is the runtime's own.
#[test]
fn absent_is_shared() {
    for (kind, file) in KINDS.into_iter().filter(|(kind, _)| *kind != "mount") {
        let mut t = Test::new();
        t.config.leave(kind);
        t.config.remove("hostname");
        if kind == "ipc" {
            t.config.unmount("/dev/mqueue");
        }
        t.sh("sleep 30");
        t.detach();
        assert_eq!(ns(t.pid(), file), ns(std::process::id().cast_signed(), file), "{kind}");
    }
}

/// [N5] [N6] every type joined by path at once.
#[test]
fn joined_by_path() {
    let mut a = Test::new();
    a.sh("sleep 30");
    a.config.namespace("cgroup").set("hostname", "first");
    a.detach();
    let mut b = a.sibling();
    let pid = a.pid();
    for (kind, file) in KINDS.into_iter().filter(|(kind, _)| *kind != "mount") {
        b.config.join(kind, &format!("/proc/{pid}/ns/{file}"));
    }
    b.config.remove("hostname");
    b.sh("hostname; sleep 30");
    b.detach();
    for (kind, file) in KINDS {
        assert_eq!(ns(b.pid(), file) == ns(pid, file), kind != "mount", "{kind}");
    }
}

/// [N5] a bind-mounted namespace file.
#[test]
fn joined_by_a_bound_file() {
    let mut a = Test::new();
    a.sh("sleep 30");
    a.detach();
    let file = a.dir.join("netns");
    std::fs::write(&file, "").unwrap();
    rustix::mount::mount_bind(format!("/proc/{}/ns/net", a.pid()), &file).unwrap();
    let mut b = a.sibling();
    b.config.join("network", file.to_str().unwrap());
    b.sh("sleep 30");
    b.detach();
    let same = ns(b.pid(), "net") == ns(a.pid(), "net");
    rustix::mount::unmount(&file, rustix::mount::UnmountFlags::DETACH).unwrap();
    assert!(same);
}

/// [N6] [N12] every type joined by path in every combination of whose it is (a container's with a user namespace, one's
/// without) and of the own user namespace (joined, new, none).
#[test]
fn joined_in_every_combination() {
    let mut inside = Test::new();
    inside.config.namespace("cgroup").user_namespace();
    inside.open_to_all();
    let mut plain = Test::new();
    plain.config.namespace("cgroup").namespace("time");
    for t in [&mut inside, &mut plain] {
        t.sh("sleep 30");
        t.detach();
    }
    let joined = format!("/proc/{}/ns/user", inside.pid());
    type Own<'a> = (&'a str, &'a dyn Fn(&mut Config));
    let own: [Own<'_>; 3] = [
        ("joined", &|config| _ = config.join("user", &joined)),
        ("new", &|config| _ = config.user_namespace()),
        ("none", &|_| {}),
    ];
    for (whose, user) in own {
        for owner in [&inside, &plain] {
            let pid = owner.pid();
            let mut b = Test::new();
            b.open_to_all();
            user(&mut b.config);
            // Devices of the message queue and of the network are the other's: what would mount them needs rights over it.
            b.config.unmount("/dev/mqueue").unmount("/sys").unmount("/proc").remove("hostname");
            b.config.set("linux.maskedPaths", json!([])).set("linux.readonlyPaths", json!([]));
            let kinds =
                [("network", "net"), ("ipc", "ipc"), ("uts", "uts"), ("pid", "pid"), ("cgroup", "cgroup")];
            let kinds = kinds.into_iter().chain((owner.id == plain.id).then_some(("time", "time")));
            for (kind, file) in kinds.clone() {
                b.config.join(kind, &format!("/proc/{pid}/ns/{file}"));
            }
            b.sh("sleep 30");
            b.bundle_cmd("run", &["--detach"]).output().ok();
            for (_, file) in kinds {
                assert_eq!(
                    ns(b.pid(), file),
                    ns(pid, file),
                    "{file}, user namespace {whose}, of {}",
                    owner.id
                );
            }
            let user = ns(b.pid(), "user");
            assert_eq!(user == ns(inside.pid(), "user"), whose == "joined", "{whose}");
            assert_eq!(user == ns(plain.pid(), "user"), whose == "none", "{whose}");
        }
    }
}

/// [N12] a user namespace that is joined and one type of another owner at a time, the others new.
#[test]
fn one_of_another_owner() {
    only_davit!(); // runc 1.1 wants root's ids in the config
    let mut a = Test::new();
    a.user_namespace();
    a.sh("sleep 30");
    a.detach();
    let user = format!("/proc/{}/ns/user", a.pid());
    for (kind, file) in [("network", "net"), ("ipc", "ipc"), ("uts", "uts"), ("pid", "pid")] {
        let mut b = a.sibling();
        b.open_to_all();
        b.config.join("user", &user).join(kind, &format!("/proc/self/ns/{file}")).remove("hostname");
        b.config.unmount("/dev/mqueue").unmount("/sys").unmount("/proc");
        b.config.set("linux.maskedPaths", json!([])).set("linux.readonlyPaths", json!([]));
        b.sh("sleep 30");
        b.detach();
        assert_eq!(ns(b.pid(), file), ns(std::process::id().cast_signed(), file), "{kind}");
        assert_eq!(ns(b.pid(), "user"), ns(a.pid(), "user"), "{kind}");
        assert_ne!(ns(b.pid(), "mnt"), ns(a.pid(), "mnt"), "{kind}");
    }
}

/// [N5] whatever else may be behind a path: a fifo (which nobody writes), a directory, a device, a socket, a link to nothing, a
/// namespace of another type; for every type.
#[test]
fn wrong_kinds_of_files() {
    only_davit!(); // its texts
    let mut t = Test::new();
    t.sh("true");
    for (name, kind) in [("fifo", "p"), ("file", "f"), ("link", "l"), ("socket", "s")] {
        let path = t.dir.join(name);
        match kind {
            "p" => {
                rustix::fs::mknodat(
                    rustix::fs::CWD,
                    &path,
                    rustix::fs::FileType::Fifo,
                    rustix::fs::Mode::from_raw_mode(0o600),
                    0,
                )
                .unwrap();
            }
            "l" => std::os::unix::fs::symlink("/nowhere", &path).unwrap(),
            "s" => drop(std::os::unix::net::UnixListener::bind(&path).unwrap()),
            _ => std::fs::write(&path, "x").unwrap(),
        }
    }
    for (kind, file) in KINDS.into_iter().chain([("user", "user"), ("time", "time")]) {
        let other = if file == "uts" { "/proc/self/ns/net" } else { "/proc/self/ns/uts" };
        let own = ["fifo", "file", "link", "socket"].map(|name| t.path(name));
        for path in own.iter().map(String::as_str).chain(["/proc", "/dev/null", other]) {
            let before = t.config.clone();
            t.config.join(kind, path);
            let output = t.create();
            output.says("linux.namespaces[");
            output.says(&format!("{kind} namespace {path}: "));
            if !path.ends_with("link") && !path.ends_with("socket") {
                output.says("(hint: the path is not a namespace of this type)");
            }
            output.fails(1, "");
            t.assert_clean();
            t.config = before;
        }
    }
}

/// [N5] a path that is not there, that is of another type, that is no namespace, that is relative.
#[test]
fn bad_paths() {
    for path in ["/proc/self/ns/uts", "/nothere", "/etc/passwd", "relative"] {
        let mut t = Test::new();
        t.config.join("network", path);
        t.sh("true");
        let output = t.create().code(1);
        if davit_only() {
            output.says(path);
            output.fails(1, "network");
        }
        t.assert_clean();
    }
}

/// [N7] a container in another's pid namespace is a process like others there.
#[test]
fn pid_namespace_of_another() {
    let mut a = Test::new();
    a.sh("sleep 30");
    a.detach();
    let mut b = a.sibling();
    b.config.join("pid", &format!("/proc/{}/ns/pid", a.pid()));
    b.sh("echo $$; cat /proc/1/cmdline | tr '\\0' ' '");
    let out = b.run().ok();
    let (own, first) = out.split_once('\n').unwrap();
    assert_ne!(own, "1");
    assert!(first.contains("sleep 30"), "{first}");
    assert_eq!(a.status(), "running", "the end of b is not the end of a");
}

/// [N1] pid 1 in its own pid namespace, and nothing else to see.
#[test]
fn pid_one() {
    let mut t = Test::new();
    t.args(&["/bin/sh", "-c", "echo $$; ls -d /proc/[0-9]* | wc -l; true"]);
    let out = t.run().ok();
    let mut lines = out.lines();
    assert_eq!(lines.next(), Some("1"));
    assert!(lines.next().unwrap().trim().parse::<u32>().unwrap() <= 3, "{out}");
}

/// [R14] lo is up in a new network namespace.
#[test]
fn loopback_is_up() {
    let mut t = Test::new();
    let out = t.out("ip addr show lo");
    assert!(out.contains("UP") && out.contains("127.0.0.1/8"), "{out}");
    assert_eq!(t.out("ls /sys/class/net"), "lo");
}

/// [N14] in a cgroup namespace the container sees itself at the root.
#[test]
fn cgroup_namespace_root() {
    let mut t = Test::new();
    t.config.namespace("cgroup");
    let out = t.out("cat /proc/self/cgroup");
    assert!(!out.is_empty() && out.lines().all(|line| line.ends_with(":/")), "{out}");
}

/// [N13] a type that the kernel lacks is named. The kernel's answer is strace's.
#[test]
fn types_that_the_kernel_lacks() {
    only_davit!(); // its texts
    need!(std::path::Path::new("/usr/bin/strace").exists(), "strace is not installed");
    let mut t = Test::new();
    t.sh("true");
    t.config.namespace("cgroup").namespace("time");
    t.config.set("linux.timeOffsets", json!({ "boottime": { "secs": 1 } }));
    let strace = |t: &Test, inject: &str| {
        let trace = t.path("trace");
        let call = inject.split(':').next().unwrap();
        t.bundle_cmd("run", &[]).wrap([
            "strace",
            "-D",
            "-f",
            "-q",
            "-o",
            &trace,
            "-e",
            &format!("trace={call}"),
            "-e",
            &format!("inject={inject}"),
        ])
    };
    let says = |kind: &str| format!("linux.namespaces: {kind} namespaces aren't enabled in the kernel");
    for (inject, kind) in [("unshare:error=EINVAL:when=1", "time"), ("unshare:error=EINVAL:when=2", "cgroup")]
    {
        strace(&t, inject).output().fails(1, &says(kind));
        t.assert_clean();
    }
    // Made by clone3: the kernel does not say which it is, the files of the types do.
    t.config.remove("linux.timeOffsets");
    strace(&t, "clone3:error=EINVAL").output().fails(1, "isn't enabled in the kernel");
    let without_files = |t: &Test| {
        let hidden = "mount -t tmpfs none /proc/$$/ns && exec \"$@\"";
        strace(t, "clone3:error=EINVAL").shell(hidden).wrap(["unshare", "-m"]).output()
    };
    without_files(&t).fails(1, &says("time"));
    t.config.user_namespace();
    without_files(&t).fails(1, &says("user"));
    t.assert_clean();
}

/// [N15] a time namespace with offsets for both clocks.
#[test]
fn time_namespace() {
    only_davit!(); // runc from 1.2 on
    let mut t = Test::new();
    t.config.namespace("time");
    t.config.set(
        "linux.timeOffsets",
        json!({ "monotonic": { "secs": 7200, "nanosecs": 500 }, "boottime": { "secs": 1_000_000 } }),
    );
    let out = t.out("cut -d. -f1 /proc/uptime; cat /proc/self/timens_offsets | tr -s ' '");
    let mut lines = out.lines();
    let uptime: u64 = lines.next().unwrap().parse().unwrap();
    assert!(uptime >= 1_000_000, "{uptime}");
    assert_eq!(lines.collect::<Vec<_>>(), ["monotonic 7200 500", "boottime 1000000 0"]);
}

/// [N15] a time namespace without offsets, as Docker writes it today, and joined by path.
#[test]
fn time_namespace_joined() {
    only_davit!(); // runc from 1.2 on
    let mut a = Test::new();
    a.config.namespace("time");
    a.sh("sleep 30");
    a.detach();
    let me = std::process::id().cast_signed();
    assert_ne!(ns(a.pid(), "time"), ns(me, "time"));
    let mut b = a.sibling();
    b.config.join("time", &format!("/proc/{}/ns/time", a.pid()));
    b.sh("sleep 30");
    b.detach();
    assert_eq!(ns(b.pid(), "time"), ns(a.pid(), "time"));
}

/// [N15] offsets need a new time namespace, and a clock that exists.
#[test]
fn bad_time_offsets() {
    only_davit!();
    type Change = fn(&mut Config) -> &mut Config;
    let cases: [(&str, Change); 3] = [
        ("time", |c| c.set("linux.timeOffsets", json!({ "monotonic": { "secs": 1 } }))),
        ("linux.timeOffsets.bogus: is not \"monotonic\" or \"boottime\"", |c| {
            c.namespace("time").set("linux.timeOffsets", json!({ "bogus": { "secs": 1 } }))
        }),
        ("time namespace enabled, but both namespace path and time offsets specified", |c| {
            c.join("time", "/proc/self/ns/time")
                .set("linux.timeOffsets", json!({ "boottime": { "secs": 1 } }))
        }),
    ];
    for (text, change) in cases {
        let mut t = Test::new();
        change(&mut t.config);
        t.sh("true");
        t.run().fails(1, text);
        t.assert_clean();
    }
}

/// [N1] the container's namespaces can be joined by /proc/PID/ns as soon as create has returned.
#[test]
fn namespaces_are_there_after_create() {
    let mut t = Test::new();
    t.config.set("hostname", "early");
    t.create().ok();
    let target = t.pid().to_string();
    let output = Cmd::new(&t.dir, ["nsenter", "-t", &target, "-u", "-n", "hostname"]).output();
    assert_eq!(output.ok(), "early");
}
