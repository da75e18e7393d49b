//! The root file system: pivot, read-only root, masked and read-only paths, default devices and links.

use crate::support::*;
use std::os::unix::fs::symlink;

/// [R2] [R1] the container sees one root and nothing of the host's mounts.
#[test]
fn one_root() {
    for options in [&[][..], &["--no-pivot"][..]] {
        let mut t = Test::new();
        t.sh("cat /proc/self/mountinfo; ls /");
        let out = t.bundle_cmd("run", options).output().ok();
        let roots = out.lines().filter(|line| line.split(' ').nth(4) == Some("/")).count();
        assert!(roots == 1 || !options.is_empty(), "{out}");
        assert!(!out.contains("put_old") && !out.contains("/home"), "{out}");
        if options.is_empty() {
            let dir = t.dir.to_str().unwrap();
            let foreign =
                out.lines().filter(|line| line.split(' ').nth(4).is_some_and(|at| at.contains(dir)));
            assert_eq!(foreign.count(), 0, "{out}");
        }
    }
}

/// [P2] a read-only root; what is mounted on it stays writable.
#[test]
fn read_only_root() {
    for options in [&[][..], &["--no-pivot"][..]] {
        let mut t = Test::docker();
        t.config.set("root.readonly", true);
        t.config.set("process.cwd", "/new/dir");
        t.sh("(touch /x 2>&1); touch /dev/shm/x && echo shm; pwd");
        let out = t.bundle_cmd("run", options).output().ok();
        assert_eq!(out, "touch: /x: Read-only file system\nshm\n/new/dir");
    }
}

/// [P1] an absolute root path, outside the bundle.
#[test]
fn absolute_root_path() {
    let mut t = Test::new();
    let other = t.dir.join("elsewhere");
    std::fs::rename(&t.rootfs, &other).unwrap();
    t.config.set("root.path", other.to_str().unwrap());
    assert_eq!(t.out("echo up"), "up");
}

/// [R5] [R6] [R7] the default devices and links, whatever the umask of the caller.
#[test]
fn default_devices() {
    let mut t = Test::docker();
    t.sh("cd /dev; stat -c '%n %F %t:%T %a %u:%g' null zero full random urandom tty; for l in ptmx fd stdin stdout stderr; do readlink $l; done; \
         cd /; ls /dev");
    let out = t.bundle_cmd("run", &[]).shell("umask 0077; exec \"$@\"").output().ok();
    let mut lines = out.lines();
    for device in ["null 1:3", "zero 1:5", "full 1:7", "random 1:8", "urandom 1:9", "tty 5:0"] {
        let (name, number) = device.split_once(' ').unwrap();
        assert_eq!(lines.next().unwrap(), format!("{name} character special file {number} 666 0:0"));
    }
    let links: Vec<&str> = lines.by_ref().take(5).collect();
    assert_eq!(links, ["pts/ptmx", "/proc/self/fd", "/proc/self/fd/0", "/proc/self/fd/1", "/proc/self/fd/2"]);
    let known = "console core fd full mqueue null ptmx pts random shm stderr stdin stdout tty urandom zero";
    lines.for_each(|name| assert!(known.split(' ').any(|k| k == name), "unexpected /dev/{name}"));
}

/// [R5] the devices work.
#[test]
fn devices_work() {
    let mut t = Test::docker();
    let out = t.out(
        "echo x > /dev/null && head -c 3 /dev/zero | od -An -tx1; head -c 2 /dev/urandom | wc -c; \
         (echo x > /dev/full) 2>&1; echo out >> /dev/stdout; true",
    );
    assert!(
        out.starts_with(" 00 00 00\n2\n") && out.contains("No space left") && out.ends_with("out"),
        "{out}"
    );
}

/// [R6] [R5] links and devices that the image has are left, and do no harm.
#[test]
fn existing_links_are_left() {
    let mut t = Test::new();
    t.config.unmount("/dev");
    symlink("/proc/self/fd/9", t.rootfs.join("dev/stdin")).unwrap();
    assert_eq!(t.out("readlink /dev/stdin; readlink /dev/stdout"), "/proc/self/fd/9\n/proc/self/fd/1");
}

/// [R10] masked files and directories are empty and can't be written; missing ones and duplicates are skipped.
#[test]
fn masked_paths() {
    let mut t = Test::new();
    t.file("secret/file", "secret");
    t.file("secret-file", "secret");
    symlink("secret-file", t.rootfs.join("link")).unwrap();
    t.config.set(
        "linux.maskedPaths",
        json!([
            "/secret",
            "/secret-file",
            "/nothere",
            "/secret",
            "/secret-file",
            "/proc/version",
            "/nothere/x"
        ]),
    );
    let out = t.out(
        "ls /secret | wc -l; cat /secret-file /proc/version | wc -c; stat -c '%t:%T' /secret-file; \
         (touch /secret/x 2>&1); cat /proc/self/mountinfo",
    );
    let lines: Vec<&str> = out.lines().collect();
    assert_eq!(lines[..3], ["0", "0", "1:3"], "{out}");
    assert!(lines[3].contains("Read-only file system"), "{out}");
    assert_eq!(std::fs::read_to_string(t.rootfs.join("secret-file")).unwrap(), "secret");
}

/// [R10] Docker's own list.
#[test]
fn docker_masks() {
    let mut t = Test::docker();
    let out = t.out(
        "for p in /proc/kcore /proc/keys /proc/timer_list /proc/interrupts /proc/latency_stats; do \
         [ ! -e $p ] || cat $p | wc -c; done; for d in /proc/acpi /proc/scsi /sys/firmware; do [ ! -e $d ] || ls $d | wc -l; done",
    );
    assert!(!out.is_empty() && out.lines().all(|line| line == "0"), "{out}");
}

/// [R10] many masked directories share one file system.
#[test]
fn masks_share_one_tmpfs() {
    only_davit!(); // runc from 1.5 on
    let mut t = Test::new();
    let paths: Vec<String> = (0..30).map(|n| format!("/masked/{n}")).collect();
    paths.iter().for_each(|path| drop(t.file(&format!("{path}/x"), "")));
    t.config.set("linux.maskedPaths", json!(paths));
    let out = t.out("grep ' /masked/' /proc/self/mountinfo | cut -d' ' -f3 | sort -u | wc -l; ls /masked/*/x 2>/dev/null | wc -l");
    assert_eq!(out, "1\n0");
}

/// [R11] read-only paths, with the mounts below, keeping nosuid, nodev and noexec.
#[test]
fn readonly_paths() {
    let mut t = Test::new();
    t.file("data/sub/file", "x");
    t.config.mount("/data/tmp", "tmpfs", "tmpfs", &["nosuid", "nodev", "noexec"]);
    t.config.set("linux.readonlyPaths", json!(["/proc/sys", "/data", "/nothere", "/data/tmp"]));
    let out = t.out(
        "(echo x > /data/sub/file) 2>&1; (echo 1 > /proc/sys/vm/swappiness) 2>&1; (touch /data/tmp/x) 2>&1; \
         grep ' /data/tmp ' /proc/self/mountinfo | tail -n 1",
    );
    let lines: Vec<&str> = out.lines().collect();
    assert!(lines[..3].iter().all(|line| line.contains("Read-only file system")), "{out}");
    for option in ["ro", "nosuid", "nodev", "noexec"] {
        let options = lines[3].split(' ').nth(5).unwrap();
        assert!(options.split(',').any(|o| o == option), "{option}: {out}");
    }
}

/// [R9] [M25] the propagation of the root.
#[test]
fn rootfs_propagation() {
    for (value, tag) in [
        ("private", ""),
        ("rprivate", ""),
        ("slave", ""),
        ("shared", "shared:"),
        ("rshared", "shared:"),
        ("unbindable", "unbindable"),
    ] {
        if value == "unbindable" && !davit_only() {
            continue; // runc 1.1 fails to bind the root that it made unbindable
        }
        let mut t = Test::new();
        t.config.set("linux.rootfsPropagation", value);
        let out = t.out("cat /proc/self/mountinfo");
        let root = out.lines().find(|line| line.split(' ').nth(4) == Some("/")).unwrap();
        let tags = root.split(" - ").next().unwrap();
        // runc 1.1 leaves the root private.
        assert!(tags.contains(tag) || !davit_only(), "{value}: {root}");
        assert!(tag == "shared:" || !tags.contains("shared:"), "{value}: {root}");
    }
}

/// [R4] without a mount namespace: chroot only, and the host's mounts stay as they are.
#[test]
fn no_mount_namespace() {
    only_davit!(); // runc 1.1 fails and leaves a mount on the host
    let mut t = Test::new();
    t.config
        .leave("mount")
        .remove("linux.maskedPaths")
        .remove("linux.readonlyPaths")
        .set("mounts", json!([]));
    let before = std::fs::read_to_string("/proc/self/mountinfo").unwrap().lines().count();
    t.sh("echo up; ls /");
    let output = t.run();
    let after = std::fs::read_to_string("/proc/self/mountinfo").unwrap().lines().count();
    assert!(output.ok().starts_with("up\nbin"));
    t.assert_clean();
    assert!(after <= before + 20, "mounts on the host: {before} → {after}");
}

/// [R8] [Z8] a /dev of the image that leads out of the root.
#[test]
fn dev_is_a_symlink() {
    only_davit!(); // runc before 1.3.6 fails this one: CVE-2026-41579
    Test::control();
    for absolute in [true, false] {
        let mut t = Test::new();
        let outside = t.dir.join("outside");
        std::fs::create_dir(&outside).unwrap();
        std::fs::write(outside.join("ptmx"), "marker").unwrap();
        t.config.unmount("/dev");
        std::fs::remove_dir(t.rootfs.join("dev")).unwrap();
        let target = if absolute { t.path("outside") } else { "../../outside".into() };
        symlink(target, t.rootfs.join("dev")).unwrap();
        t.config.push(
            "linux.devices",
            json!({ "path": "/dev/../../../../evil", "type": "c", "major": 1, "minor": 3 }),
        );
        t.sh("true");
        let output = t.run();
        assert_eq!(host::list(&outside), ["ptmx"], "{output}");
        assert_eq!(std::fs::read_to_string(outside.join("ptmx")).unwrap(), "marker");
        assert!(!std::path::Path::new("/evil").exists());
    }
}
