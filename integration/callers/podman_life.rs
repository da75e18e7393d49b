//! Longer lives under Podman: exec, health, pods, restart, removal, many at once.

use crate::client::{Client, Engine};
use crate::podman::podman;
use crate::support::host;
use std::time::Duration;

/// [callers 6, 7] exec through conmon: streams, exit code, user, directory; a missing pid file tells a failure.
#[test]
fn exec() {
    let podman = podman!();
    podman.detach("host", &["--env", "GIVEN=1"], "sleep 1000");
    let run = podman.run(&["exec", "host", "sh", "-c", "echo out; echo err >&2; exit 3"]);
    assert_eq!((run.code, &*run.stdout, &*run.stderr), (3, "out\n", "err\n"), "{run}");
    let user = [
        "exec",
        "--user",
        "user",
        "--workdir",
        "/tmp",
        "--env",
        "A=b",
        "host",
        "sh",
        "-c",
        "id -u; pwd; echo $A $GIVEN",
    ];
    assert_eq!(podman.ok(&user), "1000\n/tmp\nb 1");
    let text = podman.place.file("in", "to exec\n");
    assert_eq!(podman.cmd(&["exec", "-i", "host", "cat"]).stdin(text.as_ref()).output().ok(), "to exec");
    podman.run(&["exec", "host", "nonesuch"]).code(127).says("executable file not found in $PATH");
    podman.run(&["exec", "host", "/etc/not-a-program"]).code(126).says("permission denied");
    assert_eq!(podman.run(&["exec", "host", "sh", "-c", "kill -9 $$"]).code, 137);
    podman.ok(&["exec", "--detach", "host", "touch", "/done"]);
    assert!(host::until(Duration::from_secs(20), || podman
        .run(&["exec", "host", "test", "-e", "/done"])
        .code
        == 0));
    podman.ok(&["stop", "--time", "0", "host"]);
    podman
        .run(&["exec", "host", "true"])
        .code(255)
        .says("can only create exec sessions on running containers");
}

/// [callers 7] Health checks by exec.
#[test]
fn health() {
    let podman = podman!();
    podman.detach(
        "patient",
        &["--health-cmd", "test ! -e /sick", "--health-interval", "disable", "--health-retries", "1"],
        "sleep 1000",
    );
    podman.run(&["healthcheck", "run", "patient"]).code(0);
    podman.ok(&["exec", "patient", "touch", "/sick"]);
    podman.run(&["healthcheck", "run", "patient"]).code(1);
}

/// [callers 6] Terminals through conmon's socket, for run and exec.
#[test]
fn terminals() {
    let podman = podman!();
    assert_eq!(podman.sh(&["-t"], "tty; test -t 0 && test -t 2 && echo both"), "/dev/pts/0\r\nboth\r");
    podman.detach("host", &[], "sleep 1000");
    assert_eq!(
        podman.ok(&["exec", "-t", "host", "sh", "-c", "tty; test -t 1 && echo tty"]),
        "/dev/pts/0\r\ntty\r"
    );
}

/// [callers 7] A pod: its containers share the network and the host name.
#[test]
fn pods() {
    let podman = podman!();
    let archive =
        crate::image::archive(&podman.place.dir, "pause.tar", "localhost/pause:1", &["sleep", "100000"]);
    podman.run(&["load", "--quiet", "--input", archive.to_str().unwrap()]).code(0);
    let cgroup = podman.place.cgroup();
    let pod = [
        "pod",
        "create",
        "--name",
        "pod",
        "--network",
        "none",
        "--infra-image",
        "localhost/pause:1",
        "--cgroup-parent",
        &cgroup,
    ];
    let id = podman.ok(&pod);
    let start = |name: &str| {
        let options = ["run", "--detach", "--pod", "pod", "--name", name, crate::image::NAME, "sleep", "100"];
        podman.run(&options).code(0);
        podman.inspect(name, ".State.Pid")
    };
    let (one, two) = (start("one"), start("two"));
    let ns = |pid: &str, kind: &str| std::fs::read_link(format!("/proc/{pid}/ns/{kind}")).unwrap();
    for kind in ["net", "uts", "ipc"] {
        assert_eq!(ns(&one, kind), ns(&two, kind), "{kind}");
    }
    assert_ne!(ns(&one, "pid"), ns(&two, "pid"));
    podman.run(&["pod", "stop", "--time", "0", "pod"]).code(0);
    podman.run(&["pod", "start", "pod"]).code(0);
    podman.run(&["pod", "rm", "--force", "pod"]).code(0);
    // Podman forgets the pod's cgroup in the hierarchies without controllers, whatever the runtime; nothing is in it.
    for dir in crate::support::cgroup::dirs(&format!("{cgroup}/{id}")) {
        std::fs::remove_dir(&dir).unwrap_or_else(|error| panic!("{}: {error}", dir.display()));
    }
}

/// [callers 7] Restart, restart policies, create and start, start --attach, rm of running and missing ones.
#[test]
fn restart_and_removal() {
    let podman = podman!();
    podman.detach("often", &[], "echo start $(cat /count 2>/dev/null | wc -l); echo x >> /count; sleep 1000");
    podman.wait_log("often", "start 0");
    for round in 1..3 {
        podman.run(&["restart", "--time", "0", "often"]).code(0);
        podman.wait_log("often", &format!("start {round}"));
    }
    podman.detach("failing", &["--restart", "on-failure:2"], "echo try; exit 4");
    podman.wait_for("failing", ".RestartCount", "2");
    podman.wait_for("failing", ".State.Status", "exited");
    podman.start_cmd("create", &["--name", "later"]).args(["sh", "-c", "echo late; exit 5"]).output().ok();
    let run = podman.run(&["start", "--attach", "later"]);
    assert_eq!((run.code, &*run.stdout), (5, "late\n"), "{run}");
    podman.run(&["rm", "often"]).code(2).says("cannot remove");
    podman.run(&["rm", "--force", "--time", "0", "often"]).code(0);
    // init dies with conmon's help only: the state is told by the exit file.
    podman.detach("victim", &[], "sleep 1000");
    host::kill(podman.inspect("victim", ".State.Pid").parse().unwrap());
    podman.wait_for("victim", ".State.ExitCode", "137");
    // The host's process namespace: `kill --all` must find the children.
    podman.detach("hostpid", &["--pid", "host"], "sleep 64321 & sleep 64322 & wait");
    let count = || {
        let is = |pid: &String| {
            let command = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            command.starts_with(b"sleep\x0064321\0") || command.starts_with(b"sleep\x0064322\0")
        };
        host::list("/proc").iter().filter(|pid| is(pid)).count()
    };
    assert!(host::until(Duration::from_secs(20), || count() == 2));
    podman.run(&["rm", "--force", "--time", "0", "hostpid"]).code(0);
    assert!(host::until(Duration::from_secs(20), || count() == 0));
}

/// [callers 7] Twenty at once, each with its own exit code.
#[test]
fn twenty_at_once() {
    let podman = podman!();
    let all: Vec<_> = (0..20)
        .map(|number: i32| {
            let script = format!("echo {number}; exit {number}");
            (number, podman.start_cmd("run", &["--rm"]).args(["sh", "-c", &script]).patience(150).spawn())
        })
        .collect();
    for (number, running) in all {
        let output = running.wait();
        assert_eq!((output.code, &*output.stdout), (number, &*format!("{number}\n")), "{output}");
    }
    assert_eq!(podman.ok(&["ps", "--all", "--quiet"]), "");
}
