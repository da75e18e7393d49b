//! Device nodes and device rules.

use crate::support::*;

/// [D1] [D2] [D3] [D5] nodes of each type, exact mode and owner, parents made, on the tmpfs that a mount put there.
#[test]
fn nodes() {
    let mut t = Test::new();
    for (path, kind, major, minor, mode) in [
        ("/dev/test/char", "c", 1, 3, 0o640),
        ("/dev/unbuffered", "u", 1, 5, 0o600),
        ("/dev/block", "b", 7, 200, 0o660),
    ] {
        let device = json!({ "path": path, "type": kind, "major": major, "minor": minor, "fileMode": mode, "uid": 5, "gid": 6 });
        t.config.push("linux.devices", device);
    }
    t.config.push("linux.devices", json!({ "path": "/dev/fifo", "type": "p", "fileMode": 0o622 }));
    t.config.push("linux.devices", json!({ "path": "/elsewhere/node", "type": "c", "major": 1, "minor": 7 }));
    let out = t.out(
        "stat -c '%n %F %t:%T %a %u:%g' /dev/test/char /dev/unbuffered /dev/block /dev/fifo /elsewhere/node; \
         stat -c '%a %u:%g' /dev/test",
    );
    let expected = "/dev/test/char character special file 1:3 640 5:6\n\
                    /dev/unbuffered character special file 1:5 600 5:6\n\
                    /dev/block block special file 7:c8 660 5:6\n\
                    /dev/fifo fifo 0:0 622 0:0\n\
                    /elsewhere/node character special file 1:7 666 0:0\n\
                    755 0:0";
    assert_eq!(out, expected);
}

/// [D4] the configuration's entry takes the place of a default device.
#[test]
fn replaces_a_default() {
    let mut t = Test::new();
    let device = json!({ "path": "/dev/full", "type": "c", "major": 1, "minor": 5, "fileMode": 0o600, "uid": 7, "gid": 8 });
    t.config.push("linux.devices", device);
    assert_eq!(t.out("stat -c '%t:%T %a %u:%g' /dev/full"), "1:5 600 7:8");
}

/// [D2] a file that is there already and is not the device is an error, not left in silence.
#[test]
fn existing_file_that_does_not_match() {
    only_davit!(); // runc and crun leave it
    let mut t = Test::new();
    t.config.unmount("/dev");
    t.file("dev/mine", "a regular file");
    t.config.push("linux.devices", json!({ "path": "/dev/mine", "type": "c", "major": 1, "minor": 3 }));
    t.sh("true");
    t.run().fails(1, "/dev/mine");
    t.assert_clean();
}

/// [D6] [D9] [D10] a device that no rule allows can't be opened, though its node can be made.
#[test]
fn denied_device() {
    let mut t = Test::docker();
    // 1:1 is /dev/mem, 10:229 is denied by Docker's list.
    let out = t.out("mknod /tmp/mem c 1 1 && (cat /tmp/mem 2>&1 | head -c 200); mknod /tmp/fuse c 10 229; (cat /tmp/fuse 2>&1); true");
    assert_eq!(out.matches("Operation not permitted").count(), 2, "{out}");
}

/// [D7] the rules that are always there.
#[test]
fn default_rules() {
    let mut t = Test::new();
    t.config.set("linux.resources.devices", json!([{ "allow": false, "access": "rwm" }]));
    t.config.caps(&["CAP_MKNOD"]);
    let out = t.out(
        "for d in null zero full random urandom; do head -c 1 /dev/$d >/dev/null && echo $d; done; \
         mknod /tmp/any b 8 0 && echo made; (head -c 1 /tmp/any 2>&1); true",
    );
    assert!(out.starts_with("null\nzero\nfull\nrandom\nurandom\nmade\n"), "{out}");
    assert!(out.contains("Operation not permitted"), "{out}");
}

/// [D8] without any rule all but the defaults is denied.
#[test]
fn no_rules() {
    for value in [json!([]), Value::Null] {
        let mut t = Test::new();
        t.config.caps(&["CAP_MKNOD"]);
        if value.is_null() {
            t.config.remove("linux.resources");
        } else {
            t.config.set("linux.resources.devices", value);
        }
        let out = t.out("head -c 1 /dev/zero | wc -c; mknod /tmp/mem c 1 1; (head -c 1 /tmp/mem 2>&1); true");
        assert!(out.starts_with("1\n") && out.contains("Operation not permitted"), "{out}");
    }
}

/// [D6] rules in order, the later wins; parts of an access; wild cards.
#[test]
fn rules_in_order() {
    let mut t = Test::new();
    t.config.caps(&["CAP_MKNOD"]);
    // 1:11 is /dev/kmsg: allowed for writing alone; 1:4 (/dev/port) allowed, then denied again.
    t.config.set(
        "linux.resources.devices",
        json!([
            { "allow": false, "access": "rwm" },
            { "allow": true, "type": "c", "major": 1, "minor": 11, "access": "w" },
            { "allow": true, "type": "c", "major": 1, "minor": 4, "access": "rw" },
            { "allow": false, "type": "c", "major": 1, "minor": 4, "access": "rw" }
        ]),
    );
    let out = t.out(
        "mknod /tmp/kmsg c 1 11; mknod /tmp/port c 1 4; (: > /tmp/kmsg) && echo writable; (: < /tmp/kmsg) 2>&1; (: < /tmp/port) 2>&1; true",
    );
    assert!(out.starts_with("writable\n"), "{out}");
    assert_eq!(out.matches("not permitted").count(), 2, "{out}");
}

/// [D6] allow-all, as for a privileged container.
#[test]
fn allow_all() {
    let mut t = Test::new();
    t.config.caps(&["CAP_MKNOD"]);
    t.config.set("linux.resources.devices", json!([{ "allow": true, "access": "rwm" }]));
    assert_eq!(t.out("mknod /tmp/kmsg c 1 11 && (: > /tmp/kmsg) && echo opened"), "opened");
}

/// [D6] [E12] a rule without access is an error that names it.
#[test]
fn bad_rule() {
    only_davit!();
    for rule in
        [json!({ "allow": true, "access": "x" }), json!({ "allow": true, "type": "z", "access": "r" })]
    {
        let mut t = Test::new();
        t.config.push("linux.resources.devices", rule);
        t.sh("true");
        t.run().fails(1, "linux.resources.devices[1]");
        t.assert_clean();
    }
}

/// [D13] in a user namespace the kernel takes no device rules: the container starts without, and what its user may open
/// it may open. The same container outside of one is denied.
#[test]
fn no_rules_in_a_user_namespace() {
    let mut t = Test::new();
    let device = t.dir.join("device");
    let number = rustix::fs::makedev(10, 237);
    let mode = rustix::fs::Mode::from_raw_mode(0o666);
    rustix::fs::mknodat(rustix::fs::CWD, &device, rustix::fs::FileType::CharacterDevice, mode, number)
        .unwrap();
    need!(std::fs::File::open(&device).is_ok(), "no /dev/loop-control in this kernel");
    std::fs::write(t.rootfs.join("device"), "").unwrap();
    t.config.mount("/device", "bind", device.to_str().unwrap(), &["bind"]);
    t.sh("true < /device && echo opened");
    t.run().code(1).says("Operation not permitted");
    let map = json!([{ "containerID": 0, "hostID": 0, "size": 1 }]);
    t.config.namespace("user").set("linux.uidMappings", map.clone()).set("linux.gidMappings", map);
    // What the namespace's root must not have: mqueue's and sysfs's superblocks belong to others, devpts asks for gid 5.
    t.config.unmount("/dev/pts").remove("linux.cgroupsPath");
    let inside = ["unshare", "--user", "--map-root-user"];
    let output = t.bundle_cmd("run", &[]).wrap(inside).output().code(0);
    assert_eq!(output.stdout, "opened\n");
}
