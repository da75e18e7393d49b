//! Mounts: cgroup, mqueue, devpts and overlay; long data.

use crate::mounts::{INFO, find};
use crate::mounts_user_namespace::in_user_namespace;
use crate::support::*;

/// [M42] [M43] the cgroup mount, read-only, for every controller of v1 or the one tree of v2.
#[test]
fn cgroup_mount() {
    let mut t = Test::docker();
    let info = t.out(&format!("{INFO}; ls /sys/fs/cgroup"));
    if cgroup::unified() {
        let line = find(&info, "/sys/fs/cgroup");
        assert!(line.kind == "cgroup2" && line.has("ro"), "{line:?}");
        return;
    }
    assert_eq!(find(&info, "/sys/fs/cgroup").kind, "tmpfs");
    // runc 1.1 leaves the tmpfs writable.
    assert!(find(&info, "/sys/fs/cgroup").has("ro") || !davit_only(), "{info}");
    for name in ["memory", "pids", "devices", "freezer", "cpu"] {
        if std::fs::read_link(format!("/sys/fs/cgroup/{name}"))
            .is_ok_and(|link| link.to_str() == Some("cpu,cpuacct"))
        {
            // Two controllers in one hierarchy: the container has the same link.
            assert!(
                info.lines().any(|line| line == "cpu") && find(&info, "/sys/fs/cgroup/cpu,cpuacct").has("ro")
            );
            continue;
        }
        let line = find(&info, &format!("/sys/fs/cgroup/{name}"));
        assert!(line.kind == "cgroup" && line.has("ro"), "{line:?}");
        assert_eq!(line.root, "/", "the namespace hides what is above: {line:?}");
    }
}

/// [M42] [Z10] without a cgroup namespace the container sees only its own part, read-only.
#[test]
fn cgroup_mount_without_namespace() {
    let mut t = Test::docker();
    t.config.leave("cgroup");
    let info = t.out(&format!("{INFO}; mkdir /sys/fs/cgroup/memory/x 2>/dev/null && echo made; true"));
    let at = if cgroup::unified() { "/sys/fs/cgroup" } else { "/sys/fs/cgroup/memory" };
    let line = find(&info, at);
    assert!(line.has("ro"), "{line:?}");
    assert!(line.root.ends_with(&t.cgroup), "{line:?}");
    assert!(!info.contains("made"), "{info}");
}

/// [M43] cgroup2 by its own type, where there is one tree: the container's, by its namespace or by a bind.
#[test]
fn cgroup2_by_type() {
    need!(cgroup::unified(), "needs one cgroup tree");
    for namespace in [true, false] {
        for user in [false, true] {
            let mut t = if user { in_user_namespace() } else { Test::new() };
            if !namespace {
                t.config.leave("cgroup");
            }
            t.config.unmount("/sys/fs/cgroup").mount(
                "/sys/fs/cgroup",
                "cgroup2",
                "cgroup2",
                &["ro", "nosuid"],
            );
            let options = || {
                std::fs::read_to_string("/proc/self/mountinfo").map(|text| find(&text, "/sys/fs/cgroup").data)
            };
            let before = options().unwrap();
            let out = t.out(&format!("{INFO}; (mkdir /sys/fs/cgroup/x) 2>&1; true"));
            let line = find(&out, "/sys/fs/cgroup");
            assert!(line.kind == "cgroup2" && line.has("ro") && line.has("nosuid"), "{line:?}");
            assert!(line.root == "/" && namespace || line.root.ends_with(&t.cgroup), "{line:?}");
            assert!(out.ends_with("Read-only file system"), "{out}");
            assert_eq!(options().unwrap(), before, "nsdelegate and its kin are the host's");
        }
    }
}

/// [M43] cgroup2 in a cgroup namespace of its own shows a tree that ends with the container, and leaves the options
/// of the host's mount alone, also on a host with both versions.
#[test]
fn cgroup2_beside_v1() {
    need!(
        std::fs::read_to_string("/proc/self/mountinfo").unwrap().contains(" - cgroup2 "),
        "no cgroup2 mounted"
    );
    let options = || {
        let text = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
        text.lines().find(|line| line.contains(" - cgroup2 ")).unwrap().to_string()
    };
    let before = options();
    let mut t = Test::new();
    t.config.namespace("cgroup").mount("/mnt", "cgroup2", "cgroup2", &["nosuid"]);
    let out = t.out(&format!("{INFO}; cat /mnt/cgroup.controllers >/dev/null && echo there"));
    let line = find(&out, "/mnt");
    assert!(line.kind == "cgroup2" && line.root == "/" && out.ends_with("there"), "{line:?}");
    assert_eq!(options(), before);
}

/// [M40] mqueue shows the queues of the container's ipc namespace and no others.
#[test]
fn mqueue() {
    let mut t = Test::new();
    let out = t.out(&format!("touch /dev/mqueue/of-the-container && ls /dev/mqueue; {INFO}"));
    assert!(out.starts_with("of-the-container\n"), "{out}");
    assert_eq!(find(&out, "/dev/mqueue").kind, "mqueue");
    assert_eq!(t.out("ls /dev/mqueue"), "", "another container has a namespace of its own");
}

/// [M41] devpts: a mode and a group of its own; where the user namespace has no such group, the option is left out
/// with a warning.
#[test]
fn devpts() {
    let mut t = Test::new();
    let out = t.out(&format!("{INFO}; stat -c '%a' /dev/pts/ptmx; ls /dev/pts"));
    assert!(find(&out, "/dev/pts").data.contains("gid=5,mode=620,ptmxmode=666"), "{out}");
    assert!(out.ends_with("666\nptmx"), "an instance of its own: {out}");
    need!(davit_only(), "runc fails where the group is not mapped");
    let mut t = in_user_namespace();
    let one = json!([{ "containerID": 0, "hostID": 100_000, "size": 1 }]);
    t.config.set("linux.gidMappings", one.clone()).set("linux.uidMappings", one);
    t.sh(INFO);
    let output = t.run().code(0);
    let line = find(&output.stdout, "/dev/pts");
    assert!(!line.data.contains("gid=") && line.data.contains("mode=620,ptmxmode=666"), "{line:?}");
    output.says("gid=5 is left out");
}

/// [M47] another file system type, with its data.
#[test]
fn overlay() {
    let mut t = Test::new();
    for (dir, file) in [("lower", "low"), ("upper", "up"), ("work", "")] {
        std::fs::create_dir(t.dir.join(dir)).unwrap();
        if !file.is_empty() {
            std::fs::write(t.dir.join(dir).join(file), "").unwrap();
        }
    }
    let options =
        ["lowerdir", "upperdir", "workdir"].map(|o| format!("{o}={}", t.path(o.trim_end_matches("dir"))));
    t.config.mount("/merged", "overlay", "overlay", &options.each_ref().map(String::as_str));
    assert_eq!(t.out("ls /merged"), "low\nup");
}

/// [M49] an overlay with 100 lower directories: more data than mount(2) takes.
#[test]
fn overlay_with_a_hundred_layers() {
    only_davit!(); // runc gives the kernel's error
    need!(kernel() >= (6, 5), "layers one by one take Linux 6.5");
    let mut t = Test::new();
    let mut layers = vec![];
    for number in 0..100 {
        let layer = t.dir.join(format!("layers/a-rather-long-name-of-a-layer-{number}"));
        std::fs::create_dir_all(&layer).unwrap();
        std::fs::write(layer.join(format!("file-{number}")), "").unwrap();
        std::fs::write(layer.join("top"), number.to_string()).unwrap();
        layers.push(layer.to_string_lossy().into_owned());
    }
    for dir in ["upper", "work"] {
        std::fs::create_dir(t.dir.join(dir)).unwrap();
    }
    let lower = format!("lowerdir={}", layers.join(":"));
    assert!(lower.len() > 4096);
    let (upper, work) = (format!("upperdir={}", t.path("upper")), format!("workdir={}", t.path("work")));
    t.config.mount("/merged", "overlay", "overlay", &[&lower, &upper, &work, "nosuid"]);
    let out = t.out("ls /merged | wc -l; cat /merged/top; echo; touch /merged/new; grep -c ' /merged .*nosuid' /proc/self/mountinfo");
    // The first is the uppermost.
    assert_eq!(out, "101\n0\n1");
    assert!(t.dir.join("upper/new").exists());
}

/// [M49] too much data for any other file system is the kernel's error, in one line.
#[test]
fn long_data_elsewhere() {
    only_davit!();
    let mut t = Test::new();
    t.config.mount("/mnt", "tmpfs", "tmpfs", &[&format!("nosuch={}", "x".repeat(5000))]);
    t.sh("true");
    t.run().fails(1, "mounts[7] (/mnt): error mounting tmpfs");
    t.assert_clean();
}

fn kernel() -> (u32, u32) {
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap();
    let mut numbers = release.split('.').map(|part| part.parse().unwrap_or(0));
    (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0))
}
