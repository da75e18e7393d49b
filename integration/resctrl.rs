//! intelRdt. What happens inside a resctrl file system is shown by unit tests (src/resctrl/tests.rs), since few
//! machines have the hardware.

use crate::support::*;
use std::path::PathBuf;

/// [T1] [T8] without resctrl a container that asks for it is refused, also by the smallest wish and beside old names.
#[test]
fn resctrl_must_be_mounted() {
    only_davit!();
    need!(mount_point().is_none(), "resctrl is mounted here");
    for rdt in [
        json!({}),
        json!({ "closID": "/" }),
        json!({ "closID": "gold", "schemata": ["L3:0=f"] }),
        json!({ "enableMonitoring": true, "enableCMT": true, "enableMBM": true }),
    ] {
        let mut t = Test::new();
        t.config.set("linux.intelRdt", rdt);
        t.sh("true");
        t.run().fails(1, "linux.intelRdt: no resctrl file system is mounted");
        t.create().fails(1, "linux.intelRdt: no resctrl file system is mounted");
        t.assert_clean();
    }
}

/// [T1] without intelRdt nothing looks for resctrl, nor reads the list of mounts.
#[test]
fn nothing_without_intel_rdt() {
    only_davit!();
    let mut t = Test::new();
    t.sh("true");
    let log = t.path("trace");
    let strace = ["strace", "-f", "-qq", "-o", &log];
    let version = Cmd::new(&t.dir, ["sh", "-c", "command -v strace"]).output();
    need!(version.code == 0, "no strace");
    t.bundle_cmd("run", &[]).wrap(strace).output().ok();
    let trace = std::fs::read_to_string(&log).unwrap();
    assert!(trace.contains("config.json"), "{trace}");
    assert!(!trace.contains("resctrl") && !trace.contains("mountinfo"), "{trace}");
}

/// [T2] [T5] names and lines that no resctrl takes are refused before one is looked for.
#[test]
fn refused_by_the_rules() {
    only_davit!();
    for (rdt, text) in [
        (json!({ "closID": ".." }), "linux.intelRdt.closID: \"..\" cannot be the name of a resctrl group"),
        (json!({ "closID": "a/b" }), "linux.intelRdt.closID"),
        (json!({ "closID": "info" }), "linux.intelRdt.closID"),
        (
            json!({ "memBwSchema": "L3:0=f" }),
            "linux.intelRdt.memBwSchema: \"L3:0=f\" does not start with \"MB:\"",
        ),
        (json!({ "schemata": ["L3:0=f\nMB:0=1"] }), "linux.intelRdt.schemata[0]"),
    ] {
        let mut t = Test::new();
        t.config.set("linux.intelRdt", rdt);
        t.sh("true");
        t.run().fails(1, text);
        t.assert_clean();
    }
}

/// Where resctrl is mounted, if it is.
fn mount_point() -> Option<PathBuf> {
    let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
    let line = mounts.lines().find(|line| line.contains(" - resctrl "))?;
    line.split(' ').nth(4).map(PathBuf::from)
}

macro_rules! resctrl {
    () => {
        match mount_point() {
            Some(root) => root,
            None => return skip("no resctrl: neither the hardware nor a way to play it"),
        }
    };
}

/// [T1] [T2] [T6] [T7] init is in a group of its own and in its monitoring group, which go with it.
#[test]
fn a_group_of_its_own() {
    only_davit!();
    let root = resctrl!();
    let mut t = Test::new();
    t.config.set("linux.intelRdt", json!({ "enableMonitoring": true }));
    t.sh("sleep 30");
    t.detach();
    let group = root.join(&t.id);
    let tasks = std::fs::read_to_string(group.join("mon_groups").join(&t.id).join("tasks")).unwrap();
    assert!(tasks.lines().any(|pid| pid == t.pid().to_string()), "{tasks}");
    t.verb(&["delete", "--force"]).ok();
    assert!(!group.exists());
}

/// [T2] [T3] [T4] [T5] [T7] a group by name: not made without schemata, made with them, compared from then on, and it
/// stays.
#[test]
fn a_group_by_name() {
    only_davit!();
    let root = resctrl!();
    let present = std::fs::read_to_string(root.join("schemata")).unwrap();
    let Some(line) = present.lines().map(str::trim).find(|line| line.starts_with("L3:")) else {
        return skip("no L3 allocation in this CPU");
    };
    let mut t = Test::new();
    let name = format!("{}-gold", t.id);
    let group = root.join(&name);
    let wish = |schemata: &[&str]| json!({ "closID": name, "schemata": schemata });
    t.sh("true");
    t.config.set("linux.intelRdt", wish(&[]));
    t.run().fails(1, "does not exist");
    t.config.set("linux.intelRdt", wish(&[line]));
    t.run().ok();
    assert!(group.exists(), "it stays");
    t.run().ok();
    t.config.set("linux.intelRdt", wish(&["L3:0=1"]));
    t.run().fails(1, "linux.intelRdt.schemata[0]: \"L3:0=1\" is not what the resctrl group");
    t.config.set("linux.intelRdt", wish(&[]));
    t.run().ok();
    std::fs::remove_dir(&group).unwrap();
}
