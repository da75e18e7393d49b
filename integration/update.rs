//! `update`: every limit, by option and by JSON, on v1 and v2; what is refused leaves all as it was.

use crate::support::*;

const MIB: i64 = 1 << 20;

/// A running container with limits of everything that can be changed.
fn limited() -> Test {
    let mut t = Test::new();
    t.config.set(
        "linux.resources",
        json!({
            "memory": { "limit": 64 * MIB, "swap": 96 * MIB, "reservation": 32 * MIB },
            "cpu": { "shares": 512, "quota": 50_000, "period": 100_000 },
            "pids": { "limit": 20 },
        }),
    );
    t.sh("sleep 1000");
    t.detach();
    t
}

pub fn update(t: &Test, options: &[&str]) -> Output {
    t.cmd(&["update"]).args(options).args([&t.id]).output()
}

pub fn update_json(t: &Test, resources: &Value) -> Output {
    let file = t.dir.join("resources.json");
    std::fs::write(&file, resources.to_string()).unwrap();
    t.cmd(&["update", "--resources", "-", &t.id]).stdin(&file).output()
}

fn read(t: &Test, v1: &str, v2: &str) -> String {
    cgroup::read(&t.cgroup, v1, v2)
}

/// Limit of memory, and what the kernel has about swap: v1 both together, v2 swap alone. In MiB, -1 is none.
fn memory(t: &Test) -> (i64, i64) {
    let number = |text: String| match text.parse::<i64>() {
        Ok(number) if number < i64::MAX - MIB => number / MIB,
        _ => -1,
    };
    (
        number(read(t, "memory.limit_in_bytes", "memory.max")),
        number(read(t, "memory.memsw.limit_in_bytes", "memory.swap.max")),
    )
}

/// Quota and period.
fn cpu(t: &Test) -> String {
    if cgroup::unified() {
        return read(t, "cpu.x", "cpu.max").replace("max", "-1");
    }
    format!("{} {}", read(t, "cpu.cfs_quota_us", ""), read(t, "cpu.cfs_period_us", ""))
}

/// Whether the container's cgroup has this file.
fn has(t: &Test, v1: &str, v2: &str) -> bool {
    let controller = v1.split('.').next().unwrap();
    cgroup::dir(&t.cgroup, controller).join(if cgroup::unified() { v2 } else { v1 }).exists()
}

/// [V46] [E8] [E9] created, running and paused containers take it; a stopped one and none do not.
#[test]
fn states() {
    let mut t = Test::new();
    update(&t, &["--pids-limit", "9"]).fails(1, "container does not exist");
    t.sh("sleep 1000");
    t.create().ok();
    for (verb, limit) in [("update", "11"), ("start", "12"), ("pause", "13")] {
        if verb != "update" {
            t.verb(&[verb]).ok();
        }
        update(&t, &["--pids-limit", limit]).ok();
        assert_eq!(read(&t, "pids.max", "pids.max"), limit, "{verb}");
    }
    t.verb(&["resume"]).ok();
    t.rt(&["kill", &t.id, "KILL"]).ok();
    t.wait_status("stopped");
    update(&t, &["--pids-limit", "14"]).fails(1, "container not running");
    update_json(&t, &json!({})).fails(1, "container not running");
}

/// [V46] nothing asked for is nothing done.
#[test]
fn nothing() {
    let t = limited();
    update(&t, &[]).ok();
    update_json(&t, &json!({})).ok();
    let empty =
        json!({ "memory": {}, "cpu": { "cpus": "", "mems": "" }, "pids": {}, "blockIO": {}, "devices": [] });
    update_json(&t, &empty).ok();
    assert_eq!(memory(&t), (64, if cgroup::unified() { 32 } else { 96 }));
    assert_eq!((cpu(&t).as_str(), read(&t, "pids.max", "pids.max").as_str()), ("50000 100000", "20"));
}

/// [V47] [C16] JSON from stdin and from a file; fields that it lacks keep their value, other options are ignored.
#[test]
fn json_of_resources() {
    let t = limited();
    let file = t.path("r.json");
    std::fs::write(&file, r#"{"cpu": {"shares": 1024}}"#).unwrap();
    update(&t, &["-r", &file, "--pids-limit", "5"]).ok();
    assert_eq!(read(&t, "cpu.shares", "cpu.weight"), if cgroup::unified() { "100" } else { "1024" });
    assert_eq!(read(&t, "pids.max", "pids.max"), "20");
    update_json(&t, &json!({ "pids": { "limit": 30 }, "memory": { "reservation": 16 * MIB } })).ok();
    assert_eq!(read(&t, "pids.max", "pids.max"), "30");
    assert_eq!(read(&t, "memory.soft_limit_in_bytes", "memory.low"), (16 * MIB).to_string());
    assert_eq!(memory(&t).0, 64);
    update(&t, &["--resources", &t.path("none")]).fails(1, "no such file or directory");
    only_davit!();
    std::fs::write(&file, r#"{"cpu": {"shares": "x"}}"#).unwrap();
    update(&t, &["-r", &file]).fails(1, "linux.resources.cpu.shares: invalid type");
    std::fs::write(&file, "{").unwrap();
    update(&t, &["-r", &file]).fails(1, "EOF");
}

/// [V47] [C16] in-place resize: the whole of what containerd sends, with an empty list of devices.
#[test]
fn what_containerd_sends() {
    let t = limited();
    let resources = json!({
        "devices": [{ "allow": false, "access": "rwm" }],
        "memory": { "limit": 80 * MIB, "swap": 80 * MIB },
        "cpu": { "shares": 2048, "quota": 70_000, "period": 100_000, "cpus": "", "mems": "" },
        "unified": {},
    });
    update_json(&t, &resources).ok();
    assert_eq!(memory(&t), (80, if cgroup::unified() { 0 } else { 80 }));
    assert_eq!(cpu(&t), "70000 100000");
}

/// [V48] the weight of block devices.
#[test]
fn block_io_weight() {
    let t = limited();
    update(&t, &["--blkio-weight", "1001"]).code(1);
    if davit_only() {
        update(&t, &["--blkio-weight", "9"]).fails(1, "--blkio-weight: weight 9 is not between 10 and 1000");
        update(&t, &["--blkio-weight", "many"]).code(1).says("invalid value for blkio-weight");
    }
    let files = [("blkio.weight", "io.weight"), ("blkio.bfq.weight", "io.bfq.weight")];
    let file = files.into_iter().rfind(|(v1, v2)| has(&t, v1, v2));
    let Some((v1, v2)) = file else { return skip("no weight of block devices in this kernel") };
    update(&t, &["--blkio-weight", "505"]).ok();
    let text = read(&t, v1, v2);
    let expected = if text.starts_with("default") && v2 == "io.weight" { "default 5000" } else { "505" };
    assert!(text.contains(expected) || text.contains("default 505"), "{text}");
}

/// [C16] [Q17] lists of block devices: one device is set, others keep theirs.
#[test]
fn throttled_devices_are_added() {
    let devices = std::fs::read_dir("/sys/block")
        .unwrap()
        .filter_map(|entry| std::fs::read_to_string(entry.unwrap().path().join("dev")).ok());
    let devices: Vec<_> = devices.map(|text| text.trim().to_owned()).take(2).collect();
    let [one, other] = &devices[..] else { return skip("fewer than two block devices") };
    let t = limited();
    let entry = |device: &str, rate: u64| {
        let (major, minor) = device.split_once(':').unwrap();
        json!({ "major": major.parse::<i64>().unwrap(), "minor": minor.parse::<i64>().unwrap(), "rate": rate })
    };
    let set = |list: Value| update_json(&t, &json!({ "blockIO": { "throttleReadBpsDevice": list } })).ok();
    set(json!([entry(one, 1_048_576)]));
    set(json!([entry(other, 2_097_152)]));
    let shown = || read(&t, "blkio.throttle.read_bps_device", "io.max");
    let line = |device: &str, rate: u64| match cgroup::unified() {
        true => format!("{device} rbps={rate} "),
        false => format!("{device} {rate}"),
    };
    let both = shown();
    assert!(both.contains(&line(one, 1_048_576)) && both.contains(&line(other, 2_097_152)), "{both}");
    set(json!([entry(one, 3_145_728)]));
    let both = shown();
    assert!(both.contains(&line(one, 3_145_728)) && both.contains(&line(other, 2_097_152)), "{both}");
}

/// [V49] [C16] one of quota and period keeps the other; 0 is no change, -1 no limit.
#[test]
fn quota_and_period() {
    let t = limited();
    for (options, expected) in [
        (&["--cpu-quota", "60000"][..], "60000 100000"),
        (&["--cpu-period", "200000"], "60000 200000"),
        (&["--cpu-quota", "0"], "60000 200000"),
        (&["--cpu-quota", "-1"], "-1 200000"),
        (&["--cpu-period", "50000"], "-1 50000"),
        (&["--cpu-quota", "5000", "--cpu-period", "10000"], "5000 10000"),
    ] {
        update(&t, options).ok();
        assert_eq!(cpu(&t), expected, "{options:?}");
    }
    update_json(&t, &json!({ "cpu": { "quota": 8000 } })).ok();
    assert_eq!(cpu(&t), "8000 10000");
}

/// [V50] burst, set together with a quota that allows it, and cleared.
#[test]
fn burst() {
    let t = limited();
    need!(has(&t, "cpu.cfs_burst_us", "cpu.max.burst"), "no burst before kernel 5.14");
    let burst = || read(&t, "cpu.cfs_burst_us", "cpu.max.burst");
    update(&t, &["--cpu-burst", "20000"]).ok();
    assert_eq!(burst(), "20000");
    update(&t, &["--cpu-quota", "90000"]).ok();
    assert_eq!(burst(), "20000");
    update(&t, &["--cpu-burst", "95000", "--cpu-quota", "100000"]).ok();
    assert_eq!((burst().as_str(), cpu(&t).as_str()), ("95000", "100000 100000"));
    update(&t, &["--cpu-burst", "0"]).ok();
    assert_eq!(burst(), "0");
}

/// [V51] [Q8] shares, and their bounds.
#[test]
fn shares() {
    let t = limited();
    update(&t, &["--cpu-share", "200"]).ok();
    assert_eq!(read(&t, "cpu.shares", "cpu.weight"), if cgroup::unified() { "29" } else { "200" });
    if davit_only() {
        update(&t, &["--cpu-share", "1"]).fails(1, "--cpu-share: the minimum allowed cpu-shares is 2");
        update(&t, &["--cpu-share", "300000"]).fails(1, "the maximum allowed cpu-shares is 262144");
    }
}

/// [V52] [C21] a real-time budget, for which the parents get theirs first; nothing like it on v2.
#[test]
fn real_time() {
    let t = limited();
    if cgroup::unified() {
        only_davit!();
        update(&t, &["--cpu-rt-runtime", "10000"])
            .fails(1, "--cpu-rt-runtime: cgroup v2 has nothing like it");
        update(&t, &["--cpu-rt-period", "10000"]).fails(1, "--cpu-rt-period");
        return;
    }
    need!(has(&t, "cpu.rt_runtime_us", ""), "a kernel without real-time groups");
    only_davit!();
    let parent = cgroup::dir(&t.cgroup, "cpu").parent().unwrap().join("cpu.rt_runtime_us");
    update(&t, &["--cpu-rt-runtime", "9000"]).ok();
    assert_eq!(read(&t, "cpu.rt_runtime_us", ""), "9000");
    let budget = std::fs::read_to_string(&parent).unwrap();
    assert!(budget.trim().parse::<i64>().unwrap() >= 9000, "{budget}");
    update(&t, &["--cpu-rt-period", "900000", "--cpu-rt-runtime", "4000"]).ok();
    assert_eq!(read(&t, "cpu.rt_period_us", ""), "900000");
    assert_eq!(read(&t, "cpu.rt_runtime_us", ""), "4000");
    // More than the machine has: the parents keep what they had.
    let before = std::fs::read_to_string(&parent).unwrap();
    update(&t, &["--cpu-rt-runtime", "899999"]).fails(1, "--cpu-rt-runtime: write ");
    assert_eq!(std::fs::read_to_string(&parent).unwrap(), before);
    assert_eq!(read(&t, "cpu.rt_runtime_us", ""), "4000");
}

/// [V53] [C19] idle takes the weight away, shares take idle away.
#[test]
fn idle() {
    let t = limited();
    need!(has(&t, "cpu.idle", "cpu.idle"), "no cpu.idle before kernel 5.15");
    let idle = || read(&t, "cpu.idle", "cpu.idle");
    update(&t, &["--cpu-idle", "1"]).ok();
    assert_eq!(idle(), "1");
    update(&t, &["--cpu-share", "512"]).ok();
    assert_eq!(idle(), "0");
    assert_eq!(read(&t, "cpu.shares", "cpu.weight"), if cgroup::unified() { "59" } else { "512" });
    update_json(&t, &json!({ "cpu": { "idle": 1, "shares": 300 } })).ok();
    assert_eq!(idle(), "1");
    update(&t, &["--cpu-idle", "0", "--cpu-share", "512"]).ok();
    assert_eq!(idle(), "0");
    if davit_only() {
        update(&t, &["--cpu-idle", "2"]).fails(1, "--cpu-idle: 2 is neither 0 nor 1");
    }
    update(&t, &["--cpu-idle", "x"]).code(1).says("invalid value for cpu-idle");
}

/// [V54] CPUs and memory nodes, as lists; what the machine has not is refused.
#[test]
fn cpuset() {
    let t = limited();
    need!(has(&t, "cpuset.cpus", "cpuset.cpus"), "the cpuset controller is not enabled");
    update(&t, &["--cpuset-cpus", "0", "--cpuset-mems", "0"]).ok();
    assert_eq!(read(&t, "cpuset.cpus", "cpuset.cpus"), "0");
    assert_eq!(read(&t, "cpuset.mems", "cpuset.mems"), "0");
    assert_eq!(host::status_line(t.pid(), "Cpus_allowed_list"), "0");
    if davit_only() {
        update(&t, &["--cpuset-cpus", "banana"]).fails(1, "--cpuset-cpus: write banana to /sys/fs/cgroup");
    }
    assert_eq!(read(&t, "cpuset.cpus", "cpuset.cpus"), "0");
}

/// [V55] [C16] [C17] memory and swap, growing and shrinking, with units and without limit.
#[test]
fn memory_and_swap() {
    let t = limited();
    need!(has(&t, "memory.memsw.limit_in_bytes", "memory.swap.max"), "no swap accounting");
    // Options, limit, memory and swap together (-1: none).
    for (options, limit, total) in [
        (&["--memory", "128m", "--memory-swap", "192m"][..], 128, 192),
        (&["--memory", "48M", "--memory-swap", "50331648"], 48, 48),
        (&["--memory", "1g", "--memory-swap", "1.5g"], 1024, 1536),
        (&["--memory", "100m"], 100, 1536),
        (&["--memory-swap", "200m"], 100, 200),
        (&["--memory-swap", "-1"], 100, -1),
        (&["--memory", "3g"], 3072, -1),
        (&["--memory", "64m", "--memory-swap", "64m"], 64, 64),
        (&["--memory", "-1"], -1, -1),
    ] {
        update(&t, options).ok();
        let swap = if cgroup::unified() && total != -1 { total - limit } else { total };
        assert_eq!(memory(&t), (limit, swap), "{options:?}");
    }
    update(&t, &["--memory-reservation", "24m"]).ok();
    assert_eq!(read(&t, "memory.soft_limit_in_bytes", "memory.low"), (24 * MIB).to_string());
    update(&t, &["--memory", "ten"]).code(1).says("invalid value for memory");
}

/// [V55] [E12] sizes that do not go together, named by their option; nothing changes.
#[test]
fn memory_that_does_not_fit() {
    let t = limited();
    need!(has(&t, "memory.memsw.limit_in_bytes", "memory.swap.max"), "no swap accounting");
    only_davit!();
    let before = memory(&t);
    for (options, text) in [
        (&["--memory", "128m"][..], "--memory: memory+swap limit should be >= memory limit"),
        (&["--memory-swap", "32m"], "--memory-swap: memory+swap limit should be >= memory limit"),
        (&["--memory", "64m", "--memory-swap", "32m"], "memory+swap limit should be >= memory limit"),
        (&["--memory", "-1", "--memory-swap", "1g"], "unable to set swap limit with unlimited memory"),
    ] {
        update(&t, options).fails(1, text);
        assert_eq!(memory(&t), before, "{options:?}");
    }
}

/// [V56] kernel memory is accepted, warned about, and nothing else.
#[test]
fn kernel_memory() {
    let t = limited();
    let output = update(&t, &["--kernel-memory", "10m", "--kernel-memory-tcp", "20m"]).code(0);
    if davit_only() {
        output.says("--kernel-memory is ignored");
        output.says("--kernel-memory-tcp is ignored");
        assert_eq!(output.stderr.lines().count(), 2, "{output}");
        let help = t.rt(&["update", "--help"]).ok();
        assert!(help.contains("--memory-swap") && !help.contains("kernel"), "{help}");
    }
}

/// [V57] [Q20] processes; -1 is no limit.
#[test]
fn pids() {
    let t = limited();
    for (limit, expected) in [("35", "35"), ("-1", "max"), ("7", "7")] {
        update(&t, &["--pids-limit", limit]).ok();
        assert_eq!(read(&t, "pids.max", "pids.max"), expected);
    }
}

/// [V58] a group of resctrl is changed only where the container has one.
#[test]
fn no_resctrl_group() {
    let t = limited();
    only_davit!();
    let text = "updating a non-existent Intel RDT configuration is not supported";
    update(&t, &["--l3-cache-schema", "L3:0=f"]).fails(1, text);
    update(&t, &["--mem-bw-schema", "MB:0=20", "--pids-limit", "5"]).fails(1, text);
    assert_eq!(read(&t, "pids.max", "pids.max"), "20");
    update(&t, &["--mem-bw-schema", "L3:0=20"]).fails(1, "--mem-bw-schema: \"L3:0=20\"");
}

/// [C18] v2 would kill where a limit is below the usage: refused if that is asked for. v1's kernel refuses by itself.
#[test]
fn check_before_update() {
    let mut t = Test::new();
    t.config.set("linux.resources.memory", json!({ "limit": 64 * MIB }));
    t.config.mount("/hold", "tmpfs", "tmpfs", &["size=40m"]);
    t.sh("dd if=/dev/zero of=/hold/x bs=1M count=24 2>/dev/null; touch /tmp/done; sleep 1000");
    t.detach();
    host::wait_until("24 MiB", || t.rootfs.join("tmp/done").exists());
    // What lies in a tmpfs can only be swapped out.
    let small = json!({ "memory": { "limit": MIB, "swap": MIB, "checkBeforeUpdate": true } });
    if cgroup::unified() {
        update_json(&t, &small).fails(1, "rejecting memory+swap limit 1048576 <= usage ");
        let limit = json!({ "memory": { "limit": MIB, "checkBeforeUpdate": true } });
        update_json(&t, &limit).fails(1, "rejecting memory limit 1048576 <= usage ");
        assert_eq!(memory(&t).0, 64);
    } else {
        let output = update_json(&t, &json!({ "memory": { "limit": MIB, "checkBeforeUpdate": true } }));
        if davit_only() && memory(&t).0 == 64 {
            output.fails(1, "linux.resources.memory.limit: write 1048576 to ");
        }
    }
    assert_eq!(t.status(), "running");
}

/// [S40] [C16] a value that the kernel refuses: what was written before it is put back.
#[test]
fn put_back_as_a_whole() {
    only_davit!();
    let t = limited();
    need!(has(&t, "cpuset.cpus", "cpuset.cpus"), "the cpuset controller is not enabled");
    let files =
        || (memory(&t), cpu(&t), read(&t, "cpu.shares", "cpu.weight"), read(&t, "pids.max", "pids.max"));
    let before = files();
    let mut resources = json!({
        "memory": { "limit": 80 * MIB, "swap": 200 * MIB },
        "cpu": { "shares": 100, "quota": 10_000, "period": 20_000, "cpus": "4000" },
        "pids": { "limit": 3 },
    });
    update_json(&t, &resources).fails(1, "linux.resources.cpu.cpus: write 4000 to /sys/fs/cgroup");
    assert_eq!(files(), before);
    // The kernel forgets the weight of a cgroup that was idle for a moment.
    resources["cpu"] = json!({ "idle": 1, "cpus": "4000" });
    if has(&t, "cpu.idle", "cpu.idle") {
        update_json(&t, &resources).fails(1, "linux.resources.cpu.cpus");
        assert_eq!((files(), read(&t, "cpu.idle", "cpu.idle").as_str()), (before, "0"));
    }
}

/// [Q22] [Q23] unified on v2: each key is a file, written last; v1 refuses it.
#[test]
fn unified() {
    let t = limited();
    let resources =
        json!({ "pids": { "limit": 8 }, "unified": { "pids.max": "9", "memory.high": "50000000" } });
    if cgroup::unified() {
        update_json(&t, &resources).ok();
        assert_eq!(read(&t, "pids.max", "pids.max"), "9");
        assert_eq!(read(&t, "memory.x", "memory.high"), "49999872");
    } else {
        update_json(&t, &resources).fails(1, "cannot use unified on cgroup v1");
        assert_eq!(read(&t, "pids.max", "pids.max"), "20");
    }
}

/// [Q18] huge pages, where there is the controller.
#[test]
fn huge_pages() {
    let t = limited();
    need!(has(&t, "hugetlb.2MB.limit_in_bytes", "hugetlb.2MB.max"), "no hugetlb controller");
    update_json(&t, &json!({ "hugepageLimits": [{ "pageSize": "2MB", "limit": 4 * MIB }] })).ok();
    assert_eq!(read(&t, "hugetlb.2MB.limit_in_bytes", "hugetlb.2MB.max"), (4 * MIB).to_string());
}

/// [X1] a container without cgroups has no limits to change.
#[test]
fn without_cgroups() {
    only_davit!();
    let mut t = Test::new();
    t.config.remove("linux.cgroupsPath").remove("linux.resources");
    t.sh("sleep 1000");
    t.write();
    let bundle = t.bundle.to_string_lossy().into_owned();
    t.rt(&["--cgroup-manager", "disabled", "run", "--detach", "--bundle", &bundle, &t.id]).ok();
    update(&t, &["--pids-limit", "5"]).fails(1, "the container is not using cgroups");
}
