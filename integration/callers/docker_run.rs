//! `docker run` and its kin: streams, exit codes and the texts behind them, logs, signals.

use crate::client::{Client, Engine};
use crate::docker::{Docker, docker};
use crate::image::NAME;
use crate::place::{Place, installed};
use crate::support::{Cmd, host, json, need, runtime};
use rustix::process::Signal;

/// [callers 2, 4] create, start, the exit by SIGCHLD, delete; stdout and stderr apart, the exit code of the program.
#[test]
fn runs_with_streams_and_exit_code() {
    let docker = docker!();
    let run = docker.run(&["run", "--rm", NAME, "sh", "-c", "echo out; echo err >&2; exit 3"]);
    assert_eq!((run.code, &*run.stdout, &*run.stderr), (3, "out\n", "err\n"), "{run}");
    assert_eq!(docker.sh(&[], "echo $$; echo $FROM_IMAGE; hostname | wc -c"), "1\nyes\n13");
    let killed = docker.run(&["run", "--rm", NAME, "sh", "-c", "kill -9 $$; sh -c 'kill -9 $$'; exit $?"]);
    assert_eq!(killed.code, 137, "{killed}");
    // What stdin holds, and its end, reach the program.
    let text = docker.place.file("in", "one\ntwo\n");
    let run = docker.cmd(&["run", "--rm", "-i", NAME, "cat"]).stdin(text.as_ref()).output();
    assert_eq!(run.ok(), "one\ntwo");
    // A megabyte through the pipes loses nothing.
    assert_eq!(docker.sh(&[], "yes 0123456789abcde | head -c 1048576").len(), 1_048_575);
    assert_eq!(docker.ok(&["ps", "--all", "--quiet"]), "");
}

/// [callers 4] Docker reads its exit code out of the runtime's text: 127 not found, 126 not executable, 128 the rest.
#[test]
fn exit_codes_from_the_runtimes_texts() {
    let docker = docker!();
    let cases: &[(&[&str], i32, &str)] = &[
        (&["nonesuch"], 127, "exec: \"nonesuch\": executable file not found in $PATH"),
        (&["/no/such"], 127, "exec: \"/no/such\": stat /no/such: no such file or directory"),
        (&["/etc/not-a-program"], 126, "exec: \"/etc/not-a-program\": permission denied"),
        (&["/etc"], 126, "exec: \"/etc\": "),
        // Docker 20.10 does not know this text; newer ones give 127.
        (&["/etc/passwd/x"], 125, "exec: \"/etc/passwd/x\": stat /etc/passwd/x: not a directory"),
    ];
    for (args, code, text) in cases {
        let run = docker.cmd(&["run", "--rm", NAME]).args(*args).output();
        assert!(run.code == *code || (*code == 125 && run.code == 127), "{run}");
        assert_eq!(run.stdout, "", "{run}");
        run.says(text);
        run.says("OCI runtime create failed: ");
    }
    // A failed create leaves a container that can be removed, and one with the same name can be made then.
    docker.run(&["run", "--name", "again", NAME, "nonesuch"]).code(127);
    assert_eq!(docker.inspect("again", ".State.ExitCode"), "127");
    docker.ok(&["rm", "again"]);
    assert_eq!(docker.ok(&["run", "--name", "again", NAME, "echo", "up"]), "up");
}

/// [callers 4] `docker info` reads `--version`; the wrapper of `runtimeArgs` puts options before those of the shim: the
/// last one wins.
#[test]
fn asks_for_the_version_and_wraps_the_runtime() {
    need!(installed("dockerd"), "dockerd is not installed");
    let place = Place::new();
    let runtimes = json!({
        "davit": { "path": "davit" },
        "wrapped": { "path": runtime(), "runtimeArgs": ["--debug", "--log-format=text"] },
        "missing": { "path": "/no/such/runtime" }
    });
    let config = place.file("daemon.json", &json!({ "runtimes": runtimes }).to_string());
    let docker = Docker::configured(place, &config, &[], &[]);
    let info = docker.run(&["info", "--format", "{{.DefaultRuntime}} {{.RuncCommit.ID}}"]).stdout;
    let version = Cmd::new(&docker.place.dir, [runtime().to_str().unwrap(), "--version"]).output().ok();
    let commit = version.lines().find_map(|line| line.strip_prefix("commit: ")).unwrap_or_default();
    assert_eq!(info.trim_end(), format!("davit {commit}"), "{version}");
    assert_eq!(docker.sh(&["--runtime", "wrapped"], "echo wrapped"), "wrapped");
    // The wrapper's `--log-format=text` comes first and the shim's `--log-format json` later.
    let run = docker.run(&["run", "--rm", "--runtime", "wrapped", NAME, "nonesuch"]).code(127);
    run.says("executable file not found in $PATH");
    let run = docker.run(&["run", "--rm", "--runtime", "missing", NAME, "true"]);
    assert!(matches!(run.code, 125..=127), "{run}");
}

/// [callers 4] Logs of a detached container, also while it runs, and after its end.
#[test]
fn logs() {
    let docker = docker!();
    docker.detach(
        "talker",
        &[],
        "echo one; echo two >&2; while ! test -e /stop; do sleep 0.1; done; echo end",
    );
    docker.wait_log("talker", "one");
    docker.wait_log("talker", "two");
    let follow = docker.spawn(&["logs", "--follow", "talker"]);
    docker.ok(&["cp", &docker.place.file("stop", ""), "talker:/stop"]);
    let output = follow.wait();
    assert_eq!((&*output.stdout, &*output.stderr), ("one\nend\n", "two\n"), "{output}");
    assert_eq!(docker.ok(&["wait", "talker"]), "0");
    assert_eq!(docker.run(&["logs", "--tail", "1", "talker"]).stdout, "end\n");
}

/// [callers 2, 4] kill by name and number, stop with and without a handler, the stop signal of one's own.
#[test]
fn signals_and_stop() {
    let docker = docker!();
    let handler =
        "trap 'echo usr1' USR1; trap 'echo term; exit 7' TERM; echo ready; while :; do sleep 0.05; done";
    docker.detach("handler", &[], handler);
    docker.wait_log("handler", "ready");
    docker.ok(&["kill", "--signal", "USR1", "handler"]);
    docker.wait_log("handler", "usr1");
    docker.ok(&["stop", "handler"]);
    assert_eq!(docker.inspect("handler", ".State.ExitCode"), "7");
    docker.wait_log("handler", "term");

    // Process 1 without a handler: SIGTERM does nothing, SIGKILL follows.
    docker.detach("deaf", &[], "while :; do sleep 1; done");
    docker.ok(&["stop", "--time", "1", "deaf"]);
    assert_eq!(docker.inspect("deaf", ".State.ExitCode"), "137");

    docker.detach(
        "own",
        &["--stop-signal", "INT"],
        "trap 'exit 9' INT; echo ready; while :; do sleep 0.05; done",
    );
    docker.wait_log("own", "ready");
    docker.ok(&["stop", "own"]);
    assert_eq!(docker.inspect("own", ".State.ExitCode"), "9");

    docker.detach("killed", &[], "sleep 1000");
    docker.ok(&["kill", "killed"]);
    assert_eq!(docker.ok(&["wait", "killed"]), "137");
    // What has ended cannot be killed, and that is said in a way that Docker understands.
    let again = docker.run(&["kill", "killed"]).code(1);
    again.says("is not running");
}

/// [callers 4] A signal to the client in the foreground reaches the program, and its exit code comes back.
#[test]
fn signals_to_the_foreground_client() {
    let docker = docker!();
    let script = "trap 'echo int; exit 5' INT; echo ready; while :; do sleep 0.05; done";
    let client = docker.spawn(&["run", "--name", "front", NAME, "sh", "-c", script]);
    assert!(host::until(std::time::Duration::from_secs(20), || client.stdout().contains("ready")));
    client.kill(Signal::INT);
    let output = client.wait();
    assert_eq!((output.code, &*output.stdout), (5, "ready\nint\n"), "{output}");
}

/// [callers 4] The host's namespaces, another container's, a static init, ulimits and sysctls.
#[test]
fn namespaces_and_init() {
    let docker = docker!();
    docker.detach("first", &["--ipc", "shareable", "--hostname", "alpha"], "sleep 1000");
    let same = |kind: &str, options: &[&str]| {
        let theirs = docker.sh(options, &format!("readlink /proc/self/ns/{kind}"));
        let pid = docker.inspect("first", ".State.Pid");
        let first = std::fs::read_link(format!("/proc/{pid}/ns/{kind}")).unwrap();
        let host = std::fs::read_link(format!("/proc/self/ns/{kind}")).unwrap();
        (theirs == first.to_str().unwrap(), theirs == host.to_str().unwrap())
    };
    for (kind, flag) in [("net", "--network"), ("ipc", "--ipc"), ("pid", "--pid")] {
        assert_eq!(same(kind, &[]), (false, false), "{kind}");
        assert_eq!(same(kind, &[flag, "container:first"]), (true, false), "{kind}");
        assert_eq!(same(kind, &[flag, "host"]), (false, true), "{kind}");
    }
    assert_eq!(same("uts", &["--uts", "host"]), (false, true));
    let seen = docker.sh(&["--pid", "container:first"], "ps -o args | grep -c '[s]leep 100'");
    assert_eq!(seen, "1");
    assert_eq!(
        docker.sh(&["--init"], "cat /proc/1/comm; echo $$ | grep -vx 1 >/dev/null && echo child"),
        "docker-init\nchild"
    );
    assert_eq!(docker.sh(&["--ulimit", "nofile=77:88"], "ulimit -n; ulimit -Hn"), "77\n88");
    assert_eq!(docker.sh(&["--sysctl", "net.ipv4.ip_forward=1"], "cat /proc/sys/net/ipv4/ip_forward"), "1");
    assert_eq!(docker.sh(&["--shm-size", "2m"], "df -k /dev/shm | tail -1 | awk '{print $2}'"), "2048");
    assert_eq!(docker.sh(&["--add-host", "name:1.2.3.4"], "grep -c 1.2.3.4.*name /etc/hosts"), "1");
}

/// [callers 2] Twenty containers at once, each with its own exit code.
#[test]
fn twenty_at_once() {
    let docker = docker!();
    let all: Vec<_> = (0..20)
        .map(|number| {
            let script = format!("echo {number}; exit {number}");
            docker.cmd(&["run", "--rm", NAME, "sh", "-c", &script]).patience(120).spawn()
        })
        .collect();
    for (number, running) in all.into_iter().enumerate() {
        let output = running.wait();
        let expected = (i32::try_from(number).unwrap(), format!("{number}\n"), String::new());
        assert_eq!((output.code, output.stdout.clone(), output.stderr.clone()), expected, "{output}");
    }
    assert_eq!(docker.ok(&["ps", "--all", "--quiet"]), "");
}
