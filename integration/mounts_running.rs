//! `mounts add` and `mounts remove`: mounts of a container that runs.

use crate::support::*;
use std::os::unix::fs::symlink;

/// A container that waits.
fn waiting(change: impl FnOnce(&mut Test)) -> Test {
    let mut t = Test::new();
    change(&mut t);
    t.sh("sleep 60");
    t.detach();
    t
}

fn file(t: &Test, mounts: Value) -> String {
    let path = t.path(&format!("mounts{}", host::unique()));
    std::fs::write(&path, mounts.to_string()).unwrap();
    path
}

fn mounts(t: &Test, verb: &str, list: Value) -> Output {
    let path = file(t, list);
    t.rt(&["mounts", verb, &t.id, &path])
}

#[track_caller]
fn sh(t: &Test, script: &str) -> String {
    t.rt(&["exec", &t.id, "/bin/sh", "-c", script]).ok()
}

/// [X7] [W11] a directory, a file and a new file system; seen inside, not on the host; taken away again.
#[test]
fn added_and_removed() {
    only_davit!(); // crun's
    let t = waiting(|_| ());
    std::fs::create_dir(t.dir.join("data")).unwrap();
    std::fs::write(t.dir.join("data/one"), "1\n").unwrap();
    let list = json!([
        { "destination": "/new/data", "source": t.path("data"), "options": ["rbind", "ro", "nosuid"] },
        { "destination": "/etc/one", "source": t.path("data/one"), "options": ["bind"] },
        { "destination": "/scratch", "type": "tmpfs", "source": "tmpfs", "options": ["size=1m", "mode=700", "noexec"] }
    ]);
    mounts(&t, "add", list.clone()).ok();
    let seen = sh(
        &t,
        "cat /new/data/one /etc/one; (echo x > /new/data/two) 2>&1; echo x > /scratch/file && stat -c %a /scratch; \
         grep -E ' /(new/data|scratch) ' /proc/self/mountinfo | cut -d' ' -f6",
    );
    let lines: Vec<_> = seen.lines().collect();
    assert_eq!(lines[..2], ["1", "1"]);
    assert!(lines[2].contains("Read-only file system"), "{seen}");
    assert_eq!(lines[3], "700");
    assert!(lines[4].starts_with("ro,nosuid") && lines[5].contains("noexec"), "{seen}");
    assert!(host::mounts(&t.rootfs).is_empty(), "none of it is on the host");
    mounts(&t, "remove", list).ok();
    assert_eq!(
        sh(&t, "ls /new/data; cat /etc/one; grep -cE ' /(new|scratch|etc)' /proc/self/mountinfo; true"),
        "0"
    );
    assert_eq!(std::fs::read_to_string(t.dir.join("data/one")).unwrap(), "1\n");
}

/// [X7] from stdin, into a container with a user namespace, and into one that only waits for start.
#[test]
fn other_containers() {
    only_davit!();
    let t = waiting(|t| {
        t.config.user_namespace();
    });
    std::fs::write(t.dir.join("one"), "1\n").unwrap();
    std::fs::create_dir(t.rootfs.join("there")).unwrap();
    let list = json!([{ "destination": "/there/one", "source": t.path("one"), "options": ["bind"] }]);
    let path = file(&t, list.clone());
    t.cmd(&["mounts", "add", &t.id, "-"]).stdin(std::path::Path::new(&path)).output().ok();
    assert_eq!(sh(&t, "cat /there/one"), "1");
    let tmpfs = json!([{ "destination": "/x", "type": "tmpfs", "source": "x" }]);
    mounts(&t, "add", tmpfs)
        .fails(1, "mounts[0]: a new file system would not belong to the container's user namespace");
    let mut t = Test::new();
    std::fs::write(t.dir.join("one"), "1\n").unwrap();
    t.sh("cat /one > /tmp/seen; sleep 60");
    t.create().ok();
    mounts(&t, "add", json!([{ "destination": "/one", "source": t.path("one"), "options": ["bind"] }])).ok();
    t.verb(&["start"]).ok();
    host::wait_until("the program has seen it", || {
        std::fs::read_to_string(t.rootfs.join("tmp/seen")).is_ok_and(|text| text == "1\n")
    });
}

/// [X7] one that fails takes the others back; wrong input changes nothing.
#[test]
fn all_or_none() {
    only_davit!();
    let t = waiting(|_| ());
    std::fs::create_dir(t.dir.join("data")).unwrap();
    let good = json!({ "destination": "/good", "source": t.path("data"), "options": ["bind"] });
    let no_source = json!({ "destination": "/bad", "source": "/nowhere", "options": ["bind"] });
    mounts(&t, "add", json!([good, no_source]))
        .fails(1, "mounts[1] (/bad): open source /nowhere: no such file");
    let no_place = json!({ "destination": "/bin/sh/x", "source": t.path("data"), "options": ["bind"] });
    mounts(&t, "add", json!([good, no_place]))
        .fails(1, "mounts[1] (/bin/sh/x): make the mount point: not a directory");
    for (mount, text) in [
        (json!({ "destination": "/", "type": "tmpfs" }), "must not be the root itself"),
        (json!({ "destination": "/proc/sys", "type": "tmpfs" }), "inside /proc"),
        (json!({ "destination": "/p", "type": "sysfs" }), "mounts[0]: procfs and sysfs show the namespaces"),
        (json!({ "destination": "/p", "type": "cgroup" }), "mounts[0]: cgroups can't be added"),
        (json!({ "destination": "/good", "options": ["remount", "ro"] }), "mounts[0]: mounts of a running"),
        (json!({ "source": "/s" }), "destination"),
    ] {
        mounts(&t, "add", json!([mount])).fails(1, text);
    }
    mounts(&t, "add", json!({ "destination": "/x" })).fails(1, "mounts");
    t.rt(&["mounts", "add", &t.id, "/nowhere"]).fails(1, "read /nowhere: no such file or directory");
    mounts(&t, "remove", json!([{ "destination": "/good" }]))
        .fails(1, "mounts[0] (/good): unmount: invalid argument");
    let before = sh(&t, "grep -cE ' /(good|bad|p) ' /proc/self/mountinfo; true");
    assert_eq!(before, "0");
    let path = file(&t, json!([good]));
    t.rt(&["mounts", "add", "none", &path]).fails(1, "container does not exist");
    t.rt(&["kill", &t.id, "KILL"]).ok();
    t.wait_status("stopped");
    t.rt(&["mounts", "add", &t.id, &path]).fails(1, "container not running");
}

/// [X7] [Z3] links in the container lead nowhere else: a destination stays inside, and what is removed is named itself.
#[test]
fn links_of_the_container() {
    only_davit!();
    let t = waiting(|t| {
        symlink("/../../../../../../etc", t.rootfs.join("out")).unwrap();
        symlink("/proc", t.rootfs.join("p")).unwrap();
    });
    std::fs::write(t.dir.join("one"), "1\n").unwrap();
    let at = |destination: &str| json!([{ "destination": destination, "source": t.path("one"), "options": ["bind"] }]);
    let name = format!("davit-{}", t.id);
    mounts(&t, "add", at(&format!("/out/{name}"))).ok();
    assert!(!std::path::Path::new("/etc").join(&name).exists());
    assert_eq!(sh(&t, &format!("cat /etc/{name}")), "1");
    mounts(&t, "add", at("/p/cmdline"))
        .fails(1, "mounts[0] (/p/cmdline): cannot be mounted because it is inside /proc");
    // A mask of the container must not go away because a link leads to it.
    mounts(&t, "remove", at("/p/keys")).fails(1, "mounts[0] (/p/keys): unmount: ").says("symbolic link");
}
