//! `exec` and cgroups: the container's, one below it, or where init is.

use crate::support::*;
use std::path::PathBuf;

/// Where the exec'd process finds itself, as the host's file names it.
#[track_caller]
fn cgroups_of(t: &Test, options: &[&str]) -> Vec<String> {
    let file = t.path("exec.pid");
    t.exec_cmd(&[&["-d", "--pid-file", &file], options].concat(), &["sleep", "500"]).output().ok();
    let pid = std::fs::read_to_string(&file).unwrap();
    let text = std::fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap();
    host::kill(pid.parse().unwrap());
    host::reap();
    text.lines().map(|line| line.splitn(3, ':').skip(1).collect::<Vec<_>>().join(":")).collect()
}

/// Makes a cgroup below the container's in every hierarchy.
fn make(t: &Test, name: &str) -> Vec<PathBuf> {
    let made: Vec<_> = cgroup::dirs(&t.cgroup).iter().map(|dir| dir.join(name)).collect();
    made.iter().for_each(|dir| std::fs::create_dir(dir).unwrap());
    let cpuset = cgroup::dir(&t.cgroup, "cpuset").join(name);
    for file in ["cpuset.cpus", "cpuset.mems"] {
        if let (Ok(above), false) =
            (std::fs::read_to_string(cpuset.parent().unwrap().join(file)), cgroup::unified())
        {
            std::fs::write(cpuset.join(file), above.trim()).unwrap();
        }
    }
    made
}

/// [S29] [S28] In the container's cgroup in every hierarchy, before it runs anything.
#[test]
fn the_containers_own() {
    let mut t = Test::new();
    t.sleeper();
    let own = cgroups_of(&t, &[]);
    let of_init = std::fs::read_to_string(format!("/proc/{}/cgroup", t.pid())).unwrap();
    assert_eq!(
        of_init.lines().filter(|line| line.ends_with(&t.cgroup)).count(),
        own.iter().filter(|line| line.ends_with(&t.cgroup)).count()
    );
    assert!(t.exec(&[], "cat /proc/self/cgroup").ok().contains(if cgroup::unified() {
        "0::/"
    } else {
        t.cgroup.as_str()
    }));
}

/// [V40] A cgroup below, in all hierarchies or in one.
#[test]
fn sub_cgroups() {
    let mut t = Test::new();
    t.sleeper();
    make(&t, "below");
    let below = format!("{}/below", t.cgroup);
    let count = |found: &[String], path: &str| found.iter().filter(|line| line.ends_with(path)).count();
    let all = cgroups_of(&t, &["--cgroup", "below"]);
    assert_eq!(count(&all, &below), cgroup::dirs(&t.cgroup).len(), "{all:?}");
    assert_eq!(count(&cgroups_of(&t, &["--cgroup", "/x/../below/"]), &below), cgroup::dirs(&t.cgroup).len());
    if cgroup::unified() {
        t.exec(&["--cgroup", "memory:below"], "true").fails(255, "unknown controller memory");
        return;
    }
    let one = cgroups_of(&t, &["--cgroup", "memory,pids:below"]);
    assert_eq!(count(&one, &below), 2, "{one:?}");
    assert!(one.contains(&format!("memory:{below}")), "{one:?}");
    let two = cgroups_of(&t, &["--cgroup", "memory:below", "--cgroup", "pids:/"]);
    assert_eq!(count(&two, &below), 1, "{two:?}");
}

/// [V40] [Z14] In runc's words.
#[test]
fn bad_sub_cgroups() {
    let mut t = Test::new();
    t.sleeper();
    let fails = |options: &[&str], text: &str| drop(t.exec(options, "true").fails(255, text));
    fails(&["--cgroup", "nothere"], "no such file or directory");
    fails(&["--cgroup", "a", "--cgroup", "b"], "missing <controller>: prefix");
    only_davit!(); // runc 1.1 has older words
    for path in ["..", "a/../../b", "/../.."] {
        fails(&["--cgroup", path], "bad sub cgroup path");
    }
    fails(&["--cgroup", "nosuch:a"], "unknown controller nosuch");
    fails(&["--cgroup", ":a"], "empty <controller> prefix");
    fails(&["--cgroup", "pids:a", "--cgroup", "pids:b"], "specified multiple times");
}

/// [W6] The process file may name it.
#[test]
fn named_by_the_process_file() {
    only_davit!();
    let mut t = Test::new();
    t.config.namespace("cgroup");
    t.sleeper();
    make(&t, "below");
    let mut process = json!({ "cwd": "/", "user": { "uid": 0, "gid": 0 }, "args": ["/bin/cat", "/proc/self/cgroup"],
                              "cgroup": "below" });
    assert!(t.exec_process(&[], &process).ok().lines().any(|line| line.ends_with(":/below")));
    assert!(!t.exec_process(&["--cgroup", "/"], &process).ok().contains("below"), "the option holds over it");
    process["cgroup"] = json!("../x");
    t.exec_process(&[], &process).fails(255, "bad sub cgroup path");
}

/// [S29] [reliability R13] Init has moved to a cgroup of its own, and the container's is gone or can't have processes:
/// where init is.
#[test]
fn where_init_is() {
    only_davit!();
    let mut t = Test::new();
    t.sleeper();
    let pid = t.pid();
    let moved: Vec<_> = cgroup::dirs(&t.cgroup)
        .iter()
        .map(|dir| {
            let other = dir.with_file_name(format!("{}-moved", dir.file_name().unwrap().to_string_lossy()));
            std::fs::create_dir(&other).unwrap();
            for file in ["cpuset.cpus", "cpuset.mems"] {
                if let (Ok(value), false) = (std::fs::read_to_string(dir.join(file)), cgroup::unified()) {
                    std::fs::write(other.join(file), value.trim()).unwrap();
                }
            }
            std::fs::write(other.join("cgroup.procs"), pid.to_string()).unwrap();
            std::fs::remove_dir(dir).unwrap();
            other
        })
        .collect();
    let found = cgroups_of(&t, &[]);
    let name = format!("{}-moved", t.cgroup);
    assert_eq!(found.iter().filter(|line| line.ends_with(&name)).count(), moved.len(), "{found:?}");
    t.exec(&["--cgroup", "x"], "true").code(255);
    host::kill(pid);
    t.wait_status("stopped");
    host::until(std::time::Duration::from_secs(2), || {
        moved.iter().all(|dir| std::fs::remove_dir(dir).is_ok() || !dir.exists())
    });
}

/// [S29] On v2, a container whose init has passed controllers on to a cgroup below.
#[test]
fn a_busy_cgroup() {
    need!(cgroup::unified(), "cgroup v2 only");
    only_davit!();
    let mut t = Test::new();
    t.sleeper();
    let dir = cgroup::dir(&t.cgroup, "pids");
    std::fs::create_dir(dir.join("init")).unwrap();
    std::fs::write(dir.join("init/cgroup.procs"), t.pid().to_string()).unwrap();
    std::fs::write(dir.join("cgroup.subtree_control"), "+pids").unwrap();
    assert!(cgroups_of(&t, &[])[0].ends_with(&format!("{}/init", t.cgroup)));
    t.exec(&["--cgroup", "/"], "true").code(255);
}

/// [S27] The container's limit of processes holds for exec, too.
#[test]
fn the_limit_of_processes() {
    let mut t = Test::new();
    t.config.set("linux.resources.pids", json!({ "limit": 3 }));
    t.sh("sleep 1000 & sleep 1000 & wait").detach();
    host::wait_until("three processes", || cgroup::pids(&t.cgroup).len() == 3);
    let output = t.exec_cmd(&[], &["true"]).output();
    assert!(output.code == 255 || !(cgroup::unified() || davit_only()), "{output}");
    t.config.set("linux.resources.pids", json!({ "limit": 3 }));
    assert_eq!(cgroup::pids(&t.cgroup).len(), 3);
}
