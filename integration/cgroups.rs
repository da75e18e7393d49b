//! Cgroups: where, what is written, and that the limits bite.

use crate::support::*;

/// The value of one limit after create, on v1 or v2.
#[track_caller]
fn shows(change: impl FnOnce(&mut Config) -> &mut Config, v1: (&str, &str), v2: (&str, &str)) {
    let mut t = Test::new();
    change(&mut t.config);
    t.create().ok();
    let (file, value) = if cgroup::unified() { v2 } else { v1 };
    assert_eq!(cgroup::read(&t.cgroup, v1.0, v2.0), value, "{file}");
}

/// [Q1] [Q3] [Q8] [Q9] [Q20] Docker's limits as the host's files show them.
#[test]
fn docker_limits() {
    let t = Test::docker();
    t.create().ok();
    let read = |v1, v2| cgroup::read(&t.cgroup, v1, v2);
    assert_eq!(read("memory.limit_in_bytes", "memory.max"), "536870912");
    assert_eq!(read("pids.max", "pids.max"), "512");
    if cgroup::unified() {
        assert_eq!(read("memory.x", "memory.swap.max"), "536870912");
        assert_eq!(read("cpu.x", "cpu.max"), "150000 100000");
        assert_eq!(read("cpu.x", "cpu.weight"), "59");
    } else {
        assert_eq!(read("memory.memsw.limit_in_bytes", ""), "1073741824");
        assert_eq!(read("cpu.cfs_quota_us", ""), "150000");
        assert_eq!(read("cpu.cfs_period_us", ""), "100000");
        assert_eq!(read("cpu.shares", ""), "512");
    }
}

/// [Q1] [M43] the limits as the container sees them.
#[test]
fn limits_seen_inside() {
    let mut t = Test::docker();
    let dir = |controller| {
        if cgroup::unified() { "/sys/fs/cgroup".into() } else { format!("/sys/fs/cgroup/{controller}") }
    };
    let memory = if cgroup::unified() { "memory.max" } else { "memory.limit_in_bytes" };
    let out = t.out(&format!("cat {}/{memory} {}/pids.max", dir("memory"), dir("pids")));
    assert_eq!(out, "536870912\n512");
}

/// [Q2] memory.reservation.
#[test]
fn memory_reservation() {
    shows(
        |c| c.set("linux.resources.memory", json!({ "limit": 67_108_864, "reservation": 33_554_432 })),
        ("memory.soft_limit_in_bytes", "33554432"),
        ("memory.low", "33554432"),
    );
}

/// [Q1] -1 is no limit.
#[test]
fn memory_without_limit() {
    shows(
        |c| c.set("linux.resources.memory", json!({ "limit": -1 })),
        ("memory.limit_in_bytes", "9223372036854771712"),
        ("memory.max", "max"),
    );
}

/// [Q3] swap equal to the limit leaves none.
#[test]
fn swap_equal_to_limit() {
    shows(
        |c| c.set("linux.resources.memory", json!({ "limit": 67_108_864, "swap": 67_108_864 })),
        ("memory.memsw.limit_in_bytes", "67108864"),
        ("memory.swap.max", "0"),
    );
}

/// [Q3] swap without a limit, and below it.
#[test]
fn bad_swap() {
    for (memory, text) in [
        (json!({ "limit": 67_108_864, "swap": 33_554_432 }), "memory+swap limit should be >= memory limit"),
        (json!({ "swap": 33_554_432 }), "unable to set swap limit without memory limit"),
    ] {
        let mut t = Test::new();
        t.config.set("linux.resources.memory", memory);
        t.sh("true");
        let output = t.run().code(1);
        if davit_only() || cgroup::unified() {
            output.fails(1, text);
        }
        t.assert_clean();
    }
}

/// [Q5] swappiness, a v1 file.
#[test]
fn swappiness() {
    need!(!cgroup::unified(), "memory.swappiness is a v1 file");
    shows(
        |c| c.set("linux.resources.memory", json!({ "swappiness": 7 })),
        ("memory.swappiness", "7"),
        ("", ""),
    );
}

/// [Q6] the OOM killer switched off, a v1 file.
#[test]
fn oom_killer_off() {
    need!(!cgroup::unified(), "memory.oom_control is a v1 file");
    let mut t = Test::new();
    t.config.set("linux.resources.memory", json!({ "limit": 67_108_864, "disableOOMKiller": true }));
    t.create().ok();
    assert!(cgroup::read(&t.cgroup, "memory.oom_control", "").starts_with("oom_kill_disable 1"));
}

/// [Q4] [Q7] old fields are accepted.
#[test]
fn old_memory_fields() {
    let mut t = Test::new();
    t.config.set(
        "linux.resources.memory",
        json!({ "kernel": 1_000_000, "kernelTCP": 1_000_000, "useHierarchy": true }),
    );
    t.create().code(0);
    assert_eq!(t.status(), "created");
}

/// [Q8] shares, and their conversion to a weight.
#[test]
fn cpu_shares() {
    for (shares, weight) in [(2, "1"), (512, "59"), (1024, "100"), (262_144, "10000")] {
        let text = shares.to_string();
        shows(
            |c| c.set("linux.resources.cpu", json!({ "shares": shares })),
            ("cpu.shares", &text),
            ("cpu.weight", weight),
        );
    }
}

/// [Q9] quota without period, and without limit.
#[test]
fn cpu_quota() {
    shows(
        |c| c.set("linux.resources.cpu", json!({ "quota": 50_000 })),
        ("cpu.cfs_quota_us", "50000"),
        ("cpu.max", "50000 100000"),
    );
    shows(
        |c| c.set("linux.resources.cpu", json!({ "quota": -1, "period": 200_000 })),
        ("cpu.cfs_quota_us", "-1"),
        ("cpu.max", "max 200000"),
    );
}

/// [Q12] the CPUs and memory nodes.
#[test]
fn cpuset() {
    let mut t = Test::new();
    t.config.set("linux.resources.cpu", json!({ "cpus": "0", "mems": "0" }));
    t.sh("grep Cpus_allowed_list /proc/self/status");
    assert_eq!(host::field(&t.run().ok(), "Cpus_allowed_list"), "0");
    t.create().ok();
    assert_eq!(cgroup::read(&t.cgroup, "cpuset.cpus", "cpuset.cpus"), "0");
}

/// [Q20] pids.limit: negative is no limit.
#[test]
fn pids_without_limit() {
    shows(
        |c| c.set("linux.resources.pids", json!({ "limit": -1 })),
        ("pids.max", "max"),
        ("pids.max", "max"),
    );
}

/// [Q20] pids.limit: 0 is a value and not `no limit`.
#[test]
fn pids_zero() {
    only_davit!(); // runc 1.1 takes it as unset
    shows(|c| c.set("linux.resources.pids", json!({ "limit": 0 })), ("pids.max", "1"), ("pids.max", "1"));
}

/// [Q20] the pids limit bites.
#[test]
fn pids_limit_bites() {
    let mut t = Test::new();
    t.config.set("linux.resources.pids", json!({ "limit": 6 }));
    let out = t.out("for i in 1 2 3 4 5 6 7 8 9; do (sleep 0.2 &) 2>&1; done; echo end; true");
    // ash gives up on a fork that fails.
    assert!(out.contains("can't fork") || out.contains("Resource temporarily unavailable"), "{out}");
}

/// [Q1] the memory limit bites: the program is killed, and its exit code says so.
#[test]
fn memory_limit_bites() {
    let mut t = Test::new();
    t.config.set("linux.resources.memory", json!({ "limit": 8_388_608, "swap": 8_388_608 }));
    t.sh("exec dd if=/dev/zero of=/dev/shm/big bs=1M count=60 2>/dev/null");
    t.config.unmount("/dev/shm").mount("/dev/shm", "tmpfs", "shm", &["size=100m"]);
    t.run().code(137);
}

/// [S12] a limit that init itself does not fit in: the text says what happened.
#[test]
fn limit_below_what_init_needs() {
    only_davit!();
    let mut t = Test::new();
    t.config.set("linux.resources.memory", json!({ "limit": 4096, "swap": 4096 }));
    t.sh("true");
    let output = t.run().code(1);
    output.says("memory");
    output.fails(1, "OOM-killed");
    t.assert_clean();
}

/// [Q1] Docker's container starts with 6 MB, Docker's own minimum.
#[test]
fn small_memory_limit() {
    let mut t = Test::docker();
    let limit = if davit_only() { 1_048_576 } else { 12_582_912 };
    t.config.set("linux.resources.memory", json!({ "limit": limit, "swap": limit }));
    assert_eq!(t.out("echo up"), "up");
}

/// [C3] without cgroupsPath the id is the name.
#[test]
fn default_path() {
    let mut t = Test::new();
    t.config.remove("linux.cgroupsPath");
    t.sh("sleep 30");
    t.create().ok();
    let own = std::fs::read_to_string("/proc/self/cgroup").unwrap();
    let line = if cgroup::unified() { "0::" } else { ":pids:" };
    let text = std::fs::read_to_string(format!("/proc/{}/cgroup", t.pid())).unwrap();
    let path = text.lines().find(|l| l.contains(line)).unwrap().rsplit(':').next().unwrap().to_string();
    assert!(path.ends_with(&format!("/{}", t.id)), "{path} (own: {own})");
    // The harness looks for what is left under this name from now on.
    t.cgroup = path;
}

/// [C2] a relative cgroupsPath gives the same place each time, below the runtime's own cgroup (v1).
#[test]
fn relative_path() {
    let mut t = Test::new();
    let name = t.cgroup.trim_start_matches('/').replace('/', "-");
    t.config.set("linux.cgroupsPath", name.clone());
    let mut seen = vec![];
    for _ in 0..2 {
        t.create().ok();
        let text = std::fs::read_to_string(format!("/proc/{}/cgroup", t.pid())).unwrap();
        seen.push(text.lines().find(|l| l.contains(":pids:") || l.starts_with("0::/")).unwrap().to_string());
        t.verb(&["delete", "--force"]).ok();
    }
    assert_eq!(seen[0], seen[1]);
    assert!(seen[0].ends_with(&name), "{}", seen[0]);
    t.cgroup = format!("/{name}");
}

/// [C1] `..` in an absolute cgroupsPath can't leave the mount point.
#[test]
fn path_cannot_leave() {
    let mut t = Test::new();
    t.config.set("linux.cgroupsPath", format!("/../../../../..{}", t.cgroup));
    t.sh("sleep 30");
    let output = t.create();
    if output.code == 0 {
        assert_eq!(cgroup::pids(&t.cgroup), [t.pid()]);
    }
    assert!(!std::path::Path::new(&t.cgroup).exists());
}

/// [C8] a cgroup with processes in it is refused, and they are left alone.
#[test]
fn occupied_cgroup() {
    only_davit!(); // runc from 1.2 on
    let mut t = Test::new();
    t.sh("sleep 30");
    t.detach();
    let mut other = t.sibling();
    other.config.set("linux.cgroupsPath", t.cgroup.clone());
    other.create().fails(1, "container's cgroup is not empty: 1 process(es) found");
    assert_eq!(t.status(), "running");
    assert_eq!(cgroup::pids(&t.cgroup), [t.pid()]);
    other.assert_clean();
}

/// [C8] a cgroup that was left frozen.
#[test]
fn frozen_cgroup() {
    only_davit!();
    let t = Test::new();
    let dir = cgroup::dir(&t.cgroup, "freezer");
    std::fs::create_dir_all(&dir).unwrap();
    let (file, frozen, thawed) =
        if cgroup::unified() { ("cgroup.freeze", "1", "0") } else { ("freezer.state", "FROZEN", "THAWED") };
    std::fs::write(dir.join(file), frozen).unwrap();
    let output = t.create();
    std::fs::write(dir.join(file), thawed).unwrap();
    let _ = std::fs::remove_dir(&dir);
    output.fails(1, "container's cgroup unexpectedly frozen");
    t.assert_clean();
}

/// [C13] on a hybrid host init is in every v1 hierarchy and in the unified one.
#[test]
fn hybrid_hierarchies() {
    need!(!cgroup::unified(), "a host with v1 hierarchies");
    need!(std::path::Path::new("/sys/fs/cgroup/unified").exists(), "a host with a cgroup2 tree beside v1's");
    let t = Test::new();
    t.create().ok();
    for dir in cgroup::dirs(&t.cgroup) {
        let text = std::fs::read_to_string(dir.join("cgroup.procs")).unwrap();
        assert_eq!(text.trim(), t.pid().to_string(), "{}", dir.display());
    }
    let names: Vec<_> = cgroup::dirs(&t.cgroup).iter().map(|d| d.display().to_string()).collect();
    for name in ["memory", "pids", "devices", "freezer", "cpu", "unified"] {
        assert!(names.iter().any(|d| d.contains(&format!("/{name}/"))), "no {name} in {names:?}");
    }
}

/// [C11] the program is in its cgroup from its first instruction.
#[test]
fn program_is_in_its_cgroup() {
    let mut t = Test::new();
    t.config.leave("cgroup");
    let out = t.out("cat /proc/self/cgroup");
    assert!(!out.is_empty());
    let outside: Vec<_> = out.lines().filter(|line| !line.ends_with(&t.cgroup)).collect();
    assert!(outside.is_empty(), "{outside:?}");
}

/// [V45] [S32] [S6] pause stops the processes, resume lets them go on.
#[test]
fn pause_and_resume() {
    let mut t = Test::new();
    t.sh("n=0; while :; do n=$((n+1)); echo $n > /tmp/n; usleep 1000; done");
    t.detach();
    let count = |t: &Test| std::fs::read_to_string(t.rootfs.join("tmp/n")).unwrap_or_default();
    host::wait_until("counting", || !count(&t).is_empty());
    t.verb(&["pause"]).ok();
    assert_eq!(t.status(), "paused");
    // A write that was under way may have left the file empty, so that the last number is what counts.
    let before = count(&t);
    std::thread::sleep(std::time::Duration::from_millis(50));
    assert_eq!(count(&t), before);
    t.verb(&["resume"]).ok();
    assert_eq!(t.status(), "running");
    host::wait_until("counting again", || count(&t) != before);
}

/// [V45] pause and resume twice, and of what is not running.
#[test]
fn pause_and_resume_errors() {
    let mut t = Test::new();
    t.sh("sleep 30");
    t.detach();
    t.verb(&["resume"]).fails(1, "container not paused");
    t.verb(&["pause"]).ok();
    t.verb(&["pause"]).fails(1, "container not running");
    t.verb(&["resume"]).ok();
    t.verb(&["resume"]).fails(1, "container not paused");
}

/// [S32] a created container may be paused.
#[test]
fn pause_of_a_created_one() {
    let t = Test::new();
    t.create().ok();
    t.verb(&["pause"]).ok();
    assert_eq!(t.status(), "paused");
    t.verb(&["resume"]).ok();
    assert_eq!(t.status(), "created");
}

/// [Q15] [Q14] block I/O weights where the kernel has them; an empty object is nothing.
#[test]
fn empty_block_io() {
    let mut t = Test::new();
    t.config.set("linux.resources.blockIO", json!({}));
    assert_eq!(t.out("echo up"), "up");
}

/// [Q22] unified on v1 is an error, on v2 each key is a file.
#[test]
fn unified() {
    let mut t = Test::new();
    t.config.set("linux.resources.unified", json!({ "pids.max": "33" }));
    if cgroup::unified() {
        t.create().ok();
        assert_eq!(cgroup::read(&t.cgroup, "pids.max", "pids.max"), "33");
    } else {
        t.create().fails(1, "cannot use unified on cgroup v1");
        t.assert_clean();
    }
}

/// [E12] a value that the kernel refuses: the JSON path or the file is named.
#[test]
fn refused_by_the_kernel() {
    let mut t = Test::new();
    t.config.set("linux.resources.cpu", json!({ "cpus": "4000" }));
    let output = t.create().code(1);
    output.says("cpuset");
    t.assert_clean();
    if davit_only() {
        t.config.set("linux.resources.cpu", json!({ "cpus": "banana" }));
        t.create().fails(1, "linux.resources.cpu.cpus");
        t.assert_clean();
    }
}

/// [C1] [M43] the caller's umask is not that of the cgroup: root of a user namespace reads the files of its own.
#[test]
fn cgroups_under_any_umask() {
    let mut t = Test::new();
    let parent = t.cgroup.clone();
    t.cgroup.push_str("/below");
    t.config.set("linux.cgroupsPath", t.cgroup.clone());
    t.config.user_namespace();
    let file = if cgroup::unified() { "pids.max" } else { "pids/pids.max" };
    t.sh(&format!("cat /sys/fs/cgroup/{file}"));
    let output = t.bundle_cmd("run", &[]).shell("umask 077; exec \"$@\"").output();
    t.assert_clean();
    cgroup::destroy(&parent);
    assert_eq!(output.ok(), "max");
}
