//! Containers of an ordinary user, with and without subordinate ids, and of root in another user namespace.

use crate::support::user::{ID, PATH, User, has_helpers, with_subordinate_ids};
use crate::support::*;
use std::os::unix::fs::{MetadataExt, PermissionsExt};

/// What `unshare -r` gives: root over a namespace that has the user's own id alone.
const IN_USER_NAMESPACE: [&str; 2] = ["/usr/bin/unshare", "-r"];

/// As [`User::cmd`] for `run`, called by the user as root of a user namespace.
fn run_inside(u: &User) -> Cmd {
    u.t.write();
    let davit = u.davit().to_str().unwrap();
    let bundle = u.t.bundle.to_str().unwrap();
    Cmd::new(&u.t.dir, IN_USER_NAMESPACE)
        .args([davit, "--root", u.t.root.to_str().unwrap(), "run", "--bundle", bundle, &u.t.id])
        .wrap(["/usr/bin/setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "--inh-caps=-all"])
}

/// [U1] [U8] [U11] [S1] every verb as an ordinary user; the state lies below XDG_RUNTIME_DIR and its directory is sticky.
#[test]
fn every_verb() {
    let mut u = User::new();
    u.t.sh("echo up > /tmp/up; sleep 30");
    u.bundle_cmd("create", &[]).output().ok();
    let mode = std::fs::metadata(&u.t.root).unwrap();
    assert_eq!((mode.permissions().mode() & 0o7777, mode.uid()), (0o1700, ID));
    let state: Value = serde_json::from_str(&u.verb(&["state"]).ok()).unwrap();
    assert_eq!((&state["status"], &state["owner"]), (&json!("created"), &json!("nobody")));
    u.verb(&["start"]).ok();
    let up = u.t.rootfs.join("tmp/up");
    host::wait_until("up", || up.exists());
    assert_eq!(std::fs::metadata(&up).unwrap().uid(), ID);
    let list = u.cmd(&["list"]).output().ok();
    assert!(list.lines().any(|line| line.starts_with(&u.t.id) && line.ends_with("nobody")), "{list}");
    u.verb(&["delete"]).fails(1, "running");
    u.cmd(&["kill", &u.t.id, "KILL"]).output().ok();
    u.t.wait_status("stopped");
    u.verb(&["delete"]).ok();
    u.t.assert_clean();
}

/// [U1] [V24] [V25] [V29] [V30] [S27] [S28] `exec` by the user: into all of init's namespaces, as its root, with its exit code,
/// and with what the options say as far as one id goes.
#[test]
fn exec_by_the_user() {
    let mut u = User::new();
    u.t.config.set("process.env", json!(["PATH=/bin", "OF=init"])).caps(&["CAP_KILL"]);
    u.detach("exec sleep 1000");
    let exec = |options: &[&str], script: &str| {
        u.cmd(&["exec"]).args(options).args([&u.t.id, "sh", "-c", script]).output()
    };
    let kinds = ["user", "mnt", "pid", "ipc", "uts", "cgroup", "net", "time"];
    let script = kinds.map(|kind| format!("readlink /proc/self/ns/{kind}")).join("; ");
    let of_init = |kind| std::fs::read_link(format!("/proc/{}/ns/{kind}", u.t.pid())).unwrap();
    let wanted = kinds.map(|kind| of_init(kind).display().to_string()).join("\n");
    assert_eq!(exec(&[], &script).ok(), wanted);
    let out =
        exec(&[], "id -u; tr -s ' ' < /proc/self/uid_map; cat /proc/self/setgroups; echo $OF; hostname").ok();
    assert_eq!(out, "0\n 0 65534 1\ndeny\ninit\nplain");
    let status = exec(&["--cap", "CAP_CHOWN"], "cat /proc/self/status").ok();
    for (name, wanted) in [("CapEff", "21"), ("CapBnd", "21"), ("CapInh", "0"), ("SigBlk", "0")] {
        assert_eq!(
            u64::from_str_radix(&host::field(&status, name), 16).unwrap(),
            u64::from_str_radix(wanted, 16).unwrap(),
            "{name}"
        );
    }
    exec(&["--cwd", "/tmp"], "touch made; exit 7").code(7);
    assert_eq!(std::fs::metadata(u.t.rootfs.join("tmp/made")).unwrap().uid(), ID);
    exec(&[], "kill -9 $$").code(137);
    exec(&["-u", "5"], "true").fails(255, "unmapped");
    exec(&["-g", "5"], "true").fails(255, "additional");
    let file = u.t.path("run/exec.pid");
    exec(&["--detach", "--pid-file", &file], "exec sleep 1001").ok();
    let pid: i32 = std::fs::read_to_string(&file).unwrap().parse().unwrap();
    assert_eq!(std::fs::metadata(format!("/proc/{pid}")).unwrap().uid(), ID);
    assert_eq!(of_init("user"), std::fs::read_link(format!("/proc/{pid}/ns/user")).unwrap());
    u.cmd(&["delete", "--force", &u.t.id]).output().ok();
    host::wait_until("its end", || !host::alive(pid));
    u.t.assert_clean();
    u.verb(&["exec"]).code(255);
}

/// [U1] [V60] what `spec --rootless` writes runs as it is, but for the terminal that a test has not.
#[test]
fn the_rootless_spec_runs() {
    let u = User::new();
    let path = u.t.bundle.join("config.json");
    u.cmd(&["spec", "--rootless", "--bundle", u.t.bundle.to_str().unwrap()]).output().ok();
    assert_eq!(std::fs::metadata(&path).unwrap().uid(), ID);
    let mut config: Value = serde_json::from_str(&std::fs::read_to_string(&path).unwrap()).unwrap();
    config["process"]["terminal"] = json!(false);
    config["process"]["args"] =
        json!(["sh", "-c", "id -u; hostname; ls /sys/fs/cgroup | wc -l; tr -s ' ' < /proc/self/uid_map"]);
    std::fs::write(&path, config.to_string()).unwrap();
    let out = u.cmd(&["run", "--bundle", u.t.bundle.to_str().unwrap(), &u.t.id]).output().ok();
    let lines: Vec<_> = out.lines().collect();
    assert_eq!((lines[0], lines[1], lines[3]), ("0", "davit", " 0 65534 1"), "{out}");
    assert_ne!(lines[2], "0");
}

/// [U1] the files that the runtime makes in a directory of its own are nobody else's to read; without a place for the
/// state the error says what to set.
#[test]
fn the_place_of_the_state() {
    let u = User::new();
    u.t.write();
    let cmd = u.cmd(&["run", "--bundle", u.t.bundle.to_str().unwrap(), &u.t.id]).only_env(&[("PATH", PATH)]);
    cmd.output().fails(1, "XDG_RUNTIME_DIR");
}

/// [N10] [U1] [P7] [P8] subordinate ids by newuidmap and newgidmap: other users and groups in the container, and whose files they
/// are outside.
#[test]
fn subordinate_ids() {
    need!(has_helpers(), "the package uidmap is not installed");
    let mut u = User::new();
    u.map(700_000, 65_535);
    u.t.config.set("process.user", json!({ "uid": 5, "gid": 6, "additionalGids": [7, 8] }));
    u.t.sh("id -u; id -G; touch /tmp/made; tr -s ' ' < /proc/self/uid_map; tr -s ' ' < /proc/self/gid_map; cat /proc/self/setgroups");
    let out = with_subordinate_ids(u.bundle_cmd("run", &[]), "700000:65536").output().ok();
    let map = " 0 65534 1\n 1 700000 65535";
    assert_eq!(out, format!("5\n6 7 8\n{map}\n{map}\nallow"));
    let made = std::fs::metadata(u.t.rootfs.join("tmp/made")).unwrap();
    assert_eq!((made.uid(), made.gid()), (700_004, 700_005));
}

/// [N10] as many lines as the kernel takes, by newuidmap.
#[test]
fn many_subordinate_ids() {
    need!(has_helpers(), "the package uidmap is not installed");
    let mut u = User::new();
    let line = |at: u32, host: u32| json!({ "containerID": at, "hostID": host, "size": 1 });
    let lines = |count: u32| -> Vec<Value> {
        // Small numbers, as all lines must fit into one page.
        (0..count).map(|at| if at == 0 { line(0, ID) } else { line(at, 7000 + 2 * at) }).collect()
    };
    u.t.config.set("linux.uidMappings", lines(340)).set("linux.gidMappings", lines(340));
    u.t.sh("wc -l < /proc/self/uid_map; wc -l < /proc/self/gid_map");
    let out = with_subordinate_ids(u.bundle_cmd("run", &[]), "7000:1000").output().ok();
    assert_eq!(out, "340\n340");
    u.t.config.set("linux.uidMappings", lines(341));
    u.bundle_cmd("run", &[]).output().fails(1, "linux.uidMappings: 341 lines, the kernel takes 340");
}

/// [N10] [U1] ids that are not the user's: what newuidmap says, and where ranges are given.
#[test]
fn ids_of_others_are_refused() {
    need!(has_helpers(), "the package uidmap is not installed");
    let mut u = User::new();
    u.map(700_000, 65_535);
    let output = with_subordinate_ids(u.bundle_cmd("run", &[]), "700000:100").output();
    output.says("linux.uidMappings: newuidmap");
    output.says("uid range [1-65536) -> [700000-765535) not allowed");
    output.says("nobody:100000:65536");
    output.fails(1, "/etc/subuid");
    u.t.assert_clean();
}

/// [N10] [U1] without newuidmap the error names the package.
#[test]
fn missing_newuidmap() {
    let mut u = User::new();
    u.map(700_000, 65_535);
    let runtime_dir = u.t.path("run");
    let cmd = u.bundle_cmd("run", &[]).only_env(&[("PATH", "/nowhere"), ("XDG_RUNTIME_DIR", &runtime_dir)]);
    let output = cmd.output();
    output.says("linux.uidMappings: newuidmap is not in PATH");
    output.fails(1, "install the package uidmap");
    u.t.assert_clean();
}

/// [N10] [E18] Ctrl-C while newuidmap waits for its directory service ends it, and the error says so.
#[test]
fn interrupted_newuidmap() {
    only_davit!();
    let mut u = User::new();
    u.map(700_000, 65_535);
    let directory = u.t.dir.join("bin");
    let program = directory.join("newuidmap");
    std::fs::create_dir(&directory).unwrap();
    host::make_program(|| std::fs::write(&program, "#!/bin/sh\nkill -INT $$\nsleep 5\n")).unwrap();
    std::fs::set_permissions(&program, PermissionsExt::from_mode(0o755)).unwrap();
    let (path, runtime_dir) = (format!("{}:{PATH}", directory.display()), u.t.path("run"));
    let cmd = u.bundle_cmd("run", &[]).only_env(&[("PATH", &path), ("XDG_RUNTIME_DIR", &runtime_dir)]);
    let output = cmd.output().fails(1, "linux.uidMappings: newuidmap ");
    output.says("signal: 2 (SIGINT)");
    assert!(!output.stderr.contains("/etc/subuid"), "{output}");
    u.t.assert_clean();
}

/// [N11] root need not be mapped when the container's user is.
#[test]
fn root_is_not_mapped() {
    let mut u = User::new();
    let map = json!([{ "containerID": 1000, "hostID": ID, "size": 1 }]);
    u.t.config.set("linux.uidMappings", map.clone()).set("linux.gidMappings", map);
    u.t.config.set("process.user", json!({ "uid": 1000, "gid": 1000 }));
    assert_eq!(
        u.sh("id -u; id -g; touch /tmp/a; stat -c %u /tmp/a; cat /proc/self/status | grep CapEff").ok(),
        "1000\n1000\n1000\nCapEff:\t0000000000000000"
    );
    u.t.config.set("process.user", json!({ "uid": 7, "gid": 1000 }));
    u.sh("true").fails(1, "unmapped");
    u.t.assert_clean();
}

/// [N18] a user namespace is added where the config has none, with a warning.
#[test]
fn a_user_namespace_is_added() {
    let mut u = User::new();
    u.t.config.leave("user").remove("linux.uidMappings").remove("linux.gidMappings");
    let output = u.sh("id -u; tr -s ' ' < /proc/self/uid_map").code(0);
    assert_eq!(output.stdout, "0\n 0 65534 1\n");
    output.says("level=warning");
    output.says("linux.namespaces: a user namespace is added");
    u.t.config.set("process.user", json!({ "uid": 33, "gid": 44 }));
    let output = u.sh("id -u; id -g; tr -s ' ' < /proc/self/uid_map").code(0);
    assert_eq!(output.stdout, "33\n44\n 33 65534 1\n");
    u.t.config.set("linux.uidMappings", json!([{ "containerID": 0, "hostID": ID, "size": 1 }]));
    u.sh("true").fails(1, "user namespace mappings specified, but user namespace isn't enabled");
}

/// [U6] [P8] with the own group alone no others can be set.
#[test]
fn groups_are_denied() {
    let mut u = User::new();
    assert_eq!(u.sh("cat /proc/self/setgroups; id -G").ok(), "deny\n0");
    u.t.config.set("process.user.additionalGids", json!([5]));
    let output = u.sh("true");
    output.says("process.user.additionalGids: ");
    output.fails(1, "cannot set any additional groups in a rootless container");
    u.t.assert_clean();
}

/// [U6] [X14] the caller's groups stay if that is asked for, and only then.
#[test]
fn groups_are_kept() {
    let mut t = Test::new();
    t.sh("grep Groups /proc/self/status");
    let run = |t: &Test| {
        let cmd = t.bundle_cmd("run", &[]).wrap(["/usr/bin/setpriv", "--groups=4321,54321"]);
        host::field(&cmd.output().ok(), "Groups")
    };
    assert_eq!(run(&t), "");
    t.config.set("annotations", json!({ "run.oci.keep_original_groups": "1" }));
    assert_eq!(run(&t), "4321 54321");
    t.config.set("process.user.additionalGids", json!([5]));
    t.run().fails(1, "run.oci.keep_original_groups");
}

/// [U4] [C15] [E12] limits and a cgroup path need the right to make cgroups; without them it runs, and verbs on cgroups say why
/// they can't.
#[test]
fn without_cgroups() {
    let mut u = User::new();
    type Case = (&'static str, Value, &'static str);
    let cases: [Case; 3] = [
        (
            "linux.resources.memory.limit",
            json!(100_000_000),
            "linux.resources.memory.limit: rootless needs no limits",
        ),
        ("linux.resources.pids.limit", json!(50), "linux.resources.pids.limit: cannot set pids limit"),
        (
            "linux.cgroupsPath",
            json!("/davit-nope/x"),
            "linux.cgroupsPath: rootless needs no limits + no cgrouppath",
        ),
    ];
    for (path, value, text) in cases {
        u.t.config.set(path, value);
        u.sh("true").fails(1, text);
        u.t.assert_clean();
        let part = if path.contains("resources") { "linux.resources" } else { path };
        u.t.config.remove(part);
    }
    u.detach("sleep 30");
    u.verb(&["ps"]).fails(1, "the container is not using cgroups");
    u.verb(&["pause"]).fails(1, "the container has no cgroup");
    u.verb(&["resume"]).code(1);
    u.cmd(&["kill", &u.t.id, "KILL"]).output().ok();
    u.t.wait_status("stopped");
    u.verb(&["delete"]).ok();
}

/// [U3] [C15] [Q1] in cgroups that were given to the user a container has its limits.
#[test]
fn delegated_cgroups() {
    let mut u = User::new();
    let delegated = cgroup::Delegated::new(&u.t.cgroup);
    need!(delegated.has("pids"), "the pids controller can't be delegated here");
    u.t.config.set("linux.resources.pids.limit", 41);
    u.t.sh("sleep 30");
    let cmd = delegated.enter(u.bundle_cmd("run", &["--detach"]));
    cmd.output().ok();
    let pid = u.t.pid();
    let own = format!("{}/{}", delegated.parent(), u.t.id);
    assert_eq!(cgroup::read(&own, "pids.max", "pids.max"), "41");
    assert_eq!(cgroup::pids(&own), [pid]);
    u.verb(&["ps", "--format", "json"]).code(0);
    if cgroup::unified() {
        u.verb(&["pause"]).ok();
        assert_eq!(u.t.status(), "paused");
        u.verb(&["resume"]).ok();
    }
    u.cmd(&["delete", "--force", &u.t.id]).output().ok();
    assert!(cgroup::dirs(&own).is_empty(), "{own} is left");
}

/// [U5] [P18] the OOM score can be raised; what may not be lowered stays as it is.
#[test]
fn oom_score() {
    let mut u = User::new();
    let own = std::fs::read_to_string("/proc/self/oom_score_adj").unwrap();
    u.t.config.set("process.oomScoreAdj", 300);
    assert_eq!(u.sh("cat /proc/self/oom_score_adj").ok(), "300");
    u.t.config.set("process.oomScoreAdj", -500);
    assert_eq!(u.sh("cat /proc/self/oom_score_adj").ok(), own.trim());
    u.t.config.leave("user").remove("linux.uidMappings").remove("linux.gidMappings");
    u.t.sh("cat /proc/self/oom_score_adj");
    assert_eq!(run_inside(&u).output().ok(), own.trim());
}

/// [U9] [U10] [R7] devices are the host's, rules for them are passed over, keys and the network's parameters are the user's own.
#[test]
fn what_a_user_namespace_allows() {
    let mut u = User::new();
    u.t.config.set("linux.resources", json!({ "devices": [{ "allow": false, "access": "rwm" }] }));
    u.t.config
        .namespace("network")
        .set("linux.sysctl", json!({ "net.ipv4.ip_unprivileged_port_start": "7" }));
    let script = "echo x > /dev/null && head -c 4 /dev/zero | wc -c; stat -c %t:%T /dev/urandom
                  cat /proc/sys/net/ipv4/ip_unprivileged_port_start; ip addr show lo | grep -c 127.0.0.1/8";
    assert_eq!(u.sh(script).ok(), "4\n1:9\n7\n1");
}

/// [U7] with a network and a pid namespace of its own, sysfs and procfs are fresh ones; without, they are bound.
#[test]
fn fresh_and_bound_kernel_file_systems() {
    let mut u = User::new();
    let kinds = "awk '$5 == \"/sys\" || $5 == \"/proc\" { sub(/.* - /, \"\"); print $1 }' /proc/self/mountinfo | sort -u; ls /sys/class/net";
    u.t.config.namespace("network").unmount("/sys");
    u.t.config.mount("/sys", "sysfs", "sysfs", &["nosuid", "noexec", "nodev", "ro"]);
    assert_eq!(u.sh(kinds).ok(), "proc\nsysfs\nlo");
    let mut u = User::new();
    u.t.config.leave("pid").unmount("/proc").mount("/proc", "none", "/proc", &["rbind"]);
    u.t.config.set("linux.maskedPaths", json!([])).set("linux.readonlyPaths", json!([]));
    let me = std::process::id();
    assert_eq!(u.sh(&format!("test -d /proc/{me} && test -d /sys/class/net && echo both")).ok(), "both");
}

/// [U2] root of another user namespace: devices are bound, device rules passed over, groups can't be set.
#[test]
fn inside_of_a_user_namespace() {
    let mut u = User::new();
    u.t.config.leave("user").remove("linux.uidMappings").remove("linux.gidMappings");
    u.t.config.set("linux.resources", json!({ "devices": [{ "allow": false, "access": "rwm" }] }));
    let device = json!({ "path": "/dev/full2", "type": "c", "major": 1, "minor": 7 });
    u.t.sh("id -u; tr -s ' ' < /proc/self/uid_map; stat -c %t:%T /dev/null; cat /proc/self/setgroups");
    assert_eq!(run_inside(&u).output().ok(), "0\n 0 65534 1\n1:3\ndeny");
    // A node that the host has not can't be had there.
    u.t.config.set("linux.devices", json!([device]));
    run_inside(&u).output().fails(1, "linux.devices[0] (/dev/full2)");
    u.t.assert_clean();
    // With a user namespace below it.
    u.t.config.remove("linux.devices");
    let map = json!([{ "containerID": 0, "hostID": 0, "size": 1 }]);
    u.t.config.namespace("user").set("linux.uidMappings", map.clone()).set("linux.gidMappings", map);
    u.t.sh("id -u; tr -s ' ' < /proc/self/uid_map; stat -c %t:%T /dev/null");
    assert_eq!(run_inside(&u).output().ok(), "0\n 0 0 1\n1:3");
    u.t.config.set("process.user.additionalGids", json!([5]));
    run_inside(&u).output().fails(1, "process.user.additionalGids");
    u.t.assert_clean();
}

/// [U2] an identity map looks like the initial namespace; the namespace's inode tells.
#[test]
fn identity_map() {
    let mut t = Test::new();
    t.config.set("linux.resources.devices", json!([{ "allow": false, "access": "rwm" }]));
    t.config.remove("linux.cgroupsPath");
    t.sh("tr -s ' ' < /proc/self/uid_map; stat -c %t:%T /dev/null");
    let script = "unshare -U sh -c 'until id -u | grep -qx 0; do :; done; exec \"$@\"' sh \"$@\" & p=$!
        until [ \"$(readlink /proc/$p/ns/user)\" != \"$(readlink /proc/self/ns/user)\" ]; do :; done
        echo 0 0 4294967295 > /proc/$p/uid_map; echo 0 0 4294967295 > /proc/$p/gid_map; wait $p";
    let output = t.bundle_cmd("run", &[]).shell(script).output();
    assert_eq!(output.ok(), " 0 0 4294967295\n1:3");
}

/// [N12] [N6] [U1] a second container of the user in the first one's namespaces, as the containers of a pod are.
#[test]
fn joined_by_the_same_user() {
    let mut a = User::new();
    a.t.config.namespace("network");
    a.detach("sleep 30");
    let pid = a.t.pid();
    let mut b = a.sibling();
    for (kind, file) in [("user", "user"), ("network", "net"), ("ipc", "ipc"), ("uts", "uts"), ("pid", "pid")]
    {
        b.t.config.join(kind, &format!("/proc/{pid}/ns/{file}"));
    }
    b.t.config.remove("hostname");
    b.detach("sleep 30");
    for file in ["user", "net", "ipc", "uts", "pid", "mnt"] {
        let ns = |pid| std::fs::read_link(format!("/proc/{pid}/ns/{file}")).unwrap();
        assert_eq!(ns(b.t.pid()) == ns(pid), file != "mnt", "{file}");
    }
}

/// [N12] a namespace of the host's is not an ordinary user's to join.
#[test]
fn the_hosts_namespaces_are_not_joined() {
    let mut u = User::new();
    for (kind, file) in [("network", "net"), ("pid", "pid")] {
        let before = u.t.config.clone();
        u.t.config.join(kind, &format!("/proc/self/ns/{file}"));
        let output = u.sh("true");
        output.says(&format!("join {kind} namespace /proc/self/ns/{file}: operation not permitted"));
        output.fails(1, "it belongs to a user namespace over which");
        u.t.assert_clean();
        u.t.config = before;
    }
}

/// [N15] [U1] clocks of an ordinary user's container.
#[test]
fn time_namespace() {
    let mut u = User::new();
    u.t.config.namespace("time");
    u.t.config.set("linux.timeOffsets", json!({ "boottime": { "secs": 5_000_000 } }));
    let uptime: f64 = u.sh("cut -d' ' -f1 /proc/uptime").ok().parse().unwrap();
    assert!(uptime > 5_000_000.0, "{uptime}");
}
