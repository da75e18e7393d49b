//! `update` of containers whose cgroups systemd has made: it writes the same files. Needs a host that systemd has started.

use crate::support::*;
use crate::systemd::{Scope, WHY, has_systemd, show, systemctl};
use crate::update::{update, update_json};
use crate::update_devices::{can_open, kmsg_rule, never_refused, probe};

const MIB: i64 = 1 << 20;

/// The kernel's side: what `update` can change.
fn files(s: &Scope) -> Vec<String> {
    let read = |v1: &str, v2: &str| cgroup::read(&s.t.cgroup, v1, v2);
    let mut list = vec![
        read("memory.limit_in_bytes", "memory.max"),
        read("memory.soft_limit_in_bytes", "memory.low"),
        read("cpu.shares", "cpu.weight"),
        read("cpu.cfs_quota_us", "cpu.max"),
        read("pids.max", "pids.max"),
        read("cpuset.cpus", "cpuset.cpus"),
    ];
    if cgroup::unified() {
        list.extend([read("", "memory.oom.group"), read("", "memory.high"), read("", "memory.swap.max")]);
    } else {
        list.extend([read("cpu.cfs_period_us", ""), read("devices.list", "")]);
    }
    list
}

/// systemd's side.
fn properties(s: &Scope) -> Vec<String> {
    let limits = if cgroup::unified() {
        &["MemoryMax", "MemoryLow", "MemorySwapMax", "MemoryHigh", "CPUWeight", "AllowedCPUs"][..]
    } else {
        &["MemoryLimit", "CPUShares"][..]
    };
    let rest = ["CPUQuotaPerSecUSec", "CPUQuotaPeriodUSec", "TasksMax", "DevicePolicy", "DeviceAllow"];
    limits.iter().chain(&rest).map(|name| format!("{name}={}", show(&s.unit, name))).collect()
}

fn limited() -> Scope {
    let mut s = Scope::new();
    s.t.config.set("root.readonly", false);
    s.t.config.set(
        "linux.resources",
        json!({
            "memory": { "limit": 64 * MIB, "swap": 96 * MIB, "reservation": 32 * MIB },
            // systemd would make 34000 of it.
            "cpu": { "shares": 512, "quota": 33_333, "period": 100_000 },
            "pids": { "limit": 20 },
        }),
    );
    if cgroup::unified() {
        // Of the first systemd knows nothing that could be said, of the second it does.
        let unified = json!({ "memory.oom.group": "1", "memory.high": (48 * MIB).to_string() });
        s.t.config.set("linux.resources.unified", unified);
    }
    s
}

/// A container that opens devices, and may not open one.
fn prober() -> Scope {
    let mut s = limited();
    probe(&mut s.t);
    s.create().ok();
    s.t.verb(&["start"]).ok();
    can_open(&s.t, "no");
    s
}

/// [S40] [C16] The kernel refuses a file when systemd has been told already: it is told the old values, and has written
/// them, before the files get theirs.
#[test]
fn put_back_as_a_whole() {
    need!(has_systemd(), WHY);
    let s = limited();
    s.create().ok();
    s.t.verb(&["start"]).ok();
    let before = (files(&s), properties(&s));
    let mut resources = json!({
        "memory": { "limit": 80 * MIB, "swap": 200 * MIB, "reservation": 16 * MIB },
        "cpu": { "shares": 100, "quota": 10_000, "period": 20_000, "cpus": "4000" },
        "pids": { "limit": 9 },
    });
    for _ in 0..2 {
        update_json(&s.t, &resources).fails(1, "linux.resources.cpu.cpus: write 4000 to /sys/fs/cgroup");
        assert_eq!((files(&s), properties(&s)), before);
    }
    // Without the cause it is done, on both sides.
    resources["cpu"]["cpus"] = "0".into();
    update_json(&s.t, &resources).ok();
    s.is("TasksMax", "9");
    s.is("CPUQuotaPerSecUSec", "500ms");
    s.is("CPUQuotaPeriodUSec", "20ms");
    let after = files(&s);
    assert_eq!((after[0].as_str(), after[4].as_str()), ((80 * MIB).to_string().as_str(), "9"));
    // What it was told it keeps.
    systemctl(&["daemon-reload"]);
    let (now, same) = (files(&s), [0, 1, 2, 4, 5]);
    same.iter().for_each(|at| assert_eq!(now[*at], after[*at], "{now:?}"));
}

/// [C16] With each change systemd writes all that it knows: what was not asked for stays to the letter all the same.
#[test]
fn the_rest_stays() {
    need!(has_systemd(), WHY);
    let s = limited();
    s.create().ok();
    let mut expected = files(&s);
    assert!(expected[3].starts_with("33333"), "{expected:?}");
    for limit in ["21", "22"] {
        update(&s.t, &["--pids-limit", limit]).ok();
        expected[4] = limit.into();
        assert_eq!(files(&s), expected);
        s.is("TasksMax", limit);
    }
}

/// [D9] [D11] [D12] No device is closed or opened for a moment when other limits change, though systemd denies all first.
#[test]
fn devices_stay() {
    need!(has_systemd(), WHY);
    let s = prober();
    for limit in 30..40 {
        update(&s.t, &["--pids-limit", &limit.to_string()]).ok();
    }
    can_open(&s.t, "no");
    never_refused(&s.t);
    assert_eq!(s.t.status(), "running");
    s.t.verb(&["pause"]).ok();
    update(&s.t, &["--pids-limit", "40"]).ok();
    assert_eq!(s.t.status(), "paused");
}

/// [W3] [D11] Other device rules: systemd lets them through, and its reload neither closes nor opens one.
#[test]
fn devices_change() {
    need!(has_systemd(), WHY);
    let s = prober();
    let none = json!({ "allow": false, "access": "rwm" });
    for _ in 0..2 {
        update_json(&s.t, &json!({ "devices": [none, kmsg_rule("rwm")] })).ok();
        can_open(&s.t, "yes");
        systemctl(&["daemon-reload"]);
        update(&s.t, &["--pids-limit", "41"]).ok();
        can_open(&s.t, "yes");
        update_json(&s.t, &json!({ "devices": [none] })).ok();
        can_open(&s.t, "no");
    }
    never_refused(&s.t);
}

/// [D9] What is denied to a container that may use all other devices stays so: systemd can't say it.
#[test]
fn one_device_denied() {
    need!(has_systemd(), WHY);
    let mut s = limited();
    probe(&mut s.t);
    let all = json!({ "allow": true, "access": "rwm" });
    let but = json!({ "allow": false, "type": "c", "major": 1, "minor": 11, "access": "rwm" });
    s.t.config.set("linux.resources.devices", json!([all, but]));
    s.create().ok();
    s.t.verb(&["start"]).ok();
    can_open(&s.t, "no");
    update(&s.t, &["--pids-limit", "31"]).ok();
    std::thread::sleep(std::time::Duration::from_millis(100));
    can_open(&s.t, "no");
    assert_eq!(cgroup::read(&s.t.cgroup, "pids.max", "pids.max"), "31");
}
