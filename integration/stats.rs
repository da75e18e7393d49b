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

/// [C22] runc, asked about a container of its own, has the same keys.
#[test]
fn the_shape_is_runcs() {
    need!(std::path::Path::new("/usr/sbin/runc").exists(), "runc is not installed");
    only_davit!();
    let t = busy();
    let mine = stats(&t);
    let theirs = t.sibling();
    theirs.write();
    let runc = |args: &[&str]| {
        let front = ["/usr/sbin/runc".to_string(), "--root".into(), theirs.path("runc")];
        Cmd::new(&theirs.dir, front).args(args).output()
    };
    let bundle = theirs.bundle.to_string_lossy().into_owned();
    runc(&["run", "--detach", "--bundle", &bundle, &theirs.id]).ok();
    let text = runc(&["events", "--stats", &theirs.id]).ok();
    runc(&["delete", "--force", &theirs.id]).ok();
    let theirs: Value = serde_json::from_str(&text).unwrap();
    for (key, value) in theirs["data"].as_object().unwrap() {
        assert!(mine.get(key).is_some(), "{key} is missing");
        let Some(object) = value.as_object() else { continue };
        for (inner, value) in object {
            // Numbers that are zero are left out, so they depend on the moment.
            let optional = inner.contains("Recursive") || key == "hugetlb" || inner == "cache";
            assert!(optional || mine[key].get(inner).is_some(), "{key}.{inner} is missing");
            if value.is_object() && inner != "raw" {
                assert!(mine[key][inner].is_object(), "{key}.{inner}");
            }
        }
    }
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
    std::thread::sleep(std::time::Duration::from_millis(200));
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
