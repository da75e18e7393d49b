//! `docker exec`: streams, exit codes, users, states in which it is refused, health checks, terminals.

use crate::client::{Client, Engine};
use crate::docker::{Docker, docker};
use crate::image::NAME;
use crate::support::{davit_only, host};
use std::time::Duration;

/// [callers 2, 4] exec with streams, exit code, user, directory, environment; the same cgroup and namespaces as init.
#[test]
fn exec() {
    let docker = docker!();
    docker.detach("host", &["--env", "GIVEN=1"], "sleep 1000");
    let run = docker.run(&["exec", "host", "sh", "-c", "echo out; echo err >&2; exit 3"]);
    assert_eq!((run.code, &*run.stdout, &*run.stderr), (3, "out\n", "err\n"), "{run}");
    let sh = |options: &[&str], script: &str| {
        docker.cmd(&["exec"]).args(options).args(["host", "sh", "-c", script]).output().ok()
    };
    assert_eq!(sh(&["--user", "user"], "id"), "uid=1000(user) gid=1000(user) groups=1000(user),2000(extra)");
    assert_eq!(
        sh(&["--workdir", "/tmp", "--env", "A=b"], "pwd; echo $A $GIVEN $FROM_IMAGE"),
        "/tmp\nb 1 yes"
    );
    assert_eq!(sh(&[], "cat /proc/1/cgroup | md5sum"), sh(&[], "cat /proc/self/cgroup | md5sum"));
    assert_eq!(sh(&[], "readlink /proc/self/ns/mnt"), sh(&[], "readlink /proc/1/ns/mnt"));
    assert_eq!(
        sh(&[], "grep Seccomp: /proc/self/status; grep CapEff /proc/self/status | tail -c 9"),
        "Seccomp:\t2\na80425fb"
    );
    // runc gives up where it has not all capabilities itself. Docker 20.10 knows those up to number 37.
    if davit_only() || host::capable(24) {
        let status = sh(&["--privileged"], "cat /proc/self/status");
        let own = std::fs::read_to_string("/proc/self/status").unwrap();
        let known = (1 << 38) - 1;
        assert_eq!(host::capabilities(&status, "CapEff") & known, host::capabilities(&own, "CapEff") & known);
    }
    let text = docker.place.file("in", "to exec\n");
    assert_eq!(docker.cmd(&["exec", "-i", "host", "cat"]).stdin(text.as_ref()).output().ok(), "to exec");
    assert_eq!(sh(&[], "yes 0123456789abcde | head -c 1048576").len(), 1_048_575);
    // A killed one; one in the background.
    assert_eq!(docker.run(&["exec", "host", "sh", "-c", "kill -9 $$"]).code, 137);
    docker.ok(&["exec", "--detach", "host", "sh", "-c", "echo done > /done"]);
    assert!(host::until(Duration::from_secs(20), || docker.run(&["exec", "host", "cat", "/done"]).stdout
        == "done\n"));
}

/// [callers 4] The exit codes that come from the text of exec, and the states in which there is no exec.
#[test]
fn exec_failures() {
    let docker = docker!();
    docker.detach("host", &[], "sleep 1000");
    let cases = [
        ("nonesuch", "executable file not found in $PATH"),
        ("/no/such", "no such file or directory"),
        ("/etc/not-a-program", "permission denied"),
        ("/etc", "permission denied"),
    ];
    for (program, text) in cases {
        let run = docker.run(&["exec", "host", program]);
        // Docker 20.10 gives 126 for all of them, newer ones 127 for what was not found.
        assert!(matches!(run.code, 126 | 127), "{run}");
        assert!(run.stdout.contains(text) || run.stderr.contains(text), "{run}");
        let all = format!("{}{}", run.stdout, run.stderr);
        assert!(all.contains("OCI runtime exec failed: "), "{run}");
    }
    docker.ok(&["pause", "host"]);
    docker.run(&["exec", "host", "true"]).code(1).says("is paused");
    docker.ok(&["unpause", "host"]);
    docker.ok(&["stop", "--time", "0", "host"]);
    docker.run(&["exec", "host", "true"]).code(1).says("is not running");
    docker.run(&["exec", "nobody", "true"]).code(1).says("No such container");
}

/// [callers 4] Twenty at once, each with its own exit code, and no process left by any.
#[test]
fn twenty_execs_at_once() {
    let docker = docker!();
    docker.detach("host", &[], "sleep 1000");
    let all: Vec<_> = (0..20)
        .map(|number: i32| {
            let script = format!("echo {number}; exit {number}");
            (number, docker.cmd(&["exec", "host", "sh", "-c", &script]).patience(120).spawn())
        })
        .collect();
    for (number, running) in all {
        let output = running.wait();
        assert_eq!((output.code, &*output.stdout), (number, &*format!("{number}\n")), "{output}");
    }
    assert_eq!(docker.ok(&["top", "host"]).lines().count(), 2);
}

/// [callers 4] Health checks run by exec: healthy, then not, with the output kept.
#[test]
fn health() {
    let docker = docker!();
    let options = [
        "--health-cmd",
        "test ! -e /sick && echo fine || { echo sick; exit 1; }",
        "--health-interval",
        "500ms",
    ];
    docker.detach("patient", &[&options[..], &["--health-retries", "2"]].concat(), "sleep 1000");
    docker.wait_for("patient", ".State.Health.Status", "healthy");
    docker.ok(&["exec", "patient", "touch", "/sick"]);
    docker.wait_for("patient", ".State.Health.Status", "unhealthy");
    let log = docker.inspect("patient", "json .State.Health.Log");
    assert!(log.contains("\"Output\":\"sick\\n\"") && log.contains("\"Output\":\"fine\\n\""), "{log}");
}

/// [callers 1, 2] Terminals: a tty of the client's size, its end, resizing; also for exec.
#[test]
fn terminals() {
    let docker = docker!();
    // Without a terminal of the client's: both streams are one, with the line ends of a terminal.
    let seen = docker.sh(&["-t"], "tty; echo err >&2; test -t 0 && test -t 2 && echo both");
    assert_eq!(seen, "/dev/pts/0\r\nerr\r\nboth\r");
    docker.detach("host", &[], "sleep 1000");
    // Docker 20.10 tells the size only once the program runs.
    let script = "tty; until test \"$(stty size 2>/dev/null)\" = \"$1\"; do sleep 0.05; done; echo sized; test $2 = 0 || exit $2
                  trap seen=1 WINCH; touch /ready
                  until test \"$seen\" = 1 && test \"$(stty size)\" = '20 30'; do sleep 0.05; done; echo resized; exit 7";
    docker.place.file("script.sh", script);
    let file = format!("{}:/script.sh:ro", docker.place.path("script.sh"));
    docker.detach("second", &["-v", &file], "sleep 1000");
    let run = |lines: &str| in_terminal(&docker, lines);
    let sized = |size: &str| format!("/dev/pts/0\n{size}");
    let first = format!("stty rows 33 cols 77; docker run --rm -it -v {file} {NAME} sh /script.sh '33 77' 5");
    assert_eq!(run(&first), (5, sized("sized\n")));
    let second = "stty rows 44 cols 55; docker exec -it second sh /script.sh '44 55' 6";
    assert_eq!(run(second), (6, sized("sized\n")));
    // The window changes while the program runs: the client hears of it, and so does the program.
    let third = "stty rows 44 cols 55; (until docker exec second test -e /ready; do sleep 0.1; done; stty rows 20 cols 30) </dev/tty & \
                 docker exec -it second sh /script.sh '44 55' 0";
    assert_eq!(run(third), (7, sized("sized\nresized\n")));
}

/// Runs shell lines with `docker` as the client in a terminal of its own; exit code and output without carriage returns.
fn in_terminal(docker: &Docker, lines: &str) -> (i32, String) {
    let client = docker.cmd(&[]).into_args().join(std::ffi::OsStr::new(" "));
    let script = format!("docker() {{ {} \"$@\"; }}\n{lines}\n", client.to_str().unwrap());
    let command = format!("sh {}", docker.place.file("in-terminal.sh", &script));
    let cmd = docker.place.cmd(&["script", "--quiet", "--return", "--command", &command, "/dev/null"]);
    // A standard input that never ends.
    let fifo = docker.place.path("fifo");
    let cmd = cmd.shell(&format!("test -p {fifo} || mkfifo {fifo}; exec \"$@\" 0<>{fifo}"));
    let output = cmd.env("HOME", &docker.place.path("home")).output();
    (output.code, output.stdout.replace('\r', ""))
}
