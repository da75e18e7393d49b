//! `exec --process FILE`: a process object of its own.

use crate::support::*;

/// The least that a process object has.
fn process(args: &[&str]) -> Value {
    json!({ "cwd": "/", "user": { "uid": 0, "gid": 0 }, "args": args, "env": ["PATH=/bin"] })
}

/// [V32] What the file leaves out is as for init, but for no_new_privs.
#[test]
fn what_is_left_out_is_as_for_init() {
    let mut t = Test::new();
    t.config
        .caps(&["CAP_KILL"])
        .set("process.oomScoreAdj", 321)
        .set("process.user.umask", 0o037)
        .push("process.rlimits", json!({ "type": "RLIMIT_CORE", "soft": 17 * 512, "hard": 17 * 512 }));
    t.sleeper();
    let look = "cat /proc/self/status /proc/self/oom_score_adj; ulimit -c; umask; env";
    let seen = t.exec_process(&[], &process(&["/bin/sh", "-c", look])).ok();
    for name in ["CapPrm", "CapEff", "CapBnd"] {
        assert_eq!(host::field(&seen, name), "0000000000000020", "{name}");
    }
    assert_eq!(host::field(&seen, "NoNewPrivs"), "0");
    assert!(seen.contains("\n321\n17\n0037\n"), "{seen}");
    assert!(!seen.contains("TERM="), "the environment is the file's alone: {seen}");
}

/// [V32] [S28] What the file says holds.
#[test]
fn what_the_file_says_holds() {
    let mut t = Test::new();
    t.config.caps(&["CAP_KILL"]).set("process.oomScoreAdj", 321);
    t.sleeper();
    let mut given =
        process(&["sh", "-c", "id; pwd; cat /proc/self/status /proc/self/oom_score_adj; ulimit -n; umask"]);
    let changes = json!({
        "cwd": "/tmp", "noNewPrivileges": true, "oomScoreAdj": 400,
        "user": { "uid": 5, "gid": 6, "additionalGids": [7], "umask": 0o077 },
        "capabilities": { "bounding": ["CAP_CHOWN"], "permitted": ["CAP_CHOWN"], "effective": [] },
        "rlimits": [{ "type": "RLIMIT_NOFILE", "soft": 99, "hard": 99 }],
    });
    given.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
    let seen = t.exec_process(&[], &given).ok();
    assert!(seen.starts_with("uid=5 gid=6 groups=7\n/tmp\n"), "{seen}");
    assert!(seen.ends_with("\n400\n99\n0077"), "{seen}");
    assert_eq!(host::field(&seen, "NoNewPrivs"), "1");
    assert_eq!(host::field(&seen, "CapBnd"), "0000000000000001");
}

/// [V32] [E12] [E16] A bad file is told by its place, and nothing runs.
#[test]
fn bad_files() {
    only_davit!();
    let mut t = Test::new();
    t.sleeper();
    let fails = |text: &str, wanted: &str| {
        let file = t.path("bad.json");
        let text = text.replacen("{", "{\"user\": {\"uid\": 0, \"gid\": 0},", 1);
        std::fs::write(&file, text).unwrap();
        let output = t.exec_cmd(&["-p", &file], &[]).output();
        output.says("--process ");
        output.fails(255, wanted);
    };
    fails("", "process: EOF while parsing");
    fails("[]", "process: must be an object");
    fails("{\n \"cwd\": 5}", "line 2 column 2: process.cwd: ");
    fails(
        "{\"cwd\": \"/\", \"args\": [\"x\"], \"rlimits\": [{\"type\": \"X\"}]}",
        "process.rlimits[0].type: ",
    );
    fails("{\"cwd\": \"/\", \"args\": [\"x\"], \"cgroup\": 7}", "process.cgroup: must be a string");
    for (key, value, wanted) in [
        ("cwd", json!("tmp"), "Cwd must be an absolute path"),
        ("args", json!([]), "args must not be empty"),
        ("env", json!(["X"]), "process.env[0]: invalid environment variable: missing '='"),
        (
            "user",
            json!({ "uid": 4_294_967_295u32, "gid": 0 }),
            "process.user.uid: 4294967295 is not a valid id",
        ),
        ("execCPUAffinity", json!({ "initial": "x" }), "process.execCPUAffinity.initial: "),
    ] {
        let mut given = process(&["true"]);
        given[key] = value;
        t.exec_process(&[], &given).fails(255, wanted);
    }
}

/// [V32] Options hold over the file.
#[test]
fn options_hold_over_the_file() {
    only_davit!();
    let mut t = Test::new();
    t.sleeper();
    let options = ["--cwd", "/tmp", "-u", "9", "-e", "A=b"];
    assert_eq!(t.exec_process(&options, &process(&["sh", "-c", "pwd; id -u; echo $A"])).ok(), "/tmp\n9\nb");
}

/// [S2] [S28] What exec knows of the configuration is made once and kept; a kept one that is broken is made anew.
#[test]
fn the_digest_is_made_once() {
    only_davit!();
    let mut t = Test::docker();
    t.sh("exec sleep 1000").detach();
    let digest = t.root.join(&t.id).join("config.digest");
    assert!(!digest.exists(), "create has no part in it");
    let look = "cat /proc/self/status | grep -v -E '^(Name|State|SigQ|Pid|Tgid|NSpid|NSpgid|NSsid|NStgid|PPid|Vm|Rss|Hugetlb|.*ctxt)'";
    let first = t.exec(&[], look).ok();
    assert_eq!(host::field(&first, "Seccomp"), "2");
    let kept = std::fs::read(&digest).unwrap();
    assert_eq!(t.exec(&[], look).ok(), first);
    for broken in [&b""[..], b"davit-digest 0 x\n", &kept[..kept.len() / 2]] {
        std::fs::write(&digest, broken).unwrap();
        assert_eq!(t.exec(&[], look).ok(), first);
        assert_eq!(std::fs::read(&digest).unwrap().len(), kept.len());
    }
    assert_eq!(host::list(t.root.join(&t.id)).iter().filter(|name| name.contains("digest")).count(), 1);
}
