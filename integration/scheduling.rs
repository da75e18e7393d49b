//! How the program is scheduled, where its memory comes from, what machine it sees.

use crate::errors::refuses;
use crate::support::*;
use std::path::Path;
use std::process::Command;

/// nice, real-time priority and policy (proc(5), fields 19, 40 and 41) of the process itself.
const SEEN: &[&str] = &["/bin/cut", "-d", " ", "-f19,40,41", "/proc/self/stat"];

/// Runs with this configuration and a program that tells its own scheduling.
#[track_caller]
fn seen_with(scheduler: &Value) -> Output {
    let mut t = Test::new();
    t.config.set("process.scheduler", scheduler.clone());
    t.args(SEEN);
    t.run()
}

/// Whether the tests themselves may have a real-time policy.
fn real_time() -> bool {
    let chrt = Command::new("chrt").args(["-f", "1", "true"]).output();
    chrt.is_ok_and(|output| output.status.success())
}

/// `run` in the tests' own cgroup: with CONFIG_RT_GROUP_SCHED a new one has no share of real time.
#[track_caller]
fn run_without_cgroup(t: &Test) -> String {
    t.write();
    let bundle = t.bundle.to_str().unwrap();
    t.rt(&["--cgroup-manager", "disabled", "run", "--bundle", bundle, &t.id]).ok()
}

/// [P19] the policies that need no room of the host's: with nice, and idle.
#[test]
fn fair_schedulers() {
    only_davit!(); // runc from 1.2 on
    for (scheduler, seen) in [
        (json!({ "policy": "SCHED_BATCH", "nice": 5 }), "5 0 3"),
        (json!({ "policy": "SCHED_OTHER", "nice": -7 }), "-7 0 0"),
        (json!({ "policy": "SCHED_OTHER" }), "0 0 0"),
        (json!({ "policy": "SCHED_BATCH", "flags": ["SCHED_FLAG_KEEP_POLICY"], "nice": 3 }), "3 0 0"),
    ] {
        assert_eq!(seen_with(&scheduler).ok(), seen, "{scheduler}");
    }
    let seen = seen_with(&json!({ "policy": "SCHED_IDLE" })).ok();
    assert!(seen.ends_with(" 0 5"), "{seen}");
}

/// [P19] real-time and deadline policies.
#[test]
fn real_time_schedulers() {
    only_davit!();
    need!(real_time(), "no right to real-time policies");
    let deadline = json!({ "policy": "SCHED_DEADLINE", "nice": 0, "runtime": 4_200_000, "deadline": 10_000_000,
                           "period": 100_000_000, "flags": ["SCHED_FLAG_RECLAIM", "SCHED_FLAG_DL_OVERRUN"] });
    for (scheduler, seen) in [
        (json!({ "policy": "SCHED_FIFO", "priority": 10 }), " 10 1"),
        (json!({ "policy": "SCHED_RR", "priority": 99 }), " 99 2"),
        (deadline, " 0 6"),
    ] {
        // The nice value stays the caller's.
        let mut t = Test::new();
        t.config.set("process.scheduler", scheduler.clone());
        t.args(SEEN);
        let shown = run_without_cgroup(&t);
        assert!(shown.ends_with(seen), "{scheduler}: {shown}");
    }
}

/// [P19] SCHED_FLAG_RESET_ON_FORK: the program has the policy, its children have not.
#[test]
fn reset_on_fork() {
    only_davit!();
    need!(real_time(), "no right to real-time policies");
    for (flags, child) in [(json!([]), "1"), (json!(["SCHED_FLAG_RESET_ON_FORK"]), "0")] {
        let mut t = Test::new();
        let scheduler = json!({ "policy": "SCHED_FIFO", "priority": 1, "flags": flags });
        t.config.set("process.scheduler", scheduler);
        t.sh("cut -d' ' -f41 /proc/1/stat; cut -d' ' -f41 /proc/self/stat; true");
        assert_eq!(run_without_cgroup(&t), format!("1\n{child}"));
    }
}

/// [P19] [E16] the rules, in runc's words.
#[test]
fn scheduler_rules() {
    only_davit!();
    for (scheduler, text) in [
        (json!({ "nice": 1 }), "scheduler policy is required"),
        (json!({ "policy": "SCHED_BOGUS" }), "invalid scheduler policy: SCHED_BOGUS"),
        (json!({ "policy": "SCHED_OTHER", "flags": ["X"] }), "invalid scheduler flag: X"),
        (
            json!({ "policy": "SCHED_OTHER", "nice": 20 }),
            "invalid scheduler.nice: 20 when scheduler.policy is SCHED_OTHER",
        ),
        (
            json!({ "policy": "SCHED_BATCH", "priority": 42 }),
            "scheduler.priority can only be specified for SchedFIFO or SchedRR policy",
        ),
        (
            json!({ "policy": "SCHED_FIFO", "priority": 4, "runtime": 42_000 }),
            "scheduler runtime/deadline/period can only be specified for SchedDeadline policy",
        ),
        (json!({ "policy": "SCHED_ISO" }), "Linux has no SCHED_ISO"),
        (json!({ "policy": "SCHED_DEADLINE", "runtime": 5 }), "1024 ns <= runtime <= deadline"),
    ] {
        refuses(|c| c.set("process.scheduler", scheduler), &[text, "process.scheduler"]);
    }
}

/// [P19] a deadline needs all CPUs, which a cpuset takes away: runc's words.
#[test]
fn deadline_and_cpuset() {
    only_davit!();
    let cpus = std::thread::available_parallelism().map_or(1, usize::from);
    need!(cpus > 1, "one CPU");
    let scheduler = json!({ "policy": "SCHED_DEADLINE", "nice": 19, "runtime": 42_000, "deadline": 1_000_000,
                            "period": 1_000_000 });
    refuses(
        |c| c.set("process.scheduler", scheduler).set("linux.resources.cpu.cpus", "0"),
        &["process scheduler can't be used together with AllowedCPUs"],
    );
}

/// [P19] in a user namespace real-time policies are the host's to give; RLIMIT_RTPRIO gives them.
#[test]
fn scheduler_without_the_right() {
    only_davit!();
    let mut t = Test::new();
    t.open_to_all();
    t.config.user_namespace().set("process.scheduler", json!({ "policy": "SCHED_RR", "priority": 5 }));
    t.args(SEEN);
    let output = t.run().fails(1, "process.scheduler: error setting scheduler: operation not permitted");
    output.says("CAP_SYS_NICE");
    t.assert_clean();
}

/// [P20] the I/O priority, of the whole process group.
#[test]
fn io_priority() {
    only_davit!(); // runc from 1.2 on
    for (class, level, seen) in [("RT", 0, 0x2000), ("BE", 4, 0x4004), ("IDLE", 7, 0x6007)] {
        let mut t = Test::new();
        need!(t.probe(), probe::WHY);
        t.config.set(
            "process.ioPriority",
            json!({ "class": format!("IOPRIO_CLASS_{class}"), "priority": level }),
        );
        // ioprio_get(2) of the process, of its group; of a child.
        for script in ["exec /probe 252 1 0", "exec /probe 252 2 0", "/probe 252 1 0; true"] {
            assert_eq!(t.out(script), seen.to_string(), "{class} {script}");
        }
    }
}

/// [P20] [E16] the rules of classes and levels.
#[test]
fn io_priority_rules() {
    only_davit!();
    for (given, text) in [
        (json!({ "class": "IOPRIO_CLASS_BE", "priority": 8 }), "invalid ioPriority.Priority: 8"),
        (json!({ "class": "IOPRIO_CLASS_BE", "priority": -1 }), "invalid ioPriority.Priority: -1"),
        (json!({ "class": "IOPRIO_CLASS_X", "priority": 1 }), "invalid ioPriority.Class: \"IOPRIO_CLASS_X\""),
        (json!({ "priority": 1 }), "invalid ioPriority.Class: \"\""),
    ] {
        refuses(|c| c.set("process.ioPriority", given), &[text, "process.ioPriority"]);
    }
}

/// [P21] the affinity for exec is checked at create, and init's stays what it is.
#[test]
fn exec_affinity() {
    only_davit!(); // runc from 1.3 on
    for (name, list) in [("initial", "0-"), ("final", "a"), ("final", "3-1"), ("initial", "0-9876543210")] {
        let path = format!("process.execCPUAffinity.{name}");
        refuses(|c| c.set(&path, list), &[&path]);
    }
    let mut t = Test::new();
    let plain = t.out("grep Cpus_allowed_list /proc/self/status");
    for (initial, last) in [("0", "0"), ("", "0"), (" 0 ,", "")] {
        t.config.set("process.execCPUAffinity", json!({ "initial": initial, "final": last }));
        assert_eq!(t.run().ok(), plain);
    }
}

/// What `uname -m` says with this personality, under a caller with the other one.
#[track_caller]
fn machine(domain: &str, caller: &str) -> String {
    let mut t = Test::new();
    t.config.set("linux.personality", json!({ "domain": domain }));
    t.sh("uname -m");
    t.bundle_cmd("run", &[]).wrap(["setarch", caller]).output().ok()
}

/// [L1] the personality, whatever the caller's is.
#[test]
fn personality() {
    only_davit!(); // runc from 1.2 on
    need!(cfg!(target_arch = "x86_64"), "uname shows it on x86-64");
    assert_eq!(machine("LINUX32", "x86_64"), "i686");
    assert_eq!(machine("LINUX", "i686"), "x86_64");
}

/// [L1] it is set before the seccomp filter, which may forbid it.
#[test]
fn personality_under_seccomp() {
    only_davit!();
    let mut t = Test::new();
    let rule = json!([{ "names": ["personality"], "action": "SCMP_ACT_ERRNO" }]);
    t.config.set("linux.seccomp", json!({ "defaultAction": "SCMP_ACT_ALLOW", "syscalls": rule }));
    for (privileges, domain, seen) in [(true, "LINUX32", "8"), (false, "LINUX32", "8"), (true, "LINUX", "0")]
    {
        t.config.set("process.noNewPrivileges", privileges);
        t.config.set("linux.personality", json!({ "domain": domain }));
        let out = t.out("cat /proc/self/personality; grep Seccomp: /proc/self/status");
        assert_eq!(out, format!("{seen:0>8}\nSeccomp:\t2"));
    }
}

/// [L1] [E16] other domains are refused.
#[test]
fn other_personalities() {
    only_davit!();
    refuses(
        |c| c.set("linux.personality", json!({ "domain": "SVR4" })),
        &["linux.personality.domain: invalid personality domain SVR4"],
    );
    refuses(|c| c.set("linux.personality", json!({})), &["invalid personality domain"]);
}

/// [L2] [E13] its flags are a warning, and the container runs.
#[test]
fn personality_flags() {
    only_davit!();
    let mut t = Test::new();
    t.config.set("linux.personality", json!({ "domain": "LINUX", "flags": ["ADDR_NO_RANDOMIZE"] }));
    t.sh("cat /proc/self/personality").write();
    let (log, bundle) = (t.path("log"), t.bundle.to_str().unwrap());
    let output = t.rt(&["--log", &log, "--log-format", "json", "run", "--bundle", bundle, &t.id]);
    assert_eq!(output.ok(), "00000000");
    let text = std::fs::read_to_string(&log).unwrap();
    let record: Value = serde_json::from_str(&text).expect("one record");
    assert_eq!(record["level"], "warning");
    assert!(record["msg"].as_str().unwrap().contains("ADDR_NO_RANDOMIZE"), "{text}");
}

/// [T9] every mode, as the kernel shows it, with the flags.
#[test]
fn memory_policies() {
    only_davit!(); // runc from 1.4 on
    need!(Path::new("/proc/self/numa_maps").exists(), "a kernel without NUMA");
    for (mode, nodes, flags, seen) in [
        ("MPOL_DEFAULT", json!(null), json!([]), "default"),
        ("MPOL_LOCAL", json!(null), json!([]), "local"),
        ("MPOL_BIND", json!("0"), json!([]), "bind:0"),
        ("MPOL_BIND", json!("0"), json!(["MPOL_F_STATIC_NODES"]), "bind=static:0"),
        ("MPOL_BIND", json!("0"), json!(["MPOL_F_NUMA_BALANCING"]), "bind=balancing:0"),
        ("MPOL_INTERLEAVE", json!("0"), json!([]), "interleave:0"),
        ("MPOL_PREFERRED", json!("0"), json!(["MPOL_F_RELATIVE_NODES"]), "prefer=relative:0"),
        ("MPOL_PREFERRED", json!(null), json!([]), "local"),
        ("MPOL_PREFERRED_MANY", json!("0"), json!([]), "prefer (many):0"),
        ("MPOL_WEIGHTED_INTERLEAVE", json!("0"), json!([]), "weighted interleave:0"),
    ] {
        let mut t = Test::new();
        t.config.set("linux.memoryPolicy", json!({ "mode": mode, "flags": flags }));
        if !nodes.is_null() {
            t.config.set("linux.memoryPolicy.nodes", nodes);
        }
        t.sh("head -n 1 /proc/self/numa_maps");
        let output = t.run();
        if output.code == 1 && output.stderr.contains("the kernel lacks this mode") {
            skip(&format!("{mode} with {flags} is newer than this kernel"));
            continue;
        }
        let line = output.ok();
        let policy = line.split_once(' ').expect("address and policy").1;
        assert!(policy.starts_with(&format!("{seen} ")), "{mode}: {line}");
    }
}

/// [T9] [E16] what is refused, in runc's words.
#[test]
fn memory_policy_rules() {
    only_davit!();
    for (given, text) in [
        (json!({}), "invalid memory policy mode"),
        (json!({ "nodes": "0-7" }), "invalid memory policy mode"),
        (json!({ "mode": "INTERLEAVE", "nodes": "0" }), "invalid memory policy mode \"INTERLEAVE\""),
        (
            json!({ "mode": "MPOL_PREFERRED", "nodes": "0", "flags": ["MPOL_F_RELATIVE_NODES", "badflag"] }),
            "invalid memory policy flag \"badflag\"",
        ),
        (json!({ "mode": "MPOL_DEFAULT", "nodes": "0-7" }), "mode requires 0 nodes but got 8"),
        (json!({ "mode": "MPOL_LOCAL", "nodes": "0" }), "mode requires 0 nodes but got 1"),
        (json!({ "mode": "MPOL_BIND" }), "mode requires at least one node"),
        (json!({ "mode": "MPOL_INTERLEAVE", "nodes": "" }), "mode requires at least one node"),
        (json!({ "mode": "MPOL_BIND", "nodes": "0-9876543210" }), "invalid memory policy node"),
    ] {
        refuses(|c| c.set("linux.memoryPolicy", given), &[text, "linux.memoryPolicy"]);
    }
}

/// [T9] a node that the machine has not: the kernel's refusal, with a hint.
#[test]
fn memory_node_that_is_not_there() {
    only_davit!();
    need!(Path::new("/proc/self/numa_maps").exists(), "a kernel without NUMA");
    refuses(
        |c| c.set("linux.memoryPolicy", json!({ "mode": "MPOL_BIND", "nodes": "1000" })),
        &["linux.memoryPolicy: invalid argument", "a node is not there"],
    );
}

/// What config.json does not name is the caller's, as with runc and crun: nice value, I/O priority.
#[test]
fn the_callers_priority_is_handed_on() {
    let mut t = Test::new();
    t.args(SEEN);
    let me = i32::try_from(std::process::id()).unwrap();
    let nicer = host::stat_field(me, 19).unwrap().parse::<i32>().unwrap() + 5;
    let output = t.bundle_cmd("run", &[]).wrap(["nice", "-n", "5"]).output();
    assert_eq!(output.ok(), format!("{} 0 0", nicer.min(19)));
    t.config.set("process.scheduler", json!({ "policy": "SCHED_OTHER" }));
    only_davit!();
    assert_eq!(t.bundle_cmd("run", &[]).wrap(["nice", "-n", "5"]).output().ok(), "0 0 0");
}
