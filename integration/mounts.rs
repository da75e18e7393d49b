//! Mounts: Docker's list, options, remounts; seen by the container's own mountinfo.

use crate::support::*;
use std::os::unix::fs::PermissionsExt;

/// One line of mountinfo: options of the mount, its propagation, type, source, options of the file system.
#[derive(Debug)]
pub struct Line {
    pub root: String,
    pub options: Vec<String>,
    pub tags: String,
    pub kind: String,
    pub source: String,
    pub data: String,
}

/// The topmost mount at `at` in a mountinfo text.
#[track_caller]
pub fn find(text: &str, at: &str) -> Line {
    let line = text.lines().rfind(|line| line.split(' ').nth(4) == Some(at));
    let line = line.unwrap_or_else(|| panic!("no mount at {at} in:\n{text}"));
    let (left, right) = line.split_once(" - ").unwrap();
    let left: Vec<&str> = left.split(' ').collect();
    let right: Vec<&str> = right.split(' ').collect();
    Line {
        root: left[3].into(),
        options: left[5].split(',').map(str::to_string).collect(),
        tags: left[6..].join(" "),
        kind: right[0].into(),
        source: right[1].into(),
        data: right[2].into(),
    }
}

impl Line {
    pub fn has(&self, option: &str) -> bool {
        self.options.iter().any(|o| o == option)
    }
}

pub const INFO: &str = "cat /proc/self/mountinfo";

/// [M1] [M14] [M15] Docker's list: every mount with its type and options, in order.
#[test]
fn docker_mounts() {
    let mut t = Test::docker();
    let info = t.out(INFO);
    for (at, kind, options) in [
        ("/proc", "proc", "rw,nosuid,nodev,noexec"),
        ("/dev", "tmpfs", "rw,nosuid"),
        ("/dev/pts", "devpts", "rw,nosuid,noexec"),
        ("/sys", "sysfs", "ro,nosuid,nodev,noexec"),
        ("/dev/mqueue", "mqueue", "rw,nosuid,nodev,noexec"),
        ("/dev/shm", "tmpfs", "rw,nosuid,nodev,noexec"),
    ] {
        let line = find(&info, at);
        assert_eq!(line.kind, kind, "{at}");
        options.split(',').for_each(|option| assert!(line.has(option), "{at}: no {option}: {line:?}"));
    }
    assert!(find(&info, "/dev").data.contains("size=65536k"), "{info}");
    assert!(find(&info, "/dev").data.contains("mode=755"), "{info}");
    assert!(find(&info, "/dev/pts").data.contains("gid=5,mode=620,ptmxmode=666"), "{info}");
    assert_eq!(find(&info, "/dev/shm").source, "shm");
    let listed = ["/proc", "/dev", "/dev/pts", "/sys", "/sys/fs/cgroup", "/dev/mqueue", "/dev/shm"];
    let place = |at: &str| info.lines().position(|line| line.split(' ').nth(4) == Some(at));
    let places = listed.map(|at| place(at).unwrap_or_else(|| panic!("{at}: {info}")));
    assert!(places.is_sorted(), "{places:?}: {info}");
}

/// [M9] [M10] [M11] [M12] [M13] [M14] [M15] [M16] each option of a pair, as mountinfo shows it.
#[test]
fn options() {
    let cases = [
        ("nosuid", "nosuid", true),
        ("nodev", "nodev", true),
        ("noexec", "noexec", true),
        ("suid", "nosuid", false),
        ("dev", "nodev", false),
        ("exec", "noexec", false),
        ("ro", "ro", true),
        ("rw", "rw", true),
        ("noatime", "noatime", true),
        ("nodiratime", "nodiratime", true),
        ("relatime", "relatime", true),
        ("strictatime", "relatime", false),
        ("nostrictatime", "relatime", true),
        ("atime", "noatime", false),
        ("diratime", "nodiratime", false),
    ];
    let mut t = Test::new();
    for (option, _, _) in cases {
        t.config.mount(&format!("/mnt/{option}"), "tmpfs", "tmpfs", &[option]);
    }
    for option in ["sync", "async", "dirsync"] {
        t.config.mount(&format!("/mnt/{option}"), "tmpfs", "tmpfs", &[option]);
    }
    let info = t.out(INFO);
    for (option, shown, there) in cases {
        let line = find(&info, &format!("/mnt/{option}"));
        assert_eq!(line.has(shown), there, "{option}: {line:?}");
    }
    let data = |option| find(&info, &format!("/mnt/{option}")).data;
    assert!(data("sync").split(',').any(|o| o == "sync"), "{}", data("sync"));
    assert!(!data("async").contains("sync"), "{}", data("async"));
    assert!(data("dirsync").contains("dirsync"), "{}", data("dirsync"));
}

/// [M17] [M18] [M20] options with no effect on a tmpfs are taken.
#[test]
fn options_that_only_parse() {
    for option in ["iversion", "noiversion", "silent", "loud", "nomand"] {
        let mut t = Test::new();
        t.config.mount("/mnt", "tmpfs", "tmpfs", &[option]);
        t.sh("echo up");
        let output = t.run();
        // iversion is for the kernel to judge; the option must not be passed on as text.
        assert!(output.stdout == "up\n" || option == "iversion", "{option}: {output}");
    }
}

/// [M19] [M21] [M23] lazytime, nosymfollow, defaults.
#[test]
fn newer_options() {
    only_davit!(); // runc 1.1 knows none of them
    let mut t = Test::new();
    t.config.mount("/mnt/a", "tmpfs", "tmpfs", &["nosymfollow"]);
    t.config.mount("/mnt/b", "tmpfs", "tmpfs", &["defaults", "noexec"]);
    t.config.mount("/mnt/c", "tmpfs", "tmpfs", &["lazytime"]);
    t.config.mount("/mnt/d", "tmpfs", "tmpfs", &["nosymfollow", "symfollow", "lazytime", "nolazytime"]);
    let info = t.out(INFO);
    assert!(find(&info, "/mnt/a").has("nosymfollow"), "{info}");
    assert!(find(&info, "/mnt/b").has("noexec"), "{info}");
    let lazy = |at| format!("{:?}{}", find(&info, at).options, find(&info, at).data).contains("lazytime");
    assert!(lazy("/mnt/c") && !lazy("/mnt/d"), "{info}");
    assert!(!find(&info, "/mnt/d").has("nosymfollow"), "{info}");
}

/// [M29] of two that conflict the last wins.
#[test]
fn last_option_wins() {
    let mut t = Test::new();
    t.config.mount("/mnt/a", "tmpfs", "tmpfs", &["ro", "noexec", "rw", "exec"]);
    t.config.mount("/mnt/b", "tmpfs", "tmpfs", &["rw", "exec", "noexec", "ro"]);
    let info = t.out(INFO);
    let (a, b) = (find(&info, "/mnt/a"), find(&info, "/mnt/b"));
    assert!(a.has("rw") && !a.has("noexec"), "{a:?}");
    assert!(b.has("ro") && b.has("noexec"), "{b:?}");
}

/// [M15] [M32] a tmpfs with ro, and one over a directory whose mode it takes.
#[test]
fn tmpfs_modes() {
    let mut t = Test::new();
    std::fs::create_dir(t.rootfs.join("secret")).unwrap();
    std::fs::set_permissions(t.rootfs.join("secret"), PermissionsExt::from_mode(0o2750)).unwrap();
    t.config.mount("/secret", "tmpfs", "tmpfs", &[]);
    t.config.mount("/given", "tmpfs", "tmpfs", &["mode=0700"]);
    t.config.mount("/ro", "tmpfs", "tmpfs", &["ro"]);
    let out = t.out("stat -c %a /secret /given; (touch /ro/x 2>&1); true");
    let mut lines = out.lines();
    let taken = lines.next().unwrap();
    assert!(taken == "2750" || (taken == "750" && !davit_only()), "{out}");
    assert_eq!(lines.next(), Some("700"));
    assert!(lines.next().unwrap().contains("Read-only"), "{out}");
}

/// [M1] fifty binds.
#[test]
fn many_mounts() {
    let mut t = Test::new();
    std::fs::write(t.dir.join("src"), "x").unwrap();
    let source = t.path("src");
    for n in 0..50 {
        t.config.mount(&format!("/many/{n}"), "bind", &source, &["rbind", "ro"]);
    }
    assert_eq!(t.out("cat /many/* | wc -c"), "50");
}

/// [M8] an unknown option is data of the file system, and an error of the kernel names it.
#[test]
fn unknown_option() {
    let mut t = Test::new();
    t.config.mount("/mnt", "tmpfs", "tmpfs", &["nosuid", "size=64k", "nosuchoption=7"]);
    t.sh("true");
    let output = t.run().code(1);
    output.says("size=64k,nosuchoption=7");
    output.says("invalid argument");
    t.assert_clean();
}

/// [M8] the same where the options go to the kernel one by one.
#[test]
fn unknown_option_one_by_one() {
    only_davit!();
    let mut t = Test::new();
    t.config.mount("/mnt", "tmpfs", "tmpfs", &["ro", "rprivate", "nosuchoption=7"]);
    t.sh("true");
    t.run().fails(1, "with data \"nosuchoption=7\": invalid argument");
    t.assert_clean();
}

/// [M22] remount: the flags of a mount with `bind`, of its whole file system without.
#[test]
fn remount() {
    let mut t = Test::new();
    t.config.mount("/mnt", "tmpfs", "tmpfs", &["size=64k", "nosuid"]);
    t.config.mount("/mnt", "tmpfs", "tmpfs", &["remount", "size=128k", "nosuid", "noexec"]);
    t.config.mount("/flags", "tmpfs", "tmpfs", &["size=64k", "nodev"]);
    t.config.mount("/flags", "none", "none", &["remount", "bind", "ro", "nodev"]);
    let info = t.out(INFO);
    let (fs, flags) = (find(&info, "/mnt"), find(&info, "/flags"));
    assert!(fs.data.contains("size=128k") && fs.has("noexec") && fs.has("rw"), "{fs:?}");
    assert!(flags.has("ro") && flags.has("nodev") && flags.data.starts_with("rw"), "{flags:?}");
    assert_eq!(info.lines().filter(|line| line.contains(" /mnt ") || line.contains(" /flags ")).count(), 2);
}

/// [M22] nothing is there to be remounted.
#[test]
fn remount_of_nothing() {
    only_davit!();
    let mut t = Test::new();
    t.config.mount("/tmp", "tmpfs", "tmpfs", &["remount", "size=128k"]);
    t.sh("true");
    t.run().fails(1, "mounts[7] (/tmp): error remounting: invalid argument");
    t.assert_clean();
}

/// [M25] [M15] a new file system with a propagation, and one that is read-only at the end although another mount
/// covers its place by then.
#[test]
fn new_file_systems_are_changed_by_handle() {
    let mut t = Test::new();
    t.config.mount("/mnt", "tmpfs", "tmpfs", &["ro", "rshared", "mode=711"]);
    t.config.mount("/below", "tmpfs", "tmpfs", &["ro"]).mount("/below", "tmpfs", "tmpfs", &["size=64k"]);
    let out =
        t.out(&format!("touch /below/x && echo writable; stat -c %a /mnt; (touch /mnt/x) 2>&1; {INFO}"));
    let line = find(&out, "/mnt");
    assert!(line.tags.contains("shared:") && line.has("ro"), "{line:?}");
    let writable = out.starts_with("writable\n711\ntouch: /mnt/x: Read-only");
    assert!(writable || !davit_only(), "{out}");
}
