//! Longer lives under Docker: restart, daemons and shims that die, health, removal.

use crate::client::{Client, Engine};
use crate::docker::docker;
use crate::image::NAME;
use crate::support::host;
use rustix::process::Signal;
use std::time::Duration;

/// [callers 4] `docker restart`, stop and start, restart policies with a count.
#[test]
fn restarts() {
    let docker = docker!();
    docker.detach("often", &[], "echo start $(cat /count | wc -l); echo x >> /count; sleep 1000");
    for _ in 0..3 {
        docker.ok(&["restart", "--time", "0", "often"]);
    }
    docker.wait_log("often", "start 3");
    docker.detach("failing", &["--restart", "on-failure:2"], "echo try; exit 4");
    docker.wait_for("failing", ".RestartCount", "2");
    docker.wait_for("failing", ".State.Status", "exited");
    assert_eq!(docker.run(&["logs", "failing"]).stdout, "try\ntry\ntry\n");
    assert_eq!(docker.inspect("failing", ".State.ExitCode"), "4");
    docker.detach("always", &["--restart", "always"], "sleep 1000");
    let pid = || docker.inspect("always", ".State.Pid").parse::<i32>().unwrap();
    let first = pid();
    host::kill(first);
    assert!(host::until(Duration::from_secs(20), || ![0, first].contains(&pid())));
}

/// [callers 2] The daemon dies or restarts, its containers go on (`--live-restore`), and are steered by the next one.
#[test]
fn live_restore() {
    let mut docker = docker!("--live-restore");
    docker.detach("survivor", &[], "trap 'exit 6' TERM; echo up; while :; do sleep 0.05; done");
    docker.wait_log("survivor", "up");
    let pid = docker.inspect("survivor", ".State.Pid");
    docker.restart_daemon(Signal::TERM);
    assert_eq!(docker.inspect("survivor", ".State.Pid"), pid);
    assert_eq!(docker.inspect("survivor", ".State.Running"), "true");
    docker.ok(&["pause", "survivor"]);
    docker.ok(&["unpause", "survivor"]);
    docker.ok(&["stop", "survivor"]);
    assert_eq!(docker.inspect("survivor", ".State.ExitCode"), "6");
    docker.ok(&["start", "survivor"]);
    docker.wait_for("survivor", ".State.Running", "true");
}

/// [callers 2] The shim is killed: `delete --force` by containerd's clean-up, without the shim's options, ends the rest.
#[test]
fn killed_shim() {
    let docker = docker!();
    docker.detach("orphan", &[], "sleep 12345");
    let pid: i32 = docker.inspect("orphan", ".State.Pid").parse().unwrap();
    let shim: i32 = host::stat_field(pid, 4).unwrap().parse().unwrap();
    assert!(std::fs::read_to_string(format!("/proc/{shim}/comm")).unwrap().starts_with("containerd-shim"));
    host::kill(shim);
    docker.wait_for("orphan", ".State.Status", "exited");
    assert_eq!(docker.inspect("orphan", ".State.ExitCode"), "137");
    assert!(host::until(Duration::from_secs(20), || !host::alive(pid)));
    docker.ok(&["start", "orphan"]);
    assert_eq!(docker.inspect("orphan", ".State.Status"), "running");
}

/// [callers 4] rm of a running container is refused, with --force not; created but never started ones, too.
#[test]
fn removal() {
    let docker = docker!();
    docker.detach("busy", &[], "sleep 1000 & sleep 1000 & wait");
    docker.run(&["rm", "busy"]).code(1).says("running container");
    docker.ok(&["rm", "--force", "busy"]);
    docker.ok(&["create", "--name", "unborn", NAME, "true"]);
    docker.ok(&["rm", "unborn"]);
    // The same name at once, many times over: ids and cgroups are free again.
    for _ in 0..5 {
        docker.detach("again", &[], "sleep 1000");
        docker.ok(&["rm", "--force", "again"]);
    }
    // The host's pid namespace: `kill --all` must find the children, which no dying namespace takes along.
    docker.detach("hostpid", &["--pid", "host"], "sleep 54321 & sleep 54322 & wait");
    let count = || {
        host::list("/proc")
            .iter()
            .filter(|pid| {
                let command = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
                command.starts_with(b"sleep\x0054321\0") || command.starts_with(b"sleep\x0054322\0")
            })
            .count()
    };
    assert!(host::until(Duration::from_secs(20), || count() == 2));
    docker.ok(&["rm", "--force", "hostpid"]);
    assert!(host::until(Duration::from_secs(20), || count() == 0));
}
