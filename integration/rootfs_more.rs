//! The root: without a mount namespace, in a chroot, --no-pivot, nodes that can't be made, what the image has already.

use crate::support::*;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};

/// [R1] [R2] in a chroot, where nothing can be cut off from the host's mounts, the error says what to do; that done, a
/// container comes up there, with pivot_root and without.
#[test]
fn runtime_in_a_chroot() {
    only_davit!(); // its binary needs nothing else in the chroot
    let mut t = Test::new();
    t.sh("echo up; ls -d /bundle /etc");
    t.write();
    let jail = t.dir.join("jail");
    for dir in ["proc", "sys", "dev", "bundle", "run", "tmp", "bin"] {
        std::fs::create_dir_all(jail.join(dir)).unwrap();
    }
    let run = |before: &str, option: &str| {
        let script = format!(
            "set -e; mount --make-rprivate /; {before} cd {jail}; cp {runtime} bin/davit; \
             mount --rbind {bundle} bundle; for d in proc sys dev; do mount --rbind /$d $d; done; \
             exec chroot . /bin/davit --root /run/davit run {option} --bundle /bundle {id}",
            jail = jail.display(),
            runtime = runtime().display(),
            bundle = t.bundle.display(),
            id = t.id
        );
        Cmd::new(&t.dir, ["unshare", "-m", "/bin/sh", "-c", &script]).output()
    };
    run("", "").fails(1, "the current root is no mount point (a chroot)");
    let bind = format!("mount --bind {0} {0};", jail.display());
    for option in ["", "--no-pivot"] {
        assert_eq!(run(&bind, option).stdout, "up\n/etc\n", "{option}");
    }
}

/// [R3] --no-pivot leaves no full procfs or sysfs of the host behind: to a user namespace inside the container, which
/// may mount a full one only where one is to be seen, there is none, as with pivot_root. Also where the host's
/// can't be unmounted but must be covered, in a user namespace.
#[test]
fn no_pivot_hides_the_hosts_proc() {
    for user in [false, true] {
        for (options, masked) in
            [(&[][..], true), (&[], false), (&["--no-pivot"], true), (&["--no-pivot"], false)]
        {
            let mut t = Test::new();
            t.open_to_all();
            std::fs::create_dir(t.rootfs.join("p")).unwrap();
            if user {
                t.config.user_namespace();
            }
            t.config.remove("process.noNewPrivileges").caps(&[
                "CAP_SYS_ADMIN",
                "CAP_SETUID",
                "CAP_SETGID",
                "CAP_SETFCAP",
            ]);
            t.config.remove("linux.readonlyPaths");
            t.config.set("linux.maskedPaths", if masked { json!(["/proc/version"]) } else { json!([]) });
            t.sh("unshare -U -r -m -p -f mount -t proc proc /p && echo full; echo end");
            let output = t.bundle_cmd("run", options).output().code(0);
            let expected = if masked { "end\n" } else { "full\nend\n" };
            assert_eq!(output.stdout, expected, "user namespace: {user}, {options:?}: {output}");
        }
    }
}

/// [R7] without the right to make nodes those of the host are bound, also outside of a user namespace.
#[test]
fn nodes_without_mknod() {
    only_davit!(); // runc 1.1 does so only in a user namespace
    let mut t = Test::new();
    t.config.caps(&["CAP_KILL"]);
    t.sh(
        "cat /proc/self/mountinfo; stat -c '%n %t:%T' /dev/null /dev/zero; echo x > /dev/null && echo works",
    );
    let run = t.bundle_cmd("run", &[]).wrap(["setpriv", "--bounding-set=-mknod", "--inh-caps=-mknod"]);
    let out = run.output().ok();
    for device in ["null", "zero", "full", "random", "urandom", "tty"] {
        assert!(out.contains(&format!(" /{device} /dev/{device} ")), "no bind of {device}: {out}");
    }
    assert!(out.ends_with("/dev/null 1:3\n/dev/zero 1:5\nworks"), "{out}");
}

/// [R7] [D3] in a user namespace too, and a node that is bound keeps the host's owner and mode.
#[test]
fn bound_nodes_are_not_changed() {
    let mut t = Test::new();
    t.user_namespace();
    let device = json!({ "path": "/dev/null", "type": "c", "major": 1, "minor": 3, "fileMode": 0o600, "uid": 5, "gid": 5 });
    t.config.push("linux.devices", device);
    let look = || std::fs::metadata("/dev/null").map(|meta| (meta.mode(), meta.uid(), meta.gid())).unwrap();
    let before = look();
    assert_eq!(
        t.out("grep -c ' /dev/null ' /proc/self/mountinfo; echo x > /dev/null && echo works"),
        "1\nworks"
    );
    assert_eq!(look(), before);
}

/// [D2] [R7] what is in the way of a node that is to be bound is not covered, and nothing waits for a fifo.
#[test]
fn bound_nodes_cover_only_empty_files() {
    only_davit!();
    for kind in ["file", "fifo", "link", "empty"] {
        let mut t = Test::new();
        t.open_to_all();
        t.config
            .user_namespace()
            .unmount("/dev")
            .unmount("/dev/pts")
            .unmount("/dev/shm")
            .unmount("/dev/mqueue");
        let dev = t.rootfs.join("dev");
        let null = dev.join("null");
        match kind {
            "file" => std::fs::write(&null, "content").unwrap(),
            "fifo" => drop(Cmd::new(&t.dir, ["mkfifo", null.to_str().unwrap()]).output().ok()),
            "link" => symlink("/tmp/x", &null).unwrap(),
            _ => std::fs::write(&null, "").unwrap(),
        }
        std::os::unix::fs::chown(&dev, Some(100_000), Some(100_000)).unwrap();
        t.sh("stat -c %t:%T /dev/null");
        let output = t.run();
        if kind == "empty" {
            assert_eq!(output.ok(), "1:3");
        } else {
            output.fails(1, "default device /dev/null: something else is there already");
            t.assert_clean();
        }
    }
}

/// [D2] a node of another number, kind or type is not taken for the one that was asked for; the very same one is.
#[test]
fn existing_nodes() {
    only_davit!(); // runc leaves what is there
    for (kind, args, fits) in [
        ("same", &["c", "1", "3"][..], true),
        ("number", &["c", "1", "5"], false),
        ("block", &["b", "1", "3"], false),
        ("fifo", &["p"], false),
    ] {
        let mut t = Test::new();
        t.config.unmount("/dev");
        let node = t.rootfs.join("dev/mine");
        Cmd::new(&t.dir, ["mknod", node.to_str().unwrap()]).args(args).output().ok();
        t.config.push(
            "linux.devices",
            json!({ "path": "/dev/mine", "type": "c", "major": 1, "minor": 3, "uid": 5 }),
        );
        t.sh("stat -c %t:%T /dev/mine");
        let output = t.run();
        if fits {
            assert_eq!(output.ok(), "1:3");
        } else {
            output.fails(1, "linux.devices[0] (/dev/mine): something else is there already");
            t.assert_clean();
        }
        assert_eq!(std::fs::symlink_metadata(&node).unwrap().uid(), 0, "{kind}");
    }
}

/// [D1] a type that there is not is refused, by its place in config.json.
#[test]
fn bad_device_type() {
    only_davit!();
    let mut t = Test::new();
    t.config.push("linux.devices", json!({ "path": "/dev/x", "type": "z", "major": 1, "minor": 3 }));
    t.sh("true");
    t.run().fails(1, "linux.devices[0].type");
    t.assert_clean();
}

/// [D3] mode and owner are exact whatever the caller's umask, with the bits that a umask or a chown would take.
#[test]
fn node_modes_are_exact() {
    let mut t = Test::new();
    for (name, mode) in [("a", 0o777), ("b", 0o002), ("c", 0o600)] {
        let path = format!("/dev/{name}");
        t.config.push("linux.devices", json!({ "path": path, "type": "c", "major": 1, "minor": 3, "fileMode": mode, "uid": 1, "gid": 2 }));
    }
    t.sh("cd /dev; stat -c '%a %u:%g' a b c");
    let out = t.bundle_cmd("run", &[]).shell("umask 0777; exec \"$@\"").output().ok();
    assert_eq!(out, "777 1:2\n2 1:2\n600 1:2");
}

/// [D13] a runtime inside a user namespace can load no device rules: it goes on without.
#[test]
fn runtime_in_a_user_namespace() {
    only_davit!();
    let mut t = Test::new();
    t.config.leave("network").leave("cgroup").unmount("/sys/fs/cgroup").unmount("/dev/pts").unmount("/sys");
    t.config.remove("linux.cgroupsPath").set("mounts.0.options", json!([]));
    t.config.set("linux.resources.devices", json!([{ "allow": false, "access": "rwm" }]));
    t.sh("cat /proc/self/uid_map; echo x > /dev/null && echo works");
    // All ids, so that it is about rights alone.
    let script = "unshare --user --mount /bin/sh -c 'until grep -q . /proc/self/uid_map; do :; done; exec \"$@\"' sh \"$@\" & \
         until echo 0 0 65536 2>/dev/null > /proc/$!/uid_map; do :; done; echo 0 0 65536 > /proc/$!/gid_map; wait $!";
    let output = t.bundle_cmd("run", &[]).shell(script).output().code(0);
    assert!(output.stdout.contains("works") && output.stdout.contains("65536"), "{output}");
}

/// [R4] without a mount namespace there is a chroot and nothing else: mounts, masks and read-only paths would be
/// the host's, so that each is refused with its place in config.json.
#[test]
fn nothing_is_mounted_on_the_host() {
    only_davit!(); // runc mounts all of it on the host and leaves it there
    let bare = |t: &mut Test| {
        t.config.leave("mount").set("mounts", json!([]));
        t.config.remove("linux.maskedPaths").remove("linux.readonlyPaths");
        t.sh("true");
    };
    for (key, value, text) in [
        ("mounts", json!([{ "destination": "/proc", "type": "proc", "source": "proc" }]), "mounts: "),
        (
            "linux.maskedPaths",
            json!(["/x"]),
            "unable to restrict sys entries without a private MNT namespace",
        ),
        (
            "linux.readonlyPaths",
            json!(["/x"]),
            "unable to restrict sys entries without a private MNT namespace",
        ),
    ] {
        let mut t = Test::new();
        bare(&mut t);
        t.config.set(key, value);
        t.run().fails(1, text);
        t.assert_clean();
    }
    let mut t = Test::new();
    bare(&mut t);
    assert_eq!(t.out("pwd; ls -d /bin /bundle 2>/dev/null; readlink /dev/fd"), "/\n/bin\n/proc/self/fd");
}

/// [R10] a mask over what the container's root can't reach is not needed; the others are made.
#[test]
fn masks_over_unreachable_files() {
    let mut t = Test::new();
    t.user_namespace();
    t.file("closed/secret", "secret");
    t.file("open-secret", "secret");
    std::fs::set_permissions(t.rootfs.join("closed"), PermissionsExt::from_mode(0o700)).unwrap();
    t.config.set("linux.maskedPaths", json!(["/closed/secret", "/open-secret"]));
    let out = t.out("cat /closed/secret 2>/dev/null; cat /open-secret; echo end");
    assert_eq!(out, "end");
}

/// [R12] masks without a mount namespace are refused even when it is joined by no path at all.
#[test]
fn masks_need_a_mount_namespace() {
    only_davit!();
    let mut t = Test::new();
    t.config.leave("mount").set("mounts", json!([]));
    t.sh("true");
    t.run().fails(1, "unable to restrict sys entries without a private MNT namespace");
    t.assert_clean();
}

/// [R1] [R9] on a root that is shared nothing of the container's tree reaches the host, whatever propagation is asked
/// for; what the host mounts arrives where that is a slave or shared.
#[test]
fn shared_parent() {
    let mut t = Test::new();
    rustix::mount::mount_bind(&t.dir, &t.dir).unwrap();
    rustix::mount::mount_change(&t.dir, rustix::mount::MountPropagationFlags::SHARED).unwrap();
    let mut seen = vec![];
    for value in ["", "private", "rslave", "shared"] {
        t.config.set("linux.rootfsPropagation", value);
        t.sh("echo up");
        let output = t.run();
        let lines: Vec<_> = host::mounts(&t.dir);
        seen.push((value, output.stdout.clone(), lines.len(), output.stderr));
    }
    let dir = t.dir.clone();
    rustix::mount::unmount(&dir, rustix::mount::UnmountFlags::DETACH).unwrap();
    for (value, stdout, mounts, stderr) in seen {
        assert_eq!((stdout.as_str(), mounts), ("up\n", 1), "{value}: {stderr}");
    }
}

/// [Z7] a sysctl is written to the kernel's own file although something is mounted over it where the runtime runs, and
/// the decoy is left alone; a mount over a part of /proc is refused.
#[test]
fn sysctl_behind_a_decoy() {
    only_davit!(); // runc 1.1 writes to the decoy
    let mut t = Test::new();
    t.config.set("linux.sysctl", json!({ "net.ipv4.ip_forward": "1", "kernel.domainname": "real" }));
    t.config.remove("linux.readonlyPaths");
    t.sh("cat /proc/sys/net/ipv4/ip_forward /proc/sys/kernel/domainname");
    t.write();
    let decoy = t.dir.join("decoy");
    let script = format!(
        "set -e; mount --make-rprivate /; mkdir -p {decoy}/ipv4; echo old > {decoy}/ipv4/ip_forward; \
         echo old > {decoy}/domainname; mount --bind {decoy} /proc/sys/net; \
         mount --bind {decoy}/domainname /proc/sys/kernel/domainname; exec \"$@\"",
        decoy = decoy.display()
    );
    let run = t.bundle_cmd("run", &[]).wrap(["unshare", "-m", "/bin/sh", "-c", &script, "sh"]);
    assert_eq!(run.output().ok(), "1\nreal");
    for file in ["ipv4/ip_forward", "domainname"] {
        assert_eq!(std::fs::read_to_string(decoy.join(file)).unwrap(), "old\n");
    }
    let mut t = Test::new();
    t.config.mount("/proc/self/attr", "tmpfs", "tmpfs", &[]);
    t.sh("true");
    t.run().fails(1, "\"/proc/self/attr\" cannot be mounted because it is inside /proc");
    t.assert_clean();
}
