//! `state`, `list`, `ps`: what the world reads of a container.

use crate::support::*;

/// [S3] [S5] [V18] every field of the state, with its type.
#[test]
fn fields() {
    let mut t = Test::new();
    t.config.set("annotations", json!({ "com.example.key": "value", "org.opencontainers.image.title": "x" }));
    t.sh("sleep 30");
    t.create().ok();
    let state = t.state();
    assert_eq!(state["id"], t.id);
    assert_eq!(state["bundle"], t.bundle.to_str().unwrap());
    assert_eq!(state["rootfs"], t.rootfs.to_str().unwrap());
    assert_eq!(state["status"], "created");
    assert!(state["pid"].as_i64().unwrap() > 0);
    assert!(state["ociVersion"].as_str().unwrap().starts_with("1."), "{state}");
    assert_eq!(state["annotations"]["com.example.key"], "value");
    assert_eq!(state["annotations"]["org.opencontainers.image.title"], "x");
    assert!(state["owner"].is_string(), "{state}");
    let created = state["created"].as_str().unwrap();
    assert!(created.ends_with('Z') && created.contains('.'), "{created}");
    let time = humantime::parse_rfc3339(created).unwrap();
    assert!(time.elapsed().unwrap() < std::time::Duration::from_secs(30), "{created}");
}

/// [S3] annotations are absent when there are none.
#[test]
fn no_annotations() {
    let t = Test::new();
    t.create().ok();
    let state = t.state();
    assert!(
        state.get("annotations").is_none() || state["annotations"].as_object().unwrap().is_empty(),
        "{state}"
    );
    if davit_only() {
        assert!(state.get("annotations").is_none(), "{state}");
    }
}

/// [S4] [S5] the pid is 0 once the container has stopped.
#[test]
fn pid_of_a_stopped_one() {
    let mut t = Test::new();
    t.sh("exit 3");
    t.detach();
    t.wait_status("stopped");
    assert_eq!(t.pid(), 0);
    assert_eq!(t.state()["id"], t.id);
}

/// [S6] a killed init is stopped at once, even while nobody has reaped it.
#[test]
fn zombie_is_stopped() {
    let mut t = Test::new();
    t.sh("sleep 30");
    t.detach();
    let pid = t.pid();
    host::kill(pid);
    let mut zombie_seen = false;
    // No reaping in this loop, in this test at least.
    for _ in 0..400 {
        if host::process_state(pid) == Some('Z') {
            zombie_seen = true;
            break;
        }
        std::thread::sleep(std::time::Duration::from_millis(1));
    }
    assert_eq!(t.status(), "stopped", "zombie: {zombie_seen}");
}

/// [V18] state prints JSON on stdout and nothing else, whatever the log options.
#[test]
fn state_is_quiet() {
    let t = Test::new();
    t.create().ok();
    let text = t.cmd(&["--debug", "--log", &t.path("log"), "state"]).args([&t.id]).output().ok();
    serde_json::from_str::<Value>(&text).unwrap();
}

/// [S36] a broken state directory is named by state, skipped by list, and removed by delete --force.
#[test]
fn broken_state() {
    let t = Test::new();
    t.create().ok();
    let other = t.root.join("broken");
    std::fs::create_dir(&other).unwrap();
    std::fs::write(other.join("state.json"), "{ half").unwrap();
    t.rt(&["state", "broken"]).code(1);
    let listed = t.rt(&["list", "-q"]).code(0);
    assert!(listed.stdout.lines().any(|line| line == t.id), "{listed}");
    if davit_only() {
        // What it could not find out is a warning.
        t.rt(&["delete", "--force", "broken"]).code(0);
        assert!(!other.exists());
    }
    let _ = std::fs::remove_dir_all(other);
}

/// [V19] the table: header, padded columns, one line a container.
#[test]
fn list_table() {
    let mut a = Test::new();
    a.sh("sleep 30");
    a.detach();
    let b = a.sibling();
    b.create().ok();
    let out = a.rt(&["list"]).ok();
    let mut lines = out.lines();
    let header: Vec<&str> = lines.next().unwrap().split_whitespace().collect();
    assert_eq!(header, ["ID", "PID", "STATUS", "BUNDLE", "CREATED", "OWNER"]);
    let rows: Vec<Vec<&str>> = lines.map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(rows.len(), 2, "{out}");
    let row = |t: &Test| rows.iter().find(|row| row[0] == t.id).unwrap().clone();
    let pid = a.pid().to_string();
    assert_eq!(row(&a)[1..4], [pid.as_str(), "running", a.bundle.to_str().unwrap()]);
    assert_eq!(row(&b)[2], "created");
    assert_eq!(row(&a)[5], "root");
}

/// [V20] [V21] JSON and quiet.
#[test]
fn list_formats() {
    let mut t = Test::new();
    t.sh("sleep 30");
    t.detach();
    let list: Value = serde_json::from_str(&t.rt(&["list", "--format", "json"]).ok()).unwrap();
    let state = t.state();
    assert_eq!(list.as_array().unwrap().len(), 1);
    for key in ["id", "pid", "status", "bundle", "rootfs", "created", "ociVersion"] {
        assert_eq!(list[0][key], state[key], "{key}");
    }
    assert_eq!(list[0]["owner"], "root");
    assert_eq!(t.rt(&["list", "-q"]).ok(), t.id);
    assert_eq!(t.rt(&["list", "--quiet", "-f=table"]).ok(), t.id);
    t.rt(&["list", "-f", "yaml"]).fails(1, "invalid format option");
}

/// [V19] [V20] an empty root: nothing, `null`.
#[test]
fn list_of_none() {
    let t = Test::new();
    std::fs::create_dir(&t.root).unwrap();
    assert_eq!(t.rt(&["list", "-q"]).ok(), "");
    assert_eq!(t.rt(&["list", "--format=json"]).ok(), "null");
    assert!(t.rt(&["list"]).ok().starts_with("ID"));
}

/// [V19] a root that was named and is not there.
#[test]
fn list_of_a_missing_root() {
    only_davit!(); // runc from 1.5 on
    let t = Test::new();
    t.rt(&["list"]).fails(1, "no such file or directory");
}

/// [V22] the table of ps holds the container's processes, by the host's pids.
#[test]
fn ps_table() {
    let mut t = Test::new();
    t.sh("sleep 31 & sleep 32 & wait");
    t.detach();
    host::wait_until("three processes", || cgroup::pids(&t.cgroup).len() == 3);
    let out = t.verb(&["ps"]).ok();
    let mut lines = out.lines();
    assert!(lines.next().unwrap().contains("PID"), "{out}");
    assert_eq!(lines.count(), 3, "{out}");
    let chosen = t.rt(&["ps", &t.id, "-o", "pid,args"]).ok();
    assert!(chosen.contains("sleep 31") && chosen.contains("sleep 32"), "{chosen}");
    t.rt(&["ps", &t.id, "-o", "args"]).fails(1, "couldn't find PID field in ps output");
}

/// [V23] ps --format json: an array of numbers on stdout alone; empty after the end.
#[test]
fn ps_json() {
    let mut t = Test::new();
    t.sh("sleep 31 & wait");
    t.detach();
    host::wait_until("two processes", || cgroup::pids(&t.cgroup).len() == 2);
    let pids: Vec<i32> = serde_json::from_str(&t.verb(&["ps", "--format", "json"]).ok()).unwrap();
    let mut expected = cgroup::pids(&t.cgroup);
    expected.sort_unstable();
    let mut got = pids;
    got.sort_unstable();
    assert_eq!(got, expected);
    t.rt(&["kill", &t.id, "KILL"]).ok();
    t.wait_status("stopped");
    host::wait_until("empty", || cgroup::pids(&t.cgroup).is_empty());
    let text = t.verb(&["ps", "-f", "json"]).ok();
    let none: Option<Vec<i32>> = serde_json::from_str(&text).unwrap();
    assert!(none.unwrap_or_default().is_empty(), "{text}");
}

/// [S36] state.json names init, for the tools that read it.
#[test]
fn state_file() {
    let t = Test::new();
    t.create().ok();
    let text = std::fs::read_to_string(t.root.join(&t.id).join("state.json")).unwrap();
    let state: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(state["init_process_pid"], t.pid());
}

/// [S6] [reliability R10] a pid that belongs to another process by now is not init: the start time tells.
#[test]
fn recycled_pid() {
    only_davit!(); // the fields of the state file are its own
    let mut t = Test::new();
    t.sh("exit 0");
    t.detach();
    t.wait_status("stopped");
    let path = t.root.join(&t.id).join("state.json");
    let text = std::fs::read_to_string(&path).unwrap();
    let mut state: Value = serde_json::from_str(&text).unwrap();
    state["init_process_pid"] = json!(std::process::id());
    std::fs::write(&path, serde_json::to_string(&state).unwrap()).unwrap();
    assert_eq!(t.status(), "stopped");
    t.rt(&["kill", &t.id, "KILL"]).fails(1, "container not running");
    t.verb(&["delete"]).ok();
}
