//! `podman run` and its kin: streams, exit codes and the texts behind them, files, rights, limits.

use crate::client::{Client, Engine};
use crate::podman::podman;
use crate::support::{cgroup, host};
use rustix::mount::{MountFlags, MountPropagationFlags, UnmountFlags};
use rustix::process::Signal;
use std::time::Duration;

/// [callers 6, 7] run through conmon: streams, exit code, stdin and its end, the runtime that is asked for.
#[test]
fn runs_with_streams_and_exit_code() {
    let podman = podman!();
    let run =
        podman.start_cmd("run", &["--rm"]).args(["sh", "-c", "echo out; echo err >&2; exit 3"]).output();
    assert_eq!((run.code, &*run.stdout, &*run.stderr), (3, "out\n", "err\n"), "{run}");
    assert_eq!(podman.sh(&[], "echo $$; echo $FROM_IMAGE $container"), "1\nyes podman");
    let run = podman
        .start_cmd("run", &["--rm"])
        .args(["sh", "-c", "kill -9 $$; sh -c 'kill -9 $$'; exit $?"])
        .output();
    assert_eq!(run.code, 137, "{run}");
    let text = podman.place.file("in", "one\ntwo\n");
    let run = podman.start_cmd("run", &["--rm", "-i"]).args(["cat"]).stdin(text.as_ref()).output();
    assert_eq!(run.ok(), "one\ntwo");
    assert_eq!(podman.sh(&[], "yes 0123456789abcde | head -c 1048576").len(), 1_048_575);
    let path = podman.ok(&["info", "--format", "{{.Host.OCIRuntime.Path}}"]);
    assert_eq!(path, podman.place.path("bin/davit"));
}

/// [callers 6, 7] Podman's exit codes out of the one JSON object in the log: 127 not found, 126 not executable.
#[test]
fn exit_codes_from_the_runtimes_texts() {
    let podman = podman!();
    let cases = [
        ("nonesuch", 127, "executable file `nonesuch` not found"),
        ("/no/such", 127, "no such file or directory"),
        ("/etc/not-a-program", 126, "permission denied"),
        ("/etc", 126, "permission denied"),
    ];
    for (program, code, text) in cases {
        let run = podman.start_cmd("run", &["--rm"]).args([program]).output();
        assert_eq!((run.code, &*run.stdout), (code, ""), "{run}");
        let text = if program == "nonesuch" { "executable file not found in $PATH" } else { text };
        run.says(text);
        // The message out of the record, not the record.
        assert!(!run.stderr.contains("\"level\"") && !run.stderr.contains("level=error"), "{run}");
    }
    podman.run(&["run", "--no-such-option"]).code(125);
    assert_eq!(podman.ok(&["ps", "--all", "--quiet"]), "");
}

/// [callers 7] Signals: kill, stop with and without a handler, a signal to the client in the foreground.
#[test]
fn signals_and_stop() {
    let podman = podman!();
    let handler =
        "trap 'echo usr1' USR1; trap 'echo term; exit 7' TERM; echo ready; while :; do sleep 0.05; done";
    podman.detach("handler", &[], handler);
    podman.wait_log("handler", "ready");
    podman.run(&["kill", "--signal", "USR1", "handler"]).code(0);
    podman.wait_log("handler", "usr1");
    podman.run(&["stop", "handler"]).code(0);
    podman.wait_for("handler", ".State.ExitCode", "7");
    podman.detach("deaf", &[], "while :; do sleep 1; done");
    podman.run(&["stop", "--time", "1", "deaf"]).code(0);
    podman.wait_for("deaf", ".State.ExitCode", "137");
    podman.run(&["kill", "deaf"]).code(125).says("can only kill running containers");
    let client = podman.spawn(
        &["--rm", "--name", "client"],
        "trap 'echo int; exit 5' INT; echo ready; while :; do sleep 0.05; done",
    );
    assert!(host::until(Duration::from_secs(20), || client.stdout().contains("ready")));
    // Before Podman itself takes it for running it drops signals.
    podman.wait_for("client", ".State.Status", "running");
    client.kill(Signal::INT);
    let output = client.wait();
    assert_eq!((output.code, &*output.stdout), (5, "ready\nint\n"), "{output}");
}

/// [callers 7] Volumes, tmpfs with the image's content below (`tmpcopyup`), read-only root, propagation.
#[test]
fn files() {
    let podman = podman!();
    podman.place.file("host/file", "from the host");
    let dir = podman.place.path("host");
    assert_eq!(
        podman.sh(&["-v", &format!("{dir}:/data")], "cat /data/file; echo x > /data/back"),
        "from the host"
    );
    let ro = format!("{dir}:/data:ro");
    assert_eq!(podman.sh(&["-v", &ro], "touch /data/no 2>/dev/null || echo refused"), "refused");
    assert_eq!(podman.sh(&["-v", "named:/data"], "cat /data/from-image; echo kept > /data/kept"), "image");
    assert_eq!(podman.sh(&["-v", "named:/other"], "cat /other/kept"), "kept");
    let seen =
        podman.sh(&["--tmpfs", "/data:size=1m"], "cat /data/from-image; grep -c ' /data tmpfs' /proc/mounts");
    assert_eq!(seen, "image1");
    let seen = podman.sh(
        &["--read-only"],
        "touch /x 2>/dev/null || echo root; touch /tmp/x /dev/shm/x /run/x && echo tmp",
    );
    assert_eq!(seen, "root\ntmp");
    let tree = podman.place.path("tree");
    std::fs::create_dir(&tree).unwrap();
    rustix::mount::mount("none", &tree, "tmpfs", MountFlags::empty(), None).unwrap();
    rustix::mount::mount_change(&tree, MountPropagationFlags::SHARED).unwrap();
    std::fs::create_dir(format!("{tree}/sub")).unwrap();
    podman.detach(
        "slave",
        &["-v", &format!("{tree}:/tree:rslave")],
        "until test -e /tree/sub/in; do sleep 0.05; done; echo seen",
    );
    rustix::mount::mount("none", format!("{tree}/sub"), "tmpfs", MountFlags::empty(), None).unwrap();
    std::fs::write(format!("{tree}/sub/in"), "").unwrap();
    podman.wait_log("slave", "seen");
    podman.run(&["rm", "--force", "slave"]).code(0);
    rustix::mount::unmount(format!("{tree}/sub"), UnmountFlags::empty()).unwrap();
    rustix::mount::unmount(&tree, UnmountFlags::empty()).unwrap();
}

/// [callers 7] Users, capabilities, seccomp, namespaces of the host and of other containers, sysctls, devices, init.
#[test]
fn rights_and_namespaces() {
    let podman = podman!();
    assert_eq!(podman.sh(&["--user", "user"], "id -u; id -G"), "1000\n1000 2000");
    assert_eq!(
        podman.sh(&["--workdir", "/tmp", "--env", "A=b c", "--hostname", "other"], "pwd; echo $A; hostname"),
        "/tmp\nb c\nother"
    );
    let status = |options: &[&str]| podman.sh(options, "cat /proc/self/status");
    let plain = status(&[]);
    assert_ne!(host::capabilities(&plain, "CapEff"), 0);
    assert_eq!(host::field(&plain, "Seccomp"), "2");
    assert_eq!(
        host::capabilities(&status(&["--cap-drop", "ALL", "--cap-add", "NET_ADMIN"]), "CapEff"),
        1 << 12
    );
    assert_eq!(host::field(&status(&["--security-opt", "seccomp=unconfined"]), "Seccomp"), "0");
    assert_eq!(host::field(&status(&["--security-opt", "no-new-privileges"]), "NoNewPrivs"), "1");
    podman.detach("first", &[], "sleep 1000");
    let pid = podman.inspect("first", ".State.Pid");
    for kind in ["net", "ipc", "pid", "uts"] {
        let flag = if kind == "net" { "--network" } else { &format!("--{kind}") };
        let first = std::fs::read_link(format!("/proc/{pid}/ns/{kind}")).unwrap();
        let host = std::fs::read_link(format!("/proc/self/ns/{kind}")).unwrap();
        let script = format!("readlink /proc/self/ns/{kind}");
        assert_eq!(podman.sh(&[flag, "container:first"], &script), first.to_str().unwrap());
        assert_eq!(podman.sh(&[flag, "host"], &script), host.to_str().unwrap());
    }
    assert_eq!(podman.sh(&["--sysctl", "net.ipv4.ip_forward=1"], "cat /proc/sys/net/ipv4/ip_forward"), "1");
    assert_eq!(podman.sh(&["--device", "/dev/zero:/dev/also:r"], "head -c 1 /dev/also | wc -c"), "1");
    assert_eq!(podman.sh(&["--privileged"], "mkdir /m; mount -t tmpfs none /m && echo mounted"), "mounted");
}

/// [callers 7] User namespaces with ids by hand: root inside is another user outside, files keep their owners.
#[test]
fn user_namespaces() {
    let podman = podman!();
    let maps = ["--uidmap", "0:200000:65536", "--gidmap", "0:200000:65536"];
    assert_eq!(
        podman.sh(&maps, "cat /proc/self/uid_map | tr -s ' '; stat -c %u /etc/passwd"),
        " 0 200000 65536\n0"
    );
    podman.detach("mapped", &[&maps[..], &["--memory", "64m"]].concat(), "echo up; sleep 1000");
    podman.wait_log("mapped", "up");
    let pid: i32 = podman.inspect("mapped", ".State.Pid").parse().unwrap();
    assert!(host::status_line(pid, "Uid").starts_with("200000"));
}

/// [callers 6, 7] Limits in the cgroup, out of memory, update of a running container, pause, top, stats.
#[test]
fn limits() {
    let podman = podman!();
    let options = ["--memory", "64m", "--cpus", "0.5", "--pids-limit", "77", "--cpuset-cpus", "0"];
    podman.detach("limited", &options, "sleep 111 & sleep 222 & wait");
    let group = podman.cgroup("limited");
    let read = |v1: &str, v2: &str| cgroup::read(&group, v1, v2);
    let quota = || read("cpu.cfs_quota_us", "cpu.max").split(' ').next().unwrap().to_string();
    assert_eq!((read("memory.limit_in_bytes", "memory.max"), quota()), ("67108864".into(), "50000".into()));
    assert_eq!((read("pids.max", "pids.max"), read("cpuset.cpus", "cpuset.cpus")), ("77".into(), "0".into()));
    podman.run(&["update", "--cpus", "1.5", "limited"]).code(0);
    assert_eq!((read("memory.limit_in_bytes", "memory.max"), quota()), ("67108864".into(), "150000".into()));
    let top = || podman.ok(&["top", "limited", "args"]);
    assert!(host::until(Duration::from_secs(20), || top().contains("sleep 222")), "{}", top());
    let stats = podman.ok(&["stats", "--no-stream", "--format", "json", "limited"]);
    assert!(stats.contains("67.11MB") || stats.contains("67.1MB"), "{stats}");
    podman.ok(&["pause", "limited"]);
    assert_eq!(podman.inspect("limited", ".State.Status"), "paused");
    podman.run(&["exec", "limited", "true"]).code(255);
    podman.ok(&["unpause", "limited"]);
    assert_eq!(podman.inspect("limited", ".State.Status"), "running");
    let options = ["--rm", "--memory", "32m", "--memory-swap", "32m"];
    let run = podman
        .start_cmd("run", &options)
        .args(["dd", "if=/dev/zero", "of=/dev/null", "bs=200M", "count=1"])
        .output();
    assert_eq!(run.code, 137, "{run}");
}
