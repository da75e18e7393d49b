//! Mounts: where they go; links, /proc, /dev and the root.

use crate::mounts::{INFO, find};
use crate::support::*;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::Path;

/// [M3] a missing destination is made: a directory 0755, or a file 0644 for a file, with its parents.
#[test]
fn missing_destination() {
    let mut t = Test::new();
    std::fs::write(t.dir.join("src"), "content").unwrap();
    let source = t.path("src");
    t.config.mount("/a/b/c", "tmpfs", "tmpfs", &[]);
    t.config.mount("/x/y/file", "bind", &source, &["bind"]);
    assert_eq!(
        t.out("cat /x/y/file; grep -q ' /a/b/c ' /proc/self/mountinfo && echo mounted"),
        "contentmounted"
    );
    for (path, mode) in
        [("a", 0o40755), ("a/b", 0o40755), ("a/b/c", 0o40755), ("x/y", 0o40755), ("x/y/file", 0o100_644)]
    {
        let meta = std::fs::metadata(t.rootfs.join(path)).unwrap();
        let exact = davit_only() || mode != 0o100_644; // runc 1.1 makes the file 0755
        assert!(!exact || meta.permissions().mode() == mode, "{path}: {:o}", meta.permissions().mode());
        assert_eq!(meta.uid(), 0);
    }
}

/// [M2] a relative destination is taken from `/`.
#[test]
fn relative_destination() {
    let mut t = Test::new();
    t.config.mount("rel/dest", "tmpfs", "tmpfs", &[]);
    t.sh("grep -q ' /rel/dest ' /proc/self/mountinfo && echo mounted");
    let output = t.run().code(0);
    assert_eq!(output.stdout, "mounted\n");
}

/// [M2] [Z3] a symlink in the destination stays inside the root.
#[test]
fn symlinked_destination() {
    let mut t = Test::new();
    let outside = t.dir.join("outside");
    std::fs::create_dir(&outside).unwrap();
    symlink(&outside, t.rootfs.join("abs")).unwrap();
    symlink("../../../../../../../..", t.rootfs.join("up")).unwrap();
    let mark = t.path("outside/deep");
    t.config.mount("/abs/new", "tmpfs", "tmpfs", &[]);
    t.config.mount(&format!("/up{mark}"), "tmpfs", "tmpfs", &[]);
    t.sh("echo up");
    let output = t.run();
    assert!(host::list(&outside).is_empty(), "{:?}: {output}", host::list(&outside));
    assert_eq!(output.ok(), "up");
}

/// [M37] [M38] [Z4] nothing but procfs on /proc, nothing below it but lxcfs's files.
#[test]
fn mounts_over_proc() {
    for (at, kind, source, options) in [
        ("/proc/self", "tmpfs", "tmpfs", vec![]),
        ("/proc/sys", "bind", "/tmp", vec!["bind"]),
        ("/mnt/../proc/self/attr", "tmpfs", "tmpfs", vec![]),
        ("/proc", "tmpfs", "tmpfs", vec![]),
    ] {
        let mut t = Test::new();
        t.config.mount(at, kind, source, &options);
        t.sh("true");
        let output = t.run();
        if davit_only() {
            output.fails(1, "cannot be mounted because it is");
        } else {
            // runc 1.1 takes some of them.
            assert!(output.code <= 1, "{at}: {output}");
        }
        t.assert_clean();
    }
    let mut t = Test::new();
    std::fs::write(t.dir.join("uptime"), "1 1\n").unwrap();
    let source = t.path("uptime");
    t.config.mount("/proc/uptime", "bind", &source, &["bind", "ro"]);
    assert_eq!(t.out("cat /proc/uptime"), "1 1");
}

/// [M2] nothing is mounted on the root itself.
#[test]
fn mount_on_the_root() {
    only_davit!(); // runc 1.1 mounts it
    for at in ["/", "/tmp/.."] {
        let mut t = Test::new();
        t.config.mount(at, "tmpfs", "tmpfs", &[]);
        t.sh("true");
        t.run().fails(1, "mounts[7]");
        t.assert_clean();
    }
}

/// [M37] a bind of a procfs is allowed at /proc, any other bind is not.
#[test]
fn bind_at_proc() {
    only_davit!(); // runc 1.1 takes a bind of any directory
    let mut t = Test::new();
    t.config.leave("pid").unmount("/proc").remove("linux.maskedPaths").remove("linux.readonlyPaths");
    t.config.0["mounts"].as_array_mut().unwrap().insert(
        0,
        json!({
            "destination": "/proc", "type": "none", "source": "/proc", "options": ["rbind", "rslave"]
        }),
    );
    assert_eq!(find(&t.out(INFO), "/proc").kind, "proc");
    t.config.set("mounts.0.source", "/tmp");
    t.run().fails(1, "cannot be mounted because it is not of type proc");
    t.assert_clean();
}

/// [M38] a link of the image that leads into /proc is no way around the rule; each file for lxcfs is allowed.
#[test]
fn only_named_files_below_proc() {
    only_davit!();
    let mut t = Test::new();
    std::os::unix::fs::symlink("/proc/self", t.rootfs.join("link")).unwrap();
    t.config.mount("/link/attr", "tmpfs", "tmpfs", &[]);
    t.sh("true");
    t.run().fails(1, "cannot be mounted because it is inside /proc");
    t.assert_clean();
    let mut t = Test::new();
    std::fs::write(t.dir.join("src"), "from lxcfs\n").unwrap();
    let source = t.path("src");
    let files = "cpuinfo diskstats meminfo stat swaps uptime loadavg sys/kernel/ns_last_pid";
    let there: Vec<_> = files.split(' ').filter(|file| Path::new("/proc").join(file).exists()).collect();
    for file in &there {
        t.config.mount(&format!("/proc/{file}"), "bind", &source, &["bind"]);
    }
    let script = format!("cd /proc; cat {}", there.join(" "));
    let out = t.out(&script);
    assert_eq!(out.matches("from lxcfs").count(), there.len(), "{out}");
}

/// [M2] a destination that repeats the path of the rootfs on the host is meant inside of it, as with runc from 1.2 on;
/// a warning says so, as for a relative one. Neither is a way to /proc or to the root.
#[test]
fn destination_with_the_path_of_the_rootfs() {
    only_davit!();
    let mut t = Test::new();
    let inside = |t: &Test, rest: &str| format!("{}{rest}", t.rootfs.display());
    t.config.mount(&inside(&t, "/stripped"), "tmpfs", "tmpfs", &[]).mount("rel", "tmpfs", "tmpfs", &[]);
    t.sh(INFO);
    let output = t.run().code(0);
    assert_eq!(find(&output.stdout, "/stripped").kind, "tmpfs");
    output.says("repeats the path of the rootfs: taken as /stripped");
    output.says("rel is relative: taken from /");
    for rest in ["/proc/self", "/../rootfs/proc/sys", "", "/."] {
        let mut t = Test::new();
        let at = inside(&t, rest);
        t.config.mount(&at, "tmpfs", "tmpfs", &[]);
        t.sh("true");
        let expected = if rest.contains("proc") { "inside /proc" } else { "must not be the root itself" };
        t.run().fails(1, expected);
        t.assert_clean();
    }
}

/// [M46] /dev given as a bind: nothing is made in it.
#[test]
fn dev_as_a_bind() {
    let mut t = Test::new();
    std::fs::create_dir(t.dir.join("dev")).unwrap();
    // stdio that is /dev/null is opened again inside, so the one thing that must be there is a null device.
    Cmd::new(&t.dir, ["mknod", "-m", "666", &t.path("dev/null"), "c", "1", "3"]).output().ok();
    let source = t.path("dev");
    t.config.unmount("/dev").mount("/dev", "bind", &source, &["rbind"]);
    t.sh("echo up");
    assert_eq!(t.run().code(0).stdout, "up\n");
    assert_eq!(host::list(t.dir.join("dev")), ["null"]);
}

/// [M46] [R5] a /dev that is bound, but not to /dev itself, keeps the container's own nodes there.
#[test]
fn dev_bound_elsewhere() {
    let mut t = Test::new();
    t.config.mount("/host-dev", "bind", "/dev", &["rbind", "ro"]);
    assert_eq!(
        t.out("ls -d /dev/null /host-dev/null; readlink /dev/fd"),
        "/dev/null\n/host-dev/null\n/proc/self/fd"
    );
}
