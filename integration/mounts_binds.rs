//! Mounts: binds, their sources, options that reach the mounts below, propagation.

use crate::mounts::{INFO, find};
use crate::support::*;
use rustix::mount::{MountFlags, MountPropagationFlags, UnmountFlags};
use std::os::unix::fs::symlink;

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

/// [M24] rbind takes the mounts below along, bind does not; [M26] ro of a bind is not recursive.
#[test]
fn recursive_binds() {
    let mut t = Test::new();
    let _below = HostMount::new(t.dir.join("src/sub"), MountFlags::empty());
    std::fs::write(t.dir.join("src/sub/file"), "deep").unwrap();
    let source = t.path("src");
    t.config.mount("/one", "bind", &source, &["bind", "rprivate"]);
    t.config.mount("/all", "bind", &source, &["rbind", "rprivate", "ro"]);
    t.sh("ls /one/sub; cat /all/sub/file; echo more > /all/sub/new && echo written");
    assert_eq!(t.run().ok(), "deepwritten");
}

/// [M26] rro makes all mounts below read-only.
#[test]
fn recursive_read_only() {
    let mut t = Test::new();
    let _below = HostMount::new(t.dir.join("src/sub"), MountFlags::empty());
    let source = t.path("src");
    t.config.mount("/all", "bind", &source, &["rbind", "rprivate", "rro"]);
    t.sh("touch /all/sub/new 2>/dev/null && echo written; touch /all/new 2>/dev/null && echo written; echo end");
    assert_eq!(t.run().ok(), "end");
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

/// [M25] [L3] propagation of a bind: private, slave and shared; a slave sees what the host mounts later.
#[test]
fn propagation() {
    let mut t = Test::new();
    let source = t.dir.join("src");
    std::fs::create_dir_all(source.join("later")).unwrap();
    rustix::mount::mount_bind(&source, &source).unwrap();
    rustix::mount::mount_change(&source, MountPropagationFlags::SHARED).unwrap();
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
    let later = HostMount::new(source.join("later"), MountFlags::empty());
    std::fs::write(later.path.join("seen"), "").unwrap();
    std::fs::write(source.join("go"), "").unwrap();
    let output = running.wait();
    drop(later);
    rustix::mount::unmount(&source, UnmountFlags::DETACH).unwrap();
    let out = output.ok();
    assert!(find(&out, "/slave").tags.contains("master:"), "{out}");
    assert!(find(&out, "/shared").tags.contains("shared:"), "{out}");
    assert_eq!(find(&out, "/private").tags, "", "{out}");
    assert!(out.ends_with("/private/later:\n\n/shared/later:\nseen\n\n/slave/later:\nseen"), "{out}");
}

/// [M25] a bind without a word about propagation is what the root's is: the host's mounts arrive, nothing goes back;
/// also where the source is a descriptor of a process.
#[test]
fn default_propagation() {
    let mut t = Test::new();
    let source = HostMount::new(t.dir.join("src"), MountFlags::empty());
    rustix::mount::mount_change(&source.path, MountPropagationFlags::SHARED).unwrap();
    std::fs::create_dir(source.path.join("dir")).unwrap();
    t.config.mount("/a", "bind", &source.text(), &["rbind"]);
    let directory = std::fs::File::open(&source.path).unwrap();
    if davit_only() {
        let fd = std::os::fd::AsRawFd::as_raw_fd(&directory);
        t.config.mount("/b", "bind", &format!("/proc/{}/fd/{fd}", std::process::id()), &["rbind"]);
    }
    t.config.mount("/c", "bind", &source.text(), &["rbind", "private", "rshared"]);
    t.config.mount("/d", "bind", &source.text(), &["rbind", "unbindable"]);
    t.config.caps(&["CAP_SYS_ADMIN"]);
    let info =
        t.out(&format!("{INFO}; for d in a b c d; do [ ! -d /$d/dir ] || mount -t tmpfs none /$d/dir; done"));
    let seen = host::mounts(&source.path);
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

/// [M1] [M25] a source in the container's own tree shows what was mounted there before, with a user namespace, too.
#[test]
fn source_is_an_earlier_mount() {
    for user_namespace in [false, true] {
        let mut t = Test::new();
        if user_namespace {
            t.user_namespace();
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
