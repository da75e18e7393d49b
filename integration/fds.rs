//! Descriptors: pidfd socket, socket activation, preserved ones, standard streams in every state.

use std::io::Read;
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixListener;

use crate::support::socket::receive;
use crate::support::*;

/// The pid that a pidfd stands for, seen from here.
fn pid_of(pidfd: impl AsFd) -> i32 {
    use std::os::fd::AsRawFd;
    let info = format!("/proc/self/fdinfo/{}", pidfd.as_fd().as_raw_fd());
    host::field(&std::fs::read_to_string(info).unwrap(), "Pid").parse().unwrap()
}

/// What the runtime sent to a `--pidfd-socket`: one message with one descriptor, then the end.
#[track_caller]
fn received_pidfd(listener: &UnixListener) -> std::os::fd::OwnedFd {
    let (mut stream, _) = listener.accept().unwrap();
    let (text, mut fds) = receive(&stream);
    assert_eq!((text.as_str(), fds.len()), ("standard", 1));
    assert_eq!(stream.read(&mut [0]).unwrap(), 0, "the connection is closed");
    fds.remove(0)
}

/// [F15] [V4] `create` sends init's pidfd, by which the container can be killed; nobody keeps the connection.
#[test]
fn pidfd_of_create() {
    let t = Test::new();
    let path = t.path("pidfd.sock");
    let listener = UnixListener::bind(&path).unwrap();
    t.bundle_cmd("create", &["--pidfd-socket", &path]).output().ok();
    let pidfd = received_pidfd(&listener);
    assert_eq!(pid_of(&pidfd), t.pid());
    assert_eq!(t.status(), "created");
    rustix::process::pidfd_send_signal(&pidfd, rustix::process::Signal::KILL).unwrap();
    t.wait_status("stopped");
    t.verb(&["delete"]).ok();
    t.assert_clean();
}

/// [F15] [F3] `run` sends it before the program runs, also to a path longer than a socket's address can be, and to a
/// relative one, which starts at the bundle.
#[test]
fn pidfd_of_run() {
    let mut t = Test::new();
    let deep = t.dir.join("d".repeat(200));
    std::fs::create_dir(&deep).unwrap();
    let short = t.bundle.join("s");
    let listener = UnixListener::bind(&short).unwrap();
    t.sh("exec sleep 100");
    t.bundle_cmd("run", &["--detach", "--pidfd-socket", "s"]).output().ok();
    assert_eq!(pid_of(received_pidfd(&listener)), t.pid());
    t.verb(&["delete", "--force"]).ok();

    only_davit!(); // runc takes no long path
    std::fs::rename(&short, deep.join("s")).unwrap();
    let path = deep.join("s").to_str().unwrap().to_string();
    t.bundle_cmd("run", &["--detach", "--pidfd-socket", &path]).output().ok();
    assert_eq!(pid_of(received_pidfd(&listener)), t.pid());
}

/// [F15] Nobody listens, or the socket is of another type: said before anything is made.
#[test]
fn pidfd_socket_faults() {
    only_davit!(); // the texts
    let mut t = Test::new();
    t.sh("touch /ran");
    let path = t.path("s");
    let fails = |reason: &str| {
        for verb in ["create", "run"] {
            let text = format!("--pidfd-socket: connect to {path}: {reason}");
            t.bundle_cmd(verb, &["--pidfd-socket", &path]).output().fails(1, &text);
            assert!(!t.root.exists(), "nothing was made");
        }
    };
    fails("no such file or directory");
    drop(UnixListener::bind(&path).unwrap());
    fails("connection refused");
    std::fs::remove_file(&path).unwrap();
    let _datagrams = std::os::unix::net::UnixDatagram::bind(&path).unwrap();
    fails("protocol wrong type for socket");
    assert!(!t.rootfs.join("ran").exists());
    t.assert_clean();
}

/// [F15] A create that fails later leaves a pidfd of a process that is gone, and nothing else.
#[test]
fn pidfd_of_a_failed_create() {
    let mut t = Test::new();
    let path = t.path("s");
    let listener = UnixListener::bind(&path).unwrap();
    t.args(&["/nowhere"]);
    t.bundle_cmd("create", &["--pidfd-socket", &path]).output().code(1);
    assert_eq!(pid_of(received_pidfd(&listener)), -1);
    t.assert_clean();
}

const OPEN_TWO: &str = "echo three >/dev/shm/$$; echo four >/dev/shm/$$.4; exec 3</dev/shm/$$ 4</dev/shm/$$.4 \
                        5</dev/null; rm /dev/shm/$$ /dev/shm/$$.4; ";

/// [F13] LISTEN_FDS come first, then those of --preserve-fds; the container's variables are its own view, whatever
/// config.json says.
#[test]
fn listen_fds() {
    let mut t = Test::new();
    t.config.push("process.env", "LISTEN_PID=77").push("process.env", "LISTEN_FDS=9");
    t.sh("echo $LISTEN_FDS $LISTEN_PID; cat <&3; cat <&4; ls /proc/self/fd | tr '\\n' ' '");
    let go = format!("{OPEN_TWO} LISTEN_PID=$$ LISTEN_FDS=1 exec \"$@\"");
    let out = t.bundle_cmd("run", &["--preserve-fds", "1"]).shell(&go).output().ok();
    // ls holds one descriptor for the directory it reads.
    assert_eq!(out, "1 1\nthree\nfour\n0 1 2 3 4 5 ");
}

/// [F13] Created first: the descriptors and variables wait with init.
#[test]
fn listen_fds_of_create() {
    let mut t = Test::new();
    t.sh("{ echo $LISTEN_FDS $LISTEN_PID; cat <&3; cat <&4; } > /out; ls /proc/self/fd >> /out");
    let go = format!("{OPEN_TWO} LISTEN_PID=$$ LISTEN_FDS=2 exec \"$@\"");
    t.bundle_cmd("create", &[]).shell(&go).output().ok();
    t.verb(&["start"]).ok();
    t.wait_status("stopped");
    let out = std::fs::read_to_string(t.rootfs.join("out")).unwrap();
    assert_eq!(out, "2 1\nthree\nfour\n0\n1\n2\n3\n4\n5\n");
}

/// [F13] LISTEN_FDNAMES are passed on, which no other runtime does; in a shared pid namespace LISTEN_PID is the
/// program's pid there; without LISTEN_PID the descriptors are taken, too.
#[test]
fn listen_fds_beyond_the_others() {
    only_davit!();
    let mut t = Test::new();
    t.config.leave("pid");
    t.sh("echo $LISTEN_FDS $LISTEN_FDNAMES; test $LISTEN_PID = $$ && echo own; cat <&3; cat <&4");
    let go = format!("{OPEN_TWO} LISTEN_FDS=2 LISTEN_FDNAMES=a:b exec \"$@\"");
    let out = t.bundle_cmd("run", &[]).shell(&go).output().ok();
    assert_eq!(out, "2 a:b\nown\nthree\nfour");
}

/// [F13] Sockets for another process are not passed on, nor are their variables.
#[test]
fn listen_fds_of_others() {
    let mut t = Test::new();
    t.sh("echo \"<$LISTEN_FDS$LISTEN_PID$LISTEN_FDNAMES>\"; ls /proc/self/fd | tr '\\n' ' '");
    for pid in ["1", "x", "-1"] {
        let go = format!("{OPEN_TWO} LISTEN_PID={pid} LISTEN_FDS=2 LISTEN_FDNAMES=a:b exec \"$@\"");
        assert_eq!(t.bundle_cmd("run", &[]).shell(&go).output().ok(), "<>\n0 1 2 3 ", "{pid}");
    }
}

/// [F13] [F12] [V8] What is not open, or no number, is an error that names it, before anything is made; the log
/// file is no descriptor of the caller's.
#[test]
fn descriptors_that_are_not_there() {
    only_davit!(); // the texts
    let mut t = Test::new();
    t.sh("true");
    let fails = |go: &str, options: &[&str], text: &str| {
        t.bundle_cmd("run", options).shell(go).output().fails(1, text);
        assert!(!t.root.exists(), "nothing was made");
    };
    let listen = "exec 3</dev/null; LISTEN_PID=$$ LISTEN_FDS=2 exec \"$@\"";
    fails(listen, &[], "LISTEN_FDS=2: file descriptor 4 is not open");
    let both = "exec 3</dev/null; LISTEN_PID=$$ LISTEN_FDS=1 exec \"$@\"";
    fails(both, &["--preserve-fds", "2"], "--preserve-fds 2: file descriptor 4 is not open");
    fails("exec \"$@\"", &["--preserve-fds", "1"], "--preserve-fds 1: file descriptor 3 is not open");
    fails("LISTEN_PID=$$ LISTEN_FDS=two exec \"$@\"", &[], "LISTEN_FDS: \"two\" is not a number");
    fails("LISTEN_PID=$$ LISTEN_FDS=-1 exec \"$@\"", &[], "LISTEN_FDS: \"-1\" is not a number");
    fails("exec \"$@\"", &["--preserve-fds", "2147483647"], "--preserve-fds: too large a number");

    let log = t.path("log");
    let bundle = t.bundle.to_str().unwrap();
    let args = ["--log", &log, "run", "--bundle", bundle, "--preserve-fds", "1"];
    t.cmd(&args).args([&t.id]).output().fails(1, "--preserve-fds 1: file descriptor 3 is not open");
    t.assert_clean();
}

/// [F11] Whatever the caller left open, in whatever way the container is made, the program has 0, 1, 2.
#[test]
fn only_the_streams() {
    let script = "exec 3</ 7</etc 9</dev/null; exec \"$@\"";
    for user_namespace in [false, true] {
        let mut t = Test::new();
        if user_namespace {
            t.user_namespace();
        }
        t.sh("(ls /proc/1/fd) > /tmp/fds; true");
        t.bundle_cmd("run", &["--detach"]).shell(script).output().ok();
        t.wait_status("stopped");
        t.verb(&["delete"]).ok();
        let list = std::fs::read_to_string(t.rootfs.join("tmp/fds")).unwrap();
        assert_eq!(list, "0\n1\n2\n");

        t.bundle_cmd("create", &[]).shell(script).output().ok();
        let pid = t.pid();
        let held = || -> Vec<String> {
            let fds = host::list(format!("/proc/{pid}/fd"));
            let fds = fds.iter().filter(|fd| fd.parse::<i32>().unwrap() > 2);
            // One that is closed meanwhile is no link any more.
            let link = |fd| std::fs::read_link(format!("/proc/{pid}/fd/{fd}")).ok();
            fds.filter_map(link).map(|link| link.display().to_string()).collect()
        };
        // `create` returns when init says that it is ready; that closes its own then.
        let only_start = || matches!(held().as_slice(), [one] if one.starts_with("socket:"));
        if davit_only() {
            host::wait_until("an init that holds the start socket alone", only_start);
        }
    }
}

/// [F7] In the foreground the program has the caller's own streams: a pipe's other end sees each byte when it is
/// written, input reaches the program, and the pipes are the user's (P10).
#[test]
fn foreground_streams_are_inherited() {
    let mut t = Test::new();
    t.config.set("process.user", json!({ "uid": 1000, "gid": 1000 }));
    t.sh("read line; echo out $line; echo err >&2; stat -L -c %u /proc/self/fd/0 /proc/self/fd/1; \
          echo again > /dev/stdout");
    let cmd = t.bundle_cmd("run", &[]).shell("echo in | \"$@\" 2>/dev/null | /bin/cat");
    assert_eq!(cmd.output().ok(), "out in\n1000\n1000\nagain");
    t.assert_clean();
}

/// [F17] Every combination of closed streams: the program finds /dev/null in the gaps, the others as they were, even
/// when the runtime opens a log file.
#[test]
fn closed_streams_in_every_combination() {
    only_davit!(); // runc 1.1 lets its own descriptors land there
    for detach in [false, true] {
        for closed in 1..8u32 {
            let mut t = Test::new();
            t.sh("(for n in 0 1 2; do readlink /proc/1/fd/$n; done) > /tmp/links; (ls /proc/1/fd) > /tmp/fds; true");
            let bundle = t.bundle.to_str().unwrap().to_string();
            let log = t.path("log");
            let mut args = vec!["--log", &log, "run", "--bundle", &bundle];
            args.extend(detach.then_some("--detach"));
            t.write();
            let mut go = String::from("exec \"$@\" <\"$0.in\" >\"$0.out\" 2>\"$0.err\"");
            for (bit, text) in [" <&-", " >&-", " 2>&-"].iter().enumerate() {
                if closed & 1 << bit != 0 {
                    go.push_str(text);
                }
            }
            let go = go.replace("$0", &t.path("stream"));
            std::fs::write(t.path("stream.in"), "").unwrap();
            t.cmd(&args).args([&t.id]).shell(&go).output().code(0);
            if detach {
                t.wait_status("stopped");
                t.verb(&["delete"]).ok();
            }
            let links = std::fs::read_to_string(t.rootfs.join("tmp/links")).unwrap();
            let wanted: String = ["in", "out", "err"]
                .iter()
                .enumerate()
                .map(|(bit, name)| match closed & 1 << bit {
                    0 => t.path(&format!("stream.{name}\n")),
                    _ => "/dev/null\n".to_string(),
                })
                .collect();
            assert_eq!(links, wanted, "closed {closed:03b}");
            assert_eq!(std::fs::read_to_string(t.rootfs.join("tmp/fds")).unwrap(), "0\n1\n2\n");
            t.assert_clean();
        }
    }
}

/// [F17] Closed streams at `create`, with the program's own view of stdout.
#[test]
fn created_with_closed_streams() {
    only_davit!();
    let mut t = Test::new();
    t.sh("exec sleep 100");
    t.bundle_cmd("create", &[]).shell("exec \"$@\" <&- >&- 2>&-").output().code(0);
    t.verb(&["start"]).ok();
    for fd in 0..3 {
        let link = std::fs::read_link(format!("/proc/{}/fd/{fd}", t.pid())).unwrap();
        assert_eq!(link.to_str().unwrap(), "/dev/null", "fd {fd}");
    }
}

/// [F16] Each stream that was the host's /dev/null is the container's own; the host's keeps its owner.
#[test]
fn null_streams_are_the_containers_own() {
    let owner = std::fs::metadata("/dev/null").unwrap().uid();
    let mut t = Test::new();
    t.config.set("process.user", json!({ "uid": 1000, "gid": 1000 }));
    t.sh("exec sleep 100");
    t.bundle_cmd("run", &["--detach"]).shell("exec \"$@\" </dev/null >/dev/null 2>/dev/null").output().ok();
    let root = format!("/proc/{}", t.pid());
    let own = std::fs::metadata(format!("{root}/root/dev/null")).unwrap();
    for fd in 0..3 {
        let file = std::fs::metadata(format!("{root}/fd/{fd}")).unwrap();
        assert_eq!((file.dev(), file.ino()), (own.dev(), own.ino()), "fd {fd}");
    }
    assert_eq!(std::fs::metadata("/dev/null").unwrap().uid(), owner);
}

/// [F7] A reader that has gone away: the runtime waits for the program all the same and hands its exit code on.
#[test]
fn closed_pipes() {
    let mut t = Test::new();
    t.sh("until test -e /tmp/go; do usleep 2000; done; echo lost; echo lost >&2; exit 3");
    let code = t.path("code");
    let script = format!("{{ \"$@\"; echo $? > {code}; }} 2>&1 | true");
    let run = t.bundle_cmd("run", &[]).shell(&script).spawn();
    t.wait_program();
    t.file("tmp/go", "");
    run.wait().ok();
    host::wait_until("the exit code", || std::fs::read_to_string(&code).is_ok_and(|code| code == "3\n"));
    t.assert_clean();
}

/// A fifo in the test's directory that is full; it lasts as long as the file.
fn full_fifo(path: &str) -> std::fs::File {
    use std::io::Write;
    use std::os::unix::fs::OpenOptionsExt;
    rustix::fs::mknodat(
        rustix::fs::CWD,
        path,
        rustix::fs::FileType::Fifo,
        rustix::fs::Mode::from_raw_mode(0o600),
        0,
    )
    .unwrap();
    let flags = i32::try_from(rustix::fs::OFlags::NONBLOCK.bits()).unwrap();
    let mut open = std::fs::OpenOptions::new();
    let mut fifo = open.read(true).write(true).custom_flags(flags).open(path).unwrap();
    while fifo.write(&[b'x'; 4096]).is_ok() {}
    while fifo.write(b"x").is_ok() {}
    fifo
}

/// [F7] Full pipes that nobody reads: a container whose program is stuck in one can be deleted, and then the
/// foreground `run` ends, too; a failing `run` ends though its message can't be told.
#[test]
fn full_pipes() {
    only_davit!(); // runc copies, which ends in other ways
    let mut t = Test::new();
    let path = t.path("fifo");
    let _full = full_fifo(&path);
    t.sh("echo stuck; exit 3");
    let run = t.bundle_cmd("run", &[]).shell(&format!("exec \"$@\" >{path}")).spawn();
    t.wait_program();
    t.cmd(&["kill", &t.id, "KILL"]).output().code(0);
    run.wait().code(137);
    t.assert_clean();

    t.args(&["/nowhere"]);
    t.bundle_cmd("run", &[]).shell(&format!("exec \"$@\" 2>{path}")).output().code(1);
    t.assert_clean();
}

/// [V14] `delete` takes a stopped container away whole, once; what lives it leaves alone.
#[test]
fn delete_takes_everything() {
    let mut t = Test::new();
    t.sh("exec sleep 100");
    t.create().ok();
    t.verb(&["start"]).ok();
    t.verb(&["delete"]).code(1);
    assert_eq!(t.status(), "running");
    t.cmd(&["kill", &t.id, "KILL"]).output().code(0);
    t.wait_status("stopped");
    t.verb(&["delete"]).ok();
    t.assert_clean_but_pid_file();
    t.verb(&["delete"]).code(1);
}
