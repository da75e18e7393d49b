//! Several commands at once, on one container and on many.

use crate::support::*;

/// [S37] [S1] eight creates of one id: one wins, the others say so, and the winner is whole.
#[test]
fn parallel_creates() {
    only_davit!(); // two of runc 1.1 can win
    for _ in 0..3 {
        let t = Test::new();
        let rivals: Vec<Test> = (0..8).map(|_| t.rival()).collect();
        let running: Vec<_> = rivals.iter().map(|rival| rival.bundle_cmd("create", &[]).spawn()).collect();
        let outputs: Vec<Output> = running.into_iter().map(run::Running::wait).collect();
        let winners: Vec<usize> = (0..8).filter(|i| outputs[*i].code == 0).collect();
        assert_eq!(winners.len(), 1, "{outputs:#?}");
        let winner = &rivals[winners[0]];
        for output in outputs.iter().filter(|output| output.code != 0) {
            output.says("container with given ID already exists");
        }
        assert_eq!(t.status(), "created");
        assert_eq!(t.state()["bundle"], winner.bundle.to_str().unwrap());
        assert_eq!(cgroup::pids(&winner.cgroup), [t.pid()]);
        t.verb(&["start"]).ok();
        t.verb(&["delete", "--force"]).ok();
        rivals.iter().for_each(Test::assert_clean);
    }
}

/// [S37] [reliability R9] state, kill and delete at once: clean answers only, and at most one delete succeeds.
#[test]
fn parallel_verbs() {
    for round in 0..4 {
        let mut t = Test::new();
        t.sh("sleep 30");
        t.detach();
        if round % 2 == 1 {
            t.rt(&["kill", &t.id, "KILL"]).ok();
            t.wait_status("stopped");
        }
        let verbs: Vec<Vec<&str>> = (0..12)
            .map(|n| match n % 4 {
                0 => vec!["state", &t.id],
                1 => vec!["kill", &t.id, "KILL"],
                2 => vec!["delete", &t.id],
                _ => vec!["ps", "--format", "json", &t.id],
            })
            .collect();
        let running: Vec<_> = verbs.iter().map(|verb| t.cmd(verb).spawn()).collect();
        let mut deleted = 0;
        for (verb, output) in verbs.iter().zip(running.into_iter().map(run::Running::wait)) {
            deleted += usize::from(verb[0] == "delete" && output.code == 0);
            let known = ["does not exist", "container not running", "no such process", "is not stopped"];
            let clean = output.code == 0 || known.iter().any(|text| output.stderr.contains(text));
            assert!((clean && output.code <= 1) || !davit_only(), "{output}");
            if verb[0] == "state" && output.code == 0 {
                serde_json::from_str::<Value>(&output.stdout).unwrap();
            }
        }
        assert!(deleted <= 1 || !davit_only(), "{deleted} deletes");
    }
}

/// [S37] delete --force eight times at once: every one succeeds, and nothing is left.
#[test]
fn parallel_forced_deletes() {
    only_davit!(); // runc 1.1 fails some of them
    for _ in 0..3 {
        let mut t = Test::new();
        t.sh("sleep 30 & sleep 31");
        t.detach();
        let running: Vec<_> = (0..8).map(|_| t.cmd(&["delete", "--force", &t.id]).spawn()).collect();
        for output in running.into_iter().map(run::Running::wait) {
            assert_eq!(output.ok(), "");
        }
        t.assert_clean_but_pid_file();
    }
}

/// [S13] start eight times at once: one wins.
#[test]
fn parallel_starts() {
    only_davit!(); // runc 1.1 may wait for ever on a fifo that another start has emptied
    let mut t = Test::new();
    t.sh("echo x >> /tmp/starts; sleep 30");
    t.create().ok();
    let running: Vec<_> = (0..8).map(|_| t.cmd(&["start", &t.id]).spawn()).collect();
    let outputs: Vec<Output> = running.into_iter().map(run::Running::wait).collect();
    assert_eq!(outputs.iter().filter(|output| output.code == 0).count(), 1, "{outputs:#?}");
    for output in outputs.iter().filter(|output| output.code != 0) {
        output.says("cannot start an already running container");
    }
    host::wait_until("started", || t.rootfs.join("tmp/starts").exists());
    assert_eq!(std::fs::read_to_string(t.rootfs.join("tmp/starts")).unwrap(), "x\n");
}

/// [S37] [S38] twenty containers at once, each whole.
#[test]
fn twenty_containers() {
    let mut first = Test::docker();
    let tests: Vec<Test> = (0..20)
        .map(|n| {
            let mut t = first.sibling();
            t.sh(&format!("echo {n}; exit {n}"));
            t
        })
        .collect();
    let running: Vec<_> = tests.iter().map(|t| t.bundle_cmd("run", &[]).spawn()).collect();
    for (n, running) in running.into_iter().enumerate() {
        let output = running.wait().code(i32::try_from(n).unwrap());
        assert_eq!(output.stdout, format!("{n}\n"));
        assert_eq!(output.stderr, "");
    }
    assert_eq!(first.out("echo up"), "up");
    assert!(host::list(&first.root).is_empty(), "{:?}", host::list(&first.root));
}

/// [S37] list while containers come and go: never an error, never half an entry.
#[test]
fn list_meanwhile() {
    only_davit!(); // runc 1.1 fails over a container that went away
    let mut t = Test::new();
    t.sh("exit 0");
    std::fs::create_dir(&t.root).unwrap();
    let all: Vec<Test> = (0..6).map(|_| t.sibling()).collect();
    let running: Vec<_> = all.iter().map(|t| t.bundle_cmd("run", &[]).spawn()).collect();
    for _ in 0..20 {
        let output = t.rt(&["list", "--format", "json"]).code(0);
        let list: Value = serde_json::from_str(&output.stdout).unwrap();
        for entry in list.as_array().into_iter().flatten() {
            assert!(entry["id"].as_str().is_some_and(|id| id.starts_with('t')), "{list}");
        }
    }
    running.into_iter().for_each(|running| drop(running.wait().ok()));
}

/// [S38] many runs on one root file system whose mount points are not there yet.
#[test]
fn shared_rootfs_without_mount_points() {
    let first = Test::new();
    ["dev", "proc", "sys"].iter().for_each(|dir| std::fs::remove_dir(first.rootfs.join(dir)).unwrap());
    let tests: Vec<Test> = (0..8)
        .map(|_| {
            let mut t = first.sibling();
            t.config.set("root.path", first.rootfs.to_str().unwrap());
            t.config.mount("/new/mount/point", "tmpfs", "tmpfs", &[]);
            t.config.set("process.cwd", "/new/cwd");
            t.sh("echo up");
            t
        })
        .collect();
    let running: Vec<_> = tests.iter().map(|t| t.bundle_cmd("run", &[]).spawn()).collect();
    running.into_iter().for_each(|running| assert_eq!(running.wait().ok(), "up"));
}

/// [E3] [E12] a failure of init reaches the caller whole, however the two processes are scheduled.
#[test]
fn failures_cross_whole() {
    let first = Test::new();
    std::fs::remove_dir(first.rootfs.join("sys")).unwrap();
    std::os::unix::fs::symlink("/fake", first.rootfs.join("sys")).unwrap();
    let tests: Vec<Test> = (0..8)
        .map(|_| {
            let mut t = first.sibling();
            t.config.set("root.path", first.rootfs.to_str().unwrap());
            t
        })
        .collect();
    for _ in 0..8 {
        let running: Vec<_> = tests.iter().map(|t| t.bundle_cmd("run", &[]).spawn()).collect();
        running
            .into_iter()
            .for_each(|running| running.wait().code(1).says("must be mounted on ordinary directory"));
    }
    tests.iter().for_each(Test::assert_clean);
}
