//! Limits bite: what the kernel does to a container that wants more, in numbers.

use crate::support::*;
use std::time::{Duration, Instant};

/// Nanoseconds of processor time that the container has had.
fn cpu_time(t: &Test) -> u64 {
    if cgroup::unified() {
        let text = cgroup::read(&t.cgroup, "cpu.stat", "cpu.stat");
        return keyed(&text, "usage_usec") * 1000;
    }
    cgroup::read(&t.cgroup, "cpuacct.usage", "").parse().unwrap()
}

/// The number after the key in a file of lines `KEY NUMBER`.
#[track_caller]
fn keyed(text: &str, key: &str) -> u64 {
    let value = text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(' '));
    value.unwrap_or_else(|| panic!("no {key} in:\n{text}")).trim().parse().unwrap()
}

/// [Q1] [S12] a program that wants too much memory is killed, `run` says why, and the rest of the container lives on.
#[test]
fn memory() {
    let mut t = Test::new();
    t.config.set("linux.resources.memory", json!({ "limit": 16_777_216, "swap": 16_777_216 }));
    let eat = "awk 'BEGIN { s = \"x\"; while (1) s = s s }'";
    // The shell says "Killed", to nobody.
    t.sh(&format!("exec 2> /dev/null; {eat}; echo $? > /tmp/code; sleep 30"));
    t.detach();
    let code = || std::fs::read_to_string(t.rootfs.join("tmp/code")).unwrap_or_default();
    host::wait_until("the program's end", || !code().is_empty());
    assert_eq!(code().trim(), "137");
    assert_eq!(t.status(), "running");
    let events = cgroup::read(&t.cgroup, "memory.oom_control", "memory.events");
    assert!(keyed(&events, "oom_kill") >= 1, "{events}");
    let peak = if cgroup::unified() { "memory.current" } else { "memory.max_usage_in_bytes" };
    let most: u64 = cgroup::read(&t.cgroup, "memory.max_usage_in_bytes", peak).parse().unwrap();
    assert!(most <= 16_777_216, "{most}");
    t.verb(&["delete", "--force"]).ok();
    t.sh(&format!("exec {eat}"));
    let output = t.run().code(137);
    if davit_only() {
        output.says("memory limit was reached");
    }
}

/// [Q20] no more processes than allowed, and the kernel counts the refusals.
#[test]
fn pids() {
    let mut t = Test::new();
    t.config.set("linux.resources.pids", json!({ "limit": 5 }));
    t.sh("for i in 1 2 3 4 5 6 7 8; do sleep 30 & done 2>/dev/null; wait");
    t.detach();
    let refused = || keyed(&cgroup::read(&t.cgroup, "pids.events", "pids.events"), "max");
    // ash ends at the first fork that fails, so that what it has started is all there ever was.
    let seen = host::until(Duration::from_secs(5), || t.status() == "stopped" || refused() > 0);
    assert!(seen);
    assert!(cgroup::pids(&t.cgroup).len() <= 5);
    assert!(refused() > 0);
}

/// [Q9] [C22] a tenth of a processor is a tenth, and the throttled periods are counted.
#[test]
fn cpu_quota() {
    let mut t = Test::new();
    t.config.set("linux.resources.cpu", json!({ "quota": 10_000, "period": 100_000 }));
    t.sh("while :; do :; done");
    t.detach();
    let (start, before) = (Instant::now(), cpu_time(&t));
    std::thread::sleep(Duration::from_millis(1500));
    let used = cpu_time(&t) - before;
    let share = used * 100 / u64::try_from(start.elapsed().as_nanos()).unwrap();
    assert!((1..=15).contains(&share), "{share} % of a processor");
    let stat = cgroup::read(&t.cgroup, "cpu.stat", "cpu.stat");
    assert!(keyed(&stat, "nr_throttled") >= 5, "{stat}");
}

/// [Q8] on one processor the larger share gets the more.
#[test]
fn cpu_shares() {
    let busy = |shares: u64| {
        let mut t = Test::new();
        t.config.set("linux.resources.cpu", json!({ "shares": shares, "cpus": "0", "mems": "0" }));
        t.sh("while :; do :; done");
        t.detach();
        t
    };
    let (large, small) = (busy(2048), busy(128));
    let before = (cpu_time(&large), cpu_time(&small));
    std::thread::sleep(Duration::from_secs(2));
    let (large, small) = (cpu_time(&large) - before.0, cpu_time(&small) - before.1);
    assert!(large > small * 2, "{large} against {small} ns");
}

/// [Q12] the program runs on no other processor, and the kernel refuses to let it.
#[test]
fn cpuset() {
    let mut t = Test::new();
    t.config.set("linux.resources.cpu", json!({ "cpus": "0", "mems": "0" }));
    let out = t.out(
        "nproc; taskset -p 2 $$ >/dev/null 2>&1 || echo refused; grep Mems_allowed_list /proc/self/status",
    );
    assert_eq!(out, "1\nrefused\nMems_allowed_list:\t0");
}

/// A loop device of 4 MiB; gone with the test.
struct Loop {
    path: String,
    major: u64,
    minor: u64,
}

impl Loop {
    fn new(t: &Test) -> Option<Self> {
        use std::os::unix::fs::MetadataExt;
        let file = t.path("disk");
        std::fs::write(&file, vec![0; 4 << 20]).unwrap();
        let output = std::process::Command::new("losetup").args(["--show", "-f", &file]).output().ok()?;
        let path = String::from_utf8(output.stdout).unwrap().trim().to_string();
        if path.is_empty() {
            return None;
        }
        let rdev = std::fs::metadata(&path).unwrap().rdev();
        Some(Self { path, major: rustix::fs::major(rdev).into(), minor: rustix::fs::minor(rdev).into() })
    }

    /// The container gets it as /dev/disk, without a limit so far.
    fn give(&self, t: &mut Test) {
        let (major, minor) = (self.major, self.minor);
        t.config.set(
            "linux.devices",
            json!([{ "path": "/dev/disk", "type": "b", "major": major, "minor": minor, "fileMode": 0o600 }]),
        );
        t.config.push(
            "linux.resources.devices",
            json!({ "allow": true, "type": "b", "major": major, "minor": minor, "access": "rwm" }),
        );
    }
}

impl Drop for Loop {
    fn drop(&mut self) {
        let _ = std::process::Command::new("losetup").args(["-d", &self.path]).status();
    }
}

/// How long the script takes, by the container's own clock: a start may take as long on a slow machine.
fn seconds(t: &mut Test, script: &str) -> f64 {
    let out = t.out(&format!("read a _ </proc/uptime; {script}; read b _ </proc/uptime; echo $a $b"));
    let (start, end) = out.split_once(' ').unwrap();
    end.parse::<f64>().unwrap() - start.parse::<f64>().unwrap()
}

/// [Q17] bytes and operations a second of a block device, read and written: two seconds' worth takes that long.
#[test]
fn block_io() {
    let mut t = Test::new();
    let Some(disk) = Loop::new(&t) else { return skip("no loop device can be had") };
    disk.give(&mut t);
    let read = "dd if=/dev/disk of=/dev/null iflag=direct";
    let write = "dd if=/dev/zero of=/dev/disk oflag=direct";
    let cases = [
        ("throttleReadBpsDevice", 1_048_576, format!("{read} bs=64k count=32 2>/dev/null")),
        ("throttleWriteBpsDevice", 1_048_576, format!("{write} bs=64k count=32 2>/dev/null")),
        ("throttleReadIOPSDevice", 20, format!("{read} bs=4k count=40 2>/dev/null")),
        ("throttleWriteIOPSDevice", 20, format!("{write} bs=4k count=40 2>/dev/null")),
    ];
    for (field, rate, script) in cases {
        t.config.set("linux.resources.blockIO", json!({}));
        let free = seconds(&mut t, &script);
        let device = json!({ "major": disk.major, "minor": disk.minor, "rate": rate });
        t.config.set("linux.resources.blockIO", json!({ field: [device] }));
        let throttled = seconds(&mut t, &script);
        assert!(
            throttled > 1.3 && throttled > free + 1.0,
            "{field}: {throttled} s, without a limit {free} s"
        );
    }
}

/// Huge pages for as long as the test lasts.
struct HugePages(String);

impl HugePages {
    const FILE: &str = "/proc/sys/vm/nr_hugepages";

    fn new() -> Self {
        let before = std::fs::read_to_string(Self::FILE).unwrap();
        std::fs::write(Self::FILE, "8").unwrap();
        Self(before)
    }
}

impl Drop for HugePages {
    fn drop(&mut self) {
        let _ = std::fs::write(Self::FILE, &self.0);
    }
}

/// [Q18] one huge page is given, a second one refused.
#[test]
fn huge_pages() {
    let mut t = Test::new();
    let all = cgroup::dir("", "hugetlb");
    let has = if cgroup::unified() {
        std::fs::read_to_string(all.join("cgroup.controllers")).unwrap().contains("hugetlb")
    } else {
        all.exists()
    };
    need!(has, "the hugetlb controller");
    let _pages = HugePages::new();
    let free = host::field(&std::fs::read_to_string("/proc/meminfo").unwrap(), "HugePages_Free");
    need!(free.parse::<u32>().unwrap() >= 4, "free huge pages");
    t.config.set("linux.resources.hugepageLimits", json!([{ "pageSize": "2MB", "limit": 2_097_152 }]));
    t.config.mount("/huge", "hugetlbfs", "hugetlbfs", &["pagesize=2M"]);
    let allocate = |pages: u32| format!("busybox fallocate -l {} /huge/f 2>&1", pages * 2_097_152);
    let out = t.out(&format!("{} && echo one; {} || echo refused", allocate(1), allocate(2)));
    assert!(out.starts_with("one\n") && out.ends_with("refused"), "{out}");
    t.sh("true");
    t.create().ok();
    assert_eq!(cgroup::read(&t.cgroup, "hugetlb.2MB.limit_in_bytes", "hugetlb.2MB.max"), "2097152");
    assert_eq!(cgroup::read(&t.cgroup, "hugetlb.2MB.rsvd.limit_in_bytes", "hugetlb.2MB.rsvd.max"), "2097152");
}

/// [Q22] [Q23] a file of `unified` bites, and wins over the field for the same file.
#[test]
fn unified_wins() {
    need!(cgroup::unified(), "unified is for cgroup v2");
    let mut t = Test::new();
    t.config.set("linux.resources.pids", json!({ "limit": 100 }));
    t.config.set("linux.resources.unified", json!({ "pids.max": "3", "memory.high": "33554432" }));
    let out = t.out("for i in 1 2 3 4 5 6; do (sleep 0.2 &) 2>&1; done; true");
    assert!(out.contains("can't fork") || out.contains("Resource temporarily unavailable"), "{out}");
    t.create().ok();
    assert_eq!(cgroup::read(&t.cgroup, "", "pids.max"), "3");
    assert_eq!(cgroup::read(&t.cgroup, "", "memory.high"), "33554432");
}
