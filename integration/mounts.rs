//! Mounts: Docker's list, options, binds, propagation, destinations; seen by the container's own mountinfo.

use crate::support::*;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};

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

/// [M24] [M15] [M30] binds, read-write and read-only, with flags of their own.
#[test]
fn binds() {
    let mut t = Test::new();
    std::fs::create_dir(t.dir.join("src")).unwrap();
    std::fs::write(t.dir.join("src/file"), "content\n").unwrap();
    let source = t.path("src");
    t.config.mount("/rw", "bind", &source, &["bind"]);
    t.config.mount("/ro", "bind", &source, &["rbind", "ro", "nosuid", "noexec", "nodev"]);
    let out = t.out(&format!("cat /rw/file /ro/file; echo x > /rw/new; (echo x > /ro/fail) 2>&1; {INFO}"));
    assert!(out.starts_with("content\ncontent\n") && out.contains("Read-only file system"), "{out}");
    assert_eq!(std::fs::read_to_string(t.dir.join("src/new")).unwrap(), "x\n");
    assert!(!t.dir.join("src/fail").exists());
    let ro = find(&out, "/ro");
    assert!(["ro", "nosuid", "noexec", "nodev"].iter().all(|o| ro.has(o)), "{ro:?}");
    assert!(find(&out, "/rw").has("rw"), "{out}");
}

/// [M5] a bind is one by its option, whatever the type says.
#[test]
fn bind_by_option() {
    for kind in ["none", "bind", ""] {
        let mut t = Test::new();
        std::fs::write(t.dir.join("src"), "content").unwrap();
        let source = t.path("src");
        t.config.mount("/file", kind, &source, &["bind"]);
        assert_eq!(t.out("cat /file"), "content", "type {kind}");
    }
}

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

/// [M3] a bind of a file on a file that exists, as /etc/hosts and /etc/resolv.conf are.
#[test]
fn file_on_file() {
    let mut t = Test::new();
    t.file("etc/hosts", "image\n");
    std::fs::write(t.dir.join("hosts"), "runtime\n").unwrap();
    let source = t.path("hosts");
    t.config.mount("/etc/hosts", "bind", &source, &["rbind", "rprivate", "ro"]);
    assert_eq!(t.out("cat /etc/hosts"), "runtime");
    assert_eq!(std::fs::read_to_string(t.rootfs.join("etc/hosts")).unwrap(), "image\n");
}

/// [M4] a relative source of a bind is taken from the bundle, whatever the current directory.
#[test]
fn relative_source() {
    let mut t = Test::new();
    std::fs::create_dir(t.bundle.join("data")).unwrap();
    std::fs::write(t.bundle.join("data/file"), "from the bundle").unwrap();
    t.config.mount("/data", "bind", "data", &["bind"]);
    t.sh("cat /data/file");
    assert_eq!(t.bundle_cmd("run", &[]).cwd(std::path::Path::new("/")).output().ok(), "from the bundle");
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

/// [M6] a symlink as the source is followed on the host.
#[test]
fn symlink_source() {
    let mut t = Test::new();
    std::fs::write(t.dir.join("real"), "real").unwrap();
    symlink("real", t.dir.join("link")).unwrap();
    let source = t.path("link");
    t.config.mount("/file", "bind", &source, &["bind"]);
    assert_eq!(t.out("cat /file"), "real");
}

/// [M48] a source named by a descriptor of a process.
#[test]
fn source_by_descriptor() {
    only_davit!(); // runc 1.1 mounts it from inside, where the kernel refuses a mount of another namespace
    let mut t = Test::new();
    std::fs::write(t.dir.join("real"), "by fd").unwrap();
    let file = std::fs::File::open(t.dir.join("real")).unwrap();
    let fd = std::os::fd::AsRawFd::as_raw_fd(&file);
    t.config.mount("/file", "bind", &format!("/proc/{}/fd/{fd}", std::process::id()), &["bind"]);
    assert_eq!(t.out("cat /file"), "by fd");
}

/// [M24] rbind takes the mounts below along, bind does not; [M26] ro of a bind is not recursive.
#[test]
fn recursive_binds() {
    let mut t = Test::new();
    let source = t.dir.join("src");
    std::fs::create_dir_all(source.join("sub")).unwrap();
    let data: &std::ffi::CStr = c"size=64k";
    rustix::mount::mount("tmpfs", source.join("sub"), "tmpfs", rustix::mount::MountFlags::empty(), data)
        .unwrap();
    std::fs::write(source.join("sub/file"), "deep").unwrap();
    let source = t.path("src");
    t.config.mount("/one", "bind", &source, &["bind", "rprivate"]);
    t.config.mount("/all", "bind", &source, &["rbind", "rprivate", "ro"]);
    t.sh("ls /one/sub; cat /all/sub/file; echo more > /all/sub/new && echo written");
    let output = t.run();
    rustix::mount::unmount(t.dir.join("src/sub"), rustix::mount::UnmountFlags::DETACH).unwrap();
    assert_eq!(output.ok(), "deepwritten");
}

/// [M26] rro makes all mounts below read-only.
#[test]
fn recursive_read_only() {
    let mut t = Test::new();
    let source = t.dir.join("src");
    std::fs::create_dir_all(source.join("sub")).unwrap();
    let data: &std::ffi::CStr = c"size=64k";
    rustix::mount::mount("tmpfs", source.join("sub"), "tmpfs", rustix::mount::MountFlags::empty(), data)
        .unwrap();
    let source = t.path("src");
    t.config.mount("/all", "bind", &source, &["rbind", "rprivate", "rro"]);
    t.sh("touch /all/sub/new 2>/dev/null && echo written; touch /all/new 2>/dev/null && echo written; echo end");
    let output = t.run();
    rustix::mount::unmount(t.dir.join("src/sub"), rustix::mount::UnmountFlags::DETACH).unwrap();
    assert_eq!(output.ok(), "end");
}

/// [M25] [L3] propagation of a bind: private, slave and shared; a slave sees what the host mounts later.
#[test]
fn propagation() {
    let mut t = Test::new();
    let source = t.dir.join("src");
    std::fs::create_dir_all(source.join("later")).unwrap();
    rustix::mount::mount_bind(&source, &source).unwrap();
    let shared = rustix::mount::MountPropagationFlags::SHARED;
    rustix::mount::mount_change(&source, shared).unwrap();
    let path = t.path("src");
    for (at, option) in [("/private", "rprivate"), ("/slave", "rslave"), ("/shared", "rshared")] {
        t.config.mount(at, "bind", &path, &["rbind", option]);
    }
    t.config.set("linux.rootfsPropagation", "shared");
    t.sh(&format!(
        "{INFO}; while [ ! -e /slave/go ]; do usleep 5000; done; ls /slave/later /shared/later /private/later"
    ));
    let running = t.bundle_cmd("run", &[]).spawn();
    host::wait_until("mounted", || running.stdout().contains("/shared"));
    let data: &std::ffi::CStr = c"size=64k";
    let later = source.join("later");
    rustix::mount::mount("tmpfs", &later, "tmpfs", rustix::mount::MountFlags::empty(), data).unwrap();
    std::fs::write(later.join("seen"), "").unwrap();
    std::fs::write(source.join("go"), "").unwrap();
    let output = running.wait();
    for path in [&later, &source] {
        rustix::mount::unmount(path, rustix::mount::UnmountFlags::DETACH).unwrap();
    }
    let out = output.ok();
    assert!(find(&out, "/slave").tags.contains("master:"), "{out}");
    assert!(find(&out, "/shared").tags.contains("shared:"), "{out}");
    assert_eq!(find(&out, "/private").tags, "", "{out}");
    assert!(out.ends_with("/private/later:\n\n/shared/later:\nseen\n\n/slave/later:\nseen"), "{out}");
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

/// [M7] a bind takes no data of a file system.
#[test]
fn bind_with_data() {
    only_davit!(); // runc from 1.2 on
    let mut t = Test::new();
    t.config.mount("/mnt", "bind", "/tmp", &["bind", "size=10k"]);
    t.sh("true");
    t.run().fails(1, "bind mounts cannot have any filesystem-specific options applied");
    t.assert_clean();
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

/// [M45] a source that only the host's root may reach, for a container in a user namespace.
#[test]
fn source_below_a_closed_directory() {
    only_davit!(); // runc from 1.2 on
    let mut t = Test::new();
    std::fs::set_permissions(&t.dir, PermissionsExt::from_mode(0o755)).unwrap();
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
