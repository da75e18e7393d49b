//! `tmpcopyup`: the new tmpfs holds what the directory held.

use crate::support::*;
use rustix::fs::{AtFlags, CWD, FileType, Mode, Timespec, Timestamps, XattrFlags};
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt, chown, lchown, symlink};
use std::path::PathBuf;

fn mode(path: &std::path::Path, mode: u32) {
    std::fs::set_permissions(path, PermissionsExt::from_mode(mode)).unwrap();
}

/// The container as the host sees it, while it sleeps.
fn running(t: &mut Test) -> PathBuf {
    t.sh("sleep 30");
    t.detach();
    PathBuf::from(format!("/proc/{}/root", t.pid()))
}

/// [M31] content, and that it is a copy: what is written does not reach the root file system.
#[test]
fn content() {
    let mut t = Test::new();
    t.file("data/sub/file", "kept");
    t.file("data/empty", "");
    symlink("sub/file", t.rootfs.join("data/link")).unwrap();
    std::fs::write(t.rootfs.join("data/large"), vec![7u8; 3_000_000]).unwrap();
    t.config.mount("/data", "tmpfs", "tmpfs", &["tmpcopyup", "size=8m", "nosuid"]);
    let out = t.out(
        "cat /data/link; echo; echo new > /data/sub/file; stat -f -c %T /data; wc -c < /data/large; \
         ls /data; grep ' /data ' /proc/self/mountinfo",
    );
    assert!(out.starts_with("kept\ntmpfs\n3000000\nempty\nlarge\nlink\nsub\n"), "{out}");
    assert!(out.contains("nosuid") && out.contains("size=8192k"), "{out}");
    assert_eq!(std::fs::read_to_string(t.rootfs.join("data/sub/file")).unwrap(), "kept");
}

/// [M31] modes, owners, times, extended attributes, device nodes, fifos, sockets and hard links, of the directory
/// itself, too.
#[test]
fn attributes() {
    only_davit!(); // runc has neither times nor hard links nor attributes
    let mut t = Test::new();
    let data = t.rootfs.join("data");
    let file = t.file("data/a/file", "text");
    chown(&file, Some(1000), Some(1001)).unwrap();
    mode(&file, 0o4711);
    // cap_net_raw, version 2, as setcap(8) writes it.
    let caps = [1u8, 0, 0, 2, 0, 0x20, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    rustix::fs::setxattr(&file, "security.capability", &caps, XattrFlags::empty()).unwrap();
    std::fs::hard_link(&file, data.join("twin")).unwrap();
    symlink("/etc/shadow", data.join("link")).unwrap();
    lchown(data.join("link"), Some(5), Some(6)).unwrap();
    let node = |name: &str, kind, device| {
        rustix::fs::mknodat(CWD, data.join(name), kind, Mode::from_raw_mode(0o640), device).unwrap();
        mode(&data.join(name), 0o640);
    };
    node("fifo", FileType::Fifo, 0);
    node("socket", FileType::Socket, 0);
    node("full", FileType::CharacterDevice, rustix::fs::makedev(1, 7));
    let old = Timespec { tv_sec: 1_000_000, tv_nsec: 7 };
    let times = Timestamps { last_access: old, last_modification: old };
    for path in [&file, &data.join("a"), &data.join("link")] {
        rustix::fs::utimensat(CWD, path, &times, AtFlags::SYMLINK_NOFOLLOW).unwrap();
    }
    chown(&data, Some(33), Some(34)).unwrap();
    mode(&data, 0o2751);
    t.config.mount("/data", "tmpfs", "tmpfs", &["tmpcopyup"]);
    let inside = running(&mut t).join("data");
    let stat = |name: &str| std::fs::symlink_metadata(inside.join(name)).unwrap();
    let (top, copy) = (stat(""), stat("a/file"));
    assert_eq!((top.uid(), top.gid(), top.mode() & 0o7777), (33, 34, 0o2751));
    assert_eq!((copy.uid(), copy.gid(), copy.mode() & 0o7777, copy.mtime()), (1000, 1001, 0o4711, 1_000_000));
    assert_eq!((copy.ino(), copy.nlink()), (stat("twin").ino(), 2));
    let mut found = [0u8; 64];
    let length = rustix::fs::getxattr(inside.join("a/file"), "security.capability", &mut found).unwrap();
    assert_eq!(found[..length], caps);
    assert_eq!(std::fs::read_link(inside.join("link")).unwrap(), PathBuf::from("/etc/shadow"));
    assert_eq!((stat("link").uid(), stat("link").gid(), stat("link").mtime()), (5, 6, 1_000_000));
    assert_eq!(stat("a").mtime(), 1_000_000, "not the time of the copy");
    assert!(stat("fifo").file_type().is_fifo() && stat("socket").file_type().is_socket());
    assert_eq!((stat("full").rdev(), stat("full").mode()), (rustix::fs::makedev(1, 7), 0o020640));
}

/// [M31] [M32] what the options give is not taken from the directory; a directory that is made is no wish.
#[test]
fn options_win() {
    only_davit!();
    let mut t = Test::new();
    for name in ["given", "taken"] {
        let file = t.file(&format!("{name}/file"), "");
        chown(file.parent().unwrap(), Some(7), Some(8)).unwrap();
        mode(file.parent().unwrap(), 0o710);
    }
    t.config.mount("/given", "tmpfs", "tmpfs", &["tmpcopyup", "mode=0751", "uid=3", "gid=4"]);
    t.config.mount("/taken", "tmpfs", "tmpfs", &["tmpcopyup", "size=1m"]);
    t.config.mount("/made", "tmpfs", "tmpfs", &["tmpcopyup"]);
    let out = t.out("stat -c '%u %g %a' /given /taken /made; ls /made");
    assert_eq!(out, "3 4 751\n7 8 710\n0 0 1777");
}

/// [M32] the directory's mode, with the set-group-id and sticky bits, and not its owner.
#[test]
fn mode_of_a_plain_tmpfs() {
    only_davit!(); // runc 1.1 has the lower nine bits
    let mut t = Test::new();
    std::fs::create_dir(t.rootfs.join("dir")).unwrap();
    chown(t.rootfs.join("dir"), Some(7), Some(8)).unwrap();
    mode(&t.rootfs.join("dir"), 0o3750);
    t.config.mount("/dir", "tmpfs", "tmpfs", &["size=1m"]);
    assert_eq!(t.out("stat -c '%u %g %a' /dir; ls -ld /dir | cut -c1-10"), "0 0 3750\ndrwxr-s--T");
}

/// [M31] [M15] with `ro` it is filled first.
#[test]
fn read_only() {
    let mut t = Test::new();
    t.file("data/file", "kept");
    t.config.mount("/data", "tmpfs", "tmpfs", &["tmpcopyup", "ro"]);
    let out = t.out("cat /data/file; echo; touch /data/x 2>&1; true");
    assert!(out.starts_with("kept\n") && out.contains("Read-only"), "{out}");
}

/// [M31] in a user namespace: owners as the container sees them; one that has no id there is its root's.
#[test]
fn in_a_user_namespace() {
    only_davit!();
    let mut t = Test::new();
    mode(&t.dir, 0o755);
    for (name, owner) in [("own", 100_000), ("other", 100_005), ("stranger", 99)] {
        chown(t.file(&format!("data/{name}"), name), Some(owner), Some(owner)).unwrap();
    }
    chown(t.rootfs.join("data"), Some(100_001), Some(100_002)).unwrap();
    t.config.user_namespace().caps(&["CAP_DAC_OVERRIDE"]).mount("/data", "tmpfs", "tmpfs", &["tmpcopyup"]);
    let script = "stat -c '%n %u %g' /data /data/*; cat /data/*; touch /data/new && stat -c %u /data/new";
    let out = t.out(script);
    let lines = "/data 1 2\n/data/other 5 5\n/data/own 0 0\n/data/stranger 65534 65534\n";
    assert_eq!(out, format!("{lines}otherownstranger0"));
    // Where even that id is not there, the owner is the container's root.
    let few = json!([{ "containerID": 0, "hostID": 100_000, "size": 10 }]);
    t.config.set("linux.uidMappings", few.clone()).set("linux.gidMappings", few);
    assert_eq!(t.out("stat -c '%u %g' /data/stranger /data/other"), "0 0\n5 5");
}

/// [M31] device nodes can't be made in a user namespace: said, not left out.
#[test]
fn device_in_a_user_namespace() {
    only_davit!();
    let mut t = Test::new();
    mode(&t.dir, 0o755);
    std::fs::create_dir(t.rootfs.join("data")).unwrap();
    let path = t.rootfs.join("data/null");
    let device = rustix::fs::makedev(1, 3);
    rustix::fs::mknodat(CWD, path, FileType::CharacterDevice, Mode::from_raw_mode(0o666), device).unwrap();
    t.config.user_namespace().mount("/data", "tmpfs", "tmpfs", &["tmpcopyup"]);
    t.sh("true");
    t.run().fails(1, "device nodes can't be made in a user namespace").says("copy what the directory holds");
    t.assert_clean();
}

/// [M31] a tmpfs that is too small, directories nested too deep: an error that says so, and nothing is left.
#[test]
fn too_much() {
    only_davit!();
    let mut t = Test::new();
    std::fs::create_dir(t.rootfs.join("data")).unwrap();
    std::fs::write(t.rootfs.join("data/large"), vec![1u8; 300_000]).unwrap();
    t.config.mount("/data", "tmpfs", "tmpfs", &["tmpcopyup", "size=64k"]);
    t.sh("true");
    let output = t.run().fails(1, "mounts[7] (/data): copy what the directory holds into the tmpfs");
    output.says("no space left on device (hint: the tmpfs is too small for it");
    t.assert_clean();

    let mut t = Test::new();
    std::fs::create_dir_all(t.rootfs.join("data").join(["d"; 300].join("/"))).unwrap();
    t.config.mount("/data", "tmpfs", "tmpfs", &["tmpcopyup"]);
    t.sh("true");
    t.run().fails(1, "its directories are nested too deep");
    t.assert_clean();
}

/// [M31] a sparse file of a terabyte ends with the tmpfs, not with the host's memory.
#[test]
fn a_sparse_file() {
    only_davit!();
    let mut t = Test::new();
    let file = std::fs::File::create(t.file("data/huge", "")).unwrap();
    file.set_len(1 << 40).unwrap();
    t.config.mount("/data", "tmpfs", "tmpfs", &["tmpcopyup", "size=1m"]);
    t.sh("true");
    t.run().fails(1, "the tmpfs is too small for it");
    t.assert_clean();
}

/// [M31] it is for a tmpfs only, by its JSON path.
#[test]
fn not_a_tmpfs() {
    only_davit!();
    let mut t = Test::new();
    let source = t.path("bundle");
    t.config.mount("/data", "bind", &source, &["bind", "tmpcopyup"]);
    t.sh("true");
    t.run().fails(1, "mounts[7].options: tmpcopyup is for new mounts of type tmpfs only");
    t.assert_clean();
}
