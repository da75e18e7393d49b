//! NOTIFY_SOCKET: readiness from the container to the service manager.

use std::os::unix::net::UnixDatagram;
use std::path::PathBuf;
use std::time::Duration;

use crate::support::run::Running;
use crate::support::socket::{receive, receive_within};
use crate::support::*;

/// A container with a service manager's socket.
struct Service {
    t: Test,
    manager: UnixDatagram,
    path: String,
}

impl Service {
    fn new() -> Self {
        let t = Test::new();
        let path = t.path("manager.sock");
        let manager = UnixDatagram::bind(&path).unwrap();
        Self { t, manager, path }
    }

    fn verb(&self, verb: &str) -> Cmd {
        self.t.cmd(&[verb]).args([&self.t.id]).env("NOTIFY_SOCKET", &self.path)
    }

    fn bundle(&self, verb: &str, options: &[&str]) -> Cmd {
        self.t.bundle_cmd(verb, options).env("NOTIFY_SOCKET", &self.path)
    }

    fn create(&self) {
        self.bundle("create", &["--pid-file", self.t.pid_file.to_str().unwrap()]).output().ok();
    }

    /// Says something as a process of the container would: by the path that is in there.
    #[track_caller]
    fn say(&self, text: &str) {
        let path = PathBuf::from(format!("/proc/{}/root/run/notify/notify.sock", self.t.pid()));
        UnixDatagram::unbound().unwrap().send_to(text.as_bytes(), path).unwrap();
    }

    /// READY, MAINPID, BARRIER; gives the barrier's pipe.
    #[track_caller]
    fn hears_ready(&self, main: i32) -> std::os::fd::OwnedFd {
        assert_eq!(receive(&self.manager).0.trim_end(), "READY=1");
        assert_eq!(receive(&self.manager).0.trim_end(), format!("MAINPID={main}"));
        let (text, mut fds) = receive(&self.manager);
        assert_eq!((text.trim_end(), fds.len()), ("BARRIER=1", 1));
        fds.remove(0)
    }

    #[track_caller]
    fn hears_nothing(&self) {
        let got = receive_within(&self.manager, 0);
        assert!(got.is_none(), "{got:?}");
    }
}

#[track_caller]
fn still_runs(running: &Running) {
    std::thread::sleep(Duration::from_millis(150));
    assert!(host::alive(running.pid()), "it did not wait");
}

/// [F14] [S15] `start` waits for READY=1, tells the manager with init's pid, and waits until that has read it; what
/// else the container says is not passed on.
#[test]
fn start_waits_for_ready() {
    only_davit!(); // runc takes READY=0 for being ready, too
    let mut s = Service::new();
    s.t.sh("echo $NOTIFY_SOCKET > /tmp/n; exec sleep 100");
    s.create();
    s.hears_nothing();
    let start = s.verb("start").spawn();
    s.t.wait_status("running");
    still_runs(&start);
    s.say("STATUS=not yet\nMAINPID=1");
    s.say("READY=0");
    still_runs(&start);
    s.hears_nothing();
    s.say("STATUS=up\nREADY=1\nMAINPID=1");
    let barrier = s.hears_ready(s.t.pid());
    still_runs(&start);
    drop(barrier);
    start.wait().ok();
    s.hears_nothing();
    assert_eq!(s.t.status(), "running");
    let name = std::fs::read_to_string(s.t.rootfs.join("tmp/n")).unwrap();
    assert_eq!(name, "/run/notify/notify.sock\n");
    s.t.verb(&["delete", "--force"]).ok();
    s.t.assert_clean_but_pid_file();
}

/// [F14] `start` ends when the container does, ready or not, and holds no lock meanwhile.
#[test]
fn start_ends_with_the_container() {
    let mut s = Service::new();
    s.t.sh("exec sleep 100");
    s.create();
    let start = s.verb("start").spawn();
    s.t.wait_status("running");
    still_runs(&start);
    s.t.verb(&["kill"]).code(0);
    s.t.cmd(&["kill", &s.t.id, "KILL"]).output().code(0);
    start.wait().ok();
    s.hears_nothing();
    s.t.verb(&["delete"]).ok();
    s.t.assert_clean_but_pid_file();
}

/// [F14] A message that comes just before the end counts.
#[test]
fn ready_and_gone() {
    let mut s = Service::new();
    s.t.sh("until test -e /tmp/go; do usleep 2000; done");
    s.create();
    let start = s.verb("start").spawn();
    s.t.wait_status("running");
    start.kill(rustix::process::Signal::STOP);
    s.say("READY=1");
    let pid = s.t.pid();
    s.t.file("tmp/go", "");
    s.t.wait_status("stopped");
    start.kill(rustix::process::Signal::CONT);
    drop(s.hears_ready(pid));
    start.wait().ok();
}

/// [F14] The socket lies on a read-only mount and every user of the container may write to it, in a user namespace
/// and under any umask.
#[test]
fn the_socket_in_the_container() {
    only_davit!(); // runc's foreground waits for ever for a container that is never ready, and heeds the umask
    let script = "stat -c %a /run/notify /run/notify/notify.sock; test -w $NOTIFY_SOCKET && echo writable; \
                  grep -o '/run/notify ro[a-z,]*' /proc/self/mountinfo; rm /run/notify/notify.sock; ls /run/notify";
    for user_namespace in [false, true] {
        let mut s = Service::new();
        if user_namespace {
            s.t.user_namespace();
            // The rootfs belongs to an id that the container does not have.
            std::fs::create_dir_all(s.t.rootfs.join("run/notify")).unwrap();
        }
        s.t.config.set("process.user", json!({ "uid": 1000, "gid": 1000 }));
        s.t.sh(script);
        let out = s.bundle("run", &[]).shell("umask 077; exec \"$@\"").output().code(0).stdout;
        let options = "/run/notify ro,nosuid,nodev,noexec";
        assert!(
            out.starts_with(&format!("755\n777\nwritable\n{options}")) && out.ends_with("\nnotify.sock\n"),
            "{out}"
        );
        s.t.assert_clean();
    }
}

/// [F14] A foreground `run` tells the manager while it waits; the manager goes on watching the runtime, its child.
#[test]
fn run_in_the_foreground() {
    let mut s = Service::new();
    s.t.sh("exec sleep 100");
    let run = s.bundle("run", &[]).spawn();
    s.t.wait_program();
    s.say("READY=1");
    drop(s.hears_ready(run.pid()));
    still_runs(&run);
    s.t.cmd(&["kill", &s.t.id, "KILL"]).output().code(0);
    run.wait().code(137);
    s.hears_nothing();
    s.t.assert_clean();
}

/// [F14] A detached `run` returns when the container is ready.
#[test]
fn run_detached() {
    let mut s = Service::new();
    s.t.sh("exec sleep 100");
    let run = s.bundle("run", &["--detach"]).spawn();
    s.t.wait_program();
    still_runs(&run);
    s.say("READY=1");
    drop(s.hears_ready(s.t.pid()));
    run.wait().ok();
    assert_eq!(s.t.status(), "running");
}

/// [F14] [E18] Who waits for a container that is never ready can be ended; the container goes on.
#[test]
fn the_wait_can_be_ended() {
    only_davit!();
    let mut s = Service::new();
    s.t.sh("exec sleep 100");
    let run = s.bundle("run", &["--detach"]).spawn();
    s.t.wait_program();
    still_runs(&run);
    run.kill(rustix::process::Signal::INT);
    run.wait().code(130);
    assert_eq!(s.t.status(), "running");
    s.t.verb(&["delete", "--force"]).ok();
    s.create();
    let start = s.verb("start").spawn();
    s.t.wait_status("running");
    still_runs(&start);
    start.kill(rustix::process::Signal::TERM);
    start.wait().code(143);
    assert_eq!(s.t.status(), "running");
}

/// [F14] A manager in the abstract namespace, as systemd's user instances had.
#[test]
fn abstract_manager() {
    use std::os::linux::net::SocketAddrExt;
    let mut s = Service::new();
    let name = format!("davit-test-{}", s.t.id);
    let address = std::os::unix::net::SocketAddr::from_abstract_name(&name).unwrap();
    s.manager = UnixDatagram::bind_addr(&address).unwrap();
    s.path = format!("@{name}");
    s.t.sh("exec sleep 100");
    s.create();
    let start = s.verb("start").spawn();
    s.t.wait_status("running");
    s.say("READY=1");
    drop(s.hears_ready(s.t.pid()));
    start.wait().ok();
}

/// [F14] Nobody behind NOTIFY_SOCKET: `start` and `run` say so before they do anything; `create` does not need it.
#[test]
fn no_manager() {
    only_davit!(); // runc starts the container first
    let mut s = Service::new();
    s.t.sh("true");
    s.path = s.t.path("nobody");
    let text = format!("NOTIFY_SOCKET: connect to {}: no such file or directory", s.path);
    s.bundle("run", &[]).output().fails(1, &text);
    s.t.assert_clean();
    s.create();
    s.verb("start").output().fails(1, &text);
    assert_eq!(s.t.status(), "created");
    s.t.verb(&["start"]).ok();
}

/// [F14] Without the variable, or with an empty one, there is no mount and no waiting; one that only `start` has is
/// of no use to a container that was created without.
#[test]
fn not_wanted() {
    only_davit!(); // runc's start fails where only it has the variable
    let mut t = Test::new();
    let out = t.out("echo \"<$NOTIFY_SOCKET>\"; ls /run");
    assert_eq!(out, "<>");
    assert_eq!(t.bundle_cmd("run", &[]).env("NOTIFY_SOCKET", "").output().ok(), "<>");
    let s = Service::new();
    s.t.create().ok();
    assert!(!s.t.root.join(&s.t.id).join("notify").exists());
    s.verb("start").output().ok();
    s.hears_nothing();
}

/// [F14] The mount is the last, so `/run` may be one of the container's own; a fault there names the variable.
#[test]
fn the_mount_comes_last() {
    only_davit!(); // runc's foreground waits for ever for a container that is never ready
    let mut s = Service::new();
    s.t.config.mount("/run", "tmpfs", "tmpfs", &["mode=755"]);
    s.t.sh("ls /run/notify");
    assert_eq!(s.bundle("run", &[]).output().ok(), "notify.sock");
    let mut s = Service::new();
    s.t.file("run/notify", "a file");
    s.t.sh("true");
    s.bundle("run", &[]).output().fails(1, "NOTIFY_SOCKET (/run/notify): ");
    s.t.assert_clean();
}
