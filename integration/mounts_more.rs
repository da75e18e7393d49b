//! Mounts: locked flags, recursive flags, remounts, what a user namespace can't mount, long data, odd destinations.

use crate::mounts::{INFO, find};
use crate::support::*;
use rustix::mount::{MountFlags, MountPropagationFlags, UnmountFlags};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// A tmpfs of the host with these flags; unmounted when dropped.
struct HostMount(PathBuf);

impl HostMount {
    fn new(path: PathBuf, flags: MountFlags) -> Self {
        std::fs::create_dir_all(&path).unwrap();
        let data: &std::ffi::CStr = c"size=256k,mode=755";
        rustix::mount::mount("tmpfs", &path, "tmpfs", flags, data).unwrap();
        Self(path)
    }

    fn text(&self) -> String {
        self.0.to_string_lossy().into_owned()
    }
}

impl Drop for HostMount {
    fn drop(&mut self) {
        let _ = rustix::mount::unmount(&self.0, UnmountFlags::DETACH);
    }
}

/// A container in a user namespace that may reach its files.
fn in_user_namespace() -> Test {
    let mut t = Test::new();
    std::fs::set_permissions(&t.dir, PermissionsExt::from_mode(0o755)).unwrap();
    for dir in ["a", "b", "c"] {
        std::fs::create_dir(t.rootfs.join(dir)).unwrap();
    }
    t.config.user_namespace();
    t
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

/// [M26] [M27] [M28] each recursive option reaches the mount below, and its opposite takes it away again.
#[test]
fn recursive_options() {
    only_davit!(); // runc 1.1 lacks some
    let mut t = Test::new();
    let top = HostMount::new(t.dir.join("src"), MountFlags::empty());
    let plain = HostMount::new(t.dir.join("src/plain"), MountFlags::empty());
    let flags = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC | MountFlags::NOATIME;
    let strict = HostMount::new(t.dir.join("src/strict"), flags | MountFlags::NODIRATIME);
    let cases = [
        ("rro", "rrw", "ro"),
        ("rnosuid", "rsuid", "nosuid"),
        ("rnodev", "rdev", "nodev"),
        ("rnoexec", "rexec", "noexec"),
        ("rnoatime", "ratime", "noatime"),
        ("rnodiratime", "rdiratime", "nodiratime"),
        ("rnosymfollow", "rsymfollow", "nosymfollow"),
        ("rrelatime", "rnoatime", "relatime"),
    ];
    for (set, clear, _) in cases {
        t.config.mount(&format!("/{set}"), "bind", &top.text(), &["rbind", "rprivate", set]);
        t.config.mount(&format!("/{set}-off"), "bind", &top.text(), &["rbind", "rprivate", set, clear]);
    }
    t.config.mount("/rstrict", "bind", &top.text(), &["rbind", "rprivate", "rstrictatime"]);
    t.config.mount(
        "/rnostrict",
        "bind",
        &top.text(),
        &["rbind", "rprivate", "rstrictatime", "rnostrictatime"],
    );
    t.config.mount("/rnorel", "bind", &top.text(), &["rbind", "rprivate", "rnoatime", "rnorelatime"]);
    let info = t.out(INFO);
    for (set, clear, shown) in cases {
        for below in ["", "/plain", "/strict"] {
            let on = find(&info, &format!("/{set}{below}"));
            let off = find(&info, &format!("/{set}-off{below}"));
            assert!(on.has(shown), "{set} {below}: {on:?}");
            assert!(!off.has(shown), "{set},{clear} {below}: {off:?}");
        }
        // What was not named stays.
        let other = find(&info, &format!("/{set}/strict"));
        assert!(set == "rnosuid" || other.has("nosuid"), "{set}: {other:?}");
    }
    for below in ["", "/plain", "/strict"] {
        let strict = find(&info, &format!("/rstrict{below}"));
        assert!(!strict.has("relatime") && !strict.has("noatime"), "{strict:?}");
        assert!(find(&info, &format!("/rnostrict{below}")).has("relatime"));
        assert!(find(&info, &format!("/rnorel{below}")).has("relatime"));
    }
    drop((strict, plain, top));
}

/// [M26] on a new file system too, which the container's later mounts are not part of.
#[test]
fn recursive_option_of_a_new_file_system() {
    only_davit!();
    let mut t = Test::new();
    t.config.mount("/mnt", "tmpfs", "tmpfs", &["rnoexec", "rnosuid"]);
    let info = t.out(INFO);
    assert!(find(&info, "/mnt").has("noexec") && find(&info, "/mnt").has("nosuid"), "{info}");
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

/// [M40] mqueue shows the queues of the container's ipc namespace and no others.
#[test]
fn mqueue() {
    let mut t = Test::new();
    let out = t.out(&format!("touch /dev/mqueue/of-the-container && ls /dev/mqueue; {INFO}"));
    assert!(out.starts_with("of-the-container\n"), "{out}");
    assert_eq!(find(&out, "/dev/mqueue").kind, "mqueue");
    assert_eq!(t.out("ls /dev/mqueue"), "", "another container has a namespace of its own");
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

/// [M41] devpts: a mode and a group of its own; where the user namespace has no such group, the option is left out
/// with a warning.
#[test]
fn devpts() {
    let mut t = Test::new();
    let out = t.out(&format!("{INFO}; stat -c '%a' /dev/pts/ptmx; ls /dev/pts"));
    assert!(find(&out, "/dev/pts").data.contains("gid=5,mode=620,ptmxmode=666"), "{out}");
    assert!(out.ends_with("666\nptmx"), "an instance of its own: {out}");
    if !davit_only() {
        return skip("runc fails where the group is not mapped");
    }
    let mut t = in_user_namespace();
    let one = json!([{ "containerID": 0, "hostID": 100_000, "size": 1 }]);
    t.config.set("linux.gidMappings", one.clone()).set("linux.uidMappings", one);
    t.sh(INFO);
    let output = t.run().code(0);
    let line = find(&output.stdout, "/dev/pts");
    assert!(!line.data.contains("gid=") && line.data.contains("mode=620,ptmxmode=666"), "{line:?}");
    output.says("gid=5 is left out");
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

/// [M25] a bind without a word about propagation is what the root's is: the host's mounts arrive, nothing goes back;
/// also where the source is a descriptor of a process.
#[test]
fn default_propagation() {
    let mut t = Test::new();
    let source = HostMount::new(t.dir.join("src"), MountFlags::empty());
    rustix::mount::mount_change(&source.0, MountPropagationFlags::SHARED).unwrap();
    std::fs::create_dir(source.0.join("dir")).unwrap();
    t.config.mount("/a", "bind", &source.text(), &["rbind"]);
    let directory = std::fs::File::open(&source.0).unwrap();
    if davit_only() {
        let fd = std::os::fd::AsRawFd::as_raw_fd(&directory);
        t.config.mount("/b", "bind", &format!("/proc/{}/fd/{fd}", std::process::id()), &["rbind"]);
    }
    t.config.mount("/c", "bind", &source.text(), &["rbind", "private", "rshared"]);
    t.config.mount("/d", "bind", &source.text(), &["rbind", "unbindable"]);
    t.config.caps(&["CAP_SYS_ADMIN"]);
    let info =
        t.out(&format!("{INFO}; for d in a b c d; do [ ! -d /$d/dir ] || mount -t tmpfs none /$d/dir; done"));
    let seen = host::mounts(&source.0);
    for at in if davit_only() { &["/a", "/b"][..] } else { &["/a"] } {
        let tags = find(&info, at).tags;
        assert!(tags.contains("master:") && !tags.contains("shared:"), "{at}: {tags:?}");
    }
    let tags = find(&info, "/c").tags;
    assert!(tags.contains("shared:") && !tags.contains("master:"), "one call each, in order: {tags:?}");
    assert_eq!(find(&info, "/d").tags, "unbindable");
    drop(directory);
    assert_eq!(seen.len(), 1, "a mount of the container reached the host: {seen:#?}");
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

/// [M1] [M25] a source in the container's own tree shows what was mounted there before, with a user namespace, too.
#[test]
fn source_is_an_earlier_mount() {
    for user_namespace in [false, true] {
        let mut t = Test::new();
        if user_namespace {
            std::fs::set_permissions(&t.dir, std::fs::Permissions::from_mode(0o755)).unwrap();
            t.config.user_namespace();
        }
        std::fs::create_dir_all(t.rootfs.join("a")).unwrap();
        std::fs::create_dir_all(t.dir.join("host/sub")).unwrap();
        std::fs::write(t.dir.join("host/sub/file"), "from the host\n").unwrap();
        std::fs::create_dir_all(t.rootfs.join("b")).unwrap();
        let (host, a) = (t.path("host"), t.rootfs.join("a"));
        let a = a.to_str().unwrap();
        t.config.mount("/a", "bind", &host, &["bind"]);
        t.config.mount("/b", "bind", &format!("{a}/sub"), &["bind"]);
        assert_eq!(t.out("cat /b/file"), "from the host");
    }
}

/// [M33] an id-mapped mount can't show what only the container has: refused, by `validate` too.
#[test]
fn id_mapped_source_is_an_earlier_mount() {
    only_davit!(); // runc mounts it
    let mut t = Test::new();
    let source = t.rootfs.join("tmp/x");
    t.config.mount("/tmp", "tmpfs", "tmpfs", &[]);
    let map = json!([{"containerID": 0, "hostID": 1000, "size": 1}]);
    t.config.push(
        "mounts",
        json!({"destination": "/b", "type": "bind", "source": source, "options": ["bind"],
               "uidMappings": map, "gidMappings": map}),
    );
    t.sh("true");
    let output = t.run();
    output.fails(1, "so it can't be id-mapped");
    t.assert_clean();
}
