//! The container's cgroups as directories: parents, owners, threads, the freezer, removal.

use crate::support::*;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

fn read(path: PathBuf) -> String {
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display())).trim().into()
}

/// [C1] [C9] [Q12] parents are made as they are needed; the container has every controller that the root has (v2), and
/// parents without processors are filled from above (v1).
#[test]
fn nested_path() {
    let mut t = Test::new();
    let top = t.cgroup.clone();
    t.config.set("linux.cgroupsPath", format!("{top}/a/b"));
    t.create().ok();
    let inner = format!("{top}/a/b");
    assert_eq!(cgroup::pids(&inner), [t.pid()]);
    if cgroup::unified() {
        let have = read(cgroup::dir(&inner, "").join("cgroup.controllers"));
        for name in read(cgroup::dir("", "").join("cgroup.controllers")).split(' ') {
            assert!(have.split(' ').any(|found| found == name), "no {name} in {have}");
        }
    } else {
        for path in [&top, &format!("{top}/a"), &inner] {
            assert!(!read(cgroup::dir(path, "cpuset").join("cpuset.cpus")).is_empty(), "{path}");
            assert!(!read(cgroup::dir(path, "cpuset").join("cpuset.mems")).is_empty(), "{path}");
        }
    }
    t.verb(&["delete", "--force"]).ok();
    assert!(cgroup::dirs(&inner).is_empty());
    cgroup::destroy(&top);
}

/// [C3] [C2] without a path, and with a relative one, the same place each time, which is not the runtime's own.
#[test]
fn default_path_is_relative() {
    let mut t = Test::new();
    t.config.remove("linux.cgroupsPath");
    let place = |t: &Test| {
        t.create().ok();
        let text = read(format!("/proc/{}/cgroup", t.pid()).into());
        t.verb(&["delete", "--force"]).ok();
        text
    };
    let default = place(&t);
    t.config.set("linux.cgroupsPath", t.id.clone());
    assert_eq!(place(&t), default);
    t.cgroup = format!("/{}", t.id);
}

/// [C11] [C23] when `create` returns, init is in its cgroup and `ps` lists it; so is what it starts.
#[test]
fn processes_are_in_the_cgroup_at_once() {
    let mut t = Test::new();
    t.sh("sleep 30 & sleep 31 & wait");
    t.create().ok();
    let pid = t.pid();
    let ps = |t: &Test| {
        let list: Vec<i32> = serde_json::from_str(&t.verb(&["ps", "--format", "json"]).ok()).unwrap();
        list
    };
    assert_eq!(cgroup::pids(&t.cgroup), [pid]);
    assert_eq!(ps(&t), [pid]);
    t.verb(&["start"]).ok();
    assert!(ps(&t).contains(&pid));
    host::wait_until("three processes", || ps(&t).len() == 3);
    let mut listed = ps(&t);
    let mut there = cgroup::pids(&t.cgroup);
    listed.sort_unstable();
    there.sort_unstable();
    assert_eq!(listed, there);
}

/// The owners of the cgroup's directory and of some of its files.
fn owners(t: &Test) -> Vec<u32> {
    let dir = cgroup::dir(&t.cgroup, "pids");
    let of = |path: &Path| std::fs::metadata(path).unwrap().uid();
    let files = ["", "cgroup.procs", "cgroup.threads", "cgroup.subtree_control", "pids.max", "cgroup.freeze"];
    files.iter().map(|name| dir.join(name)).filter(|path| path.exists()).map(|path| of(&path)).collect()
}

/// [C14] a writable cgroup mount with a cgroup namespace gives the cgroup to the container's user: it may make
/// cgroups and move processes, and it may not change its limits.
#[test]
fn owner() {
    only_davit!(); // runc with the systemd driver only
    need!(cgroup::unified(), "ownership is for cgroup v2");
    let mut t = Test::new();
    t.config.user_namespace().namespace("cgroup").set("linux.resources.pids", json!({ "limit": 50 }));
    t.config.unmount("/sys/fs/cgroup").mount("/sys/fs/cgroup", "cgroup", "cgroup", &["nosuid", "rw"]);
    let out = t.out(
        "cd /sys/fs/cgroup && mkdir sub && echo $$ > sub/cgroup.procs && cat /proc/self/cgroup \
         && (echo 60 > pids.max) 2>/dev/null || echo denied",
    );
    assert_eq!(out.lines().next(), Some("0::/sub"));
    assert_eq!(out.lines().last(), Some("denied"));
    t.create().ok();
    assert_eq!(owners(&t), [100_000, 100_000, 100_000, 100_000, 0, 0]);
    let listed = std::fs::read_to_string("/sys/kernel/cgroup/delegate").unwrap_or_default();
    let dir = cgroup::dir(&t.cgroup, "");
    for name in listed.lines().filter(|name| dir.join(name).exists()) {
        assert_eq!(std::fs::metadata(dir.join(name)).unwrap().uid(), 100_000, "{name}");
    }
}

/// [C14] the user is process.user.uid, by its id on the host.
#[test]
fn owner_is_the_process_user() {
    only_davit!();
    need!(cgroup::unified(), "ownership is for cgroup v2");
    let mut t = Test::new();
    t.config.namespace("cgroup").set("process.user", json!({ "uid": 7, "gid": 7 }));
    t.config.unmount("/sys/fs/cgroup").mount("/sys/fs/cgroup", "cgroup", "cgroup", &["rw"]);
    t.create().ok();
    assert_eq!(owners(&t)[..4], [7, 7, 7, 7]);
    assert_eq!(owners(&t)[4..], [0, 0]);
}

/// [C14] nothing changes hands if the mount is read-only, if the namespace is the host's, or on v1.
#[test]
fn owner_stays() {
    let mut t = Test::new();
    t.config.user_namespace().namespace("cgroup");
    t.create().ok();
    assert!(owners(&t).iter().all(|uid| *uid == 0), "read-only: {:?}", owners(&t));
    t.verb(&["delete", "--force"]).ok();
    if !cgroup::unified() {
        t.config.unmount("/sys/fs/cgroup").mount("/sys/fs/cgroup", "cgroup", "cgroup", &["rw"]);
        t.create().ok();
        assert!(owners(&t).iter().all(|uid| *uid == 0), "v1: {:?}", owners(&t));
    }
}

/// [C10] below a threaded cgroup the container's is threaded, too; limits that threads can't have are refused.
#[test]
fn threaded() {
    only_davit!();
    need!(cgroup::unified(), "threaded cgroups are v2's");
    let mut t = Test::new();
    let parent = cgroup::dir(&t.cgroup, "").join("threads");
    std::fs::create_dir_all(&parent).unwrap();
    std::fs::write(parent.join("cgroup.type"), "threaded").unwrap();
    let place = format!("{}/threads/made/c", t.cgroup);
    t.config.set("linux.cgroupsPath", place.clone());
    t.config.set("linux.resources.memory", json!({ "limit": 67_108_864 }));
    t.create().fails(1, "with memory controller -- it is in an invalid state");
    assert!(!parent.join("made").exists());
    t.config.remove("linux.resources.memory").set("linux.resources.pids", json!({ "limit": 9 }));
    t.sh("sleep 30 & wait");
    t.detach();
    let dir = cgroup::dir(&place, "");
    assert_eq!(read(dir.join("cgroup.type")), "threaded");
    assert_eq!(read(dir.join("pids.max")), "9");
    host::wait_until("both processes", || {
        let list: Vec<i32> = serde_json::from_str(&t.verb(&["ps", "--format", "json"]).ok()).unwrap();
        list.len() == 2 && list.contains(&t.pid())
    });
    t.verb(&["delete", "--force"]).ok();
    assert!(!dir.exists());
    cgroup::destroy(&t.cgroup);
}

/// [V45] [S32] pause returns when all stand still, however fast they fork; and it takes cgroups below with it.
#[test]
fn pause_of_forking_processes() {
    let mut t = Test::new();
    t.sh("while :; do /bin/true; done & while :; do /bin/true; done");
    t.detach();
    for _ in 0..5 {
        t.verb(&["pause"]).ok();
        let (dir, file, frozen) =
            if cgroup::dirs(&t.cgroup).iter().any(|dir| dir.join("cgroup.freeze").exists()) {
                let dirs = cgroup::dirs(&t.cgroup);
                (
                    dirs.into_iter().find(|dir| dir.join("cgroup.freeze").exists()).unwrap(),
                    "cgroup.events",
                    "frozen 1",
                )
            } else {
                (cgroup::dir(&t.cgroup, "freezer"), "freezer.state", "FROZEN")
            };
        assert!(read(dir.join(file)).contains(frozen));
        t.verb(&["resume"]).ok();
    }
}

/// [V45] [S32] [Q25] a cgroup that the payload has made and frozen: pause and resume work around it, and it stays as it was.
#[test]
fn nested_freezer() {
    let mut t = Test::new();
    t.sh("sleep 30 & while :; do usleep 10000; done");
    t.create().ok();
    let freezer = cgroup::dirs(&t.cgroup).into_iter().find(|dir| dir.join("cgroup.freeze").exists());
    let (dir, file, on, off) = match freezer {
        Some(dir) => (dir, "cgroup.freeze", "1", "0"),
        None => (cgroup::dir(&t.cgroup, "freezer"), "freezer.state", "FROZEN", "THAWED"),
    };
    assert_eq!(read(dir.join(file)), off);
    t.verb(&["start"]).ok();
    host::wait_until("the child", || cgroup::pids(&t.cgroup).len() >= 2);
    let child = cgroup::pids(&t.cgroup).into_iter().find(|pid| *pid != t.pid()).unwrap();
    let inner = dir.join("inner");
    std::fs::create_dir(&inner).unwrap();
    std::fs::write(inner.join("cgroup.procs"), child.to_string()).unwrap();
    std::fs::write(inner.join(file), on).unwrap();
    assert_eq!(t.status(), "running");
    t.verb(&["pause"]).ok();
    assert_eq!(t.status(), "paused");
    t.verb(&["resume"]).ok();
    assert_eq!(t.status(), "running");
    assert_eq!(read(inner.join(file)), on);
    t.verb(&["delete", "--force"]).ok();
    t.assert_clean_but_pid_file();
}

/// [S18] [S23] a paused container can be killed and deleted.
#[test]
fn delete_of_a_paused_one() {
    let mut t = Test::new();
    t.sh("sleep 30 & sleep 30 & wait");
    t.detach();
    t.verb(&["pause"]).ok();
    t.verb(&["delete", "--force"]).ok();
    t.assert_clean_but_pid_file();
}

/// [C24] [S24] cgroups that the payload has made, deep and with processes in them, as systemd in a container does.
#[test]
fn removal_with_nested_cgroups() {
    let mut t = Test::new();
    t.sh("sleep 30 & sleep 30 & wait");
    t.detach();
    host::wait_until("three processes", || cgroup::pids(&t.cgroup).len() == 3);
    let children: Vec<_> = cgroup::pids(&t.cgroup).into_iter().filter(|pid| *pid != t.pid()).collect();
    for dir in cgroup::dirs(&t.cgroup) {
        // cpuset takes no process before it has processors: there the cgroups stay empty.
        for (name, pid) in [("init.scope", children[0]), ("a/b/c/d", children[1])] {
            std::fs::create_dir_all(dir.join(name)).unwrap_or_default();
            let _ = std::fs::write(dir.join(name).join("cgroup.procs"), pid.to_string());
        }
    }
    t.rt(&["kill", &t.id, "KILL"]).ok();
    t.wait_status("stopped");
    t.verb(&["delete"]).ok();
    t.assert_clean_but_pid_file();
}

/// [C24] a foreign process in the cgroup: after ten seconds an error that names the path and the process; a second
/// delete goes on.
#[test]
fn removal_of_a_busy_cgroup() {
    only_davit!();
    let mut t = Test::new();
    t.sh("true");
    t.detach();
    t.wait_status("stopped");
    let mut command = std::process::Command::new("sleep");
    let mut stranger = host::spawn(command.arg("60")).unwrap();
    let pid = i32::try_from(stranger.id()).unwrap();
    let dir = cgroup::dir(&t.cgroup, "pids");
    std::fs::write(dir.join("cgroup.procs"), pid.to_string()).unwrap();
    let output =
        t.verb(&["delete"]).fails(1, &format!("remove cgroup {}: device or resource busy", dir.display()));
    // Not one of the container's, which has its own pid namespace: nobody kills it.
    assert!(host::alive(pid));
    output.says(&format!("{pid}"));
    host::kill(pid);
    host::wait(&mut stranger);
    t.verb(&["delete"]).ok();
    t.assert_clean_but_pid_file();
}

/// [C24] no directory is left after many rounds of create and delete: 20, or as many as DAVIT_TEST_CYCLES says.
#[test]
fn cycles() {
    let rounds = std::env::var("DAVIT_TEST_CYCLES").ok().and_then(|text| text.parse().ok()).unwrap_or(20);
    let mut t = Test::docker();
    t.config.set("linux.cgroupsPath", t.cgroup.clone());
    for round in 0..rounds {
        t.create().ok();
        t.verb(&["delete", "--force"]).ok();
        assert!(cgroup::dirs(&t.cgroup).is_empty(), "round {round}: {:?}", cgroup::dirs(&t.cgroup));
    }
    let _ = std::fs::remove_file(&t.pid_file);
    t.assert_clean();
}
