//! User namespaces: mappings, ids and devices in them, joined by path.

use crate::support::*;
use std::os::unix::fs::MetadataExt;

/// [N10] [N8] a user namespace with mappings: the ids inside, the ids outside, the mapping files.
#[test]
fn user_namespace() {
    let mut t = Test::new();
    t.user_namespace();
    Cmd::new(&t.dir, ["chown", "-hR", "100000:100000", t.rootfs.to_str().unwrap()]).output().ok();
    t.sh("id -u; id -g; cat /proc/self/uid_map /proc/self/gid_map | tr -s ' '; touch /tmp/made; sleep 30");
    let running = t.bundle_cmd("run", &[]).spawn();
    host::wait_until("made", || t.rootfs.join("tmp/made").exists());
    let pid = t.pid();
    assert_eq!(host::status_line(pid, "Uid"), "100000\t100000\t100000\t100000");
    assert_eq!(std::fs::metadata(t.rootfs.join("tmp/made")).unwrap().uid(), 100_000);
    t.rt(&["kill", &t.id, "KILL"]).ok();
    let output = running.wait().code(137);
    assert_eq!(output.stdout, "0\n0\n 0 100000 65536\n 0 100000 65536\n");
}

/// [N10] [P7] another user in a user namespace, with groups.
#[test]
fn user_in_a_user_namespace() {
    let mut t = Test::new();
    t.user_namespace();
    t.config.set("process.user", json!({ "uid": 5, "gid": 6, "additionalGids": [7, 8] }));
    assert_eq!(t.out("id -u; id -G"), "5\n6 7 8");
}

/// [R7] [U9] devices in a user namespace are the host's, bound.
#[test]
fn devices_in_a_user_namespace() {
    let mut t = Test::new();
    t.user_namespace();
    let out =
        t.out("echo x > /dev/null && head -c 4 /dev/zero | wc -c; stat -c %t:%T /dev/null /dev/urandom");
    assert_eq!(out, "4\n1:3\n1:9");
}

/// [P7] an id that is not mapped is an error that says so.
#[test]
fn unmapped_user() {
    let mut t = Test::new();
    t.user_namespace();
    t.config.set("process.user", json!({ "uid": 70_000, "gid": 0 }));
    t.sh("true");
    let output = t.run().code(1);
    if davit_only() {
        output.fails(1, "unmapped");
    }
    t.assert_clean();
}

/// [N8] a user namespace by path with equal mappings is joined, as containerd and CRI-O ask for it.
#[test]
fn user_namespace_by_path() {
    only_davit!(); // runc from 1.2 on
    let mut a = Test::new();
    a.user_namespace();
    a.sh("sleep 30");
    a.detach();
    let pid = a.pid();
    let mut b = a.sibling();
    b.open_to_all();
    b.config.join("user", &format!("/proc/{pid}/ns/user")).join("network", &format!("/proc/{pid}/ns/net"));
    b.sh("id -u; cat /proc/self/uid_map | tr -s ' '");
    assert_eq!(b.run().ok(), "0\n 0 100000 65536");
    b.config.remove("linux.uidMappings").remove("linux.gidMappings");
    assert_eq!(b.run().ok(), "0\n 0 100000 65536");
    let other = json!([{ "containerID": 0, "hostID": 300_000, "size": 65_536 }]);
    b.config.set("linux.uidMappings", other.clone()).set("linux.gidMappings", other);
    b.run().fails(1, "linux.uidMappings");
    b.assert_clean();
}

/// [N8] mappings beside the path may be in another order; those of groups are compared, too.
#[test]
fn mappings_beside_the_path() {
    only_davit!(); // runc from 1.2 on
    let map = |first: u32, hosts: [u32; 7]| -> Vec<Value> {
        let line = |(at, host): (u32, u32)| json!({ "containerID": at, "hostID": host, "size": 1 });
        let mut list: Vec<Value> = (first..).zip(hosts).map(line).collect();
        list.rotate_left(3);
        list
    };
    let uids = map(0, [100_000, 100_002, 100_004, 100_006, 100_008, 100_010, 100_012]);
    let mut sorted = uids.clone();
    sorted.rotate_right(3);
    let mut a = Test::new();
    a.open_to_all();
    a.config.namespace("user").set("linux.uidMappings", uids).set("linux.gidMappings", sorted.clone());
    a.sh("sleep 30");
    a.config.unmount("/dev/pts");
    a.detach();
    let mut b = a.sibling();
    b.open_to_all();
    b.config.join("user", &format!("/proc/{}/ns/user", a.pid())).set("linux.uidMappings", sorted);
    assert_eq!(b.out("id -u"), "0");
    b.config.set("linux.gidMappings", json!([{ "containerID": 0, "hostID": 100_000, "size": 1 }]));
    b.run().fails(1, "linux.gidMappings: are not those of the namespace /proc/");
    b.assert_clean();
}

/// [N11] root need not be mapped when the container's user is; files and capabilities are that user's.
#[test]
fn root_is_not_mapped() {
    only_davit!(); // runc needs root
    let mut t = Test::new();
    t.open_to_all();
    let map = json!([{ "containerID": 33, "hostID": 100_033, "size": 7 }]);
    t.config.namespace("user").set("linux.uidMappings", map.clone()).set("linux.gidMappings", map);
    t.config.set("process.user", json!({ "uid": 33, "gid": 34, "additionalGids": [35] })).unmount("/dev/pts");
    let caps = json!(["CAP_KILL"]);
    for set in ["bounding", "effective", "permitted", "inheritable", "ambient"] {
        t.config.set(&format!("process.capabilities.{set}"), caps.clone());
    }
    t.config.set("hostname", "unmapped");
    let out = t.out(
        "id -u; id -G; hostname; touch /dev/shm/a; stat -c %u:%g /dev/shm/a; grep CapEff /proc/self/status",
    );
    assert_eq!(out, "33\n34 35\nunmapped\n33:34\nCapEff:\t0000000000000020");
    t.config.set("process.user", json!({ "uid": 0, "gid": 0 }));
    t.run().fails(1, "unmapped");
    t.assert_clean();
}

/// [P18] [N10] root's right to lower the OOM score counts for a container in a user namespace.
#[test]
fn oom_score_in_a_user_namespace() {
    need!(host::capable(24), "no CAP_SYS_RESOURCE");
    let mut t = Test::new();
    t.user_namespace();
    for score in [-500, 700] {
        t.config.set("process.oomScoreAdj", score);
        assert_eq!(t.out("cat /proc/self/oom_score_adj"), score.to_string());
    }
    t.sh("sleep 30");
    t.detach();
    let mut b = t.sibling();
    b.open_to_all();
    b.config.join("user", &format!("/proc/{}/ns/user", t.pid())).set("process.oomScoreAdj", -300);
    assert_eq!(b.out("cat /proc/self/oom_score_adj"), "-300");
}

/// [N10] more text than the kernel takes, and ranges that overlap.
#[test]
fn refused_mappings() {
    only_davit!(); // its texts
    let mut t = Test::new();
    t.config.namespace("user");
    let line = |at: u32, host: u32| json!({ "containerID": at, "hostID": host, "size": 1 });
    let long: Vec<_> = (0..340).map(|at| line(1_000_000_000 + at, 2_000_000_000 + at)).collect();
    let cases =
        [(json!(long), "340 lines make 8160 bytes"), (json!([line(0, 5), line(0, 6)]), "must not overlap")];
    for (map, text) in cases {
        t.config.set("linux.uidMappings", map.clone()).set("linux.gidMappings", map);
        t.sh("true");
        let output = t.run();
        output.says("linux.uidMappings: write /proc/");
        output.fails(1, text);
        t.assert_clean();
    }
}

/// [N10] mappings of many lines.
#[test]
fn many_mappings() {
    let mut t = Test::new();
    t.config.namespace("user");
    let map: Vec<Value> =
        (0..300).map(|i| json!({ "containerID": i, "hostID": 100_000 + 2 * i, "size": 1 })).collect();
    t.config.set("linux.uidMappings", map.clone()).set("linux.gidMappings", map);
    t.open_to_all();
    assert_eq!(t.out("wc -l < /proc/self/uid_map; wc -l < /proc/self/gid_map"), "300\n300");
}
