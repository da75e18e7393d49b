//! `update` of device rules: what stays allowed is never refused meanwhile.

use crate::support::*;
use crate::update::{update, update_json};

fn prober() -> Test {
    let mut t = Test::new();
    probe(&mut t);
    t.detach();
    t
}

/// The container opens a device which no rule allows (1:11, for writing: that needs no capability) and one that is always
/// allowed (1:3), again and again.
pub fn probe(t: &mut Test) {
    t.config.push("linux.devices", json!({ "type": "c", "path": "/dev/probe", "major": 1, "minor": 11 }));
    t.sh("touch /tmp/failed; while :; do
        if (: > /dev/probe); then echo yes; else echo no; fi > /tmp/new; mv /tmp/new /tmp/probe
        (: < /dev/null) || echo null >> /tmp/failed; usleep 2000; done 2> /tmp/errors");
}

/// Waits until the first can be opened, "yes", or can't, "no".
#[track_caller]
pub fn can_open(t: &Test, expected: &str) {
    let probe = t.rootfs.join("tmp/probe");
    host::wait_until(&format!("/dev/probe: {expected}"), || {
        std::fs::read_to_string(&probe).is_ok_and(|text| text.trim() == expected)
    });
}

/// The second could be opened each time.
#[track_caller]
pub fn never_refused(t: &Test) {
    assert_eq!(std::fs::read_to_string(t.rootfs.join("tmp/failed")).unwrap(), "", "/dev/null was refused");
}

/// A rule for the first.
pub fn kmsg_rule(access: &str) -> Value {
    json!({ "allow": true, "type": "c", "major": 1, "minor": 11, "access": access })
}

/// [D12] an empty list of devices, which kubelet and containerd send, and none at all change nothing.
#[test]
fn no_devices_no_change() {
    let mut t = prober();
    can_open(&t, "no");
    update_json(&t, &json!({ "devices": [], "pids": { "limit": 50 } })).ok();
    update_json(&t, &json!({ "devices": null, "pids": { "limit": 51 } })).ok();
    std::thread::sleep(std::time::Duration::from_millis(50));
    can_open(&t, "no");
    t.rt(&["delete", "--force", &t.id]).ok();
    // The other way round: what is allowed stays so.
    t.config.set("linux.resources.devices", json!([{ "allow": false, "access": "rwm" }, kmsg_rule("rwm")]));
    t.detach();
    can_open(&t, "yes");
    update_json(&t, &json!({ "devices": [] })).ok();
    update(&t, &["--pids-limit", "52"]).ok();
    std::thread::sleep(std::time::Duration::from_millis(50));
    can_open(&t, "yes");
}

/// [W3] [D9] [D10] a list that is not empty takes the old one's place, and what both allow is never refused meanwhile.
#[test]
fn devices_change() {
    only_davit!();
    let t = prober();
    can_open(&t, "no");
    for _ in 0..3 {
        update_json(&t, &json!({ "devices": [{ "allow": false, "access": "rwm" }, kmsg_rule("rwm")] })).ok();
        can_open(&t, "yes");
        update_json(&t, &json!({ "devices": [{ "allow": false, "access": "rwm" }] })).ok();
        can_open(&t, "no");
    }
    // All devices, and back.
    update_json(&t, &json!({ "devices": [{ "allow": true, "access": "rwm" }] })).ok();
    can_open(&t, "yes");
    update_json(&t, &json!({ "devices": [{ "allow": false, "access": "rwm" }] })).ok();
    can_open(&t, "no");
    never_refused(&t);
    assert_eq!(t.status(), "running");
    update_json(&t, &json!({ "devices": [{ "allow": true, "type": "c", "access": "x" }] }))
        .fails(1, "linux.resources.devices[0].access: invalid device access");
}

/// [W3] a paused container stays paused while its rules change.
#[test]
fn devices_of_a_paused_container() {
    only_davit!();
    let t = prober();
    can_open(&t, "no");
    t.verb(&["pause"]).ok();
    update_json(&t, &json!({ "devices": [{ "allow": true, "access": "rwm" }] })).ok();
    assert_eq!(t.status(), "paused");
    t.verb(&["resume"]).ok();
    can_open(&t, "yes");
}
