//! `exec` with a terminal: in that of whoever calls, or sent to `--console-socket`.

use crate::support::terminal::{ConsoleSocket, Screen};
use crate::support::user::User;
use crate::support::*;
use rustix::process::Signal;

fn sleeper() -> Test {
    let mut t = Test::new();
    t.sleeper();
    t
}

/// `exec --tty` of a shell script, not started yet.
fn exec(t: &Test, options: &[&str], script: &str) -> Cmd {
    t.exec_cmd(&[&["--tty"], options].concat(), &["/bin/sh", "-c", script])
}

/// What a terminal is, for whoever is in it: its number, owner, mode, and whether it controls a session of its own.
const SHOW: &str = "tty; stat -L -c '%u %a' /proc/self/fd/0; set -- $(cat /proc/$$/stat); [ $6 = $$ ] && [ $8 = $$ ] && echo own";

/// [V29] [F1] [F6] [F8] a terminal of the container's own, in the caller's; the size, the keys, the exit code.
#[test]
fn a_terminal_in_a_terminal() {
    only_davit!(); // runc sets the size and the newlines when the program runs already
    let t = sleeper();
    let mut screen = Screen::open();
    screen.resize(33, 99);
    let modes = screen.modes();
    let script = format!("{SHOW}; busybox stty size; read line; echo got $line; exit 7");
    let running = screen.run(exec(&t, &["--user", "5:5"], &script));
    screen.expect("/dev/pts/0\r\n5 620\r\nown\r\n33 99\r\n");
    host::wait_until("raw mode", || screen.modes() != modes);
    screen.type_in("words\r");
    screen.expect("words\r\ngot words\r\n");
    screen.ends(running, 7, &modes);
    // Two at once, keys that are signals, a new size.
    let mut second = Screen::open();
    let script =
        "tty; trap 'exit 5' INT; trap 'busybox stty size' WINCH; echo ready; while :; do sleep 0.05; done";
    let (first_run, second_run) = (screen.run(exec(&t, &[], script)), second.run(exec(&t, &[], script)));
    screen.expect("ready");
    second.expect("ready");
    host::wait_until("raw mode", || screen.modes() != modes && second.modes() != modes);
    second.resize(11, 44);
    second.expect("11 44");
    screen.type_in("\x03");
    screen.ends(first_run, 5, &modes);
    second.type_in("\x03");
    second.ends(second_run, 5, &modes);
    assert_eq!(t.status(), "running");
}

/// [V29] [F10] [F11] without `--tty` there is none, whatever the container has; with it only the streams.
#[test]
fn only_where_it_is_asked_for() {
    let mut t = Test::new();
    t.config.set("process.terminal", true);
    t.sh("exec sleep 1000");
    let socket = ConsoleSocket::bind(t.path("sock"));
    t.bundle_cmd("run", &["--detach", "--console-socket", &t.path("sock")]).output().ok();
    let _of_init = socket.accept();
    assert_eq!(
        t.exec(&[], "tty; test -t 1 || echo none; ls -1 /proc/$$/fd; true").ok(),
        "not a tty\nnone\n0\n1\n2"
    );
    // /dev/console stays init's.
    let mut screen = Screen::open();
    let script = "tty; [ /dev/console -ef /dev/pts/0 ] && echo of init; ls -1 /proc/$$/fd; true";
    screen.run(exec(&t, &[], script)).wait().code(0);
    assert_eq!(screen.seen().replace("\r\n", "\n"), "/dev/pts/1\nof init\n0\n1\n2\n");
}

/// [F2] [S27] a peer that closes before the terminal is there: the process that makes it is held up by a frozen cgroup.
#[test]
fn a_peer_that_leaves() {
    only_davit!(); // the text
    let t = sleeper();
    let below = cgroup::dir(&t.cgroup, "freezer").join("below");
    let (option, file, freeze, thaw) = match cgroup::unified() {
        true => ("below", below.join("cgroup.freeze"), "1", "0"),
        false => ("freezer:below", below.join("freezer.state"), "FROZEN", "THAWED"),
    };
    std::fs::create_dir(&below).unwrap();
    std::fs::write(&file, freeze).unwrap();
    let listener = std::os::unix::net::UnixListener::bind(t.path("sock")).unwrap();
    let options = ["--detach", "--console-socket", &t.path("sock"), "--cgroup", option];
    let running = exec(&t, &options, "true").spawn();
    drop(listener.accept().unwrap());
    std::fs::write(&file, thaw).unwrap();
    running.wait().fails(255, "process.terminal: --console-socket: send the terminal: broken pipe");
    assert_eq!(cgroup::pids(&t.cgroup), [t.pid()]);
    std::fs::remove_dir(&below).unwrap();
}

/// [F1] a container without a terminal gets no /dev/console by `exec`.
#[test]
fn no_console_by_exec() {
    let t = sleeper();
    let mut screen = Screen::open();
    screen.run(exec(&t, &[], "ls /dev/console; echo end")).wait().code(0);
    assert!(screen.seen().contains("No such file"), "{:?}", screen.seen());
}

/// [V25] [F2] [F9] `--detach`: the terminal goes to the socket. Its name starts in the bundle, or with a process file in
/// the working directory, as with runc.
#[test]
fn a_terminal_is_sent() {
    let t = sleeper();
    let script = format!("{SHOW}; echo end");
    let seen = "/dev/pts/0\r\n0 620\r\nown\r\nend\r\n";
    let pid_file = t.path("exec.pid");
    let socket = ConsoleSocket::bind(t.bundle.join("sock"));
    for name in [t.bundle.join("sock").to_str().unwrap(), "sock"] {
        let options = ["--detach", "--console-socket", name, "--pid-file", &pid_file];
        exec(&t, &options, &script).cwd(&t.dir).output().ok();
        assert_eq!(socket.accept().until_closed(), seen);
        assert!(std::fs::read_to_string(&pid_file).unwrap().parse::<i32>().is_ok());
    }
    let socket = ConsoleSocket::bind(t.path("here"));
    let process = json!({
        "cwd": "/", "user": { "uid": 0, "gid": 0 }, "env": ["PATH=/bin"], "terminal": true,
        "args": ["sh", "-c", script],
    });
    std::fs::write(t.path("process.json"), process.to_string()).unwrap();
    let options = ["--detach", "--console-socket", "here", "--process", "process.json"];
    t.exec_cmd(&options, &[]).cwd(&t.dir).output().ok();
    assert_eq!(socket.accept().until_closed(), seen);
}

/// [V32] [F8] [P3] a process file with a terminal, and its size; `--tty` adds one to a file that has none.
#[test]
fn a_terminal_by_a_process_file() {
    let t = sleeper();
    let socket = ConsoleSocket::bind(t.path("sock"));
    let options = ["--detach", "--console-socket", &t.path("sock")];
    let mut process = json!({
        "cwd": "/", "user": { "uid": 0, "gid": 0 }, "env": ["PATH=/bin"], "terminal": true,
        "consoleSize": { "height": 10, "width": 110 }, "args": ["busybox", "stty", "size"],
    });
    t.exec_process(&options, &process).ok();
    assert_eq!(socket.accept().until_closed(), "10 110\r\n");
    only_davit!(); // runc takes no option beside a file
    process["terminal"] = json!(false);
    t.exec_process(&[&["--tty"], &options[..]].concat(), &process).ok();
    assert_eq!(socket.accept().until_closed(), "10 110\r\n");
    // The terminal that it is shown in has the last word.
    process["terminal"] = json!(true);
    std::fs::write(t.path("process.json"), process.to_string()).unwrap();
    let mut screen = Screen::open();
    screen.run(t.exec_cmd(&["--process", &t.path("process.json")], &[])).wait().code(0);
    assert_eq!(screen.seen(), "24 80\r\n");
}

/// [F4] [F5] [F6] [S27] who gets the terminal must be clear, and be there; each failure is 255, and leaves nothing.
#[test]
fn who_gets_the_terminal() {
    let t = sleeper();
    let sock = t.path("sock");
    let fails = |options: &[&str], text: &str| {
        t.exec_cmd(options, &["true"]).wrap(["setsid", "--wait"]).output().fails(255, text);
    };
    let missing = "cannot allocate tty if runc will detach without setting console socket";
    fails(&["--tty", "--detach"], missing);
    let needless = "cannot use console socket if runc will not detach or allocate tty";
    fails(&["--tty", "--console-socket", &sock], needless);
    fails(&["--console-socket", &sock], needless);
    fails(&["--detach", "--console-socket", &sock], needless);
    fails(&["--tty"], "open /dev/tty: no such device or address");
    only_davit!(); // the text
    let text = format!("--console-socket: connect to {sock}: no such file or directory");
    fails(&["--tty", "--detach", "--console-socket", &sock], &text);
    let left: Vec<i32> = serde_json::from_str(&t.verb(&["ps", "--format", "json"]).ok()).unwrap();
    assert_eq!(left, [t.pid()]);
}

/// [F1] [Z6] a container without a devpts.
#[test]
fn no_devpts() {
    only_davit!(); // the texts
    let mut t = Test::new();
    t.config.unmount("/dev");
    t.sleeper();
    let exec = || {
        let mut screen = Screen::open();
        screen.run(exec(&t, &[], "true")).wait().code(255);
        screen.seen().to_string()
    };
    assert!(exec().contains("process.terminal: open /dev/pts/ptmx: no such file or directory"));
    t.file("dev/pts/ptmx", "");
    assert!(exec().contains("process.terminal: /dev/pts/ptmx is not that of a devpts file system"));
}

/// [F6] [S27] a program that is not there, and what it looks like in a terminal.
#[test]
fn a_failed_start_leaves_the_terminal() {
    let t = sleeper();
    let mut screen = Screen::open();
    let modes = screen.modes();
    let running = screen.run(t.exec_cmd(&["--tty"], &["/no/such/program"]));
    screen.expect("/no/such/program");
    screen.ends(running, 255, &modes);
}

/// [F6] nothing of the output is lost, and who writes on does not keep the session.
#[test]
fn the_last_words_are_shown() {
    let t = sleeper();
    for _ in 0..10 {
        let mut screen = Screen::open();
        screen.run(exec(&t, &[], "echo word; echo last")).wait().code(0);
        assert_eq!(screen.seen(), "word\r\nlast\r\n");
    }
    let mut screen = Screen::open();
    let modes = screen.modes();
    let script = "(trap '' HUP; yes) & sleep 0.2; exit 6";
    let running = screen.run_by("\"$@\" >/dev/null", exec(&t, &[], script));
    screen.ends(running, 6, &modes);
}

/// [F6] input from a pipe that ends within a line.
#[test]
fn input_that_ends() {
    only_davit!(); // runc does not tell the end of input
    let t = sleeper();
    let mut screen = Screen::open();
    let modes = screen.modes();
    let out = t.path("out");
    let running =
        screen.run_by(&format!("printf 'a\\nhalf' | \"$@\" >{out}"), exec(&t, &[], "cat; echo end"));
    screen.ends(running, 0, &modes);
    let out = std::fs::read_to_string(out).unwrap();
    assert!(out.ends_with("halfend\n"), "{out:?}");
}

/// [F6] the runtime is killed: the program's terminal hangs up, the container goes on.
#[test]
fn a_killed_runtime() {
    let t = sleeper();
    let mut screen = Screen::open();
    let script = "trap 'echo hung > /up; exit' HUP; echo ready; while :; do sleep 0.05; done";
    let running = screen.run(exec(&t, &[], script));
    screen.expect("ready");
    running.kill(Signal::KILL);
    running.wait().code(137);
    host::wait_until("the hangup", || t.rootfs.join("up").exists());
    assert_eq!(t.status(), "running");
}

/// [F1] in a user namespace, and of an ordinary user.
#[test]
fn terminals_in_user_namespaces() {
    let mut t = Test::new();
    t.config.user_namespace();
    t.sleeper();
    let mut screen = Screen::open();
    screen.run(exec(&t, &["--user", "5:5"], SHOW)).wait().code(0);
    assert_eq!(screen.seen(), "/dev/pts/0\r\n5 620\r\nown\r\n");
    only_davit!(); // runc leaves the mode that devpts gives without `mode=`
    let mut u = User::new();
    u.detach("exec sleep 1000");
    let mut screen = Screen::open();
    screen.run(u.cmd(&["exec", "--tty", &u.t.id, "sh", "-c", SHOW])).wait().code(0);
    assert_eq!(screen.seen(), "/dev/pts/0\r\n0 620\r\nown\r\n");
}
