//! Races: somebody exchanges a directory for a link while a container is made in it. Each loop is bounded, and nothing
//! outside may ever be touched.

use crate::support::*;
use rustix::fs::{CWD, RenameFlags, renameat_with};
use std::os::unix::fs::symlink;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// How long and how often one race is run.
const TIME: Duration = Duration::from_secs(5);
const ROUNDS: usize = 150;

/// Exchanges two names in a directory until the body ends.
fn exchanging(dir: &Path, a: &str, b: &str, body: impl FnOnce()) {
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                renameat_with(CWD, dir.join(a), CWD, dir.join(b), RenameFlags::EXCHANGE).unwrap();
            }
        });
        let caught = std::panic::catch_unwind(std::panic::AssertUnwindSafe(body));
        stop.store(true, Ordering::Relaxed);
        caught.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
    });
}

/// Runs the container again and again; gives how often it came up.
fn rounds(t: &Test, mut look: impl FnMut(&Output)) -> usize {
    let begin = Instant::now();
    let mut started = 0;
    for _ in 0..ROUNDS {
        if begin.elapsed() > TIME {
            break;
        }
        let output = t.run();
        assert!(output.code <= 1 && !output.stderr.contains("panicked"), "{output}");
        started += usize::from(output.code == 0);
        look(&output);
    }
    started
}

/// [Z3] [M2] volume_swap_dir (CVE-2021-30465, CVE-2024-45310): mounts below a directory of a volume that is exchanged
/// for a link to a directory of the host.
#[test]
fn volume_swap_dir() {
    only_davit!(); // runc 1.1 makes the mount points on the host: CVE-2024-45310
    Test::control();
    let mut t = Test::new();
    let (volume, outside) = (t.dir.join("volume"), t.dir.join("outside"));
    std::fs::create_dir_all(volume.join("a")).unwrap();
    std::fs::create_dir(&outside).unwrap();
    symlink(&outside, volume.join("b")).unwrap();
    std::fs::write(t.dir.join("src"), "x").unwrap();
    let (source, volume_path) = (t.path("src"), t.path("volume"));
    t.config.mount("/vol", "bind", &volume_path, &["rbind"]);
    for number in 0..5 {
        t.config.mount(&format!("/vol/a/sub{number}"), "tmpfs", "tmpfs", &["ro", "rprivate"]);
        t.config.mount(&format!("/vol/a/file{number}"), "bind", &source, &["bind", "ro"]);
        t.config.mount(&format!("/vol/a/deep{number}/x/y"), "tmpfs", "tmpfs", &[]);
    }
    t.config
        .push("linux.devices", json!({ "path": "/vol/a/node", "type": "p", "fileMode": 0o600, "uid": 7 }));
    t.config.set("linux.maskedPaths", json!(["/vol/a/sub0", "/vol/a/file0"]));
    t.config.set("linux.readonlyPaths", json!(["/vol/a/deep0"]));
    t.config.set("process.cwd", "/vol/a/wd");
    t.sh("true");
    let mut seen = vec![];
    let mut started = 0;
    exchanging(&volume, "a", "b", || {
        started = rounds(&t, |_| seen.extend(host::list(&outside)));
    });
    assert_eq!(seen, [""; 0]);
    assert!(started > 0, "no container came up");
    assert_eq!(host::mounts(&outside), [""; 0]);
}

/// [Z3] [Z8] [R8] [D2] /dev of the rootfs is exchanged for a link to a directory of the host while nodes, owners and
/// links are made in it.
#[test]
fn dev_swap() {
    only_davit!();
    let mut t = Test::new();
    let outside = t.dir.join("outside");
    std::fs::create_dir(&outside).unwrap();
    let victim = outside.join("owned");
    std::fs::write(&victim, "marker").unwrap();
    symlink(&outside, t.rootfs.join("swap")).unwrap();
    t.config.unmount("/dev");
    for (name, uid) in [("owned", 7), ("sub/owned", 8)] {
        let path = format!("/dev/{name}");
        t.config.push(
            "linux.devices",
            json!({ "path": path, "type": "c", "major": 1, "minor": 3, "uid": uid, "gid": 9 }),
        );
    }
    t.sh("true");
    let dev = std::fs::File::open(t.rootfs.join("dev")).unwrap();
    let mut started = 0;
    exchanging(&t.rootfs.clone(), "dev", "swap", || {
        started = rounds(&t, |output| {
            assert_eq!(host::list(&outside), ["owned"], "{output}");
            assert_eq!(std::fs::read_to_string(&victim).unwrap(), "marker", "{output}");
            let owner = std::os::unix::fs::MetadataExt::uid(&std::fs::metadata(&victim).unwrap());
            assert_eq!(owner, 0, "{output}");
            // What is there already would not be made again; by handle, for the names go on changing.
            for name in ["owned", "sub/owned"] {
                let _ = rustix::fs::unlinkat(&dev, name, rustix::fs::AtFlags::empty());
            }
        });
    });
    assert!(started > 0, "no container came up");
}

/// [Z3] [D3] a node is exchanged for a link to a file of the host between its making and the setting of its owner:
/// a second process that does so in the container's shared /dev never gets the file's owner changed.
#[test]
fn node_swap() {
    only_davit!();
    let mut t = Test::new();
    let volume = t.dir.join("volume");
    std::fs::create_dir(&volume).unwrap();
    let victim = t.dir.join("victim");
    std::fs::write(&victim, "marker").unwrap();
    symlink(&victim, volume.join("link")).unwrap();
    let path = t.path("volume");
    t.config.mount("/vol", "bind", &path, &["bind"]);
    t.config.push(
        "linux.devices",
        json!({ "path": "/vol/node", "type": "p", "uid": 7, "gid": 7, "fileMode": 0o600 }),
    );
    t.sh("true");
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                let (node, link) = (volume.join("node"), volume.join("link"));
                if renameat_with(CWD, &node, CWD, &link, RenameFlags::EXCHANGE).is_ok() {
                    // The link is the node now: take both back.
                    let _ = std::fs::remove_file(&link);
                    let _ = std::fs::rename(&node, &link);
                }
            }
        });
        let begin = Instant::now();
        let caught = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            while begin.elapsed() < Duration::from_secs(2) {
                t.run();
                let meta = std::fs::metadata(&victim).unwrap();
                assert_eq!(std::os::unix::fs::MetadataExt::uid(&meta), 0);
                let _ = std::fs::remove_file(volume.join("node"));
            }
        }));
        stop.store(true, Ordering::Relaxed);
        caught.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
    });
}

/// [Z4] [Z3] /proc and /sys of the rootfs are exchanged for links while they are mounted: procfs never lands elsewhere,
/// and a container that comes up has a true one.
#[test]
fn proc_swap() {
    only_davit!();
    for name in ["proc", "sys"] {
        let mut t = Test::new();
        std::fs::create_dir_all(t.rootfs.join("fake/sys/kernel")).unwrap();
        std::fs::write(t.rootfs.join("fake/version"), "fake").unwrap();
        symlink("/fake", t.rootfs.join("swap")).unwrap();
        t.config.set("linux.maskedPaths", json!([])).set("linux.readonlyPaths", json!([]));
        t.config.unmount("/sys/fs/cgroup");
        t.sh("stat -f -c %T /fake; cat /proc/self/mountinfo");
        let rootfs = t.rootfs.clone();
        exchanging(&rootfs, name, "swap", || {
            rounds(&t, |output| {
                // Only the kernel's, or nothing at all: on /fake there is never one.
                assert!(!output.stdout.contains(" /fake "), "{output}");
            });
        });
    }
}
