//! What a container uses: `events` in runc's JSON, `stats` for people, each number against the kernel's file.

use crate::support::*;

/// A container that holds memory and processor time back by limits, and does something.
fn busy() -> Test {
    let mut t = Test::new();
    t.config.set(
        "linux.resources",
        json!({
            "memory": { "limit": 67_108_864 }, "pids": { "limit": 17 },
            "cpu": { "quota": 20_000, "period": 100_000 },
        }),
    );
    t.sh("sleep 1000 & while :; do :; done");
    t.detach();
    t
}

fn stats(t: &Test) -> Value {
    let event: Value = serde_json::from_str(&t.rt(&["events", "--stats", &t.id]).ok()).unwrap();
    assert_eq!(event["type"], "stats");
    assert_eq!(event["id"], t.id.as_str());
    event["data"].clone()
}

fn number(t: &Test, v1: &str, v2: &str) -> u64 {
    cgroup::read(&t.cgroup, v1, v2).parse().unwrap()
}

/// [V43] [C22] the numbers are those of the files.
#[test]
fn numbers_are_the_kernels() {
    let t = busy();
    host::wait_until("both processes", || cgroup::pids(&t.cgroup).len() == 2);
    host::wait_until("throttled", || stats(&t)["cpu"]["throttling"]["throttledTime"].as_u64() > Some(0));
    let stats = stats(&t);
    assert_eq!(stats["pids"], json!({ "current": 2, "limit": 17 }));
    assert_eq!(stats["memory"]["usage"]["limit"], 67_108_864);
    let usage = stats["memory"]["usage"]["usage"].as_u64().unwrap();
    let now = number(&t, "memory.usage_in_bytes", "memory.current");
    assert!(usage.abs_diff(now) < 4 << 20, "{usage} against {now}");
    assert!(stats["memory"]["swap"]["usage"].as_u64() >= Some(usage));
    assert!(stats["memory"]["raw"]["pgfault"].as_u64() > Some(0));
    let total = stats["cpu"]["usage"]["total"].as_u64().unwrap();
    let now = if cgroup::unified() {
        let text = cgroup::read(&t.cgroup, "cpu.stat", "cpu.stat");
        text.lines().find_map(|line| line.strip_prefix("usage_usec ")).unwrap().parse::<u64>().unwrap() * 1000
    } else {
        number(&t, "cpuacct.usage", "")
    };
    assert!(total > 0 && total <= now, "{total} against {now}");
    assert!(stats["cpu"]["throttling"]["periods"].as_u64() > Some(0));
    assert!(!stats["cpuset"]["cpus"].as_array().unwrap().is_empty());
}

/// Every number with its place: `/memory/usage/limit`.
fn leaves(value: &Value, place: &str, found: &mut std::collections::BTreeMap<String, Value>) {
    match value {
        Value::Object(fields) => {
            fields.iter().for_each(|(key, value)| leaves(value, &format!("{place}/{key}"), found));
        }
        other => _ = found.insert(place.to_string(), other.clone()),
    }
}

/// What `runc events --stats` says of the cgroups of `t`: runc has a container of its own, in whose state their paths
/// stand. The other container must stay as long as that is asked.
fn runcs_view(t: &Test, other: &Test) -> Value {
    let runc = |args: &[&str]| {
        let front = ["/usr/sbin/runc".to_string(), "--root".into(), other.path("runc")];
        Cmd::new(&other.dir, front).args(args).args([&other.id]).output()
    };
    let file = other.dir.join("runc").join(&other.id).join("state.json");
    let own = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, own.replace(&other.cgroup, &t.cgroup)).unwrap();
    let text = runc(&["events", "--stats"]).ok();
    std::fs::write(&file, own).unwrap();
    serde_json::from_str::<Value>(&text).unwrap()["data"].clone()
}

/// [C22] runc, asked about the very same container while that stands still, says the same, number by number; what it
/// does not have came with a later runc.
#[test]
fn runc_says_the_same_of_the_same_container() {
    need!(std::path::Path::new("/usr/sbin/runc").exists(), "runc is not installed");
    only_davit!();
    let t = busy();
    host::wait_until("throttled", || stats(&t)["cpu"]["throttling"]["throttledTime"].as_u64() > Some(0));
    t.verb(&["pause"]).ok();
    let mut other = t.sibling();
    other.config.set("ociVersion", "1.0.2");
    other.write();
    let runc = |args: &[&str]| {
        let front = ["/usr/sbin/runc".to_string(), "--root".into(), other.path("runc")];
        Cmd::new(&other.dir, front).args(args).args([&other.id]).output()
    };
    runc(&["run", "--detach", "--bundle", other.bundle.to_str().unwrap()]).ok();
    let mut differences = Vec::new();
    // The kernel settles its per-CPU counters of memory now and then.
    let same = host::until(std::time::Duration::from_secs(15), || {
        let (mut mine, mut theirs) = (Default::default(), Default::default());
        leaves(&stats(&t), "", &mut mine);
        leaves(&runcs_view(&t, &other), "", &mut theirs);
        assert!(theirs.len() > 40, "{theirs:?}");
        let later = |place: &str| {
            place.contains("/psi/")
                || matches!(place, "/memory/usage/max" | "/memory/usage/failcnt" | "/memory/swap/failcnt")
                || cgroup::unified() && place.starts_with("/cpuset/")
        };
        differences = theirs
            .iter()
            .filter(|(place, value)| mine.get(*place) != Some(value))
            .map(|(place, value)| format!("{place}: runc {value}, davit {:?}", mine.get(place)))
            .chain(mine.keys().filter(|place| !theirs.contains_key(*place) && !later(place)).cloned())
            .collect::<Vec<String>>();
        differences.is_empty()
    });
    runc(&["delete", "--force"]).ok();
    assert!(same, "{differences:#?}");
}

/// A file of one number, or the number of a key in it; microseconds are brought to nanoseconds by the caller.
fn file(t: &Test, name: &str, key: &str) -> u64 {
    let text = cgroup::read(&t.cgroup, name, name);
    let found = if key.is_empty() {
        Some(text.trim())
    } else {
        text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(' '))
    };
    match found.unwrap_or_else(|| panic!("no {key:?} in {name}:\n{text}")) {
        "max" => u64::MAX,
        number => number.parse().unwrap(),
    }
}

/// [C22] Each number beside the file that it comes from, while the container stands still.
#[test]
fn each_number_beside_its_file() {
    let t = busy();
    host::wait_until("throttled", || stats(&t)["cpu"]["throttling"]["throttledTime"].as_u64() > Some(0));
    t.verb(&["pause"]).ok();
    let v1: &[(&str, &str, &str, u64)] = &[
        ("/cpu/usage/total", "cpuacct.usage", "", 1),
        ("/cpu/usage/user", "cpuacct.stat", "user", 10_000_000),
        ("/cpu/usage/kernel", "cpuacct.stat", "system", 10_000_000),
        ("/cpu/throttling/periods", "cpu.stat", "nr_periods", 1),
        ("/cpu/throttling/throttledPeriods", "cpu.stat", "nr_throttled", 1),
        ("/cpu/throttling/throttledTime", "cpu.stat", "throttled_time", 1),
        ("/memory/usage/usage", "memory.usage_in_bytes", "", 1),
        ("/memory/usage/max", "memory.max_usage_in_bytes", "", 1),
        ("/memory/usage/failcnt", "memory.failcnt", "", 1),
        ("/memory/usage/limit", "memory.limit_in_bytes", "", 1),
        ("/memory/swap/usage", "memory.memsw.usage_in_bytes", "", 1),
        ("/memory/swap/max", "memory.memsw.max_usage_in_bytes", "", 1),
        ("/memory/swap/limit", "memory.memsw.limit_in_bytes", "", 1),
        ("/memory/kernel/usage", "memory.kmem.usage_in_bytes", "", 1),
        ("/memory/kernel/max", "memory.kmem.max_usage_in_bytes", "", 1),
        ("/memory/kernelTCP/usage", "memory.kmem.tcp.usage_in_bytes", "", 1),
        ("/memory/raw/rss", "memory.stat", "rss", 1),
        ("/memory/raw/pgfault", "memory.stat", "pgfault", 1),
        ("/memory/cache", "memory.stat", "cache", 1),
        ("/pids/current", "pids.current", "", 1),
        ("/pids/limit", "pids.max", "", 1),
        ("/cpuset/sched_load_balance", "cpuset.sched_load_balance", "", 1),
        ("/cpuset/mem_exclusive", "cpuset.mem_exclusive", "", 1),
    ];
    let v2: &[(&str, &str, &str, u64)] = &[
        ("/cpu/usage/total", "cpu.stat", "usage_usec", 1000),
        ("/cpu/usage/user", "cpu.stat", "user_usec", 1000),
        ("/cpu/usage/kernel", "cpu.stat", "system_usec", 1000),
        ("/cpu/throttling/periods", "cpu.stat", "nr_periods", 1),
        ("/cpu/throttling/throttledPeriods", "cpu.stat", "nr_throttled", 1),
        ("/cpu/throttling/throttledTime", "cpu.stat", "throttled_usec", 1000),
        ("/memory/usage/usage", "memory.current", "", 1),
        ("/memory/usage/failcnt", "memory.events", "max", 1),
        ("/memory/usage/limit", "memory.max", "", 1),
        ("/memory/swap/failcnt", "memory.swap.events", "max", 1),
        ("/memory/raw/anon", "memory.stat", "anon", 1),
        ("/memory/raw/pgfault", "memory.stat", "pgfault", 1),
        ("/memory/cache", "memory.stat", "file", 1),
        ("/pids/current", "pids.current", "", 1),
        ("/pids/limit", "pids.max", "", 1),
    ];
    let table = if cgroup::unified() { v2 } else { v1 };
    let mut differences = Vec::new();
    let same = host::until(std::time::Duration::from_secs(15), || {
        let stats = stats(&t);
        differences = table
            .iter()
            // A number that is zero is left out.
            .map(|(place, name, key, unit)| {
                (place, file(&t, name, key) * unit, stats.pointer(place).and_then(Value::as_u64).unwrap_or(0))
            })
            .filter(|(_, kernel, told)| kernel != told)
            .map(|difference| format!("{difference:?}"))
            .collect::<Vec<String>>();
        if cgroup::unified() {
            let swap = file(&t, "memory.current", "") + file(&t, "memory.swap.current", "");
            if stats["memory"]["swap"]["usage"] != swap {
                differences.push(format!("swap: {swap}"));
            }
        }
        differences.is_empty()
    });
    assert!(same, "{differences:#?}");
}

/// [V42] [V44] a line each interval, and the end with the container.
#[test]
fn a_stream_ends_with_the_container() {
    let t = busy();
    let events = t.cmd(&["events", "--interval", "50ms", &t.id]).spawn();
    host::wait_until("three lines", || events.stdout().lines().count() >= 3);
    t.rt(&["kill", &t.id, "KILL"]).ok();
    let output = events.wait().code(0);
    for line in output.ok().lines() {
        let event: Value = serde_json::from_str(line).unwrap();
        assert_eq!(event["type"], "stats", "{line}");
    }
}

/// [V42] a process that is killed for lack of memory is told, and so is the end of init by it.
#[test]
fn running_out_of_memory_is_an_event() {
    let mut t = Test::new();
    t.config.set("linux.resources.memory", json!({ "limit": 16_777_216, "swap": 16_777_216 }));
    t.config.mount("/hold", "tmpfs", "tmpfs", &["size=64m"]);
    // tail keeps what it reads; the shell that waits for it survives.
    t.sh("while [ ! -e /tmp/go ]; do usleep 5000; done; tail -c 60000000 /dev/zero; sleep 1000");
    t.detach();
    let events = t.cmd(&["events", "--interval", "1h", &t.id]).spawn();
    // Before it watches, a kill would be told to nobody.
    let fds = format!("/proc/{}/fd", events.pid());
    let is_watch = |name: &String| {
        let target = std::fs::read_link(format!("{fds}/{name}")).unwrap_or_default();
        let target = target.to_string_lossy();
        target.contains("inotify") || target.contains("[eventfd]")
    };
    let sleeps = || host::process_state(events.pid()) == Some('S');
    host::wait_until("events watches", || host::list(&fds).iter().any(is_watch) && sleeps());
    t.file("tmp/go", "");
    let expected = json!({ "type": "oom", "id": t.id });
    host::wait_until("an oom line", || !events.stdout().is_empty());
    let first = events.stdout().lines().next().unwrap().to_owned();
    assert_eq!(serde_json::from_str::<Value>(&first).unwrap(), expected);
    t.rt(&["kill", &t.id, "KILL"]).ok();
    events.wait().code(0);
}

/// [V42] [V43] [V44] what can't be: no container, a stopped one, an interval that is none.
#[test]
fn faults() {
    let mut t = Test::new();
    t.rt(&["events", "--stats", &t.id]).code(1).says("container does not exist");
    t.sh("true");
    t.detach();
    t.wait_status("stopped");
    t.rt(&["events", &t.id]).code(1).says(&format!("container with id {} is not running", t.id));
    t.rt(&["events", "--interval", "0s", &t.id]).code(1).says("duration interval must be greater than 0");
    t.rt(&["events", "--interval", "-5s", &t.id]).code(1).says("duration interval must be greater than 0");
    t.rt(&["events", "--interval", "5", &t.id]).code(1).says("invalid value \"5\"");
}

/// [C22] the table for people, and its JSON for scripts.
#[test]
fn a_table_for_people() {
    only_davit!();
    let t = busy();
    let table = t.rt(&["stats", "--no-stream", "--interval", "300ms", &t.id]).ok();
    let mut lines = table.lines();
    assert!(lines.next().unwrap().starts_with("ID "), "{table}");
    let cells: Vec<_> = lines.next().unwrap().split_whitespace().collect();
    assert_eq!((cells[0], cells[5], lines.next()), (t.id.as_str(), "64.0MiB", None));
    let text = t.rt(&["stats", "--no-stream", "--format", "json", "--interval", "300ms"]).ok();
    let rows: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(rows[0]["id"], t.id.as_str());
    assert_eq!(rows[0]["memory_limit"], 67_108_864);
    let percent = rows[0]["cpu_percent"].as_f64().unwrap();
    assert!(percent > 0.0 && percent < 60.0, "{percent}: the quota is 20");
    t.rt(&["stats", "nobody"]).code(1).says("container does not exist");
    // Without --no-stream it ends when the container does.
    let stream = t.cmd(&["stats", "--interval", "50ms", &t.id]).spawn();
    host::wait_until("two tables", || stream.stdout().matches("CPU %").count() >= 2);
    t.rt(&["kill", &t.id, "KILL"]).ok();
    stream.wait().code(0);
}
