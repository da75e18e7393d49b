//! `exec` and descriptors: what is passed on, what is not, streams in every state.

use crate::support::*;
use std::os::fd::AsRawFd;
use std::os::unix::fs::MetadataExt;

const LIST: &str =
    "for n in 0 1 2 3 4 5 6 7 8 9 10; do [ -e /proc/self/fd/$n ] && echo -n \"$n \"; done; true";

/// [F11] [R9] Nothing but the three streams, whatever the caller leaves open.
#[test]
fn nothing_leaks() {
    let mut t = Test::new();
    t.sleeper();
    let cmd = t.exec_cmd(&[], &["sh", "-c", LIST]).shell("exec 3</ 7</etc 9</dev/null; exec \"$@\"");
    assert_eq!(cmd.output().ok(), "0 1 2 ");
}

/// [F12] [V39]
#[test]
fn preserved_ones() {
    let mut t = Test::new();
    t.sleeper();
    let open = "echo three >/tmp/davit-three-$$; exec 3</tmp/davit-three-$$ 4</ 5</; rm /tmp/davit-three-$$; exec \"$@\"";
    let script = format!("cat <&3; {LIST}");
    let cmd = t.exec_cmd(&["--preserve-fds", "1"], &["sh", "-c", &script]).shell(open);
    assert_eq!(cmd.output().ok(), "three\n0 1 2 3 ");
    only_davit!();
    let cmd = t.exec_cmd(&["--preserve-fds", "2"], &["true"]).shell("exec 3</dev/null 4<&-; exec \"$@\"");
    cmd.output().fails(255, "--preserve-fds 2: file descriptor 4 is not open");
    for many in ["2147483647", "4294967295"] {
        t.exec(&["--preserve-fds", many], "true").fails(255, "--preserve-fds: too large a number");
    }
}

/// [F17] Closed streams are /dev/null in the container, and no other descriptor takes their place.
#[test]
fn closed_streams() {
    let mut t = Test::new();
    t.sleeper();
    for (closed, numbers) in [("<&-", "0"), (">&-", "1"), ("2>&-", "2"), ("<&- >&- 2>&-", "0 1 2")] {
        let script =
            format!("for n in {numbers}; do [ /proc/$$/fd/$n -ef /dev/null ] || exit 1; done; exit 5");
        let cmd = t.exec_cmd(&[], &["sh", "-c", &script]).shell(&format!("exec \"$@\" {closed}"));
        cmd.output().code(5);
    }
}

/// [F16] [R8] /dev/null as a stream is the container's own.
#[test]
fn null_is_the_containers() {
    let mut t = Test::new();
    t.sleeper();
    let script = "stat -L -c %d:%i /proc/self/fd/0 /dev/null";
    let seen = t.exec(&[], script).ok();
    let lines: Vec<_> = seen.lines().collect();
    assert_eq!(lines[0], lines[1]);
}

/// [P10] A stream belongs to the user, who can open it again by name.
#[test]
fn streams_belong_to_the_user() {
    let mut t = Test::new();
    t.sleeper();
    let (reader, writer) = std::io::pipe().unwrap();
    let cmd = t.exec_cmd(&["-u", "1234"], &["sh", "-c", "echo again >/proc/self/fd/1"]);
    let target = format!("/proc/{}/fd/{}", std::process::id(), writer.as_raw_fd());
    cmd.shell(&format!("exec \"$@\" >{target}")).output().code(0);
    drop(writer);
    assert_eq!(std::io::read_to_string(reader).unwrap(), "again\n");
}

/// [reliability R14] A full pipe keeps the program, not the runtime's other work: a detached exec returns, and a signal
/// ends one in the foreground.
#[test]
fn a_full_pipe() {
    let mut t = Test::new();
    t.sleeper();
    let (reader, writer) = std::io::pipe().unwrap();
    let target = format!("/proc/{}/fd/{}", std::process::id(), writer.as_raw_fd());
    let flood = ["sh", "-c", "yes | head -c 1000000"];
    t.exec_cmd(&["-d"], &flood).shell(&format!("exec \"$@\" >{target}")).output().code(0);
    let running = t.exec_cmd(&[], &flood).shell(&format!("exec \"$@\" >{target}")).spawn();
    std::thread::sleep(std::time::Duration::from_millis(200));
    running.kill(rustix::process::Signal::TERM);
    running.wait().code(143);
    drop((reader, writer));
}

/// [F11] The log file, the state directory and the sockets of the runtime stay outside.
#[test]
fn the_runtimes_own_stay_outside() {
    only_davit!();
    let mut t = Test::new();
    t.sleeper();
    let (log, listener) = (t.path("log"), t.path("pidfd.sock"));
    let _socket = std::os::unix::net::UnixListener::bind(&listener).unwrap();
    let front = ["--log", &log, "--debug", "exec", "--pidfd-socket", &listener, &t.id, "sh", "-c", LIST];
    assert_eq!(t.rt(&front).code(0).stdout, "0 1 2 ");
    assert_eq!(std::fs::metadata(&log).unwrap().mode() & 0o777, 0o644);
}
