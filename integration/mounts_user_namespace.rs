//! Mounts in a user namespace: flags that are locked, what can't be mounted, what can't be reached.

use crate::mounts::{INFO, find};
use crate::support::*;
use rustix::mount::MountFlags;
use std::os::unix::fs::PermissionsExt;

/// A container in a user namespace that may reach its files.
pub fn in_user_namespace() -> Test {
    let mut t = Test::new();
    for dir in ["a", "b", "c"] {
        std::fs::create_dir(t.rootfs.join(dir)).unwrap();
    }
    t.user_namespace();
    t
}

/// [M30] in a user namespace the flags that the source has stay when others are asked for.
#[test]
fn locked_flags_stay() {
    only_davit!(); // runc 1.1 knows no nosymfollow
    let mut t = in_user_namespace();
    let flags = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC | MountFlags::NOATIME;
    let source = HostMount::new(t.dir.join("src"), flags | MountFlags::RDONLY);
    t.config.mount("/a", "bind", &source.text(), &["bind", "ro"]);
    t.config.mount("/b", "bind", &source.text(), &["rbind", "nosymfollow", "noatime"]);
    t.config.mount("/c", "bind", &source.text(), &["rbind"]);
    let info = t.out(INFO);
    for at in ["/a", "/b", "/c"] {
        let line = find(&info, at);
        for flag in ["ro", "nosuid", "nodev", "noexec", "noatime"] {
            assert!(line.has(flag), "{at}: no {flag}: {line:?}");
        }
    }
    assert!(find(&info, "/b").has("nosymfollow"), "{info}");
}

/// [M30] asked to clear one of them, or for another access time mode: an error that says so.
#[test]
fn locked_flags_are_not_cleared() {
    only_davit!();
    let flags = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC | MountFlags::NOATIME;
    for (option, text) in [
        ("suid", "cannot clear locked flags"),
        ("dev", "cannot clear locked flags"),
        ("exec", "cannot clear locked flags"),
        ("rw", "cannot clear locked flags"),
        ("rsuid", "cannot clear locked flags"),
        ("strictatime", "cannot change the locked access time mode"),
        ("relatime", "cannot change the locked access time mode"),
        ("nodiratime", "cannot change the locked access time mode"),
    ] {
        let mut t = in_user_namespace();
        let source = HostMount::new(t.dir.join("src"), flags | MountFlags::RDONLY);
        t.config.mount("/a", "bind", &source.text(), &["bind", option]);
        t.sh("true");
        let output = t.run();
        output.says(&format!("error mounting {:?}", source.text()));
        output.says("operation not permitted");
        output.fails(1, text);
        drop(source);
        t.assert_clean();
    }
}

/// [M30] outside of a user namespace nothing is locked: a clearing option alone takes the flag away.
#[test]
fn flags_are_cleared() {
    let mut t = Test::new();
    let source = HostMount::new(t.dir.join("src"), MountFlags::NOSUID | MountFlags::NOEXEC);
    t.config.mount("/a", "bind", &source.text(), &["bind", "exec", "suid"]);
    t.config.mount("/b", "bind", &source.text(), &["bind"]);
    let info = t.out(INFO);
    let (a, b) = (find(&info, "/a"), find(&info, "/b"));
    assert!(!a.has("noexec") && !a.has("nosuid"), "{a:?}");
    assert!(b.has("noexec") && b.has("nosuid"), "{b:?}");
}

/// [M30] [M22] a remount in a user namespace keeps the locked flags, and says so when one was to be cleared.
#[test]
fn remount_keeps_locked_flags() {
    only_davit!();
    let mut t = in_user_namespace();
    let source = HostMount::new(t.dir.join("src"), MountFlags::NOSUID | MountFlags::NODEV);
    t.config.mount("/a", "bind", &source.text(), &["rbind"]);
    t.config.mount("/a", "none", "none", &["remount", "bind", "ro"]);
    let line = find(&t.out(INFO), "/a");
    assert!(line.has("ro") && line.has("nosuid") && line.has("nodev"), "{line:?}");
    t.config.mount("/a", "none", "none", &["remount", "bind", "dev"]);
    t.run().fails(1, "error remounting: cannot clear locked flags");
    drop(source);
    t.assert_clean();
}

/// [M39] [Z10] sysfs of a network namespace that is not the container's own: the host's tree, read-only as asked for.
#[test]
fn sysfs_in_a_user_namespace() {
    only_davit!(); // runc fails
    let mut t = in_user_namespace();
    t.config.leave("network").unmount("/sys/fs/cgroup");
    let out = t.out(&format!(
        "{INFO}; ls /sys/kernel >/dev/null && echo there; (mkdir /sys/fs/cgroup/x) 2>&1; true"
    ));
    let line = find(&out, "/sys");
    assert!(line.kind == "sysfs" && line.has("ro") && line.has("nosuid"), "{line:?}");
    for line in out.lines().filter(|line| line.split(' ').nth(4).is_some_and(|at| at.starts_with("/sys/"))) {
        let options = line.split(' ').nth(5).unwrap();
        assert!(options.split(',').any(|option| option == "ro"), "{line}");
    }
    assert!(out.contains("there"), "{out}");
    // With a network namespace of its own it is a sysfs of its own.
    let mut t = in_user_namespace();
    t.config.unmount("/sys/fs/cgroup");
    let out = t.out(&format!("{INFO}; ls /sys/class/net"));
    assert!(find(&out, "/sys").kind == "sysfs" && out.ends_with("\nlo"), "{out}");
}

/// [M37] proc of a pid namespace that is not the container's own, in a user namespace: the host's.
#[test]
fn proc_in_a_user_namespace() {
    only_davit!();
    let mut t = in_user_namespace();
    t.config.leave("pid").remove("linux.maskedPaths").remove("linux.readonlyPaths");
    let out = t.out(&format!("{INFO}; cat /proc/$$/comm; true"));
    assert_eq!(find(&out, "/proc").kind, "proc");
    assert!(out.ends_with("\nsh"), "{out}");
}

/// [M40] without an ipc namespace of its own a user namespace can't have it: an error that says why.
#[test]
fn mqueue_needs_an_ipc_namespace() {
    only_davit!();
    let mut t = in_user_namespace();
    t.config.leave("ipc");
    t.sh("true");
    let output = t.run();
    output.says("error mounting mqueue");
    output.fails(1, "only in namespaces of its own");
    t.assert_clean();
}

/// [M45] a source that only the host's root may reach, for a container in a user namespace.
#[test]
fn source_below_a_closed_directory() {
    only_davit!(); // runc from 1.2 on
    let mut t = Test::new();
    t.open_to_all();
    let closed = t.dir.join("closed");
    std::fs::create_dir(&closed).unwrap();
    std::fs::write(closed.join("file"), "reached").unwrap();
    std::fs::set_permissions(&closed, PermissionsExt::from_mode(0o700)).unwrap();
    let source = t.path("closed/file");
    t.config.user_namespace().mount("/file", "bind", &source, &["bind"]);
    // The mount point is there: root of the container may not write in a root file system of the host's root.
    t.file("file", "");
    assert_eq!(t.out("cat /file"), "reached");
}

/// [M3] mount points for a user namespace's root, made with the container's ids in a directory of its own.
#[test]
fn mount_points_of_a_user_namespace() {
    let mut t = in_user_namespace();
    let own = t.rootfs.join("own");
    std::fs::create_dir(&own).unwrap();
    std::os::unix::fs::chown(&own, Some(100_000), Some(100_000)).unwrap();
    t.config.mount("/own/x/y", "tmpfs", "tmpfs", &[]);
    assert_eq!(t.out("stat -c '%u:%g %a' /own/x"), "0:0 755");
    let meta = std::fs::metadata(own.join("x")).unwrap();
    assert_eq!(std::os::unix::fs::MetadataExt::uid(&meta), 100_000);
}
