//! containerd by `ctr`: the shim's whole life with a container, without a Docker around it.

use crate::client::Client;
use crate::containerd::containerd;
use crate::support::{cgroup, davit_only, host, need};
use rustix::process::Signal;
use std::time::Duration;

/// [callers 1, 2] run with streams, exit code, errors in the words that the shim reads out of the log.
#[test]
fn runs() {
    let containerd = containerd!();
    assert_eq!(containerd.sh(&[], "echo hi; id -u; cat /proc/1/comm; true"), "hi\n0\nsh");
    let run =
        containerd.start_cmd(&["--rm"], "x").args(["sh", "-c", "echo out; echo err >&2; exit 3"]).output();
    assert_eq!((run.code, &*run.stdout, &*run.stderr), (3, "out\n", "err\n"), "{run}");
    let text = containerd.place.file("in", "through stdin\n");
    // `ctr` 1.6 passes stdin on, but not its end.
    let run = containerd.start_cmd(&["--rm"], "x").args(["head", "-n", "1"]).stdin(text.as_ref()).output();
    assert_eq!(run.ok(), "through stdin");
    let run = containerd.start_cmd(&["--rm"], "x").args(["nonesuch"]).output().code(1);
    run.says("OCI runtime create failed: ");
    run.says("exec: \"nonesuch\": executable file not found in $PATH: unknown");
    let run = containerd.start_cmd(&["--rm"], "x").args(["/etc/not-a-program"]).output().code(1);
    run.says("exec: \"/etc/not-a-program\": permission denied: unknown");
    // The same id is free again after each failure.
    assert_eq!(containerd.ok(&["containers", "ls", "--quiet"]), "");
}

/// [callers 2] create, start, ps, pause, resume, metrics, kill, the exit by SIGCHLD, delete.
#[test]
fn life_of_a_task() {
    let containerd = containerd!();
    containerd.detach(&["--memory-limit", "33554432"], "life", "trap 'exit 5' TERM; sleep 1000 & wait");
    let (pid, status) = containerd.task("life").unwrap();
    assert_eq!(status, "RUNNING");
    let group = format!("{}/life", containerd.place.cgroup());
    assert_eq!(cgroup::read(&group, "memory.limit_in_bytes", "memory.max"), "33554432");
    assert!(cgroup::pids(&group).contains(&pid));
    let two = || containerd.ok(&["tasks", "ps", "life"]).lines().count() == 3;
    assert!(host::until(Duration::from_secs(20), two), "{}", containerd.ok(&["tasks", "ps", "life"]));
    let metrics = containerd.ok(&["tasks", "metrics", "life"]);
    assert!(metrics.contains("memory.usage"), "{metrics}");
    containerd.ok(&["tasks", "pause", "life"]);
    containerd.wait_for("life", "PAUSED");
    containerd.ok(&["tasks", "resume", "life"]);
    containerd.wait_for("life", "RUNNING");
    containerd.ok(&["tasks", "kill", "--signal", "TERM", "life"]);
    containerd.wait_for("life", "STOPPED");
    // Killing what has ended is "not found", by number and for all: the kubelet goes on only then.
    containerd.run(&["tasks", "kill", "life"]).code(1).says("not found");
    containerd.run(&["tasks", "kill", "--all", "--signal", "KILL", "life"]);
    let removed = containerd.run(&["tasks", "rm", "life"]);
    removed.says("exit code 5");
    assert!(cgroup::dirs(&group).is_empty());
    containerd.ok(&["containers", "rm", "life"]);
}

/// [callers 2] exec with its own exit code, as another user, in the background; kill of an exec; a missing program.
#[test]
fn exec() {
    let containerd = containerd!();
    containerd.detach(&[], "host", "sleep 1000");
    let exec = |id: &str, script: &str| {
        containerd.run(&["tasks", "exec", "--exec-id", id, "host", "sh", "-c", script])
    };
    let run = exec("e1", "echo out; echo err >&2; exit 4");
    assert_eq!((run.code, &*run.stdout, &*run.stderr), (4, "out\n", "err\n"), "{run}");
    let user = [
        "tasks",
        "exec",
        "--exec-id",
        "e2",
        "--user",
        "1000",
        "--cwd",
        "/tmp",
        "host",
        "sh",
        "-c",
        "id -u; pwd",
    ];
    assert_eq!(containerd.ok(&user), "1000\n/tmp");
    let run = containerd.run(&["tasks", "exec", "--exec-id", "e3", "host", "nonesuch"]).code(1);
    run.says("OCI runtime exec failed: ");
    run.says("executable file not found in $PATH");
    containerd.ok(&["tasks", "exec", "--detach", "--exec-id", "e4", "host", "sleep", "200"]);
    let ps = containerd.ok(&["tasks", "ps", "host"]);
    assert_eq!(ps.lines().count(), 3, "{ps}");
    containerd.ok(&["tasks", "kill", "--exec-id", "e4", "--signal", "KILL", "host"]);
    let one = || containerd.ok(&["tasks", "ps", "host"]).lines().count() == 2;
    assert!(host::until(Duration::from_secs(20), one));
    containerd.ok(&["tasks", "pause", "host"]);
    containerd.run(&["tasks", "exec", "--exec-id", "e5", "host", "true"]).code(1).says("paused");
    containerd.ok(&["tasks", "resume", "host"]);
}

/// [callers 2] Options of the shim and of the specification that `ctr` can set.
#[test]
fn options() {
    let containerd = containerd!();
    assert_eq!(containerd.sh(&["--read-only"], "touch /x 2>/dev/null || echo ro"), "ro");
    assert_eq!(containerd.sh(&["--no-pivot"], "echo no pivot; ls /etc/passwd"), "no pivot\n/etc/passwd");
    assert_eq!(containerd.sh(&["--cwd", "/tmp", "--env", "A=b"], "pwd; echo $A"), "/tmp\nb");
    let mount = format!("type=bind,src={},dst=/host,options=rbind:ro", containerd.place.path(""));
    containerd.place.file("given", "here");
    assert_eq!(
        containerd.sh(&["--mount", &mount], "cat /host/given; touch /host/x 2>/dev/null || echo ro"),
        "herero"
    );
    let seen = containerd.sh(&["--cap-drop", "CAP_CHOWN"], "grep CapEff /proc/self/status");
    assert_eq!(host::capabilities(&seen, "CapEff") & 1, 0);
    assert_eq!(containerd.sh(&["--seccomp"], "grep Seccomp: /proc/self/status | cut -f 2"), "2");
    assert_eq!(containerd.sh(&["--cpus", "0.5"], "echo limited"), "limited");
    containerd.detach(&[], "first", "sleep 1000");
    let (pid, _) = containerd.task("first").unwrap();
    let net = std::fs::read_link(format!("/proc/{pid}/ns/net")).unwrap();
    let join = format!("network:/proc/{pid}/ns/net");
    assert_eq!(containerd.sh(&["--with-ns", &join], "readlink /proc/self/ns/net"), net.to_str().unwrap());
    let host = std::fs::read_link("/proc/self/ns/net").unwrap();
    assert_eq!(containerd.sh(&["--net-host"], "readlink /proc/self/ns/net"), host.to_str().unwrap());
    let maps = ["--uidmap", "0:200000:65536", "--gidmap", "0:200000:65536"];
    assert_eq!(
        containerd.sh(&maps, "cat /proc/self/uid_map | tr -s ' '; stat -c %u /etc/passwd"),
        " 0 200000 65536\n0"
    );
}

/// [callers 4] `--privileged` with all devices of the host.
#[test]
fn privileged() {
    need!(davit_only() || host::capable(24), "runc gives up where it has not all capabilities itself");
    let containerd = containerd!();
    let seen = containerd.sh(
        &["--privileged"],
        "mkdir /m && mount -t tmpfs none /m && echo mounted; grep CapEff /proc/self/status",
    );
    let own = std::fs::read_to_string("/proc/self/status").unwrap();
    assert!(seen.starts_with("mounted"), "{seen}");
    assert_eq!(host::capabilities(&seen, "CapEff"), host::capabilities(&own, "CapEff"));
}

/// [callers 2] Twenty tasks at once.
#[test]
fn twenty_at_once() {
    let containerd = containerd!();
    let all: Vec<_> = (0..20)
        .map(|number: i32| {
            let script = format!("echo {number}; exit {number}");
            let cmd = containerd.start_cmd(&["--rm"], &format!("many{number}")).args(["sh", "-c", &script]);
            (number, cmd.patience(120).spawn())
        })
        .collect();
    for (number, running) in all {
        let output = running.wait();
        assert_eq!((output.code, &*output.stdout), (number, &*format!("{number}\n")), "{output}");
    }
    assert_eq!(containerd.ok(&["tasks", "ls", "--quiet"]), "");
}

/// [callers 2] containerd is killed and comes back to its tasks; a killed shim's task is deleted by force.
#[test]
fn daemons_that_die() {
    let mut containerd = containerd!();
    containerd.detach(&[], "kept", "trap 'exit 5' TERM; while :; do sleep 0.05; done");
    let (pid, _) = containerd.task("kept").unwrap();
    containerd.restart_daemon(Signal::KILL);
    assert_eq!(containerd.task("kept"), Some((pid, "RUNNING".to_string())));
    assert!(host::until(Duration::from_secs(20), || {
        containerd.run(&["tasks", "kill", "kept"]);
        containerd.task("kept").is_some_and(|task| task.1 == "STOPPED")
    }));
    containerd.remove("kept");

    containerd.detach(&[], "orphan", "sleep 1000 & sleep 1000");
    let (pid, _) = containerd.task("orphan").unwrap();
    let shim: i32 = host::stat_field(pid, 4).unwrap().parse().unwrap();
    assert!(std::fs::read_to_string(format!("/proc/{shim}/comm")).unwrap().starts_with("containerd-shim"));
    host::kill(shim);
    assert!(host::until(Duration::from_secs(20), || !host::alive(pid)), "init outlives its shim");
    let group = format!("{}/orphan", containerd.place.cgroup());
    assert!(host::until(Duration::from_secs(20), || cgroup::dirs(&group).is_empty()), "the cgroup is left");
}
