//! A container's own terminal, sent to `--console-socket`.

use crate::support::terminal::{ConsoleSocket, Screen, with_terminal};
use crate::support::user::User;
use crate::support::*;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram, UnixListener};
use std::path::Path;

/// `run --detach`; its terminal.
#[track_caller]
fn detach(t: &Test) -> Screen {
    let socket = ConsoleSocket::bind(t.path("sock"));
    t.bundle_cmd("run", &["--detach", "--console-socket", &t.path("sock")]).output().ok();
    socket.accept()
}

/// What the script of a detached container says on its terminal.
#[track_caller]
fn said(t: &Test) -> String {
    detach(t).until_closed().replace("\r\n", "\n")
}

/// What a terminal is, for whoever is in it.
const SHOW: &str =
    "tty; stat -L -c '%u %a %t:%T' /dev/console /proc/self/fd/0; echo $(cut -d' ' -f6,8 /proc/1/stat)";

/// [F1] [F2] [P3] [V3] [S9] the streams are a terminal of the container's own devpts, the user's, and the controlling one.
#[test]
fn a_created_container_sends_its_terminal() {
    let mut t = with_terminal(SHOW);
    t.config.set("process.user", json!({ "uid": 1000, "gid": 1000 }));
    let socket = ConsoleSocket::bind(t.path("sock"));
    t.bundle_cmd("create", &["--console-socket", &t.path("sock")]).output().ok();
    // It has been sent when `create` returns.
    let mut screen = socket.accept();
    assert_eq!(t.status(), "created");
    t.verb(&["start"]).ok();
    let said = screen.until_closed().replace("\r\n", "\n");
    // Session 1, and the terminal's foreground group.
    assert_eq!(said, "/dev/pts/0\n1000 620 88:0\n1000 620 88:0\n1 1\n");
}

/// [F1] [F2] `run --detach`; what is typed is read, and echoed.
#[test]
fn a_terminal_is_typed_in() {
    let t = with_terminal("read line; echo got $line; exit 0");
    let mut screen = detach(&t);
    screen.type_in("a word\n");
    screen.expect("a word\r\n");
    screen.expect("got a word\r\n");
}

/// [F1] Ctrl-C and Ctrl-Z are signals, by a shell with job control.
#[test]
fn a_terminal_has_job_control() {
    let mut t = with_terminal("");
    t.args(&["/bin/sh", "-i"]);
    let mut screen = detach(&t);
    screen.expect("# ");
    screen.type_in("sleep 1000\n");
    screen.expect("sleep 1000");
    // Once it is in the foreground.
    let pid = t.pid();
    let in_front = || host::stat_field(pid, 8) != host::stat_field(pid, 5);
    host::wait_until("sleep in the foreground", in_front);
    screen.type_in("\x1a");
    screen.expect("Stopped");
    screen.type_in("fg\n");
    host::wait_until("sleep in the foreground", in_front);
    screen.type_in("\x03");
    screen.type_in("echo code $?\n");
    screen.expect("code 130");
    screen.type_in("exit\n");
    screen.until_closed();
}

/// [F8] [P3] the size is there before the program is; one that is half 0 is none.
#[test]
fn the_console_has_its_size() {
    let mut t = with_terminal("busybox stty size");
    t.config.set("process.consoleSize", json!({ "height": 11, "width": 111 }));
    assert_eq!(said(&t), "11 111\n");
    let mut t = with_terminal("busybox stty -a | head -n 1");
    t.config.set("process.consoleSize", json!({ "height": 11, "width": 0 }));
    let said = said(&t);
    // It names a size that there is.
    assert!(said.contains("speed") && !said.contains("rows"), "{said}");
    let mut t = Test::new();
    t.config.set("process.consoleSize", json!({ "height": 70000, "width": 10 }));
    assert_eq!(t.out("tty; true"), "not a tty");
    only_davit!(); // runc cuts the number
    t.config.set("process.terminal", true);
    t.run().fails(1, "process.consoleSize.height: 70000 is not 0 to 65535");
}

/// [F9] who takes the terminal gets it as the kernel makes it.
#[test]
fn newlines_are_the_receivers_matter() {
    assert_eq!(detach(&with_terminal("echo a; echo b")).until_closed(), "a\r\nb\r\n");
}

/// [R13] /dev/console is there on a read-only root, with a /dev of its own or the image's.
#[test]
fn a_console_on_a_read_only_root() {
    let show = "[ /dev/console -ef /dev/pts/0 ] && echo same; echo text > /dev/console; : > /file";
    let mut t = with_terminal(show);
    t.config.set("root.readonly", true);
    let text = said(&t);
    assert!(text.starts_with("same\ntext\n") && text.contains("Read-only file system"), "{text}");
    let mut t = with_terminal(show);
    t.config.set("root.readonly", true).unmount("/dev");
    t.config.mount("/dev/pts", "devpts", "devpts", &["newinstance"]);
    assert!(said(&t).starts_with("same\ntext\n"));
    // A /dev that is read-only itself.
    let mut t = with_terminal(show);
    t.config.set("root.readonly", true).unmount("/dev");
    t.config.0["mounts"].as_array_mut().unwrap().insert(
        0,
        json!({ "destination": "/dev", "type": "tmpfs", "source": "tmpfs", "options": ["ro", "mode=755"] }),
    );
    t.config.mount("/dev/pts", "devpts", "devpts", &["newinstance"]);
    assert!(said(&t).starts_with("same\ntext\n"));
}

/// [F10] [F11] neither the waiting init nor the program has the master.
#[test]
fn the_master_is_not_inherited() {
    let t = with_terminal("ls -1 /proc/1/fd; true");
    let socket = ConsoleSocket::bind(t.path("sock"));
    t.bundle_cmd("create", &["--console-socket", &t.path("sock")]).output().ok();
    let mut screen = socket.accept();
    for fd in host::list(format!("/proc/{}/fd", t.pid())) {
        let target = std::fs::read_link(format!("/proc/{}/fd/{fd}", t.pid())).unwrap();
        assert!(!target.ends_with("ptmx"), "{fd}: {}", target.display());
    }
    t.verb(&["start"]).ok();
    assert_eq!(screen.until_closed(), "0\r\n1\r\n2\r\n");
}

/// [F3] a socket far down, one named from the bundle, one in no directory.
#[test]
fn sockets_of_every_name() {
    let t = with_terminal("echo near");
    let socket = ConsoleSocket::bind(t.bundle.join("sock"));
    t.bundle_cmd("run", &["--detach", "--console-socket", "sock"]).cwd(Path::new("/")).output().ok();
    assert_eq!(socket.accept().until_closed(), "near\r\n");

    let t = with_terminal("echo nowhere");
    let address = SocketAddr::from_abstract_name(t.path("sock")).unwrap();
    let listener = UnixListener::bind_addr(&address).unwrap();
    t.bundle_cmd("run", &["--detach", "--console-socket", &format!("@{}", t.path("sock"))]).output().ok();
    let (connection, _) = listener.accept().unwrap();
    let (name, fds) = socket::receive(&connection);
    assert!(!name.is_empty() && fds.len() == 1);

    only_davit!(); // runc before 1.2
    let t = with_terminal("echo far");
    let deep = t.dir.join("d".repeat(100)).join("e".repeat(100));
    std::fs::create_dir_all(&deep).unwrap();
    let socket = ConsoleSocket::bind(t.path("sock"));
    std::fs::rename(t.path("sock"), deep.join("sock")).unwrap();
    let far = deep.join("sock");
    let options = ["--detach", "--console-socket", far.to_str().unwrap()];
    t.bundle_cmd("run", &options).output().ok();
    assert_eq!(socket.accept().until_closed(), "far\r\n");
}

/// [F2] a socket that is not there, not one, of another kind; nothing is left.
#[test]
fn sockets_that_are_none() {
    only_davit!(); // the texts
    let t = with_terminal("true");
    let fails = |text: &str| {
        t.bundle_cmd("create", &["--console-socket", &t.path("sock")]).output().fails(1, text);
        t.assert_clean();
    };
    fails(&format!("--console-socket: connect to {}: no such file or directory", t.path("sock")));
    std::fs::write(t.path("sock"), "").unwrap();
    fails("sock: connection refused");
    std::fs::remove_file(t.path("sock")).unwrap();
    let datagrams = UnixDatagram::bind(t.path("sock")).unwrap();
    fails("sock: protocol wrong type for socket");
    drop(datagrams);
    fails("sock: connection refused");
}

/// [F2] a peer that closes before the terminal is there.
#[test]
fn a_peer_that_leaves() {
    only_davit!(); // the text
    let mut t = with_terminal("true");
    let wait = format!("until [ -e {} ]; do sleep 0.01; done", t.path("gone"));
    t.config.set("hooks.createRuntime", json!([{ "path": "/bin/sh", "args": ["sh", "-c", wait] }]));
    let listener = UnixListener::bind(t.path("sock")).unwrap();
    let running = t.bundle_cmd("create", &["--console-socket", &t.path("sock")]).spawn();
    drop(listener.accept().unwrap());
    std::fs::write(t.path("gone"), "").unwrap();
    running.wait().fails(1, "process.terminal: --console-socket: send the terminal: broken pipe");
    t.assert_clean();
}

/// [F1] the terminal hangs up when its receiver leaves.
#[test]
fn the_receivers_end_is_a_hangup() {
    let t = with_terminal("trap 'echo hung > /up; exit 3' HUP; echo ready; while :; do sleep 0.05; done");
    let mut screen = detach(&t);
    screen.expect("ready");
    drop(screen);
    t.wait_status("stopped");
    assert_eq!(std::fs::read_to_string(t.rootfs.join("up")).unwrap(), "hung\n");
}

/// [Z6] [security R7] an image can put nothing in the place of the terminal or of /dev/console.
#[test]
fn nothing_takes_the_terminals_place() {
    only_davit!(); // the texts
    let refused = |t: &Test, text: &str| {
        let _socket = ConsoleSocket::bind(t.path("sock"));
        t.bundle_cmd("create", &["--console-socket", &t.path("sock")]).output().fails(1, text);
        std::fs::remove_file(t.path("sock")).unwrap();
        t.assert_clean();
    };
    // No devpts at all, or a file that looks like one.
    let mut t = with_terminal("true");
    t.config.unmount("/dev");
    refused(&t, "process.terminal: open /dev/pts/ptmx: no such file or directory (hint: mount a devpts");
    t.file("dev/pts/ptmx", "");
    refused(&t, "process.terminal: /dev/pts/ptmx is not that of a devpts file system");
    std::fs::remove_dir_all(t.rootfs.join("dev/pts")).unwrap();
    std::os::unix::fs::symlink("/proc/self/fd", t.rootfs.join("dev/pts")).unwrap();
    refused(&t, "process.terminal: ");
    // Another file bound over a real one.
    let mut t = with_terminal("true");
    t.file("file", "");
    t.config.mount("/dev/pts/ptmx", "bind", t.rootfs.join("file").to_str().unwrap(), &["bind"]);
    refused(&t, "process.terminal: /dev/pts/ptmx is not that of a devpts file system");
    // A /dev/console that leads elsewhere.
    for target in ["/proc/sys/kernel/core_pattern", "/etc/file"] {
        let mut t = with_terminal("true");
        t.config.unmount("/dev").mount("/dev/pts", "devpts", "devpts", &["newinstance"]);
        t.file("etc/file", "mine");
        std::os::unix::fs::symlink(target, t.rootfs.join("dev/console")).unwrap();
        refused(&t, "process.terminal: open or make /dev/console: too many symbolic links encountered");
        assert_eq!(std::fs::read_to_string(t.rootfs.join("etc/file")).unwrap(), "mine");
    }
}

/// [F1] in a user namespace: of the namespace's own root, bound on /dev/console too.
#[test]
fn a_terminal_in_a_user_namespace() {
    let mut t = with_terminal(SHOW);
    t.config.user_namespace();
    t.config.set("process.user", json!({ "uid": 5, "gid": 5 }));
    let text = said(&t);
    assert_eq!(text, "/dev/pts/0\n5 620 88:0\n5 620 88:0\n1 1\n");
}

/// [F1] [U1] of an ordinary user, who has one id.
#[test]
fn a_terminal_without_root() {
    only_davit!(); // runc leaves the mode that devpts gives without `mode=`
    let mut u = User::new();
    u.t.config.set("process.terminal", true);
    u.t.sh(SHOW);
    let path = u.t.path("sock");
    let socket = ConsoleSocket::bind(&path);
    user::give(Path::new(&path));
    u.bundle_cmd("run", &["--detach", "--console-socket", &path]).output().ok();
    let mut screen = socket.accept();
    let text = screen.until_closed().replace("\r\n", "\n");
    assert_eq!(text, "/dev/pts/0\n0 620 88:0\n0 620 88:0\n1 1\n");
}

/// [F1] two at once have a terminal each.
#[test]
fn terminals_are_apart() {
    let (a, b) = (with_terminal("read line; echo a $line"), with_terminal("read line; echo b $line"));
    let (mut first, mut second) = (detach(&a), detach(&b));
    second.type_in("two\n");
    first.type_in("one\n");
    first.expect("a one\r\n");
    second.expect("b two\r\n");
    assert!(!first.until_closed().contains("two"));
}
