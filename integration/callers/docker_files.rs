//! Files under Docker: volumes, propagation, read-only roots, devices, what Docker mounts by itself.

use crate::client::{Client, Engine};
use crate::docker::{Docker, docker};
use crate::image::NAME;
use crate::support::host;
use rustix::mount::{MountFlags, MountPropagationFlags, UnmountFlags};

/// [callers 4] Volumes: writable, read-only, a single file, named with the image's content, tmpfs, --mount.
#[test]
fn volumes() {
    let docker = docker!();
    docker.place.file("host/file", "from the host");
    let dir = docker.place.path("host");
    let rw = format!("{dir}:/data");
    assert_eq!(docker.sh(&["-v", &rw], "cat /data/file; echo back > /data/back"), "from the host");
    assert_eq!(std::fs::read_to_string(format!("{dir}/back")).unwrap(), "back\n");
    let ro = format!("{dir}:/data:ro");
    assert_eq!(
        docker.sh(&["-v", &ro], "cat /data/file; touch /data/no 2>/dev/null || echo refused"),
        "from the hostrefused"
    );
    let file = format!("{dir}/file:/etc/single:ro");
    assert_eq!(
        docker
            .sh(&["-v", &file], "cat /etc/single; (echo x > /etc/single) 2>/dev/null || true")
            .lines()
            .next(),
        Some("from the host")
    );
    // A new named volume gets what the image has there.
    assert_eq!(docker.sh(&["-v", "named:/data"], "cat /data/from-image; echo kept > /data/kept"), "image");
    assert_eq!(docker.sh(&["-v", "named:/other"], "cat /other/kept"), "kept");
    let mounts = docker.sh(&["--tmpfs", "/scratch:size=1m,noexec"], "grep ' /scratch ' /proc/mounts");
    assert!(mounts.contains("noexec") && mounts.contains("size=1024k"), "{mounts}");
    let mount = format!("type=bind,source={dir},target=/deep/er,readonly");
    assert_eq!(docker.sh(&["--mount", &mount], "cat /deep/er/file"), "from the host");
    docker.ok(&["volume", "rm", "named"]);
}

/// A tmpfs with shared propagation in the place, for binds that look at propagation.
fn shared_tree(docker: &Docker) -> String {
    let tree = docker.place.path("tree");
    std::fs::create_dir(&tree).unwrap();
    rustix::mount::mount("none", &tree, "tmpfs", MountFlags::empty(), None).unwrap();
    rustix::mount::mount_change(&tree, MountPropagationFlags::SHARED).unwrap();
    std::fs::create_dir(format!("{tree}/sub")).unwrap();
    tree
}

/// [callers 3, 4] rslave sees what the host mounts later, rshared gives back what the container mounts, private neither.
#[test]
fn propagation() {
    let docker = docker!();
    let tree = shared_tree(&docker);
    let wait = "while ! test -e /tree/sub/inside; do test -e /stop && exit 1; sleep 0.05; done; echo seen";
    docker.detach("slave", &["-v", &format!("{tree}:/tree:rslave")], wait);
    docker.detach("private", &["-v", &format!("{tree}:/tree:rprivate")], "sleep 1000");
    rustix::mount::mount("none", format!("{tree}/sub"), "tmpfs", MountFlags::empty(), None).unwrap();
    std::fs::write(format!("{tree}/sub/inside"), "").unwrap();
    docker.wait_log("slave", "seen");
    assert!(!docker.inside("private", "tree/sub/inside").exists());
    docker.ok(&["rm", "-f", "slave", "private"]);
    rustix::mount::unmount(format!("{tree}/sub"), UnmountFlags::empty()).unwrap();

    let options = ["--cap-add", "SYS_ADMIN", "--security-opt", "apparmor=unconfined", "-v"];
    let shared = format!("{tree}:/tree:rshared");
    let options = [&options[..], &[&shared]].concat();
    docker.sh(&options, "mount -t tmpfs none /tree/sub && echo x > /tree/sub/from-container");
    assert_eq!(std::fs::read_to_string(format!("{tree}/sub/from-container")).unwrap(), "x\n");
    rustix::mount::unmount(format!("{tree}/sub"), UnmountFlags::empty()).unwrap();
    rustix::mount::unmount(&tree, UnmountFlags::empty()).unwrap();
}

/// [callers 4] A read-only root with writable places in it; Docker's own files are mounted.
#[test]
fn read_only_root() {
    let docker = docker!();
    let script = "touch /no 2>/dev/null || echo root; touch /tmp/yes && echo tmp; touch /dev/shm/yes && echo shm; \
                  (echo x >> /etc/hosts) 2>/dev/null || echo hosts; test -s /etc/resolv.conf; test -s /etc/hostname && echo name";
    let seen = docker.sh(&["--read-only", "--tmpfs", "/tmp"], script);
    assert_eq!(seen, "root\ntmp\nshm\nhosts\nname");
}

/// [callers 4] Devices: given by name, by rule, and none else; masked and read-only paths.
#[test]
fn devices_and_masked_paths() {
    let docker = docker!();
    assert_eq!(
        docker.sh(&["--device", "/dev/zero:/dev/also-zero:r"], "head -c 1 /dev/also-zero | wc -c"),
        "1"
    );
    let script = "mknod /tmp/k c 1 11 && (cat /tmp/k >/dev/null 2>&1 || echo refused); echo x > /dev/null && echo null";
    assert_eq!(docker.sh(&[], script), "refused\nnull");
    let seen =
        docker.sh(&["--device-cgroup-rule", "c 1:8 r"], "mknod /tmp/r c 1 8; head -c 1 /tmp/r | wc -c");
    assert_eq!(seen, "1");
    let script = "head -c 1 /proc/kcore | wc -c; ls /proc/acpi /sys/firmware | grep -vc :; \
                  echo 1 > /proc/sys/kernel/panic || echo ro";
    let seen = docker.sh(&["--security-opt", "apparmor=unconfined"], &format!("({script}) 2>/dev/null"));
    assert!(seen.starts_with("0\n") && seen.ends_with("ro"), "{seen}");
}

/// [callers 4] `docker cp` both ways, `docker diff`, `docker export` of a running container.
#[test]
fn copies_between_host_and_container() {
    let docker = docker!();
    docker.detach("files", &[], "echo made > /made; sleep 1000");
    assert!(host::until(std::time::Duration::from_secs(20), || docker
        .ok(&["diff", "files"])
        .contains("A /made")));
    docker.ok(&["cp", "files:/made", &docker.place.path("made")]);
    assert_eq!(std::fs::read_to_string(docker.place.dir.join("made")).unwrap(), "made\n");
    docker.ok(&["cp", &docker.place.file("in", "given"), "files:/in"]);
    assert_eq!(std::fs::read_to_string(docker.inside("files", "in")).unwrap(), "given");
    assert_eq!(docker.ok(&["commit", "files", "changed:1"]).lines().count(), 1);
    assert_eq!(docker.ok(&["run", "--rm", "changed:1", "cat", "/in"]), "given");
    assert_ne!(NAME, "changed:1");
}
