//! Fields of `linux.resources` and the files that they become, and what is refused, without a trace.

use crate::support::*;

/// True where the container's cgroup would have the file: looked for in a cgroup that is there for a moment.
fn has_file(controller: &str, file: &str) -> bool {
    let probe = format!("/davit-test-probe-{}-{}", std::process::id(), host::unique());
    let dir = cgroup::dir(&probe, controller);
    if std::fs::create_dir(&dir).is_err() {
        return false;
    }
    let found = dir.join(file).exists();
    std::fs::remove_dir(&dir).unwrap();
    found
}

/// Creates with the resource; either the files hold the values, or where the host has no such file or controller, the
/// field's name is told and nothing is left.
#[track_caller]
fn value_or_refusal(field: &str, value: Value, v1: &[(&str, &str)], v2: &[(&str, &str)], path: &str) {
    let mut t = Test::new();
    t.config.set(&format!("linux.resources.{field}"), value);
    let files = if cgroup::unified() { v2 } else { v1 };
    let there = files.iter().all(|(file, _)| has_file(file.split('.').next().unwrap(), file));
    if there && !files.is_empty() {
        t.create().ok();
        for (file, expected) in files {
            assert_eq!(cgroup::read(&t.cgroup, file, file), *expected, "{file}");
        }
    } else {
        let output = t.create().code(1);
        if davit_only() {
            output.fails(1, path);
        }
        t.assert_clean();
    }
}

/// [Q10] what may be saved up for bursts.
#[test]
fn cpu_burst() {
    only_davit!(); // runc from 1.2 on
    value_or_refusal(
        "cpu",
        json!({ "quota": 50_000, "period": 100_000, "burst": 20_000 }),
        &[("cpu.cfs_burst_us", "20000"), ("cpu.cfs_quota_us", "50000")],
        &[("cpu.max.burst", "20000"), ("cpu.max", "50000 100000")],
        "linux.resources.cpu.burst",
    );
}

/// [Q13] idle.
#[test]
fn cpu_idle() {
    value_or_refusal(
        "cpu",
        json!({ "idle": 1 }),
        &[("cpu.idle", "1")],
        &[("cpu.idle", "1")],
        "linux.resources.cpu.idle",
    );
}

/// [Q11] [C21] [Q24] real-time budget: the parents must have it first; v2 has none.
#[test]
fn real_time() {
    let mut t = Test::new();
    let parent = t.cgroup.clone();
    t.config.set("linux.cgroupsPath", format!("{parent}/c"));
    t.config.set("linux.resources.cpu", json!({ "realtimeRuntime": 1000, "realtimePeriod": 1_000_000 }));
    if cgroup::unified() || !has_file("cpu", "cpu.rt_runtime_us") {
        t.create().fails(1, "linux.resources.cpu.realtime");
        return t.assert_clean();
    }
    let output = t.create().code(1);
    output.says("cpu.rt_runtime_us");
    t.assert_clean();
    for dir in ["/davit-test", &parent] {
        let dir = cgroup::dir(dir, "cpu");
        std::fs::create_dir_all(&dir).unwrap();
        std::fs::write(dir.join("cpu.rt_runtime_us"), "5000").unwrap();
    }
    t.create().ok();
    let read =
        |file: &str| std::fs::read_to_string(cgroup::dir(&format!("{parent}/c"), "cpu").join(file)).unwrap();
    assert_eq!(read("cpu.rt_runtime_us").trim(), "1000");
    assert_eq!(read("cpu.rt_period_us").trim(), "1000000");
    t.verb(&["delete", "--force"]).ok();
    cgroup::destroy(&parent);
    let _ = std::fs::write(cgroup::dir("/davit-test", "cpu").join("cpu.rt_runtime_us"), "0");
}

/// [Q14] [Q15] [Q16] weights of block I/O: BFQ's file, else the layout's own; what is not there is named.
#[test]
fn block_io_weights() {
    let bfq = if cgroup::unified() { "io.bfq.weight" } else { "blkio.bfq.weight" };
    let controller = bfq.split('.').next().unwrap();
    let (file, value) = if has_file(controller, "blkio.weight") {
        ("blkio.weight", "300")
    } else if has_file(controller, bfq) {
        (bfq, "300")
    } else {
        ("io.weight", "2930")
    };
    let mut t = Test::new();
    t.config.set("linux.resources.blockIO", json!({ "weight": 300 }));
    if has_file(controller, file) {
        t.create().ok();
        let dir = cgroup::dir(&t.cgroup, controller);
        let text = std::fs::read_to_string(dir.join(file)).unwrap();
        assert_eq!(text.split_whitespace().last(), Some(value), "{file}");
        t.verb(&["delete", "--force"]).ok();
        t.assert_clean_but_pid_file();
    } else {
        t.create().fails(1, "linux.resources.blockIO.weight");
        t.assert_clean();
    }
    only_davit!();
    t.config.set("linux.resources.blockIO", json!({ "leafWeight": 300 }));
    if !has_file(controller, "blkio.leaf_weight") {
        t.create().fails(1, "linux.resources.blockIO.leafWeight");
    }
    let device = json!([{ "major": 4000, "minor": 1, "weight": 300 }]);
    t.config.set("linux.resources.blockIO", json!({ "weightDevice": device }));
    t.create().fails(1, "linux.resources.blockIO.weightDevice[0].weight");
    t.assert_clean();
}

/// [Q18] huge pages of a size that the kernel does not have.
#[test]
fn huge_pages_of_unknown_size() {
    let mut t = Test::new();
    t.config.set("linux.resources.hugepageLimits", json!([{ "pageSize": "3MB", "limit": 3_145_728 }]));
    let output = t.create().code(1);
    output.says("hugetlb");
    if davit_only() {
        output.fails(1, "linux.resources.hugepageLimits[0]");
    }
    t.assert_clean();
}

/// [Q19] [Q24] class and priorities of network packets: v1 only.
#[test]
fn network_classes() {
    only_davit!(); // others pass over what they can't do
    value_or_refusal(
        "network",
        json!({ "classID": 1_048_577 }),
        &[("net_cls.classid", "1048577")],
        &[],
        "linux.resources.network.classID",
    );
    let mut t = Test::new();
    t.config.set("linux.resources.network", json!({ "priorities": [{ "name": "lo", "priority": 5 }] }));
    if !cgroup::unified() && has_file("net_prio", "net_prio.ifpriomap") {
        t.create().ok();
        assert!(cgroup::read(&t.cgroup, "net_prio.ifpriomap", "").lines().any(|line| line == "lo 5"));
    } else {
        t.create().fails(1, "linux.resources.network.priorities");
        t.assert_clean();
    }
}

/// [Q21] RDMA devices: none is here, so that the kernel, or the missing controller, refuses; the field is named.
#[test]
fn rdma() {
    only_davit!();
    let mut t = Test::new();
    t.config.set("linux.resources.rdma", json!({ "davit0": { "hcaHandles": 3, "hcaObjects": 10_000 } }));
    t.create().fails(1, "linux.resources.rdma.davit0");
    t.assert_clean();
}

/// [Q24] what v2 has nothing for is refused by name, never dropped.
#[test]
fn no_equivalent() {
    only_davit!();
    need!(cgroup::unified(), "a host with cgroup v2 only");
    for (field, value) in [
        ("memory.swappiness", json!(5)),
        ("memory.disableOOMKiller", json!(true)),
        ("cpu.realtimeRuntime", json!(5)),
        ("blockIO.leafWeight", json!(50)),
        ("network.classID", json!(5)),
    ] {
        let mut t = Test::new();
        t.config.set(&format!("linux.resources.{field}"), value);
        t.create().fails(1, &format!("linux.resources.{field}: cgroup v2 has nothing like it"));
        t.assert_clean();
    }
}

/// [Q22] `unified`: several lines one by one; unknown files and controllers, slashes and dots.
#[test]
fn unified_keys() {
    let mut t = Test::new();
    let mut refused = |key: &str, text: &str| {
        t.config.set("linux.resources.unified", Value::Null);
        t.config.0["linux"]["resources"]["unified"] = json!({ key: "1" });
        let text = if cgroup::unified() { text } else { "cannot use unified on cgroup v1" };
        t.create().code(1).says(text);
        t.assert_clean();
    };
    refused("../pids.max", "must be a file name (no slashes)");
    refused("a/pids.max", "must be a file name (no slashes)");
    refused(
        "nothing.max",
        "unified resource \"nothing.max\" can't be set: controller \"nothing\" not available",
    );
    if davit_only() {
        refused("..", "linux.resources.unified");
        refused("memory.nothing", "memory.nothing");
    }
    need!(cgroup::unified() && has_file("misc", "io.max"), "cgroup v2 with io");
    let mut t = Test::new();
    let disk = std::fs::read_to_string("/sys/block/loop0/dev").unwrap_or_default();
    need!(!disk.is_empty(), "a block device");
    let disk = disk.trim();
    t.config.0["linux"]["resources"]["unified"] =
        json!({ "io.max": format!("{disk} rbps=1048576\n{disk} wiops=77\n") });
    t.create().ok();
    let text = cgroup::read(&t.cgroup, "", "io.max");
    assert!(text.contains("rbps=1048576") && text.contains("wiops=77"), "{text}");
}

/// [Q8] [Q9] [Q10] [Q12] [Q17] [Q20] [E12] each value that is refused: one line with the field, the value and the file, and
/// no directory, nor a parent that was made for it.
#[test]
fn refused_without_a_trace() {
    only_davit!();
    let nowhere = json!([{ "major": 4000, "minor": 1, "rate": 5 }]);
    for (field, value, path, file) in [
        ("cpu", json!({ "cpus": "4000" }), "cpu.cpus", "write 4000 to "),
        ("cpu", json!({ "mems": "77" }), "cpu.mems", "write 77 to "),
        ("cpu", json!({ "quota": 999 }), "cpu.quota", "write 999"),
        (
            "cpu",
            json!({ "quota": 50_000, "period": 999 }),
            "cpu.",
            " 999 to |write 50000 999 to |write 999 to ",
        ),
        ("cpu", json!({ "period": 90_000_000 }), "cpu.period", "90000000 to "),
        (
            "cpu",
            json!({ "quota": 50_000, "burst": 60_000 }),
            "cpu.burst",
            "60000 is more than the quota, 50000",
        ),
        ("cpu", json!({ "shares": 1 }), "cpu.shares", "the minimum allowed cpu-shares is 2"),
        ("cpu", json!({ "shares": 262_145 }), "cpu.shares", "the maximum allowed cpu-shares is 262144"),
        ("pids", json!({ "limit": 5_000_000 }), "pids.limit", "write 5000000 to "),
        ("memory", json!({ "limit": -7 }), "memory.limit", "-7 is negative"),
        (
            "blockIO",
            json!({ "throttleReadBpsDevice": nowhere }),
            "blockIO.throttleReadBpsDevice[0]",
            "write 4000:1 ",
        ),
    ] {
        let mut t = Test::new();
        t.config.set("linux.cgroupsPath", format!("{}/above/c", t.cgroup));
        t.config.set(&format!("linux.resources.{field}"), value.clone());
        let output = t.create().fails(1, &format!("linux.resources.{path}"));
        assert!(file.split('|').any(|text| output.stderr.contains(text)), "{value}: {output}");
        t.assert_clean();
    }
}

/// [C9] [C10] a parent with processes of its own can hand down only controllers that divide threads: their limits hold,
/// that of another one is refused by name, and nothing is left.
#[test]
fn controller_is_not_delegated() {
    need!(cgroup::unified(), "cgroup v2");
    only_davit!();
    let mut t = Test::new();
    let parent = cgroup::dir(&t.cgroup, "");
    std::fs::create_dir(&parent).unwrap();
    let mut tenant = host::spawn(std::process::Command::new("sleep").arg("100")).unwrap();
    std::fs::write(parent.join("cgroup.procs"), tenant.id().to_string()).unwrap();
    let place = format!("{}/below", t.cgroup);
    t.config.set("linux.cgroupsPath", place.clone());
    t.config.set("linux.resources", json!({ "memory": { "limit": 67_108_864 } }));
    let refused = t.create();
    let left = parent.join("below").exists();
    t.config.set("linux.resources", json!({ "pids": { "limit": 9 } }));
    t.sh("echo up");
    let up = t.run();
    let made = t.create();
    let limit = std::fs::read_to_string(parent.join("below/pids.max"));
    t.verb(&["delete", "--force"]).ok();
    tenant.kill().unwrap();
    host::wait(&mut tenant);
    cgroup::destroy(&t.cgroup);
    refused.fails(1, "linux.resources.memory.limit: cannot enter cgroupv2 ").says("with memory controller");
    assert!(!left);
    assert_eq!(up.ok(), "up");
    made.ok();
    assert_eq!(limit.unwrap().trim(), "9");
    let _ = std::fs::remove_file(&t.pid_file);
    t.assert_clean();
}

/// [Q26] a controller that is not mounted: a limit that needs it is an error, without one it is gone without.
#[test]
fn controller_is_not_mounted() {
    need!(!cgroup::unified(), "v1 hierarchies");
    let hide = "mount --make-rprivate / && umount /sys/fs/cgroup/pids && exec \"$@\"";
    let mut t = Test::new();
    t.config.set("linux.resources.pids", json!({ "limit": 9 }));
    let output = t.bundle_cmd("create", &[]).shell(hide).wrap(["unshare", "-m"]).output().code(1);
    if davit_only() {
        output.fails(1, "linux.resources.pids.limit: cgroup controller pids is not mounted");
    }
    t.assert_clean();
    t.config.remove("linux.resources.pids");
    t.sh("echo up");
    let output = t.bundle_cmd("run", &[]).shell(hide).wrap(["unshare", "-m"]).output();
    assert_eq!(output.ok(), "up");
}
